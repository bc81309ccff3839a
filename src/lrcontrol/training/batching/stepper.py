"""Stepper: the step of a stack, with the random numbers that each run draws."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from lrcontrol.training.batching.parts import Parts
from lrcontrol.training.batching.repeated import Repeated
from lrcontrol.training.batching.step import step_of
from lrcontrol.training.devices import random_now, set_random
from lrcontrol.training.tasks.problem import Problem

__all__ = ["Stepper"]

PAYS = 200  # updates that take as long as a trace


class Stepper:
    """Makes the steps of a stack.

    Args:
        problem: one of the stack's.
        parts: of its numbers.
        seeds: of the runs.
        random: for each of the different seeds, sorted, where its runs are in their random numbers.
        apart: whether batches have a row a run.
        draws: whether a step draws random numbers.
        updates: how many are to come.
        key: of the task; runs of one key have the same step.
    """

    def __init__(
        self,
        problem: Problem,
        parts: Parts,
        seeds: Sequence[int],
        random: Sequence[torch.Generator],
        *,
        apart: bool,
        draws: bool,
        updates: int,
        key: Hashable,
    ) -> None:
        found = sorted(set(seeds))
        self._draws, self._random = draws, random
        self._rows = torch.tensor([found.index(seed) for seed in seeds], device=random[0].device)
        self._eager = step_of(problem, parts, apart=apart, randomness="same")
        own = len(parts.trained)
        self._repeated = Repeated(
            step_of(problem, parts, apart=apart, randomness="different") if draws else self._eager,
            ("step", key, apart, parts),
            calls=updates,
            pays=1 if draws and apart else PAYS,  # only a replay can give every seed its own random numbers
            written=(own, own + len(parts.own)),
            checked=not draws,
        )

    def step(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Losses, and gradients of all trained numbers, a row a run."""
        replay = self._repeated.replay(tensors)
        if replay is not None:
            return replay.run(*tensors, *(noise.drawn(self._random, self._rows) for noise in replay.noises))
        if not self._draws:
            return self._eager(*tensors)
        random = self._random[0]
        set_random(random.get_state(), random.device)
        result = self._eager(*tensors)
        random.set_state(random_now(random.device))
        return result
