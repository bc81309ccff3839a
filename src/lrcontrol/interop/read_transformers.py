"""The functions inside Transformers' schedules, read from the parameters that are bound to them."""

import functools
from collections.abc import Callable

from lrcontrol.errors import BadInput
from lrcontrol.interop.reading import Curve, refused, share
from lrcontrol.schedules.recipes.phases import warmup
from lrcontrol.schedules.recipes.single import constant, cosine, inverse_power, linear, one_minus_sqrt, polynomial
from lrcontrol.schedules.schedule import Schedule

__all__ = ["LAMBDAS"]


def _rise(num_warmup_steps: int) -> list[Schedule]:
    """Their warmup reads the left end of each step: the first update has rate 0."""
    return [linear(start=0.0, end=1.0, steps=num_warmup_steps)] if num_warmup_steps else []


def _ended(parts: list[Schedule], steps: int) -> Curve:
    return Curve(functools.reduce(Schedule.then, parts), steps)


def _after(num_warmup_steps: int, num_training_steps: int) -> int:
    steps = num_training_steps - num_warmup_steps
    if steps < 1:
        raise BadInput(f"`num_training_steps` must exceed the warmup, got {num_training_steps}, {num_warmup_steps}.")
    return steps


def _constant_with_warmup(num_warmup_steps: int = 0) -> Curve:
    return Curve(functools.reduce(Schedule.then, [*_rise(num_warmup_steps), constant()]), least=num_warmup_steps + 1)


def _linear(num_warmup_steps: int, num_training_steps: int) -> Curve:
    rest = _after(num_warmup_steps, num_training_steps)
    return _ended([*_rise(num_warmup_steps), linear(steps=rest)], num_training_steps)


def _cosine(
    num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5, min_lr_rate: float = 0.0
) -> Curve:
    """Half waves from 1 to `min_lr_rate` and back; half a cycle is the usual one."""
    rest = _after(num_warmup_steps, num_training_steps)
    waves = _half_waves("cosine", num_cycles, rest, min_lr_rate)
    return _ended([*_rise(num_warmup_steps), *waves], num_training_steps)


def _half_waves(name: str, num_cycles: float, steps: int, low: float) -> list[Schedule]:
    count = num_cycles * 2
    if count < 1 or count != int(count) or steps % count:
        raise refused(
            f"{name} of {steps} steps", f"has num_cycles={num_cycles:g}, and ours turn at whole steps, from end to end"
        )
    ends = [(1.0, low), (low, 1.0)]
    each = steps // int(count)
    return [cosine(start=ends[turn % 2][0], end=ends[turn % 2][1], steps=each) for turn in range(int(count))]


def _restarts(num_warmup_steps: int, num_training_steps: int, num_cycles: int = 1) -> Curve:
    rest = _after(num_warmup_steps, num_training_steps)
    if num_cycles < 1 or num_cycles != int(num_cycles) or rest % num_cycles:
        raise refused(
            f"cosine_with_restarts of {rest} steps",
            f"has num_cycles={num_cycles:g}, which restarts between two steps",
            f"repeat(cosine, times={num_cycles}), which restarts at the nearest,",
        )
    cycles = [cosine(steps=rest)] if num_cycles == 1 else [cosine().repeat(int(num_cycles), steps=rest)]
    return _ended([*_rise(num_warmup_steps), *cycles], num_training_steps)


def _polynomial(num_warmup_steps: int, num_training_steps: int, lr_end: float, power: float, lr_init: float) -> Curve:
    rest = _after(num_warmup_steps, num_training_steps)
    fall = polynomial(power, end=share(lr_end, lr_init), steps=rest)
    return _ended([*_rise(num_warmup_steps), fall], num_training_steps)


def _inverse_sqrt(num_warmup_steps: int, timescale: int) -> Curve:
    parts = [*_rise(num_warmup_steps), inverse_power(0.5, timescale)]
    return Curve(functools.reduce(Schedule.then, parts), least=num_warmup_steps + 1)


def _cosine_min_lr(
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr_rate: float = 0.0,
    warmup_lr_rate: float | None = None,
) -> Curve:
    """The one of theirs that reads the right end of each step."""
    rest = _after(num_warmup_steps, num_training_steps)
    if num_cycles != 0.5:
        raise refused("cosine_warmup_with_min_lr", f"has num_cycles={num_cycles:g}")
    rise = warmup(num_warmup_steps)
    if warmup_lr_rate is not None:
        rise = linear(start=warmup_lr_rate, end=1.0, steps=num_warmup_steps, at="closed")
    fall = cosine(end=min_lr_rate, steps=rest, at="right")
    return _ended([rise, fall] if num_warmup_steps else [fall], num_training_steps)


def _wsd(
    num_warmup_steps: int,
    num_stable_steps: int,
    num_decay_steps: int,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
) -> Curve:
    if decay_type == "cosine" and num_cycles != 0.5:
        raise refused("warmup_stable_decay", f"has num_cycles={num_cycles:g}")
    rises: dict[str, Callable[..., Schedule]] = {
        "linear": linear,
        "cosine": cosine,
        "1-sqrt": functools.partial(polynomial, 0.5),
    }
    falls: dict[str, Callable[..., Schedule]] = {"linear": linear, "cosine": cosine, "1-sqrt": one_minus_sqrt}
    parts = [
        rises[warmup_type](start=min_lr_ratio, end=1.0, steps=num_warmup_steps),
        constant(steps=num_stable_steps),
        falls[decay_type](end=min_lr_ratio, steps=num_decay_steps),
    ]
    lengths = (num_warmup_steps, num_stable_steps, num_decay_steps)
    kept = [part for part, length in zip(parts, lengths, strict=True) if length] or parts[-1:]
    return _ended(kept, sum(lengths))


LAMBDAS: dict[str, Callable[..., Curve]] = {
    "_get_constant_lambda": _constant_with_warmup,
    "_get_constant_schedule_with_warmup_lr_lambda": _constant_with_warmup,
    "_get_cosine_schedule_with_warmup_lr_lambda": _cosine,
    "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda": _restarts,
    "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda": _cosine_min_lr,
    "_get_inverse_sqrt_schedule_lr_lambda": _inverse_sqrt,
    "_get_linear_schedule_with_warmup_lr_lambda": _linear,
    "_get_polynomial_decay_schedule_with_warmup_lr_lambda": _polynomial,
    "_get_wsd_scheduler_lambda": _wsd,
}
"""A reader for each of their functions, by its name; it takes what theirs is bound to."""
