"""train(spec) -> Record: the only training loop there is."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lrcontrol.controls.control import Observation
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import OptimizerSpec
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.pace import Pace, pace_of, put_in_force
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.problem import Problem, build, seeded
from lrcontrol.training.weights import load_weights, save_weights

__all__ = ["seconds_of", "test_metrics", "train", "trained_model", "warm"]

EVALUATIONS = 10  # of the validation split in a run, evenly spaced
SHOWN = 50  # the same, where the control looks at them
TRIED = 20  # updates that are timed to reckon with a full run
BLOCK = 50  # updates between two looks at the losses: the device is not made to wait at each


def train(
    spec: RunSpec, *, weights: str | Path | None = None, progress: Callable[[int], None] | None = None
) -> Record:
    """Train as `spec` says and tell what happened.

    The learning rate of update t is `base_lr * multiplier(t)`, set by value before it; momentum and weight decay
    likewise, where the control has schedules of theirs. A control that looks is shown what it needs after every
    update: the validation metric whenever it has been measured, some 50 times a run. The same spec gives the same
    record on the same machine, apart from its seconds: one thread computes, and the caller's random state is
    left as it was.

    Args:
        spec: what to run.
        weights: the folder for trained weights; needed where `spec.save`.
        progress: called with the number of updates made, now and then.
    Returns:
        The record. A loss that is no longer finite ends the run as DIVERGED, a control that says stop as STOPPED;
        neither raises.
    Raises:
        BadInput: an unknown task, a schedule that does not fit, or no folder for weights that are to be kept.
    Example:
        >>> record = train(RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=1e-3, total_steps=20))
        >>> record.outcome.value, record.cost.steps, record.evals[-1].step
        ('finished', 20, 20)
    """
    task = find_task(spec.task)
    if spec.save and weights is None:
        raise BadInput("`weights` must name a folder where the spec says save=True, got weights=None.")
    pace = pace_of(spec)
    started = time.perf_counter()
    with _alone(spec.seed):
        problem = build(task, spec.seed)
        made = _updates(problem, spec, pace, progress)
        kept = None
        if spec.save and weights is not None and made.outcome is not Outcome.DIVERGED:
            kept = save_weights(problem.model, Path(weights), spec.id)
    return Record(
        spec=spec,
        outcome=made.outcome,
        objective=task.objective,
        evals=tuple(made.evals),
        cost=Cost(len(made.losses), time.perf_counter() - started),
        columns={"loss": made.losses, "lr": made.rates},
        message=made.message,
        weights=kept,
    )


def warm(spec: RunSpec) -> None:
    """Load what runs of the spec's task share, for a process that will fork for each of them.

    One forward pass and one update of a lone number: torch imports a second's worth of modules with the first
    optimizer. No backward pass: where torch sees an accelerator, that would start threads, and a process that has
    started them can fork no child that trains.
    """
    optimizer = spec.method.optimizer
    if (spec.task, optimizer) in _WARM:
        return
    _WARM.add((spec.task, optimizer))
    with _alone(spec.seed):
        problem = build(find_task(spec.task), spec.seed)
        problem.evaluate(problem.validation)
        number = torch.nn.Parameter(torch.zeros(1))
        number.grad = torch.zeros(1)
        make_optimizer(optimizer, [number], spec.base_lr).step()


_WARM: set[tuple[str, OptimizerSpec]] = set()


def trained_model(record: Record, weights: Path) -> torch.nn.Module:
    """The model of a record, in evaluation mode, with the weights it ended with."""
    problem = build(find_task(record.spec.task), record.spec.seed)
    load_weights(problem.model, weights, record)
    return problem.model.eval()


def test_metrics(record: Record, weights: Path) -> dict[str, float]:
    """Loss and metrics of a record's trained weights on the test split; for the end of a study, once."""
    with _alone(record.spec.seed):
        problem = build(find_task(record.spec.task), record.spec.seed)
        load_weights(problem.model, weights, record)
        return problem.evaluate(problem.test)


def seconds_of(task: Task) -> float:
    """What a full run of a task's default would take here, from a few updates and one look at validation."""
    with _alone(0):
        problem = build(task, 0)
        optimizer = make_optimizer(parse_method(task.method).optimizer, problem.model.parameters(), task.base_lr)
        batches = problem.batches(0, TRIED + 2)
        begun = 0.0
        for number, (inputs, targets) in enumerate(batches):
            if number == 2:  # the first ones are slower
                begun = time.perf_counter()
            loss = problem.loss(problem.model(inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        updates = (time.perf_counter() - begun) / TRIED
        begun = time.perf_counter()
        problem.evaluate(problem.validation)
        return updates * task.full_steps + (time.perf_counter() - begun) * EVALUATIONS


class _Made(NamedTuple):
    """What the updates of a run came to."""

    outcome: Outcome
    losses: NDArray[np.float32]
    rates: NDArray[np.float32]
    evals: list[Evaluation]
    message: str | None = None


def _updates(problem: Problem, spec: RunSpec, pace: Pace, progress: Callable[[int], None] | None) -> _Made:
    """Make the updates."""
    model, loss_of, task = problem.model, problem.loss, find_task(spec.task)
    optimizer = make_optimizer(spec.method.optimizer, model.parameters(), spec.base_lr)
    stop = spec.stop_step
    evaluations = SHOWN if "metric" in pace.needs else EVALUATIONS
    evaluate_after = {round(stop * (index + 1) / evaluations) for index in range(evaluations)}
    pauses = sorted({stop, *range(BLOCK, stop, BLOCK), *(after for after in evaluate_after if after > 0)})
    losses = torch.full((stop,), math.nan)
    rates: list[float] = []
    evals: list[Evaluation] = []
    model.train()
    step = 0

    def ended(outcome: Outcome, message: str | None = None) -> _Made:
        with np.errstate(over="ignore"):  # a rate beyond float32 is infinite in the record; such a run diverges
            return _Made(outcome, losses[:step].numpy(), np.array(rates).astype(np.float32), evals, message)

    for pause in pauses:
        first = step
        for inputs, targets in problem.batches(step, pause):
            now = pace.at(step)
            put_in_force(optimizer, now)
            rates.append(now.lr)
            loss = loss_of(model(inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses[step] = loss.detach()
            step += 1
            if step < pause and pace.needs:
                pace.saw(Observation(step - 1, loss=float(loss) if "loss" in pace.needs else None))
        if progress is not None:
            progress(step)
        bad = (~torch.isfinite(losses[first:step])).nonzero()
        if len(bad):
            return ended(Outcome.DIVERGED, f"the loss was not finite at update {first + int(bad[0])}")
        metric = None
        if step in evaluate_after:
            values = problem.evaluate(problem.validation)
            if task.judges_train and step == stop:
                of_train = problem.evaluate(problem.train)
                values |= {f"train_{name}": value for name, value in of_train.items()}
            if not all(map(math.isfinite, values.values())):
                return ended(Outcome.DIVERGED, f"the validation loss was not finite after {step} updates")
            evals.append(Evaluation(step, values))
            metric = task.objective.lower_is_better(values[task.objective.metric])
        if pace.needs:
            pace.saw(Observation(step - 1, loss=float(losses[step - 1]), metric=metric))
            if pace.stop is not None:
                return ended(Outcome.STOPPED, pace.stop)
    return ended(Outcome.FINISHED)


@contextlib.contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread, random numbers from `seed`; the caller's threads and random state are put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(seed):
            yield
    finally:
        torch.set_num_threads(threads)
