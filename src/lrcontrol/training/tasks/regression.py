"""Regression on bundled data: a small MLP on disease progression."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.problem import Problem

__all__ = ["build"]


def build(task: Task, seed: int) -> Problem:
    """The diabetes problem: the loss is in units of the train targets' variance, the metric in their own."""
    train, validation, test = data.diabetes()
    mean, deviation = train.targets.mean(), train.targets.std()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(outputs, (targets - mean) / deviation)

    def metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
        error = outputs * deviation + mean - targets
        return {"rmse": float(torch.sqrt(torch.mean(error.double() ** 2)))}

    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return Problem(model, train, validation, test, loss, metrics, batch_size=task.batch_size, seed=seed)
