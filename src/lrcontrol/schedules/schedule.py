"""Schedules: profiles laid end to end, nested and multiplied, as frozen data.

A schedule has no size of its own. Laid over `total_steps` it says the multiplier of every step; the learning rate
of a group is `base_lr[group] * multiplier(step)`. It is a tree: a `Schedule` holds parts, and a part is a `Segment`,
a `Nested` schedule or a `Product` of schedules.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.profiles import AnyProfile, Constant, namespace
from lrcontrol.schedules.sampling import EVERY_STEP, Sampling

__all__ = ["DEEPEST", "LARGEST", "MOST_SEGMENTS", "Nested", "Part", "Product", "Schedule", "Segment"]

MOST_SEGMENTS = 10_000  # of one schedule, repeats counted out
DEEPEST = 8  # schedules inside schedules
LARGEST = 1e9  # of a multiplier


class _Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="part"):
    """What every part has: a length in steps, a share of the total, or (with neither) the rest."""

    steps: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.share is not None:
            raise BadInput(
                "give `steps` or `share`, not both, "
                f"got steps={checks.shown(self.steps)}, share={checks.shown(self.share)}."
            )
        if self.steps is not None:
            msgspec.structs.force_setattr(self, "steps", checks.integer("steps", self.steps, low=0))
        if self.share is not None:
            msgspec.structs.force_setattr(self, "share", checks.number("share", self.share, low=0, high=1))

    @property
    def fixed(self) -> int | None:
        """The length in steps where it does not depend on the total."""
        return self.steps

    @property
    def takes_rest(self) -> bool:
        """Whether the part's length is what the others leave."""
        return self.fixed is None and self.share is None


class Segment(_Length, frozen=True, tag="segment"):
    """A profile read at a sampling rate over a length, going from `start` to `end`.

    Args:
        profile: the shape.
        start: in [0, 1e9]; the multiplier at progress 0.
        end: in [0, 1e9]; the multiplier at progress 1; 0 by default, for the constant profile always `start`.
        sampling: when the profile is read; for the constant profile there is nothing to choose.
        steps: the length in steps, or
        share: the length as a share of the total; with neither, the segment takes the rest.
    Raises:
        BadInput: a value out of range, both lengths given, or a constant profile with another end than its start
            or with a sampling.
    Example:
        >>> Segment(Constant(), 0.5).end
        0.5
    """

    profile: AnyProfile
    start: float = 1.0
    end: float | None = None
    sampling: Sampling = EVERY_STEP

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("profile", self.profile, AnyProfile, "a profile such as Linear()")
        checks.instance("sampling", self.sampling, Sampling, "a Sampling")
        start = checks.number("start", self.start, low=0, high=LARGEST)
        steady = isinstance(self.profile, Constant)
        default = start if steady else 0.0
        end = default if self.end is None else checks.number("end", self.end, low=0, high=LARGEST)
        if steady and end != start:
            raise BadInput(f"a constant segment must end where it starts, got start={start}, end={end}.")
        if steady and self.sampling != EVERY_STEP:
            raise BadInput("a constant segment reads the same at any `sampling`; leave it out.")
        msgspec.structs.force_setattr(self, "start", start)
        msgspec.structs.force_setattr(self, "end", end)

    def values(self, step: Any, length: int) -> Any:
        """The multipliers at `step` (an int64 array in [0, length)) of this segment over `length` steps."""
        return self.between(*self.sampling.read(step, length))

    def between(self, progress: Any, remaining: Any) -> Any:
        """The multipliers at float64 arrays of progress and what remains; never outside [start, end]."""
        assert self.end is not None  # noqa: S101 - a fact of __post_init__, told to the type checker
        toward_start, toward_end = self.profile.split(progress, remaining)
        value = self.start * toward_start + self.end * toward_end
        return namespace(progress).clip(value, min(self.start, self.end), max(self.start, self.end))

    @property
    def last(self) -> float:
        """The multiplier at progress 1."""
        assert self.end is not None  # noqa: S101 - a fact of __post_init__, told to the type checker
        return self.end


class Nested(_Length, frozen=True, tag="nested"):
    """A schedule laid `times` times, one after the other, over the length of one part.

    Args:
        schedule: what is laid; its shares are of one of the `times` turns. In a turn longer than its parts the
            last value holds.
        times: 1 to 10,000. Turns are as equal as whole steps allow.
        steps: the length in steps of all turns together, or
        share: the same as a share of the total; with neither, `times` the schedule's own length where all its
            parts are given in steps, else the rest.
    """

    schedule: "Schedule"
    times: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("schedule", self.schedule, Schedule, "a Schedule")
        msgspec.structs.force_setattr(self, "times", checks.integer("times", self.times, low=1, high=MOST_SEGMENTS))

    @property
    def fixed(self) -> int | None:
        """The length in steps where it does not depend on the total."""
        own = [part.fixed for part in self.schedule.parts]
        if self.steps is not None or self.share is not None or None in own:
            return self.steps
        return self.times * sum(length for length in own if length is not None)

    @property
    def last(self) -> float:
        """The multiplier at the end of the last turn."""
        return self.schedule.last


