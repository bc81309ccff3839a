"""A horizon that changes during the run: continuous, exact, recorded; and states of another schedule or horizon."""

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import pytest

import lrcontrol as lrc
from adapter_kit import FAMILIES, as_torch, rates, run, sgd, simulated, through_json, through_torch
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.training.course import RULES, Change, Course

pytestmark = pytest.mark.filterwarnings("ignore:an update was made after the end")  # as many here are, on purpose


def at(schedule: str, position: Fraction, total: int) -> float:
    """The multiplier at a position between two steps, as the definition has it."""
    low = lrc.schedule(schedule).multiplier(int(position), total)
    high = lrc.schedule(schedule).multiplier(int(position) + 1, total)
    return low + (high - low) * float(position - int(position))


def slow_position(first: int, changes: list[Change], tick: int) -> Fraction:
    """Where a tick lies, from a list of all positions that every change rewrites: small numbers only."""
    positions = [Fraction(step) for step in range(first + 1)]

    def read(where: Fraction) -> Fraction:
        low = min(int(where), len(positions) - 1)
        high = min(low + 1, len(positions) - 1)
        return positions[low] + (positions[high] - positions[low]) * (where - low)

    for made, to, rule in changes:
        total = len(positions) - 1
        past = positions[: made + 1] + [positions[-1]] * (made - total)
        rest = range(1, to - made + 1)
        if rule == "rescale":
            left = max(total - made, 0)
            positions = past + [read(min(made, total) + Fraction(left * step, to - made)) for step in rest]
        elif rule == "hold":
            added = to - max(total, made)
            positions = past + [read(Fraction(made + max(step - added, 0))) for step in rest]
        else:
            positions = past + [read(Fraction(made + step)) for step in rest]
    return positions[min(tick, len(positions) - 1)]


def test_a_course_is_its_slow_twin() -> None:
    """Random chains of changes whose stretched positions fall on whole ticks of the twin's list."""
    chance = random.Random(3)
    compared = 0
    for _ in range(60):
        first = chance.randint(1, 20)
        changes: list[Change] = []
        course = Course(first)
        for _ in range(chance.randint(1, 3)):
            made = chance.randint(0, course.total + 3)
            rule = chance.choice(RULES)
            to = chance.randint(max(made, course.total if rule == "hold" else 0) + 1, made + 20 + course.total)
            if rule == "rescale" and any(change.rule == "rescale" for change in changes):
                continue  # between two ticks of the first stretch the twin's list has nothing to read exactly
            changes.append(Change(made, to, rule))
            before = [course.position(tick) for tick in range(made + 1)]
            course = course.changed(made, to, rule)
            assert [course.position(tick) for tick in range(made + 1)] == before, changes
        found = [course.position(tick) for tick in range(course.total + 5)]
        assert found == sorted(found), changes
        assert found == [slow_position(first, changes, tick) for tick in range(course.total + 5)], changes
        wholes = [Fraction(whole) + Fraction(part) for whole, part in course.positions(0, len(found))]
        assert [float(value) for value in wholes] == pytest.approx([float(value) for value in found], rel=1e-15)
        compared += len(found)
    print(f"courses: 60 chains, {compared} positions, 0 off")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("text", FAMILIES)
def test_n12_a_change_moves_nothing_when_it_is_made(text: str, rule: Any) -> None:
    """Bit for bit at every moment, longer and shorter, and again after another change and through a file."""
    for moment, (first, second) in itertools.product((0, 1, 13, 27, 40, 45), ((97, 60), (53, 200))):
        optimizer = sgd(0.1, 0.3)
        scheduler = simulated(optimizer, text, 40)
        for _ in range(moment):
            scheduler.step()
        before = rates(optimizer)
        if moment >= 40 and rule != "keep":  # a run that has ended has no rest to stretch, nor a level to go on from
            with pytest.raises(BadInput, match="nothing is left to"):
                scheduler.extend(first, rule)
            continue
        scheduler.extend(first, rule)
        assert rates(optimizer) == before
        scheduler.step()
        scheduler.step(scheduler.last_epoch)
        now = rates(optimizer)
        if second > first:
            scheduler.extend(second, rule)
        elif rule == "hold":
            with pytest.raises(BadInput, match="'hold'"):
                scheduler.shorten(second, rule)
            continue
        else:
            scheduler.shorten(second, rule)
        assert rates(optimizer) == now
        assert str(scheduler.horizon) == f"{second}st"
        twin = sgd(0.1, 0.3)
        resumed = simulated(twin, text, 40)
        resumed.load_state_dict(through_torch(through_json(scheduler.state_dict())))
        assert rates(twin) == now
        for _ in range(second - scheduler.last_epoch + 3):
            scheduler.step()
            resumed.step()
            assert rates(twin) == rates(optimizer)
        assert resumed.state_dict() == scheduler.state_dict()


