"""What updates are made of: operations on blocks, lists of pieces of tensors that belong together.

On a processor pieces are of one dimension. A list of rooms is memory for what is needed on the way, one for each
piece: memory that has just been used is in the cache, and memory for a new tensor is not. Elsewhere it is empty.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "BLOCK",
    "add_scaled",
    "block_size",
    "blocks",
    "dots",
    "fitting",
    "into",
    "line",
    "order",
    "sizes",
    "squares",
    "total",
    "with_decay",
]

BLOCK = 2**17
"""Numbers of a tensor in a block, for each thread: four tensors of them in float32 are 2 MB, as much as an L2."""


def block_size(device: torch.device) -> int:
    """How many numbers of a tensor a block has at most; on other devices than a processor a pass is one kernel."""
    return BLOCK * torch.get_num_threads() if device.type == "cpu" else sys.maxsize


def blocks(*lists: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], ...]]:
    """Tensors that belong together, `lists[i][k]` of one shape for all i, as lists of pieces of as many numbers.

    They are for reading: what lies in memory otherwise than its fellows is copied.

    Example:
        >>> sum(len(each) for (some,) in blocks([torch.ones(BLOCK + 1), torch.ones(2)]) for each in some) - BLOCK
        3
    """
    for row in zip(*lists, strict=True):
        first = row[0]
        many = -(-first.numel() // block_size(first.device)) or 1
        alike = all(each.stride() == first.stride() for each in row) and order(first) is not None
        lines = [line(each if alike else each.contiguous()) for each in row]
        for pieces in zip(*(each.chunk(many) for each in lines), strict=True):
            yield tuple([each] for each in pieces)


def into(rooms: list[Tensor], name: str, tensors: list[Tensor], *others: Any) -> list[Tensor]:
    """What torch's function `name` makes of each tensor and what is beside it, lists of tensors or numbers.

    It is put into the rooms, where there are some.
    """
    if not rooms:
        return list(getattr(torch, f"_foreach_{name}")(tensors, *others))
    function = getattr(torch, name)
    beside = [each if isinstance(each, list) else repeat(each) for each in others]
    for tensor, room, *rest in zip(tensors, rooms, *beside, strict=False):
        function(tensor, *rest, out=room)
    return rooms


def fitting(number: float, dtype: torch.dtype) -> float:
    """The number, or an infinity of its sign where it is more than the type holds: torch refuses to convert that.

    Example:
        >>> fitting(-1e39, torch.float32), fitting(1e38, torch.float32)
        (-inf, 1e+38)
    """
    return math.copysign(math.inf, number) if abs(number) > torch.finfo(dtype).max else number


def with_decay(grads: list[Tensor], parameters: list[Tensor], decay: float, rooms: list[Tensor]) -> list[Tensor]:
    """The gradients, or rooms with the gradients with weight decay added to them; they are not changed."""
    if not decay:
        return grads
    if not rooms:
        return list(torch._foreach_add(grads, parameters, alpha=decay))
    for grad, parameter, room in zip(grads, parameters, rooms, strict=True):
        torch.add(grad, parameter, alpha=decay, out=room)
    return rooms


def dots(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
    """The inner products of dense tensors with others, one by one."""
    pairs = zip(left, right, strict=True)
    return [torch.dot(a, b) if a.dim() == 1 else torch.dot(line(a), line(b)) for a, b in pairs]


def squares(tensors: list[Tensor]) -> list[Tensor]:
    """The squared L2 norms of dense tensors, one by one."""
    if len(tensors) > 1 and tensors[0].device.type != "cpu":
        return list(torch._foreach_pow(torch._foreach_norm(tensors), 2))
    return dots(tensors, tensors)


def sizes(tensors: list[Tensor], rooms: list[Tensor]) -> list[Tensor]:
    """The L1 norms of tensors, one by one; their magnitudes are put into the rooms."""
    return [torch.sum(each) for each in into(rooms, "abs", tensors)]


def total(numbers: Sequence[Tensor]) -> Tensor:
    """The sum of scalar tensors, in float64 where the device has it."""
    stacked = torch.stack(list(numbers))
    return stacked.sum(dtype=torch.float32 if stacked.device.type == "mps" else torch.float64)


def add_scaled(tensors: list[Tensor], others: list[Tensor], scale: Tensor | float) -> None:
    """Add `scale` times the others; where it is a number on their device, the host does not wait for it."""
    if isinstance(scale, float):
        torch._foreach_add_(tensors, others, alpha=fitting(scale, tensors[0].dtype))
    else:
        torch._foreach_add_(tensors, torch._foreach_mul(others, scale.to(others[0].dtype)))


def order(tensor: Tensor) -> list[int] | None:
    """The dimensions in the order in which its numbers lie in memory, or None where there are gaps."""
    if tensor.is_contiguous():
        return list(range(tensor.dim()))
    found = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return found if tensor.permute(found).is_contiguous() else None


def line(tensor: Tensor) -> Tensor:
    """A dense tensor as a view of one dimension, in the order of memory."""
    if tensor.dim() == 1:
        return tensor
    if tensor.is_contiguous():
        return tensor.view(-1)
    found = order(tensor)
    return tensor.reshape(-1) if found is None else tensor.permute(found).view(-1)
