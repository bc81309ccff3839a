"""What is borrowed is put back, to the bit, however the borrowing ends; all of it stays what it is."""

import contextlib
import copy
import gc
import multiprocessing
import os
import random
import signal
import threading
import warnings
import weakref
from argparse import Namespace
from array import array
from collections import UserDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lrcontrol as lrc
from faults.range_faults import (
    KINDS,
    Augmented,
    Setting,
    changed,
    end_by_errors,
    end_by_kills,
    end_by_signals,
    end_content,
    handler,
    naive,
    trained,
)
from lrcontrol.errors import BadInput
from lrcontrol.runs.interrupts import Interrupted
from lrcontrol.training.borrow import Borrowed
from lrcontrol.training.kept import Kept
from lrcontrol.training.range_test import own_range_test


@pytest.mark.parametrize("seed", range(16))
def test_nothing_changes_whatever_the_objects_are(seed: int) -> None:
    setting = Setting(seed, updates=3 * (seed % 2))
    before = setting.state()
    setting.test()
    assert changed(before, setting.state()) == []


def test_the_comparison_sees_what_naive_code_leaves() -> None:
    """So that an empty list of changes says something."""
    setting = Setting(11, plain=True)
    before = setting.state()
    naive(setting)
    found = changed(before, setting.state())
    assert {"buffers ", "attributes", "average", "data", "random numbers", "group 0"} <= set(found)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_where_an_error_ends_it(kind: type[BaseException]) -> None:
    """L1; reliability/run.py does it a thousand times."""
    found = end_by_errors(6, seed=3, kinds=(kind,))
    assert (found.ended, found.what) == (6, {})


def test_nothing_changes_under_interrupts_at_any_moment() -> None:
    """L2, every third of them twice."""
    found = end_by_signals(9, seed=5)
    assert (found.ended, found.what) == (9, {})


def test_nothing_changes_where_a_handler_of_the_users_raises() -> None:
    """L3."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(number)

    with handler(signal.SIGTERM, leave):
        found = end_by_signals(4, seed=7, number=signal.SIGTERM, raised=SystemExit)
    assert (found.ended, found.what) == (4, {})


def test_nothing_changes_where_a_handler_is_content_and_nothing_is_run_after_it() -> None:
    """In ramps and in the runs that confirm, whatever gives optimizer and loader."""
    found = end_content(5, seed=1)
    assert (found.ended, found.what) == (5, {})


def test_what_functions_that_make_optimizer_and_loader_enclose_is_put_back() -> None:
    model, data = nn.Linear(6, 3), Augmented(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lrc.as_torch_scheduler(optimizer, "linear", 60)

    def held() -> list[Any]:
        options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
        numbers = (data.numpy.bit_generator.state, data.python.getstate(), data.torch.get_state().tolist())
        return [data.read, dict(data.cache), repr(numbers), options, len(optimizer.state), scheduler.last_epoch]

    before = held()
    made = (lambda: optimizer, lambda: DataLoader(data, batch_size=12))
    own_range_test(model, *made, nn.functional.cross_entropy, steps=20, repeats=2)
    assert held() == before
    optimizer.step()
    scheduler.step()
    assert scheduler.last_epoch == 1


class Lying:
    """A proxy that says it is a schedule, and holds the optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        vars(self)["optimizer"] = optimizer

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return LRScheduler

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


HELD: dict[str, Any] = {}
"""What a user's module holds in global variables."""

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 50),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, patience=0),
    "sequence": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, total_iters=3), CosineAnnealingLR(optimizer, 9)], [3]
    ),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("made", [False, True])
