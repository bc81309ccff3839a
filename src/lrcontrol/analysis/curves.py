"""Curves: columns of a run made fit to look at, smoothed without lag and thinned without losing their shape."""

import heapq
import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["smooth", "thin"]

MOST_POINTS = 500  # a line on a screen of ordinary width shows no more


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
    forward = lfilter([1.0], [1.0, -keep], values)
    backward = lfilter([1.0], [1.0, -keep], values[::-1])[::-1]
    result: NDArray[np.float64] = forward + backward - values
    return result


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


def _worst(line: NDArray[np.float64], first: int, last: int) -> tuple[float, int, int, int] | None:
    """Minus the largest vertical distance to the chord between two positions, where it is, and the positions."""
    if last - first < 2:
        return None
    inside = np.arange(first + 1, last)
    chord = line[first] + (line[last] - line[first]) * ((inside - first) / (last - first))
    distance = np.abs(line[inside] - chord)
    at = int(distance.argmax())
    return (-float(distance[at]), first + 1 + at, first, last) if distance[at] > 0 else None
