"""observe: what the gradients of every update are, in whatever way a loop makes its updates."""

import contextlib
import gc
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.amp.grad_scaler import GradScaler

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from lrcontrol.runs.gradient_log import GradientLogFile
from lrcontrol.training import norms as norms_module
from lrcontrol.training.observe import Observer
from observe_kit import Reads
from ranks_kit import two_ranks

ALL = ("l1", "l2", "dot", "update", "distance")
INPUTS, TARGETS = torch.randn(64, 6, generator=torch.Generator().manual_seed(4)), torch.ones(64, 1)


def model_of() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def loss_of(model: nn.Module, rows: slice = slice(None)) -> Tensor:
    loss: Tensor = ((model(INPUTS[rows]) - TARGETS[rows]) ** 2).mean()
    return loss


def flat(values: Iterator[Tensor | None] | list[Tensor | None]) -> Tensor:
    return torch.cat([each.detach().double().flatten() for each in values if each is not None])


class Twin:
    """What an observer should see, found with whole vectors in float64."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._last, self._start = model, None, flat(model.parameters())  # type: ignore[arg-type]
        self.rows: list[dict[str, float]] = []

    def before(self) -> None:
        now, self._weights = flat([each.grad for each in self._model.parameters()]), flat(self._model.parameters())  # type: ignore[arg-type]
        self.rows.append(
            {
                "l1": float(now.abs().sum()),
                "l2": float(now.norm()),
                "dot": math.nan if self._last is None else float(now @ self._last),
                "distance": float((self._weights - self._start).norm()),
            }
        )
        self._last: Tensor | None = now

    def after(self) -> None:
        self.rows[-1]["update"] = float((flat(self._model.parameters()) - self._weights).norm())  # type: ignore[arg-type]

    def check(self, observer: Observer, every: int = 1, names: tuple[str, ...] = ALL) -> None:
        seen = observer.columns
        assert seen["step"].tolist() == list(range(0, len(self.rows), every))
        for name in names:
            wanted = [row[name] for row in self.rows[::every]]
            assert seen[name] == pytest.approx(wanted, rel=1e-5, abs=1e-7 * max(map(abs, wanted[1:])), nan_ok=True), (
                name
            )


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "adamw fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
    "adamw foreach": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, foreach=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.001),
    "adafactor": lambda parameters: torch.optim.Adafactor(parameters, lr=0.01),
}


# What is seen


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_update_is_seen_as_it_is(kind: str, every: int) -> None:
    """Norms, products, moves, losses and rates, of every n-th update; training is not changed by it."""
    model, alone = model_of(), model_of()
    optimizer, other = OPTIMIZERS[kind](model.parameters()), OPTIMIZERS[kind](alone.parameters())
    twin, losses, rates = Twin(model), [], []
    with lrc.observe(optimizer, norms=ALL, every=every, block=4) as observer:
        scheduler = lrc.as_torch_scheduler(optimizer, "warmup(3)+rex", 23)
        for _ in range(23):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()  # type: ignore[no-untyped-call]
            observer.saw(loss=loss)
            losses.append(loss.item())
            rates.append(float(optimizer.param_groups[0]["lr"]))
            twin.before()
            optimizer.step()
            twin.after()
            scheduler.step()
    twin.check(observer, every)
    log = observer.log
    assert log.steps.tolist() == list(range(0, 23, every))
    assert log.loss == pytest.approx(losses[::every], rel=1e-6)
    assert log.lr == pytest.approx(rates[::every], rel=1e-15)
    assert log.l1 is not None
    assert log.l2 is not None
    follow = lrc.as_torch_scheduler(other, "warmup(3)+rex", 23)
    for _ in range(23):
        other.zero_grad()
        loss_of(alone).backward()  # type: ignore[no-untyped-call]
        other.step()
        follow.step()
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), alone.parameters(), strict=True))


def test_gradients_are_seen_after_accumulation_and_losses_are_averaged() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted, losses = [], []
    with lrc.observe(optimizer, norms=("l2",)) as observer:
        for _ in range(5):
            optimizer.zero_grad()
            micro = []
            for first in range(0, 64, 16):
                loss = loss_of(model, slice(first, first + 16)) / 4
                loss.backward()  # type: ignore[no-untyped-call]
                observer.saw(loss=loss)
                micro.append(loss.item())
            losses.append(sum(micro) / 4)
            wanted.append(float(flat([each.grad for each in model.parameters()]).norm()))
            optimizer.step()
    assert observer.log.l2 == pytest.approx(wanted, rel=1e-6)
    assert observer.log.loss == pytest.approx(losses, rel=1e-6)
    assert observer.log.l1 is None


@pytest.mark.parametrize("clip", ["norm", "value"])
def test_before_clipping_is_before_clipping(clip: str) -> None:
    """And without a word of it the gradients are seen as they are when the update is made: clipped."""
    seen = {}
    for told in (True, False):
        model = model_of()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before, after = [], []
        with lrc.observe(optimizer, every=2) as observer:
            for _ in range(9):
                optimizer.zero_grad()
                loss_of(model).backward()  # type: ignore[no-untyped-call]
                before.append(float(flat([each.grad for each in model.parameters()]).norm()))
                if told:
                    observer.before_clipping()
                if clip == "norm":
                    nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                else:
                    nn.utils.clip_grad_value_(model.parameters(), 0.001)
                after.append(float(flat([each.grad for each in model.parameters()]).norm()))
                optimizer.step()
        seen[told] = observer.log.l2
        assert seen[told] == pytest.approx((before if told else after)[::2], rel=1e-6)
    assert (seen[True] > 1.01 * seen[False]).any()


@pytest.mark.parametrize("form", ["positional", "keyword", "tensor", "float", "none"])
def test_gradients_that_a_closure_makes_are_seen_after_it(form: str) -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin, losses = Twin(model), []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        twin.before()
        return None if form == "none" else loss.item() if form == "float" else loss

    with lrc.observe(optimizer, norms=ALL) as observer:
        for _ in range(6):
            optimizer.step(closure) if form == "positional" else optimizer.step(closure=closure)
            twin.after()
    twin.check(observer)
    told = observer.log.loss
    assert (told is None) if form == "none" else told == pytest.approx(losses, rel=1e-6)


def test_of_an_update_that_looks_often_the_first_gradient_counts() -> None:
    model = model_of()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    found: list[list[float]] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()  # type: ignore[no-untyped-call]
        found[-1].append(float(flat([each.grad for each in model.parameters()]).norm()))
        return loss

    with lrc.observe(optimizer) as observer:
        for _ in range(4):
            found.append([])
            optimizer.step(closure)
    assert max(map(len, found)) > 1
    assert observer.log.l2 == pytest.approx([each[0] for each in found], rel=1e-6)


def test_the_latest_reading_is_at_hand_and_steers_a_control() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lrc.observe(optimizer, norms=("l2", "update"), block=3) as observer:
        assert observer.latest == {}
        for step in range(7):
            optimizer.zero_grad()
            loss_of(model).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            latest = {name: float(value) for name, value in observer.latest.items()}
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + latest["l2"])
            assert len(observer.log) == step + 1
            assert latest == {name: observer.columns[name][-1] for name in ("l2", "update")}
    assert observer.log.lr is not None
    assert observer.log.lr[1:] == pytest.approx(0.1 / (1 + observer.log.l2[:-1]), rel=1e-12)


@pytest.mark.parametrize("block", [1, 3, 256])
def test_to_look_between_clipping_and_the_update_loses_nothing(block: int) -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin = Twin(model)
    with lrc.observe(optimizer, norms=ALL, block=block) as observer:
        for step in range(7):
            optimizer.zero_grad()
            loss_of(model).backward()  # type: ignore[no-untyped-call]
            twin.before()
            observer.before_clipping()
            assert len(observer.log) == step
            optimizer.step()
            twin.after()
    twin.check(observer)


def test_parameters_come_and_go_and_rates_may_be_tensors() -> None:
    first, second = (nn.Parameter(torch.full((3,), 2.0)) for _ in range(2))
    optimizer = torch.optim.AdamW([first], lr=torch.tensor(0.25), fused=True)
    with lrc.observe(optimizer, norms=ALL) as observer:
        optimizer.step()
        optimizer.add_param_group({"params": [second]})
        first.grad, second.grad = torch.full((3,), 3.0), torch.full((3,), 4.0)
        optimizer.step()
        second.grad = None
        optimizer.step()
    seen = observer.columns
    assert seen["l2"] == pytest.approx([0, math.sqrt(75), math.sqrt(27)])
    assert seen["dot"] == pytest.approx([math.nan, 0, 27], nan_ok=True)
    assert seen["distance"][2] == pytest.approx(seen["update"][1], rel=1e-6)
    assert seen["lr"].tolist() == [0.25] * 3


def test_sparse_and_complex_gradients_are_seen() -> None:
    torch.manual_seed(5)
    table = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    dense = []
    with lrc.observe(optimizer, norms=ALL) as observer:
        for rows in ([1, 1, 7], [7, 9, 9]):
            optimizer.zero_grad()
            (table(torch.tensor(rows)) ** 3).sum().backward()
            assert table.weight.grad is not None
            dense.append(table.weight.grad.to_dense().double())
            optimizer.step()
    assert observer.log.l1 == pytest.approx([float(each.abs().sum()) for each in dense], rel=1e-6)
    assert observer.columns["dot"][1] == pytest.approx(float((dense[0] * dense[1]).sum()), rel=1e-5)
    turning = nn.Parameter(torch.tensor([3 + 4j, 1j]))
    optimizer = torch.optim.SGD([turning], lr=1.0)
    with lrc.observe(optimizer, norms=ALL) as observer:
        for _ in range(2):
            turning.grad = torch.tensor([3 - 4j, 0j])
            optimizer.step()
    assert {name: values.tolist()[1] for name, values in observer.columns.items() if name in ALL} == {
        "l1": 5, "l2": 5, "dot": 25, "update": 5, "distance": 5,
    }  # fmt: skip


# Gradient scalers


@pytest.mark.parametrize("fused", [False, True], ids=["skipped on the host", "skipped on the device"])
@pytest.mark.parametrize("unscale", ["by step", "by the user"])
@pytest.mark.parametrize("clipping", ["not told", "told after unscaling", "told before unscaling"])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_under_a_scaler_norms_are_unscaled_and_skipped_updates_are_none(
    fused: bool, unscale: str, clipping: str, accumulation: int
) -> None:
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    known = scaler if clipping == "told before unscaling" or accumulation > 1 else None
    wanted, losses, skipped = [], [], 0
    with lrc.observe(optimizer, scaler=known, block=5) as observer:
        for step in range(40):
            optimizer.zero_grad()
            spoilt = step % 7 in (0, 3)
            told = []
            for part in range(accumulation):
                loss = loss_of(model, slice(part * 16, part * 16 + 16))
                scaler.scale(loss * (math.inf if spoilt else 1)).backward()  # type: ignore[no-untyped-call]
                observer.saw(loss=loss)
                told.append(loss.item())
            true = flat([each.grad for each in model.parameters()]) / scaler.get_scale()
            if clipping == "told before unscaling":
                observer.before_clipping()
            if unscale == "by the user":
                scaler.unscale_(optimizer)
                if clipping == "told after unscaling":
                    observer.before_clipping()
                nn.utils.clip_grad_norm_(model.parameters(), 1e-3 if clipping != "not told" else 1e9)
            if spoilt:
                skipped += 1
            else:
                wanted.append(float(true.norm()))
                losses.append(sum(told) / accumulation)
            scaler.step(optimizer)
            scaler.update()
    assert skipped == 12
    log = observer.log
    assert log.steps.tolist() == list(range(28))
    assert log.l2 == pytest.approx(wanted, rel=1e-6)
    if known is not None:
        assert log.loss == pytest.approx(losses, rel=1e-6)
    assert observer.state_dict()["step"] == 28


def test_a_scaler_that_is_off_divides_nothing() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = GradScaler("cpu", enabled=False)
    with lrc.observe(optimizer, scaler=scaler) as observer:
        loss_of(model).backward()  # type: ignore[no-untyped-call]
        wanted = float(flat([each.grad for each in model.parameters()]).norm())
        observer.before_clipping()
        scaler.step(optimizer)
    assert observer.log.l2 == pytest.approx([wanted])


# Nothing waits


@pytest.mark.parametrize("near", [True, False], ids=["on a processor", "as elsewhere"])
@pytest.mark.parametrize("kind", ["sgd", "adamw fused"])
def test_no_step_reads_a_number_back_until_a_block_is_full(
    near: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything asked for; under a scaler too, where the device alone knows what was skipped."""
    monkeypatch.setattr(norms_module, "_near", lambda device: near)
    model = model_of()
    optimizer = OPTIMIZERS[kind](model.parameters())
    scaler = GradScaler("cpu")
    reads = {}
    for observed in (False, True):
        observer = lrc.observe(optimizer, norms=ALL, block=1000) if observed else None
        with Reads() as seen:
            for _ in range(50):
                optimizer.zero_grad()
                for part in range(2):
                    loss = loss_of(model, slice(part * 32, part * 32 + 32))
                    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                    if observer is not None:
                        observer.saw(loss=loss)
                if observer is not None:
                    observer.before_clipping()
                scaler.step(optimizer)
                scaler.update()
        reads[observed] = len(seen.reads)
    assert observer is not None
    print(f"RELIABILITY observe_updates=50 reads_without={reads[False]} reads_with={reads[True]}")
    assert reads[True] == reads[False]
    assert len(observer.log) == 50


