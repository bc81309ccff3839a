"""Runs on a CUDA device are those on the CPU to rounding, and go on, branch and are trained at once as they are there.

Skipped where there is none: `python -m pytest tests/test_cuda.py` on a machine that has one.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lrcontrol as lrc
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training.batched import train_batched
from lrcontrol.training.loop import test_metrics as metrics_on_test
from lrcontrol.training.loop import train, train_all

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="has no accelerator")

CUDA = torch.device("cuda", 0)
CLOSE = 2e-3  # of a loss: convolutions there are in TF32
METHODS = [
    *("sgd:warmup(0.1)+cosine", "adamw:linear", "schedulefree_adamw:constant", "prodigy:cosine", "dog:constant"),
    *("dowg:constant", "cocob:constant", "mechanic(sgd):linear", "dadapt_adam:linear", "sgd:polyak", "sgd:l4"),
    *("sgd:hypergradient", "sgd:alignment", "sgd:snapshots(cycles=2)"),
]


def spec_of(task: str, method: str, steps: int = 40, **more: Any) -> RunSpec:
    return RunSpec(task=task, method=method, base_lr=1.0 if "sgd:" not in method else 0.02, total_steps=steps, **more)


def losses(record: Record) -> NDArray[np.float32]:
    return record.column("loss")


def close(one: Record, other: Record, tolerance: float = CLOSE) -> bool:
    return one.outcome is other.outcome and np.allclose(losses(one), losses(other), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_there_is_that_here(method: str) -> None:
    rate = {"adamw:linear": 1e-3, "schedulefree_adamw:constant": 1e-2}.get(method)
    spec = spec_of("digits-mlp", method)
    spec = spec if rate is None else msgspec.structs.replace(spec, base_lr=rate)
    assert close(train(spec), train(spec, device=CUDA))


@pytest.mark.parametrize("task", ["digits-cnn", "digits-softmax", "diabetes-mlp"])
def test_runs_at_once_there_are_those_alone(task: str) -> None:
    specs = [
        RunSpec(task=task, method=method, base_lr=rate, total_steps=40, seed=seed)
        for method in ("sgd:rex", "sgd(momentum=0):constant")
        for rate in (1e-3, 1e-2)
        for seed in (0, 1)
    ]
    alone = {record.id: record for record in train_all(specs, device=CUDA)}
    for record in train_batched(specs, device=CUDA):
        assert close(record, alone[record.id])


def test_runs_at_once_draw_their_own_dropout() -> None:
    """Two seeds draw differently, two runs of a seed alike, and later updates not as earlier ones."""
    specs = [
        RunSpec(task="sst-bag", method="adamw:constant", base_lr=rate, total_steps=120, seed=seed)
        for rate in (1e-9, 2e-9)
        for seed in (0, 1)
    ]
    found = {(record.spec.base_lr, record.spec.seed): losses(record) for record in train_batched(specs, device=CUDA)}
    assert np.allclose(found[1e-9, 0], found[2e-9, 0], rtol=1e-4)
    assert not np.allclose(found[1e-9, 0], found[1e-9, 1], rtol=1e-4)
    assert not np.allclose(found[1e-9, 0][:50], found[1e-9, 0][50:100], rtol=1e-4)


@pytest.mark.parametrize("method", ["adamw:cosine", "prodigy:cosine", "schedulefree_sgd:constant"])
def test_a_run_that_goes_on_there_is_the_whole_one(method: str, tmp_path: Path) -> None:
    """Dropout too: random numbers go on where they were."""
    whole = RunSpec(task="sst-bag", method=method, base_lr=1e-3, total_steps=60)
    first = msgspec.structs.replace(whole, stop_step=25, checkpoint=True)
    train(first, weights=tmp_path, device=CUDA)
    rest = msgspec.structs.replace(whole, start=Start(first.id, 25))
    found = train(rest, weights=tmp_path, device=CUDA)
    assert np.allclose(losses(found), losses(train(whole, device=CUDA))[25:], rtol=1e-3, atol=1e-3)


def test_runs_that_share_a_beginning_there_are_those_alone() -> None:
    specs = [
        RunSpec(task="digits-cnn", method=f"adamw:wsd(cooldown={share})", base_lr=1e-3, total_steps=60)
        for share in (0.2, 0.5)
    ]
    shared = list(train_all(specs, device=CUDA))
    assert sum(record.cost.shared for record in shared) > 0
    for record in shared:
        assert close(record, train(record.spec, device=CUDA))


def test_the_callers_random_numbers_are_his_own() -> None:
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state(CUDA)
    train(RunSpec(task="sst-bag", method="adamw:cosine", base_lr=1e-3, total_steps=20), device=CUDA)
    assert torch.equal(torch.cuda.get_rng_state(CUDA), before)


@pytest.mark.parametrize("executor", ["serial", "processes", "batched", "auto"])
def test_a_study_there_ends_as_it_does_here(executor: str, tmp_path: Path) -> None:
    methods = ["sgd:rex", "sgd:constant"]
    found = lrc.select(
        "digits-mlp",
        methods=methods,
        base_lrs=[0.01, 0.1],
        budget="6runs",
        executor=executor,
        device="cuda",
        out=tmp_path / "there",
    )
    here = lrc.select("digits-mlp", methods=methods, base_lrs=[0.01, 0.1], budget="6runs", out=tmp_path / "here")
    assert found.record.outcome is Outcome.FINISHED
    assert abs(found.test["accuracy"] - here.test["accuracy"]) < 0.05


def test_what_was_trained_there_is_judged_here_too(tmp_path: Path) -> None:
    spec = RunSpec(task="digits-cnn", method="adamw:cosine", base_lr=1e-3, total_steps=60, save=True)
    record = train(spec, weights=tmp_path, device=CUDA)
    there, here = (metrics_on_test(record, tmp_path, place) for place in (CUDA, None))
    assert there["loss"] == pytest.approx(here["loss"], rel=CLOSE)
