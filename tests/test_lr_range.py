"""Reading a range test: against curves that are known, its laws, what says nothing, and losses that explode."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrcontrol.analysis.lr_range import PART_OF_LOWEST, Suggestion, suggest_lr
from lrcontrol.analysis.ramps import FEWEST
from lrcontrol.errors import BadInput

law = settings(max_examples=6, derandomize=True, deadline=None)
Numbers = NDArray[np.float64]
LRS = np.geomspace(1e-7, 10, 100)


def falls(lrs: Any, at: float = -3.0, width: float = 0.3, diverges: float = -0.8, sharp: float = 0.15) -> Numbers:
    """2.3, falling by 1.4, steepest at 10**at, and exploding about 10**diverges."""
    x = np.log10(np.asarray(lrs, dtype=np.float64))
    fall: Numbers = 2.3 - 1.4 / (1 + np.exp(-(x - at) / width)) + np.exp(np.minimum((x - diverges) / sharp, 200.0))
    return fall


def noisy(seed: int, noise: float = 0.05, lrs: Any = LRS, **curve: float) -> Numbers:
    return falls(lrs, **curve) + noise * np.random.default_rng(seed).standard_normal(np.size(lrs))


def rate(value: float | None) -> float:
    """log10 of a rate that is not None."""
    assert value is not None
    return float(np.log10(value))


# The truth


def truth_of(**curve: float) -> tuple[float, float]:
    """Where the curve without noise is steepest, and a tenth of where it is lowest, if it has begun to fall there."""
    x = np.linspace(-7, 1, 80_001)
    y = falls(10**x, **curve)
    lowest = int(y.argmin())
    begun = np.flatnonzero(y[:lowest] >= y[lowest] + 0.9 * (y[0] - y[lowest]))[-1]
    return float(x[np.gradient(y)[:lowest].argmin()]), max(
        float(x[lowest] + np.log10(PART_OF_LOWEST)), float(x[begun])
    )


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_steepest_point_and_the_suggestion_are_near_the_truth(noise: float) -> None:
    """Within a tenth and a fifth of a decade at the median, and within the intervals nearly always."""
    off, inside = [], []
    for seed in range(12):
        chance = np.random.default_rng([1, seed])
        at = chance.uniform(-5, -2)
        curve = {"at": at, "width": chance.uniform(0.15, 0.5), "diverges": at + chance.uniform(1.2, 2.5)}
        found = suggest_lr(LRS, noisy(seed, noise, **curve))
        for mark, interval, truth in zip(
            (found.steepest, found.suggestion),
            (found.steepest_interval, found.interval),
            truth_of(**curve),
            strict=True,
        ):
            assert interval is not None
            off.append(abs(rate(mark) - truth))
            inside.append(rate(interval[0]) <= truth <= rate(interval[1]))
    assert np.median(off[::2]) < 0.1
    assert np.median(off[1::2]) < 0.2  # the lowest place of a nearly level stretch
    assert np.mean(inside) >= 0.9


def test_marks_are_in_order_and_where_the_curve_says() -> None:
    found = suggest_lr(LRS, noisy(0, 0.02))
    low, steepest, high, divergence = map(rate, (found.low, found.steepest, found.high, found.divergence))
    assert low < steepest < high < divergence
    assert rate(found.suggestion) == pytest.approx(max(low, high - 1), abs=1e-6)
    assert low == pytest.approx(-3 - 0.3 * np.log(9), abs=0.3)  # a tenth of the fall is made
    x = np.linspace(-7, 0, 7001)
    assert high == pytest.approx(x[falls(10**x).argmin()], abs=0.3)
    assert found.divergence is not None
    assert falls(found.divergence) == pytest.approx(0.9 + 0.14, abs=0.1)  # a tenth of the fall above the lowest


def test_a_linear_ramp_and_uneven_rates_say_the_same() -> None:
    """The curve is over the logarithm of the rate, however the rates are spaced."""
    linear = np.linspace(1e-4, 0.2, 400)
    found = suggest_lr(linear, noisy(1, 0.02, linear, at=-2.0))
    assert rate(found.steepest) == pytest.approx(-2, abs=0.1)
    uneven = 10 ** np.sort(np.random.default_rng(0).uniform(-7, 1, 150))
    assert rate(suggest_lr(uneven, noisy(2, 0.02, uneven)).steepest) == pytest.approx(-3, abs=0.1)


def test_a_linear_ramp_is_drawn_on_a_linear_axis_and_any_other_on_a_logarithmic_one() -> None:
    uneven = 10 ** np.sort(np.random.default_rng(0).uniform(-7, 1, 150))
    ramps = ((np.linspace(1e-4, 0.2, 400), False), (np.float32(np.linspace(1e-6, 0.5, 100)), False), (LRS, True))
    for lrs, log in (*ramps, (uneven, True), (np.full(40, 0.1), False)):
        chart = suggest_lr(lrs, noisy(1, 0.02, lrs, at=-2.0)).plot().to_dict()
        axes = [layer["encoding"]["x"] for layer in chart["layer"]]
        assert {axis["scale"].get("type") for axis in axes} == {"log" if log else None}
        assert {axis["title"] for axis in axes} == {"learning rate (log scale)" if log else "learning rate"}
        low, high = axes[0]["scale"]["domain"]
        assert low <= lrs[0] <= lrs[-1] <= high


def test_no_suggestion_is_before_the_fall_begins() -> None:
    """Where the loss falls and diverges within a decade, a tenth of the lowest would be."""
    found = suggest_lr(LRS, noisy(0, 0.02, width=0.08, diverges=-2.5, sharp=0.05))
    assert found.suggestion == found.low
    assert "before it begins to fall" in found.reason


def test_repeats_make_the_interval_narrower() -> None:
    """Eight ramps say more than one; a repeat that ended early says what it can."""
    many = np.stack([noisy(seed, 0.1) for seed in range(8)])
    one, all_ = suggest_lr(LRS, many[0]), suggest_lr(LRS, many)
    assert one.steepest_interval is not None
    assert all_.steepest_interval is not None
    assert np.ptp(np.log10(all_.steepest_interval)) < 0.7 * np.ptp(np.log10(one.steepest_interval))
    many[3, 40:] = np.nan
    assert rate(suggest_lr(LRS, many).steepest) == pytest.approx(rate(all_.steepest), abs=0.1)


@pytest.mark.parametrize("repeats", [1, 4])
def test_intervals_cover_ramps_that_differ_by_more_than_noise(repeats: int) -> None:
    """Each ramp's curve is elsewhere: what is true of all is in the interval nearly always, though noise is low."""
    apart, inside = 0.1 * repeats, []
    for seed in range(8):
        moved = apart * np.random.default_rng([3, seed]).standard_normal(repeats)
        ramps = [noisy(17 * seed + place, 0.01, at=-3 + by, diverges=-0.8 + by) for place, by in enumerate(moved)]
        interval = suggest_lr(LRS, np.stack(ramps)).steepest_interval
        assert interval is not None
        inside.append(rate(interval[0]) <= -3 <= rate(interval[1]))
    assert np.sum(inside) >= 7


