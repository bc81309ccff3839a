"""Where a peer is wrong: each test shows its value beside ours. Numbers are those of public pytorch issues."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch.optim import lr_scheduler as theirs

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from peers.cases import optimizer_at, read

BASE = 0.1

early = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # SequentialLR steps when it is made


def live(make: Callable[[Any], Any], steps: int, base_lr: float = BASE) -> list[float]:
    """The rates of a scheduler of theirs, stepped."""
    optimizer = optimizer_at(base_lr)
    scheduler = make(optimizer)
    optimizer.step()
    rates = [read(optimizer, "lr")]
    for _ in range(steps - 1):
        scheduler.step()
        rates.append(read(optimizer, "lr"))
    return rates


def ours(text: str, total: int, steps: int | None = None, base_lr: float = BASE) -> list[float]:
    """Our rates, past the horizon too."""
    rates: list[float] = (base_lr * lrc.schedule(text).multiplier(np.arange(steps or total), total)).tolist()
    return rates


def near(*rates: float) -> Any:
    return pytest.approx(list(rates), rel=1e-12, abs=1e-17)


def jumped(make: Callable[[Any], Any], step: int, base_lr: float = BASE) -> float:
    """Their rate at a step, set by their own closed form."""
    optimizer = optimizer_at(base_lr)
    scheduler = make(optimizer)
    scheduler.last_epoch = step
    return float(scheduler._get_closed_form_lr()[0])


def test_a_restart_is_lost_to_a_float_logarithm(capsys: Any) -> None:
    """CosineAnnealingWarmRestarts set to the step of an exact restart: the lowest rate instead of the highest."""
    missed = tried = 0
    for first in range(1, 21):
        for growth in (2, 3, 5, 6, 10):
            step, length = first, first * growth
            while step <= 1_000_000:
                optimizer = optimizer_at(BASE)
                scheduler = theirs.CosineAnnealingWarmRestarts(optimizer, first, growth)
                optimizer.step()
                scheduler.step(step)
                tried += 1
                missed += read(optimizer, "lr") < BASE / 2
                mine = lrc.schedule(f"sgdr(period={first}, growth={growth})").multiplier(step, step + 1)
                assert mine == 1
                step, length = step + length, length * growth
    with capsys.disabled():
        print(f"\nPEERS restarts set by step: tried={tried} missed by torch={missed}, by ours=0", end="")
    assert missed > 0
    optimizer = optimizer_at(BASE)
    scheduler = theirs.CosineAnnealingWarmRestarts(optimizer, 20, 10)
    optimizer.step()
    scheduler.step(2220)  # 20 + 200 + 2000
    assert read(optimizer, "lr") == 0


def test_a_restart_is_lost_to_a_float_remainder(capsys: Any) -> None:
    """Transformers' hard restarts: some come a step late, after one at rate 0."""
    optimization = pytest.importorskip("transformers.optimization")
    missed = tried = 0
    for cycles in range(1, 101):
        total = 20 * cycles
        make = optimization.get_cosine_with_hard_restarts_schedule_with_warmup
        optimizer = optimizer_at(BASE)
        (at,) = make(optimizer, 0, total, cycles).lr_lambdas
        mine = lrc.schedule(f"repeat(cosine, times={cycles})").multipliers(total)
        for restart in range(0, total, 20):
            tried += 1
            missed += at(restart) < 0.5
            assert mine[restart] == 1
    with capsys.disabled():
        print(f"\nPEERS hard restarts: tried={tried} missed by Transformers={missed}, by ours=0", end="")
    assert missed > 0
    assert optimization._get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda(
        20, num_warmup_steps=0, num_training_steps=980, num_cycles=49
    ) == pytest.approx(0, abs=1e-30)  # the first of 48 restarts


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        (
            "LinearLR",
            lambda o, lr: theirs.LinearLR(o, 1 / 3, 1.0, 7),
            f"linear(start={1 / 3!r}, end=1, steps=7)+constant",
        ),
        ("CosineAnnealingLR", lambda o, lr: theirs.CosineAnnealingLR(o, 5, lr / 3), None),
        ("CosineAnnealingWarmRestarts", lambda o, lr: theirs.CosineAnnealingWarmRestarts(o, 3, 1, lr / 3), None),
        ("CyclicLR", lambda o, lr: theirs.CyclicLR(o, lr / 3, lr, 3, cycle_momentum=False), None),
    ],
)
def test_no_rate_is_above_the_peak(name: str, make: Any, text: str | None, capsys: Any) -> None:
    """Rounding takes theirs above the peak; ours never leaves [start, end]."""
    rng, above, most = np.random.default_rng(0), 0, 0.0
    for peak in rng.uniform(1e-5, 1, 100).tolist():
        low = (peak / 3) / peak
        same = (
            text
            or {
                "CosineAnnealingLR": f"repeat(cosine(end={low!r}, share=0.5)+cosine(start={low!r}, end=1), period=10)",
                "CosineAnnealingWarmRestarts": f"sgdr(period=3, growth=1, low={low!r})",
                "CyclicLR": f"triangular(low={low!r}, period=6)",
            }[name]
        )
        highest = max(live(lambda optimizer, peak=peak: make(optimizer, peak), 12, peak))
        above += highest > peak
        most = max(most, (highest - peak) / math.ulp(peak))
        assert max(ours(same, 12, base_lr=peak)) == peak
    with capsys.disabled():
        print(f"\nPEERS above the peak: {name} in {above} of 100, by {most:.0f} ulp, ours in 0", end="")
    assert above > 0


