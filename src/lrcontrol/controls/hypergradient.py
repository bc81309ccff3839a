"""The control that follows the derivative of the loss by the learning rate."""

import math
from typing import Literal

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import ByGradient
from lrcontrol.controls.control import Decision, State, Update
from lrcontrol.errors import BadInput

__all__ = ["Hypergradient"]

LARGEST_CHANGE = 2.0  # of the multiplier in one update, by the additive rule


class Hypergradient(ByGradient, frozen=True, tag="hypergradient"):
    """The multiplier grows where a gradient still points along the update before, and shrinks where it points back.

    By the multiplicative rule it is multiplied by `1 + beta * cosine`, of the angle between this batch's negative
    gradient and the update before: no unit of the loss or of the weights changes anything. By the additive rule
    `beta * slope` is taken from it; a paper's beta is this one times the base rate squared, in one group. Both hold
    for any optimizer, whose own direction is what is looked at: for SGD it is the gradient, for Adam the quotient of
    its moments.

    Beside the paper: the multiplier stays within [floor, ceiling], the additive rule at most doubles or halves it in
    one update, and a derivative that is not finite changes nothing.

    Args:
        beta: > 0; how much an update changes the multiplier.
        rule: `multiplicative` or `additive`.
        floor: in (0, 1]; the lowest multiplier.
        ceiling: >= 1; the highest.
    Source:
        Baydin, Cornish, Rubio, Schmidt, Wood 2018, arXiv:1703.04782, algorithms 4 to 6: the additive rule. By the
        angle alone, so that no unit counts, is our form of it.
    Example:
        >>> control = Hypergradient(beta=0.1)
        >>> decision, state = control.start(100)
        >>> control.reconsider(state, Update(cosine=1.0))[0].multiplier
        1.1
    """

    beta: float = 0.02
    rule: Literal["multiplicative", "additive"] = "multiplicative"
    floor: float = 1e-3
    ceiling: float = 1e3

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "beta", checks.number("beta", self.beta, low=0, open_low=True))
        checks.one_of("rule", self.rule, ("multiplicative", "additive"))
        put(self, "floor", checks.number("floor", self.floor, low=0, high=1, open_low=True))
        put(self, "ceiling", checks.number("ceiling", self.ceiling, low=1))
        if self.rule == "multiplicative" and self.beta >= 1:
            raise BadInput(f"`beta` must be below 1 by the multiplicative rule, got beta={self.beta:g}.")

    @property
    def needs(self) -> frozenset[str]:
        """What the loss is like along the update before."""
        return frozenset({self._looks_at})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate."""
        checks.integer("total_steps", total_steps, low=1)
        return Decision(1.0), {"multiplier": 1.0}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The multiplier, moved by what the gradient says of the one before."""
        before, seen = state["multiplier"], getattr(update, self._looks_at)
        if seen is None or not math.isfinite(seen):
            return Decision(before), state
        if self.rule == "multiplicative":
            after = before * (1 + self.beta * seen)
        else:
            after = min(max(before - self.beta * seen, before / LARGEST_CHANGE), before * LARGEST_CHANGE)
        after = min(max(after, self.floor), self.ceiling)
        return Decision(after), {"multiplier": after}

    @property
    def _looks_at(self) -> str:
        return "cosine" if self.rule == "multiplicative" else "slope"