def test_on_a_device_that_is_only_pretended_no_number_is_read() -> None:
    with FakeTensorMode():
        weights = [nn.Parameter(torch.empty(size, device="cuda"), requires_grad=False) for size in (30, 9000)]
        optimizer = torch.optim.SGD(weights, lr=0.1, foreach=True)
        observer = lrc.observe(optimizer)
        for _ in range(5):
            for each in weights:
                each.grad = torch.empty_like(each)
            observer.before_clipping()
            optimizer.step()
        assert {value.device.type for value in observer.latest.values()} == {"cuda"}
    observer._seen._ring = None  # there are no numbers to be read


@pytest.mark.parametrize("block", [1, 2, 7, 256])
def test_blocks_go_to_the_file_when_they_are_full_and_the_rest_when_it_is_closed(block: int, tmp_path: Path) -> None:
    path = tmp_path / "norms.jsonl"
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lrc.observe(optimizer, path, block=block) as observer:
        for made in range(20):
            optimizer.zero_grad()
            loss_of(model).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            lines = path.read_text().splitlines() if path.exists() else []
            assert len(lines) == (made + 1) // block * block
    assert_same(lrc.gradient_log(path), observer.log)


def assert_same(read: Any, seen: Any) -> None:
    assert read.steps.tolist() == seen.steps.tolist()
    for name, values in seen.columns.items():
        assert getattr(read, name).tolist() == values.tolist(), name


