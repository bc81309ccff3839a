"""train(spec) -> Record: the only training loop there is."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrcontrol.errors import BadInput
from lrcontrol.runs.method import OptimizerSpec
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.problem import Problem, build
from lrcontrol.training.weights import load_weights, save_weights

__all__ = ["test_metrics", "train", "trained_model", "warm"]

EVALUATIONS = 10  # of the validation split in a run, evenly spaced
BLOCK = 50  # updates between two looks at the losses: the device is not made to wait at each


def train(
    spec: RunSpec, *, weights: str | Path | None = None, progress: Callable[[int], None] | None = None
) -> Record:
    """Train as `spec` says and tell what happened.

    The learning rate of update t is `base_lr * multiplier(t)`, set by value before it. The same spec gives the same
    record on the same machine, apart from its seconds: one thread computes, and the caller's random state is
    left as it was.

    Args:
        spec: what to run.
        weights: the folder for trained weights; needed where `spec.save`.
        progress: called with the number of updates made, now and then.
    Returns:
        The record. A loss that is no longer finite ends the run as DIVERGED; it does not raise.
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
    multipliers = spec.method.control.multipliers(spec.total_steps)[: spec.stop_step]
    with np.errstate(over="ignore"):  # a rate beyond float32 is infinite in the record; the run will have diverged
        rates = spec.base_lr * multipliers
        recorded = rates.astype(np.float32)
    started = time.perf_counter()
    with _alone(spec.seed):
        problem = build(task, spec.seed)
        losses, evals, message = _updates(problem, spec, rates, progress)
        outcome = Outcome.FINISHED if message is None else Outcome.DIVERGED
        kept = None
        if spec.save and weights is not None and outcome is Outcome.FINISHED:
            kept = save_weights(problem.model, Path(weights), spec.id)
    return Record(
        spec=spec,
        outcome=outcome,
        objective=task.objective,
        evals=tuple(evals),
        cost=Cost(len(losses), time.perf_counter() - started),
        columns={"loss": losses, "lr": recorded[: len(losses)]},
        message=message,
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


def _updates(
    problem: Problem,
    spec: RunSpec,
    rates: NDArray[np.float64],
    progress: Callable[[int], None] | None,
) -> tuple[NDArray[np.float32], list[Evaluation], str | None]:
    """Make the updates; losses of those made, evaluations, and why the run diverged if it did."""
    model, loss_of = problem.model, problem.loss
    optimizer = make_optimizer(spec.method.optimizer, model.parameters(), spec.base_lr)
    stop = len(rates)
    evaluate_after = {round(stop * (index + 1) / EVALUATIONS) for index in range(EVALUATIONS)}
    pauses = sorted({stop, *range(BLOCK, stop, BLOCK), *(after for after in evaluate_after if after > 0)})
    losses = torch.full((stop,), math.nan)
    evals: list[Evaluation] = []
    model.train()
    step = 0
    for pause in pauses:
        first = step
        for inputs, targets in problem.batches(step, pause):
            for group in optimizer.param_groups:
                group["lr"] = float(rates[step])
            loss = loss_of(model(inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses[step] = loss.detach()
            step += 1
        if progress is not None:
            progress(step)
        bad = (~torch.isfinite(losses[first:step])).nonzero()
        if len(bad):
            return losses[:step].numpy(), evals, f"the loss was not finite at update {first + int(bad[0])}"
        if step in evaluate_after:
            values = problem.evaluate(problem.validation)
            if not all(map(math.isfinite, values.values())):
                return losses[:step].numpy(), evals, f"the validation loss was not finite after {step} updates"
            evals.append(Evaluation(step, values))
    return losses.numpy(), evals, None


@contextlib.contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread, random numbers from `seed`; the caller's threads and random state are put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every accelerator too
            yield
    finally:
        torch.set_num_threads(threads)
