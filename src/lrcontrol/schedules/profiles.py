"""Profiles: the shape of a segment, from weight 1 of its start at progress 0 to its end at progress 1.

A profile knows neither steps nor rates. It is two-sided: it is told how far the segment has come and how far it
still has to go, each exact, and gives the weight of the segment's start and that of its end, each exact. So the last
step of a billion is as accurate as the first, and `1 - w` is never computed where it would cancel.
"""

from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import array_api_compat
import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.exact import (
    Long,
    decayed,
    exp_of,
    fallen,
    log_left,
    log_of,
    log_power,
    per_fall,
    place_among,
    power_of,
    power_reached,
    product,
    quotient,
    reached,
    share_above_one,
    share_of,
    sine_squared,
)

__all__ = [
    "MOST_VALUES",
    "PROFILES",
    "AnyProfile",
    "Constant",
    "Cosine",
    "Exponential",
    "Geometric",
    "InversePower",
    "Linear",
    "Polynomial",
    "Profile",
    "Rex",
    "Shape",
    "Table",
    "namespace",
]

MOST_VALUES = 10_000  # of a table


@runtime_checkable
class Profile(Protocol):
    """A shape between a segment's start (weight 1 at progress 0) and its end."""

    def __call__(self, progress: Any) -> Any:
        """The curve at `progress`, in [0, 1]; a number or an array of any array library."""

    @property
    def natural_end(self) -> float | None:
        """The share of its start that the curve comes to by itself; None where that depends on the length."""

    def laid(self, length: int) -> "Profile":
        """The same shape over a segment of `length` steps, its natural end known."""

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        """The curve after `gone` of `whole`, with `left` still to go, as a share of its start.

        All are whole numbers in float64 arrays (`whole` a float); where `whole` is 1, any numbers in [0, 1].
        """

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The weight of the start there, for a segment with an end of its own: from 1 to 0."""

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The weight of the end there: from 0 to 1."""


def namespace(values: Any) -> Any:
    """The array library of `values`: numpy, torch or jax, by the array API standard."""
    return np if isinstance(values, np.ndarray) else array_api_compat.array_namespace(values)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="profile"):
    """What all shapes share; the two weights tell them apart."""

    def __call__(self, progress: Any) -> Any:
        """The curve at `progress`, as a share of its start: a number in [0, 1], or a float64 array of such numbers.

        It runs from 1 to the `natural_end`.

        Raises:
            BadInput: a number outside [0, 1] (arrays are not looked into), or a shape whose parameters are in steps.
        """
        if self.natural_end is None:
            raise BadInput(f"a shape must be laid over a length to be read, got {self!r}; use laid(length).")
        scalar = not hasattr(progress, "shape") or isinstance(progress, np.generic)
        at = np.asarray([checks.number("progress", progress, low=0, high=1)]) if scalar else progress
        value = self.curve(at, 1 - at, 1.0)
        return float(value[0]) if scalar else value

    @property
    def natural_end(self) -> float | None:
        """0, unless the shape says otherwise."""
        return 0.0

    def laid(self, length: int) -> Profile:
        """Itself, unless a parameter is in steps."""
        del length
        return self

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        """The weight of the start, unless the shape ends elsewhere than at 0."""
        return self.start_weight(gone, left, whole)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The weight of the start."""
        raise NotImplementedError

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The weight of the end."""
        raise NotImplementedError


class Constant(Shape, frozen=True, tag="constant"):
    """The start, held to the end: 1 everywhere.

    Example:
        >>> Constant()(0.5)
        1.0
    """

    @property
    def natural_end(self) -> float:
        """1."""
        return 1.0

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """1."""
        del left, whole
        return gone * 0 + 1

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """0: the end is the start."""
        del left, whole
        return gone * 0


class Linear(Shape, frozen=True, tag="linear"):
    """A straight line: `1 - p`.

    Source:
        Li, Yumer, Ramanan 2020, arXiv:1905.04753; Defazio et al. 2023, arXiv:2310.07831, section 1.
    Example:
        >>> Linear()(0.25)
        0.75
    """

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What remains."""
        del gone
        return left / whole

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What has gone."""
        del left
        return gone / whole


class Cosine(Shape, frozen=True, tag="cosine"):
    """Half a cosine wave: `(1 + cos(pi p)) / 2`, computed from half the angle.

    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5.
    Example:
        >>> round(Cosine()(0.25), 4)
        0.8536
    """

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The squared sine of half the angle left, which keeps its digits near 0."""
        del gone
        return sine_squared(namespace(left), left, whole)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The squared sine of half the angle gone."""
        del left
        return sine_squared(namespace(gone), gone, whole)


