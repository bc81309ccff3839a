"""Processes that write to one store, tell what was acknowledged, and are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from faults.samples import content, record
from lrcontrol.runs.store import Store

TESTS = Path(__file__).parent.parent


class Writer:
    """A process that adds records `first` to `first + count - 1` and tells each on its stdout once it is kept."""

    def __init__(self, path: Path, first: int, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.writers", str(path), str(first), str(count)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )

    def kill(self) -> list[int]:
        """End it at once; the numbers it had acknowledged."""
        self.process.kill()
        return self.acknowledged()

    def acknowledged(self) -> list[int]:
        """Wait for its end; the numbers that it told."""
        told, _ = self.process.communicate()
        lines = told.decode().split("\n")
        return [int(line) for line in lines[:-1]]  # what follows the last newline was not told in full


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
            assert writer.process.stdout is not None
            writer.process.stdout.peek(1)  # type: ignore[attr-defined]  # it has begun: kept and told one
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
    return losses(path, told), [writer.process.returncode for writer in started]


def main() -> None:
    """Write until done or killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, first, count = sys.argv[1:]
    with Store(path) as store:
        for number in range(int(first), int(first) + int(count)):
            store.add(record(number))
            os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    main()
