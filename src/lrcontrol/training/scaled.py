"""What a gradient scaler does to gradients: whether they are too large now, and what it has told an optimizer."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

__all__ = ["attempt_of", "scale_of", "told"]


def scale_of(scaler: Any, optimizers: Iterable[Optimizer | None]) -> Tensor | None:
    """By what the gradients are too large before `scaler.step`, or None where they are not.

    Args:
        scaler: or None.
        optimizers: those that it may have been asked to unscale.
    """
    if scaler is None or not scaler.is_enabled():
        return None
    states = scaler._per_optimizer_states
    stages = [states[id(each)]["stage"] for each in optimizers if id(each) in states]
    scale: Tensor | None = scaler._scale
    return None if any(stage is not OptState.READY for stage in stages) else scale


def attempt_of(scaler: Any) -> Any:
    """What is another object for every update that is attempted under a scaler."""
    return getattr(scaler, "_per_optimizer_states", None)


def told(name: str, optimizers: Iterable[Optimizer | None]) -> Tensor | None:
    """What a scaler has told optimizers that unscale and skip on the device: `grad_scale` or `found_inf`."""
    found = (getattr(each, name, None) for each in optimizers)
    return next((each for each in found if isinstance(each, Tensor)), None)
