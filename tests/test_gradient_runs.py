"""Runs under controls that look at updates: the twin of alignment, loops, scripts, checkpoints, budgets, executors."""

import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import lrcontrol as lrc
from lrcontrol import api
from lrcontrol.cli import app
from lrcontrol.errors import BadInput
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.search.search import Candidate
from lrcontrol.selection.race import plan_race
from lrcontrol.training import under_way
from lrcontrol.training.batched import train_batched, why_not_batched
from lrcontrol.training.loop import train, trained_model
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.scripts import carry_out_script
from lrcontrol.training.tasks import bundled, catalogue
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.own import as_task
from lrcontrol.training.tasks.problem import Problem, Split, build
from lrcontrol.training.together import gain_of
from test_continuing import check_equal
from test_lr_free import LR_FREE
from test_scripts import asked, script_task

TASK = "digits-mlp"

CONTROLS = (
    "hypergradient(beta=0.2)",
    "hypergradient(beta=0.5, rule=additive)",
    "polyak",
    "l4",
    "greedy(factor=0.5, patience=0, window=1)",
    "clip(warmup(0.2)+cosine, norm=0.5)",
    "warmup(0.1)+polyak",
    "cosine*l4",
    "clip(l4)",
    "stop_on_divergence(clip(hypergradient))",
    "max(cosine*hypergradient, 0.3)",
    "min(polyak, warmup(0.5)+constant)",
    "stop_early(snapshot(3)*polyak, patience=1)",
)


def spec_of(control: str, optimizer: str = "sgd", **more: Any) -> RunSpec:
    rate = 0.1 if optimizer.startswith("sgd") else 0.003
    return RunSpec(**{"task": TASK, "method": f"{optimizer}:{control}", "base_lr": rate, "total_steps": 30, **more})


# ---- a loop of one's own, and a script, are the run ----


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_loop_of_ones_own_is_the_run_to_the_bit(control: str, optimizer: str) -> None:
    spec = spec_of(control, optimizer)
    record = train(spec)
    known = catalogue.task(TASK)
    problem, looks = build(known, spec.seed), under_way.grid(known, spec)
    made = make_optimizer(spec.method.optimizer, problem.model.train().parameters(), spec.base_lr)
    scheduler = lrc.as_torch_scheduler(made, control, spec.total_steps, direction="maximize")
    rates, losses = [], []
    for step in range(spec.total_steps):
        ((inputs, targets),) = problem.batches(step, step + 1)
        loss = problem.loss(problem.model(inputs), targets)
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        scheduler.tell(loss=loss)
        made.step()
        rates.append(made.param_groups[0]["lr"])
        losses.append(loss.item())
        metrics = {"metrics": problem.evaluate(problem.validation)["accuracy"]} if step + 1 in looks else {}
        scheduler.step(loss=loss, **metrics)
        if scheduler.stop is not None:
            break
    assert record.column("lr").tolist() == np.array(rates, np.float32).tolist()
    assert record.column("loss").tolist() == np.array(losses, np.float32).tolist()
    assert len(set(rates)) > 5
    assert record.outcome is (Outcome.FINISHED if len(rates) == spec.total_steps else Outcome.STOPPED)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_script_that_tells_its_loss_before_the_update_is_the_run_to_the_bit(control: str) -> None:
    known, ours = catalogue.task(TASK), spec_of(control, "adamw")

    def script(run: lrc.Run) -> None:
        problem = build(known, run.seed)
        looks = under_way.grid(known, ours) | {run.stop_step}
        made = run.optimizer(problem.model.train().parameters())
        while not run.should_stop:
            ((inputs, targets),) = problem.batches(run.step, run.step + 1)
            loss = problem.loss(problem.model(inputs), targets)
            made.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            run.log_loss(loss)
            made.step()
            if run.step in looks:
                run.log(problem.evaluate(problem.validation))
        run.log(problem.evaluate(problem.validation))

    spec = asked(f"adamw:{control}", base_lr=ours.base_lr, total_steps=ours.total_steps)
    theirs = carry_out_script(spec, script_task("accuracy", "maximize", "adamw:cosine"), script)
    expected = train(ours)
    assert theirs.outcome is expected.outcome
    for name in ("lr", "loss"):
        assert theirs.column(name).tolist() == expected.column(name).tolist()


