"""A Trainer of Transformers as a task: a training script over a run, written once."""

import functools
from collections.abc import Callable
from numbers import Real
from typing import Any, Unpack

import torch

from lrcontrol import checks
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput
from lrcontrol.interop.options import TaskOptions
from lrcontrol.runs.method import Own
from lrcontrol.training.random_numbers import seed_all
from lrcontrol.training.run import Run
from lrcontrol.training.tasks.script import ScriptTask, task

__all__ = ["transformers_task"]

NO_METRICS = ("epoch", "_runtime", "_per_second", "_time")  # what `evaluate` tells beside what it measured


@with_keys(TaskOptions)
def transformers_task(**options: Unpack[TaskOptions]) -> Callable[[Callable[[Run], Any]], ScriptTask]:
    """Makes a task of a function that gives a `Trainer` of Transformers; a decorator.

    The function is called with a `Run`, at the top of a file as every task of one's own. The trainer's optimizer is
    steered in place of `lr_scheduler_type`; where the task's method names an optimizer, the trainer is to be given it,
    as `optimizers=(run.optimizer(model.parameters()), None)`. `max_steps`, seeds and `save_strategy` are set by the
    run, and it is quiet. Loss and learning rate are recorded of every update, and what `evaluate` gives, such as
    `eval_loss`, is what runs are compared by; the end is always evaluated. Model and optimizer are saved at the end; a
    run that goes on from another has both, and begins a new pass over the data.

    Args:
    Raises:
        BadInput: a bad value.
    Example:
        See docs/own_scripts.md, whose files are run by the tests.
    """

    def made(function: Callable[[Run], Any]) -> ScriptTask:
        @functools.wraps(function)
        def script(run: Run) -> None:
            _train(run, function(run))

        return task(**options)(script)

    return made


def _train(run: Run, trainer: Any) -> None:
    import transformers

    if not isinstance(trainer, transformers.Trainer):
        raise BadInput(f"the function must return a transformers.Trainer, got {checks.shown(trainer)}.")
    args = trainer.args
    if trainer.lr_scheduler is not None or args.warmup_steps:
        raise BadInput(
            "the schedule is the run's, its warmup too; leave the scheduler and `warmup_steps` out of the trainer, "
            f"got {checks.shown(trainer.lr_scheduler)} and warmup_steps={args.warmup_steps}."
        )
    if trainer.eval_dataset is None:
        raise BadInput("a trainer must have an eval_dataset, which runs are compared by, got none.")
    args.max_steps, args.seed, args.save_strategy = run.stop_step - run.step, run.seed, "no"
    seed_all(run.seed)  # the trainer has seeded all with its own
    losses: list[torch.Tensor] = []
    training_step = trainer.training_step

    def watched(*given: Any, **named: Any) -> torch.Tensor:
        losses.append(training_step(*given, **named))
        return losses[-1]

    def no_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        del num_training_steps
        trainer.lr_scheduler = _Steered(trainer.optimizer if optimizer is None else optimizer)
        return trainer.lr_scheduler

    class Joined(transformers.TrainerCallback):
        """Joins a trainer and a run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """Steer the optimizer, and go on where the run does."""
            optimizer = trainer.optimizer
            if isinstance(run.spec.method.optimizer, Own):
                run.steer(optimizer)
            kept = run.restore()
            if kept is not None:
                trainer.model.load_state_dict(kept["model"])
                optimizer.load_state_dict(kept["optimizer"])

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
            """Tell the loss, the parts of its batches taken together, and end where the run does."""
            run.log_loss(torch.stack(losses).sum())
            losses.clear()
            if run.should_stop:
                control.should_training_stop = control.should_evaluate = True
            return control

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **more: Any) -> None:
            """Tell what was measured."""
            if run.step:
                numbers = {name: value for name, value in metrics.items() if isinstance(value, Real)}
                run.log({name: float(value) for name, value in numbers.items() if not name.endswith(NO_METRICS)})

    trainer.training_step, trainer.create_scheduler = watched, no_scheduler
    for talkative in (transformers.ProgressCallback, transformers.PrinterCallback):
        trainer.remove_callback(talkative)
    trainer.add_callback(Joined())
    trainer.train()
    run.save({"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict()})


class _Steered:
    """Stands where a scheduler would: the run sets the rates."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(self, *_: Any) -> None:
        """Nothing."""

    def get_last_lr(self) -> list[float]:
        """Of every group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""
