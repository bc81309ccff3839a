"""A schedule as Lightning's `configure_optimizers` returns it."""

import math
from typing import Any, Unpack

from torch.optim import Optimizer

from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput
from lrcontrol.interop.options import Options
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.adapter import as_torch_scheduler

__all__ = ["as_lightning_config"]


@with_keys(Options)
def as_lightning_config(
    optimizer: Optimizer, schedule: str | Schedule, total_steps: Any, **options: Unpack[Options]
) -> dict[str, Any]:
    """What `configure_optimizers` returns: the optimizer, and the schedule stepped after every update.

    Args:
        optimizer: every group's `lr` now is its base learning rate.
        schedule: a schedule or its text. A control that needs a metric, such as `warmup(100)+plateau`, is told it by
            `self.lr_schedulers().step(metrics=...)` in `on_validation_epoch_end`.
        total_steps: the `Trainer`, which knows how many updates it will make, or that number, >= 1.
        options: some of those of `as_torch_scheduler`, by name, such as `on_mismatch="rescale"` to resume with another
            `max_steps`.

    Raises:
        BadInput: the trainer has no end, or a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> config = as_lightning_config(optimizer, "warmup(0.05)+rex", total_steps=1000)
        >>> config["lr_scheduler"]["interval"]
        'step'
    """
    horizon = getattr(total_steps, "estimated_stepping_batches", total_steps)
    if horizon is not total_steps:
        if not math.isfinite(horizon) or horizon < 1:
            raise BadInput(
                "the trainer must know how many updates it will make, but it has no end; "
                "give Trainer(max_steps=...), or max_epochs and data of known length, or `total_steps` as a number."
            )
        horizon = int(horizon)
    scheduler = as_torch_scheduler(optimizer, schedule, horizon, **options)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1}}
