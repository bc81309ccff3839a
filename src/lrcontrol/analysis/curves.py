"""Curves: columns of a run made fit to look at, smoothed without lag and thinned without losing their shape.

Two ways to thin: `thin` for values measured now and then, `outline` for levels that hold from one step to the next.
"""

import heapq
import math
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["Outline", "outline", "smooth", "thin"]

MOST_POINTS = 500  # a line on a screen of ordinary width shows no more
MOST_COLUMNS = 1600  # of an outline: two a pixel of a chart as wide as a page
READINGS = 100  # of an outline, laid out evenly, so that there is one wherever one looks


def smooth(values: ArrayLike, share: float = 0.02) -> NDArray[np.float64]:
    """`values` averaged with weights that fall exponentially to both sides: no lag, unlike a running average.

    The weight of a neighbour falls by e over `share / 2` of the length. Values that are not finite have no weight;
    where nothing finite is near, the result is NaN. The weights are normalised at every position, so that the ends
    are averages of what there is, not pulled to 0.

    Args:
        values: shape (steps,).
        share: in [0, 1]; the width as a share of the length; 0 smooths nothing.
    Returns:
        Shape (steps,), float64.
    Source:
        Brown 1963, "Smoothing, Forecasting and Prediction of Discrete Time Series" (exponential smoothing), run in
        both directions. Chosen over a moving average and Savitzky-Golay because it has no window that a single
        spike enters and leaves with a jump, and because an error made at a value of 1e30 dies out.
    Example:
        >>> ramp = np.arange(1000.0)
        >>> round(float(smooth(ramp)[500]), 6)
        500.0
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise BadInput(f"`values` must have one dimension, got shape {given.shape}.")
    width = checks.number("share", share, low=0, high=1) / 2 * given.size
    if width == 0:
        return given.copy()
    finite = np.isfinite(given)
    total = _both_ways(np.where(finite, given, 0.0), width)
    weight = _both_ways(finite.astype(np.float64), width)
    result = np.full(given.size, np.nan)
    np.divide(total, weight, out=result, where=weight > 1e-12)
    return result


def _both_ways(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The sum over j of `values[j] * exp(-|i - j| / width)`, for every i."""
    keep = math.exp(-1 / width)
    forward, backward = _decayed(values, keep), _decayed(values[::-1], keep)[::-1]
    result: NDArray[np.float64] = forward + backward - values
    return result


def _decayed(values: NDArray[np.float64], keep: float) -> NDArray[np.float64]:
    """The sum over j <= i of `values[j] * keep**(i - j)`, for every i.

    As scipy's lfilter to the bit; of 100,000 values it takes 20 ms, and importing that takes a second.
    """
    sums = accumulate(values.tolist(), lambda total, value: keep * total + value)
    return np.fromiter(sums, dtype=np.float64, count=values.size)


