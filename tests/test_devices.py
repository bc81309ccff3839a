"""Where runs are trained: on a pretended accelerator, which has shapes and places and no numbers; and what is refused.

`test_cuda.py` does it on a real one, where there is one.
"""

import contextlib
import copy
import dataclasses
import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeCopyMode,
    FakeTensorMode,
)

import lrcontrol as lrc
from lrcontrol import api
from lrcontrol.errors import BadInput
from lrcontrol.runs import user_code
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.user_code import HOST
from lrcontrol.training import together
from lrcontrol.training.batched import train_batched
from lrcontrol.training.batching import trial
from lrcontrol.training.devices import (
    SEEN,
    find_device,
    places_of_random,
    random_kept,
    random_now,
    seed_random,
    seen_alone,
    set_random,
)
from lrcontrol.training.loop import train
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.state import taken
from lrcontrol.training.tasks import catalogue
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, Split, build
from lrcontrol.workplace import Workplace

CPU = torch.device("cpu")
THERE = torch.device("lazy", 0)  # a device that torch knows and that nobody has
DEPENDS = (DataDependentOutputException, DynamicOutputShapeException)
"""What raises where a pretended tensor would have to have numbers."""


def pretended(problem: Problem, mode: FakeTensorMode) -> Problem:
    """The problem moved to a device that is not there; `nn.Module.to` asks for the device itself."""
    with FakeCopyMode(mode):
        model = copy.deepcopy(problem.model)
    splits = {
        name: Split(*(mode.from_tensor(each) for each in (split.inputs, split.targets)))
        for name, split in (("train", problem.train), ("validation", problem.validation), ("test", problem.test))
    }
    with mode:
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    module._parameters[name] = nn.Parameter(value.detach().to(THERE), value.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.to(THERE)
            if isinstance(module, nn.RNNBase):
                module._init_flat_weights()
        moved = {name: split.on(THERE) for name, split in splits.items()}
    return dataclasses.replace(problem, model=model, **moved)


def told(record: Record) -> Any:
    """All of a record but what it took."""
    return record.spec, record.outcome, record.evals, {name: value.tolist() for name, value in record.columns.items()}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_trains_and_is_judged_wherever_it_is_put(name: str) -> None:
    """torch refuses operations on tensors of two devices, so that what stays behind on the CPU is found."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    problem = pretended(build(TASKS[name], 0), mode)
    assert problem.device.type == THERE.type
    with mode:
        (inputs, targets), *_ = problem.batches(0, 2)
        assert inputs.device.type == targets.device.type == THERE.type
        try:
            loss = problem.loss(problem.model(inputs), targets)
            loss.backward()
        except DEPENDS:  # what is measured or masked decides how many numbers there are
            assert name in ("tox21-mlp", "wikitext-masked")
            return
        assert {each.grad.device.type for each in problem.model.parameters() if each.grad is not None} == {"lazy"}
        problem.model.eval()
        few = Split(problem.validation.inputs[:8], problem.validation.targets[:8])
        with torch.no_grad():
            outputs = problem.model(few.inputs)
            assert problem.loss(outputs, few.targets).device.type == THERE.type
            with pytest.raises(DEPENDS):  # at the end, where a number is taken
                problem.metrics(outputs, few.targets)


def test_a_device_that_is_named_for_runs_here_changes_nothing() -> None:
    for method in ("sgd:warmup(0.1)+cosine", "prodigy:linear"):
        spec = RunSpec(task="digits-cnn", method=method, base_lr=0.01, total_steps=30)
        assert told(train(spec, device=CPU)) == told(train(spec))


def test_runs_at_once_on_a_named_device_are_those_of_none() -> None:
    specs = [
        RunSpec(task="sst-bag", method="adamw:rex", base_lr=rate, total_steps=20, seed=seed)
        for rate in (1e-3, 1e-2)
        for seed in (0, 1)
    ]
    found = {record.id: told(record) for record in train_batched(specs, device=CPU)}
    assert found == {record.id: told(record) for record in train_batched(specs)}


def test_a_problem_that_is_moved_where_it_is_stays_the_same() -> None:
    problem = build(TASKS["digits-mlp"], 0)
    assert problem.on(CPU) is problem
    assert build(TASKS["digits-mlp"], 0, CPU).device == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", "cuda:-1", "mps", "", 0, "cuda:1000"])
def test_what_is_no_device_is_refused(name: Any) -> None:
    with pytest.raises(BadInput, match=r"a device must be cpu, cuda or cuda:NUMBER, got"):
        find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has an accelerator")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    asked: list[tuple[Any, dict[str, Any]]] = [
        (lrc.train, {"out": tmp_path / "a"}),
        (lrc.select, {"budget": "3runs", "out": tmp_path / "b"}),
        (api.search, {"budget": "3runs", "out": tmp_path / "c"}),
        (lrc.range_test, {"out": tmp_path / "d"}),
    ]
    for function, options in asked:
        with pytest.raises(BadInput, match=rf"must be there, got {name}, where torch .* finds none; use cpu"):
            function("digits-softmax", device=name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has three accelerators."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv(SEEN, raising=False)


def test_every_process_sees_one_accelerator(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen_alone("cuda") == [{SEEN: "0"}, {SEEN: "1"}, {SEEN: "2"}]
    assert seen_alone("cuda:1") == [{SEEN: "1"}]
    assert seen_alone("cpu") == [{}]
    monkeypatch.setenv(SEEN, "5,GPU-a,7")
    assert seen_alone("cuda") == [{SEEN: "5"}, {SEEN: "GPU-a"}, {SEEN: "7"}]
    assert seen_alone("cuda:1") == [{SEEN: "GPU-a"}]
    assert Workplace(device="cuda").slots == 3
    assert Workplace(device="cuda:2").slots == 1
    assert Workplace(device="cuda", workers=5).slots == 5
    assert str(find_device("cuda:2")) == "cuda:2"
    assert str(find_device("cuda")) == "cuda:0"
    with pytest.raises(BadInput, match=r"got cuda:3, where torch .* finds 3, cuda:0 to cuda:2; use cpu"):
        find_device("cuda:3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadInput, match=r"got cuda:1, where torch .* finds 1, cuda:0; use cpu"):
        find_device("cuda:1")


@pytest.mark.parametrize(
    ("device", "gpus", "right"),
    [("cuda", 1.0, True), ("cuda", 0.0, False), ("cuda:1", 1.0, False), ("cpu", 0.0, True)],
)
def test_a_cluster_gives_runs_their_accelerators(device: str, gpus: float, right: bool) -> None:
    if right:
        place = Workplace("ray", run_gpus=gpus, device=device)
        assert place.placed() is None  # it is found where the run is
    else:
        with pytest.raises(BadInput, match="a cluster gives a run its accelerator"):
            Workplace("ray", run_gpus=gpus, device=device)


SEES = """
import os
import torch
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps=5)
def train(run):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = run.steer(torch.optim.SGD([weight], lr=0.1))
    while not run.should_stop:
        weight.grad = weight.detach().clone()
        optimizer.step()
    run.log(val_loss=float(weight.detach()), sees=float(os.environ["CUDA_VISIBLE_DEVICES"]))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="has an accelerator")
