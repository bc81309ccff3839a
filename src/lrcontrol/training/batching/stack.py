"""Stack: runs of one task and kind of optimizer, with the same updates made for all of them at once."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrcontrol.controls.control import Observation
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.beginnings import rates
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training.batching.batches import Batches
from lrcontrol.training.batching.descent import descent_of
from lrcontrol.training.batching.judge import Judge
from lrcontrol.training.batching.numbers import Numbers
from lrcontrol.training.batching.parts import parts_of
from lrcontrol.training.batching.stepper import Stepper
from lrcontrol.training.batching.trial import Tried
from lrcontrol.training.pace import pace_of
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.under_way import BLOCK, End, bad_loss, bad_validation, grid
from lrcontrol.training.weights import save_weights

__all__ = ["Stack"]

WORTH = 1e-8  # seconds that an update takes for every number of a run: what leaving out a run that ended saves
AGAIN = 0.2  # seconds that making a smaller stack ready takes
ENDED = (0.0, math.nan, math.nan)  # the rate, momentum and weight decay of a run that has ended


class Stack:
    """Runs under way together.

    Args:
        task: what is trained.
        specs: the runs; none goes on from another, and their optimizers are of one kind.
        problems: by seed; where there are several, all have the same splits.
        found: of the task.
        key: runs of one key have the same step.
        folder: of weights; needed where a run keeps some.
    """

    def __init__(
        self,
        task: Task,
        specs: Sequence[RunSpec],
        problems: Mapping[int, Problem],
        found: Tried,
        *,
        key: Hashable,
        folder: Path | None,
    ) -> None:
        began = time.perf_counter()
        self._task, self._problems, self._found, self._key, self._folder = task, problems, found, key, folder
        self._runs = [_Run(task, spec) for spec in specs]
        self._step = self.made = 0
        seeds = sorted({spec.seed for spec in specs})
        self._problem = problems[specs[0].seed]
        for seed in seeds:
            problems[seed].model.train()
        parts = parts_of([problems[seed].model for seed in seeds], found.trained, found.changing)
        self._numbers = Numbers([problems[spec.seed].model for spec in specs], parts)
        self._descent = descent_of([spec.method.optimizer for spec in specs], self._numbers.weights)
        looks = min(len(run.looks) for run in self._runs)
        self._judge = Judge(self._problem, parts, looks=looks, key=key)
        device = self._numbers.weights.device
        self._random = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._make_ready()
        self._share(began)

    @property
    def live(self) -> int:
        """How many runs have not ended."""
        return sum(not run.ended for run in self._runs)

    def advance(self) -> list[Record]:
        """Make updates until a run wants to be looked at; the records of those that end there."""
        began = time.perf_counter()
        first = self._step
        table = self._planned(first)
        self._descent.plan(first, table)
        losses = []
        for place, (inputs, targets) in enumerate(self._batches.between(first, first + len(table))):
            loss, *gradients = self._stepper.step([*self._numbers.tensors, inputs, targets])
            self._descent.update(place, self._numbers.weights, self._numbers.flattened(gradients))
            losses.append(loss)
        self._step += len(table)
        self.made += len(table) * self.live
        seen = torch.stack(losses).cpu().numpy()
        for place, run in enumerate(self._runs):
            run.losses.append(seen[:, place])
            run.rates.append(table[:, place, 0])
        ends = self._looked_at(first, seen)
        self._share(began)
        records = [self._record(place, end) for place, end in ends.items()]
        if records and self.live:
            self._leave_out()
        return records

    def _make_ready(self) -> None:
        seeds = [run.spec.seed for run in self._runs]
        self._batches = Batches(self._problems, seeds)
        self._stepper = Stepper(
            self._problem,
            self._numbers.parts,
            seeds,
            self._random,
            apart=self._batches.apart,
            draws=self._found.draws,
            updates=max(run.spec.stop_step for run in self._runs if not run.ended) - self._step,
            key=self._key,
        )

    def _planned(self, first: int) -> NDArray[np.float64]:
        """What is in force up to where the first run wants to be looked at; shape (updates, runs, 3)."""
        live = [run for run in self._runs if not run.ended]
        pause = min(first - first % BLOCK + BLOCK, *(run.next_look(first) for run in live))
        looking = [(place, run) for place, run in enumerate(self._runs) if run.pace is not None and not run.ended]
        if any("loss" in run.needs for _, run in looking):
            pause = first + 1  # such a control decides with every loss
        table = np.empty((pause - first, len(self._runs), 3))
        for place, run in enumerate(self._runs):
            table[:, place] = ENDED if run.ended else run.table[first:pause] if run.table is not None else np.nan
        for step in range(first, pause) if looking else ():
            for place, run in looking:
                table[step - first, place] = run.in_force(step)
            if step + 1 < pause:
                for _, run in looking:
                    run.saw(step + 1)
                if any(run.stop is not None for _, run in looking):
                    return table[: step + 1 - first]
        return table

    def _looked_at(self, first: int, losses: NDArray[np.float32]) -> dict[int, End | None]:
        """Look at all runs as the plain loop does; those that end, by their place, and why before their time."""
        ends: dict[int, End | None] = {}
        step = self._step
        asking = []
        for place, run in enumerate(self._runs):
            if run.ended:
                continue
            bad = (~np.isfinite(losses[:, place])).nonzero()[0]
            if len(bad):
                ends[place] = bad_loss(first + int(bad[0]))
            elif step in run.looks or run.stop is not None:
                asking.append(place)
            else:
                run.saw(step, losses[-1, place])
                if run.stop is not None:
                    asking.append(place)
        for place, values in zip(asking, self._judged(asking), strict=True):
            ends |= self._judged_run(place, values, losses[-1, place])
        return ends

    def _judged_run(self, place: int, values: dict[str, float], loss: np.float32) -> dict[int, End | None]:
        """What follows from a run's metrics, under its place where it ends."""
        run, step = self._runs[place], self._step
        if not all(map(math.isfinite, values.values())):
            return {place: bad_validation(step)}
        run.evals.append(Evaluation(step, values))
        if run.stop is None:
            of_grid = step in run.grid
            metric = self._task.objective.lower_is_better(values[self._task.objective.metric]) if of_grid else None
            run.saw(step, loss, metric)
        if run.stop is not None:
            return {place: End(Outcome.STOPPED, step, run.stop)}
        return {place: None} if step == run.spec.stop_step else {}

    def _judged(self, places: Sequence[int]) -> list[dict[str, float]]:
        """Validation metrics of these runs; at the end of a run also those of train, where the task says so."""
        if not places:
            return []
        own, shared = self._numbers.of(places)
        values = self._judge.judged(own, shared, self._problem.validation)
        ending = [place for place in places if self._step == self._runs[place].spec.stop_step]
        if self._task.judges_train and ending:
            own, shared = self._numbers.of(ending)
            for place, of_train in zip(ending, self._judge.judged(own, shared, self._problem.train), strict=True):
                values[places.index(place)] |= {f"train_{name}": value for name, value in of_train.items()}
        return values

    def _record(self, place: int, end: End | None) -> Record:
        """The record of a run that ends here, its weights written."""
        began = time.perf_counter()
        run, spec = self._runs[place], self._runs[place].spec
        outcome, made, message = (Outcome.FINISHED, self._step, None) if end is None else end
        kept = None
        if spec.save and self._folder is not None and outcome is not Outcome.DIVERGED:
            self._numbers.put_into(self._problem.model, place)
            kept = save_weights(self._problem.model, self._folder, spec.id)
        run.ended = True
        with np.errstate(over="ignore"):  # a rate beyond float32 is infinite in the record; such a run diverges
            lr = np.concatenate(run.rates)[:made].astype(np.float32)
        return Record(
            spec=spec,
            outcome=outcome,
            objective=self._task.objective,
            evals=tuple(run.evals),
            cost=Cost(made, run.seconds + time.perf_counter() - began),
            columns={"loss": np.concatenate(run.losses)[:made], "lr": lr},
            message=message,
            weights=kept,
        )

    def _leave_out(self) -> None:
        """Go on without the runs that have ended, where that pays."""
        rows = [place for place, run in enumerate(self._runs) if not run.ended]
        left = max(self._runs[place].spec.stop_step for place in rows) - self._step
        if (len(self._runs) - len(rows)) * self._numbers.weights.shape[1] * WORTH * left < AGAIN:
            return
        began = time.perf_counter()
        kept = torch.tensor(rows)
        before = sorted({run.spec.seed for run in self._runs})
        self._runs = [self._runs[place] for place in rows]
        now = {run.spec.seed for run in self._runs}
        self._random = [each for seed, each in zip(before, self._random, strict=True) if seed in now]
        self._numbers.keep(kept)
        self._descent.keep(kept)
        self._make_ready()
        self._share(began)

    def _share(self, began: float) -> None:
        """Add the time since then to the runs, an equal part to each."""
        live = [run for run in self._runs if not run.ended]
        for run in live:
            run.seconds += (time.perf_counter() - began) / len(live)


