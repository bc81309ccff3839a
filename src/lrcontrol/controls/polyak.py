"""The control that takes Polyak's step: how far the loss is above its lowest, over how steeply it falls."""

import math

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import ByGradient
from lrcontrol.controls.control import Decision, State, Update
from lrcontrol.errors import BadInput

__all__ = ["Polyak"]

RUN_IN_PERIODS = 20  # periods of a run, where none is given
SLACK = 1e-6  # by which rounding may put a loss below its lowest
LARGEST = 1e30  # multiplier that the cap grows to, so that numbers stay finite


class Polyak(ByGradient, frozen=True, tag="polyak"):
    """The stochastic Polyak step: the rate is `(loss - lowest) / (c * squared norm of the gradient)`, up to a cap.

    The cap is the rate of the update before times `growth ** (1 / period)`: from one period to the next a rate grows
    `growth`-fold at most. It begins at the base rate, which has no other meaning. Made for SGD without
    momentum: the norm is that of the gradient, also where momentum makes longer steps of it, or Adam others. Where the
    loss is at its lowest, or the gradient is 0 or not finite, the rate is 0; the cap stays.

    Args:
        c: > 0; 0.5 is best for convex losses, 1 doubles the caution.
        lowest: what a batch loss can come to; 0 for cross-entropy of models that can fit all their data.
        growth: >= 1.
        period: >= 1; updates, an epoch in the paper; by default a twentieth of the run, for a control knows of no
            epochs.
    Source:
        Loizou, Vaswani, Laradji, Lacoste-Julien 2021, arXiv:2002.10542, SPS_max, and the smoothing
        of its cap as in the authors' code, github.com/IssamLaradji/sps.
    Example:
        >>> control = Polyak()
        >>> decision, state = control.start(100)
        >>> control.reconsider(state, Update(batch_loss=1.0, fall=8.0))[0].multiplier
        0.25
    """

    c: float = 0.5
    lowest: float = 0.0
    growth: float = 2.0
    period: int | None = None

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "c", checks.number("c", self.c, low=0, open_low=True))
        put(self, "lowest", checks.number("lowest", self.lowest))
        put(self, "growth", checks.number("growth", self.growth, low=1))
        if self.period is not None:
            put(self, "period", checks.integer("period", self.period, low=1))

    @property
    def needs(self) -> frozenset[str]:
        """The loss of an update's batch, and how it falls along the gradient."""
        return frozenset({"batch_loss", "fall"})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate."""
        total = checks.integer("total_steps", total_steps, low=1)
        period = max(total // RUN_IN_PERIODS, 1) if self.period is None else self.period
        return Decision(1.0), {"multiplier": 1.0, "cap": 1.0, "growth": self.growth ** (1 / period)}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """Polyak's step for this batch."""
        cap, growth = state["cap"], state["growth"]
        loss, fall = update.batch_loss, update.fall
        if loss is not None and loss < self.lowest - SLACK * max(1.0, abs(self.lowest)):
            raise BadInput(
                f"no loss may be below `lowest`={self.lowest:g} under polyak, got {loss:g}; give a lower one."
            )
        step = 0.0
        if loss is not None and fall is not None and fall > 0 and math.isfinite(loss) and math.isfinite(fall):
            step = min(max(loss - self.lowest, 0.0) / (self.c * fall), cap)
        after = {"multiplier": step, "cap": min(step * growth, LARGEST) if step > 0 else cap, "growth": growth}
        return Decision(step), after
