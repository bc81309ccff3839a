"""Convex classification: softmax and logistic regression."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled, tables
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, distinct_rows, scaled, split_rows, tensors

__all__ = ["build", "census", "dna", "shuffled"]


def build(task: Task, seed: int) -> Problem:
    """One linear layer on the task's data; its outputs go into the cross-entropy as they are."""
    train, validation, test = _DATA[task.name]()
    features, classes = train.inputs[0].numel(), int(train.targets.max()) + 1
    layers: list[nn.Module] = [nn.Flatten()] if train.inputs.ndim > 2 else []
    model = nn.Sequential(*layers, nn.Linear(features, classes))
    return Problem(
        model, train, validation, test, functional.cross_entropy, accuracy, batch_size=task.batch_size, seed=seed
    )


@functools.cache
def shuffled(name: str, count: int, features: int, classes: Sequence[int]) -> Splits:
    """A file without a test split of its own: 60, 20 and 20 % of its distinct rows, scaled on train.

    LIBSVM has scaled most of these files by the ranges of all rows; a second linear scaling, on train alone, leaves
    nothing of that.
    """
    inputs, labels = tables.libsvm(name, count, features, classes)
    kept = distinct_rows(inputs)
    inputs, labels = inputs[kept], labels[kept]
    rows = split_rows(len(labels), labels)
    return tensors(scaled(inputs, rows[0]), labels, rows)


@functools.cache
def dna() -> Splits:
    """Splice junctions: 60 bases, three bits each; a fifth of the official train rows is validation.

    Sequences of train that differ from one of validation or test in up to 9 of 180 bits (4 or 5 of 60 bases) are
    left out: they are copies of the same gene.
    """
    parts = [tables.libsvm(f"libsvm-dna/dna.scale{end}", count, 180, (1, 2, 3)) for end, count in DNA_FILES]
    inputs, labels = (np.concatenate(both) for both in zip(*parts, strict=True))
    train, validation, test = tables.around(np.arange(2000, 3186), inputs, 0.2, labels)
    others = inputs[np.concatenate([validation, test])]
    differing = inputs[train] @ (1 - others.T) + (1 - inputs[train]) @ others.T
    return tensors(inputs, labels, (train[differing.min(axis=1) > 9], validation, test))


DNA_FILES = (("", 2000), (".t", 1186))


@functools.cache
def census() -> Splits:
    """Adult (a9a): 123 bits of a person; a fifth of the official train rows is validation.

    Persons with equal bits count once, as the first of them, in test before train.
    """
    inputs, labels = tables.libsvm("libsvm-a9a/a9a", 48_842, 123, (-1, 1))
    rows = tables.around(np.arange(32_561, 48_842), inputs, 0.2, labels)
    return tensors(inputs, labels, rows)


_DATA: dict[str, Callable[[], Splits]] = {
    "a9a-logistic": census,
    "breast-cancer-logistic": bundled.breast_cancer,
    "digits-softmax": bundled.digits,
    "dna-softmax": dna,
    "glass-softmax": functools.partial(shuffled, "libsvm-glass/glass.scale", 214, 9, (1, 2, 3, 5, 6, 7)),
    "heart-logistic": functools.partial(shuffled, "libsvm-heart/heart_scale", 270, 13, (-1, 1)),
    "iris-softmax": bundled.iris,
    "letter-softmax": functools.partial(shuffled, "libsvm-letter/letter.scale", 15_000, 16, tuple(range(1, 27))),
    "satimage-softmax": functools.partial(shuffled, "libsvm-satimage/satimage.scale", 4435, 36, tuple(range(1, 7))),
    "svmguide2-softmax": functools.partial(shuffled, "libsvm-svmguide2/svmguide2.txt", 391, 20, (1, 2, 3)),
    "vehicle-softmax": functools.partial(shuffled, "libsvm-vehicle/vehicle.scale", 846, 18, (1, 2, 3, 4)),
    "wine-softmax": bundled.wine,
}