class Product(_Length, frozen=True, tag="product"):
    """Schedules laid over one length, their multipliers multiplied.

    Args:
        factors: at least two, whose largest multipliers have a product of at most 1e9. A factor that is itself a
            product of no length of its own is taken apart, so that multiplication is associative.
        steps: the length in steps, or
        share: the same as a share of the total; with neither, the rest.
    """

    factors: "tuple[Schedule, ...]"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = _several("factors", self.factors, Schedule, "a Schedule")
        factors = tuple(factor for schedule in given for factor in _factors(schedule))
        if len(factors) < 2:
            raise BadInput(f"a product must have at least two `factors`, got {len(factors)}.")
        largest = math.prod(map(_largest, factors))
        if not largest <= LARGEST * (1 + 1e-9):
            raise BadInput(f"the `factors` of a product must not exceed {LARGEST:g} together, got up to {largest:g}.")
        msgspec.structs.force_setattr(self, "factors", factors)

    def values(self, step: Any, length: int) -> Any:
        """The products at `step` (an int64 array in [0, length)) over `length` steps."""
        value = self.factors[0].multiplier(step, length)
        for factor in self.factors[1:]:
            value = value * factor.multiplier(step, length)
        return value

    @property
    def last(self) -> float:
        """The product of what the factors end at."""
        return math.prod(factor.last for factor in self.factors)