def test_schedules_of_torchs_that_a_step_finds_in_a_global_are_put_back(kind: str, made: bool) -> None:
    """Nobody names them, and of a function that makes the optimizer only what it encloses is known."""
    model, optimizer = small()
    other = SCHEDULES[kind](torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))
    HELD.update(scheduler=SCHEDULES[kind](optimizer), other=other, lying=Lying(optimizer))

    def step(batch: Any) -> float:
        updated(model, optimizer)
        HELD["other"].optimizer.step()
        for each in (HELD["scheduler"], HELD["other"]):
            each.step(*([1.0] if kind == "plateau" else []))
        return 1.0

    def held(name: str) -> str:
        own = [HELD[name], *getattr(HELD[name], "_schedulers", [])]
        return repr([(id(each), each.state_dict(), each.optimizer.param_groups[0]["lr"]) for each in own])

    updated(model, optimizer)
    before, others = held("scheduler"), held("other")
    given = (lambda: optimizer) if made else optimizer
    own_range_test(model, given, [1], step=step, low=1e-4, high=1e-2, steps=20, repeats=2)
    assert held("scheduler") == before
    assert held("other") != others  # it is another optimizer's
    HELD.clear()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_kill_leaves_the_users_files_alone_and_none_of_ours(tmp_path: Path) -> None:
    assert end_by_kills(tmp_path, 4, seed=1).changed == 0


@pytest.mark.parametrize("seed", range(4))
def test_training_goes_on_as_if_it_had_not_been(seed: int) -> None:
    """L5: momentum and Adam, our schedule and torch's, a scaler, dropout, batch norm, shuffling and noise."""
    assert trained(5 * seed, tested=True) == trained(5 * seed, tested=False)


def small() -> tuple[nn.Linear, torch.optim.SGD]:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def updated(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(3, 2)).square().mean().backward()
    optimizer.step()


def test_gradients_stay_the_tensors_they_are_and_none_stays_none() -> None:
    model, optimizer = small()
    model(torch.ones(1, 2)).sum().backward()
    model.bias.grad = None
    grad, bits = model.weight.grad, model.weight.grad.clone()  # type: ignore[union-attr]
    with Borrowed(model, optimizer):
        updated(model, optimizer)
        optimizer.zero_grad(set_to_none=False)
    assert model.weight.grad is grad
    assert torch.equal(bits, grad)  # type: ignore[arg-type]
    assert model.bias.grad is None


def test_a_loaded_state_a_new_group_and_other_parameters_are_undone() -> None:
    """What replaces lists, dicts and tensors inside an optimizer."""
    model, optimizer = small()
    updated(model, optimizer)
    groups, group, state = optimizer.param_groups, optimizer.param_groups[0], optimizer.state
    moment, weight, place = state[model.weight]["momentum_buffer"], model.weight, model.weight.data_ptr()
    with Borrowed(model, optimizer):
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 3.0})
        model.weight.data = torch.zeros(1, 2)
        model.weight = nn.Parameter(torch.ones(5, 5))
        model.half().eval()
        del model.bias
        model.extra = nn.Linear(1, 1)
    assert optimizer.param_groups is groups
    assert [each is group for each in groups] == [True]
    assert optimizer.state is state
    assert state[model.weight]["momentum_buffer"] is moment
    assert (model.weight is weight, weight.data_ptr(), weight.dtype) == (True, place, torch.float32)
    assert model.training
    assert not hasattr(model, "extra")


def test_tied_sparse_expanded_and_resized_tensors() -> None:
    base = torch.arange(6.0)
    parts = [base[:3], base[2:5], torch.tensor([2.0]).expand(4), torch.eye(2).to_sparse(), torch.zeros(0)]
    held = nn.Module()
    held.parts = parts  # type: ignore[assignment]
    wanted = [each.to_dense().clone() for each in parts]
    with Borrowed(held):
        parts[0].zero_()
        parts[1].add_(7)
        parts[3].mul_(3)
        parts[4].resize_(5).fill_(1)
        parts.append(base)
    assert len(parts) == 5
    assert all(torch.equal(each.to_dense(), old) for each, old in zip(parts, wanted, strict=True))
    assert parts[0].untyped_storage().data_ptr() == parts[1].untyped_storage().data_ptr()