class _Run:
    """What is known of a run of a stack."""

    def __init__(self, task: Task, spec: RunSpec) -> None:
        self.spec = spec
        self.pace = None if isinstance(spec.method.control, Scheduled) else pace_of(spec)
        self.table = rates(spec) if self.pace is None else None
        self.needs: frozenset[str] = frozenset() if self.pace is None else self.pace.needs
        self.grid = grid(task, spec)
        self.looks = sorted(self.grid | {spec.stop_step})
        self.losses: list[NDArray[np.float32]] = []
        self.rates: list[NDArray[np.float64]] = []
        self.evals: list[Evaluation] = []
        self.seconds = 0.0
        self.told = 0
        self.ended = False

    @property
    def stop(self) -> str | None:
        """Why its control ends it, or None."""
        return None if self.pace is None else self.pace.stop

    def next_look(self, step: int) -> int:
        """After which update it is judged next."""
        return next(place for place in self.looks if place > step)

    def in_force(self, step: int) -> tuple[float, float, float]:
        """Rate, momentum and weight decay of an update, of a control that looks; NaN where one is left as it is."""
        assert self.pace is not None  # noqa: S101 - only those are asked, told to the type checker
        lr, momentum, decay = self.pace.at(step)
        return lr, math.nan if momentum is None else momentum, math.nan if decay is None else decay

    def saw(self, step: int, loss: np.float32 | None = None, metric: float | None = None) -> None:
        """Told after `step` updates, once; the loss, unless it needs that always, where this run alone would pause."""
        if self.pace is not None and self.needs and self.told < step:
            pauses = step % BLOCK == 0 or step in self.looks or "loss" in self.needs
            self.pace.saw(
                Observation(step - 1, loss=float(loss) if loss is not None and pauses else None, metric=metric)
            )
            self.told = step