def test_processes_side_by_side_see_accelerators_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "sees.py"
    file.write_text(SEES)
    name, seen = f"{file}:train", set[float]()
    known = catalogue.named(name)
    specs = [
        RunSpec(task=known.name, method="own:cosine", base_lr=0.1 / (1 + each), total_steps=5) for each in range(8)
    ]
    options = {"workers": 2, "files": [str(file)], "environments": [{SEEN: "3"}, {SEEN: "7"}]}
    executor = Processes("lrcontrol.training.together:carry", known.objective, **options)
    with contextlib.closing(executor):
        for spec in specs[:2]:
            executor.submit(spec)
        while executor.running:
            seen |= {record.evals[-1].values["sees"] for record in executor.wait()}
    assert seen == {3.0, 7.0}


TOUCHES = """
import torch
import lrcontrol as lrc

class Poisoned(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x)

@lrc.as_task(metric="loss", direction="minimize", full_steps=5)
def mine(seed):
    x = torch.linspace(-1, 1, 60)[:, None]
    splits = [lrc.Split(x[first::3], x[first::3]) for first in range(3)]
    loss = torch.nn.functional.mse_loss
    metrics = lambda outputs, targets: {"loss": float(loss(outputs, targets))}
    return lrc.Problem(Poisoned(1, 1), *splits, loss, metrics, batch_size=5, seed=seed)
"""


