"""Real data bundled with scikit-learn: they are there on every machine."""

import functools

import numpy as np
from sklearn import datasets

from lrcontrol.training.tasks.splits import Splits, distinct_rows, scaled, split_rows, tensors

__all__ = ["breast_cancer", "diabetes", "digits", "iris", "wine"]


@functools.cache
def digits() -> Splits:
    """Pixels in [0, 1], shape (n, 1, 8, 8); targets are the ten digits."""
    images, labels = datasets.load_digits(return_X_y=True)
    inputs = (images / 16.0).reshape(-1, 1, 8, 8)
    return tensors(inputs, labels.astype(np.int64), split_rows(len(labels), labels))


@functools.cache
def breast_cancer() -> Splits:
    """30 features, scaled to mean 0 and variance 1 on the train split; targets are the two diagnoses."""
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    rows = split_rows(len(labels), labels)
    return tensors(scaled(features, rows[0]), labels.astype(np.int64), rows)


@functools.cache
def diabetes() -> Splits:
    """10 features, scaled on the train split; targets are the progression after a year, in its own units."""
    features, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    rows = split_rows(len(targets))
    return tensors(scaled(features, rows[0]), targets.astype(np.float32)[:, None], rows)


@functools.cache
def wine() -> Splits:
    """13 features, scaled on the train split; targets are the three growers."""
    features, labels = datasets.load_wine(return_X_y=True)
    rows = split_rows(len(labels), labels)
    return tensors(scaled(features, rows[0]), labels.astype(np.int64), rows)


@functools.cache
def iris() -> Splits:
    """4 features, scaled on the train split; targets are the three species. A flower that is there twice is one."""
    features, labels = datasets.load_iris(return_X_y=True)
    kept = distinct_rows(features)
    features, labels = features[kept], labels[kept]
    rows = split_rows(len(labels), labels)
    return tensors(scaled(features, rows[0]), labels.astype(np.int64), rows)
