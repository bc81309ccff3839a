"""Convex tasks: the contract, their data, and that the loop finds the optimum that a solver finds."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

from contracts.task import TaskContract, rows, splits
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training import loop
from lrcontrol.training.tasks import convex, data, formats, tables
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build
from task_kit import each, with_data

BUNDLED = ["breast-cancer-logistic", "digits-softmax", "iris-softmax", "wine-softmax"]
ALL = [
    "a9a-logistic",
    "dna-softmax",
    "glass-softmax",
    "heart-logistic",
    "iris-softmax",
    "letter-softmax",
    "satimage-softmax",
    "svmguide2-softmax",
    "vehicle-softmax",
    "wine-softmax",
]
CONVEX = sorted({*ALL, *BUNDLED})
LARGE = {"a9a-logistic", "letter-softmax", "satimage-softmax", "digits-softmax", "dna-softmax"}
NAMES = [name for name in ALL if data.here(TASKS[name].files)]


@pytest.mark.parametrize("task", each(ALL))
class TestConvex(TaskContract):
    """Every task keeps the contract."""


@pytest.mark.parametrize("task", each(CONVEX))
def test_the_end_of_a_run_is_judged_on_train_too(task: Task) -> None:
    evals = loop.train(RunSpec(task=task.name, method=task.method, base_lr=0.01, total_steps=10, seed=0)).evals
    assert set(evals[-1].values) == {"loss", "accuracy", "train_loss", "train_accuracy"}
    assert all(set(earlier.values) == {"loss", "accuracy"} for earlier in evals[:-1])


# What the loop finds, and what a solver finds


def bordered(problem: Problem) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The train rows and a column of ones, so that a solver without an intercept penalises the bias as SGD does."""
    inputs = problem.train.inputs.flatten(1).double().numpy()
    return np.hstack([inputs, np.ones((len(inputs), 1))])


def solved(problem: Problem, decay: float) -> float:
    """The train loss where scikit-learn's solver finds the least loss + decay / 2 * |weights and biases|^2.

    Of two classes the solver has one row of weights w, we have two, at best w / 2 and -w / 2: half its penalty.
    """
    inputs, labels = bordered(problem), problem.train.targets.numpy()
    two = labels.max() == 1
    strength = (2 if two else 1) / (len(labels) * decay) if decay else np.inf
    solver = LogisticRegression(C=strength, fit_intercept=False, tol=1e-10, max_iter=200_000).fit(inputs, labels)
    scores = solver.decision_function(inputs)
    scores = np.stack([np.zeros_like(scores), scores], axis=1) if two else scores
    return float((logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels]).mean())