def test_a_script_that_tells_no_loss_or_cannot_have_the_control_is_told() -> None:
    def script(run: lrc.Run) -> None:
        weight = nn.Parameter(torch.ones(1))
        made = run.steer(torch.optim.SGD([weight], lr=1.0))
        while not run.should_stop:
            weight.grad = torch.ones(1)
            made.step()
            run.log_loss(weight.sum())
        run.log(val_loss=1.0)

    with pytest.raises(BadInput, match=r"got none; call run.log_loss\(loss\) before optimizer.step\(\)"):
        carry_out_script(asked("own:polyak"), script_task(), script)
    with pytest.raises(BadInput, match="goes through every batch more than once"):
        carry_out_script(asked("own:alignment"), script_task(), script)
    assert carry_out_script(asked("own:hypergradient"), script_task(), script).outcome is Outcome.FINISHED


def test_a_script_that_compiles_its_update_is_told() -> None:
    """Its rate would be the script's own, whatever the record says."""

    def script(run: lrc.Run) -> None:
        weight = nn.Parameter(torch.ones(1))
        step = torch.compile(run.steer(torch.optim.SGD([weight], lr=1.0)).step, backend="eager")
        while not run.should_stop:
            weight.grad = torch.ones(1)
            step()
        run.log(val_loss=1.0)

    for text in ("own:cosine", "own:hypergradient"):
        with pytest.raises(BadInput, match=r"call optimizer.step\(\) outside of torch.compile"):
            carry_out_script(asked(text), script_task(), script)


# ---- alignment, by a loop of its own ----


class Wide(nn.Module):
    """A model of float64 with dropout and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Flatten(),
                nn.Linear(64, 12, bias=False),
                nn.BatchNorm1d(12),
                nn.Tanh(),
                nn.Dropout(0.3),
                nn.Linear(12, 10),
            )
        ).double()

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layers(images)
        return outputs


@as_task(metric="loss", direction="minimize", full_steps=200)
def wide(seed: int) -> Problem:
    torch.manual_seed(seed)
    parts = [Split(each.inputs.double(), each.targets) for each in bundled.digits()]
    return Problem(Wide(), *parts, functional.cross_entropy, accuracy, batch_size=32, seed=seed)


@as_task(metric="loss", direction="minimize", full_steps=40)
def exploding(seed: int) -> Problem:
    """Whose gradients are not finite from the eleventh update on."""
    torch.manual_seed(seed)
    parts = [Split(each.inputs, each.targets) for each in bundled.digits()]
    model, calls = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), [0]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        calls[0] += outputs.requires_grad
        found = functional.cross_entropy(outputs, targets)
        return found + (outputs * 0).sum().abs().sqrt() if calls[0] > 10 else found

    return Problem(model, *parts, loss, accuracy, batch_size=32, seed=seed)


def followed(spec: RunSpec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], nn.Module]:
    """The rates of a run as its optimizer had them, in float64, and the model it ended with."""
    seen: list[float] = []

    def watched(*arguments: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(*arguments)
        optimizer.register_step_pre_hook(lambda it, *_: seen.append(it.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(under_way, "make_optimizer", watched)
    return seen, trained_model(train(spec, weights=folder), folder)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("prior", [0.0, 1.0, 5.0])
def test_alignment_is_its_sums_over_gradients_taken_twice(
    optimizer: str, prior: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two models side by side, one an update behind, with the same dropout; statistics are of the first alone."""
    base = 0.02 if optimizer == "sgd" else 0.002
    spec = spec_of(f"alignment(prior={prior:g})", optimizer, task=wide.name, total_steps=200, base_lr=base, save=True)
    problem, behind = build(catalogue.task(wide.name), spec.seed), Wide().train()
    torch.manual_seed(spec.seed)
    model = build(catalogue.task(wide.name), spec.seed).model.train()
    parameters = [*model.parameters()]
    made = make_optimizer(spec.method.optimizer, parameters, base)
    multiplier, fall, bend, first, rates = 1.0, 0.0, 0.0, None, []
    previous: list[Tensor] = []
    for step in range(spec.total_steps):
        ((inputs, targets),) = problem.batches(step, step + 1)
        random = torch.get_rng_state()
        gradients = torch.autograd.grad(problem.loss(model(inputs), targets), parameters)
        after = torch.get_rng_state()
        if previous:
            with torch.no_grad():
                for each, value in zip(behind.parameters(), previous, strict=True):
                    each.copy_(value)
            torch.set_rng_state(random)
            old = torch.autograd.grad(problem.loss(behind(inputs), targets), [*behind.parameters()])
            torch.set_rng_state(after)
            change = [now.detach() - then for now, then in zip(parameters, previous, strict=True)]
            slope = sum(float((g * u).sum()) for g, u in zip(gradients, change, strict=True)) / multiplier
            turn = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(gradients, old, strict=True)))
            way = math.sqrt(sum(float(u.square().sum()) for u in change))
            curvature = turn * way / multiplier**2
            first = curvature if first is None else first
            fall, bend = fall - slope, bend + curvature
            multiplier = min(max((fall + prior * first) / (bend + prior * first), 1e-3), 1e3)
        previous = [each.detach().clone() for each in parameters]
        made.param_groups[0]["lr"] = base * multiplier
        rates.append(base * multiplier)
        for each, gradient in zip(parameters, gradients, strict=True):
            each.grad = gradient
        made.step()
    found, ended = followed(spec, tmp_path, monkeypatch)
    assert found == pytest.approx(rates, rel=1e-9)
    assert max(rates) > 1.3 * base or min(rates) < base / 1.3
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ended.state_dict()[name], value, rtol=1e-9, atol=1e-12, msg=name)


