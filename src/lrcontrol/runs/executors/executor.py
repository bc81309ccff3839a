"""The face of an executor."""

from typing import Protocol

from lrcontrol.runs.record import Cost, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Executor", "failed"]


class Executor(Protocol):
    """Something that carries out runs; a run that raises or dies comes back as a record too."""

    @property
    def running(self) -> list[RunSpec]:
        """Submitted, and not yet returned by `wait`."""

    @property
    def room(self) -> int:
        """How many more runs may be submitted now."""

    def submit(self, spec: RunSpec) -> None:
        """Begin a run."""

    def wait(self) -> Record:
        """The record of one of the running runs, when it has ended."""

    def close(self) -> None:
        """Abandon what is running."""


def failed(spec: RunSpec, objective: Objective, message: str, seconds: float = 0.0) -> Record:
    """The record of a run that raised or died. Nobody knows how far it came, so all of its updates are counted."""
    return Record(
        spec=spec,
        outcome=Outcome.FAILED,
        objective=objective,
        cost=Cost(spec.stop_step, seconds),
        message=message[:10_000],
    )