# Ends and going on


def make(optimizer: torch.optim.Optimizer, model: nn.Module, updates: int) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        loss_of(model).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_was_seen_is_written_however_it_ends(suffix: str, tmp_path: Path) -> None:
    model = model_of()
    for place, end in enumerate((ValueError, KeyboardInterrupt, SystemExit)):
        path = tmp_path / f"{place}.{suffix}"
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with contextlib.suppress(end), lrc.observe(optimizer, path) as observer:
            make(optimizer, model, 5)
            raise end
        assert_same(lrc.gradient_log(path), observer.log)
        make(optimizer, model, 2)
        assert len(observer.log) == 5, "closed is closed"
        observer.close()


def test_an_observer_lives_as_long_as_its_optimizer_and_is_written_when_that_is_let_go(tmp_path: Path) -> None:
    """Without a cycle: nothing waits for the collector."""
    path = tmp_path / "norms.jsonl"
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = weakref.ref(lrc.observe(optimizer, path, norms=ALL))
    gc.disable()
    try:
        make(optimizer, model, 3)
        assert kept() is not None
        with pytest.raises(RuntimeError, match="no gradient today"):
            optimizer.step(lambda: (_ for _ in ()).throw(RuntimeError("no gradient today")))
        gone = weakref.ref(optimizer)
        del optimizer
        assert (gone(), kept()) == (None, None)
    finally:
        gc.enable()
    assert lrc.gradient_log(path).steps.tolist() == [0, 1, 2]


