"""The verbs, end to end on a real task: what they find, keep, resume and refuse."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lrcontrol as lrc
from contracts.task import Untouchable
from lrcontrol import api, workplace
from lrcontrol.errors import BadInput, BadText, DoesNotFit, NotAStore, OverBudget, RecordError, StoreError, UnknownName
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Record
from lrcontrol.runs.store import Store
from lrcontrol.search.search import Candidate
from lrcontrol.selection.portfolio import DEFAULT, UNTUNED, method_list
from lrcontrol.training import loop
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, Split, build


def kept(folder: Path) -> dict[str, Record]:
    with Store(folder / "runs.db", create=False) as store:
        return {record.id: record for record in store.records()}


def same(left: Record, right: Record) -> bool:
    """Equal but for seconds, columns bit for bit."""
    return (left.spec, left.outcome, left.evals, left.cost.steps, left.message, left.weights) == (
        right.spec,
        right.outcome,
        right.evals,
        right.cost.steps,
        right.message,
        right.weights,
    ) and all(left.column(name).tobytes() == right.column(name).tobytes() for name in left.columns)


def told(found: lrc.Selection) -> tuple[Any, ...]:
    """What a selection says, but for seconds."""
    return (str(found.method), found.base_lr, found.record.id, found.test, found.default_test, found.reasons)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Record:
        raise AssertionError("trained")

    monkeypatch.setattr(loop, "train_all", refuse)
    monkeypatch.setattr(workplace, "make_executor", refuse)


# select


def test_select_end_to_end_in_series_and_in_processes_makes_the_same_choice(tmp_path: Path) -> None:
    """On the real task in full: every record, reason and test metric; only seconds differ."""
    serial = lrc.select("diabetes-mlp", budget="3runs", out=tmp_path / "a", executor="serial")
    parallel = lrc.select("diabetes-mlp", budget="3runs", out=tmp_path / "b", executor="processes", workers=2)
    assert told(serial) == told(parallel)
    assert same(serial.record, parallel.record)
    left, right = kept(tmp_path / "a"), kept(tmp_path / "b")
    assert set(left) == set(right)
    assert all(same(left[run], right[run]) for run in left)
    assert serial.choice.record.rank_key <= serial.choice.default.rank_key
    assert sum(record.cost.steps for record in left.values()) == serial.choice.spent <= 3 * 800
    lines = [(tmp_path / name / "selection.json").read_text() for name in "ab"]
    assert lines[0] == lines[1]


def test_the_test_split_is_looked_at_once_and_last(
    short: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training is given a test split that cannot be touched; afterwards it is evaluated once a model shown."""
    real, looks = loop.build, []
    evaluate = Problem.evaluate

    def watched(problem: Problem, split: Split) -> dict[str, float]:
        looks.append("test" if split is problem.test else "validation" if split is problem.validation else "train")
        return evaluate(problem, split)

    def without_test(*arguments: Any) -> Problem:
        return dataclasses.replace(real(*arguments), test=Untouchable())  # type: ignore[arg-type]

    def with_test(*arguments: Any, **named: Any) -> dict[str, float]:
        monkeypatch.setattr(loop, "build", real)
        looks.append("chosen")
        return measured(*arguments, **named)

    measured = loop.test_metrics
    monkeypatch.setattr(Problem, "evaluate", watched)
    monkeypatch.setattr(loop, "build", without_test)
    monkeypatch.setattr(loop, "test_metrics", with_test)
    found = lrc.select(short, budget="6runs", out=tmp_path, executor="serial")
    chosen = looks.index("chosen")
    assert set(looks[:chosen]) == {"validation"}
    assert looks[chosen:] == ["chosen", "test"] * 2, "the chosen model, and the default's"
    found.report(tmp_path / "report.html")
    assert lrc.load_selection(tmp_path).test == found.test
    assert len(looks) == chosen + 4, "what was measured is read back"


