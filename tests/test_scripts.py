"""Training scripts of a user: what a run gives them, counts, and makes of what they tell."""

import contextlib
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lrcontrol as lrc
from lrcontrol import api, cli
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs import user_code
from lrcontrol.runs.record import Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.search.search import Candidate
from lrcontrol.training import loop, run, under_way
from lrcontrol.training import state as state_module
from lrcontrol.training.scripts import carry_out_script
from lrcontrol.training.tasks import catalogue, own
from lrcontrol.training.tasks.problem import build
from lrcontrol.training.weights import load_state

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_script.py"

STEPS = 30
INPUTS = torch.arange(24.0).reshape(8, 3).sin()
TARGETS = INPUTS @ torch.tensor([[1.0], [-2.0], [0.5]])


def script_task(metric: str = "val_loss", direction: Any = "minimize", method: str = "own:cosine") -> Task:
    return Task(
        name="mine.py:train",
        kind="training script",
        data="its own",
        sizes=(0, 0, 0),
        model="a script",
        parameters=0,
        objective=Objective(metric, direction),
        batch_size=0,
        full_steps=STEPS,
        home="",
        method=method,
    )


def asked(method: str = "own:cosine", **more: Any) -> RunSpec:
    return RunSpec(**({"task": "mine.py:train", "method": method, "base_lr": 0.05, "total_steps": STEPS} | more))


def carried(script: Callable[[lrc.Run], object], spec: RunSpec | None = None, folder: Path | None = None) -> Record:
    spec = asked() if spec is None else spec
    return carry_out_script(spec, script_task(), script, folder)


def sgd(model: nn.Module, **more: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **({"lr": 1.0, "momentum": 0.9} | more))


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    loss = (model(INPUTS) - TARGETS).square().mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss


def plain(run: lrc.Run) -> None:
    """What a script is at its shortest."""
    model = nn.Linear(3, 1)
    optimizer = run.steer(sgd(model))
    while not run.should_stop:
        loss = update(model, optimizer)
        run.log_loss(loss)
    run.log(val_loss=loss)


# ---- the rates ----


@pytest.mark.parametrize("control", ["cosine", "warmup(0.1)+rex", "one_cycle, momentum=one_cycle_momentum"])
@pytest.mark.parametrize("last", [STEPS, 11, 1])
def test_every_update_has_the_rate_of_the_schedule_and_the_record_holds_it(control: str, last: int) -> None:
    spec, seen = asked(f"own:{control}", stop_step=last), []

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        optimizer.register_step_pre_hook(lambda it, _a, _k: seen.append(it.param_groups[0]["lr"]))
        while not run.should_stop:
            assert run.lr == spec.base_lr * spec.method.control.multipliers(STEPS)[run.step]
            update(model, optimizer)
        run.log(val_loss=1.0)

    record = carried(script, spec)
    wanted = spec.base_lr * spec.method.control.multipliers(STEPS)[:last]
    assert seen == wanted.tolist()
    assert record.column("lr").tolist() == wanted.astype(np.float32).tolist()
    assert (record.outcome, record.cost.steps, record.evals[-1].step) == (Outcome.FINISHED, last, last)


def test_groups_keep_their_ratio_to_the_first_also_those_that_are_added_later() -> None:
    seen = []

    def script(run: lrc.Run) -> None:
        head, body, late = nn.Linear(3, 1), nn.Linear(3, 3), nn.Linear(1, 1)
        groups = [{"params": head.parameters(), "lr": 0.4}, {"params": body.parameters(), "lr": 0.1}]
        optimizer = run.steer(torch.optim.SGD(groups, lr=7.0))
        while not run.should_stop:
            if run.step == 2:
                optimizer.add_param_group({"params": late.parameters(), "lr": 0.8})
            loss = (late(head(body(INPUTS))) - TARGETS).square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen.append([group["lr"] for group in optimizer.param_groups])
        run.log(val_loss=1.0)

    spec = asked(total_steps=4, base_lr=0.01)
    carried(script, spec)
    rates = 0.01 * spec.method.control.multipliers(4)
    assert seen == [[rate, rate * 0.25, *[rate * 2] * (step >= 2)] for step, rate in enumerate(rates)]


def test_a_script_that_trains_as_our_loop_does_gives_its_numbers_to_the_bit() -> None:
    """Schedules, both optimizers, momentum beside, and a control that is told its metric."""
    known = catalogue.task("digits-mlp")

    def script(run: lrc.Run) -> None:
        problem = build(known, run.seed)
        looks = under_way.grid(known, ours) | {run.stop_step}
        model = problem.model.train()
        optimizer = run.optimizer(model.parameters())
        while not run.should_stop:
            ((inputs, targets),) = problem.batches(run.step, run.step + 1)
            loss = problem.loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            run.log_loss(loss)
            if run.step in looks:
                run.log(problem.evaluate(problem.validation))

    task = script_task("accuracy", "maximize", "adamw:cosine")
    for text, base_lr in (
        ("adamw:warmup(0.1)+rex", 3e-3),
        ("sgd(momentum=0.8, weight_decay=0.01):one_cycle, momentum=one_cycle_momentum", 0.1),
        ("sgd:plateau(patience=0, factor=0.5)", 0.5),
    ):
        ours = RunSpec(task="digits-mlp", method=text, base_lr=base_lr, total_steps=60, seed=3)
        torch.set_num_threads(1)
        theirs = carry_out_script(asked(text, base_lr=base_lr, total_steps=60, seed=3), task, script)
        expected = loop.train(ours)
        assert expected.evals == theirs.evals
        for name in ("loss", "lr"):
            assert expected.column(name).tolist() == theirs.column(name).tolist()
    assert len(set(theirs.column("lr").tolist())) > 1