Part = Segment | Nested | Product
"""What a schedule is made of."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The multiplier of the base learning rate as a function of the step.

    Args:
        parts: laid end to end. Lengths are resolved in whole steps: steps first, shares of the total next, and
            at most one part takes the rest.
    Raises:
        BadInput: no part, two parts that take the rest, shares above 1 in sum, more than 10,000 segments or
            deeper than 8.
    Example:
        >>> import lrcontrol as lrc
        >>> lrc.warmup(2).then(lrc.linear()).multipliers(6).tolist()
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(
            self, "parts", _several("parts", self.parts, Part, "a Segment, Nested or Product")
        )
        if not self.parts:
            raise BadInput("a schedule must have at least one part in `parts`, got none.")
        greedy = sum(part.takes_rest for part in self.parts)
        if greedy > 1:
            raise BadInput(
                f"only one part of a schedule may take the rest of the run, got {greedy}; "
                "give the others `share` or `steps`, as in linear(share=0.2)."
            )
        shares = sum(part.share or 0.0 for part in self.parts)
        if shares > 1 + 1e-9:
            raise BadInput(f"the shares of a schedule's parts must not exceed 1 in sum, got {shares:g}.")
        count, depth = _size(self)
        if count > MOST_SEGMENTS:
            raise BadInput(f"a schedule must have at most {MOST_SEGMENTS} segments, got {count}.")
        if depth > DEEPEST:
            raise BadInput(f"schedules must nest at most {DEEPEST} deep, got {depth}.")

    def multiplier(self, step: Any, total_steps: int) -> Any:
        """The multiplier in force during update `step` of `total_steps`.

        Args:
            step: an int >= 0, or an array of ints of numpy, torch or jax (also traced). Past the end the end's
                value holds; it never climbs again.
            total_steps: >= 1.
        Returns:
            A float, or a float64 array of the shape and library of `step`. Ints and numpy arrays agree bit for
            bit. In other libraries so do the linear, constant and rex profiles; their sines, powers and exponentials
            may differ from numpy's by 4 ulp.
        Raises:
            BadInput: a step is not a whole number.
            OutOfSchedule: a step is negative (numpy and int only; other arrays are clipped).
            DoesNotFit: the parts are longer than `total_steps`.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().multiplier(25, 100)
            0.75
        """
        pieces = self._pieces(total_steps)
        if isinstance(step, np.ndarray):
            return _look_up(pieces, self.last, step)
        if not isinstance(step, np.generic) and (
            hasattr(step, "__array_namespace__") or type(step).__module__.partition(".")[0] in ("torch", "jax")
        ):
            return _chain(pieces, self.last, step)
        at = checks.integer("step", step, low=-checks.LARGEST_STEP)
        return float(_look_up(pieces, self.last, np.array([at]))[0])

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """All multipliers of a run: shape (total_steps,), float64; the value at index t is for update t.

        Raises:
            DoesNotFit: the parts are longer than `total_steps`.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.rex().multipliers(4).round(4).tolist()
            [1.0, 0.8571, 0.6667, 0.4]
        """
        pieces = self._pieces(total_steps)
        result = np.empty(total_steps)
        for begin, end, part in pieces:
            result[begin:end] = part.values(np.arange(end - begin), end - begin)
        return result

    @property
    def last(self) -> float:
        """The multiplier past the end: where the last part goes to, even where the horizon leaves it no step."""
        return self.parts[-1].last

    def then(self, other: "Schedule | str") -> "Schedule":
        """This schedule, and after it the other; shares are of the whole. `a + b` is the same.

        Example:
            >>> import lrcontrol as lrc
            >>> str(lrc.warmup(0.05).then("rex"))
            'warmup(0.05)+rex'
        """
        return Schedule(self.parts + _schedule(other).parts)

    def over(self, *, steps: int | None = None, share: float | None = None) -> "Schedule":
        """This schedule as one part with a length of its own; its shares are then of that length.

        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().over(share=0.5).then(lrc.constant(0.1)).multipliers(4).tolist()
            [1.0, 0.5, 0.1, 0.1]
        """
        only = self.parts[0]
        if len(self.parts) == 1 and only.steps is None and only.share is None:
            return Schedule((msgspec.structs.replace(only, steps=steps, share=share),))
        return Schedule((Nested(self, steps=steps, share=share),))

    def repeat(self, times: int, *, steps: int | None = None, share: float | None = None) -> "Schedule":
        """This schedule `times` times over `steps` or a `share` of the run.

        With neither, over `times` its own length where all its parts are given in steps, else over the rest.

        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().repeat(2).multipliers(4).tolist()
            [1.0, 0.5, 1.0, 0.5]
        """
        return Schedule((Nested(self, times, steps=steps, share=share),))

    def __add__(self, other: "Schedule | str") -> "Schedule":
        return self.then(other) if isinstance(other, Schedule | str) else NotImplemented

    def __mul__(self, other: "Schedule | float") -> "Schedule":
        if isinstance(other, Schedule):
            return Schedule((Product((self, other)),))
        if isinstance(other, bool) or not isinstance(other, int | float | np.floating | np.integer):
            return NotImplemented
        return self._scaled(checks.number("scale", other, low=0, high=LARGEST))

    __rmul__ = __mul__

    def __str__(self) -> str:
        from lrcontrol.schedules.text import (
            schedule_text,
        )  # text knows schedules, and not the other way round

        return schedule_text(self)

    def _scaled(self, scale: float) -> "Schedule":
        return Schedule(tuple(_scaled(part, scale) for part in self.parts))

    def _pieces(self, total_steps: int) -> "list[_Piece]":
        return _resolved(self, checks.integer("total_steps", total_steps, low=1))


class _Piece(NamedTuple):
    """A part that computes, and the steps [begin, end) of the whole that it covers; pieces leave no gap."""

    begin: int
    end: int
    part: Segment | Product


@lru_cache(maxsize=128)
def _resolved(schedule: Schedule, total_steps: int) -> list[_Piece]:
    pieces: list[_Piece] = []
    _lay(schedule, 0, total_steps, pieces)
    return pieces


def _lay(schedule: Schedule, begin: int, length: int, pieces: list[_Piece]) -> None:
    """Append the pieces of `schedule` laid over [begin, begin + length)."""
    end = begin + length
    for part, steps in zip(schedule.parts, _lengths(schedule.parts, length), strict=True):
        if steps == 0:
            continue
        if isinstance(part, Nested):
            for turn in range(part.times):
                first, past = (steps * turn // part.times, steps * (turn + 1) // part.times)
                if past > first:
                    _lay(part.schedule, begin + first, past - first, pieces)
        else:
            if isinstance(part, Product):  # what does not fit is known before the first step
                for factor in part.factors:
                    _resolved(factor, steps)
            pieces.append(_Piece(begin, begin + steps, part))
        begin += steps
    if begin < end:
        pieces.append(_Piece(begin, end, Segment(Constant(), schedule.last)))


def _lengths(parts: Sequence[Part], total: int) -> list[int]:
    """The lengths of `parts` in whole steps: steps first, shares of the total next, the rest last."""
    edges = [0]
    shares = 0.0
    for part in parts:
        shares += part.share or 0.0
        edges.append(min(int(shares * total + 0.5), total))  # no share is lost to the rounding of a sum
    by_share = [past - first for first, past in pairwise(edges)]
    fixed_or_none = [part.fixed for part in parts]
    lengths = [share if fixed is None else fixed for fixed, share in zip(fixed_or_none, by_share, strict=True)]
    needed = sum(lengths)
    if needed > total:
        fixed = sum(length or 0 for length in fixed_or_none)
        shared = f" ({fixed} fixed and {needed - fixed} by share)" if needed != fixed else ""
        raise DoesNotFit(
            f"the parts of a schedule must fit its length: they need {needed} steps{shared}, but there are {total}; "
            "shorten a part, or give it as a share, as in warmup(0.05)."
        )
    return [total - needed if part.takes_rest else length for part, length in zip(parts, lengths, strict=True)]


def _look_up(pieces: list[_Piece], last: float, step: NDArray[Any]) -> NDArray[np.float64]:
    """The multipliers at any integer array, piece by piece; `last` past the end."""
    if step.dtype.kind not in "iu":
        raise BadInput(f"`step` must hold integers, got an array of {step.dtype}.")
    if step.size and int(step.min()) < 0:
        raise OutOfSchedule(f"a step must be >= 0, got {int(step.min())}.")
    if step.size == 1:
        at = int(step.flat[0])
        index = bisect_right(pieces, at, key=lambda piece: piece.end)
        if index == len(pieces):
            return np.full(step.shape, last)
        begin, end, part = pieces[index]
        value: NDArray[np.float64] = part.values(np.array([at - begin]), end - begin)
        return value.reshape(step.shape)
    result = np.full(step.shape, last)
    for begin, end, part in pieces:
        here = (step >= begin) & (step < end)
        if here.any():
            result[here] = part.values((step[here] - begin).astype(np.int64), end - begin)
    return result


def _chain(pieces: list[_Piece], last: float, step: Any) -> Any:
    """The multipliers for arrays that may be traced: every piece computed, chosen by `where`."""
    xp = namespace(step)
    if not xp.isdtype(step.dtype, "integral"):
        raise BadInput(f"`step` must hold integers, got an array of {step.dtype}.")
    step = xp.astype(step, xp.int64)
    result = xp.astype(step * 0, xp.float64) + last
    for begin, end, part in reversed(pieces):
        inside = xp.clip(step - begin, 0, end - begin - 1)
        result = xp.where(step < end, part.values(inside, end - begin), result)
    return result


def _size(schedule: Schedule) -> tuple[int, int]:
    """How many segments there are, repeats counted out, and how deep they lie."""
    count, depth = 0, 1
    for part in schedule.parts:
        if isinstance(part, Segment):
            count += 1
            continue
        inner = (part.schedule,) if isinstance(part, Nested) else part.factors
        sizes = [_size(child) for child in inner]
        count += sum(size for size, _ in sizes) * (part.times if isinstance(part, Nested) else 1)
        depth = max(depth, 1 + max(deep for _, deep in sizes))
    return count, depth


def _scaled(part: Part, scale: float) -> Part:
    if isinstance(part, Segment):
        return msgspec.structs.replace(part, start=part.start * scale, end=part.last * scale)
    if isinstance(part, Nested):
        return msgspec.structs.replace(part, schedule=part.schedule._scaled(scale))
    return msgspec.structs.replace(part, factors=(part.factors[0]._scaled(scale), *part.factors[1:]))


def _factors(schedule: Schedule) -> tuple[Schedule, ...]:
    """The factors of a bare product, so that multiplication is associative; else the schedule alone."""
    only = schedule.parts[0]
    bare = len(schedule.parts) == 1 and isinstance(only, Product) and only.takes_rest
    return only.factors if bare and isinstance(only, Product) else (schedule,)


def _largest(schedule: Schedule) -> float:
    """No multiplier of the schedule is above this."""
    return max(
        max(part.start, part.last)
        if isinstance(part, Segment)
        else _largest(part.schedule)
        if isinstance(part, Nested)
        else math.prod(map(_largest, part.factors))
        for part in schedule.parts
    )


def _several(name: str, value: Any, kind: Any, what: str) -> tuple[Any, ...]:
    """`value` as a tuple whose items are all of `kind`, or BadInput naming `name`."""
    checks.instance(name, value, list | tuple, f"a tuple, each of it {what}")
    for item in value:
        checks.instance(name, item, kind, f"a tuple, each of it {what}")
    return tuple(value)


def _schedule(given: "Schedule | str") -> Schedule:
    if isinstance(given, Schedule):
        return given
    from lrcontrol.schedules.text import schedule  # text knows schedules, and not the other way round

    return schedule(given)
