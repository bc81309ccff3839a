"""Schedules of torch and Transformers, read from the schedulers' attributes."""

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch.optim import lr_scheduler

from lrcontrol.interop.read_transformers import LAMBDAS
from lrcontrol.interop.reading import Curve, checked, joined, levels, of_length, per_steps, refused, share, whole
from lrcontrol.schedules.recipes.cycles import exp_range, triangular, triangular2
from lrcontrol.schedules.recipes.single import constant, cosine, geometric, linear, polynomial
from lrcontrol.schedules.schedule import Product, Schedule

__all__ = ["read_torch"]

Read = tuple[Curve, float]  # multipliers, and the base rate that they are of


def read_torch(theirs: lr_scheduler.LRScheduler, group: int, total_steps: int | None) -> Read:
    """The curve of one parameter group and its base learning rate.

    Raises:
        BadInput: ours cannot say it exactly.
    """
    reader = READERS.get(type(theirs))
    if reader is None:
        known = ", ".join(sorted(kind.__name__ for kind in READERS))
        raise refused(type(theirs).__name__, f"is not among those that can be read ({known})")
    return reader(theirs, group, total_steps)


def _step(theirs: Any, group: int, total_steps: int | None) -> Read:
    return per_steps(theirs.gamma, theirs.step_size, total_steps, stairs=True), float(theirs.base_lrs[group])


