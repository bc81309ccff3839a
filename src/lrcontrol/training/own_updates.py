"""Updates of a user's model by his optimizer on his batches, at rates that are set from outside."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.groups import Scaled
from lrcontrol.training.own_losses import loss_function, moved, one_loss
from lrcontrol.training.torch_schedule import schedule_on
from lrcontrol.training.updates import Updates, hooked, seen_through

__all__ = ["OwnUpdates", "Point", "ratios"]

ATTEMPTS = 50  # without an update, after which none will come: a scale of 2**16 has become 2**-34
CALLS = 1000  # of a user's `step` without an update: 20 that a scaler skips, of 50 micro-batches each


class Point(NamedTuple):
    """What is known of an update, the same in all processes.

    Args:
        loss: the mean over its micro-batches and over all processes; before the update.
        made: whether the update was made; else none could be in 50 attempts, for gradients that are not finite.
        asked: whether a signal waits in any of the processes.
    """

    loss: float
    made: bool
    asked: bool


class OwnUpdates:
    """Makes updates as the user's training does; see `own_range_test` for what it is given."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Callable[[], Optimizer],
        loader: Iterable[Any] | Callable[[], Iterable[Any]],
        loss: Callable[..., Any] | None = None,
        *,
        accumulate: int = 1,
        scaler: Any = None,
        autocast: torch.dtype | None = None,
        clip_norm: float | None = None,
        step: Callable[[Any], Any] | None = None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        checks.instance("model", model, nn.Module, "a torch module")
        _refuse_class(optimizer)
        checks.instance(
            "optimizer", optimizer, Optimizer | Callable, "a torch optimizer, or a function that makes one"
        )
        self._accumulate = checks.integer("accumulate", accumulate, low=1)
        if scaler is not None and (isinstance(scaler, type) or not hasattr(scaler, "unscale_")):
            raise BadInput(f"`scaler` must be a gradient scaler, got scaler={checks.shown(scaler)}.")
        if autocast is not None:
            checks.instance("autocast", autocast, torch.dtype, "a dtype such as torch.bfloat16")
        self._clip = None if clip_norm is None else checks.number("clip_norm", clip_norm, low=0, open_low=True)
        if step is not None:
            if not callable(step):
                raise BadInput(f"`step` must be a function of a batch, got step={checks.shown(step)}.")
            beside = {"loss": loss, "scaler": scaler, "autocast": autocast, "clip_norm": clip_norm}
            given = [name for name, value in beside.items() if value is not None]
            if given or accumulate != 1:
                raise BadInput(f"`step` does all of an update itself; leave `{(given or ['accumulate'])[0]}` out.")
        self._model, self._given = model, (optimizer, loader)
        self._loss = loss_function(model, loss) if step is None else None
        self._step, self._scaler, self._asked = step, scaler, asked
        self._device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self._autocast = (
            contextlib.nullcontext() if autocast is None else torch.autocast(self._device.type, dtype=autocast)
        )
        self._watched = scaler is not None or step is not None
        self._passes = 0
        self._samplers: list[tuple[Any, int]] = []
        self._updates: Updates | None = None
        self._windows: Iterator[list[Any]] = iter(())

    def begin(self) -> None:
        """Begin anew: with the first batch of a pass, without gradients, in training mode."""
        optimizer, loader = self._given
        self._optimizer = optimizer if isinstance(optimizer, Optimizer) else optimizer()
        self._loader = loader if hasattr(loader, "__iter__") else loader()
        checks.instance("optimizer", self._optimizer, Optimizer, "a torch optimizer")
        if self._step is None and _needs_closure(self._optimizer):
            raise BadInput(
                f"`optimizer` must make its update without a closure, but the `step` of "
                f"{type(self._optimizer).__name__} needs one; give the range test `step=`, a function of a batch that "
                "does all of your training step and returns the loss, in place of the loss."
            )
        if self._watched and not seen_through(self._optimizer):
            raise BadInput(
                f"the updates of {type(self._optimizer).__name__} cannot be seen: it is no plain torch optimizer and "
                "holds none of its groups; give the optimizer inside it."
            )
        trained = {id(each) for each in self._model.parameters()}
        held = [each for group in self._optimizer.param_groups for each in group["params"]]
        if self._step is None and not any(id(each) in trained for each in held):
            raise BadInput(
                "`optimizer` must hold parameters of the model, but holds none; make it with model.parameters()."
            )
        self._rates = Scaled("lr", self._optimizer, ratios(self._optimizer))
        self._updates = hooked(self._optimizer, self, self._counts) if self._watched else None
        if not self._model.training:
            self._model.train()
        trains = getattr(self._optimizer, "train", None)
        if callable(trains):  # those of schedule-free have modes too
            trains()
        self._optimizer.zero_grad(set_to_none=True)
        self.end()
        inner = getattr(self._loader, "batch_sampler", None)
        found = (getattr(self._loader, "sampler", None), getattr(inner, "sampler", None), self._loader)
        told = {id(each): each for each in found if callable(getattr(each, "set_epoch", None))}
        self._samplers = [(each, int(getattr(each, "epoch", 0) or 0)) for each in told.values()]
        self._windows = self._of_passes()

    def end(self) -> None:
        """Let the loader's iterator go."""
        if hasattr(self._windows, "close"):
            self._windows.close()

    def update(self, rate: float) -> Point:
        """Make one update; the largest rate of all groups is `rate`, the others keep their ratios to it."""
        for _ in range(ATTEMPTS):
            with torch.enable_grad():
                point = (self._by_itself if self._step is None else self._by_user)(rate)
            if _settled(point):
                break
        return point

    def _by_itself(self, rate: float) -> Point:
        """An attempt: a window of micro-batches, and their update."""
        assert self._loss is not None  # noqa: S101 - there is no `step`, told to the type checker
        window, scaler, optimizer = next(self._windows), self._scaler, self._optimizer
        losses = []
        for batch in window:
            on_device = moved(batch, self._device)
            with self._autocast:
                loss = self._loss(on_device)
            losses.append(loss.detach())
            part = loss / len(window)
            (part if scaler is None else scaler.scale(part)).backward()
        if self._clip is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            held = [each for group in optimizer.param_groups for each in group["params"]]
            nn.utils.clip_grad_norm_(held, self._clip)
        self._rates.write(optimizer, rate)
        made = True
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
            made = self._took_place()
        optimizer.zero_grad(set_to_none=True)
        return self._agreed(_mean(losses), made)

    def _by_user(self, rate: float) -> Point:
        """Calls of the user's `step`, until it has made an update.

        Processes agree after every call: none may leave while another goes on to a call that waits for it.
        """
        assert self._step is not None  # noqa: S101 - told to the type checker
        total = 0.0
        for calls in range(1, CALLS + 1):
            (batch,) = next(self._windows)
            self._rates.write(self._optimizer, rate)
            total += float(one_loss(self._step(batch), "`step`", trained=False).detach())
            point = self._agreed(total / calls, self._took_place())
            if _settled(point):  # where the loss is not finite, a scaler of the user's will skip from now on
                return point
        raise BadInput(
            f"`step` must make an update of the optimizer, but made none in {CALLS:,} calls; let it call the `step` "
            "of the optimizer that the range test is given, after fewer batches."
        )

    def _counts(self) -> bool:
        return True

    def _took_place(self) -> bool:
        updates = self._updates
        assert updates is not None  # noqa: S101 - `begin` was called, told to the type checker
        made, updates.made = bool(updates.made), False
        return made

    def _agreed(self, loss: float, made: bool) -> Point:
        """The mean loss of all processes, and whether any made the update or was asked to end: the same in each."""
        asked = self._asked()
        if not (distributed.is_available() and distributed.is_initialized()):
            return Point(loss, made, asked)
        kind = torch.float32 if self._device.type == "mps" else torch.float64
        own = torch.tensor([loss, float(made), float(asked)], dtype=kind, device=self._device)
        every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(every, own)
        losses, updates, signals = torch.stack(every, 1).tolist()
        return Point(sum(losses) / len(losses), any(updates), any(signals))

    def _of_passes(self) -> Iterator[list[Any]]:
        """Windows of micro-batches, pass after pass over the data; the last of a pass may be shorter."""
        while True:
            self._next_pass()
            window: list[Any] = []
            empty = True
            for batch in self._loader:
                empty = False
                window.append(batch)
                if len(window) == self._accumulate:
                    yield window
                    window = []
            if empty and self._passes > 1:
                raise BadInput(
                    "`loader` must begin anew whenever it is iterated over, but its second pass gave no batch; a "
                    "function must return a loader, such as a DataLoader or a list of batches, not a generator."
                )
            if empty:
                raise BadInput("`loader` must give at least one batch, but a pass over it gave none.")
            if window:
                yield window

    def _next_pass(self) -> None:
        """Tell samplers that divide the data among processes which pass it is; no two are the same."""
        for each, first in self._samplers:
            each.set_epoch(first + self._passes)
        self._passes += 1