def descended(task: Task, decay: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A run of the loop on all train rows at once, by Nesterov's descent at the rate 1 / (largest curvature)."""
    problem = build(task, 0)
    inputs = bordered(problem)
    curvature = 0.5 * np.linalg.eigvalsh(inputs.T @ inputs / len(inputs))[-1] + decay  # that of softmax is <= 1/2
    whole = msgspec.structs.replace(task, batch_size=len(problem.train), full_steps=steps)
    monkeypatch.setitem(TASKS, task.name, whole)
    method = f"sgd(momentum=0.98, nesterov=true, weight_decay={decay}):constant"
    return loop.train(RunSpec(task=task.name, method=method, base_lr=1 / curvature, total_steps=steps, seed=0))


@pytest.mark.parametrize("task", each(CONVEX, slow=LARGE))
def test_the_loop_reaches_the_optimum_of_the_solver(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one objective, strictly convex: cross-entropy and a penalty on all weights and biases; -rP shows the gaps."""
    decay = 1e-3
    found = descended(task, decay, 1000, monkeypatch).evals[-1].values["train_loss"]
    wanted = solved(build(task, 0), decay)
    print(f"{task.name}: train loss {found:.6f}, solver {wanted:.6f}, gap {found - wanted:.1e}")
    assert found == pytest.approx(wanted, abs=1e-4)


def least(problem: Problem) -> float:
    """The train loss where the solver, without any penalty, has stopped: the least there is, or close above it."""
    return solved(problem, 0)


@pytest.mark.slow
@pytest.mark.parametrize("task", each(CONVEX))
def test_no_default_falls_below_the_least_loss_and_all_beat_the_naive_predictor(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a full run with each of three seeds."""
    bound = least(build(task, 0))
    for seed in range(3):
        built = build(task, seed)
        monkeypatch.setattr(loop, "build", lambda *_, built=built: built)
        spec = RunSpec(
            task=task.name, method=task.method, base_lr=task.base_lr, total_steps=task.full_steps, seed=seed
        )
        values = loop.train(spec).evals[-1].values
        found = built.evaluate(built.test)["accuracy"]
        print(f"{task.name}, seed {seed}: test {found:.4f}, {values}, least train loss {bound:.6f}")
        assert values["train_loss"] > bound - 1e-5
        assert task.naive is not None
        assert task.margin is not None
        assert found >= task.naive + task.margin


@pytest.mark.parametrize("task", each(CONVEX))
def test_the_naive_metric_is_what_the_catalogue_says(task: Task) -> None:
    """Always the largest class of train."""
    problem = build(task, 0)
    largest = problem.train.targets.bincount().argmax()
    assert float((problem.test.targets == largest).double().mean()) == pytest.approx(task.naive, abs=5e-5)


@pytest.mark.parametrize("task", each(CONVEX))
def test_the_loss_is_convex_in_weights_and_biases(task: Task) -> None:
    """Half way between two models it is at most the mean of theirs, far out too; outputs are linear in the inputs."""
    problem = build(task, 0)
    inputs, targets = problem.train.inputs[:300].double(), problem.train.targets[:300]
    model = problem.model.double()
    generator = torch.Generator().manual_seed(7)
    for scale in (0.01, 1.0, 30.0):
        ends = [
            [scale * torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
            for _ in "ab"
        ]
        losses = []
        for weights in (*ends, [(one + other) / 2 for one, other in zip(*ends, strict=True)]):
            outputs = torch.func.functional_call(
                model, dict(zip(dict(model.named_parameters()), weights, strict=True)), inputs
            )
            torch.testing.assert_close(outputs, inputs.flatten(1) @ weights[0].T + weights[1])
            losses.append(float(problem.loss(outputs, targets)))
        assert losses[2] < (losses[0] + losses[1]) / 2


# What the data hold


def counts(problem: Problem) -> list[list[int]]:
    return [split.targets.bincount().tolist() for split in splits(problem)]


@with_data("dna-softmax")
def test_dna_is_tested_on_the_official_rows_and_trained_on_none_that_resembles_them() -> None:
    problem = build(TASKS["dna-softmax"], 0)
    official, labels = formats.svmlight("libsvm-dna/dna.scale.t", data.read("libsvm-dna/dna.scale.t"), 180)
    known = {row.tobytes(): label - 1 for row, label in reversed(list(zip(official, labels, strict=True)))}
    assert len(official) == 1186
    assert len(known) == len(problem.test) == 1156
    assert [known[row] for row in rows(problem.test)] == problem.test.targets.tolist()
    assert counts(problem) == [[278, 289, 841], [78, 81, 210], [289, 265, 602]]
    assert problem.train.inputs.unique().tolist() == [0, 1]
    for other in (problem.validation, problem.test):
        assert torch.cdist(problem.train.inputs, other.inputs, p=1).min() > 9.5


@with_data("a9a-logistic")
def test_a9a_is_adult_with_its_official_test_rows_each_person_once() -> None:
    problem = build(TASKS["a9a-logistic"], 0)
    inputs, labels = formats.svmlight("libsvm-a9a/a9a", data.read("libsvm-a9a/a9a"), 123)
    assert [int((labels[part] == 1).sum()) for part in (slice(32_561), slice(32_561, None))] == [7841, 3846]
    official = {row.tobytes() for row in inputs[32_561:]}
    assert official == set(rows(problem.test))
    assert not official & {*rows(problem.train), *rows(problem.validation)}
    assert {*rows(problem.train), *rows(problem.validation)} == {row.tobytes() for row in inputs[:32_561]} - official
    assert counts(problem) == [[13_377, 3874], [3345, 968], [10_579, 3134]]


SHUFFLED = {
    "glass-softmax": (213, [69, 76, 17, 13, 9, 29], 9),
    "heart-logistic": (270, [150, 120], 13),
    "letter-softmax": (14_169, [576, 548, 537, 575, 539, 555, 530, 523, 407, 554], 16),
    "satimage-softmax": (4435, [1072, 479, 961, 415, 470, 1038], 36),
    "svmguide2-softmax": (391, [221, 117, 53], 20),
    "vehicle-softmax": (846, [212, 217, 218, 199], 18),
}
"""Distinct rows, the first ten classes, and columns."""


@pytest.mark.parametrize("task", each(list(SHUFFLED)))
def test_files_without_a_test_split_are_split_by_class_and_scaled_on_train(task: Task) -> None:
    problem = build(task, 0)
    count, classes, columns = SHUFFLED[task.name]
    found = np.array(counts(problem))
    assert found.sum() == count
    assert found.sum(axis=0)[:10].tolist() == classes
    assert np.abs(found[0] - 0.6 * found.sum(axis=0)).max() <= 1
    assert problem.train.inputs.shape[1] == columns
    train, everyone = problem.train.inputs.double(), torch.cat([split.inputs for split in splits(problem)]).double()
    assert train.mean(dim=0).abs().max() < 1e-6
    assert (train.std(dim=0, correction=0) - 1).abs().max() < 1e-6
    assert everyone.mean(dim=0).abs().max() > 1e-3, "it would be 0 had all rows been used"


@with_data("heart-logistic")
def test_the_first_row_of_heart_is_the_published_one() -> None:
    inputs, labels = tables.libsvm("libsvm-heart/heart_scale", 270, 13, (-1, 1))
    assert labels[0] == 1
    assert inputs[0, :4].tolist() == pytest.approx([0.708333, 1, 1, -0.320755])


@pytest.mark.skipif(not data.here(["libsvm-wine/wine.scale"]), reason="the file is not here")
def test_the_wines_of_scikit_learn_are_those_of_libsvm() -> None:
    raw, growers = datasets.load_wine(return_X_y=True)
    inputs, labels = tables.libsvm("libsvm-wine/wine.scale", 178, 13, (1, 2, 3))
    low, high = raw.min(axis=0), raw.max(axis=0)
    np.testing.assert_allclose(inputs, 2 * (raw - low) / (high - low) - 1, atol=1e-6)
    assert np.array_equal(labels, growers)


@pytest.mark.skipif(not data.here(["iris/iris.csv"]), reason="the file is not here")
def test_the_irises_of_scikit_learn_are_fishers_and_two_of_ucis_differ() -> None:
    _, lines = formats.table("iris/iris.csv", data.read("iris/iris.csv"), header=False)
    there, here = np.array([line[:4] for line in lines], float), datasets.load_iris().data
    assert np.flatnonzero((there != here).any(axis=1)).tolist() == [34, 37]
    assert here[[34, 37]].tolist() == [[4.9, 3.1, 1.5, 0.2], [4.9, 3.6, 1.4, 0.1]]
    assert sum(map(sum, counts(build(TASKS["iris-softmax"], 0)))) == 149


# Damaged and odd files

FILES = {
    "a9a-logistic": "libsvm-a9a/a9a",
    "dna-softmax": "libsvm-dna/dna.scale.t",
    "glass-softmax": "libsvm-glass/glass.scale",
    "heart-logistic": "libsvm-heart/heart_scale",
    "letter-softmax": "libsvm-letter/letter.scale",
    "satimage-softmax": "libsvm-satimage/satimage.scale",
    "svmguide2-softmax": "libsvm-svmguide2/svmguide2.txt",
    "vehicle-softmax": "libsvm-vehicle/vehicle.scale",
}
"""The file of each task that is damaged."""


def forget() -> None:
    for loader in (convex.shuffled, convex.dna, convex.census):
        loader.cache_clear()


@pytest.mark.parametrize("case", ["truncated", "garbage", "empty", "another format"])
@pytest.mark.parametrize("task", each(list(FILES)))
def test_a_damaged_file_is_one_sentence(task: Task, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is in it, were its checksum the known one."""
    file = FILES[task.name]
    content = data.read(file)
    bad = {
        "truncated": content[: len(content) // 2],
        "garbage": np.random.default_rng(5).bytes(len(content)),
        "empty": b"",
        "another format": b'{"rows": [1, 2, 3]}\n',
    }[case]
    held = {name: data.read(name) for name in task.files} | {file: bad}
    monkeypatch.setattr(data, "read", held.__getitem__)
    forget()
    with pytest.raises(DataDamaged, match=rf"^the data file {file} [^\n]+\.$"):
        build(task, 0)


@with_data("glass-softmax")
def test_a_changed_bit_is_told_by_the_checksum(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES["glass-softmax"]
    content = data.read(file)
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    monkeypatch.setenv(data.FOLDER, str(tmp_path))
    forget()
    with pytest.raises(DataDamaged, match=r"^the data file [^\n]+ must have SHA-256 [^\n]+\.$"):
        build(TASKS["glass-softmax"], 0)


def first_line(line: bytes) -> Callable[[bytes], bytes]:
    return lambda content: line + content[content.index(b"\n") :]


ODD: dict[str, Callable[[bytes], bytes]] = {
    "a row less": lambda content: content[content.index(b"\n") + 1 :],
    "a row twice": lambda content: content[: content.index(b"\n") + 1] + content,
    "an unknown class": first_line(b"4 1:1"),
    "a class of text": first_line(b"glass 1:1"),
    "half a class": first_line(b"1.5 1:1"),
    "no class": first_line(b"1:1 2:1"),
    "a class that is missing": lambda content: content.replace(b"\n7 ", b"\n6 "),
    "not a number": first_line(b"1 1:nan"),
    "infinite": first_line(b"1 1:inf"),
    "beyond float32": first_line(b"1 1:1e39"),
    "a feature too many": first_line(b"1 10:1"),
    "a negative feature": first_line(b"1 -1:1"),
    "a feature twice": first_line(b"1 2:1 2:1"),
    "features out of order": first_line(b"1 2:1 1:1"),
    "half a pair": first_line(b"1 2:"),
    "no colon": first_line(b"1 2 3"),
    "decimal commas": lambda content: content.replace(b".", b","),
    "another encoding": lambda content: content.decode().encode("utf-16"),
    "zeros": lambda content: bytes(len(content)),
    "comments": lambda content: content.replace(b"\n", b"\n#"),
    "empty lines": lambda content: b"\n" * content.count(b"\n"),
}


@with_data("glass-softmax")
@pytest.mark.parametrize("case", ODD)
def test_an_odd_file_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES["glass-softmax"]
    bad = ODD[case](data.read(file))
    monkeypatch.setattr(data, "read", lambda name: bad)
    forget()
    with pytest.raises(DataDamaged, match=rf"^the data file {file} [^\n]+\.$"):
        build(TASKS["glass-softmax"], 0)
