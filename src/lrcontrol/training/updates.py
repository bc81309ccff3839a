"""Updates: whether an optimizer has really made an update, so that a schedule counts those and not calls."""

import weakref
from typing import Any

from torch.optim import Optimizer

__all__ = ["Updates", "hooked"]


class Updates:
    """Whether an update was made since `made` was last set to False; see `hooked`."""

    __slots__ = ("__weakref__", "made")

    def __init__(self) -> None:
        # True, False, or a tensor of one bool: then the device knows, and reading it waits for the device
        self.made: Any = False

    def note(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The hook that runs after `optimizer.step()`.

        A gradient scaler lets a fused optimizer step with `found_inf` set, and the update is skipped on the device.
        """
        found = getattr(optimizer, "found_inf", None)
        if found is None:
            self.made = True
        elif self.made is not True:
            made = found == 0
            self.made = made if self.made is False else made | self.made


def hooked(optimizer: Optimizer, owner: object) -> Updates | None:
    """Updates of this optimizer, noted as long as `owner` lives; None where its steps cannot be seen.

    The optimizer holds neither the owner nor itself: no cycle. A wrapper that is an Optimizer but has no hooks of its
    own is looked through by its attribute `optimizer`.
    """
    for _ in range(8):
        if "_optimizer_step_post_hooks" in vars(optimizer):
            updates = Updates()
            handle = optimizer.register_step_post_hook(updates.note)
            weakref.finalize(owner, handle.remove).atexit = False
            return updates
        inner = vars(optimizer).get("optimizer")
        if not isinstance(inner, Optimizer):
            return None
        optimizer = inner
    return None
