"""When a run has diverged: a rule on its losses that no unit, no offset and no noise of theirs changes."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.controls.control import State

__all__ = ["Divergence"]

WINDOW = 3  # losses whose median is the level: one spike moves nothing, and a second high loss is believed
WINDOW_OF_NOISE = 32  # changes from one loss to the next whose median tells how much losses scatter
FEWEST = 5  # losses from which on a level is judged: from fewer nobody can tell an explosion from scatter
SCATTER = 6.0  # standard deviations that noise reaches: of medians of 3, ten thousand stay far within 4 times that
NORMAL = 1.4826 / math.sqrt(2)  # from the median change between two draws to their standard deviation
ROUNDING = 2.0**-20  # of a loss, what float32 sums are off by


class Divergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the losses of a run say that it diverges: not finite, or far above the lowest they came to.

    The level is the median of the last three losses. It is far above where it exceeds
    `best + factor * max(first - best, noise)`: `first` is the level over the first updates, `best` the lowest so far
    and `noise` six standard deviations of the losses' scatter, told from the changes between neighbours. So losses
    times a number, or with one added, are judged alike, also negative ones.

    A loss that is not finite counts at once. One that explodes counts with the second high one, one update after the
    first; where that is one of updates 0 to 2 and nothing is known of the scatter yet, a few updates later.

    Args:
        factor: > 0; how many times as far above its lowest a loss may rise as it has fallen.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3, on where a range test may end. The rule is ours: libraries stop at
        4 times the smoothed minimum (fastai, Lightning) or 5 times (torch-lr-finder), which says nothing of losses
        that are negative or have an offset.
    Example:
        >>> rule = Divergence()
        >>> state = rule.start()
        >>> for step, loss in enumerate([2.3, 2.2, 2.3, 2.1, 2.0, 1.9, 60.0, 900.0]):
        ...     reason, state = rule.next(state, step, loss)
        >>> reason
        'the loss rose to 60 around update 7, far above its lowest, 2'
    """

    factor: float = 4.0

    def __post_init__(self) -> None:
        factor = checks.number("factor", self.factor, low=0, high=1e6, open_low=True)
        msgspec.structs.force_setattr(self, "factor", factor)

    def start(self) -> State:
        """What is known before the first loss."""
        return {"recent": [], "changes": [], "count": 0, "first": None, "best": None}

    def next(self, state: State, step: int, loss: float | None) -> tuple[str | None, State]:
        """Why the run should end after update `step`, or None; and the state after it. No loss changes nothing."""
        if loss is None:
            return None, state
        if not math.isfinite(loss):
            return f"the loss was not finite at update {step}", state
        recent = [*state["recent"], float(loss)][-WINDOW:]
        changes = [*state["changes"], abs(recent[-1] - recent[-2])] if len(recent) > 1 else []
        level = statistics.median_low(recent)
        after: dict[str, Any] = {
            "recent": recent,
            "changes": changes[-WINDOW_OF_NOISE:],
            "count": state["count"] + 1,
            "first": level if state["count"] < WINDOW else state["first"],
            "best": level if state["best"] is None else min(state["best"], level),
        }
        if after["count"] >= FEWEST and level > self._most(after):
            return (
                f"the loss rose to {level:.4g} around update {step}, far above its lowest, {after['best']:.4g}",
                after,
            )
        return None, after

    def _most(self, state: State) -> float:
        """The level up to which nothing is said."""
        best = state["best"]
        noise = SCATTER * _scatter(state["changes"]) + ROUNDING * max(abs(state["first"]), abs(best))
        return float(best + self.factor * max(state["first"] - best, noise))


def _scatter(changes: Sequence[float]) -> float:
    """The standard deviation that losses have apart from their trend."""
    return NORMAL * statistics.median_low(changes)
