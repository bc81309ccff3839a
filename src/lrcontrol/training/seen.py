"""Seen: the readings of an observer on their way from the device to arrays and a file."""

import os
import warnings
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lrcontrol.errors import BadInput
from lrcontrol.runs.gradient_log import GradientLogFile
from lrcontrol.training.ring import Ring, Row

__all__ = ["BESIDE", "Reading", "Seen"]

BESIDE = ("loss", "lr", "skipped", "found")
"""Columns of a row after the names that are observed: what the device may know better than the host."""

Columns = dict[str, NDArray[np.float64]]


class Reading(NamedTuple):
    """What the host knows of a row; what is None is in the row.

    Args:
        attempt: updates before it that were made or skipped on the device.
        loss: NaN where there is none.
        lr: likewise.
        skipped: how many of the attempts were skipped.
        found: whether this one was skipped too, as a scaler tells an optimizer: 0 for no.
    """

    attempt: int
    loss: float | None
    lr: float | None
    skipped: float | None
    found: float | None


class Seen:
    """Readings, complete or on their way.

    Args:
        names: of what a row begins with.
        block: >= 1; rows that are on the device together.
        file: where norms, losses and rates are written to.
    """

    def __init__(self, names: Sequence[str], block: int, file: GradientLogFile | None) -> None:
        self._names, self._block, self._file = tuple(names), block, file
        self._ring: Ring | None = None
        self._way: deque[Reading] = deque()
        self._parts: list[Columns] = []
        self._unwritten: list[Columns] = []
        self._warned = False
        self._process = os.getpid()

    def row(self, device: torch.device) -> Row:
        """The next row, to be written to; it is on the first device that was asked for."""
        if self._ring is None:
            self._ring = Ring(device, len(self._names) + len(BESIDE), self._block)
        return self._ring.row

    def push(self, reading: Reading) -> None:
        """The row has been written; a block that is full is taken to the host and written to the file."""
        assert self._ring is not None  # noqa: S101 - whoever pushes has asked for the row, told to the type checker
        self._way.append(reading)
        if self._ring.push():
            self._take(self._ring.arrived())

    def rest(self) -> None:
        """Take all there is; waits for the device."""
        if self._ring is not None:
            self._take([self._ring.rest()])
        elif self._unwritten:
            self._write()

    def columns(self) -> Columns:
        """All readings by name, and `step`; waits for the device."""
        self.rest()
        names = ("step", *self._names, "loss", "lr")
        empty = np.empty(0)
        return {name: np.concatenate([empty, *(part[name] for part in self._parts)]) for name in names}

    def forget(self, step: int) -> None:
        """Forget the readings from `step` on; the file keeps them."""
        self.rest()
        kept = [part["step"] < step for part in self._parts]
        self._parts = [
            {name: values[rows] for name, values in part.items()} for part, rows in zip(self._parts, kept, strict=True)
        ]

    def close(self) -> None:
        """Take all there is, and close the file; once is enough, twice does no harm."""
        if os.getpid() != self._process:  # a fork, which has the readings of another
            return
        try:
            self.rest()
            if self._unwritten and self._file is not None:
                self._file.write(**_of_file(self._unwritten))
                self._unwritten = []
        finally:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _take(self, blocks: Sequence[NDArray[np.float64]]) -> None:
        for rows in blocks:
            readings = [self._way.popleft() for _ in rows]
            count = len(self._names)
            beside = [
                np.array([row[count + place] if each[1 + place] is None else each[1 + place]
                          for each, row in zip(readings, rows, strict=True)], np.float64)
                for place in range(len(BESIDE))
            ]  # fmt: skip
            loss, lr, skipped, found = beside
            made = found == 0
            part = dict(zip(self._names, rows.T, strict=False))
            part |= {"step": np.array([each.attempt for each in readings]) - skipped, "loss": loss, "lr": lr}
            part = {name: values[made] for name, values in part.items()}
            if made.any():
                self._parts.append(part)
                if self._file is not None:
                    self._unwritten.append(part)
        if self._unwritten:
            self._write()

    def _write(self) -> None:
        """Write to the file; where that fails, training goes on, and it is tried again with what is seen next."""
        if self._file is None:
            return
        try:
            self._file.write(**_of_file(self._unwritten))
            self._unwritten = []
        except BadInput as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"{error} Readings are kept in memory until it can be.", RuntimeWarning, stacklevel=2)


def _of_file(parts: Sequence[Columns]) -> dict[str, NDArray[np.float64]]:
    """The columns that a file has; one that nothing was seen of is left out."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shown = {name: values for name, values in joined.items() if name in ("l1", "l2", "loss", "lr")}
    found = {name: values for name, values in shown.items() if name in ("l1", "l2") or not np.isnan(values).all()}
    return {"steps": joined["step"].astype(np.int64), **found}
