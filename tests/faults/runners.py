"""What a runner must survive, at any length: runs that end, hang, eat memory, come back late; interrupts; kills."""

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from contracts.executor import answers
from contracts.search import chance
from faults import targets
from faults.drivers import TARGET
from faults.nursery import Nursery, gone
from faults.samples import OBJECTIVE, record, spec, well
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.halving import Rung, SuccessiveHalving
from lrcontrol.search.plan import Plan
from lrcontrol.search.search import Candidate

BUDGET = Budget(steps=10_000_000, full_steps=100)


class Counted(NamedTuple):
    """How many were tried, how many of them were told as they must be, and how many others were hurt."""

    tried: int
    told: int
    hurt: int


def _with_bystanders(bad: list[RunSpec], words: Sequence[str], **limits: object) -> Counted:
    """Carry out runs that must fail, each saying one of `words`, with as many that end well between them."""
    good = [well(number, task="made-up") for number in range(10_000, 10_000 + len(bad))]
    pairs = [each for pair in zip(bad, good, strict=True) for each in pair]
    with contextlib.closing(Processes(TARGET, OBJECTIVE, ahead=4, **limits)) as executor:  # type: ignore[arg-type]
        found = answers(executor, pairs)
    told = sum(
        found[asked.id].outcome is Outcome.FAILED and word in (found[asked.id].message or "")
        for asked, word in zip(bad, words, strict=True)
    )
    return Counted(len(bad), told, sum(found[asked.id].outcome is not Outcome.FINISHED for asked in good))


def end_in_every_way(times: int, workers: int = 8) -> Counted:
    """Every way in which a run or its process can end, so many times."""
    kinds = {name: word for name, (_, word) in (targets.RAISES | targets.DIES).items()}
    bad = [spec(number, task=name) for number, name in enumerate(list(kinds) * times)]
    return _with_bystanders(bad, [kinds[each.task] for each in bad], workers=workers, retries=0)


def eat_memory(times: int, workers: int = 2) -> Counted:
    """Runs that hold ever more memory; each is tried twice."""
    bad = [spec(number, task="greedy") for number in range(times)]
    return _with_bystanders(
        bad, ["bytes of memory"] * times, workers=workers, memory=(300 if times > 5 else 400) << 20, retries=1
    )


class Hung(NamedTuple):
    """Runs that hang: how many, how long the slowest batch took beyond its limit, and whether all processes ended."""

    counted: Counted
    late: float
    gone: bool


def hang(times: int, seconds: float = 0.5, workers: int = 4) -> Hung:
    """Every way to hang, so many times."""
    mark, late, told, hurt = f"hang-{os.getpid()}", 0.0, 0, 0
    os.environ["LRCONTROL_MARK"] = mark
    try:
        for turn in range(times):
            bad = [spec(100 * turn + place, task=kind) for place, kind in enumerate(targets.HANGS)]
            began = time.monotonic()
            counted = _with_bystanders(
                bad, [f"longer than {seconds:g} s"] * len(bad), workers=workers, seconds=seconds
            )
            late = max(late, time.monotonic() - began - seconds * 2)
            told, hurt = told + counted.told, hurt + counted.hurt
    finally:
        del os.environ["LRCONTROL_MARK"]
    return Hung(Counted(times * len(targets.HANGS), told, hurt), late, gone(mark))


def come_late(times: int) -> Counted:
    """Runs whose process is stopped until their time is over, and then goes on."""
    bad = [spec(number, task="stops-and-goes-on") for number in range(times)]
    return _with_bystanders(bad, ["longer than"] * times, workers=4, seconds=0.3)


def study(path: str, executor_workers: int) -> None:
    """A driver of short runs, which tells each that is kept, and how it ended; Ctrl-C is status 130, as for a user."""
    specs = tuple(well(number, task=f"sleep-0.0{number % 5}") for number in range(2000))

    def kept(ended: Record) -> None:
        os.write(1, f"{ended.id}\n".encode())

    executor = Processes(TARGET, OBJECTIVE, workers=executor_workers, ahead=4)
    try:
        with Store(path) as store, contextlib.closing(executor):
            os.write(1, b"ready\n")
            carry_out(Plan(specs), executor, store, BUDGET, seen=kept)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


