"""Refinement: against slow twins and worked values, its laws, and what poisoned logs do to it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import lrcontrol as lrc
from lrcontrol.analysis.compact import compact_form
from lrcontrol.analysis.readings import FEWEST, edges_of, spread
from lrcontrol.analysis.refine import LARGEST_SHARE, closed_form, refined, smoothed
from lrcontrol.errors import BadInput

law = settings(max_examples=100, derandomize=True, deadline=None)
Numbers = NDArray[np.float64]
ORDERS: tuple[Literal["l1", "l2"], ...] = ("l1", "l2")


def real_logs() -> list[tuple[Numbers, Numbers]]:
    """Steps and norms of language-model runs where the data are here, and shapes like those of them everywhere."""
    found = []
    folder = Path(os.environ.get("LRCONTROL_DATA", "nowhere"), "llm-schedules", "grad_norm")
    for path in sorted(folder.glob("*.json")):
        rows = json.loads(path.read_text())["history"]["train"]
        last = dict(zip(rows["iter"], rows["grad_norm"], strict=True))
        steps = np.array(sorted(last), dtype=np.float64)
        found.append((steps, np.array([last[step] for step in steps])))
    chance = np.random.default_rng(7)
    progress = np.linspace(0, 1, 1000)
    curves = (0.3 + 3 * np.exp(-40 * progress), 1 + progress, 2 - progress, np.ones(1000))
    return found + [(np.arange(1000.0), curve * np.exp(0.2 * chance.standard_normal(1000))) for curve in curves]


LOGS = real_logs()


# The closed form


def straight_from_the_formula(norms: list[float], power: int) -> list[float]:
    """Weights, what is left after each, and their product over the largest; steps from 1 to T."""
    weights = [norm**power for norm in norms]
    rates = [weight * sum(weights[at + 1 :]) / sum(weights) for at, weight in enumerate(weights)]
    return [rate / max(rates) for rate in rates]


@law
@given(st.lists(st.floats(1e-2, 1e2), min_size=2, max_size=40), st.sampled_from(ORDERS))
def test_the_closed_form_is_that_of_the_paper(norms: list[float], order: Literal["l1", "l2"]) -> None:
    twin = straight_from_the_formula(norms, {"l1": -1, "l2": -2}[order])
    assert closed_form(norms, order) == pytest.approx(twin, rel=1e-9, abs=1e-12)


def test_worked_values() -> None:
    """The values of the reference, to every digit it prints."""
    assert closed_form([4, 2, 1, 1, 2], "l2").tolist() == pytest.approx([0.125, 0.45, 1, 0.2, 0], abs=1e-12)
    assert closed_form([4, 2, 1, 1, 2], "l1").tolist() == pytest.approx([0.5, 0.8333333333, 1, 1 / 3, 0], abs=1e-9)


@pytest.mark.parametrize(("norms", "said"), [([1], "at least two"), ([1, 0], "0.0 at step 1"), ([1, -1.5], "-1.5")])
def test_the_closed_form_takes_norms_above_0_alone(norms: list[float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        closed_form(norms)


# Smoothing


@pytest.mark.parametrize("count", [1, 5, 19, 20, 64, 101])
@pytest.mark.parametrize("smoothing", [0, 0.05, 0.1, 0.31, 1.0])
def test_smoothing_is_a_median_of_neighbours(count: int, smoothing: float) -> None:
    """Mirrored beyond the right end, the first repeated beyond the left."""
    norms = np.random.default_rng(count).uniform(1, 2, count)
    half = math.floor(smoothing * count) // 2
    beyond = np.pad(norms, (0, half), mode="reflect") if half else norms
    padded = np.concatenate([np.full(half, norms[0]), beyond])
    twin = [float(np.median(padded[at : at + 2 * half + 1])) for at in range(count)]
    assert smoothed(norms, smoothing).tolist() == twin


# The refined schedule


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [FEWEST, 999, 1000, 9_999, 12_345, 50_000])
@pytest.mark.parametrize("norm", [1.0, 0.1, 3e-200, 7e180])
def test_constant_norms_ask_for_linear(count: int, norm: float, order: Literal["l1", "l2"]) -> None:
    """On the log's own horizon and on others; exactly, up to 10,000 readings, on its own."""
    found = refined(np.full(count, norm), order=order)
    for total in (count, 7, 1000, 31_337):
        gap = np.abs(found.schedule.multipliers(total) - lrc.linear().multipliers(total)).max()
        assert gap <= (0 if count < 10_000 and total == count else 1e-11)
    assert (found.compact.warmup, found.degenerate) == (0, None)
    assert found.compact.power == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_the_closed_form_with_the_last_step_not_wasted(order: Literal["l1", "l2"]) -> None:
    """What is left at a step includes the step itself; no reading is near the cap."""
    norms = np.random.default_rng(3).uniform(1, 2, 500)
    weights = norms ** {"l1": -1, "l2": -2}[order]
    twin = [weight * weights[at:].sum() for at, weight in enumerate(weights)]
    multipliers = refined(norms, order=order, smoothing=0).schedule.multipliers(500)
    assert multipliers.tolist() == pytest.approx((np.array(twin) / max(twin)).tolist(), rel=1e-12)
    assert multipliers[-1] > 0
    assert np.abs(multipliers - closed_form(norms, order)).max() < 0.01