def test_only_real_updates_count() -> None:
    """Not micro-batches whose gradients are gathered, and not those that a scaler skips."""
    calls = 0

    def script(run: lrc.Run) -> None:
        nonlocal calls
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        while not run.should_stop:
            for _ in range(2):
                loss = (model(INPUTS) - TARGETS).square().mean()
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                run.log_loss(loss)
            calls += 1
            if calls % 3 == 0:
                model.weight.grad.fill_(math.inf)  # type: ignore[union-attr]
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        run.log(val_loss=1.0)

    record = carried(script)
    assert record.cost.steps == STEPS
    assert calls == STEPS + (STEPS - 1) // 2
    assert np.isfinite(record.column("loss")).all()


@pytest.mark.parametrize("norms", [("l2",), ("l1", "l2")], ids=str)
def test_the_norms_of_real_updates_are_recorded(norms: tuple[str, ...]) -> None:
    """Of the gradients that were gathered, unscaled, also where the script goes on after its end."""
    found: list[float] = []

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
        for call in range(100):
            for rows in (slice(0, 4), slice(4, 8)):
                loss = (model(INPUTS[rows]) - TARGETS[rows]).square().mean()
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            gradients = [each.grad for each in model.parameters() if each.grad is not None]
            if call % 5 == 2:
                gradients[0].fill_(math.inf)
            else:
                found.append(math.hypot(*(float(each.norm()) for each in gradients)) / scaler.get_scale())
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if run.step == STEPS:
                run.log(val_loss=1.0)

    record = carried(script, asked(norms=norms))
    assert record.cost.steps == STEPS
    assert list(record.columns) == ["lr", *norms]
    assert record.column("l2") == pytest.approx(found[:STEPS], rel=1e-5)
    assert record.column("l2").dtype == np.float32


def test_a_methods_optimizer_has_the_settings_of_the_method() -> None:
    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.optimizer([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.1}])
        made.append(optimizer)
        while not run.should_stop:
            update(model, optimizer)
        run.log(val_loss=1.0)

    made: list[torch.optim.Optimizer] = []
    for text in ("sgd(momentum=0.7, nesterov=true):constant", "adamw(beta1=0.8, weight_decay=0.3):constant"):
        carry_out_script(asked(text, base_lr=0.2), script_task(method="adamw:cosine"), script)
    first, second = made
    assert isinstance(first, torch.optim.SGD)
    assert isinstance(second, torch.optim.AdamW)
    assert (first.param_groups[0]["momentum"], first.param_groups[0]["nesterov"]) == (0.7, True)
    assert (second.param_groups[0]["betas"][0], second.param_groups[0]["weight_decay"]) == (0.8, 0.3)
    assert [group["lr"] for group in first.param_groups] == [0.2, 0.1]


def test_a_methods_optimizer_takes_parameters_that_get_gradients_late() -> None:
    def script(run: lrc.Run) -> None:
        first, second = nn.Linear(3, 1), nn.Linear(3, 1)
        optimizer = run.optimizer([*first.parameters(), *second.parameters()])
        before = second.weight.clone()
        while not run.should_stop:
            outputs = first(INPUTS) + (second(INPUTS) if run.step >= 2 else 0)
            optimizer.zero_grad()
            (outputs - TARGETS).square().mean().backward()
            optimizer.step()
            moved.append(not torch.equal(second.weight, before))
        run.log(val_loss=1.0)

    moved: list[bool] = []
    record = carry_out_script(asked("sgd:constant"), script_task(method="adamw:cosine"), script)
    assert record.cost.steps == STEPS
    assert moved == [False, False, *[True] * (STEPS - 2)]


# ---- what is told ----


@pytest.mark.parametrize("first", [True, False])
def test_losses_are_told_before_their_update_or_after_it(first: bool) -> None:
    losses = []

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        while not run.should_stop:
            loss = (model(INPUTS) - TARGETS).square().mean()
            losses.append(loss.item())
            if first:
                run.log_loss(loss)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if not first:
                run.log_loss(loss.item())
        run.log(val_loss=1.0)

    assert carried(script).column("loss").tolist() == np.float32(losses).tolist()


def test_what_is_logged_is_kept_by_the_updates_made_whatever_library_it_is_of() -> None:
    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        while not run.should_stop:
            update(model, optimizer)
            if run.step % 10 == 0:
                run.log({"val_loss": torch.tensor(run.step / 4, requires_grad=True)}, rows=np.int64(8))
                run.log(other=math.nan, more=np.float32(0.5))

    record = carried(script)
    assert [each.step for each in record.evals] == [10, 20, 30]
    assert record.evals[-1].values == {"val_loss": 7.5, "rows": 8.0, "more": 0.5}
    assert record.final == 7.5
    assert "loss" not in record.columns


@pytest.mark.parametrize("looks", [True, False])
def test_a_loss_that_is_not_finite_ends_the_run_there(looks: bool) -> None:
    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        while not (run.should_stop if looks else run.step == STEPS):
            update(model, optimizer)
            run.log_loss(math.inf if run.step == 8 else 1.0)
            if run.step % 4 == 0:
                run.log(val_loss=1.0)

    record = carried(script)
    assert (record.outcome, record.cost.steps, record.usable) == (Outcome.DIVERGED, 8, False)
    assert record.message == "the loss was not finite at update 7"
    assert [each.step for each in record.evals] == [4]
    assert len(record.column("loss")) == len(record.column("lr")) == 8


def test_a_metric_that_is_not_finite_ends_the_run_there() -> None:
    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        while not run.should_stop:
            update(model, optimizer)
            run.log(val_loss=math.nan if run.step == 5 else 1.0)
        assert run.step == 5

    record = carried(script)
    assert (record.outcome, record.cost.steps) == (Outcome.DIVERGED, 5)
    assert record.message == "the val_loss was not finite after 5 updates"


