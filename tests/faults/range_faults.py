"""Range tests on objects that hold every kind of state, ended in every way; and what of these has changed."""

import contextlib
import copy
import ctypes
import gc
import hashlib
import math
import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrcontrol as lrc
from lrcontrol.runs.range_spec import ASKED
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.training.range_test import own_range_test

__all__ = [
    "KINDS",
    "Augmented",
    "Found",
    "Net",
    "Setting",
    "changed",
    "compared",
    "end_by_errors",
    "end_by_kills",
    "end_by_losses",
    "end_by_signals",
    "end_content",
    "handler",
    "naive",
    "scripted",
    "trained",
]

STEPS = 20
NUMPY = np.random.mtrand._rand  # the numbers that numpy's functions draw from


class Net(nn.Module):
    """Dropout, batch norm, buffers of every kind, and a count that nobody asked for."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 3)
        self.frozen = nn.Linear(16, 3)
        self.frozen.requires_grad_(False)
        self.frozen.eval()
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)
        self.register_buffer("until_used", torch.ones(2))
        self.calls, self.seen = 0, [0]
        self.fail: Callable[[str], None] = lambda place: None

    def forward(self, inputs: Tensor) -> Tensor:
        """As any; it makes a buffer, drops another, and counts."""
        self.fail("forward")
        self.calls += 1
        self.seen.append(self.calls)
        self.unsaved += 1
        if not self.plain:
            if not hasattr(self, "lazy"):
                self.register_buffer("lazy", torch.zeros(3))
            self.lazy += 1
            self._buffers.pop("until_used", None)
        hidden = self.body(inputs)
        out: Tensor = self.head(hidden) + 0.1 * self.frozen(hidden)
        return out


class Augmented(Dataset[tuple[Tensor, int]]):
    """Examples that noise of three libraries is added to, from whole-process and own random numbers, and counted."""

    def __init__(self, seed: int, count: int = 64) -> None:
        rng = np.random.default_rng(seed)
        self.inputs = torch.tensor(rng.standard_normal((count, 6)), dtype=torch.float32)
        self.targets = torch.tensor(rng.integers(0, 3, count))
        self.numpy, self.legacy = np.random.default_rng(seed), np.random.RandomState(seed)
        self.python, self.torch = random.Random(seed), torch.Generator().manual_seed(seed)
        self.cache: dict[int, float] = {}
        self.read = 0
        self.fail: Callable[[str], None] = lambda place: None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        self.fail("data")
        self.read += 1
        self.cache[place] = noise = (
            float(NUMPY.random_sample())
            + random.random()
            + float(self.numpy.random())
            + float(self.legacy.random_sample())
            + self.python.random()
        )
        more = torch.rand(6, generator=self.torch) + torch.rand(6)
        return self.inputs[place] + 0.01 * (noise + more), int(self.targets[place])


class Average:
    """A moving average of the weights, kept by a hook of the optimizer, as users have it."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.model, self.made = [model], 0

    def update(self, *_: Any) -> None:
        """After every update."""
        self.made += 1
        for name, value in self.model[0].named_parameters():
            self.weights[name].lerp_(value.detach(), 0.1)


