"""A problem tried once, before anything is trained with it: what is wrong with it is one sentence then, not later."""

import math
import warnings
from itertools import combinations

import torch
from torch import Tensor

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.tasks.problem import Problem

__all__ = ["tried"]


def tried(problem: Problem, again: Problem, metric: str) -> Problem:
    """The problem, after one batch was trained with it and validation was judged.

    Args:
        problem: of some seed.
        again: of the same seed, built once more.
        metric: that runs are compared by.
    Raises:
        BadInput: splits that are no tensors, empty, of unequal lengths or one another's; a loss that is no number or
            does not reach the model; metrics without that one; a model that does not follow from the seed.
    """
    _check_splits(problem)
    if problem.model is again.model:
        raise BadInput("every call must make a model of its own, got the same one twice; make it inside the function.")
    for (name, first), second in zip(problem.model.named_parameters(), again.model.parameters(), strict=True):
        if not torch.equal(first, second):
            raise BadInput(f"the same seed must give the same first weights, got two for {name}; seed what is drawn.")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Using a target size")  # torch would broadcast, and train on nonsense
        inputs, targets = again.batches(0, 1)[0]
        loss = again.loss(again.model.train()(inputs), targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not math.isfinite(float(loss.detach())):
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else checks.shown(loss)
            raise BadInput(f"`loss` must return a tensor of one finite number, got {got}.")
        if not loss.requires_grad:
            raise BadInput("`loss` must follow from parameters that are trained, got one that does not.")
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            values = again.metrics(again.model.eval()(again.validation.inputs[:2]), again.validation.targets[:2])
        if not isinstance(values, dict):
            raise BadInput(f"`metrics` must return numbers by name, got {checks.shown(values)}.")
        judged = again.evaluate(again.validation)
    if metric not in judged:
        raise BadInput(
            f"the metrics must have the one it is compared by, {metric!r}, got {', '.join(sorted(judged))}."
        )
    return problem


def _check_splits(problem: Problem) -> None:
    splits = {"train": problem.train, "validation": problem.validation, "test": problem.test}
    for name, split in splits.items():
        for part in ("inputs", "targets"):
            checks.instance(f"{part} of {name}", getattr(split, part), Tensor, "a tensor")
        if not 0 < len(split.inputs) == len(split.targets):
            raise BadInput(
                f"a split must have rows, and a target for each, got {len(split.inputs)} inputs and "
                f"{len(split.targets)} targets in {name}."
            )
    for (name, one), (other_name, other) in combinations(splits.items(), 2):
        if one.inputs.shape == other.inputs.shape and torch.equal(one.inputs, other.inputs):
            raise BadInput(f"splits must hold rows of their own, but {name} and {other_name} are the same.")
    checks.integer("batch_size", problem.batch_size, low=1, high=len(problem.train))
