"""What every client may pass on to `as_torch_scheduler`, and to `lrcontrol.task`."""

from collections.abc import Callable
from typing import Literal, Required, TypedDict

from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.states import OnMismatch

__all__ = ["Options", "TaskOptions"]


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


class TaskOptions(TypedDict, total=False):
    """Options of `lrcontrol.task`, all by name.

    Args:
        metric: the validation metric runs are compared by; a name that is logged.
        direction: which way it is better, `minimize` or `maximize`.
        full_steps: >= 1; updates of a full run, the 100 % budget.
        method: a default, as text: `own:cosine`, or with an optimizer's name where that is chosen too.
        base_lr: > 0; the rate that it would be trained with, which those that are tried lie around.
        prepare: a function without arguments that loads what all runs share.
        kind: for people, such as "image classification".
        data: for people; where they come from.
        model: for people.
    """

    metric: Required[str]
    direction: Required[Literal["minimize", "maximize"]]
    full_steps: Required[int]
    method: str
    base_lr: float
    prepare: Callable[[], object] | None
    kind: str
    data: str
    model: str