class Setting:
    """A user's objects, in the midst of training or before it.

    Args:
        seed: of all of it; its bits say which of the choices are made.
        updates: made before.
        plain: whether the model keeps the buffers it has, so that `naive` can load its state.
    """

    def __init__(self, seed: int, updates: int = 3, *, plain: bool = False) -> None:
        torch.manual_seed(seed)
        NUMPY.seed(seed)
        random.seed(seed)
        self.seed, self.updates = seed, updates
        self.model = Net(plain)
        head, body = self.model.head.parameters(), self.model.body.parameters()
        groups = [{"params": list(body), "lr": 0.02}, {"params": list(head), "lr": 0.01}]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(groups) if seed & 1 else torch.optim.SGD(groups, momentum=0.9)
        )
        self.ours = self.theirs = None
        if seed & 2:
            self.ours = lrc.as_torch_scheduler(self.optimizer, "warmup(0.1)+rex", 200)
        else:
            self.theirs = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 200)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=3) if seed & 4 else None
        self.data = Augmented(seed)
        order = torch.Generator().manual_seed(seed) if seed & 8 else None
        self.loader = DataLoader(self.data, batch_size=12, shuffle=True, generator=order)
        self.average = Average(self.model)
        self.optimizer.register_step_post_hook(self.average.update)
        self.model.head.register_forward_hook(self._look)
        self.looked = 0
        self.criterion = nn.CrossEntropyLoss()
        self.train(updates)

    def _look(self, *_: Any) -> None:
        self.looked += 1

    def train(self, updates: int) -> None:
        """As a user does."""
        made = 0
        while made < updates:
            for inputs, targets in self.loader:
                if made == updates:
                    break
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(inputs), targets)
                if self.scaler is None:
                    loss.backward()
                    self.optimizer.step()
                else:
                    self.scaler.scale(loss).backward()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                for scheduler in filter(None, (self.ours, self.theirs)):
                    scheduler.step()
                made += 1

    def test(self, **changes: Any) -> list[Any]:
        """A range test on it."""
        given = {"low": 1e-4, "high": 1.0, "steps": STEPS, "scaler": self.scaler, "schedules": [self.theirs]}
        return own_range_test(self.model, self.optimizer, self.loader, self.criterion, **(given | changes))

    def made(self) -> tuple[Callable[[], torch.optim.Optimizer], Callable[[], DataLoader[Any]]]:
        """Functions that give the optimizer it has, and a loader of the data it has."""
        optimizer, data, order = self.optimizer, self.data, self.loader.generator
        return lambda: optimizer, lambda: DataLoader(data, batch_size=12, shuffle=True, generator=order)

    def state(self) -> dict[str, Any]:
        """All that must not change, by name, told by what torch and Python say of it."""
        found: dict[str, Any] = {}
        for name, module in self.model.named_modules():
            found[f"mode {name}"] = module.training
            found[f"hooks {name}"] = [*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks]
            found[f"buffers {name}"] = [(key, id(value), _bits(value)) for key, value in module._buffers.items()]
            found[f"unsaved {name}"] = sorted(module._non_persistent_buffers_set)
        for name, value in self.model.named_parameters():
            grad = value.grad
            found[f"weight {name}"] = (id(value), value.data_ptr(), value.requires_grad, _bits(value))
            found[f"gradient {name}"] = None if grad is None else (id(grad), _bits(grad))
        found["attributes"] = (self.model.calls, list(self.model.seen), self.looked, sorted(vars(self.model)))
        optimizer = self.optimizer
        found["hooks of steps"] = [
            *optimizer._optimizer_step_pre_hooks.items(),
            *optimizer._optimizer_step_post_hooks.items(),
        ]
        for place, group in enumerate(optimizer.param_groups):
            found[f"group {place}"] = (id(group), {key: value for key, value in group.items() if key != "params"})
            found[f"parameters {place}"] = [id(each) for each in group["params"]]
        found["optimizer"] = (id(optimizer.state), len(optimizer.state), sorted(vars(optimizer)))
        for place, value in enumerate(each for group in optimizer.param_groups for each in group["params"]):
            own = optimizer.state.get(value, {})
            found[f"state {place}"] = [
                (key, id(each), _bits(each) if isinstance(each, Tensor) else each) for key, each in own.items()
            ]
        found["scaler"] = None if self.scaler is None else (
            self.scaler.state_dict(), len(self.scaler._per_optimizer_states), _bits(self.scaler._scale),
        )  # fmt: skip
        if self.ours is not None:
            found["ours"] = (self.ours.state_dict(), bool(self.ours._updates.made), self.ours.get_last_lr())
        if self.theirs is not None:
            found["theirs"] = {key: value for key, value in vars(self.theirs).items() if key != "optimizer"}
            found["theirs"] = repr(sorted(found["theirs"].items(), key=str))
        found["average"] = (self.average.made, [(id(e), _bits(e)) for e in self.average.weights.values()])
        data = self.data
        found["random numbers"] = [
            random.getstate(), repr(NUMPY.get_state(legacy=False)), _bits(torch.get_rng_state()),
            repr(data.numpy.bit_generator.state), repr(data.legacy.get_state(legacy=False)), data.python.getstate(),
            _bits(data.torch.get_state()),
        ]  # fmt: skip
        order = self.loader.generator
        found["order"] = None if order is None else _bits(order.get_state())
        found["data"] = (data.read, dict(data.cache), _bits(data.inputs))
        found["torch"] = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.backends.cudnn.benchmark)
        found["signals"] = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        return found

    def values(self) -> dict[str, Any]:
        """What `naive` means to put back: weights, the optimizer, random numbers but those of the data."""
        groups = [
            {key: value for key, value in each.items() if key != "params"} for each in self.optimizer.param_groups
        ]
        states = [
            [(key, _bits(each) if isinstance(each, Tensor) else each) for key, each in own.items()]
            for own in self.optimizer.state.values()
        ]
        order = self.loader.generator
        return {
            "weights": self.weights(),
            "groups": groups,
            "states": states,
            "random numbers": (random.getstate(), repr(NUMPY.get_state(legacy=False)), _bits(torch.get_rng_state())),
            "order": None if order is None else _bits(order.get_state()),
            "gradients are taken": torch.is_grad_enabled(),
        }

    def weights(self) -> list[bytes]:
        """Of the model, bit for bit."""
        return [_bits(each) for each in self.model.state_dict().values()]