def test_namespaces_arrays_and_what_hangs_on_functions_are_put_back() -> None:
    def loss(*, seen: list[int] = []) -> None:  # noqa: B006 - as users have it
        seen.append(1)
        loss.calls += 1  # type: ignore[attr-defined]
        held.space.calls += 1
        held.options.rates.append(3)
        held.names["calls"] += 1
        held.counts[0] += 1
        held.counts.append(2)
        held.bits[0] += 1

    loss.calls = 0  # type: ignore[attr-defined]
    held: Any = nn.Module()
    held.space, held.options = SimpleNamespace(calls=0), Namespace(rates=[1])
    held.counts, held.names, held.bits = array("l", [0]), UserDict(calls=0), bytearray(1)
    with Borrowed(held, also=[loss]):
        loss()
        assert (loss.calls, held.counts) == (1, array("l", [1, 2]))  # type: ignore[attr-defined]
    assert (loss.calls, loss.__kwdefaults__) == (0, {"seen": []})  # type: ignore[attr-defined]
    assert (held.space.calls, held.options.rates, held.names["calls"]) == (0, [1], 0)
    assert (held.counts, held.bits) == (array("l", [0]), bytearray(1))


def test_tensors_made_in_inference_mode_are_put_back() -> None:
    with torch.inference_mode():
        made = torch.ones(3)
    held = nn.Module()
    held.made = made  # type: ignore[assignment]
    with Borrowed(held), torch.inference_mode():
        made.zero_()
    assert made.tolist() == [1, 1, 1]


def test_a_schedule_that_holds_a_group_and_an_average_that_holds_a_tensor_go_on() -> None:
    model, optimizer = small()
    scheduler = lrc.as_torch_scheduler(optimizer, "linear", 10)
    updated(model, optimizer)
    scheduler.step()
    with Borrowed(model, optimizer):
        for _ in range(3):
            updated(model, optimizer)
            scheduler.step()
            optimizer.param_groups[0]["lr"] = 7.0
    assert (scheduler.last_epoch, optimizer.param_groups[0]["lr"]) == (1, pytest.approx(0.09))
    updated(model, optimizer)
    scheduler.step()
    assert (scheduler.last_epoch, optimizer.param_groups[0]["lr"]) == (2, pytest.approx(0.08))


@pytest.mark.parametrize("count", ["updates", "calls"])
@pytest.mark.parametrize("text", ["linear", "warmup(2)+plateau(patience=0, factor=0.5)"])
def test_our_schedule_goes_on_as_it_would_have_whatever_is_called(text: str, count: Any) -> None:
    def rates(borrows: bool) -> list[float]:
        model, optimizer = small()
        scheduler = lrc.as_torch_scheduler(optimizer, text, 12, count=count)
        found = []
        for update in range(8):
            if update == 4 and borrows:
                with Borrowed(model, optimizer):
                    for _ in range(4):
                        updated(model, optimizer)
                        scheduler.step(metrics=9.0) if "plateau" in text else scheduler.step()
            updated(model, optimizer)
            scheduler.step(metrics=float(update)) if "plateau" in text else scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(True) == rates(False)


def test_tensor_rates_are_written_in_place_and_put_back() -> None:
    model, optimizer = small()
    rate = torch.tensor(0.1)
    optimizer.param_groups[0]["lr"] = rate
    before = (rate.data_ptr(), rate.item())
    data = DataLoader(TensorDataset(torch.ones(8, 2), torch.ones(8, 1)), batch_size=4)
    own_range_test(model, optimizer, data, nn.functional.mse_loss, low=1e-4, high=1e-2, steps=20)
    assert optimizer.param_groups[0]["lr"] is rate
    assert (rate.data_ptr(), rate.item()) == before