@law
@given(st.integers(0, len(LOGS) - 1), st.integers(-300, 300), st.sampled_from(ORDERS))
def test_only_ratios_of_norms_matter(log: int, power: int, order: Literal["l1", "l2"]) -> None:
    """A power of 2 changes no bit; any factor no more than the last digits."""
    steps, norms = LOGS[log]
    one = refined(norms, order=order, steps=steps).schedule
    assert refined(norms * 2.0**power, order=order, steps=steps).schedule == one
    other = refined(norms * 3.7, order=order, steps=steps).schedule
    assert np.abs(other.multipliers(1000) - one.multipliers(1000)).max() < 1e-9


def test_warmup_and_fall_come_out_by_themselves() -> None:
    norms = 1 + 9 * np.exp(-np.arange(2000) / 40)
    multipliers = refined(norms).schedule.multipliers(2000)
    peak = int(multipliers.argmax())
    assert 0 < peak < 400
    assert multipliers[0] < 0.05
    assert (np.diff(multipliers[:peak]) >= 0).all()
    assert (np.diff(multipliers[500:]) < 0).all()


def test_a_log_of_every_nth_step_is_taken_for_what_it_is() -> None:
    """A tenth of the readings of a smooth curve ask for nearly the same; uneven ones too."""
    steps = np.arange(10_000)
    norms = 1 + np.sin(steps / 2000) ** 2
    whole = refined(norms, smoothing=0).schedule.multipliers(1000)
    uneven = np.unique(np.random.default_rng(1).integers(0, 10_000, 1200))
    for kept in (steps[::10], steps[3::50], uneven):
        found = refined(norms[kept], steps=steps[kept], total_steps=10_000, smoothing=0)
        assert np.abs(found.schedule.multipliers(1000) - whole).max() < 0.03


def test_what_the_log_does_not_show_is_told() -> None:
    """Unknown parts go on as the nearest norm where the horizon is known; else the log is the run."""
    late = refined(np.ones(100), steps=np.arange(500, 600))
    assert late.notes == ("the log begins at step 500: what it shows is taken for a whole run.",)
    cut = refined(np.ones(100), total_steps=1000)
    assert cut.notes == ("no norm after step 99 of 1000 can be used: those there are taken to be as the last.",)
    begun = refined(np.ones(100), steps=np.arange(500, 600), total_steps=600)
    assert begun.notes == ("no norm before step 500 can be used: those there are taken to be as the first.",)
    for found in (late, cut, begun):
        assert np.abs(found.schedule.multipliers(1000) - lrc.linear().multipliers(1000)).max() < 1e-9
    assert refined(np.ones(100), total_steps=100).notes == ()
    assert refined(np.ones(20), steps=np.arange(50, 1001, 50), total_steps=1000).notes == ()


def test_a_run_that_diverged_keeps_its_length() -> None:
    """Norms that are not finite at the end do not make the run shorter than it was."""
    norms = np.concatenate([np.linspace(2, 1, 700), np.full(300, math.nan)])
    found = refined(norms, smoothing=0)
    held = refined(np.concatenate([norms[:700], np.full(300, norms[699])]), smoothing=0)
    assert np.abs(found.schedule.multipliers(1000) - held.schedule.multipliers(1000)).max() < 1e-9
    assert "no norm after step 699 of 1000" in found.notes[1]


