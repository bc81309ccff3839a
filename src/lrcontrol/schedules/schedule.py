"""Schedules: profiles laid end to end, repeated and combined, as frozen data.

A schedule has no size of its own. Laid over `total_steps` it says the multiplier of every step; the learning rate
of a group is `base_lr[group] * multiplier(step)`. It is a tree: a `Schedule` holds parts, and a part is a `Segment`,
schedules in turns (`Nested`, `Cycled`), or schedules side by side (`Product`, `Sum`, `Maximum`, `Minimum`).
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache, partial, reduce
from itertools import islice, pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.schedules.exact import power_of_written
from lrcontrol.schedules.laying import (
    Laying,
    Piece,
    Scales,
    chain,
    cut,
    edges_of_turns,
    grown,
    lengths,
    look_up,
    nearest,
    written,
)
from lrcontrol.schedules.pieces import AtOnce, InTurns, Level, ReadNowAndThen
from lrcontrol.schedules.profiles import Constant, namespace
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.segment import LARGEST, Length, Segment

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = [
    "DEEPEST",
    "LARGEST",
    "LARGEST_DOCUMENT",
    "MOST_SEGMENTS",
    "Cycled",
    "Held",
    "Maximum",
    "Minimum",
    "Nested",
    "Part",
    "Product",
    "Schedule",
    "Segment",
    "Sum",
    "Together",
    "check_written",
    "compact_json",
]

MOST_SEGMENTS = 10_000  # of one schedule, repeats counted out
MOST_PARTS = 3 * MOST_SEGMENTS  # of one schedule, at all depths, repeats counted out
DEEPEST = 8  # schedules inside schedules
LARGEST_DOCUMENT = 2**20  # bytes of a schedule as text or JSON


class _Turns(Length, frozen=True, kw_only=True):
    """A schedule laid again and again; `growth` and `shrink` are from one turn to the next."""

    schedule: "Schedule"
    growth: float = 1.0
    shrink: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("schedule", self.schedule, Schedule, "a Schedule")
        growth = checks.number("growth", self.growth, low=self._least_growth, high=1e3)
        msgspec.structs.force_setattr(self, "growth", growth)
        shrink = checks.number("shrink", self.shrink, low=0, high=1)
        msgspec.structs.force_setattr(self, "shrink", shrink)

    @property
    def _least_growth(self) -> float:
        return 1e-3

    @property
    def children(self) -> "tuple[Schedule, ...]":
        """The schedules inside."""
        return (self.schedule,)

    @property
    def largest(self) -> float:
        """No multiplier is above this."""
        return self.schedule.largest

    def scaled(self, scale: float) -> Any:
        """This part with `scale` times its multipliers."""
        return msgspec.structs.replace(self, schedule=self.schedule * scale)

    def _scales(self, scales: Scales) -> Iterator[Scales]:
        """What the levels of each turn are multiplied by."""
        yield scales
        for power in islice(grown(1, self.shrink), 1, None):
            yield scales if self.shrink == 1 else (*scales, float(power))

    def _power(self, turn: int) -> float:
        """What a turn is multiplied by."""
        return power_of_written(self.shrink, turn)


class Nested(_Turns, frozen=True, tag="nested"):
    """A schedule laid `times` times, one after the other, over the length of one part.

    Args:
        schedule: what is laid; its shares are of one of the `times` turns. In a turn longer than its parts the
            last value holds.
        times: 1 to 10,000.
        growth: in [0.001, 1000]; each turn is so many times as long as the one before, as whole steps allow.
        shrink: in [0, 1]; each turn's multipliers are so many times those of the one before, by powers of the number
            as it is written.
        steps: the length in steps of all turns together, or
        share: the same as a share of the total; with neither, `times` the schedule's own length where all its
            parts are given in steps, else the rest.
    """

    schedule: "Schedule"
    times: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "times", checks.integer("times", self.times, low=1, high=MOST_SEGMENTS))

    @property
    def fixed(self) -> int | None:
        """The length in steps where it does not depend on the total."""
        own = [part.fixed for part in self.schedule.parts]
        if self.steps is not None or self.share is not None or None in own or self.growth != 1:
            return self.steps
        return self.times * sum(length for length in own if length is not None)

    @property
    def turns(self) -> int:
        """How many turns count against the limit of segments."""
        return self.times

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales) -> None:
        """Append the pieces of all turns."""
        turns = pairwise(edges_of_turns(length, self.times, self.growth))
        for (first, past), each in zip(turns, self._scales(scales), strict=False):
            if past > first:
                self.schedule.lay(begin + first, past - first, laying, each)

    def ends_at(self, length: int, scales: Scales) -> float:
        """The multiplier at the end of the last turn."""
        edges = edges_of_turns(length, self.times, self.growth)
        return self.schedule.ends_at(edges[-1] - edges[-2], scales) * self._power(self.times - 1)


class Cycled(_Turns, frozen=True, tag="cycled"):
    """A schedule laid again and again until the length is filled; the last turn may be cut short.

    Args:
        schedule: what is laid; its shares are of one turn.
        period: >= 1; the steps of the first turn.
        growth: in [1, 1000]; each turn is so many times as long as the one before, rounded to whole steps.
        shrink: in [0, 1]; each turn's multipliers are so many times those of the one before.
        steps: the length in steps of all turns together, or
        share: the same as a share of the total; with neither, the rest.
    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, section 3 (`period` is T_0, `growth` T_mult).
    """

    schedule: "Schedule"
    period: int

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "period", checks.integer("period", self.period, low=1))
        lengths(self.schedule.parts, self.period)  # what does not fit is known at once

    @property
    def _least_growth(self) -> float:
        return 1.0

    @property
    def turns(self) -> int:
        """One: the turns are computed, not counted out, unless they grow."""
        return 1

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales) -> None:
        """Append one piece for turns of equal length, else those of every turn."""
        if self.growth == 1:
            turn = laying.beside()
            self.schedule.lay(0, self.period, turn, scales)  # what does not fit is known before the first step
            laying.pieces.append(Piece(begin, begin + length, length, InTurns(turn.pieces, self.period, self.shrink)))
            return
        parts = _size(self.schedule).parts
        for (first, past), each in zip(self.growing(length), self._scales(scales), strict=False):
            laying.count(parts)
            self.schedule.lay(begin + first, past - first, laying, each)
        cut(laying.pieces, begin + length)

    def ends_at(self, length: int, scales: Scales) -> float:
        """The multiplier at which the last turn ends, or is cut."""
        turn, inside = divmod(length, self.period)
        period = self.period
        if self.growth != 1:
            turn, (first, past) = max(enumerate(self.growing(length)), default=(0, (0, period)))
            inside, period = (length - first, past - first) if length < past else (0, past - first)
            turn += inside == 0 and length > 0
        if inside == 0 and length > 0:
            return self.schedule.ends_at(period, scales) * self._power(turn - 1)
        cut_short = Laying(MOST_SEGMENTS)
        self.schedule.lay(0, period, cut_short, scales)
        return float(look_up(cut_short.pieces, 0.0, np.array([inside]))[0] * self._power(turn))

    def growing(self, length: int) -> Iterator[tuple[int, int]]:
        """Begin and end of every turn that begins before `length`."""
        begin, most = 0, Decimal(checks.LARGEST_STEP)
        for long in grown(self.period, self.growth):
            if begin >= length:
                break
            past = begin + nearest(min(long, most))
            yield begin, past
            begin = past


class Held(Length, frozen=True, kw_only=True, tag="held"):
    """A schedule read only now and then, its value held in between: any schedule at any sampling rate.

    Args:
        schedule: what is read, over the length of this part.
        sampling: when; the value is that of the step at which each interval begins (`at` is `left`).
        steps: the length in steps, or
        share: the same as a share of the total; with neither, the rest.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (profile and sampling rate are two axes).
    """

    schedule: "Schedule"
    sampling: Sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("schedule", self.schedule, Schedule, "a Schedule")
        checks.instance("sampling", self.sampling, Sampling, "a Sampling")
        if self.sampling.at != "left":
            raise BadInput(f"a schedule is held from where an interval begins, `left`, got at={self.sampling.at!r}.")

    @property
    def children(self) -> "tuple[Schedule, ...]":
        """The schedule inside."""
        return (self.schedule,)

    @property
    def turns(self) -> int:
        """One: nothing is repeated."""
        return 1

    @property
    def largest(self) -> float:
        """No multiplier is above this."""
        return self.schedule.largest

    def scaled(self, scale: float) -> "Held":
        """This part with `scale` times its multipliers."""
        return msgspec.structs.replace(self, schedule=self.schedule * scale)

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales) -> None:
        """Append one piece; what does not fit is known before the first step."""
        inner = laying.beside()
        self.schedule.lay(0, length, inner, scales)
        laying.pieces.append(Piece(begin, begin + length, length, ReadNowAndThen(self.sampling, inner.pieces)))

    def ends_at(self, length: int, scales: Scales) -> float:
        """Where the schedule goes to."""
        return self.schedule.ends_at(length, scales)


class Together(Length, frozen=True, kw_only=True):
    """Schedules laid over one length, their multipliers taken together step by step."""

    @property
    def children(self) -> "tuple[Schedule, ...]":
        """The schedules side by side."""
        raise NotImplementedError

    def join(self, one: Any, other: Any) -> Any:
        """Two multipliers, or two arrays of them, taken together."""
        raise NotImplementedError

    @property
    def turns(self) -> int:
        """One: nothing is repeated."""
        return 1

    @property
    def largest(self) -> float:
        """No multiplier is above this."""
        return float(reduce(self.join, (child.largest for child in self.children)))

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales) -> None:
        """Append one piece; what does not fit is known before the first step."""
        inner = []
        for index, child in enumerate(self.children):
            inner.append(laying.beside())
            child.lay(0, length, inner[-1], self.shared(scales, index))
        laid = AtOnce(self.join, tuple(each.pieces for each in inner))
        laying.pieces.append(Piece(begin, begin + length, length, laid))

    def shared(self, scales: Scales, index: int) -> Scales:
        """Of what this part is multiplied by, what its schedule at `index` is multiplied by: all of it."""
        del index
        return scales

    def ends_at(self, length: int, scales: Scales) -> float:
        """What the ends of all come to together."""
        ends = (child.ends_at(length, self.shared(scales, index)) for index, child in enumerate(self.children))
        return float(reduce(self.join, ends))


class Product(Together, frozen=True, tag="product"):
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
        msgspec.structs.force_setattr(self, "factors", _side_by_side(self, "factors", self.factors))
        if not self.largest <= LARGEST * (1 + 1e-9):
            raise BadInput(
                f"the `factors` of a product must not exceed {LARGEST:g} together, got up to {self.largest:g}."
            )

    @property
    def children(self) -> "tuple[Schedule, ...]":
        """The factors."""
        return self.factors

    def join(self, one: Any, other: Any) -> Any:
        """The product."""
        return one * other

    def shared(self, scales: Scales, index: int) -> Scales:
        """The first factor is multiplied."""
        return () if index else scales

    def scaled(self, scale: float) -> "Product":
        """This product with its first factor scaled."""
        return msgspec.structs.replace(self, factors=(self.factors[0] * scale, *self.factors[1:]))


class _Terms(Together, frozen=True):
    """Sum, maximum and minimum: what scales term by term."""

    terms: "tuple[Schedule, ...]"

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "terms", _side_by_side(self, "terms", self.terms))
        if not self.largest <= LARGEST * (1 + 1e-9):
            raise BadInput(f"the `terms` must not exceed {LARGEST:g} together, got up to {self.largest:g}.")

    @property
    def children(self) -> "tuple[Schedule, ...]":
        """The terms."""
        return self.terms

    def scaled(self, scale: float) -> Any:
        """This part with every term scaled."""
        return msgspec.structs.replace(self, terms=tuple(term * scale for term in self.terms))


class Sum(_Terms, frozen=True, tag="sum"):
    """Schedules laid over one length, their multipliers added.

    Args:
        terms: at least two, at most 1e9 together. A term that is itself a sum of no length of its own is taken apart.
        steps: the length in steps, or
        share: the same as a share of the total; with neither, the rest.
    """

    def join(self, one: Any, other: Any) -> Any:
        """The sum."""
        return one + other


class Maximum(_Terms, frozen=True, tag="maximum"):
    """Schedules laid over one length; the largest multiplier counts.

    Args:
        terms: at least two.
        steps: the length in steps, or
        share: the same as a share of the total; with neither, the rest.
    """

    def join(self, one: Any, other: Any) -> Any:
        """The larger."""
        return namespace(one).maximum(one, other) if hasattr(one, "shape") else max(one, other)


class Minimum(_Terms, frozen=True, tag="minimum"):
    """Schedules laid over one length; the smallest multiplier counts.

    Args:
        terms: at least two.
        steps: the length in steps, or
        share: the same as a share of the total; with neither, the rest.
    """

    def join(self, one: Any, other: Any) -> Any:
        """The smaller."""
        return namespace(one).minimum(one, other) if hasattr(one, "shape") else min(one, other)


Part = Segment | Nested | Cycled | Held | Product | Sum | Maximum | Minimum
"""What a schedule is made of."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The multiplier of the base learning rate as a function of the step.

    Args:
        parts: laid end to end. Lengths are resolved in whole steps: steps first, shares of the total next, and
            at most one part takes the rest.
    Raises:
        BadInput: no part, two parts that take the rest, shares above 1 in sum, more than 10,000 segments (30,000
            parts at all depths), or deeper than 8.
    Example:
        >>> import lrcontrol as lrc
        >>> lrc.warmup(2).then(lrc.linear()).multipliers(6).tolist()
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        parts = _several("parts", self.parts, Part, "a part such as a Segment")
        msgspec.structs.force_setattr(self, "parts", parts)
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
        size = _size(self)
        if size.segments > MOST_SEGMENTS:
            raise BadInput(f"a schedule must have at most {MOST_SEGMENTS} segments, got {size.segments}.")
        if size.parts > MOST_PARTS:
            raise BadInput(f"a schedule must have at most {MOST_PARTS} parts at all depths, got {size.parts}.")
        if size.depth > DEEPEST:
            raise BadInput(f"schedules must nest at most {DEEPEST} deep, got {size.depth}.")
        if size.bytes > LARGEST_DOCUMENT:
            check_written(self)

    def multiplier(self, step: Any, total_steps: int) -> Any:
        """The multiplier in force during update `step` of `total_steps`.

        Args:
            step: an int >= 0, or an array of ints of numpy, torch or jax (also traced). Past the end the end's
                value holds; it never climbs again.
            total_steps: >= 1.
        Returns:
            A float, or a float64 array of the shape and library of `step`. Ints and numpy arrays agree bit for
            bit. In torch so do the linear, constant and rex profiles; its sines, powers and exponentials, and all
            that jax compiles, may differ from numpy's by 4 ulp for each segment that a value is made of.
        Raises:
            BadInput: a step is not a whole number.
            OutOfSchedule: a step is negative (numpy and int only; other arrays are clipped).
            DoesNotFit: the parts are longer than `total_steps`.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().multiplier(25, 100)
            0.75
        """
        pieces, last = self._laid(total_steps)
        if isinstance(step, np.ndarray):
            return look_up(pieces, last, step)
        if not isinstance(step, np.generic) and (
            hasattr(step, "__array_namespace__") or type(step).__module__.partition(".")[0] in ("torch", "jax")
        ):
            return chain(pieces, last, step)
        checks.instance("step", step, Integral, "an integer >= 0 or an array of integers")
        if step < 0:
            raise OutOfSchedule(f"a step must be >= 0, got {checks.shown(step)}.")
        return float(look_up(pieces, last, np.array([checks.integer("step", step)]))[0])

    def multipliers(self, total_steps: int) -> NDArray[np.float64]:
        """All multipliers of a run: shape (total_steps,), float64; the value at index t is for update t.

        Raises:
            DoesNotFit: the parts are longer than `total_steps`.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.rex().multipliers(4).round(4).tolist()
            [1.0, 0.8571, 0.6667, 0.4]
        """
        return written(self._laid(total_steps)[0], total_steps)

    def last(self, total_steps: int) -> float:
        """The multiplier past the end: where the last part goes to, even where the horizon leaves it no step."""
        total_steps = checks.integer("total_steps", total_steps)
        return self._laid(total_steps)[1] if total_steps else self.ends_at(0)

    def cycle_ends(self, total_steps: int) -> tuple[int, ...]:
        """After how many updates each cycle is complete, and at last the whole schedule, over `total_steps`.

        A cycle is a turn of what is laid again and again: of `sgdr`, `snapshot`, `triangular` and their like, and of
        any `repeat`; where turns have turns inside, those count. Turns of one level (`step`) are none. One that the
        run's end cuts short is not complete, and then the run's end is none of the places. A schedule without cycles
        is complete at its end. Of schedules side by side the longest cycles count.

        Args:
            total_steps: >= 1.
        Returns:
            Increasing, in [1, total_steps]: the weights after so many updates are those that a cycle ended with.
            Empty where the first cycle is not complete.
        Raises:
            DoesNotFit: the parts are longer than `total_steps`, or it leaves a cycle no step.
        Source:
            Loshchilov, Hutter 2017, arXiv:1608.03983, section 4.1: after the first restart, recommended are the
            weights at the end of the last complete cycle.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.sgdr(3).cycle_ends(70), lrc.sgdr(period=30, growth=1).cycle_ends(70)
            ((10, 30, 70), (30, 60))
            >>> lrc.warmup(0.1).then(lrc.cosine()).cycle_ends(70)
            (70,)
        """
        from lrcontrol.schedules.cycle_ends import cycle_ends  # it knows schedules, and not the other way round

        return cycle_ends(self, total_steps)

    @property
    def largest(self) -> float:
        """No multiplier is above this."""
        return max(part.largest for part in self.parts)

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales = ()) -> None:
        """Append the pieces of this schedule, multiplied by all `scales` in turn, over [begin, begin + length)."""
        end = begin + length
        for part, steps in zip(self.parts, lengths(self.parts, length), strict=True):
            if steps:
                part.lay(begin, steps, laying, scales)
                begin += steps
        if begin < end:
            level = Level(partial(self.ends_at, length, scales))
            if not isinstance(self.parts[-1], Segment):
                _ = level.level  # what does not fit, in a last turn of no length, is known before the first step
            laying.pieces.append(Piece(begin, end, end - begin, level))

    def ends_at(self, length: int, scales: Scales = ()) -> float:
        """Where this schedule, multiplied by all `scales` in turn, goes to at the end of `length` steps."""
        return self.parts[-1].ends_at(lengths(self.parts, length)[-1], scales)

    def pieces(self, total_steps: int) -> list[Piece]:
        """What computes the multipliers over `total_steps`; DoesNotFit where the parts are longer."""
        return self._laid(total_steps)[0]

    def then(self, other: "Schedule | str") -> "Schedule":
        """This schedule, and after it the other; shares are of the whole. `a + b` is the same.

        Example:
            >>> import lrcontrol as lrc
            >>> str(lrc.warmup(0.05).then("rex"))
            'warmup(0.05)+rex'
        """
        return Schedule(self.parts + _schedule(other).parts)

    def over(self, length: float | None = None, *, steps: int | None = None, share: float | None = None) -> "Schedule":
        """This schedule as one part with a length of its own; its shares are then of that length.

        Args:
            length: a whole number of type int is steps; a float in [0, 1] is a share of the run; or by name
            steps: the length in steps, or
            share: the length as a share of the run; with none of them, the rest.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().over(0.5).then(lrc.constant(0.1)).multipliers(4).tolist()
            [1.0, 0.5, 0.1, 0.1]
        """
        if length is not None:
            if steps is not None or share is not None:
                raise BadInput(f"give one length, got {checks.shown(length)}, steps={steps}, share={share}.")
            length = checks.steps_or_share("length", length)
            steps, share = (length, None) if isinstance(length, int) else (None, length)
        only = self.parts[0]
        if len(self.parts) == 1 and only.steps is None and only.share is None:
            return Schedule((msgspec.structs.replace(only, steps=steps, share=share),))
        return Schedule((Nested(self, steps=steps, share=share),))

    def repeat(
        self,
        times: int | None = None,
        *,
        period: int | None = None,
        growth: float = 1.0,
        shrink: float = 1.0,
        steps: int | None = None,
        share: float | None = None,
    ) -> "Schedule":
        """This schedule again and again: `times` in all, or with a `period` until the length is filled.

        Args:
            times: how many turns, over `steps` or a `share` of the run; with neither, over `times` its own length
                where all its parts are given in steps, else over the rest.
            period: the steps of the first turn, instead of `times`.
            growth: each turn is so many times as long as the one before; with a period, >= 1.
            shrink: in [0, 1]; each turn's multipliers are so many times those of the one before.
            steps: the length of all turns together, or
            share: the same as a share of the run.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().repeat(2).multipliers(4).tolist()
            [1.0, 0.5, 1.0, 0.5]
            >>> lrc.linear().repeat(period=2, growth=2, shrink=0.5).multipliers(7).tolist()
            [1.0, 0.5, 0.5, 0.375, 0.25, 0.125, 0.25]
        """
        if (times is None) == (period is None):
            raise BadInput(f"give either `times` or `period`, got times={times}, period={period}.")
        layout: dict[str, Any] = {"growth": growth, "shrink": shrink, "steps": steps, "share": share}
        if times is not None:
            return Schedule((Nested(self, times, **layout),))
        return Schedule((Cycled(self, checks.integer("period", period, low=1), **layout),))

    def held(
        self,
        every: int = 1,
        *,
        times: int | None = None,
        shares: tuple[float, ...] = (),
        steps: int | None = None,
        share: float | None = None,
    ) -> "Schedule":
        """This schedule read only now and then, its value held in between. In text, `hold(one_cycle, every=100)`.

        Args:
            every: >= 1; it is read at every so many steps, or
            times: so many times in all, or
            shares: at these shares of the length.
            steps: the length in steps, or
            share: the same as a share of the run; with neither, the rest.
        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().then("constant(0, share=0.5)").held(times=2).multipliers(8).tolist()
            [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
        """
        return Schedule((Held(schedule=self, sampling=Sampling(every, times, shares), steps=steps, share=share),))

    def plus(self, other: "Schedule | str | float") -> "Schedule":
        """The sum of the two, step by step; a number is a constant. In text, `sum(a, b)`.

        Example:
            >>> import lrcontrol as lrc
            >>> (lrc.linear() * 0.5).plus(0.5).multipliers(2).tolist()
            [1.0, 0.75]
        """
        return Schedule((Sum((self, _schedule(other))),))

    def at_least(self, other: "Schedule | str | float") -> "Schedule":
        """The larger of the two at every step; a number is a floor. In text, `max(a, b)`.

        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().at_least(0.3).multipliers(4).tolist()
            [1.0, 0.75, 0.5, 0.3]
        """
        return Schedule((Maximum((self, _schedule(other))),))

    def at_most(self, other: "Schedule | str | float") -> "Schedule":
        """The smaller of the two at every step; a number is a ceiling. In text, `min(a, b)`.

        Example:
            >>> import lrcontrol as lrc
            >>> lrc.linear().at_most(0.6).multipliers(4).tolist()
            [0.6, 0.6, 0.5, 0.25]
        """
        return Schedule((Minimum((self, _schedule(other))),))

    def plot(self, *given: "int | Schedule | str", total_steps: int | None = None) -> "Chart":
        """A chart of this schedule and others, for a notebook; `chart.save("name.svg")` writes it.

        So `plot()`, `plot(500)`, `plot(500, "cosine")`, `plot("cosine", total_steps=500)`.

        Args:
            given: the total steps, if they are given first; then schedules or their texts.
            total_steps: >= 1; the horizon they are laid over; by default 1000.
        """
        from lrcontrol.report.charts import schedules  # a schedule draws itself: an import up the layers
        from lrcontrol.schedules.text import shortened

        leads = bool(given) and isinstance(given[0], Integral)
        if leads and total_steps is not None:
            raise BadInput(f"give the total steps once, got {given[0]} and total_steps={checks.shown(total_steps)}.")
        horizon: Any = given[0] if leads else 1000 if total_steps is None else total_steps
        every = [self]
        for other in given[leads:]:
            checks.instance("given", other, Schedule | str, "schedules or their texts after the total steps")
            every.append(_schedule(other))
        return schedules([(shortened(str(each)), each) for each in every], horizon)

    def __add__(self, other: "Schedule | str") -> "Schedule":
        return self.then(other) if isinstance(other, Schedule | str) else NotImplemented

    def __radd__(self, other: str) -> "Schedule":
        return _schedule(other).then(self) if isinstance(other, str) else NotImplemented

    def __mul__(self, other: "Schedule | str | float") -> "Schedule":
        if isinstance(other, Schedule | str):
            return Schedule((Product((self, _schedule(other))),))
        if isinstance(other, bool) or not isinstance(other, int | float | np.floating | np.integer):
            return NotImplemented
        return self._scaled(checks.number("scale", other, low=0, high=LARGEST))

    def __rmul__(self, other: "str | float") -> "Schedule":
        return _schedule(other) * self if isinstance(other, str) else self.__mul__(other)

    def __repr__(self) -> str:
        """What makes the schedule again; of one with a long table what it is, in one line."""
        from lrcontrol.schedules.text import shortened  # text knows schedules, and not the other way round

        text = str(self)
        brief = shortened(text)
        return f"schedule({text!r})" if brief == text else f"<schedule {brief}>"

    def __str__(self) -> str:
        from lrcontrol.schedules.text import schedule_text  # text knows schedules, and not the other way round

        return schedule_text(self)

    def _scaled(self, scale: float) -> "Schedule":
        return Schedule(tuple(part.scaled(scale) for part in self.parts))

    def _laid(self, total_steps: int) -> tuple[list[Piece], float]:
        return _resolved(self, checks.integer("total_steps", total_steps, low=1))


