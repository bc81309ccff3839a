"""Final weights: what a run ends with, where its control had some kept on the way: those, or an ensemble of them."""

import math
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lrcontrol.controls.holding import Ensemble
from lrcontrol.runs.record import Weights
from lrcontrol.runs.task import Task
from lrcontrol.training.ensembles import States, chosen_greedily, in_place, judge_of, state_of
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.weights import save_states, save_weights

__all__ = ["Ending", "FinalWeights"]

KEPT = "kept."  # what the names of their tensors begin with in a state


class Ending(NamedTuple):
    """What a run ended with, where that is not its last weights alone.

    Args:
        kept: after how many updates it had them, or None of an ensemble.
        members: the same of each member of an ensemble.
        values: their validation metrics.
        of_train: the same on the train split, where that was asked for.
    """

    kept: int | None
    members: tuple[int, ...]
    values: dict[str, float]
    of_train: dict[str, float]


class FinalWeights:
    """The weights that the control of a run has had kept.

    Args:
        task: tells what is better.
        problem: its model is trained.
        ensemble: which of them are members, or None where the last that were kept count.
    """

    def __init__(self, task: Task, problem: Problem, ensemble: Ensemble | None) -> None:
        self._task, self._problem, self._ensemble = task, problem, ensemble
        self._states: dict[int, dict[str, Tensor]] = {}

    def keep(self, step: int) -> None:
        """Keep the weights that the model has after `step` updates."""
        if self._ensemble is None:
            self._states.clear()
        self._states[step] = state_of(self._problem.model)

    def ending(self, last: int, *, judge_train: bool = False) -> Ending | None:
        """What the run ends with after its last update, or None where those are its last weights."""
        if not self._states or (self._ensemble is None and last in self._states):
            return None
        problem = self._problem
        judged = judge_of(problem, self._states, problem.validation)
        if self._ensemble is None:
            (kept,) = self._states
            of_train = judge_of(problem, self._states, problem.train)([kept]) if judge_train else {}
            return Ending(kept, (), judged([kept]), of_train)
        metric = self._task.objective.metric
        found: dict[tuple[int, ...], dict[str, float]] = {}

        def key(members: tuple[int, ...]) -> tuple[float, float]:
            values = found.setdefault(members, {}) or found[members]
            if not values:
                values.update(judged(members))
            return self._task.objective.lower_is_better(values[metric]), values["loss"]

        steps = tuple(sorted(self._states))
        if self._ensemble == "all":
            members = tuple(step for step in steps if all(map(math.isfinite, key((step,))))) or steps
        else:
            members = chosen_greedily(steps, key)
        key(members)
        of_train = {}
        if judge_train:
            of_train = judge_of(problem, self._of(members), problem.train)(members)
        return Ending(None, members, found[members], of_train)

    def save(self, ending: Ending | None, folder: Path, name: str) -> Weights:
        """Write what the run ended with."""
        model = self._problem.model
        if ending is None:
            return save_weights(model, folder, name)
        if ending.members:
            return save_states(self._of(ending.members), folder, name)
        (written,) = [save_weights(model, folder, name) for _ in in_place(model, self._states)]
        return written

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` takes, by names that nothing else of a state has."""
        return {f"{KEPT}{step}.{name}": value for step, state in self._states.items() for name, value in state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what another had kept."""
        for name, value in tensors.items():
            if name.startswith(KEPT):
                step, _, own = name.removeprefix(KEPT).partition(".")
                self._states.setdefault(int(step), {})[own] = value

    def _of(self, members: tuple[int, ...]) -> States:
        return {step: self._states[step] for step in members}