class Polynomial(Shape, frozen=True, tag="polynomial"):
    """A power of what remains: `(1 - p) ** power`.

    Args:
        power: in (0, 1000]; 1 is linear, 2 bends early, 0.5 bends late.
    Example:
        >>> Polynomial(2.0)(0.5)
        0.25
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        power = checks.number("power", self.power, low=0, open_low=True, high=1e3)
        msgspec.structs.force_setattr(self, "power", power)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The power."""
        del gone
        return power_of(namespace(left), left, whole, self.power)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """Its complement, by the logarithm of whichever side has kept its digits."""
        xp = namespace(gone)
        remains = left / whole
        if self.power == 0.5:  # 1 - sqrt(r) = (1 - r) / (1 + sqrt(r)), and the like: no logarithm needed
            return gone / whole / (1 + xp.sqrt(remains))
        if self.power == 2:
            return gone / whole * (1 + remains)
        return xp.where(left > 0, -xp.expm1(self.power * log_left(xp, gone / whole, remains)), gone * 0 + 1)


class Exponential(Shape, frozen=True, tag="exponential"):
    """Exponential decay `exp(-rate p)`, which ends at `exp(-rate)` of its start unless it is given another end.

    Between `a` and `b` it is a geometric series where `rate = log(a / b)`.

    Args:
        rate: 1e-9 to 700 in size; > 0 falls fast first, < 0 rises and is fastest last.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (the exponential profile; rate 4 in the authors' code).
    Example:
        >>> round(Exponential(4.0)(0.5), 4)
        0.1353
    """

    rate: float = 4.0

    def __post_init__(self) -> None:
        rate = checks.number("rate", self.rate, low=-700, high=700)
        if abs(rate) < 1e-9:
            raise BadInput(
                f"`rate` must be at least 1e-9 in size, got rate={rate}; a rate of 0 is the linear profile."
            )
        msgspec.structs.force_setattr(self, "rate", rate)

    @property
    def natural_end(self) -> float:
        """`exp(-rate)`."""
        return exp_of(Long(self.rate))

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        """The exponential itself."""
        del left
        return decayed(namespace(gone), Long(self.rate), gone, whole)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What the decay is above its end, as a share of its whole fall."""
        if self.rate > 0:
            return _fall(Long(self.rate), gone, left, whole)
        return fallen(namespace(gone), Long(-self.rate), left, gone, whole)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What it has fallen, as a share of its whole fall."""
        if self.rate > 0:
            return fallen(namespace(gone), Long(self.rate), gone, left, whole)
        return _fall(Long(-self.rate), left, gone, whole)


class Geometric(Shape, frozen=True, tag="geometric"):
    """Exponential decay by the step: `gamma ** t` after t steps, whatever the length of the segment.

    Args:
        gamma: in (0, 1); what a step leaves of the multiplier.
    Source:
        torch.optim.lr_scheduler.ExponentialLR; Smith 2017, arXiv:1506.01186, section 3.2 (`exp_range`).
    Example:
        >>> round(Geometric(0.9).laid(10)(0.2), 12)
        0.81
    """

    gamma: float = 0.99994

    def __post_init__(self) -> None:
        gamma = checks.number("gamma", self.gamma, low=0, open_low=True, high=1, open_high=True)
        msgspec.structs.force_setattr(self, "gamma", gamma)

    @property
    def natural_end(self) -> None:
        """It depends on the length."""

    def laid(self, length: int) -> Profile:
        """The decay over `length` steps."""
        return _Decay(log_of(self.gamma).times(-length))


class InversePower(Shape, frozen=True, tag="inverse_power"):
    """A power law, `(1 + t / timescale) ** -exponent` after t steps: it never ends, and knows no horizon.

    Args:
        exponent: in [1e-9, 10]; 0.5 is the inverse square root.
        timescale: an int >= 1 is steps; a float in [1e-100, 1000] is a share of the segment.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, equation 3 (0.5, after 4000 of 100,000 steps); Shen et al. 2024,
        arXiv:2408.13359 (0.51).
    Example:
        >>> InversePower(0.5, 0.25)(0.75)
        0.5
    """

    exponent: float = 0.5
    timescale: int | float = 0.04

    def __post_init__(self) -> None:
        exponent = checks.number("exponent", self.exponent, low=1e-9, high=10)
        msgspec.structs.force_setattr(self, "exponent", exponent)
        timescale = checks.steps_or_share("timescale", self.timescale, low=1, most=1e3, open_low=True)
        if timescale < 1e-100:
            raise BadInput(f"`timescale` must be at least 1e-100 of the segment, got timescale={timescale}.")
        msgspec.structs.force_setattr(self, "timescale", timescale)

    def __eq__(self, other: object) -> bool:
        """Two steps are not two lengths of the segment, though 2 == 2.0."""
        return isinstance(other, InversePower) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[float, float, bool]:
        return self.exponent, self.timescale, isinstance(self.timescale, int)

    @property
    def natural_end(self) -> float | None:
        """`(1 + 1 / timescale) ** -exponent`, for a timescale that is a share."""
        if isinstance(self.timescale, int):
            return None
        return _PowerLaw(self.exponent, quotient(1.0, self.timescale)).natural_end

    def laid(self, length: int) -> Profile:
        """The power law with its timescale as a share of `length` steps."""
        return _PowerLaw(self.exponent, quotient(length if isinstance(self.timescale, int) else 1.0, self.timescale))

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        """The power law itself."""
        return self.laid(1).curve(gone, left, whole)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What the curve is above its end, as a share of its whole fall."""
        return self.laid(1).start_weight(gone, left, whole)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """What it has fallen, as a share of its whole fall."""
        return self.laid(1).end_weight(gone, left, whole)


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

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """A share of a sum of two terms, each exact."""
        del whole
        return left / (left + self.beta * gone)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The other share."""
        del whole
        bent = self.beta * gone
        return bent / (left + bent)


