"""A schedule on a user's own optimizer: a torch LRScheduler that is a pure function of schedule and step."""

import weakref
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrcontrol import checks
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule as parse_schedule

__all__ = ["TorchSchedule", "as_torch_scheduler"]

FORMAT, VERSION = "lrcontrol/torch-schedule", 1
STATE = ("format", "version", "schedule", "horizon", "beyond", "step", "base_lrs")
BLOCK = 1024  # multipliers computed at once


def as_torch_scheduler(
    optimizer: Optimizer,
    schedule: str | Schedule,
    total_steps: int,
    *,
    base_lrs: Sequence[float] | None = None,
    beyond: Literal["hold", "raise"] = "hold",
) -> "TorchSchedule":
    """Lay a schedule over the next `total_steps` updates of an optimizer.

    Call `step()` after every `optimizer.step()`, as with torch's own. The rate of update t is
    `base_lr * multiplier(t)`, set by value: nothing accumulates, and saving and loading give the same rates in
    whatever order optimizer and scheduler are built and loaded.

    A group added later joins at the next `step()`, with the `lr` it has then as its base learning rate;
    `step(last_epoch)` lets it join at once. Groups whose `lr` is one tensor get one each, so that every group has
    its own rate and a group added later gets the optimizer's default as it was given.

    Args:
        optimizer: every group's `lr` now is its base learning rate, unless `base_lrs` is given.
        schedule: a schedule or its text.
        total_steps: >= 1; updates that the schedule is laid over.
        base_lrs: one >= 0 per group.
        beyond: past the end, `hold` the schedule's end or `raise` OutOfSchedule.

    Raises:
        BadInput: a bad value, or a second schedule on this optimizer. DoesNotFit: the schedule is too long.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> scheduler = as_torch_scheduler(optimizer, "linear", total_steps=4)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """
    return TorchSchedule(optimizer, parse_schedule(schedule), total_steps, base_lrs=base_lrs, beyond=beyond)


class TorchSchedule(LRScheduler):
    """See `as_torch_scheduler`. The state is JSON primitives and loads with `weights_only=True`."""

    # torch's constructor would patch optimizer.step, read `initial_lr` back and take a first step: not called.
    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        total_steps: int,
        *,
        base_lrs: Sequence[float] | None = None,
        beyond: Literal["hold", "raise"] = "hold",
    ) -> None:
        checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
        self.beyond = checks.one_of("rule past the end", beyond, ("hold", "raise"))
        self.optimizer = optimizer
        self.schedule = schedule
        self.horizon = checks.integer("total_steps", total_steps, low=1)
        self._block: tuple[int, list[float]] = (0, [])
        self._multiplier(0)  # a schedule that does not fit is refused now
        given = [float(group["lr"]) for group in optimizer.param_groups] if base_lrs is None else base_lrs
        self.base_lrs = self._checked_base_lrs(given)
        first = _ON.get(optimizer, lambda: None)()
        if first is not None:
            raise BadInput(
                f"an optimizer must have one schedule, but this one has {checks.shown(str(first.schedule))} over "
                f"{first.horizon} steps; join them in one, as in 'warmup(0.1)+rex', or delete the first."
            )
        _ON[optimizer] = weakref.ref(self)
        self.last_epoch = 0  # torch's name for the number of updates made
        self._step_count = 1  # counted by accelerate
        self._apply()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next update; call after `optimizer.step()`.

        Args:
            epoch: the number of updates made, to jump there; by default one more than before.
        """
        following = self.last_epoch + 1 if epoch is None else checks.integer("epoch", epoch)
        if self.beyond == "raise" and following > self.horizon:
            raise OutOfSchedule(f"the schedule has {self.horizon} steps, and all of them have been made.")
        self.last_epoch = following
        self._step_count += 1
        self._apply()

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """The rates in force, one per group, as plain floats."""
        return list(self._last_lr)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rates that the schedule gives the next update, one per group."""
        multiplier = self._multiplier(self.last_epoch)
        return [base_lr * multiplier for base_lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values: schedule, horizon, updates made, base learning rates."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "schedule": str(self.schedule),
            "horizon": self.horizon,
            "beyond": self.beyond,
            "step": self.last_epoch,
            "base_lrs": list(self.base_lrs),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the state's step and set its rates; nothing changes where the state does not fit.

        Raises:
            BadInput: the state is of another schedule, horizon or number of groups, or no state of ours.
        """
        checks.instance("state_dict", state_dict, dict, "what state_dict() gave")
        if (state_dict.get("format"), state_dict.get("version")) != (FORMAT, VERSION):
            raise BadInput(
                f'a state must have "format": "{FORMAT}" and version {VERSION}, '
                f"got {checks.shown(state_dict.get('format'))}, {checks.shown(state_dict.get('version'))}."
            )
        if set(state_dict) != set(STATE):
            raise BadInput(f"a state must have exactly {', '.join(STATE)}, got {checks.shown(list(state_dict))}.")
        for name, ours in (("schedule", str(self.schedule)), ("horizon", self.horizon)):
            if state_dict[name] != ours:
                raise BadInput(
                    f"the state must be of the same {name}: it is {checks.shown(state_dict[name])}, "
                    f"this scheduler has {checks.shown(ours)}; build the scheduler with the former to go on, "
                    "or do not load the state to begin anew."
                )
        base_lrs = self._checked_base_lrs(state_dict["base_lrs"])
        step = checks.integer("step", state_dict["step"])
        self.base_lrs, self.last_epoch, self._step_count = base_lrs, step, step + 1
        self._apply()

    def _multiplier(self, step: int) -> float:
        """One look-up; the schedule is computed in blocks, so that memory does not grow with the horizon."""
        first, block = self._block
        if not 0 <= step - first < len(block):
            first = step - step % BLOCK
            block = self.schedule.multiplier(np.arange(first, first + BLOCK), self.horizon).tolist()
            self._block = first, block
        return block[step - first]

    def _checked_base_lrs(self, given: Sequence[float]) -> "list[float | torch.Tensor]":
        groups = len(self.optimizer.param_groups)
        if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != groups:
            raise BadInput(f"`base_lrs` must have one rate per group ({groups}), got base_lrs={checks.shown(given)}.")
        return [checks.number("base_lrs", base_lr, low=0) for base_lr in given]

    def _apply(self) -> None:
        """Write the rates into the optimizer: tensors are filled in place, so compiled steps stay compiled."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # added since: joins by its own base
            self.base_lrs.append(float(group["lr"]))
        rates = self.get_lr()
        taken = {id(self.optimizer.defaults.get("lr"))}
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            held = group["lr"]
            if isinstance(held, torch.Tensor):
                if id(held) in taken:  # torch gives the default's own tensor to every group that names no rate
                    group["lr"] = held = held.clone()
                taken.add(id(held))
                held.fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = rates


_ON: "weakref.WeakKeyDictionary[Optimizer, weakref.ref[TorchSchedule]]" = weakref.WeakKeyDictionary()
"""The schedule that is on an optimizer, while both live."""
