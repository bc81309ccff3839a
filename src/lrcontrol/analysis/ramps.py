"""The losses of a range test made fit to read: checked, and cut where the loss has risen for good."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.analysis.readings import Numbers, vector
from lrcontrol.errors import BadInput

__all__ = ["FEWEST", "Ramp", "ramp_of"]

FEWEST = 10  # rates with a finite loss; fewer are no curve
_WIDTH = 5  # of the running median: up to two odd losses side by side do not end a ramp
_NARROWEST = 0.3  # decades; less of a range is no ramp
_RISE = 0.25  # of the fall, and
_NOISES = 6.0  # times the noise: a loss that has risen by both has risen for good


class Ramp(NamedTuple):
    """A range test, and those of its points that are read.

    Args:
        lrs: shape (points,), > 0, never falling.
        losses: shape (repeats, points); any numbers.
        x: shape (read,); log10 of the rates of the losses that are read, of all repeats, and
        y: shape (read,), finite; those losses, the farthest off clipped.
        repeat: shape (read,); the repeat that each is of.
        rises: whether the loss rises for good, or ceases to be finite, before the last rate.
        reason: why there is nothing to read, or None.
    """

    lrs: Numbers
    losses: Numbers
    x: Numbers
    y: Numbers
    repeat: NDArray[np.intp]
    rises: bool
    reason: str | None


def ramp_of(lrs: ArrayLike, losses: ArrayLike, *, ended: bool = False) -> Ramp:
    """The points of a range test that are read: up to where the loss has risen for good, or is not finite any more.

    The loss has risen for good where the running median of five, of the median of all repeats, is above its lowest
    value by a quarter of its fall, and by six times its noise. A repeat that has ended counts as one of infinite loss;
    with `ended`, as one that is not there, if what it ends with is NaN.

    Args:
        lrs: shape (points,).
        losses: shape (points,) or (repeats, points).
        ended: the losses ended before the last rate for another reason than divergence: NaN at their end are no rise.
    Raises:
        BadInput: rates that are not finite and > 0, or fall; shapes that do not go together.
    Example:
        >>> ramp = ramp_of(np.geomspace(1e-3, 10, 16), [2.0] * 8 + [1.0] * 5 + [9.0] * 3)
        >>> ramp.y.size, ramp.rises
        (13, True)
    """
    rates = vector("lrs", _plain(lrs))
    table = _table(losses)
    if table.shape[1] != rates.size:
        raise BadInput(
            f"`losses` must have one value per rate in each repeat, got shape {table.shape} for {rates.size} rates; "
            "fill up a repeat that ended early with NaN."
        )
    bad = ~(np.isfinite(rates) & (rates > 0))
    if bad.any():
        at = int(bad.argmax())
        raise BadInput(f"`lrs` must be finite numbers > 0, got {rates[at]:g} at place {at}.")
    falls = np.flatnonzero(np.diff(rates) < 0)
    if falls.size:
        at = int(falls[0])
        raise BadInput(f"`lrs` must never fall, got {rates[at]:g} and then {rates[at + 1]:g}; give the ramp upwards.")
    finite = np.isfinite(table)
    none = np.empty(0)
    reached = _reached(table, rates.size) if ended else np.full(len(table), rates.size)
    typical = _typical(table, finite, reached)
    known = np.isfinite(typical)
    if known.sum() < FEWEST:
        told = (
            f"only {int(known.sum())} of {rates.size} rates have a finite loss, and fewer than {FEWEST} are no curve"
        )
        told += "; begin lower, or make more updates."
        return Ramp(rates, table, none, none, none.astype(np.intp), False, told)
    past, bottom, top = _extent(typical, known)
    read = finite & (np.arange(rates.size) < past)
    x = np.broadcast_to(np.log10(rates), table.shape)[read]
    room = top - bottom
    y = np.clip(table[read], bottom - room, top + room)
    rises = past < typical.size
    reason = None
    if known[:past].sum() < FEWEST:
        told = "and rises for good" if np.isfinite(typical).all() else "and is not finite beyond"
        reason = (
            f"the loss is read up to {rates[past - 1]:.2g} {told}, which are fewer than {FEWEST} rates; begin the "
            "range test lower, or make more updates."
        )
    elif x.max() - x.min() < _NARROWEST:
        reason = f"the rates go from {rates[0]:.3g} to {rates[past - 1]:.3g} alone; make the range wider."
    return Ramp(rates, table, x, y, np.nonzero(read)[0], rises, reason)


def _reached(table: Numbers, count: int) -> NDArray[np.intp]:
    """How many rates each repeat came to: up to the last loss that is not NaN."""
    seen = ~np.isnan(table)
    result: NDArray[np.intp] = np.where(seen, np.arange(1, count + 1), 0).max(axis=1, initial=0)
    return result


def _typical(table: Numbers, finite: NDArray[np.bool_], reached: NDArray[np.intp]) -> Numbers:
    """The median of the repeats that came so far, at each rate that one came to; what is not finite is infinite."""
    with np.errstate(over="ignore"):
        values = [
            np.median(np.where(finite[reached > at, at], table[reached > at, at], np.inf))
            for at in range(int(reached.max(initial=0)))
        ]
    return np.array(values, dtype=np.float64)


def _extent(typical: Numbers, known: NDArray[np.bool_]) -> tuple[int, float, float]:
    """How many of the losses are read, their lowest level, and the highest before that."""
    padded = np.pad(typical, _WIDTH // 2, mode="edge")
    with np.errstate(over="ignore", invalid="ignore"):
        level = np.median(np.lib.stride_tricks.sliding_window_view(padded, _WIDTH), axis=1)
    bends = np.abs(np.diff(typical[known], 2))
    noise = float(np.median(bends)) / 0.6745 / np.sqrt(6)
    lowest = int(level.argmin())
    bottom = float(level[lowest])
    before = level[: lowest + 1]
    fall = float(before[np.isfinite(before)].max()) - bottom
    ceiling = bottom + max(_RISE * fall, _NOISES * noise)
    above = np.flatnonzero(level[lowest:] > ceiling)
    past = lowest + int(above[0]) if above.size else typical.size
    while past and not known[past - 1]:
        past -= 1
    return past, bottom, bottom + max(fall, _NOISES * noise)


def _plain(given: Any) -> Any:
    """A tensor as an array of numpy's: without its gradient, from any device, of any precision."""
    return given.detach().cpu().double().numpy() if hasattr(given, "detach") else given


def _table(given: Any) -> Numbers:
    """Losses as (repeats, points)."""
    try:
        values = np.asarray(_plain(given))
        if values.dtype.kind not in "fiu":
            raise ValueError
    except (ValueError, OverflowError, TypeError):
        raise BadInput(f"`losses` must hold numbers, got losses={checks.shown(given)}.") from None
    if values.ndim not in (1, 2):
        raise BadInput(f"`losses` must have shape (points,) or (repeats, points), got {values.shape}.")
    return np.atleast_2d(values.astype(np.float64))