def test_selecting_again_runs_nothing_and_says_the_same(
    short: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = lrc.select(short, budget="6runs", out=tmp_path, executor="serial")
    records, document = kept(tmp_path), (tmp_path / "selection.json").read_bytes()
    request.getfixturevalue("no_training")
    seen: list[Record] = []
    planned: list[tuple[int, int]] = []
    again = lrc.select(
        short,
        budget="6runs",
        out=tmp_path,
        executor="serial",
        seen=seen.append,
        planned=lambda *told: planned.append(told),
    )
    assert told(again) == told(first)
    assert seen == []
    assert planned[0][1] == first.choice.spent
    assert kept(tmp_path) == records
    assert (tmp_path / "selection.json").read_bytes() == document


def test_load_selection_gives_what_select_gave(short: str, tmp_path: Path) -> None:
    first = lrc.select(short, budget="6runs", seed=2, out=tmp_path, executor="serial")
    again = lrc.load_selection(tmp_path)
    assert told(again) == told(first)
    assert same(again.record, first.record)
    assert (again.task, again.budget, again.seed, again.choice.stages) == (
        first.task,
        first.budget,
        first.seed,
        first.choice.stages,
    )
    assert repr(again) == repr(first)
    weights = [each.model().state_dict() for each in (first, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_selection_that_was_ended_anywhere_goes_on_and_repeats_no_run(
    short: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lrc.select(short, budget="4runs", out=tmp_path / "whole", executor="serial")
    train_all, ran = loop.train_all, []

    def counted(specs: Any, **named: Any) -> Iterator[Record]:
        for record in train_all(specs, **named):
            ran.append(record.id)
            yield record

    monkeypatch.setattr(loop, "train_all", counted)

    told_of: list[Record] = []

    def interrupt(record: Record) -> None:
        told_of.append(record)
        if len(told_of) in (1, 3):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lrc.select(short, budget="4runs", out=tmp_path / "cut", executor="serial", seen=interrupt)
        with pytest.raises(BadInput, match=r"selection\.json"):
            lrc.load_selection(tmp_path / "cut")
    found = lrc.select(short, budget="4runs", out=tmp_path / "cut", executor="serial")
    assert told(found) == told(whole)
    assert len(ran) == len(set(ran)) == len(kept(tmp_path / "whole"))


def test_a_larger_budget_in_the_same_folder_uses_what_is_known(short: str, tmp_path: Path) -> None:
    small = lrc.select(short, budget="2runs", out=tmp_path, executor="serial")
    before = kept(tmp_path)
    seen: list[Record] = []
    large = lrc.select(short, budget="5runs", out=tmp_path, executor="serial", seen=seen.append)
    assert large.choice.default.id == small.choice.default.id
    assert not {record.id for record in seen} & set(before)
    assert large.choice.spent <= 5 * 60


def test_given_candidates_are_what_is_chosen_between(short: str, tmp_path: Path) -> None:
    entered = [Candidate("sgd:rex", 0.05), Candidate("adamw:linear", 0.01)]  # type: ignore[arg-type]
    found = lrc.select(short, budget="3runs", out=tmp_path, executor="serial", candidates=entered)
    ran = {(str(record.spec.method), record.spec.base_lr) for record in kept(tmp_path).values()}
    assert ran == {("sgd:rex", 0.05), ("adamw:linear", 0.01), ("adamw:cosine", 0.001)}
    assert told(lrc.load_selection(tmp_path)) == told(found)
    alone = lrc.select(short, budget="3runs", out=tmp_path / "alone", executor="serial", candidates=[DEFAULT])
    assert alone.record.id == alone.choice.default.id
    with pytest.raises(BadInput, match="`candidates` must hold at least one"):
        lrc.select(short, budget="3runs", out=tmp_path / "none", executor="serial", candidates=[])


def test_what_needs_no_rate_is_run_in_full_where_nothing_is_named_and_only_there(short: str, tmp_path: Path) -> None:
    found = lrc.select(short, budget="3runs", out=tmp_path / "usual", executor="serial")
    ran = {Candidate(record.spec.method, record.spec.base_lr) for record in kept(tmp_path / "usual").values()}
    assert ran == {DEFAULT, *UNTUNED}
    usable = [record for record in kept(tmp_path / "usual").values() if record.usable]
    assert usable
    assert all(record.weights is not None for record in usable)
    assert told(lrc.load_selection(tmp_path / "usual")) == told(found)
    assert any("were run in full as the plain default was" in reason for reason in found.reasons)
    assert "chosen from 3 methods" in found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    named: list[dict[str, Any]] = [
        {"methods": ["adamw:rex"]},
        {"base_lrs": [0.01]},
        {"candidates": [Candidate(method("sgd:rex"), 0.1)]},
    ]
    for place, asked in enumerate(named):
        lrc.select(short, budget="3runs", out=tmp_path / str(place), executor="serial", **asked)
        ran = {Candidate(record.spec.method, record.spec.base_lr) for record in kept(tmp_path / str(place)).values()}
        assert DEFAULT in ran
        assert not ran & set(UNTUNED)


def test_a_folder_keeps_its_task(short: str, tmp_path: Path) -> None:
    """A selection for another task is refused there, and the first is left as it is."""
    lrc.select(short, budget="1run", out=tmp_path, executor="serial")
    before = (tmp_path / "selection.json").read_bytes()
    with pytest.raises(StoreError, match="holds a selection for"):
        lrc.select("digits-mlp", budget="1run", out=tmp_path, executor="serial")
    assert (tmp_path / "selection.json").read_bytes() == before


def test_every_argument_of_select_moves_it(short: str, tmp_path: Path) -> None:
    base = lrc.select(short, budget="2runs", out=tmp_path / "0", executor="serial")
    seeded = lrc.select(short, budget="2runs", seed=1, out=tmp_path / "1", executor="serial")
    assert seeded.test != base.test
    assert (tmp_path / "1" / "weights" / f"{seeded.record.id}.safetensors").is_file()
    by_steps = lrc.select(short, budget=Budget(120, 60), out=tmp_path / "2", executor="serial")
    assert told(by_steps) == told(base)


@pytest.mark.parametrize(
    ("bad", "kind", "match"),
    [
        ({"task": "diabetes-mpl"}, UnknownName, "did you mean 'diabetes-mlp'"),
        ({"task": None}, UnknownName, "unknown task None"),
        ({"budget": "20"}, BadInput, "like '20runs'"),
        ({"budget": "0runs"}, BadInput, "at least one step"),
        ({"budget": "-3runs"}, BadInput, "like '20runs'"),
        ({"budget": "nanruns"}, BadInput, "like '20runs'"),
        ({"budget": "1e3steps"}, BadInput, "like '20runs'"),
        ({"budget": "9" * 400 + "runs"}, BadInput, "at most"),
        ({"budget": None}, BadInput, "like '20runs'"),
        ({"budget": "0.99runs"}, OverBudget, "at least one full run"),
        ({"budget": "59steps"}, OverBudget, "at least one full run"),
        ({"seed": -1}, BadInput, "`seed`"),
        ({"seed": 2**31}, BadInput, "`seed`"),
        ({"seed": 1.0}, BadInput, "`seed`"),
        ({"seed": True}, BadInput, "`seed`"),
        ({"executor": "process"}, UnknownName, "did you mean 'processes'"),
        ({"executor": "processes", "workers": 0}, BadInput, "`workers`"),
    ],
    ids=lambda bad: str(bad)[:30],
)
def test_what_select_cannot_do_is_refused_before_anything_runs(
    short: str,
    tmp_path: Path,
    no_training: None,
    bad: dict[str, Any],
    kind: type[Exception],
    match: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "workers" in bad:
        monkeypatch.undo()
    given = {"task": short, "budget": "2runs", "out": tmp_path, "executor": "serial"} | bad
    with pytest.raises(kind, match=match):
        lrc.select(given.pop("task"), **given)
    assert not (tmp_path / "selection.json").exists()


def test_a_folder_that_cannot_be_made_is_refused(short: str, below_a_file: Path, no_training: None) -> None:
    for call in (
        lambda: lrc.select(short, budget="2runs", out=below_a_file),
        lambda: api.search(short, budget="2runs", out=below_a_file),
        lambda: lrc.train(short, "sgd:rex", base_lr=0.1, out=below_a_file),
    ):
        with pytest.raises(StoreError, match="cannot be made"):
            call()
    assert below_a_file.parent.read_text() == "mine"


def test_a_store_of_something_else_is_refused_and_left_alone(short: str, tmp_path: Path, no_training: None) -> None:
    (tmp_path / "runs.db").write_text("shopping list\n" * 100)
    with pytest.raises(NotAStore):
        lrc.select(short, budget="2runs", out=tmp_path)
    assert (tmp_path / "runs.db").read_text() == "shopping list\n" * 100


def test_a_selection_whose_store_is_gone_is_refused(short: str, tmp_path: Path) -> None:
    lrc.select(short, budget="1run", out=tmp_path, executor="serial")
    (tmp_path / "runs.db").unlink()
    with pytest.raises(StoreError, match="no store"):
        lrc.load_selection(tmp_path)
    with Store(tmp_path / "runs.db"):
        pass
    with pytest.raises(RecordError, match="must be finished"):
        lrc.load_selection(tmp_path)


def test_damaged_weights_are_never_given_as_the_model(short: str, tmp_path: Path) -> None:
    found = lrc.select(short, budget="1run", out=tmp_path, executor="serial")
    path = tmp_path / "weights" / f"{found.record.id}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(RecordError, match="SHA-256"):
        lrc.load_selection(tmp_path).model()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"text"', "{}", '{"format": "lrcontrol/selection", "version": 2}']
)
def test_a_selection_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(BadInput, match=r"selection\.json"):
        lrc.load_selection(tmp_path)


def test_a_selection_with_a_part_missing_or_wrong_is_refused(short: str, tmp_path: Path) -> None:
    lrc.select(short, budget="1run", out=tmp_path, executor="serial")
    whole = json.loads((tmp_path / "selection.json").read_bytes())
    parts = whole["selection"]
    for name in ("task", "budget", "seed", "race", "test"):
        for value in (None, "missing", [1], {"a": 1}):
            changed = {key: value for key, value in parts.items() if key != name}
            if value != "missing":
                changed[name] = value
            (tmp_path / "selection.json").write_text(json.dumps({**whole, "selection": changed}))
            with pytest.raises(BadInput):
                lrc.load_selection(tmp_path)


# train


def test_train_gives_the_record_of_its_spec(short: str) -> None:
    record = lrc.train(short, "sgd:warmup(0.1)+rex", base_lr=0.1, seed=4)
    assert (record.spec.total_steps, record.spec.seed, record.spec.save) == (60, 4, False)
    assert same(record, loop.train(record.spec))
    assert lrc.train(short, lrc.method("sgd:warmup(0.1)+rex"), base_lr=0.1, seed=4).spec == record.spec


def test_train_with_a_folder_keeps_the_run_and_does_not_repeat_it(
    short: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = lrc.train(short, "sgd:rex", base_lr=0.1, out=tmp_path)
    assert (tmp_path / "weights" / f"{first.id}.safetensors").is_file()
    request.getfixturevalue("no_training")
    again = lrc.train(short, "sgd:rex", base_lr=0.1, out=tmp_path)
    assert same(again, first)
    assert again.cost == first.cost


@pytest.mark.parametrize(
    ("bad", "kind", "match"),
    [
        ({"task": "digits"}, UnknownName, "unknown task 'digits'"),
        ({"method": "adam:cosine"}, UnknownName, "did you mean 'adamw'"),
        ({"method": "adamw:cosin"}, UnknownName, "did you mean 'cosine'"),
        ({"method": "adamw"}, BadText, "expected ':'"),
        ({"method": 3}, BadInput, "a method must be"),
        ({"method": "sgd:warmup(61)+rex"}, DoesNotFit, "61 steps"),
        ({"method": "sgd(momentum=1):rex"}, BadInput, "`?momentum`?"),
        (
            {"method": "sgd:rex, weight_decay=linear"},
            BadInput,
            r"0 in .*; give it some, as in sgd\(weight_decay=0.01\)",
        ),
        (
            {"method": "mechanic(sgd):clip(rex, weight_decay=rex)", "base_lr": 1},
            BadInput,
            "multiplies that of the optimizer",
        ),
        (
            {"method": "dog:rex, momentum=constant(0.9)", "base_lr": 1},
            BadInput,
            "momentum needs an optimizer that has some, got dog",
        ),
        ({"base_lr": 0}, BadInput, "`base_lr`"),
        ({"base_lr": "0.1"}, BadInput, "`base_lr`"),
        ({"total_steps": 0}, BadInput, "`total_steps`"),
        ({"total_steps": 1.5}, BadInput, "`total_steps`"),
        ({"seed": -1}, BadInput, "`seed`"),
    ],
    ids=lambda bad: str(bad)[:30],
)
def test_what_train_cannot_do_is_refused(short: str, bad: dict[str, Any], kind: type[Exception], match: str) -> None:
    given = {"task": short, "method": "sgd:rex", "base_lr": 0.1} | bad
    with pytest.raises(kind, match=match):
        lrc.train(given.pop("task"), given.pop("method"), **given)


# search


def test_a_grid_is_run_in_full_as_far_as_the_budget_reaches(short: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"methods": ["sgd:rex", "adamw:rex"], "base_lrs": [0.1, 0.01], "executor": "serial"}
    found = api.search(short, "grid", budget="10runs", out=tmp_path / "a", **given)
    (stage,) = found.study.stages
    assert sorted((str(each.spec.method), each.spec.base_lr) for each in stage.records) == [
        ("adamw:rex", 0.01),
        ("adamw:rex", 0.1),
        ("sgd:rex", 0.01),
        ("sgd:rex", 0.1),
    ]
    assert found.study.spent == 240
    assert found.study.chosen is not None
    assert found.study.chosen.rank_key == min(record.rank_key for record in stage.records)
    poor = api.search(short, "grid", budget="3runs", out=tmp_path / "b", **given)
    assert poor.study.spent == 180


def test_random_draws_spend_the_budget_between_the_rates_given(short: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"base_lrs": [0.3, 0.001, 0.03], "budget": "4.5runs", "executor": "serial"}
    found = api.search(short, "random", seed=5, out=tmp_path / "a", **given)
    (stage,) = found.study.stages
    assert len(stage.records) == 4
    assert all(0.001 <= record.spec.base_lr <= 0.3 for record in stage.records)
    assert all(record.spec.seed == 5 for record in stage.records)
    other = api.search(short, "random", seed=6, out=tmp_path / "b", **given)
    assert {r.spec.base_lr for r in other.study.stages[0].records} != {r.spec.base_lr for r in stage.records}


def test_halving_races_over_compressed_lengths(short: str, tmp_path: Path) -> None:
    found = api.search(short, budget="4runs", out=tmp_path, executor="serial")
    assert [stage.total_steps for stage in found.study.stages] == [20, 60]
    assert found.study.spent <= 240
    assert not any(record.spec.is_cut for stage in found.study.stages for record in stage.records)
    best = min(record.rank_key for record in found.study.stages[-1].records)
    assert found.study.chosen is not None
    assert found.study.chosen.rank_key == best


def test_a_search_in_which_all_diverge_ends_without_a_choice(short: str, tmp_path: Path) -> None:
    for strategy in ("grid", "random", "halving"):
        found = api.search(
            short,
            strategy,  # type: ignore[arg-type]
            methods=["sgd:constant"],
            base_lrs=[1e20, 1e21, 1e22],
            budget="2runs",
            out=tmp_path / strategy,
            executor="serial",
        )
        assert found.study.chosen is None
        assert found.study.spent > 0
    assert found.report(tmp_path / "page.html").is_file()


@pytest.mark.parametrize(
    ("bad", "kind", "match"),
    [
        ({"task": "digits-cn"}, UnknownName, "did you mean 'digits-cnn'"),
        ({"strategy": "gird"}, UnknownName, "did you mean 'grid'"),
        ({"methods": ["sgd:cosin"]}, UnknownName, "did you mean 'cosine'"),
        ({"methods": ["sgd:warmup(61)+rex"]}, DoesNotFit, "61 steps"),
        ({"methods": ["sgd:rex, weight_decay=linear"]}, BadInput, "which is 0 in sgd:rex, weight_decay=linear"),
        ({"base_lrs": [0.1, -0.1]}, BadInput, "`base_lr`"),
        ({"base_lrs": []}, BadInput, "at least one"),
        ({"budget": "0.5runs"}, OverBudget, "at least one full run"),
        ({"budget": "ten"}, BadInput, "like '20runs'"),
        ({"seed": -1}, BadInput, "`seed`"),
        ({"executor": "dask"}, UnknownName, "unknown executor 'dask'"),
    ],
    ids=lambda bad: str(bad)[:30],
)
def test_what_search_cannot_do_is_refused_before_anything_runs(
    short: str, tmp_path: Path, no_training: None, bad: dict[str, Any], kind: type[Exception], match: str
) -> None:
    given = {"task": short, "strategy": "grid", "budget": "2runs", "out": tmp_path, "executor": "serial"} | bad
    with pytest.raises(kind, match=match):
        api.search(given.pop("task"), given.pop("strategy"), **given)


def test_a_schedule_that_only_fits_the_full_horizon_is_refused_before_a_race(short: str, tmp_path: Path) -> None:
    """Fixed lengths do not compress: that is said before anything runs, and charged to nobody."""
    with pytest.raises(DoesNotFit, match=r"warmup\(30\)\+rex over \d+ steps"):
        api.search(
            short,
            methods=["sgd:warmup(30)+rex", "sgd:rex"],
            base_lrs=[0.1, 0.05],
            budget="2runs",
            out=tmp_path,
            executor="serial",
        )
    assert not (tmp_path / "runs.db").exists()


def test_the_method_list_is_json_and_names_what_there_is() -> None:
    listed = json.loads(json.dumps(method_list()))
    ours = "cocob dadapt_adam dadapt_sgd dog dowg ldog mechanic prodigy schedulefree_adamw schedulefree_sgd"
    assert {each["name"] for each in listed["optimizers"]} == {"sgd", "adamw", "own", *ours.split()}
    alone = "alignment greedy hypergradient l4 learned plateau polyak"
    around = "clip snapshots stop_early stop_on_divergence whole_cycles"
    assert {each["name"] for each in listed["controls"]} == {*alone.split(), *around.split()}
    every = [each for kind in ("optimizers", "schedules", "controls") for each in listed[kind]]
    assert all({"kind", "name", "papers", "needs"} <= each.keys() for each in every)
    prices = {each["name"]: each["price"] for each in listed["controls"]}
    assert (prices["plateau"], prices["alignment"], prices["learned"], prices["clip"]) == (1, 2, 5, 1)
    assert {each["name"] for each in listed["optimizers"] if each["step_cost"] is None} == {"own"}
    calibrated = {each["name"]: each["calibrated"] for each in listed["optimizers"] if each["calibrated"]}
    assert {name: method(text).optimizer.__struct_config__.tag for name, text in calibrated.items()} == {
        name: name for name in ("dog", "mechanic", "prodigy")
    }
    assert "rex" in {each["name"] for each in listed["schedules"]}
    assert len(listed["portfolio"]) == 60
    assert listed["default"] == {"method": str(DEFAULT.method), "base_lr": DEFAULT.base_lr}
    assert all(each["about"] for kind in ("optimizers", "schedules") for each in listed[kind])


def test_the_short_task_is_the_real_one_but_for_its_length(short: str) -> None:
    assert TASKS[short].full_steps == 60
    assert len(build(TASKS[short], 0).train) == TASKS[short].sizes[0]


def test_a_failed_run_is_tried_again_when_the_study_goes_on(short: str, tmp_path: Path) -> None:
    """What made runs fail (here: no folder for weights can be made) is gone, and the same call succeeds."""
    obstacle = tmp_path / "weights"
    obstacle.write_text("in the way")
    with pytest.raises(RecordError, match="no full run"):
        lrc.select(short, budget="2runs", out=tmp_path, executor="serial")
    obstacle.unlink()
    found = lrc.select(short, budget="2runs", out=tmp_path, executor="serial")
    assert found.record.usable
    with Store(tmp_path / "runs.db") as store:
        assert all(record.usable for record in store.records())


def test_the_method_of_a_tasks_default_has_its_rate_where_none_is_given(short: str) -> None:
    """However it is written; another method, which differs in one number, needs one."""
    for given in (None, "adamw:cosine", "adamw(beta1=0.9) : cosine"):
        assert api.train(short, given, total_steps=5).spec.base_lr == 0.001
    assert api.train(short, "adamw:cosine", base_lr=0.01, total_steps=5).spec.base_lr == 0.01
    with pytest.raises(BadInput, match=r"needs a base learning rate, got adamw\(beta1=0\.8\):cosine without one"):
        api.train(short, "adamw(beta1=0.8):cosine", total_steps=5)


def test_a_small_rate_for_an_optimizer_that_finds_its_own_is_told(short: str) -> None:
    with pytest.warns(
        UserWarning, match=r"finds its rate itself, and what it finds is multiplied by 0\.001; 1 is usual"
    ):
        api.train(short, "prodigy:cosine", base_lr=1e-3, total_steps=5)
    api.train(short, "prodigy:cosine", base_lr=1.0, total_steps=5)  # says nothing