# ---- checkpoints ----


@pytest.mark.parametrize(
    "method", ["sgd:alignment", "adamw:alignment", *(f"sgd:{each}" for each in CONTROLS[:9]), "adamw:l4"]
)
def test_a_run_goes_on_from_any_update_as_the_uninterrupted_one(method: str, tmp_path: Path) -> None:
    spec = RunSpec(task=TASK, method=method, base_lr=0.05, total_steps=9, save=True)
    check_equal(spec, list(range(1, 9)), tmp_path)


def test_dropout_and_batch_norm_go_on_under_a_second_gradient(tmp_path: Path) -> None:
    check_equal(spec_of("alignment", "adamw", task=wide.name, total_steps=8, save=True), [3, 5], tmp_path)


@pytest.mark.parametrize("name", LR_FREE)
def test_the_hypergradient_goes_with_optimizers_that_find_their_rate(name: str, tmp_path: Path) -> None:
    rate = {"schedulefree_sgd": 0.5, "schedulefree_adamw": 0.01}.get(name, 1.0)
    spec = RunSpec(task=TASK, method=f"{name}:hypergradient(beta=0.2)", base_lr=rate, total_steps=8, save=True)
    check_equal(spec, [3], tmp_path)
    assert len(set(train(spec, weights=tmp_path).column("lr").tolist())) >= 7  # mechanic begins at 0


# ---- what cannot be, and what comes of it ----


@pytest.mark.parametrize("control", ["polyak", "l4", "alignment", "cosine*l4"])
def test_two_that_find_the_rate_are_refused(control: str) -> None:
    for name in LR_FREE:
        with pytest.raises(
            BadInput, match=f"finds the rate itself, so its optimizer must be sgd or adamw, got {name}"
        ):
            method(f"{name}:{control}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hypergradient(beta=0)", "beta"),
        ("hypergradient(beta=1)", "beta"),
        ("hypergradient(floor=2)", "floor"),
        ("hypergradient(ceiling=0.5)", "ceiling"),
        ("polyak(c=0)", "c"),
        ("polyak(growth=0.5)", "growth"),
        ("polyak(period=0)", "period"),
        ("polyak(lowest=1e999)", "lowest"),
        ("l4(alpha=1)", "alpha"),
        ("l4(gamma=0)", "gamma"),
        ("l4(memory=0.5)", "memory"),
        ("l4(ceiling=0)", "ceiling"),
        ("alignment(prior=-1)", "prior"),
        ("alignment(floor=0)", "floor"),
        ("alignment(ceiling=0)", "ceiling"),
        ("clip(cosine, norm=0)", "norm"),
        ("clip(polyak, norm=-1)", "norm"),
    ],
)
def test_nonsense_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(BadInput, match=f"`?{named}`?"):
        method(f"sgd:{text}")


