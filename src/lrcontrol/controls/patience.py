"""When a metric that is compared again and again no longer improves."""

from typing import NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.controls.control import State

__all__ = ["Patience", "Verdict"]


class Verdict(NamedTuple):
    """What a metric comes to.

    Args:
        over: whether as many as patience bears have brought no improvement.
        lowest: whether it is lower than all before.
    """

    over: bool
    lowest: bool


class Patience(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts how many metrics in a row were no improvement.

    Lower is better, also below zero.

    Args:
        patience: >= 1; so many in a row are too many.
        threshold: in [0, 1); an improvement is a metric below `best - threshold * |best|`.
    Example:
        >>> rule = Patience(2)
        >>> state = rule.start()
        >>> for metric in (0.5, 0.4, 0.6, 0.4):
        ...     verdict, state = rule.next(state, metric)
        >>> verdict
        Verdict(over=True, lowest=False)
    """

    patience: int = 3
    threshold: float = 0.0

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "patience", checks.integer("patience", self.patience, low=1, high=100_000))
        put(self, "threshold", checks.number("threshold", self.threshold, low=0, high=1, open_high=True))

    def start(self) -> State:
        """What is known before the first metric."""
        return {"best": None, "lowest": None, "bad": 0}

    def next(self, state: State, metric: float) -> tuple[Verdict, State]:
        """What a finite metric comes to, and the state after it."""
        best, lowest = state["best"], state["lowest"]
        better = best is None or metric < best - self.threshold * abs(best)
        new = lowest is None or metric < lowest
        after = {
            "best": metric if better else best,
            "lowest": metric if new else lowest,
            "bad": 0 if better else state["bad"] + 1,
        }
        return Verdict(after["bad"] >= self.patience, new), after
