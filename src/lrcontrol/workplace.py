"""Where the runs of a study are carried out, and within how much time."""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, OverBudget, StoreError
from lrcontrol.files import write_whole
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out, settled
from lrcontrol.runs.endings import ending_of
from lrcontrol.runs.executors.executor import Executor
from lrcontrol.runs.executors.lots import Divide, by_beginnings, by_gain, one_by_one
from lrcontrol.runs.executors.processes import Processes, cores
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.search.search import Search
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.own import OWN

__all__ = [
    "EXECUTORS",
    "Workplace",
    "allowed",
    "carry_out_study",
    "check_place",
    "folder_of",
    "made",
    "make_executor",
]

EXECUTORS = ("auto", "batched", "processes", "ray", "serial")
CARRY = "lrcontrol.training.together:carry"
AHEAD = 32  # runs that are taken on for each worker, so that those that belong together can be found
SHARE = 0.8  # of a budget in time, that the runs are planned to take; the rest is for their beginnings and endings


class Workplace(msgspec.Struct, frozen=True):
    """How runs are carried out.

    Args:
        executor: `processes` (runs side by side, each or a few short ones in a process), `serial` (one after the
            other, here), `batched` (as processes, many runs of a small model trained at once), `auto` (as processes,
            at once where the first updates show that to be faster) or `ray`, `ray:ADDRESS` (on a cluster).
        workers: >= 1; how many processes at once; by default one a core.
        run_seconds: > 0; how long a run may take before it is given up, or None.
        run_gigabytes: > 0; memory that a run's process may hold, or None.
        run_cpus: > 0; processors that a cluster sets aside for a run.
        run_gpus: >= 0; accelerators, or a part of one, that it sets aside for a run.
    """

    executor: str = "processes"
    workers: int | None = None
    run_seconds: float | None = None
    run_gigabytes: float | None = None
    run_cpus: float = 1.0
    run_gpus: float = 0.0

    def __post_init__(self) -> None:
        checks.one_of("executor", self.kind, EXECUTORS)
        if ":" in self.executor and self.kind != "ray":
            raise BadInput(f"only ray takes an address, as in ray:10.0.0.1:6379, got {checks.shown(self.executor)}.")
        if self.workers is not None:
            checks.integer("workers", self.workers, low=1)
        if self.run_seconds is not None:
            checks.number("run_seconds", self.run_seconds, low=0, open_low=True)
        if self.run_gigabytes is not None:
            checks.number("run_gigabytes", self.run_gigabytes, low=0, open_low=True, high=1e6)
        checks.number("run_cpus", self.run_cpus, low=0, open_low=True)
        checks.number("run_gpus", self.run_gpus, low=0)
        if self.kind != "ray" and (self.run_cpus, self.run_gpus) != (1, 0):
            raise BadInput(
                f"only a cluster sets `run_cpus` and `run_gpus` aside, got executor={self.executor!r}; use 'ray'."
            )
        if self.kind == "serial" and (self.run_seconds, self.run_gigabytes) != (None, None):
            raise BadInput("limits of a run need a process of its own, got executor='serial'; use 'processes'.")

    @property
    def kind(self) -> str:
        """The executor without an address."""
        return self.executor.partition(":")[0] if isinstance(self.executor, str) else self.executor

    @property
    def slots(self) -> int:
        """How many runs are made side by side here."""
        return 1 if self.kind == "serial" else self.workers or cores()


