"""The control that lowers the rate where the metric no longer improves."""

import math
import statistics
from itertools import count

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.control import Decision, Observation, State

__all__ = ["Plateau"]

STEEP = -3.0  # slope over its standard error: noise falls so steeply about once in a hundred windows


class Plateau(Alone, frozen=True, tag="plateau"):
    """The multiplier times `factor` whenever the metric has not improved for more than `patience` measurements.

    As torch's ReduceLROnPlateau in its relative mode, apart from four things: a metric that is not finite is
    passed over instead of counted as bad; while the metric is falling steadily after a spike nothing is lowered,
    though its best is long ago (with a patience of 3 or more: fewer measurements do not tell a recovery from chance,
    so with 0 to 2 it is lowered as in torch); the threshold is of the best's size, so that it asks for an improvement
    of a negative metric too; and it may follow any warmup. Lower is better: who tells it an accuracy says so where it
    is told.

    Args:
        factor: in (0, 1).
        patience: >= 0; measurements without improvement that are borne.
        threshold: in [0, 1); an improvement is a metric below `best - threshold * |best|`.
        cooldown: >= 0; measurements after a lowering that are not counted.
        floor: in [0, 1]; the multiplier is never lowered below it.
    Source:
        torch.optim.lr_scheduler.ReduceLROnPlateau; the recovery after a spike is pytorch issue 30873.
    Example:
        >>> control = Plateau(factor=0.5, patience=1)
        >>> decision, state = control.start(100)
        >>> for step, metric in enumerate([1.0, 1.0, 1.0]):
        ...     decision, state = control.next(state, Observation(step, metric=metric))
        >>> decision.multiplier
        0.5
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "factor", checks.number("factor", self.factor, low=0, high=1, open_low=True, open_high=True))
        put(self, "patience", checks.integer("patience", self.patience, high=100_000))
        put(self, "threshold", checks.number("threshold", self.threshold, low=0, high=1, open_high=True))
        put(self, "cooldown", checks.integer("cooldown", self.cooldown))
        put(self, "floor", checks.number("floor", self.floor, low=0, high=1))

    @property
    def needs(self) -> frozenset[str]:
        """The metric, where it has been measured."""
        return frozenset({"metric"})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The full rate."""
        checks.integer("total_steps", total_steps, low=1)
        state: State = {"multiplier": 1.0, "best": None, "bad": 0, "resting": 0, "recent": []}
        return Decision(1.0), state

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The multiplier, lowered if the metric of `seen` is one too many."""
        if seen.metric is None or not math.isfinite(seen.metric):
            return Decision(state["multiplier"]), state
        best, bad, resting = state["best"], state["bad"] + 1, state["resting"]
        recent = [*state["recent"], seen.metric][-(self.patience + 1) :]
        multiplier = state["multiplier"]
        if best is None or seen.metric < best - self.threshold * abs(best):
            best, bad = seen.metric, 0
        if resting:
            resting, bad = resting - 1, 0
        elif bad > self.patience and not _falling(recent):
            multiplier = max(multiplier * self.factor, min(self.floor, multiplier))
            resting, bad = self.cooldown, 0
        after: State = {"multiplier": multiplier, "best": best, "bad": bad, "resting": resting, "recent": recent}
        return Decision(multiplier), after


def _falling(values: list[float]) -> bool:
    """Whether the values fall along a line by more than chance would have it."""
    if len(values) < 4:
        return False
    scale = max(map(abs, values)) or 1.0
    steps, scaled = list(range(len(values))), [value / scale for value in values]
    slope, height = statistics.linear_regression(steps, scaled)
    left = math.fsum((value - height - slope * step) ** 2 for step, value in zip(count(), scaled, strict=False))
    spread = math.fsum((step - (len(values) - 1) / 2) ** 2 for step in steps)
    return slope < STEEP * math.sqrt(left / (len(values) - 2) / spread) if left > 0 else slope < 0
