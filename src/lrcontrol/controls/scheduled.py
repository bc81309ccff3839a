"""The control that follows a schedule and looks at nothing."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.controls.control import Decision, Looks, Observation, State
from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.cycle_ends import Ends, ends_of
from lrcontrol.schedules.schedule import Schedule, check_written

__all__ = ["Scheduled"]


class Scheduled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="control", tag="scheduled"):
    """A schedule laid over the run, and schedules of other hyper-parameters beside it.

    Args:
        schedule: the multiplier of the base learning rates as a function of the step.
        beyond: past the end, `hold` the schedule's end or `raise` OutOfSchedule.
        momentum: its multipliers, all below 1, are the momentum itself (or beta1); None leaves it.
        weight_decay: its multipliers are of every group's base weight decay; None leaves it.
    Example:
        >>> import lrcontrol as lrc
        >>> decision, state = Scheduled(lrc.linear()).start(total_steps=4)
        >>> Scheduled(lrc.linear()).next(state, Observation(step=0))[0].multiplier
        0.75
    """

    schedule: Schedule
    beyond: Literal["hold", "raise"] = "hold"
    momentum: Schedule | None = None
    weight_decay: Schedule | None = None

    def __post_init__(self) -> None:
        checks.instance("schedule", self.schedule, Schedule, "a Schedule")
        checks.one_of("rule past the end", self.beyond, ("hold", "raise"))
        for name, beside in (("momentum", self.momentum), ("weight_decay", self.weight_decay)):
            checks.instance(name, beside, Schedule | None, "a Schedule or None")
        check_written(*self.schedules)
        if self.momentum is not None and self.momentum.largest >= 1:
            raise BadInput(
                "the multipliers of `momentum` are the momentum itself and must stay below 1, "
                f"got {self.momentum}, which goes to {self.momentum.largest:g}."
            )

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """That of the rate, and those beside it."""
        return tuple(each for each in (self.schedule, self.momentum, self.weight_decay) if each is not None)

    @property
    def needs(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    @property
    def sets_rate(self) -> bool:
        """It multiplies the base rate."""
        return False

    @property
    def price(self) -> int:
        """One update."""
        return 1

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        return self._at(0, total_steps)

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after the one that was seen."""
        return self._at(seen.step + 1, state["total_steps"])

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit, naming the schedule, where one is longer than `total_steps`."""
        for each in self.schedules:
            try:
                each.multiplier(0, total_steps)
            except DoesNotFit as error:
                raise DoesNotFit(f"{each} over {total_steps} steps: {error}") from None

    def ends(self, total_steps: int) -> Ends:
        """Where the cycles of the rate end."""
        return ends_of(self.schedule, total_steps)

    def looks(self, total_steps: int) -> Looks:
        """Never."""
        del total_steps
        return Looks()

    @property
    def ensemble(self) -> None:
        """Its run ends with one model."""

    @property
    def keeps(self) -> bool:
        """No: its run ends with its last weights."""
        return False

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """Shape (total_steps,): the whole run at once."""
        return self.schedule.multipliers(total_steps)

    def beside(self, total_steps: int) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Momentum and multipliers of the weight decay, each of shape (total_steps,), or None where it is left."""
        momentum = None if self.momentum is None else self.momentum.multipliers(total_steps)
        return momentum, None if self.weight_decay is None else self.weight_decay.multipliers(total_steps)

    def _at(self, step: int, total_steps: int) -> tuple[Decision, State]:
        total_steps = checks.integer("total_steps", total_steps, low=1)
        if self.beyond == "raise" and step >= total_steps:
            raise OutOfSchedule(f"a step must be below total_steps={total_steps}, got {step}.")
        state: dict[str, Any] = {"step": step, "total_steps": total_steps}
        momentum = None if self.momentum is None else self.momentum.multiplier(step, total_steps)
        decay = None if self.weight_decay is None else self.weight_decay.multiplier(step, total_steps)
        return Decision(self.schedule.multiplier(step, total_steps), momentum, decay), state