def test_odd_losses_move_nothing() -> None:
    """Spikes, up and down, and losses that are missing in between."""
    losses = noisy(3, 0.03)
    plain = suggest_lr(LRS, losses)
    losses[[12, 35, 36, 50]] = [40.0, 1e30, np.inf, -3.0]
    losses[20] = np.nan
    odd = suggest_lr(LRS, losses)
    assert rate(odd.steepest) == pytest.approx(rate(plain.steepest), abs=0.1)
    assert rate(odd.suggestion) == pytest.approx(rate(plain.suggestion), abs=0.2)


# Laws


def marks(found: Suggestion) -> list[float]:
    given_ = (found.suggestion, found.low, found.high, found.steepest, found.divergence)
    assert found.interval is not None
    assert found.steepest_interval is not None
    return [np.nan if each is None else rate(each) for each in (*given_, *found.interval, *found.steepest_interval)]


@law
@given(st.floats(-10, 10), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(0, 3))
def test_units_do_not_matter(shift: float, size: float, factor: float, seed: int) -> None:
    """Losses times a number with another added, also negative ones, and rates times a number."""
    losses = noisy(seed, 0.03)
    plain, other = suggest_lr(LRS, losses), suggest_lr(LRS * factor, (losses - shift) * size)
    moved = np.array(marks(other)) - np.log10(factor)
    assert moved == pytest.approx(marks(plain), abs=0.03, nan_ok=True)  # a step of the curve is 0.027


