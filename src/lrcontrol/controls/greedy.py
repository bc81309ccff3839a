"""The control that raises the rate while the loss falls, and lowers it while it does not."""

import math
from typing import Literal

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.control import Decision, Observation, State

__all__ = ["Greedy"]


class Greedy(Alone, frozen=True, tag="greedy"):
    """GreedyLR: the multiplier over `factor` after a run of improvements, times `factor` after a run of none.

    A run is one of more than `patience`. What improves is the mean of the last `window` losses, or the metric
    wherever it is measured. At the floor for `reset` lowerings in a row it begins anew, at the base rate, having
    forgotten all it saw. A loss that is not finite is passed over.

    Args:
        factor: in (0, 1).
        patience: >= 0; improvements, or their lack, that are borne.
        on: `loss`, of every update, or `metric`.
        window: >= 1; losses that are averaged; 1 for none. Metrics are taken as they are.
        threshold: in [0, 1); an improvement is below `best - threshold * |best|`.
        cooldown: >= 0; looks after a lowering that are not counted.
        warmup: >= 0; looks after a raise that are not counted.
        floor: in (0, 1]; the lowest multiplier.
        ceiling: >= 1; the highest.
        reset: >= 1.
    Source:
        Subramanian, Krishnamoorthy, Murthy 2025, arXiv:2512.14527, algorithm 1; as transformers.optimization.GreedyLR,
        whose bounds are rates and not multipliers.
    Example:
        >>> control = Greedy(factor=0.5, patience=1, window=1)
        >>> decision, state = control.start(100)
        >>> for step, loss in enumerate([1.0, 0.9]):
        ...     decision, state = control.next(state, Observation(step, loss=loss))
        >>> decision.multiplier
        2.0
    """

    factor: float = 0.95
    patience: int = 10
    on: Literal["loss", "metric"] = "loss"
    window: int = 50
    threshold: float = 1e-6
    cooldown: int = 0
    warmup: int = 0
    floor: float = 0.01
    ceiling: float = 10.0
    reset: int = 500

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "factor", checks.number("factor", self.factor, low=0, high=1, open_low=True, open_high=True))
        for name, low in (("patience", 0), ("window", 1), ("cooldown", 0), ("warmup", 0), ("reset", 1)):
            put(self, name, checks.integer(name, getattr(self, name), low=low, high=100_000))
        checks.one_of("source of what improves", self.on, ("loss", "metric"))
        put(self, "threshold", checks.number("threshold", self.threshold, low=0, high=1, open_high=True))
        put(self, "floor", checks.number("floor", self.floor, low=0, high=1, open_low=True))
        put(self, "ceiling", checks.number("ceiling", self.ceiling, low=1))

    @property
    def needs(self) -> frozenset[str]:
        """The loss, or the metric where it has been measured."""
        return frozenset({self.on})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate."""
        checks.integer("total_steps", total_steps, low=1)
        return Decision(1.0), self._fresh()

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The multiplier, raised or lowered if the look at `seen` is one too many."""
        value = seen.loss if self.on == "loss" else seen.metric
        if value is None or not math.isfinite(value):
            return Decision(state["multiplier"]), state
        recent = [*state["recent"], float(value)][-self.window :] if self.on == "loss" else []
        after = self._counted({**state, "recent": recent}, math.fsum(recent) / len(recent) if recent else value)
        return Decision(after["multiplier"]), after

    def _counted(self, state: State, value: float) -> State:
        """The state after a value that counts, or is waited for."""
        if state["waiting"]:
            return {**state, "waiting": state["waiting"] - 1, "good": 0, "bad": 0}
        best = state["best"]
        better = best is None or value < best - self.threshold * abs(best)
        good, bad = (state["good"] + 1, 0) if better else (0, state["bad"] + 1)
        after = {**state, "best": value if better else best, "good": good, "bad": bad}
        multiplier = state["multiplier"]
        if good > self.patience:
            raised = min(multiplier / self.factor, self.ceiling)
            return {**after, "multiplier": raised, "good": 0, "waiting": self.warmup, "left": self.reset}
        if bad > self.patience:
            lowered = max(multiplier * self.factor, self.floor)
            left = state["left"] - (lowered <= self.floor)
            if left <= 0:
                return {**self._fresh(), "waiting": self.cooldown}
            return {**after, "multiplier": lowered, "bad": 0, "waiting": self.cooldown, "left": left}
        return after

    def _fresh(self) -> State:
        return {
            "multiplier": 1.0,
            "best": None,
            "good": 0,
            "bad": 0,
            "waiting": 0,
            "left": self.reset,
            "recent": [],
        }
