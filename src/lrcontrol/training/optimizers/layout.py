"""Layout: how the tensors of an update lie in blocks. It is made once, and again where one has been replaced.

An update of a large model on a processor costs what it moves between memory and cache, and one of many small tensors
costs the calls. So large tensors are gone through a block at a time, where they lie, and small ones are put together:
their gradients and values are copied for the update, and what is kept of them lies in one piece of memory for good. On
other devices all are one block as they are: there a pass over many tensors is one kernel.
"""

import sys
import weakref
from collections.abc import Sequence
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrcontrol.training.optimizers.blocks import block_size, line, order

__all__ = ["Blocks", "Layout", "in_pieces"]

SMALL = 16
"""Tensors of fewer numbers than this part of a block are put together."""

Blocks = list[list[Tensor]]
"""For each block its pieces of some tensors."""


class _Pool(NamedTuple):
    """Memory for tensors that are put together, and views on it in their shapes."""

    whole: Tensor
    views: list[Tensor]


class _Piece(NamedTuple):
    """Where a piece of a block lies: in which line, there from where to where, and whether that is all of it."""

    line: int
    start: int
    stop: int
    whole: bool


def in_pieces(device: torch.device) -> bool:
    """Whether large tensors are gone through a piece at a time there, as lines, and small ones put together."""
    return device.type == "cpu"


class _Kept(NamedTuple):
    """What is kept of the parameters under one name: tensors, the states that hold them, and the blocks of these."""

    tensors: list[Tensor]
    states: list[dict[str, Any]]
    blocks: Blocks


