"""Blocks: the tensors of an update a piece at a time, so that what one pass has read is in the cache for the next.

An update of a large model on a processor costs what it moves between memory and cache. On other devices the tensors
are one block as they are: there a pass over all of them is one kernel.
"""

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["BLOCK", "add_scaled", "blocks", "dot", "l1", "square", "total", "with_decay"]

BLOCK = 2**16
"""Numbers of a tensor in a block, for each thread: six tensors of them in float32 are 1.5 MB, as much as an L2."""


def blocks(*lists: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], ...]]:
    """Tensors that belong together, `lists[i][k]` of one shape for all i, as lists of pieces of as many numbers.

    What is written to a piece is written to the tensor. The first list holds gradients and is not to be written to.

    Example:
        >>> [[len(each) for each in grads] for (grads,) in blocks([torch.ones(BLOCK + 1), torch.ones(2)])]
        [[65536], [1, 2]]
    """
    if not lists[0]:
        return
    room = BLOCK * torch.get_num_threads() if lists[0][0].device.type == "cpu" else sys.maxsize
    waiting: dict[torch.dtype, list[tuple[Tensor, ...]]] = {}  # a kernel takes tensors of one type
    for row in zip(*lists, strict=True):
        if not _alike(row):
            yield from _by_copies(row)
            continue
        whole = row[0].numel() <= room
        for piece in [row] if whole else zip(*(torch.split(_line(each), room) for each in row), strict=True):
            batch = waiting.setdefault(row[0].dtype, [])
            if batch and sum(each[0].numel() for each in batch) + piece[0].numel() > room:
                yield _block(batch)
                batch.clear()
            batch.append(piece)
    for batch in waiting.values():
        if batch:
            yield _block(batch)


def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """The inner product of two lists of dense tensors, as a number in float64 on their device."""
    return total([torch.dot(_line(a), _line(b)) for a, b in zip(left, right, strict=True)])


def square(tensors: Sequence[Tensor]) -> Tensor:
    """The squared L2 norm of a list of dense tensors, as a number in float64 on their device."""
    return dot(tensors, tensors)


def l1(tensors: Sequence[Tensor]) -> Tensor:
    """The L1 norm of a list of tensors, as a number in float64 on their device."""
    return total([torch.sum(torch.abs(each)) for each in tensors])


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


def with_decay(grads: list[Tensor], parameters: list[Tensor], decay: float) -> list[Tensor]:
    """The gradients, with weight decay added to them where there is some; they are not changed."""
    return list(torch._foreach_add(grads, parameters, alpha=decay)) if decay else grads


def _alike(row: tuple[Tensor, ...]) -> bool:
    """Whether the numbers of all lie in memory in one order, without gaps."""
    if all(each.is_contiguous() for each in row):
        return True
    strides = row[0].stride()
    return all(each.stride() == strides for each in row) and _order(row[0]) is not None


def _order(tensor: Tensor) -> list[int] | None:
    """The dimensions in the order in which its numbers lie in memory, or None where there are gaps."""
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return order if tensor.permute(order).is_contiguous() else None


def _block(rows: list[tuple[Tensor, ...]]) -> tuple[list[Tensor], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def _line(tensor: Tensor) -> Tensor:
    if tensor.dim() == 1:
        return tensor
    if tensor.is_contiguous():
        return tensor.view(-1)
    order = _order(tensor)
    return tensor.reshape(-1) if order is None else tensor.permute(order).reshape(-1)


def _by_copies(row: tuple[Tensor, ...]) -> Iterator[tuple[list[Tensor], ...]]:
    """A block of dense copies, that are copied back when it has been seen to."""
    copies = [each.contiguous() for each in row]
    yield tuple([each] for each in copies)
    for each, copy in list(zip(row, copies, strict=True))[1:]:
        if copy is not each:
            each.copy_(copy)
