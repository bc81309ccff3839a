"""Tables: the contract of their MLPs, and that each table is the published one, split as it says."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestNeighbors
from torch import nn

from contracts.task import TaskContract, splits
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats, tables, tabular
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import build
from task_kit import each, with_data

ALL = [
    "bike-mlp",
    "connect-4-mlp",
    "houses-mlp",
    "kin8nm-mlp",
    "krkopt-mlp",
    "magic-mlp",
    "optdigits-mlp",
    "power-plant-mlp",
    "protein-mlp",
    "shuttle-mlp",
    "spambase-mlp",
]
TABULAR = sorted([*ALL, "diabetes-mlp"])
NAMES = [name for name in ALL if data.here(TASKS[name].files)]


@pytest.mark.parametrize("task", each(ALL))
class TestTabular(TaskContract):
    """Every task keeps the contract."""


@pytest.mark.parametrize("task", each(TABULAR))
def test_the_naive_metric_is_what_the_catalogue_says(task: Task) -> None:
    """Always the mean of the train targets, or their largest class."""
    problem = build(task, 0)
    train, test = problem.train.targets, problem.test.targets
    if task.objective.metric == "rmse":
        found = float((test - train.mean()).double().square().mean().sqrt())
    else:
        outputs = torch.zeros(len(test), int(train.max()) + 1)
        outputs[:, train.bincount().argmax()] = 1
        found = problem.metrics(outputs, test)[task.objective.metric]
    assert found == pytest.approx(task.naive, rel=5e-4)


# What the tables hold

KNOWN: dict[str, tuple[list[int], list[int]]] = {
    "connect-4-mlp": ([6449, 16_635, 44_473], [1290, 3327, 8895]),
    "krkopt-mlp": (
        [2796, 1433, 2854, 2166, 471, 198, 4553, 1712, 78, 683, 592, 390, 1985, 4194, 81, 3597, 246, 27],
        [560, 287, 571, 434, 94, 39, 911, 343, 15, 136, 118, 78, 397, 839, 16, 720, 49, 5],
    ),
    "magic-mlp": ([12_332, 6573], [2467, 1314]),
    "optdigits-mlp": (
        [554, 571, 557, 572, 568, 558, 558, 566, 554, 562],
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ),
    "shuttle-mlp": ([45_586, 50, 171, 8903, 3267, 10, 13], [11_478, 13, 39, 2155, 809, 4, 2]),
}
"""The classes of all distinct rows, and of test."""


@pytest.mark.parametrize("task", each(list(KNOWN)))
def test_the_classes_are_those_of_the_table(task: Task) -> None:
    counted = [split.targets.bincount(minlength=len(KNOWN[task.name][0])) for split in splits(build(task, 0))]
    assert torch.stack(counted).sum(dim=0).tolist() == KNOWN[task.name][0]
    assert counted[2].tolist() == KNOWN[task.name][1]


SCALED = ["houses-mlp", "kin8nm-mlp", "magic-mlp", "power-plant-mlp", "protein-mlp", "shuttle-mlp", "spambase-mlp"]


@pytest.mark.parametrize("task", each(SCALED))
def test_columns_are_scaled_on_train_alone(task: Task) -> None:
    problem = build(task, 0)
    train, everyone = problem.train.inputs.double(), torch.cat([split.inputs for split in splits(problem)]).double()
    assert train.mean(dim=0).abs().max() < 1e-6
    assert (train.std(dim=0, correction=0) - 1).abs().max() < 1e-6
    assert everyone.mean(dim=0).abs().max() > 1e-3, "it would be 0 had all rows been used"


@with_data("optdigits-mlp")
def test_the_test_rows_of_optdigits_are_the_digits_of_scikit_learn() -> None:
    """Which holds the official test split alone; the digits of digits-mlp are thus of other writers."""
    images, labels = datasets.load_digits(return_X_y=True)
    test = build(TASKS["optdigits-mlp"], 0).test
    assert np.array_equal(test.inputs.numpy(), (images / 16).astype(np.float32))
    assert test.targets.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("name", "folder", "columns"),
    [
        pytest.param("kin8nm-mlp", "uci-kin8nm", 9, marks=with_data("kin8nm-mlp")),
        pytest.param("power-plant-mlp", "uci-power-plant", 5, marks=with_data("power-plant-mlp")),
        pytest.param("protein-mlp", "uci-protein-tertiary-structure", 10, marks=with_data("protein-mlp")),
    ],
)
def test_the_test_rows_are_split_0_of_the_source(name: str, folder: str, columns: int) -> None:
    """In its order of rows, each once; of a target the float32."""
    values = formats.numbers(folder, data.read(f"{folder}/data.txt"))
    rows = formats.numbers(folder, data.read(f"{folder}/index_test_0.txt")).ravel().astype(int)
    chosen = values[np.sort(rows)]
    _, first = np.unique(chosen[:, :-1], axis=0, return_index=True)
    wanted = chosen[np.sort(first)][:, -1].astype(np.float32)
    assert values.shape[1] == columns
    assert build(TASKS[name], 0).test.targets.flatten().tolist() == wanted.tolist()


@with_data("protein-mlp")
def test_no_structure_of_train_nearly_is_one_of_test() -> None:
    train, validation, test = splits(build(TASKS["protein-mlp"], 0))
    assert len(train) == 35_478 - 422
    for other in (validation, test):
        nearest, _ = NearestNeighbors(n_neighbors=1).fit(other.inputs).kneighbors(train.inputs)
        assert nearest.min() > 0.0095 * 3, "0.01 in units of the deviations before neighbours were left out"


@with_data("bike-mlp")
def test_the_target_of_bike_is_not_among_its_inputs() -> None:
    """Casual and registered users, the last two columns of the file, add up to the exponential of the target."""
    values = tables.comma("uci10-bike/data.csv.gz", 17_379, 18)
    hired = np.exp(values[:, -1])
    both = values[:, 15] + values[:, 16]
    slope, level = np.polyfit(hired, both, 1)
    assert np.abs(slope * hired + level - both).max() < 0.05 * both.std()
    problem = build(TASKS["bike-mlp"], 0)
    inputs, targets = problem.train.inputs, problem.train.targets.flatten()
    assert inputs.shape[1] == 8 + 12 + 4 + 24 + 7 + 4
    correlations = [abs(float(torch.corrcoef(torch.stack([column, targets]))[0, 1])) for column in inputs.T]
    assert max(correlations) < 0.45
    assert np.array_equal(values[:, 0], values[:, 4])
    assert np.array_equal(values[:, 1], values[:, 5])
    mask = tables.comma("uci10-bike/test_mask.csv.gz", 17_379, 10)[:, 0] == 1
    assert problem.test.targets.flatten().tolist() == values[mask, -1].astype(np.float32).tolist()
    categories = inputs[:, 8:]
    assert categories.unique().tolist() == [0, 1]
    assert (categories.sum(dim=1) == 5).all()


@pytest.mark.parametrize(("name", "columns"), [("connect-4-mlp", 42), ("krkopt-mlp", 6)])
def test_positions_are_one_bit_a_coordinate(name: str, columns: int, request: pytest.FixtureRequest) -> None:
    if name not in NAMES:
        pytest.skip(f"the data of {name} are not here; set {data.FOLDER}")
    for split in splits(build(TASKS[name], 0)):
        assert split.inputs.unique().tolist() == [0, 1]
        assert (split.inputs.sum(dim=1) == columns).all()


@with_data("connect-4-mlp")
def test_positions_of_connect_four_have_four_stones_of_each_side() -> None:
    """A field is empty or of one of two sides, who have made four plies each."""
    for split in splits(build(TASKS["connect-4-mlp"], 0)):
        fields = split.inputs.reshape(-1, 42, 3).sum(dim=1)
        assert sorted(fields.unique(dim=0).tolist()[0]) == [4, 4, 34]
        assert len(fields.unique(dim=0)) == 1


@with_data("spambase-mlp")
def test_no_mail_of_train_nearly_is_one_of_validation_or_test() -> None:
    train, validation, test = splits(build(TASKS["spambase-mlp"], 0))
    assert len(train) + len(validation) + len(test) == 4207 - 113
    for other in (validation, test):
        assert float(torch.cdist(train.inputs.double(), other.inputs.double()).min()) > 0.009 * 57**0.5


@with_data("houses-mlp")
def test_house_values_are_capped_at_500_000_dollars_and_rooms_are_logarithms() -> None:
    problem = build(TASKS["houses-mlp"], 0)
    targets = torch.cat([split.targets for split in splits(problem)])
    assert float(targets.min()) == pytest.approx(0.14999)
    assert float(targets.max()) == pytest.approx(5.00001)
    assert int((targets > 5).sum()) == 965
    rooms = torch.cat([split.inputs[:, 2] for split in splits(problem)])
    assert float(rooms.max()) < 5, "39,320 rooms would be 17 deviations"


# Models and metrics


def test_an_mlp_has_its_layers_in_order() -> None:
    def kinds(model: nn.Sequential) -> list[str]:
        return [type(layer).__name__ for layer in model]

    assert kinds(tabular.mlp(3, 2)) == ["Linear"]
    assert kinds(tabular.mlp(3, 5, 2, activation=nn.Tanh)) == ["Linear", "Tanh", "Linear"]
    assert kinds(tabular.mlp(3, 5, 4, 2, norm=nn.BatchNorm1d, dropout=0.5)) == [
        *("Linear", "BatchNorm1d", "ReLU", "Dropout") * 2,
        "Linear",
    ]
    shapes = [tuple(p.shape) for p in tabular.mlp(3, 5, 4, 2).parameters()]
    assert shapes == [(5, 3), (5,), (4, 5), (4,), (2, 4), (2,)]


@pytest.mark.parametrize(("kind", "least"), [(nn.BatchNorm1d, 2), (nn.LayerNorm, 3), (nn.Dropout, 2)])
def test_each_kind_of_layer_is_in_some_model(kind: type[nn.Module], least: int) -> None:
    models = [network() for _, network in tabular._MADE.values()]
    assert sum(any(isinstance(layer, kind) for layer in model.modules()) for model in models) >= least


def test_balanced_accuracy_is_scikit_learns_but_for_the_rare_classes_that_are_one() -> None:
    generator = torch.Generator().manual_seed(6)
    targets, said = (torch.randint(0, 7, (500,), generator=generator) for _ in range(2))
    outputs = torch.eye(7)[said]
    common = ~torch.isin(targets, torch.tensor(tabular.RARE))
    recalls = [float((said == targets)[targets == label].double().mean()) for label in (0, 2, 3, 4)]
    recalls.append(float((said == targets)[~common].double().mean()))
    found = tabular.balanced_accuracy(outputs, targets)["balanced_accuracy"]
    assert found == pytest.approx(np.mean(recalls), rel=1e-12)
    alone = torch.where(common, targets, 0)
    wanted = balanced_accuracy_score(alone, said.where(torch.isin(said, torch.tensor([0, 2, 3, 4])), torch.tensor(0)))
    assert tabular.balanced_accuracy(outputs, alone)["balanced_accuracy"] <= wanted


# Damaged and odd files

LOADERS: dict[str, tuple[Callable[[], object], str]] = {
    "bike-mlp": (tabular.bike, "uci10-bike/data.csv.gz"),
    "connect-4-mlp": (tabular.connect_four, "pmlb-connect_4/connect_4.tsv.gz"),
    "houses-mlp": (tabular.houses, "pmlb-537_houses/537_houses.tsv.gz"),
    "kin8nm-mlp": (tabular.kin8nm, "uci-kin8nm/data.txt"),
    "krkopt-mlp": (tabular.krkopt, "pmlb-krkopt/krkopt.tsv.gz"),
    "magic-mlp": (tabular.magic, "pmlb-magic/magic.tsv.gz"),
    "optdigits-mlp": (tabular.optdigits, "pmlb-optdigits/optdigits.tsv.gz"),
    "power-plant-mlp": (tabular.power_plant, "uci-power-plant/index_test_0.txt"),
    "protein-mlp": (tabular.protein, "uci-protein-tertiary-structure/index_train_0.txt"),
    "shuttle-mlp": (tabular.shuttle, "pmlb-shuttle/shuttle.tsv.gz"),
    "spambase-mlp": (tabular.spambase, "pmlb-spambase/spambase.tsv.gz"),
}
"""What loads the table of a task, and the file that is damaged."""


def loaded_with(name: str, file: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a table whose `file` holds `content`, as if its checksum were the known one."""
    held = {each: data.read(each) for each in TASKS[name].files} | {file: content}
    monkeypatch.setattr(data, "read", held.__getitem__)
    LOADERS[name][0].__wrapped__()  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", ["truncated", "garbage", "empty", "another format"])
