"""A schedule as an ignite handler."""

from typing import Any, Unpack

from ignite.engine import Engine, Events
from torch.optim import Optimizer

from lrcontrol.docstrings import with_keys
from lrcontrol.interop.options import Options
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.adapter import as_torch_scheduler

__all__ = ["IgniteSchedule", "as_ignite_handler"]


@with_keys(Options)
def as_ignite_handler(
    optimizer: Optimizer, schedule: str | Schedule, total_steps: int, **options: Unpack[Options]
) -> "IgniteSchedule":
    """A handler that steps after every iteration in which the optimizer made an update.

    So it may be given to a trainer that accumulates gradients. Give it to `Checkpoint` beside trainer, model and
    optimizer.

    Args:
        optimizer: every group's `lr` now is its base learning rate.
        schedule: a schedule or its text.
        total_steps: >= 1; updates of all epochs, that the schedule is laid over.
        options: some of those of `as_torch_scheduler`, by name. A control that needs a metric is told it after an
            evaluation by `handler.scheduler.step(metric)`.

    Raises:
        BadInput: a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> rates = []
        >>> def update(engine, batch):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        >>> trainer = Engine(update)
        >>> as_ignite_handler(optimizer, "linear", total_steps=4).attach(trainer)
        >>> state = trainer.run([0, 0], max_epochs=2)
        >>> rates
        [1.0, 0.75, 0.5, 0.25]
    """
    return IgniteSchedule(optimizer, schedule, total_steps, **options)


class IgniteSchedule:
    """See `as_ignite_handler`. Its state is that of `as_torch_scheduler`."""

    def __init__(
        self, optimizer: Optimizer, schedule: str | Schedule, total_steps: int, **options: Unpack[Options]
    ) -> None:
        self.scheduler = as_torch_scheduler(optimizer, schedule, total_steps, **options)

    def attach(self, trainer: Engine) -> None:
        """Call this handler at the end of every iteration of `trainer`."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the rates of the next update, if one was made."""
        del engine
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """See `as_torch_scheduler`."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `as_torch_scheduler`."""
        self.scheduler.load_state_dict(state_dict)
