"""Tasks on graphs, ratings, series, rankings and molecules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contracts.task import TaskContract, splits
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training import loop
from lrcontrol.training.tasks import data, graphs
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build

ALL = ["cora-gcn"]
NAMES = [name for name in ALL if data.available(TASKS[name].files)]


def with_data(name: str) -> pytest.MarkDecorator:
    """Skips a test where the files of a task are not to be had."""
    return pytest.mark.skipif(name not in NAMES, reason=f"the data of {name} are not here; set {data.FOLDER}")


def each(names: list[str]) -> list[Any]:
    return [pytest.param(TASKS[name], id=name, marks=with_data(name)) for name in names]


@pytest.mark.parametrize("task", each(ALL))
class TestStructured(TaskContract):
    """Every task keeps the contract."""


PINNED: dict[str, tuple[list[float], float]] = {
    "cora-gcn": ([1.95884, 1.95502, 1.95081], 0.43),
}
"""The first three losses, and the validation metric after 20 updates, of the default with seed 0."""


@pytest.mark.parametrize("task", each(ALL))
def test_a_short_run_is_pinned(task: Task) -> None:
    record = loop.train(RunSpec(task=task.name, method=task.method, base_lr=task.base_lr, total_steps=20, seed=0))
    losses, metric = PINNED[task.name]
    found = record.evals[-1].values[task.objective.metric]
    assert record.column("loss")[:3].tolist() == pytest.approx(losses, rel=1e-4)
    assert found == pytest.approx(metric, rel=1e-4)


def after_a_full_run(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """The test metric of the default."""
    task, built = TASKS[name], build(TASKS[name], seed)
    monkeypatch.setattr(loop, "build", lambda *_: built)
    loop.train(RunSpec(task=name, method=task.method, base_lr=task.base_lr, total_steps=task.full_steps, seed=seed))
    return built.evaluate(built.test)[task.objective.metric]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", each(ALL))
def test_the_default_beats_the_naive_predictor(task: Task, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = after_a_full_run(task.name, seed, monkeypatch)
    assert task.naive is not None
    assert task.margin is not None
    lower = task.objective.lower_is_better
    assert lower(found) <= lower(task.naive) - task.margin


NAIVE: dict[str, Callable[[Problem], float]] = {
    "cora-gcn": lambda problem: float(problem.test.targets.bincount().max() / len(problem.test)),
}
"""The test metric of the best that can be said without the inputs."""


@pytest.mark.parametrize("task", each(ALL))
def test_the_naive_metric_is_what_the_catalogue_says(task: Task) -> None:
    assert NAIVE[task.name](build(task, 0)) == pytest.approx(task.naive, abs=5e-4)


LOADERS: dict[str, tuple[Any, str]] = {
    "cora-gcn": (graphs.cora, "cora/ind.cora.allx"),
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
@pytest.mark.parametrize("task", each(ALL))
def test_a_damaged_file_is_one_sentence(
    task: Task, case: str, checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the checksum; and were the checksum of such a file the known one, by what is in it."""
    file = LOADERS[task.name][1]
    content = damaged(data.read(file))[case]
    with pytest.raises(DataDamaged, match=rf"^the data files? [^\n]*{file.split('/')[0]}/[^\n]+\.$"):
        load_with(task.name, tmp_path, monkeypatch, content, checked=checked)


@with_data("cora-gcn")
def test_cora_is_the_published_graph_and_split() -> None:
    graph = graphs.cora()
    assert graph.words.shape == (2708, 1433)
    assert graph.words.nnz == 49_216
    assert set(graph.words.data) == {1}
    assert graph.citations.nnz == 2 * 5278
    assert abs(graph.citations - graph.citations.T).nnz == 0
    assert graph.citations.diagonal().sum() == 0
    assert np.bincount(graph.classes).tolist() == [351, 217, 418, 818, 426, 298, 180]
    train, validation, test = (split.inputs for split in splits(build(TASKS["cora-gcn"], 0)))
    assert torch.equal(train, torch.arange(140))
    assert torch.equal(validation, torch.arange(140, 640))
    assert torch.equal(test, torch.arange(1708, 2708))
    assert np.bincount(graph.classes[:140]).tolist() == [20] * 7


@with_data("cora-gcn")
def test_the_graph_network_is_the_papers_two_equations() -> None:
    """Against dense matrices; dropout is off."""
    graph = graphs.cora()
    problem = build(TASKS["cora-gcn"], 1)
    model = problem.model.eval()
    looped = graph.citations.toarray().astype(np.float64) + np.eye(2708)
    degree = looped.sum(axis=1)
    adjacency = looped / np.sqrt(np.outer(degree, degree))
    words = graph.words.toarray().astype(np.float64)
    words /= words.sum(axis=1, keepdims=True)
    first, first_bias, second, second_bias = (each.detach().double().numpy() for each in model.parameters())
    hidden = np.maximum(adjacency @ words @ first.T + first_bias, 0)
    wanted = (adjacency @ hidden @ second.T + second_bias)[problem.test.inputs]
    np.testing.assert_allclose(model(problem.test.inputs).detach().numpy(), wanted, rtol=1e-4, atol=1e-6)
