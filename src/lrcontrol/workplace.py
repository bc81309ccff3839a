"""Where the runs of a study are carried out, and within how much time."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out, settled
from lrcontrol.runs.endings import ending_of
from lrcontrol.runs.executors.executor import Executor
from lrcontrol.runs.executors.lots import Divide, Gain, by_beginnings, by_gain, one_by_one, why_alone
from lrcontrol.runs.executors.processes import Processes, cores
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.kept_files import drop_checkpoint
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.search.search import Search
from lrcontrol.study_folder import held
from lrcontrol.time_budgets import Clock, kept, with_closed
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.own import OWN

if TYPE_CHECKING:
    import torch

__all__ = [
    "EXECUTORS",
    "Workplace",
    "carry_out_study",
    "check_place",
    "make_executor",
]

EXECUTORS = ("auto", "batched", "processes", "ray", "serial")
CARRY = "lrcontrol.training.together:carry"
DEARER = 20  # times what it costs elsewhere a process costs that uses an accelerator
AHEAD = 32  # runs that are taken on for each worker, so that those that belong together can be found
Way = TypeVar("Way", bound=Search)


class Workplace(msgspec.Struct, frozen=True):
    """How runs are carried out.

    Args:
        executor: `processes` (runs side by side, each or a few short ones in a process), `serial` (one after the
            other, here), `batched` (as processes, many runs of a small model trained at once), `auto` (as processes,
            at once where the first updates show that to be faster) or `ray`, `ray:ADDRESS` (on a cluster).
        workers: >= 1; how many processes at once; by default one a core.
        run_seconds: > 0; how long a run may take before it is given up, or None.
        run_gigabytes: > 0; memory that a run's process may hold, or None.
        run_cpus: > 0; processors of a run: as many threads compute, and a cluster sets them aside; less than 1 there
            for runs that share one. With `auto`, a few slow runs may have more where this machine does.
        run_gpus: >= 0; accelerators, or a part of one, that it sets aside for a run.
        device: what tasks of ours are trained on, and where scripts are asked to: `cpu`, `cuda`, `cuda:NUMBER`. With
            `cuda`, processes side by side take one accelerator after the other, and as many as there are is how many
            there are by default. None leaves a task where it is made, for one of ours on the CPU.
    """

    executor: str = "processes"
    workers: int | None = None
    run_seconds: float | None = None
    run_gigabytes: float | None = None
    run_cpus: float = 1.0
    run_gpus: float = 0.0
    device: str | None = None

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
        if self.kind != "ray":
            if self.run_gpus != 0:
                raise BadInput(f"only a cluster sets `run_gpus` aside, got executor={self.executor!r}; use 'ray'.")
            if self.run_cpus != self.threads:
                raise BadInput(
                    f"`run_cpus` must be a whole number where runs have threads of this machine, got "
                    f"run_cpus={self.run_cpus:g}; use 'ray' for parts of a processor."
                )
            if self.threads > cores():
                raise BadInput(
                    f"`run_cpus` must be at most {cores()}, as many processors as there are here, got "
                    f"run_cpus={self.run_cpus:g}; with more, threads wait for one another."
                )
            if self.kind == "batched" and self.threads > 1:
                raise BadInput(
                    f"runs that are trained at once have one thread, got run_cpus={self.run_cpus:g} with "
                    "executor='batched'; use 'processes'."
                )
        self._check_device()
        if self.kind == "serial" and (self.run_seconds, self.run_gigabytes) != (None, None):
            raise BadInput("limits of a run need a process of its own, got executor='serial'; use 'processes'.")

    def _check_device(self) -> None:
        if not self.on_accelerator:
            return
        if self.kind != "ray":
            self.placed()
        elif self.device != "cuda" or self.run_gpus == 0:
            raise BadInput(
                "a cluster gives a run its accelerator, so that `device` must be 'cuda' there and `run_gpus` more "
                f"than 0, got device={checks.shown(self.device)} and run_gpus={self.run_gpus:g}."
            )

    def placed(self) -> "torch.device | None":
        """The device of this process's own runs.

        Raises:
            BadInput: it is not here.
        """
        if self.device is None or self.kind == "ray":
            return None
        from lrcontrol.training.devices import find_device

        return find_device(self.device)

    @property
    def on_accelerator(self) -> bool:
        """Whether runs are trained on one."""
        return self.device not in (None, "cpu")

    @property
    def environments(self) -> list[dict[str, str]]:
        """With what each process here sees the accelerator that is its own."""
        from lrcontrol.training.devices import seen_alone

        return seen_alone(str(self.device))

    @property
    def kind(self) -> str:
        """The executor without an address."""
        return self.executor.partition(":")[0] if isinstance(self.executor, str) else self.executor

    @property
    def threads(self) -> int:
        """How many threads a run has."""
        return max(int(self.run_cpus), 1)

    @property
    def slots(self) -> int:
        """How many runs are made side by side here."""
        if self.kind == "serial":
            return 1
        if self.workers is None and self.kind != "ray" and self.on_accelerator:
            return len(self.environments)
        return self.workers or max(cores() // self.threads, 1)


def check_place(place: Workplace, task: Task, way: Search, budget: Budget, folder: Path) -> None:
    """BadInput where runs are to be trained at once and cannot be; a study that has begun is not looked at again."""
    if place.kind == "batched" and not task.is_script and not (folder / "runs.db").exists():
        data.ensure(task.files)
        specs = way.propose([], [], AHEAD, budget)
        _check_batched(_able(specs) or specs, place)


def _able(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Those that may be trained at once, if their task can."""
    return [spec for spec in specs if why_alone(spec) is None]


