"""A schedule as a skorch callback that also goes on where a loaded net stopped."""

from typing import Any

from skorch.callbacks import LRScheduler

from lrcontrol import checks
from lrcontrol.interop.own_rates import own_rates
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule as parse_schedule
from lrcontrol.training.adapter import TorchSchedule, as_torch_scheduler

__all__ = ["SkorchSchedule", "as_skorch_callback"]


def as_skorch_callback(schedule: str | Schedule, total_steps: int) -> "SkorchSchedule":
    """The `LRScheduler` of skorch, stepped after every training batch.

    Updates are counted, so batches whose gradients are only accumulated do not move it. Where a fit continues, in
    memory or from loaded parameters, optimizer and history, the schedule continues with it: the history holds the
    number of updates beside every training batch, as `event_updates`. Of a history without it, batches are counted.

    Args:
        schedule: a schedule or its text.
        total_steps: >= 1; updates of all epochs, that the schedule is laid over: the training batches, where each
            is an update.

    Raises:
        BadInput: a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> as_skorch_callback("linear", total_steps=4).simulate(4, initial_lr=1.0).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    laid, horizon = parse_schedule(schedule), checks.integer("total_steps", total_steps, low=1)
    laid.multiplier(0, horizon)  # one that does not fit is refused now
    return SkorchSchedule(schedule=str(laid), total_steps=horizon)


UPDATES = "event_updates"  # in a net's history, beside a batch


class SkorchSchedule(LRScheduler):
    """See `as_skorch_callback`; its parameters are those of skorch's callback, for `set_params` and grid search."""

    policy, monitor, step_every = staticmethod(as_torch_scheduler), None, "batch"

    def __init__(self, schedule: str, total_steps: int, event_name: str | None = "event_lr") -> None:
        self.schedule, self.total_steps, self.event_name = schedule, total_steps, event_name

    def _get_scheduler(self, net: Any, policy: Any, **kwargs: Any) -> TorchSchedule:
        del policy  # it is ours
        scheduler: TorchSchedule | None = self.lr_scheduler_
        if scheduler is None or scheduler.optimizer is not net.optimizer_:
            scheduler = as_torch_scheduler(net.optimizer_, **kwargs, base_lrs=own_rates(net.optimizer_))
        scheduler.step(_updates(net.history, self.batch_idx_))
        return scheduler

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Step, and note in the history how many updates there have been."""
        super().on_batch_end(net, training=training, **kwargs)
        if training and self.lr_scheduler_ is not None:
            net.history.record_batch(UPDATES, self.lr_scheduler_.last_epoch)


def _updates(history: Any, batches: int) -> int:
    """The updates that a history has noted last, or `batches` where it has noted none."""
    rows = (row for epoch in reversed(history) for row in reversed(epoch["batches"]))
    return next((row[UPDATES] for row in rows if UPDATES in row), batches)
