"""Processes that write to one store, tell what was acknowledged, and are killed."""

import os
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from faults.samples import content, record
from lrcontrol.runs.store import Store


class Writer:
    """A process that adds records `first` to `first + count - 1` and tells each on a pipe once it is kept.

    It is forked, so that to kill a thousand of them takes no thousand starts of Python.
    """

    def __init__(self, path: Path, first: int, count: int) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _write(path, first, count, writing)
        os.close(writing)
        self.told = os.fdopen(reading, "rb")

    def wait_for_one(self) -> None:
        """Wait until it has kept and told a record, or has ended."""
        self.told.peek(1)

    def kill(self) -> list[int]:
        """End it at once; the numbers it had acknowledged."""
        os.kill(self.pid, signal.SIGKILL)
        return self.acknowledged()

    def acknowledged(self) -> list[int]:
        """Wait for its end; the numbers that it told."""
        lines = self.told.read().decode().split("\n")
        self.told.close()
        _, self.status = os.waitpid(self.pid, 0)
        return [int(line) for line in lines[:-1]]  # what follows the last newline was not told in full


def _write(path: Path, first: int, count: int, told: int) -> NoReturn:
    """Write until done or killed; whatever happens, this process goes back to no caller."""
    status = 1
    try:
        with Store(path) as store:
            for number in range(first, first + count):
                store.add(record(number))
                os.write(told, f"{number}\n".encode())
        status = 0
    finally:
        os._exit(status)


class Losses(NamedTuple):
    """What became of acknowledged records: how many were told and stored, lost, doubled, other than they were."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    changed: int


def losses(path: Path, acknowledged: list[int]) -> Losses:
    """Compare a store with what its writers were told."""
    expected = {record(number).id: number for number in {*acknowledged}}
    with Store(path) as store:
        stored = [each.id for each in store.records()]
        changed = sum(
            content(store.record(run_id)) != content(record(store.record(run_id).spec.seed)) for run_id in stored
        )
    return Losses(
        acknowledged=len(expected),
        stored=len(stored),
        lost=len(expected.keys() - {*stored}),
        doubled=len(stored) - len({*stored}),
        changed=changed,
    )


def kill_writers(path: Path, kills: int, seed: int, side_by_side: int = 2) -> Losses:
    """Kill a random one of some writers again and again, at any moment of their work; each killed one is replaced.

    A killed writer's successor begins where its acknowledgements ended, so what was kept without being told is
    added again.
    """
    rng = random.Random(seed)
    told: list[int] = []
    far = 1_000_000
    starts = [far * place for place in range(side_by_side)]
    writers = [Writer(path, start, far) for start in starts]
    try:
        for _ in range(kills):
            place = rng.randrange(side_by_side)
            writer = writers[place]
            writer.wait_for_one()
            time.sleep(rng.uniform(0, 0.04))
            numbers = writer.kill()
            told += numbers
            starts[place] += len(numbers)
            writers[place] = Writer(path, starts[place], far)
    finally:
        for writer in writers:
            told += writer.kill()
    return losses(path, told)


def write_side_by_side(path: Path, writers: int, each: int) -> tuple[Losses, list[int]]:
    """Let writers add `each` records at the same time; the losses and the exit statuses."""
    started = [Writer(path, place * each, each) for place in range(writers)]
    told = [number for writer in started for number in writer.acknowledged()]
    return losses(path, told), [writer.status for writer in started]


def shares(path: Path, writers: int, seconds: float) -> list[float]:
    """The shares that writers have in what they add in so many seconds side by side, the least first."""
    far = 1_000_000
    started = [Writer(path, place * far, far) for place in range(writers)]
    for writer in started:
        writer.wait_for_one()
    time.sleep(seconds)
    for writer in started:
        os.kill(writer.pid, signal.SIGKILL)
    counts = [len(writer.acknowledged()) for writer in started]
    return sorted(count / sum(counts) for count in counts)
