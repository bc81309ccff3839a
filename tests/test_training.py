"""The training loop: what it is asked is what it does, bit for bit, and nothing else is touched."""

import contextlib
import dataclasses
import math
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lrcontrol as lrc
from lrcontrol.controls.control import Decision, Observation, State
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, DoesNotFit, LRControlError, RecordError, UnknownName
from lrcontrol.runs.method import SGD, AdamW, Method, OptimizerSpec
from lrcontrol.runs.record import Outcome, Record, Weights
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.task import Task
from lrcontrol.training import loop, under_way
from lrcontrol.training.batched import why_not_batched
from lrcontrol.training.loop import test_metrics as metrics_on_test
from lrcontrol.training.loop import train, trained_model, warm
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build
from lrcontrol.training.under_way import evaluations
from lrcontrol.training.weights import save_weights

TASK = "diabetes-mlp"


def spec_of(method: str = "sgd:cosine", base_lr: float = 0.05, steps: int = 40, **more: Any) -> RunSpec:
    return RunSpec(**({"task": TASK, "method": method, "base_lr": base_lr, "total_steps": steps} | more))


def told(record: Record) -> tuple[Any, ...]:
    """All of a record but its seconds, with columns as bytes."""
    columns = {name: values.tobytes() for name, values in record.columns.items()}
    return (record.spec, record.outcome, record.evals, record.cost.steps, columns, record.message, record.weights)


# The rates