def _multi_step(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    reached, values, edges = 0, [], []
    for edge, times in sorted({0: 0, **theirs.milestones}.items()):
        if edge < 0:
            continue
        reached += times
        values.append(theirs.gamma**reached)
        edges.append(edge)
    return levels(values, edges[1:]), float(theirs.base_lrs[group])


def _constant(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    # over 0 steps torch never takes the factor back
    short = theirs.total_iters == 0
    curve = Curve(constant(theirs.factor)) if short else levels([theirs.factor, 1.0], [theirs.total_iters])
    return curve, float(theirs.base_lrs[group])


def _linear(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    steps = theirs.total_iters
    line = linear(start=theirs.start_factor, end=theirs.end_factor, steps=steps)
    # pytorch#193682: over 0 steps it stays at its start for ever
    curve = Curve(line, steps) if steps else Curve(constant(theirs.start_factor))
    return curve, float(theirs.base_lrs[group])


def _exponential(theirs: Any, group: int, total_steps: int | None) -> Read:
    falls = 0 < theirs.gamma < 1
    curve = Curve(geometric(theirs.gamma)) if falls else per_steps(theirs.gamma, 1, total_steps)
    return curve, float(theirs.base_lrs[group])


def _polynomial(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    steps = theirs.total_iters
    curve = Curve(polynomial(theirs.power, steps=steps), steps) if steps else Curve(constant())
    return curve, float(theirs.base_lrs[group])


def _cosine(theirs: Any, group: int, total_steps: int | None) -> Read:
    base_lr, steps = float(theirs.base_lrs[group]), theirs.T_max
    low = share(theirs.eta_min, base_lr)
    fall = cosine(end=low, steps=steps)
    if (total_steps or 0) <= steps:
        return Curve(fall, steps), base_lr
    wave = fall + cosine(start=low, end=1.0, steps=steps)  # past T_max theirs climbs back
    return Curve(wave.repeat(period=2 * steps)), base_lr


def _restarts(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    base_lr = float(theirs.base_lrs[group])
    low = share(theirs.eta_min, base_lr)
    return Curve(cosine(end=low).repeat(period=theirs.T_0, growth=theirs.T_mult)), base_lr


def _one_cycle(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    rates = theirs.optimizer.param_groups[group]
    peak = float(rates["max_lr"])
    make = linear if theirs._anneal_func_type == "linear" else cosine
    before, parts = -1, []
    for phase in theirs._schedule_phases:
        end = whole("OneCycleLR", "a phase that ends at step", phase["end_step"])
        ends: dict[str, Any] = {
            "start": share(rates[phase["start_lr"]], peak),
            "end": share(rates[phase["end_lr"]], peak),
        }
        place = "closed" if before < 0 else "right"  # the first phase has both its ends
        parts.append(make(**ends, steps=end - before, at=place))
        before = end
    return Curve(functools.reduce(Schedule.then, parts), theirs.total_steps), peak


def _cyclic(theirs: Any, group: int, total_steps: int | None) -> Read:
    del total_steps
    if theirs._scale_fn_custom is not None:
        raise refused("CyclicLR", "has a `scale_fn`, a function that cannot be read")
    peak = float(theirs.max_lrs[group])
    size = whole("CyclicLR", "a cycle of", theirs.total_size)
    rise = theirs.total_size * theirs.step_ratio
    whole("CyclicLR", "a rise of", round(rise) if math.isclose(rise, round(rise), rel_tol=1e-9) else rise)
    form: dict[str, Any] = {"low": share(theirs.base_lrs[group], peak), "rise": theirs.step_ratio, "period": size}
    if theirs.mode == "triangular2":
        return Curve(triangular2(**form)), peak
    if theirs.mode == "exp_range" and theirs.gamma != 1:
        return Curve(exp_range(theirs.gamma, **form)), peak
    return Curve(triangular(**form)), peak


def _sequential(theirs: Any, group: int, total_steps: int | None) -> Read:
    edges = [0, *theirs._milestones]
    lengths = [past - begin for begin, past in pairwise(edges)]
    rest = None if total_steps is None else max(total_steps - edges[-1], 1)
    inner = []
    for scheduler, length in zip(theirs._schedulers, [*lengths, rest], strict=True):
        if isinstance(scheduler, (*CONTAINERS, lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)):
            raise refused(f"{type(scheduler).__name__} in SequentialLR", "does not do in torch what it does alone")
        inner.append(read_torch(scheduler, group, length))
    return joined([curve for curve, _ in inner], lengths), inner[0][1]


def _chained(theirs: Any, group: int, total_steps: int | None) -> Read:
    inner = []
    for scheduler in theirs._schedulers:
        kind = type(scheduler).__name__
        if type(scheduler) not in MULTIPLY:
            raise refused(f"{kind} in ChainedScheduler", "sets the rate, and does not multiply it")
        if isinstance(scheduler, lr_scheduler.CosineAnnealingLR):
            if scheduler.eta_min or (total_steps or 0) > scheduler.T_max + 1:
                raise refused(f"{kind} in ChainedScheduler", "multiplies only with eta_min=0, and up to T_max")
            inner.append(_cosine(scheduler, group, None))
        else:
            inner.append(read_torch(scheduler, group, total_steps))
    known = [curve.steps for curve, _ in inner if curve.steps is not None]
    horizon = max([total_steps or 1, *known])
    factors = tuple(curve.schedule if curve.steps is None else of_length(curve, horizon) for curve, _ in inner)
    if len(factors) == 1:
        return inner[0]
    return Curve(Schedule((Product(factors),)), horizon if len(known) == len(inner) else None), inner[0][1]


def _lambda(theirs: Any, group: int, total_steps: int | None) -> Read:
    function = theirs.lr_lambdas[group]
    partial = isinstance(function, functools.partial) and not function.args
    name = getattr(function.func if partial else function, "__name__", "")
    module = getattr(function.func if partial else function, "__module__", "")
    if module != "transformers.optimization" or name not in LAMBDAS:
        raise refused("LambdaLR", "holds a function that cannot be read")
    curve = LAMBDAS[name](**(function.keywords if partial else {}))
    horizon = total_steps if curve.steps is None else None
    return checked(name, curve, horizon or curve.least, function, 1e-9), float(theirs.base_lrs[group])


MULTIPLY = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
)
"""Those that multiply the rate they find, so that a chain of them is a product."""

CONTAINERS = (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler)

READERS: dict[type, Callable[[Any, int, int | None], Read]] = {
    lr_scheduler.ChainedScheduler: _chained,
    lr_scheduler.ConstantLR: _constant,
    lr_scheduler.CosineAnnealingLR: _cosine,
    lr_scheduler.CosineAnnealingWarmRestarts: _restarts,
    lr_scheduler.CyclicLR: _cyclic,
    lr_scheduler.ExponentialLR: _exponential,
    lr_scheduler.LambdaLR: _lambda,
    lr_scheduler.LinearLR: _linear,
    lr_scheduler.MultiStepLR: _multi_step,
    lr_scheduler.OneCycleLR: _one_cycle,
    lr_scheduler.PolynomialLR: _polynomial,
    lr_scheduler.SequentialLR: _sequential,
    lr_scheduler.StepLR: _step,
}
