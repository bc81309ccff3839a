"""The batches of a stack: one for all runs of a seed, or a row a run."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lrcontrol.training.tasks.problem import Problem

__all__ = ["Batches"]


class Batches:
    """The batches of runs.

    Args:
        problems: by seed; where there are several, all have the same splits.
        seeds: of the runs.
    """

    def __init__(self, problems: Mapping[int, Problem], seeds: Sequence[int]) -> None:
        found = sorted(set(seeds))
        self._problems = [problems[seed] for seed in found]
        self._rows = torch.tensor([found.index(seed) for seed in seeds])
        self._rows_there = self._rows.to(self._problems[0].train.inputs.device)
        self.apart = len(found) > 1

    def between(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of updates [first, last); with a row a run where they are `apart`."""
        one = self._problems[0]
        if not self.apart:
            yield from one.batches(first, last)
        elif one.augment is None:
            chosen = [torch.stack(problem.chosen(first, last)) for problem in self._problems]
            for rows in torch.stack(chosen, dim=1)[:, self._rows].to(one.train.inputs.device).unbind(0):
                yield one.train.inputs[rows], one.train.targets[rows]
        else:
            lists = [problem.batches(first, last) for problem in self._problems]
            for step in zip(*lists, strict=True):
                inputs, targets = (torch.stack(parts)[self._rows_there] for parts in zip(*step, strict=True))
                yield inputs, targets
