"""The base rates and weight decays that an optimizer carries with it, for clients that keep no state of a schedule."""

from torch.optim import Optimizer

__all__ = ["own_decays", "own_rates"]


def own_rates(optimizer: Optimizer) -> list[float]:
    """Every group's `initial_lr`, which is its `lr` where there is none yet; torch's own convention.

    It is saved and loaded with the optimizer, so that a rate that a schedule has lowered is not taken for the base.
    """
    return _own(optimizer, "lr")


def own_decays(optimizer: Optimizer) -> list[float] | None:
    """Every group's `initial_weight_decay`, likewise; None where an optimizer has no weight decays."""
    has = all("weight_decay" in group for group in optimizer.param_groups)
    return _own(optimizer, "weight_decay") if has else None


def _own(optimizer: Optimizer, key: str) -> list[float]:
    return [float(group.setdefault(f"initial_{key}", float(group[key]))) for group in optimizer.param_groups]
