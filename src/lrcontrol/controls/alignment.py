"""The control that learns the rate online from how well gradients agree and how fast they change."""

import math

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import ByGradient
from lrcontrol.controls.control import Decision, State, Update

__all__ = ["Alignment"]


class Alignment(ByGradient, frozen=True, tag="alignment"):
    """GALA: the rate that would have been best for all updates so far, each judged by a parabola along it.

    After an update the next batch tells its slope and curvature along it; the multiplier is the sum of slopes over
    the sum of curvatures, so follow-the-regularized-leader on `slope * m + curvature / 2 * m**2`. It grows while
    gradients agree and shrinks where they turn. The curvature needs the gradient of the same batch at the weights of
    before: every update costs two. Only `train` and `select` can measure that, not a loop of one's own.

    The slope is looked at where the update ends, not at a chance place along it, so that its gradient is the next
    update's own. The regularizer counts the base rate as `prior` updates like the first.

    Args:
        prior: in [0, 1e6]; how much the base rate counts.
        floor: in (0, 1]; the lowest multiplier.
        ceiling: >= 1; the highest.
    Source:
        Jiang, Kavis, Mokhtari 2025, arXiv:2506.08419, the surrogate loss and its follow-the-regularized-leader.
    Example:
        >>> control = Alignment(prior=0)
        >>> decision, state = control.start(100)
        >>> control.reconsider(state, Update(slope=-3.0, curvature=2.0))[0].multiplier
        1.5
    """

    prior: float = 1.0
    floor: float = 1e-3
    ceiling: float = 1e3

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "prior", checks.number("prior", self.prior, low=0, high=1e6))
        put(self, "floor", checks.number("floor", self.floor, low=0, high=1, open_low=True))
        put(self, "ceiling", checks.number("ceiling", self.ceiling, low=1))

    @property
    def needs(self) -> frozenset[str]:
        """What the loss is like along the update before."""
        return frozenset({"slope", "curvature"})

    @property
    def price(self) -> int:
        """Two gradients an update."""
        return 2

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate."""
        checks.integer("total_steps", total_steps, low=1)
        return Decision(1.0), {"multiplier": 1.0, "fall": 0.0, "curvature": 0.0}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The best multiplier in hindsight."""
        slope, bend = update.slope, update.curvature
        if slope is None or bend is None or not math.isfinite(slope) or not math.isfinite(bend):
            return Decision(state["multiplier"]), state
        fall, curvature = state["fall"] - slope, state["curvature"] + bend
        if state["curvature"] == 0:
            fall, curvature = fall + self.prior * bend, curvature + self.prior * bend
        best = state["multiplier"] if curvature <= 0 else fall / curvature
        multiplier = min(max(best, self.floor), self.ceiling)
        return Decision(multiplier), {"multiplier": multiplier, "fall": fall, "curvature": curvature}
