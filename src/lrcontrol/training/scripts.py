"""Scripts carried out: called with a run, held to what a script must do, and told as a record."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training.checkpoints import load_start, save_checkpoint
from lrcontrol.training.devices import CPU, on_cpu
from lrcontrol.training.optimizers.found import growth_of
from lrcontrol.training.random_numbers import seeded_all
from lrcontrol.training.run import Run
from lrcontrol.training.state import State
from lrcontrol.training.steering import CutOff, Steering
from lrcontrol.training.told import Saved, Told
from lrcontrol.training.under_way import BLOCK, End
from lrcontrol.training.weights import save_state

__all__ = ["carry_out_script"]


def carry_out_script(
    spec: RunSpec,
    task: Task,
    script: Callable[[Run], object],
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
    device: torch.device | None = None,
    every: int = BLOCK,
) -> Record:
    """The record of a script called with a run; what the script raises is raised.

    Args:
        spec: what to run.
        task: the script's.
        script: trains.
        folder: of weights and checkpoints; needed where `spec` keeps some or goes on from one.
        progress: called with the number of updates made, now and then.
        device: that the run tells the script; by default the CPU.
        every: >= 1; after how many updates at least it is called again.
    Raises:
        BadInput: the script does not do what it must; one sentence says what.
        RecordError: the checkpoint to go on from is missing, damaged or of another kind of run.
    """
    began = time.perf_counter()
    spec.method.control.check_fits(spec.total_steps)
    start = None if spec.start is None or folder is None else load_start(folder, spec, spec.start)
    told = Told(spec)
    run = Run(spec, task.objective, told, start, progress, device or CPU, every)
    there = contextlib.nullcontext() if on_cpu(device) else torch.cuda.device(device)
    with there, seeded_all(spec.seed), contextlib.suppress(CutOff):
        try:
            script(run)
        except SystemExit as error:
            raise BadInput(
                f"{task.name} must return when its run has ended, but it called exit, with {checks.shown(error.code)}"
                '; what a file does as a program belongs under `if __name__ == "__main__":`.'
            ) from error
    steering, end = _ending(spec, task, told)
    outcome, last, message = end
    if outcome is Outcome.FINISHED and steering.cut_off:
        message = "the script went on after its last update and was cut off there"
    made = last - spec.first_step
    losses = told.losses(made)
    with np.errstate(over="ignore"):  # a rate beyond float32 is infinite in the record; such a run diverges
        rates = np.array(steering.rates[:made]).astype(np.float32)
    found = steering.found(made)
    weights = checkpoint = None
    kept = _kept(told, steering, task.objective.metric, last) if outcome is not Outcome.DIVERGED else None
    if folder is not None and outcome is not Outcome.DIVERGED:
        if spec.checkpoint:
            saved = _saved_last(task.name, told, last)
            state = State(last, saved.tensors | saved.random, saved.plain, steering.state())
            checkpoint = save_checkpoint(state, folder, spec)
        final = told.saved if kept is None or told.kept is None or told.kept.step != kept else told.kept
        if spec.save and final is not None:
            weights = save_state(final.plain, final.tensors, folder, spec.id)
    return Record(
        spec=spec,
        outcome=outcome,
        objective=task.objective,
        evals=tuple(Evaluation(step, values) for step, values in sorted(told.evals.items()) if step <= last),
        cost=Cost(made, time.perf_counter() - began),
        columns=({} if losses is None else {"loss": losses}) | {"lr": rates} | found | steering.norms(made),
        message=message or None,
        weights=weights,
        checkpoint=checkpoint,
        kept=kept,
        growth=growth_of(found, spec.first_step),
    )


def _kept(told: Told, steering: Steering, metric: str, last: int) -> int | None:
    """After how many updates its control had the weights kept that it ends with; None for its last ones.

    The script must have saved them there, and told the metric.
    """
    step = steering.kept
    if step is None or step >= last or step not in told.saved_at or metric not in told.evals.get(step, {}):
        return None
    return step


def _ending(spec: RunSpec, task: Task, told: Told) -> tuple[Steering, End]:
    """How the run ended, or BadInput where the script has not done what it must."""
    steering = told.steering
    if steering is None:
        raise BadInput(
            f"{task.name} must give its optimizer to run.steer, or take it from run.optimizer, but did neither."
        )
    told.look()
    step = steering.count()
    if step == spec.first_step:
        raise BadInput(f"{task.name} must make updates with the optimizer that is steered, but made none.")
    if spec.start is not None and not told.restored:
        raise BadInput(f"{task.name} must call run.restore() where a run goes on from another, but did not.")
    if told.end is not None:
        return steering, told.end._replace(step=min(step, told.end.step))
    steering.decide()
    if steering.stop is None and step < spec.stop_step:
        raise BadInput(
            f"{task.name} must train until run.should_stop, but returned after {step} of {spec.stop_step} updates."
        )
    _check_judged(task.name, task.objective, told, step)
    if steering.stop is not None:
        return steering, End(Outcome.STOPPED, step, steering.stop)
    return steering, End(Outcome.FINISHED, step, "")


def _check_judged(name: str, objective: Objective, told: Told, last: int) -> None:
    """BadInput unless the metric was logged after the last update."""
    metric = objective.metric
    if told.steering is not None and told.steering.cut_off and last not in told.evals:
        raise BadInput(
            f"{name} must look at run.should_stop after every update, end where it is true, and log {metric!r} once "
            f"more there, but went on after its last update, {last}, and was cut off."
        )
    judged = [step for step, values in told.evals.items() if metric in values]
    if not judged:
        names = sorted({each for values in told.evals.values() for each in values})
        raise BadInput(
            f"{name} must log the metric that it is compared by, {metric!r}, got {', '.join(names) or 'nothing'}; "
            f"call run.log({metric}=...)."
        )
    if judged[-1] != last:
        raise BadInput(
            f"{name} must log {metric!r} after its last update, {last}, but did so last after {judged[-1]}; log it "
            f"once more where run.should_stop is true."
        )


def _saved_last(name: str, told: Told, last: int) -> Saved:
    """What was saved after the last update, or BadInput."""
    saved = told.saved
    if saved is None or saved.step != last:
        got = "nothing was saved" if saved is None else f"it did so last after {saved.step}"
        raise BadInput(
            f"{name} must call run.save(state) after its last update, {last}, where another run is to go on from it, "
            f"but {got}{'' if told.restored else '; it must call run.restore() too, which it did not'}."
        )
    return saved
