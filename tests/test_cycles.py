"""Cycles: where they end, stopping early by their ends alone, and runs that end with one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.schedules.schedule import Schedule
from strategies import laid

COUNTS = range(1, 13)
PLANNED = {
    "snapshot": lrc.snapshot,
    "triangular": lrc.triangular,
    "triangular2": lrc.triangular2,
    "exp_range": lambda cycles: lrc.exp_range(0.99, cycles),
    "sgdr": lrc.sgdr,
    "sgdr of equal cycles": lambda cycles: lrc.sgdr(cycles, 1.0),
    "sgdr, growth 1.5": lambda cycles: lrc.sgdr(cycles, 1.5),
    "sgdr, growth 3, lower": lambda cycles: lrc.sgdr(cycles, 3.0, shrink=0.7, low=0.1),
}


def jumps(schedule: Schedule, total: int) -> list[int]:
    """After which updates a falling multiplier leaps up: where a cosine begins anew."""
    values = schedule.multipliers(total)
    return (np.flatnonzero(np.diff(values) > 1e-12) + 1).tolist()


def refusal(schedule: Schedule, total: int) -> str | None:
    """The sentence that says why a run of so many steps has no such cycles, or None."""
    try:
        schedule.cycle_ends(total)
    except DoesNotFit as error:
        return str(error)
    return None


@pytest.mark.parametrize("recipe", PLANNED.values(), ids=PLANNED)
def test_planned_cycles_fill_any_run_to_its_end(recipe: Any) -> None:
    """Every run of 1 to 200 steps in 1 to 12 cycles: as many ends, the last with the run; or one sentence."""
    for cycles in COUNTS:
        schedule = recipe(cycles)
        grows = "growth" in str(schedule) or str(schedule).startswith("sgdr")
        for total in range(1, 201):
            refused = refusal(schedule, total)
            if refused is None:
                ends = schedule.cycle_ends(total)
                assert len(ends) == cycles <= total
                assert ends[-1] == total
                assert all(one < other for one, other in zip((0, *ends), ends, strict=False))
                assert all(isinstance(end, int) for end in ends)
            else:
                assert f"of {cycles} cycles none" in refused
                assert cycles > total or grows


@pytest.mark.parametrize("growth", [1.0, 1.5, 2.0, 3.0])
def test_a_cycle_ends_where_the_rate_leaps_up(growth: float) -> None:
    for cycles in (2, 3, 5):
        for total in range(80, 200):
            ends = lrc.sgdr(cycles, growth).cycle_ends(total)
            long = [end for begin, end in zip((0, *ends), ends[:-1], strict=False) if end - begin > 1]
            assert [end for end in jumps(lrc.sgdr(cycles, growth), total) if end in ends] == long
            assert set(jumps(lrc.sgdr(cycles, growth), total)) <= set(ends)


@pytest.mark.parametrize("growth", [1.0, 1.5, 2.0, 3.0])
def test_cycles_of_a_period_end_with_it_and_one_cut_short_does_not_count(growth: float) -> None:
    for period in range(2, 12):
        schedule = lrc.sgdr(period=period, growth=growth)
        for total in range(1, 200):
            ends = schedule.cycle_ends(total)
            assert list(ends) == [end for end in (*jumps(schedule, 1000),) if end <= total]


def test_fractal_steps_end_with_their_nodes() -> None:
    for every in (1, 2, 3):
        for total in range(1, 100):
            wanted = tuple(range(8 * every, total + 1, 8 * every))
            assert lrc.fractal(8, every=every).cycle_ends(total) == wanted


@pytest.mark.parametrize(
    ("text", "total", "ends"),
    [
        ("cosine", 10, (10,)),
        ("warmup(0.1)+cosine", 10, (10,)),
        ("step(every=3)", 10, (10,)),
        ("step", 12, (12,)),
        ("cosine(every=5)", 10, (10,)),
        ("warmup(5)+sgdr(2)", 35, (15, 35)),
        ("warmup(0.1)+snapshot(3)", 100, (40, 70, 100)),
        ("over(sgdr(2), share=0.6)+linear", 100, (20, 60, 100)),
        ("over(sgdr(2, growth=1), share=0.5)+linear(share=0.2)+over(snapshot(3), share=0.3)", 100,
         (25, 50, 80, 90, 100)),
        ("triangular(4, steps=80)", 100, (20, 40, 60, 80, 100)),
        ("over(sgdr(period=30, growth=1), steps=70)", 100, (30, 60)),
        ("sgdr(period=60)", 50, ()),
        ("sgdr(3, growth=1)*linear", 90, (30, 60, 90)),
        ("max(sgdr(3, growth=1), 0.1)", 90, (30, 60, 90)),
        ("sgdr(2, growth=1)*snapshot(6)", 90, (45, 90)),
        ("snapshot(6)*sgdr(2, growth=1)*0.5", 90, (45, 90)),
        ("hold(snapshot(3), every=7)", 90, (30, 60, 90)),
        ("repeat(snapshot(2), times=3)", 90, (15, 30, 45, 60, 75, 90)),
        ("repeat(warmup(0.2)+cosine, times=3)", 90, (30, 60, 90)),
        ("repeat(triangular(2), period=20)", 75, (10, 20, 30, 40, 50, 60, 70)),
        ("snapshot(1)", 7, (7,)),
    ],
)  # fmt: skip
def test_ends_are_those_of_the_structure(text: str, total: int, ends: tuple[int, ...]) -> None:
    assert lrc.schedule(text).cycle_ends(total) == ends


@settings(max_examples=100, derandomize=True, deadline=None)
@given(laid())
def test_ends_of_any_schedule_are_increasing_steps_of_the_run(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    refused = refusal(schedule, total)
    if refused is not None:
        assert "every cycle must have a step" in refused
        return
    ends = schedule.cycle_ends(total)
    assert all(one < other for one, other in zip((0, *ends), ends, strict=False))
    assert ends == () or ends[-1] <= total
    after = lrc.warmup(7).then(schedule.over(steps=total))
    assert after.cycle_ends(total + 7) == tuple(7 + end for end in ends)


@given(st.integers(1, 6), st.integers(30, 300))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_is_beside_and_around_leaves_the_ends(cycles: int, total: int) -> None:
    ends = lrc.snapshot(cycles).cycle_ends(total)
    for other in (lrc.snapshot(cycles) * 0.3, lrc.snapshot(cycles).plus(0.1), lrc.snapshot(cycles) * lrc.linear()):
        assert other.cycle_ends(total) == ends


def test_bad_horizons_are_refused() -> None:
    for bad in (0, -1, 1.5, "10", None):
        with pytest.raises(BadInput, match="`total_steps`"):
            lrc.sgdr().cycle_ends(bad)  # type: ignore[arg-type]
    with pytest.raises(DoesNotFit, match="at most 1000000 cycles"):
        lrc.fractal(2).cycle_ends(3_000_000)
    with pytest.raises(DoesNotFit, match="every cycle must have a step, but 4 steps leave 1 of 5 cycles none"):
        lrc.snapshot(5).cycle_ends(4)
