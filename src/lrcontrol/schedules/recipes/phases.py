"""Recipes of several phases, one after the other: warmup, steps, tables of knots, warmup-stable-decay, 1cycle."""

import math
from collections.abc import Callable
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import Constant, Linear
from lrcontrol.schedules.recipes.single import (
    constant,
    cosine,
    exponential,
    inverse_power,
    linear,
    one_minus_sqrt,
    polynomial,
)
from lrcontrol.schedules.sampling import MOST_READINGS, Sampling
from lrcontrol.schedules.schedule import LARGEST, Nested, Schedule, Segment

__all__ = ["one_cycle", "one_cycle_momentum", "piecewise", "power", "step", "tidy", "warmup", "wsd"]


def warmup(length: float = 0.05, *, start: float = 0.0, end: float = 1.0) -> Schedule:
    """A linear rise read at the right end of each step: over n steps 1/n, 2/n, ..., 1. The first is never 0.

    Args:
        length: a whole number of type int is steps; a float in [0, 1) is a share of the run.
        start: in [0, 1e9]; what the rise comes from (0: the first multiplier is 1/n).
        end: in [0, 1e9]; what it comes to.
    Source:
        Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    Example:
        >>> warmup(4).multipliers(4).tolist()
        [0.25, 0.5, 0.75, 1.0]
    """
    return _rise("length", length, start, end)


def step(
    factor: float = 0.1,
    milestones: tuple[float, ...] = (0.5, 0.75),
    *,
    every: int | None = None,
    steps: int | None = None,
    share: float | None = None,
) -> Schedule:
    """Constant levels, multiplied by `factor` at each milestone, or every so many steps; one part.

    Args:
        factor: in [0, 1e9]; no level may be above 1e9. With `every`, at most 1. The levels are powers of the
            decimal number that is written: 0.1 three times is 0.001.
        milestones: 1 to 999 of them, increasing: floats in (0, 1) are shares of the part, ints >= 1 its steps.
        every: >= 1; a level lasts so many steps, instead of `milestones`.
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
    Source:
        The levels of torch's MultiStepLR, and with `every` of its StepLR.
    Example:
        >>> step().multipliers(8).tolist()
        [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
        >>> step(0.5, every=2).multipliers(5).tolist()
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    factor = checks.number("factor", factor, low=0, high=LARGEST)
    if every is not None:
        checks.number("factor", factor, low=0, high=1)
        return constant().repeat(period=checks.integer("every", every, low=1), shrink=factor, steps=steps, share=share)
    edges = _edges("milestones", milestones)
    if math.log10(max(factor, 1)) * len(edges) > math.log10(LARGEST):
        raise BadInput(f"`factor` must keep every level below {LARGEST:g}, got factor={factor}, {len(edges)} times.")
    levels = [_power(factor, index) for index in range(len(edges) + 1)]
    return Schedule((Nested(_held(levels, edges), steps=steps, share=share),))


def piecewise(
    values: tuple[float, ...] = (0.0, 1.0, 0.0),
    edges: tuple[float, ...] = (0.5,),
    *,
    hold: bool = False,
    steps: int | None = None,
    share: float | None = None,
) -> Schedule:
    """A table of knots: straight lines between values at given places, or levels held between them.

    Args:
        values: each in [0, 1e9]; one at the beginning, one at each edge, one at the end; for `hold` one less.
        edges: 1 to 999 of them, increasing: floats in (0, 1) are shares of the part, ints >= 1 its steps.
        hold: levels instead of lines: `values[0]` before the first edge, `values[1]` from it on, and so forth.
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
    Example:
        >>> piecewise((0, 1, 0.5), (0.5,)).multipliers(4).tolist()
        [0.0, 0.5, 1.0, 0.75]
        >>> piecewise((1, 0.2), (3,), hold=True).multipliers(4).tolist()
        [1.0, 1.0, 1.0, 0.2]
    """
    checks.instance("hold", hold, bool, "true or false")
    levels = checks.numbers_in("values", values, low=0, high=LARGEST)
    places = _edges("edges", edges)
    if len(levels) != len(places) + 2 - hold:
        raise BadInput(
            f"`values` must be {len(places) + 2 - hold} numbers for {len(places)} edges, got {len(levels)}."
        )
    if hold:
        return Schedule((Nested(_held(levels, places), steps=steps, share=share),))
    lines = [
        Segment(Linear(), first, past, **long)
        for (first, past), long in zip(pairwise(levels), _lengths(places), strict=True)
    ]
    return Schedule((Nested(Schedule(tuple(lines)), steps=steps, share=share),))


COOLDOWNS: dict[str, Callable[..., Schedule]] = {
    "cosine": cosine,
    "exponential": lambda end, **layout: exponential(_fall(end), end=end, **layout),
    "linear": linear,
    "one_minus_sqrt": one_minus_sqrt,
    "square": lambda **layout: polynomial(2, reverse=True, **layout),
}
"""The published shapes of a cooldown, by their names; `square` is 1 - x**2."""


def wsd(warmup: float = 0.05, cooldown: float = 0.2, shape: str = "one_minus_sqrt", *, end: float = 0.0) -> Schedule:
    """Warmup, stable, decay: a linear rise, the full rate, and a cooldown at the end.

    Args:
        warmup: an int is steps; a float in [0, 1) is a share of the run.
        cooldown: the length of the decay, given likewise.
        shape: of the decay: `one_minus_sqrt`, `linear`, `cosine`, `square` (1 - x**2) or `exponential` (a geometric
            series, for which `end` must be > 0).
        end: in [0, 1]; what the decay comes to.
    Source:
        Zhai et al. 2022, arXiv:2106.04560; Hu et al. 2024, arXiv:2404.06395; Hägele et al. 2024, arXiv:2405.18392
        (20 % and 1 - sqrt).
    Example:
        >>> wsd(0.2, 0.4, "linear").multipliers(10).tolist()
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    make = COOLDOWNS[checks.one_of("shape", shape, COOLDOWNS)]
    end = checks.number("end", end, low=0, high=1, open_low=shape == "exponential")
    long = _length(checks.steps_or_share("cooldown", cooldown, open_most=True))
    return _rise("warmup", warmup) + constant() + make(end=end, **long)


