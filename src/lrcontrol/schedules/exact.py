"""Arithmetic that keeps what float64 rounds away, for the few places where it would show.

A position is `part` of `whole`: whole numbers that float64 holds exactly, in arrays of any library. Where `whole`
is 1 a position may also be any number in [0, 1].

Source:
    Dekker 1971, Numerische Mathematik 18:224-242, sections 4 and 5 (the product of two floats, exactly).
"""

import math
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Long",
    "decayed",
    "exp_of",
    "fallen",
    "log_left",
    "log_of",
    "log_power",
    "per_fall",
    "place_among",
    "power_of",
    "power_of_written",
    "power_reached",
    "powers_of_written",
    "product",
    "quotient",
    "reached",
    "share_above_one",
    "share_of",
    "sine_squared",
]


class Long(NamedTuple):
    """A number of twice a float's digits: the float nearest to it, and what that leaves over."""

    near: float
    rest: float = 0.0

    def times(self, count: int) -> "Long":
        """Its product with a whole number."""
        return _long((Fraction(self.near) + Fraction(self.rest)) * count)

    def over(self, whole: float) -> "Long":
        """Its quotient by a whole number."""
        return _quotient(self, whole)


_DIGITS = Context(prec=60)
_RIGHT_ANGLE = Long(math.pi / 2, 6.123233995736766e-17)


def sine_squared(xp: Any, part: Any, whole: float) -> Any:
    """The square of the sine of `part / whole` of a right angle; exact at both ends."""
    angle, lost = share_of(_RIGHT_ANGLE, part, whole)
    sine = xp.sin(angle)
    sine = sine + lost * (1 - sine * sine)  # near enough to the cosine, for what was lost
    return sine * sine


def decayed(xp: Any, rate: Long, part: Any, whole: float) -> Any:
    """`exp(-rate * part / whole)`."""
    exponent, lost = share_of(rate, part, whole)
    value = xp.exp(-exponent)
    return value - value * lost


def fallen(xp: Any, rate: Long, part: Any, left: Any, whole: float) -> Any:
    """`(1 - exp(-rate * part / whole)) / (1 - exp(-rate))` for rate > 0; exact at both ends."""
    exponent, lost = share_of(rate, part, whole)
    fall, per = -xp.expm1(-exponent), per_fall(rate)
    return xp.where(left > 0, fall * per.near + (fall * per.rest + (1 - fall) * lost * per.near), part * 0 + 1)


def power_of(xp: Any, part: Any, whole: float, power: float) -> Any:
    """`(part / whole) ** power`, for power > 0."""
    if power == 0.5:
        return xp.sqrt(part / whole)
    share = part / whole
    value = share**power
    if power <= 2 and xp is np:  # compilers divide by multiplying with a reciprocal, which loses more
        return value
    back, lost = product(share, whole)  # what rounding took from the share, the power would magnify
    short = ((part - back) - lost) / whole / xp.where(share > 0, share, share * 0 + 1)
    return value + value * (power * short)


def power_reached(xp: Any, ratio: Long, part: Any, whole: float, exponent: float) -> Any:
    """`(1 + ratio * part / whole) ** -exponent`, for ratio > 0."""
    if exponent <= 1:  # enough digits are left without more ado
        near = 1 + part * ratio.over(whole).near
        return 1 / xp.sqrt(near) if exponent == 0.5 else near**-exponent
    near, lost = reached(ratio, part, whole)
    power = near**-exponent
    return power - power * (exponent * (lost / near))


def reached(ratio: Long, part: Any, whole: float) -> tuple[Any, Any]:
    """`1 + ratio * part / whole` rounded, and what that lacks."""
    above, lost = share_of(ratio, part, whole)
    near = 1 + above
    rise = near - above
    return near, lost + (1 - rise) + (above - (near - rise))


def powers_of_written(xp: Any, value: float, times: Any, most: int) -> Any:
    """`value ** times`, of the decimal number that `value` is written as; `times` whole, in [0, `most`]."""
    times = xp.astype(times, xp.int64)
    high = xp.astype(times * 0, xp.float64) + 1
    low = high * 0
    for power in _squares(value)[: most.bit_length()]:
        counts = times % 2 == 1
        near, rest = _longer(high, low, power)
        high, low = xp.where(counts, near, high), xp.where(counts, rest, low)
        times = times // 2
    return high


@lru_cache(maxsize=1024)
def power_of_written(value: float, times: int) -> float:
    """One of `powers_of_written`, to the bit, and sooner where it is the only one."""
    high, low = 1.0, 0.0
    for bit, power in enumerate(_squares(value)[: times.bit_length()]):
        if times >> bit & 1:
            high, low = _longer(high, low, power)
    return high