@pytest.mark.parametrize("control", ["hypergradient", "polyak", "l4", "alignment", "greedy", "clip(polyak)"])
def test_gradients_that_are_not_finite_end_a_run_as_diverged(control: str) -> None:
    record = train(spec_of(control, task=exploding.name, total_steps=40))
    assert record.outcome is Outcome.DIVERGED
    assert 5 <= record.cost.steps <= 13  # of a second gradient an update, from the sixth on
    assert np.isfinite(record.column("loss")[:5]).all()


# ---- what it costs, and where it runs ----


def test_an_update_under_alignment_is_charged_twice() -> None:
    record = train(spec_of("warmup(0.2)+clip(alignment)", total_steps=10))
    assert (record.cost.steps, record.charged, record.spec.charge) == (10, 20, 20)
    for control in CONTROLS:
        assert spec_of(control).charge == 30


@pytest.mark.parametrize("runs", [1, 2, 3, 5, 12])
def test_a_budget_is_never_overspent(runs: int) -> None:
    """Whatever a race may come to, when every run of it is made in full."""
    texts = ["sgd:alignment", "sgd:cosine", "adamw:alignment", "adamw:rex"]
    entered = [Candidate(text, rate) for text in texts for rate in (0.1, 0.01, 0.001)]
    task, budget = catalogue.task(TASK), Budget(runs * 1980, 1980)
    race = plan_race(task, budget, entered, Candidate("adamw:cosine", 1e-3), 0)
    assert race.cost <= budget.steps


def test_a_search_with_a_second_gradient_keeps_to_its_budget(short: str, tmp_path: Path) -> None:
    methods = ["sgd:alignment", "sgd:cosine", "sgd:polyak"]
    for strategy in ("grid", "halving"):
        found = api.search(
            short,
            strategy,
            methods=methods,
            base_lrs=(0.1, 0.01),
            budget="5runs",
            executor="serial",
            out=tmp_path / strategy,
        )
        charged = sum(record.charged for stage in found.study.stages for record in stage.records)
        assert 0 < charged <= 5 * 60
        assert charged == found.study.spent


def test_such_runs_are_not_trained_at_once_but_one_after_the_other() -> None:
    for control in (*CONTROLS, "alignment"):
        pair = [spec_of(control, base_lr=rate) for rate in (0.1, 0.05)]
        reason = why_not_batched(pair)
        if control.startswith("greedy"):
            assert reason is None
            continue
        assert reason is not None
        assert ("leaves gradients alone" in reason) or ("keeps others" in reason)
        with pytest.raises(BadInput, match="runs that are batched must"):
            train_batched(pair)
    told = gain_of([spec_of("polyak", base_lr=rate, total_steps=3) for rate in (0.1, 0.05)])
    assert told.times == 1.0
    assert "one after the other" in told.told


def test_greedy_among_others_at_once_is_greedy_alone() -> None:
    specs = [spec_of("greedy(factor=0.5, patience=1, window=3)", base_lr=rate) for rate in (0.1, 0.05)]
    for record in train_batched(specs):
        alone = train(record.spec)
        assert record.column("lr").tolist() == alone.column("lr").tolist()
        assert len(set(alone.column("lr").tolist())) > 2


def test_the_page_runs() -> None:
    """The Python of docs/controls.md, its script, and every command line that it names."""
    page = (Path(__file__).parents[1] / "docs" / "controls.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(block, "controls.md", "exec"), names)
    with torch.no_grad():
        assert float((names["model"](names["inputs"]) - names["targets"]).square().mean()) < 1.0
    for text in ("own:cosine*polyak", "own:l4"):
        assert carry_out_script(asked(text), script_task(), names["train"]).outcome is Outcome.FINISHED
    commands = re.findall(r"^lrcontrol .+$", page, flags=re.MULTILINE)
    for command in commands:
        app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
        for text in re.findall(r"(?:sgd|adamw)[(:][^\s\"]*[^\"]*", command.split(" --")[0]):
            method(text)
    assert len(commands) == 8
