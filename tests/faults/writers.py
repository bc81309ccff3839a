"""Processes that write to one store, tell what was acknowledged, and are killed."""

import os
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple

from faults.nursery import Child, Nursery
from faults.samples import content, record
from lrcontrol.runs.store import Store

HERE = "faults.writers"


class Losses(NamedTuple):
    """What became of acknowledged records: how many were told and stored, lost, doubled, other than they were."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    changed: int


def write(path: str, first: int, count: int) -> None:
    """Add records `first` to `first + count - 1`, and tell each on stdout once it is kept."""
    with Store(path) as store:
        for number in range(first, first + count):
            store.add(record(number))
            os.write(1, f"{number}\n".encode())


def told(writer: Child) -> list[int]:
    """The numbers that a writer was told were kept; what follows the last newline was not told in full."""
    return [int(line) for line in writer.out.read_text().split("\n")[:-1]]


def losses(path: Path, acknowledged: list[int]) -> Losses:
    """Compare a store with what its writers were told."""
    expected = {record(number).id for number in {*acknowledged}}
    with Store(path) as store:
        stored = [(each.id, each.spec.seed) for each in store.records()]
        changed = sum(content(store.record(run_id)) != content(record(number)) for run_id, number in stored)
    ids = {run_id for run_id, _ in stored}
    return Losses(len(expected), len(stored), len(expected - ids), len(stored) - len(ids), changed)


def kill_writers(path: Path, kills: int, seed: int, *, writers: int = 2, each: int = 100) -> Losses:
    """Kill a random one of some writers again and again, at any moment of its work; each is replaced.

    A writer begins where its forerunner's acknowledgements ended, so that what was kept but not told is added twice.
    """
    rng = random.Random(seed)
    acknowledged: list[int] = []
    starts = [each * place for place in range(writers)]
    with Nursery(HERE) as nursery:

        def begin(place: int) -> Child:
            left = max(each * (place + 1) - starts[place], 1)
            return nursery.begin(f"{HERE}:write", str(path), starts[place], left, out=path.with_suffix(f".{place}"))

        running = [begin(place) for place in range(writers)]
        for _ in range(kills):
            place = rng.randrange(writers)
            time.sleep(rng.uniform(0, 0.04))
            running[place].send(signal.SIGKILL)
            running[place].end()
            numbers = told(running[place])
            acknowledged += numbers
            starts[place] += len(numbers)
            if starts[place] >= each * (place + 1):  # all are kept: this one adds the same again
                starts[place] = each * place
            running[place] = begin(place)
        for writer in running:
            writer.end()
            acknowledged += told(writer)
    return losses(path, acknowledged)


def write_side_by_side(path: Path, writers: int, each: int) -> tuple[Losses, list[int], str]:
    """Let writers add `each` records at the same time; the losses, the exit statuses, and what went wrong in words."""
    with Nursery(HERE) as nursery:
        running = [
            nursery.begin(f"{HERE}:write", str(path), place * each, each, out=path.with_suffix(f".{place}"))
            for place in range(writers)
        ]
        codes = []
        for writer in running:
            while not writer.ended_within(600):
                pass
            codes.append(writer.end())
    acknowledged = [number for writer in running for number in told(writer)]
    return losses(path, acknowledged), codes, "".join(writer.err.read_text() for writer in running)
