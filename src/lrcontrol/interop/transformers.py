"""A schedule in Transformers: a `Trainer` that uses it, and a function with the signature of theirs."""

from typing import Any, Unpack

from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.controls.control import Control
from lrcontrol.controls.text import control, control_text
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput
from lrcontrol.interop.options import Options
from lrcontrol.interop.own_rates import own_decays, own_rates
from lrcontrol.schedules.recipes.phases import warmup
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule as parse_schedule
from lrcontrol.training.adapter import TorchSchedule, as_torch_scheduler

__all__ = ["as_transformers_schedule", "as_transformers_trainer"]


def as_transformers_schedule(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, *, schedule: str | Schedule
) -> TorchSchedule:
    """A schedule where Transformers' `get_cosine_schedule_with_warmup` and its like stand, with their signature.

    Args:
        optimizer: every group's `lr` now is its base learning rate.
        num_warmup_steps: >= 0; updates of linear warmup before `schedule`, from 1/n of the rate (theirs is from 0).
        num_training_steps: >= 1; updates in all.
        schedule: a schedule or its text, laid over what the warmup leaves.

    Raises:
        BadInput: a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> str(as_transformers_schedule(optimizer, 100, 1000, schedule="rex").schedule)
        'warmup(100)+rex'
    """
    rise = checks.integer("num_warmup_steps", num_warmup_steps, low=0)
    after = parse_schedule(schedule)
    return as_torch_scheduler(optimizer, warmup(rise).then(after.over()) if rise else after, num_training_steps)


@with_keys(Options)
def as_transformers_trainer(trainer: Any, schedule: str | Schedule, **options: Unpack[Options]) -> type[Any]:
    """`Trainer`, or a class made from it, with this schedule in place of `lr_scheduler_type`.

    The schedule is laid over the updates that the trainer plans, is saved with every checkpoint and goes on from it.

    Args:
        trainer: `transformers.Trainer` or a subclass.
        schedule: a schedule or its text. A control that needs a metric is told `metric_for_best_model`, or else the
            loss, of every evaluation.
        options: some of those of `as_torch_scheduler`, by name, such as `on_mismatch="rescale"` to resume with another
            `max_steps`.

    Raises:
        BadInput: when training begins, where `warmup_steps` is given too. DoesNotFit: then, too.

    Example:
        >>> import transformers
        >>> Trainer = as_transformers_trainer(transformers.Trainer, "warmup(0.05)+rex")
        >>> issubclass(Trainer, transformers.Trainer)
        True
    """
    if not isinstance(trainer, type) or not hasattr(trainer, "create_scheduler"):
        raise BadInput(f"`trainer` must be transformers.Trainer or a subclass, got {checks.shown(trainer)}.")
    laid = control(schedule, steps_per_epoch=options.get("steps_per_epoch"))

    class ScheduledTrainer(trainer):
        """A trainer whose learning rate follows a schedule of lrcontrol."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """Lay the schedule over the planned updates, unless the user gave a scheduler."""
            if self.lr_scheduler is None:
                if self.args.warmup_steps:
                    raise BadInput(
                        f"the warmup must be part of the schedule, got warmup_steps={self.args.warmup_steps} beside "
                        f"'{control_text(laid)}'; write warmup(...)+... and leave `warmup_steps` out."
                    )
                on = self.optimizer if optimizer is None else optimizer
                up = self.args.metric_for_best_model and self.args.greater_is_better
                wanted: Options = {"direction": "maximize" if up else "minimize"}
                self.callback_handler.lr_scheduler = None  # it keeps that of the last train(), which has ended
                self.lr_scheduler: Any = as_torch_scheduler(
                    on,
                    laid,
                    num_training_steps,
                    base_lrs=own_rates(on),
                    base_weight_decays=own_decays(on),
                    **(wanted | options),
                )
                self._created_lr_scheduler = True  # as theirs: the next train() makes a new one
            return self.lr_scheduler

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            """As theirs; a control that needs a metric is told it."""
            metrics: dict[str, float] = super().evaluate(*args, **kwargs)
            following = getattr(self.lr_scheduler, "schedule", None)
            if isinstance(following, Control) and "metric" in following.needs:
                name = (self.args.metric_for_best_model or "loss").removeprefix("eval_")
                if f"eval_{name}" in metrics:
                    self.lr_scheduler.step(metrics=metrics[f"eval_{name}"])
            return metrics

    ScheduledTrainer.__name__ = ScheduledTrainer.__qualname__ = trainer.__name__
    return ScheduledTrainer
