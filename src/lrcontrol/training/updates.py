"""Updates: whether an optimizer has really made an update, so that a schedule counts those and not calls."""

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from lrcontrol.errors import BadInput

__all__ = ["Updates", "begun", "hooked", "seen_through"]


class Updates:
    """Whether an update was made since `made` was last set to False; see `hooked`."""

    __slots__ = ("__weakref__", "after", "before", "closure", "counts", "made")

    def __init__(self) -> None:
        self.before: Callable[[], Callable[[], bool] | None] | None = None
        self.after: Callable[[], Callable[[], None] | None] | None = None
        self.closure = False  # whether the update that is under way computes its gradients itself
        self.counts = True  # whether the update that is under way is one
        # True, False, or a tensor of one bool: then the device knows, and reading it waits for the device
        self.made: Any = False

    def announce(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The hook that runs before `optimizer.step()`."""
        if torch.compiler.is_compiling():  # what is traced is played back, whatever it was then
            return
        before = self.before and self.before()
        self.closure = kwargs.get("closure") is not None or any(each is not None for each in args[1:])
        self.counts = before() if before else True

    def note(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The hook that runs after `optimizer.step()`.

        A gradient scaler lets a fused optimizer step with `found_inf` set, and the update is skipped on the device.
        """
        if not self.counts:
            return
        after = self.after and self.after()
        if after:
            after()
        found = getattr(optimizer, "found_inf", None)
        if found is None:
            self.made = True
        elif self.made is not True:
            made = found == 0
            self.made = made if self.made is False else made | self.made


def hooked(
    optimizer: Optimizer, owner: object, before: Callable[[], bool], after: Callable[[], None] | None = None
) -> Updates:
    """Updates of this optimizer, noted as long as `owner` lives.

    `before`, a method of the owner, is called before each of them, and says whether it counts; `after`, another, after
    each that does. The optimizer holds neither the owner nor itself: no cycle. An optimizer that wraps others is seen
    through them too.

    Raises:
        BadInput: neither this optimizer's updates nor those of one that it holds can be seen.
    """
    found = seen_through(optimizer)
    if not found:
        raise BadInput(
            f"the updates of {type(optimizer).__name__} cannot be seen: it is no plain torch optimizer and holds none "
            'of its groups; build with count="calls" and call step() once after every update.'
        )
    updates = Updates()
    updates.before = weakref.WeakMethod(before)
    updates.after = None if after is None else weakref.WeakMethod(after)
    for each in found:
        for handle in (
            each.register_step_pre_hook(updates.announce),
            each.register_step_post_hook(updates.note),
        ):
            weakref.finalize(owner, handle.remove).atexit = False
    return updates


def begun(optimizer: Optimizer) -> bool:
    """Whether an optimizer keeps something of an update that it made; Adagrad keeps sums from the beginning."""
    return any(
        not isinstance(kept, dict) or float(kept.get("step", len(kept))) != 0 for kept in optimizer.state.values()
    )


def seen_through(optimizer: Optimizer, depth: int = 4) -> list[Optimizer]:
    """This optimizer, if its hooks run, and those inside it that have groups of it."""
    patched = getattr(type(optimizer).step, "hooked", False)  # what torch's constructor does to the class
    hooks = vars(optimizer).get("_optimizer_step_post_hooks")
    found = [optimizer] if patched and isinstance(hooks, OrderedDict) else []
    groups = {id(group) for group in optimizer.param_groups}
    for value in list(vars(optimizer).values()) if depth else []:
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Optimizer) and groups & {id(group) for group in inner.param_groups}:
                found += [each for each in seen_through(inner, depth - 1) if each not in found]
    return found
