"""Schedules: against a slow twin, at every boundary, and the laws of the algebra over random trees."""

import math
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
import twin
from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.profiles import Constant, Cosine, Linear, Rex
from lrcontrol.schedules.sampling import EVERY_STEP, PLACES, Sampling
from lrcontrol.schedules.schedule import (
    LARGEST,
    Cycled,
    Held,
    Maximum,
    Minimum,
    Nested,
    Product,
    Schedule,
    Segment,
    Sum,
)
from strategies import laid, schedules
from twin import bounds, leaves

law = settings(max_examples=40, derandomize=True, deadline=None)


@law
@given(laid())
def test_it_equals_the_slow_twin(case: tuple[Schedule, int]) -> None:
    """Within 4 ulp of the truth for each segment that a value is made of."""
    schedule, total = case
    steps = sorted({*range(min(total, 12)), *range(max(total - 12, 0), total + 3), total // 2, 10 * total})
    allowed = 4 * len(leaves(schedule))
    with mpmath.workdps(twin.DIGITS):
        for step, got in zip(steps, schedule.multiplier(np.array(steps), total), strict=True):
            true = twin.value(schedule, step, total)
            assert abs(got - true) < 1e-290 or twin.ulps(got, true) <= allowed, (str(schedule), step, total)
        assert schedule.last(total) == pytest.approx(float(twin.end(schedule, total)), rel=1e-14, abs=1e-290)


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
    values = np.append(table, [schedule.last(total)] * 3)
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
    if (
        "shrink" not in str(schedule)
        and "step" not in str(schedule)
        and all(isinstance(segment.profile, Constant | Linear | Rex) for segment in segments)
    ):
        assert np.array_equal(theirs.numpy(), ours)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=8 * 2.0**-53 * (len(segments) + 1), atol=1e-290)
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
    assert {schedule.multiplier(step, total) for step in (total, total + 1, 2 * total, 10**15)} == {
        schedule.last(total)
    }


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
    four = 4 * schedule.multipliers(total)  # exact, but for what is below the smallest normal number
    np.testing.assert_allclose((4 * schedule).multipliers(total), four, rtol=0, atol=1e-300)
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
    assert both.last(first + second) == b.last(second)


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

TWO = (lrc.linear(), lrc.cosine())
OTHER = (lrc.linear(), lrc.rex())
BASE = {
    Segment: Segment(Linear(), 1.0, 0.2, Sampling(every=2), share=0.5),
    Nested: Nested(lrc.linear(), 2, share=0.5),
    Cycled: Cycled(lrc.linear(), 4, share=0.5),
    Held: Held(schedule=lrc.linear(), sampling=Sampling(times=2), share=0.5),
    Product: Product(TWO, share=0.5),
    Sum: Sum(TWO, share=0.5),
    Maximum: Maximum(TWO, share=0.5),
    Minimum: Minimum(TWO, share=0.5),
}
MOVES = [
    (Segment, "profile", Cosine()),
    (Segment, "start", 0.9),
    (Segment, "end", 0.3),
    (Segment, "sampling", Sampling(every=3)),
    *((kind, "share", 0.7) for kind in BASE),
    *((kind, "schedule", lrc.rex()) for kind in (Nested, Cycled, Held)),
    (Held, "sampling", Sampling(times=3)),
    *((kind, "growth", 2.0) for kind in (Nested, Cycled)),
    *((kind, "shrink", 0.5) for kind in (Nested, Cycled)),
    (Nested, "times", 3),
    (Cycled, "period", 3),
    (Product, "factors", OTHER),
    *((kind, "terms", OTHER) for kind in (Sum, Maximum, Minimum)),
]


@pytest.mark.parametrize(("kind", "field", "value"), MOVES, ids=lambda given: given if isinstance(given, str) else "")
def test_every_field_of_every_part_moves_an_output(kind: Any, field: str, value: Any) -> None:
    before = Schedule((BASE[kind],))
    after = Schedule((msgspec.structs.replace(BASE[kind], **{field: value}),))
    assert not np.array_equal(before.multipliers(20), after.multipliers(20))
    assert str(before) != str(after)


def test_no_field_was_forgotten() -> None:
    """Beside those above: a length in steps for every part, and a segment turned end for end."""
    for kind, base in BASE.items():
        moved = {field for owner, field, _ in MOVES if owner is kind} | {"steps"}
        assert moved | ({"reverse"} if kind is Segment else set()) == {
            field.name for field in msgspec.structs.fields(kind)
        }
        with_steps = msgspec.structs.replace(base, share=None, steps=7)
        assert not np.array_equal(Schedule((with_steps,)).multipliers(20), Schedule((base,)).multipliers(20))
    assert not np.array_equal(lrc.rex(reverse=True).multipliers(20), lrc.rex().multipliers(20))


@pytest.mark.parametrize(
    ("field", "value"), [("every", 2), ("times", 3), ("shares", (0.5,)), *(("at", place) for place in PLACES[1:])]
)
def test_every_field_of_sampling_moves_an_output(field: str, value: Any) -> None:
    moved = lrc.linear(**{field: value})
    assert not np.array_equal(moved.multipliers(10), lrc.linear().multipliers(10))
    assert {field.name for field in msgspec.structs.fields(Sampling)} == {"every", "times", "shares", "at"}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrc.linear(steps=3, share=0.5), "`steps` or `share`, not both"),
        (lambda: lrc.linear(steps=10**5000, share=0.5), "`steps` or `share`, not both"),
        (lambda: lrc.linear(every=2, times=3), "only one of `every`, `times` and `shares`"),
        (lambda: lrc.linear(times=2, shares=(0.5,)), "only one of `every`, `times` and `shares`"),
        (lambda: lrc.linear().then(lrc.cosine()), "only one part .* may take the rest"),
        (lambda: lrc.linear(share=0.6).then(lrc.cosine(share=0.5)), "must not exceed 1 in sum"),
        (lambda: lrc.linear().then([5]), "`level`"),  # type: ignore[arg-type]
        (lambda: lrc.linear().repeat(2, period=3), "either `times` or `period`, got times=2, period=3"),
        (lambda: lrc.linear().repeat(), "either `times` or `period`"),
        (lambda: lrc.linear(steps=5).repeat(period=4), "need 5 steps, but there are 4"),
        (lambda: Segment(Constant(), reverse=True), "leave them out"),
        (lambda: lrc.constant(6e8).plus(6e8), "`terms`.*must not exceed 1e\\+09 together, got up to 1.2e\\+09"),
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


@pytest.mark.parametrize("other", [b"2", None, True, [1.0], object()])
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
