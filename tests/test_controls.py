"""Controls: the contract, and what each promises besides."""

import math
from typing import Any

import pytest
from hypothesis import given, settings

import lrcontrol as lrc
from contracts.control import ControlContract, driven
from lrcontrol.controls.control import Decision, Observation
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.schedules.schedule import Schedule
from strategies import laid

CONTROLS = {
    "linear": Scheduled(lrc.linear()),
    "raise": Scheduled(lrc.cosine(), beyond="raise"),
    "nested": Scheduled(lrc.schedule("warmup(0.2)+repeat(rex*linear(end=0.5), times=2)")),
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
class TestControls(ControlContract):
    """Every control keeps the contract."""


@settings(max_examples=60, derandomize=True, deadline=None)
@given(laid())
def test_scheduled_follows_its_schedule_and_holds_its_end(case: tuple[Schedule, int]) -> None:
    """A run under `Scheduled` sees the schedule's multipliers bit for bit, and its end from then on."""
    schedule, total = case
    control = Scheduled(schedule)
    assert [decision.multiplier for decision in driven(control, total)] == schedule.multipliers(total).tolist()
    state = {"step": total - 1, "total_steps": total}
    assert control.next(state, Observation(step=total - 1))[0].multiplier == schedule.last
    assert control.next(state, Observation(step=100 * total))[0].multiplier == schedule.last


def test_raise_refuses_the_first_step_past_the_end_and_not_the_last() -> None:
    control = Scheduled(lrc.linear(), beyond="raise")
    _, state = control.start(3)
    decision, state = control.next(state, Observation(step=1))
    assert decision == Decision(lrc.linear().multiplier(2, 3))
    with pytest.raises(OutOfSchedule, match="below total_steps=3, got 3"):
        control.next(state, Observation(step=2))


def test_hold_is_what_raise_is_not() -> None:
    """`beyond` moves what happens past the end, and nothing before it."""
    hold, strict = Scheduled(lrc.rex()), Scheduled(lrc.rex(), beyond="raise")
    assert hold != strict
    assert driven(hold, 5) == driven(strict, 5)
    assert hold.next(hold.start(1)[1], Observation(step=0))[0].multiplier == 0.0
    with pytest.raises(OutOfSchedule):
        strict.next(strict.start(1)[1], Observation(step=0))


@pytest.mark.parametrize("bad", ["rex", None, 1, True, math.nan, [], 10**5000], ids=lambda bad: type(bad).__name__)
def test_what_is_no_schedule_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="`schedule`"):
        Scheduled(bad)


@pytest.mark.parametrize("bad", ["holds", "", None, True, 10**5000], ids=lambda bad: type(bad).__name__)
def test_an_unknown_rule_past_the_end_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="rule past the end"):
        Scheduled(lrc.linear(), beyond=bad)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(BadInput, match="did you mean 'hold'"):
        Scheduled(lrc.linear(), beyond="holds")  # type: ignore[arg-type]