ENDS = """
import os, sys, torch, torch._dynamo, lrcontrol as lrc
for place, end in enumerate(("pass", "raise ValueError", "sys.exit(3)")):
    if os.fork() == 0:
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        lrc.observe(optimizer, f"{place}.csv")
        for _ in range(3):
            weight.grad = torch.ones(2)
            optimizer.step()
        exec(end)
        break
    os.wait()
"""


@pytest.mark.slow
def test_what_was_seen_is_written_when_the_process_ends(tmp_path: Path) -> None:
    """By itself, by an error nobody catches, and by an exit."""
    subprocess.run([sys.executable, "-c", ENDS], check=True, timeout=120, stderr=subprocess.PIPE, cwd=tmp_path)
    for place in range(3):
        assert lrc.gradient_log(tmp_path / f"{place}.csv").norms("l1").tolist() == [2, 2, 2]


@pytest.mark.parametrize("fused", [False, True])
def test_going_on_is_not_stopping(fused: bool, tmp_path: Path) -> None:
    """Saved at any step and gone on with in another process's place: the same log, in one file."""
    whole = trained(tmp_path / "whole.jsonl", [30], fused)
    for stop in (1, 7, 8, 29):
        parts = trained(tmp_path / f"{stop}.jsonl", [stop, 30 - stop], fused)
        assert parts.keys() == whole.keys()
        for name in ("step", "l1", "l2", "update", "distance", "lr"):
            assert parts[name].tolist() == whole[name][stop:].tolist(), name
        dots = parts["dot"]
        assert math.isnan(dots[0])
        assert dots[1:].tolist() == whole["dot"][stop + 1 :].tolist()
        one, two = lrc.gradient_log(tmp_path / f"{stop}.jsonl"), lrc.gradient_log(tmp_path / "whole.jsonl")
        assert_same(one, two)


