"""Run: what a training script is given, what it asks, and what it tells."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import Own, schedules
from lrcontrol.runs.record import Objective, Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.closed import one_number
from lrcontrol.training.devices import CPU
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.random_numbers import put_random, taken_random
from lrcontrol.training.state import State, as_plain, with_tensors
from lrcontrol.training.steering import Steering
from lrcontrol.training.told import Saved, Told
from lrcontrol.training.under_way import BLOCK, End
from lrcontrol.training.updates import begun

__all__ = ["Run"]

IDLE = 10_000  # looks at `should_stop` without an update, after which something must be wrong


class Run:
    """One run of a training script: the script is called with it, and trains as it says.

    A script steers its optimizer, trains until `should_stop`, and logs the metric that runs are compared by::

        @lrc.task(metric="val_loss", direction="minimize", full_steps=500)
        def train(run):
            ...
            run.steer(optimizer)
            while not run.should_stop:
                ...
                optimizer.step()
            run.log(val_loss=...)

    Attributes:
        spec: what is asked of the run, as the store keeps it.
        seed: of all chance; torch, numpy and `random` are seeded with it before the script is called.
        total_steps: updates that the schedule is laid over.
        stop_step: updates after which this run ends; at most `total_steps`.
        base_lr: the first group's learning rate at multiplier 1.
        method: optimizer and control, as text.
        device: where it is asked to train, for `model.to(run.device)`: the CPU, unless the study is given another.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        told: Told,
        start: State | None = None,
        progress: Callable[[int], None] | None = None,
        device: torch.device = CPU,
        every: int = BLOCK,
    ) -> None:
        self.device = device
        self.spec, self.seed, self.base_lr = spec, spec.seed, spec.base_lr
        self.total_steps, self.stop_step, self.method = spec.total_steps, spec.stop_step, str(spec.method)
        self._objective, self._told, self._start, self._progress = objective, told, start, progress
        self._loss_first: bool | None = None  # whether losses are told before their update is made
        self._idle, self._idle_at, self._shown, self._every = 0, -1, 0, every

    @property
    def step(self) -> int:
        """Updates that the weights have seen: made here, and before by the run that this one goes on from."""
        return self.spec.first_step if self._told.steering is None else self._told.steering.count()

    @property
    def lr(self) -> float:
        """The first group's learning rate in force."""
        steering = self._steered("run.lr")
        steering.decide_if_told()
        return steering.lr

    @property
    def should_stop(self) -> bool:
        """Whether the run has ended: at its last update, by its control, or because it diverged.

        To be looked at after every update; an update that is made in spite of it ends the script there.
        """
        steering = self._steered("run.should_stop")
        steering.decide_if_told()
        self._watch(steering)
        return self._told.end is not None or steering.step >= self.stop_step or steering.stop is not None

    def optimizer(self, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
        """The method's optimizer for these parameters, steered: for scripts whose optimizer is chosen too.

        Args:
            parameters: of the model, or groups as torch's optimizers take them.
        Raises:
            BadInput: the method leaves the optimizer to the script.
        """
        if isinstance(self.spec.method.optimizer, Own):
            raise BadInput(
                f"a method must name an optimizer where the script takes it from the run, got {self.method}; give the "
                'task a default such as method="adamw:cosine", or let the script make its own and steer it.'
            )
        return self._steer(make_optimizer(self.spec.method.optimizer, parameters, self.base_lr), made_by_us=True)

    def steer(self, optimizer: Optimizer) -> Optimizer:
        """Set the learning rate of the script's own optimizer before every update from now on, and count updates.

        The first group gets `base_lr` times the multiplier; other groups, also those that are added later, keep the
        ratio that their rate has to the first one's. Real updates are counted: none where gradients are only
        accumulated, or where a gradient scaler skips.

        Args:
            optimizer: of torch, or one that wraps it; before its first update.
        Returns:
            The same optimizer.
        Raises:
            BadInput: it has made updates already, another is steered, the optimizer is part of the method, or the
                weight decay is scheduled and `restore` was called before.
        """
        if not isinstance(self.spec.method.optimizer, Own):
            raise BadInput(
                f"the optimizer must be taken from run.optimizer(parameters) where it is part of the method, got "
                f"{self.method}; for an optimizer of the script's own, leave `method` of the task out."
            )
        checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
        if self._start is None and begun(optimizer):
            raise BadInput("an optimizer must be steered before its first update, but this one has made some.")
        if self._told.restored and schedules(self.spec.method.control, "weight_decay"):
            raise BadInput(
                f"run.steer(optimizer) must come before run.restore() with {self.method}: it multiplies the weight "
                "decay that the optimizer is made with, and a state that is loaded brings another; steer it at once."
            )
        return self._steer(optimizer, made_by_us=False)

    def log_loss(self, loss: float | Tensor) -> None:
        """Tell the batch loss of an update; nothing waits for the device. A loss that is not finite ends the run.

        Args:
            loss: one number. To be told always before `optimizer.step()`, or always after it; of several that are
                told for one update the mean is kept.
        Raises:
            BadInput: it is not one number.
        """
        steering = self._steered("run.log_loss")
        update = steering.count()
        if isinstance(loss, Tensor) and loss.numel() == 1 and not loss.is_complex():
            value: Any = loss.detach().reshape(())
        else:
            value = one_number("loss", loss)
        if self._loss_first is None:
            self._loss_first = update == self.spec.first_step
        self._told.loss(update if self._loss_first else update - 1, value)
        self._watch(steering)

    def log(self, values: Mapping[str, float] | None = None, /, **named: float) -> None:
        """Tell what was measured on the validation data after the updates made so far.

        The metric that runs are compared by must be among them after the last update. Where it, or one that is called
        `loss`, is not finite, the run has diverged; others that are not finite are left out.

        Args:
            values: by name, one number each; and
            named: the same.
        Raises:
            BadInput: before the first update, or a value that is not one number.
        """
        steering = self._steered("run.log")
        given: dict[str, Any] = {**({} if values is None else _named(values)), **named}
        if "step" in given:
            raise BadInput("updates are counted by the run; leave `step` out of run.log.")
        numbers = {
            name: one_number(name, value.detach() if isinstance(value, Tensor) else value)
            for name, value in given.items()
        }
        step = steering.count()
        if step == self.spec.first_step:
            raise BadInput(
                f"run.log takes what was measured after updates, got {checks.shown(list(given))} before the first "
                "one; log after training has begun."
            )
        self._told.look()
        self._watch(steering)
        metric = self._objective.metric
        for name in (metric, "loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                self._told.diverged(End(Outcome.DIVERGED, step, f"the {name} was not finite after {step} updates"))
        if self._told.end is None:
            finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
            self._told.evals.setdefault(step, {}).update(finite)
            if metric in numbers:
                steering.hear(numbers[metric])

    def save(self, state: Any) -> None:
        """Keep what the script has trained, and what another run needs to go on from here; the last call counts.

        Nothing is copied where the run is not to be kept. The random numbers of torch, numpy and `random` are kept
        with it.

        Args:
            state: tensors, numbers and texts in dicts, lists and tuples, such as
                `{"model": model.state_dict(), "optimizer": optimizer.state_dict()}`.
        Raises:
            RecordError: something else is in it.
        """
        tensors: dict[str, Tensor] = {}
        plain = as_plain(state, "state", tensors)
        told = self._told
        told.saved_at.add(self.step)
        if self.spec.save or self.spec.checkpoint:
            if told.saved is not None and told.steering is not None and told.saved.step == told.steering.kept:
                told.kept = told.saved
            copied = {name: value.detach().clone() for name, value in tensors.items()}
            told.saved = Saved(self.step, plain, copied, taken_random())

    def restore(self) -> Any:
        """What the run that this one goes on from saved last, or None where it begins anew.

        The random numbers are put to where they were then; `step` says how many updates have been made. Tensors lie
        in memory as they did, such as in channels_last. To be called by every script that saves, once model and
        optimizer are made.
        """
        self._told.restored = True
        if self._start is None:
            return None
        put_random(self._start.tensors)
        return with_tensors(self._start.optimizer, self._start.tensors)

    def _steer(self, optimizer: Optimizer, *, made_by_us: bool) -> Optimizer:
        told = self._told
        if told.steering is not None:
            raise BadInput(
                "a run must have one optimizer, got a second; give its parameters to the first one, as another group."
            )
        direction = self._objective.direction
        told.steering = Steering(self.spec, optimizer, direction, loss_of=told.loss_of, made_by_us=made_by_us)
        if self._start is not None and self._start.control is not None:
            told.steering.restore(self._start.control)
        return optimizer

    def _steered(self, what: str) -> Steering:
        if self._told.steering is None:
            raise BadInput(
                f"{what} needs an optimizer whose updates are counted; call run.steer(optimizer) before it, or take "
                "the optimizer from run.optimizer(parameters)."
            )
        return self._told.steering

    def _watch(self, steering: Steering) -> None:
        """Show how far the run is, now and then; refuse to wait for ever."""
        made = steering.count() - self.spec.first_step
        if self._progress is not None and made - self._shown >= self._every:
            self._shown = made
            self._progress(made)
        if made != self._idle_at:
            self._idle_at, self._idle = made, 0
        self._idle += 1
        if self._idle == IDLE:
            raise BadInput(
                f"the optimizer that is steered must be the one that trains, but {IDLE} looks at the run saw no "
                "update of it; call its step()."
            )


def _named(values: Mapping[str, float]) -> dict[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise BadInput(f"run.log takes values by name, as in run.log(val_loss=0.1), got {checks.shown(values)}.")
    return dict(values)
