"""The compact form of a curve: a warmup and a power that come near it."""

from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol.schedules.recipes.phases import warmup
from lrcontrol.schedules.recipes.single import polynomial
from lrcontrol.schedules.schedule import Schedule

__all__ = ["Compact", "compact_form"]

Numbers = NDArray[np.float64]

LIKE = 0.1  # relative error up to which two numbers tell of a curve
_CELLS = 400  # of progress, over which the curve is averaged before it is fitted
_SHARES = np.linspace(0, 0.95, 39)
_POWERS = np.geomspace(1 / 16, 16, 33)


class Compact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A curve as two numbers: it rises straight over a share of the run, then falls as a power of what is left.

    Args:
        warmup: in [0, 1); the share over which it rises.
        power: > 0; 1 falls straight, 2 as a parabola, below 1 late.
        error: >= 0; root mean square of the distance from the curve, as a share of that of the curve. Above about
            0.1 the two numbers say little of it.
    """

    warmup: float
    power: float
    error: float

    @property
    def how(self) -> str:
        """How well it tells of the curve, in words."""
        return "nearly" if self.error < LIKE else "very roughly"

    @property
    def schedule(self) -> Schedule:
        """The two as a schedule.

        Example:
            >>> str(Compact(0.05, 1.5, 0.01).schedule)
            'warmup(0.05)+polynomial(power=1.5)'
        """
        fall = polynomial(float(f"{self.power:.3g}"))
        rise = float(f"{self.warmup:.3g}")
        return warmup(rise).then(fall) if rise else fall


def compact_form(values: Numbers) -> Compact:
    """The warmup and power nearest to a curve by least squares, whatever their height.

    Args:
        values: shape (points,), >= 0, not all 0; the curve at even distances of progress.
    Example:
        >>> progress = np.linspace(0, 1, 1001)
        >>> found = compact_form(np.minimum(progress / 0.1, ((1 - progress) / 0.9) ** 1.5))
        >>> round(found.warmup, 2), round(found.power, 2), found.error < 0.01
        (0.1, 1.5, True)
    """
    progress = (np.arange(_CELLS) + 0.5) / _CELLS
    edges = np.linspace(0, values.size - 1, _CELLS + 1)
    area = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2)])
    curve = np.diff(np.interp(edges, np.arange(values.size), area)) * (_CELLS / (values.size - 1))

    square = float(curve @ curve)

    def missed(share: float, power: float) -> float:
        shape = _shape(progress, share, power)
        return max(square - float(curve @ shape) ** 2 / float(shape @ shape), 0.0)

    shares, powers, shapes = _grid()
    nearest = int((shapes @ curve).argmax())
    share, power = shares[nearest], powers[nearest]

    def distance(at: Numbers) -> float:
        return missed(float(at[0]), float(np.exp(at[1])))

    from scipy.optimize import minimize  # half a second to import, and seldom needed

    found = minimize(
        distance,
        np.array([share, np.log(power)]),
        method="Nelder-Mead",
        bounds=[(0.0, 0.99), (float(np.log(1 / 32)), float(np.log(32)))],
        options={"xatol": 1e-4, "fatol": 1e-12 * square},
    )
    share, power = float(found.x[0]), float(np.exp(found.x[1]))
    if share < 0.5 / _CELLS:
        share = 0.0
    return Compact(share, power, float(np.sqrt(missed(share, power) / square)))


def _shape(progress: Numbers, share: float, power: float) -> Numbers:
    rise = progress / share if share else progress
    return np.where(progress < share, rise, (np.clip(1 - progress, 0, None) / (1 - share)) ** power)


@cache
def _grid() -> tuple[Numbers, Numbers, Numbers]:
    """Shares and powers to begin with, shape (pairs,), and their curves, shape (pairs, _CELLS), each of norm 1."""
    progress = (np.arange(_CELLS) + 0.5) / _CELLS
    shares, powers = (each.ravel() for each in np.meshgrid(_SHARES, _POWERS, indexing="ij"))
    shapes = np.stack([_shape(progress, *pair) for pair in zip(shares, powers, strict=True)])
    return shares, powers, shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
