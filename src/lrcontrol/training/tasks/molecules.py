"""Molecules as text (SMILES): their solubility, and what they are toxic to."""

import functools
import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.combining import mean_of_chances
from lrcontrol.training.tasks.judging import Standardised
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, distinct_rows, split_rows, tensors

__all__ = ["TextNet", "build", "esol", "fingerprint", "mean_auc", "tox21"]

NONE = -100  # the target where nothing was measured
LENGTH = 1024  # of a fingerprint
WIDEST = 4  # characters of what a fingerprint counts
STEREO = str.maketrans("", "", "@/\\")  # marks of stereoisomers, which are one molecule here
ASSAYS = 12


def build(task: Task, seed: int) -> Problem:
    """Solubility by a convolutional network on characters, toxicity by an MLP on counts of pieces of text."""
    if task.name == "esol-cnn":
        splits = esol()
        judged = Standardised(splits[0].targets)
        model: nn.Module = TextNet(1 + int(splits[0].inputs.max()), width=64)
        return Problem(model, *splits, judged.loss, judged.metrics, batch_size=task.batch_size, seed=seed)
    model = nn.Sequential(nn.Linear(LENGTH, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, ASSAYS))
    return Problem(model, *tox21(), _masked_loss, mean_auc, batch_size=task.batch_size, seed=seed, weight=_known,
                   combine=mean_of_chances)  # fmt: skip


class TextNet(nn.Module):
    """Two convolutions over embedded characters, summed over the text, and an MLP; padding changes nothing.

    Args:
        symbols: how many characters are known, with 0 for padding and 1 for all unknown ones.
        width: of the convolutions.
    """

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max(symbols, 2), 32, padding_idx=0)
        self.first = nn.Conv1d(32, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, texts: Tensor) -> Tensor:
        """From characters as numbers, shape (n, length), to outputs of shape (n, 1)."""
        there = (texts != 0)[:, None].to(self.table.weight.dtype)
        hidden = torch.relu(self.first(self.table(texts).transpose(1, 2))) * there
        normed = self.norm(self.second(hidden).transpose(1, 2)).transpose(1, 2)
        hidden = torch.relu(normed) * there
        outputs: Tensor = self.last(torch.cat([hidden.amax(dim=2), hidden.sum(dim=2) / 30], dim=1))
        return outputs


def _known(targets: Tensor) -> float:
    return float((targets != NONE).sum())


def _masked_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over what was measured."""
    there = targets != NONE
    return functional.binary_cross_entropy_with_logits(outputs[there], targets[there].to(outputs.dtype))


def mean_auc(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """The mean over the assays of the area under the ROC curve, over what was measured in each.

    Args:
        outputs: shape (molecules, assays), larger where more likely.
        targets: the same shape, 0 or 1, -100 where nothing was measured. An assay with one label alone counts not.
    Source:
        Fawcett 2006, Pattern Recognition Letters 27(8): the share of pairs in the right order, ties count half.
    Example:
        >>> mean_auc(torch.tensor([[0.1], [0.4], [0.3]]), torch.tensor([[0], [1], [-100]]))
        {'auc': 1.0}
    """
    areas = []
    for scores, labels in zip(outputs.double().cpu().numpy().T, targets.cpu().numpy().T, strict=True):
        there = labels != NONE
        ranks, positive = rankdata(scores[there]), labels[there] == 1
        count, others = positive.sum(), (~positive).sum()
        if count and others:
            areas.append((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
    return {"auc": float(np.mean(areas)) if areas else math.nan}


@functools.cache
def esol() -> Splits:
    """Characters of molecules as numbers, shape (n, 97), and the logarithm of their solubility in mol per litre.

    A molecule is left out where one before it has the same text, or the same six descriptors and solubility. The
    characters are those of the train split, from 2 on; 1 is any other.
    """
    name = "esol/delaney-processed.csv"
    columns, rows = formats.table(name, data.read(name))
    if columns[-2:] != ["measured log solubility in mols per litre", "smiles"] or len(rows) != 1128:
        raise DataDamaged(f"the data file {name} must hold 1128 molecules with solubility and SMILES, got other rows.")
    numbers = formats.told(name, lambda: np.array([row[2:9] for row in rows], np.float64))
    first = {row[9].strip(): place for place, row in reversed(list(enumerate(rows)))}
    once = np.sort(list(first.values()))
    chosen = once[distinct_rows(numbers[once])]
    texts = [rows[row][9].strip() for row in chosen]
    parts = split_rows(len(texts))
    known = sorted({character for row in parts[0] for character in texts[row]})
    number = {character: place for place, character in enumerate(known, 2)}
    inputs = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in enumerate(texts):
        inputs[row, : len(text)] = [number.get(character, 1) for character in text]
    return tensors(inputs, numbers[chosen, 6:].astype(np.float32), parts)


@functools.cache
def tox21() -> Splits:
    """Fingerprints of molecules, shape (n, 1024), and twelve labels each, -100 where there is none.

    Molecules that differ only in marks of stereoisomers, or in nothing that a fingerprint sees, are one; a label on
    which its rows disagree is missing.
    """
    name = "tox21/tox21.csv.gz"
    columns, rows = formats.table(name, formats.gunzipped(name, data.read(name)))
    if len(columns) != ASSAYS + 2 or columns[-1] != "smiles":
        raise DataDamaged(f"the data file {name} must have {ASSAYS} assays, an id and SMILES, got {columns}.")
    labels = formats.told(name, lambda: np.array([[float(cell or NONE) for cell in row[:ASSAYS]] for row in rows]))
    if not np.isin(labels, (0, 1, NONE)).all():
        raise DataDamaged(f"the data file {name} must have labels 0, 1 or none, got others.")
    prints = np.stack([fingerprint(row[-1].translate(STEREO)) for row in rows])
    same: dict[bytes, list[int]] = {}
    for row, each in enumerate(prints):
        same.setdefault(each.tobytes(), []).append(row)
    inputs = prints[[group[0] for group in same.values()]]
    targets = np.stack([_agreed(labels[group]) for group in same.values()])
    return tensors(inputs, targets.astype(np.int64), split_rows(len(inputs)))


def _agreed(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The label that all rows of a molecule that have one have, shape (assays,)."""
    highest = labels.max(axis=0)
    lowest = np.where(labels == NONE, np.inf, labels).min(axis=0)
    return np.where(highest == lowest, highest, NONE)


def fingerprint(text: str) -> NDArray[np.float32]:
    """How often pieces of one to four characters occur, as log(1 + count), shape (1024,); each has a place by CRC-32.

    Example:
        >>> int((fingerprint("CCO") > 0).sum())
        5
    """
    counts = np.zeros(LENGTH, np.float32)
    for width in range(1, WIDEST + 1):
        for first in range(len(text) - width + 1):
            counts[zlib.crc32(text[first : first + width].encode()) % LENGTH] += 1
    return np.log1p(counts)
