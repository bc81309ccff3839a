"""Judging all runs of a stack on a split: one forward pass for many, the task's metrics for each."""

import torch
from torch import Tensor

from lrcontrol.training.batching.step import losses_of, outputs_of
from lrcontrol.training.tasks.problem import Problem, Split, over_chunks

__all__ = ["Judge"]

ROWS = 1 << 16  # of all runs together in one forward pass


class Judge:
    """Judges as `Problem.evaluate` does.

    Args:
        problem: its model is called with the numbers of each run.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._outputs = outputs_of(problem, apart=False, randomness="different")
        self._losses = losses_of(problem, apart=False, randomness="different")

    @torch.no_grad()
    def judged(self, own: dict[str, Tensor], shared: dict[str, Tensor], split: Split) -> list[dict[str, float]]:
        """Loss and metrics of every run, from own numbers with a row a run."""
        model, runs = self._problem.model, len(next(iter(own.values())))
        rows = min(self._problem.chunk or len(split), len(split))
        many = max(ROWS // rows, 1)
        training = model.training
        model.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                return [
                    judged
                    for first in range(0, runs, many)
                    for judged in self._some(
                        {name: value[first : first + many] for name, value in own.items()}, shared, split, rows
                    )
                ]
        finally:
            model.train(training)

    def _some(
        self, own: dict[str, Tensor], shared: dict[str, Tensor], split: Split, rows: int
    ) -> list[dict[str, float]]:
        problem, weights = self._problem, []
        judged: list[list[dict[str, float]]] = []
        for first in range(0, len(split), rows):
            targets = split.targets[first : first + rows]
            outputs = self._outputs(own, shared, split.inputs[first : first + rows])
            losses = self._losses(outputs, targets).tolist()
            judged.append(
                [
                    {"loss": loss, **problem.metrics(each, targets)}
                    for loss, each in zip(losses, outputs.unbind(0), strict=True)
                ]
            )
            weights.append(float(problem.weight(targets)))
        return [over_chunks(chunks, weights) for chunks in zip(*judged, strict=True)]
