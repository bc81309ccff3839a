"""Schedules: against a slow twin, at every boundary, and the laws of the algebra over random trees."""

import decimal
import fractions
import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mpmath
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.profiles import Constant, Cosine, Exponential, Linear, Polynomial, Rex
from lrcontrol.schedules.sampling import EVERY_STEP, PLACES, Sampling
from lrcontrol.schedules.schedule import LARGEST, Nested, Product, Schedule, Segment
from strategies import laid, schedules

law = settings(max_examples=80, derandomize=True, deadline=None)

# ---- the slow twin: one step at a time, by counting ----


def by_hand(schedule: Schedule, step: int, total: int) -> float:
    """The multiplier as the conventions say it, with nothing shared with the fast one."""
    begin = 0
    for part, length in zip(schedule.parts, lengths_by_hand(schedule, total), strict=True):
        if begin <= step < begin + length:
            return part_by_hand(part, step - begin, length)
        begin += length
    return end_by_hand(schedule)


def lengths_by_hand(schedule: Schedule, total: int) -> list[int]:
    """Steps first, shares of the total next (each edge on the nearest step), one part the rest."""
    lengths, edge, shares = [], 0, 0.0
    for part in schedule.parts:
        shares += part.share or 0.0
        following = min(math.floor(shares * total + 0.5), total)
        fixed = fixed_by_hand(part)
        lengths.append(fixed if fixed is not None else following - edge if part.share is not None else None)
        edge = following
    left = total - sum(length for length in lengths if length is not None)
    return [left if length is None else length for length in lengths]


def fixed_by_hand(part: Any) -> int | None:
    if part.steps is not None or part.share is not None or not isinstance(part, Nested):
        return part.steps
    inner = [fixed_by_hand(child) for child in part.schedule.parts]
    return None if None in inner else part.times * sum(inner)


