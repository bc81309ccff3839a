"""Profiles: the shape of a segment, from 1 at progress 0 to 0 at progress 1.

A profile knows neither steps nor rates. It is two-sided: `split` takes how far the segment has come and how far
it still has to go, each exact, and gives the weight of the segment's start and of its end, each exact. So the
last step of a billion is as accurate as the first, and `1 - w` is never computed where it would cancel.
"""

import math
from typing import Any, Protocol, TypeVar, runtime_checkable

import array_api_compat
import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = [
    "PROFILES",
    "AnyProfile",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "Polynomial",
    "Profile",
    "Rex",
    "Shape",
    "namespace",
]

Array = TypeVar("Array")


@runtime_checkable
class Profile(Protocol):
    """A shape between a segment's start (weight 1 at progress 0) and its end (weight 0 at progress 1)."""

    def __call__(self, progress: Any) -> Any:
        """The weight of the start at `progress`, in [0, 1]; a number or an array of any array library."""

    def split(self, progress: Array, remaining: Array) -> tuple[Array, Array]:
        """The weights of start and end; float64 arrays, `progress` and `remaining` each correctly rounded."""


def namespace(values: Any) -> Any:
    """The array library of `values`: numpy, torch or jax, by the array API standard."""
    return np if isinstance(values, np.ndarray) else array_api_compat.array_namespace(values)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="profile"):
    """The call that all shapes share; `split` is what tells them apart."""

    def __call__(self, progress: Any) -> Any:
        """The weight of the start at `progress`: a number in [0, 1], or a float64 array of such numbers.

        Raises:
            BadInput: a number outside [0, 1]; arrays are not looked into.
        """
        scalar = not hasattr(progress, "shape") or isinstance(progress, np.generic)
        at = np.asarray([checks.number("progress", progress, low=0, high=1)]) if scalar else progress
        weight = self.split(at, 1 - at)[0]
        return float(weight[0]) if scalar else weight

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """The weights of start and end."""
        raise NotImplementedError


class Constant(Shape, frozen=True, tag="constant"):
    """The start, held to the end: 1 everywhere.

    Example:
        >>> Constant()(0.5)
        1.0
    """

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """Weight 1 for the start, 0 for the end."""
        del remaining
        return progress * 0 + 1, progress * 0


class Linear(Shape, frozen=True, tag="linear"):
    """A straight line: `1 - p`.

    Source:
        Li, Yumer, Ramanan 2020, arXiv:1905.04753; Defazio et al. 2023, arXiv:2310.07831, section 1.
    Example:
        >>> Linear()(0.25)
        0.75
    """

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """What remains, and what has gone."""
        return remaining, progress


class Cosine(Shape, frozen=True, tag="cosine"):
    """Half a cosine wave: `(1 + cos(pi p)) / 2`, computed from half the angle.

    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5.
    Example:
        >>> round(Cosine()(0.25), 4)
        0.8536
    """

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """Squared sines of half the angle gone and half the angle left; both keep their digits near 0."""
        xp = namespace(progress)
        gone, lost_gone = _quarter_turns(progress)
        left, lost_left = _quarter_turns(remaining)
        sine, cosine = xp.sin(gone), xp.sin(left)
        # what rounding took from an angle comes back through the derivative: within 4 ulp, not 6
        both = 2 * sine * cosine
        return cosine * cosine + both * lost_left, sine * sine + both * lost_gone