def trained(path: Path, legs: list[int], fused: bool) -> dict[str, np.ndarray]:
    """What the observer of the last leg saw."""
    saved: Any = None
    for updates in legs:
        model = model_of()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        with lrc.observe(optimizer, path, norms=ALL, append=saved is not None, block=4) as observer:
            if saved is not None:
                model.load_state_dict(saved[0])
                optimizer.load_state_dict(saved[1])
                observer.load_state_dict(saved[2])
            make(optimizer, model, updates)
            file = path.with_suffix(".pt")
            torch.save((model.state_dict(), optimizer.state_dict(), observer.state_dict()), file)
            saved = torch.load(file, weights_only=True)
    return observer.columns


def test_steps_begin_where_they_are_told_to() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lrc.observe(optimizer, every=4, first_step=10, total_steps=30) as observer:
        make(optimizer, model, 9)
    assert observer.log.steps.tolist() == [12, 16]
    assert observer.log.total_steps == 30


def test_what_was_seen_of_steps_that_are_made_again_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "norms.jsonl"
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lrc.observe(optimizer, path, block=3) as observer:
        make(optimizer, model, 5)
        state = observer.state_dict()
        make(optimizer, model, 6)
        observer.load_state_dict(state)
        make(optimizer, model, 2)
    assert observer.log.steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    read = lrc.gradient_log(path)
    again = read.steps.tolist().index(6)
    assert read.norms("l2")[again] == observer.log.norms("l2")[-1], "the last value of a step counts"