def _bits(value: Any) -> Any:
    """A digest of the bits of a tensor."""
    if value is None:
        return None
    raw = value.detach().contiguous()
    return (
        hashlib.sha1(ctypes.string_at(raw.data_ptr(), raw.nbytes) if raw.nbytes else b"").digest()
        + str((tuple(raw.shape), raw.dtype)).encode()
    )


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is another than before."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


class Found(NamedTuple):
    """How many tests were ended, how many of these changed something, and what they did."""

    tried: int
    ended: int
    changed: int
    what: dict[str, int]


KINDS: tuple[type[BaseException], ...] = (ValueError, RuntimeError, SystemExit, MemoryError, GeneratorExit)
PLACES = ("forward", "data", "loss", "update", "backward")


def end_by_errors(count: int, seed: int, kinds: tuple[type[BaseException], ...] = KINDS) -> Found:
    """Range tests in which something raises, at a random place and step; functions give every other what it needs."""
    chance = random.Random(seed)
    counted = _Counted()
    setting = Setting(0)
    for number in range(count):
        if number % 25 == 0:
            setting = Setting(chance.randrange(16), updates=chance.choice((0, 3)))
        kind, place, after = chance.choice(kinds), chance.choice(PLACES), chance.randrange(12)
        left = [after]

        def fail(now: str, place: str = place, left: list[int] = left, kind: type[BaseException] = kind) -> None:
            if now == place:
                left[0] -= 1
                if left[0] < 0:
                    raise kind(now)

        hook = setting.model.head.weight.register_hook(lambda _, fail=fail: fail("backward"))
        before_step = setting.optimizer.register_step_pre_hook(lambda *_, fail=fail: fail("update"))
        setting.model.fail = setting.data.fail = fail
        loss = setting.criterion

        def failing(outputs: Tensor, targets: Tensor, fail: Any = fail, loss: Any = loss) -> Tensor:
            fail("loss")
            found: Tensor = loss(outputs, targets)
            return found

        made = bool(number & 1)

        def ended(
            setting: Setting = setting, failing: Any = failing, kind: type[BaseException] = kind, made: bool = made
        ) -> bool:
            optimizer, loader = setting.made() if made else (setting.optimizer, setting.loader)
            with contextlib.suppress(kind):
                own_range_test(
                    setting.model, optimizer, loader, failing, low=1e-4, high=1.0, steps=STEPS,
                    scaler=setting.scaler, schedules=[setting.theirs],
                )  # fmt: skip
                return False
            return True

        counted.take(setting, ended)
        hook.remove()
        before_step.remove()
    return counted.found


