"""What a range test says: the losses of a ramp of rates in, one suggested rate and the usable interval out.

`ramps.py` takes the points that can be read, `fitted.py` makes the curve; here it is read: where it begins to fall,
falls fastest, is lowest and rises.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from lrcontrol import checks
from lrcontrol.analysis.fitted import Fitted, fitted
from lrcontrol.analysis.ramps import FEWEST, Ramp, ramp_of
from lrcontrol.analysis.readings import Numbers

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = ["LEVEL", "PART_OF_LOWEST", "Suggestion", "suggest_lr"]

PART_OF_LOWEST = 0.1  # of the rate at which the curve is lowest is suggested; docs/range_test.md tells how it does
LEVEL = 0.95  # of the intervals: so many of the curves that could be the true one agree
_PART = 0.1  # of the whole fall: a curve that has moved by so much has begun to fall, or to rise
_EDGE = 0.02  # of the curve: what is nearer to an end than this is at it
_DOUBTS = 2.0  # standard deviations of a slope by which it must be steeper than others
_FAST = 0.5  # of the steepest slope: a curve that is so steep at an end has not begun or ended to fall within it
_SURE = 4.0  # times its own doubt is a fall that is none of the noise
_LIKELIER = 6.0  # nats by which a curve must be likelier than a level
_RAMPS_DIFFER = 0.1  # decades: by so much marks of real ramps differ that are alike but for weights and order of data,
_AS_RAMPS = 4  # and that is worth as much as so many ramps


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one range test says; all rates are of the ramp, None where the test does not show them.

    Args:
        suggestion: the learning rate to train with, or None where the curve says nothing.
        interval: where the suggestion of very many such ramps would lie, at a nominal 95 %: by the noise of losses,
            and by how ramps differ. That is seen in the ramps, if there are several; of one it is assumed.
        reason: one sentence: why this rate, or why none and what to do.
        low: where the loss begins to fall: the least rate for cycling.
        high: where it ends to fall: the largest rate for cycling.
        steepest: where it falls fastest over the logarithm of the rate.
        steepest_interval: where that lies, at a nominal 95 %.
        divergence: where it begins to rise for good.
        lrs: shape (points,); the ramp.
        losses: shape (repeats, points); None for a loss that was not finite.
        curve_lrs: shape (301,), or empty; rates of the smooth curve, evenly in logarithm, up to where it was read.
        curve: shape (301,), or empty; the smooth curve.
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
        return f"<Suggestion {self.suggestion:.3g} ({self.interval[0]:.3g} to {self.interval[1]:.3g}): {self.reason}>"


class _Marks(NamedTuple):
    """Where curves begin to fall, fall fastest, what they suggest, where they are lowest and begin to rise.

    Each of shape (curves,), logarithms of rates; NaN for what is not seen.
    """

    low: Numbers
    steepest: Numbers
    suggested: Numbers
    lowest: Numbers
    rise: Numbers


def suggest_lr(lrs: ArrayLike, losses: ArrayLike, *, seed: int = 0, ended: bool = False) -> Suggestion:
    """The learning rate that a range test suggests, and what it says of the usable ones.

    A smooth curve is laid through the losses over the logarithm of the rate, without lag, its width found from the
    points (`fitted`). The suggestion is a tenth of the rate at which the curve is lowest, which is near those that
    diverge, but none at which it has not begun to fall. It does not change with the unit of the losses or an offset,
    nor, but for the same factor, with that of the rates.

    Args:
        lrs: shape (points,), finite, > 0, never falling; evenly spaced in logarithm or not.
        losses: shape (points,) or (repeats, points), before the update at that rate, as they are and not averaged; NaN
            or inf from where a repeat ended. Lists, arrays and tensors are taken.
        seed: >= 0; of the draws that the intervals are made of.
        ended: the losses ended before the last rate for another reason than divergence, say by a signal: NaN at their
            end are then no rise.
    Returns:
        One suggestion with an interval and a sentence; or none, and why: where the loss does not fall by more than its
        noise, rises from the start, is steep at an end of the range, or fewer than ten losses are finite: where not
        even the first is, which comes before any update, the loss is at fault and no rate.
    Raises:
        BadInput: rates that are not such, or shapes that do not go together.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3 (the test, and `low` and `high` for cycling). That a tenth of the
        lowest is a good rate is known from fast.ai's courses; the curve it is read of and the intervals are ours.
    Example:
        >>> lrs = np.geomspace(1e-6, 1, 100)
        >>> at = np.log10(lrs)
        >>> losses = 2.3 - 1.4 / (1 + 10 ** (-2 * (at + 3))) + 10 ** (3 * (at + 0.8))
        >>> found = suggest_lr(lrs, losses)
        >>> 0.0009 < found.steepest < 0.0011, 0.001 < found.suggestion < 0.003, 0.07 < found.divergence < 0.1
        (True, True, True)
    """
    ramp = ramp_of(lrs, losses, ended=ended)
    seed = checks.integer("seed", seed)
    if ramp.reason is not None:
        return _nothing(ramp, (None if ended else _at_once(ramp)) or ramp.reason)
    curve = fitted(ramp.x, ramp.y, seed=seed)
    doubt = _DOUBTS * curve.slope_doubts
    found = _marks(curve.places, curve.values[None], curve.slopes[None] + doubt, ramp.rises)
    reason = _no_fall(curve, ramp) or _at_an_edge(curve, found, curve.slopes + doubt, ramp)
    if reason is not None:
        return _nothing(ramp, reason, curve)
    drawn = _marks(curve.places, curve.drawn_values, curve.drawn_slopes + doubt, ramp.rises)
    without = _without_each(ramp, seed)
    return Suggestion(
        suggestion=_rate(found.suggested),
        interval=_interval("suggested", found, drawn, without, curve, ramp),
        reason=_why(curve, found),
        low=_rate(found.low),
        high=_rate(found.lowest),
        steepest=_rate(found.steepest),
        steepest_interval=_interval("steepest", found, drawn, without, curve, ramp),
        divergence=_rate(found.rise),
        **_shown(ramp, curve),
    )


def _nothing(ramp: Ramp, reason: str, curve: Fitted | None = None) -> Suggestion:
    risen = curve is not None and ramp.rises
    last = float(10 ** curve.places[-1]) if curve is not None and risen else None
    return Suggestion(suggestion=None, reason=reason, divergence=last, **_shown(ramp, curve))


def _at_once(ramp: Ramp) -> str | None:
    """That no loss is finite, not even that before any update, or None; of several ramps their median."""
    finite = np.isfinite(ramp.losses)
    if not finite.size or (finite.mean(axis=0) > 0.5).any():
        return None
    first = ramp.losses[~finite[:, 0], 0][0]
    return (
        f"the first loss, before any update, is {first:g} already, which no learning rate can help; look for what is "
        "not finite in the inputs, in what the model gives for them, and in what the loss makes of that."
    )


def _shown(ramp: Ramp, curve: Fitted | None) -> dict[str, Any]:
    """The points and the curve, as plain values."""
    finite = np.isfinite(ramp.losses)
    losses = [
        tuple(value if known else None for value, known in zip(row, seen, strict=True))
        for row, seen in zip(ramp.losses.tolist(), finite.tolist(), strict=True)
    ]
    shown: dict[str, Any] = {"lrs": tuple(ramp.lrs.tolist()), "losses": tuple(losses)}
    if curve is not None:
        shown |= {"curve_lrs": tuple((10**curve.places).tolist()), "curve": tuple(curve.values.tolist())}
    return shown


def _no_fall(curve: Fitted, ramp: Ramp) -> str | None:
    """That the curve does not fall by more than the noise, or None."""
    lowest = int(curve.values.argmin())
    highest = int(curve.values[: lowest + 1].argmax())
    falls = curve.drawn_values[:, highest] - curve.drawn_values[:, lowest]
    if falls.mean() > _SURE * falls.std() and curve.gain > _LIKELIER:
        return None
    last = 10 ** curve.places[-1]
    if ramp.rises:
        return (
            f"the loss never falls by more than its noise, and rises for good from {last:.2g} on; begin the range "
            "test lower, make more updates or repeat it."
        )
    return (
        f"the loss neither falls nor rises by more than its noise, {curve.noise:.2g}, up to {last:.2g}; go on to "
        "higher rates, make more updates or repeat the range test."
    )


def _at_an_edge(curve: Fitted, found: _Marks, slopes: Numbers, ramp: Ramp) -> str | None:
    """That the curve falls at an end of the range as fast as elsewhere, or half as fast, or None."""
    edge = _EDGE * (curve.places[-1] - curve.places[0])
    fast, last = _FAST * float(slopes.min()), 10 ** curve.places[-1]
    if found.steepest[0] <= curve.places[0] + edge or slopes[0] <= fast:
        return (
            f"the loss falls too fast already at the lowest rate, {ramp.lrs[0]:.2g}; begin the range test lower, at "
            f"{ramp.lrs[0] / 100:.2g} or less."
        )
    if not ramp.rises and (found.steepest[0] >= curve.places[-1] - edge or slopes[-1] <= fast):
        return (
            f"the loss falls too fast still at the highest rate, {last:.2g}; go on with the range test to "
            f"{last * 100:.2g} or more."
        )
    return None


def _why(curve: Fitted, found: _Marks) -> str:
    """Why the suggestion is where it is, in one sentence."""
    lowest = int(curve.values.argmin())
    top = float(curve.values[: lowest + 1].max())
    told = f"the loss falls from {top:.3g} to {curve.values[lowest]:.3g}, fastest at {10 ** found.steepest[0]:.2g}, "
    told += f"and is lowest at {10 ** curve.places[lowest]:.2g}"
    if np.isnan(found.lowest[0]):
        told += ", the highest rate, so that a wider range may tell more"
    if found.suggested[0] > curve.places[lowest] + np.log10(PART_OF_LOWEST):
        return f"{told}: a tenth of that is before it begins to fall, which it does at {10 ** found.suggested[0]:.2g}."
    return f"{told}: a tenth of that is suggested."


def _marks(places: Numbers, values: Numbers, slopes: Numbers, rises: bool) -> _Marks:
    """The marks of curves, shape (curves, 301) each.

    `slopes` are told with what is in doubt of them on top, so that no gap between points and no end of the curve is
    steep for want of points; `rises` tells that the curves rise beyond their end.
    """
    rows, order, count = np.arange(len(values)), np.arange(places.size), places.size
    lowest = values.argmin(1)
    falling = order <= lowest[:, None]
    steepest = np.where(falling, slopes, np.inf).argmin(1)
    bottom = values[rows, lowest]
    fall = np.where(falling, values, -np.inf).max(1) - bottom

    def last_above(share: float, among: NDArray[np.bool_]) -> NDArray[np.intp]:
        """The last place at which less than a share of the fall is made."""
        above = among & (values >= (bottom + (1 - share) * fall)[:, None])
        result: NDArray[np.intp] = np.where(above, order, 0).max(1)
        return result

    begun = last_above(_PART, order <= steepest[:, None])
    up = ~falling & (values >= (bottom + _PART * fall)[:, None])
    rise = np.where(up.any(1), up.argmax(1), count - 1)
    edge = int(_EDGE * count)

    def seen(at: NDArray[np.intp], which: NDArray[np.bool_]) -> Numbers:
        return np.where(which, places[at], np.nan)

    return _Marks(
        low=seen(begun, begun > edge),
        steepest=places[steepest],
        suggested=np.maximum(places[lowest] + np.log10(PART_OF_LOWEST), places[begun]),
        lowest=seen(lowest, (lowest < count - 1 - edge) | rises),
        rise=seen(rise, up.any(1) | rises),
    )


def _rate(mark: Numbers) -> float | None:
    return None if np.isnan(mark[0]) else float(10 ** mark[0])


def _without_each(ramp: Ramp, seed: int) -> list[_Marks]:
    """The marks of the curve without each of the repeats that are read, if there are two or more."""
    repeats, result = np.unique(ramp.repeat), []
    for repeat in repeats:
        others = ramp.repeat != repeat
        if others.sum() < FEWEST or not np.ptp(ramp.x[others]):
            continue
        curve = fitted(ramp.x[others], ramp.y[others], draws=1, seed=seed)
        slopes = curve.slopes + _DOUBTS * curve.slope_doubts
        result.append(_marks(curve.places, curve.values[None], slopes[None], ramp.rises))
    return result


def _interval(
    name: str, found: _Marks, drawn: _Marks, without: list[_Marks], curve: Fitted, ramp: Ramp
) -> tuple[float, float]:
    """Where a mark lies among the rates of the ramp: by the curves that were drawn and by how ramps differ.

    The variance is that by the curves with that of ramps known beforehand, and that by leaving out ramps; each counts
    as much as it has degrees of freedom, of which the former is given some.
    """
    mark, each = float(getattr(found, name)[0]), getattr(drawn, name)
    free = max(len(without) - 1, 0)
    variance = _AS_RAMPS * (float(np.var(each)) + _RAMPS_DIFFER**2 / (free + 1))
    if without:
        left_out = np.array([getattr(marks, name)[0] for marks in without])
        variance += free * free * float(np.var(left_out))  # times free: of a mean's, by leaving out one
    half = float(student.ppf((1 + LEVEL) / 2, _AS_RAMPS + free)) * np.sqrt(variance / (_AS_RAMPS + free))
    low, high = np.quantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    grain = float(curve.places[1] - curve.places[0])
    low, high = 10 ** (min(low, mark - half) - grain), 10 ** (max(high, mark + half) + grain)
    return float(max(low, ramp.lrs[0])), float(min(high, ramp.lrs[-1]))