class Layout:
    """How parameters, their gradients and what is kept of them lie in blocks.

    Where nothing is put together or in pieces it holds on to no memory, so that all can be moved off a device.

    Args:
        parameters: of one device.
        apart: whether each is to be in pieces of its own, whose places among the parameters are the `owners`.
    """

    def __init__(self, parameters: Sequence[Tensor], *, apart: bool = False) -> None:
        self._in_pieces = in_pieces(parameters[0].device)
        self.tensors = parameters = [each.detach() for each in parameters] if self._in_pieces else list(parameters)
        self._laid = _laid(parameters)
        self._most = block_size(parameters[0].device) if self._in_pieces else sys.maxsize
        small = self._most // SMALL if self._in_pieces and not apart else 0
        together: dict[Any, list[int]] = {}
        alone: list[int] = []
        for place, each in enumerate(parameters):
            pooled = (each.is_contiguous() and each.numel() <= small) or order(each) is None
            key = each.dtype, place if apart else None
            (together.setdefault(key, []) if pooled else alone).append(place)
        self._together, self._alone = list(together.values()), alone
        self._small = [[parameters[place] for place in places] for places in self._together]
        self._plain = [parameters[place].is_contiguous() for place in alone]
        self._pools = [self._pool(places) for places in self._together]
        self._grad_pools = [self._pool(places) for places in self._together]
        lines = self._lines(self._pools, parameters)
        self._batches = self._divided(lines)
        places = [*(each[0] for each in self._together), *alone]
        self.owners = [[places[piece.line] for piece in batch] for batch in self._batches]
        self.parameters = self._cut(lines)
        self.grads: Blocks = []
        self._kept: dict[str, _Kept] = {}
        self._met: dict[str, list[weakref.ref[Tensor]]] = {}
        self._rooms: list[Blocks] = []
        self._indices: dict[str, tuple[list[int], Tensor]] = {}

    @property
    def puts_together(self) -> bool:
        """Whether some are put together."""
        return bool(self._together)

    def fits(self, parameters: Sequence[Tensor]) -> bool:
        """Whether these are the parameters that it is of, where they were."""
        return _laid(parameters) == self._laid

    def enter(self, grads: list[Tensor]) -> None:
        """An update begins: take up what the gradients and the parameters are now."""
        for pool, of_grads, places, own in zip(
            self._pools, self._grad_pools, self._together, self._small, strict=True
        ):
            torch._foreach_copy_(pool.views, own)
            torch._foreach_copy_(of_grads.views, [grads[place] for place in places])
        self.grads = self._cut(self._lines(self._grad_pools, grads))

    def leave(self) -> None:
        """An update ends: the parameters become what their blocks are, and the gradients are let go."""
        for pool, own in zip(self._pools, self._small, strict=True):
            torch._foreach_copy_(own, pool.views)
        self.grads = []
        torch.autograd.graph.increment_version(self.tensors)  # torch's fused kernels do not

    def separate(self) -> None:
        """What is kept has memory of its own until the next update: to save one of many is not to save them all."""
        for name, kept in self._kept.items():
            for place in (each for places in self._together for each in places):
                if kept.states[place].get(name) is kept.tensors[place]:
                    kept.states[place][name] = kept.tensors[place].clone()
        self._kept.clear()

    def kept(self, name: str, states: list[dict[str, Any]]) -> Blocks:
        """The blocks of `name` in the states of the parameters, which may then lie elsewhere in memory."""
        tensors = [state[name] for state in states]
        known = self._kept.get(name)
        if known and all(map(is_, known.tensors, tensors)):
            return known.blocks
        if name in self._met and all(met() is each for met, each in zip(self._met[name], tensors, strict=True)):
            return self._cut(tensors)
        pools = [self._pool(places, states[places[0]][name].dtype) for places in self._together]
        for pool, places in zip(pools, self._together, strict=True):
            torch._foreach_copy_(pool.views, [states[place][name] for place in places])
            for place, view in zip(places, pool.views, strict=True):
                states[place][name] = view
        for place in self._alone:
            value, parameter = states[place][name], self.tensors[place]
            if value.stride() != parameter.stride():
                states[place][name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        tensors = [state[name] for state in states]
        found = self._cut(self._lines(pools, tensors))
        if self._in_pieces or self._together:
            self._kept[name] = _Kept(tensors, states, found)
        else:
            self._met[name] = [weakref.ref(each) for each in tensors]
        return found

    def rooms(self, count: int) -> list[Blocks]:
        """Lists of memory for every block, the same for each; it begins with zeros."""
        while len(self._rooms) < count:
            self._rooms.append(self._room() if self._in_pieces else [[] for _ in self._batches])
        return self._rooms[:count]

    def index(self, name: str, numbers: list[int]) -> Tensor:
        """The numbers on the device, to which they are sent once."""
        known = self._indices.get(name)
        if known is None or known[0] != numbers:
            known = self._indices[name] = numbers, torch.tensor(numbers, device=self.tensors[0].device)
        return known[1]

    def _pool(self, places: list[int], dtype: torch.dtype | None = None) -> _Pool:
        tensors = [self.tensors[place] for place in places]
        numbers = [each.numel() for each in tensors]
        whole = torch.empty(sum(numbers), dtype=dtype or tensors[0].dtype, device=tensors[0].device)
        return _Pool(
            whole, [part.view(each.shape) for part, each in zip(torch.split(whole, numbers), tensors, strict=True)]
        )

    def _lines(self, pools: list[_Pool], tensors: list[Tensor]) -> list[Tensor]:
        """What is put together, and after it each of the others, as the parameter lies in memory."""
        found = [pool.whole for pool in pools]
        for place, plain in zip(self._alone, self._plain, strict=True):
            each = tensors[place]
            if plain and self._in_pieces and each.is_contiguous():
                found.append(each.view(-1))
                continue
            if not plain or not each.is_contiguous():
                parameter = self.tensors[place]
                if each.stride() != parameter.stride():
                    each = torch.empty_like(parameter, dtype=each.dtype).copy_(each)
            found.append(line(each) if self._in_pieces else each)
        return found

    def _divided(self, lines: list[Tensor]) -> list[list[_Piece]]:
        """The pieces of every block: of one type, and not of many more numbers than a block should have."""
        batches: list[list[_Piece]] = []
        held = 0
        dtype = None
        for place in sorted(range(len(lines)), key=lambda place: str(lines[place].dtype)):
            size = lines[place].numel()
            many = -(-size // self._most) or 1
            for part in range(many):
                piece = _Piece(place, size * part // many, size * (part + 1) // many, many == 1)
                numbers = piece.stop - piece.start
                if not batches or held + numbers > self._most or lines[place].dtype != dtype:
                    batches.append([])
                    held, dtype = 0, lines[place].dtype
                batches[-1].append(piece)
                held += numbers
        return batches

    def _cut(self, lines: list[Tensor]) -> Blocks:
        if not self._in_pieces:
            return [[lines[piece.line] for piece in batch] for batch in self._batches]
        return [
            [lines[place] if whole else lines[place][start:stop] for place, start, stop, whole in batch]
            for batch in self._batches
        ]

    def _room(self) -> Blocks:
        found: Blocks = []
        memory: dict[torch.dtype, Tensor] = {}
        for pieces in self.parameters:
            numbers = [each.numel() for each in pieces]
            dtype = pieces[0].dtype
            if dtype not in memory or memory[dtype].numel() < sum(numbers):
                largest = max(
                    sum(each.numel() for each in block) for block in self.parameters if block[0].dtype == dtype
                )
                memory[dtype] = torch.zeros(largest, dtype=dtype)
            found.append(list(torch.split(memory[dtype][: sum(numbers)], numbers)))
        return found


def _laid(tensors: Sequence[Tensor]) -> tuple[list[Any], ...]:
    """Where tensors lie in memory."""
    return (
        [each.data_ptr() for each in tensors],
        [each.stride() for each in tensors],
        [each.numel() for each in tensors],
        [each.dtype for each in tensors],
        [each.device for each in tensors],
    )
