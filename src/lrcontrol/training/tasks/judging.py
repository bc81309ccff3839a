"""What outputs are judged by: metrics of classification and regression that tasks share."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Standardised", "accuracy", "nats"]


def accuracy(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """The share of rows whose largest output is the target's."""
    return {"accuracy": float((outputs.argmax(dim=1) == targets).double().mean())}


def nats(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Cross-entropy per symbol, in nats; outputs of shape (rows, length, symbols), targets -100 where none counts."""
    return {"nats": float(functional.cross_entropy(outputs.flatten(0, 1).double(), targets.flatten()))}


class Standardised:
    """Loss and root mean squared error of outputs that are in units of the train targets' deviation.

    Args:
        train: the train targets, shape (n, 1).
    """

    def __init__(self, train: Tensor) -> None:
        self.mean, self.deviation = train.mean(), train.std()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean squared error, in units of the variance."""
        return functional.mse_loss(outputs, (targets - self.mean) / self.deviation)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The root mean squared error, in the targets' own units."""
        error = outputs * self.deviation + self.mean - targets
        return {"rmse": float(torch.sqrt(torch.mean(error.double() ** 2)))}
