"""Graphs: a convolutional network over the citations of Cora, all nodes at once."""

import functools
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.pickles import unpickled
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import tensors

__all__ = ["Cora", "GraphNet", "build", "cora"]

Matrix: TypeAlias = "sparse.csr_array[Any, tuple[int, int]]"

NODES, WORDS, CLASSES = 2708, 1433, 7
TRAIN, VALIDATION = 140, 500


class Cora(NamedTuple):
    """The citation graph.

    Args:
        words: shape (2708, 1433); which words a paper has, 0 or 1.
        citations: shape (2708, 2708), symmetric; 1 where one paper cites the other.
        classes: shape (2708,), the subject of every paper, 0 to 6.
        test: the nodes of the test split.
    """

    words: Matrix
    citations: Matrix
    classes: NDArray[np.int64]
    test: NDArray[np.int64]


def build(task: Task, seed: int) -> Problem:
    """A graph network; inputs are node numbers, and the graph is part of the model.

    Source:
        Kipf, Welling 2017, arXiv:1609.02907, equations 8 and 9; the split is that of Yang, Cohen, Salakhutdinov 2016,
        arXiv:1603.08861.
        Deviates: weights begin as torch's linear layers do, and decay is the optimizer's, on all weights.
    """
    graph = cora()
    rest = np.arange(TRAIN, TRAIN + VALIDATION)
    parts = tensors(np.arange(NODES), graph.classes, (np.arange(TRAIN), rest, np.sort(graph.test)))
    model = GraphNet(graph.words, graph.citations, hidden=16, classes=CLASSES)
    return Problem(model, *parts, functional.cross_entropy, accuracy, batch_size=task.batch_size, seed=seed)


class GraphNet(nn.Module):
    """Two graph convolutions with dropout before each.

    Args:
        features: shape (nodes, features), sparse; scaled here so that every row sums to 1.
        adjacency: shape (nodes, nodes), sparse and symmetric, without self-loops.
        hidden: width of the hidden layer.
        classes: how many outputs a node has.
    """

    def __init__(
        self,
        features: Matrix,
        adjacency: Matrix,
        hidden: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.features, self.adjacency = _Sparse(_rows_to_one(features)), _Sparse(_normalised(adjacency))
        self.first = nn.Linear(features.shape[1], hidden)
        self.second = nn.Linear(hidden, classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, nodes: Tensor) -> Tensor:
        """Outputs of these nodes, shape (n, classes); every one is computed from the whole graph."""
        hidden = self.features(self.first.weight.t(), self.dropout)
        hidden = torch.relu(self.adjacency(hidden) + self.first.bias)
        outputs: Tensor = self.adjacency(self.dropout(hidden) @ self.second.weight.t()) + self.second.bias
        return outputs[nodes]


class _Sparse(nn.Module):
    """A matrix with few entries; calling it multiplies a dense one from the left.

    As a bag of weighted rows, and not by torch's sparse tensors: those warn, and have no NumPy form to be hashed or
    kept. The entries are no part of the weights that are kept: they are data.
    """

    def __init__(self, matrix: Matrix) -> None:
        super().__init__()
        self.register_buffer("starts", torch.from_numpy(matrix.indptr.astype(np.int64)), persistent=False)
        self.register_buffer("columns", torch.from_numpy(matrix.indices.astype(np.int64)), persistent=False)
        self.register_buffer("values", torch.from_numpy(matrix.data.astype(np.float32)), persistent=False)

    def forward(self, dense: Tensor, changed: nn.Module | None = None) -> Tensor:
        """The product with a dense matrix, after `changed` has been at the entries."""
        starts, columns, values = (self.get_buffer(name) for name in ("starts", "columns", "values"))
        entries = values if changed is None else changed(values)
        return functional.embedding_bag(
            columns, dense, starts, mode="sum", per_sample_weights=entries, include_last_offset=True
        )


@functools.cache
def cora() -> Cora:
    """The graph from its files.

    Raises:
        DataMissing: a file is not there. DataDamaged: a file is not what it should be.
    """
    parts = {part: unpickled(f"cora/ind.cora.{part}", data.read(f"cora/ind.cora.{part}")) for part in _PARTS}
    name = "cora/ind.cora.test.index"
    test = formats.numbers(name, data.read(name)).astype(np.int64).ravel()
    return formats.told("cora/ind.cora.*", lambda: _joined(parts, test))


_PARTS = ("allx", "ally", "tx", "ty", "graph")


def _joined(parts: dict[str, Any], test: NDArray[np.int64]) -> Cora:
    """The whole graph; the rows of tx and ty are the nodes of the test index, in its order."""
    allx, ally, tx, ty, graph = (parts[part] for part in _PARTS)
    if not (isinstance(allx, sparse.csr_array) and isinstance(tx, sparse.csr_array) and isinstance(graph, dict)):
        raise DataDamaged("the data files cora/ind.cora.* must hold two matrices and a dict, got something else.")
    before = allx.shape[0]
    if sorted(test) != list(range(before, NODES)) or tx.shape[0] != len(test) or allx.shape[1] != WORDS:
        raise DataDamaged(f"the data files cora/ind.cora.* must be of {NODES} nodes with {WORDS} words, got others.")
    place = np.concatenate([np.arange(before), test])
    order = np.argsort(place)
    words = sparse.csr_array(sparse.vstack([allx, tx]))[order]
    classes = np.concatenate([np.asarray(ally), np.asarray(ty)])[order]
    if classes.shape != (NODES, CLASSES) or not (classes.sum(axis=1) == 1).all():
        raise DataDamaged(f"the data files cora/ind.cora.ally and ty must name one of {CLASSES} classes a node.")
    pairs = np.array([(node, other) for node, others in graph.items() for other in others if node != other])
    ones = np.ones(len(pairs), np.float32)
    one_way = sparse.csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(NODES, NODES))
    both = one_way.maximum(one_way.T)
    both.data[:] = 1  # a citation that is listed twice counts once
    return Cora(words, sparse.csr_array(both), classes.argmax(axis=1).astype(np.int64), test)


def _rows_to_one(
    matrix: Matrix,
) -> Matrix:
    sums = matrix @ np.ones(matrix.shape[1])
    return sparse.csr_array(sparse.diags_array(1 / np.where(sums > 0, sums, 1)) @ matrix)


def _normalised(
    adjacency: Matrix,
) -> Matrix:
    """With a self-loop for every node, each entry over the root of both degrees."""
    looped = adjacency + sparse.eye_array(adjacency.shape[0], dtype=np.float32)
    root = sparse.diags_array(1 / np.sqrt(looped @ np.ones(looped.shape[1])))
    return sparse.csr_array(root @ looped @ root)
