"""Runs under way: updates made for all that are alike so far, and a record for each when it ends."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrcontrol.controls.control import Observation, Update
from lrcontrol.runs.beginnings import Branch
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.task import Task
from lrcontrol.training.checkpoints import load_start, save_checkpoint
from lrcontrol.training.final_weights import Ending, FinalWeights
from lrcontrol.training.foresight import Foresight, clip_gradients, foresight_of, gradient_again
from lrcontrol.training.judging import as_judged
from lrcontrol.training.norms import gradients, norms
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.optimizers.found import as_column, growth_of, numbers_of
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.pace import InForce, Looking, pace_of, put_in_force
from lrcontrol.training.state import State, put, random_of, taken
from lrcontrol.training.tangent import Tangent
from lrcontrol.training.tasks.problem import Problem, Split

__all__ = [
    "BLOCK",
    "EVALUATIONS",
    "FEWEST",
    "SHOWN",
    "End",
    "UnderWay",
    "bad_loss",
    "bad_validation",
    "evaluations",
    "grid",
]

EVALUATIONS = 10  # of the validation split over the horizon, evenly spaced, at most
FEWEST = 5  # the same, of a full run at least
SHOWN = 50  # the same, where the control looks at them
WORTH = 0.1  # of what a run computes, what looking may take; an update is reckoned as three looks at its batch
BLOCK = 50  # updates between two looks at the losses: the device is not made to wait at each


class _Batch(NamedTuple):
    """What an update is made of, and where the random numbers were before it."""

    inputs: Tensor
    targets: Tensor
    random: dict[str, Tensor]


class End(NamedTuple):
    """Why all runs that are alike end before their time, and after which update."""

    outcome: Outcome
    step: int
    message: str


def evaluations(task: Task, total_steps: int) -> int:
    """How often a run over so many updates is judged on the validation split, where its control does not look at it.

    Ten times, unless that would take more than a tenth of what the run computes: a short run on a large validation
    split would be judged longer than it trains. A full run is judged five times at least.
    """
    if task.is_script:
        return EVALUATIONS
    affordable = int(WORTH * 3 * total_steps * task.batch_size / max(task.sizes[1], 1))
    return min(max(affordable, FEWEST if total_steps >= task.full_steps else 1), EVALUATIONS)


def grid(task: Task, spec: RunSpec) -> set[int]:
    """After which updates of its own a run is judged on the validation split, beside its last one.

    They follow from the horizon: wherever runs of one horizon begin and end, they are judged at the same places. A
    control may want more: often, or at places of its own.
    """
    often, at = spec.method.control.looks(spec.total_steps)
    count = SHOWN if often else evaluations(task, spec.total_steps)
    places = {round(spec.total_steps * (index + 1) / count) for index in range(count)} | at
    return {place for place in places if spec.first_step < place <= spec.stop_step}


class UnderWay:
    """The model and optimizer of runs that have been alike so far, and what was seen of them.

    Args:
        task: what is trained.
        problem: made for it; its model is trained where it is.
        tree: the runs, from their first update on.
        folder: of weights and checkpoints; needed where a run keeps some or goes on from one.
        fresh: the state that the model of a fresh problem has, where it has been trained since.
        progress: called with the number of updates made, now and then.
    Raises:
        RecordError: the checkpoint to go on from is missing, damaged or of another kind of run.
    """

    def __init__(
        self,
        task: Task,
        problem: Problem,
        tree: Branch,
        *,
        folder: Path | None = None,
        fresh: State | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        spec = tree.specs[0]
        self._task, self._problem, self._folder, self._progress = task, problem, folder, progress
        self._spec, self._pace = spec, pace_of(spec)
        self._optimizer = make_optimizer(spec.method.optimizer, problem.model.parameters(), spec.base_lr)
        self._foresight = foresight_of(self._optimizer, self._pace.needs)
        self._tangent: Tangent | None = None
        self._due: frozenset[int] = frozenset()  # after which updates it is asked for the hypergradient
        if "hypergradient" in self._pace.needs:
            self._tangent = Tangent(problem, self._optimizer)
            self._due = spec.method.control.looks(spec.total_steps).at
        self._first = self.step = spec.first_step
        self._losses = np.full(max(each.updates for each in tree.specs), np.nan, np.float32)
        told = {"l2"} if "grad_norm" in self._pace.needs else set()
        self._orders = sorted(told.union(*(each.norms for each in tree.specs)))
        self._norms = np.full((len(self._losses), len(self._orders)), np.nan, np.float32)
        self._found = np.full(len(self._losses), np.nan)
        self._rates: list[float] = []
        self._seen: dict[int, dict[str, float]] = {}
        self._grids = {each.id: grid(task, each) for each in tree.specs}
        self._seconds = dict.fromkeys(self._grids, 0.0)
        self._shared = dict.fromkeys(self._grids, 0)
        self.made = 0
        self._final = FinalWeights(task, problem, spec.method.control.ensemble)
        if spec.start is not None and folder is not None:
            self._go_on(spec, spec.start, folder)
        elif fresh is not None:
            put(fresh, problem.model, self._optimizer)
        problem.model.train()

    def grow(self, branch: Branch) -> Iterator[Record]:
        """Make the updates of a branch and of all that grow from it; the records as the runs end."""
        began, before = time.perf_counter(), self.step
        if branch.specs[0] is not self._spec:
            self._spec, self._pace = branch.specs[0], pace_of(branch.specs[0])
        end = self.advance(branch)
        first, *others = (spec.id for spec in branch.specs)
        self._seconds[first] += time.perf_counter() - began
        for each in others:
            self._shared[each] += self.step - before
        for spec in branch.ended if end is None else branch.specs:
            yield self._record(spec, end)
        if end is not None or not branch.then:
            return
        fork = self._taken() if len(branch.then) > 1 else None
        for place, child in enumerate(branch.then):
            if fork is not None and place > 0:
                self._put(fork)
            yield from self.grow(child)

    def advance(self, branch: Branch) -> End | None:
        """Make the updates up to the end of a branch; why all of its runs end before that, or None."""
        problem, model, pace, foresight = self._problem, self._problem.model, self._pace, self._foresight
        grids = [self._grids[spec.id] for spec in branch.specs]
        looks = set().union(*grids) | {spec.stop_step for spec in branch.ended}
        blocks = range(self.step - self.step % BLOCK + BLOCK, branch.last, BLOCK)
        for pause in sorted(place for place in {branch.last, *blocks, *looks} if self.step < place <= branch.last):
            first, losses, measured, found = self.step, [], [], []
            for inputs, targets in problem.batches(first, pause):
                now = pace.at(self.step)
                put_in_force(self._optimizer, now)
                random = random_of(model) if foresight is not None and foresight.asks_again else {}
                loss = problem.loss(model(inputs), targets)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if self._orders:
                    measured.append(norms(gradients(self._optimizer), self._orders).float())
                if foresight is not None:
                    now = self._foreseen(foresight, loss, _Batch(inputs, targets, random))
                else:
                    if pace.clip is not None:
                        clip_gradients(self._optimizer, pace.clip)
                    self._optimizer.step()
                self._rates.append(now.lr)
                if isinstance(self._optimizer, LRFree):
                    found.append(self._optimizer.found)
                losses.append(loss.detach())
                self.step += 1
                if pace.hears and self.step < pause:
                    told = float(loss.detach()) if "loss" in pace.needs else None
                    norm = float(measured[-1][-1]) if "grad_norm" in pace.needs else None  # l2 is the last of them
                    self._tell(Observation(self.step - 1, loss=told, grad_norm=norm))
                    if pace.stop is not None:
                        break
            if measured:
                self._norms[first - self._first : self.step - self._first] = torch.stack(measured).cpu().numpy()
            if found:
                self._found[first - self._first : self.step - self._first] = numbers_of(found)
            end = self._look(branch, first, torch.stack(losses).cpu().numpy(), looks)
            if end is not None:
                return end
        return None

    def _foreseen(self, foresight: Foresight, loss: Tensor, batch: "_Batch") -> InForce:
        """Make the update whose gradients are at hand as the control decides, having been shown them."""
        pace, optimizer, step = self._pace, self._optimizer, self.step
        assert isinstance(pace, Looking)  # noqa: S101 - what needs to be shown updates looks, told to the type checker
        tangent = self._tangent
        again = partial(gradient_again, self._problem, *batch)
        shown = foresight.shown([self._spec.base_lr] * len(optimizer.param_groups), loss.detach(), again)
        if tangent is not None and step in self._due:
            shown["hypergradient"] = tangent.hypergradient()
            tangent.begin_anew()
        if not foresight.is_tried:
            pace.reconsider(Update(**shown))
        multiplier = 1.0 if foresight.is_tried else pace.multiplier
        put_in_force(optimizer, pace.at(step)._replace(lr=self._spec.base_lr * multiplier))
        clipped = 1.0 if pace.clip is None else clip_gradients(optimizer, pace.clip)
        if tangent is not None:
            tangent.carry_on(*batch, self._spec.base_lr * multiplier, clipped)
        foresight.expect()
        optimizer.step()
        if tangent is not None:
            tangent.made()
        descent = foresight.made(multiplier)
        if foresight.is_tried:
            pace.reconsider(Update(**shown, descent=descent))
            foresight.scale_to(pace.multiplier)
        return pace.at(step)

    def _look(self, branch: Branch, first: int, losses: NDArray[np.float32], looks: set[int]) -> End | None:
        """Look at the losses since update `first`, judge where it is time to, and tell the control."""
        pace, step = self._pace, self.step
        self._losses[first - self._first : step - self._first] = losses
        self.made += step - first
        if self._progress is not None:
            self._progress(self.made)
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            return bad_loss(first + int(bad[0]))
        metric = None
        if step in looks or pace.stop is not None:
            values = self._seen[step] = self._judged(self._problem.validation)
            if not _finite(values):
                if all(step in {*self._grids[spec.id], spec.stop_step} for spec in branch.specs):
                    return bad_validation(step)
            elif step in self._grids[self._spec.id]:
                metric = self._task.objective.lower_is_better(values[self._task.objective.metric])
        if pace.hears and pace.stop is None:
            norm = float(self._norms[step - 1 - self._first, -1]) if "grad_norm" in pace.needs else None
            self._tell(Observation(step - 1, loss=float(losses[-1]), metric=metric, grad_norm=norm))
        if pace.stop is not None:
            if step not in self._seen:
                self._seen[step] = self._judged(self._problem.validation)
            return End(Outcome.STOPPED, step, pace.stop)
        return None

    def _judged(self, split: Split) -> dict[str, float]:
        """Metrics of the weights that the model is judged by."""
        with as_judged(self._optimizer, self._problem):
            return self._problem.evaluate(split)

    def _tell(self, seen: Observation) -> None:
        """Tell the control of an update, and keep the weights where it says so."""
        self._pace.saw(seen)
        self._keep()

    def _keep(self) -> None:
        """Keep the weights that the model is judged by, where the control says so."""
        if self._pace.keep:
            with as_judged(self._optimizer, self._problem):
                self._final.keep(self.step)

    def _record(self, spec: RunSpec, end: End | None) -> Record:
        """The record of a run that ends here, its files written."""
        began = time.perf_counter()
        problem, last = self._problem, self.step if end is None else end.step
        judge_train = last == spec.stop_step and self._task.judges_train
        diverged = end is not None and end.outcome is Outcome.DIVERGED
        ending = None if diverged else self._final.ending(last, judge_train=judge_train)
        evals, of_end = [], last if ending is None or ending.kept is None else ending.kept
        for step in sorted({*self._grids[spec.id], last, of_end}):
            values = self._seen.get(step)
            if step == of_end and ending is not None:
                values = _told(ending, values or {})
            if values is None or step > last:
                continue
            if step == of_end and judge_train:
                of_train = self._judged(problem.train) if ending is None else ending.of_train
                values = values | {f"train_{name}": value for name, value in of_train.items()}
            if not _finite(values):
                end, ending = bad_validation(step), None
                break
            evals.append(Evaluation(step, values))
        outcome, step, message = (Outcome.FINISHED, last, None) if end is None else end
        kept = checkpoint = None
        if self._folder is not None and outcome is not Outcome.DIVERGED:
            if spec.save:
                with as_judged(self._optimizer, problem):
                    kept = self._final.save(ending, self._folder, spec.id)
            if spec.checkpoint:
                checkpoint = save_checkpoint(self._taken(), self._folder, spec)
        made = step - self._first
        with np.errstate(over="ignore"):  # a rate beyond float32 is infinite in the record; such a run diverges
            rates = np.array(self._rates[:made]).astype(np.float32)
        found = as_column(self._found[:made])
        self._seconds[spec.id] += time.perf_counter() - began
        return Record(
            spec=spec,
            outcome=outcome,
            objective=self._task.objective,
            evals=tuple(evals),
            cost=Cost(made, self._seconds[spec.id], min(self._shared[spec.id], made)),
            columns={"loss": self._losses[:made].copy(), "lr": rates} | found | self._measured(spec, made),
            message=message,
            weights=kept,
            checkpoint=checkpoint,
            kept=None if ending is None else ending.kept,
            members=() if ending is None else ending.members,
            growth=growth_of(found, self._first),
        )

    def _measured(self, spec: RunSpec, made: int) -> dict[str, NDArray[np.float32]]:
        """The norms that a run asks for, as columns."""
        return {name: self._norms[:made, self._orders.index(name)].copy() for name in spec.norms}

    def _go_on(self, spec: RunSpec, start: Start, folder: Path) -> None:
        """Begin where the checkpoint that the runs start from ended."""
        state = load_start(folder, spec, start)
        self._put(state)
        if state.control is not None:
            self._pace.restore(state.control)
            self._final.restore(state.tensors)
        self._keep()

    def _taken(self) -> State:
        state = taken(self.step, self._problem.model, self._optimizer, self._pace.state())
        return state._replace(tensors=state.tensors | self._final.tensors())

    def _put(self, state: State) -> None:
        """Go back to where a state was taken; what was seen after that is forgotten."""
        put(state, self._problem.model, self._optimizer)
        self.step = state.step
        del self._rates[self.step - self._first :]
        self._seen = {step: values for step, values in self._seen.items() if step <= self.step}


def _told(ending: Ending, last: dict[str, float]) -> dict[str, float]:
    """The metrics of what a run ended with; of an ensemble, beside them those of the last weights alone."""
    if not ending.members:
        return ending.values
    return ending.values | {f"single_{name}": value for name, value in last.items()}


def _finite(values: dict[str, float]) -> bool:
    return all(map(math.isfinite, values.values()))


def bad_loss(update: int) -> End:
    """The end of runs whose loss was not finite at an update."""
    return End(Outcome.DIVERGED, update + 1, f"the loss was not finite at update {update}")


def bad_validation(step: int) -> End:
    """The end of runs whose validation was not finite after so many updates."""
    return End(Outcome.DIVERGED, step, f"the validation loss was not finite after {step} updates")
