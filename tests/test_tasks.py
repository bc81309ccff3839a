"""Tasks: the contract, and that each holds the data it says it holds, scaled on train alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets

from contracts.task import TaskContract, rows, splits
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.problem import build
from lrcontrol.training.tasks.splits import split_rows

NAMES = [
    "breast-cancer-logistic",
    "diabetes-mlp",
    "digits-cnn",
    "digits-mlp",
    "digits-softmax",
]


@pytest.mark.parametrize("task", [TASKS[name] for name in NAMES], ids=NAMES)
class TestTasks(TaskContract):
    """Every task keeps the contract."""


def test_every_task_of_the_catalogue_is_tested() -> None:
    """Every family has a file of tests with the names of its tasks."""
    files = "".join(file.read_text() for file in Path(__file__).parent.glob("test_tasks*.py"))
    assert [name for name in TASKS if f'"{name}"' not in files] == []


def test_an_unknown_task_names_the_near_miss() -> None:
    with pytest.raises(UnknownName, match="did you mean 'digits-mlp'"):
        find_task("digits-mpl")


def test_splits_are_60_20_20_of_all_rows_and_stratified() -> None:
    for labels in (datasets.load_digits().target, datasets.load_breast_cancer().target):
        parts = split_rows(len(labels), labels)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
            assert abs(len(part) - share * len(labels)) <= 1
            for label in np.unique(labels):
                wanted = (labels == label).mean()
                assert abs((labels[part] == label).mean() - wanted) <= 2 / len(part)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("breast-cancer-logistic", datasets.load_breast_cancer),
        ("diabetes-mlp", lambda **asked: datasets.load_diabetes(**asked, scaled=False)),
    ],
)
def test_scaling_is_fitted_on_train_alone(name: str, raw: object) -> None:
    """Every split is the raw rows less the mean, over the deviation, of the train rows; other means differ."""
    features, targets = raw(return_X_y=True)  # type: ignore[operator]
    labels = targets if name.startswith("breast") else None
    parts = split_rows(len(features), labels)
    mean, deviation = features[parts[0]].mean(axis=0), features[parts[0]].std(axis=0)
    problem = build(TASKS[name], 0)
    for split, part in zip(splits(problem), parts, strict=True):
        assert np.array_equal(split.inputs.numpy(), ((features[part] - mean) / deviation).astype(np.float32))
        assert np.array_equal(split.targets.numpy().reshape(-1), targets[part].astype(split.targets.numpy().dtype))
    train = problem.train.inputs.double()
    assert train.mean(dim=0).abs().max() < 1e-6
    assert (train.std(dim=0, correction=0) - 1).abs().max() < 1e-6
    everyone = torch.cat([split.inputs for split in splits(problem)]).double()
    assert everyone.mean(dim=0).abs().max() > 1e-3, "it would be 0 had all rows been used"


def test_digits_are_pixels_in_0_to_1_for_all_models_alike() -> None:
    images, labels = datasets.load_digits(return_X_y=True)
    known = dict(zip([row.tobytes() for row in (images / 16).astype(np.float32)], labels, strict=True))
    for name in ("digits-cnn", "digits-mlp", "digits-softmax"):
        for split in splits(build(TASKS[name], 0)):
            assert split.inputs.shape[1:] == (1, 8, 8)
            assert [known[row] for row in rows(split)] == split.targets.tolist()


def test_the_regression_loss_is_in_units_of_the_train_variance_and_its_metric_in_its_own() -> None:
    """Predicting the train mean has a loss of about 1 and an error of about a deviation."""
    problem = build(TASKS["diabetes-mlp"], 0)
    mean, deviation = problem.train.targets.mean(), problem.train.targets.std()
    zeros = torch.zeros_like(problem.train.targets)
    assert float(problem.loss(zeros, problem.train.targets)) == pytest.approx(1, rel=0.01)
    assert problem.metrics(zeros, problem.train.targets)["rmse"] == pytest.approx(float(deviation), rel=0.01)
    perfect = (problem.test.targets - mean) / deviation
    assert problem.metrics(perfect, problem.test.targets)["rmse"] == pytest.approx(0, abs=1e-4)
    off = perfect + 1
    assert problem.metrics(off, problem.test.targets)["rmse"] == pytest.approx(float(deviation), rel=1e-5)


def test_accuracy_is_the_share_of_the_largest_outputs_that_are_right() -> None:
    problem = build(TASKS["digits-mlp"], 0)
    outputs = torch.eye(10)[torch.tensor([3, 1, 4, 1])]
    assert problem.metrics(outputs, torch.tensor([3, 1, 4, 0])) == {"accuracy": 0.75}


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, math.nan, "10", None])
@pytest.mark.parametrize("name", ["full_steps", "batch_size"])
def test_a_bad_task_is_refused_by_name(name: str, bad: object) -> None:
    good = {field: getattr(TASKS["digits-cnn"], field) for field in Task.__struct_fields__}
    with pytest.raises(BadInput, match=f"`{name}`"):
        Task(**(good | {name: bad}))
