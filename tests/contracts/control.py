"""What every control must do; a new one is a line in the list of tests/test_controls.py."""

import copy
import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from lrcontrol.controls.control import Control, Decision, Observation, OpenLoop
from lrcontrol.errors import BadInput, OutOfSchedule

TOTAL = 12


def seen(step: int, needs: frozenset[str], *, all_fields: bool = False) -> Observation:
    """A plausible observation of `step`; what is not needed is None, unless `all_fields`."""
    made = {"loss": 2.0 / (step + 2) + 0.01 * (step % 3), "metric": 1.0 / (step + 1), "grad_norm": 1.0 + step % 2}
    return Observation(step, **{name: value for name, value in made.items() if all_fields or name in needs})


def driven(control: Any, total: int, *, through_json: bool = False, all_fields: bool = False) -> list[Decision]:
    """The decisions of a whole run; `through_json` stores and loads the state after every update."""
    decision, state = control.start(total)
    decisions = [decision]
    for step in range(total - 1):
        if through_json:
            state = json.loads(json.dumps(state, allow_nan=False))
        decision, state = control.next(state, seen(step, control.needs, all_fields=all_fields))
        decisions.append(decision)
    return decisions


class ControlContract:
    """Inherit, and give a `control` fixture."""

    @pytest.fixture
    def control(self) -> Any:
        raise NotImplementedError

    def test_it_is_a_control_that_needs_known_things(self, control: Any) -> None:
        assert isinstance(control, Control)
        assert isinstance(control.needs, frozenset)
        assert control.needs <= {field.name for field in msgspec.structs.fields(Observation)} - {"step"}

    @pytest.mark.parametrize("total", [1, 2, 3, TOTAL])
    def test_multipliers_are_finite_and_not_negative(self, control: Any, total: int) -> None:
        for decision in driven(control, total):
            assert isinstance(decision, Decision)
            assert type(decision.multiplier) is float
            assert math.isfinite(decision.multiplier)
            assert decision.multiplier >= 0

    def test_resume_equals_uninterrupted(self, control: Any) -> None:
        assert driven(control, TOTAL, through_json=True) == driven(control, TOTAL)

    def test_what_is_not_needed_changes_nothing(self, control: Any) -> None:
        assert driven(control, TOTAL, all_fields=True) == driven(control, TOTAL)

    def test_next_is_pure(self, control: Any) -> None:
        _, state = control.start(TOTAL)
        for step in range(TOTAL - 1):
            before = copy.deepcopy(state)
            first = control.next(state, seen(step, control.needs))
            assert control.next(state, seen(step, control.needs)) == first
            assert state == before
            state = first[1]
        assert control.start(TOTAL) == control.start(TOTAL)

    def test_the_table_is_the_trajectory(self, control: Any) -> None:
        if isinstance(control, OpenLoop):
            assert not control.needs
            for total in (1, 2, TOTAL):
                table = control.multipliers(total)
                assert table.dtype == np.float64
                assert table.tolist() == [decision.multiplier for decision in driven(control, total)]

    def test_past_the_end_is_a_number_or_out_of_schedule(self, control: Any) -> None:
        _, state = control.start(2)
        for step in range(1, 200):
            try:
                decision, state = control.next(state, seen(step, control.needs))
            except OutOfSchedule:
                return
            assert math.isfinite(decision.multiplier)
            assert decision.multiplier >= 0

    def test_bad_horizons_are_refused_by_name(self, control: Any) -> None:
        for bad in (0, -1, 1.5, True, math.nan, math.inf, 10**5000, "10", None):
            with pytest.raises(BadInput, match="`total_steps`"):
                control.start(bad)

    def test_frozen_and_equal_by_value_and_json(self, control: Any) -> None:
        with pytest.raises(AttributeError):
            control.new_field = 1
        twin = msgspec.json.decode(msgspec.json.encode(control), type=type(control))
        assert twin == control
        assert hash(twin) == hash(control)
