"""One step for all runs of a stack: their losses and gradients, by `torch.func.vmap` and one backward pass."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional

from lrcontrol.training.batching.parts import Parts
from lrcontrol.training.tasks.problem import Problem, Split

__all__ = ["Losses", "Step", "losses_of", "outputs_of", "step_of"]

Step = Callable[..., tuple[Tensor, ...]]
"""From trained numbers, own ones, shared ones, ones, inputs and targets to the losses and all gradients."""

Losses = Callable[[Tensor, Tensor], Tensor]
"""From outputs, a row a run, and targets, to a loss a run."""

Randomness = Literal["same", "different"]


def step_of(problem: Problem, parts: Parts, *, apart: bool, randomness: Randomness) -> Step:
    """The step of a problem.

    Args:
        problem: its model is called with the numbers of each run.
        parts: in the order in which the step takes them.
        apart: whether inputs and targets have a row a run; by default all runs see the same batch.
        randomness: whether the runs draw the same random numbers.
    """
    outputs = outputs_of(problem, apart=apart, randomness=randomness)
    losses_for = losses_of(problem, apart=apart, randomness=randomness)
    edges = (len(parts.trained), len(parts.trained) + len(parts.own))

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        *numbers, ones, inputs, targets = tensors
        with torch.enable_grad():
            trained = [each.detach().requires_grad_() for each in numbers[: edges[0]]]
            own = dict(zip(parts.trained + parts.own, [*trained, *numbers[edges[0] : edges[1]]], strict=True))
            shared = dict(zip(parts.shared, numbers[edges[1] :], strict=True))
            losses = losses_for(outputs(own, shared, inputs), targets)
            gradients = torch.autograd.grad(losses, trained, ones)
        return losses.detach(), *gradients

    return step


def outputs_of(problem: Problem, *, apart: bool, randomness: Randomness) -> Callable[..., Tensor]:
    """The outputs of all runs, a row each, from their own numbers, shared ones and inputs."""
    model = problem.model

    def one(own: dict[str, Tensor], shared: dict[str, Tensor], inputs: Tensor) -> Any:
        return functional_call(model, {**own, **shared}, (inputs,))

    return vmap(one, in_dims=(0, None, 0 if apart else None), randomness=randomness)


def losses_of(problem: Problem, *, apart: bool, randomness: Randomness) -> Losses:
    """The losses of all runs from their outputs."""
    if problem.loss is functional.cross_entropy and _are_classes(problem.train) and _are_classes(problem.validation):
        return _cross_entropies
    return vmap(problem.loss, in_dims=(0, 0 if apart else None), randomness=randomness)


def _are_classes(split: Split) -> bool:
    """Whether every row has one class, and none is to be ignored."""
    targets = split.targets
    return targets.ndim == 1 and targets.dtype is torch.int64 and bool((targets >= 0).all())


def _cross_entropies(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, the mean over each run's rows: one call for all rows is several times faster than `vmap`'s."""
    runs, rows = outputs.shape[:2]
    every = functional.cross_entropy(outputs.flatten(0, 1), targets.expand(runs, rows).flatten(), reduction="none")
    return every.view(runs, rows).mean(dim=1)