OPTIMIZERS: dict[str, Any] = {
    "Adagrad": {"lr": 0.1},
    "Adam": {"lr": 1e-3, "amsgrad": True, "fused": True},
    "RMSprop": {"lr": 1e-3, "momentum": 0.9, "centered": True},
    "Rprop": {"lr": 1e-3},
    "prodigyopt.Prodigy": {},
    "schedulefree.AdamWScheduleFree": {"lr": 1e-3},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("updates", [0, 2])
def test_any_optimizer_goes_on_as_without(name: str, updates: int) -> None:
    home, _, kind = name.rpartition(".")
    library = pytest.importorskip(home) if home else torch.optim

    def gone_on(tests: bool) -> list[Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = getattr(library, kind)(model.parameters(), **OPTIMIZERS[name])
        trains = getattr(optimizer, "train", lambda: None)
        trains()
        for update in range(updates + 3):
            if update == updates and tests:
                getattr(optimizer, "eval", lambda: None)()
                data = [(torch.ones(3, 2), torch.ones(3, 1))]
                own_range_test(model, optimizer, data, nn.functional.mse_loss, low=1e-4, high=1.0, steps=20)
            elif update == updates:
                getattr(optimizer, "eval", lambda: None)()
            trains()
            updated(model, optimizer)
        groups = [{key: value for key, value in each.items() if key != "params"} for each in optimizer.param_groups]
        return [*(each.tolist() for each in model.parameters()), repr(groups)]

    assert gone_on(True) == gone_on(False)


def test_an_observer_sees_nothing_and_goes_on(tmp_path: Path) -> None:
    model, optimizer = small()
    with lrc.observe(optimizer, tmp_path / "log.jsonl") as observer:
        updated(model, optimizer)
        with Borrowed(model, optimizer):
            updated(model, optimizer)
        with Borrowed(model, also=[lambda: optimizer]):
            updated(model, optimizer)
        updated(model, optimizer)
    assert observer.log.l2.size == 2
    assert len(lrc.gradient_log(tmp_path / "log.jsonl").norms("l2")) == 2


def test_what_torch_has_been_told_is_put_back() -> None:
    model, optimizer = small()
    before = (torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype())
    with Borrowed(model, optimizer):
        torch.set_grad_enabled(False)
        if not torch.backends.flags_frozen():  # by torch's own helpers for tests, which other libraries' tests import
            torch.backends.cudnn.benchmark = not before[1]
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
    assert (torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype()) == before
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_lazy_module_must_have_met_a_batch() -> None:
    with pytest.raises(BadInput, match="call it on a batch once before"), Borrowed(nn.LazyLinear(3)):
        pass


def test_the_objects_are_let_go() -> None:
    model, optimizer = small()
    with Borrowed(model, optimizer) as borrowed:
        updated(model, optimizer)
    known = weakref.ref(model)
    del model, optimizer, borrowed
    gc.collect()
    assert known() is None


def test_long_lists_of_parameters_and_references_to_what_is_gone() -> None:
    """A list of data is not looked into beyond a thousand items; that of an optimizer is."""
    many = [nn.Parameter(torch.zeros(1)) for _ in range(1200)]
    optimizer = torch.optim.SGD(many, lr=0.1, momentum=0.9)
    held = nn.Module()
    held.gone = [weakref.proxy(nn.Linear(1, 1))]  # type: ignore[assignment]
    for updates in range(2):
        for each in many:
            each.grad = torch.ones(1)
        with Borrowed(held, optimizer) if updates else contextlib.nullcontext():
            optimizer.step()
    assert {each.item() for each in many} == {torch.tensor(-0.1).item()}
    assert {value["momentum_buffer"].item() for value in optimizer.state.values()} == {1.0}


class TestLoaders:
    """A loader is where it was, and begins anew within; what cannot be rewound is refused."""

    def data(self) -> TensorDataset:
        return TensorDataset(torch.arange(8.0).reshape(8, 1))

    def test_an_iterator_of_the_users_goes_on(self) -> None:
        torch.manual_seed(1)
        wanted = [batch.tolist() for (batch,) in DataLoader(self.data(), batch_size=2, shuffle=True)]
        torch.manual_seed(1)
        loader = DataLoader(self.data(), batch_size=2, shuffle=True)
        batches = iter(loader)
        seen = [next(batches)[0].tolist()]
        with Borrowed(nn.Linear(1, 1), loader=loader):
            for _ in range(3):
                list(loader)
        seen += [batch.tolist() for (batch,) in batches]
        assert seen == wanted

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_workers_that_stay_go_on(self) -> None:
        loader = DataLoader(self.data(), batch_size=2, num_workers=1, persistent_workers=True)
        batches = iter(loader)
        first = next(batches)[0].tolist()
        for given in (loader, lambda: loader):
            with Borrowed(nn.Linear(1, 1), loader=given):
                assert next(iter(loader))[0].tolist() == first
            assert loader._iterator is batches
        assert [batch.tolist() for (batch,) in batches] == [[[2.0], [3.0]], [[4.0], [5.0]], [[6.0], [7.0]]]

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    @pytest.mark.parametrize("stays", [False, True])
    def test_workers_that_were_begun_for_a_test_end_with_it(self, stays: bool) -> None:
        model, optimizer = small()
        data = TensorDataset(torch.ones(12, 2), torch.ones(12, 1))
        loader = DataLoader(data, batch_size=3, num_workers=1, persistent_workers=stays)
        own_range_test(model, optimizer, loader, nn.functional.mse_loss, low=1e-4, high=1.0, steps=20)
        assert loader._iterator is None
        gc.collect()
        assert multiprocessing.active_children() == []

    @pytest.mark.parametrize(
        "loader",
        [
            (each for each in [1, 2]),
            iter([1, 2]),
            map(str, [1]),
            zip([1], [2], strict=True),
            iter(DataLoader(TensorDataset(torch.ones(2)))),
        ],
        ids=lambda each: type(each).__name__,
    )
    def test_an_iterator_is_refused_untouched(self, loader: Any) -> None:
        with pytest.raises(BadInput, match="cannot be rewound; give the DataLoader itself"):
            Borrowed(nn.Linear(1, 1), loader=loader).__enter__()
        assert next(loader) is not None

    def test_a_data_set_around_an_iterator_is_refused(self) -> None:
        class Stream(IterableDataset[int]):
            def __init__(self) -> None:
                self.numbers = iter(range(5))

            def __iter__(self) -> Iterator[int]:
                return self.numbers

        with pytest.raises(BadInput, match=r"range_iterator.*, which cannot be rewound"):
            Borrowed(nn.Linear(1, 1), loader=DataLoader(Stream())).__enter__()

    def test_iterators_that_functions_enclose_are_refused_untouched(self) -> None:
        model, optimizer = small()
        numbers = iter([1, 2, 3])

        def batch() -> int:
            return next(numbers)

        def step(given: Any) -> float:
            return float(batch())

        with pytest.raises(BadInput, match=r"batch` encloses <list_iterator.*, which cannot be rewound; let it take"):
            own_range_test(model, optimizer, [1], step=step)
        with pytest.raises(BadInput, match=r"`loader` must begin anew .* got <list_iterator"):
            own_range_test(model, optimizer, lambda: [numbers], nn.functional.mse_loss)
        assert next(numbers) == 1

    def test_a_file_is_read_from_where_it_was(self, tmp_path: Path) -> None:
        class Lines(IterableDataset[float]):
            def __init__(self, path: Path) -> None:
                self.file = path.open("rb")

            def __iter__(self) -> Iterator[float]:
                while line := self.file.readline():
                    yield float(line)

        (tmp_path / "numbers").write_text("1\n2\n3\n")
        data = Lines(tmp_path / "numbers")
        data.file.readline()
        loader = DataLoader(data, batch_size=1)
        with Borrowed(nn.Linear(1, 1), loader=loader):
            assert [each.item() for each in loader] == [2, 3]
        assert [each.item() for each in loader] == [2, 3]
        data.file.close()

    def test_data_are_not_copied_and_what_is_small_is(self) -> None:
        large, little = torch.zeros(1 << 20), torch.zeros(4)
        loader = DataLoader(TensorDataset(large, large))
        loader.dataset.weights = little  # type: ignore[attr-defined]
        kept = Kept([], [loader])
        large[0] = little[0] = 1
        kept.put_back()
        assert (large[0].item(), little[0].item()) == (1, 0)

    def test_every_kind_of_random_numbers_is_found_and_seeded(self) -> None:
        class Noise:
            __slots__ = ("python",)

            def __init__(self) -> None:
                self.python = random.Random(3)

        held = [torch.Generator(), np.random.default_rng(1), np.random.RandomState(2)]
        noise = Noise()
        loader = [held, noise]

        def drawn() -> list[float]:
            own = [torch.rand(1, generator=held[0]).item(), held[1].random(), held[2].rand(), noise.python.random()]
            return [*own, random.random(), float(np.random.mtrand._rand.rand()), torch.rand(1).item()]

        seen = []
        for _ in range(2):
            with Borrowed(nn.Linear(1, 1), loader=loader) as borrowed:
                for seed in (5, 6):
                    borrowed.seed(seed)
                    seen.append(drawn())
        assert seen[:2] == seen[2:]
        assert all(one != other for one, other in zip(*seen[:2], strict=True))


class TestSignals:
    """Signals wait, and are delivered to whoever handles them once all has been put back."""

    def test_the_first_waits_for_a_place_between_and_the_second_does_not(self) -> None:
        model, optimizer = small()
        before = model.weight.clone()
        done = []
        with pytest.raises(KeyboardInterrupt), Borrowed(model, optimizer) as borrowed:  # noqa: PT012
            updated(model, optimizer)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("waited")
            borrowed.between()
            done.append("not reached")
        assert done == ["waited"]
        assert torch.equal(model.weight, before)
        with pytest.raises(KeyboardInterrupt), Borrowed(model, optimizer):  # noqa: PT012
            updated(model, optimizer)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("waited")
            os.kill(os.getpid(), signal.SIGINT)
            done.append("not reached")
        assert done == ["waited", "waited"]
        assert torch.equal(model.weight, before)

    def test_a_handler_that_is_content_ends_the_block_and_nothing_else(self) -> None:
        """It is called once for each signal, when weights and its own place are back."""
        model, optimizer = small()
        before, seen = model.weight.clone(), []

        def note(number: int, frame: Any) -> None:
            seen.append((number, torch.equal(model.weight, before), signal.getsignal(number) is note))

        with handler(signal.SIGINT, note), handler(signal.SIGUSR1, note):
            with Borrowed(model, optimizer) as borrowed:
                updated(model, optimizer)
                os.kill(os.getpid(), signal.SIGUSR1)
                borrowed.between()
            assert borrowed.interrupted
            assert seen == [(signal.SIGUSR1, True, True)]
            with Borrowed(model, optimizer) as borrowed:
                os.kill(os.getpid(), signal.SIGINT)
            assert not borrowed.interrupted
            assert len(seen) == 2

    def test_an_error_is_not_hidden_by_an_interrupt(self) -> None:
        model, optimizer = small()
        with pytest.raises(ValueError, match="first"), Borrowed(model, optimizer):  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("first")

    def test_nothing_interrupts_the_putting_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, optimizer = small()
        before = model.weight.clone()
        real = Kept.put_back

        def slow(kept: Kept) -> None:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
            real(kept)

        monkeypatch.setattr(Kept, "put_back", slow)
        with pytest.raises(KeyboardInterrupt), Borrowed(model, optimizer):
            updated(model, optimizer)
        assert torch.equal(model.weight, before)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_what_is_ignored_or_the_systems_stays_so(self) -> None:
        with handler(signal.SIGINT, signal.SIG_IGN), Borrowed(nn.Linear(1, 1)):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_another_thread_puts_back_too(self) -> None:
        model, optimizer = small()
        before = model.weight.clone()
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                with Borrowed(model, optimizer):
                    updated(model, optimizer)
                    raise KeyError("there")
            except KeyError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(errors) == 1
        assert torch.equal(model.weight, before)

    def test_what_fails_does_not_keep_the_rest_from_being_put_back(self) -> None:
        class Stubborn(random.Random):
            def setstate(self, state: Any) -> None:
                raise OSError("stubborn")

        model, optimizer = small()
        before = model.weight.clone()
        with pytest.raises(OSError, match="stubborn"), Borrowed([Stubborn(1), model], optimizer):
            updated(model, optimizer)
        assert torch.equal(model.weight, before)

    def test_swallowing_an_interrupt_does_not_lose_it(self) -> None:
        with pytest.raises(KeyboardInterrupt), Borrowed(nn.Linear(1, 1)) as borrowed:  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            with contextlib.suppress(Interrupted):
                borrowed.between()


def test_no_warning_is_given() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Setting(6).test()
