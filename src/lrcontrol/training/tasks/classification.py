"""Classification on bundled data: softmax and logistic regression, a small MLP, a small CNN."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.problem import Problem

__all__ = ["build"]


def build(task: Task, seed: int) -> Problem:
    """The problem of a task of this family."""
    model, splits = _PARTS[task.name]
    train, validation, test = splits()
    return Problem(
        model(), train, validation, test, functional.cross_entropy, _accuracy, batch_size=task.batch_size, seed=seed
    )


def _accuracy(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return {"accuracy": float((outputs.argmax(dim=1) == targets).double().mean())}


def _softmax() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def _logistic() -> nn.Module:
    return nn.Linear(30, 2)


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


_PARTS: dict[str, tuple[Callable[[], nn.Module], Callable[[], data.Splits]]] = {
    "breast-cancer-logistic": (_logistic, data.breast_cancer),
    "digits-cnn": (_cnn, data.digits),
    "digits-mlp": (_mlp, data.digits),
    "digits-softmax": (_softmax, data.digits),
}