@lru_cache(maxsize=128)
def _resolved(schedule: Schedule, total_steps: int) -> tuple[list[Piece], float]:
    laying = Laying(MOST_SEGMENTS)
    schedule.lay(0, total_steps, laying)
    return laying.pieces, schedule.ends_at(total_steps)


class _Size(NamedTuple):
    """Segments and parts of all kinds, repeats counted out; how deep they lie; bytes that they surely fit."""

    segments: int
    parts: int
    depth: int
    bytes: int


def _size(schedule: Schedule) -> _Size:
    segments, parts, depth, most = 0, len(schedule.parts), 1, 0
    for part in schedule.parts:
        most += 500  # all keys, and a dozen numbers
        if isinstance(part, Segment):
            segments += 1
            most += 30 * (len(part.sampling.shares) + len(getattr(part.profile, "values", ())))
            continue
        if isinstance(part, Held):
            most += 30 * len(part.sampling.shares)
        for inner in map(_size, part.children):
            segments += inner.segments * part.turns
            parts += inner.parts * part.turns
            depth = max(depth, 1 + inner.depth)
            most += inner.bytes
    return _Size(segments, parts, depth, most)


_ENDS_BY_ITSELF = re.compile(
    rb'("profile":"constant"},"start":[^,]+),"end":[^,]+(?=,)'
    rb'|("profile":"(?:linear|cosine|rex)"},"start":[^,]+),"end":0\.0(?=,)'
)
_USUAL = re.compile(
    rb',"sampling":{"every":1,"times":null,"shares":\[\],"at":"left"}(?=,"reverse")'
    rb'|,"(?:start|growth|shrink)":1\.0(?=[,}])'
    rb'|,"reverse":false|,"(?:steps|share)":null'
)


