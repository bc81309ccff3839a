"""The rate that an optimizer finds by itself, as its last update went by it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol.training.optimizers.evaluation import unwrapped
from lrcontrol.training.optimizers.lr_free import LRFree

__all__ = ["as_column", "found_lr", "growth_of", "numbers_of"]

_PACKAGES = ("prodigyopt", "dadaptation")


def found_lr(optimizer: Optimizer) -> float | None:
    """What the last update went by: the learning rate in force times this is the rate that the optimizer found.

    That rate may be put beside those of the optimizer that it stands for: of Adam for `prodigy` and `dadapt_adam`, of
    SGD without momentum for `dadapt_sgd`, `dog`, `ldog` and `dowg`, of the optimizer inside for `mechanic`. `ldog` has
    one for each tensor; this is their geometric mean. To read it waits for the device. With a scheduler both are read
    before `scheduler.step()`, which puts the rate of the next update in force.

    Args:
        optimizer: of `make_optimizer`, or `prodigyopt`'s and `dadaptation`'s own, which keep what the next update will
            go by, before a correction of bias; one that a client has wrapped is seen through.
    Returns:
        None before the first update, and for optimizers that find no rate: SGD, AdamW, schedule-free ones and COCOB.
    Example:
        >>> from lrcontrol.training.optimizers import make_optimizer
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = make_optimizer("dadapt_sgd(d0=1e-3, momentum=0)", [weight])
        >>> found_lr(optimizer) is None
        True
        >>> weight.grad = torch.full((1,), 2.0)
        >>> optimizer.step()
        >>> found_lr(optimizer), round(weight.item(), 6)
        (0.0005, -0.001)
    """
    plain = unwrapped(optimizer)
    if type(plain).__module__.partition(".")[0] in _PACKAGES and plain.state:
        group = plain.param_groups[0]
        norm = group.get("g0_norm", 1)  # 0 as long as there was no gradient
        return float(group["d"] / norm) if "d" in group and norm else None
    found = plain.found if isinstance(plain, LRFree) else None
    return None if found is None else float(numbers_of([found])[0])


def numbers_of(found: Sequence[Tensor | float | None]) -> NDArray[np.float64]:
    """`LRFree.found` of several updates as numbers, which takes one copy from the device; NaN where there is none."""
    numbers = np.array([math.nan if each is None or isinstance(each, Tensor) else each for each in found], np.float64)
    tensors = {place: each for place, each in enumerate(found) if isinstance(each, Tensor)}
    if tensors:
        counts = np.array([each.numel() for each in tensors.values()])
        flat = torch.cat([each.reshape(-1) for each in tensors.values()]).cpu().double().numpy()
        starts = np.cumsum(counts) - counts
        if len(flat) > len(starts):
            with np.errstate(divide="ignore"):
                means = np.exp(np.add.reduceat(np.log(flat), starts) / counts)
            flat = np.where(counts > 1, means, flat[starts])
        numbers[list(tensors)] = flat
    return numbers


def as_column(numbers: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """The column `found` of a record; none where no update went by a rate that was found."""
    if np.isnan(numbers).all():
        return {}
    with np.errstate(over="ignore"):
        return {"found": numbers.astype(np.float32)}


def growth_of(columns: Mapping[str, NDArray[np.float32]], first_step: int) -> float | None:
    """How many times larger what was found is in the last update than halfway; None where no number says that.

    Args:
        columns: of a record.
        first_step: updates made before them. Where half of all is among these, the first one told stands for it.
    Example:
        >>> growth_of({"found": np.array([1e-6, 2e-6, 4e-6, 8e-6], np.float32)}, 0)
        4.0
    """
    found = columns.get("found")
    if found is None:
        return None
    last = float(found[-1])
    halfway = float(found[max((first_step + len(found)) // 2 - 1 - first_step, 0)])
    growth = last / halfway if halfway > 0 else math.inf
    return round(growth, 6) if math.isfinite(growth) else None
