"""Tasks on graphs, ratings, series, rankings and molecules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contracts.task import TaskContract
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, graphs, molecules, ranking, recommendation, series
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build
from task_kit import each

ALL = [
    "coat-mf",
    "cora-gcn",
    "esol-cnn",
    "etth1-dlinear",
    "etth1-lstm",
    "filmtrust-mf",
    "filmtrust-ncf",
    "lambdarank-mlp",
    "tox21-mlp",
]
NAMES = [name for name in ALL if data.here(TASKS[name].files)]


@pytest.mark.parametrize("task", each(ALL))
class TestStructured(TaskContract):
    """Every task keeps the contract."""


def of_the_train_mean(problem: Problem) -> float:
    return float((problem.test.targets - problem.train.targets.mean()).double().square().mean().sqrt())


def of_the_train_means_of_all_series(problem: Problem) -> float:
    """Which scaling has made zeros."""
    return float(problem.test.targets.double().square().mean())


def of_the_largest_class(problem: Problem) -> float:
    return float(problem.test.targets.bincount().max() / len(problem.test))


def of_a_random_order(problem: Problem) -> float:
    """Its expectation: every place has the mean gain of the query."""
    found = []
    for padded in problem.test.targets.numpy():
        gains = 2.0 ** padded[padded >= 0] - 1
        discounts = 1 / np.log2(np.arange(2, 12))[: len(gains)]
        found.append(gains.mean() * discounts.sum() / (np.sort(gains)[::-1][:10] * discounts).sum())
    return float(np.mean(found))


def of_equal_scores(problem: Problem) -> float:
    return problem.metrics(torch.zeros(problem.test.targets.shape), problem.test.targets)["auc"]


NAIVE: dict[str, Callable[[Problem], float]] = {
    "coat-mf": of_the_train_mean,
    "cora-gcn": of_the_largest_class,
    "esol-cnn": of_the_train_mean,
    "etth1-dlinear": of_the_train_means_of_all_series,
    "etth1-lstm": of_the_train_means_of_all_series,
    "filmtrust-mf": of_the_train_mean,
    "filmtrust-ncf": of_the_train_mean,
    "lambdarank-mlp": of_a_random_order,
    "tox21-mlp": of_equal_scores,
}
"""The test metric of the best that can be said without the inputs."""


@pytest.mark.parametrize("task", each(ALL))
def test_the_naive_metric_is_what_the_catalogue_says(task: Task) -> None:
    assert NAIVE[task.name](build(task, 0)) == pytest.approx(task.naive, abs=5e-4)


LOADERS: dict[str, tuple[Any, str]] = {
    "coat-mf": (recommendation.coat, "coat/ratings_0.txt"),
    "cora-gcn": (graphs.cora, "cora/ind.cora.allx"),
    "esol-cnn": (molecules.esol, "esol/delaney-processed.csv"),
    "etth1-dlinear": (series.etth1, "etth1/ETTh1.csv"),
    "filmtrust-mf": (recommendation.filmtrust, "filmtrust/ratings_2.txt"),
    "lambdarank-mlp": (ranking.queries, "lambdarank/rank.train"),
    "tox21-mlp": (molecules.tox21, "tox21/tox21.csv.gz"),
}
"""What loads the data of a task, and the file that is damaged."""


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "truncated": content[: len(content) // 2],
        "garbage": np.random.default_rng(5).bytes(len(content)),
        "one bit": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "empty": b"",
        "another format": b'{"rows": [1, 2, 3]}\n',
    }


def load_with(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *, checked: bool) -> None:
    """Load a task's data from a folder where one file holds `content`."""
    loader, file = LOADERS[name]
    held = {each: data.read(each) for each in TASKS[name].files} | {file: content}
    if checked:
        for each, value in held.items():
            (folder / each).parent.mkdir(exist_ok=True)
            (folder / each).write_bytes(value)
        monkeypatch.setenv(data.FOLDER, str(folder))
    else:
        monkeypatch.setattr(data, "read", held.__getitem__)
    loader.__wrapped__()


CASES = [
    *((case, True) for case in ("truncated", "garbage", "one bit", "empty", "another format")),
    *(
        (case, False) for case in ("truncated", "garbage", "empty", "another format")
    ),  # one bit is told by checksum alone
]


@pytest.mark.parametrize(("case", "checked"), CASES)
@pytest.mark.parametrize("task", each(list(LOADERS)))
def test_a_damaged_file_is_one_sentence(
    task: Task, case: str, checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the checksum; and were the checksum of such a file the known one, by what is in it."""
    file = LOADERS[task.name][1]
    content = damaged(data.read(file))[case]
    with pytest.raises(DataDamaged, match=rf"^the data files? [^\n]*{file.split('/')[0]}/[^\n]+\.$"):
        load_with(task.name, tmp_path, monkeypatch, content, checked=checked)