def test_a_reading_before_a_gap_does_not_rule() -> None:
    """It stands for many steps, and has at most about twice their share of all rates."""
    norms = np.ones(5000)
    norms[1000:1800] = math.nan
    norms[999] = 1e-6
    rates = refined(norms, smoothing=0).schedule.multipliers(5000)
    assert rates[998:1401].sum() / rates.sum() < 2.2 * 402 / 5000
    steps = np.arange(5000)
    steps[2500:] += 2000
    norms = np.ones(5000)
    norms[2500] = 1e-6
    rates = refined(norms, steps=steps, smoothing=0).schedule.multipliers(7000)
    assert rates[3499:4502].sum() / rates.sum() < 2.2 * 1001 / 7000


def test_a_norm_that_collapses_is_told() -> None:
    assert "nearly all weight" in (refined(np.exp(-np.arange(1000) / 20)).degenerate or "")
    assert "nearly all weight" in (refined(np.exp(-np.arange(1000) / 60)).degenerate or "")
    assert "half of all rates lie" in (refined(1 + 999 * (np.arange(5000) > 100), smoothing=0).degenerate or "")
    assert "the rates lie late" in (refined(np.linspace(1, 0.1, 1000)).degenerate or "")
    assert all(refined(norms, steps=steps, order="l1").degenerate is None for steps, norms in LOGS)


@given(st.lists(st.floats(0.1, 10), min_size=20, max_size=60), st.integers(1, 200))
@law
def test_norms_over_another_horizon_keep_their_mean_square(norms: list[float], total: int) -> None:
    values = np.array(norms)
    edges = edges_of(np.arange(float(len(norms))), (0.0, float(len(norms))))
    over = spread(values, edges, total)
    assert float((over**2).mean()) == pytest.approx(float((values**2).mean()), rel=1e-9)


@pytest.mark.parametrize("total", [300, 1000, 1777, 20_000])
def test_small_norms_keep_their_digits_beside_large_ones(total: int) -> None:
    values = np.logspace(0, -40, 1000)
    over = spread(values, edges_of(np.arange(1000.0), (0.0, 1000.0)), total)
    for at in range(0, total, 37):
        begin, end = at * 1000 / total, (at + 1) * 1000 / total
        cells = [(max(begin, cell), min(end, cell + 1), values[cell]) for cell in range(int(begin), math.ceil(end))]
        square = math.fsum((last - first) * value**2 for first, last, value in cells) / (end - begin)
        assert over[at] == pytest.approx(math.sqrt(square), rel=1e-6)


@pytest.mark.parametrize(("warmup", "power"), [(0, 1), (0.1, 2), (0.3, 0.5), (0, 3), (0.02, 1)])
def test_the_compact_form_finds_what_was_put_in(warmup: float, power: float) -> None:
    progress = np.linspace(0, 1, 2001)
    rise = progress / warmup if warmup else np.ones_like(progress)
    found = compact_form(np.where(progress < warmup, rise, ((1 - progress) / (1 - warmup)) ** power))
    assert (found.warmup, found.power) == pytest.approx((warmup, power), abs=0.01)
    assert found.error < 0.01


def test_it_draws_itself_and_is_told_in_a_line(tmp_path: Path) -> None:
    found = refined(np.linspace(2, 1, 500), order="l1")
    assert "<svg" in _saved(found.plot(), tmp_path / "all.svg")
    assert "<svg" in _saved(found.plot(total_steps=10_000_000), tmp_path / "long.svg")
    assert repr(found).startswith("<Refined from 500 l1 norms: nearly ")
    assert len(repr(found.schedule)) < 60
    assert repr(refined(np.exp(-np.arange(1000) / 20))).endswith("degenerate>")


def _saved(chart: Any, path: Path) -> str:
    from lrcontrol.report.save import save_chart

    save_chart(chart, path)
    return path.read_text()


# Bad readings, bad arguments

POISONS = (0.0, math.nan, math.inf, -math.inf, -1.0, 1e-300, 1e300)