def test_rescale_lays_the_rest_over_the_new_rest() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "cosine", 100)
    scheduler.step(40)
    scheduler.extend(160)
    for step in range(41, 170):
        scheduler.step()
        position = Fraction(40) + Fraction(min(step, 160) - 40, 2)
        assert rates(optimizer) == [pytest.approx(at("cosine", position, 100), rel=1e-15, abs=0)], step
    assert rates(optimizer) == [0.0]


def test_rescale_meets_the_schedules_own_steps_exactly() -> None:
    """Every second step of a rest that is twice as long is a step of the first curve, bit for bit."""
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "rex", 100)
    scheduler.step(20)
    scheduler.extend(180)
    for step in range(20, 181, 2):
        scheduler.step(step)
        assert rates(optimizer) == [lrc.rex().multiplier(20 + (step - 20) // 2, 100)]


def test_hold_holds_and_then_goes_on_as_planned() -> None:
    optimizer, plain = sgd(1.0), sgd(1.0)
    scheduler = simulated(optimizer, "cosine", 20)
    planned = run(plain, as_torch(plain, "cosine", 20), 22)
    scheduler.step(8)
    scheduler.extend(27, "hold")
    seen = [rates(optimizer)]
    for _ in range(20):
        scheduler.step()
        seen.append(rates(optimizer))
    assert seen == [planned[8]] * 7 + planned[8:22]


def test_keep_goes_on_as_planned_and_holds_or_ends() -> None:
    longer, shorter = sgd(1.0), sgd(1.0)
    scheduler = simulated(longer, "linear(end=0.25)", 8)
    scheduler.extend(12, "keep")
    trail = [(scheduler.step(), rates(longer)[0])[1] for _ in range(14)]
    assert trail == [lrc.linear(end=0.25).multiplier(step, 8) for step in range(1, 15)]
    scheduler = simulated(shorter, "linear", 8, beyond="raise")
    scheduler.shorten(5, "keep")
    trail = [(scheduler.step(), rates(shorter)[0])[1] for _ in range(5)]
    assert trail == [0.875, 0.75, 0.625, 0.5, 0.375]
    with pytest.raises(OutOfSchedule, match="5st"):
        scheduler.step()
    held = simulated(sgd(1.0), "linear", 8)
    held.shorten(5, "keep")
    held.step(70)
    assert held.get_last_lr() == [0.375]


def test_momentum_and_weight_decay_follow_the_change() -> None:
    import torch

    from adapter_kit import parameters

    optimizer = torch.optim.SGD(parameters(1), lr=1.0, momentum=0.9, weight_decay=0.5)
    scheduler = simulated(optimizer, "linear", 10, momentum="linear(start=0.9, end=0.5)", weight_decay="linear")
    scheduler.step(5)
    scheduler.extend(15)
    scheduler.step(7)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.4, 0.2)
    assert group["momentum"] == lrc.linear(start=0.9, end=0.5).multiplier(6, 10)


def test_many_changes_in_a_row_stay_exact() -> None:
    """A run that is told a new length every ten steps: still where exact fractions say."""
    chance = random.Random(5)
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "cosine", 1000)
    knots = [(Fraction(0), Fraction(0)), (Fraction(1000), Fraction(1000))]
    for step in range(10, 400, 10):
        scheduler.step(step)
        before = rates(optimizer)
        total = chance.randint(500, 3000)
        if total > scheduler.horizon.amount:
            scheduler.extend(total)
        elif total < scheduler.horizon.amount:
            scheduler.shorten(total)
        assert rates(optimizer) == before
        (left, low), (right, high) = knots[-2:]
        here = low + (high - low) * (step - left) / (right - left)
        knots = [(Fraction(step), here), (Fraction(total), Fraction(1000))]
    (left, low), (right, high) = knots
    for step in (391, 399, 450, int(right) - 1):
        scheduler.step(step)
        position = low + (high - low) * (step - left) / (right - left)
        assert rates(optimizer) == [pytest.approx(at("cosine", position, 1000), rel=1e-13)]


