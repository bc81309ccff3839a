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

__all__ = ["Long", "decayed", "log_of", "power_of", "sine_squared"]


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


_RIGHT_ANGLE = Long(math.pi / 2, 6.123233995736766e-17)


def sine_squared(xp: Any, part: Any, whole: float) -> Any:
    """The square of the sine of `part / whole` of a right angle; exact at both ends."""
    sine = xp.sin(_share_of(_RIGHT_ANGLE, part, whole)[0])
    return sine * sine


def decayed(xp: Any, rate: Long, part: Any, whole: float) -> Any:
    """`exp(-rate * part / whole)`."""
    exponent, lost = _share_of(rate, part, whole)
    value = xp.exp(-exponent)
    return value - value * lost


def power_of(xp: Any, part: Any, whole: float, power: float) -> Any:
    """`(part / whole) ** power`, for power > 0."""
    if power == 0.5:
        return xp.sqrt(part / whole)
    share = part / whole
    value = share**power
    if power <= 2:
        return value
    back, lost = _product(share, whole)  # what rounding took from the share, the power would magnify
    return value + value * (power * (((part - back) - lost) / whole)) / xp.where(share > 0, share, share * 0 + 1)


def log_of(value: float) -> Long:
    """The natural logarithm of `value` > 0."""
    exact = Decimal(value).ln(Context(prec=50))
    return _long(Fraction(exact))


def _long(exact: Fraction) -> Long:
    near = float(exact)
    return Long(near, float(exact - Fraction(near)))


@lru_cache(maxsize=256)
def _quotient(value: Long, whole: float) -> Long:
    return _long((Fraction(value.near) + Fraction(value.rest)) / Fraction(whole))


def _share_of(value: Long, part: Any, whole: float) -> tuple[Any, Any]:
    """`value * part / whole`, correctly rounded, and what rounding took from it."""
    unit = value.over(whole)
    if 1 < whole <= 2**26:  # a count of so few bits times 26 bits is exact as it is
        high, low = _halves(unit.near)
        exact, little = part * high, part * (low + unit.rest)
        rounded = exact + little
        return rounded, (exact - rounded) + little
    rounded, lost = _product(part, unit.near)
    return rounded, lost + part * unit.rest


def _product(value: Any, times: float) -> tuple[Any, Any]:
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
