"""The base learning rates that an optimizer carries with it, for clients that keep no state of a schedule."""

from torch.optim import Optimizer

__all__ = ["own_rates"]


def own_rates(optimizer: Optimizer) -> list[float]:
    """Every group's `initial_lr`, which is its `lr` where there is none yet; torch's own convention.

    It is saved and loaded with the optimizer, so that a rate that a schedule has lowered is not taken for the base.
    """
    return [float(group.setdefault("initial_lr", float(group["lr"]))) for group in optimizer.param_groups]
