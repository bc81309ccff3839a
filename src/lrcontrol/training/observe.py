"""observe(optimizer): the norms of the gradients of every update, of any training loop, seen through hooks."""

import math
import os
import weakref
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.gradient_log import GradientLog, GradientLogFile
from lrcontrol.training.moves import MOVES, Moves
from lrcontrol.training.norms import ORDERS, gradients, norms_of_shares, parameters, shares
from lrcontrol.training.ring import Row
from lrcontrol.training.scaled import attempt_of, scale_of, told
from lrcontrol.training.seen import Reading, Seen
from lrcontrol.training.updates import seen_through

__all__ = ["Observer", "observe"]


def observe(
    optimizer: Optimizer,
    path: str | os.PathLike[str] | None = None,
    *,
    norms: Sequence[str] = ("l1", "l2"),
    every: int = 1,
    scaler: Any = None,
    group: Any = None,
    total_steps: int | None = None,
    first_step: int = 0,
    append: bool = False,
    block: int = 256,
) -> "Observer":
    """Observe the gradients that an optimizer's updates are made from.

    The norm is of all gradients together as they are when `optimizer.step()` is called: accumulated, unscaled,
    averaged by DDP, whole where they are sharded by FSDP2. Where the loop clips gradients, call `before_clipping()`
    right before it does. Nothing waits for the device: readings stay there until a block of them has been written, and
    go to the host and the file then. What is left goes when the observer is closed, is let go, or the process ends in
    an orderly way.

    Args:
        optimizer: any torch optimizer, or what wraps one.
        path: a file to write to, .jsonl or .csv; readings are kept in memory too.
        norms: what to observe, at least one of: `l1` and `l2`, norms of the gradient; and, at the cost of a copy of
            what is trained for each, `dot`, its product with the gradient of the update before; `update`, the L2 norm
            of what the update changed; `distance`, that of what all updates before it have changed since the first
            one seen. A file holds the two norms only.
        every: >= 1; observe updates 0, `every`, 2 * `every` and so on.
        scaler: a gradient scaler, where `before_clipping` is called before its `unscale_`; else it need not be known.
        group: a process group over which the gradients are divided as plain tensors, each process having its own
            part, as FSDP1 and some sharded optimizers leave them. DTensors tell this by themselves.
        total_steps: >= 1; the horizon of the run, for its log.
        first_step: >= 0; the update that is next, where a run goes on.
        append: go on in a file that is there.
        block: >= 1; readings that stay on the device together.
    Raises:
        BadInput: a bad value, an optimizer whose updates cannot be seen, or a file that cannot be written.
    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> with observe(optimizer) as observer:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         ((weight - torch.tensor([3.0, 4.0])) ** 2 / 2).sum().backward()
        ...         optimizer.step()
        >>> observer.log.l2.tolist(), observer.log.lr.tolist()
        ([5.0, 2.5, 1.25], [0.5, 0.5, 0.5])
    """
    checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
    if isinstance(norms, str) or not isinstance(norms, Collection) or not norms:
        raise BadInput(f"`norms` must be a tuple of names such as ('l1', 'l2'), got norms={checks.shown(norms)}.")
    for name in norms:
        checks.one_of("thing to observe", name, (*ORDERS, *MOVES))
    every, block = checks.integer("every", every, low=1), checks.integer("block", block, low=1)
    first_step = checks.integer("first_step", first_step)
    total = None if total_steps is None else checks.integer("total_steps", total_steps, low=1)
    if scaler is not None and not hasattr(scaler, "unscale_"):
        raise BadInput(f"`scaler` must be a gradient scaler, got scaler={checks.shown(scaler)}.")
    if group is not None and not isinstance(group, distributed.ProcessGroup):
        raise BadInput(f"`group` must be a process group, got group={checks.shown(group)}.")
    found = seen_through(optimizer)
    if not found:
        raise BadInput(
            f"the updates of {type(optimizer).__name__} cannot be seen: it is no plain torch optimizer and holds none "
            "of its groups; observe the optimizer inside it."
        )
    if group is None and any(getattr(each, "_fsdp_flattened", False) for each in parameters(optimizer)):
        raise BadInput(
            "parameters that FSDP1 divides are plain tensors, which do not tell over which processes; give "
            "`group`, such as torch.distributed.group.WORLD."
        )
    file = None if path is None else GradientLogFile(path, append)
    names = [name for name in (*ORDERS, *MOVES) if name in norms]
    return Observer(optimizer, found, names, every, scaler, group, total, first_step, Seen(names, block, file))