def test_changes_that_cannot_be_are_refused_and_change_nothing() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", 10)
    scheduler.step(4)
    before = scheduler.state_dict()
    for change, match in (
        (lambda: scheduler.extend(10), "longer"),
        (lambda: scheduler.extend(9), "longer"),
        (lambda: scheduler.shorten(10), "shorter"),
        (lambda: scheduler.shorten(11), "shorter"),
        (lambda: scheduler.shorten(4), "end after"),
        (lambda: scheduler.shorten(3), "end after"),
        (lambda: scheduler.shorten(8, "hold"), "'hold'"),
        (lambda: scheduler.extend(20, "stretch"), "rule of a change"),  # type: ignore[arg-type]
        (lambda: scheduler.extend("20tok"), "unit"),
        (lambda: scheduler.extend("20min"), "unit"),
        (lambda: scheduler.extend("20ep"), "`steps_per_epoch`"),
        (lambda: scheduler.extend(0), "`total_steps`"),
        (lambda: scheduler.extend(1.5), "`total_steps`"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BadInput, match=match):
            change()
        assert scheduler.state_dict() == before
        assert rates(optimizer) == [0.6]


def test_epochs_and_amounts_of_one_size_are_steps() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", "2ep", steps_per_epoch=5)
    scheduler.step(5)
    scheduler.extend("3ep")
    assert str(scheduler.horizon) == "15st"
    scheduler.step(10)
    assert rates(optimizer) == [0.25]
    scheduler = simulated(sgd(1.0), "linear", "1000tok", per_step=300)
    assert str(scheduler.horizon) == "4st"
    scheduler.extend("2000tok")
    assert str(scheduler.horizon) == "7st"


# States of another schedule or horizon


def saved(text: str = "linear", total: Any = 100, step: int = 40, **options: Any) -> dict[str, Any]:
    scheduler = simulated(sgd(1.0), text, total, **options)
    scheduler.step(step)
    return through_json(scheduler.state_dict())


def test_n12_a_state_of_another_horizon_is_a_choice() -> None:
    state = saved()
    both = r"'linear' over 100st, and this is 'linear' over 200st; .*'keep'.*'rescale'.*'replace'"
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", 200)
    with pytest.raises(BadInput, match=both):
        scheduler.load_state_dict(state)
    assert (scheduler.last_epoch, rates(optimizer)) == (0, [1.0])
    wanted: dict[Any, tuple[str, list[float]]] = {
        "keep": ("100st", [0.6, 0.5, 0.0, 0.0]),
        "rescale": ("200st", [0.6, 0.6 - 0.6 * 10 / 160, 0.6 - 0.6 * 80 / 160, 0.0]),
        "replace": ("200st", [0.8, 0.75, 0.4, 0.0]),
    }
    for rule, (total, values) in wanted.items():
        optimizer = sgd(1.0)
        scheduler = simulated(optimizer, "linear", 200, on_mismatch=rule)
        scheduler.load_state_dict(state)
        assert (scheduler.last_epoch, str(scheduler.horizon)) == (40, total)
        seen = [(scheduler.step(step), rates(optimizer)[0])[1] for step in (40, 50, 120, 200)]
        assert seen == pytest.approx(values, rel=1e-15)
        again = simulated(sgd(1.0), "linear", 200, on_mismatch=rule)
        again.load_state_dict(through_json(scheduler.state_dict()))
        assert again.get_last_lr() == scheduler.get_last_lr()


@pytest.mark.parametrize("text", FAMILIES)
def test_n12_rescaling_a_saved_run_is_continuous(text: str) -> None:
    """The rate after loading is the rate before saving, for every family, horizon and moment."""
    tried = 0
    for step, total in itertools.product((0, 3, 20, 39, 40, 50), (60, 173, 1000)):
        before = simulated(sgd(0.3), text, 40)
        before.step(step)
        if total > step:
            optimizer = sgd(0.3)
            scheduler = simulated(optimizer, "rex" if total == 173 else text, total, on_mismatch="rescale")
            if step >= 40:
                with pytest.raises(BadInput, match=r"nothing is left to rescale.*on_mismatch='replace'"):
                    scheduler.load_state_dict(through_torch(before.state_dict()))
                continue
            scheduler.load_state_dict(through_torch(before.state_dict()))
            assert rates(optimizer) == before.get_last_lr()
            assert scheduler.schedule == lrc.schedule(text)
            assert str(scheduler.horizon) == f"{total}st"
            tried += 1
    print(f"N12 {text}: {tried} loads, 0 jumps")


def test_the_same_run_made_longer_before_it_was_saved_is_no_mismatch() -> None:
    """A run that was extended loads into the horizon it began with and the one it has."""
    first = simulated(sgd(1.0), "linear", 100)
    first.step(40)
    first.extend(160)
    for total in (100, 160):
        scheduler = simulated(sgd(1.0), "linear", total)
        scheduler.load_state_dict(first.state_dict())
        scheduler.step(100)
        assert scheduler.get_last_lr() == [0.3]
    with pytest.raises(BadInput, match="over 160st"):
        simulated(sgd(1.0), "linear", 120).load_state_dict(first.state_dict())


def test_other_units_cannot_be_mixed() -> None:
    state = saved()
    for rule in ("keep", "rescale", "replace"):
        with pytest.raises(BadInput, match="one unit"):
            simulated(sgd(1.0), "linear", "30min", on_mismatch=rule).load_state_dict(state)
    with pytest.raises(BadInput, match="end after"):
        simulated(sgd(1.0), "linear", 30, on_mismatch="rescale").load_state_dict(state)


def test_replacing_takes_the_new_schedules_of_momentum_and_weight_decay() -> None:
    import torch

    from adapter_kit import parameters

    def build(**options: Any) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(parameters(1), lr=1.0, momentum=0.9, weight_decay=0.5)
        return optimizer.param_groups[0], simulated(optimizer, "linear", 10, **options)

    _, first = build(weight_decay="linear")
    first.step(5)
    state = through_json(first.state_dict())
    group, scheduler = build(momentum="constant(0.25)", on_mismatch="replace")
    scheduler.load_state_dict(state)
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.25, 0.5)
    group, scheduler = build(momentum="constant(0.25)", on_mismatch="keep")
    scheduler.load_state_dict(state)
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
    with pytest.raises(BadInput, match="momentum='constant"):
        build(momentum="constant(0.25)")[1].load_state_dict(state)


