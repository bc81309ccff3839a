"""A plan: schedules of rate, momentum and weight decay laid over a horizon; all that is known before a run."""

from typing import Any, NamedTuple

import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.schedules.horizon import Horizon, horizon, length_in_steps
from lrcontrol.schedules.laying import goes_on
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule as parse_schedule
from lrcontrol.training.course import Change, Course, changes_of

__all__ = ["GRID", "Plan", "Settings"]

GRID = 10_000  # virtual steps of a horizon that is not counted in steps
BLOCK = 8192  # settings computed at once


class Settings(NamedTuple):
    """What is in force during an update; None is left as it is."""

    multiplier: float
    momentum: float | None = None
    weight_decay: float | None = None  # multiplier of every group's own


class Plan:
    """Settings as a function of the tick.

    Args:
        schedule: of the multiplier of every group's base learning rate.
        total: in steps, samples, tokens or seconds. Over a horizon that is not in steps the schedules are laid on a
            grid of 10,000 virtual steps.
        momentum: a schedule whose multipliers are the momentum, in [0, 1).
        weight_decay: a schedule of the multiplier of every group's own weight decay.
        changes: of the horizon, oldest first.
    Raises:
        DoesNotFit: a schedule is longer than the horizon, or has a length in steps where the horizon is not in steps.
        BadInput: a momentum out of range.
    Example:
        >>> plan = Plan(parse_schedule("linear"), horizon("100tok"))
        >>> plan.at(25).multiplier, plan.at(100).multiplier
        (0.75, 0.0)
    """

    def __init__(
        self,
        schedule: Schedule,
        total: Horizon,
        *,
        momentum: Schedule | None = None,
        weight_decay: Schedule | None = None,
        changes: tuple[Change, ...] = (),
    ) -> None:
        self.schedule, self.momentum, self.weight_decay, self.first = schedule, momentum, weight_decay, total
        self.course = Course(total.ticks, changes)
        self._steps = GRID if total.counted else total.ticks
        self._first = 0
        self._columns: list[list[float] | None] = [[], None, None]
        for each in (schedule, momentum, weight_decay):
            length = length_in_steps(each) if total.counted and each is not None else None
            if length is not None:
                raise DoesNotFit(
                    f"a schedule over {total} has no steps, but {checks.shown(str(each))} has {length}; "
                    "give shares, as in warmup(0.05)."
                )
        if momentum is not None and momentum.largest >= 1:
            raise BadInput(
                f"`momentum` must stay below 1, got {checks.shown(str(momentum))}, which goes to "
                f"{momentum.largest:g}; its multipliers are the momentum itself, as in linear(start=0.95, end=0.85)."
            )
        self.at(0)  # a schedule that does not fit is refused now

    @property
    def horizon(self) -> Horizon:
        """The present horizon, all changes included."""
        return self.first.with_ticks(self.course.total)

    @property
    def texts(self) -> tuple[str, str | None, str | None]:
        """The schedules of rate, momentum and weight decay as text."""
        others = [None if each is None else str(each) for each in (self.momentum, self.weight_decay)]
        return str(self.schedule), others[0], others[1]

    @property
    def settings(self) -> Settings:
        """The settings of the first update."""
        return self.at(0)

    def at(self, tick: int) -> Settings:
        """The settings at tick >= 0; past the end, those of the end."""
        place = self._grid_place(tick) if self.first.counted else tick
        first, _ = self.block(place)
        return Settings(*[None if column is None else column[place - first] for column in self._columns])  # type: ignore[arg-type]

    def block(self, place: int) -> tuple[int, list[float]]:
        """A first place and the multipliers from there on, `place` among them; over steps a place is a step."""
        multipliers = self._columns[0]
        assert multipliers is not None  # noqa: S101 - there is always a schedule, told to the type checker
        if not 0 <= place - self._first < len(multipliers):
            self._fill(place)
            return self.block(place)
        return self._first, multipliers

    def changed(self, change: Change) -> "Plan":
        """The plan after a change of the horizon."""
        course = self.course.changed(*change)
        return Plan(
            self.schedule,
            self.first,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            changes=course.changes,
        )

    def state(self) -> dict[str, Any]:
        """The plan as JSON values."""
        schedule, momentum, weight_decay = self.texts
        return {
            "schedule": schedule,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "horizon": str(self.first),
            "ticks": self.first.ticks,
            "changes": [list(change) for change in self.course.changes],
        }

    @staticmethod
    def from_state(state: dict[str, Any]) -> "Plan":
        """The plan that `state` gave.

        Raises:
            BadInput: a value that is not what `state` gives.
        """
        checks.instance("schedule", state["schedule"], str, "the text of a schedule")
        checks.instance("horizon", state["horizon"], str, "the text of a horizon")
        ticks = checks.integer("ticks", state["ticks"], low=1, high=2**63)
        told = horizon(state["horizon"])
        if told.unit == "steps" and told.ticks != ticks:
            raise BadInput(f"a state's horizon must have as many ticks as it says, got {told} and {ticks}.")
        return Plan(
            parse_schedule(state["schedule"]),
            told.with_ticks(ticks),
            momentum=None if state["momentum"] is None else parse_schedule(state["momentum"]),
            weight_decay=None if state["weight_decay"] is None else parse_schedule(state["weight_decay"]),
            changes=changes_of(state["changes"]),
        )

    def __str__(self) -> str:
        schedule, momentum, weight_decay = self.texts
        others = (("momentum", momentum), ("weight_decay", weight_decay))
        told = "".join(f", {name}={checks.shown(text)}" for name, text in others if text is not None)
        return f"{checks.shown(schedule)}{told} over {self.horizon}"

    def _grid_place(self, tick: int) -> int:
        position = self.course.position(tick)
        return position.numerator * GRID // (position.denominator * self.course.first)

    def _fill(self, place: int) -> None:
        """Compute the block around `place`; blocks keep the memory from growing with the horizon."""
        if self.first.counted:
            first, count = 0, GRID + 1
        else:
            first, count = place, min(BLOCK, max(self.course.total - place, 0) + 1024)
        columns = [
            None if each is None else self._column(each, first, count)
            for each in (self.schedule, self.momentum, self.weight_decay)
        ]
        self._first, self._columns = first, columns

    def _column(self, schedule: Schedule, first: int, count: int) -> list[float]:
        if self.first.counted or self.course.straight:
            straight: list[float] = schedule.multiplier(np.arange(first, first + count), self._steps).tolist()
            return straight
        wholes, parts = map(np.array, zip(*self.course.positions(first, count), strict=True))
        wholes = wholes.astype(np.int64)
        low = schedule.multiplier(wholes, self._steps)
        high = schedule.multiplier(wholes + 1, self._steps)
        between = np.clip(low + (high - low) * parts, np.minimum(low, high), np.maximum(low, high))
        within = (parts > 0) & goes_on(schedule.pieces(self._steps), wholes)
        result: list[float] = np.where(within, between, low).tolist()
        return result