def test_one_cycle_goes_below_zero_a_step_past_its_end() -> None:
    """OneCycleLR allows one step more than it has; the linear form is negative there, and the next step raises."""

    def make(optimizer: Any) -> Any:
        return theirs.OneCycleLR(optimizer, BASE, 10, pct_start=0.3, anneal_strategy="linear", cycle_momentum=False)

    assert live(make, 11)[9:] == near(4e-7, -0.014285257142857138)
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        live(make, 12)
    assert ours("one_cycle(0.3, shape=linear)", 10, 12)[9:] == near(4e-7, 4e-7, 4e-7)


def test_a_first_phase_of_one_step_divides_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        theirs.OneCycleLR(optimizer_at(BASE), BASE, 10, pct_start=0.1)
    assert ours("one_cycle(0.1)", 10)[:2] == near(0.004, BASE * (1 - (1 - 4e-6) * math.sin(math.pi / 18) ** 2))


def test_the_cosine_climbs_after_its_end() -> None:
    """flair#2954 and others: torch's and Transformers' alike, and with a floor too."""
    optimization = pytest.importorskip("transformers.optimization")
    up = [0.0, 0.5 - math.sqrt(0.5) / 2, 0.5, 0.5 + math.sqrt(0.5) / 2, 1.0]
    assert live(lambda o: theirs.CosineAnnealingLR(o, 4), 9)[4:] == near(*(BASE * value for value in up))
    assert live(lambda o: optimization.get_cosine_schedule_with_warmup(o, 0, 4), 9)[4:] == near(
        *(BASE * value for value in up)
    )
    floor = live(lambda o: optimization.get_cosine_with_min_lr_schedule_with_warmup(o, 0, 4, min_lr_rate=0.1), 9)
    assert floor[4:] == near(*(BASE * (0.1 + 0.9 * value) for value in up))
    assert ours("cosine", 4, 9)[4:] == [0.0] * 5
    assert ours("cosine(end=0.1)", 4, 9)[4:] == near(*[0.01] * 5)


def test_193682_a_ramp_of_no_steps_is_over() -> None:
    """LinearLR(total_iters=0) stays at its start for ever, and PolynomialLR at the full rate."""
    assert live(lambda o: theirs.LinearLR(o, 0.1, 1.0, 0), 4) == near(*[0.01] * 4)
    assert ours("linear(start=0.1, end=1, steps=0)+constant", 4) == [BASE] * 4
    assert live(lambda o: theirs.PolynomialLR(o, 0), 4) == [BASE] * 4
    assert ours("polynomial(1, steps=0)+constant(0)", 4) == [0.0] * 4


