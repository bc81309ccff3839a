"""What a range test says: the losses of a ramp of rates in, one suggested rate and the usable interval out.

`fitted.py` makes the curve; here it is read: where it begins to fall, falls fastest, ends to fall and rises.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.analysis.fitted import Fitted, fitted
from lrcontrol.analysis.ramps import Ramp, ramp_of
from lrcontrol.analysis.readings import Numbers

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = ["LEVEL", "Suggestion", "suggest_lr"]

LEVEL = 0.95  # of the intervals: so many of the curves that could be the true one agree
_PART = 0.1  # of the whole fall: a curve that has moved by so much has begun to fall, or to rise
_EDGE = 0.02  # of the curve: what is nearer to an end than this is at it
_SURE = 4.0  # times its own doubt is a fall that is none of the noise
_LIKELIER = 6.0  # nats by which a curve must be likelier than a level


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """What one range test says; all rates are of the ramp, None where the test does not show them.

    Args:
        suggestion: the learning rate to train with, or None where the curve says nothing.
        interval: where the suggestion lies by the noise of these losses, at a nominal 95 %.
        reason: one sentence: why this rate, or why none.
        low: where the loss begins to fall: the least rate for cycling.
        high: where it ends to fall: the largest rate for cycling.
        steepest: where it falls fastest over the logarithm of the rate.
        steepest_interval: where that lies, at a nominal 95 %.
        divergence: where it begins to rise for good.
        lrs: shape (points,); the ramp.
        losses: shape (repeats, points); None for a loss that was not finite.
        curve_lrs: shape (301,), or empty; rates of the smooth curve, evenly in logarithm, up to where it was read.
        curve: shape (301,); the smooth curve.
    """

    suggestion: float | None
    interval: tuple[float, float] | None = None
    reason: str
    low: float | None = None
    high: float | None = None
    steepest: float | None = None
    steepest_interval: tuple[float, float] | None = None
    divergence: float | None = None
    lrs: tuple[float, ...]
    losses: tuple[tuple[float | None, ...], ...]
    curve_lrs: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()

    def plot(self) -> "Chart":
        """A chart of the losses over the rates, for a notebook; `chart.save("range.svg")` writes it."""
        from lrcontrol.report.lr_range import range_chart  # it draws itself, as schedules do: an import up the layers

        return range_chart(self)

    def __repr__(self) -> str:
        """The suggestion with its interval, or why there is none, in one line."""
        if self.suggestion is None or self.interval is None:
            return f"<Suggestion None: {self.reason}>"
        return f"<Suggestion {self.suggestion:.3g} ({self.interval[0]:.3g} to {self.interval[1]:.3g})>"


class _Marks(NamedTuple):
    """Where curves begin to fall, fall fastest, are lowest and begin to rise: logarithms of rates; NaN if not seen."""

    low: Numbers
    steepest: Numbers
    lowest: Numbers
    rise: Numbers


def suggest_lr(lrs: ArrayLike, losses: ArrayLike, *, seed: int = 0) -> Suggestion:
    """The learning rate that a range test suggests, and what it says of the usable ones.

    Example:
        >>> lrs = np.geomspace(1e-6, 1, 100)
        >>> at = np.log10(lrs)
        >>> losses = 2.3 - 1.4 / (1 + 10 ** (-2 * (at + 3))) + 10 ** (3 * (at + 0.8))
        >>> found = suggest_lr(lrs, losses)
        >>> 0.0009 < found.steepest < 0.0011
        True
    """
    ramp = ramp_of(lrs, losses)
    seed = checks.integer("seed", seed)
    if ramp.reason is not None:
        return _nothing(ramp, ramp.reason)
    curve = fitted(ramp.x, ramp.y, seed=seed)
    reason = _no_fall(curve, ramp)
    if reason is not None:
        return _nothing(ramp, reason, curve)
    found = _marks(curve.places, curve.values[None], curve.slopes[None], ramp.rises)
    drawn = _marks(curve.places, curve.drawn_values, curve.drawn_slopes, ramp.rises)
    return Suggestion(
        suggestion=_rate(found.steepest),
        interval=_interval(found.steepest, drawn.steepest, curve),
        reason="",
        low=_rate(found.low),
        high=_rate(found.lowest),
        steepest=_rate(found.steepest),
        steepest_interval=_interval(found.steepest, drawn.steepest, curve),
        divergence=_rate(found.rise),
        **_shown(ramp, curve),
    )


def _nothing(ramp: Ramp, reason: str, curve: Fitted | None = None) -> Suggestion:
    return Suggestion(suggestion=None, reason=reason, **_shown(ramp, curve))


def _shown(ramp: Ramp, curve: Fitted | None) -> dict[str, Any]:
    shown = [[value if np.isfinite(value) else None for value in row] for row in ramp.losses.tolist()]
    drawn = (
        {}
        if curve is None
        else {"curve_lrs": tuple((10**curve.places).tolist()), "curve": tuple(curve.values.tolist())}
    )
    return {"lrs": tuple(ramp.lrs.tolist()), "losses": tuple(map(tuple, shown)), **drawn}


def _no_fall(curve: Fitted, ramp: Ramp) -> str | None:
    """Why the curve says nothing, or None: it does not fall by more than its noise."""
    lowest = int(curve.values.argmin())
    highest = int(curve.values[: lowest + 1].argmax())
    falls = curve.drawn_values[:, highest] - curve.drawn_values[:, lowest]
    if falls.mean() > _SURE * falls.std() and curve.gain > _LIKELIER:
        return None
    return "flat"


def _marks(places: Numbers, values: Numbers, slopes: Numbers, rises: bool) -> _Marks:
    """The marks of curves, shape (curves, 301) each."""
    rows, count = np.arange(len(values)), places.size
    lowest = values.argmin(1)
    before = np.arange(count) <= lowest[:, None]
    steepest = np.where(before, slopes, np.inf).argmin(1)
    up_to = np.arange(count) <= steepest[:, None]
    top = np.where(up_to, values, -np.inf).max(1)
    bottom = values[rows, lowest]
    part = _PART * (top - bottom)
    started = np.where(up_to & (values >= (top - part)[:, None]), np.arange(count), 0).max(1)
    up = ~before & (values >= (bottom + part)[:, None])
    rise = np.where(up.any(1), up.argmax(1), count - 1)
    edge = int(_EDGE * count)

    def told(at: NDArray[np.int64], seen: NDArray[np.bool_]) -> Numbers:
        return np.where(seen, places[at], np.nan)

    return _Marks(
        low=told(started, started > edge),
        steepest=places[steepest],
        lowest=told(lowest, np.full(lowest.shape, rises) | (lowest < count - 1 - edge)),
        rise=told(rise, np.full(lowest.shape, rises) | up.any(1)),
    )


def _rate(marks: Numbers) -> float | None:
    return None if np.isnan(marks[0]) else float(10 ** marks[0])


def _interval(mark: Numbers, drawn: Numbers, curve: Fitted) -> tuple[float, float] | None:
    seen = drawn[~np.isnan(drawn)]
    if np.isnan(mark[0]) or not seen.size:
        return None
    grain = float(curve.places[1] - curve.places[0])
    low, high = np.quantile(seen, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(10 ** min(low - grain, mark[0])), float(10 ** max(high + grain, mark[0]))