def poisoned(count: int) -> tuple[int, int, int, int]:
    """How many of so many poisoned logs were refined, refused, not finite and out of range."""
    chance = np.random.default_rng(11)
    good = refused = wild = outside = 0
    for index in range(count):
        steps, norms = LOGS[index % len(LOGS)]
        values = norms.copy()
        hit = chance.random(values.size) < chance.choice([0, 1 / values.size, 0.01, 0.1, 0.3, 0.5, 0.7, 1.0])
        values[hit] = chance.choice(POISONS, int(hit.sum())) if index % 2 else chance.choice(POISONS)
        try:
            found = refined(
                values,
                steps=steps,
                order=ORDERS[index % 2],
                smoothing=float(chance.choice([0, 0.02, 0.1, 0.5])),
                points=200,
            )
        except BadInput as error:
            refused += "readings" in str(error) or "of `grad_norm`" in str(error)
            continue
        multipliers = found.schedule.multipliers(500)
        wild += not np.isfinite(multipliers).all()
        outside += not (multipliers.min() >= 0 and multipliers.max() <= 1)
        good += 1
    return good, refused, wild, outside


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_poisoned_logs_give_a_schedule_or_one_sentence(count: int) -> None:
    good, refused, wild, outside = poisoned(count)
    print(f"RELIABILITY G1 logs={count} refined={good} refused={refused} not_finite={wild} out_of_range={outside}")
    assert (good + refused, wild, outside) == (count, 0, 0)
    assert good > count / 3


def test_what_was_left_out_is_counted() -> None:
    norms = np.ones(100)
    norms[[3, 5, 7, 9]] = [0, -1, math.nan, math.inf]
    (note,) = refined(norms).notes
    assert note == "4 of 100 readings were left out (2 not finite, 1 negative, 1 0)."


@pytest.mark.parametrize("factor", [1e12, 1e-12])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_single_reading_rules(factor: float, smoothing: float) -> None:
    """The steps that one outlier stands for have at most a hundredth of the sum of all rates."""
    worst = 0.0
    for steps, norms in LOGS:
        for at in np.linspace(0, norms.size - 1, 23).astype(int):
            values = norms.copy()
            values[at] *= factor
            found = refined(values, steps=steps, smoothing=smoothing)
            rates = found.schedule.multipliers(norms.size)
            worst = max(worst, float(rates[at] / rates.sum()))
    print(f"RELIABILITY G2 factor={factor:g} smoothing={smoothing:g} largest_share={worst:.4f} cap={LARGEST_SHARE}")
    assert worst <= LARGEST_SHARE * 1.001


def test_too_short_says_so() -> None:
    refused = 0
    for count in range(FEWEST):
        with pytest.raises(BadInput, match=f"at least {FEWEST} finite readings > 0, got {count}"):
            refined(np.ones(count))
        refused += 1
    assert refined(np.ones(FEWEST)).schedule.multipliers(10)[-1] > 0
    print(f"RELIABILITY G3 lengths={refused} refused={refused}")


@pytest.mark.parametrize(
    ("norms", "changed", "said"),
    [
        ("abc", {}, "must hold numbers"),
        ([[1.0]], {}, "one dimension"),
        (np.ones(30), {"order": "l3"}, "unknown order of a norm 'l3'"),
        (np.ones(30), {"smoothing": 1.5}, "`smoothing` must be a number >= 0 and <= 1"),
        (np.ones(30), {"smoothing": math.nan}, "`smoothing`"),
        (np.ones(30), {"points": 10_001}, "`points` must be an integer <= 10000"),
        (np.ones(30), {"steps": np.arange(29)}, "one value per norm, 30, got 29"),
        (np.ones(30), {"steps": np.zeros(30)}, "must increase"),
        (np.ones(30), {"steps": -np.arange(30)}, "whole numbers from 0"),
        (np.ones(30), {"total_steps": 0}, "`total_steps`"),
        (np.ones(30), {"total_steps": 20}, "at least its last step, got 20 and step 29"),
        (np.ones(30), {"steps": np.arange(30) * 0.5}, "whole numbers"),
        (np.ones(30), {"steps": np.arange(30) * 1e300}, "whole numbers"),
    ],
)
def test_bad_arguments_are_one_sentence(norms: Any, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        refined(norms, **changed)


TEN_MILLION = """
import resource, time
import numpy as np
from lrcontrol.analysis.refine import refined
norms = np.abs(np.random.default_rng(0).standard_normal(10**7)) + 0.1
began = time.process_time()
refined(norms)
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.slow
def test_ten_million_norms() -> None:
    """In a process of their own; time and memory are printed, the memory is held to."""
    done = subprocess.run([sys.executable, "-c", TEN_MILLION], capture_output=True, text=True, check=True)
    seconds, gigabytes = map(float, done.stdout.split())
    print(f"RELIABILITY refine norms=10000000 window=0.1 seconds={seconds:.1f} peak_gigabytes={gigabytes:.2f}")
    assert gigabytes < 1.0