class _Counted:
    def __init__(self) -> None:
        self.tried = self.ended = self.changed = 0
        self.what: dict[str, int] = {}

    def take(self, setting: Setting, ended: Callable[[], bool]) -> None:
        """Count one test, before and after which all is looked at."""
        before = setting.state()
        self.ended += ended()
        self.tried += 1
        found = changed(before, setting.state())
        self.changed += bool(found)
        for name in found:
            self.what[name] = self.what.get(name, 0) + 1

    @property
    def found(self) -> Found:
        return Found(self.tried, self.ended, self.changed, self.what)


def end_content(count: int, seed: int) -> Found:
    """Range tests with runs to confirm, at a random loss of which a signal comes whose handler is content.

    Those that make one more update than the one under way, or do not say why they ended, count as changed.
    """
    chance = random.Random(seed)
    counted = _Counted()
    for _ in range(count):
        setting = Setting(chance.randrange(16), updates=0)
        setting.data.targets[:] = setting.data.inputs[:, :3].argmax(1)  # they can be learned: there is a suggestion
        MADE.clear()
        at, loss = chance.randrange(1, 3 * STEPS), setting.criterion

        def signalled(outputs: Tensor, targets: Tensor, at: int = at, loss: Any = loss) -> Tensor:
            MADE.append(1)
            if len(MADE) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            found: Tensor = loss(outputs, targets)
            return found

        def ended(setting: Setting = setting, signalled: Any = signalled, at: int = at) -> bool:
            optimizer, loader = setting.made()
            found = lrc.range_test(
                setting.model, optimizer, loader, signalled, low=1e-4, high=1.0, steps=3 * STEPS // 2,
                confirm=STEPS // 2, scaler=setting.scaler, schedules=[setting.theirs],
            )  # fmt: skip
            confirming = found.confirmation
            last = (found if confirming is None else confirming).records[-1]
            told = last.message == ASKED and not (confirming and confirming.confirmed)
            setting.data.read += len(MADE) > at or (len(MADE) == at and not told)
            return len(MADE) >= at

        with handler(signal.SIGTERM, lambda *_: None):
            counted.take(setting, ended)
    return counted.found


class Sender:
    """Another process that sends this one signals, so many microseconds after it was asked to."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 64)  # asked, answered, delays in microseconds, signal
        self._asked = 0
        self._me = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            self._serve()

    def _serve(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        served = 0
        while os.getppid() == self._me:
            asked, _, first, second, number = struct.unpack("5q", self._shared[:40])
            if asked == served:
                time.sleep(2e-5)
                continue
            for delay in (first, second):
                if delay >= 0:
                    until = time.perf_counter_ns() + 1000 * delay
                    while time.perf_counter_ns() < until:
                        time.sleep(0)
                    os.kill(self._me, number)
            served = asked
            self._shared[8:16] = struct.pack("q", served)
        os._exit(0)

    def ask(self, first: int, second: int = -1, number: int = signal.SIGINT) -> None:
        """Ask for a signal, or two."""
        self._asked += 1
        self._shared[16:40] = struct.pack("3q", first, second, number)
        self._shared[:8] = struct.pack("q", self._asked)

    @property
    def answered(self) -> bool:
        """Whether all that were asked for were sent."""
        return bool(struct.unpack("q", self._shared[8:16])[0] == self._asked)

    def close(self) -> None:
        """End it."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._shared.close()