def test_a_script_that_goes_on_is_cut_off_and_told() -> None:
    made = []

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        while True:
            try:
                update(model, optimizer)
            except Exception:
                continue
            made.append(model.weight.detach().clone())
            run.log(val_loss=1.0)

    record = carried(script)
    assert (record.outcome, record.cost.steps, len(made)) == (Outcome.FINISHED, STEPS, STEPS)
    assert record.message == "the script went on after its last update and was cut off there"


def test_progress_is_told_now_and_then() -> None:
    told: list[int] = []
    spec = asked(total_steps=130)
    carry_out_script(spec, script_task(), plain, progress=told.append)
    assert told == [50, 100]


# ---- chance ----


def test_the_seed_decides_all_chance_and_the_callers_is_left_alone() -> None:
    def script(run: lrc.Run) -> None:
        drawn.append((random.random(), random.gauss(0, 1), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002 - what is tested
        plain(run)

    drawn: list[Any] = []
    torch.manual_seed(5)
    np.random.seed(6)  # noqa: NPY002 - the caller's
    random.seed(7)
    random.gauss(0, 1)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index, union-attr]  # noqa: NPY002
    losses = [carried(script, asked(seed=seed)).column("loss").tolist() for seed in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]
    assert drawn[0] == drawn[2]
    assert all(one != other for one, other in zip(drawn[0], drawn[1], strict=True))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index, union-attr]  # noqa: NPY002


# ---- going on ----


def going_on(run: lrc.Run) -> None:
    """Draws from every source of chance in every update."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = run.optimizer(model.parameters()) if not run.method.startswith("own") else run.steer(sgd(model))
    order = list(range(8))
    state = run.restore()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        order = state["order"]
    while not run.should_stop:
        random.shuffle(order)
        rows = order[: 2 + np.random.randint(4)]  # noqa: NPY002 - what is tested
        loss = (model(INPUTS[rows]) - TARGETS[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        run.log_loss(loss)
        if run.step % 5 == 0:
            run.log(val_loss=loss)
    run.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "order": order})


@pytest.mark.parametrize("control", ["cosine", "plateau(patience=1, factor=0.5)"])
@pytest.mark.parametrize("optimizer", ["own", "sgd", "adamw"])
def test_a_run_goes_on_from_another_as_if_it_had_not_ended(tmp_path: Path, optimizer: str, control: str) -> None:
    method = f"{optimizer}:{control}"
    task = script_task(method=method)
    asked_for = {"checkpoint": True, "norms": ("l1", "l2")}
    whole = carry_out_script(asked(method, **asked_for), task, going_on, tmp_path)
    first = asked(method, stop_step=15, **asked_for)
    begun = carry_out_script(first, task, going_on, tmp_path)
    second = asked(method, start=Start(first.id, 15), **asked_for)
    ended = carry_out_script(second, task, going_on, tmp_path)
    for name in whole.columns:
        both = [*begun.column(name).tolist(), *ended.column(name).tolist()]
        assert both == whole.column(name).tolist()
    assert begun.evals + ended.evals == whole.evals
    assert (ended.cost.steps, ended.evals[-1].step) == (15, STEPS)
    assert (tmp_path / f"{whole.id}.checkpoint.safetensors").read_bytes() == (
        tmp_path / f"{ended.id}.checkpoint.safetensors"
    ).read_bytes()


def test_a_run_that_goes_on_with_another_method_has_the_settings_of_that(tmp_path: Path) -> None:
    task = script_task(method="sgd:cosine")
    first = asked("sgd(momentum=0.5):cosine", stop_step=15, checkpoint=True)
    carry_out_script(first, task, going_on, tmp_path)
    made = []

    def script(run: lrc.Run) -> None:
        run_optimizer = run.optimizer

        def kept(parameters: Any) -> torch.optim.Optimizer:
            made.append(run_optimizer(parameters))
            return made[-1]

        run.optimizer = kept  # type: ignore[method-assign]
        going_on(run)

    second = asked("sgd(momentum=0.8):linear", base_lr=0.01, start=Start(first.id, 15))
    record = carry_out_script(second, task, script, tmp_path)
    assert made[0].param_groups[0]["momentum"] == 0.8
    rates = 0.01 * second.method.control.multipliers(STEPS)[15:]
    assert record.column("lr").tolist() == rates.astype(np.float32).tolist()


def test_what_was_saved_last_is_kept_where_the_run_is(tmp_path: Path) -> None:
    def script(run: lrc.Run) -> None:
        plain(run)
        tensor = torch.arange(3.0)
        run.save({"early": tensor})
        run.save({"a.b": tensor, "a": {"b": tensor + 1}, 3: [1, (2.5, None)], "text": "x", "nan": math.inf})
        tensor.zero_()

    record = carried(script, asked(save=True), tmp_path)
    state = load_state(tmp_path, record)
    assert [state["a.b"].tolist(), state["a"]["b"].tolist()] == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    assert (state[3], state["text"], state["nan"]) == ([1, (2.5, None)], "x", math.inf)
    assert carried(script).weights is None
    with pytest.raises(RecordError, match=r"a script must call run.save"):
        load_state(tmp_path, carried(plain, asked(save=True), tmp_path))


# ---- models that lie otherwise in memory ----


class ThroughMemory(torch.optim.Optimizer):
    """Momentum that goes through memory, as kernels of a user's own may: tensors must lie as their parameters do."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # there is none
        for group in self.param_groups:
            for each in group["params"]:
                kept = self.state[each].setdefault("sum", torch.zeros_like(each))
                row, slope, sum_ = (it.as_strided((it.numel(),), (1,)) for it in (each, each.grad, kept))
                sum_.mul_(0.9).add_(slope)
                row.sub_(group["lr"] * sum_)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AdamW fused": lambda given: torch.optim.AdamW(given, fused=True),
    "Adam fused, amsgrad": lambda given: torch.optim.Adam(given, amsgrad=True, fused=True),
    "SGD fused": lambda given: torch.optim.SGD(given, momentum=0.9, fused=True),
    "Adagrad fused": lambda given: torch.optim.Adagrad(given, fused=True),
    "AdamW": lambda given: torch.optim.AdamW(given, fused=False),
    "Adafactor": torch.optim.Adafactor,
    "ASGD": lambda given: torch.optim.ASGD(given, t0=3),
    "through memory": ThroughMemory,
    "sgd": lambda given: lrc.make_optimizer("sgd", given, 1.0),
    "prodigy": lambda given: lrc.make_optimizer("prodigy", given),
    "mechanic(adamw)": lambda given: lrc.make_optimizer("mechanic(adamw)", given),
}


