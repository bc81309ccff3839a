"""The way back: a schedule of torch, Transformers, optax or Keras as one of ours, or a sentence why it is none."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.interop.reading import checked, held
from lrcontrol.schedules.profiles import MOST_VALUES
from lrcontrol.schedules.recipes.single import constant, table
from lrcontrol.schedules.schedule import Schedule

__all__ = ["Description", "describe", "describe_transformers", "sampled"]


class Description(NamedTuple):
    """A schedule read from another library: its rates are `base_lr * schedule.multiplier(step, total_steps)`.

    Args:
        schedule: ours.
        total_steps: the horizon to lay it over: what was asked for, or longer where theirs is; a run may end before.
        base_lrs: one for each parameter group; optax and Keras have one.
    """

    schedule: Schedule
    total_steps: int
    base_lrs: tuple[float, ...]


def describe(theirs: Any, total_steps: int | None = None) -> Description:
    """The schedule of ours that gives the rates of theirs, step by step.

    It reads torch's schedulers (all but ReduceLROnPlateau and those that hold a user's function), what Transformers'
    `get_..._schedule` functions return, optax's schedules and Keras's. Equal means to rounding, and that past the end
    ours holds. The momentum that OneCycleLR and CyclicLR move is not read; `one_cycle_momentum` is ours.

    Args:
        theirs: the other library's object. It is read, not stepped; where it stands does not matter.
        total_steps: >= 1; updates to lay it over. May be left out where theirs has an end.

    Raises:
        BadInput: theirs cannot be read, or ours cannot say it exactly; the sentence says what to write instead.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> found = describe(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.01))
        >>> str(found.schedule), found.total_steps, found.base_lrs
        ('cosine(end=0.1)', 100, (0.1,))
    """
    horizon = None if total_steps is None else checks.integer("total_steps", total_steps, low=1)
    library = {kind.__module__.partition(".")[0] for kind in type(theirs).__mro__}
    if library & {"torch"} and hasattr(theirs, "optimizer"):
        return _of_torch(theirs, horizon)
    if library & {"keras"}:
        from lrcontrol.interop.read_keras import read_keras

        curve, base_lr = read_keras(theirs, horizon)
        return Description(*held(curve, horizon), (base_lr,))
    if getattr(theirs, "__module__", "").partition(".")[0] == "optax" and hasattr(theirs, "__code__"):
        from lrcontrol.interop.read_optax import read_optax

        curve, base_lr = read_optax(theirs, horizon)
        checked(theirs.__qualname__, curve, horizon, lambda step: theirs(step) / base_lr, 1e-5)
        return Description(*held(curve, horizon), (base_lr,))
    raise BadInput(
        f"`theirs` must be a schedule of torch, Transformers, optax or Keras, got {checks.shown(theirs)}; "
        "a function of the step is described by sampled(rate_at, total_steps)."
    )


def describe_transformers(
    name: str, num_warmup_steps: int, num_training_steps: int, *, base_lr: float, **scheduler_specific_kwargs: Any
) -> Description:
    """The schedule of ours that gives the rates of a `lr_scheduler_type` of Transformers.

    Args:
        name: a `lr_scheduler_type`, such as `cosine_with_min_lr`.
        num_warmup_steps: >= 0.
        num_training_steps: >= 1.
        base_lr: > 0; their learning rate, of which `min_lr` and `lr_end` are shares.
        scheduler_specific_kwargs: as `lr_scheduler_kwargs` has them.

    Raises:
        BadInput: ours cannot say it exactly. What theirs raises: it has no such name or parameter.

    Example:
        >>> found = describe_transformers("cosine_with_min_lr", 10, 100, base_lr=1e-3, min_lr=1e-4)
        >>> str(found.schedule)
        'linear(start=0, end=1, steps=10)+cosine(end=0.1)'
    """
    import torch
    from transformers import get_scheduler

    base_lr = checks.number("base_lr", base_lr, low=0, open_low=True)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_lr)
    theirs = get_scheduler(name, optimizer, num_warmup_steps, num_training_steps, scheduler_specific_kwargs)
    return describe(theirs, num_training_steps)


def sampled(rate_at: Callable[[int], Any], total_steps: int) -> Description:
    """Any function of the step, as a table of its values at every step of a run.

    Args:
        rate_at: takes a step from 0 to `total_steps` and returns the rate, >= 0.
        total_steps: 1 to 9999. Laid over another horizon, the table is read in between its values.

    Raises:
        BadInput: a rate is negative or not finite, or there are too many steps.

    Example:
        >>> found = sampled(lambda step: 0.1 * 0.5**step, 3)
        >>> found.schedule.multipliers(3).tolist(), found.base_lrs
        ([1.0, 0.5, 0.25], (0.1,))
    """
    horizon = checks.integer("total_steps", total_steps, low=1, high=MOST_VALUES - 1)
    rates = [checks.number("rate_at", float(rate_at(step)), low=0) for step in range(horizon + 1)]
    peak = max(rates)
    if peak == 0:
        return Description(constant(0.0), horizon, (1.0,))
    return Description(table(tuple(np.array(rates) / peak)), horizon, (peak,))


def _of_torch(theirs: Any, total_steps: int | None) -> Description:
    from lrcontrol.interop.read_torch import read_torch

    groups = len(theirs.optimizer.param_groups)
    found = [read_torch(theirs, group, total_steps) for group in range(groups)]
    laid = [held(curve, total_steps) for curve, _ in found]
    for group, one in enumerate(laid):
        if one != laid[0]:
            raise BadInput(
                f"the groups of an optimizer must follow one schedule, but group 0 has '{laid[0][0]}' and "
                f"group {group} has '{one[0]}'; give theirs end rates that are the same share of every group's rate."
            )
    return Description(*laid[0], tuple(base_lr for _, base_lr in found))
