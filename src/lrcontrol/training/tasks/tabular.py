"""Tables: MLPs on rows of features."""

import functools
import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled, tables
from lrcontrol.training.tasks.judging import Standardised, accuracy
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, distinct_rows, scaled, split_rows, tensors

__all__ = [
    "balanced_accuracy",
    "bike",
    "build",
    "connect_four",
    "houses",
    "kin8nm",
    "krkopt",
    "magic",
    "mlp",
    "optdigits",
    "power_plant",
    "protein",
    "shuttle",
    "spambase",
]

RARE = (1, 5, 6)  # of the seven classes of shuttle, those with 50, 10 and 13 of 58,000 rows
PIXELS = 16.0  # the largest value of a pixel of optdigits


def build(task: Task, seed: int) -> Problem:
    """An MLP on the task's table.

    Classes are learnt by cross-entropy. Of numbers the loss is in units of the train targets' variance, the metric in
    their own.
    """
    loader, network = _MADE[task.name]
    splits = loader()
    model, targets = network(), splits[0].targets
    if targets.is_floating_point():
        judged = Standardised(targets)
        return Problem(model, *splits, judged.loss, judged.metrics, batch_size=task.batch_size, seed=seed)
    metrics = balanced_accuracy if task.objective.metric == "balanced_accuracy" else accuracy
    return Problem(model, *splits, functional.cross_entropy, metrics, batch_size=task.batch_size, seed=seed)


def mlp(
    *widths: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Linear layers of these widths, from the inputs to the outputs.

    Args:
        widths: at least two.
        activation: between the layers.
        norm: of a hidden layer's width; before the activation.
        dropout: after the activation; 0 leaves it out.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), *([norm(after)] if norm else []), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """The mean recall of the classes of shuttle, its three rarest taken as one.

    A row of a rare class is right if that very class is said. Alone, they would have 2 to 10 rows in test, and one row
    would move the mean by up to 7 points; plain accuracy would be 0.786 for the largest class alone.
    """
    right = (outputs.argmax(dim=1) == targets).double()
    rare = torch.isin(targets, torch.tensor(RARE, device=targets.device))
    groups = [rare] + [targets == label for label in range(7) if label not in RARE]
    return {"balanced_accuracy": float(torch.stack([right[group].mean() for group in groups if group.any()]).mean())}


@functools.cache
def spambase() -> Splits:
    """Mails: how often words and signs occur, and runs of capitals, all as logarithms; targets are no spam and spam.

    A mail that nearly is one of validation or test, as mass mailings are, is left out of train.
    """
    name = "pmlb-spambase/spambase.tsv.gz"
    values = _distinct(tables.pmlb(name, 4601, 58))
    labels = tables.coded(name, values[:, -1], (0, 1))
    inputs = _logarithms(name, values[:, :-1])
    rows = tables.without_neighbours(split_rows(len(labels), labels), inputs, 0.01)
    return tensors(scaled(inputs, rows[0]), labels, rows)


@functools.cache
def magic() -> Splits:
    """Showers of particles as a telescope sees them, 10 features; targets are gamma ray and hadron."""
    name = "pmlb-magic/magic.tsv.gz"
    values = _distinct(tables.pmlb(name, 19_020, 11))
    labels = tables.coded(name, values[:, -1], (0, 1))
    rows = split_rows(len(labels), labels)
    return tensors(scaled(values[:, :-1], rows[0]), labels, rows)


@functools.cache
def connect_four() -> Splits:
    """Positions after 8 plies of Connect Four, 42 fields as three bits each; targets are who wins."""
    name = "pmlb-connect_4/connect_4.tsv.gz"
    values = tables.pmlb(name, 67_557, 43)
    labels = tables.coded(name, values[:, -1], (0, 1, 2))
    return tensors(tables.bits(name, values[:, :-1], (3,) * 42), labels, split_rows(len(labels), labels))


@functools.cache
def krkopt() -> Splits:
    """Positions of king and rook against king, six coordinates as bits; targets are the moves to mate, or a draw."""
    name = "pmlb-krkopt/krkopt.tsv.gz"
    values = tables.pmlb(name, 28_056, 7)
    labels = tables.coded(name, values[:, -1], range(18))
    coordinates = values[:, :-1] - np.array([0, 1, 0, 1, 0, 1])  # files are numbered from 0, ranks from 1
    inputs = tables.bits(name, coordinates, (4, 4, 8, 8, 8, 8))
    return tensors(inputs, labels, split_rows(len(labels), labels))


@functools.cache
def shuttle() -> Splits:
    """Readings of nine sensors of a space shuttle; targets are seven states, most of them one.

    The official test split is the last 14,500 rows.

    Single readings are thousands of times the usual ones, of either sign; what is scaled is their inverse hyperbolic
    sine.
    """
    name = "pmlb-shuttle/shuttle.tsv.gz"
    values = tables.pmlb(name, 58_000, 10)
    labels = tables.coded(name, values[:, -1], range(1, 8))
    rows = tables.around(np.arange(43_500, 58_000), values[:, :-1], 0.2, labels)
    return tensors(scaled(np.arcsinh(values[:, :-1]), rows[0]), labels, rows)


@functools.cache
def optdigits() -> Splits:
    """Digits of 43 writers, 8x8 pixels in [0, 1]; the official test split, the last rows, is of 13 writers alone."""
    name = "pmlb-optdigits/optdigits.tsv.gz"
    values = tables.pmlb(name, 5620, 65)
    labels = tables.coded(name, values[:, -1], range(10))
    return tensors(values[:, :-1] / PIXELS, labels, tables.around(np.arange(3823, 5620), values[:, :-1], 0.2, labels))