def take_up(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer, *, steered_last: bool) -> None:
    """Steer the optimizer, and load what the run goes on from, in one order or the other."""
    if not steered_last:
        run.steer(optimizer)
    state = run.restore()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    if steered_last:
        run.steer(optimizer)


def convolving(
    make: Callable[[Any], torch.optim.Optimizer],
    forms: tuple[Any, Any] = (torch.channels_last, torch.channels_last),
    *,
    steered_last: bool = False,
) -> Callable[[lrc.Run], None]:
    """A script whose model lies in memory as the first form says, and as the second where it goes on from another."""

    def script(run: lrc.Run) -> None:
        form = forms[run.spec.start is not None]
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)
        model = nn.Sequential(*layers).to(memory_format=form)  # type: ignore[call-overload]
        optimizer = make(model.parameters())
        take_up(run, model, optimizer, steered_last=steered_last)
        while not run.should_stop:
            images = torch.randn(4, 3, 8, 8).contiguous(memory_format=form)
            loss = (model(images) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log_loss(loss)
        run.log(val_loss=loss)
        run.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    return script


def in_two(script: Callable[[lrc.Run], None], folder: Path) -> Record:
    """The record of the second half, which goes on from the first."""
    first = asked(stop_step=15, checkpoint=True)
    carried(script, first, folder)
    return carried(script, asked(start=Start(first.id, 15), checkpoint=True, save=True), folder)


@pytest.mark.parametrize("steered_last", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_in_channels_last_goes_on_to_the_bit(tmp_path: Path, name: str, steered_last: bool) -> None:
    """What comes back lies in memory as it was saved; torch's fused optimizers would silently take it for another."""
    script = convolving(OPTIMIZERS[name], steered_last=steered_last)
    whole = carried(script, asked(checkpoint=True, save=True), tmp_path)
    again = in_two(script, tmp_path)
    assert whole.column("loss").tolist()[15:] == again.column("loss").tolist()
    assert (whole.weights and whole.weights.sha256) == (again.weights and again.weights.sha256)
    files = [tmp_path / f"{each.id}.checkpoint.safetensors" for each in (whole, again)]
    assert files[0].read_bytes() == files[1].read_bytes()
    state = load_state(tmp_path, again)
    assert state["model"]["2.weight"].stride() == (72, 1, 24, 8)


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adagrad"])
@pytest.mark.parametrize(
    "forms", [(torch.channels_last, torch.contiguous_format), (torch.contiguous_format, torch.channels_last)]
)
@pytest.mark.parametrize("steered_last", [False, True])
def test_a_model_that_lies_otherwise_than_it_was_saved_goes_on(
    tmp_path: Path, name: str, forms: tuple[Any, Any], steered_last: bool
) -> None:
    """A fused optimizer comes to what the same without fused=True does."""

    def make(fused: bool) -> Callable[[Any], torch.optim.Optimizer]:
        beside = {"momentum": 0.9} if name == "SGD" else {}
        return lambda given: getattr(torch.optim, name)(given, fused=fused, **beside)  # type: ignore[no-any-return]

    fused, plain = (
        in_two(convolving(make(fused), forms, steered_last=steered_last), tmp_path / str(fused))
        for fused in (True, False)
    )
    np.testing.assert_allclose(fused.column("loss"), plain.column("loss"), rtol=1e-4)


def test_a_checkpoint_that_kept_no_order_of_tensors_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those were that earlier versions wrote."""
    script = convolving(OPTIMIZERS["AdamW fused"])
    whole = carried(script, asked(checkpoint=True), tmp_path)
    first = asked(stop_step=15, checkpoint=True)
    with monkeypatch.context() as earlier:
        earlier.setattr(state_module, "_order_of", lambda value: list(range(value.dim())))
        carried(script, first, tmp_path)
    assert b"ordered" not in (tmp_path / f"{first.id}.checkpoint.json").read_bytes()
    again = carried(script, asked(start=Start(first.id, 15)), tmp_path)
    assert whole.column("loss").tolist()[15:] == again.column("loss").tolist()


# ---- mistakes ----


def with_optimizer(then: Callable[[lrc.Run, nn.Module, torch.optim.Optimizer], object]) -> Callable[[lrc.Run], None]:
    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        then(run, model, run.steer(sgd(model)))

    return script


def trained(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer, logged: Any = None) -> None:
    while not run.should_stop:
        update(model, optimizer)
    run.log(logged or {"val_loss": 1.0})


def second_optimizer(run: lrc.Run, model: nn.Module, _optimizer: torch.optim.Optimizer) -> None:
    run.steer(sgd(model))


def own_scheduler(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    while not run.should_stop:
        update(model, optimizer)
        scheduler.step()


def late(run: lrc.Run) -> None:
    model = nn.Linear(3, 1)
    optimizer = sgd(model)
    update(model, optimizer)
    run.steer(optimizer)


def other_optimizer(run: lrc.Run, model: nn.Module, _optimizer: torch.optim.Optimizer) -> None:
    other = sgd(model)
    while not run.should_stop:
        update(model, other)


def ends_early(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(7):
        update(model, optimizer)
    run.log(val_loss=1.0)


def never_looks(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(10):
        for _ in range(8):
            update(model, optimizer)
        run.log(val_loss=1.0)


def logs_early(run: lrc.Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    update(model, optimizer)
    run.log(val_loss=1.0)
    while not run.should_stop:
        update(model, optimizer)


def logged_value(value: Any) -> Callable[[lrc.Run], None]:
    return with_optimizer(lambda run, model, optimizer: trained(run, model, optimizer, value))


MISTAKES = {
    "no steer": (lambda run: None, "must give its optimizer to run.steer, or take it from run.optimizer"),
    "stop before steer": (lambda run: run.should_stop, "run.should_stop needs an optimizer whose updates are counted"),
    "log before steer": (lambda run: run.log(val_loss=1.0), "run.log needs an optimizer whose updates are counted"),
    "loss before steer": (lambda run: run.log_loss(1.0), "run.log_loss needs an optimizer"),
    "exit": (lambda run: sys.exit(3), "must return when its run has ended, but it called exit, with 3;"),
    "no optimizer": (lambda run: run.steer(nn.Linear(3, 1)), "`optimizer` must be a torch optimizer, got opt"),
    "two": (with_optimizer(second_optimizer), "a run must have one optimizer, got a second"),
    "late": (late, "must be steered before its first update, but this one has made some"),
    "rate 0": (lambda run: run.steer(sgd(nn.Linear(3, 1), lr=0.0)), "must have a rate > 0, .* got lr=0"),
    "own scheduler": (with_optimizer(own_scheduler), "something set it to .*; take the script's own scheduler out"),
    "log at 0": (with_optimizer(lambda run, *_: run.log(val_loss=1.0)), r"got \['val_loss'\] before the first one"),
    "no updates": (with_optimizer(lambda *_: None), "must make updates with the optimizer that is steered"),
    "other optimizer": (with_optimizer(other_optimizer), "must be the one that trains, but 100 looks"),
    "early": (with_optimizer(ends_early), "must train until run.should_stop, but returned after 7 of 30 updates"),
    "never looks": (with_optimizer(never_looks), "must look at run.should_stop .* last update, 30, and was cut off"),
    "looks and logs late": (
        with_optimizer(lambda run, *rest: [update(*rest) for _ in range(40)] and run.log(val_loss=1.0)),
        "must look at run.should_stop after every update, end where it is true, and log 'val_loss'",
    ),
    "logs early": (with_optimizer(logs_early), "must log 'val_loss' after its last update, 30, .* last after 1;"),
    "other metric": (logged_value({"val_los": 1.0}), "must log the metric .* 'val_loss', got val_los; call run.log"),
    "text": (logged_value({"val_loss": "1.0"}), "`val_loss` must be one number, got val_loss='1.0'"),
    "two numbers": (logged_value({"val_loss": torch.ones(2)}), "`val_loss` must be one number, got val_loss=tensor"),
    "flag": (logged_value({"val_loss": True}), "`val_loss` must be one number, got val_loss=True"),
    "a lone number": (logged_value(0.1), r"takes values by name, as in run.log\(val_loss=0.1\), got 0.1"),
    "a step": (logged_value({"val_loss": 1.0, "step": 3}), "updates are counted by the run; leave `step` out"),
    "losses": (with_optimizer(lambda run, *_: run.log_loss(torch.ones(2))), "`loss` must be one number, got loss="),
    "method's": (lambda run: run.optimizer(nn.Linear(3, 1).parameters()), "must name an optimizer .* own:cosine"),
    "a model": (with_optimizer(lambda run, model, _: run.save(model)), "a state must be tensors, numbers and texts"),
    "a key": (with_optimizer(lambda run, *_: run.save({(1, 2): 1.0})), "a state must be tensors, numbers and texts"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, sentence = MISTAKES[name]
    monkeypatch.setattr(run, "IDLE", 100)
    with pytest.raises((BadInput, RecordError), match=sentence) as caught:
        carried(script)
    assert "\n" not in str(caught.value)


def decaying(*, decay: float = 0.5, steered_last: bool = False) -> Callable[[lrc.Run], None]:
    """A script that may load the state of its optimizer before it steers it."""

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model, momentum=0.0, weight_decay=decay)
        take_up(run, model, optimizer, steered_last=steered_last)
        while not run.should_stop:
            run.log_loss(update(model, optimizer))
        run.log(val_loss=1.0)
        run.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    return script


@pytest.mark.parametrize(
    "control", ["cosine, weight_decay=cosine", "cosine, weight_decay=linear(share=0.3)+constant(0)"]
)
def test_a_scheduled_weight_decay_goes_on_where_it_was(tmp_path: Path, control: str) -> None:
    """Also from where it is 0. A state that is loaded before would bring what it was then, and is told at once."""
    method = f"own:{control}"
    whole = carried(decaying(), asked(method), tmp_path)
    first = asked(method, stop_step=15, checkpoint=True)
    carried(decaying(), first, tmp_path)
    again = carried(decaying(), asked(method, start=Start(first.id, 15)), tmp_path)
    assert whole.column("loss").tolist()[15:] == again.column("loss").tolist()
    for spec in (asked(method), asked(method, start=Start(first.id, 15))):
        with pytest.raises(
            BadInput, match=r"run.steer\(optimizer\) must come before run.restore\(\) with own:cosine, w"
        ):
            carried(decaying(steered_last=True), spec, tmp_path)
    carried(decaying(steered_last=True), asked(start=Start(first.id, 15)), tmp_path)


def test_a_scheduled_weight_decay_must_be_there() -> None:
    with pytest.raises(BadInput, match=r"`weight_decay` needs an optimizer .* of every group of SGD is 0"):
        carried(decaying(decay=0.0), asked("own:cosine, weight_decay=cosine"))
    carried(decaying(decay=0.0))


def test_the_optimizer_of_a_method_is_not_exchanged() -> None:
    with pytest.raises(BadInput, match=r"must be taken from run.optimizer.* got adamw:cosine"):
        carry_out_script(asked("adamw:cosine"), script_task(method="adamw:cosine"), plain)


def test_what_another_run_is_to_go_on_from_must_be_saved_and_asked_for(tmp_path: Path) -> None:
    def early(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        optimizer = run.steer(sgd(model))
        run.restore()
        while not run.should_stop:
            update(model, optimizer)
            if run.step == 4:
                run.save({})
        run.log(val_loss=1.0)

    with pytest.raises(BadInput, match=r"after its last update, 30, .* but nothing was saved"):
        carried(plain, asked(checkpoint=True), tmp_path)
    with pytest.raises(BadInput, match="but it did so last after 4"):
        carried(early, asked(checkpoint=True), tmp_path)
    first = asked(stop_step=10, checkpoint=True)
    carry_out_script(first, script_task(), going_on, tmp_path)
    with pytest.raises(BadInput, match=r"must call run.restore"):
        carried(plain, asked(start=Start(first.id, 10)), tmp_path)
    with pytest.raises(RecordError, match="must have the seed of the run it goes on from, got 4"):
        carried(going_on, asked(start=Start(first.id, 10), seed=4), tmp_path)
    with pytest.raises(RecordError, match="kind of optimizer"):
        carried(going_on, asked("sgd:cosine", start=Start(first.id, 10)), tmp_path)


def test_what_a_script_raises_is_raised_and_chance_is_put_back() -> None:
    def script(run: lrc.Run) -> None:
        raise KeyError(run.seed)

    before = torch.get_rng_state()
    with pytest.raises(KeyError):
        carried(script)
    assert torch.equal(before, torch.get_rng_state())


# ---- as tasks ----

FILE = """
import torch
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps=30, base_lr=0.05)
def train(run):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    run.steer(optimizer)
    inputs = torch.arange(24.0).reshape(8, 3).sin()
    while not run.should_stop:
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log_loss(loss)
    run.log(val_loss=loss)
    run.save({"model": model.state_dict()})
"""


ELSE = "with --rungs compressed no run goes on from another."


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is loaded yet, and nothing that is stays loaded."""
    monkeypatch.setattr(user_code, "_LOADED", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(own.OWN)
    own.OWN.clear()
    yield
    own.OWN.clear()
    own.OWN.update(before)


def write(folder: Path, text: str = FILE) -> str:
    (folder / "mine.py").write_text(text)
    return f"{folder / 'mine.py'}:train"


@pytest.mark.usefixtures("fresh")
class TestTasks:
    def test_a_script_is_selected_in_processes_and_serially_alike(self, tmp_path: Path) -> None:
        name = write(tmp_path)
        found = [
            lrc.select(name, budget="4runs", out=tmp_path / executor, executor=executor, workers=1)  # type: ignore[arg-type]
            for executor in ("serial", "processes")
        ]
        stores = [Store(each.folder / "runs.db") for each in found]
        for store in stores:
            assert {record.outcome for record in store.records()} == {Outcome.FINISHED}
            assert not [record for record in store.records() if record.spec.stop_step == 1]
        first, second = ({record.id: record.evals for record in store.records()} for store in stores)
        assert first == second
        assert len(first) == 4
        assert found[0].record.column("loss").tolist() == found[1].record.column("loss").tolist()
        assert str(found[0].choice.default.spec.method) == "own:cosine"
        assert found[0].choice.default.spec.base_lr == 0.05
        for store in stores:
            store.close()

    def test_a_selection_tells_validation_alone_and_gives_what_was_saved(self, tmp_path: Path) -> None:
        found = lrc.select(write(tmp_path), budget="1run", out=tmp_path / "out", executor="serial")
        for each in (found, lrc.load_selection(tmp_path / "out")):
            assert (each.test, each.default_test) == ({}, None)
            assert ", val_loss" in repr(each)
            assert "All figures are of what the script logs" in " ".join(each.reasons)
            page = each.report(tmp_path / "page.html").read_text()
            assert "validation val_loss" not in page
            assert "validation loss" not in page, "the script logs none"
            assert "test val_loss" not in page
        assert each.state()["model"]["weight"].shape == (1, 3)
        with pytest.raises(BadInput, match=r"is a script and makes its model itself; load what `state\(\)` gives"):
            each.model()
        assert lrc.select("diabetes-mlp", budget="1run", out=tmp_path / "ours", executor="serial").model() is not None
        with pytest.raises(BadInput, match="is no script"):
            lrc.load_selection(tmp_path / "ours").state()

    @pytest.mark.slow
    def test_the_command_line_takes_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def main(words: list[str]) -> None:
            with contextlib.suppress(SystemExit):
                cli.main(words)

        name, out = write(tmp_path), str(tmp_path / "out")
        main(["train", name])
        assert "own:cosine at base lr 0.05 on mine.py:train: finished after 30 updates" in capsys.readouterr().out
        main(["train", name, "own:warmup(0.1)+rex", "--lr", "0.1", "--steps", "12", "--json"])
        assert json.loads(capsys.readouterr().out)["cost"]["steps"] == 12
        grid = ["--strategy", "grid", "--method", "own:rex", "--budget", "3runs"]
        main(["search", name, *grid, "--executor", "serial", "--out", out, "--json"])
        rates = {run["base_lr"] for run in json.loads(capsys.readouterr().out)["runs"]}
        assert rates == {0.05, 0.15, 0.015}
        main(["search", name, "--strategy", "random", "--method", "own:linear", "--budget", "2runs", "--out", out])
        assert "own:linear" in capsys.readouterr().out
        main(["tasks", name])
        shown = capsys.readouterr().out
        assert "30 updates" in shown
        assert "parameters" not in shown
        main(["select", name, "--budget", "1run", "--executor", "serial", "--out", str(tmp_path / "s"), "--json"])
        found = json.loads(capsys.readouterr().out)
        assert (found["test"], found["default"]["test"]) == (None, None)
        assert Path(found["weights"]).is_file()

    @pytest.mark.parametrize("executor", ["serial", "processes"])
    def test_what_a_script_prints_goes_to_stderr(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], executor: str
    ) -> None:
        """The last line too, without its end; what the file itself prints as well."""
        text = FILE.replace("    model =", "    print('begins', run.base_lr)\n    model =", 1)
        text = text.replace("    run.save(", "    print('ends', end='')\n    run.save(") + "print('read')\n"
        with contextlib.suppress(SystemExit):
            cli.main(["search", write(tmp_path, text), "--strategy", "grid", "--method", "own:rex", "--lr", "0.5",
                      "--executor", executor, "--workers", "1", "--out", str(tmp_path / "out"), "--json"])  # fmt: skip
        said = capfd.readouterr()
        assert json.loads(said.out)["base_lr"] == 0.5
        assert said.err.count("begins 0.5\n") == 2, "the trial of one update, and the run"
        assert said.err.count("ends") == 2
        assert said.err.count("read") == 1

    def test_a_mistake_is_told_after_one_update_and_nothing_is_kept(self, tmp_path: Path) -> None:
        slow = FILE.replace("run.log(val_loss=loss)", "run.log(loss=loss)")
        for executor in ("serial", "processes"):
            with pytest.raises(
                BadInput, match=r"tried with one update before its runs, and failed.*'val_loss', got loss"
            ):
                lrc.select(
                    write(tmp_path, slow), budget="2runs", out=tmp_path / executor, executor=executor, workers=1
                )  # type: ignore[arg-type]
            with Store(tmp_path / executor / "runs.db") as store:
                assert list(store.records()) == []
        own.OWN.clear()
        user_code._LOADED.clear()
        broken = FILE.replace("loss.backward()", "los.backward()")
        with pytest.raises(BadInput, match=r"and failed: NameError: name 'los' is not defined.* \(line 14 of"):
            api.search(write(tmp_path, broken), budget="2runs", out=tmp_path / "out", executor="serial")

    @pytest.mark.parametrize("executor", ["serial", "processes"])
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                ("    run.save({", "    ({"),
                f"nothing was saved; it must call run.restore() too, which it did not; {ELSE}",
            ),
            (("    run.save({", "    run.restore()\n    ({"), f"but nothing was saved; {ELSE}"),
            (("", ""), f"must call run.restore() where a run goes on from another, but did not; {ELSE}"),
            (
                ("    while", "    assert run.restore() is None\n    while"),
                f"AssertionError (line 11 of mine.py); {ELSE}",
            ),
            (("    while", "    los\n    while"), "NameError: name 'los' is not defined (line 11 of mine.py)."),
        ],
    )
    def test_that_a_script_cannot_be_gone_on_with_is_told_before_its_runs(
        self, tmp_path: Path, change: tuple[str, str], said: str, executor: str
    ) -> None:
        text = FILE.replace("full_steps=30", "full_steps=90").replace(*change)
        out = tmp_path / "out"
        with pytest.raises(BadInput) as caught:
            api.search(write(tmp_path, text), rungs="continued", budget="6runs", out=out, executor=executor, workers=1)
        assert said in str(caught.value)
        with Store(out / "runs.db") as store:
            assert list(store.records()) == []
        assert not list(out.glob("weights/*")), "nothing is kept of what was tried"

    def test_a_script_that_can_be_gone_on_with_is_tried_so_after_a_search_without(self, tmp_path: Path) -> None:
        text = FILE.replace("full_steps=30", "full_steps=90").replace(
            "    while",
            "    state = run.restore()\n    if state: model.load_state_dict(state['model'])\n"
            "    with open(__file__ + '.steps', 'a') as file: file.write(f'{run.step}-{run.stop_step} ')\n    while",
        )
        name, out = write(tmp_path, text), tmp_path / "out"
        given = {"methods": ["own:rex"], "budget": "2runs", "out": out, "executor": "serial"}
        for rungs, tried in (("compressed", "0-1 "), ("continued", "0-1 1-2 "), ("continued", "")):
            (tmp_path / "mine.py.steps").write_text("")
            found = api.search(name, rungs=rungs, **given)  # type: ignore[arg-type]
            steps = (tmp_path / "mine.py.steps").read_text()
            assert steps.startswith(tried)
            assert "-1 " not in steps.removeprefix("0-1 ")
            assert bool(steps) == bool(tried)
            assert found.study.chosen is not None

    @pytest.mark.parametrize(("lost", "made"), [(22, 0), (66, 22), (200, 66)])
    def test_a_search_whose_longest_runs_all_failed_has_no_answer(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: int, made: int
    ) -> None:
        text = FILE.replace("full_steps=30", "full_steps=200").replace(
            "    run.save(", f"    if run.stop_step == {lost}: raise ValueError('no luck')\n    run.save("
        )
        with pytest.raises(SystemExit) as ended:
            cli.main(["search", write(tmp_path, text), "--budget", "6runs", "--executor", "serial", "--out",
                      str(tmp_path / "out"), "--json"])  # fmt: skip
        assert ended.value.code == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["method"], told["base_lr"], told["run"], told["final"]) == (None, None, None, None)
        failed = sum(each["outcome"] == "failed" for each in told["runs"])
        why = f"{failed} failed, because ValueError: no luck (line 18 of mine.py)"
        assert told["caution"] == {
            22: f"No run finished: {why}.",
            66: "No full run finished, as none over 66 steps ended with weights that work: "
            f"{why}; what is told is of 22 updates.",
            200: f"No full run finished: {why}; what is told is of 66 updates.",
        }[lost]  # fmt: skip
        assert any(f"was best over {made} steps" in each for each in told["reasons"]) == bool(made)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("(metric=", "(metrics="), "TypeError in line 5: "),
            (("minimize", "down"), "unknown direction 'down'; known: maximize, minimize."),
            (("full_steps=30, ", ""), "`full_steps` must say how many updates a full run has"),
            (("full_steps=30", "full_steps=0.5"), "`full_steps` must be an integer >= 1"),
            (("base_lr=0.05", "base_lr=0"), "`base_lr` must be a number > 0"),
            (("base_lr=0.05", "method='own'"), "a method is optimizer:control"),
            (("base_lr=0.05", "prepare=3"), "`prepare` must be a function without arguments, got prepare=3"),
            (("def train(run)", "def train()"), r"as in def train\(run\), got train\(\)"),
            (("def train(run)", "def train(run, data)"), r"as in def train\(run\), got train\(run, data\)"),
            (("def train(run)", "async def train(run)"), "must be a plain function that trains when it is called"),
            (("def train(run):", "class train:\n  def f(run):"), "must be a plain function .*, got train"),
            (
                ("@lrc.task(", "@lrc.task\ndef f(run): pass\n@lrc.task("),
                "missing 2 required .* 'metric' and 'direction'",
            ),
            (
                ("@lrc.task(", "lrc.task(print, metric='a', direction='minimize')\n@lrc.task("),
                "must be called with a m",
            ),
        ],
    )
    def test_a_wrong_declaration_is_one_sentence(self, tmp_path: Path, change: tuple[str, str], said: str) -> None:
        text = FILE.replace(*change)
        assert text != FILE
        with pytest.raises(BadInput, match=said) as caught:
            catalogue.named(write(tmp_path, text))
        assert "\n" not in str(caught.value)

    def test_methods_are_of_the_tasks_kind(self, tmp_path: Path) -> None:
        name = write(tmp_path)
        with pytest.raises(BadInput, match=r"methods must be own:..., got adamw:rex; write own:rex"):
            lrc.train(name, "adamw:rex", base_lr=0.1)
        with pytest.raises(BadInput, match=r"methods must be own:..., got sgd:rex"):
            api.search(name, methods=["sgd:rex"], out=tmp_path / "out")
        with pytest.raises(BadInput, match=r"methods must be own:..., got sgd:rex"):
            lrc.select(name, candidates=[Candidate("sgd:rex", 0.1)], out=tmp_path / "out")
        with pytest.raises(BadInput, match=r"methods must name one, got own:rex; write for example adamw:rex"):
            lrc.train("digits-mlp", "own:rex", base_lr=0.1)

    def test_a_method_without_a_rate_has_that_of_the_script(self, tmp_path: Path) -> None:
        name = write(tmp_path)
        spec = lrc.train(name, "own:linear", total_steps=3).spec
        assert (spec.base_lr, spec.method.control_text) == (catalogue.named(name).base_lr, "linear")
        assert lrc.train(name, "own:linear", base_lr=0.125, total_steps=3).spec.base_lr == 0.125

    @pytest.mark.slow
    def test_what_runs_share_is_prepared_once_where_they_begin(self, tmp_path: Path) -> None:
        text = FILE.replace(
            "@lrc.task(",
            "def prepare():\n    open(__file__ + '.prepared', 'a').write('x')\n\n@lrc.task(prepare=prepare, ",
        )
        api.search(write(tmp_path, text), "grid", base_lrs=[0.1], methods=["own:rex", "own:linear", "own:step"],
                   budget="3runs", out=tmp_path / "out", workers=1)  # fmt: skip
        assert (tmp_path / "mine.py.prepared").read_text() == "x"

    def test_two_runs_train_as_alone_and_in_any_company(self, tmp_path: Path) -> None:
        name = catalogue.named(write(tmp_path)).name
        specs = [
            RunSpec(task=name, method="own:cosine", base_lr=0.1, total_steps=30),
            RunSpec(task="digits-mlp", method="sgd:cosine", base_lr=0.1, total_steps=20),
            RunSpec(task=name, method="own:cosine", base_lr=0.1, total_steps=30, stop_step=20),
        ]
        told: list[int] = []
        together = {record.id: record for record in loop.train_all(specs, progress=told.append)}
        for spec in specs:
            alone = loop.train(spec)
            assert together[spec.id].column("loss").tolist() == alone.column("loss").tolist()
            assert together[spec.id].cost.shared == 0

    def test_the_example_learns(self) -> None:
        record = lrc.train(f"{EXAMPLE}:train")
        assert record.outcome is Outcome.FINISHED
        assert record.evals[-1].values["accuracy"] > 0.93
        assert len(record.column("loss")) == record.cost.steps == 300

    @pytest.mark.slow
    def test_the_example_is_selected_by_name_in_processes_and_serially_alike(self, tmp_path: Path) -> None:
        found = [
            lrc.select(f"{EXAMPLE}:train", budget="4runs", out=tmp_path / executor, executor=executor)  # type: ignore[arg-type]
            for executor in ("serial", "processes")
        ]
        assert found[0].record.column("loss").tolist() == found[1].record.column("loss").tolist()
        assert (found[0].method, found[0].base_lr) == (found[1].method, found[1].base_lr)
        final, default = found[0].record.final, found[0].choice.default.final
        assert final is not None
        assert default is not None
        assert final <= default
        print(f"RELIABILITY script_example_val_loss={final:.4f} script_example_default_val_loss={default:.4f}")
