"""Laying a schedule over a horizon: whole-step lengths, the pieces that compute, and reading them.

A schedule over a horizon is a list of pieces that leave no gap. Each computes its values from the step alone, so any
step is as cheap as any other, and a whole run is written block by block, with no memory beyond the result.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from itertools import accumulate, islice, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.profiles import namespace

__all__ = [
    "BLOCK",
    "Computes",
    "HasLength",
    "Laying",
    "Piece",
    "Scales",
    "chain",
    "cut",
    "edges_of_turns",
    "goes_on",
    "grown",
    "lengths",
    "look_up",
    "nearest",
    "nearest_step",
    "written",
]

_DIGITS = Context(prec=60)
_ALL = 1 - Decimal("1e-12")  # a sum of shares above this is all there is: three thirds are written shorter
BLOCK = 8192  # steps computed at once: their arrays stay in the cache


class Computes(Protocol):
    """What gives the multipliers of a piece."""

    def values(self, step: Any, length: int) -> Any:
        """The multipliers at `step` (an int64 array in [0, length)) of this part over `length` steps."""

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Whether one curve that is read at every step leads from each `step` on: no joint, level or turn.

        From the last one it leads to the part's end.
        """


class Piece(NamedTuple):
    """What computes, the steps [begin, end) of the whole that it covers, and the length it is laid over."""

    begin: int
    end: int
    length: int
    part: Computes


Scales = tuple[float, ...]
"""What levels are multiplied by, one after the other: numbers in [0, 1]."""


class Laying:
    """The pieces of a schedule as they are laid, end to end.

    Args:
        most: of parts in turns that grow, counted out; what is laid beside counts against the same.
    """

    def __init__(self, most: int, beside: "Laying | None" = None) -> None:
        self.pieces: list[Piece] = []
        self._most = most
        self._counted: list[int] = [0] if beside is None else beside._counted

    def beside(self) -> "Laying":
        """An empty one that counts with this one."""
        return Laying(self._most, self)

    def count(self, parts: int) -> None:
        """Count the parts of one more turn; DoesNotFit where there are too many."""
        self._counted[0] += parts
        if self._counted[0] > self._most:
            raise DoesNotFit(
                f"a schedule must have at most {self._most} segments in turns that grow, and over this horizon it has "
                "more; make the turns longer, or let them grow faster."
            )


class HasLength(Protocol):
    """A part, as far as its length goes."""

    @property
    def share(self) -> float | None:
        """The length as a share of the total, if it is given so."""

    @property
    def fixed(self) -> int | None:
        """The length in steps where it does not depend on the total."""

    @property
    def takes_rest(self) -> bool:
        """Whether the part's length is what the others leave."""


def lengths(parts: Sequence[HasLength], total: int) -> list[int]:
    """The lengths of `parts` in whole steps: steps first, shares of the total next, the rest last."""
    if len(parts) == 1 and parts[0].takes_rest:
        return [total]
    by_share = [past - first for first, past in pairwise(_edges(tuple(part.share or 0.0 for part in parts), total))]
    fixed_or_none = [part.fixed for part in parts]
    found = [share if fixed is None else fixed for fixed, share in zip(fixed_or_none, by_share, strict=True)]
    needed = sum(found)
    if needed > total:
        fixed = sum(length or 0 for length in fixed_or_none)
        shared = f" ({fixed} fixed and {needed - fixed} by share)" if needed != fixed else ""
        raise DoesNotFit(
            f"the parts of a schedule must fit its length: they need {needed} steps{shared}, but there are {total}; "
            "shorten a part, or give it as a share, as in warmup(0.05)."
        )
    return [total - needed if part.takes_rest else length for part, length in zip(parts, found, strict=True)]


@lru_cache(maxsize=64)
def _edges(shares: tuple[float, ...], total: int) -> tuple[int, ...]:
    """Where shares that follow one another begin, and the end of the last."""
    if not any(shares):
        return (0,) * (len(shares) + 1)
    written = (Decimal(repr(share)) for share in shares)
    sums = list(accumulate(written, _DIGITS.add, initial=Decimal(0)))
    return tuple(total if sum_ > _ALL else nearest_step(sum_, total) for sum_ in sums)


