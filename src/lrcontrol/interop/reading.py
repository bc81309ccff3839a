"""What every reader of other people's schedules shares: a curve on its way to a description."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import Constant
from lrcontrol.schedules.recipes.phases import step, tidy
from lrcontrol.schedules.recipes.single import constant, exponential
from lrcontrol.schedules.schedule import Schedule, Segment

__all__ = ["Curve", "checked", "held", "joined", "levels", "of_length", "per_steps", "refused", "share", "whole"]


class Curve(NamedTuple):
    """A schedule read, before its horizon is known."""

    schedule: Schedule
    steps: int | None = None  # its own length, all of it fixed, after which its end holds; None: it goes on for ever
    least: int = 1  # steps that one without end needs


def refused(what: str, why: str, instead: str = "sampled(rate_at, total_steps)") -> BadInput:
    """The error for a schedule that ours cannot say exactly, and what to write instead."""
    return BadInput(f"a schedule must be one that ours can say exactly, but {what} {why}; write {instead} instead.")


def share(value: Any, base_lr: float) -> float:
    """`value / base_lr`, at 15 digits where that gives the same rate to 2 ulp: 0.1 for 0.01 of 0.1."""
    if not base_lr > 0:
        raise refused("a schedule", f"has a rate of {float(value):g} beside a base learning rate of {base_lr:g}")
    exact = float(value) / base_lr
    return tidy(exact) if math.isclose(tidy(exact) * base_lr, float(value), rel_tol=4.5e-16) else exact


def whole(what: str, name: str, value: Any) -> int:
    """`value`, a length of theirs, as an int; BadInput where it is not a whole number."""
    if not math.isfinite(value) or value != int(value):
        raise refused(what, f"has {name}={value:g}, and ours change at whole steps")
    return checks.integer(name, int(value))


def held(curve: Curve, total_steps: int | None) -> tuple[Schedule, int]:
    """The schedule of a curve and its horizon: `total_steps`, or longer where the curve is."""
    if total_steps is None and curve.steps is None:
        raise BadInput("`total_steps` must be given for a schedule that has no end of its own.")
    horizon = max(total_steps or 1, curve.steps or curve.least)
    last = curve.schedule.parts[-1]
    if isinstance(last, Segment) and last.steps and (curve.steps == horizon or isinstance(last.profile, Constant)):
        last = msgspec.structs.replace(last, steps=None)  # so that it can be laid over another horizon
    return Schedule((*curve.schedule.parts[:-1], last)), horizon


def of_length(curve: Curve, length: int) -> Schedule:
    """The first `length` steps of a curve, as parts of fixed length."""
    if curve.steps == length:
        return curve.schedule
    own = curve.steps or curve.least
    if own > length:
        return curve.schedule.repeat(period=own, steps=length)  # the first turn, cut short
    return curve.schedule.over(steps=length)


def joined(curves: Sequence[Curve], lengths: Sequence[int]) -> Curve:
    """Curves one after the other; `lengths` of all but the last."""
    begun = [of_length(curve, length) for curve, length in zip(curves, lengths, strict=False) if length > 0]
    last, before = curves[-1], sum(lengths)
    parts = [part for schedule in (*begun, last.schedule) for part in schedule.parts]
    steps = None if last.steps is None else before + last.steps
    return Curve(Schedule(tuple(parts)), steps, before + last.least)


def levels(values: Sequence[float], edges: Sequence[int]) -> Curve:
    """Constant levels, the next from each edge on."""
    lengths = [past - begin for begin, past in pairwise([0, *edges])]
    return joined([Curve(constant(value)) for value in values], lengths)


def per_steps(gamma: float, every: float, total_steps: int | None, *, stairs: bool = False) -> Curve:
    """`gamma ** (t / every)`, or with stairs its levels of `every` steps."""
    if gamma == 1:
        return Curve(constant())
    if gamma <= 0:
        raise BadInput(
            f"`gamma` must be > 0 to be described, got gamma={gamma}; write constant(0) after its first step."
        )
    if stairs and every != int(every):
        raise BadInput(f"stairs must be of whole steps to be described, got {every} steps; sample it: sampled(...).")
    if stairs and gamma < 1:
        return Curve(step(gamma, every=int(every)))
    if total_steps is None:
        raise BadInput("`total_steps` must be given for a schedule that has no end of its own.")
    rate = -math.log(gamma) * total_steps / every
    return Curve(exponential(rate, every=int(every) if stairs else 1))


def checked(what: str, curve: Curve, total_steps: int | None, rate_at: Callable[[int], float], within: float) -> Curve:
    """The curve, if it is what `rate_at` says at up to 200 steps; the code that was read may be another's version."""
    schedule, horizon = held(curve, total_steps)
    steps = np.unique(np.linspace(0, horizon - 1, 200).astype(np.int64))
    ours = schedule.multiplier(steps, horizon)
    theirs = np.array([float(rate_at(int(at))) for at in steps])
    away = np.abs(ours - theirs) > within * max(float(np.abs(theirs).max()), 1e-300)
    if away.any():
        at = int(steps[away][0])
        raise refused(what, f"gives {theirs[away][0]:g} at step {at}, where it was read as '{schedule}'")
    return curve
