"""Recipes of one segment: a profile, and where it goes from and to.

They all take the same layout besides their own parameters: `start` and `end` (multipliers; growth is a start below
the end), `steps` or `share` (the length; with neither it takes the rest), `every`, `times` or `shares` (the sampling
rate), `at` (where in an interval the profile is read) and `reverse` (the curve turned end for end).
"""

from typing import Any, TypedDict, Unpack

from lrcontrol import checks
from lrcontrol.schedules.profiles import (
    AnyProfile,
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
from lrcontrol.schedules.schedule import LARGEST, Schedule, Segment

__all__ = [
    "Layout",
    "constant",
    "cosine",
    "exponential",
    "geometric",
    "inverse_power",
    "inverse_sqrt",
    "linear",
    "one_minus_sqrt",
    "polynomial",
    "rex",
    "table",
]


class Layout(TypedDict, total=False):
    """What every one-segment recipe takes besides its own parameters."""

    start: float
    end: float
    steps: int
    share: float
    every: int
    times: int
    shares: tuple[float, ...]
    at: str
    reverse: bool


def constant(level: float = 1.0, *, steps: int | None = None, share: float | None = None) -> Schedule:
    """The same multiplier at every step.

    Args:
        level: in [0, 1e9].
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
    Example:
        >>> constant().multipliers(3).tolist()
        [1.0, 1.0, 1.0]
    """
    level = checks.number("level", level, low=0, high=LARGEST)
    return Schedule((Segment(Constant(), level, steps=steps, share=share),))


def linear(**layout: Unpack[Layout]) -> Schedule:
    """Linear decay `1 - t/T`: the first update has the full rate, the last 1/T of it.

    Source:
        Li, Yumer, Ramanan 2020, arXiv:1905.04753; Defazio et al. 2023, arXiv:2310.07831.
    Example:
        >>> linear().multipliers(4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    return _one(Linear(), **layout)


def cosine(**layout: Unpack[Layout]) -> Schedule:
    """Half a cosine, `(1 + cos(pi t/T)) / 2`, read as torch's CosineAnnealingLR does with T_max = T.

    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5.
    Example:
        >>> cosine().multipliers(4).round(4).tolist()
        [1.0, 0.8536, 0.5, 0.1464]
    """
    return _one(Cosine(), **layout)


def polynomial(power: float = 2.0, **layout: Unpack[Layout]) -> Schedule:
    """`(1 - t/T) ** power`.

    Args:
        power: in (0, 1000]; 1 is linear, 2 bends early, 0.5 bends late.
        layout: as for every recipe.
    Example:
        >>> polynomial(2).multipliers(4).tolist()
        [1.0, 0.5625, 0.25, 0.0625]
    """
    return _one(Polynomial(power), **layout)


def one_minus_sqrt(**layout: Unpack[Layout]) -> Schedule:
    """`1 - sqrt(t/T)`: the cooldown that ends low earliest; `polynomial(0.5)` turned end for end.

    Source:
        Hägele et al. 2024, arXiv:2405.18392, section 3.
    Example:
        >>> one_minus_sqrt().multipliers(4).round(4).tolist()
        [1.0, 0.5, 0.2929, 0.134]
    """
    layout.setdefault("reverse", True)
    return _one(Polynomial(0.5), **layout)


def exponential(rate: float = 4.0, **layout: Unpack[Layout]) -> Schedule:
    """`exp(-rate t/T)`: it ends at `start * exp(-rate)`, 0.0183 by default, unless `end` is given.

    Args:
        rate: 1e-9 to 700 in size; > 0 decays, < 0 grows.
        layout: as for every recipe.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (rate 4 is that of the authors' code).
    Example:
        >>> exponential(2.772588722239781).multipliers(4).round(6).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    return _one(Exponential(rate), **layout)


def geometric(gamma: float = 0.99994, **layout: Unpack[Layout]) -> Schedule:
    """`gamma ** t`: exponential decay by the step, whatever the horizon; as torch's ExponentialLR.

    Args:
        gamma: in (0, 1).
        layout: as for every recipe.
    Source:
        Smith 2017, arXiv:1506.01186, section 4.1 (0.99994).
    Example:
        >>> geometric(0.5).multipliers(4).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    return _one(Geometric(gamma), **layout)


def inverse_power(exponent: float = 0.5, timescale: float = 0.04, **layout: Unpack[Layout]) -> Schedule:
    """`(1 + t / timescale) ** -exponent`: a power law, which needs no horizon where its timescale is in steps.

    Args:
        exponent: in (0, 10].
        timescale: an int is steps, a float a share of the segment.
        layout: as for every recipe.
    Source:
        Shen et al. 2024, arXiv:2408.13359 (exponent 0.51).
    Example:
        >>> inverse_power(1, timescale=2).multipliers(3).round(4).tolist()
        [1.0, 0.6667, 0.5]
    """
    return _one(InversePower(exponent, timescale), **layout)


def inverse_sqrt(timescale: float = 0.04, **layout: Unpack[Layout]) -> Schedule:
    """`1 / sqrt(1 + t / timescale)`; after a warmup of `timescale` steps it is the Transformer's schedule.

    Args:
        timescale: an int is steps, a float a share of the segment; 0.04 is the Transformer's 4000 of 100,000 steps.
        layout: as for every recipe.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, equation 3.
    Example:
        >>> inverse_sqrt(timescale=1).multipliers(4).round(4).tolist()
        [1.0, 0.7071, 0.5774, 0.5]
    """
    return inverse_power(0.5, timescale, **layout)


def rex(beta: float = 0.5, **layout: Unpack[Layout]) -> Schedule:
    """Reflected exponential decay, `(1 - p) / (1 - p + beta p)` with p = t/T.

    Args:
        beta: in (0, 1]. 0.5 is the paper's curve; 0.1 is the one with 0.9 in the denominator that the authors'
            schedule repository and many trainers use; 1 is linear.
        layout: as for every recipe.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197.
    Example:
        >>> rex().multipliers(4).round(6).tolist()
        [1.0, 0.857143, 0.666667, 0.4]
    """
    return _one(Rex(beta), **layout)


def table(values: tuple[float, ...] = (1.0, 0.0), **layout: Unpack[Layout]) -> Schedule:
    """A curve given by its values at even distances, straight in between.

    Args:
        values: 2 to 10,000 of them in [0, 1]; 1 stands for `start`, 0 for `end`.
        layout: as for every recipe.
    Example:
        >>> table((0.0, 1.0, 0.5)).multipliers(4).tolist()
        [0.0, 0.5, 1.0, 0.75]
    """
    return _one(Table(values), **layout)


def _one(
    profile: AnyProfile,
    *,
    start: float = 1.0,
    end: float | None = None,
    steps: int | None = None,
    share: float | None = None,
    reverse: bool = False,
    **sampling: Any,
) -> Schedule:
    """One segment with the common layout."""
    return Schedule((Segment(profile, start, end, Sampling(**sampling), reverse, steps=steps, share=share),))
