"""Budgets in time: how many updates one pays for, what is used up of it, and when a rung must leave time for the next.

What was reckoned and what was used is kept in the folder of the study, so that the same command goes on with the same
plan, and is given no time twice.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lrcontrol.errors import BadInput, LRControlError, OverBudget
from lrcontrol.files import write_whole
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.runs.task import Task
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.search import Search
from lrcontrol.selection.race import Race
from lrcontrol.study_folder import made
from lrcontrol.training.tasks import data

__all__ = ["Clock", "Kept", "allowed", "halving_of", "kept", "with_closed"]

SHARE = 0.8  # of a time, that the runs are planned to take; the rest is for their beginnings and endings


class Kept(msgspec.Struct, frozen=True):
    """What time.json holds.

    Args:
        asked: what the time was given for: budget, task, slots and study.
        steps: updates that were reckoned to fit in it.
        used: seconds of it that earlier calls used.
        closed: rungs that were ended so that others could be made.
    """

    asked: tuple[str, ...]
    steps: int
    used: float = 0.0
    closed: int = 0

    def write(self, folder: Path) -> None:
        """Keep it."""
        write_whole(folder / "time.json", msgspec.json.encode(self))


def kept(folder: Path, asked: tuple[str, ...] | None = None) -> Kept | None:
    """What is kept in a folder, if it was asked for the same; None also where it cannot be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode((folder / "time.json").read_bytes(), type=Kept)
        return found if asked is None or found.asked == asked else None
    return None


def halving_of(way: Search) -> SuccessiveHalving | None:
    """The race in a search, if it is or has one."""
    return way.halving if isinstance(way, Race) else way if isinstance(way, SuccessiveHalving) else None


def with_closed(way: Search, closed: int) -> Search:
    """The same search, in which so many rungs begin no further run."""
    if isinstance(way, Race) and way.halving is not None:
        return msgspec.structs.replace(way, halving=msgspec.structs.replace(way.halving, closed=closed))
    return msgspec.structs.replace(way, closed=closed) if isinstance(way, SuccessiveHalving) else way


class Clock:
    """How long a study has taken, and until when the runs of its rungs may be begun.

    What is left when the first run has ended is shared among the rungs as their planned updates are: where everything
    takes longer than was reckoned, fewer runs are made in each, and the longest runs are not what is left out.

    Args:
        budget: of the study; where it is no time, the time is never up.
        folder: of the study.
        began: when the study was asked for, of `time.monotonic`.
        before: seconds that earlier calls used.
    """

    def __init__(self, budget: Budget, folder: Path, began: float, before: float) -> None:
        found = None if budget.seconds is None else kept(folder)
        self._seconds, self._folder, self._began = budget.seconds, folder, began
        self.before = max(before, 0.0 if found is None else found.used)
        self._from: float | None = None
        self._done = 0

    @property
    def limited(self) -> bool:
        """Whether there is a time that may be up."""
        return self._seconds is not None

    @property
    def used(self) -> float:
        """Seconds, with those of earlier calls."""
        return self.before + time.monotonic() - self._began

    @property
    def is_up(self) -> bool:
        """Whether no further run may be begun."""
        return self._seconds is not None and self.used >= self._seconds

    def begin_shares(self, spent: int) -> None:
        """Share what is left from the first run that ends (until then all is loading) with `spent` updates made."""
        if self._from is None:
            self._from, self._done = self.used, spent

    def due(self, way: Search, records: Sequence[Record]) -> bool:
        """Whether no further run of the rung that is under way may be begun."""
        race = halving_of(way)
        if self._seconds is None or self._from is None or self.is_up or race is None or not race.closing(records):
            return self.is_up
        through = race.through(records) + way.cost - race.cost
        share = (through - self._done) / max(way.cost - self._done, 1)
        return self.used >= self._from + max(share, 0.0) * (self._seconds - self._from)

    def closed(self, way: Search, records: Sequence[Record]) -> Search | None:
        """The search with the rung under way closed, which is kept; None where it goes on, or all time is up."""
        race = halving_of(way)
        closing = 0 if race is None or self._seconds is None or self.is_up else race.closing(records)
        found = kept(self._folder)
        if not closing or found is None:
            return None
        msgspec.structs.replace(found, closed=closing).write(self._folder)
        return with_closed(way, closing)

    def keep(self) -> None:
        """Keep what was used, so that the same command is not given it again."""
        found = None if self._seconds is None else kept(self._folder)
        if found is not None:
            with contextlib.suppress(LRControlError):  # a full disk: then the records tell, a little less
                msgspec.structs.replace(found, used=self.used).write(self._folder)


def allowed(
    budget: str | Budget,
    task: Task,
    slots: int,
    folder: Path,
    study: tuple[str, ...] = ("study",),
    *,
    threads: int = 1,
    device: str | None = None,
) -> Budget:
    """The budget that a text gives a task.

    For a time it is reckoned how many updates can be made here; what was reckoned is kept in the folder, so that the
    same command goes on with the same plan.

    Args:
        budget: such as `20runs` or `30min`.
        task: what is trained.
        slots: >= 1; how many runs are made side by side.
        folder: of the study; made where something is kept in it.
        study: what else tells this study from others in the folder.
        threads: >= 1; of a run.
        device: of a run; by default where its task is made.
    Raises:
        BadInput: no budget. OverBudget: a time in which no full run can be made.
    """
    full = task.full_steps
    if not Budget.is_time(budget):
        return Budget.parse(budget, full, steps_per_epoch=task.steps_per_epoch)
    several = (f"{threads} threads",) if threads > 1 else ()
    there = () if device is None else (device,)
    asked = (str(budget), task.name, str(slots), *several, *there, *study)
    found = kept(folder, asked)
    if found is not None:
        return Budget.parse(budget, full, steps_in=lambda _: found.steps)

    def steps_in(seconds: float) -> int:
        from lrcontrol.training import loop
        from lrcontrol.training.devices import find_device

        try:
            place = find_device(device)
        except BadInput as error:  # as of a cluster, whose other machines may have it
            raise BadInput(f"a time is reckoned by a few updates on this machine: {error} Or give runs.") from None
        data.ensure(task.files)
        runs = SHARE * seconds / loop.seconds_of(task, threads=threads, device=place)
        return int(runs * full * (slots if runs >= 1 else 1))  # a run is no faster beside others

    reckoned = Budget.parse(budget, full, steps_in=steps_in)
    if reckoned.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {task.name}, got {budget}, in which about "
            f"{reckoned.runs(reckoned.steps)} can be made here; give more time."
        )
    Kept(asked, reckoned.steps).write(made(folder))
    return reckoned