def _check_batched(specs: Sequence[RunSpec], place: Workplace) -> None:
    from lrcontrol.training import batched

    reason = batched.why_not_batched(specs[:1], place.placed())
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
    found = _gain(place, task, first, told)
    common = {"threads": found.threads} | ({} if place.device is None else {"device": place.device})
    options: dict[str, Any] = {"weights": str(folder / "weights"), "gain": found.times} | common
    divide: Divide = functools.partial(by_gain, gain=found.times) if found.times > 1 else by_beginnings
    if task.is_script:
        divide = one_by_one
    if place.kind == "serial":
        from lrcontrol.training.together import carry

        runner = Serial(functools.partial(carry, **options), task.objective, ahead=AHEAD, divide=divide)
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
                options=common,
                data={name: data.path_of(name) for name in task.files},
                folder=folder / "weights",
                **given,
            )
        else:
            given["workers"] = max(place.slots * place.threads // found.threads, 1)
            if place.on_accelerator:
                options["device"] = "cuda"  # of which each process sees one
                given |= {"environments": place.environments, "divide": functools.partial(_dearer, divide)}
            runner = Processes(CARRY, task.objective, options=options, **given)
    try:
        yield runner
    finally:
        runner.close()


def _dearer(
    divide: Divide, specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """The lots where a process must first begin with its accelerator, which takes it seconds: of longer runs."""

    def shorter(spec: RunSpec) -> float | None:
        likely = seconds(spec)
        return None if likely is None else likely / DEARER

    return divide(specs, workers, shorter)


def _gain(place: Workplace, task: Task, first: Sequence[RunSpec], told: Callable[[str], None]) -> Gain:
    """Whether many runs are trained at once, and with how many threads those that are not."""
    if place.kind not in ("auto", "batched") or task.is_script or not first:
        return Gain(1.0, "", place.threads)
    if place.kind == "auto":
        from lrcontrol.training.together import gain_of

        found = gain_of(first, cores=place.slots if place.threads == 1 else 1, device=place.placed())
        told(found.told)
        return found._replace(threads=place.threads) if place.threads > 1 and found.times == 1 else found
    able = _able(first)
    if not able:  # what is left of a study that has begun
        return Gain(1.0, "")
    _check_batched(able, place)
    return Gain(1e9, "")


def carry_out_study(
    way: Way,
    store: Store,
    budget: Budget,
    task: Task,
    folder: Path,
    place: Workplace,
    *,
    seen: Callable[[Record], None] | None = None,
    planned: Callable[[int, int], None] | None = None,
    told: Callable[[str], None] = lambda _: None,
    began: float | None = None,
) -> Way:
    """Carry out what is left of a search; no process is started where nothing is.

    Args:
        way: the search.
        store: keeps its records.
        budget: of the search.
        task: what is trained.
        folder: of the study.
        place: where.
        seen: called with each new record.
        planned: called once with the updates planned and made already.
        told: called with sentences on this machine and the time that is left.
        began: when the study was asked for, of `time.monotonic`; by default now.
    Returns:
        The search as it was carried out: where time was short, with rungs that were closed for it.
    Raises:
        StoreError: another process carries out a study in the folder.
    """
    if budget.seconds is not None and (found := kept(folder)) is not None and found.closed:
        way = cast("Way", with_closed(way, found.closed))
    known = store.records()
    mine = way.answered(known)
    if planned is not None:
        planned(min(way.cost, budget.steps), budget.spent(mine))
    before = sum(record.cost.seconds for record in mine) / place.slots
    clock = Clock(budget, folder, time.monotonic() if began is None else began, before)
    first = way.propose(settled(known), [], AHEAD, budget)
    if not first or clock.is_up:
        return way
    if budget.seconds is not None and clock.before:
        left = budget.seconds - clock.before
        told(f"Of {budget.seconds:g} s {clock.before:.0f} s were used before; {left:.0f} s are left.")
    data.ensure(task.files)  # once, before processes ask for them
    with held(folder), make_executor(place, task, folder, first=first, told=told) as runner:
        try:
            if task.is_script and not _is_tried(first[0], known):
                _try_script(task, first[0], runner, folder / "weights")
            spent = budget.spent(mine)

            def ended(record: Record) -> None:
                clock.begin_shares(spent + record.charged)
                if seen is not None:
                    seen(record)

            going: Way | None = way
            while going is not None:
                way = going
                carry_out(
                    way,
                    runner,
                    store,
                    budget,
                    seen=ended,
                    time_is_up=functools.partial(_is_due, clock, way, store),
                    checkpoints=folder / "weights",
                )
                going = cast("Way | None", clock.closed(way, store.records()))
        finally:
            clock.keep()
    return way


def _is_due(clock: Clock, way: Search, store: Store) -> bool:
    return clock.limited and clock.due(way, store.records())


def _goes_on(spec: RunSpec) -> bool:
    """Whether a run goes on from another, or another is to go on from it."""
    return spec.checkpoint or spec.start is not None


def _is_tried(first: RunSpec, known: Sequence[Record]) -> bool:
    """Whether the records tell that runs such as the first one can be made."""
    made = [record.spec for record in known if record.outcome is not Outcome.FAILED]
    return any(map(_goes_on, made)) if _goes_on(first) else bool(made)


def _try_script(task: Task, spec: RunSpec, runner: Executor, folder: Path) -> None:
    """Make one update of a script, so that what is wrong with it is known before its runs begin, and not after each.

    Where runs are to go on from others it saves too, and makes one more update that goes on from there.

    Raises:
        BadInput: it raised, or does not do what a script must.
    """

    def check(tried: RunSpec, how: str) -> None:
        runner.submit(tried)
        (record,) = runner.wait()
        if record.outcome is Outcome.FAILED:
            why = ending_of(record)
            if "run.save(" in why or tried.start is not None:
                why += "; with --rungs compressed no run goes on from another"
            raise BadInput(f"{task.name} was tried with one update{how} before its runs, and failed: {why}.")

    begun = msgspec.structs.replace(spec, stop_step=1, save=False, checkpoint=_goes_on(spec), start=None)
    if not begun.checkpoint:
        check(begun, "")
        return
    try:
        check(begun, " that another is to go on from")
        then = msgspec.structs.replace(begun, stop_step=2, checkpoint=False, start=Start(begun.id, 1))
        check(then, " that goes on from another")
    finally:
        drop_checkpoint(folder, begun.id)
