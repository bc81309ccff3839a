"""The face of a control: pure, with its state as JSON, so that any loop can drive it and any run can resume.

Most controls decide after an update on the one that comes next. Some set the rate of an update by its own gradient:
they are asked once more, by `reconsider`, when that is known and before the update is made.
"""

from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AHEAD",
    "Control",
    "Decision",
    "Looks",
    "Observation",
    "OpenLoop",
    "Reconsiders",
    "State",
    "Update",
    "reconsidered",
]

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
        clip: the L2 norm that the gradient of all parameters together is scaled down to where it is larger, or None.
    """

    multiplier: float
    momentum: float | None = None
    weight_decay: float | None = None
    stop: str | None = None
    keep: bool = False
    clip: float | None = None


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


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a control is shown of an update that is about to be made; what it does not `need` may be None.

    All is told per unit of the multiplier, so that no control knows of a base rate: let `u` be the change of all
    parameters that an update makes at a multiplier of 1, and `g` the gradient of this update's batch.

    Args:
        batch_loss: of this update's batch, at the weights as they are.
        fall: >= 0; by how much that loss falls along the gradient itself: the sum over groups of base rate times the
            squared L2 norm of their gradient.
        descent: by how much it falls along the update, `-<g, u>`, where `g` is the gradient averaged as the
            optimizer averages it, by its momentum or beta1.
        slope: how it depends on the multiplier of the update before, whose change was `u`: `<g, u>`. None for the
            first update, and after one with a multiplier of 0.
        cosine: in [-1, 1], between `-g` and the change of the update before: positive where that can go on. None as
            `slope`, and where one of the two is 0.
        curvature: >= 0; `L |u|**2`, `u` of the update before and `L` how much the gradient of this batch has changed
            over it, a distance over a distance. None as `slope`.
        hypergradient: how the validation loss depends on the logarithm of all rates since it was told last: its
            derivative. Told for the update after each of the places where the control `looks`.
    """

    batch_loss: float | None = None
    fall: float | None = None
    descent: float | None = None
    slope: float | None = None
    cosine: float | None = None
    curvature: float | None = None
    hypergradient: float | None = None


AHEAD = frozenset(Update.__struct_fields__)
"""What a control may need to be shown of an update before it is made."""


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
        """The fields of Observation and Update that it looks at."""

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0 of `total_steps`, and the first state."""

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`, and the state after it; the given state is not changed."""


@runtime_checkable
class Reconsiders(Control, Protocol):
    """A control that needs something of `AHEAD`: it decides anew on every update before that is made."""

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The decision for the update that `start` or `next` has just decided on, and the state after it."""


def reconsidered(control: Control, state: State, update: Update) -> tuple[Decision, State]:
    """What a control that needs something of `AHEAD` decides."""
    return cast(Reconsiders, control).reconsider(state, update)  # to check a protocol takes long


@runtime_checkable
class OpenLoop(Protocol):
    """A control that needs to see nothing: all its multipliers are known before the first update."""

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """Shape (total_steps,): the multiplier in force during each update."""
