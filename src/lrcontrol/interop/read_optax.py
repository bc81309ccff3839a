"""Schedules of optax: closures, read by the names of the variables that they hold."""

import contextlib
from collections.abc import Callable
from itertools import accumulate, pairwise
from operator import mul
from typing import Any

from lrcontrol.interop.reading import Curve, held, joined, levels, per_steps, refused, share
from lrcontrol.schedules.recipes.single import constant, cosine, linear, polynomial
from lrcontrol.schedules.schedule import Schedule

__all__ = ["read_optax"]


def read_optax(theirs: Callable[..., Any], total_steps: int | None) -> tuple[Curve, float]:
    """The curve of a schedule that optax made, and the base learning rate: its highest rate.

    Raises:
        BadInput: ours cannot say it exactly.
    """
    schedule, horizon = held(_read(theirs, 1.0, total_steps), total_steps)
    peak = float(schedule.multipliers(horizon).max())
    return (_read(theirs, peak, total_steps), peak) if peak > 0 else (Curve(constant(0.0)), 1.0)


def _read(theirs: Any, unit: float, total_steps: int | None) -> Curve:
    """The curve in multiples of `unit`."""
    name = getattr(theirs, "__qualname__", "").partition(".")[0]
    if name not in READERS:
        raise refused(f"{name or type(theirs).__name__} of optax", f"is not among {', '.join(sorted(READERS))}")
    return READERS[name](_bound(theirs), unit, total_steps)


def _bound(theirs: Any) -> dict[str, Any]:
    """The variables that a closure holds, but for those that were never set."""
    found = {}
    for name, cell in zip(theirs.__code__.co_freevars, theirs.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found


def _constant(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    del total_steps
    return Curve(constant(share(bound["value"], unit)))


def _polynomial(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    del total_steps
    start = share(bound["init_value"], unit)
    if "transition_steps" not in bound:  # of no length: theirs stays at its start
        return Curve(constant(start))
    end, steps, power = share(bound["end_value"], unit), int(bound["transition_steps"]), float(bound["power"])
    layout: dict[str, Any] = {"start": start, "end": end, "steps": steps}
    curve = Curve(linear(**layout) if power == 1 else polynomial(power, **layout), steps)
    return _begun(bound, start, curve)


def _exponential(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    start = share(bound["init_value"], unit)
    if "transition_steps" not in bound:
        return Curve(constant(start))
    gamma, begin = float(bound["decay_rate"]), int(bound["transition_begin"])
    rest = None if total_steps is None else max(total_steps - begin, 1)
    fall = per_steps(gamma, bound["transition_steps"], rest, stairs=bool(bound["staircase"]))
    curve = _begun(bound, start, Curve(fall.schedule * start))
    if bound["end_value"] is None:
        return curve
    bounded = Schedule.at_least if gamma < 1 else Schedule.at_most
    return curve._replace(schedule=bounded(curve.schedule, share(bound["end_value"], unit)))


def _begun(bound: dict[str, Any], start: float, curve: Curve) -> Curve:
    begin = int(bound["transition_begin"])
    return joined([Curve(constant(start)), curve], [begin]) if begin else curve


def _cosine(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    del total_steps
    if bound["exponent"] != 1:
        raise refused("cosine_decay_schedule", f"has exponent={bound['exponent']}, and our cosine has none")
    start, steps = share(bound["init_value"], unit), int(bound["decay_steps"])
    return Curve(cosine(start=start, end=start * float(bound["alpha"]), steps=steps), steps)


def _piecewise(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    del total_steps
    scales = sorted((bound["boundaries_and_scales"] or {}).items())
    values = accumulate([share(bound["init_value"], unit), *(float(scale) for _, scale in scales)], mul)
    return levels(list(values), [int(edge) for edge, _ in scales])


def _interpolated(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    del total_steps
    make = linear if bound["interpolate_fn"].__name__ == "_linear_interpolate" else cosine
    values = list(accumulate([share(bound["init_value"], unit), *map(float, bound["scales"])], mul))
    edges = [0, *map(int, bound["boundaries"])]
    curves = [
        Curve(make(start=start, end=end, steps=past - begin), past - begin)
        for (start, end), (begin, past) in zip(pairwise(values), pairwise(edges), strict=True)
        if past > begin
    ]
    if not curves:
        return Curve(constant(values[-1]))
    return joined(curves, [curve.steps or 0 for curve in curves[:-1]])


def _joined(bound: dict[str, Any], unit: float, total_steps: int | None) -> Curve:
    edges = [0, *map(int, bound["boundaries"])]
    lengths = [past - begin for begin, past in pairwise(edges)]
    rest = None if total_steps is None else max(total_steps - edges[-1], 1)
    inner = [_read(each, unit, length) for each, length in zip(bound["schedules"], [*lengths, rest], strict=True)]
    return joined(inner, lengths)


READERS: dict[str, Callable[[dict[str, Any], float, int | None], Curve]] = {
    "constant_schedule": _constant,
    "cosine_decay_schedule": _cosine,
    "exponential_decay": _exponential,
    "join_schedules": _joined,
    "piecewise_constant_schedule": _piecewise,
    "piecewise_interpolate_schedule": _interpolated,
    "polynomial_schedule": _polynomial,
}
"""A reader for each function of optax that makes closures; the others call these."""