@pytest.mark.parametrize(
    ("make", "dies_at", "text", "rates"),
    [
        (lambda o: theirs.ConstantLR(o, 0.0, 3), 3, "constant(0, steps=3)+constant", [0, 0, 0, BASE]),
        (lambda o: theirs.CosineAnnealingLR(o, 0), 1, "cosine(steps=0)+constant(0)", [0, 0]),
        (lambda o: theirs.StepLR(o, 0), 1, "step(every=0)", None),
    ],
    ids=["194712 ConstantLR(factor=0)", "177833 CosineAnnealingLR(T_max=0)", "185006 StepLR(step_size=0)"],
)
def test_what_cannot_go_on_is_refused_before_the_first_step(
    make: Any, dies_at: int, text: str, rates: list[float] | None
) -> None:
    """Theirs divide by zero in the middle of a run; ours work, or are refused when they are made."""
    live(make, dies_at)
    with pytest.raises(ZeroDivisionError):
        live(make, dies_at + 1)
    if rates is None:
        with pytest.raises(BadInput, match="`every` must be an integer >= 1, got every=0"):
            lrc.schedule(text)
    else:
        assert ours(text, len(rates)) == rates


@early
def test_162591_begun_in_the_middle() -> None:
    """SequentialLR(last_epoch=N) takes the first schedule's start again, without its warmup; ours are the same run."""
    text = "linear(start=0.2, end=1, steps=4)+geometric(0.5)"

    def whole(optimizer: Any, done: int = -1) -> Any:
        parts = [
            theirs.LinearLR(optimizer, 0.2, 1.0, 4, last_epoch=done),
            theirs.ExponentialLR(optimizer, 0.5, last_epoch=done - 4 if done > 4 else -1),
        ]
        return theirs.SequentialLR(optimizer, parts, [4], last_epoch=done)

    through = live(whole, 8)
    assert through == near(0.02, 0.04, 0.06, 0.08, 0.1, 0.05, 0.025, 0.0125)
    assert ours(text, 8) == near(*through)
    optimizer = optimizer_at(through[2])
    optimizer.param_groups[0]["initial_lr"] = BASE
    scheduler = whole(optimizer, 2)
    resumed = [read(optimizer, "lr")]
    for _ in range(3):
        scheduler.step()
        resumed.append(read(optimizer, "lr"))
    assert resumed == near(0.1, 0.1, 0.05, 0.025)
    assert [BASE * lrc.schedule(text).multiplier(step, 8) for step in range(2, 6)] == near(*through[2:6])


@early
def test_196243_a_sequence_inside_a_sequence() -> None:
    """As the first it is advanced a step too far, as a later one it raises; so does a chain."""

    def pair(optimizer: Any) -> Any:
        halves = [theirs.ConstantLR(optimizer, 0.5, 100), theirs.ConstantLR(optimizer, 0.2, 100)]
        return theirs.SequentialLR(optimizer, halves, [2])

    def first(optimizer: Any) -> Any:
        return theirs.SequentialLR(optimizer, [pair(optimizer), theirs.ConstantLR(optimizer, 1.0, 100)], [4])

    def later(optimizer: Any) -> Any:
        return theirs.SequentialLR(optimizer, [theirs.ConstantLR(optimizer, 1.0, 100), pair(optimizer)], [2])

    def chained(optimizer: Any) -> Any:
        chain = [theirs.ConstantLR(optimizer, 0.5, 100), theirs.ExponentialLR(optimizer, 0.5)]
        return theirs.SequentialLR(
            optimizer, [theirs.ConstantLR(optimizer, 1.0, 9), theirs.ChainedScheduler(chain)], [2]
        )

    inner = "constant(0.5, steps=2)+constant(0.2)"
    assert live(first, 5) == near(0.05, 0.02, 0.02, 0.02, 0.1)
    assert ours(f"over({inner}, steps=4)+constant", 5) == near(0.05, 0.05, 0.02, 0.02, 0.1)
    for make in (later, chained):
        with pytest.raises(NotImplementedError):
            live(make, 3)
    assert ours(f"constant(steps=2)+over({inner})", 5) == near(0.1, 0.1, 0.05, 0.05, 0.02)
    assert ours("constant(steps=2)+constant(0.5)*geometric(0.5)", 5) == near(0.1, 0.1, 0.05, 0.025, 0.0125)