class Interrupted(NamedTuple):
    """Interrupts of a driver: how many, records told and not kept, processes left, other ends, and the slowest."""

    tried: int
    lost: int
    left: int
    other: int
    slowest: float


def interrupt(folder: Path, times: int, *, twice: bool, seed: int) -> Interrupted:
    """Interrupt a driver or its whole group at random moments, once or twice; the next goes on from there."""
    rng = random.Random(seed)
    mark = f"interrupt-{os.getpid()}-{twice}"
    lost = left = other = 0
    slowest = 0.0
    path = folder / "runs.db"
    with Nursery("faults.runners", mark=mark) as nursery:
        for turn in range(times):
            if turn % 20 == 0:
                path = folder / f"{turn}-{twice}.db"
            out = folder / "out"
            driver = nursery.begin("faults.runners:study", str(path), 2, out=out)
            until = time.monotonic() + 30
            while b"ready" not in out.read_bytes() and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.6))
            group = rng.random() < 0.5
            began = time.monotonic()
            driver.send(signal.SIGINT, group=group)
            if twice:
                time.sleep(rng.uniform(0, 0.02))
                driver.send(signal.SIGINT, group=group)
            code = driver.end()
            slowest = max(slowest, time.monotonic() - began)
            other += code not in (130, -signal.SIGINT)
            told = {line for line in out.read_text().split() if line != "ready"}
            with Store(path) as store:
                lost += len(told - set(store.records().ids))
            left += not gone(mark, 5)
    return Interrupted(times, lost, left, other, slowest)


class _AtOnce:
    """Answers at once, a little while after it was asked: a race that is all decisions."""

    def __init__(self, seconds: float) -> None:
        self.running: list[RunSpec] = []
        self.seconds = seconds

    @property
    def room(self) -> int:
        return 4 - len(self.running)

    def submit(self, asked: RunSpec) -> None:
        self.running.append(asked)

    def wait(self) -> list[Record]:
        asked = self.running.pop(0)
        time.sleep(self.seconds)
        values = {"accuracy": chance(asked), "loss": 1.0}
        evals = (Evaluation(asked.stop_step, values),)
        cost = Cost(asked.updates, 0.0)
        return [record(0, spec=asked, outcome=Outcome.FINISHED, objective=OBJECTIVE, evals=evals, cost=cost)]

    def withdraw(self) -> None:
        pass

    def close(self) -> None:
        pass


def race(path: Path, seconds: float) -> None:
    """A race of 64 candidates over five rungs."""
    candidates = tuple(Candidate("sgd:cosine", 0.01 * (1 + place)) for place in range(64))  # type: ignore[arg-type]
    rungs = tuple(Rung(steps, count) for steps, count in ((20, 64), (40, 32), (80, 16), (160, 8), (320, 4)))
    with Store(path) as store:
        carry_out(SuccessiveHalving("made-up", candidates, rungs, 320), _AtOnce(seconds), store, BUDGET)


def _raced(path: Path) -> list[tuple[int, str]]:
    """Which run was recorded when: the promotions are all in it."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT number, id FROM runs ORDER BY number").fetchall()
    connection.close()
    return found


def kill_races(folder: Path, kills: int, seed: int) -> tuple[int, bool]:
    """Kill a race `kills` times, begun again each time; kills made, and whether each ended as one left in peace."""
    rng, killed, equal, races = random.Random(seed), 0, True, 0
    race(folder / "peace.db", 0)
    while killed < kills:
        races += 1
        path = folder / f"{races}.db"
        while True:
            pid = os.fork()
            if pid == 0:
                _race_and_exit(path)
            if killed < kills:
                time.sleep(rng.uniform(0.02, 0.3))
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if status == 0:
                break
            killed += 1
        equal = equal and _raced(path) == _raced(folder / "peace.db")
    return killed, equal


def _race_and_exit(path: Path) -> NoReturn:
    status = 1
    try:
        race(path, 0.002)
        status = 0
    finally:
        os._exit(status)
