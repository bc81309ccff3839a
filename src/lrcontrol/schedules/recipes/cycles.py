"""Recipes that repeat: triangular policies, restarts, snapshots, and the fractal steps of Chebyshev's nodes.

Each is laid over the run in `cycles` turns, as equal as whole steps allow, so that the run ends with a cycle; or in
turns of `period` steps until the run is full, as libraries do, the last cut short.
"""

import math
from typing import Any

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import Constant
from lrcontrol.schedules.recipes.single import constant, cosine, geometric, linear
from lrcontrol.schedules.schedule import MOST_SEGMENTS, Schedule, Segment

__all__ = ["exp_range", "fractal", "sgdr", "snapshot", "triangular", "triangular2"]


def triangular(
    cycles: int = 4,
    *,
    low: float = 0.25,
    rise: float = 0.5,
    period: int | None = None,
    steps: int | None = None,
    share: float | None = None,
) -> Schedule:
    """Straight up from `low` to 1 and down again, cycle after cycle; the first update has `low`.

    Args:
        cycles: 1 to 10,000; the paper says at least 3 and better 4, and to stop at the end of one.
        low: in [0, 1]; the paper says a third or a quarter of the peak.
        rise: in (0, 1); the share of a cycle that goes up.
        period: steps of a cycle (twice the paper's step size), instead of `cycles`.
        steps: the length in steps, or
        share: the length as a share of the run; with neither, the rest.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.1.
    Example:
        >>> triangular(1, low=0.0).multipliers(4).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    return _repeated(_triangle(low, rise), cycles, period, steps=steps, share=share)


def triangular2(cycles: int = 4, *, low: float = 0.25, rise: float = 0.5, period: int | None = None) -> Schedule:
    """As `triangular`, the height above `low` halved from one cycle to the next.

    Args:
        cycles: 1 to 10,000.
        low: in [0, 1].
        rise: in (0, 1); the share of a cycle that goes up.
        period: steps of a cycle (twice the paper's step size), instead of `cycles`.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.1.
    Example:
        >>> triangular2(2, low=0.0).multipliers(8).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """
    low = checks.number("low", low, low=0, high=1)
    return _lifted(_repeated(_triangle(0.0, rise), cycles, period, shrink=0.5), low)


def exp_range(
    gamma: float = 0.99994,
    cycles: int = 4,
    *,
    low: float = 0.25,
    rise: float = 0.5,
    period: int | None = None,
    both: bool = False,
) -> Schedule:
    """As `triangular`, shrinking by `gamma ** t`; there are two published readings of what shrinks.

    Args:
        gamma: in (0, 1); the paper's is 0.99994 for CIFAR-10 at 2000 steps a half cycle.
        cycles: 1 to 10,000.
        low: in [0, 1].
        rise: in (0, 1); the share of a cycle that goes up.
        period: steps of a cycle (twice the paper's step size), instead of `cycles`.
        both: both bounds shrink, as the paper's text has it; by default only the height above `low` does, as in
            the reference implementation for Keras and in torch's CyclicLR.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.1.
    Example:
        >>> exp_range(0.5, 1, low=0.0).multipliers(4).tolist()
        [0.0, 0.25, 0.25, 0.0625]
    """
    checks.instance("both", both, bool, "true or false")
    if both:
        return triangular(cycles, low=low, rise=rise, period=period) * geometric(gamma)
    low = checks.number("low", low, low=0, high=1)
    return _lifted(_repeated(_triangle(0.0, rise), cycles, period) * geometric(gamma), low)


def sgdr(
    cycles: int = 4, growth: float = 2.0, *, shrink: float = 1.0, low: float = 0.0, period: int | None = None
) -> Schedule:
    """Cosine annealing with warm restarts.

    With `period` it is, value for value, torch's CosineAnnealingWarmRestarts; `shrink` lowers the peaks, which
    torch's cannot.

    Args:
        cycles: 1 to 10,000; the run ends with a cycle.
        growth: each cycle is so many times as long as the one before (T_mult in the paper).
        shrink: in [0, 1]; each cycle's height above `low` is so many times that of the one before.
        low: in [0, 1]; the multiplier that each cycle comes to.
        period: steps of the first cycle (T_0 in the paper), instead of `cycles`.
    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 and section 4.
    Example:
        >>> sgdr(2).multipliers(6).round(4).tolist()
        [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464]
    """
    low = checks.number("low", low, low=0, high=1)
    if shrink == 1 or low == 0:
        return _repeated(cosine(end=low), cycles, period, growth=growth, shrink=shrink)
    return _lifted(_repeated(cosine(), cycles, period, growth=growth, shrink=shrink), low)


def snapshot(cycles: int = 5) -> Schedule:
    """Cosine cycles of equal length, each starting anew at 1; a snapshot of the weights is taken at each end.

    The official code miscounts the last cycle where `cycles` does not divide the run; here cycles differ by at most
    one step.

    Args:
        cycles: 1 to 10,000.
    Source:
        Huang et al. 2017, arXiv:1704.00109, equation 2.
    Example:
        >>> snapshot(2).multipliers(4).round(4).tolist()
        [1.0, 0.5, 1.0, 0.5]
    """
    return _repeated(cosine(), cycles, None)


def fractal(nodes: int = 8, *, low: float = 0.05, high: float = 1.0, every: int = 1) -> Schedule:
    """Chebyshev's step sizes in their stable, fractal order, again and again.

    The multipliers lie between `1 / high` and `1 / low`, far above 1 with the defaults: `low` and `high` bound the
    curvatures of the problem in units of 1 over the base learning rate.

    Args:
        nodes: a power of 2 up to 1024; step sizes in a cycle.
        low: in (0, high]; the least curvature.
        high: in (0, 1e9]; the largest curvature.
        every: >= 1; updates with each step size.
    Source:
        Agarwal, Goel, Zhang 2021, arXiv:2103.01338, definitions 1 and 2; 0.05 and 1 are those of pytorch_optimizer.
    Example:
        >>> fractal(4).multipliers(4).round(3).tolist()
        [11.607, 1.038, 2.914, 1.415]
    """
    nodes = checks.integer("nodes", nodes, low=1, high=1024)
    if nodes & (nodes - 1):
        raise BadInput(f"`nodes` must be a power of 2, got nodes={nodes}.")
    high = checks.number("high", high, low=0, high=1e9, open_low=True)
    low = checks.number("low", low, low=1e-9, high=high)
    every = checks.integer("every", every, low=1)
    middle, half = (high + low) / 2, (high - low) / 2
    curvatures = [middle - half * math.cos((node - 0.5) * math.pi / nodes) for node in _fractal_order(nodes)]
    steps = tuple(Segment(Constant(), 1 / curvature, steps=every) for curvature in curvatures)
    return Schedule(steps).repeat(period=nodes * every)


def _fractal_order(nodes: int) -> list[int]:
    """The numbers 1 to `nodes`, ordered so that partial products of the steps stay bounded."""
    order = [1]
    while len(order) < nodes:
        mirror = 2 * len(order) + 1
        order = [number for node in order for number in (node, mirror - node)]
    return order


def _triangle(low: float, rise: float) -> Schedule:
    """Straight up and down."""
    rise = checks.number("rise", rise, low=0, high=1, open_low=True, open_high=True)
    low = checks.number("low", low, low=0, high=1)
    return linear(start=low, end=1.0, share=rise) + linear(start=1.0, end=low)


def _repeated(turn: Schedule, cycles: int, period: int | None, **layout: Any) -> Schedule:
    """`cycles` turns over the run, or turns of `period` steps."""
    if period is None:
        return turn.repeat(checks.integer("cycles", cycles, low=1, high=MOST_SEGMENTS), **layout)
    return turn.repeat(period=period, **layout)


def _lifted(schedule: Schedule, low: float) -> Schedule:
    """From [0, 1] to [low, 1]."""
    return schedule if low == 0 else constant(low).plus(schedule * (1 - low))
