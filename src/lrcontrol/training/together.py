"""How a lot of runs is trained: one after the other from shared beginnings, or all at once, whichever is sooner."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import torch

from lrcontrol.errors import BadInput
from lrcontrol.runs.beginnings import branches
from lrcontrol.runs.executors.lots import Gain, why_alone, worth_sharing
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training import loop
from lrcontrol.training.batched import train_batched, why_not_batched
from lrcontrol.training.devices import find_device, on_cpu

__all__ = ["carry", "gain_of", "warm"]

UPDATES = 60  # that are timed
AT_ONCE = 16  # runs that are timed at once
LOADED = 256  # updates in which all is used that a long run uses
SLOW = 0.004  # seconds of an update in which Python's part is too small for many at once to gain
SHORT = 0.001  # seconds of an update that no number of threads makes faster
FASTER = 1.15  # times as fast as with one thread an update must be to be given several


def carry(
    specs: Sequence[RunSpec],
    *,
    weights: str | Path | None = None,
    gain: float = 0.0,
    threads: int = 1,
    device: str | None = None,
) -> Iterator[Record]:
    """The records of a lot.

    Args:
        specs: no two the same.
        weights: the folder of trained weights and checkpoints.
        gain: how many times sooner an update is made where many runs are trained at once; up to 1, they are not.
        threads: >= 1; that compute, where runs are trained one after the other.
        device: what they are trained on, as `find_device` takes it.
    """
    place = find_device(device)
    many = gain > 1 and len(specs) > 1 and not worth_sharing(branches(specs), gain)
    if many and why_not_batched(specs, place) is None:
        return train_batched(specs, weights=weights, device=place)
    return loop.train_all(specs, weights=weights, threads=threads, device=place)


def warm(
    spec: RunSpec,
    *,
    weights: str | Path | None = None,
    gain: float = 0.0,
    threads: int = 1,
    device: str | None = None,
) -> None:
    """Load what runs like this one share, for a process that will fork for each lot of them.

    Where many are to be trained at once, two are for some updates: torch loads a good part of itself for that, seconds
    of it where the step is traced. Not where there is an accelerator: a process that has gone backwards there, or has
    used one, can fork no child that trains. Nor can one that has begun several threads, so that there is one here.
    """
    del weights, threads
    loop.warm(spec, judge=device in (None, "cpu"))
    kind = (spec.task, type(spec.method.optimizer))
    if gain > 1 and kind not in _WARM and device in (None, "cpu") and not torch.cuda.is_available():
        _WARM.add(kind)
        few = [
            RunSpec(task=spec.task, method=spec.method, base_lr=spec.base_lr * part, total_steps=spec.total_steps,
                    stop_step=min(spec.total_steps, LOADED))
            for part in (0.5, 0.25)
        ]  # fmt: skip
        if why_not_batched(few) is None:
            for _ in train_batched(few):
                pass


_WARM: set[tuple[str, type]] = set()


def gain_of(specs: Sequence[RunSpec], cores: int = 1, device: torch.device | None = None) -> Gain:
    """Time the first updates of runs that were proposed, one after the other and at once.

    Args:
        specs: at least one, of one task; a few of those that can be trained at once and have one kind of optimizer are
            timed.
        cores: >= 1; for all of them. Where there are more than runs, and updates are slow, several threads are tried.
        device: what they are trained on; threads are tried on the CPU alone.
    """
    able = [spec for spec in specs if why_alone(spec) is None]
    first = (able or specs)[0]
    alike = [spec for spec in able or specs[:1] if type(spec.method.optimizer) is type(first.method.optimizer)][
        :AT_ONCE
    ]
    few = [
        msgspec.structs.replace(spec, stop_step=min(spec.stop_step, UPDATES), save=False, checkpoint=False, start=None)
        for spec in alike
    ]
    few = list({spec.id: spec for spec in few}.values())
    try:
        update = loop.seconds_of_update(first, clock=_clock(device), device=device)
    except BadInput:
        if able:
            raise
        return Gain(1.0, "Runs are trained one after the other: what is left cannot be timed.")  # it will say why
    threads = cores // len(specs) if on_cpu(device) else 1
    if (update > SLOW and on_cpu(device)) or (len(few) < 2 and threads > 1 and update > SHORT):
        return _with_threads(first, update, threads)
    alone = _seconds(lambda: loop.train_all(few[:1], device=device), device) / few[0].updates
    told = f"an update takes {_shown(alone)}"
    reason = why_not_batched(alike, device)
    if reason is not None or len(few) < 2:
        return Gain(1.0, f"Runs are trained one after the other: {reason or 'there is one at a time.'}")
    try:
        list(train_batched(few, device=device))  # traces the step
        at_once = _seconds(lambda: train_batched(few, device=device), device) / sum(spec.updates for spec in few)
    except torch.OutOfMemoryError:
        return Gain(1.0, f"Runs are trained one after the other: {len(few)} at once are too many for its memory.")
    finally:
        _let_go(device)
    times = alone / at_once
    how = f"{told} alone and {_shown(at_once)} among {len(few)} at once, {times:.1f} times as fast"
    if times <= 1:
        return Gain(1.0, f"Runs are trained one after the other: {how}.")
    return Gain(times, f"Runs are trained up to 32 at once: {how}.")


def _with_threads(spec: RunSpec, update: float, threads: int) -> Gain:
    """With how many threads runs should be trained whose updates are slow, given what one was timed at with one."""
    if threads <= 1:
        how = f"an update takes {_shown(update)}, of which Python has too small a part"
        return Gain(1.0, f"Runs are trained one after the other: {how}.")
    rounds = [[loop.seconds_of_update(spec, threads=count) for count in (1, threads)] for _ in range(2)]
    alone, several = map(min, zip(*rounds, strict=True))  # in turn: this machine may have done something else
    how = f"an update takes {_shown(alone)} with one and {_shown(several)} with {threads}"
    if several * FASTER <= alone:
        return Gain(1.0, f"Runs have {threads} threads each: {how}.", threads)
    return Gain(1.0, f"Runs have one thread each: {how}.")


def _seconds(records: Callable[[], Iterator[Record]], device: torch.device | None) -> float:
    clock = _clock(device)
    began = clock()
    for _ in records():
        pass
    return clock() - began


def _clock(device: torch.device | None) -> Callable[[], float]:
    """Of the processor, so that what else this machine is doing counts little; by the clock on an accelerator."""
    return time.process_time if on_cpu(device) else time.perf_counter


def _let_go(device: torch.device | None) -> None:
    """Give the memory of an accelerator back, which the processes of runs need."""
    if not on_cpu(device):
        torch.cuda.empty_cache()


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
