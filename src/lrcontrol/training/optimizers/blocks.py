"""Blocks: the tensors of an update a piece at a time, so that what one pass has read is in the cache for the next.

An update of a large model on a processor costs what it moves between memory and cache. On other devices the tensors
are one block as they are: there a pass over all of them is one kernel.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["BLOCK", "add_scaled", "blocks", "dots", "into", "sizes", "squares", "total", "with_decay"]

BLOCK = 2**17
"""Numbers of a tensor in a block, for each thread: four tensors of them in float32 are 2 MB, as much as an L2."""


def blocks(*lists: Sequence[Tensor], rooms: int = 0) -> Iterator[tuple[list[Tensor], ...]]:
    """Tensors that belong together, `lists[i][k]` of one shape for all i, as lists of pieces of as many numbers.

    What is written to a piece is written to the tensor.

    Args:
        lists: the first holds gradients and is not to be written to.
        rooms: how many lists come with them to put in what is needed on the way, for `into`: empty, or with a piece of
            memory for a block of one piece.
    Example:
        >>> sum(len(each) for (grads,) in blocks([torch.ones(BLOCK + 1), torch.ones(2)]) for each in grads) - BLOCK
        3
    """
    if not lists[0]:
        return
    whole = lists[0][0].device.type != "cpu"
    most = sys.maxsize if whole else BLOCK * torch.get_num_threads()
    spare = [_Room() for _ in range(rooms)]
    none: tuple[list[Tensor], ...] = tuple([] for _ in spare)
    waiting: dict[torch.dtype, tuple[list[Tensor], ...]] = {}  # a kernel takes tensors of one type
    held = 0
    for row in zip(*lists, strict=True):
        first = row[0]
        size = first.numel()
        if not _alike(row):
            copies = [each.contiguous() for each in row]
            yield (*([each] for each in copies), *none)
            for each, copy in list(zip(row, copies, strict=True))[1:]:
                if copy is not each:
                    each.copy_(copy)
        elif size > most // 4 and not whole:
            lines = [_line(each) for each in row]
            many = -(-size // most)
            for piece in zip(*(each.chunk(many) for each in lines), strict=True) if many > 1 else [lines]:
                yield (*([each] for each in piece), *(room.like(piece[0]) for room in spare))
        else:
            if held + size > most:
                yield from ((*batch, *none) for batch in waiting.values())
                waiting.clear()
                held = 0
            held += size
            batch = waiting.get(first.dtype)
            if batch is None:
                waiting[first.dtype] = tuple([each] for each in row)
            else:
                for pieces, each in zip(batch, row, strict=True):
                    pieces.append(each)
    yield from ((*batch, *none) for batch in waiting.values())


def into(rooms: list[Tensor], name: str, tensors: list[Tensor], *others: Any) -> list[Tensor]:
    """What torch's function `name` makes of each tensor and what is beside it, lists of tensors or numbers.

    It is put into the rooms, where there are some: memory that has just been used is in the cache, and memory for a
    new tensor is not.
    """
    if not rooms:
        return list(getattr(torch, f"_foreach_{name}")(tensors, *others))
    (room,), (tensor,) = rooms, tensors
    getattr(torch, name)(tensor, *(each[0] if isinstance(each, list) else each for each in others), out=room)
    return rooms


def with_decay(grads: list[Tensor], parameters: list[Tensor], decay: float, rooms: list[Tensor]) -> list[Tensor]:
    """The gradients, or a room with the gradients with weight decay added to them; they are not changed."""
    if not decay:
        return grads
    if not rooms:
        return list(torch._foreach_add(grads, parameters, alpha=decay))
    torch.add(grads[0], parameters[0], alpha=decay, out=rooms[0])
    return rooms


def dots(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
    """The inner products of dense tensors with others, one by one."""
    return [torch.dot(_line(a), _line(b)) for a, b in zip(left, right, strict=True)]


def squares(tensors: list[Tensor]) -> list[Tensor]:
    """The squared L2 norms of dense tensors, one by one."""
    if len(tensors) == 1:
        return dots(tensors, tensors)
    return list(torch._foreach_pow(torch._foreach_norm(tensors), 2))


def sizes(tensors: list[Tensor], rooms: list[Tensor]) -> list[Tensor]:
    """The L1 norms of tensors, one by one; their magnitudes are put into the rooms."""
    return [torch.sum(each) for each in into(rooms, "abs", tensors)]


def total(numbers: Sequence[Tensor]) -> Tensor:
    """The sum of scalar tensors, in float64 where the device has it."""
    stacked = torch.stack(list(numbers))
    return stacked.to(torch.float32 if stacked.device.type == "mps" else torch.float64).sum()


def add_scaled(tensors: list[Tensor], others: list[Tensor], scale: Tensor) -> None:
    """Add `scale` times the others; the scale is a number on their device, which the host does not wait for."""
    if scale.device.type == "cpu":
        torch._foreach_add_(tensors, others, alpha=float(scale))
    else:
        torch._foreach_add_(tensors, torch._foreach_mul(others, scale.to(others[0].dtype)))


class _Room:
    """Memory that every block of one tensor uses again."""

    def __init__(self) -> None:
        self._flat: Tensor | None = None

    def like(self, piece: Tensor) -> list[Tensor]:
        """As much of it as a piece of one dimension has."""
        size = piece.numel()
        if self._flat is None or self._flat.numel() < size or self._flat.dtype != piece.dtype:
            self._flat = torch.empty(size, dtype=piece.dtype)
        return [self._flat if self._flat.numel() == size else self._flat[:size]]


def _alike(row: Sequence[Tensor]) -> bool:
    """Whether the numbers of all lie in memory in one order, without gaps."""
    if all(each.is_contiguous() for each in row):
        return True
    strides = row[0].stride()
    return all(each.stride() == strides for each in row) and _order(row[0]) is not None


def _order(tensor: Tensor) -> list[int] | None:
    """The dimensions in the order in which its numbers lie in memory, or None where there are gaps."""
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return order if tensor.permute(order).is_contiguous() else None


def _line(tensor: Tensor) -> Tensor:
    """The tensor as a view of one dimension, in the order of memory."""
    if tensor.dim() == 1:
        return tensor
    if tensor.is_contiguous():
        return tensor.view(-1)
    order = _order(tensor)
    return tensor.reshape(-1) if order is None else tensor.permute(order).reshape(-1)
