"""train(spec) -> Record: the only training loop there is."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import torch

from lrcontrol.errors import BadInput
from lrcontrol.runs.beginnings import Branch, branches
from lrcontrol.runs.method import SGD, OptimizerSpec, Own
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training.devices import places_of_random, random_now, seed_random, set_random
from lrcontrol.training.ensembles import ensemble_of
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.scripts import carry_out_script
from lrcontrol.training.state import taken
from lrcontrol.training.tasks.catalogue import check_optimizer, script_of
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.own import OWN
from lrcontrol.training.tasks.problem import Problem, alone, build
from lrcontrol.training.under_way import EVALUATIONS, UnderWay, evaluations
from lrcontrol.training.weights import load_states, load_weights

__all__ = ["seconds_of", "seconds_of_update", "test_metrics", "train", "train_all", "trained_model", "warm"]

TRIED = 20  # updates that are timed, if they take less than
LONG_ENOUGH = 1.0  # seconds
PART = 20  # of the updates of a script one in so many is made to time it,
FEWEST_TRIED = 10  # or so many,
FIRST_TRIED = 3  # of which the first are slower


def train(
    spec: RunSpec,
    *,
    weights: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int = 1,
    device: torch.device | None = None,
) -> Record:
    """Train as `spec` says and tell what happened.

    The learning rate of update t is `base_lr * multiplier(t)`, set by value before it; momentum and weight decay
    likewise, where the control has schedules of theirs. A control that looks is shown what it needs after every
    update: the validation metric whenever it has been measured, some 50 times a run. The same spec gives the same
    record on the same machine with as many threads, apart from its seconds; the caller's random state is left as it
    was.

    Args:
        spec: what to run.
        weights: the folder of trained weights and checkpoints; needed where `spec` keeps some or goes on from one.
        progress: called with the number of updates made, now and then.
        threads: >= 1; that compute. With another number sums are taken in another order.
        device: what it is trained on; by default where its task puts it, for one of ours here. On another device
            dropout and the order of sums are others, and there a run may differ from itself by rounding.
    Returns:
        The record. A loss that is no longer finite ends the run as DIVERGED, a control that says stop as STOPPED;
        neither raises. A run that diverged is told up to the update whose loss was not finite.
    Raises:
        BadInput: an unknown task, a schedule that does not fit, or no folder for what is to be kept.
        RecordError: the checkpoint it goes on from is missing, damaged or of another kind of run.
    Example:
        >>> record = train(RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=1e-3, total_steps=20))
        >>> record.outcome.value, record.cost.steps, record.evals[-1].step
        ('finished', 20, 20)
    """
    (record,) = train_all([spec], weights=weights, progress=progress, threads=threads, device=device)
    return record


def train_all(
    specs: Sequence[RunSpec],
    *,
    weights: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int = 1,
    device: torch.device | None = None,
) -> Iterator[Record]:
    """Train several runs, each as if it were alone; what they have in common from the beginning is trained once.

    Args:
        specs: what to run; no two the same.
        weights: as for `train`.
        progress: called with the number of updates made for all of them, now and then.
        threads: as for `train`.
        device: as for `train`.
    Yields:
        The records, each as soon as its run has ended, in another order than the specs. A record is what `train`
        gives, to the bit, but for its cost, which tells what was shared.
    Raises:
        BadInput, RecordError: as `train`, before anything is trained or when the run's turn comes.
    Example:
        >>> wsd = [f"adamw:wsd(cooldown={share})" for share in (0.2, 0.4)]
        >>> specs = [RunSpec(task="digits-mlp", method=each, base_lr=1e-3, total_steps=50) for each in wsd]
        >>> sorted(record.cost.shared for record in train_all(specs))
        [0, 31]
    """
    for spec in specs:
        check_optimizer(find_task(spec.task), spec.method)
        spec.method.control.check_fits(spec.total_steps)
        kept = {"save=True": spec.save, "checkpoint=True": spec.checkpoint, "start=...": spec.start is not None}
        if weights is None and any(kept.values()):
            field = next(name for name, asked in kept.items() if asked)
            raise BadInput(f"`weights` must name a folder where the spec says {field}, got weights=None.")
    records = _records(specs, None if weights is None else Path(weights), progress, device)
    random: dict[torch.device, torch.Tensor] = {}
    while True:  # what the caller does between two records changes nothing here, and nothing of his is changed
        with alone(threads, device):
            for place, state in random.items():
                set_random(state, place)
            record = next(records, None)
            random = {place: random_now(place) for place in places_of_random(device)}
        if record is None:
            return
        yield record


def warm(spec: RunSpec, *, judge: bool = True) -> None:
    """Load what runs of the spec's task share, for a process that will fork for each of them.

    Args:
        spec: of a run.
        judge: whether a model is judged, as it will be in this process's children; on another device that may be too
            much for the CPU.

    And an optimizer is made: torch imports seconds' worth of modules with the first. No backward pass, and no update:
    where torch sees an accelerator, these would start threads and look for it, and a process that has done so can fork
    no child that trains there.
    """
    optimizer = spec.method.optimizer
    if (spec.task, optimizer) in _WARM:
        return
    _WARM.add((spec.task, optimizer))
    with alone():
        script = script_of(spec.task)
        if script is not None:
            script.prepare()
            optimizer = SGD() if isinstance(optimizer, Own) else optimizer
        else:
            problem = build(find_task(spec.task), spec.seed)
            if judge:
                problem.evaluate(problem.validation)
        make_optimizer(optimizer, [torch.nn.Parameter(torch.zeros(1))], spec.base_lr)


_WARM: set[tuple[str, OptimizerSpec]] = set()


def trained_model(record: Record, weights: Path) -> torch.nn.Module:
    """The model of a record, in evaluation mode, with the weights it ended with; or the ensemble it ended as."""
    return _trained(record, weights).model.eval()


def test_metrics(
    record: Record,
    weights: Path,
    device: torch.device | None = None,  # noqa: PT028 - it is no test
) -> dict[str, float]:
    """Loss and metrics of a record's trained weights on the test split; for the end of a study, once."""
    with alone(device=device):
        problem = _trained(record, weights, device)
        return problem.evaluate(problem.test)


