"""Moves: what only a copy of gradients or weights can tell, for controls that look at how far a run has come."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol.training.norms import CHUNK, Share, add_up, norms_of_shares, parameters, piece
from lrcontrol.training.ring import row_of, wide

__all__ = ["MOVES", "Moves"]

MOVES = ("dot", "update", "distance")
"""A gradient times the one before it; the norm of what an update changed; the distance from where the weights were."""

Piece = tuple[Tensor, tuple[Any, ...]]


class Moves:
    """Copies that are made where they are asked for, and what is found with them; all of it stays on the device.

    Each name costs a copy of what the optimizer trains, or of its gradients: the share of this process, where they are
    divided. For `update` and `distance` there is another of each device's share while it is measured.

    Args:
        names: of `MOVES`.
        group: over which plain tensors are divided.
    """

    def __init__(self, names: Sequence[str], group: Any = None) -> None:
        self._names, self._own = frozenset(names), () if group is None else (group,)
        self._gradients: dict[Tensor, Tensor] = {}
        self._kept = False
        self._scale: Tensor | None = None
        self._before: dict[Tensor, Tensor] = {}
        self.start: dict[Tensor, Tensor] = {}

    def __contains__(self, name: str) -> bool:
        """Whether it was asked for."""
        return name in self._names

    @torch.no_grad()
    def product(self, optimizer: Optimizer, scale: Tensor | None, out: Tensor) -> None:
        """The product of the gradients now and those kept, NaN where there are none; one without is 0.

        Args:
            optimizer: has the gradients.
            scale: by which they are too large.
            out: a number, to be written to.
        """
        if not self._kept:
            out.fill_(float("nan"))
            return
        sums: dict[tuple[int, ...], tuple[list[Tensor], tuple[Any, ...]]] = {}
        if self._own:
            sums[tuple(map(id, self._own))] = ([], self._own)
        for parameter, (now, groups) in self._pieces(optimizer, gradients=True).items():
            kept = self._gradients.get(parameter)
            if kept is not None:
                sums.setdefault(tuple(map(id, groups)), ([], groups))[0].extend(_products(now, kept))
        out.zero_()
        for parts, groups in sums.values():
            moved = [out.new_zeros(()), *(each.to(out.device, non_blocking=True) for each in parts)]
            out += add_up(torch.stack(moved).sum(), groups)
        for each in (scale, self._scale):
            if each is not None:
                out.div_(each.to(out.device))

    @torch.no_grad()
    def keep_gradients(self, optimizer: Optimizer, scale: Tensor | None) -> None:
        """Keep the gradients for the next product."""
        _copy({name: now for name, (now, _) in self._pieces(optimizer, gradients=True).items()}, self._gradients)
        self._kept, self._scale = True, None if scale is None else scale.clone()

    def forget(self) -> None:
        """Forget the gradients that were kept."""
        self._kept = False

    @torch.no_grad()
    def keep_weights(self, optimizer: Optimizer) -> None:
        """Keep the weights that an update is made from, and of those that were never seen also as the start."""
        now = {name: value for name, (value, _) in self._pieces(optimizer).items()}
        if "update" in self:
            _copy(now, self._before)
        if "distance" in self and not now.keys() <= self.start.keys():
            self.start |= {name: value.clone() for name, value in now.items() if name not in self.start}

    @torch.no_grad()
    def moved(self, optimizer: Optimizer, out: Tensor) -> None:
        """The norm of the difference between the weights and those kept before the update."""
        self._apart(optimizer, self._before, out)

    @torch.no_grad()
    def distance(self, optimizer: Optimizer, out: Tensor) -> None:
        """The norm of the difference between the weights and those of the start."""
        self._apart(optimizer, self.start, out)

    def _apart(self, optimizer: Optimizer, kept: dict[Tensor, Tensor], out: Tensor) -> None:
        found = {tuple(map(id, self._own)): Share([], self._own)}
        for parameter, (now, groups) in self._pieces(optimizer).items():
            share = found.setdefault(tuple(map(id, groups)), Share([], groups))
            share.tensors.append(now - kept[parameter])
        there = [share for share in found.values() if share.tensors or share.groups]
        norms_of_shares(there, ("l2",), row_of(out.view(1)))

    def _pieces(self, optimizer: Optimizer, *, gradients: bool = False) -> dict[Tensor, Piece]:
        """What this process has of each parameter, or of its gradient where it has one."""
        values = {each: each.grad if gradients else each for each in parameters(optimizer)}
        return {
            name: piece(value.to_dense() if value.is_sparse else value, self._own)
            for name, value in values.items()
            if value is not None
        }


def _copy(now: dict[Tensor, Tensor], kept: dict[Tensor, Tensor]) -> None:
    """Make `kept` a copy of `now`, in the same memory where it fits."""
    for name in kept.keys() - now.keys():
        del kept[name]
    for name, value in now.items():
        held = kept.get(name)
        if held is None or (held.shape, held.dtype, held.device) != (value.shape, value.dtype, value.device):
            kept[name] = value.clone()
        else:
            held.copy_(value)


def _products(one: Tensor, other: Tensor) -> list[Tensor]:
    """Products of parts of two tensors of one shape, in the widest type."""
    if one.is_complex():
        one, other = torch.view_as_real(one.resolve_conj()), torch.view_as_real(other.resolve_conj())
    kind = wide(one.device)
    pairs = zip(torch.split(one.reshape(-1), CHUNK), torch.split(other.reshape(-1), CHUNK), strict=True)
    return [torch.dot(left.to(kind), right.to(kind)) for left, right in pairs]
