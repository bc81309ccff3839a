"""Recipes of one segment: a profile, and where it goes from and to.

They all take the same layout besides their own parameters: `start` and `end` (multipliers; growth is a start below
the end), `steps` or `share` (the length; with neither it takes the rest), `every`, `times` or `shares` (the sampling
rate), `at` (where in an interval the profile is read) and `reverse` (the curve turned end for end).
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypedDict, Unpack

from lrcontrol import checks
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import UnknownName
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
from lrcontrol.schedules.sampling import EVERY_STEP, Sampling
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
    """What every one-segment recipe takes besides its own parameters, all by name; help of each spells it out.

    Args:
        start: in [0, 1e9]; the multiplier at the beginning; 1 by default.
        end: in [0, 1e9]; the multiplier that the curve goes to; by default where it goes to by itself. A start below
            the end is growth.
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
        every: the profile is read anew at every so many steps; between readings the value holds. Or
        times: so many times in all, or
        shares: at these shares of the length.
        at: where in an interval it is read: `left` (the default), `midpoint`, `right` or `closed`.
        reverse: true turns the curve end for end, `1 - f(1 - p)`.
    """

    start: float
    end: float
    steps: int
    share: float
    every: int
    times: int
    shares: tuple[float, ...]
    at: str
    reverse: bool


_DEFAULTS: dict[str, Any] = {
    "start": 1.0,
    "end": None,
    "steps": None,
    "share": None,
    "every": 1,
    "times": None,
    "shares": (),
    "at": "left",
    "reverse": False,
}
_Own = ParamSpec("_Own")


def _laid_out(recipe: Callable[_Own, Schedule]) -> Callable[_Own, Schedule]:
    """The recipe with the layout spelled out in its signature and help, and what is not in it refused by name."""
    signature = inspect.signature(recipe)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    layout = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in _DEFAULTS.items()
    ]
    known = [each.name for each in (*own, *layout)]

    @functools.wraps(recipe)
    def checked(*positional: _Own.args, **named: _Own.kwargs) -> Schedule:
        for name in named:
            if name not in known:
                raise UnknownName(checks.near_miss(f"parameter of {recipe.__name__},", name, known))
        return recipe(*positional, **named)

    with_keys(Layout)(checked)
    checked.__signature__ = signature.replace(parameters=[*own, *layout])  # type: ignore[attr-defined]
    return checked


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


@_laid_out
def linear(**layout: Unpack[Layout]) -> Schedule:
    """Linear decay `1 - t/T`: the first update has the full rate, the last 1/T of it.

    Source:
        Li, Yumer, Ramanan 2020, arXiv:1905.04753; Defazio et al. 2023, arXiv:2310.07831.
    Example:
        >>> linear().multipliers(4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    return _one(Linear(), **layout)


@_laid_out
def cosine(**layout: Unpack[Layout]) -> Schedule:
    """Half a cosine, `(1 + cos(pi t/T)) / 2`, read as torch's CosineAnnealingLR does with T_max = T.

    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5.
    Example:
        >>> cosine().multipliers(4).round(4).tolist()
        [1.0, 0.8536, 0.5, 0.1464]
    """
    return _one(Cosine(), **layout)


@_laid_out
def polynomial(power: float = 2.0, **layout: Unpack[Layout]) -> Schedule:
    """`(1 - t/T) ** power`.

    Args:
        power: in (0, 1000]; 1 is linear, 2 bends early, 0.5 bends late.
    Example:
        >>> polynomial(2).multipliers(4).tolist()
        [1.0, 0.5625, 0.25, 0.0625]
    """
    return _one(Polynomial(power), **layout)


@_laid_out
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


@_laid_out
def exponential(rate: float = 4.0, **layout: Unpack[Layout]) -> Schedule:
    """`exp(-rate t/T)`: it ends at `start * exp(-rate)`, 0.0183 by default, unless `end` is given.

    Args:
        rate: 1e-9 to 700 in size; > 0 decays, < 0 grows.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (rate 4 is that of the authors' code).
    Example:
        >>> exponential(2.772588722239781).multipliers(4).round(6).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    return _one(Exponential(rate), **layout)


@_laid_out
def geometric(gamma: float = 0.99994, **layout: Unpack[Layout]) -> Schedule:
    """`gamma ** t`: exponential decay by the step, whatever the horizon; as torch's ExponentialLR.

    Args:
        gamma: in (0, 1).
    Source:
        Smith 2017, arXiv:1506.01186, section 4.1 (0.99994).
    Example:
        >>> geometric(0.5).multipliers(4).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    return _one(Geometric(gamma), **layout)


@_laid_out
def inverse_power(exponent: float = 0.5, timescale: float = 0.04, **layout: Unpack[Layout]) -> Schedule:
    """`(1 + t / timescale) ** -exponent`: a power law, which needs no horizon where its timescale is in steps.

    Args:
        exponent: in (0, 10].
        timescale: an int is steps, a float a share of the segment.
    Source:
        Shen et al. 2024, arXiv:2408.13359 (exponent 0.51).
    Example:
        >>> inverse_power(1, timescale=2).multipliers(3).round(4).tolist()
        [1.0, 0.6667, 0.5]
    """
    return _one(InversePower(exponent, timescale), **layout)


@_laid_out
def inverse_sqrt(timescale: float = 0.04, **layout: Unpack[Layout]) -> Schedule:
    """`1 / sqrt(1 + t / timescale)`; after a warmup of `timescale` steps it is the Transformer's schedule.

    Args:
        timescale: an int is steps, a float a share of the segment; 0.04 is the Transformer's 4000 of 100,000 steps.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, equation 3.
    Example:
        >>> inverse_sqrt(timescale=1).multipliers(4).round(4).tolist()
        [1.0, 0.7071, 0.5774, 0.5]
    """
    return inverse_power(0.5, timescale, **layout)


@_laid_out
def rex(beta: float = 0.5, **layout: Unpack[Layout]) -> Schedule:
    """Reflected exponential decay, `(1 - p) / (1 - p + beta p)` with p = t/T.

    Args:
        beta: in (0, 1]. 0.5 is the paper's curve; 0.1 is the one with 0.9 in the denominator that the authors'
            schedule repository and many trainers use; 1 is linear.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197.
    Example:
        >>> rex().multipliers(4).round(6).tolist()
        [1.0, 0.857143, 0.666667, 0.4]
    """
    return _one(Rex(beta), **layout)


@_laid_out
def table(values: tuple[float, ...] = (1.0, 0.0), **layout: Unpack[Layout]) -> Schedule:
    """A curve given by its values at even distances, straight in between.

    Args:
        values: 2 to 10,000 of them in [0, 1]; 1 stands for `start`, 0 for `end`.
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
    read = Sampling(**sampling) if sampling else EVERY_STEP
    return Schedule((Segment(profile, start, end, read, reverse, steps=steps, share=share),))
