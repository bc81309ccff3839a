"""Told: what a script has told of its run so far, and how it ended."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.steering import Steering
from lrcontrol.training.under_way import BLOCK, End, bad_loss

__all__ = ["Saved", "Told"]


class Saved(NamedTuple):
    """What a script saved after `step` updates, as `as_plain` has it, and where the random numbers were."""

    step: int
    plain: Any
    tensors: dict[str, Tensor]
    random: dict[str, Tensor]


class Told:
    """What a script has told of its run.

    Attributes:
        steering: of its optimizer, once it has one.
        evals: what it measured, by the updates made before.
        end: why the run ends before its time, or None.
        saved: what it saved last.
        saved_at: after how many updates it saved.
        kept: what it saved where its control said to keep, if it has saved since.
        restored: whether it has asked for what it goes on from.
    """

    def __init__(self, spec: RunSpec) -> None:
        self.steering: Steering | None = None
        self.evals: dict[int, dict[str, float]] = {}
        self.end: End | None = None
        self.saved: Saved | None = None
        self.saved_at: set[int] = set()
        self.kept: Saved | None = None
        self.restored = False
        self._first = spec.first_step
        self._fresh: list[tuple[int, Any]] = []  # updates and losses that were not looked at yet
        self._sums, self._counts = np.zeros(spec.updates), np.zeros(spec.updates, np.int64)

    def loss(self, update: int, loss: Any) -> None:
        """A batch loss; a tensor is looked at later, so that nothing waits for its device."""
        self._fresh.append((update, loss))
        if len(self._fresh) >= BLOCK:
            self.look()

    def look(self) -> None:
        """Look at the losses that were told since the last look."""
        fresh, self._fresh = self._fresh, []
        losses = [loss for _, loss in fresh]
        tensors = bool(losses) and all(isinstance(loss, Tensor) for loss in losses)
        values = torch.stack([loss.float() for loss in losses]).tolist() if tensors else map(float, losses)
        for (update, _), value in zip(fresh, values, strict=True):
            place = update - self._first
            if 0 <= place < len(self._sums):
                self._sums[place] += value
                self._counts[place] += 1
            if not math.isfinite(value):
                self.diverged(bad_loss(update))

    def loss_of(self, update: int) -> float | None:
        """The mean of what was told of an update, or None."""
        self.look()
        place = update - self._first
        return float(self._sums[place] / self._counts[place]) if self._counts[place] else None

    def losses(self, made: int) -> NDArray[np.float32] | None:
        """Those of the first updates, NaN where none was told; None where none ever was."""
        self.look()
        if not self._counts.any():
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            means: NDArray[np.float32] = (self._sums[:made] / self._counts[:made]).astype(np.float32)
        return means

    def diverged(self, end: End) -> None:
        """The run ends so, if it had not ended before."""
        if self.end is None:
            self.end = end
            if self.steering is not None:
                self.steering.ended = True
