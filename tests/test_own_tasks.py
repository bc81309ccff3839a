"""Tasks of a user: a file that is run because it was named, and treated like any task of ours."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

import lrcontrol as lrc
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs import user_code
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training import loop
from lrcontrol.training.tasks import catalogue, own

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_task.py"

TINY = """
import torch
import lrcontrol as lrc

def split(rows):
    return lrc.Split(torch.randn(rows, 3), torch.randn(rows, 1))

def rmse(outputs, targets):
    return {"rmse": float((outputs - targets).square().mean().sqrt())}

@lrc.as_task(metric='rmse', direction="minimize", full_steps=20)
def line(seed):
    model = torch.nn.Linear(3, 1)
    torch.manual_seed(0)
    return lrc.Problem(model, split(40), split(10), split(10), torch.nn.functional.mse_loss, rmse, 8, seed)
"""


LATE = (
    TINY.replace("torch.nn.Linear(3, 1)", "Late()")
    + """
class Late(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs):
        self.passes += self.training
        return self.first(inputs) + (self.second(inputs) if self.passes > 3 else 0)
"""
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is loaded yet, and nothing that is stays loaded."""
    monkeypatch.setattr(user_code, "_LOADED", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(own.OWN)
    own.OWN.clear()
    yield
    own.OWN.clear()
    own.OWN.update(before)


def write(folder, text=TINY, name="mine.py"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_example_is_selected_by_name_in_processes_and_serially_alike(tmp_path):
    path = tmp_path / "own_task.py"
    shutil.copy(EXAMPLE, path)
    found = [
        lrc.select(f"{path}:wine", budget="2runs", out=tmp_path / executor, executor=executor)
        for executor in ("serial", "processes")
    ]
    assert [each.task.name for each in found] == ["own_task.py:wine"] * 2
    assert found[0].record.column("loss").tolist() == found[1].record.column("loss").tolist()
    assert found[0].test == found[1].test
    assert found[0].test["accuracy"] > 0.9
    assert "own_task.py:wine" in found[0].report(tmp_path / "page.html").read_text()


def test_what_is_known_of_a_task_is_read_off_its_problem(tmp_path):
    task = catalogue.named(f"{write(tmp_path)}:line")
    assert (task.name, task.sizes, task.parameters, task.batch_size) == ("mine.py:line", (40, 10, 10), 4, 8)
    assert (task.full_steps, task.objective.metric, task.objective.direction) == (20, "rmse", "minimize")
    assert catalogue.named("mine.py:line") is task
    assert catalogue.task("mine.py:line") is task


def test_the_seed_decides_the_first_weights_and_the_callers_random_state_is_left_alone(tmp_path):
    path = write(tmp_path)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    losses = [lrc.train(f"{path}:line", "sgd:constant", base_lr=0.1, seed=seed).column("loss") for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert losses[0].tolist() == losses[1].tolist() != losses[2].tolist()


def test_a_name_is_the_same_from_every_folder(tmp_path, monkeypatch):
    path = write(tmp_path)
    absolute = catalogue.named(f"{path}:line").name
    user_code._LOADED.clear()
    own.OWN.clear()
    monkeypatch.chdir(tmp_path)
    assert catalogue.named("mine.py:line").name == absolute


def test_a_file_finds_its_neighbours_but_takes_no_packages_place(tmp_path):
    write(tmp_path, "SIZE = 12\n", "neighbour.py")
    for name in ("json", "torch", "numpy", "sitecustomize"):
        write(tmp_path, "raise SystemExit('a stranger was run')\n", f"{name}.py")
    path = write(tmp_path, "import json\nfrom neighbour import SIZE\n" + TINY.replace("split(40)", "split(SIZE)"))
    record = lrc.select(f"{path}:line", budget="1run", out=tmp_path / "out").record
    assert record.outcome.value == "finished"
    del sys.modules["neighbour"]


def test_reading_a_selection_runs_no_file(tmp_path):
    path = write(tmp_path)
    lrc.select(f"{path}:line", budget="1run", out=tmp_path / "out", executor="serial")
    path.write_text("raise SystemExit('it was run')\n")
    code = (
        "import sys, lrcontrol as lrc, lrcontrol.errors\n"
        "found = lrc.load_selection(sys.argv[1])\n"
        "print(found.task.name, found.report(sys.argv[1] + '/page.html').name)\n"
        "try:\n    found.model()\nexcept lrc.errors.UnknownName as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "mine.py:line page.html",
        "the task 'mine.py:line' must be loaded first; name its file, as in my/mine.py:line.",
    ]


def test_ours_keep_their_selections_as_they_were(tmp_path):
    lrc.select("diabetes-mlp", budget="1run", out=tmp_path, executor="serial")
    assert "about" not in (tmp_path / "selection.json").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("full_steps=20", "full_steps=0"),
            "must run without an error, got one in line 11: `full_steps` must be",
        ),
        (("direction=", "way="), "must run without an error, got TypeError in line 11: "),
        (("import torch\n", "import torch,\n"), "must be valid Python, but line 2 is not: "),
        (("return lrc.Problem", "return print"), "mine.py:line must return an lrcontrol.Problem, got None"),
        (
            ('{"rmse":', '{"mse":'),
            "mine.py:line: the metrics must have the one it is compared by, 'rmse', got loss, mse.",
        ),
        (
            ("split(10), split(10)", "split(10), split(0)"),
            "must have rows, and a target for each, got 0 inputs and 0 targets in test",
        ),
        (("def line", "def other"), "unknown task of .*mine.py 'line'; known: other."),
        (("torch.randn(rows, 1))", "torch.randn(rows - 1, 1))"), "got 40 inputs and 39 targets in train"),
        (("torch.randn(rows, 3), ", "torch.randn(rows, 3).numpy(), "), "`inputs of train` must be a tensor, got"),
        (("torch.randn(rows, 1))", "torch.randn(rows))"), "got UserWarning: Using a target size"),
        (("return {", "return 1, {"), "`metrics` must return numbers by name, got"),
        (
            ("torch.nn.functional.mse_loss", "torch.nn.MSELoss(reduction='none')"),
            "`loss` must return a tensor of one finite number, got a tensor of shape",
        ),
        (
            ("Linear(3, 1)", "Linear(4, 1)"),
            "mine.py:line must make a problem that can be trained and judged, got Runtime",
        ),
        (("Linear(3, 1)", "Linear(3, 1).requires_grad_(False)"), "must follow from parameters that are trained"),
        (("def line(seed)", "def line()"), "got TypeError: line.. takes 0 positional arguments but 1 was given"),
        (("model = torch", "open('/none.csv'); model = torch"), "got FileNotFoundError: .*none.csv"),
        (
            ("model = torch.nn.Linear(3, 1)", "model = vars(line).setdefault('model', torch.nn.Linear(3, 1))"),
            "must make a model of its own, got the same one twice",
        ),
        (
            ("model = torch", "torch.seed(); model = torch"),
            "the same seed must give the same first weights, got two for",
        ),
        (("split(40), split(10), split(10)", "*[split(40)] * 3"), "but train and validation are the same"),
        (("metric='rmse'", "metric=''"), "`metric` must be the name of a metric"),
        (("full_steps=20", "full_steps=20, method='foo:bar'"), "unknown optimizer 'foo'"),
        (("full_steps=20", "full_steps=20, base_lr=-1"), "`base_lr` must be a number > 0"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path, change, said):
    path = write(tmp_path, TINY.replace(*change))
    with pytest.raises(BadInput, match=said) as caught:
        catalogue.named(f"{path}:line")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.py", "", "notes.txt", "/dev/zero", "."])
def test_what_is_no_python_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(TINY)
    with pytest.raises(BadInput, match="must be in a Python file"):
        catalogue.named(f"{name}:line")


def test_a_file_without_its_function_or_without_a_task_is_told_what_to_do(tmp_path):
    path = write(tmp_path)
    with pytest.raises(UnknownName, match=r"named with its function, got .*mine.py; it holds .*mine.py:line\.$"):
        catalogue.named(str(path))
    bare = write(tmp_path, TINY.replace("@lrc", "#"), "bare.py")
    for asked, got in ((f"{bare}:line", "the bare function line"), (f"{bare}:lin", "none"), (str(bare), "none")):
        with pytest.raises(UnknownName, match=rf"bare.py must hold a task, .*@lrcontrol.task.* got {got}\."):
            catalogue.named(asked)


def test_a_function_inside_another_is_refused():
    with pytest.raises(BadInput, match="must be a function at the top of a Python file"):

        @lrc.as_task(metric="rmse", direction="minimize", full_steps=1)
        def inner(seed):
            raise NotImplementedError


def test_a_task_that_was_never_loaded_is_told_and_not_looked_for():
    with pytest.raises(UnknownName, match=r"must be loaded first; name its file, as in my/mine.py:line"):
        catalogue.task("mine.py:line")
    with pytest.raises(UnknownName):
        loop.train(RunSpec(task="mine.py:line", method="sgd:rex", base_lr=1, total_steps=1))


def test_two_files_of_one_name_are_not_taken_for_each_other(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder)
    first = catalogue.named(f"{tmp_path}/a/mine.py:line")
    with pytest.raises(
        BadInput, match=r"tasks must have names of their own, and mine.py:line is in .*a/mine.py already"
    ):
        catalogue.named(f"{tmp_path}/b/mine.py:line")
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(BadInput, match="names of their own"):
        catalogue.named("mine.py:line")
    monkeypatch.chdir(tmp_path)
    assert catalogue.named("mine.py:line") is first


def test_a_file_that_ends_the_process_is_told(tmp_path):
    path = write(tmp_path, "import sys\nsys.exit(3)\n")
    with pytest.raises(BadInput, match="must run without an error, got SystemExit in line 2: 3"):
        catalogue.named(f"{path}:line")


@pytest.mark.parametrize(
    "method", ["sgd:cosine", "sgd(momentum=0):constant, momentum=one_cycle_momentum", "sgd:l4", "adamw:cosine"]
)
def test_a_layer_that_joins_late_is_trained_also_from_a_checkpoint_before_it_joined(tmp_path, method):
    """Its momentum begins at 0: torch's fused SGD begins that of all parameters at once, or raises."""
    name = f"{write(tmp_path, LATE)}:line"
    whole = RunSpec(task=catalogue.named(name).name, method=method, base_lr=0.01, total_steps=12, save=True)
    record = loop.train(whole, weights=tmp_path / "weights")
    begun = msgspec.structs.replace(whole, stop_step=2, save=False, checkpoint=True)
    loop.train(begun, weights=tmp_path / "weights")
    rest = msgspec.structs.replace(whole, start=Start(begun.id, 2))
    again = loop.train(rest, weights=tmp_path / "weights")
    assert record.outcome is Outcome.FINISHED
    assert again.column("loss").tolist() == record.column("loss").tolist()[2:]
    model, other = (loop.trained_model(each, tmp_path / "weights") for each in (record, again))
    assert model.passes > 3
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