class Table(Shape, frozen=True, tag="table"):
    """A curve given by its values at even distances, straight in between: a refined schedule, or any other.

    Args:
        values: 2 to 10,000 of them in [0, 1], from progress 0 to progress 1.
    Example:
        >>> Table((0.2, 1.0, 0.0))(0.25)
        0.6
    """

    values: tuple[float, ...] = (1.0, 0.0)

    def __post_init__(self) -> None:
        values = checks.numbers_in("values", self.values, low=0, high=1, least=2, most=MOST_VALUES)
        msgspec.structs.force_setattr(self, "values", values)

    def laid(self, length: int) -> Profile:
        """The same curve, its values as an array."""
        del length
        return _knots(self.values)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """The two values beside, weighed by how near they are."""
        return self.laid(1).start_weight(gone, left, whole)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        """Their complement."""
        return self.laid(1).end_weight(gone, left, whole)


class _Knots(Shape, frozen=True):
    """What `Table` is over a length."""

    values: Any

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        del left
        return self._read(gone, whole, self.values)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        del left
        return self._read(gone, whole, 1 - self.values)

    def _read(self, gone: Any, whole: float, values: Any) -> Any:
        xp = namespace(gone)
        known = values if xp is np else xp.asarray(values, dtype=gone.dtype, device=array_api_compat.device(gone))
        index, over = place_among(xp, gone, whole, len(values) - 1)
        index = xp.astype(index, xp.int64)
        return (known[index] * (whole - over) + known[index + 1] * over) / whole


@lru_cache(maxsize=64)
def _knots(values: tuple[float, ...]) -> _Knots:
    return _Knots(np.array(values))


class _Decay(Shape, frozen=True):
    """What `Geometric` is over a length: a rate > 0 of any size, with more digits than a float holds."""

    rate: Long

    @property
    def natural_end(self) -> float:
        return exp_of(self.rate)

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        del left
        return decayed(namespace(gone), self.rate, gone, whole)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        return _fall(self.rate, gone, left, whole)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        return fallen(namespace(gone), self.rate, gone, left, whole)


class _PowerLaw(Shape, frozen=True):
    """What `InversePower` is over a length: `(1 + ratio p) ** -exponent`."""

    exponent: float
    ratio: Long

    @property
    def natural_end(self) -> float:
        return exp_of(self._fall)

    def curve(self, gone: Any, left: Any, whole: float) -> Any:
        del left
        return power_reached(namespace(gone), self.ratio, gone, whole, self.exponent)

    def start_weight(self, gone: Any, left: Any, whole: float) -> Any:
        xp = namespace(gone)
        near, lost = reached(self.ratio, gone, whole)
        still, short = share_of(share_above_one(self.ratio), left, whole)  # of what is reached at the end
        fall, cut = product(log_left(xp, still, near / (1 + self.ratio.near)), self.exponent)
        early = still < 0.5
        cut = cut + self.exponent * xp.where(early, short / (xp.where(early, still, 0.0) - 1), lost / near)
        above, per = -xp.expm1(fall), per_fall(self._fall)
        value = near**-self.exponent * above * per.near
        lacks = per.rest / per.near - self.exponent * (lost / near) - cut * (1 / xp.where(left > 0, above, 1.0) - 1)
        return xp.where(gone > 0, value + value * lacks, gone * 0 + 1)

    def end_weight(self, gone: Any, left: Any, whole: float) -> Any:
        xp = namespace(gone)
        rise, short = share_of(self.ratio, gone, whole)
        fall = -xp.expm1(-self.exponent * xp.log1p(rise + short))
        return xp.where(left > 0, fall * per_fall(self._fall).near, gone * 0 + 1)

    @property
    def _fall(self) -> Long:
        """The logarithm of the start over the end."""
        return log_power(self.ratio, self.exponent)


def _fall(rate: Long, gone: Any, left: Any, whole: float) -> Any:
    """`(exp(-rate p) - exp(-rate)) / (1 - exp(-rate))` for rate > 0, written so that no exponent is positive."""
    xp = namespace(gone)
    return decayed(xp, rate, gone, whole) * fallen(xp, rate, left, gone, whole)


AnyProfile = Constant | Linear | Cosine | Polynomial | Exponential | Geometric | InversePower | Rex | Table
"""The profiles that text and JSON know."""

PROFILES: dict[str, type[Shape]] = {
    str(shape.__struct_config__.tag): shape
    for shape in (Constant, Cosine, Exponential, Geometric, InversePower, Linear, Polynomial, Rex, Table)
}
"""Every profile by its name in text and JSON."""
