"""What every client may pass on to `as_torch_scheduler`."""

from typing import Literal, TypedDict

from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.states import OnMismatch

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """Options of `as_torch_scheduler` that mean the same in every client, all by name; help of each spells them out.

    Args:
        momentum: a schedule whose multipliers are the momentum, or the first beta.
        weight_decay: a schedule of the multiplier of every group's own weight decay.
        beyond: past the end, `hold` the schedule's end or `raise` OutOfSchedule.
        steps_per_epoch: updates of an epoch, for lengths such as `5ep`.
        on_mismatch: what loading does with a state of another schedule or horizon: `raise`, `keep`, `rescale` or
            `replace`.
        direction: of the metric that a control is told: `minimize`, or `maximize` for an accuracy.
    """

    momentum: str | Schedule | None
    weight_decay: str | Schedule | None
    beyond: Literal["hold", "raise"]
    steps_per_epoch: int | None
    on_mismatch: OnMismatch
    direction: Literal["minimize", "maximize"]
