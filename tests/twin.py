"""The slow twin of schedules: one step at a time at 60 digits, straight from the docstrings; nothing is shared.

Lengths are counted out in exact fractions. What it says is the truth for the parameters as they are; `ulps` tells
how far a float is from it.
"""

import math
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np

from lrcontrol.schedules.profiles import (
    Constant,
    Cosine,
    Exponential,
    Geometric,
    InversePower,
    Linear,
    Polynomial,
    Rex,
    Table,
)
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import (
    Cycled,
    Held,
    Maximum,
    Minimum,
    Nested,
    Product,
    Schedule,
    Segment,
    Sum,
)

DIGITS = 60
real = mpmath.mpf


def ulps(got: float, true: Any) -> float:
    """How many units in the last place `got` is from the truth; infinite where it is no number."""
    if not math.isfinite(got):
        return math.inf
    unit = max(float(np.spacing(abs(float(true)))), 5e-324)
    return float(abs(real(got) - true) / real(unit))


# ---- profiles: progress p is exact, `length` is that of the segment ----


def log_curve(profile: Any, p: Any, length: int) -> Any:
    """The logarithm of a curve that ends by itself elsewhere than at 0; None for the others."""
    match profile:
        case Exponential(rate):
            return -real(rate) * p
        case Geometric(gamma):
            return mpmath.log(real(gamma)) * p * length
        case InversePower(exponent, timescale):
            by_step = isinstance(timescale, int)
            return -real(exponent) * mpmath.log1p(p * length / timescale if by_step else p / real(timescale))
    return None


def curve(profile: Any, p: Any, length: int) -> Any:
    """The natural curve, from 1."""
    q = 1 - p
    match profile:
        case Constant():
            return real(1)
        case Linear():
            return q
        case Cosine():
            return mpmath.sin(mpmath.pi * q / 2) ** 2  # (1 + cos(pi p)) / 2
        case Polynomial(power):
            return q ** real(power)
        case Rex(beta):
            return q / (q + real(beta) * p)
        case Table(values):
            place = p * (len(values) - 1)
            before = min(int(mpmath.floor(place)), len(values) - 2)
            return values[before] * (1 - (place - before)) + values[before + 1] * (place - before)
    return mpmath.exp(log_curve(profile, p, length))


def start_weight(profile: Any, p: Any, length: int) -> Any:
    """What the start of a segment weighs: what the curve is above its end, as a share of its fall."""
    log = log_curve(profile, p, length)
    if log is None:
        return curve(profile, p, length)
    at_the_end = log_curve(profile, real(1), length)
    if at_the_end < 0:  # written so that nothing cancels and nothing is beyond 60 digits
        return mpmath.exp(log) * mpmath.expm1(at_the_end - log) / mpmath.expm1(at_the_end)
    return mpmath.expm1(log - at_the_end) / mpmath.expm1(-at_the_end)


def end_weight(profile: Any, p: Any, length: int) -> Any:
    """What its end weighs: the complement."""
    log = log_curve(profile, p, length)
    if log is not None:
        at_the_end = log_curve(profile, real(1), length)
        if at_the_end < 0:
            return mpmath.expm1(log) / mpmath.expm1(at_the_end)
        return mpmath.exp(log - at_the_end) * mpmath.expm1(-log) / mpmath.expm1(-at_the_end)
    match profile:
        case Cosine():
            return mpmath.sin(mpmath.pi * p / 2) ** 2
        case Polynomial(power):
            return -mpmath.expm1(real(power) * mpmath.log1p(-p)) if p < 1 else real(1)
        case Rex(beta):
            return real(beta) * p / (1 - p + real(beta) * p)
    return 1 - start_weight(profile, p, length)


# ---- lengths ----


def nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def written(value: float) -> Fraction:
    """The number as it is written, 1.1 as 11/10."""
    return Fraction(repr(value))


def fixed(part: Any) -> int | None:
    """The length of a part in steps where it needs no total: turns of parts in steps know theirs."""
    if part.steps is not None or part.share is not None or not isinstance(part, Nested) or part.growth != 1:
        found: int | None = part.steps
        return found
    inner = [fixed(child) for child in part.schedule.parts]
    return None if None in inner else part.times * sum(length or 0 for length in inner)


def lengths(schedule: Schedule, total: int) -> list[int]:
    """Steps first, shares of the total next (each edge on the nearest step, all of it at 1), one part the rest."""
    found: list[int | None] = []
    edge, shares = 0, Fraction(0)
    for part in schedule.parts:
        shares += written(part.share or 0.0)
        following = total if shares > 1 - Fraction(1, 10**12) else nearest(shares * total)
        steps = fixed(part)
        found.append(steps if steps is not None else following - edge if part.share is not None else None)
        edge = following
    left = total - sum(length for length in found if length is not None)
    return [left if length is None else length for length in found]