@pytest.mark.parametrize("device", [None, "cuda"])
def test_a_process_that_will_fork_goes_backward_nowhere(
    device: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where torch sees an accelerator, no process that is forked from it afterwards could train."""
    file = tmp_path / f"touches_{device}.py"
    file.write_text(TOUCHES)
    monkeypatch.setenv(HOST, "1")  # as in that process; who started it has tried the task
    user_code.load(file)

    def backward(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.optim.Optimizer, "step", backward)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device is not None)
    for name in (f"touches_{device}.py:mine", "digits-mlp"):
        for optimizer in ("adamw", "prodigy", "mechanic(sgd)"):
            spec = RunSpec(task=name, method=f"{optimizer}:cosine", base_lr=1e-3, total_steps=5)
            together.warm(spec, gain=10.0 if device else 0.0, device=device)


def test_what_is_on_a_device_already_is_not_copied_again() -> None:
    mode = FakeTensorMode()
    inputs, targets = mode.from_tensor(torch.ones(4, 2)), mode.from_tensor(torch.ones(4))
    with mode:
        first, again = Split(inputs, targets).on(THERE), Split(inputs, targets).on(THERE)
        assert first.inputs is again.inputs
        assert first.targets is again.targets
        assert first.inputs.device.type == THERE.type
        places = weakref.ref(first.inputs)
        del first, again
        gc.collect()
        assert places() is None  # nobody holds what nobody uses


def test_dropout_by_the_kernel_of_an_accelerator_is_drawn_as_under_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    """That kernel draws otherwise than torch.func.vmap does; on a CPU one that does so too stands for it."""
    real = torch.native_dropout

    def other(values: torch.Tensor, p: float, training: bool, inplace: bool) -> torch.Tensor:
        assert not inplace
        return real(values, p, training)[0] if training else values

    monkeypatch.setattr(nn.functional, "dropout", other)
    library = torch.library.Library("aten", "IMPL")

    def draws_otherwise(
        values: torch.Tensor, share: float, training: bool | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept = torch.rand(values.shape).double().flip(0) > share
        return values * kept / (1 - share), kept

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.impl("native_dropout", draws_otherwise, "CPU")
    try:
        trial._tried.cache_clear()
        assert trial.tried("sst-bag").why_not is None
    finally:
        library._destroy()
        trial._tried.cache_clear()


FORKED = """
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps=5)
def train(run):
    raise RuntimeError("Cannot re-initialize CUDA in forked subprocess. To use CUDA, you must use the 'spawn' method")
"""


def test_a_file_that_uses_the_accelerator_too_early_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "forked.py"
    file.write_text(FORKED)
    with pytest.raises(
        BadInput, match=r"must not use the accelerator while it is loaded or prepared, .* in the function"
    ):
        lrc.select(f"{file}:train", budget="2runs", executor="processes", out=tmp_path / "found")


def test_random_numbers_of_all_that_is_in_use_are_kept(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = [torch.device("cuda", place) for place in range(3)]
    assert places_of_random() == places_of_random(CPU) == [CPU]
    assert places_of_random(cuda[1]) == [CPU, cuda[1]]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert places_of_random() == places_of_random(cuda[1]) == [CPU, *cuda]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has an accelerator")
def test_a_time_on_a_cluster_is_reckoned_here(tmp_path: Path) -> None:
    where = {"executor": "ray", "run_gpus": 1, "device": "cuda", "out": tmp_path}
    with pytest.raises(BadInput, match="a time is reckoned by a few updates on this machine: a device must be there"):
        lrc.select("digits-softmax", budget="30min", **where)


def test_random_numbers_are_put_back() -> None:
    torch.manual_seed(3)
    before = random_now(CPU)
    with random_kept(CPU):
        seed_random(5, CPU)
        seeded = random_now(CPU)
        torch.rand(7)
        drawn = random_now(CPU)
        set_random(seeded, CPU)
        assert torch.equal(random_now(CPU), seeded)
        assert not torch.equal(drawn, seeded)
    assert torch.equal(random_now(CPU), before)


SCRIPT = """
import torch
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps=5)
def train(run):
    weight = torch.nn.Parameter(torch.ones(1, device=run.device))
    optimizer = run.steer(torch.optim.SGD([weight], lr=0.1))
    while not run.should_stop:
        weight.grad = weight.detach().clone()
        optimizer.step()
    run.log(val_loss=float(weight.detach()), on_cpu=float(run.device == torch.device("cpu")))
"""


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_script_is_told_where_it_is_asked_to_train(executor: str, tmp_path: Path) -> None:
    file = tmp_path / f"told_{executor}.py"
    file.write_text(SCRIPT)
    for place, device in enumerate((None, "cpu")):
        out = tmp_path / str(place)
        found = lrc.select(f"{file}:train", budget="2runs", executor=executor, device=device, out=out)
        assert found.record.evals[-1].values["on_cpu"] == 1.0


def test_states_do_not_name_accelerators_by_their_number() -> None:
    """So that a run goes on on another one."""
    names = taken(0, nn.Linear(2, 2), make_optimizer("sgd", [nn.Parameter(torch.ones(1))], 0.1)).tensors
    assert [name for name in names if name.startswith("random")] == ["random"]
