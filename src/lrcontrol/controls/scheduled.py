"""The control that follows a schedule and looks at nothing."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.controls.control import Decision, Observation, State
from lrcontrol.errors import DoesNotFit, OutOfSchedule
from lrcontrol.schedules.schedule import Schedule

__all__ = ["Scheduled"]


class Scheduled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="control", tag="scheduled"):
    """A schedule laid over the run.

    Args:
        schedule: the multiplier as a function of the step.
        beyond: past the end, `hold` the schedule's end or `raise` OutOfSchedule.
    Example:
        >>> import lrcontrol as lrc
        >>> decision, state = Scheduled(lrc.linear()).start(total_steps=4)
        >>> Scheduled(lrc.linear()).next(state, Observation(step=0))[0].multiplier
        0.75
    """

    schedule: Schedule
    beyond: Literal["hold", "raise"] = "hold"

    def __post_init__(self) -> None:
        checks.instance("schedule", self.schedule, Schedule, "a Schedule")
        checks.one_of("rule past the end", self.beyond, ("hold", "raise"))

    @property
    def needs(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The multiplier of update 0."""
        return self._at(0, total_steps)

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The multiplier of the update after the one that was seen."""
        return self._at(seen.step + 1, state["total_steps"])

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit, naming the schedule, where it is longer than `total_steps`."""
        try:
            self.schedule.multiplier(0, total_steps)
        except DoesNotFit as error:
            raise DoesNotFit(f"{self.schedule} over {total_steps} steps: {error}") from None

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """Shape (total_steps,): the whole run at once."""
        return self.schedule.multipliers(total_steps)

    def _at(self, step: int, total_steps: int) -> tuple[Decision, State]:
        total_steps = checks.integer("total_steps", total_steps, low=1)
        if self.beyond == "raise" and step >= total_steps:
            raise OutOfSchedule(f"a step must be below total_steps={total_steps}, got {step}.")
        state: dict[str, Any] = {"step": step, "total_steps": total_steps}
        return Decision(self.schedule.multiplier(step, total_steps)), state