def one_cycle(
    rise: float = 0.3, fall: float | None = None, *, start: float = 0.04, end: float = 4e-6, shape: str = "cosine"
) -> Schedule:
    """One cycle: up from `start` to 1 and down to `end`; with `fall`, down to `start` first and then to `end`.

    The default is the two-phase cosine form, value for value that of torch's OneCycleLR (with base learning rate
    max_lr, where `rise` of the run is a whole number of steps): the first update has `start`, the last `end`.
    Smith's triangle with annihilation is `one_cycle(0.45, 0.45, start=0.1, end=0.001, shape=linear)`.
    The momentum that belongs to it is `one_cycle_momentum` with the same `rise`, `fall` and `shape`.

    Args:
        rise: how long it goes up: an int >= 1 is steps, a float in (0, 1) a share of the run.
        fall: how long it comes back to `start`, given likewise; None is all the rest, straight to `end`.
        start: in [0, 1]; 1/25 is torch's div_factor.
        end: in [0, 1]; 1/25/10,000 is torch's final_div_factor.
        shape: `cosine` or `linear`.
    Source:
        Smith, Topin 2017, arXiv:1708.07120, section 3; Smith 2018, arXiv:1803.09820.
    Example:
        >>> one_cycle(0.5, start=0.2, end=0.0, shape="linear").multipliers(6).round(4).tolist()
        [0.2, 0.6, 1.0, 0.6667, 0.3333, 0.0]
    """
    low = checks.number("start", start, low=0, high=1)
    last = checks.number("end", end, low=0, high=1)
    return _cycle(rise, fall, (low, 1.0, low, last), shape)


def one_cycle_momentum(
    rise: float = 0.3, fall: float | None = None, *, low: float = 0.85, high: float = 0.95, shape: str = "cosine"
) -> Schedule:
    """The momentum of one cycle, the other way round: down to `low` while the rate rises, and back to `high`.

    Its multipliers are the momentum itself (or beta1): give it as the `momentum` of a method or an optimizer.

    Args:
        rise: how long the rate rises: an int >= 1 is steps, a float in (0, 1) a share of the run.
        fall: how long it comes back, given likewise; None is all the rest. After it the momentum stays `high`.
        low: in [0, 1); at the highest rate.
        high: in [0, 1); at the ends.
        shape: `cosine` or `linear`.
    Source:
        Smith 2018, arXiv:1803.09820, section 4.2.
    Example:
        >>> one_cycle_momentum(0.5, shape="linear").multipliers(4).round(4).tolist()
        [0.95, 0.85, 0.9, 0.95]
    """
    low = checks.number("low", low, low=0, high=1, open_high=True)
    high = checks.number("high", high, low=0, high=1, open_high=True)
    return _cycle(rise, fall, (high, low, high, high), shape)


