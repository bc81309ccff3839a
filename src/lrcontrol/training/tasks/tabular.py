"""Tables: MLPs on rows of features."""

from torch import nn

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled
from lrcontrol.training.tasks.judging import Standardised
from lrcontrol.training.tasks.problem import Problem

__all__ = ["build"]


def build(task: Task, seed: int) -> Problem:
    """An MLP on the task's table; the loss is in units of the train targets' variance, the metric in their own."""
    train, validation, test = bundled.diabetes()
    judged = Standardised(train.targets)
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return Problem(model, train, validation, test, judged.loss, judged.metrics, batch_size=task.batch_size, seed=seed)
