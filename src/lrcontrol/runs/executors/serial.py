"""Runs one after the other, in this process."""

import traceback
from collections.abc import Callable

from lrcontrol.runs.executors.executor import failed
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
        self.running.append(spec)

    def wait(self) -> Record:
        """Carry out the run."""
        spec = self.running[0]
        try:
            record = self._train(spec)
        except Exception:
            record = failed(spec, self._objective, traceback.format_exc(limit=-5))
        del self.running[0]
        return record

    def close(self) -> None:
        """Forget the run that was taken."""
        self.running.clear()
