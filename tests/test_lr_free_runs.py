"""Runs with learning-rate-free optimizers: no rate to give, judged and kept by the right weights, and resumed."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

import lrcontrol as lrc
from lrcontrol.citing import cite
from lrcontrol.cli import app
from lrcontrol.errors import BadInput
from lrcontrol.runs.optimizer import OPTIMIZERS
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.selection.portfolio import candidates_of, method_list
from lrcontrol.training.batched import why_not_batched
from lrcontrol.training.judging import as_judged
from lrcontrol.training.loop import train, train_all, trained_model
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.tasks.catalogue import named
from lrcontrol.training.tasks.problem import build
from test_continuing import check_equal
from test_lr_free import LR_FREE

TASK = "digits-mlp"


def spec_of(method: str, **change: Any) -> RunSpec:
    rate = {"schedulefree_sgd": 0.5, "schedulefree_adamw": 0.01}.get(method.partition(":")[0].partition("(")[0], 1.0)
    given: dict[str, Any] = {"task": TASK, "base_lr": rate, "total_steps": 40, "seed": 2}
    return RunSpec(method=method, **given | change)


@pytest.mark.parametrize("name", [*LR_FREE, "mechanic(sgd)"])
def test_a_run_goes_on_as_the_uninterrupted_one_and_keeps_what_it_was_judged_by(name: str, tmp_path: Path) -> None:
    whole = spec_of(f"{name}:warmup(0.1)+cosine", save=True)
    check_equal(whole, [7, 23], tmp_path)
    record = train(whole, weights=tmp_path)
    problem = build(named(TASK), whole.seed)
    problem.model.load_state_dict(trained_model(record, tmp_path).state_dict())
    judged = problem.evaluate(problem.validation)
    assert judged == {key: value for key, value in record.evals[-1].values.items() if not key.startswith("train_")}


def test_shared_beginnings_are_the_runs_alone() -> None:
    specs = [
        spec_of("dog:constant"),
        spec_of("dog:constant", total_steps=60, stop_step=50),
        spec_of("schedulefree_adamw:constant"),
        spec_of("schedulefree_adamw:constant", total_steps=60),
    ]
    together = {record.spec.id: record for record in train_all(specs)}
    for spec in specs:
        alone = train(spec)
        assert alone.outcome is Outcome.FINISHED
        assert together[spec.id].column("loss").tobytes() == alone.column("loss").tobytes()
        assert together[spec.id].evals[-1].values == alone.evals[-1].values


def test_looking_changes_neither_training_nor_its_statistics() -> None:
    """Batch norm is measured for the averages, and everything is put back; for others nothing is measured."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    batches = [(torch.randn(8, 3), None) for _ in range(4)]
    asked: list[tuple[int, int]] = []
    problem: Any = SimpleNamespace(model=model, batches=lambda first, last: asked.append((first, last)) or batches)
    for name in ("adamw", "prodigy", "schedulefree_adamw"):
        optimizer = make_optimizer(name, model.parameters(), 1.0 if name == "prodigy" else 0.01)
        for inputs, _ in batches:
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with as_judged(optimizer, problem):
            changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert asked == ([(0, 10)] if name == "schedulefree_adamw" else [])
        assert changed == (set(before) if name == "schedulefree_adamw" else set())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert model.training


def test_no_rate_is_needed_where_the_optimizer_finds_it() -> None:
    record = lrc.train(TASK, "prodigy:cosine", total_steps=5)
    assert record.spec.base_lr == 1.0
    for method in ("sgd:cosine", "schedulefree_adamw:constant"):
        with pytest.raises(BadInput, match="needs a base learning rate"):
            lrc.train(TASK, method, total_steps=5)


def test_candidates_have_the_one_rate_that_is_usual() -> None:
    made = candidates_of([spec_of("prodigy:cosine").method, spec_of("sgd:cosine").method])
    assert [each.base_lr for each in made if str(each.method) == "prodigy:cosine"] == [1.0]
    with pytest.raises(BadInput, match="of whose optimizer none are usual"):
        candidates_of([spec_of("schedulefree_sgd:constant").method])


def test_every_optimizer_is_listed_with_its_papers() -> None:
    listed = {each["name"]: each for each in json.loads(json.dumps(method_list()))["optimizers"]}
    assert set(listed) == set(OPTIMIZERS)
    for name in LR_FREE:
        assert any("arXiv:" in paper for paper in listed[name]["papers"])
        assert listed[name]["usual_lr"] == (None if name.startswith("schedulefree") else 1.0)
        assert msgspec.convert(listed[name]["defaults"], OPTIMIZERS[name], strict=True) == OPTIMIZERS[name]()
    assert {"adamw", "mechanic", "cosine"} == {found.name for found in cite("mechanic(adamw):cosine")}


def test_runs_of_theirs_are_not_batched() -> None:
    assert "must have one kind of optimizer, SGD or AdamW" in (why_not_batched([spec_of("prodigy:cosine")] * 2) or "")


def test_the_page_runs() -> None:
    """The Python of docs/optimizers.md, and every command line that it names."""
    page = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(block, "optimizers.md", "exec"), names)
    assert float(names["judged"].detach()) < 0.5
    assert set(names["kept"]) == {"weight", "bias"}
    assert float(names["averaged"]) < 0.5
    assert len(names["rates"]) == 100
    assert (
        min(names["rates"]) > 0 == names["scheduler"].get_last_lr()[0]
    )  # of updates that were made, and of none to come
    commands = re.findall(r"^lrcontrol .+$", page, flags=re.MULTILINE)
    for command in commands:
        app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    assert len(commands) == 3


FORGETS = """
import torch
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps=6, method="schedulefree_sgd:constant", base_lr=0.1)
def averaging(run):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = run.optimizer([weight])
    while not run.should_stop:
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    run.log(val_loss=weight.square().item())
    run.log(val_loss=weight.square().item())
"""


def test_weights_to_judge_by_that_were_forgotten_are_told_once(tmp_path: Path) -> None:
    forgets, remembers = tmp_path / "forgets.py", tmp_path / "remembers.py"
    forgets.write_text(FORGETS)
    inside = "    with lrc.evaluation_weights(optimizer):\n        run.log"
    remembers.write_text(FORGETS.replace("    run.log", inside))
    with pytest.warns(UserWarning, match="ScheduleFreeSGD trains with other weights") as told:
        lrc.train(f"{forgets}:averaging")
    assert len(told) == 1
    lrc.train(f"{remembers}:averaging")  # says nothing


def test_a_metric_of_the_wrong_weights_is_told_in_a_loop_of_ones_own() -> None:
    weight = nn.Parameter(torch.ones(1))
    for name, warned in (("dog", True), ("prodigy", False)):
        optimizer = make_optimizer(name, [weight])
        scheduler = lrc.as_torch_scheduler(optimizer, "plateau", 10)
        weight.grad = torch.ones(1)
        optimizer.step()
        if warned:
            with pytest.warns(UserWarning, match="DoG trains with other weights than a model is to be judged by"):
                scheduler.step(metrics=1.0)
        else:
            scheduler.step(metrics=1.0)
