"""Convex classification: softmax and logistic regression."""

from torch import nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem

__all__ = ["build"]

_DATA = {"breast-cancer-logistic": bundled.breast_cancer, "digits-softmax": bundled.digits}


def build(task: Task, seed: int) -> Problem:
    """One linear layer on the task's data."""
    train, validation, test = _DATA[task.name]()
    features, classes = train.inputs[0].numel(), int(train.targets.max()) + 1
    layers: list[nn.Module] = [nn.Flatten()] if train.inputs.ndim > 2 else []
    model = nn.Sequential(*layers, nn.Linear(features, classes))
    return Problem(
        model, train, validation, test, functional.cross_entropy, accuracy, batch_size=task.batch_size, seed=seed
    )