def test_a_file_that_cannot_be_written_does_not_end_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "norms.jsonl"
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    real = GradientLogFile.write
    full = True

    def write(self: GradientLogFile, *arguments: Any, **named: Any) -> None:
        if full:
            raise BadInput(f"cannot write {self.path}: No space left on device.")
        real(self, *arguments, **named)

    monkeypatch.setattr(GradientLogFile, "write", write)
    observer = lrc.observe(optimizer, path, block=2)
    with pytest.warns(RuntimeWarning, match="No space left on device. Readings are kept in memory") as warned:
        make(optimizer, model, 6)
    assert len(warned) == 1
    with pytest.raises(BadInput, match="No space left"):
        observer.close()
    assert len(observer.log) == 6
    observer = lrc.observe(optimizer, path, block=2)
    with pytest.warns(RuntimeWarning, match="No space left"):
        make(optimizer, model, 3)
    full = False
    make(optimizer, model, 2)
    observer.close()
    assert_same(lrc.gradient_log(path), observer.log)


def test_a_fork_writes_nothing_of_another(tmp_path: Path) -> None:
    path = tmp_path / "norms.jsonl"
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer = lrc.observe(optimizer, path)
    make(optimizer, model, 3)
    child = os.fork()
    if child == 0:
        observer.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.read_text() == ""
    observer.close()
    assert len(lrc.gradient_log(path)) == 3


# Wrappers and others


def test_an_optimizer_inside_another_is_seen_once() -> None:
    class Outer(torch.optim.Optimizer):
        """Holds another, as some do; its own step has hooks too."""

        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__(inner.param_groups, {})
            self.inner, self.param_groups = inner, inner.param_groups

        def step(self, closure: Any = None) -> Any:
            return self.inner.step(closure)

    model = model_of()
    outer = Outer(torch.optim.SGD(model.parameters(), lr=0.1))
    with lrc.observe(outer) as observer:
        make(outer, model, 4)
    assert observer.log.steps.tolist() == [0, 1, 2, 3]


def test_optimizers_inside_one_that_has_no_hooks_make_one_update() -> None:
    """As those that leave matrices to one and the rest to another."""

    class Both(torch.optim.Optimizer):
        """Steps two, and is none of torch's."""

        def __init__(self, *inner: torch.optim.Optimizer) -> None:
            self.inner, self.param_groups = inner, [group for each in inner for group in each.param_groups]

        def step(self) -> None:  # type: ignore[override]
            for each in self.inner:
                each.step()

        def zero_grad(self) -> None:  # type: ignore[override]
            for each in self.inner:
                each.zero_grad()

    model = model_of()
    weights = [each for each in model.parameters() if each.dim() == 2]
    biases = [each for each in model.parameters() if each.dim() == 1]
    both = Both(torch.optim.SGD(weights, lr=0.1), torch.optim.AdamW(biases, lr=0.01))
    twin = Twin(model)
    with lrc.observe(both, norms=ALL) as observer:
        for _ in range(4):
            both.zero_grad()
            loss_of(model).backward()  # type: ignore[no-untyped-call]
            twin.before()
            both.step()
            twin.after()
    twin.check(observer)


def test_two_observers_and_a_schedule_see_the_same() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one = lrc.observe(optimizer)
    scheduler = lrc.as_torch_scheduler(optimizer, "linear", 8)
    two = lrc.observe(optimizer, every=3)
    for _ in range(8):
        make(optimizer, model, 1)
        scheduler.step()
    assert one.log.norms("l2")[::3].tolist() == two.log.norms("l2").tolist()
    assert one.log.lr is not None
    assert one.log.lr[-1] == pytest.approx(0.0125)
    one.close()
    make(optimizer, model, 2)
    assert (len(one.log), len(two.log)) == (8, 4)


def test_accelerate_is_seen_through(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(model_of(), torch.optim.SGD(model_of().parameters(), lr=0.1))
    optimizer.param_groups[0]["params"] = list(model.parameters())
    wanted = []
    with lrc.observe(optimizer, tmp_path / "norms.csv") as observer:
        for micro in range(12):
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(model))
                if micro % 2:
                    wanted.append(float(flat([each.grad for each in model.parameters()]).norm()))
                optimizer.step()
                optimizer.zero_grad()
    assert observer.log.l2 == pytest.approx(wanted, rel=1e-6)


def test_a_compiled_model_is_seen_and_so_is_a_compiled_step() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")
    wanted = []
    with lrc.observe(optimizer) as observer:
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(model).backward()  # type: ignore[no-untyped-call]
            wanted.append(float(flat([each.grad for each in model.parameters()]).norm()))
            compiled()
    assert observer.log.l2 == pytest.approx(wanted, rel=1e-6)