@functools.cache
def kin8nm() -> Splits:
    """Eight joints of a simulated robot arm; targets are how far its hand is from a point."""
    return _regression("uci-kin8nm", 8192, 9, 0.2)


@functools.cache
def power_plant() -> Splits:
    """Weather and exhaust of a power plant, hour by hour; targets are its output in MW."""
    return _regression("uci-power-plant", 9568, 5, 0.2)


@functools.cache
def protein() -> Splits:
    """Nine properties of protein structures; targets are how far they are from the true one, in angstrom.

    A structure that nearly is one of validation or test is left out of train.
    """
    return _regression("uci-protein-tertiary-structure", 45_730, 10, 0.1, apart=0.01)


def _regression(folder: str, count: int, columns: int, validation: float, apart: float | None = None) -> Splits:
    """Split 0 of the folder; validation is carved from its train rows."""
    values = tables.uci(folder, count, columns)
    inputs, targets = values[:, :-1], values[:, -1:].astype(np.float32)
    rows = tables.around(tables.split_of(folder, count), inputs, validation)
    if apart is not None:
        rows = tables.without_neighbours(rows, inputs, apart)
    return tensors(scaled(inputs, rows[0]), targets, rows)


@functools.cache
def bike() -> Splits:
    """Hours of a bicycle hire, date and weather; targets are logarithms of how many were hired, less their mean.

    The file's last two columns of inputs, how many casual and how many registered users there were, add up to the
    target, and are left out, as are its second copies of year and month.
    """
    name = "uci10-bike/data.csv.gz"
    values = tables.comma(name, 17_379, 18)
    mask = tables.comma("uci10-bike/test_mask.csv.gz", 17_379, 10)[:, 0]
    tables.coded("uci10-bike/test_mask.csv.gz", mask, (0, 1))
    numeric = values[:, BIKE_NUMBERS]
    codes = np.stack([np.unique(values[:, column], return_inverse=True)[1] for column in BIKE_CATEGORIES], axis=1)
    bits = tables.bits(name, codes, tuple(BIKE_CATEGORIES.values()))
    rows = tables.around(np.flatnonzero(mask), values, 0.2)
    return tensors(np.hstack([scaled(numeric, rows[0]), bits]), values[:, -1:].astype(np.float32), rows)


BIKE_CATEGORIES = {1: 12, 3: 4, 6: 24, 8: 7, 10: 4}
"""Columns of month, season, hour, day of the week and kind of weather, and how many values each has."""

BIKE_NUMBERS = [0, 2, 7, 9, 11, 12, 13, 14]
"""Columns of year, day, holiday, working day, temperature, felt temperature, humidity and wind."""


@functools.cache
def houses() -> Splits:
    """Districts of California in 1990, 8 features; targets are median values of a house, in 100,000 dollars.

    Income, rooms, bedrooms, people and households are logarithms.
    """
    name = "pmlb-537_houses/537_houses.tsv.gz"
    values = tables.pmlb(name, 20_640, 9)
    skewed = [0, 2, 3, 4, 5]
    inputs = values[:, :-1].copy()
    inputs[:, skewed] = _logarithms(name, values[:, skewed])
    rows = split_rows(len(values))
    return tensors(scaled(inputs, rows[0]), (values[:, -1:] / 100_000).astype(np.float32), rows)


def _distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows whose inputs, all columns but the last, were not there before."""
    return values[distinct_rows(values[:, :-1])]


def _logarithms(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of one more than these numbers, which must not be negative."""
    if (values < 0).any():
        raise DataDamaged(f"the data file {name} must hold no negative number in these columns, got {values.min():g}.")
    result: NDArray[np.float64] = np.log1p(values)
    return result


_MADE: dict[str, tuple[Callable[[], Splits], Callable[[], nn.Module]]] = {
    "bike-mlp": (bike, functools.partial(mlp, 59, 128, 64, 1, norm=nn.LayerNorm)),
    "connect-4-mlp": (connect_four, functools.partial(mlp, 126, 128, 64, 3, norm=nn.BatchNorm1d)),
    "diabetes-mlp": (bundled.diabetes, functools.partial(mlp, 10, 64, 64, 1, activation=nn.Tanh)),
    "houses-mlp": (houses, functools.partial(mlp, 8, 128, 128, 1, norm=nn.LayerNorm)),
    "kin8nm-mlp": (kin8nm, functools.partial(mlp, 8, 50, 1)),
    "krkopt-mlp": (krkopt, functools.partial(mlp, 40, 128, 128, 18)),
    "magic-mlp": (magic, functools.partial(mlp, 10, 64, 64, 2, norm=nn.BatchNorm1d)),
    "optdigits-mlp": (optdigits, functools.partial(mlp, 64, 128, 10, dropout=0.3)),
    "power-plant-mlp": (power_plant, functools.partial(mlp, 4, 50, 1)),
    "protein-mlp": (protein, functools.partial(mlp, 9, 100, 1)),
    "shuttle-mlp": (shuttle, functools.partial(mlp, 9, 32, 32, 7, norm=nn.LayerNorm)),
    "spambase-mlp": (spambase, functools.partial(mlp, 57, 64, 64, 2, dropout=0.3)),
}
