"""Judging all runs of a stack on a split: one forward pass for many, the task's metrics for each."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from lrcontrol.training.batching.parts import Parts
from lrcontrol.training.batching.repeated import Repeated
from lrcontrol.training.batching.step import losses_of, outputs_of
from lrcontrol.training.devices import random_kept
from lrcontrol.training.tasks.problem import Problem, Split, over_chunks

__all__ = ["Judge"]

ROWS = 1 << 16  # of all runs together in one forward pass
PAYS = 5  # forward passes that take as long as a trace


class Judge:
    """Judges as `Problem.evaluate` does.

    Args:
        problem: its model is called with the numbers of each run.
        parts: of those.
        looks: how many are to come.
        key: of the task; runs of one key have the same model.
    """

    def __init__(self, problem: Problem, parts: Parts, *, looks: int, key: Hashable) -> None:
        self._problem, self._own = problem, parts.trained + parts.own
        self._outputs = outputs_of(problem, apart=False, randomness="different")
        self._losses = losses_of(problem, apart=False, randomness="different")
        self._shared = parts.shared
        self._repeated = Repeated(self._forward, ("forward", key, parts), calls=looks, pays=PAYS)

    @torch.no_grad()
    def judged(self, own: Sequence[Tensor], shared: Sequence[Tensor], split: Split) -> list[dict[str, float]]:
        """Loss and metrics of every run.

        Args:
            own: trained and other own numbers, a row a run.
            shared: what all have alike.
            split: what they are judged on.
        """
        model, runs = self._problem.model, len(own[0])
        rows = min(self._problem.chunk or len(split), len(split))
        many = max(ROWS // rows, 1)
        training = model.training
        model.eval()
        try:
            with random_kept(self._problem.device):
                return [
                    judged
                    for first in range(0, runs, many)
                    for judged in self._some([each[first : first + many] for each in own], shared, split, rows)
                ]
        finally:
            model.train(training)

    def _some(
        self, own: Sequence[Tensor], shared: Sequence[Tensor], split: Split, rows: int
    ) -> list[dict[str, float]]:
        """The same of as many runs as go into one forward pass."""
        problem, weights = self._problem, []
        judged: list[list[dict[str, float]]] = []
        for first in range(0, len(split), rows):
            targets = split.targets[first : first + rows]
            tensors = [*own, *shared, split.inputs[first : first + rows]]
            replay = self._repeated.replay(tensors)
            (outputs,) = self._forward(*tensors) if replay is None or replay.noises else replay.run(*tensors)
            outputs = outputs.contiguous()  # a replay may have turned them
            losses = self._losses(outputs, targets).tolist()
            judged.append(
                [
                    {"loss": loss, **problem.metrics(each, targets)}
                    for loss, each in zip(losses, outputs.unbind(0), strict=True)
                ]
            )
            weights.append(float(problem.weight(targets)))
        return [over_chunks(chunks, weights) for chunks in zip(*judged, strict=True)]

    def _forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs of all runs."""
        own = dict(zip(self._own, tensors, strict=False))
        shared = dict(zip(self._shared, tensors[len(self._own) :], strict=False))
        return (self._outputs(own, shared, tensors[-1]),)
