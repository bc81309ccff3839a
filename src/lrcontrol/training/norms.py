"""Norms of all gradients together, as tensors where the gradients are: nothing here waits for a device.

torch's own norm of a large float32 tensor on a processor is off by percents, for it adds in float32 from end to end.
Here a processor adds rows of 256 in float32 and the rows in float64, which is as fast; other devices add in float64.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from lrcontrol import checks

__all__ = ["ORDERS", "Share", "gradients", "norms", "shares"]

ORDERS = {"l1": 1, "l2": 2}
"""The norms by their names."""

ROW = 256  # numbers that are added in float32: few enough for 1e-6, whatever they are
SMALL = 1 << 13  # below so many numbers float64 throughout costs no more
CHUNK = 1 << 18  # numbers that stay near a core
TINY = 1e-11  # a float32 sum of squares may lack too much below this, where squares leave float32


class Share(NamedTuple):
    """Tensors of which every process of some groups has a share of its own.

    Args:
        tensors: plain and dense, those of this process.
        groups: of processes; what is added over the tensors is to be added over each of them.
    """

    tensors: list[Tensor]
    groups: tuple[Any, ...]


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients of an optimizer's parameters, each once; those without one are left out."""
    parameters = dict.fromkeys(each for group in optimizer.param_groups for each in group["params"])
    return [each.grad for each in parameters if each.grad is not None]


@torch.no_grad()
def norms(
    tensors: Sequence[Tensor], orders: Sequence[str] = ("l1", "l2"), *, group: Any = None, out: Tensor | None = None
) -> Tensor:
    """The norms of all tensors together, as if they were one long vector.

    Within 1e-6 of what float64 throughout gives, for real and complex numbers of any type, also where their squares
    leave it; where a number is not finite, neither is the norm. Of a DTensor it is the norm of the whole, the same in
    every process; plain tensors are taken to be whole, and the same in every process, unless `group` is given. In
    float64 the squares of the numbers themselves must fit.

    Args:
        tensors: dense, sparse or distributed, on any devices.
        orders: names of norms, `l1` or `l2`. That of complex numbers is of their absolute values.
        group: a process group over which the plain tensors are divided, each process having some of its own.
        out: shape (orders,), on the device of the first tensor; where to write.
    Returns:
        Shape (orders,), float64 (float32 on devices that lack it), on the device of the first tensor. Sums over
        processes are asked for in the order of the tensors: every process must call this with its part of the same.
    Raises:
        BadInput: an unknown name.
    Example:
        >>> norms([torch.tensor([3.0, -4.0]), torch.zeros(5)]).tolist()
        [7.0, 5.0]
    """
    for order in orders:
        checks.one_of("norm", order, ORDERS)
    found = shares(tensors, group)
    home = next((each.device for share in found for each in share.tensors), torch.device("cpu"))
    if out is None:
        out = torch.empty(len(orders), dtype=_wide(home), device=home)
    if len(found) == 1 and not found[0].groups:
        return _own(found[0].tensors, orders, out)
    out.zero_()
    for share in found:
        sums = _own(share.tensors, orders, torch.empty_like(out))
        _square(sums, orders)
        out += summed(sums, share.groups)
    for place, order in enumerate(orders):
        if order == "l2":
            out[place].sqrt_()
    return out


def shares(tensors: Sequence[Tensor], group: Any = None) -> list[Share]:
    """What this process has of some tensors, by the groups of processes that have the rest.

    Args:
        tensors: dense, sparse or distributed. Of those that are yet to be added up over processes the sum is taken.
        group: over which plain tensors are divided.
    """
    plain: list[Tensor] = []
    found = [Share(plain, () if group is None else (group,))]
    divided: dict[tuple[int, tuple[int, ...]], Share] = {}
    for each in tensors:
        if hasattr(each, "placements"):
            local, mesh, dims = _local(each)
            key = (id(mesh), dims)
            if dims and key not in divided:
                divided[key] = Share([], tuple(mesh.get_group(dim) for dim in dims))
            (divided[key].tensors if dims else plain).append(_dense(local))
        else:
            plain.append(_dense(each))
    return found + list(divided.values()) if plain or group is not None or not divided else list(divided.values())


def summed(sums: Tensor, groups: Sequence[Any]) -> Tensor:
    """`sums`, added over each of the groups in place."""
    for group in groups:
        distributed.all_reduce(sums, group=group)
    return sums


