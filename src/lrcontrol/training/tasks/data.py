"""Real data bundled with scikit-learn, split once and for all into train, validation and test."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from lrcontrol.training.tasks.problem import Split

__all__ = ["breast_cancer", "diabetes", "digits", "split_rows"]

Splits = tuple[Split, Split, Split]


@functools.cache
def digits() -> Splits:
    """Pixels in [0, 1], shape (n, 1, 8, 8); targets are the ten digits."""
    images, labels = datasets.load_digits(return_X_y=True)
    inputs = (images / 16.0).reshape(-1, 1, 8, 8)
    return _tensors(inputs, labels.astype(np.int64), split_rows(len(labels), labels))


@functools.cache
def breast_cancer() -> Splits:
    """30 features, scaled to mean 0 and variance 1 on the train split; targets are the two diagnoses."""
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    rows = split_rows(len(labels), labels)
    return _tensors(_scaled(features, rows[0]), labels.astype(np.int64), rows)


@functools.cache
def diabetes() -> Splits:
    """10 features, scaled on the train split; targets are the progression after a year, in its own units."""
    features, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    rows = split_rows(len(targets), None)
    return _tensors(_scaled(features, rows[0]), targets.astype(np.float32)[:, None], rows)


def split_rows(count: int, labels: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], ...]:
    """Rows of train, validation and test: 60, 20 and 20 %, stratified by label, the same on every machine."""
    rows = np.arange(count)
    train, rest = train_test_split(rows, test_size=0.4, random_state=0, stratify=labels)
    left = None if labels is None else labels[rest]
    validation, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=left)
    return np.sort(train), np.sort(validation), np.sort(test)


def _scaled(features: NDArray[np.float64], train: NDArray[np.int64]) -> NDArray[np.float64]:
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    scaled: NDArray[np.float64] = (features - mean) / deviation
    return scaled


def _tensors(inputs: NDArray[np.float64], targets: NDArray[np.generic], rows: tuple[NDArray[np.int64], ...]) -> Splits:
    x, y = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)
    train, validation, test = (Split(x[part].contiguous(), y[part].contiguous()) for part in rows)
    return train, validation, test
