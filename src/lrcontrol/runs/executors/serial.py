"""Runs one after the other, in this process."""

import time
import traceback
from collections.abc import Iterator

from lrcontrol import checks
from lrcontrol.runs.executors.executor import check_room, check_running, failed, packed
from lrcontrol.runs.executors.lots import Carry, Divide, Lots, by_beginnings
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Serial"]

SOON = 0.2  # seconds in which records are gathered, so that they can be kept together


class Serial:
    """An executor that carries runs out here, when they are waited for.

    Args:
        carry: carries out the runs of a lot.
        objective: of the task, for records of runs that raise.
        ahead: >= 1; how many runs are taken on at once, so that those that belong together can be found.
        divide: says which belong together.
    """

    def __init__(self, carry: Carry, objective: Objective, *, ahead: int = 1, divide: Divide = by_beginnings) -> None:
        self._carry, self._objective = carry, objective
        self._ahead = checks.integer("ahead", ahead, low=1)
        self._lots = Lots(divide, workers=1)
        self._lot: list[RunSpec] = []
        self._records: Iterator[Record] = iter(())
        self._interrupted = False

    @property
    def running(self) -> list[RunSpec]:
        """The lot at hand and those that wait."""
        return self._lot + self._lots.waiting

    @property
    def room(self) -> int:
        """How many more may be taken on."""
        return self._ahead - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        """Take a run."""
        check_room(self.room)
        self._lots.add(spec)

    def wait(self) -> list[Record]:
        """The records of the next runs: one, or as many of its lot as end soon after it.

        Whatever a run raises, Ctrl-C apart, is a record; Ctrl-C is put off until what has ended is returned.
        """
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        check_running(self.running)
        ended = [self._next()]
        until = time.monotonic() + SOON
        try:
            while self._lot and time.monotonic() < until:
                ended.append(self._next())
        except KeyboardInterrupt:
            self._interrupted = True
        return ended

    def _next(self) -> Record:
        """Carry on to the next record."""
        while True:
            started = time.monotonic()
            try:
                if not self._lot:
                    self._lot = self._lots.take()
                    self._records = iter(self._carry(list(self._lot)))
                record = Record.from_summary(*packed(next(self._records, None), self._lot))
            except KeyboardInterrupt:
                raise
            except BaseException:  # also SystemExit, which a script of somebody else may raise
                lot, self._lot = self._lot, []
                if len(lot) > 1:  # nobody knows which of them it was
                    self._lots.alone(lot)
                    continue
                return failed(lot[0], self._objective, traceback.format_exc(limit=-20), time.monotonic() - started)
            self._lot = [spec for spec in self._lot if spec.id != record.id]
            self._lots.saw(record)
            return record

    def withdraw(self) -> None:
        """Give up all runs: between two records none is under way."""
        self.close()

    def close(self) -> None:
        """Forget the runs that were taken."""
        self._lot = []
        self._lots.clear()
