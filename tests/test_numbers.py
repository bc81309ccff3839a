"""The numbers of schedules, counted: range, exact joints, digits at any horizon, bad numbers, the end.

Each test prints its figure; the full size is slow, and the same at a smaller size is part of every run.
"""

import random
import tracemalloc
from itertools import pairwise, product
from typing import Any

import mpmath
import numpy as np
import pytest

import lrcontrol as lrc
import twin
from chance import SHAPES, any_level, any_profile, any_schedule, horizon_of
from lrcontrol.errors import DoesNotFit
from lrcontrol.schedules.profiles import Constant, Table
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import Schedule, Segment


def sizes(small: int, full: int) -> Any:
    """The same test small, in every run, and full, where there is time."""
    return pytest.mark.parametrize("count", [small, pytest.param(full, marks=pytest.mark.slow)])


def say(capsys: Any, figure: str) -> None:
    with capsys.disabled():
        print(f"\n{figure}", end="")


@sizes(300, 20_000)
def test_n1_every_value_is_finite_and_within_its_bounds(count: int, capsys: Any) -> None:
    """Random trees of all parts (seed 1001), 50 steps each, the first, the last and those past the end among them."""
    chance, done, values, outside = random.Random(1001), 0, 0, []
    while done < count:
        schedule = any_schedule(chance, chance.randint(1, 4))
        total = horizon_of(schedule, chance)
        if total is None:
            continue
        steps = [0, 1, total - 1, total, total + 1, 10 * total, *(chance.randrange(total) for _ in range(44))]
        got = schedule.multiplier(np.array(steps), total)
        if not (np.all(np.isfinite(got)) and np.all((got >= 0) & (got <= schedule.largest))):
            outside.append((str(schedule), total))
        done, values = done + 1, values + len(steps)
    say(capsys, f"N1 schedules={done} values={values} outside={len(outside)}")
    assert outside == []


def any_chain(chance: random.Random) -> tuple[list[Segment], list[tuple[float, float]], list[int]]:
    """Segments of known lengths, each with the levels that it must begin and end with, read at both its ends."""
    segments, levels, lengths = [], [], []
    for _ in range(chance.randint(1, 5)):
        profile = any_profile(chance, tuple(shape for shape in SHAPES if shape is not Constant))
        if isinstance(profile, Table):
            profile = Table((1.0, *profile.values, 0.0))
        own_end = chance.random() < 0.7 or not 0 <= (profile.natural_end or -1) < 1e5
        lengths.append(chance.choice([2, 3, chance.randint(2, 1000), chance.randint(2, 10**12)]))
        segment = Segment(
            profile,
            any_level(chance),
            any_level(chance) if own_end else None,
            Sampling(at="closed"),
            chance.random() < 0.3,
            steps=lengths[-1],
        )
        segments.append(segment)
        levels.append((segment.start, float(segment.end or 0.0)))
    return segments, levels, lengths


@sizes(500, 10_000)
def test_n2_ends_and_joints_are_exact(count: int, capsys: Any) -> None:
    """By `==` with the numbers given, from both sides of each joint and past the end (seed 1002)."""
    chance, joints, off = random.Random(1002), 0, []
    for _ in range(count):
        segments, levels, lengths = any_chain(chance)
        whole, total, begin = Schedule(tuple(segments)), sum(lengths), 0
        for (start, end), length in zip(levels, lengths, strict=True):
            got = (whole.multiplier(begin, total), whole.multiplier(begin + length - 1, total))
            joints, begin = joints + 2, begin + length
            if got != (start, end):
                off.append((str(whole), got, (start, end)))
        if not whole.multiplier(total, total) == whole.last(total) == levels[-1][1]:
            off.append((str(whole), whole.last(total), levels[-1][1]))
        for place, at, side in (("left", 0, 0), ("right", lengths[0] - 1, 1)):
            first = Schedule((Segment(segments[0].profile, *levels[0], Sampling(at=place), segments[0].reverse),))
            if first.multiplier(at, lengths[0]) != levels[0][side]:
                off.append((str(first), place, levels[0]))
            joints += 1
    say(capsys, f"N2 schedules={count} joints={joints} exact={(joints - len(off)) / joints:.2%}")
    assert off == []


