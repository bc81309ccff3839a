"""Every recipe by its name in text."""

from collections.abc import Callable

from lrcontrol.schedules.recipes import cycles, phases, single
from lrcontrol.schedules.schedule import Schedule

__all__ = ["RECIPES"]

RECIPES: dict[str, Callable[..., Schedule]] = {
    recipe.__name__: recipe
    for recipe in (
        single.constant,
        single.cosine,
        cycles.exp_range,
        single.exponential,
        cycles.fractal,
        single.geometric,
        single.inverse_power,
        single.inverse_sqrt,
        single.linear,
        phases.one_cycle,
        phases.one_cycle_momentum,
        single.one_minus_sqrt,
        phases.piecewise,
        single.polynomial,
        phases.power,
        single.rex,
        cycles.sgdr,
        cycles.snapshot,
        phases.step,
        single.table,
        cycles.triangular,
        cycles.triangular2,
        phases.warmup,
        phases.wsd,
    )
}
"""Every recipe by its name in text."""
