"""The loop that joins a search and an executor."""

from collections.abc import Callable, Sequence
from typing import Protocol

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.executors.executor import Executor
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store

__all__ = ["Proposes", "carry_out"]


class Proposes(Protocol):
    """What the loop needs of a search."""

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The runs to begin now: at most `room`; none when all is done or the answers of `running` are needed."""


def carry_out(
    search: Proposes,
    executor: Executor,
    store: Store,
    budget: Budget,
    *,
    seen: Callable[[Record], None] | None = None,
) -> None:
    """Run what `search` proposes until it proposes nothing more.

    Every record is in the store before the next proposal, and proposals depend on records alone: the same call after
    a crash goes on where it was, and no run that was recorded is run again.

    Args:
        search: says what to run.
        executor: runs it.
        store: keeps what happened.
        budget: shown to the search.
        seen: called with each new record, after it is kept.
    """
    while True:
        for spec in search.propose(store.records(), executor.running, executor.room, budget):
            executor.submit(spec)
        if not executor.running:
            return
        record = executor.wait()
        store.add(record)
        if seen is not None:
            seen(record)