def _trained(record: Record, weights: Path, device: torch.device | None = None) -> Problem:
    """The problem of a record, its model being what the run ended with."""
    problem = build(find_task(record.spec.task), record.spec.seed, device)
    if record.members:
        ensemble = ensemble_of(problem.model, load_states(weights, record), problem.combined)
        return dataclasses.replace(problem, model=ensemble)
    load_weights(problem.model, weights, record)
    return problem


def seconds_of(task: Task, *, threads: int = 1, device: torch.device | None = None) -> float:
    """What a full run of a task's default would take here, from a few updates and one look at validation.

    A script is run for a part of its updates: what it does before and after them is counted once.
    """
    if task.is_script:
        return _seconds_of_script(task, threads, device)
    spec = RunSpec(
        task=task.name,
        method=parse_method(task.method, steps_per_epoch=task.steps_per_epoch),
        base_lr=task.base_lr,
        total_steps=max(task.full_steps, EVALUATIONS * 10 * TRIED),
    )
    with alone(threads, device):
        problem = build(task, 0, device)
        updates = seconds_of_update(spec, threads=threads, problem=problem)
        begun = time.perf_counter()
        problem.evaluate(problem.validation)
        return updates * task.full_steps + (time.perf_counter() - begun) * evaluations(task, task.full_steps)


def _seconds_of_script(task: Task, threads: int, device: torch.device | None) -> float:
    """What a full run of a script would take here: a short one, and its later updates as often as they are missing.

    The first updates are slower, and are not what is missing. What runs share is loaded before.
    """
    script, full = script_of(task.name), task.full_steps
    assert script is not None  # noqa: S101 - it is a script, told to the type checker
    some = min(max(full // PART, FEWEST_TRIED), full)
    spec = RunSpec(
        task=task.name, method=parse_method(task.method), base_lr=task.base_lr, total_steps=full, stop_step=some
    )
    warm(spec)
    seen: dict[int, float] = {}

    def saw(made: int) -> None:
        if made in (FIRST_TRIED, some) and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        seen[made] = time.perf_counter()

    with alone(threads, device):
        record = carry_out_script(spec, task, script, progress=saw, device=device, every=1)
    taken, made = record.cost.seconds, record.cost.steps
    later = [update for update in seen if update >= min(FIRST_TRIED, made - 1)]
    if len(later) < 2:  # a full run, or one that was not looked at
        return taken * full / made
    return taken + (full - made) * (seen[later[-1]] - seen[later[0]]) / (later[-1] - later[0])


def seconds_of_update(
    spec: RunSpec,
    *,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    problem: Problem | None = None,
    device: torch.device | None = None,
) -> float:
    """What an update of a run takes here, of a task that is no script; the first ones, which are slower, apart.

    Args:
        spec: of the run.
        threads: >= 1; that compute.
        clock: that tells seconds.
        problem: of the task, whose model is trained on; by default it is made.
        device: of one that is made.
    """
    task = find_task(spec.task)
    spec = msgspec.structs.replace(spec, start=None, stop_step=spec.total_steps, save=False, checkpoint=False)
    with alone(threads, device if problem is None else problem.device):
        if problem is None:
            problem = build(task, spec.seed, device)
        seed_random(spec.seed, problem.device)
        under_way = UnderWay(task, problem, Branch((spec,), 0, spec.total_steps, (spec,), ()))

        def seconds(updates: int) -> float:
            begun, first = clock(), under_way.step
            last = min(first + updates, spec.total_steps)
            under_way.advance(Branch((spec,), first, last, (), ()))
            return (clock() - begun) / max(last - first, 1)

        few = [seconds(1) for _ in range(min(3, spec.total_steps))]
        more = TRIED if few[-1] * TRIED < LONG_ENOUGH else max(int(LONG_ENOUGH / few[-1]), 1)
        return seconds(more) if spec.total_steps > len(few) else few[-1]


def _records(
    specs: Sequence[RunSpec],
    folder: Path | None,
    progress: Callable[[int], None] | None,
    device: torch.device | None,
) -> Iterator[Record]:
    """The records of `train_all`; a problem is built once for all runs of a task and seed."""
    made = 0

    def told(own: int) -> None:
        if progress is not None:
            progress(made + own)

    trees: dict[tuple[str, int], list[Branch]] = {}
    for spec in specs:
        script = script_of(spec.task)
        if script is not None:
            record = carry_out_script(spec, script.task, script, folder, told, device)
            made += record.cost.steps
            yield record
    for tree in branches([spec for spec in specs if script_of(spec.task) is None]):
        trees.setdefault((tree.specs[0].task, tree.specs[0].seed), []).append(tree)
    for (name, seed), grown in trees.items():
        task = find_task(name)
        problem = build(task, seed, device)
        seed_random(seed, problem.device)
        fresh = taken(0, problem.model) if len(grown) > 1 else None
        for place, tree in enumerate(grown):
            if place > 0 and name in OWN:  # what a user's problem keeps beside the model's state is made anew
                problem, fresh = build(task, seed, device), None
                seed_random(seed, problem.device)
            under_way = UnderWay(task, problem, tree, folder=folder, fresh=fresh, progress=told)
            yield from under_way.grow(tree)
            made += under_way.made
