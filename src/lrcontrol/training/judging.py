"""Judging: a model under training as it is to be judged and kept, and afterwards as training goes on from it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer

from lrcontrol.training.optimizers import evaluation_weights, recalibrate
from lrcontrol.training.optimizers.evaluation import statistics_of
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.tasks.problem import Problem

__all__ = ["BATCHES", "as_judged"]

BATCHES = 10
"""Of training, that batch norm is measured anew by where the weights are averages: a look then costs three updates."""


@contextmanager
def as_judged(optimizer: Optimizer, problem: Problem) -> Iterator[None]:
    """Inside, the problem's model has the weights to judge and save it by; afterwards all is as it was, to the bit.

    Averages never saw the statistics of batch norm that training kept: these are measured anew for them, on the first
    batches of training.
    """
    with evaluation_weights(optimizer):
        if not (isinstance(optimizer, LRFree) and optimizer.shows_others):
            yield
            return
        kept = [(buffer, buffer.clone()) for buffer in statistics_of(problem.model)]
        try:
            if kept:
                recalibrate(problem.model, problem.batches(0, BATCHES))
            yield
        finally:
            for buffer, value in kept:
                buffer.copy_(value)