# Several processes


def test_two_processes_see_the_gradients_of_the_whole(tmp_path: Path) -> None:
    """In every way to divide a model or its optimizer: as one process sees them that trains on all data."""
    both = two_ranks("observe_ranks.py", tmp_path, "-W", "ignore::DeprecationWarning")
    worst = 0.0
    for seen in both:
        assert "give `group`" in seen.pop("refused")
        for found in seen.pop("placed"):
            assert found["ours"] == pytest.approx(found["wanted"], rel=1e-9)
        for kind, found in seen.items():
            for name in (*ALL, "step", "lr"):
                ours, wanted = (np.array(found[which][name]) for which in ("seen", "wanted"))
                assert ours == pytest.approx(wanted, rel=1e-5, nan_ok=True), (kind, name)
                worst = max(worst, float(np.nanmax(np.abs(ours - wanted) / np.maximum(np.abs(wanted), 1e-9))))
            assert found["file"] == found["seen"]["l2"]
            updates = len(found["file"])
            divided = kind in ("fsdp2", "fsdp1", "zero, inside")
            assert found["reduced"] == (4 * updates - 1 if divided else 0), "one sum over processes for each thing"
    for kind, found in both[0].items():
        ours, others = found["seen"], both[1][kind]["seen"]
        assert all(ours[name][1:] == others[name][1:] for name in ALL), "the same in every process"
    print(f"RELIABILITY observe_ranks=2 kinds={len(both[0])} worst={worst:.1e}")


# What is refused

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no norms": ({"norms": ()}, "`norms` must be a tuple of names"),
    "a text": ({"norms": "l2"}, "`norms` must be a tuple of names such as .* got norms='l2'"),
    "an unknown norm": ({"norms": ("l2", "dots")}, "unknown thing to observe 'dots'; did you mean 'dot'"),
    "never": ({"every": 0}, "`every` must be an integer >= 1, got every=0"),
    "half": ({"every": 1.5}, "`every` must be"),
    "no block": ({"block": 0}, "`block` must be"),
    "no horizon": ({"total_steps": 0}, "`total_steps` must be"),
    "before the first": ({"first_step": -1}, "`first_step` must be"),
    "no scaler": ({"scaler": 2.0}, "`scaler` must be a gradient scaler, got scaler=2.0"),
    "no group": ({"group": 5}, "`group` must be a process group, got group=5"),
    "no list": ({"norms": None}, "`norms` must be a tuple of names"),
    "another suffix": ({"path": "norms.txt"}, "must be named .jsonl or .csv"),
    "no folder": ({"path": "nowhere/norms.csv"}, "the folder nowhere does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused_at_once(name: str) -> None:
    given, sentence = BAD[name]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(BadInput, match=sentence):
        lrc.observe(optimizer, **given)
    assert not optimizer._optimizer_step_pre_hooks


def test_what_is_no_optimizer_or_cannot_be_seen_is_refused(tmp_path: Path) -> None:
    class Foreign(torch.optim.Optimizer):
        """Made without torch's constructor."""

        def __init__(self) -> None:
            self.param_groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}]

    with pytest.raises(BadInput, match="`optimizer` must be a torch optimizer, got optimizer=5"):
        lrc.observe(5)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="the updates of Foreign cannot be seen"):
        lrc.observe(Foreign())
    path = tmp_path / "there.csv"
    path.write_text("mine\n")
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(BadInput, match="is there already; give append=True"):
        lrc.observe(optimizer, path)
    assert path.read_text() == "mine\n"


def test_a_bad_loss_or_state_is_refused() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer = lrc.observe(optimizer)
    for bad, sentence in ((torch.ones(2), r"a tensor of shape \(2,\); take its mean"), ("1", "`loss` must be")):
        with pytest.raises(BadInput, match=sentence):
            observer.saw(loss=bad)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="the same parameters, got 1 where there are 4"):
        observer.load_state_dict({"step": 3, "start": [torch.ones(1)]})
