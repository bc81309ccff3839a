"""A driver of many short lives: it is killed, with all that is of it, and begun again until its runs are done."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from faults.samples import record, spec
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan

BUDGET = Budget(steps=10_000_000, full_steps=100)


class Lives(NamedTuple):
    """How often a driver was killed, and whether its store is in the end that of one that was left in peace."""

    kills: int
    equal: bool


class _Inline:
    """Carries runs out in the driver itself, each in some milliseconds, always with the same answer."""

    def __init__(self, seconds: float) -> None:
        self.running: list[RunSpec] = []
        self.seconds = seconds

    @property
    def room(self) -> int:
        return 2 - len(self.running)

    def submit(self, asked: RunSpec) -> None:
        self.running.append(asked)

    def wait(self) -> list[Record]:
        asked = self.running.pop(0)
        time.sleep(self.seconds)
        return [record(asked.seed, spec=asked, outcome=Outcome.FINISHED)]

    def close(self) -> None:
        pass


def _live(path: Path, specs: Sequence[RunSpec], seconds: float) -> None:
    with Store(path) as store:
        carry_out(Plan(tuple(specs)), _Inline(seconds), store, BUDGET)


def _fork(path: Path, specs: Sequence[RunSpec], seconds: float) -> int:
    pid = os.fork()
    if pid == 0:
        _end(path, specs, seconds)
    return pid


def _end(path: Path, specs: Sequence[RunSpec], seconds: float) -> NoReturn:
    status = 1
    try:
        os.setsid()
        _live(path, specs, seconds)
        status = 0
    finally:
        os._exit(status)


def _table(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT * FROM runs ORDER BY number").fetchall()
    rows += connection.execute("SELECT * FROM columns ORDER BY number").fetchall()
    connection.close()
    return rows


def kill_lives(folder: Path, runs: int, kills: int, seed: int) -> Lives:
    """Kill a driver `kills` times, 10 to 120 ms into each life, then let it finish; plans are added while it lasts."""
    rng = random.Random(seed)
    killed, equal, plans = 0, True, 0
    while killed < kills:
        plans += 1
        specs = [spec(number, seed=number) for number in range(runs * plans, runs * (plans + 1))]
        path, peace = folder / f"{plans}.db", folder / f"{plans}-peace.db"
        _live(peace, specs, 0)
        while True:
            pid = _fork(path, specs, 0.004)
            if killed < kills:
                time.sleep(rng.uniform(0.01, 0.12))
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if status == 0:
                break
            assert os.WIFSIGNALED(status), "the driver failed by itself"
            killed += 1
        equal = equal and _table(path) == _table(peace)
    return Lives(killed, equal)
