"""A schedule or control on a user's own optimizer; what is made is in `torch_schedule.py`."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.controls.control import Control
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import control
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon, horizon
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule as parse_schedule
from lrcontrol.training.closed import Loop
from lrcontrol.training.plan import Plan
from lrcontrol.training.states import OnMismatch
from lrcontrol.training.torch_schedule import TorchSchedule

__all__ = ["TorchSchedule", "as_torch_scheduler"]


def as_torch_scheduler(
    optimizer: Optimizer,
    schedule: str | Schedule | Control,
    total_steps: int | str | Horizon,
    *,
    momentum: str | Schedule | None = None,
    weight_decay: str | Schedule | None = None,
    base_lrs: Sequence[float] | None = None,
    base_weight_decays: Sequence[float] | None = None,
    beyond: Literal["hold", "raise"] = "hold",
    count: Literal["updates", "calls"] = "updates",
    steps_per_epoch: int | None = None,
    per_step: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_mismatch: OnMismatch = "raise",
    direction: Literal["minimize", "maximize"] = "minimize",
) -> TorchSchedule:
    """Lay a schedule over the next `total_steps` updates of an optimizer, or over epochs, samples, tokens or time.

    Call `step()` after `optimizer.step()`, as with torch's own. The rate of update t is `base_lr * multiplier(t)`, set
    by value: nothing accumulates, and saving and loading give the same rates in whatever order optimizer and
    scheduler are built and loaded. (An optimizer's state that is loaded last brings its own rates, which are the same
    where both were saved together; the next step sets ours again.)

    Real updates are counted: a call moves the schedule by one if the optimizer has made an update since the last call
    that moved it, and else does nothing. So micro-batches, updates that a gradient scaler skipped, and repeated calls
    do not count, and a call for every epoch moves by one. Pass `count="calls"` where updates cannot be seen: in a
    simulation, or where a captured CUDA graph is replayed. A gradient scaler over a `fused=True` optimizer skips on
    the device, so `step()` then waits for the device.

    A group added later joins at the next step, or at once by `step(last_epoch)`, with the `lr` and `weight_decay` it
    has then as its base; one that is removed or exchanged moves no other. Groups whose `lr` is one tensor get one
    each. Tensors are filled in place; where there are several, their storage is moved into one buffer.

    Args:
        optimizer: every group's `lr` now is its base learning rate, unless `base_lrs` is given; where another schedule
            was on it before and has moved its rates, they must be given. A checkpoint of an optimizer alone holds the
            rates of then: load the schedule's state too.
        schedule: a schedule, a control, or the text of either, such as `"warmup(0.05)+plateau"`. A control is told
            what it needs by `step(metric)` or `step(metrics=...)`, `step(loss=...)` and `step(grad_norm=...)`. A
            metric may be told when there is one, at an update or between two; loss and norm of every update.
            When a control wants to stop, `stop_reason` says why.
        total_steps: steps as an int; or a text such as `"10ep"`, `"1e6sp"`, `"5e9tok"`, `"30min"`, or a Horizon.
            Where it is not in steps, schedules are laid on a grid of 10,000 virtual steps, so that their lengths must
            be shares.
        momentum: a schedule whose multipliers are the momentum, or the first beta, of every group, also of one that
            had none; in [0, 1).
        weight_decay: a schedule of the multiplier of every group's own weight decay; a group without any stays so,
            and one must have some.
        base_lrs: one >= 0 per group.
        base_weight_decays: one >= 0 per group, where a schedule of the weight decay was on the optimizer before.
        beyond: past the end, `hold` the schedule's end or `raise` OutOfSchedule.
        count: `updates` that were made, or `calls` of `step()`.
        steps_per_epoch: updates of an epoch, for a horizon in epochs.
        per_step: samples or tokens of an update over all processes, where all have the same number; else
            `step(amount=...)` tells the number since the last call, the same in every process.
        clock: seconds, monotonic, for a horizon in seconds. Where torch.distributed is on, rank 0's decides.
        on_mismatch: what loading does with a state of another schedule or horizon: `raise` BadInput; `keep` the saved
            ones; `rescale` the rest of the saved curve to this horizon; `replace` them by these, at the saved step.
        direction: of the metric that `step(metric)` tells a control: `maximize` for an accuracy.

    Raises:
        BadInput: a bad value, a second schedule on this optimizer, or an optimizer that has no momentum to set or
            no weight decay to multiply. DoesNotFit: the schedule is too long, or has a length in steps where there
            are none.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> scheduler = as_torch_scheduler(optimizer, "linear", total_steps=4)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """
    checks.one_of("direction", direction, ("minimize", "maximize"))
    total = horizon(total_steps).resolved(steps_per_epoch=steps_per_epoch, per_step=per_step)
    followed = schedule
    if isinstance(followed, type) or not isinstance(followed, str | Schedule | Control):
        raise BadInput(f"`schedule` must be a text, a Schedule or a control, got {checks.shown(followed)}.")
    if isinstance(followed, str | Schedule):
        followed = control(followed, steps_per_epoch=steps_per_epoch)
    if isinstance(followed, Scheduled):
        beside = {"momentum": momentum, "weight_decay": weight_decay}
        for name, given in beside.items():
            own = getattr(followed, name)
            if given is not None and own is not None:
                raise BadInput(
                    f"`{name}` must be given once, got {checks.shown(str(own))} in the schedule and another."
                )
            beside[name] = own if given is None else parse_schedule(given, steps_per_epoch=steps_per_epoch)
        source: Plan | Loop = Plan(followed.schedule, total, **beside)  # type: ignore[arg-type] # texts are parsed
        beyond = followed.beyond if beyond == "hold" else beyond
    elif momentum is not None or weight_decay is not None:
        raise BadInput("a control sets momentum and weight decay itself; leave `momentum` and `weight_decay` out.")
    else:
        source = Loop(followed, total, direction)
    return TorchSchedule(
        optimizer,
        source,
        base_lrs=base_lrs,
        base_weight_decays=base_weight_decays,
        beyond=beyond,
        count=count,
        steps_per_epoch=steps_per_epoch,
        per_step=per_step,
        clock=clock,
        on_mismatch=on_mismatch,
    )