@early
def test_a_warmup_before_one_cycle_goes_where_it_was_sent() -> None:
    """OneCycleLR rewrites what SequentialLR takes for the base rate: the warmup ends at 0.004 instead of 0.1."""

    def make(optimizer: Any) -> Any:
        warm = theirs.LinearLR(optimizer, 0.1, 1.0, 4)
        cycle = theirs.OneCycleLR(optimizer, BASE, 10, cycle_momentum=False)
        return theirs.SequentialLR(optimizer, [warm, cycle], [4])

    text = "linear(start=0.1, end=1, steps=4)+over(one_cycle, steps=10)"
    assert live(make, 6) == near(0.0004, 0.0013, 0.0022, 0.0031, 0.004, 0.052)
    assert ours(text, 14)[:6] == near(0.01, 0.0325, 0.055, 0.0775, 0.004, 0.052)


def test_20405_17913_19180_a_cosine_over_a_billion_steps() -> None:
    """Their closed form is 0 a step before its end, and their recursion divides by zero two steps before it."""
    total = 10**9
    right = BASE * (math.pi / total) ** 2 / 4
    assert jumped(lambda o: theirs.CosineAnnealingLR(o, total), total - 1) == 0
    assert BASE * lrc.cosine().multiplier(total - 1, total) == pytest.approx(right, rel=1e-15)
    optimizer = optimizer_at(BASE)
    scheduler = theirs.CosineAnnealingLR(optimizer, total)
    optimizer.step()
    scheduler.last_epoch = total - 4
    scheduler.step()
    assert read(optimizer, "lr") == 0
    with pytest.raises(ZeroDivisionError):
        scheduler.step()


def test_a_place_in_a_cycle_keeps_its_digits() -> None:
    """CyclicLR takes it from `1 + t / size - cycle`: after a million cycles nine digits are gone."""
    optimizer = optimizer_at(BASE)
    scheduler = theirs.CyclicLR(optimizer, 0.0, BASE, 2000, cycle_momentum=False)
    optimizer.step()
    scheduler.last_epoch = 4_000_000_000
    scheduler.step()
    right = BASE / 2000
    assert abs(read(optimizer, "lr") / right - 1) > 1e-7
    assert BASE * lrc.triangular(low=0.0, period=4000).multiplier(4_000_000_001, 5 * 10**9) == right


@pytest.mark.parametrize(
    ("make", "text", "named"),
    [
        (lambda o: theirs.StepLR(o, 1, -0.5), "step(-0.5, every=1)", "factor"),
        (lambda o: theirs.ExponentialLR(o, -0.9), "geometric(-0.9)", "gamma"),
        (lambda o: theirs.CosineAnnealingLR(o, 4, -0.1), "cosine(end=-1)", "end"),
        (lambda o: theirs.CyclicLR(o, -0.1, 0.1, 2, cycle_momentum=False), "triangular(low=-1, period=4)", "low"),
        (
            lambda o: theirs.OneCycleLR(o, 0.1, 5, div_factor=-25, cycle_momentum=False),
            "one_cycle(start=-0.04)",
            "start",
        ),
    ],
    ids=["StepLR", "ExponentialLR", "CosineAnnealingLR", "CyclicLR", "OneCycleLR"],
)
def test_a_negative_rate_is_refused_when_it_is_asked_for(make: Any, text: str, named: str) -> None:
    """Theirs train uphill without a word."""
    assert min(live(make, 5)) < 0
    with pytest.raises(BadInput, match=f"`{named}` must be a number >=? 0"):
        lrc.schedule(text)
