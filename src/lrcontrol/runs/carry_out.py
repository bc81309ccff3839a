"""The loop that joins a search and an executor."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.executors.executor import Executor
from lrcontrol.runs.interrupts import finished_first
from lrcontrol.runs.kept_files import drop_checkpoints, manifest_name
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store

__all__ = ["Proposes", "carry_out", "settled"]


class Proposes(Protocol):
    """What the loop needs of a search."""

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The runs to begin now: at most `room`; none when all is done or the answers of `running` are needed."""

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """The runs whose checkpoints may still be gone on from."""


def settled(records: Sequence[Record]) -> list[Record]:
    """The records of runs that need no other try: all but those that failed."""
    return [record for record in records if record.outcome is not Outcome.FAILED]


def carry_out(
    search: Proposes,
    executor: Executor,
    store: Store,
    budget: Budget,
    *,
    seen: Callable[[Record], None] | None = None,
    time_is_up: Callable[[], bool] = lambda: False,
    checkpoints: Path | None = None,
) -> None:
    """Run what `search` proposes until it proposes nothing more.

    Every record is in the store before the next proposal, and proposals depend on records alone: the same call after
    a crash goes on where it was, and no run that was recorded is run again. The exception is a run that FAILED in an
    earlier call (a full disk, a machine out of memory): it is tried once more.

    Args:
        search: says what to run.
        executor: runs it.
        store: keeps what happened.
        budget: shown to the search.
        seen: called with each new record, after it is kept.
        time_is_up: whether no further run should be begun; those that wait are then given up, and those that are
            under way are waited for.
        checkpoints: the folder they are in; those that the search needs no more are dropped from it.
    """
    failed_before = {record.id for record in store.records() if record.outcome is Outcome.FAILED}
    while True:
        known: Sequence[Record] = store.records()
        records = [record for record in known if record.id not in failed_before] if failed_before else known
        if time_is_up():
            executor.withdraw()
        else:
            for spec in search.propose(records, executor.running, executor.room, budget):
                ready = spec if checkpoints is None else _beginning(spec, known, checkpoints)
                if ready.id not in {each.id for each in executor.running}:
                    executor.submit(ready)
        if not executor.running:
            return
        ended = executor.wait()
        with finished_first():
            store.add_all(ended)
            if seen is not None:
                for record in ended:
                    seen(record)
        failed_before -= {record.id for record in ended}
        if checkpoints is not None and any(record.spec.checkpoint or record.spec.start for record in ended):
            known = store.records()
            kept = search.keeps(known) | search.keeps(settled(known))
            drop_checkpoints(checkpoints, _with_beginnings(kept, known, checkpoints))


def _with_beginnings(kept: frozenset[str], records: Sequence[Record], checkpoints: Path) -> frozenset[str]:
    """The runs that are kept, and those from which one is made again whose checkpoint was lost."""
    specs = {record.id: record.spec for record in records}
    wanted = set(kept)
    for run in kept:
        spec = specs.get(run)
        while spec is not None and spec.start is not None and not (checkpoints / manifest_name(spec.id)).exists():
            wanted.add(spec.start.run)
            spec = specs.get(spec.start.run)
    return frozenset(wanted)


def _beginning(spec: RunSpec, records: Sequence[Record], checkpoints: Path) -> RunSpec:
    """The spec, or, where the checkpoint that it goes on from was dropped, the run that makes it again."""
    while spec.start is not None and not (checkpoints / manifest_name(spec.start.run)).exists():
        start = spec.start.run
        made = next((record.spec for record in records if record.id == start), None)
        if made is None:
            return spec
        spec = made
    return spec