def folder_of(out: str | os.PathLike[str] | None, task: Task) -> Path:
    """The folder for results, which need not be there yet: what is asked is looked at before one is made.

    Raises:
        StoreError: it can be seen that it cannot be made, or that nothing can be written there.
    """
    folder = Path("lrcontrol-out") / task.name.replace(":", "-") if out is None else Path(out)
    try:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}.") from None
    if not there.is_dir():
        raise StoreError(f"the folder {folder} cannot be made: {there} is a file; name another with --out.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"the folder {there} must be writable; name another with --out.")
    return folder


def made(folder: Path) -> Path:
    """The same folder, which is there now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}.") from None
    return folder


def check_place(place: Workplace, task: Task, way: Search, budget: Budget, folder: Path) -> None:
    """BadInput where runs are to be trained at once and cannot be; a study that has begun is not looked at again."""
    if place.kind == "batched" and not task.is_script and not (folder / "runs.db").exists():
        data.ensure(task.files)
        _check_batched(way.propose([], [], 1, budget))


def _check_batched(specs: Sequence[RunSpec]) -> None:
    from lrcontrol.training import batched

    reason = batched.why_not_batched(specs[:1])
    if reason is not None:
        raise BadInput(f"{reason.rstrip('.')}; use the processes executor.")


@contextlib.contextmanager
def make_executor(
    place: Workplace,
    task: Task,
    folder: Path,
    *,
    first: Sequence[RunSpec] = (),
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[Executor]:
    """An executor for a task's runs, closed at the end; weights go to `folder/weights`.

    Args:
        place: which one.
        task: of the runs.
        folder: of the study.
        first: some of the runs, for `auto` to time and for `batched` to be tried with.
        told: is given a sentence on what `auto` has found.
    Raises:
        BadInput: runs of this task cannot be trained at once.
    """
    runner: Executor
    weights, gain = str(folder / "weights"), _gain(place, task, first, told)
    divide: Divide = functools.partial(by_gain, gain=gain) if gain > 1 else by_beginnings
    if task.is_script:
        divide = one_by_one
    if place.kind == "serial":
        from lrcontrol.training.together import carry

        runner = Serial(
            functools.partial(carry, weights=weights, gain=gain), task.objective, ahead=AHEAD, divide=divide
        )
    else:
        given: dict[str, Any] = {
            "workers": place.workers,
            "files": [str(OWN[task.name].file)] if task.name in OWN else [],
            "ahead": AHEAD,
            "divide": divide,
            "seconds": place.run_seconds,
            "memory": None if place.run_gigabytes is None else max(round(place.run_gigabytes * 1e9), 1),
        }
        if place.kind == "ray":
            from lrcontrol.runs.executors.ray import RayExecutor

            runner = RayExecutor(
                CARRY,
                task.objective,
                address=place.executor.partition(":")[2] or None,
                num_cpus=place.run_cpus,
                num_gpus=place.run_gpus,
                data={name: data.path_of(name) for name in task.files},
                folder=folder / "weights",
                **given,
            )
        else:
            runner = Processes(CARRY, task.objective, options={"weights": weights, "gain": gain}, **given)
    try:
        yield runner
    finally:
        runner.close()


def _gain(place: Workplace, task: Task, first: Sequence[RunSpec], told: Callable[[str], None]) -> float:
    """How many times sooner an update is made where many runs are trained at once; 1 where they are not."""
    if place.kind not in ("auto", "batched") or task.is_script or not first:
        return 1.0
    if place.kind == "auto":
        from lrcontrol.training import together

        gain = together.gain_of(first)
        told(gain.told)
        return gain.times
    _check_batched(first)
    return 1e9


def allowed(budget: str | Budget, task: Task, place: Workplace, folder: Path) -> Budget:
    """The budget that a text gives a task.

    For a time it is reckoned how many updates can be made here; what was reckoned is kept in the folder, so that the
    same command goes on with the same plan.

    Raises:
        BadInput: no budget.
    """
    full = task.full_steps
    if not Budget.is_time(budget):
        return Budget.parse(budget, full, steps_per_epoch=task.steps_per_epoch)
    path, asked = folder / "time.json", [str(budget), task.name, place.slots]
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path.read_bytes())
        if found["asked"] == asked and type(found["steps"]) is int:
            return Budget.parse(budget, full, steps_in=lambda _: found["steps"])

    def steps_in(seconds: float) -> int:
        from lrcontrol.training import loop

        data.ensure(task.files)
        runs = SHARE * seconds / loop.seconds_of(task)
        return int(runs * full * (place.slots if runs >= 1 else 1))  # a run is no faster beside others

    reckoned = Budget.parse(budget, full, steps_in=steps_in)
    if reckoned.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {task.name}, got {budget}, in which about "
            f"{reckoned.runs(reckoned.steps)} can be made here; give more time."
        )
    made(folder)
    write_whole(path, json.dumps({"asked": asked, "steps": reckoned.steps}).encode())
    return reckoned


def carry_out_study(
    way: Search,
    store: Store,
    budget: Budget,
    task: Task,
    folder: Path,
    place: Workplace,
    *,
    seen: Callable[[Record], None] | None = None,
    planned: Callable[[int, int], None] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Carry out what is left of a search; no process is started where nothing is.

    Raises:
        StoreError: another process carries out a study in the folder.
    """
    kept = store.records()
    known, mine = settled(kept), way.answered(kept)
    if planned is not None:
        planned(min(way.cost, budget.steps), budget.spent(mine))
    first = way.propose(known, [], AHEAD, budget)
    if not first:
        return
    before = sum(record.cost.seconds for record in mine) / place.slots
    began = time.monotonic()

    def time_is_up() -> bool:
        return budget.seconds is not None and before + time.monotonic() - began >= budget.seconds

    if time_is_up():
        return
    data.ensure(task.files)  # once, before processes ask for them
    with _sole(folder), make_executor(place, task, folder, first=first, told=told) as runner:
        if task.is_script and not any(record.outcome is not Outcome.FAILED for record in known):
            _try_script(task, first[0], runner)
        carry_out(way, runner, store, budget, seen=seen, time_is_up=time_is_up, checkpoints=folder / "weights")


@contextlib.contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """Keep other processes from carrying out a study in the same folder; the system ends that with this process."""
    try:
        import fcntl
    except ImportError:  # no such locks here: they would do the same work twice, and harm nothing
        yield
        return
    with open(folder / ".lock", "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip()
            raise StoreError(
                f"another process ({holder or 'unknown'}) carries out a study in {folder}; wait for it, end it, or "
                "name another folder with --out."
            ) from None
        except OSError:  # a file system without such locks
            yield
            return
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield


def _try_script(task: Task, spec: RunSpec, runner: Executor) -> None:
    """Make one update of a script, so that what is wrong with it is known before its runs begin, and not after each.

    Raises:
        BadInput: it raised, or does not do what a script must.
    """
    runner.submit(msgspec.structs.replace(spec, stop_step=1, save=False, checkpoint=False, start=None))
    (record,) = runner.wait()
    if record.outcome is Outcome.FAILED:
        raise BadInput(f"{task.name} was tried with one update before its runs, and failed: {ending_of(record)}.")