def turns(part: Any, length: int) -> list[tuple[int, int]]:
    """Begin and end of every turn; the last of a period may end past the length."""
    growth = written(part.growth)
    if isinstance(part, Nested):
        long = [growth**turn for turn in range(part.times)]
        edges = [nearest(length * sum(long[:turn], Fraction(0)) / sum(long)) for turn in range(part.times + 1)]
        if part.growth == 1:
            edges = [length * turn // part.times for turn in range(part.times + 1)]
        return list(pairwise(edges))
    found: list[tuple[int, int]] = []
    while not found or found[-1][1] < length:
        begin = found[-1][1] if found else 0
        found.append((begin, begin + nearest(part.period * growth ** len(found))))
    return found


def turn_at(part: Any, at: int, length: int) -> tuple[int, int, int]:
    """Index, begin and end of the turn that holds step `at`."""
    if isinstance(part, Cycled) and part.growth == 1:
        turn = at // part.period
        return turn, turn * part.period, (turn + 1) * part.period
    holds = [(turn, *edges) for turn, edges in enumerate(turns(part, length)) if edges[0] <= at < edges[1]]
    return holds[0]


# ---- values ----


def value(schedule: Schedule, step: int, total: int) -> Any:
    """The multiplier of `step`, at 60 digits."""
    begin = 0
    for part, length in zip(schedule.parts, lengths(schedule, total), strict=True):
        if begin <= step < begin + length:
            return part_value(part, step - begin, length)
        begin += length
    return end(schedule, total)


def part_value(part: Any, at: int, length: int) -> Any:
    if isinstance(part, Nested | Cycled):
        turn, begin, past = turn_at(part, at, length)
        return value(part.schedule, at - begin, past - begin) * real(repr(part.shrink)) ** turn
    if isinstance(part, Segment):
        return segment_value(part, progress(part.sampling, at, length), length)
    if isinstance(part, Held):
        return value(part.schedule, interval(part.sampling, at, length)[1], length)
    return together(part, [value(child, at, length) for child in part.children])


def together(part: Any, values: list[Any]) -> Any:
    join = {
        Product: lambda one, other: one * other,
        Sum: lambda one, other: one + other,
        Maximum: max,
        Minimum: min,
    }[type(part)]
    return reduce(join, values)


def segment_value(part: Segment, p: Fraction, length: int) -> Any:
    at = real(p.numerator) / p.denominator
    start, last = real(part.start), segment_end(part, length)
    natural = part.end is None or last == float(start * curve(part.profile, real(1), length))
    if isinstance(part.profile, Constant | Exponential | Geometric | InversePower) and natural and not part.reverse:
        return start * curve(part.profile, at, length)
    if part.reverse:
        return last * start_weight(part.profile, 1 - at, length) + start * end_weight(part.profile, 1 - at, length)
    return start * start_weight(part.profile, at, length) + last * end_weight(part.profile, at, length)


def segment_end(part: Segment, length: int) -> Any:
    return real(part.start) * curve(part.profile, real(1), length) if part.end is None else real(part.end)


def interval(sampling: Sampling, at: int, length: int) -> tuple[int, int, int, int]:
    """Index, begin and end of the interval that holds step `at`, and how many there are."""
    if sampling.every == 1 and sampling.times is None and not sampling.shares:
        index, a, b, count = at, at, at + 1, length
    elif sampling.shares:
        edges = sorted({0, length, *(nearest(written(share) * length) for share in sampling.shares)})
        index = max(index for index in range(len(edges) - 1) if edges[index] <= at)
        a, b, count = edges[index], edges[index + 1], len(edges) - 1
    elif sampling.times is not None:
        count = min(sampling.times, length)
        index = max(index for index in range(count) if math.ceil(Fraction(index * length, count)) <= at)
        a, b = (math.ceil(Fraction(edge * length, count)) for edge in (index, index + 1))
    else:
        index, count = at // sampling.every, math.ceil(Fraction(length, sampling.every))
        a, b = index * sampling.every, min((index + 1) * sampling.every, length)
    return index, a, b, count


def progress(sampling: Sampling, at: int, length: int) -> Fraction:
    """Where the profile is read, as an exact fraction."""
    index, a, b, count = interval(sampling, at, length)
    if sampling.at == "closed":
        return Fraction(index, max(count - 1, 1))
    return {"left": Fraction(a, length), "midpoint": Fraction(a + b, 2 * length), "right": Fraction(b, length)}[
        sampling.at
    ]


def end(schedule: Schedule, total: int) -> Any:
    """Past the end: where the last part goes to."""
    return part_end(schedule.parts[-1], lengths(schedule, total)[-1])


def part_end(part: Any, length: int) -> Any:
    if isinstance(part, Segment):
        if isinstance(part.profile, Table):
            return segment_value(part, Fraction(1), length)
        return segment_end(part, length)
    if isinstance(part, Held):
        return end(part.schedule, length)
    if isinstance(part, Nested):
        begin, past = turns(part, length)[-1]
        return end(part.schedule, past - begin) * real(repr(part.shrink)) ** (part.times - 1)
    if isinstance(part, Cycled):
        if length == 0:
            return value(part.schedule, 0, part.period)
        turn, begin, past = turn_at(part, length - 1, length)
        inside = (
            end(part.schedule, past - begin) if past == length else value(part.schedule, length - begin, past - begin)
        )
        return inside * real(repr(part.shrink)) ** turn
    return together(part, [end(child, length) for child in part.children])


# ---- bounds, and what is inside ----


def leaves(schedule: Schedule) -> list[Segment]:
    found: list[Segment] = []
    for part in schedule.parts:
        found += [part] if isinstance(part, Segment) else [leaf for child in part.children for leaf in leaves(child)]
    return found


def bounds(schedule: Schedule) -> tuple[float, float]:
    """The least and largest that the ends of the parts allow."""
    every = []
    for part in schedule.parts:
        if isinstance(part, Segment):
            levels = (part.start, part.end or 0.0)
            every.append((min(levels), max(levels)))
            continue
        inner = [bounds(child) for child in part.children]
        if isinstance(part, Held):
            every.append(inner[0])
        elif isinstance(part, Nested | Cycled):
            every.append((0.0 if part.shrink < 1 else inner[0][0], inner[0][1]))
        else:
            every.append((together(part, [low for low, _ in inner]), together(part, [high for _, high in inner])))
    return min(low for low, _ in every), max(high for _, high in every)
