"""Image classification: a small MLP and a small CNN on digits."""

from torch import nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem

__all__ = ["build"]


def build(task: Task, seed: int) -> Problem:
    """The model of the task's name on its images."""
    train, validation, test = bundled.digits()
    model = _MODELS[task.name]()
    return Problem(
        model, train, validation, test, functional.cross_entropy, accuracy, batch_size=task.batch_size, seed=seed
    )


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def _cnn() -> nn.Module:
    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


_MODELS = {"digits-cnn": _cnn, "digits-mlp": _mlp}