def part_by_hand(part: Any, at: int, length: int) -> float:
    if isinstance(part, Product):
        return math.prod(by_hand(factor, at, length) for factor in part.factors)
    if isinstance(part, Nested):
        turns = [length * turn // part.times for turn in range(part.times + 1)]
        turn = max(turn for turn in range(part.times) if turns[turn] <= at)
        return by_hand(part.schedule, at - turns[turn], turns[turn + 1] - turns[turn])
    weight = profile_by_hand(part.profile, progress_by_hand(part.sampling, at, length))
    return part.start * weight + part.end * (1 - weight)


def progress_by_hand(sampling: Sampling, at: int, length: int) -> float:
    if sampling.shares:
        edges = sorted({0, length, *(math.floor(share * length + 0.5) for share in sampling.shares)})
    elif sampling.times is not None:
        count = min(sampling.times, length)
        edges = [math.ceil(fractions.Fraction(index * length, count)) for index in range(count + 1)]
    else:
        edges = [*range(0, length, sampling.every), length]
    index = max(index for index in range(len(edges) - 1) if edges[index] <= at)
    a, b = edges[index], edges[index + 1]
    if sampling.at == "closed":
        return index / max(len(edges) - 2, 1)
    return {"left": a / length, "midpoint": (a + b) / (2 * length), "right": b / length}[sampling.at]


def profile_by_hand(profile: Any, p: float) -> float:
    match profile:
        case Constant():
            return 1.0
        case Linear():
            return 1 - p
        case Cosine():
            return (1 + math.cos(math.pi * p)) / 2
        case Polynomial(power):
            return (1 - p) ** power
        case Exponential(rate):
            return (math.exp(-rate * p) - math.exp(-rate)) / (1 - math.exp(-rate))
        case Rex(beta):
            return (1 - p) / (1 - p * (1 - beta))
    raise AssertionError(profile)


def end_by_hand(schedule: Schedule) -> float:
    last = schedule.parts[-1]
    if isinstance(last, Nested):
        return end_by_hand(last.schedule)
    return math.prod(map(end_by_hand, last.factors)) if isinstance(last, Product) else last.end


def leaves(schedule: Schedule) -> list[Segment]:
    found = []
    for part in schedule.parts:
        inner = part.factors if isinstance(part, Product) else (part.schedule,) if isinstance(part, Nested) else ()
        found += [part] if isinstance(part, Segment) else [leaf for child in inner for leaf in leaves(child)]
    return found


def bounds(schedule: Schedule) -> tuple[float, float]:
    """The least and largest that the ends of the parts allow."""
    every = []
    for part in schedule.parts:
        if isinstance(part, Segment):
            every.append((min(part.start, part.end), max(part.start, part.end)))
        elif isinstance(part, Nested):
            every.append(bounds(part.schedule))
        else:
            factors = [bounds(factor) for factor in part.factors]
            every.append((math.prod(low for low, _ in factors), math.prod(high for _, high in factors)))
    return min(low for low, _ in every), max(high for _, high in every)


@law
@given(laid())
def test_it_equals_the_slow_twin(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    steps = sorted({*range(min(total, 30)), *range(max(total - 30, 0), total + 3), total // 2, 10 * total})
    wanted = [by_hand(schedule, step, total) for step in steps]
    np.testing.assert_allclose(schedule.multiplier(np.array(steps), total), wanted, rtol=1e-12, atol=1e-13)


# ---- laws ----


@law
@given(laid())
def test_number_array_and_table_agree_bit_for_bit(case: tuple[Schedule, int]) -> None:
    """Also backwards, in two dimensions, without any, and as every integer type."""
    schedule, total = case
    table = schedule.multipliers(total)
    assert table.shape == (total,)
    assert table.dtype == np.float64
    steps = np.arange(total + 3)
    values = np.append(table, [schedule.last] * 3)
    some = [*range(min(total + 3, 20)), total - 1, total, total + 2]
    assert [schedule.multiplier(step, total) for step in some] == values[some].tolist()
    assert [schedule.multiplier(np.int32(step), total) for step in some] == values[some].tolist()
    assert all(type(schedule.multiplier(np.uint16(step), total)) is float for step in some[:2])
    assert np.array_equal(schedule.multiplier(steps, total), values)
    assert np.array_equal(schedule.multiplier(steps[::-1], total), values[::-1])
    assert np.array_equal(
        schedule.multiplier(steps[: len(steps) // 2 * 2].reshape(2, -1), total).ravel(), values[: len(steps) // 2 * 2]
    )
    assert schedule.multiplier(steps[:0], total).shape == (0,)
    for kind in (np.int8, np.uint8, np.int32, np.uint64):
        few = steps[:100].astype(kind)
        assert np.array_equal(schedule.multiplier(few, total), values[:100])
    zero_dim = schedule.multiplier(np.array(0), total)
    assert (zero_dim.shape, float(zero_dim)) == ((), values[0])


@law
@given(laid())
def test_torch_agrees_with_numpy(case: tuple[Schedule, int]) -> None:
    """Bit for bit where profiles are plain arithmetic, else within 4 ulp per factor."""
    schedule, total = case
    steps = torch.arange(total + 3)
    ours, theirs = schedule.multiplier(steps.numpy(), total), schedule.multiplier(steps, total)
    assert theirs.dtype == torch.float64
    segments = leaves(schedule)
    if all(isinstance(segment.profile, Constant | Linear | Rex) for segment in segments):
        assert np.array_equal(theirs.numpy(), ours)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=8 * 2.0**-53 * len(segments), atol=1e-290)
    if total < 256:
        assert torch.equal(schedule.multiplier(steps[:200].to(torch.uint8), total), theirs[:200])
    assert torch.equal(schedule.multiplier(steps.to(torch.int32).reshape(-1, 1), total).ravel(), theirs)


@law
@given(laid())
def test_values_stay_within_the_ends_of_the_parts(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    low, high = bounds(schedule)
    values = schedule.multiplier(np.array([*range(total), total, total + 1, 100 * total]), total)
    assert np.all(np.isfinite(values))
    assert np.all((values >= low * (1 - 1e-15)) & (values <= high * (1 + 1e-15)))


@law
@given(laid())
def test_past_the_end_the_end_holds(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    assert {schedule.multiplier(step, total) for step in (total, total + 1, 2 * total, 10**15)} == {schedule.last}
    assert schedule.last == pytest.approx(end_by_hand(schedule), rel=1e-14)


@law
@given(schedules(2), schedules(2), schedules(2))
def test_then_is_associative(a: Schedule, b: Schedule, c: Schedule) -> None:
    a, b, c = (schedule.over(share=0.3) for schedule in (a, b, c))
    assert a.then(b).then(c) == a.then(b.then(c))
    assert a.then(b).then(c).parts == a.parts + b.parts + c.parts


@law
@given(schedules(2), schedules(2), schedules(2))
def test_times_is_associative(a: Schedule, b: Schedule, c: Schedule) -> None:
    assert (a * b) * c == a * (b * c)
    assert hash((a * b) * c) == hash(a * (b * c))


@law
@given(laid(3), laid(3))
def test_two_factors_commute_and_multiply(left: tuple[Schedule, int], right: tuple[Schedule, int]) -> None:
    (a, total), (b, other) = left, right
    total = max(total, other)
    try:
        first, second = a.multipliers(total), b.multipliers(total)
    except DoesNotFit:
        return
    np.testing.assert_allclose((b * a).multipliers(total), (a * b).multipliers(total), rtol=1e-14, atol=1e-290)
    np.testing.assert_allclose((a * b).multipliers(total), first * second, rtol=1e-14, atol=1e-290)


@law
@given(laid(), st.floats(0, 100))
def test_scaling_scales(case: tuple[Schedule, int], scale: float) -> None:
    schedule, total = case
    assert schedule * 1.0 == schedule * 1 == schedule
    assert np.array_equal((4 * schedule).multipliers(total), 4 * schedule.multipliers(total))
    assert np.array_equal((schedule * 0.0).multipliers(total), np.zeros(total))
    scaled = (np.float64(scale) * schedule) if scale else schedule * np.int64(0)
    np.testing.assert_allclose(scaled.multipliers(total), scale * schedule.multipliers(total), rtol=1e-13, atol=1e-290)


@law
@given(laid())
def test_a_wrapper_around_one_is_transparent(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    values = schedule.multipliers(total)
    for same in (
        schedule.over(),
        schedule.over(share=1.0),
        schedule.over(steps=total),
        schedule.repeat(1),
        schedule.repeat(1, share=1.0),
        schedule * lrc.constant(),
        lrc.constant().over() * schedule,
        lrc.constant(0.3, steps=0).then(schedule),
    ):
        assert np.array_equal(same.multipliers(total), values), str(same)


@law
@given(laid(3), st.integers(1, 5))
def test_repeat_is_a_tiling(case: tuple[Schedule, int], times: int) -> None:
    schedule, total = case
    repeated = schedule.repeat(times, share=1.0).multipliers(times * total)
    assert np.array_equal(repeated, np.tile(schedule.multipliers(total), times))


@law
@given(laid(3), laid(3))
def test_then_lays_end_to_end(left: tuple[Schedule, int], right: tuple[Schedule, int]) -> None:
    (a, first), (b, second) = left, right
    both = a.over(steps=first).then(b.over(steps=second))
    assert both.multipliers(first + second).tolist() == [*a.multipliers(first), *b.multipliers(second)]
    assert both.last == b.last


# ---- the recipes against the papers ----

TWINS: dict[str, tuple[Schedule, Callable[[int, int], float]]] = {
    "linear 1905.04753": (lrc.linear(), lambda t, n: 1 - t / n),
    "cosine 1608.03983": (lrc.cosine(), lambda t, n: 0.5 * (1 + math.cos(math.pi * t / n))),
    "cosine to a floor": (lrc.cosine(end=0.1), lambda t, n: 0.1 + 0.45 * (1 + math.cos(math.pi * t / n))),
    "rex 2107.04197": (lrc.rex(), lambda t, n: (1 - t / n) / (0.5 + 0.5 * (1 - t / n))),
    "rex, LRSchedules": (lrc.rex(0.1), lambda t, n: (1 - t / n) / (0.1 + 0.9 * (1 - t / n))),
    "polynomial 2": (lrc.polynomial(), lambda t, n: (1 - t / n) ** 2),
    "polynomial 1.5": (lrc.polynomial(1.5), lambda t, n: (1 - t / n) ** 1.5),
    "exponential, LRSchedules": (lrc.exponential(), lambda t, n: math.exp(-4 * t / n)),
    "exponential from 0.3": (lrc.exponential(2, start=0.3), lambda t, n: 0.3 * math.exp(-2 * t / n)),
    "exponential growth": (lrc.exponential(-math.log(100), start=0.01), lambda t, n: 0.01 * 100 ** (t / n)),
    "step": (lrc.step(), lambda t, n: 0.1 ** ((2 * t >= n) + (4 * t >= 3 * n))),
    "warmup": (lrc.warmup(10), lambda t, n: min((t + 1) / 10, 1)),
    "warmup from 0.2": (lrc.warmup(10, start=0.2, end=0.7), lambda t, n: 0.2 + 0.5 * min((t + 1) / 10, 1)),
    "constant": (lrc.constant(0.3), lambda t, n: 0.3),
    "closed cosine": (lrc.cosine(at="closed"), lambda t, n: 0.5 * (1 + math.cos(math.pi * t / max(n - 1, 1)))),
    "right linear": (lrc.linear(at="right"), lambda t, n: 1 - (t + 1) / n),
    "midpoint linear": (lrc.linear(at="midpoint"), lambda t, n: 1 - (t + 0.5) / n),
    "trapezoid": (
        lrc.schedule("warmup(0.1)+constant+linear(share=0.2)"),
        lambda t, n: min((t + 1) / int(n / 10 + 0.5), 1, (n - t) / int(n / 5 + 0.5)),
    ),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("total", [10, 20, 100, 1000, 12_340])
def test_recipes_equal_the_papers_formulas(name: str, total: int) -> None:
    schedule, formula = TWINS[name]
    wanted = [formula(step, total) for step in range(total)]
    np.testing.assert_allclose(schedule.multipliers(total), wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rate", [500, 250, 100, 50, 1])
def test_sampling_rate_holds_between_refreshes(rate: int) -> None:
    """Chen et al., section 3: refreshed at 0, rate, 2 rate, ... of 1000 iterations."""
    values = lrc.rex(every=rate).multipliers(1000)
    assert values.tolist() == [lrc.rex().multiplier(step // rate * rate, 1000) for step in range(1000)]
    assert lrc.rex(times=1000 // rate).multipliers(1000).tolist() == values.tolist()


def test_an_exponential_read_rarely_is_a_step_schedule() -> None:
    rare = lrc.exponential(math.log(1000), shares=(1 / 3, 2 / 3)).multipliers(300)
    np.testing.assert_allclose(rare, lrc.step(0.1, (1 / 3, 2 / 3)).multipliers(300), rtol=1e-14)


RAMPS = [
    (lrc.linear, lambda p: 1 - p),
    (lrc.cosine, lambda p: (1 + mpmath.cos(mpmath.pi * p)) / 2),
    (lrc.rex, lambda p: (1 - p) / (1 - p / 2)),
    (lrc.polynomial, lambda p: (1 - p) ** 2),
    (lrc.exponential, lambda p: (mpmath.exp(-4 * p) - mpmath.exp(-4)) / (1 - mpmath.exp(-4))),
]


@pytest.mark.parametrize(("recipe", "weight"), RAMPS, ids=lambda given: getattr(given, "__name__", "weight"))
def test_a_recipe_is_within_4_ulp_of_50_digits(recipe: Any, weight: Any) -> None:
    """At random steps, the first and the last, between random levels, for T from 1 to 1e12."""
    chance = random.Random(20262)
    with mpmath.workdps(50):
        for total in (1, 2, 3, 100, 10**3, 10**6, 10**9, 10**12):
            for _ in range(8):
                start, end = chance.random(), chance.choice([0.0, chance.random()])
                schedule = recipe(start=start, end=end)
                for step in {0, total - 1, total // 2, *(chance.randrange(total) for _ in range(5))}:
                    got = schedule.multiplier(step, total)
                    w = weight(mpmath.mpf(step) / total)
                    off = abs(got - (mpmath.mpf(start) * w + mpmath.mpf(end) * (1 - w))) / float(np.spacing(got))
                    assert off <= 4, (str(schedule), total, step, float(off))


# ---- both sides of every boundary ----


@given(
    st.floats(0, LARGEST),
    st.floats(0, LARGEST),
    st.sampled_from([lrc.linear, lrc.cosine, lrc.rex, lrc.polynomial, lrc.exponential]),
    st.integers(1, 10**12),
)
@law
def test_ends_are_exact(start: float, end: float, recipe: Any, total: int) -> None:
    """The first step, the step past the end, and both ends of a closed reading, by `==`."""
    left, closed = recipe(start=start, end=end), recipe(start=start, end=end, at="closed")
    assert (left.multiplier(0, total), left.multiplier(total, total)) == (start, end)
    assert closed.multiplier(0, total + 1) == start
    assert closed.multiplier(total, total + 1) == end
    assert recipe(start=start, end=end, at="right").multiplier(total - 1, total) == end


@given(st.lists(st.floats(0, LARGEST), min_size=3, max_size=6), st.integers(2, 1000))
@law
def test_joints_are_exact_from_both_sides(levels: list[float], length: int) -> None:
    whole = Schedule(
        tuple(Segment(Cosine(), begin, end, Sampling(at="closed"), steps=length) for begin, end in pairwise(levels))
    )
    total = length * (len(levels) - 1)
    for joint, level in enumerate(levels):
        if joint:
            assert whole.multiplier(joint * length - 1, total) == level
        if joint < len(levels) - 1:
            assert whole.multiplier(joint * length, total) == level
    assert whole.multiplier(total, total) == levels[-1]


@pytest.mark.parametrize(
    ("text", "one", "two", "past"),
    [
        ("constant(0.3)", [0.3], [0.3, 0.3], 0.3),
        ("linear", [1], [1, 0.5], 0),
        ("linear(at=right)", [0], [0.5, 0], 0),
        ("linear(at=midpoint)", [0.5], [0.75, 0.25], 0),
        ("linear(at=closed)", [1], [1, 0], 0),
        ("cosine(at=closed, end=0.1)", [1], [1, 0.1], 0.1),
        ("rex", [1], [1, 2 / 3], 0),
        ("polynomial", [1], [1, 0.25], 0),
        ("step", [1], [1, 0.1], 0.01),
        ("warmup(1)", [1], [1, 1], 1),
        ("warmup(0)", [1], [1, 1], 1),
        ("warmup(0.05)+linear", [1], [1, 0.5], 0),
        ("warmup(0.5)+linear", [1], [1, 1], 0),
        ("repeat(linear, times=2)", [1], [1, 1], 0),
        ("linear*linear", [1], [1, 0.25], 0),
        ("linear(times=1000)", [1], [1, 0.5], 0),
        ("linear(every=100)", [1], [1, 1], 0),
        ("linear(shares=(0.5))", [1], [1, 0.5], 0),
        ("linear(share=0)", [0], [0, 0], 0),
        ("over(linear+constant(0.2, share=0), share=0)", [0.2], [0.2, 0.2], 0.2),
    ],
)
def test_horizons_of_one_and_two_steps(text: str, one: list[float], two: list[float], past: float) -> None:
    schedule = lrc.schedule(text)
    assert schedule.multipliers(1).tolist() == pytest.approx(one, rel=1e-15)
    assert schedule.multipliers(2).tolist() == pytest.approx(two, rel=1e-15)
    assert schedule.multiplier(1, 1) == schedule.multiplier(2, 2) == schedule.multiplier(99, 2) == past


@pytest.mark.parametrize(
    ("text", "total", "steps", "values"),
    [
        ("warmup(4)+constant(2.0)", 10, [0, 3, 4, 9, 10, 1000], [0.25, 1, 2, 2, 2, 2]),
        ("constant+linear(share=0.2)", 100, [79, 80, 81, 99, 100], [1, 1, 0.95, 0.05, 0]),
        ("step", 100, [0, 49, 50, 74, 75, 99, 100], [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01]),
        ("step(milestones=(0.1))", 15, [0, 1, 2], [1, 1, 0.1]),  # 1.5 steps: the edge rounds up
        ("repeat(linear, times=3)", 10, [0, 2, 3, 5, 6, 9, 10], [1, 1 / 3, 1, 1 / 3, 1, 0.25, 0]),
        ("linear(every=3)", 8, [0, 2, 3, 5, 6, 7, 8], [1, 1, 0.625, 0.625, 0.25, 0.25, 0]),
        ("linear(every=3, at=right)", 8, [0, 2, 3, 5, 6, 7], [0.625, 0.625, 0.25, 0.25, 0, 0]),
        ("linear(every=3, at=closed)", 8, [0, 2, 3, 5, 6, 7], [1, 1, 0.5, 0.5, 0, 0]),
        ("linear(times=2)", 5, [0, 2, 3, 4], [1, 1, 0.4, 0.4]),
        ("linear(shares=(0.1, 0.5))", 10, [0, 1, 4, 5, 9], [1, 0.9, 0.9, 0.5, 0.5]),
        ("linear(steps=4)", 6, [3, 4, 5, 6], [0.25, 0, 0, 0]),
        ("over(linear(steps=2), share=0.5)+constant(0.7)", 10, [1, 2, 4, 5, 9], [0.5, 0, 0, 0.7, 0.7]),
        ("repeat(linear(steps=2), times=2)+constant(0.7)", 10, [0, 1, 2, 3, 4], [1, 0.5, 1, 0.5, 0.7]),
        ("repeat(linear(steps=1)+constant(0.5, steps=1), times=2, steps=6)", 6, range(6), [1, 0.5, 0.5] * 2),
        ("linear+constant(0.1, steps=0)", 4, [3, 4], [0.25, 0.1]),
    ],
)
def test_both_sides_of_every_edge(text: str, total: int, steps: Any, values: list[float]) -> None:
    schedule = lrc.schedule(text)
    assert [schedule.multiplier(step, total) for step in steps] == pytest.approx(values, rel=1e-14)


@given(st.floats(0.001, 0.999), st.integers(1, 10**6))
@law
def test_a_milestone_falls_on_the_nearest_step(share: float, total: int) -> None:
    schedule = lrc.step(0.1, (share,))
    edge = int(np.argmin(np.append(schedule.multipliers(total), 0.0) == 1.0))
    assert abs(edge - share * total) <= 0.5 + 1e-6


@pytest.mark.parametrize("total", [10**12, 2**53 - 1, 2**53])
def test_shares_fill_the_longest_horizons(total: int) -> None:
    thirds = lrc.schedule("linear(share=0.1)+linear(share=0.2)+linear(share=0.7)")
    assert thirds.multiplier(total, total) == 0
    assert 0 < thirds.multiplier(total - 1, total) < 1e-10
    assert lrc.linear(share=1.0).multiplier(0, total) == 1
    tenths = lrc.linear(share=0.1).over()
    for _ in range(9):
        tenths = tenths.then(lrc.linear(share=0.1))
    assert 0 < tenths.multiplier(total - 1, total) < 1e-9


def test_what_does_not_fit_is_told_with_both_lengths() -> None:
    schedule = lrc.schedule("warmup(5)+linear(share=0.5)+constant")
    with pytest.raises(DoesNotFit, match=r"need 9 steps \(5 fixed and 4 by share\), but there are 8"):
        schedule.multipliers(8)
    assert schedule.multipliers(10)[-1] == pytest.approx(0.2)
    inside = lrc.constant() * lrc.linear(steps=5).over(share=0.1).then("constant")
    for step in (0, 9):  # known before the step that it concerns
        with pytest.raises(DoesNotFit, match="need 5 steps, but there are 1"):
            inside.multiplier(step, 10)


def test_negative_steps_are_out_of_schedule() -> None:
    for step in (-1, -(2**40), np.array([3, -1]), np.array([-1])):
        with pytest.raises(OutOfSchedule, match="must be >= 0, got -"):
            lrc.linear().multiplier(step, 10)


@pytest.mark.parametrize(
    "bad",
    [
        1.0,
        True,
        math.nan,
        "1",
        None,
        [1, 2],
        10**30,
        np.float64(1),
        np.bool_(True),
        np.array([1.0]),
        np.array([True]),
        torch.tensor([1.5]),
        torch.tensor([True]),
    ],
    ids=repr,
)
def test_a_step_that_is_no_whole_number_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="`step`"):
        lrc.cosine().multiplier(bad, 10)


# ---- every field moves something ----

BASE = {
    Segment: Segment(Linear(), 1.0, 0.2, Sampling(every=2), share=0.5),
    Nested: Nested(lrc.linear(), 2, share=0.5),
    Product: Product((lrc.linear(), lrc.cosine()), share=0.5),
}
MOVES = [
    (Segment, "profile", Cosine()),
    (Segment, "start", 0.9),
    (Segment, "end", 0.3),
    (Segment, "sampling", Sampling(every=3)),
    (Segment, "share", 0.7),
    (Nested, "schedule", lrc.rex()),
    (Nested, "times", 3),
    (Nested, "share", 0.7),
    (Product, "factors", (lrc.linear(), lrc.rex())),
    (Product, "share", 0.7),
]


@pytest.mark.parametrize(("kind", "field", "value"), MOVES, ids=lambda given: given if isinstance(given, str) else "")
def test_every_field_of_every_part_moves_an_output(kind: Any, field: str, value: Any) -> None:
    before = Schedule((BASE[kind],))
    after = Schedule((msgspec.structs.replace(BASE[kind], **{field: value}),))
    assert not np.array_equal(before.multipliers(20), after.multipliers(20))
    assert str(before) != str(after)


def test_no_field_was_forgotten() -> None:
    for kind in BASE:
        moved = {field for owner, field, _ in MOVES if owner is kind} | {"steps"}
        assert moved == {field.name for field in msgspec.structs.fields(kind)}
    for kind in BASE:
        with_steps = msgspec.structs.replace(BASE[kind], share=None, steps=7)
        assert not np.array_equal(Schedule((with_steps,)).multipliers(20), Schedule((BASE[kind],)).multipliers(20))


@pytest.mark.parametrize(
    ("field", "value"), [("every", 2), ("times", 3), ("shares", (0.5,)), *(("at", place) for place in PLACES[1:])]
)
def test_every_field_of_sampling_moves_an_output(field: str, value: Any) -> None:
    moved = lrc.linear(**{field: value})
    assert not np.array_equal(moved.multipliers(10), lrc.linear().multipliers(10))
    assert {field.name for field in msgspec.structs.fields(Sampling)} == {"every", "times", "shares", "at"}


# ---- bad input ----

NOT_NUMBERS = [True, "10", None, [1], (1,), {}, decimal.Decimal(1), 1j, b"1", object()]
NOT_FINITE = [math.nan, math.inf, -math.inf, 10**5000, -(10**5000), np.float64("nan")]
NOT_WHOLE = [1.5, 1.0, np.float32(2), np.bool_(True)]

FIELDS: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
    ("total_steps", lrc.linear().multipliers, [0, -1, 2**53 + 1, *NOT_WHOLE]),
    ("total_steps", lambda bad: lrc.linear().multiplier(0, bad), [0, -1, 2**60, *NOT_WHOLE]),
    ("level", lambda bad: lrc.constant(bad), [-1, -1e-300, 2e9]),
    ("start", lambda bad: lrc.linear(start=bad), [-1, 2e9]),
    ("end", lambda bad: lrc.linear(end=bad), [-1, 2e9]),
    ("start", lambda bad: lrc.exponential(start=bad), [-1, 2e9]),
    ("end", lambda bad: lrc.exponential(end=bad), [-1, 2e9]),
    ("steps", lambda bad: lrc.cosine(steps=bad), [-1, 2**53 + 1, *NOT_WHOLE]),
    ("share", lambda bad: lrc.cosine(share=bad), [-0.1, 1.0000001]),
    ("every", lambda bad: lrc.rex(every=bad), [0, -1, 2**60, *NOT_WHOLE]),
    ("times", lambda bad: lrc.rex(times=bad), [0, -1, 1001, *NOT_WHOLE]),
    (
        "shares",
        lambda bad: lrc.rex(shares=bad),
        [0.5, (0,), (1,), (0.5, 0.5), (0.5, 0.4), (math.nan,), (None,), [0.1] * 1000],
    ),
    ("sampling place", lambda bad: lrc.rex(at=bad), ["", "centre", "LEFT"]),
    ("power", lambda bad: lrc.polynomial(bad), [0, -1, 1001]),
    ("rate", lambda bad: lrc.exponential(bad), [0, 701, -701]),
    ("beta", lambda bad: lrc.rex(bad), [0, -0.5, 1.01]),
    ("factor", lambda bad: lrc.step(bad), [-0.1, 2e9, 1e8]),
    (
        "milestones",
        lambda bad: lrc.step(0.1, bad),
        [(), (0,), (1.0,), (0.5, 0.5), (0.5, 0.1), (True,), (10**5000,), 0.5],
    ),
    ("length", lambda bad: lrc.warmup(bad), [-1, -0.1, 1.0, 1.5, 2**60]),
    ("start", lambda bad: lrc.warmup(4, start=bad), [-1, 2e9]),
    ("end", lambda bad: lrc.warmup(4, end=bad), [-1, 2e9]),
    ("times", lambda bad: lrc.linear().repeat(bad), [None, 0, -1, 10_001, *NOT_WHOLE]),
    ("steps", lambda bad: lrc.linear().repeat(2, steps=bad), [-1, *NOT_WHOLE]),
    ("share", lambda bad: lrc.linear().over(share=bad), [-1, 2]),
    ("profile", lambda bad: Segment(bad), ["linear", Linear, 1.0]),
    ("sampling", lambda bad: Segment(Linear(), sampling=bad), ["left", 2]),
    ("schedule", lambda bad: Nested(bad), ["linear", Linear(), 1.0]),
    ("factors", lambda bad: Product(bad), ["linear", (), (lrc.linear(),), ("linear", "linear"), 1.0, lrc.linear()]),
    ("parts", lambda bad: Schedule(bad), ["linear", (), ("linear",), 1.0, lrc.linear()]),
    ("scale", lambda bad: lrc.linear() * bad, [-1.0, 2e9]),
]
OPTIONAL = {"steps", "share", "end", "times"}  # where None means "not given"


def bad_values() -> list[Any]:
    rows = []
    for index, (field, make, extra) in enumerate(FIELDS):
        given = [bad for bad in [*NOT_NUMBERS, *NOT_FINITE] if not (bad is None and field in OPTIONAL)]
        if field == "scale":  # the rest is left to Python, and a TypeError
            given = NOT_FINITE
        for bad in [*given, *extra]:
            rows.append(pytest.param(field, make, bad, id=f"{index}-{field}-{type(bad).__name__}-{len(rows)}"))
    return rows


@pytest.mark.parametrize(("field", "make", "bad"), bad_values())
def test_bad_input_is_refused_by_name(field: str, make: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(BadInput) as caught:
        make(bad)
    sentence = str(caught.value)
    assert field in sentence or (field == "level" and "`start`" in sentence)
    assert len(sentence) < 400
    assert "\n" not in sentence


def test_there_are_more_than_400_bad_inputs() -> None:
    assert len(bad_values()) >= 400


def test_none_means_not_given() -> None:
    assert lrc.linear(end=None, steps=None, share=None, times=None) == lrc.linear()
    assert lrc.exponential(end=None) == lrc.exponential()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrc.linear(steps=3, share=0.5), "`steps` or `share`, not both"),
        (lambda: lrc.linear(steps=10**5000, share=0.5), "`steps` or `share`, not both"),
        (lambda: lrc.linear(every=2, times=3), "only one of `every`, `times` and `shares`"),
        (lambda: lrc.linear(times=2, shares=(0.5,)), "only one of `every`, `times` and `shares`"),
        (lambda: lrc.linear().then(lrc.cosine()), "only one part .* may take the rest"),
        (lambda: lrc.linear(share=0.6).then(lrc.cosine(share=0.5)), "must not exceed 1 in sum"),
        (lambda: lrc.linear().then(5), "schedule must be a text or a Schedule"),  # type: ignore[arg-type]
        (lambda: Segment(Constant(), 1.0, 0.5), "must end where it starts"),
        (lambda: Segment(Constant(), sampling=Sampling(every=2)), "`sampling`"),
        (
            lambda: lrc.constant(1e9) * lrc.constant(1e9),
            "`factors`.*must not exceed 1e\\+09 together, got up to 1e\\+18",
        ),
        (lambda: lrc.linear() * 1e9 * 2, "`start`"),
        (lambda: lrc.step(10, tuple(index / 20 for index in range(1, 20))), "`factor` must keep every level"),
        (lambda: lrc.linear().repeat(10_000).over(steps=5).repeat(2), "at most 10000 segments, got 20000"),
        (lambda: nest(8), "at most 8 deep, got 9"),
        (lambda: lrc.rex(at="midpoints"), "did you mean 'midpoint'"),
    ],
)
def test_what_does_not_go_together_is_told(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        make()


def nest(times: int) -> Schedule:
    schedule = lrc.linear()
    for _ in range(times):
        schedule = schedule.repeat(1)
    return schedule


def test_the_largest_and_deepest_that_are_allowed_work() -> None:
    assert nest(7).multiplier(1, 4) == 0.75
    assert lrc.linear().repeat(10_000).multiplier(10**6, 10**6) == 0
    assert lrc.constant(1e9).multiplier(5, 10) == 1e9
    assert (lrc.constant(1e5) * lrc.constant(1e4)).multiplier(0, 1) == 1e9


@pytest.mark.parametrize("other", ["2", None, True, [1.0], object()])
def test_multiplying_by_what_is_no_number_is_a_type_error(other: Any) -> None:
    with pytest.raises(TypeError):
        lrc.linear() * other


def test_schedules_are_frozen_hashable_and_hold_plain_values() -> None:
    schedule = lrc.linear(every=np.int64(3), start=np.float32(0.5), steps=np.int32(9)).repeat(np.int64(2))
    twin = lrc.linear(every=3, start=0.5, steps=9).repeat(2)
    assert schedule == twin
    assert hash(schedule) == hash(twin)
    assert str(schedule) == str(twin)
    with pytest.raises(AttributeError):
        schedule.parts = ()  # type: ignore[misc]
    assert Schedule([Segment(Linear())]) == lrc.linear()  # type: ignore[arg-type]
    assert lrc.linear(start=-0.0, end=-0.0).parts[0] == Segment(Linear(), 0.0, 0.0, EVERY_STEP)


@law
@given(schedules())
def test_no_valid_schedule_fails_but_by_not_fitting(schedule: Schedule) -> None:
    for total in (1, 2, 7, 10**9):
        try:
            value = schedule.multiplier(total - 1, total)
        except DoesNotFit:
            continue
        assert math.isfinite(value)
