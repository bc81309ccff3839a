"""What is in a store, in numbers: read from its summaries, without making records of them."""

from collections import Counter
from pathlib import Path

import msgspec

from lrcontrol.runs.record import Cost, Outcome
from lrcontrol.runs.storage.decoding import UNREADABLE, method_of
from lrcontrol.runs.storage.telling import cannot_be_read
from lrcontrol.runs.store import Store

__all__ = ["Described", "describe"]


class Described(msgspec.Struct, frozen=True):
    """A store in numbers.

    Args:
        path: of the file.
        version: its format.
        bytes: of the file.
        runs: how many there are; several tries of a run are one.
        tasks: runs by task, as outcomes and methods are by theirs; the most frequent first.
        outcomes: by how they ended.
        methods: by the text of their method.
        steps: the fewest and the most updates that a run was asked for; None where there is no run.
        updates: made in all by runs that did not fail; nobody knows how many those made.
        seconds: of all runs together.
    """

    path: str
    version: int
    bytes: int
    runs: int
    tasks: dict[str, int]
    outcomes: dict[str, int]
    methods: dict[str, int]
    steps: tuple[int, int] | None
    updates: int
    seconds: float


class _Asked(msgspec.Struct):
    task: str
    method: msgspec.Raw
    stop_step: int


class _Head(msgspec.Struct):
    """The few fields of a summary that are counted."""

    spec: _Asked
    outcome: Outcome
    cost: Cost


_DECODER = msgspec.json.Decoder(_Head)


def describe(path: Path) -> Described:
    """Count what is in a store; every summary's checksum is verified on the way.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    tasks: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    contents: Counter[bytes] = Counter()
    steps: list[int] = []
    updates, seconds = 0, 0.0
    with Store(path, read_only=True) as store:
        rows, version = store.records().rows, store.version
    methods: Counter[str] = Counter()
    for row in rows:
        try:
            head = _DECODER.decode(row[2])
        except UNREADABLE as error:
            raise cannot_be_read(path, row[1], error) from None
        tasks[head.spec.task] += 1
        outcomes[head.outcome.value] += 1
        contents[bytes(head.spec.method)] += 1
        steps.append(head.spec.stop_step)
        updates += 0 if head.outcome is Outcome.FAILED else head.cost.own
        seconds += head.cost.seconds
    for content, count in contents.items():
        try:
            methods[str(method_of(content))] += count
        except UNREADABLE as error:
            raise cannot_be_read(path, "with an unknown method", error) from None
    return Described(
        path=str(path),
        version=version,
        bytes=path.stat().st_size,
        runs=len(rows),
        tasks=dict(tasks.most_common()),
        outcomes=dict(outcomes.most_common()),
        methods=dict(methods.most_common()),
        steps=(min(steps), max(steps)) if steps else None,
        updates=updates,
        seconds=seconds,
    )
