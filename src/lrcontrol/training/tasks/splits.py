"""Splits: rows into train, validation and test, once and for all; what is fitted is fitted to train alone."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from lrcontrol.training.tasks.problem import Split

__all__ = ["Rows", "Splits", "carved", "distinct_rows", "scaled", "split_rows", "tensors"]

Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""The rows of train, validation and test."""

Splits = tuple[Split, Split, Split]
"""Train, validation and test."""


def split_rows(count: int, labels: NDArray[np.int64] | None = None) -> Rows:
    """Rows of train, validation and test: 60, 20 and 20 %, stratified by label, the same on every machine."""
    train, rest = train_test_split(np.arange(count), test_size=0.4, random_state=0, stratify=labels)
    left = None if labels is None else labels[rest]
    validation, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=left)
    return np.sort(train), np.sort(validation), np.sort(test)


def carved(
    train: NDArray[np.int64], validation: float | int, labels: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Official train rows as train and validation; `validation` is a share (float) or a number (int) of them."""
    left = None if labels is None else labels[train]
    kept, out = train_test_split(train, test_size=validation, random_state=0, stratify=left)
    return np.sort(kept), np.sort(out)


def distinct_rows(inputs: NDArray[np.generic]) -> NDArray[np.int64]:
    """The first of every group of equal rows, so that no row can be in two splits."""
    flat = np.ascontiguousarray(inputs.reshape(len(inputs), -1))
    _, first = np.unique(flat, axis=0, return_index=True)
    result: NDArray[np.int64] = np.sort(first)
    return result


def scaled(features: NDArray[np.floating], train: NDArray[np.int64]) -> NDArray[np.float64]:
    """Every column to mean 0 and deviation 1 on the train rows; a column that is constant there becomes 0."""
    wide = features.astype(np.float64, copy=False)
    mean, deviation = wide[train].mean(axis=0), wide[train].std(axis=0)
    result: NDArray[np.float64] = (wide - mean) / np.where(deviation > 0, deviation, np.inf)
    return result


def tensors(inputs: NDArray[np.generic], targets: NDArray[np.generic], rows: Rows) -> Splits:
    """The three splits as tensors; floating inputs become float32, integers int64."""
    kind = np.float32 if np.issubdtype(inputs.dtype, np.floating) else np.int64
    x, y = torch.from_numpy(inputs.astype(kind)), torch.from_numpy(targets)
    train, validation, test = (Split(x[part].contiguous(), y[part].contiguous()) for part in rows)
    return train, validation, test
