"""Norms of all gradients together, as tensors where the gradients are: nothing here waits for a device.

torch's own norm of a large float32 tensor on a processor is off by percents, for it adds in float32 from end to end.
Here a processor adds rows of 256 in float32 and the rows in float64, which is as fast; other devices add in float64.
"""

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.training.ring import Row, row_of, wide

__all__ = ["ORDERS", "Share", "add_up", "gradients", "norms", "norms_of_shares", "parameters", "piece", "shares"]

ORDERS = {"l1": 1, "l2": 2}
"""The norms by their names."""

ROW = 256  # numbers that are added in float32: few enough for 1e-6, whatever they are
SMALL = 1 << 13  # tensors of fewer numbers are put together; so many cost no more in float64 throughout
CHUNK = 1 << 19  # numbers that are taken at once
TINY = 1e-11  # a float32 sum of squares may lack too much below this, where squares leave float32


class Share(NamedTuple):
    """Tensors of which every process of some groups has a share of its own.

    Args:
        tensors: plain and dense, those of this process.
        groups: of processes; what is added over the tensors is to be added over each of them.
    """

    tensors: list[Tensor]
    groups: tuple[Any, ...]


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """The parameters of an optimizer, each once."""
    return list(dict.fromkeys(each for group in optimizer.param_groups for each in group["params"]))


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients of an optimizer's parameters, each once; those without one are left out."""
    found = dict.fromkeys(each.grad for group in optimizer.param_groups for each in group["params"])
    return [each for each in found if each is not None]


@torch.no_grad()
def norms(
    tensors: Sequence[Tensor], orders: Sequence[str] = ("l1", "l2"), *, group: Any = None, out: Tensor | None = None
) -> Tensor:
    """The norms of all tensors together, as if they were one long vector.

    Within 1e-6 of what float64 throughout gives, for real and complex numbers of any type, also where squares leave
    it; only those of float64 itself must fit. Where a number is not finite, neither is the norm. Of a DTensor it is
    the norm of the whole, the same in every process; plain tensors are taken to be whole, and the same in every
    process, unless `group` is given.

    Args:
        tensors: dense, sparse or distributed, on any devices.
        orders: names of norms, `l1` or `l2`. That of complex numbers is of their absolute values.
        group: a process group over which the plain tensors are divided, each process having some of its own.
        out: shape (orders,), where to write.
    Returns:
        Shape (orders,), float64 (float32 on devices that lack it), on the device of `out` or of the first tensor. Sums
        over processes are asked for in the order of the tensors: every process must call this with its part of the
        same.
    Raises:
        BadInput: an unknown name.
    Example:
        >>> norms([torch.tensor([3.0, -4.0]), torch.zeros(5)]).tolist()
        [7.0, 5.0]
    """
    for order in orders:
        checks.one_of("norm", order, ORDERS)
    found = shares(tensors, group)
    if out is None:
        home = next((each.device for share in found for each in share.tensors), torch.device("cpu"))
        out = torch.empty(len(orders), dtype=wide(home), device=home)
    norms_of_shares(found, orders, row_of(out))
    return out


def shares(tensors: Iterable[Tensor], group: Any = None) -> list[Share]:
    """What this process has of some tensors, by the groups of processes that have the rest; under `no_grad`.

    Args:
        tensors: dense, sparse or distributed. Of those that are yet to be added up over processes the sum is taken.
        group: over which plain tensors are divided; then there is a share of them even where there are none.
    """
    own = () if group is None else (group,)
    plain = Share([], own)
    found = {tuple(map(id, own)): plain}
    for each in tensors:
        if type(each) is Tensor and each.layout is torch.strided:
            plain.tensors.append(each)
        else:
            local, groups = piece(each, own)
            found.setdefault(tuple(map(id, groups)), Share([], groups)).tensors.append(local)
    return [share for share in found.values() if share.tensors or share.groups]


def piece(tensor: Any, own: tuple[Any, ...] = ()) -> tuple[Tensor, tuple[Any, ...]]:
    """What this process has of a tensor, plain and dense, and the groups of processes that have the rest.

    Args:
        tensor: of a DTensor that is yet to be added up over processes, the sum is taken.
        own: the groups, where it is a plain one.
    """
    if not hasattr(tensor, "placements"):
        return _dense(tensor), own
    if any(each.is_partial() for each in tensor.placements):
        from torch.distributed.tensor import Replicate

        whole = [Replicate() if each.is_partial() else each for each in tensor.placements]
        tensor = tensor.redistribute(placements=whole)
    local, mesh = tensor.to_local(), tensor.device_mesh
    dims = [dim for dim, each in enumerate(tensor.placements) if not each.is_replicate() and mesh.size(dim) > 1]
    return _dense(local.wait() if hasattr(local, "wait") else local), tuple(mesh.get_group(dim) for dim in dims)


def norms_of_shares(found: Sequence[Share], orders: Sequence[str], row: Row) -> None:
    """As `norms`, of what `shares` found, written into the first numbers of a row."""
    if len(found) == 1 and not found[0].groups:
        _own(found[0].tensors, orders, row)
        return
    whole = torch.zeros(len(orders), dtype=row.slots[0].dtype, device=row.slots[0].device)
    for share in found:
        sums = torch.empty_like(whole)
        own = row_of(sums)
        _own(share.tensors, orders, own)
        for slot, order in zip(own.slots, orders, strict=True):
            if order == "l2":
                slot.square_()
        whole += add_up(sums, share.groups)
    for slot, value, order in zip(row.slots, whole.unbind(), orders, strict=False):
        slot.copy_(value.sqrt() if order == "l2" else value)