@pytest.mark.parametrize("task", each(list(LOADERS)))
def test_a_damaged_file_is_one_sentence(task: Task, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LOADERS[task.name][1]
    content = data.read(file)
    bad = {
        "truncated": content[: len(content) // 2],
        "garbage": np.random.default_rng(5).bytes(len(content)),
        "empty": b"",
        "another format": b'{"rows": [1, 2, 3]}\n',
    }[case]
    with pytest.raises(DataDamaged, match=rf"^the data files? {file.split('/')[0]}/[^\n]+\.$"):
        loaded_with(task.name, file, bad, monkeypatch)


@with_data("krkopt-mlp")
def test_a_changed_bit_is_told_by_the_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LOADERS["krkopt-mlp"][1]
    content = data.read(file)
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    monkeypatch.setenv(data.FOLDER, str(tmp_path))
    with pytest.raises(DataDamaged, match=r"^the data file [^\n]+ must have SHA-256 [^\n]+\.$"):
        tabular.krkopt.__wrapped__()


def first_row(row: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [lines[0], row, *lines[2:]]


ODD_PMLB: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a row less": lambda lines: lines[:-2] + lines[-1:],
    "a row twice": lambda lines: [*lines[:-1], *lines[-2:]],
    "no header": lambda lines: lines[1:],
    "another last column": lambda lines: [lines[0].replace(b"target", b"price"), *lines[1:]],
    "a column more": lambda lines: [line + b"\t0" for line in lines],
    "a column less": lambda lines: [line[2:] for line in lines],
    "a short row": first_row(b"1\t2\t3"),
    "text": first_row(b"a\t1\t2\t3\t4\t5\t0"),
    "an empty cell": first_row(b"\t1\t2\t3\t4\t5\t0"),
    "not a number": first_row(b"nan\t1\t2\t3\t4\t5\t0"),
    "infinite": first_row(b"inf\t1\t2\t3\t4\t5\t0"),
    "an unknown class": first_row(b"0\t1\t2\t3\t4\t5\t18"),
    "half a class": first_row(b"0\t1\t2\t3\t4\t5\t0.5"),
    "a negative class": first_row(b"0\t1\t2\t3\t4\t5\t-1"),
    "an unknown coordinate": first_row(b"4\t1\t2\t3\t4\t5\t0"),
    "half a coordinate": first_row(b"0.5\t1\t2\t3\t4\t5\t0"),
    "rank 0": first_row(b"0\t0\t2\t3\t4\t5\t0"),
    "commas": lambda lines: [line.replace(b"\t", b",") for line in lines],
    "header alone": lambda lines: lines[:1],
}


@with_data("krkopt-mlp")
@pytest.mark.parametrize("case", ODD_PMLB)
def test_an_odd_table_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LOADERS["krkopt-mlp"][1]
    lines = gzip.decompress(data.read(file)).split(b"\n")
    bad = gzip.compress(b"\n".join(ODD_PMLB[case](lines)), 1)
    with pytest.raises(DataDamaged, match=rf"^the data file {file} [^\n]+\.$"):
        loaded_with("krkopt-mlp", file, bad, monkeypatch)


@with_data("spambase-mlp")
def test_a_negative_frequency_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    file = LOADERS["spambase-mlp"][1]
    lines = gzip.decompress(data.read(file)).split(b"\n")
    lines[1] = b"-" + lines[2]
    with pytest.raises(DataDamaged, match=rf"^the data file {file} must hold no negative number [^\n]+\.$"):
        loaded_with("spambase-mlp", file, gzip.compress(b"\n".join(lines), 1), monkeypatch)


ODD_SPLIT: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a row less": lambda lines: lines[1:],
    "a row twice": lambda lines: [lines[1], *lines[1:]],
    "a row of train": lambda lines: [b"0", *lines] if b"0.000000000000000000e+00" not in lines else [b"1", *lines],
    "a row beyond the last": lambda lines: [b"9568", *lines[1:]],
    "a negative row": lambda lines: [b"-1", *lines[1:]],
    "half a row": lambda lines: [b"0.5", *lines[1:]],
    "text": lambda lines: [b"row", *lines[1:]],
    "not a number": lambda lines: [b"nan", *lines[1:]],
}


@with_data("power-plant-mlp")
@pytest.mark.parametrize("case", ODD_SPLIT)
def test_an_odd_split_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "uci-power-plant/index_test_0.txt"
    bad = b"\n".join(ODD_SPLIT[case](data.read(file).split(b"\n")))
    with pytest.raises(DataDamaged, match=r"^the data files? uci-power-plant/[^\n]+\.$"):
        loaded_with("power-plant-mlp", file, bad, monkeypatch)


ODD_MASK: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a row less": lambda lines: lines[1:],
    "a column less": lambda lines: [line[2:] for line in lines],
    "neither in nor out": lambda lines: [b"2" + lines[0][1:], *lines[1:]],
    "none in": lambda lines: [b"0" + line[1:] if line else line for line in lines],
    "tabs": lambda lines: [line.replace(b",", b"\t") for line in lines],
}


@with_data("bike-mlp")
@pytest.mark.parametrize("case", ODD_MASK)
def test_an_odd_mask_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "uci10-bike/test_mask.csv.gz"
    bad = gzip.compress(b"\n".join(ODD_MASK[case](gzip.decompress(data.read(file)).split(b"\n"))), 1)
    with pytest.raises(DataDamaged, match=rf"^the data file {file} [^\n]+\.$"):
        loaded_with("bike-mlp", file, bad, monkeypatch)
