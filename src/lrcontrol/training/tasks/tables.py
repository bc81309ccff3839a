"""Tables in files: rows of features with a label or a number, checked, and split so that no row is in two splits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from lrcontrol.errors import DataDamaged
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.splits import Rows, carved, distinct_rows, scaled

__all__ = ["around", "bits", "coded", "comma", "libsvm", "pmlb", "split_of", "uci", "without_neighbours"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def libsvm(name: str, count: int, features: int, classes: Sequence[int]) -> tuple[Floats, Labels]:
    """Features, shape (count, features), and classes numbered from 0, of a file in svmlight syntax.

    Args:
        name: of the file.
        count: how many rows it must have.
        features: how many columns; trailing zeros are not written.
        classes: how they are written, in order.
    """
    rows, labels = formats.svmlight(name, data.read(name), features)
    if len(rows) != count or not np.isfinite(rows).all():
        raise DataDamaged(f"the data file {name} must hold {count} rows of finite numbers, got something else.")
    return rows.astype(np.float64), coded(name, labels, classes)


def pmlb(name: str, count: int, columns: int) -> Floats:
    """A gzipped table with tabs and a header, shape (count, columns); the last column is the target."""
    content = formats.gunzipped(name, data.read(name))
    header = content.split(b"\n", 1)[0].split(b"\t")
    values = formats.numbers(name, content, delimiter="\t", skip=1)
    if header[-1].strip() != b"target" or values.shape != (count, columns):
        raise DataDamaged(
            f"the data file {name} must hold {count} rows of {columns} columns, the last named target, "
            f"got something else."
        )
    return values


def comma(name: str, count: int, columns: int) -> Floats:
    """A gzipped table with commas and no header, shape (count, columns)."""
    values = formats.numbers(name, formats.gunzipped(name, data.read(name)), delimiter=",")
    if values.shape != (count, columns):
        raise DataDamaged(f"the data file {name} must hold {count} rows of {columns} columns, got something else.")
    return values


def uci(folder: str, count: int, columns: int) -> Floats:
    """The table of a folder of regression data, shape (count, columns); the last column is the target."""
    name = f"{folder}/data.txt"
    values = formats.numbers(name, data.read(name))
    if values.shape != (count, columns):
        raise DataDamaged(f"the data file {name} must hold {count} rows of {columns} columns, got something else.")
    return values


def split_of(folder: str, count: int) -> Labels:
    """The test rows of the folder's own split 0; its train rows must be all others."""
    parts = []
    for part in ("train", "test"):
        name = f"{folder}/index_{part}_0.txt"
        parts.append(formats.numbers(name, data.read(name)).ravel())
    if not np.array_equal(np.sort(np.concatenate(parts)), np.arange(count)):
        raise DataDamaged(
            f"the data files {folder}/index_train_0.txt and index_test_0.txt must name each of {count} rows once, "
            f"got something else."
        )
    return np.sort(parts[1]).astype(np.int64)


def coded(name: str, labels: NDArray[np.generic], classes: Sequence[int]) -> Labels:
    """The labels as numbers from 0, in the order of `classes`."""
    found = np.unique(labels).tolist()
    if found != list(classes):
        shown = ", ".join(f"{each:g}" for each in found[:30])
        raise DataDamaged(f"the data file {name} must have the classes {[*classes]}, got {shown}.")
    result: Labels = np.searchsorted(np.asarray(classes), labels).astype(np.int64)
    return result


def bits(name: str, codes: NDArray[np.generic], levels: Sequence[int]) -> Floats:
    """One bit for every value that a column may have, columns side by side.

    Args:
        name: of the file.
        codes: shape (n, columns); column k holds whole numbers from 0 to `levels[k] - 1`, each of them somewhere.
        levels: how many values each column has.
    """
    columns = [np.eye(count)[coded(name, column, range(count))] for column, count in zip(codes.T, levels, strict=True)]
    return np.hstack(columns)


def around(test: Labels, inputs: Floats, validation: float | int, labels: Labels | None = None) -> Rows:
    """Given test rows, validation carved from the others, and train; a row that is there twice counts once.

    Test goes first: a row of the others that equals one of test is left out.

    Args:
        test: the rows of test.
        inputs: of all rows.
        validation: a share (float) or a number (int) of the rows that are not in test.
        labels: to stratify by.
    """
    others = np.setdiff1d(np.arange(len(inputs)), test)
    order = np.concatenate([test, others])
    kept = np.sort(order[distinct_rows(inputs[order])])
    train, out = carved(np.setdiff1d(kept, test), validation, labels)
    return train, out, np.intersect1d(kept, test)


def without_neighbours(rows: Rows, inputs: Floats, distance: float) -> Rows:
    """The same rows, less those of train that nearly equal one of validation or test.

    Args:
        rows: of train, validation and test.
        inputs: of all rows, in any units; they are compared after scaling on train.
        distance: the root mean square of the differences, over the columns, up to which two rows nearly are one.
    """
    train, validation, test = rows
    comparable = scaled(inputs, train)
    others = NearestNeighbors(n_neighbors=1).fit(comparable[np.concatenate([validation, test])])
    nearest = others.kneighbors(comparable[train])[0][:, 0]
    return train[nearest > distance * np.sqrt(inputs.shape[1])], validation, test