def naive(setting: Setting) -> None:
    """What people write: copies of state dicts, loaded in a `finally`."""
    held = [setting.model, setting.optimizer, setting.scaler, setting.ours or setting.theirs]
    states = [None if each is None else copy.deepcopy(each.state_dict()) for each in held]
    numbers = (random.getstate(), NUMPY.get_state(), torch.get_rng_state())
    order = setting.loader.generator
    place = None if order is None else order.get_state()
    try:
        rate = 1e-4
        batches = iter(setting.loader)
        for _ in range(STEPS):
            try:
                inputs, targets = next(batches)
            except StopIteration:
                batches = iter(setting.loader)
                inputs, targets = next(batches)
            for group in setting.optimizer.param_groups:
                group["lr"] = rate
            setting.optimizer.zero_grad()
            loss = setting.criterion(setting.model(inputs), targets)
            loss.backward()
            setting.optimizer.step()
            rate *= 1.6
    finally:
        for each, state in zip(held, states, strict=True):
            if each is not None:
                each.load_state_dict(state)
        random.setstate(numbers[0])
        NUMPY.set_state(numbers[1])
        torch.set_rng_state(numbers[2])
        if order is not None:
            order.set_state(place)


def end_by_signals(
    count: int,
    seed: int,
    *,
    number: int = signal.SIGINT,
    raised: type[BaseException] = KeyboardInterrupt,
    way: Callable[[Setting], object] = Setting.test,
    look: Callable[[Setting], Any] = Setting.state,
    plain: bool = False,
) -> Found:
    """Range tests under real signals at random microseconds, every third of them twice.

    Args:
        count: of tests.
        seed: of the moments.
        number: of the signal.
        raised: what its handler raises.
        way: the test.
        look: at what must not change.
        plain: as of a Setting.
    """
    chance = random.Random(seed)
    tried = ended = different = 0
    what: dict[str, int] = {}
    if number == signal.SIGINT:  # a process begun in the background by a shell ignores it
        signal.signal(number, signal.default_int_handler)
    sender, setting, micros = Sender(), Setting(0, plain=plain), 1
    collectors = gc.callbacks[:]  # those of a library for tests, say: Python drops what a handler raises within one
    gc.callbacks.clear()
    try:
        for trial in range(count):
            if trial % 50 == 0:
                setting = Setting(chance.randrange(16), updates=chance.choice((0, 3)), plain=plain)
                way(setting)
                began = time.perf_counter()
                way(setting)
                micros = int(1.1e6 * (time.perf_counter() - began))
            before = look(setting)
            delays = (chance.randrange(micros), chance.randrange(2000) if trial % 3 == 0 else -1)
            caught = _sent(sender, delays, number, raised, lambda setting=setting: way(setting))
            found = changed(before, look(setting))
            tried, ended, different = tried + 1, ended + bool(caught), different + bool(found)
            for name in found:
                what[name] = what.get(name, 0) + 1
            if found:
                torch.set_grad_enabled(True)  # which naive code may have left off, in the midst of loading a state
                setting = Setting(chance.randrange(16), updates=3, plain=plain)
    finally:
        gc.callbacks[:] = collectors
        sender.close()
    return Found(tried, ended, different, what)


def _sent(
    sender: Sender, delays: tuple[int, int], number: int, raised: type[BaseException], way: Callable[[], object]
) -> int:
    """How often a handler raised, in a test and after it, until all signals have come."""
    caught, begun = 0, False
    while True:  # a second signal may come where the first is being caught
        try:
            while True:
                try:
                    if not begun:
                        begun = True
                        sender.ask(*delays, number)
                        way()
                    while not sender.answered:
                        time.sleep(1e-5)
                    time.sleep(1e-4)
                    return caught
                except raised:
                    caught += 1
        except raised:
            caught += 1


@contextlib.contextmanager
def handler(number: int, handle: Any) -> Iterator[None]:
    """A handler of a signal, for the time of a block."""
    previous = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, previous)


def end_by_kills(folder: Path, count: int, seed: int) -> Found:
    """Range tests of processes that are killed, beside their checkpoints."""
    chance = random.Random(seed)
    setting = Setting(5)
    torch.save(setting.model.state_dict(), folder / "model.pt")
    torch.save(setting.optimizer.state_dict(), folder / "optimizer.pt")

    def files() -> dict[str, Any]:
        return {each.name: hashlib.sha1(each.read_bytes()).digest() for each in folder.iterdir()}

    before, different = files(), 0
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            try:
                while True:
                    setting.test()
            finally:
                os._exit(1)
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        different += files() != before
    return Found(count, count, different, {})


