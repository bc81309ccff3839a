"""Stepper: the step of a stack, replayed where that pays, with the random numbers that each run draws."""

import dataclasses
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from lrcontrol.training.batching.parts import Parts
from lrcontrol.training.batching.replay import Replay, replay_of
from lrcontrol.training.batching.step import step_of
from lrcontrol.training.tasks.problem import Problem

__all__ = ["Stepper"]

PAYS = 200  # updates from which a trace is made, which takes as long as some hundred of them
KEPT = 64  # traces
CLOSE = 1e-2  # of the largest number: what a replay does otherwise by more is not rounding


@dataclasses.dataclass
class _Trace:
    """What is known of the steps of tasks and shapes that are alike."""

    updates: int = 0
    made: bool = False
    replay: Replay | None = None
    checked: bool = False


_TRACES: dict[Hashable, _Trace] = {}


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
        self._parts, self._draws, self._random = parts, draws, random
        self._updates, self._key = updates, (key, apart, parts)
        self._rows = torch.tensor([found.index(seed) for seed in seeds])
        self._must = draws and len(found) > 1
        self._eager = step_of(problem, parts, apart=apart, randomness="same")
        self._to_trace = step_of(problem, parts, apart=apart, randomness="different") if draws else self._eager
        self._trace: _Trace | None = None

    def step(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Losses, and gradients of all trained numbers, a row a run."""
        trace = self._trace = self._trace or self._known(tensors)
        if trace.replay is not None and not (trace.checked or self._draws):
            self._check(trace, tensors)
        if trace.replay is not None:
            noises = [noise.drawn(self._random, self._rows) for noise in trace.replay.noises]
            return trace.replay.run(*tensors, *noises)
        if not trace.made and (trace.updates >= PAYS or self._must):
            trace.made, trace.replay = True, replay_of(self._to_trace, tensors)
            if trace.replay is not None and self._must:
                return self.step(tensors)
        random = self._random[0]
        if not self._draws or random.device.type != "cpu":
            return self._eager(*tensors)
        torch.set_rng_state(random.get_state())
        result = self._eager(*tensors)
        random.set_state(torch.get_rng_state())
        return result

    def _known(self, tensors: Sequence[Tensor]) -> _Trace:
        """What is known of steps like this one."""
        shapes = tuple((tuple(each.shape), each.dtype, str(each.device)) for each in tensors)
        key = (self._key, shapes)
        while key not in _TRACES and len(_TRACES) >= KEPT:
            del _TRACES[next(iter(_TRACES))]
        trace = _TRACES.setdefault(key, _Trace())
        trace.updates += self._updates
        return trace

    def _check(self, trace: _Trace, tensors: Sequence[Tensor]) -> None:
        """Drop a replay that does otherwise with other data than it was traced with, as a model's own Python may."""
        trace.checked = True
        first, last = len(self._parts.trained), len(self._parts.trained) + len(self._parts.own)
        results = []
        for step in (self._eager, trace.replay.run if trace.replay is not None else self._eager):
            own = [each.clone() for each in tensors[first:last]]
            results.append([*step(*tensors[:first], *own, *tensors[last:]), *own])
        for one, other in ((one.double(), other.double()) for one, other in zip(*results, strict=True)):
            size = float(torch.nan_to_num(other.abs()).max()) if other.numel() else 0.0
            if not torch.allclose(one, other, rtol=CLOSE, atol=CLOSE * size, equal_nan=True):
                trace.replay = None