def ratios(optimizer: Optimizer) -> list[float]:
    """The base rate of every group, as a share of the largest.

    They are those of a schedule of ours that is on the optimizer, else what a schedule of torch began with, else
    the rates of now.

    Raises:
        BadInput: all are 0.
    """
    ours = schedule_on(optimizer)
    groups = optimizer.param_groups
    bases = [float(group.get("initial_lr", group["lr"])) for group in groups] if ours is None else ours.base_lrs
    largest = max(bases, default=0.0)
    if not (largest > 0 and math.isfinite(largest)):
        raise BadInput(
            "the groups of the optimizer must have rates that are > 0, whose ratios are kept, got "
            f"{checks.shown(bases)}; make it with lr=1."
        )
    return [base / largest for base in bases]


def _refuse_class(optimizer: object) -> None:
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        name = optimizer.__name__
        raise BadInput(
            f"`optimizer` must be a torch optimizer, got the class {name}; make one of it: "
            f"{name}(model.parameters(), lr=0.1)."
        )


def _needs_closure(optimizer: Optimizer) -> bool:
    """Whether updates are made of losses that the optimizer asks for, such as those of LBFGS."""
    try:
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    except (TypeError, ValueError):  # one of C
        return False
    return closure is not None and closure.default is closure.empty


def _settled(point: Point) -> bool:
    """Whether nothing is to be tried again."""
    return point.made or point.asked or not math.isfinite(point.loss)


def _mean(losses: list[Tensor]) -> float:
    return float(torch.stack([each.double() if each.device.type != "mps" else each for each in losses]).mean())
