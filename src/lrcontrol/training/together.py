"""How a lot of runs is trained: one after the other from shared beginnings, or all at once, whichever is sooner."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from lrcontrol.runs.beginnings import branches
from lrcontrol.runs.executors.lots import worth_sharing
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training import loop
from lrcontrol.training.batched import train_batched, why_not_batched

__all__ = ["Gain", "carry", "gain_of", "warm"]

UPDATES = 60  # that are timed
AT_ONCE = 16  # runs that are timed at once
LOADED = 256  # updates in which all is used that a long run uses
SLOW = 0.004  # seconds of an update in which Python's part is too small for many at once to gain


def carry(specs: Sequence[RunSpec], *, weights: str | Path | None = None, gain: float = 0.0) -> Iterator[Record]:
    """The records of a lot.

    Args:
        specs: no two the same.
        weights: the folder of trained weights and checkpoints.
        gain: how many times sooner an update is made where many runs are trained at once; up to 1, they are not.
    """
    if gain > 1 and len(specs) > 1 and not worth_sharing(branches(specs), gain) and why_not_batched(specs) is None:
        return train_batched(specs, weights=weights)
    return loop.train_all(specs, weights=weights)


def warm(spec: RunSpec, *, weights: str | Path | None = None, gain: float = 0.0) -> None:
    """Load what runs like this one share, for a process that will fork for each lot of them.

    Where many are to be trained at once, two are for some updates: torch loads a good part of itself for that, seconds
    of it where the step is traced. Not where there is an accelerator: a process that has gone backwards there can fork
    no child that trains.
    """
    del weights
    loop.warm(spec)
    kind = (spec.task, type(spec.method.optimizer))
    if gain > 1 and kind not in _WARM and not torch.cuda.is_available():
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


class Gain(NamedTuple):
    """What training many runs at once comes to.

    Args:
        times: how many times sooner an update is made so; 1 where it is not, or cannot be.
        told: a sentence that says what was measured.
    """

    times: float
    told: str


def gain_of(specs: Sequence[RunSpec]) -> Gain:
    """Time the first updates of runs that were proposed, one after the other and at once.

    Args:
        specs: at least one, of one task; a few of those with the first one's kind of optimizer are timed.
    """
    first = specs[0]
    alike = [spec for spec in specs if type(spec.method.optimizer) is type(first.method.optimizer)][:AT_ONCE]
    few = [
        msgspec.structs.replace(spec, stop_step=min(spec.stop_step, UPDATES), save=False, checkpoint=False, start=None)
        for spec in alike
    ]
    few = list({spec.id: spec for spec in few}.values())
    list(loop.train_all(few[:1]))  # loads the data
    alone = _seconds(lambda: loop.train_all(few[:1])) / few[0].updates
    told = f"an update takes {_shown(alone)}"
    if alone > SLOW:
        return Gain(1.0, f"Runs are trained one after the other: {told}, of which Python has too small a part.")
    reason = why_not_batched(alike)
    if reason is not None or len(few) < 2:
        return Gain(1.0, f"Runs are trained one after the other: {reason or 'there is one at a time.'}")
    list(train_batched(few))  # traces the step
    at_once = _seconds(lambda: train_batched(few)) / sum(spec.updates for spec in few)
    times = alone / at_once
    how = f"{told} alone and {_shown(at_once)} among {len(few)} at once, {times:.1f} times as fast"
    if times <= 1:
        return Gain(1.0, f"Runs are trained one after the other: {how}.")
    return Gain(times, f"Runs are trained up to 32 at once: {how}.")


def _seconds(records: Callable[[], Iterator[Record]]) -> float:
    """Of the processor, so that what else this machine is doing counts little; by the clock beside an accelerator."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    for _ in records():
        pass
    return clock() - began


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