@pytest.mark.parametrize("method", ["sgd:warmup(7)+rex", "adamw:step", "sgd:repeat(cosine, times=3)", "adamw:linear"])
def test_the_recorded_rate_is_base_times_multiplier_and_is_what_the_optimizer_used(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    def watched(*arguments: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(*arguments)
        optimizer.register_step_pre_hook(lambda it, *_: used.extend(group["lr"] for group in it.param_groups))
        return optimizer

    monkeypatch.setattr(under_way, "make_optimizer", watched)
    spec = spec_of(method, 0.0123, 57)
    record = train(spec)
    wanted = 0.0123 * spec.method.control.schedule.multipliers(57)
    assert used == wanted.tolist()
    assert record.column("lr").dtype == np.float32
    assert np.array_equal(record.column("lr"), wanted.astype(np.float32))


def plain_loop(spec: RunSpec, optimizer: type[torch.optim.Optimizer], **settings: Any) -> list[float]:
    """Ten lines of plain PyTorch: an unfused optimizer and a cosine written by hand."""
    problem = build(TASKS[spec.task], spec.seed)
    made = optimizer(problem.model.parameters(), lr=spec.base_lr, foreach=False, **settings)  # type: ignore[call-arg]
    losses = []
    for step in range(spec.total_steps):
        inputs, targets = problem.batches(step, step + 1)[0]
        made.param_groups[0]["lr"] = spec.base_lr * 0.5 * (1 + math.cos(math.pi * step / spec.total_steps))
        loss = problem.loss(problem.model(inputs), targets)
        losses.append(loss.item())
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        made.step()
    return losses


@pytest.mark.parametrize("task", ["diabetes-mlp", "digits-cnn", "digits-softmax"])
@pytest.mark.parametrize(
    ("method", "base_lr", "optimizer", "settings"),
    [
        ("sgd", 0.03, torch.optim.SGD, {"momentum": 0.9}),
        (
            "sgd(momentum=0.5, weight_decay=0.01, nesterov=true)",
            0.1,
            torch.optim.SGD,
            {"momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
        ),
        ("adamw", 0.003, torch.optim.AdamW, {}),
        (
            "adamw(beta1=0.8, beta2=0.95, eps=1e-5, weight_decay=0.3)",
            0.003,
            torch.optim.AdamW,
            {"betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.3},
        ),
    ],
    ids=["sgd", "nesterov", "adamw", "adamw changed"],
)
def test_the_loop_follows_its_slow_twin(
    task: str, method: str, base_lr: float, optimizer: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    """Within what the order of float32 operations makes over 30 updates."""
    spec = spec_of(f"{method}:cosine", base_lr, 30, task=task, seed=2)
    record = train(spec)
    tolerance = 1e-2 if task == "digits-cnn" else 1e-4  # batch norm makes small differences large
    assert record.column("loss") == pytest.approx(plain_loop(spec, optimizer, **settings), rel=tolerance)


# The norms of gradients


def twin_norms(spec: RunSpec) -> dict[str, list[float]]:
    """Ten lines of plain PyTorch, the norms in float64."""
    problem = build(TASKS[spec.task], spec.seed)
    optimizer = make_optimizer(spec.method.optimizer, problem.model.parameters(), spec.base_lr)
    found: dict[str, list[float]] = {"l1": [], "l2": []}
    for step, lr in enumerate(spec.base_lr * spec.method.control.schedule.multipliers(spec.total_steps)):
        inputs, targets = problem.batches(step, step + 1)[0]
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        problem.loss(problem.model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        whole = torch.cat(
            [each.grad.flatten().double() for each in problem.model.parameters() if each.grad is not None]
        )
        for order, values in found.items():
            values.append(float(torch.linalg.vector_norm(whole, int(order[1]))))
        optimizer.step()
    return found


@pytest.mark.parametrize("task", ["diabetes-mlp", "digits-cnn"])
@pytest.mark.parametrize("asked", [("l2",), ("l1",), ("l1", "l2")], ids=str)
def test_recorded_norms_are_those_of_the_gradient_before_the_update(task: str, asked: tuple[str, ...]) -> None:
    """Measuring them changes nothing else in the record."""
    spec = spec_of("sgd:warmup(3)+rex", 0.01, 53, task=task, seed=1)
    plain, record = train(spec), train(msgspec.structs.replace(spec, norms=asked))
    wanted = twin_norms(spec)
    assert set(record.columns) == {"loss", "lr", *asked}
    for order in asked:
        assert record.column(order) == pytest.approx(wanted[order], rel=1e-6)
        assert record.column(order).dtype == np.float32
    rest = {name: values for name, values in record.columns.items() if name not in asked}
    assert told(msgspec.structs.replace(record, columns=rest, spec=spec)) == told(plain)
    assert Record.from_summary(*record.packed()).column(asked[0]).tobytes() == record.column(asked[0]).tobytes()


def test_runs_that_begin_alike_share_their_norms_and_show_what_each_asked_for() -> None:
    cooldowns = [f"sgd:constant(share=0.6)+linear(start=1, end={end})" for end in (0.0, 0.1, 0.2)]
    asked = [("l1",), (), ("l1", "l2")]
    specs = [spec_of(method, norms=norms) for method, norms in zip(cooldowns, asked, strict=True)]
    together = {record.id: record for record in loop.train_all(specs)}
    assert sorted(record.cost.shared for record in together.values()) == [0, 25, 25]
    for spec in specs:
        assert told(together[spec.id]) == told(train(spec))


@pytest.mark.parametrize("stop", [1, 7, 20, 39])
def test_norms_go_on_from_a_checkpoint(stop: int, tmp_path: Path) -> None:
    whole = train(spec_of(norms=("l1", "l2")))
    begun = train(spec_of(norms=("l2",), stop_step=stop, checkpoint=True), weights=tmp_path)
    rest = train(spec_of(norms=("l1", "l2"), start=Start(begun.id, stop)), weights=tmp_path)
    assert (begun.column("l2").tobytes() + rest.column("l2").tobytes()) == whole.column("l2").tobytes()
    assert rest.column("l1").tobytes() == whole.column("l1")[stop:].tobytes()


class Normed(Plateau, frozen=True, tag_field="control", tag="plateau"):
    """The rate over the norm of the gradient; ends where it has seen enough."""

    after: int = 1000

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"grad_norm"})

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        assert seen.grad_norm is not None
        return Decision(1 / (1 + seen.grad_norm), stop="enough" if seen.step + 1 == self.after else None), state


@pytest.mark.parametrize("norms", [(), ("l1",), ("l1", "l2")], ids=str)
def test_a_control_that_needs_the_norm_of_the_gradient_is_told_it_after_every_update(norms: tuple[str, ...]) -> None:
    """Whatever is recorded beside; and it is refused where many runs are trained at once."""
    spec = spec_of(method=Method(SGD(), Normed()), steps=60, norms=norms)
    record = train(spec)
    assert list(record.columns) == ["loss", "lr", *norms]
    known = train(msgspec.structs.replace(spec, norms=("l2",)))
    rates = 0.05 / (1 + known.column("l2")[:-1].astype(np.float64))
    assert record.column("lr")[1:] == pytest.approx(rates, rel=1e-6)
    ended = train(msgspec.structs.replace(spec, method=Method(SGD(), Normed(after=33)), norms=("l2",)))
    assert (ended.outcome, ended.cost.steps, len(ended.column("l2"))) == (Outcome.STOPPED, 33, 33)
    assert "must need no norms" in str(why_not_batched([spec]))


def test_a_run_that_diverges_has_its_norms_up_to_there() -> None:
    record = train(spec_of(base_lr=1e30, norms=("l2",)))
    assert record.outcome is Outcome.DIVERGED
    assert len(record.column("l2")) == record.cost.steps
    assert not np.isfinite(record.column("l2")[-1])


# The same again


@pytest.mark.parametrize("task", ["diabetes-mlp", "digits-cnn"])
def test_the_same_spec_is_the_same_record(task: str) -> None:
    """Bit for bit, whatever ran in between and whatever the caller's random state and threads are."""
    spec = spec_of("adamw:warmup(3)+rex", 0.003, 21, task=task, seed=9)
    first = train(spec)
    torch.manual_seed(12345)
    train(spec_of(seed=8))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert told(train(spec)) == told(first)
    finally:
        torch.set_num_threads(threads)


def test_every_field_of_a_spec_moves_the_run() -> None:
    base = train(spec_of())
    changes = {"task": "breast-cancer-logistic", "method": "sgd:rex", "base_lr": 0.06, "seed": 1, "total_steps": 41}
    for name, value in changes.items():
        moved = train(spec_of(**{name: value}))
        assert not np.array_equal(moved.column("loss")[:40], base.column("loss")), name
    assert train(spec_of(stop_step=39)).cost.steps == 39


@pytest.mark.parametrize("stop", [1, 2, 19, 20, 39, 40])
@pytest.mark.parametrize("task", ["diabetes-mlp", "digits-cnn"])
def test_a_cut_run_is_the_beginning_of_the_whole_run(task: str, stop: int) -> None:
    """Bit for bit, also the evaluations that both made."""
    whole = train(spec_of("adamw:cosine", 0.003, 40, task=task))
    cut = train(spec_of("adamw:cosine", 0.003, 40, task=task, stop_step=stop))
    assert cut.cost.steps == stop
    for name in ("loss", "lr"):
        assert cut.column(name).tobytes() == whole.column(name)[:stop].tobytes()
    at = {each.step: each.values for each in whole.evals}
    common = [each for each in cut.evals if each.step in at]
    assert all(each.values == at[each.step] for each in common)
    assert common or stop not in at


def test_a_compressed_run_is_not_a_cut_one() -> None:
    compressed, cut = train(spec_of(steps=20)), train(spec_of(steps=40, stop_step=20))
    assert compressed.column("lr")[-1] < cut.column("lr")[-1] / 10


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_looking_takes_at_most_a_tenth_of_a_run(task: Task) -> None:
    """An update is reckoned as three looks at its batch; one look there must be, of a full run five."""
    for steps in (1, 20, 100, task.full_steps // 9 + 1, task.full_steps, 10 * task.full_steps):
        count = evaluations(task, steps)
        least = 5 if steps >= task.full_steps else 1
        assert least <= count <= 10
        assert count == least or count * task.sizes[1] <= 0.1 * 3 * steps * task.batch_size
    assert evaluations(task, 100 * task.full_steps) == 10


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 25, 49, 50, 51, 100, 101])
def test_evaluations_are_even_and_the_last_is_of_the_final_weights(steps: int) -> None:
    """As many as are worth it, none twice; progress is told at rising counts, the last of them all."""
    counts: list[int] = []
    record = train(spec_of(steps=steps), progress=counts.append)
    at = [each.step for each in record.evals]
    assert at == sorted(set(at))
    assert at[-1] == steps
    known = TASKS[record.spec.task]
    assert len(at) == min(steps, evaluations(known, steps))
    assert max(np.diff([0, *at])) <= math.ceil(steps / len(at)) + 1
    assert counts == sorted(set(counts))
    assert counts[-1] == steps
    assert set(at) <= set(counts)
    assert record.final == record.evals[-1].values["rmse"]


# Divergence


def test_divergence_is_an_outcome_that_names_its_update_and_costs_what_was_made() -> None:
    record = train(spec_of("sgd:constant", 1e4, 300, save=False))
    losses = record.column("loss")
    first = int(np.flatnonzero(~np.isfinite(losses))[0])
    assert record.outcome is Outcome.DIVERGED
    assert record.message == f"the loss was not finite at update {first}"
    assert first < record.cost.steps == len(losses) == len(record.column("lr")) < 300
    assert record.final is None
    assert not record.usable
    assert all(math.isfinite(value) for each in record.evals for value in each.values.values())
    assert all(each.step <= first for each in record.evals)


def test_a_run_whose_last_update_breaks_it_has_diverged() -> None:
    """Its batch losses were all finite; its validation loss is not."""
    record = train(spec_of("sgd(momentum=0):constant", 1e30, 1))
    assert np.isfinite(record.column("loss")).all()
    assert (record.outcome, record.cost.steps, record.evals) == (Outcome.DIVERGED, 1, ())
    assert record.message == "the validation loss was not finite after 1 updates"


@pytest.mark.parametrize("base_lr", [1e39, 1e300, 1.7e308])
def test_a_rate_that_no_float32_holds_diverges_without_a_warning(base_lr: float) -> None:
    record = train(spec_of("sgd:constant(level=100)", base_lr, 3))
    assert record.outcome is Outcome.DIVERGED
    assert np.isinf(record.column("lr")).all()


def test_a_diverged_run_keeps_no_weights(tmp_path: Path) -> None:
    record = train(spec_of("sgd:constant", 1e9, 100, save=True), weights=tmp_path)
    assert record.weights is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RecordError, match="must have weights"):
        trained_model(record, tmp_path)


# Refused before update 0


def test_what_cannot_be_run_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_nothing(*_: Any) -> Problem:
        raise AssertionError("built")

    monkeypatch.setattr(loop, "build", build_nothing)
    cases: list[tuple[dict[str, Any], type[LRControlError], str]] = [
        ({"method": "sgd:warmup(41)+rex"}, DoesNotFit, "need 41 steps, but there are 40"),
        ({"method": "sgd:warmup(21)+rex", "steps": 20, "stop_step": 1}, DoesNotFit, "21 steps"),
        ({"task": "diabetes-mpl"}, UnknownName, "did you mean 'diabetes-mlp'"),
        ({"save": True}, BadInput, "`weights`"),
    ]
    for change, kind, match in cases:
        with pytest.raises(kind, match=match):
            train(spec_of(**change))


# The caller's state


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_threads_and_random_state_are_put_back_however_a_run_ends(ending: type[BaseException] | None) -> None:
    inside = []

    def progress(_: int) -> None:
        inside.append(torch.get_num_threads())
        torch.rand(3)
        if ending is not None:
            raise ending

    torch.manual_seed(5)
    before = torch.get_rng_state()
    with contextlib.nullcontext() if ending is None else pytest.raises(ending):
        train(spec_of(), progress=progress)
    assert set(inside) == {1}
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("two_threads")
def test_warming_up_leaves_everything_and_is_done_once_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_WARM", set())
    spec = spec_of("adamw:warmup(30)+rex", 1e9)
    before = torch.get_rng_state()
    warm(spec)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(loop, "build", None)
    warm(spec)


# Weights


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    """On validation to the bit what the record says; on test what a look by hand says."""
    record = train(spec_of("adamw:rex", 0.01, 60, task="digits-cnn", save=True), weights=tmp_path / "deep" / "er")
    folder = tmp_path / "deep" / "er"
    assert [path.name for path in folder.iterdir()] == [f"{record.id}.safetensors"]
    model = trained_model(record, folder)
    assert not model.training
    problem = dataclasses.replace(build(TASKS["digits-cnn"], 0), model=model)
    assert problem.evaluate(problem.validation) == record.evals[-1].values
    tested = metrics_on_test(record, folder)
    assert tested == problem.evaluate(problem.test)
    assert tested != record.evals[-1].values
    again = train(record.spec, weights=folder)
    assert again.weights == record.weights, "the same run writes the same bytes"


@pytest.mark.parametrize("save", [True, False])
def test_keeping_weights_changes_nothing_else(tmp_path: Path, save: bool) -> None:
    plain = train(spec_of())
    kept = train(spec_of(save=save), weights=tmp_path)
    assert told(kept)[4] == told(plain)[4]
    assert kept.evals == plain.evals
    assert (kept.weights is not None) == save


def test_damaged_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    record = train(spec_of(save=True), weights=tmp_path)
    assert record.weights is not None
    path = tmp_path / record.weights.file
    whole = path.read_bytes()
    header = struct.unpack("<Q", whole[:8])[0]
    damaged = [
        b"",
        whole[:-1],
        whole + b"\0",
        *(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 9, 8 + header, len(whole) - 1)),
    ]
    for blob in damaged:
        path.write_bytes(blob)
        with pytest.raises(RecordError, match="SHA-256 differs"):
            trained_model(record, tmp_path)
    path.unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        metrics_on_test(record, tmp_path)
    other = train(spec_of(seed=1, save=True), weights=tmp_path)
    assert other.weights is not None
    (tmp_path / other.weights.file).rename(path)
    with pytest.raises(RecordError, match="SHA-256 differs"):
        trained_model(record, tmp_path)
    path.write_bytes(whole)
    trained_model(record, tmp_path)


def test_weights_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was there stays, and nothing else is left."""
    model = nn.Linear(2, 2)
    kept = save_weights(model, tmp_path, "run")
    assert isinstance(kept, Weights)
    before = (tmp_path / "run.safetensors").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lrcontrol.files.os.fsync", full)
    with pytest.raises(BadInput, match="No space"):
        save_weights(nn.Linear(2, 2), tmp_path, "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]
    assert (tmp_path / "run.safetensors").read_bytes() == before


# Optimizers


FIELDS: list[tuple[OptimizerSpec, str, Any]] = [
    (SGD(), "momentum", 0.5),
    (SGD(), "weight_decay", 0.1),
    (SGD(), "nesterov", True),
    (AdamW(), "beta1", 0.5),
    (AdamW(), "beta2", 0.9),
    (AdamW(), "eps", 1e-3),
    (AdamW(), "weight_decay", 0.5),
]


def test_every_field_of_every_optimizer_is_in_the_list() -> None:
    assert {(type(spec), field) for spec, field, _ in FIELDS} == {
        (kind, field) for kind in (SGD, AdamW) for field in kind.__struct_fields__
    }


@pytest.mark.parametrize(("spec", "field", "value"), FIELDS, ids=str)
def test_every_parameter_of_an_optimizer_moves_the_run(spec: OptimizerSpec, field: str, value: Any) -> None:
    changed = msgspec.structs.replace(spec, **{field: value})
    methods = [Method(each, Scheduled(lrc.cosine())) for each in (spec, changed)]
    losses = [
        train(RunSpec(task=TASK, method=method, base_lr=0.01, total_steps=10)).column("loss") for method in methods
    ]
    assert losses[0][0] == losses[1][0]
    assert not np.array_equal(*losses)


def descend(spec: OptimizerSpec, base_lr: float, curvature: float, multipliers: Any) -> list[float]:
    """Where `f(x) = curvature x**2 / 2` is descended from x = 1, in float64."""
    x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make_optimizer(spec, [x], base_lr)
    path = []
    for multiplier in multipliers:
        optimizer.param_groups[0]["lr"] = base_lr * float(multiplier)
        x.grad = curvature * x.detach()
        optimizer.step()
        path.append(float(x.detach()))
    return path


@pytest.mark.parametrize("curvature", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_on_a_quadratic_is_stable_up_to_its_limit(curvature: float, momentum: float) -> None:
    """`2 (1 + momentum) / curvature`, from either side."""
    limit = 2 * (1 + momentum) / curvature
    below = descend(SGD(momentum=momentum), 0.99 * limit, curvature, np.ones(4000))
    above = descend(SGD(momentum=momentum), 1.01 * limit, curvature, np.ones(4000))
    assert abs(below[-1]) < 1e-8
    assert abs(above[-1]) > 1e8


@pytest.mark.parametrize("schedule", ["linear", "warmup(10)+rex", "cosine(end=0.1)", "step"])
def test_a_scheduled_descent_of_a_quadratic_is_the_product_of_its_steps(schedule: str) -> None:
    """Without momentum `x_T = prod(1 - lr_t curvature)`; the loop that steps a torch scheduler gets there too."""
    multipliers = lrc.schedule(schedule).multipliers(50)
    wanted = np.cumprod(1 - 0.3 * multipliers * 2.0)
    assert descend(SGD(momentum=0.0), 0.3, 2.0, multipliers) == pytest.approx(wanted.tolist(), rel=1e-12)
    x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make_optimizer(SGD(momentum=0.0), [x], 0.3)
    scheduler = lrc.as_torch_scheduler(optimizer, schedule, 50)
    for _ in range(50):
        x.grad = 2.0 * x.detach()
        optimizer.step()
        scheduler.step()
    assert float(x.detach()) == pytest.approx(wanted[-1], rel=1e-12)


def heavy_ball(spec: SGD, base_lr: float, curvature: float, multipliers: Any) -> list[float]:
    """As Sutskever et al. and torch write it: the buffer gathers gradients, the rate multiplies it."""
    x, buffer, path = 1.0, 0.0, []
    for multiplier in multipliers:
        gradient = curvature * x + spec.weight_decay * x
        buffer = spec.momentum * buffer + gradient
        x -= base_lr * multiplier * (gradient + spec.momentum * buffer if spec.nesterov else buffer)
        path.append(x)
    return path


def decoupled_adam(spec: AdamW, base_lr: float, curvature: float, multipliers: Any) -> list[float]:
    """Algorithm 2 of Loshchilov and Hutter, with the weight decay times the rate in force, as torch has it."""
    x, first, second, path = 1.0, 0.0, 0.0, []
    for step, multiplier in enumerate(multipliers, start=1):
        lr = base_lr * multiplier
        gradient = curvature * x
        first = spec.beta1 * first + (1 - spec.beta1) * gradient
        second = spec.beta2 * second + (1 - spec.beta2) * gradient**2
        unbiased = first / (1 - spec.beta1**step), second / (1 - spec.beta2**step)
        x = x * (1 - lr * spec.weight_decay) - lr * unbiased[0] / (math.sqrt(unbiased[1]) + spec.eps)
        path.append(x)
    return path


@pytest.mark.parametrize(
    "spec",
    [
        SGD(),
        SGD(momentum=0.5, weight_decay=0.1),
        SGD(momentum=0.8, nesterov=True),
        AdamW(),
        AdamW(beta1=0.5, beta2=0.9, eps=1e-3, weight_decay=0.2),
    ],
    ids=str,
)
def test_optimizers_follow_their_papers(spec: OptimizerSpec) -> None:
    multipliers = lrc.schedule("warmup(5)+rex").multipliers(60)
    reference: Any = heavy_ball if isinstance(spec, SGD) else decoupled_adam
    wanted = reference(spec, 0.05, 3.0, multipliers)
    assert descend(spec, 0.05, 3.0, multipliers) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_the_optimizers_are_fused_and_hold_all_parameters() -> None:
    model = nn.Linear(3, 2)
    for spec in (SGD(), AdamW()):
        optimizer = make_optimizer(spec, model.parameters(), 0.1)
        assert optimizer.param_groups[0]["fused"] is True
        held: list[Tensor] = [each for group in optimizer.param_groups for each in group["params"]]
        assert {id(each) for each in held} == {id(each) for each in model.parameters()}
