"""What the control of a run puts in force: a table known beforehand, or decisions made along the way."""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lrcontrol.controls.control import Decision, Observation
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.spec import RunSpec

__all__ = ["InForce", "Pace", "pace_of", "put_in_force"]


class InForce(NamedTuple):
    """What is in force during an update; None is left as the optimizer has it."""

    lr: float
    momentum: float | None = None
    weight_decay: float | None = None


class Pace(Protocol):
    """The learning rate of a run, update by update."""

    @property
    def needs(self) -> frozenset[str]:
        """What it must be told."""

    @property
    def stop(self) -> str | None:
        """Why the run should end now, or None."""

    def at(self, step: int) -> InForce:
        """What is in force during update `step`."""

    def saw(self, seen: Observation) -> None:
        """Told after every update."""


def pace_of(spec: RunSpec) -> Pace:
    """The pace of a run."""
    return _Table(spec, spec.method.control) if isinstance(spec.method.control, Scheduled) else _Looking(spec)


def put_in_force(optimizer: torch.optim.Optimizer, now: InForce) -> None:
    """Write what is in force into every group."""
    for group in optimizer.param_groups:
        group["lr"] = now.lr
        if now.momentum is not None:
            if "betas" in group:
                group["betas"] = (now.momentum, *group["betas"][1:])
            else:
                group["momentum"] = now.momentum
        if now.weight_decay is not None:
            group["weight_decay"] = now.weight_decay


class _Table:
    """All is known before the first update."""

    def __init__(self, spec: RunSpec, control: Scheduled) -> None:
        self.needs: frozenset[str] = frozenset()
        self.stop: str | None = None
        with np.errstate(over="ignore"):  # a rate beyond float64 is infinite; such a run diverges
            self._lr = spec.base_lr * control.multipliers(spec.total_steps)
        self._momentum, decay = control.beside(spec.total_steps)
        self._decay = None if decay is None else spec.method.optimizer.weight_decay * decay

    def at(self, step: int) -> InForce:
        def value(table: NDArray[np.float64] | None) -> float | None:
            return None if table is None else float(table[step])

        return InForce(float(self._lr[step]), value(self._momentum), value(self._decay))

    def saw(self, seen: Observation) -> None:
        del seen


class _Looking:
    """The control decides after every update."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec, self._control = spec, spec.method.control
        self.needs = self._control.needs
        self._decision, self._state = self._control.start(spec.total_steps)

    @property
    def stop(self) -> str | None:
        return self._decision.stop

    def at(self, step: int) -> InForce:
        del step
        decision: Decision = self._decision
        decay = decision.weight_decay
        own = self._spec.method.optimizer.weight_decay
        lr = self._spec.base_lr * decision.multiplier
        return InForce(lr, decision.momentum, None if decay is None else own * decay)

    def saw(self, seen: Observation) -> None:
        self._decision, self._state = self._control.next(self._state, seen)
