"""The face of an executor."""

from collections.abc import Sequence
from typing import Protocol

from lrcontrol import checks
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.record import Cost, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Executor", "check_room", "check_running", "failed", "packed"]


class Executor(Protocol):
    """Something that carries out runs; a run that raises or dies comes back as a record too."""

    @property
    def running(self) -> list[RunSpec]:
        """Submitted, and not yet returned by `wait`."""

    @property
    def room(self) -> int:
        """How many more runs may be submitted now."""

    def submit(self, spec: RunSpec) -> None:
        """Begin a run; BadInput where there is no room."""

    def wait(self) -> list[Record]:
        """The records of running runs that have ended, at least one; BadInput where nothing runs."""

    def withdraw(self) -> None:
        """Give up the runs that wait to be begun; they are not running any more."""

    def close(self) -> None:
        """Abandon what is running."""


def failed(spec: RunSpec, objective: Objective, message: str, seconds: float = 0.0, attempt: int = 1) -> Record:
    """The record of a run that raised or died. Nobody knows how far it came, so all of its updates are counted."""
    return Record(
        spec=spec,
        outcome=Outcome.FAILED,
        objective=objective,
        cost=Cost(spec.updates, seconds),
        message=message[:10_000].encode("utf-8", "backslashreplace").decode(),  # a lone surrogate has no place in JSON
        attempt=attempt,
    )


def packed(record: object, specs: Sequence[RunSpec]) -> tuple[bytes, bytes]:
    """What a run of one of `specs` returned, as bytes that `Record.from_summary` reads.

    Raises:
        RecordError: it is no record, one of another run, or cannot be read back.
    """
    if not isinstance(record, Record):
        raise RecordError(f"a run must return a Record, got {checks.shown(record)}.")
    if record.spec not in specs:
        names = " or ".join(spec.id for spec in specs[:3])
        raise RecordError(f"run {names} must return its own record, got one of run {record.id}.")
    return record.packed()


def check_room(room: int) -> None:
    """BadInput where there is none."""
    if room < 1:
        raise BadInput("an executor must have room for a run that is submitted, got one too many; wait for one first.")


def check_running(running: Sequence[RunSpec]) -> None:
    """BadInput where nothing runs."""
    if not running:
        raise BadInput("an executor must have a run to wait for, got none; submit one first.")
