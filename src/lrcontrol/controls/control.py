"""The face of a control: pure, with its state as JSON, so that any loop can drive it and any run can resume."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Control", "Decision", "Looks", "Observation", "OpenLoop", "State"]

State = dict[str, Any]
"""What a control remembers: JSON values only."""


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in force during the next update.

    Args:
        multiplier: of every group's base learning rate; >= 0.
        momentum: momentum or beta1, or None to leave it.
        weight_decay: multiplier of every group's base weight decay, or None to leave it.
        stop: why the run should end before that update, or None.
        keep: whether the weights as they are now, before that update, are to be kept: a run ends with those that it
            was told last to keep, or as an ensemble of all of them.
    """

    multiplier: float
    momentum: float | None = None
    weight_decay: float | None = None
    stop: str | None = None
    keep: bool = False


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a control is shown after an update; what it does not `need` may be None, and so may the metric.

    Args:
        step: the update that has just been made, from 0.
        loss: its batch loss.
        metric: a validation metric, lower is better, where one has been measured since the update before.
        grad_norm: L2 norm of its gradient, before clipping.
    """

    step: int
    loss: float | None = None
    metric: float | None = None
    grad_norm: float | None = None


class Looks(NamedTuple):
    """When a control wants to be shown the metric.

    Args:
        often: whether anywhere will do, as long as it is often.
        at: after so many updates.
    """

    often: bool = False
    at: frozenset[int] = frozenset()


@runtime_checkable
class Control(Protocol):
    """The next learning rate, given what has been seen."""

    @property
    def needs(self) -> frozenset[str]:
        """The fields of Observation that must not be None."""

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0 of `total_steps`, and the first state."""

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`, and the state after it; the given state is not changed."""


@runtime_checkable
class OpenLoop(Protocol):
    """A control that needs to see nothing: all its multipliers are known before the first update."""

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """Shape (total_steps,): the multiplier in force during each update."""