class Polynomial(Shape, frozen=True, tag="polynomial"):
    """A power of what remains: `(1 - p) ** power`.

    Args:
        power: > 0; 1 is linear, 2 bends early, 0.5 bends late.
    Example:
        >>> Polynomial(2.0)(0.5)
        0.25
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        power = checks.number("power", self.power, low=0, open_low=True, high=1e3)
        msgspec.structs.force_setattr(self, "power", power)

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """The power, and its complement by the logarithm of whichever side has kept its digits."""
        xp = namespace(progress)
        one = progress * 0 + 1
        early = progress < 0.5
        gone = xp.where(early, progress, one * 0)
        left = xp.where(early | (remaining <= 0), one, remaining)
        complement = -xp.expm1(self.power * (xp.log1p(-gone) + xp.log(left)))  # one of the two is 0
        return remaining**self.power, xp.where(remaining > 0, complement, one)


class Exponential(Shape, frozen=True, tag="exponential"):
    """Exponential decay, brought to 0 at the end: `(exp(-rate p) - exp(-rate)) / (1 - exp(-rate))`.

    A segment from `a` to `b` is a geometric series where `rate = log(a / b)`.

    Args:
        rate: 1e-9 to 700 in size; > 0 falls fast first, < 0 falls fast last.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (the exponential profile; rate 4 in the authors' code).
    Example:
        >>> round(Exponential(4.0)(0.5), 4)
        0.1192
    """

    rate: float = 4.0

    def __post_init__(self) -> None:
        rate = checks.number("rate", self.rate, low=-700, high=700)
        if abs(rate) < 1e-9:
            raise BadInput(
                f"`rate` must be at least 1e-9 in size, got rate={rate}; a rate of 0 is the linear profile."
            )
        msgspec.structs.force_setattr(self, "rate", rate)

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """Both weights by expm1, written so that no exponent is positive."""
        xp = namespace(progress)
        rate = abs(self.rate)
        gone, left = (progress, remaining) if self.rate > 0 else (remaining, progress)
        whole = math.expm1(-rate)
        # libraries' expm1 differ in the last place from Python's: the ends are made exact, not hoped for
        fast = xp.where(gone > 0, xp.exp(-rate * gone) * (xp.expm1(-rate * left) / whole), gone * 0 + 1)
        slow = xp.where(left > 0, xp.expm1(-rate * gone) / whole, left * 0 + 1)
        return (fast, slow) if self.rate > 0 else (slow, fast)


class Rex(Shape, frozen=True, tag="rex"):
    """Reflected exponential: `(1 - p) / (1 - p + beta p)`.

    The paper's curve has beta = 1/2. The authors' schedule repository and many trainers that followed it use
    0.9 in the denominator, `z / (0.1 + 0.9 z)` with z = 1 - p, which is beta = 0.1: another curve.

    Args:
        beta: in (0, 1]; 1 is linear, towards 0 it holds longer and falls later.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197, with beta as in init2winit's generalisation.
    Example:
        >>> [round(Rex()(p), 6) for p in (0.25, 0.5, 0.75)]
        [0.857143, 0.666667, 0.4]
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        beta = checks.number("beta", self.beta, low=0, open_low=True, high=1)
        msgspec.structs.force_setattr(self, "beta", beta)

    def split(self, progress: Any, remaining: Any) -> tuple[Any, Any]:
        """Shares of a sum of two terms, each exact."""
        bent = self.beta * progress
        whole = remaining + bent
        return remaining / whole, bent / whole


def _quarter_turns(share: Any) -> tuple[Any, Any]:
    """`share * pi / 2` and what its rounding lost, by Dekker's exact product of float64 numbers.

    Source:
        Dekker 1971, Numerische Mathematik 18:224-242, sections 4 and 5.
    """
    angle = share * (math.pi / 2)
    stretched = share * (2.0**27 + 1)
    high = stretched - (stretched - share)
    low = share - high
    lost = low * _PI_LOW - (((angle - high * _PI_HIGH) - low * _PI_HIGH) - high * _PI_LOW)
    return angle, lost + share * 6.123233995736766e-17  # pi/2 less its float64


_PI_HIGH = math.ldexp(round(math.ldexp(math.pi / 2, 25)), -25)  # half of pi in two halves of 26 bits
_PI_LOW = math.pi / 2 - _PI_HIGH

AnyProfile = Constant | Linear | Cosine | Polynomial | Exponential | Rex
"""The profiles that text and JSON know."""

PROFILES: dict[str, type[Shape]] = {
    str(shape.__struct_config__.tag): shape for shape in (Constant, Cosine, Exponential, Linear, Polynomial, Rex)
}
"""Every profile by its name in text and JSON."""