def _local(tensor: Any) -> tuple[Tensor, Any, tuple[int, ...]]:
    """What this process has of a DTensor, its mesh, and the dimensions of the mesh over which it is divided."""
    if any(each.is_partial() for each in tensor.placements):
        from torch.distributed.tensor import Replicate

        whole = [Replicate() if each.is_partial() else each for each in tensor.placements]
        tensor = tensor.redistribute(placements=whole)
    local = tensor.to_local()
    local = local.wait() if hasattr(local, "wait") else local
    mesh = tensor.device_mesh
    dims = tuple(dim for dim, each in enumerate(tensor.placements) if not each.is_replicate() and mesh.size(dim) > 1)
    return local, mesh, dims


def _dense(tensor: Tensor) -> Tensor:
    """The numbers of a tensor that are not 0 by its layout, real; of complex ones their absolute values."""
    if tensor.layout is not torch.strided:
        tensor = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()
    if tensor.is_complex():
        tensor = tensor.to(torch.complex128).abs()
    return tensor


def _own(tensors: Sequence[Tensor], orders: Sequence[str], out: Tensor) -> Tensor:
    """Norms of plain tensors, without the other processes, written into `out`."""
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for each in tensors:
        if each.numel():
            kinds.setdefault((each.device, each.dtype), []).append(each)
    if not kinds:
        return out.zero_()
    rows = all(device.type == "cpu" for device, _ in kinds)
    for place, order in enumerate(orders):
        parts = []
        for (device, _), alike in kinds.items():
            found = _in_rows(alike, order) if rows else _wholly(alike, order, _wide(device))
            parts += found if device == out.device else [each.to(out.device, non_blocking=True) for each in found]
        torch.linalg.vector_norm(torch.stack(parts), ORDERS[order], out=out[place])
        if rows:
            value = float(out.numpy()[place])  # in memory already: nothing is waited for
            if not TINY <= value < float("inf") and (order == "l2" or value != value or value > 1):
                parts = [part for alike in kinds.values() for part in _wholly(_chunks(alike), order, torch.float64)]
                torch.linalg.vector_norm(torch.stack(parts), ORDERS[order], out=out[place])
    return out


def _wholly(tensors: list[Tensor], order: str, wide: torch.dtype) -> list[Tensor]:
    """Norms of tensors of one kind, each in `wide` from end to end."""
    narrow = tensors[0].dtype.itemsize < wide.itemsize
    return list(torch._foreach_norm(tensors, ORDERS[order], dtype=wide if narrow else None))


def _in_rows(tensors: Sequence[Tensor], order: str) -> list[Tensor]:
    """Norms in float64 of parts of tensors of one kind, large ones by rows in their own type."""
    small: list[Tensor] = []
    rows: list[Tensor] = []
    scratch: Tensor | None = None
    kind = torch.float32 if tensors[0].dtype.itemsize < 4 else tensors[0].dtype
    direct = order == "l2" and tensors[0].dtype == kind
    for each in tensors:
        count = each.numel()
        if count < SMALL:
            small.append(each)
            continue
        flat = each.reshape(-1)
        if count % ROW:
            small.append(flat[count - count % ROW :])
            flat = flat[: count - count % ROW]
        if direct:
            rows.append(torch.linalg.vector_norm(flat.view(-1, ROW), 2, dim=1))
            continue
        if scratch is None:
            scratch = torch.empty(CHUNK, dtype=kind)
        for chunk in torch.split(flat, CHUNK):
            part = scratch[: len(chunk)]
            if order == "l2":
                rows.append(torch.linalg.vector_norm(part.copy_(chunk).view(-1, ROW), 2, dim=1))
            else:
                part = torch.abs(chunk, out=part) if chunk.dtype == kind else part.copy_(chunk).abs_()
                rows.append(part.view(-1, ROW).sum(dim=1))
    found = _wholly(small, order, torch.float64) if small else []
    return found + (_wholly(rows, order, torch.float64) if rows else [])


def _chunks(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [chunk for each in tensors for chunk in torch.split(each.reshape(-1), CHUNK)]


def _square(values: Tensor, orders: Sequence[str]) -> None:
    """Norms made into what is added over processes."""
    for place, order in enumerate(orders):
        if order == "l2":
            values[place].square_()


def _wide(device: torch.device) -> torch.dtype:
    """The type that sums are kept in."""
    return torch.float32 if device.type == "mps" else torch.float64  # which has no float64
