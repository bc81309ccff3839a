"""What can end under a study on Ray (machines, workers, drivers, Ray), tried, and what became of the records."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from faults.clusters import TESTS, descendants, gone, one_machine, several_machines, slots
from faults.ray_driver import BUDGET, runs
from faults.samples import OBJECTIVE, content
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.executors.ray import RayExecutor
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan


class Survived(NamedTuple):
    """What became of a plan under which something ended again and again.

    Args:
        ended: how often something did.
        runs: of the plan.
        lost: runs without a finished record, and records that were kept and are not there any more.
        doubled: records that came twice, or changed.
        again: runs that it took more than one try.
        seconds: that all of it took.
    """

    ended: int
    runs: int
    lost: int
    doubled: int
    again: int
    seconds: float


def node_deaths(folder: Path, deaths: int = 3, count: int = 40) -> Survived:
    """End one of two machines in the middle of its runs, `deaths` times; another comes in its place each time."""
    began, seen, ended = time.monotonic(), Counter[str](), 0
    with several_machines(2, cpus=2) as cluster, Store(folder / "runs.db") as store:
        every = count // (deaths + 1)

        def look(record: Record) -> None:
            nonlocal ended
            seen[record.id] += 1
            if len(seen) % every == 0 and ended < deaths:
                busy = {slot.node for slot in executor._slots if slot.lot}
                node = next(node for node in cluster.worker_nodes if node.node_id in busy)
                cluster.remove_node(node, allow_graceful=False)
                ended += 1
                cluster.add_node(num_cpus=2, object_store_memory=100 << 20)

        with contextlib.closing(RayExecutor("faults.targets:run", OBJECTIVE, retries=0)) as executor:
            carry_out(Plan(runs(count, 0.5)), executor, store, BUDGET, seen=look)
        return _survived(store, ended, count, seen, began)


def worker_kills(folder: Path, kills: int = 20, count: int = 50, seed: int = 0) -> Survived:
    """Kill a random process of the runs (an actor, its host, a run) after almost every record."""
    rng, began, seen, ended = random.Random(seed), time.monotonic(), Counter[str](), 0
    with one_machine(2), Store(folder / "runs.db") as store:

        def look(record: Record) -> None:
            nonlocal ended
            seen[record.id] += 1
            of_runs = [pid for slot in slots() for pid in (slot, *descendants(slot))]
            if ended < kills and of_runs and len(seen) % 2 == 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(of_runs), signal.SIGKILL)
                    ended += 1

        with contextlib.closing(RayExecutor("faults.targets:run", OBJECTIVE, workers=2, retries=30)) as executor:
            carry_out(Plan(runs(count, 0.3)), executor, store, BUDGET, seen=look)
        return _survived(store, ended, count, seen, began)


def driver_kills(folder: Path, kills: int = 5, count: int = 30, seed: int = 0) -> Survived:
    """Kill the driver of a cluster that stays, at random, and give the plan again until it is done."""
    rng, began, ended, changed, orphans = random.Random(seed), time.monotonic(), 0, 0, 0
    path, before = folder / "runs.db", dict[str, bytes]()
    with one_machine(2) as cluster:
        while True:
            driver = _begin(path, count, 0.2, cluster.ray.get_runtime_context().gcs_address)
            if ended < kills:
                assert driver.stdout is not None
                driver.stdout.readline()  # it is under way
                time.sleep(rng.uniform(0, 0.5))
                of_runs = [pid for slot in slots() for pid in (slot, *descendants(slot))]
                driver.kill()
                ended += 1
                orphans += len(gone(of_runs, 15))
            _, error = driver.communicate(timeout=300)
            after = _rows(path)
            changed += sum(after.get(run) != row for run, row in before.items())
            before = after
            if driver.returncode == 0:
                break
            assert driver.returncode == -signal.SIGKILL, error
    assert orphans == 0, f"{orphans} processes outlived their driver"
    with Store(path) as store:
        found = _survived(store, ended, count, Counter[str](), began)
    return found._replace(doubled=changed, seconds=time.monotonic() - began)


def cluster_ends(folder: Path, what: str, count: int = 120) -> tuple[Survived, str]:
    """End a part of Ray under its driver (`gcs_server` or `raylet`); what that said, and what the next one did."""
    began, path = time.monotonic(), folder / "runs.db"
    driver = _begin(path, count, 0.5, "own")
    assert driver.stdout is not None
    for _ in range(3):
        driver.stdout.readline()
    family = descendants(driver.pid)
    (part,) = (pid for pid, command in family.items() if command.split()[0].endswith(f"/{what}"))
    os.kill(part, signal.SIGKILL)
    _, error = driver.communicate(timeout=120)
    assert driver.returncode == 2, error
    left = gone(list(family), 60)  # agents try to tell the rest of Ray first
    assert left == [], [family[pid] for pid in left]
    before = _rows(path)
    again = _begin(path, count, 0.5, "own")
    _, second = again.communicate(timeout=300)
    assert again.returncode == 0, second
    after = _rows(path)
    with Store(path) as store:
        found = _survived(store, 1, count, Counter[str](), began)
    said = next(line for line in error.splitlines() if line.startswith("lost: "))
    return found._replace(doubled=sum(after.get(run) != row for run, row in before.items())), said


def same_records(folder: Path) -> tuple[int, int]:
    """One plan of real training, in processes here and on Ray; how many records and files there are, and how many
    differ (but for seconds, and for what was trained together).
    """
    specs = tuple(
        RunSpec(task=task, method=method, base_lr=rate, total_steps=100, seed=seed, save=True, checkpoint=True)
        for task in ("iris-softmax", "digits-mlp")
        for method in ("sgd:cosine", "adamw:warmup(0.1)+rex", "adamw:wsd(cooldown=0.2)", "adamw:wsd(cooldown=0.4)")
        for rate in (1e-3, 1e-2, 1e3)
        for seed in (0, 1)
    )
    here, there = folder / "here", folder / "there"
    target, options = "lrcontrol.training.together:carry", {"workers": 2, "ahead": 32}
    found: list[dict[str, Record]] = []
    with one_machine(2):
        for executor in (
            Processes(target, OBJECTIVE, options={"weights": str(here)}, **options),
            RayExecutor(target, OBJECTIVE, folder=there, **options),
        ):
            path = folder / f"{len(found)}.db"
            with contextlib.closing(executor), Store(path) as store:
                carry_out(Plan(specs), executor, store, BUDGET)
                found.append({run.id: store.record(run.id) for run in store.records()})
    differ = sum(_told(found[0][run]) != _told(found[1][run]) for run in found[0]) + len(specs) - len(found[1])
    names = {path.name for path in here.iterdir()}
    differ += len(names ^ {path.name for path in there.iterdir()})
    differ += sum((here / name).read_bytes() != (there / name).read_bytes() for name in names)
    return len(specs) + len(names), differ


def _told(record: Record) -> Any:
    return content(msgspec.structs.replace(record, cost=msgspec.structs.replace(record.cost, seconds=0.0, shared=0)))


def _begin(path: Path, count: int, seconds: float, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "faults.ray_driver", str(path), str(count), str(seconds), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        start_new_session=True,
    )


def _rows(path: Path) -> dict[str, bytes]:
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT id, summary FROM runs").fetchall())
    connection.close()
    return found


def _survived(store: Store, ended: int, count: int, seen: Counter[str], began: float) -> Survived:
    records = store.records()
    finished = {record.id for record in records if record.outcome is Outcome.FINISHED}
    return Survived(
        ended=ended,
        runs=count,
        lost=count - len(finished),
        doubled=len(records) - len({record.id for record in records}) + sum(number > 1 for number in seen.values()),
        again=sum(record.attempt > 1 for record in records),
        seconds=time.monotonic() - began,
    )
