"""The command line: what works prints results on stdout, what does not is one sentence on stderr and status 2."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from command_kit import Run, Said, caller
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import method
from lrcontrol.runs.parts import PARTS
from lrcontrol.runs.store import Store
from lrcontrol.training.tasks.catalogue import TASKS

COMMANDS = ["select", "train", "search", "report", "plot", "tasks", "methods"]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in this process, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", "200")
    return caller(capfd)


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def good(said: Said) -> str:
    """The stdout of a command that worked."""
    assert said.status == 0, said
    assert "Traceback" not in said.err
    return said.out


def found_json(said: Said) -> Any:
    """The JSON that a command printed; nothing else is on stdout, and stderr is quiet."""
    assert said.err == ""
    return json.loads(good(said))


# What works


def test_help_of_every_command_and_the_version(run: Run) -> None:
    text = good(run("--help"))
    for command in COMMANDS:
        assert command in text
        own = good(run(command, "--help"))
        assert "Usage: lrcontrol " + command in own
        assert own != text
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", good(run("--version")))


def test_every_option_of_a_command_is_in_its_help(run: Run) -> None:
    for command, options in {
        "select": ["--budget", "--seed", "--out", "--executor", "--workers", "--json"],
        "train": ["--lr", "--steps", "--seed", "--norms", "--out", "--json"],
        "search": ["--strategy", "--method", "--lr", "--budget", "--seed", "--out", "--executor", "--json"],
        "report": ["--out"],
        "plot": ["--steps", "--out"],
        "tasks": ["--json"],
        "methods": ["--json"],
    }.items():
        text = good(run(command, "--help"))
        assert [option for option in options if option not in text] == []


def test_tasks_are_listed_for_people_and_machines(run: Run) -> None:
    text = good(run("tasks"))
    listed = found_json(run("tasks", "--json"))
    assert [each["name"] for each in listed] == list(TASKS)
    for each in listed:
        assert each["name"] in text
        assert each["full_steps"] == TASKS[each["name"]].full_steps
        assert tuple(each["sizes"]) == TASKS[each["name"]].sizes


def test_tasks_are_listed_by_words_of_what_they_are_about(run: Run) -> None:
    for words, meant in (
        ("regression Diabetes", lambda task: task.name == "diabetes-mlp"),
        ("full", lambda task: "full" in f"{task.name} {task.kind} {task.data} {task.model} {task.size}".lower()),
        ("graph", lambda task: "graph network" in task.model),  # and no photographs
        ("elbo", lambda task: task.objective.metric == "negative_elbo"),
        ("resnet", lambda task: "resnet" in f"{task.name} {task.model}".lower()),
        ("rmse", lambda task: task.objective.metric == "rmse"),
        ("", lambda task: True),
    ):
        names = [name for name, task in TASKS.items() if meant(task)]
        assert names
        assert [each["name"] for each in found_json(run("tasks", "--about", words, "--json"))] == names
        text = good(run("tasks", "--about", words))
        assert all(name in text for name in names)
    bad(run("tasks", "--about", "diabetes resnet"), "no task has all of these words: 'diabetes resnet'")
    bad(run("tasks", "--about", "iabetes"), "no task has all of these words")
    bad(run("tasks", "diabetes-mlp", "--about", "rmse"), "got both")


def test_a_task_is_told_whole_with_the_seconds_of_this_machine(run: Run) -> None:
    text = " ".join(good(run("tasks", "diabetes-mlp")).split())
    for part in ("4,929", "800 updates of 32", "validation rmse (minimize)", "adamw:cosine at 0.001", "here"):
        assert part in text
    found = found_json(run("tasks", "diabetes-mlp", "digits-mlp", "--json"))
    assert [each["name"] for each in found] == ["diabetes-mlp", "digits-mlp"]
    assert all(each["here"] is True for each in found)


def test_without_a_method_a_task_is_trained_by_its_default(run: Run) -> None:
    found = found_json(run("train", "diabetes-mlp", "--steps", "20", "--json"))
    assert (found["spec"]["method"], found["spec"]["base_lr"]) == ("adamw:cosine", 0.001) or "spec" in found


def test_methods_are_listed_for_people_and_machines(run: Run) -> None:
    text = good(run("methods"))
    listed = found_json(run("methods", "--json"))
    assert len(listed["portfolio"]) == 60
    for kind in ("optimizers", "schedules"):
        for each in listed[kind]:
            assert each["name"] in text


def test_every_part_of_methods_is_told_whole(run: Run) -> None:
    listed = found_json(run("methods", "--json"))
    for kind in ("optimizers", "schedules", "controls"):
        for each in listed[kind]:
            part = PARTS[each["name"]].whole
            assert each.items() <= part.items()
            assert str(method(part["example"])).startswith(part["example"].partition("(")[0].partition(":")[0])
            assert each["name"] in part["example"]
            for number in part["numbers"]:
                assert number["about"]
                assert "default" in number
            said = run("methods", each["name"])
            assert said.err == ""
            told = " ".join(good(said).split())
            for shown in (part["example"], *(number["name"] for number in part["numbers"]), *each["papers"][:1]):
                assert " ".join(shown.split()) in told


def test_what_is_told_of_a_part_is_its_own(run: Run) -> None:
    part = found_json(run("methods", "prodigy", "--json"))
    defaults = {number["name"]: number["default"] for number in part["numbers"]}
    assert (defaults["d0"], defaults["decoupled"], defaults["beta3"]) == ("1e-06", "true", "")
    told = " ".join(good(run("methods", "prodigy")).split())
    for sentence in (
        "d_coef 1 > 0; a factor of the estimate, and the number to tune if any.",
        "usual base rate 1, as it finds its rate itself",
        "did better prodigy(bias_correction=true, safeguard_warmup=true):warmup(0.05)+cosine, where it was tried",
        "papers Mishchenko, Defazio 2023, arXiv:2306.06101, algorithm 4",
    ):
        assert sentence in told
    assert "usual base rate none: to be given" in " ".join(good(run("methods", "sgd")).split())
    assert "usual base rate 0.001, at which updates are tried" in " ".join(good(run("methods", "l4")).split())
    assert "usual base rate" not in good(run("methods", "polyak")) + good(run("methods", "rex"))
    assert "usual base rate that of the script" in " ".join(good(run("methods", "own")).split())
    told = " ".join(good(run("methods", "alignment")).split())
    assert "price an update counts as 2" in told
    assert "needs a second gradient of every batch; gradients, and the updates before" in told
    bad(run("methods", "prodgy"), "unknown optimizer, schedule or control 'prodgy'; did you mean 'prodigy'? known: ")
    bad(run("methods", "OneCycleLR"), "did you mean 'one_cycle'? known: ")


@pytest.mark.parametrize(("told", "width"), [("60", 60), ("200", 200), ("5", 30), ("", 80)])
def test_a_plot_in_the_terminal_is_as_wide_as_columns_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, told: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert max(map(len, good(run("plot", "constant")).splitlines())) == width


def test_a_plot_in_the_terminal_names_its_schedules(run: Run) -> None:
    text = good(run("plot", "rex", "warmup(0.05)+cosine", "--steps", 500))
    for part in ("rex", "warmup(0.05)+cosine", "500", "step"):
        assert part in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("suffix", "begin"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("html", b"<!"), ("SVG", b"<svg")]
)
def test_a_plot_is_written_as_its_suffix_says(run: Run, suffix: str, begin: bytes) -> None:
    path = Path(f"plot.{suffix}")
    assert good(run("plot", "rex", "--out", path)).strip() == str(path)
    assert path.read_bytes().startswith(begin)


def test_train_for_people_and_machines(run: Run, short: str) -> None:
    text = good(run("train", short, "sgd:warmup(0.1)+rex", "--lr", 0.05, "--steps", 30, "--seed", 3))
    assert "sgd:warmup(0.1)+rex" in text
    assert "finished after 30 updates" in text
    told = found_json(run("train", short, "sgd:warmup(0.1)+rex", "--lr", 0.05, "--steps", 30, "--seed", 3, "--json"))
    assert told["outcome"] == "finished"
    assert told["cost"]["steps"] == 30
    assert told["spec"]["seed"] == 3
    assert told["evals"][-1]["step"] == 30
    assert f"{told['evals'][-1]['values']['rmse']:.4g}" in text
    assert list(Path().iterdir()) == [], "nothing is kept unless asked"
    assert found_json(run("train", short, "sgd:rex", "--lr", 0.05, "--json"))["cost"]["steps"] == 60


def test_train_records_the_norms_it_is_asked_for(run: Run, short: str) -> None:
    words = ("train", short, "sgd:rex", "--lr", 0.05, "--steps", 5, "--norms", "l2", "--norms", "l1", "--out", "kept")
    told = found_json(run(*words, "--json"))
    assert told["spec"]["norms"] == ["l1", "l2"]
    with Store(Path("kept", "runs.db"), create=False) as store:
        columns = store.record(told["id"]).columns
    assert list(columns) == ["loss", "lr", "l1", "l2"]
    assert all(len(values) == 5 and (values > 0).all() for values in columns.values())


def test_train_keeps_the_run_where_it_is_told_to(run: Run, short: str) -> None:
    good(run("train", short, "sgd:rex", "--lr", 0.05, "--out", "kept"))
    told = found_json(run("train", short, "sgd:rex", "--lr", 0.05, "--out", "kept", "--json"))
    assert Path("kept", "weights", told["weights"]["file"]).is_file()
    with Store(Path("kept", "runs.db"), create=False) as store:
        assert [record.id for record in store.records()] == [told["id"]]


def test_a_run_that_diverges_is_a_result(run: Run, short: str) -> None:
    text = good(run("train", short, "sgd:constant", "--lr", 1e6))
    assert "diverged after" in text
    assert "the loss was not finite at update" in text
    told = found_json(run("train", short, "sgd:constant", "--lr", 1e6, "--json"))
    assert told["outcome"] == "diverged"


def test_select_for_people_and_machines_and_the_report_anew(run: Run, short: str) -> None:
    """The second call repeats no run; the page of `report` is the one that `select` wrote."""
    given = ("select", short, "--budget", "4runs", "--seed", 1, "--executor", "serial", "--out", "found")
    text = good(run(*given))
    told = found_json(run(*given, "--json"))
    assert {path.name for path in Path("found").iterdir()} - {".lock"} == {
        "runs.db",
        "weights",
        "selection.json",
        "report.html",
    }
    for part in (told["method"], f"{told['base_lr']:g}", "everything included", "found/report.html"):
        assert part in text
    assert told["task"] == short
    assert Path(told["weights"]).is_file()
    assert told["spent_steps"] <= told["budget_steps"] == 240
    assert set(told["test"]) == set(told["default"]["test"]) == set(told["validation"]) == {"loss", "rmse"}
    assert told["reasons"]
    for reason in told["reasons"]:
        assert " ".join(reason.split()) in " ".join(text.split())
    page = Page(Path(told["report"]))
    assert {"html", "script", "table", "h1"} <= page.elements
    assert told["method"] in page.text
    before = Path(told["report"]).read_bytes()
    assert good(run("report", "found", "--out", "again.html")).strip() == "again.html"
    assert Path("again.html").read_bytes() == before
    assert good(run("report", "found")).strip() == "found/report.html"


def test_results_go_to_a_folder_named_after_the_task_unless_told(run: Run, short: str) -> None:
    told = found_json(run("select", short, "--budget", "1run", "--executor", "serial", "--json"))
    assert told["report"] == f"lrcontrol-out/{short}/report.html"
    assert Path(told["report"]).is_file()


def test_a_selection_tells_machines_what_its_tables_hold(run: Run) -> None:
    words = [
        "--method",
        "adamw:cosine*l4",
        "--method",
        "sgd:rex",
        "--lr",
        0.1,
        "--executor",
        "serial",
        "--out",
        "found",
    ]
    told = found_json(run("select", "glass-softmax", "--budget", "4runs", *words, "--json"))
    rows = {each["run"]: each for each in told["runs"]}
    for each in (told, told["default"]):
        row = rows[each["run"]]
        assert (row["method"], row["base_lr"]) == (each["method"], each["base_lr"])
        assert row["final"] == each["validation"][told["metric"]]
        assert each["test"][told["metric"]] >= 0
        assert (each["test_error"] is None) == (told["metric"] != "accuracy")
    assert {"sgd:rex", "adamw:cosine*l4", "adamw:cosine"} >= {each["method"] for each in told["runs"]}
    assert ("largest_found" in told) == (told["method"] == "adamw:cosine*l4")


@pytest.mark.parametrize("strategy", ["grid", "random", "halving"])
def test_search_for_people_and_machines(run: Run, short: str, strategy: str) -> None:
    given = ("search", short, "--strategy", strategy, "--budget", "3runs", "--executor", "serial", "--out", "found")
    given += ("--method", "sgd:rex", "--method", "adamw:linear", "--lr", 0.1, "--lr", 0.01)  # type: ignore[assignment]
    told = found_json(run(*given, "--json"))
    if strategy == "halving":
        text = good(run(*given))
        assert "sgd:rex" in text or "adamw:linear" in text
    assert {each["method"] for each in told["runs"]} <= {"sgd:rex", "adamw:linear"}
    assert all(0.01 <= each["base_lr"] <= 0.1 for each in told["runs"])
    assert told["spent_steps"] <= 180
    assert {"html", "table"} <= Page(Path(told["report"])).elements


def test_a_search_tells_machines_what_it_tells_people(run: Run, short: str) -> None:
    given = ("search", short, "--strategy", "grid", "--budget", "3runs", "--executor", "serial", "--out", "found")
    given += ("--method", "sgd:rex", "--method", "adamw:linear", "--lr", 0.1, "--lr", 0.01)  # type: ignore[assignment]
    told, text = found_json(run(*given, "--json")), " ".join(good(run(*given)).split())
    best = min(told["runs"], key=lambda each: each["final"])
    assert {name: told[name] for name in ("method", "base_lr", "run", "final")} == {
        name: best[name] for name in ("method", "base_lr", "run", "final")
    }
    assert (told["metric"], told["direction"], told["budget_steps"]) == ("rmse", "minimize", 180)
    assert told["caution"] == (
        "The budget paid for 3 of 4 combinations, in their order: only 1 or 2 of 2 rates of each method; all of them "
        "need 4 runs."
    )
    assert any("base learning rate" in each for each in told["reasons"]), "the best of two is at an edge"
    page = " ".join(Page(Path(told["report"])).text.split())
    for sentence in (told["caution"], *told["reasons"]):
        assert sentence in text
        assert sentence in page


def test_a_search_in_which_every_run_failed_says_so_and_ends_with_status_1(
    run: Run, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr("lrcontrol.training.loop.train_all", broken)
    given = ("search", short, "--strategy", "grid", "--method", "sgd:rex", "--lr", 0.1, "--lr", 0.2, "--out", "found")
    said = run(*given, "--executor", "serial")
    assert said.status == 1
    sentence = "No run finished: 2 failed, because RuntimeError: no such device."
    assert said.out.splitlines()[0] == sentence
    assert "failed: sgd:rex at 0.1, seed 0, over 60 updates: RuntimeError: no such device" in said.err
    (row,) = [line.split() for line in said.out.splitlines() if line.split()[:1] == ["sgd:rex"]]
    assert row == ["sgd:rex", "–", "–", "2", "0", "2"], "neither a rate nor a metric; runs, diverged, failed"
    page = Page(Path("found", "search.html")).text
    assert sentence in page
    assert "failed" in page
    said = run(*given, "--executor", "serial", "--json")
    told = json.loads(said.out)
    assert (said.status, told["method"], told["base_lr"]) == (1, None, None)
    assert told["caution"] == sentence
    assert all("RuntimeError: no such device" in each["message"] for each in told["runs"])
    bad(run("report", "found"), "found/search.html is the page of a search")


@pytest.mark.parametrize("verb", ["select", "search", "train"])
def test_every_option_reaches_its_verb_and_processes_are_the_default(
    run: Run, short: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def asked_for(*positional: Any, **named: Any) -> None:
        asked.update(named, positional=positional)
        raise BadInput("enough.")

    monkeypatch.setattr(f"lrcontrol.api.{verb}", asked_for)
    if verb == "train":
        bad(run("train", short, "sgd:rex", "--lr", 0.5, "--steps", 7, "--seed", 3, "--out", "o"), "enough")
        assert asked["positional"] == (short, "sgd:rex")
        assert (asked["base_lr"], asked["total_steps"], asked["seed"], asked["out"]) == (0.5, 7, 3, Path("o"))
        return
    bad(run(verb, short), "enough")
    assert asked["positional"][0] == short
    wanted = {"budget": "20runs", "seed": 0, "out": None, "executor": "processes", "workers": None}
    assert {name: asked[name] for name in wanted} == wanted
    options = ["--budget", "3runs", "--seed", 4, "--out", "o", "--executor", "serial", "--workers", 2]
    wanted = {"budget": "3runs", "seed": 4, "out": Path("o"), "executor": "serial", "workers": 2}
    if verb == "search":
        options += ["--strategy", "grid", "--method", "sgd:rex", "--method", "sgd:step", "--lr", 0.5, "--lr", 0.1]
        wanted |= {"methods": ["sgd:rex", "sgd:step"], "base_lrs": [0.5, 0.1], "positional": (short, "grid")}
    bad(run(verb, short, *options), "enough")
    assert {name: asked[name] for name in wanted} == wanted


def test_it_runs_as_a_script_and_help_loads_no_training_library() -> None:
    script = (
        "import sys; from lrcontrol.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ending: assert not ending.code\n"
        "print(sorted({'torch', 'sklearn', 'altair', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    console = Path(sys.executable).with_name("lrcontrol")
    done = subprocess.run([console, "selct"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


# What does not


TASK = "diabetes-mlp"
BAD: list[tuple[list[Any], str]] = [
    # words
    (["selct"], "selct"),
    (["select"], "TASK"),
    (["select", TASK, "extra"], "extra"),
    (["select", TASK, "--bugdet", "2runs"], "--budget"),
    (["select", TASK, "--budget"], "--budget"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--norms", "l3"], "unknown norm 'l3'; known: l1, l2"),
    (["train", TASK, "sgd:rex"], "a method needs a base learning rate, got sgd:rex without one; give `--lr`."),
    (["train", TASK, "sgd:rex", "--lr", "fast"], "--lr"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--seed", "x"], "--seed"),
    (["search", TASK, "--strategy", "gird"], "grid"),
    (["search", TASK, "--executor", "dask"], "processes"),
    (["tasks", "--jsn"], "--json"),
    (["tasks", "more"], "more"),
    (["report"], "FOLDER"),
    (["plot"], "SCHEDULES"),
    # names
    (["select", "diabetes-mpl"], "did you mean 'diabetes-mlp'"),
    (["train", "digits", "sgd:rex", "--lr", "0.1"], "unknown task 'digits'"),
    (["tasks", "graph"], "unknown task 'graph'; `lrcontrol tasks --about graph` lists cora-gcn."),
    (["tasks", "bike"], "did you mean 'bike-mlp'? `lrcontrol tasks --about bike` lists bike-mlp."),
    (["tasks", "graph network"], "`lrcontrol tasks --about 'graph network'` lists cora-gcn."),
    (["tasks", "accuracy"], " and 29 more."),
    (["tasks", "zebra"], "`lrcontrol tasks` lists all, and `lrcontrol tasks --about WORDS` those about something."),
    (["select", "nothere.py:train"], "in a Python file, got 'nothere.py', where there is none; name it from"),
    (["select", "notes.txt:train"], "in a Python file, got 'notes.txt', which does not end in .py."),
    (["search", "digits-cn"], "did you mean 'digits-cnn'"),
    (["train", TASK, "adam:cosine", "--lr", "0.1"], "did you mean 'adamw'"),
    (["train", TASK, "adamw:cosin", "--lr", "0.1"], "did you mean 'cosine'"),
    (["search", TASK, "--method", "sgdd:rex"], "did you mean 'sgd'"),
    (["search", TASK, "--method", "rex"], "rex is a schedule; a method is optimizer:control, as in adamw:rex, at"),
    (
        ["methods", "adamw:hypergradient"],
        "its name alone, such as adamw or cosine, got 'adamw:hypergradient'; adamw and hypergradient are its parts.",
    ),
    (
        ["methods", "warmup(0.05)"],
        "by its name alone, such as adamw or cosine, got 'warmup(0.05)'; warmup is its part.",
    ),
    (["methods", "a/b"], "must be given by its name alone, such as adamw or cosine, got 'a/b'."),
    (
        ["cite", "adamw/cosine"],
        "a method cannot be read: unexpected '/' at position 5 of 'adamw/cosine'; write it as in",
    ),
    (
        ["cite", "adamw cosine"],
        "a method cannot be read: unexpected 'cosine' at position 6 of 'adamw cosine'; write it",
    ),
    (["search", TASK, "--method", "own:rex"], "makes no optimizer itself"),
    (["search", TASK, "--method", "own:rex", "--strategy", "grid"], "write for example adamw:rex"),
    (["search", TASK, "--executor", "batched", "--rungs", "continued"], "--rungs continued with --executor batched"),
    (["search", "etth1-lstm", "--executor", "batched", "--budget", "1run"], "use the processes executor"),
    (["plot", "cosin"], "did you mean 'cosine'"),
    # texts
    (["train", TASK, "adamw", "--lr", "0.1"], "as in adamw:cosine; expected ':'"),
    (["train", TASK, "prodigy"], "as in prodigy:constant; expected ':'"),
    (["select", TASK, "--method", "mechanic"], "as in mechanic(adamw):constant; expected ':'"),
    (["train", TASK, "mechanic(prodigy):linear"], "a mechanic must be around sgd or adamw, got prodigy at position 9"),
    (["train", TASK, "", "--lr", "0.1"], "optimizer"),
    (["train", TASK, "sgd:rex(", "--lr", "0.1"], "cannot be read"),
    (["train", TASK, "sgd(momentm=0.9):rex", "--lr", "0.1"], "momentum"),
    (["train", TASK, "sgd(momentum=2):rex", "--lr", "0.1"], "momentum"),
    (["plot", "rex+"], "cannot be read"),
    (["plot", "rex/2"], "unexpected '/' at position 3 of 'rex/2'; write it as in warmup(0.05)+cosine(end=0.1)."),
    (["train", TASK, "sgd(lr=0.1):rex"], "the learning rate is given beside it, as `--lr`, at position 0 of 'sgd("),
    (["select", TASK, "--method", "sgd:rex at 0.1"], "the learning rate is given beside it, as `--lr`, at position 8"),
    (["train", TASK, "sgd:rex@0.1"], "cannot read 0.1: No such file or directory; @ stands before the file of a "),
    (["cite", "sgd:@nowhere.json"], "cannot read nowhere.json: No such file or directory; @ stands before the file "),
    (["plot", "rex", "__import__('os')"], "unknown schedule '__import__'"),
    # numbers
    (["train", TASK, "sgd:rex", "--lr", "0"], "`--lr` must be a number > 0, got --lr "),
    (["train", TASK, "prodigy:rex", "--lr", "0"], "lrcontrol: `--lr` must be a number > 0, got --lr 0.0."),
    (["train", TASK, "prodigy:rex", "--lr", "-1"], "lrcontrol: `--lr` must be a number > 0, got --lr -1.0."),
    (["train", TASK, "sgd:rex", "--lr", "nan"], "`--lr` must be a number > 0, got --lr "),
    (["train", TASK, "sgd:rex", "--lr", "-1"], "`--lr` must be a number > 0, got --lr "),
    (["train", TASK, "sgd:rex", "--lr", "1e999"], "`--lr` must be a number > 0, got --lr "),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--steps", "0"], "`--steps` must be an integer"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--steps", "-5"], "`--steps` must be an integer"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--steps", "9" * 30], "`--steps` must be an integer"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--seed", "-1"], "`--seed`"),
    (["select", TASK, "--seed", "2147483648"], "`--seed`"),
    (["select", TASK, "--workers", "0"], "`--workers` must be an integer >= 1, got --workers 0."),
    (["search", TASK, "--lr", "0"], "`--lr` must be a number > 0, got --lr "),
    (["search", TASK, "--lr", "inf"], "`--lr` must be a number > 0, got --lr "),
    (["plot", "rex", "--steps", "0"], "`--steps`"),
    (["train", TASK, "sgd:linear(steps=-1)", "--lr", "0.1"], "linear: `steps` must be an integer >= 0, got steps=-1."),
    (["select", TASK, "--run-seconds", "0"], "`--run-seconds` must be a number > 0, got --run-seconds 0.0."),
    (["select", TASK, "--run-gpus", "1"], "sets `--run-gpus` aside, got --executor processes; use 'ray'."),
    (["select", TASK, "--executor", "serial", "--run-seconds", "5"], "a process of its own, got --executor serial;"),
    (["search", TASK, "--rounds", "0"], "`--rounds` must be an integer >= 1, got --rounds 0."),
    (["search", TASK, "--rounds", "11"], "`--rounds` must be an integer <= 10, got --rounds 11."),
    (["search", TASK, "--method", "schedulefree_sgd:constant"], "of whose optimizer none are usual; give `--lr`."),
    (["search", TASK, "--strategy", "autolrs", "--lr", "0.1"], "`--lr` must hold the least and the largest rate"),
    (["range", TASK, "--low", "2", "--high", "1"], "`--high` must be a number > 2, got --high 1.0."),
    (["range", TASK, "--steps", "3"], "`--steps` must be an integer >= 20, got --steps 3."),
    (["plot", "warmup(5ep)+rex"], "lengths in epochs need `--steps-per-epoch`"),
    (["advise", "file", "--from", "warmup(5ep)+rex"], "lengths in epochs need `--steps-per-epoch`"),
    (["plot", "warmup(5ep)+rex", "--steps-per-epoch", "0"], "`--steps-per-epoch` must be an integer >= 1"),
    # what does not fit
    (["train", TASK, "sgd:warmup(61)+rex", "--lr", "0.1"], "61 steps"),
    (["search", TASK, "--method", "sgd:warmup(61)+rex"], "61 steps"),
    (["plot", "warmup(2000)+rex"], "2000 steps"),
    # budgets
    (["select", TASK, "--budget", "much"], "like '20runs'"),
    (["select", TASK, "--budget", ""], "like '20runs'"),
    (["select", TASK, "--budget", "0.5runs"], "at least one full run"),
    (["select", TASK, "--budget", "59steps"], "at least one full run"),
    (["search", TASK, "--budget", "0.5runs"], "at least one full run"),
    (["search", TASK, "--budget", "-1runs"], "like '20runs'"),
    (["search", TASK, "--budget=-1runs"], "like '20runs'"),
    # files
    (["plot", "rex", "--out", "plot.gif"], ".svg, .png, .html"),
    (["plot", "rex", "--out", "plot"], ".svg, .png, .html"),
    (["plot", "rex", "--out", "no/such/folder/plot.svg"], "does not exist"),
    (["report", "nowhere"], "selection.json"),
    (["select", TASK, "--out", "file/below"], "cannot be made"),
    (["select", TASK, "--out", "file"], "cannot be made: file is a file; name another with --out"),
    (["select", TASK, "--out", "/proc/lrcontrol"], "cannot be made"),
    (["train", TASK, "sgd:rex", "--lr", "0.1", "--out", "file/below"], "cannot be made"),
    (["search", TASK, "--out", "file/below"], "cannot be made"),
    (["report", "file/below"], "selection.json"),
]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("arguments", "named"), BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
def test_a_bad_word_or_value_is_one_sentence_and_status_2(run: Run, arguments: list[str], named: str) -> None:
    """Nothing on stdout, no traceback, no file made or changed."""
    Path("file").write_text("mine")
    bad(run(*arguments), named)
    assert Path("file").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["file"]


def bad(said: Said, named: str) -> None:
    assert said.status == 2, said
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("lrcontrol: ")
    assert lines[0].endswith((".", "?"))
    assert named in lines[0]


def text_file(path: Path) -> None:
    path.write_text("shopping list\n" * 1000)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (id TEXT, summary BLOB)")
        connection.execute("INSERT INTO runs VALUES ('mine', 'precious')")
    connection.close()


def from_the_future(path: Path) -> None:
    with Store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inner").write_text("mine")


@pytest.mark.parametrize("make", [text_file, other_database, from_the_future, a_folder])
@pytest.mark.parametrize("command", ["select", "search", "train"])
def test_a_store_that_is_not_ours_is_refused_and_nothing_is_lost(
    run: Run, short: str, make: Callable[[Path], None], command: str
) -> None:
    Path("out").mkdir()
    path = Path("out", "runs.db")
    make(path)
    before = [each.read_bytes() for each in sorted([path, *path.glob("*")]) if each.is_file()]
    arguments = {
        "select": ["--budget", "2runs", "--executor", "serial"],
        "search": ["--budget", "2runs", "--executor", "serial"],
        "train": ["sgd:rex", "--lr", "0.1"],
    }[command]
    bad(run(command, short, *arguments, "--out", "out"), "runs.db")
    assert [each.read_bytes() for each in sorted([path, *path.glob("*")]) if each.is_file()] == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "lrcontrol/selection", "version": 9}', "\0\xff"])
def test_a_report_of_what_is_no_selection_is_refused(run: Run, text: str) -> None:
    Path("out").mkdir()
    Path("out", "selection.json").write_bytes(text.encode("latin-1"))
    bad(run("report", "out"), "selection.json")


def test_a_report_to_where_it_cannot_be_written_is_refused(run: Run, short: str) -> None:
    good(run("select", short, "--budget", "1run", "--executor", "serial", "--out", "found"))
    Path("file").write_text("mine")
    for path in ("file/below.html", "no/such/folder.html", "found"):
        bad(run("report", "found", "--out", path), "cannot write")
    assert Path("file").read_text() == "mine"


def test_a_task_on_which_nothing_works_ends_with_status_1(
    run: Run, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input was right and the answer is bad: one sentence with the reason, and another status."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr("lrcontrol.training.loop.train_all", broken)
    said = run("select", short, "--budget", "1run", "--executor", "serial", "--json")
    assert said.status == 1
    assert said.out == ""
    progress, sentence = said.err.splitlines()
    assert progress == "failed: adamw:cosine at 0.001, seed 0, over 60 updates: RuntimeError: no such device"
    assert "RuntimeError: no such device" in sentence


def test_an_interrupt_says_how_to_go_on_and_going_on_repeats_nothing(
    run: Run, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrcontrol.training import loop

    train_all, ran = loop.train_all, []

    def interrupted(specs: Any, **named: Any) -> Any:
        for record in train_all(specs, **named):
            if len(ran) == 2:
                raise KeyboardInterrupt
            ran.append(record.id)
            yield record

    monkeypatch.setattr(loop, "train_all", interrupted)
    given = ("select", short, "--budget", "4runs", "--executor", "serial", "--json")
    said = run(*given)
    assert (said.status, said.out) == (130, "")
    assert "interrupted: 2 runs that ended are kept; give the same command again" in said.err
    assert len(said.err.splitlines()) == 1
    ran.append("one that is not")
    told = found_json(run(*given))
    assert told["spent_steps"] <= 240
    assert len(ran) == len(set(ran))


def test_a_log_is_told_how_far_it_is_where_the_length_of_runs_changes_and_now_and_then(
    run: Run, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("select", short, "--budget", "7runs", "--executor", "serial", "--out")
    line = r"\d+ runs? done, \d+ of 420 updates; now over (\d+)"
    said = run(*given, "a")
    lengths = [int(found) for found in re.findall(line, said.err)]
    assert lengths == [20, 60], "the default came first, in full"
    assert len(said.err.splitlines()) == 2
    monkeypatch.setattr("lrcontrol.report.progress.EVERY_SECONDS", 0.0)
    said = run(*given, "b")
    told = re.findall(r"(\d+) runs? done", said.err)
    assert told == [str(1 + place) for place in range(len(told))]
    assert len(told) > 2
    assert run("select", short, "--budget", "7runs", "--executor", "serial", "--out", "c", "--json").err == ""


@pytest.mark.parametrize("option", ["--steps", "--seed"])
def test_half_a_number_is_refused_and_not_rounded(run: Run, short: str, option: str) -> None:
    bad(run("train", short, "sgd:rex", "--lr", "0.1", option, "1.5"), option)


def test_hostile_names_are_shown_and_never_obeyed(run: Run) -> None:
    """No escape sequence of a word reaches the terminal, and no error has two lines."""
    for word in ("\x1b[31mred", "a\nb", "a\rb", "x" * 5000, "‮evil"):
        said = run("select", word)
        assert said.status == 2
        assert "\x1b" not in said.err
        assert len(said.err.splitlines()) == 1, repr(said.err)
        assert len(said.err) < 500


def test_several_are_cited_at_once_and_what_they_share_once(run: Run) -> None:
    several = ["prodigy:cosine", "adamw:hypergradient", "adamw:cosine"]
    found = json.loads(good(run("cite", *several, "--json")))
    assert [each["name"] for each in found] == ["prodigy", "cosine", "adamw", "hypergradient"]
    assert good(run("cite", *several)).count("(optimizer)") == 2
    bad(run("cite", "prodigy:cosine", "adamw:hypergradien"), "did you mean 'hypergradient'")
