"""What the control of a run puts in force: a table known beforehand, or decisions made along the way."""

import math
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import torch

from lrcontrol.controls.control import Decision, Observation, Update, reconsidered
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.beginnings import rates
from lrcontrol.runs.spec import RunSpec

__all__ = ["InForce", "Looking", "Pace", "pace_of", "put_in_force"]


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
    def hears(self) -> bool:
        """Whether it is to be told of every update."""

    @property
    def stop(self) -> str | None:
        """Why the run should end now, or None."""

    @property
    def keep(self) -> bool:
        """Whether the weights as they are now are to be kept."""

    @property
    def clip(self) -> float | None:
        """The norm that gradients are clipped to, or None."""

    def at(self, step: int) -> InForce:
        """What is in force during update `step`."""

    def saw(self, seen: Observation) -> None:
        """Told after every update."""

    def state(self) -> Any:
        """What `restore` takes to decide on from here, as JSON values; None where all follows from the step."""

    def restore(self, state: Any) -> None:
        """Decide on from where another pace of the same control was."""


def pace_of(spec: RunSpec) -> Pace:
    """The pace of a run."""
    return _Table(spec) if isinstance(spec.method.control, Scheduled) else Looking(spec)


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

    def __init__(self, spec: RunSpec) -> None:
        self.needs: frozenset[str] = frozenset()
        self.stop: str | None = None
        self.hears = self.keep = False
        self.clip: float | None = None
        self._first, self._rows = spec.first_step, rates(spec)
        self._beside = not np.isnan(self._rows[:, 1:]).all()

    def at(self, step: int) -> InForce:
        lr, *beside = self._rows[step - self._first].tolist()
        return (
            InForce(lr, *[None if math.isnan(value) else value for value in beside]) if self._beside else InForce(lr)
        )

    def saw(self, seen: Observation) -> None:
        del seen

    def state(self) -> None:
        """Nothing: it follows from the step."""

    def restore(self, state: Any) -> None:
        del state


class Looking:
    """The control decides after every update."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec, self._control = spec, spec.method.control
        self.needs, self.hears = self._control.needs, True
        self._decision, self._state = self._control.start(spec.total_steps)
        if spec.first_step:  # a control that takes over goes on from there, having seen nothing
            seen = Observation(spec.first_step - 1)
            self._decision, self._state = self._control.next(self._state, seen)

    @property
    def stop(self) -> str | None:
        return self._decision.stop

    @property
    def keep(self) -> bool:
        return self._decision.keep

    @property
    def clip(self) -> float | None:
        return self._decision.clip

    @property
    def multiplier(self) -> float:
        """That in force."""
        return self._decision.multiplier

    def at(self, step: int) -> InForce:
        del step
        decision: Decision = self._decision
        decay = decision.weight_decay
        own = self._spec.method.optimizer.weight_decay
        lr = self._spec.base_lr * decision.multiplier
        return InForce(lr, decision.momentum, None if decay is None else own * decay)

    def saw(self, seen: Observation) -> None:
        self._decision, self._state = self._control.next(self._state, seen)

    def reconsider(self, update: Update) -> None:
        """Decide anew on an update whose gradient is known."""
        self._decision, self._state = reconsidered(self._control, self._state, update)

    def state(self) -> dict[str, Any]:
        return {"decision": msgspec.to_builtins(self._decision), "state": self._state}

    def restore(self, state: Any) -> None:
        self._decision, self._state = msgspec.convert(state["decision"], Decision), state["state"]
