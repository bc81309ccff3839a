"""The control that learns its schedule as it goes, from how the validation loss depends on the rates so far."""

import math

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.control import Decision, Looks, Observation, State, Update

__all__ = ["Learned"]

LEAST = 10  # updates of a window: over fewer nothing is seen of what a rate leads to


class Learned(Alone, frozen=True, tag="learned"):
    """A schedule with a few knots, each put where the derivative of the validation loss says when its time comes.

    A run is divided into windows of equal length, of ten updates at least. Along a window the derivative of all
    weights by the logarithm of the rate is carried on, forward with the training; at its end the validation loss tells
    with it whether higher or lower rates would have been better there. The next knot is lower or higher than the last
    by a factor of at most `step`, less where the derivative is small beside those before, and the multiplier goes to
    it along a straight line in its logarithm. So it is not the rate of one update that is judged by the next batch, as
    in `hypergradient`, but all of a window by validation. It still looks no further than a window: rates that would
    pay only later are taken for too high.

    It needs the curvature of the loss along the derivative in every update, and a part of the validation data at every
    knot: an update costs about five. Only `train`, `search` and `select` can measure that, with sgd and adamw. The
    validation data are looked at, as by a plateau: judge the result by the test split.

    Args:
        windows: >= 2; knots, and about as many looks at validation.
        step: > 1; the largest factor from one knot to the next.
        floor: in (0, 1]; the lowest multiplier.
        ceiling: >= 1; the highest.
    Source:
        Franceschi, Donini, Frasconi, Pontil 2017, arXiv:1703.01785, section 3.2 and 4 (forward mode, in real time);
        Micaelli, Storkey 2021, arXiv:2007.07869 (rates shared over windows); Wu, Ren, Liao, Grosse 2018,
        arXiv:1803.02021 (what is wrong with short horizons).
    Example:
        >>> control = Learned(windows=4, step=2)
        >>> decision, state = control.start(40)
        >>> decision, state = control.reconsider(state, Update(hypergradient=0.3))  # lower rates would be better
        >>> for step in range(10):
        ...     decision, state = control.next(state, Observation(step))
        >>> round(decision.multiplier, 12)
        0.5
    """

    windows: int = 10
    step: float = 2.0
    floor: float = 1e-3
    ceiling: float = 1e3

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "windows", checks.integer("windows", self.windows, low=2, high=1000))
        put(self, "step", checks.number("step", self.step, low=1, open_low=True))
        put(self, "floor", checks.number("floor", self.floor, low=0, high=1, open_low=True))
        put(self, "ceiling", checks.number("ceiling", self.ceiling, low=1))

    @property
    def needs(self) -> frozenset[str]:
        """How the validation loss depends on the rates of a window."""
        return frozenset({"hypergradient"})

    @property
    def price(self) -> int:
        """A gradient more, its derivative, and some looks at validation."""
        return 5

    def looks(self, total_steps: int) -> Looks:
        """At the end of every window but the last."""
        window = self._window(total_steps)
        return Looks(at=frozenset(range(window, total_steps, window)))

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The base rate."""
        total = checks.integer("total_steps", total_steps, low=1)
        state: State = {"step": 0, "window": self._window(total), "first": 0, "from": 0.0, "to": 0.0}
        return Decision(1.0), state | {"squares": 0.0, "count": 0}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The multiplier on its way to the next knot."""
        after = {**state, "step": seen.step + 1}
        return Decision(math.exp(_height(after))), after

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """As before, and where a derivative is told the next knot is put."""
        here, slope = _height(state), update.hypergradient
        if slope is None or not math.isfinite(slope):
            return Decision(math.exp(here)), state
        squares, count = state["squares"] + slope**2, state["count"] + 1
        usual = math.sqrt(squares / count)
        move = math.log(self.step) * min(max(-slope / usual, -1.0), 1.0) if usual > 0 else 0.0
        to = min(max(here + move, math.log(self.floor)), math.log(self.ceiling))
        after = {**state, "first": state["step"], "from": here, "to": to, "squares": squares, "count": count}
        return Decision(math.exp(here)), after

    def _window(self, total_steps: int) -> int:
        return max(total_steps // self.windows, LEAST)


def _height(state: State) -> float:
    """The logarithm of the multiplier: on a line from one knot to the next."""
    part = min((state["step"] - state["first"]) / state["window"], 1.0)
    return float(state["from"] + (state["to"] - state["from"]) * part)