def test_a_state_of_version_1_still_loads() -> None:
    """As lrcontrol 0.1.0 wrote it."""
    state = {
        "format": "lrcontrol/torch-schedule",
        "version": 1,
        "schedule": "warmup(5)+rex",
        "horizon": 40,
        "beyond": "hold",
        "step": 17,
        "base_lrs": [0.1, 0.25],
    }
    optimizer = sgd(3.0, 4.0)
    scheduler = as_torch(optimizer, "warmup(5)+rex", 40)
    scheduler.load_state_dict(state)
    multiplier = lrc.schedule("warmup(5)+rex").multiplier(17, 40)
    assert rates(optimizer) == [0.1 * multiplier, 0.25 * multiplier]
    assert scheduler.state_dict()["version"] == 2
    with pytest.raises(BadInput, match="over 40st"):
        as_torch(sgd(1.0, 2.0), "warmup(5)+rex", 41).load_state_dict(state)
    for bad in ({"horizon": 0}, {"step": -1}, {"schedule": 3}, {"base_lrs": None}, {"version": 1.5}):
        with pytest.raises(BadInput):
            as_torch(sgd(1.0, 2.0), "warmup(5)+rex", 40).load_state_dict(state | bad)


def test_no_number_of_a_change_is_too_large() -> None:
    scheduler = simulated(sgd(1.0), "cosine", 10**15)
    scheduler.step(10**14 + 1)
    before = scheduler.get_last_lr()
    scheduler.extend(9 * 10**15)
    assert scheduler.get_last_lr() == before
    scheduler.step(5 * 10**15)
    position = (10**14 + 1) + Fraction(5 * 10**15 - 10**14 - 1) * (9 * 10**14 - 1) / (9 * 10**15 - 10**14 - 1)
    wanted = math.cos(math.pi * float(position / 10**15) / 2) ** 2
    assert scheduler.get_last_lr() == [pytest.approx(wanted, rel=1e-12)]


@pytest.mark.parametrize(
    "text",
    [
        "step(0.1, every=10)",
        "fractal",
        "linear(times=4)",
        "hold(cosine, every=7)",
        "constant(1, share=0.6)+constant(0.1)",
    ],
)
@pytest.mark.parametrize("to", [250, 137, 70])
def test_levels_are_moved_and_none_is_made_up(text: str, to: int) -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, text, 100)
    scheduler.step(32)
    (scheduler.extend if to > 100 else scheduler.shorten)(to)
    seen = set()
    for _ in range(32, to - 1):
        scheduler.step()
        seen |= set(rates(optimizer))
    assert seen <= set(lrc.schedule(text).multipliers(100).tolist())
    assert len(seen) > 1


def test_a_restart_stays_a_jump_in_a_longer_run() -> None:
    """The last of one turn, then the peak of the next, and between readings of one curve a straight line."""
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "repeat(linear, times=2)", 20)
    scheduler.step(5)
    scheduler.extend(35)
    trail = [scheduler.multiplier]
    for _ in range(30):
        scheduler.step()
        trail.append(scheduler.multiplier)
    falls = [before - after for before, after in itertools.pairwise(trail)]
    assert trail.count(1.0) == 1
    assert [fall for fall in falls if fall < 0] == [pytest.approx(-0.9)]
    assert {round(fall, 12) for fall in falls if fall > 0} == {0.05}