class Observer:
    """What `observe` makes; a context manager that is closed at the end, also by an error."""

    def __init__(
        self,
        optimizer: Optimizer,
        found: Sequence[Optimizer],
        names: Sequence[str],
        every: int,
        scaler: Any,
        group: Any,
        total_steps: int | None,
        first_step: int,
        seen: Seen,
    ) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._names, self._orders = list(names), [name for name in names if name in ORDERS]
        self._every, self._scaler, self._group, self._seen = every, scaler, group, seen
        self._total = total_steps
        self._moves = Moves([name for name in names if name in MOVES], group)
        self._device = next((each.device for each in parameters(optimizer)), torch.device("cpu"))
        self._capturable = self._device.type == "cuda" and torch.cuda.is_available()
        self._attempt = first_step  # updates that were made, and those that a device alone knows to be skipped
        self._skipped: Tensor | None = None  # how many of these; a number on the device, once there may be some
        self._under_way = self._measured = False
        self._lr: Any = None
        self._losses: list[Tensor | float] = []
        self._told_in: Any = None  # the attempt under a scaler that losses were told in
        self._row: Row | None = None
        # Of several optimizers in one that has no hooks, the first begins an update, and the last ends it.
        first, last = (optimizer, optimizer) if found[0] is optimizer else (found[0], found[-1])
        self._inside = [weakref.ref(each) for each in found]
        # An optimizer holds its observer, and an observer no optimizer: no cycle, and none is let go too early.
        self._handles = [first.register_step_pre_hook(self._before), last.register_step_post_hook(self._after)]
        weakref.finalize(self, seen.close)

    def __enter__(self) -> "Observer":
        """The observer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def before_clipping(self) -> None:
        """Observe the gradients now, instead of when the update is made; the last call before an update counts.

        Under a gradient scaler call it after `scaler.unscale_(optimizer)`, or tell `observe` the scaler.
        """
        optimizer = self._optimizer()
        if optimizer is not None and self._handles:
            self._measure(optimizer, scale_of(self._scaler, self._all(optimizer)))

    def saw(self, *, loss: Tensor | float) -> None:
        """Tell the loss of the update that is next: of each micro-batch, where there are several; their mean is kept.

        A loss that a closure returns need not be told. Under a gradient scaler, `observe` must know it: losses of an
        update that was skipped are then left out.

        Raises:
            BadInput: more than one number.
        """
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise BadInput(f"`loss` must be one number, got a tensor of shape {tuple(loss.shape)}; take its mean.")
        attempt = attempt_of(self._scaler)
        if attempt is not self._told_in:
            self._losses, self._told_in = [], attempt
        self._losses.append(loss.detach() if isinstance(loss, Tensor) else checks.number("loss", loss))

    @property
    def latest(self) -> dict[str, Tensor]:
        """Of the last update that was observed, by name: numbers on the device, empty before the first.

        To read one, as `float(observer.latest["l2"])` does, waits for the device. In an update that a device has
        skipped they are not finite.
        """
        slots = () if self._row is None else self._row.slots
        return {name: slot.clone() for name, slot in zip(self._names, slots, strict=False)}

    @property
    def log(self) -> GradientLog:
        """Norms, losses and rates so far; waits for the device."""
        seen = self.columns
        loss, lr = (None if np.isnan(seen[name]).all() else seen[name] for name in ("loss", "lr"))
        return GradientLog(seen["step"].astype(np.int64), seen.get("l1"), seen.get("l2"), loss, lr, self._total)

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """All that was seen, by name, with `step`, `loss` and `lr`, NaN where there is none; waits for the device."""
        return self._seen.columns()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes; what was seen is in the file by then. With `distance` it holds the start."""
        self._seen.rest()
        skipped = 0 if self._skipped is None else int(self._skipped)
        optimizer = self._optimizer()
        start = self._moves.start
        kept = [start.get(each) for each in parameters(optimizer)] if start and optimizer is not None else None
        return {"step": self._attempt - skipped, "start": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there: steps are counted from that of the state, and what was seen of later ones is forgotten.

        Raises:
            BadInput: a state of other parameters.
        """
        step = checks.integer("step", state["step"])
        kept, optimizer = state["start"], self._optimizer()
        if kept is not None and optimizer is not None:
            known = parameters(optimizer)
            if len(kept) != len(known):
                raise BadInput(
                    f"a state must be of the same parameters, got {len(kept)} where there are {len(known)}."
                )
            self._moves.start = {name: each for name, each in zip(known, kept, strict=True) if each is not None}
        self._moves.forget()
        self._seen.forget(step)
        self._attempt, self._skipped = step, None
        self._measured, self._losses = False, []

    def close(self) -> None:
        """See no more, and write what was seen.

        Raises:
            BadInput: the file cannot be written; what was seen stays in `log`.
        """
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._seen.close()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """The hook before `optimizer.step()`: gradients are measured, or will be when a closure has made them."""
        if torch.compiler.is_compiling():
            return _untraced(self._before, optimizer, args, kwargs)
        if self._capturable and torch.cuda.is_current_stream_capturing():
            return None  # what is captured is played back, whatever it was then
        optimizer = self._optimizer() or optimizer
        self._under_way = True
        self._lr = optimizer.param_groups[0].get("lr")
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            if not self._measured:
                self._measure(optimizer, told("grad_scale", self._all(optimizer)))
            return None
        watched = self._watched(optimizer, closure)
        if "closure" in kwargs:
            return args, kwargs | {"closure": watched}
        return (args[0], watched, *args[2:]), kwargs

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The hook after it: the reading is complete."""
        if torch.compiler.is_compiling():
            _untraced(self._after, optimizer, args, kwargs)
            return
        if not self._under_way:
            return
        optimizer = self._optimizer() or optimizer
        self._under_way = False
        found = told("found_inf", self._all(optimizer))
        if found is not None and self._skipped is None:
            self._skipped = torch.zeros((), dtype=torch.int64, device=found.device)
        if self._measured and self._attempt % self._every == 0:
            self._complete(optimizer, found)
        if found is not None and self._skipped is not None:
            self._skipped += found != 0
        self._attempt += 1
        self._measured, self._losses = False, []

    def _all(self, optimizer: Optimizer) -> list[Optimizer | None]:
        """The optimizer, and those inside it."""
        return [optimizer, *(each() for each in self._inside)]

    def _watched(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        """A closure whose first gradients are measured, and whose loss is kept unless one was told."""

        def watched() -> Any:
            loss = closure()
            if self._attempt != attempt or done:
                return loss
            done.append(True)
            if not self._measured:
                self._measure(optimizer, None)
            if not self._losses and (isinstance(loss, float) or (isinstance(loss, Tensor) and loss.numel() == 1)):
                self.saw(loss=loss)
            return loss

        attempt, done = self._attempt, list[bool]()
        return watched

    @torch.no_grad()
    def _measure(self, optimizer: Optimizer, scale: Tensor | None) -> None:
        """Write what gradients and weights tell before an update into the next row."""
        self._measured = True
        moves, names = self._moves, self._names
        if self._attempt % self._every == 0:
            row, count = self._seen.row(self._device), len(self._orders)
            if count:
                norms_of_shares(shares(gradients(optimizer), self._group), self._orders, row)
                if scale is not None:
                    for slot in row.slots[:count]:
                        slot.div_(scale.to(slot.device))
            if "dot" in moves:
                moves.product(optimizer, scale, row.slots[names.index("dot")])
            if "update" in moves or "distance" in moves:
                moves.keep_weights(optimizer)
            if "distance" in moves:
                moves.distance(optimizer, row.slots[names.index("distance")])
        if "dot" in moves and (self._attempt + 1) % self._every == 0:
            moves.keep_gradients(optimizer, scale)

    @torch.no_grad()
    def _complete(self, optimizer: Optimizer, found: Tensor | None) -> None:
        """Write what is known after an update into the row, and go to the next."""
        self._row = row = self._seen.row(self._device)
        if "update" in self._moves:
            self._moves.moved(optimizer, row.slots[self._names.index("update")])
        loss: Any = self._losses[0] if self._losses else None
        if len(self._losses) > 1:
            kind = row.slots[0].dtype
            numbers = [each.reshape(()).to(kind) if isinstance(each, Tensor) else each for each in self._losses]
            loss = sum(numbers) / len(numbers)
        known: list[float | None] = []
        for place, value in enumerate((loss, self._lr, self._skipped, found), len(self._names)):
            if isinstance(value, Tensor):
                row.slots[place].copy_(value.reshape(()), non_blocking=True)
            default = math.nan if place < len(self._names) + 2 else 0.0
            known.append(None if isinstance(value, Tensor) else default if value is None else float(value))
        self._seen.push(Reading(self._attempt, *known))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _untraced(hook: Callable[..., Any], *arguments: Any) -> Any:
    """What a hook returns: where a step is compiled, hooks are called all the same, and not traced."""
    return hook(*arguments)
