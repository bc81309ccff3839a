"""Norms of all gradients together, as tensors where the gradients are: nothing here waits for a device.

torch's own norm of a large float32 tensor on a processor is off by percents, for it adds in float32 from end to end.
Here a processor adds rows of 256 in float32 and the rows in float64, which is as fast; other devices add in float64.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.training.ring import wide

__all__ = ["ORDERS", "Share", "add_up", "gradients", "norms", "norms_of_shares", "parameters", "piece", "shares"]

ORDERS = {"l1": 1, "l2": 2}
"""The norms by their names."""

ROW = 256  # numbers that are added in float32: few enough for 1e-6, whatever they are
SMALL = 1 << 13  # tensors of fewer numbers are put together; so many cost no more in float64 throughout
CHUNK = 1 << 17  # numbers that stay near a core
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
    return norms_of_shares(shares(tensors, group), orders, out)


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
    return [share for share in found.values() if share.tensors or group is not None]


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


def norms_of_shares(found: Sequence[Share], orders: Sequence[str], out: Tensor | None = None) -> Tensor:
    """As `norms`, of what `shares` found."""
    if out is None:
        home = next((each.device for share in found for each in share.tensors), torch.device("cpu"))
        out = torch.empty(len(orders), dtype=wide(home), device=home)
    if not found:
        return out.zero_()
    if len(found) == 1 and not found[0].groups:
        return _own(found[0].tensors, orders, out)
    powers = torch.tensor([ORDERS[order] for order in orders], dtype=out.dtype).to(out.device, non_blocking=True)
    sums = [add_up(_own(share.tensors, orders, torch.empty_like(out)) ** powers, share.groups) for share in found]
    return out.copy_(torch.stack(sums).sum(dim=0) ** (1 / powers))


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


def _own(tensors: Sequence[Tensor], orders: Sequence[str], out: Tensor) -> Tensor:
    """Norms of plain tensors, without the other processes, written into `out`."""
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for each in tensors:
        if each.numel():
            kinds.setdefault((each.device, each.dtype), []).append(each)
    if not kinds:
        return out.zero_()
    alike = [
        [each.to(torch.complex128).abs() for each in found] if kind.is_complex else found
        for (_, kind), found in kinds.items()
    ]
    if not all(map(_near, {out.device, *(device for device, _ in kinds)})):
        for place, order in enumerate(orders):
            _together([_wholly(each, order) for each in alike], order, out.select(0, place))
        return out
    parts = [_in_rows(each, orders) for each in alike]
    for place, order in enumerate(orders):
        joined = torch.cat([part for each in parts for part in each[order]])
        slot = out.select(0, place)
        torch.linalg.vector_norm(joined, ORDERS[order], dtype=out.dtype, out=slot)
        if not _sure(float(slot.numpy()), order):  # in memory already: nothing is waited for
            _together([_wholly(_chunks(each), order) for each in alike], order, slot)
    return out


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
    """Numbers that have the norms of tensors of one type on a processor: norms of rows, and what fills no row."""
    rest: list[Tensor] = []
    large: list[Tensor] = []
    few = 0
    for each in tensors:
        flat, count = each if each.dim() == 1 else each.reshape(-1), each.numel()
        if count < SMALL:
            rest.append(flat)
            few += count
        else:
            _cut(flat, large, rest)
    if few > SMALL:
        joined = torch.cat(rest)
        rest = []
        _cut(joined, large, rest)
    found = {order: list(rest) for order in orders}
    narrow = tensors[0].dtype.itemsize < 4
    if not narrow and "l1" not in found:
        found["l2"] += [torch.linalg.vector_norm(each.view(-1, ROW), 2, dim=1) for each in large]
        return found
    scratch = torch.empty(CHUNK if large else 0, dtype=torch.float32 if narrow else tensors[0].dtype)
    for chunk in _chunks(large):  # each is still near for the second norm
        part = scratch.narrow(0, 0, chunk.numel())
        wider = part.copy_(chunk) if narrow else chunk
        if "l2" in found:
            found["l2"].append(torch.linalg.vector_norm(wider.view(-1, ROW), 2, dim=1))
        if "l1" in found:
            found["l1"].append(torch.abs(wider, out=part).view(-1, ROW).sum(dim=1))
    return found


def _cut(flat: Tensor, large: list[Tensor], rest: list[Tensor]) -> None:
    """Put what fills rows into `large`, and what is left into `rest`."""
    count = flat.numel()
    over = count % ROW
    large.append(flat.narrow(0, 0, count - over) if over else flat)
    if over:
        rest.append(flat.narrow(0, count - over, over))


def _chunks(tensors: Sequence[Tensor]) -> list[Tensor]:
    flat = [each.reshape(-1) for each in tensors]
    return [part for each in flat for part in (torch.split(each, CHUNK) if each.numel() > CHUNK else (each,))]