def add_up(sums: Tensor, groups: Sequence[Any]) -> Tensor:
    """`sums`, added up in place over each of the groups."""
    for group in groups:
        distributed.all_reduce(sums, group=group)
    return sums


def _dense(tensor: Tensor) -> Tensor:
    """The numbers of a tensor that are not 0 by its layout."""
    if tensor.layout is torch.strided:
        return tensor
    return tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()


def _own(tensors: list[Tensor], orders: Sequence[str], row: Row) -> None:
    """Norms of plain tensors, without the other processes, written into the first numbers of a row."""
    if not tensors:
        for slot in row.slots[: len(orders)]:
            slot.zero_()
        return
    kinds = [
        [each.to(torch.complex128).abs() for each in alike] if alike[0].is_complex() else alike
        for alike in _kinds(tensors)
    ]
    if row.near is None or not all(_near(alike[0].device) for alike in kinds):
        for slot, order in zip(row.slots, orders, strict=False):
            _together([_wholly(alike, order) for alike in kinds], order, slot)
        return
    parts = [_in_rows(alike, orders) for alike in kinds]
    for place, order in enumerate(orders):
        value = row.near[place] = _norm([part for each in parts for part in each[order]], order)
        if not _sure(value, order):
            _together([_wholly(_chunks(alike), order) for alike in kinds], order, row.slots[place])


def _norm(parts: list[Tensor], order: str) -> float:
    """The norm of numbers on a processor, in float64."""
    joined = torch.cat(parts)
    numbers = (joined.float() if joined.dtype.itemsize < 4 else joined).numpy().astype(np.float64)
    if order == "l2":
        return math.sqrt(numbers.dot(numbers))
    with np.errstate(over="ignore"):
        return float(np.abs(numbers, out=numbers).sum())


def _kinds(tensors: list[Tensor]) -> list[list[Tensor]]:
    """The tensors by device and type."""
    first = tensors[0]
    device, kind = first.device, first.dtype
    if all(each.dtype is kind and each.device == device for each in tensors):
        return [tensors]
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for each in tensors:
        kinds.setdefault((each.device, each.dtype), []).append(each)
    return list(kinds.values())


def _near(device: torch.device) -> bool:
    """Whether numbers are where Python is, so that reading one waits for nothing."""
    return device.type == "cpu"


def _together(norms: Sequence[list[Tensor]], order: str, out: Tensor) -> None:
    """The norm of norms."""
    home = out.device
    moved = [each if each.device == home else each.to(home, non_blocking=True) for found in norms for each in found]
    torch.linalg.vector_norm(torch.stack(moved), ORDERS[order], out=out)


def _sure(value: float, order: str) -> bool:
    """Whether a norm that was added up in float32 is that of the numbers, and not of what has left float32."""
    return value != value or (TINY if order == "l2" else 0) <= value < float("inf")


def _wholly(tensors: list[Tensor], order: str) -> list[Tensor]:
    """Norms of tensors of one type on one device, in its widest type from end to end."""
    kind = wide(tensors[0].device)
    return list(torch._foreach_norm(tensors, ORDERS[order], dtype=kind if tensors[0].dtype != kind else None))


def _in_rows(tensors: list[Tensor], orders: Sequence[str]) -> dict[str, list[Tensor]]:
    """Numbers that have the norms of tensors of one type on a processor: norms of rows, and what fills no row.

    Memory is read once, and calls are few: in a step of some milliseconds each takes as long as thousands of numbers.
    """
    rest: list[Tensor] = []
    blocks: list[Tensor] = []
    few = 0
    for each in tensors:
        count = each.numel()
        if count < SMALL:
            rest.append(each if each.dim() == 1 else each.reshape(-1))
            few += count
        elif count <= CHUNK and count % ROW == 0 and each.is_contiguous():
            blocks.append(each.view(-1, ROW))
        else:
            _cut(each.reshape(-1), blocks, rest)
    if few > SMALL:
        joined = torch.cat(rest)
        rest = []
        _cut(joined, blocks, rest)
    found = {order: list(rest) for order in orders}
    narrow = tensors[0].dtype.itemsize < 4
    kind = torch.float32 if narrow else tensors[0].dtype
    for block in blocks:
        part = _scratch(kind, block.shape[0]) if narrow or "l1" in found else block
        wider = part.copy_(block) if narrow else block
        if "l2" in found:
            found["l2"].append(torch.linalg.vector_norm(wider, 2, dim=1))
        if "l1" in found:  # while the numbers are near
            found["l1"].append(torch.abs(wider, out=part).sum(dim=1))
    return found


def _cut(flat: Tensor, blocks: list[Tensor], rest: list[Tensor]) -> None:
    """Put what fills rows into `blocks`, and what is left into `rest`."""
    count = flat.numel()
    over = count % ROW
    if over:
        rest.append(flat.narrow(0, count - over, over))
        flat = flat.narrow(0, 0, count - over)
    blocks += torch.split(flat.view(-1, ROW), CHUNK // ROW)


def _scratch(kind: torch.dtype, rows: int) -> Tensor:
    """Rows of this thread for numbers on their way: to ask for memory at each update takes longer than to use it."""
    kept: dict[Any, Tensor] = _SCRATCH.__dict__
    key = (kind, rows)
    if key not in kept:
        if len(kept) > 1000:
            kept.clear()
        whole = kept.setdefault((kind, 0), torch.empty(CHUNK // ROW, ROW, dtype=kind))
        kept[key] = whole.narrow(0, 0, rows)
    return kept[key]


_SCRATCH = threading.local()


def _chunks(tensors: Sequence[Tensor]) -> list[Tensor]:
    flat = [each.reshape(-1) for each in tensors]
    return [part for each in flat for part in (torch.split(each, CHUNK) if each.numel() > CHUNK else (each,))]
