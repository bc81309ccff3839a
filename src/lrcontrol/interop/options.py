"""What every client may pass on to `as_torch_scheduler`."""

from typing import Literal, TypedDict

from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.states import OnMismatch

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """Options of `as_torch_scheduler` that mean the same in every client; see there."""

    momentum: str | Schedule | None
    weight_decay: str | Schedule | None
    beyond: Literal["hold", "raise"]
    steps_per_epoch: int | None
    on_mismatch: OnMismatch
    direction: Literal["minimize", "maximize"]
