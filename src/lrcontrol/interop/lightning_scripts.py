"""A Lightning module as a task: a training script over a run, written once."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import torch

from lrcontrol import checks
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput
from lrcontrol.interop.options import TaskOptions
from lrcontrol.runs.method import Own
from lrcontrol.training.run import Run
from lrcontrol.training.tasks.script import ScriptTask, task

__all__ = ["lightning_task"]

OURS = ("enable_checkpointing", "max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}


@with_keys(TaskOptions)
def lightning_task(
    *, trainer: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]
) -> Callable[[Callable[[Run], tuple[Any, Any]]], ScriptTask]:
    """Makes a task of a function that gives a Lightning module and its data; a decorator.

    The function is called with a `Run`, at the top of a file as every task of one's own. The optimizer of
    `configure_optimizers` is steered; where the task's method names an optimizer, the module is to take it from
    `run.optimizer(self.parameters())`. Loss and learning rate are recorded of every update, and what the module logs
    in validation is what runs are compared by; the end is always validated. Model and optimizer are saved at the end;
    a run that goes on from another has both, and begins a new pass over the data.

    The function returns the module and a LightningDataModule, or the module and a pair of loaders, for training and
    validation.

    Args:
        trainer: options of `lightning.Trainer`, such as `accumulate_grad_batches` and `val_check_interval`. How long
            it trains is the run's. By default it is quiet.
    Raises:
        BadInput: a bad value, or one of `trainer` that is the run's.
    Example:
        See docs/own_scripts.md, whose files are run by the tests.
    """
    given = dict(trainer or {})
    for name in OURS:
        if name in given:
            raise BadInput(
                f"how long a run trains and what is kept is the run's; leave `{name}` out of `trainer`, got "
                f"{checks.shown(given[name])}."
            )

    def made(function: Callable[[Run], tuple[Any, Any]]) -> ScriptTask:
        @functools.wraps(function)
        def script(run: Run) -> None:
            _train(run, function(run), given)

        return task(**options)(script)

    return made


def _train(run: Run, made: Any, options: Mapping[str, Any]) -> None:
    import lightning

    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], lightning.LightningModule):
        raise BadInput(f"the function must return a LightningModule and its data, got {checks.shown(made)}.")
    module, data = made
    if isinstance(data, lightning.LightningDataModule):
        fit, judge = {"datamodule": data}, {"datamodule": data}
    elif isinstance(data, tuple | list) and len(data) == 2:
        fit, judge = {"train_dataloaders": data[0], "val_dataloaders": data[1]}, {"dataloaders": data[1]}
    else:
        raise BadInput(
            "the data of a module must be a LightningDataModule or a pair of loaders, for training and validation, "
            f"got {checks.shown(data)}."
        )

    class Steered(lightning.Callback):
        """Joins a trainer and a run."""

        def __init__(self) -> None:
            self.judged, self.step, self.losses = -1, run.step, list[torch.Tensor]()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Steer the optimizer, and go on where the run does."""
            if len(trainer.optimizers) != 1 or trainer.lr_scheduler_configs:
                raise BadInput(
                    "configure_optimizers must return one optimizer and no scheduler, got "
                    f"{len(trainer.optimizers)} and {len(trainer.lr_scheduler_configs)}; the run sets the rates."
                )
            (optimizer,) = trainer.optimizers
            if isinstance(run.spec.method.optimizer, Own):
                run.steer(optimizer)
            state = run.restore()
            if state is not None:
                pl_module.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            """Tell the loss of every update, the mean over its batches, and end where the run does."""
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
            if isinstance(loss, torch.Tensor):
                self.losses.append(loss.detach())
            if run.step != self.step:
                self.step = run.step
                if self.losses:
                    run.log_loss(torch.stack(self.losses).mean())
                self.losses = []
            trainer.should_stop = trainer.should_stop or run.should_stop

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            """Tell what was measured."""
            if trainer.sanity_checking or not run.step:
                return
            run.log({name: value for name, value in trainer.callback_metrics.items() if value.numel() == 1})
            self.judged = run.step

    steered = Steered()
    fixed = {"max_steps": run.stop_step - run.step, "max_epochs": -1, "enable_checkpointing": False, "devices": 1}
    callbacks = [*options.get("callbacks", ()), steered]
    trainer = lightning.Trainer(**{**QUIET, **fixed, **options, "callbacks": callbacks})
    trainer.fit(module, **fit)
    if steered.judged != run.step:
        trainer.validate(module, verbose=False, **judge)
    (optimizer,) = trainer.optimizers
    run.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()})
