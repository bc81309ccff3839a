"""Ranking: which documents answer a query best, from features of each."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, carved, tensors

__all__ = ["Ranker", "build", "lambda_loss", "ndcg", "queries"]

FEATURES = 300
VALIDATION = 45  # queries
NONE = -100  # the target where there is no document
CUT = 10


def build(task: Task, seed: int) -> Problem:
    """Scores of the documents of a query; a row is a query, padded with documents of zeros."""
    model = Ranker(FEATURES, hidden=32)
    return Problem(model, *queries(), lambda_loss, _metrics, batch_size=task.batch_size, seed=seed)


class Ranker(nn.Module):
    """An MLP that scores every document alone.

    Args:
        features: of a document.
        hidden: width of the hidden layer.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 1))

    def forward(self, documents: Tensor) -> Tensor:
        """From (queries, documents, features) to scores, shape (queries, documents)."""
        scores: Tensor = self.layers(documents)
        return scores.squeeze(2)


def lambda_loss(scores: Tensor, grades: Tensor) -> Tensor:
    """What every pair of documents in the wrong order costs, weighted by what changing places would do to NDCG.

    Args:
        scores: shape (queries, documents).
        grades: shape (queries, documents), integers >= 0, -100 where there is no document.
    Returns:
        The mean over the queries of the sum over their pairs; a query whose grades are all 0 adds 0.
    Source:
        Burges 2010, MSR-TR-2010-82, sections 3 and 4: the gradients are its lambdas, with NDCG of the whole list.
    """
    there = grades != NONE
    gains = torch.where(there, 2.0 ** grades.clamp(min=0) - 1, 0)
    with torch.no_grad():
        order = scores.masked_fill(~there, -torch.inf).argsort(dim=1, descending=True, stable=True)
        ranks = torch.empty_like(order).scatter_(
            1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
        )
        discounts = 1 / torch.log2(ranks + 2.0)
        best = _dcg(gains.sort(dim=1, descending=True).values, gains.shape[1]).clamp(min=1e-9)
        change = (gains[:, :, None] - gains[:, None]) * (discounts[:, :, None] - discounts[:, None])
        weights = change.abs() / best[:, None, None]
    above = (grades[:, :, None] > grades[:, None]) & there[:, :, None] & there[:, None]
    costs = nn.functional.softplus(scores[:, None] - scores[:, :, None])
    return (weights * costs * above).sum(dim=(1, 2)).mean()


def ndcg(scores: Tensor, grades: Tensor, cut: int = CUT) -> Tensor:
    """Normalised discounted cumulative gain of the first `cut` places, one a query.

    Args:
        scores: shape (queries, documents); of two that are equal, the one that comes first is first.
        grades: as in `lambda_loss`; every query has one above 0.
        cut: how many places count.
    Source:
        Järvelin, Kekäläinen 2002, ACM TOIS 20(4), with gains 2^grade - 1 as in Burges 2010.
    Example:
        >>> ndcg(torch.tensor([[0.1, 0.9]]), torch.tensor([[1, 0]])).round(decimals=3)
        tensor([0.6310], dtype=torch.float64)
    """
    there = grades != NONE
    gains = torch.where(there, 2.0 ** grades.clamp(min=0).double() - 1, 0)
    order = scores.masked_fill(~there, -torch.inf).argsort(dim=1, descending=True, stable=True)
    found = _dcg(gains.gather(1, order), cut)
    return found / _dcg(gains.sort(dim=1, descending=True).values, cut)


def _dcg(gains: Tensor, cut: int) -> Tensor:
    """Of gains in the order of their places, shape (queries, documents)."""
    first = gains[:, :cut]
    return (first / torch.log2(torch.arange(first.shape[1], device=gains.device) + 2.0)).sum(dim=1)


def _metrics(scores: Tensor, grades: Tensor) -> dict[str, float]:
    return {"ndcg@10": float(ndcg(scores, grades).mean())}


@functools.cache
def queries() -> Splits:
    """Inputs of shape (queries, documents, 300) and grades 0 to 4; the official test queries, validation from train.

    Queries whose documents all have one grade are left out: they have no order. Validation is drawn among the
    queries that share no document with another.
    """
    train, train_sizes = _read("lambdarank/rank.train")
    test, test_sizes = _read("lambdarank/rank.test")
    documents = max(*train_sizes, *test_sizes)
    lists = [*_lists(*train, train_sizes, documents), *_lists(*test, test_sizes, documents)]
    inputs, grades = (np.stack(part) for part in zip(*lists, strict=True))
    ordered = np.array([len(set(row[row != NONE])) > 1 for row in grades])
    ours = np.flatnonzero(ordered & (np.arange(len(ordered)) < len(train_sizes)))
    theirs = np.flatnonzero(ordered & (np.arange(len(ordered)) >= len(train_sizes)))
    alone = ours[~_sharing(inputs[ours])]
    _, validation = carved(alone, VALIDATION)
    return tensors(inputs, grades, (np.setdiff1d(ours, validation), validation, theirs))


def _read(name: str) -> tuple[tuple[NDArray[np.float32], NDArray[np.float64]], list[int]]:
    """Features and grades of all documents, and how many documents each query has."""
    rows, grades = formats.svmlight(name, data.read(name), FEATURES)
    sizes = formats.numbers(f"{name}.query", data.read(f"{name}.query")).ravel()
    if sizes.sum() != len(rows) or not np.isin(grades, range(5)).all():
        raise DataDamaged(f"the data file {name} must hold {sizes.sum():.0f} documents graded 0 to 4, got others.")
    return (rows, grades), [int(size) for size in sizes]


def _lists(
    rows: NDArray[np.float32], grades: NDArray[np.float64], sizes: list[int], documents: int
) -> "list[tuple[NDArray[np.float32], NDArray[np.int64]]]":
    """The documents and grades of every query, padded."""
    result = []
    for size, first in zip(sizes, np.cumsum([0, *sizes]), strict=False):
        features, targets = np.zeros((documents, rows.shape[1]), np.float32), np.full(documents, NONE)
        features[:size], targets[:size] = rows[first : first + size], grades[first : first + size]
        result.append((features, targets))
    return result


def _sharing(inputs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which queries have a document that another has too."""
    holders: dict[bytes, set[int]] = {}
    for query, documents in enumerate(inputs):
        for document in documents[documents.any(axis=1)]:
            holders.setdefault(document.tobytes(), set()).add(query)
    shared = {query for queries in holders.values() if len(queries) > 1 for query in queries}
    return np.isin(np.arange(len(inputs)), list(shared))