def power(exponent: float = 0.51, knee: float = 0.05) -> Schedule:
    """The full rate to the knee, then a power law, `min(1, (t / knee) ** -exponent)`.

    The paper caps `B a n**-0.51` (B sequences in a batch, n tokens seen, a = 4) at a rate of 0.02: the knee lies at
    n = (4 B / 0.02) ** (1 / 0.51) tokens. It also warms up and ends in a decay: `power * wsd(0.01, 0.1, exponential,
    end=0.01)`.

    Args:
        exponent: in (0, 10].
        knee: an int >= 1 is steps; a float in (0, 1) is a share of the run.
    Source:
        Shen et al. 2024, arXiv:2408.13359, section 4.
    Example:
        >>> power(1, knee=2).multipliers(5).round(4).tolist()
        [1.0, 1.0, 1.0, 0.6667, 0.5]
    """
    where = checks.steps_or_share("knee", knee, low=1, open_low=True, open_most=True)
    timescale = where if isinstance(where, int) else where / (1 - where)  # as a share of what comes after
    return constant(**_length(where)) + inverse_power(exponent, timescale)


def tidy(value: float) -> float:
    """`value` at 15 digits, so that 0.1 ** 2 is 0.01 and 0.9 - 0.8 is 0.1 in text."""
    return float(f"{value:.15g}")


def _power(value: float, times: int) -> float:
    """The power of the decimal number that `value` is written as, correctly rounded."""
    return float(Context(prec=50).power(Decimal(repr(value)), times)) if times else 1.0


def _rise(name: str, length: float, start: float = 0.0, end: float = 1.0) -> Schedule:
    """A linear rise read at the right end of each step."""
    long = _length(checks.steps_or_share(name, length, open_most=True))
    return Schedule((Segment(Linear(), start, end, Sampling(at="right"), **long),))


def _cycle(rise: float, fall: float | None, levels: tuple[float, ...], shape: str) -> Schedule:
    """Through `levels`; the first phase is read closed, so that it has both its ends, the others at the right."""
    rise = checks.steps_or_share("rise", rise, low=1, open_low=True, open_most=True)
    make = {"cosine": cosine, "linear": linear}[checks.one_of("shape", shape, ("cosine", "linear"))]
    up = make(start=levels[0], end=levels[1], at="closed", **_length(rise))
    if fall is None:
        return up + make(start=levels[1], end=levels[3], at="right")
    most = 1.0 if isinstance(rise, int) else 1 - rise
    fall = checks.steps_or_share("fall", fall, low=1, most=most, open_low=True)
    down = make(start=levels[1], end=levels[2], at="right", **_length(fall))
    return up + down + make(start=levels[2], end=levels[3], at="right")


def _fall(end: float) -> float:
    """The rate of an exponential that comes to `end`."""
    return -math.log(end) or 1.0  # at 1 there is nothing to fall


def _length(value: float) -> dict[str, Any]:
    """Where an int is steps and a float a share."""
    return {"steps": value} if isinstance(value, int) else {"share": value}


def _edges(name: str, given: Any) -> tuple[int, ...] | tuple[float, ...]:
    """Increasing steps or increasing shares, 1 to 999 of them."""
    places = [] if isinstance(given, str | bytes | dict | set) or not hasattr(given, "__iter__") else list(given)
    if not 1 <= len(places) < MOST_READINGS:
        raise BadInput(f"`{name}` must be 1 to {MOST_READINGS - 1} steps or shares, got {name}={checks.shown(given)}.")
    checked = [checks.steps_or_share(name, place, low=1, open_low=True, open_most=True) for place in places]
    if len({type(place) for place in checked}) > 1:
        raise BadInput(f"`{name}` must be all ints (steps) or all floats (shares), got {checks.shown(tuple(places))}.")
    if any(later <= earlier for earlier, later in pairwise(checked)):
        raise BadInput(f"`{name}` must increase, got {name}={checks.shown(tuple(places))}.")
    return tuple(checked)


def _lengths(edges: tuple[float, ...]) -> list[dict[str, Any]]:
    """The lengths between edges; the last takes the rest."""
    first: float = 0 if isinstance(edges[0], int) else 0.0
    between = [past - begin for begin, past in pairwise((first, *edges))]
    return [*(_length(long if isinstance(long, int) else tidy(long)) for long in between), {}]


def _held(levels: Any, edges: tuple[float, ...]) -> Schedule:
    """Constant levels between edges."""
    parts = [Segment(Constant(), level, **long) for level, long in zip(levels, _lengths(edges), strict=True)]
    return Schedule(tuple(parts))