@pytest.mark.parametrize("kind", ["list", "float32", "tensor", "bfloat16", "half", "grad", "table"])
def test_lists_arrays_and_tensors_are_taken(kind: str) -> None:
    torch = pytest.importorskip("torch")
    losses = noisy(0, 0.02)
    make: dict[str, Callable[[], Any]] = {
        "list": losses.tolist,
        "float32": lambda: losses.astype(np.float32),
        "tensor": lambda: torch.tensor(losses),
        "bfloat16": lambda: torch.tensor(losses).bfloat16(),
        "half": lambda: torch.tensor(losses).half(),
        "grad": lambda: torch.tensor(losses, requires_grad=True),
        "table": lambda: [losses.tolist()],
    }
    lrs = torch.tensor(LRS) if kind in ("tensor", "grad") else LRS.tolist()
    assert rate(suggest_lr(lrs, make[kind]()).steepest) == pytest.approx(-3, abs=0.1)


def test_the_seed_moves_intervals_alone() -> None:
    losses = noisy(4)
    one, again, other = suggest_lr(LRS, losses), suggest_lr(LRS, losses), suggest_lr(LRS, losses, seed=1)
    assert one == again
    assert (one.interval, one.steepest_interval) != (other.interval, other.steepest_interval)
    assert msgspec.structs.replace(one, interval=None, steepest_interval=None) == msgspec.structs.replace(
        other, interval=None, steepest_interval=None
    )


def test_it_is_plain_values() -> None:
    """As JSON and back, NaN and all."""
    losses = noisy(5)
    losses[90:] = np.nan
    found = suggest_lr(LRS, losses)
    assert msgspec.convert(json.loads(msgspec.json.encode(found)), Suggestion) == found
    assert found.losses[0][95] is None
    assert len(found.curve) == len(found.curve_lrs)
    assert max(found.curve_lrs) <= LRS[89] * 1.0001
    assert f"{found.suggestion:.3g}" in repr(found)


# What says nothing


