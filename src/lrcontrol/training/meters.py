"""Meters: how far a run has come where its horizon is not in steps; amounts are told, time is read from a clock."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import distributed

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon

__all__ = ["Amount", "Clock", "Meter", "meter"]

_PER_SECOND = 10**9  # a clock is read in nanoseconds
_AGREEMENTS = 200  # at least, in a whole run of several processes


class Meter(Protocol):
    """Counts the ticks of a horizon; the count never decreases."""

    ticks: int

    @property
    def told_ticks(self) -> int:
        """What was told, also since the last update."""

    def told(self, amount: Any) -> None:
        """Hear what one call of `step()` was told, whether or not there was an update."""

    def read(self, update: int) -> int:
        """The ticks after `update` updates; called once for each."""

    def restart(self, ticks: int, told: int) -> None:
        """Go on from what a state kept."""


class Amount:
    """Samples or tokens, as `step(amount=...)` tells them."""

    def __init__(self, total: Horizon) -> None:
        self.ticks, self.told_ticks, self._total = 0, 0, total

    def told(self, amount: Any) -> None:
        """Add the amount."""
        if amount is None:
            raise BadInput(
                f"a horizon in {self._total.unit} needs `step(amount=...)`, the {self._total.unit} since the last "
                "call; or give `per_step` where every update has the same number."
            )
        self.told_ticks += checks.integer("amount", amount.item() if hasattr(amount, "item") else amount)

    def read(self, update: int) -> int:
        """All that was told."""
        self.ticks = self.told_ticks
        return self.ticks

    def restart(self, ticks: int, told: int) -> None:
        """Go on from both counts."""
        self.ticks, self.told_ticks = ticks, told


class Clock:
    """Time since it was made, in nanoseconds, from a monotonic clock; what a run was stopped for does not count.

    A clock that jumps back changes nothing: the time until it is read again is lost, and no more. Where
    torch.distributed is on, rank 0's clock decides for all ranks, at a few updates that all ranks know beforehand;
    between these every rank reckons with the same number of nanoseconds an update, so that all have the same ticks,
    and no update waits for another process but for those few.

    Args:
        total: the horizon in nanoseconds, which sets how rarely the ranks agree.
        clock: seconds as a float.
    """

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.ticks, self._total, self._clock = 0, total, clock
        self.restart(0, 0)

    def told(self, amount: Any) -> None:
        """Refuse an amount."""
        if amount is not None:
            raise BadInput(f"a horizon in seconds takes no `amount`, got {checks.shown(amount)}; leave it out.")

    def read(self, update: int) -> int:
        """The time that has passed."""
        together = distributed.is_available() and distributed.is_initialized()
        self.ticks = max(self.ticks, self._agreed(update) if together else self._look())
        return self.ticks

    @property
    def told_ticks(self) -> int:
        """The ticks: a clock is not told anything."""
        return self.ticks

    def restart(self, ticks: int, told: int) -> None:
        """Go on from `ticks`; the ranks agree anew at the next update."""
        self.ticks = self._elapsed = ticks
        self._seen = self._clock()
        self._agreed_at: int | None = None  # the update, of which `_then` and what follows hold
        self._then, self._pace, self._next, self._span = ticks, 0, 0, 1

    def _look(self) -> int:
        now = self._clock()
        passed = now - self._seen
        self._seen = now
        if passed > 0 and math.isfinite(passed):
            self._elapsed += int(passed * _PER_SECOND)
        return self._elapsed

    def _agreed(self, update: int) -> int:
        if self._agreed_at is None or update >= self._next or update < self._agreed_at:
            self._agree(update)
        assert self._agreed_at is not None  # noqa: S101 - a fact of the line above, told to the type checker
        return self._then + self._pace * (update - self._agreed_at)

    def _agree(self, update: int) -> None:
        """Take rank 0's time, its pace since the last agreement, and the update of the next one."""
        elapsed = self._look()
        pace, span = 0, 1
        if self._agreed_at is not None and update > self._agreed_at:
            pace = max(elapsed - self._then, 0) // (update - self._agreed_at)
            span = min(2 * self._span, max(self._total // _AGREEMENTS // max(pace, 1), 1))
        message = torch.tensor([elapsed, pace, span], dtype=torch.int64, device=_device())
        distributed.broadcast(message, src=0)
        self._then, self._pace, self._span = (int(value) for value in message.tolist())
        self._elapsed, self._agreed_at, self._next = self._then, update, update + self._span

    def __getstate__(self) -> dict[str, Any]:
        return {"ticks": self.ticks, "total": self._total, "clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._total, self._clock = state["total"], state["clock"]
        self.restart(state["ticks"], 0)


def meter(total: Horizon, clock: Callable[[], float]) -> Meter | None:
    """What counts the ticks of a horizon; None for steps."""
    if not total.counted:
        return None
    return Clock(total.ticks, clock) if total.unit == "seconds" else Amount(total)


def _device() -> torch.device:
    """Where the default process group can send from."""
    backend = str(distributed.get_backend_config())
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or "gloo" in backend or "mpi" in backend:
        return torch.device("cpu")
    return accelerator