def _longer(high: Any, low: Any, by: Long) -> tuple[Any, Any]:
    """The product of two numbers of twice a float's digits."""
    rounded, lost = product(high, by.near)
    lost = lost + (high * by.rest + low * by.near)
    near = rounded + lost
    return near, lost - (near - rounded)


def log_left(xp: Any, gone: Any, left: Any) -> Any:
    """The logarithm of `left`, where `gone + left` is 1 and each has its digits; 0 where nothing is left."""
    one = gone * 0 + 1
    early = gone < 0.5
    went = xp.where(early, gone, one * 0)
    stays = xp.where(early | (left <= 0), one, left)
    return xp.log1p(-went) + xp.log(stays)  # one of the two is 0


def place_among(xp: Any, part: Any, whole: float, count: int) -> tuple[Any, Any]:
    """`part / whole * count` as a whole number below `count` and what is over, in units of 1 / whole."""
    if 1 < whole < 2**53 / count:  # whole numbers, and their products too
        exact = part * count
        index = xp.clip(xp.floor(exact / whole), 0, count - 1)
        return index, exact - index * whole
    exact, rest = product(part, float(count))
    index = xp.clip(xp.floor(exact / whole), 0, count - 1)
    back, lost = product(index, whole)
    over = (exact - back) + (rest - lost)
    index, over = xp.where(over < 0, index - 1, index), xp.where(over < 0, over + whole, over)
    up = (over >= whole) & (index < count - 1)
    return xp.where(up, index + 1, index), xp.where(up, over - whole, over)


@lru_cache(maxsize=256)
def exp_of(rate: Long) -> float:
    """`exp(-rate)`, the same on every machine."""
    return float(_decimal(Fraction(-rate.near) - Fraction(rate.rest)).exp(_DIGITS))


@lru_cache(maxsize=256)
def per_fall(rate: Long) -> Long:
    """`1 / (1 - exp(-rate))`, for rate > 0."""
    left = _decimal(Fraction(-rate.near) - Fraction(rate.rest)).exp(_DIGITS)
    return _long(Fraction(_DIGITS.divide(Decimal(1), _DIGITS.subtract(Decimal(1), left))))


def quotient(value: float, by: float) -> Long:
    """`value / by`."""
    return _long(Fraction(value) / Fraction(by))


@lru_cache(maxsize=256)
def log_of(value: float) -> Long:
    """The natural logarithm of `value` > 0."""
    return _long(Fraction(Decimal(value).ln(_DIGITS)))


@lru_cache(maxsize=256)
def log_power(ratio: Long, exponent: float) -> Long:
    """`exponent * log(1 + ratio)`."""
    reached = 1 + Fraction(ratio.near) + Fraction(ratio.rest)
    return _long(Fraction(_decimal(reached).ln(_DIGITS)) * Fraction(exponent))


@lru_cache(maxsize=256)
def share_above_one(ratio: Long) -> Long:
    """`ratio / (1 + ratio)`."""
    exact = Fraction(ratio.near) + Fraction(ratio.rest)
    return _long(exact / (1 + exact))


@lru_cache(maxsize=64)
def _squares(value: float) -> tuple[Long, ...]:
    """The number that `value` is written as, its square, the square of that, and so on."""
    powers = [Decimal(repr(value))]
    while len(powers) < 54:
        powers.append(_DIGITS.multiply(powers[-1], powers[-1]))
    return tuple(_long(Fraction(power if power > Decimal("1e-400") else 0)) for power in powers)


def _decimal(exact: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _long(exact: Fraction) -> Long:
    near = float(exact)
    return Long(near, float(exact - Fraction(near)))


@lru_cache(maxsize=256)
def _quotient(value: Long, whole: float) -> Long:
    return _long((Fraction(value.near) + Fraction(value.rest)) / Fraction(whole))


def share_of(value: Long, part: Any, whole: float) -> tuple[Any, Any]:
    """`value * part / whole` within an ulp, and what that lacks."""
    unit = value.over(whole)
    if 1 < whole <= 2**26:  # a count of so few bits times 26 bits is exact as it is
        high, low = _halves(unit.near)
        exact, little = part * high, part * (low + unit.rest)
        rounded = exact + little
        return rounded, (exact - rounded) + little
    rounded, lost = product(part, unit.near)
    return rounded, lost + part * unit.rest


def product(value: Any, times: float) -> tuple[Any, Any]:
    """`value * times` rounded, and what rounding took from it."""
    rounded = value * times
    high, low = _halves(value)
    times_high, times_low = _halves(times)
    return rounded, low * times_low - (((rounded - high * times_high) - low * times_high) - high * times_low)


def _halves(value: Any) -> tuple[Any, Any]:
    """Two numbers of 26 bits that sum to `value`."""
    stretched = value * 134217729.0  # 2**27 + 1
    high = stretched - (stretched - value)
    return high, value - high