NOTHING: dict[str, tuple[Numbers, str]] = {
    "all NaN": (np.full(100, np.nan), "before any update"),
    "all inf": (np.full(100, np.inf), "before any update"),
    "nine finite": (np.r_[np.linspace(2, 1, FEWEST - 1), np.full(100 - FEWEST + 1, np.nan)], "9 of 100"),
    "constant": (np.full(100, 2.3), "neither falls nor rises"),
    "flat": (2.3 + 0.05 * np.random.default_rng(0).standard_normal(100), "neither falls nor rises"),
    "flat, then exploding": (
        2.3 + 0.05 * np.random.default_rng(1).standard_normal(100) + np.exp((np.arange(100) - 70) / 4.0),
        "never falls",
    ),
    "rises from the start": (2.3 + 0.1 * np.arange(100), "rises"),
    "explodes from the start": (2.3 * 1.5 ** np.arange(100), "rises"),
    "explodes to the largest float": (np.where(np.arange(100) < 5, 2.3, 1.7e308), "rises"),
    "falls to the end": (2.3 / (1 + (LRS / 10) ** 1.5), "go on"),
    "fell before": (np.exp(-np.arange(100) / 3.0), "begin the range test lower"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_the_curve_says_nothing_there_is_no_suggestion(name: str) -> None:
    losses, said = NOTHING[name]
    found = suggest_lr(LRS, losses)
    assert (found.suggestion, found.interval) == (None, None)
    assert said in found.reason
    assert found.reason.endswith(".")
    assert found.reason in repr(found)


def test_noise_alone_is_no_fall() -> None:
    """Not once in twelve ramps of noise, of two kinds."""
    for seed in range(6):
        chance = np.random.default_rng([2, seed])
        for noise in (chance.standard_normal(100), chance.standard_t(3, 100)):
            assert suggest_lr(LRS, 2.3 + 0.1 * noise).suggestion is None


@pytest.mark.parametrize("bad", [np.inf, np.nan, -np.inf])
def test_a_loss_that_is_not_finite_at_any_step(bad: float) -> None:
    """From step k on, for every k to 60: a suggestion from the finite points, or none and why; never the last one."""
    ramp = noisy(6, 0.03, at=-4.5)
    for step in range(0, 61, 1 if bad == np.inf else 15):
        losses = ramp.copy()
        losses[step:] = bad
        found = suggest_lr(LRS, losses)
        assert found.reason
        if found.suggestion is not None:
            assert LRS[0] < found.suggestion < LRS[step - 1]
            assert max(found.curve_lrs) <= LRS[step - 1] * 1.0001
    assert found.suggestion is not None  # the fall is whole by then
    assert found.divergence is not None


def test_a_loss_that_is_not_finite_before_any_update_is_no_matter_of_rates() -> None:
    nothing, whole = np.full(100, np.nan), noisy(6, 0.03)
    for losses in (nothing, np.r_[np.inf, nothing[1:]], np.stack([whole, nothing]), np.stack([nothing] * 3)):
        found = suggest_lr(LRS, losses)
        assert found.suggestion is None
        assert found.reason.startswith("the first loss, before any update, is ")
        assert "inputs" in found.reason
        assert "lower" not in found.reason
    after = np.r_[whole[0], nothing[1:]]
    for losses in (after, np.stack([whole, nothing, after])):
        assert "begin lower" in suggest_lr(LRS, losses).reason
    assert "before any update" not in suggest_lr(LRS, nothing, ended=True).reason  # nobody knows


def test_a_single_loss_that_is_not_finite_ends_nothing() -> None:
    ramp = noisy(6, 0.03)
    plain = suggest_lr(LRS, ramp)
    for step in range(0, 61, 12):
        losses = ramp.copy()
        losses[step] = np.nan
        assert rate(suggest_lr(LRS, losses).suggestion) == pytest.approx(rate(plain.suggestion), abs=0.1)


@pytest.mark.parametrize("repeats", [1, 3])
def test_losses_that_ended_for_another_reason_have_not_risen(repeats: int) -> None:
    """They are read as the ramp that ends there; a loss of inf, or a rise, is one nevertheless."""
    losses = np.stack([noisy(seed, 0.03) for seed in range(repeats)])
    for last in (75, 20, 5):
        cut = losses.copy()
        cut[:, last:] = np.nan
        found, short = suggest_lr(LRS, cut, ended=True), suggest_lr(LRS[:last], losses[:, :last])
        assert (found.suggestion, found.interval, found.divergence) == (
            short.suggestion,
            short.interval,
            short.divergence,
        )
        assert "rises for good" not in found.reason
    assert suggest_lr(LRS, np.where(np.arange(100) < 75, losses, np.inf), ended=True).divergence is not None
    assert suggest_lr(LRS, losses, ended=True) == suggest_lr(LRS, losses)


def test_a_repeat_that_ended_for_another_reason_ends_no_other() -> None:
    losses = np.stack([noisy(seed, 0.03) for seed in range(2)])
    whole = suggest_lr(LRS, losses)
    losses[1, 30:] = np.nan
    found = suggest_lr(LRS, losses, ended=True)
    assert rate(found.suggestion) == pytest.approx(rate(whole.suggestion), abs=0.2)
    assert found.divergence is not None
    assert suggest_lr(LRS, losses).suggestion is None  # as a divergence, of one of two


@pytest.mark.parametrize("size", [10.0, 1e10, 1e100, 1e300])
def test_an_explosion_of_any_size_leaves_the_rest_as_it_is(size: float) -> None:
    losses = noisy(7, 0.03, diverges=5.0)
    losses[70:] = size
    found = suggest_lr(LRS, losses)
    assert rate(found.steepest) == pytest.approx(-3, abs=0.1)
    assert found.divergence is not None
    assert LRS[67] < found.divergence < LRS[71]


# Bad input


@pytest.mark.parametrize(
    ("lrs", "losses", "said"),
    [
        (LRS[::-1], falls(LRS), "must never fall"),
        (LRS[:50], falls(LRS), "one value per rate"),
        (LRS, np.ones((2, 2, 100)), "shape"),
        (LRS, 1.0, "shape"),
        (np.ones((2, 100)), falls(LRS), "one dimension"),
        (np.r_[0.0, LRS[1:]], falls(LRS), "> 0, got 0 at place 0"),
        (np.r_[LRS[:-1], np.nan], falls(LRS), "got nan at place 99"),
        (LRS, ["a"] * 100, "must hold numbers"),
        (LRS, [[1.0, 2.0], [1.0]], "must hold numbers"),
        (LRS, [None] * 100, "must hold numbers"),
    ],
)
def test_what_is_no_ramp_is_refused_in_a_sentence(lrs: Any, losses: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        suggest_lr(lrs, losses)
    assert str(caught.value).count("\n") == 0


def test_equal_rates_are_taken_and_a_single_one_says_nothing() -> None:
    twice = np.repeat(LRS, 2)
    losses = falls(twice) + 0.03 * np.random.default_rng(0).standard_normal(200)
    assert rate(suggest_lr(twice, losses).steepest) == pytest.approx(-3, abs=0.1)
    assert "wider" in suggest_lr(np.full(40, 0.1), np.linspace(2, 1, 40)).reason
    assert suggest_lr([], []).suggestion is None
