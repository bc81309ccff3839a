"""Ring: rows of numbers on a device that go to the host a block at a time, while the device goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Ring", "Row", "row_of", "wide"]


def wide(device: torch.device) -> torch.dtype:
    """The widest floating type of a device."""
    return torch.float32 if device.type == "mps" else torch.float64


class Row:
    """Numbers on a device, one beside the other.

    Args:
        make: gives them as a tensor of shape (columns,); called when that is asked for.
        near: the same memory, where it is Python's too and using it waits for nothing.
    """

    __slots__ = ("_make", "_slots", "near")

    def __init__(self, make: Callable[[], Tensor], near: NDArray[np.float64] | None) -> None:
        self._make, self.near = make, near
        self._slots: tuple[Tensor, ...] | None = None

    @property
    def slots(self) -> tuple[Tensor, ...]:
        """The numbers as tensors of no dimension, to be written to."""
        if self._slots is None:
            self._slots = self._make().unbind()
        return self._slots


def row_of(numbers: Tensor) -> Row:
    """A tensor of one dimension as a row."""
    return Row(lambda: numbers, _near(numbers))


def _near(numbers: Tensor) -> NDArray[np.float64] | None:
    here = numbers.device.type == "cpu" and numbers.dtype == torch.float64
    return numbers.numpy() if here else None


class Ring:
    """Rows that are written on a device, and taken on the host some time later.

    Two blocks are used in turn. A block that is full begins its way to the host, and is looked at when the other one
    is full: by then it has long arrived. So nothing waits for the device, unless `rest` is asked for.

    Args:
        device: where rows are written.
        columns: numbers in a row.
        block: >= 1; rows in a block.
    Example:
        >>> ring = Ring(torch.device("cpu"), columns=1, block=2)
        >>> for value in range(3):
        ...     _ = ring.row.slots[0].fill_(value)
        ...     full = ring.push()
        >>> ring.arrived()[0].tolist(), ring.rest().tolist()
        ([[0.0], [1.0]], [[2.0]])
    """

    def __init__(self, device: torch.device, columns: int, block: int) -> None:
        self._blocks = [torch.zeros(block, columns, dtype=wide(device), device=device) for _ in range(2)]
        self._near = [_near(each) for each in self._blocks]
        self._size = block
        self._row: Row | None = None
        self._turn = self._filled = 0
        self._travelling: tuple[Tensor, Any] | None = None
        self._pinned = device.type == "cuda"
        self._arrived: list[NDArray[np.float64]] = []

    @property
    def row(self) -> Row:
        """The row that is next, to be written to; it may be written to again until it is pushed."""
        if self._row is None:
            block, near, place = self._blocks[self._turn], self._near[self._turn], self._filled
            self._row = Row(lambda: block.select(0, place), None if near is None else near[place])
        return self._row

    def push(self) -> bool:
        """The row has been written; whether a block is full."""
        self._filled += 1
        self._row = None
        if self._filled < self._size:
            return False
        self._land()
        self._send()
        self._turn, self._filled = 1 - self._turn, 0
        return True

    def arrived(self) -> list[NDArray[np.float64]]:
        """The blocks that have arrived since this was asked last, in their order."""
        found, self._arrived = self._arrived, []
        return found

    def rest(self) -> NDArray[np.float64]:
        """All rows that `arrived` has not given; waits for the device. A row that was begun stays so."""
        self._land()
        if self._filled:
            begun = self._blocks[self._turn].select(0, self._filled)
            self._send()
            self._land()
            self._turn, self._filled, self._row = 1 - self._turn, 0, None
            self._blocks[self._turn].select(0, 0).copy_(begun)
        return np.concatenate(self.arrived() or [np.empty((0, self._blocks[0].shape[1]))])

    def _send(self) -> None:
        """Begin the way of the rows that are filled."""
        rows = self._blocks[self._turn].narrow(0, 0, self._filled)
        if self._pinned:
            host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            host.copy_(rows, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(rows.device))
            self._travelling = host, event
        else:  # in memory already, or on a device that has no such copies
            self._arrived.append(rows.cpu().numpy().astype(np.float64))

    def _land(self) -> None:
        """Take the block that is on its way."""
        if self._travelling is not None:
            host, event = self._travelling
            event.synchronize()
            self._arrived.append(host.numpy().astype(np.float64))
            self._travelling = None