def compact_json(given: Any) -> bytes:
    """A struct that holds schedules in JSON, what is usual in their parts left out; it reads back equal."""
    text = _ENDS_BY_ITSELF.sub(rb"\1\2", msgspec.json.encode(given))
    return _USUAL.sub(b"", text)  # no string in it has quotes, so these are keys and values


def check_written(*together: Schedule) -> None:
    """BadInput where schedules that are written as one document would be too large or too many to be read back."""
    sizes = [_size(schedule) for schedule in together]
    segments = sum(size.segments for size in sizes)
    if segments > MOST_SEGMENTS:
        raise BadInput(f"schedules of one control must have at most {MOST_SEGMENTS} segments, got {segments}.")
    if sum(size.bytes for size in sizes) <= LARGEST_DOCUMENT:
        return
    written = [compact_json(schedule) for schedule in together]
    size = sum(len(text) + text.count(b",") for text in written)  # text has a space after each comma
    if size > LARGEST_DOCUMENT - 1000:  # what stands around a schedule in a document
        raise BadInput(
            f"a schedule must fit {LARGEST_DOCUMENT} bytes when it is written, and would take {size}; "
            "use fewer values and segments, or numbers of fewer digits."
        )


def _side_by_side(part: Together, name: str, value: Any) -> "tuple[Schedule, ...]":
    """At least two schedules; those that are bare parts of the same kind are taken apart."""
    found: list[Schedule] = []
    for schedule in _several(name, value, Schedule, "a Schedule"):
        only = schedule.parts[0]
        bare = len(schedule.parts) == 1 and only.takes_rest
        found.extend(only.children if bare and isinstance(only, Together) and type(only) is type(part) else [schedule])
    if len(found) < 2:
        raise BadInput(f"`{name}` must be at least two schedules, got {len(found)}.")
    return tuple(found)


def _several(name: str, value: Any, kind: Any, what: str) -> tuple[Any, ...]:
    """`value` as a tuple whose items are all of `kind`, or BadInput naming `name`."""
    checks.instance(name, value, list | tuple, f"a tuple, each of it {what}")
    for item in value:
        checks.instance(name, item, kind, f"a tuple, each of it {what}")
    return tuple(value)


def _schedule(given: "Schedule | str | float") -> Schedule:
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        from lrcontrol.schedules.text import schedule  # text knows schedules, and not the other way round

        return schedule(given)
    return Schedule((Segment(Constant(), checks.number("level", given, low=0, high=LARGEST)),))
