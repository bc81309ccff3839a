"""Sampling: at which steps a segment's profile is read anew, and where in each interval.

Between two readings the value holds. The sampling rate is an axis of its own beside the profile: an exponential
profile read three times is a step schedule.
"""

from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import array_api_compat
import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.laying import nearest_step
from lrcontrol.schedules.profiles import namespace

__all__ = ["AT_THE_END", "EVERY_STEP", "MOST_READINGS", "PLACES", "Reading", "Sampling", "increasing_shares"]

PLACES = ("left", "midpoint", "right", "closed")  # of an interval, where the profile is read
AT_THE_END = ("right", "closed")  # places that come to the very end of a segment
MOST_READINGS = 1000  # by `times` or `shares`


class Reading(NamedTuple):
    """Where a profile is read: `gone` of `whole` is behind and `left` ahead; float64, exact whole numbers."""

    gone: Any
    left: Any
    whole: float


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a profile is read, and at which end of the interval for which the value then holds.

    Args:
        every: >= 1; an interval is this many steps. 1 reads at every step.
        times: 1 to 1000; this many intervals in all, as equal as whole steps allow; instead of `every`.
        shares: at most 999 increasing shares of the segment, in (0, 1), at which a new interval begins; instead of
            `every`. Each falls on the nearest whole step; shares that fall on one step, or on an end, are one.
        at: where in its interval [a, b) of a segment of n steps the profile is read: `left` a/n, `midpoint`
            (a+b)/2n, `right` b/n, or `closed`: the first interval at 0, the last at 1 (a single one at 0).
    Raises:
        BadInput: more than one of `every`, `times`, `shares`, or one out of range.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (profile and sampling rate).
    Example:
        >>> from lrcontrol import linear
        >>> linear(times=2).multipliers(4).tolist()
        [1.0, 1.0, 0.5, 0.5]
    """

    every: int = 1
    times: int | None = None
    shares: tuple[float, ...] = ()
    at: str = "left"

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "every", checks.integer("every", self.every, low=1))
        put(self, "at", checks.one_of("sampling place", self.at, PLACES))
        if self.times is not None:
            put(self, "times", checks.integer("times", self.times, low=1, high=MOST_READINGS))
        put(self, "shares", increasing_shares("shares", self.shares))
        if (self.every != 1) + (self.times is not None) + bool(self.shares) > 1:
            raise BadInput(
                "only one of `every`, `times` and `shares` may be given, "
                f"got every={self.every}, times={self.times}, shares={checks.shown(self.shares)}."
            )

    @property
    def at_every_step(self) -> bool:
        """Whether no value holds for more than a step, but for what the profile does itself."""
        return self.every == 1 and self.times is None and not self.shares

    def read(self, step: Any, length: int) -> Reading:
        """Where the profile is read at `step` (an int64 array in [0, length)) of a segment of `length` steps."""
        xp = namespace(step)
        index, begin, end, intervals = self._interval(xp, step, length)
        if self.at == "closed":
            return _reading(xp, index, max(intervals - 1, 1))
        if self.at == "left":
            return _reading(xp, begin, length)
        if self.at == "right":
            return _reading(xp, end, length)
        return _reading(xp, begin + end, 2 * length)

    def begin(self, step: Any, length: int) -> Any:
        """Where the interval of each `step` (an int64 array in [0, length)) begins."""
        return self._interval(namespace(step), step, length)[1]

    def _interval(self, xp: Any, step: Any, length: int) -> tuple[Any, Any, Any, int]:
        """Index, begin and end of the interval that holds each step, and how many intervals there are."""
        if self.shares:
            inner = _edges(self.shares, length)
            edges = np.array([0, *inner, length])
            if xp is not np:
                edges = xp.asarray(edges, dtype=step.dtype, device=array_api_compat.device(step))
            index = xp.searchsorted(edges, xp.reshape(step, (-1,)), side="right")
            index = xp.reshape(xp.clip(xp.astype(index, step.dtype) - 1, 0, len(inner)), step.shape)
            return index, edges[index], edges[index + 1], len(inner) + 1
        if self.times is not None:
            times = min(self.times, length)
            index = step * times // length
            return index, -(-index * length // times), -(-(index + 1) * length // times), times
        if self.every == 1:
            return step, step, step + 1, length
        index = step // self.every
        begin = index * self.every
        return (
            index,
            begin,
            xp.where(begin + self.every < length, begin + self.every, length),
            -(-length // self.every),
        )


def increasing_shares(name: str, value: Any) -> tuple[float, ...]:
    """`value` as a tuple of fewer than 1000 increasing floats in (0, 1), or BadInput naming `name`."""
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__") or not hasattr(value, "__len__"):
        raise BadInput(f"`{name}` must be increasing numbers in (0, 1), got {name}={checks.shown(value)}.")
    if len(value) >= MOST_READINGS:
        raise BadInput(f"`{name}` must be at most {MOST_READINGS - 1} numbers, got {len(value)}.")
    shares = tuple(checks.number(name, share, low=0, high=1, open_low=True, open_high=True) for share in value)
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise BadInput(f"`{name}` must increase, got {name}={checks.shown(shares)}.")
    return shares


EVERY_STEP = Sampling()
"""Reads the profile at the left end of every step."""


@lru_cache(maxsize=256)
def _edges(shares: tuple[float, ...], length: int) -> list[int]:
    """The steps at which a new interval begins, inside the segment."""
    return sorted({nearest_step(Decimal(repr(share)), length) for share in shares} - {0, length})


def _reading(xp: Any, gone: Any, whole: int) -> Reading:
    """What has gone, and what is left, of `whole`, each exact; above 2**53, for midpoints alone, correctly rounded."""
    gone, left = xp.astype(gone, xp.float64), xp.astype(whole - gone, xp.float64) if whole > 2**53 else None
    return Reading(gone, whole - gone if left is None else left, float(whole))