def thin(values: ArrayLike, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """The positions of at most `most` of the values that draw nearly the same line; the first and the last are kept.

    A fifth of them are laid out evenly, so that there is a point wherever one looks; each further one is where
    the line drawn so far is most wrong, so that corners, jumps and spikes stay where they are.

    Args:
        values: shape (steps,), finite.
        most: >= 2.
    Returns:
        Increasing positions; all of them where there are no more than `most`.
    Source:
        Ramer 1972, Computer Graphics and Image Processing 1 (3); Douglas, Peucker 1973, Cartographica 10 (2).
        Deviates: distances are vertical, and points are added largest error first up to a number, not to a tolerance.
    Example:
        >>> corner = np.minimum(np.arange(10_001.0), 3_333.0)
        >>> positions = thin(corner)
        >>> len(positions) <= 500, 3_333 in positions
        (True, True)
    """
    line = np.asarray(values, dtype=np.float64)
    if line.ndim != 1:
        raise BadInput(f"`values` must have one dimension, got shape {line.shape}.")
    most = checks.integer("most", most, low=2)
    if line.size <= most:
        return np.arange(line.size)
    kept = sorted({int(at) for at in np.linspace(0, line.size - 1, max(most // 5, 2)).round()})
    gaps = [gap for first, last in pairwise(kept) if (gap := _worst(line, first, last))]
    heapq.heapify(gaps)
    while gaps and len(kept) < most:
        _, at, first, last = heapq.heappop(gaps)
        kept.append(at)
        for gap in (_worst(line, first, at), _worst(line, at, last)):
            if gap:
                heapq.heappush(gaps, gap)
    return np.array(sorted(kept), dtype=np.int64)


class Outline(NamedTuple):
    """A line that draws levels, corner by corner.

    Args:
        steps: shape (corners,), never falling; two corners at one step are an upright line.
        values: shape (corners,); the level at each corner.
        joints: shape (corners,); True for what is no level of that step, but the end of the one before.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    joints: NDArray[np.bool_]


def outline(steps: ArrayLike, levels: ArrayLike, *, grain: float, slopes: bool = True) -> Outline:
    """The line that draws levels, each held from its step to the next: upright where they jump, few corners elsewhere.

    In each of 1600 columns the first, the last, the lowest and the highest level stay where they are; of these,
    corners that are less than a quarter of `grain` off the line through the others are left out.

    Args:
        steps: shape (n,), whole and increasing.
        levels: shape (n,), finite.
        grain: >= 0; the smallest difference of levels that shows.
        slopes: differences that do not show, and those that go on from step to step, are drawn as slopes, not as
            stairs.
    Returns:
        The corners; the last is the end of the last step.
    Source:
        Jugel, Jerzak, Hackenbroich, Markl 2014, PVLDB 7 (10), "M4" (the four levels of a column); then as `thin`.
    Example:
        >>> corners = outline([0, 1, 2, 3], [1, 1, 0, 0], grain=0.01)
        >>> list(zip(corners.steps.tolist(), corners.values.tolist()))
        [(0, 1.0), (1, 1.0), (2, 1.0), (2, 0.0), (3, 0.0), (4, 0.0)]
    """
    line, places = np.asarray(levels, dtype=np.float64), np.asarray(steps, dtype=np.int64)
    if line.ndim != 1 or line.shape != places.shape:
        raise BadInput(f"`levels` must have one dimension and one per step, got {line.shape} for {places.shape}.")
    checks.number("grain", grain, low=0)
    if not line.size:
        return Outline(places, line, np.empty(0, dtype=np.bool_))
    even = np.linspace(0, line.size - 1, min(READINGS + 1, line.size)).round().astype(np.int64)
    kept = np.union1d(_columns(line), even)
    jumps = kept[1:][_jumps(np.diff(line), grain, slopes)[kept[1:] - 1]]
    at = np.concatenate([kept, jumps, [line.size]])
    joints = np.arange(at.size) >= kept.size
    order = np.lexsort((~joints, at))
    at, joints = at[order], joints[order]
    values = line[at - joints]
    where = np.append(places, places[-1] + 1)[at]
    corners = _corners(where, values, np.flatnonzero(np.isin(at, even) & ~joints), grain / 4)
    return Outline(where[corners], values[corners], joints[corners])


def _jumps(change: NDArray[np.float64], grain: float, slopes: bool) -> NDArray[np.bool_]:
    """Which changes are drawn upright: with `slopes`, those that show and have no neighbour like them."""
    jumps: NDArray[np.bool_] = np.abs(change) > (grain if slopes else 0)
    if not slopes:
        return jumps
    small, large = np.sort(np.abs([change[:-1], change[1:]]), axis=0)
    goes_on = (change[:-1] * change[1:] > 0) & (2 * small >= large)
    jumps[:-1] &= ~goes_on
    jumps[1:] &= ~goes_on
    return jumps


def _columns(line: NDArray[np.float64]) -> NDArray[np.int64]:
    """The positions of the first, the last, the lowest and the highest value of each column."""
    if line.size <= MOST_COLUMNS:
        return np.arange(line.size)
    found: list[int] = []
    for begin, past in pairwise(np.arange(MOST_COLUMNS + 1) * line.size // MOST_COLUMNS):
        inside = line[begin:past]
        found += map(int, (begin, begin + inside.argmin(), begin + inside.argmax(), past - 1))
    return np.unique(np.array(found, dtype=np.int64))


def _corners(
    where: NDArray[np.int64], values: NDArray[np.float64], pins: NDArray[np.int64], tolerance: float
) -> NDArray[np.int64]:
    """The positions of a line's corners that it cannot do without, those in `pins` and the last among them."""
    kept = {*pins.tolist(), where.size - 1}
    between = list(pairwise(sorted(kept)))
    while between:
        first, last = between.pop()
        if last - first < 2:
            continue
        inside = slice(first + 1, last)
        share = (where[inside] - where[first]) / (where[last] - where[first])
        off = np.abs(values[inside] - values[first] - (values[last] - values[first]) * share)
        at = first + 1 + int(off.argmax())
        if off[at - first - 1] > tolerance:
            kept.add(at)
            between += [(first, at), (at, last)]
    return np.array(sorted(kept), dtype=np.int64)


def _worst(line: NDArray[np.float64], first: int, last: int) -> tuple[float, int, int, int] | None:
    """Minus the largest vertical distance to the chord between two positions, where it is, and the positions."""
    if last - first < 2:
        return None
    inside = np.arange(first + 1, last)
    chord = line[first] + (line[last] - line[first]) * ((inside - first) / (last - first))
    distance = np.abs(line[inside] - chord)
    at = int(distance.argmax())
    return (-float(distance[at]), first + 1 + at, first, last) if distance[at] > 0 else None
