"""The control that goes a part of the way to a loss a little below the lowest, along the update's own direction."""

import math

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import ByGradient
from lrcontrol.controls.control import Decision, State, Update
from lrcontrol.errors import BadInput

__all__ = ["L4"]

FIRST = 0.75  # of the first loss, what the lowest is taken to be
TINY = 1e-12  # of the paper: no descent is smaller


class L4(ByGradient, frozen=True, tag="l4"):
    """The rate at which the loss would fall by `alpha` of what is between it and `gamma` of its lowest.

    `alpha * (loss - gamma * lowest) / descent`, the descent of the loss along what the optimizer would do at a rate of
    1: `<g, v>`, where `g` is the gradient averaged as the optimizer averages it, by its momentum or beta1, for that of
    one batch is mostly noise. The lowest begins at 0.75 of the first loss, is never above any loss, and is forgotten
    over `memory` updates. Losses must be positive. The base rate has no meaning, but that updates at it are tried
    first: it should be a usual one.

    Beside the paper: an update that would go uphill is not made, and the multiplier is at most `ceiling`.

    Args:
        alpha: in (0, 1).
        gamma: in (0, 1).
        memory: >= 1; updates in which the lowest grows e-fold.
        ceiling: > 0; the highest multiplier.
    Source:
        Rolinek, Martius 2018, arXiv:1802.05074, algorithm 1 with its defaults, and an average of the gradient as in
        the authors' code, github.com/martius-lab/l4-optimizer (over ten updates there).
    Example:
        >>> control = L4()
        >>> decision, state = control.start(100)
        >>> decision, state = control.reconsider(state, Update(batch_loss=2.0, descent=4.0))
        >>> round(decision.multiplier, 12)  # 0.15 * (2 - 0.9 * 0.75 * 2) / 4
        0.024375
    """

    alpha: float = 0.15
    gamma: float = 0.9
    memory: int = 1000
    ceiling: float = 1e6

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        for name in ("alpha", "gamma"):
            put(self, name, checks.number(name, getattr(self, name), low=0, high=1, open_low=True, open_high=True))
        put(self, "memory", checks.integer("memory", self.memory, low=1))
        put(self, "ceiling", checks.number("ceiling", self.ceiling, low=0, open_low=True))

    @property
    def sets_rate(self) -> bool:
        """It divides by what an update at the base rate would do."""
        return True

    @property
    def needs(self) -> frozenset[str]:
        """The loss of an update's batch, and how it falls along the update."""
        return frozenset({"batch_loss", "descent"})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate, until the first gradient is known."""
        checks.integer("total_steps", total_steps, low=1)
        return Decision(1.0), {"multiplier": 1.0, "lowest": None}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The multiplier for this batch."""
        loss, descent = update.batch_loss, update.descent
        if loss is None or descent is None or not math.isfinite(loss) or not math.isfinite(descent):
            return Decision(0.0), {**state, "multiplier": 0.0}
        if loss < 0:
            raise BadInput(f"losses must be positive under l4, got {loss:g}; use another control, such as alignment.")
        lowest = FIRST * loss if state["lowest"] is None else min(state["lowest"], loss)
        wanted = self.alpha * (loss - self.gamma * lowest)
        multiplier = min(max(wanted, 0.0) / (descent + TINY), self.ceiling) if descent >= 0 else 0.0
        after = {"multiplier": multiplier, "lowest": lowest * (1 + 1 / self.memory)}
        return Decision(multiplier), after