@sizes(12, 1000)
def test_n3_at_most_4_ulp_at_any_horizon(count: int, capsys: Any) -> None:
    """The first step, the last and random ones of every recipe, for T from 1e3 to 1e12 and 2**53 (seed 1003)."""
    chance, worst, values = random.Random(1003), (0.0, "", 0, 0), 0
    with mpmath.workdps(twin.DIGITS):
        for (name, recipe), total in product(RECIPES.items(), (10**3, 10**6, 10**9, 10**12, 2**53)):
            schedule = recipe()
            steps = [0, total - 1, *(chance.randrange(total) for _ in range(count))]
            for step, got in zip(steps, schedule.multiplier(np.array(steps), total), strict=True):
                worst = max(worst, (twin.ulps(got, twin.value(schedule, step, total)), name, total, step))
                values += 1
    say(capsys, f"N3 recipes={len(RECIPES)} values={values} worst={worst[0]:.2f} ulp ({worst[1]}, T={worst[2]})")
    assert worst[0] <= 4, worst


@sizes(300, 5000)
def test_n7_past_the_end_nothing_moves(count: int, capsys: Any) -> None:
    """Every recipe and random trees (seed 1007), to a hundred times the horizon: the end's value, and no other."""
    chance, done, values, off = random.Random(1007), 0, 0, []
    given = [recipe() for recipe in RECIPES.values()]
    while done < count + len(RECIPES):
        schedule = given[done] if done < len(given) else any_schedule(chance, chance.randint(1, 4))
        total = horizon_of(schedule, chance)
        if total is None:
            continue
        past = np.array([total, total + 1, 2 * total, 10 * total, 100 * total, *(total + 7 * at for at in range(9))])
        got = {*schedule.multiplier(past, total).tolist(), schedule.multiplier(100 * total, total)}
        if got != {schedule.last(total)}:
            off.append((str(schedule), total, got))
        done, values = done + 1, values + len(past)
    say(capsys, f"N7 schedules={done} values={values} off={len(off)}")
    assert off == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_horizon_of_one_step_and_the_longest_both_work(name: str) -> None:
    schedule = RECIPES[name]()
    for total in (1, 2, 3, 2**53 - 1, 2**53):
        try:
            values = schedule.multiplier(np.array([0, total - 1, total, 2**53]), total)
        except DoesNotFit:
            assert name == "fractal"
            continue
        assert np.all((values >= 0) & (values <= schedule.largest))
        assert values[-1] == values[-2] == schedule.last(total)
    assert lrc.schedule("warmup(0)+linear").multipliers(1).tolist() == [1.0]
    assert lrc.schedule("warmup(0.0)+linear").multipliers(1).tolist() == [1.0]


def test_midpoints_of_the_longest_horizons_reach_neither_end() -> None:
    """Twice a step and one is more than float64 counts; what is left is counted apart."""
    last = lrc.linear(at="midpoint").multiplier(2**53 - 1, 2**53)
    assert last == 2.0**-54
    assert lrc.linear(at="midpoint", start=0, end=1).multiplier(0, 2**53) == 2.0**-54


def test_one_multiplier_of_a_billion_steps_takes_no_memory() -> None:
    """Nothing is allocated by the horizon, whatever the recipe."""
    for name, recipe in RECIPES.items():
        schedule = recipe()
        schedule.multiplier(1, 1000)
        tracemalloc.start()
        try:
            for total in (10**9, 10**12):
                schedule.multiplier(total // 2, total)
                schedule.last(total)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2**20, (name, peak)


def test_turns_that_grow_inside_turns_are_refused_in_time() -> None:
    slow = lrc.linear().repeat(period=1, growth=1.0000001)
    for schedule, total in ((slow.repeat(10_000), 9 * 10**7), (slow.repeat(period=9000, growth=1.0000001), 10**8)):
        with pytest.raises(DoesNotFit, match="at most 10000 segments in turns that grow"):
            schedule.multiplier(5, total)


def test_growth_is_the_number_as_it_is_written() -> None:
    """A tenth more of 50 and of 55 is 55 and 60.5, which rounds up; in binary it would be below."""
    edges = [
        at
        for at, (earlier, later) in enumerate(pairwise(lrc.linear().repeat(period=50, growth=1.1).multipliers(300)))
        if later > earlier
    ]
    assert edges == [49, 104, 165, 232]
    assert lrc.linear().repeat(2, growth=5).multipliers(3).tolist() == [1.0, 1.0, 0.5]


def test_a_cycle_may_be_cut_anywhere() -> None:
    """For every horizon the values are those of the longest, and the end goes on where the turn would."""
    for text in ("repeat(linear, period=7, shrink=0.5)", "repeat(rex, period=3, growth=1.5, shrink=0.9)"):
        schedule = lrc.schedule(text)
        longest = schedule.multipliers(60)
        for total in range(1, 60):
            assert schedule.multipliers(total).tolist() == longest[:total].tolist()
            ends_a_turn = longest[total] >= longest[total - 1]
            assert schedule.last(total) == (0.0 if ends_a_turn else longest[total])
