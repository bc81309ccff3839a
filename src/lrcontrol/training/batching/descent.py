"""Descents: the optimizers of a stack, one update of all runs in a few operations on one tensor.

The equations are those of torch's fused optimizers, with a rate, momentum and weight decay for every run.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrcontrol.runs.method import SGD, AdamW, OptimizerSpec

__all__ = ["Descent", "descent_of"]

LONG = 2000  # numbers of a run from which a fused call for each is faster on a CPU


class Descent(Protocol):
    """The optimizer of a stack."""

    def plan(self, first: int, table: NDArray[np.float64]) -> None:
        """Make ready for the updates from `first` on; shape (updates, runs, 3): rate, momentum, weight decay."""

    def update(self, place: int, weights: Tensor, gradients: Tensor) -> None:
        """Make update `place` of those planned; gradients may be changed."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these runs alone."""


def descent_of(optimizers: Sequence[OptimizerSpec], weights: Tensor) -> Descent:
    """The optimizers of runs, all of one kind, for weights of shape (runs, numbers)."""
    if all(isinstance(each, SGD) for each in optimizers):
        return _Sgd([each for each in optimizers if isinstance(each, SGD)], weights)
    adams = [each for each in optimizers if isinstance(each, AdamW)]
    fused = weights.device.type == "cpu" and weights.shape[1] >= LONG
    return _FusedAdamW(adams, weights) if fused else _AdamW(adams, weights)


def _own_settings(table: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table with what the optimizers have where nothing is scheduled; `own` has shape (runs, 3)."""
    return np.where(np.isnan(table), own, table)


class _Sgd:
    """As torch.optim.SGD; see Sutskever et al. 2013 for momentum and Nesterov's form."""

    def __init__(self, optimizers: Sequence[SGD], weights: Tensor) -> None:
        self._own = np.array([[np.nan, each.momentum, each.weight_decay] for each in optimizers])
        self._nesterov = np.array([each.nesterov for each in optimizers])
        self._buffer = torch.zeros_like(weights)

    def plan(self, first: int, table: NDArray[np.float64]) -> None:
        del first
        lr, momentum, decay = np.moveaxis(_own_settings(table, self._own), 2, 0)
        # Where momentum is 0, torch leaves the buffer as it is and takes the gradient.
        plain = momentum == 0
        keep, add = np.where(plain, 1.0, momentum), np.where(plain, 0.0, 1.0)
        of_gradient = np.where(plain | self._nesterov, 1.0, 0.0)
        of_buffer = np.where(plain, 0.0, np.where(self._nesterov, momentum, 1.0))
        self._decays, self._all_plain, self._any_plain = bool(decay.any()), bool(plain.all()), bool(plain.any())
        self._any_nesterov = bool(self._nesterov.any())
        self._rows = _uploaded([-lr, decay, keep, add, of_gradient, of_buffer], self._buffer.device)

    def update(self, place: int, weights: Tensor, gradients: Tensor) -> None:
        lr, decay, keep, add, of_gradient, of_buffer = self._rows[place]
        if self._decays:
            gradients.addcmul_(weights, decay)
        if self._all_plain:
            weights.addcmul_(gradients, lr)
            return
        if self._any_plain:
            self._buffer.mul_(keep).addcmul_(gradients, add)
        else:
            self._buffer.mul_(keep).add_(gradients)
        if self._any_plain or self._any_nesterov:
            weights.addcmul_(gradients.mul_(of_gradient).addcmul_(self._buffer, of_buffer), lr)
        else:
            weights.addcmul_(self._buffer, lr)

    def keep(self, rows: Tensor) -> None:
        self._own, self._nesterov = self._own[rows.cpu()], self._nesterov[rows.cpu()]
        self._buffer = self._buffer[rows]


class _AdamW:
    """Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2, as torch.optim.AdamW."""

    def __init__(self, optimizers: Sequence[AdamW], weights: Tensor) -> None:
        self._own = np.array([[np.nan, each.beta1, each.weight_decay] for each in optimizers])
        self._beta2 = np.array([each.beta2 for each in optimizers])
        self._eps = np.array([each.eps for each in optimizers])
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._room = torch.empty_like(weights)

    def plan(self, first: int, table: NDArray[np.float64]) -> None:
        lr, beta1, decay = np.moveaxis(_own_settings(table, self._own), 2, 0)
        count = np.arange(first + 1, first + 1 + len(table))[:, None]
        size = -lr / (1 - beta1**count)
        root = 1 / np.sqrt(1 - self._beta2**count)
        every = np.ones_like(lr)
        columns = [1 - lr * decay, 1 - beta1, (1 - self._beta2) * every, root, self._eps * every, size]
        self._rows = _uploaded(columns, self._first.device)

    def update(self, place: int, weights: Tensor, gradients: Tensor) -> None:
        shrink, to_first, to_second, root, eps, size = self._rows[place]
        weights.mul_(shrink)
        self._first.lerp_(gradients, to_first)
        self._second.lerp_(torch.mul(gradients, gradients, out=self._room), to_second)
        torch.sqrt(self._second, out=self._room)
        torch.addcmul(eps, self._room, root, out=self._room)
        weights.addcdiv_(torch.mul(self._first, size, out=gradients), self._room)

    def keep(self, rows: Tensor) -> None:
        self._own, self._beta2, self._eps = (each[rows.cpu()] for each in (self._own, self._beta2, self._eps))
        self._first, self._second = self._first[rows], self._second[rows]
        self._room = torch.empty_like(self._first)


class _FusedAdamW:
    """The same by torch's own kernel, a call for each run."""

    def __init__(self, optimizers: Sequence[AdamW], weights: Tensor) -> None:
        self._optimizers = list(optimizers)
        self._own = np.array([[np.nan, each.beta1, each.weight_decay] for each in optimizers])
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._count = torch.zeros(())

    def plan(self, first: int, table: NDArray[np.float64]) -> None:
        self._begun = first + 1
        self._table = _own_settings(table, self._own).tolist()

    def update(self, place: int, weights: Tensor, gradients: Tensor) -> None:
        self._count.fill_(self._begun + place)
        rows = zip(weights, gradients, self._first, self._second, strict=True)
        for (lr, beta1, decay), each, row in zip(self._table[place], self._optimizers, rows, strict=True):
            torch._fused_adamw_(
                [row[0]],
                [row[1]],
                [row[2]],
                [row[3]],
                [],
                [self._count],
                lr=lr,
                beta1=beta1,
                beta2=each.beta2,
                weight_decay=decay,
                eps=each.eps,
                amsgrad=False,
                maximize=False,
            )

    def keep(self, rows: Tensor) -> None:
        self._optimizers = [self._optimizers[row] for row in rows.tolist()]
        self._own, self._first, self._second = self._own[rows], self._first[rows], self._second[rows]


def _uploaded(columns: Sequence[NDArray[np.float64]], device: torch.device) -> list[tuple[Tensor, ...]]:
    """Columns of shape (updates, runs) as float32, for every update a tuple of tensors of shape (runs, 1)."""
    with np.errstate(over="ignore"):  # a rate beyond float32 is infinite; such a run diverges
        whole = np.stack(columns, axis=1).astype(np.float32)
    return [each.unbind(0) for each in torch.from_numpy(whole).to(device)[..., None].unbind(0)]
