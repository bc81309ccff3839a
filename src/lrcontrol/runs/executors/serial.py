"""Runs one after the other, in this process."""

import time
import traceback
from collections.abc import Callable

from lrcontrol.runs.executors.executor import check_room, check_running, failed, packed
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Serial"]


class Serial:
    """An executor that runs each spec here, when it is waited for.

    Args:
        train: carries out one run.
        objective: of the task, for records of runs that raise.
    """

    def __init__(self, train: Callable[[RunSpec], Record], objective: Objective) -> None:
        self._train, self._objective = train, objective
        self.running: list[RunSpec] = []

    @property
    def room(self) -> int:
        """One run at a time."""
        return 1 - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        """Take a run."""
        check_room(self.room)
        self.running.append(spec)

    def wait(self) -> Record:
        """Carry out the run; whatever it raises, Ctrl-C apart, is a record."""
        check_running(self.running)
        spec = self.running[0]
        started = time.monotonic()
        try:
            record = Record.from_summary(*packed(self._train(spec), spec))
        except KeyboardInterrupt:
            raise
        except BaseException:  # also SystemExit, which a script of somebody else may raise
            message = traceback.format_exc(limit=-5)
            record = failed(spec, self._objective, message, time.monotonic() - started)
        del self.running[0]
        return record

    def close(self) -> None:
        """Forget the run that was taken."""
        self.running.clear()