def nearest_step(share: Decimal, total: int) -> int:
    """The step of `total` that is nearest to a share as it is written, so that 0.35 of 10 is 3.5, which rounds up."""
    return nearest(_DIGITS.multiply(share, Decimal(total)))


@lru_cache(maxsize=16)
def edges_of_turns(length: int, times: int, growth: float) -> tuple[int, ...]:
    """Where `times` turns over `length` steps begin, and the end; each `growth` times as long as the one before."""
    if growth == 1:
        return tuple(length * turn // times for turn in range(times + 1))
    edges = list(accumulate(islice(grown(1, growth), times), _DIGITS.add))
    begins = (_DIGITS.divide(_DIGITS.multiply(edge, Decimal(length)), edges[-1]) for edge in edges[:-1])
    return (0, *map(nearest, begins), length)


def grown(first: int, growth: float) -> Iterator[Decimal]:
    """`first`, and each `growth` times the one before: of the number as it is written, so that ties are ties."""
    length, by = Decimal(first), Decimal(repr(growth))
    while True:
        yield length
        length = _DIGITS.multiply(length, by)


def nearest(value: Decimal) -> int:
    """The nearest whole number; halves go up."""
    return int(value.to_integral_value(ROUND_HALF_UP))


def cut(pieces: list[Piece], end: int) -> None:
    """Drop what lies at or past `end`."""
    while pieces and pieces[-1].begin >= end:
        pieces.pop()
    if pieces and pieces[-1].end > end:
        pieces[-1] = pieces[-1]._replace(end=end)


def written(pieces: Sequence[Piece], total: int) -> NDArray[np.float64]:
    """All multipliers, computed block by block."""
    result = np.empty(total)
    counted = np.arange(min(BLOCK, total))
    for begin, end, length, part in pieces:
        for first in range(begin, end, BLOCK):
            past = min(first + BLOCK, end)
            result[first:past] = part.values(counted[: past - first] + (first - begin), length)
    return result


def goes_on(pieces: Sequence[Piece], step: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether one curve that is read at every step leads from each `step` to the next, or from the last to the end."""
    result = np.zeros(step.shape, np.bool_)
    for begin, end, length, part in pieces:
        whole = end == pieces[-1].end and end - begin == length
        here = (step >= begin) & (step < end - (0 if whole else 1))
        if here.any():
            result[here] = part.goes_on(step[here] - begin, length)
    return result


def look_up(pieces: list[Piece], last: float, step: NDArray[Any]) -> NDArray[np.float64]:
    """The multipliers at any integer array, piece by piece; `last` past the end."""
    if step.dtype.kind not in "iu":
        raise BadInput(f"`step` must hold integers, got an array of {step.dtype}.")
    if not step.size:
        return np.empty(step.shape)
    least, most = int(step.min()), int(step.max())
    if least < 0:
        raise OutOfSchedule(f"a step must be >= 0, got {least}.")
    result = None
    for begin, end, length, part in _between(pieces, least, most):
        if begin <= least and most < end:
            inside = step.astype(np.int64, copy=False)
            return np.asarray(part.values(inside - begin if begin else inside, length))
        if result is None:
            result = np.full(step.shape, last)
        here = (step >= begin) & (step < end)
        if here.any():
            result[here] = part.values(step[here].astype(np.int64) - begin, length)
    return np.full(step.shape, last) if result is None else result


def _between(pieces: list[Piece], least: int, most: int) -> Iterator[Piece]:
    """The pieces that steps `least` to `most` may lie in."""
    first = bisect_right(pieces, least, key=lambda piece: piece.end)
    for index in range(first, len(pieces)):
        if pieces[index].begin > most:
            return
        yield pieces[index]


def chain(pieces: list[Piece], last: float, step: Any) -> Any:
    """The multipliers for arrays that may be traced: every piece computed, chosen by `where`."""
    xp = namespace(step)
    if not xp.isdtype(step.dtype, "integral"):
        raise BadInput(f"`step` must hold integers, got an array of {step.dtype}.")
    step = xp.astype(step, xp.int64)
    result = xp.astype(step * 0, xp.float64) + last
    for begin, end, length, part in reversed(pieces):
        inside = xp.clip(step - begin, 0, end - begin - 1)
        result = xp.where(step < end, part.values(inside, length), result)
    return result