LEFT: list[float] = []
"""Losses to come, the next one last, where nothing is put back."""


def scripted(losses: Any, steps: int = 70) -> Record:
    """The record of a test whose losses are these."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    LEFT[:] = reversed([*losses])

    def step(batch: Tensor) -> float:
        model(batch).sum().backward()
        optimizer.step()
        return float(LEFT.pop())

    (record,) = own_range_test(model, optimizer, [torch.ones(1, 2)], step=step, steps=steps, low=1e-8, high=1e-6)
    return record


def end_by_losses(repeats: int) -> tuple[int, int]:
    """How many tests whose losses go wrong at a known update there were, and how many did not end at most one later.

    Those that explode among the first five may take five, those that rise from the start, 30; flat ones must not end.

    Args:
        repeats: of each kind, with other noise.
    """
    tried = wrong = 0
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        for at in range(61):
            falling = 2.3 - np.linspace(0, 1, 61)[:at] + rng.normal(0, 0.02, at)
            for bad in (math.nan, math.inf, -math.inf):
                record = scripted([*falling, bad, *[1.0] * 80])
                tried, wrong = (
                    tried + 1,
                    wrong + (record.cost.steps != at + 1 or record.outcome is not Outcome.DIVERGED),
                )
            exploding = 50.0 * rng.uniform(3, 1e3) ** np.arange(12)
            record = scripted([*falling, *exploding, *[1.0] * 80])
            latest = max(at + 2, 5)  # from fewer than five losses nobody can tell an explosion from noise
            tried, wrong = tried + 1, wrong + (record.outcome is not Outcome.STOPPED or record.cost.steps > latest)
        for flat in (2.3, -7.0, 1e6):
            record = scripted(flat + rng.normal(0, 0.02, 80))
            tried, wrong = tried + 1, wrong + (record.outcome is not Outcome.FINISHED)
        for rise in (2.3 + np.arange(80.0), 2.3 * 1.2 ** np.arange(80), 2.3 * 2.0 ** np.arange(80)):
            record = scripted(rise + rng.normal(0, 0.02, 80))  # from the start: its own scale must be learned first
            tried, wrong = tried + 1, wrong + (record.outcome is not Outcome.STOPPED or record.cost.steps > 30)
        record = scripted([math.nan] * 80)
        tried, wrong = tried + 1, wrong + (record.cost.steps != 1)
    return tried, wrong


def compared(count: int, seed: int) -> tuple[int, int]:
    """How many pairs of tests with one seed there were, and how many had other curves or other points than updates."""
    chance = random.Random(seed)
    tried = wrong = 0
    for _ in range(count):
        setting = Setting(chance.randrange(16), updates=chance.choice((0, 3)))
        changes = {"accumulate": chance.randint(1, 4), "seed": chance.randrange(100), "repeats": chance.randint(1, 2)}
        MADE.clear()
        hook = setting.optimizer.register_step_post_hook(lambda *_: MADE.append(1))
        first = setting.test(**changes)
        updates = len(MADE)
        hook.remove()
        setting.train(chance.randrange(4))  # random numbers are elsewhere by then
        fresh = Setting(setting.seed, updates=setting.updates)
        torch.rand(chance.randrange(5)), random.random(), NUMPY.random_sample()
        again = fresh.test(**changes)
        curves = [[each.column("loss").tobytes() for each in records] for records in (first, again)]
        points = sum(len(each.column("loss")) for each in first)
        tried, wrong = tried + 1, wrong + (curves[0] != curves[1] or points != updates)
    return tried, wrong


MADE: list[int] = []
"""Updates, counted where nothing is put back."""


def trained(seed: int, *, tested: bool) -> list[bytes]:
    """The weights after 50 updates, with a range test in the midst of them or without."""
    setting = Setting(seed, updates=3)
    if tested:
        setting.test()
    setting.train(47)
    return setting.weights()
