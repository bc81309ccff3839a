"""Recommendation: which stars a user gives an item, from embeddings of both."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.judging import Standardised
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, carved, distinct_rows, tensors

__all__ = ["Factors", "Neural", "build", "coat", "filmtrust"]


def build(task: Task, seed: int) -> Problem:
    """Embeddings of users and items; inputs are pairs of their numbers, targets are stars.

    The gradients of the embeddings are dense, zero in the rows that a batch does not name: torch's fused optimizers
    take no sparse ones, and with momentum or decay every row moves at every update anyway.
    """
    loader, network = _MADE[task.name]
    splits = loader()
    users, items = (int(most) + 1 for most in torch.cat([split.inputs for split in splits]).amax(dim=0))
    judged = Standardised(splits[0].targets)
    model = network(users, items)
    return Problem(model, *splits, judged.loss, judged.metrics, batch_size=task.batch_size, seed=seed)


class Factors(nn.Module):
    """A bias of the user, one of the item, and the product of their factors.

    Args:
        users: how many there are.
        items: how many there are.
        width: of the factors.
    Source:
        Koren, Bell, Volinsky 2009, Computer 42(8), equation 4; factors begin at a deviation of 0.1, biases at 0.
        Deviates: the mean of the train ratings is part of the targets' scaling, not of the model.
    """

    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.users, self.items = _table(users, width, 0.1), _table(items, width, 0.1)
        self.user_bias, self.item_bias = _table(users, 1, 0), _table(items, 1, 0)

    def forward(self, pairs: Tensor) -> Tensor:
        """Outputs of shape (n, 1) for pairs of a user and an item, shape (n, 2)."""
        user, item = pairs.unbind(dim=1)
        products = (self.users(user) * self.items(item)).sum(dim=1, keepdim=True)
        outputs: Tensor = products + self.user_bias(user) + self.item_bias(item)
        return outputs


class Neural(nn.Module):
    """An MLP on the embeddings of user and item, side by side, with dropout.

    Args:
        users: how many there are.
        items: how many there are.
        width: of each embedding.
    Source:
        He, Liao, Zhang, Nie, Hu, Chua 2017, arXiv:1708.05031, section 3.3 (MLP: a tower
        whose layers halve).
        Deviates: it predicts ratings, with a linear output.
    """

    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.users, self.items = _table(users, width, 0.1), _table(items, width, 0.1)
        self.tower = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width // 2), nn.ReLU()
        )
        self.last = nn.Linear(width // 2, 1)

    def forward(self, pairs: Tensor) -> Tensor:
        """Outputs of shape (n, 1) for pairs of a user and an item, shape (n, 2)."""
        user, item = pairs.unbind(dim=1)
        outputs: Tensor = self.last(self.tower(torch.cat([self.users(user), self.items(item)], dim=1)))
        return outputs


def _table(rows: int, width: int, deviation: float) -> nn.Embedding:
    """An embedding whose first values have this deviation: torch's own of 1 would predict far beyond any rating."""
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=deviation)
    return table


@functools.cache
def filmtrust() -> Splits:
    """Ratings of films, 0.5 to 4 stars: 70 % of the pairs for train, 10 % for validation, 20 % for test.

    A pair that was rated twice counts once, as first written.
    """
    parts = enumerate((10_435, 188, 17_925, 6949))
    ratings = np.concatenate([_ratings(f"filmtrust/ratings_{part}.txt", 1, count) for part, count in parts])
    ratings = ratings[distinct_rows(ratings[:, :2])]
    rest, test = carved(np.arange(len(ratings)), 0.2)
    train, validation = carved(rest, 0.125)
    return _splits(ratings, train, validation, test)


@functools.cache
def coat() -> Splits:
    """Ratings of coats, 1 to 5 stars: train and validation chosen by the users, test drawn at random for them.

    A pair of the test file that is in the train file too is left out of train.
    """
    chosen, drawn = _ratings("coat/ratings_1.txt", 0, 6960), _ratings("coat/ratings_0.txt", 0, 4640)
    tested = {(user, item) for user, item, _ in drawn.tolist()}
    chosen = chosen[[(user, item) not in tested for user, item, _ in chosen.tolist()]]
    train, validation = carved(np.arange(len(chosen)), 1000)
    everything = np.concatenate([chosen, drawn])
    return _splits(everything, train, validation, np.arange(len(chosen), len(everything)))


def _splits(
    ratings: NDArray[np.float64], train: NDArray[np.int64], validation: NDArray[np.int64], test: NDArray[np.int64]
) -> Splits:
    stars = ratings[:, 2:].astype(np.float32)
    return tensors(ratings[:, :2].astype(np.int64), stars, (train, validation, test))


def _ratings(name: str, first: int, count: int) -> NDArray[np.float64]:
    """The rows of user, item and stars; both are numbered from `first` in the file and from 0 here."""
    rows = formats.numbers(name, data.read(name))
    if rows.shape != (count, 3) or (rows[:, :2] % 1 != 0).any() or (rows[:, :2] < first).any():
        raise DataDamaged(f"the data file {name} must hold {count} rows of user, item and stars, got something else.")
    numbered: NDArray[np.float64] = rows - np.array([first, first, 0])
    return numbered


_MADE: dict[str, tuple[Callable[[], Splits], Callable[[int, int], nn.Module]]] = {
    "coat-mf": (coat, functools.partial(Factors, width=16)),
    "filmtrust-mf": (filmtrust, functools.partial(Factors, width=16)),
    "filmtrust-ncf": (filmtrust, functools.partial(Neural, width=32)),
}
