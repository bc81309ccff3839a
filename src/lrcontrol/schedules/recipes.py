"""The field's named schedules, each a few lines over the one algebra.

Every recipe that is one segment takes the same layout besides its own parameters: `start` and `end` (multipliers),
`steps` or `share` (its length; with neither it takes the rest), `every`, `times` or `shares` (its sampling rate) and
`at` (where in an interval the profile is read).
"""

import math
import numbers
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypedDict, Unpack

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import AnyProfile, Constant, Cosine, Exponential, Linear, Polynomial, Rex
from lrcontrol.schedules.sampling import Sampling, increasing_shares
from lrcontrol.schedules.schedule import LARGEST, Nested, Schedule, Segment

__all__ = [
    "RECIPES",
    "Layout",
    "constant",
    "cosine",
    "exponential",
    "linear",
    "polynomial",
    "rex",
    "step",
    "tidy",
    "warmup",
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
        power: > 0.
        layout: as for every recipe.
    Example:
        >>> polynomial(2).multipliers(4).tolist()
        [1.0, 0.5625, 0.25, 0.0625]
    """
    return _one(Polynomial(power), **layout)


def exponential(rate: float = 4.0, **layout: Unpack[Layout]) -> Schedule:
    """`exp(-rate t/T)`: it ends at `start * exp(-rate)`, 0.0183 by default, unless `end` is given.

    Args:
        rate: 1e-9 to 700 in size; > 0 decays, < 0 grows.
        layout: as for every recipe.
    Source:
        Chen, Wolfe, Kyrillidis 2022, arXiv:2107.04197 (rate 4 is that of the authors' code).
    Example:
        >>> exponential(math.log(16)).multipliers(4).round(6).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    profile = Exponential(rate)
    if layout.get("end") is None:
        start = checks.number("start", layout.get("start", 1.0), low=0, high=LARGEST)
        layout["end"] = start * math.exp(-profile.rate)
    return _one(profile, **layout)


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


def step(
    factor: float = 0.1,
    milestones: tuple[float, ...] = (0.5, 0.75),
    *,
    steps: int | None = None,
    share: float | None = None,
) -> Schedule:
    """Constant levels, multiplied by `factor` at each milestone; one part, whose milestones are shares of it.

    Args:
        factor: in [0, 1e9]; no level may be above 1e9.
        milestones: 1 to 999 of them, increasing, in (0, 1).
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
    Example:
        >>> step().multipliers(8).tolist()
        [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    factor = checks.number("factor", factor, low=0, high=LARGEST)
    edges = (0.0, *increasing_shares("milestones", milestones))
    if len(edges) == 1:
        raise BadInput("`milestones` must hold at least one share of the run, got none.")
    if math.log10(max(factor, 1)) * (len(edges) - 1) > math.log10(LARGEST):
        raise BadInput(
            f"`factor` must keep every level below {LARGEST:g}, got factor={factor}, {len(edges) - 1} times."
        )
    parts = [
        Segment(Constant(), tidy(factor**index), share=tidy(past - begin))
        for index, (begin, past) in enumerate(pairwise(edges))
    ]
    levels = Schedule((*parts, Segment(Constant(), tidy(factor ** (len(edges) - 1)))))
    return Schedule((Nested(levels, steps=steps, share=share),))


def warmup(length: float = 0.05, *, start: float = 0.0, end: float = 1.0) -> Schedule:
    """A linear rise read at the right end of each step: over n steps 1/n, 2/n, ..., 1. The first is never 0.

    Args:
        length: a whole number of type int is steps; a float in [0, 1) is a share of the run.
        start: in [0, 1e9]; what the rise comes from (0: the first multiplier is 1/n).
        end: in [0, 1e9]; what it comes to.
    Example:
        >>> warmup(4).multipliers(4).tolist()
        [0.25, 0.5, 0.75, 1.0]
    """
    sampling = Sampling(at="right")
    if isinstance(length, bool) or not isinstance(length, numbers.Real):
        raise BadInput(f"`length` must be an int (steps) or a float (a share), got length={checks.shown(length)}.")
    if isinstance(length, numbers.Integral):
        steps = checks.integer("length", length, low=0)
        return Schedule((Segment(Linear(), start, end, sampling, steps=steps),))
    share = checks.number("length", length, low=0, high=1, open_high=True)
    return Schedule((Segment(Linear(), start, end, sampling, share=share),))


RECIPES: dict[str, Callable[..., Schedule]] = {
    recipe.__name__: recipe for recipe in (constant, cosine, exponential, linear, polynomial, rex, step, warmup)
}
"""Every recipe by its name in text."""


def _one(
    profile: AnyProfile,
    *,
    start: float = 1.0,
    end: float | None = None,
    steps: int | None = None,
    share: float | None = None,
    **sampling: Any,
) -> Schedule:
    """One segment with the common layout."""
    return Schedule((Segment(profile, start, end, Sampling(**sampling), steps=steps, share=share),))


def tidy(value: float) -> float:
    """`value` at 15 digits, so that 0.1 ** 2 is 0.01 and 0.9 - 0.8 is 0.1 in text."""
    return float(f"{value:.15g}")
