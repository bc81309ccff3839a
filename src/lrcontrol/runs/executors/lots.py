"""Lots: which runs that wait are carried out together, in one process, one lot after the other."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from lrcontrol.controls.composed import Clip
from lrcontrol.controls.control import AHEAD
from lrcontrol.controls.holding import inside
from lrcontrol.runs.beginnings import Branch, branches, saved
from lrcontrol.runs.method import SGD, AdamW
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec

__all__ = [
    "Carry",
    "Gain",
    "Lots",
    "by_beginnings",
    "by_gain",
    "by_seconds",
    "divided",
    "one_by_one",
    "why_alone",
    "worth_sharing",
]

SECONDS = 0.5  # that a lot of short runs should take, so that what a process costs is little beside it
MOST = 64  # runs in a lot
MOST_DIVIDED = 256  # runs that are looked at together
STACKED = 32  # runs that are trained at once
WORTH = 0.05  # the share of updates that sharing must save for runs to be kept together


class Carry(Protocol):
    """What carries out a lot."""

    def __call__(self, specs: Sequence[RunSpec], **options: object) -> Iterable[Record]:
        """The records of `specs`, in any order, each as soon as it is there."""


Divide = Callable[[Sequence[RunSpec], int, Callable[[RunSpec], float | None]], list[list[RunSpec]]]
"""Divides runs that wait into lots for so many workers, given the seconds that a run is likely to take."""


class Gain(NamedTuple):
    """What training many runs at once comes to, or a few with several threads each.

    Args:
        times: how many times sooner an update is made at once; 1 where it is not, or cannot be.
        told: a sentence that says what was measured.
        threads: that each run should have.
    """

    times: float
    told: str
    threads: int = 1


def why_alone(spec: RunSpec) -> str | None:
    """One sentence that says why a run cannot be trained at once with others, whatever its task; None where it can."""
    control = spec.method.control
    if not isinstance(spec.method.optimizer, SGD | AdamW):
        name = type(spec.method.optimizer).__name__
        return f"runs that are batched must have one kind of optimizer, SGD or AdamW, got {name}."
    if spec.start is not None or spec.checkpoint:
        field = "checkpoint=True" if spec.checkpoint else "start=..."
        return f"runs that are batched must neither go on from a checkpoint nor keep one, got {field}."
    if spec.norms or "grad_norm" in control.needs:
        what = f"norms={spec.norms}" if spec.norms else f"a control that needs them, {spec.method}"
        return f"runs that are batched must need no norms of gradients, got {what}."
    if control.needs & AHEAD or any(isinstance(each, Clip) for each in inside(control)):
        return f"runs that are batched must be under a control that leaves gradients alone, got {spec.method}."
    if control.keeps:
        return f"runs that are batched must end with their last weights, got {spec.method}, which keeps others."
    return None


class Lots:
    """Runs that wait, and what to carry out next.

    Args:
        divide: says which runs belong together.
        workers: >= 1; how many lots are carried out at once.
    """

    def __init__(self, divide: Divide, workers: int) -> None:
        self._divide, self._workers = divide, workers
        self._new: list[RunSpec] = []
        self._lots: list[list[RunSpec]] = []
        self._alone: list[RunSpec] = []
        self._withdrawn = False
        self._seconds_per_update: dict[str, float] = {}

    @property
    def waiting(self) -> list[RunSpec]:
        """The runs that no lot has been taken for, in the order in which they will be."""
        return [*self._alone, *(spec for lot in self._lots for spec in lot), *self._new]

    def add(self, spec: RunSpec) -> None:
        """A run that waits from now on."""
        self._withdrawn = False
        self._new.append(spec)

    def alone(self, specs: Sequence[RunSpec]) -> bool:
        """Runs of a lot that broke: each will be a lot of its own, and they come first; False if all was given up."""
        if not self._withdrawn:
            self._alone += specs
        return not self._withdrawn

    def take(self) -> list[RunSpec]:
        """The next lot; there must be runs that wait."""
        if self._alone:
            return [self._alone.pop(0)]
        if not self._lots:
            some, self._new = self._new[:MOST_DIVIDED], self._new[MOST_DIVIDED:]
            try:
                lots = self._divide(some, self._workers, self._likely)
            except Exception:  # one of them cannot be looked at: it will say so when it is carried out
                lots = one_by_one(some, self._workers, self._likely)
            order = {spec.id: place for place, spec in enumerate(some)}
            self._lots = sorted(lots, key=lambda lot: min(order[spec.id] for spec in lot))
        return self._lots.pop(0)

    def saw(self, record: Record) -> None:
        """Learn from a record how long runs of its task take; what waits is divided anew when that becomes known."""
        if record.cost.own > 0 and record.outcome is not Outcome.FAILED:
            if record.spec.task not in self._seconds_per_update:
                self._new, self._lots = [spec for lot in self._lots for spec in lot] + self._new, []
            self._seconds_per_update[record.spec.task] = record.cost.seconds / record.cost.own

    def withdraw(self) -> None:
        """Give up the runs that wait, and those of lots that break, until another is added."""
        self.clear()
        self._withdrawn = True

    def clear(self) -> None:
        """Forget the runs that wait."""
        self._new, self._lots, self._alone = [], [], []

    def _likely(self, spec: RunSpec) -> float | None:
        pace = self._seconds_per_update.get(spec.task)
        return None if pace is None else pace * spec.updates


def by_beginnings(
    specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """Runs that share enough of their beginnings together, the others by the time they take.

    A tree of runs is divided where workers would else have nothing to do; its trunk is then trained by each of them.
    """
    return _of_trees(branches(specs), workers, seconds)


def _of_trees(
    trees: Sequence[Branch], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """The lots of `by_beginnings`."""
    together: list[list[RunSpec]] = []
    others: list[RunSpec] = []
    for tree in trees:
        if saved([tree]) > WORTH * sum(spec.updates for spec in tree.specs):
            together.append(_leaves(tree))
        else:
            others += tree.specs
    lots = []
    for leaves in together:
        parts = max(math.ceil(len(leaves) / MOST), 1 if len(together) >= workers or others else workers)
        lots += divided(leaves, min(parts, len(leaves)))
    return lots + by_seconds(others, workers, seconds)


def by_gain(
    specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None], *, gain: float
) -> list[list[RunSpec]]:
    """Runs that are trained at once together, but for those that cannot be, or save more by sharing their beginnings.

    Args:
        specs: that wait.
        workers: >= 1.
        seconds: that a run is likely to take, or None.
        gain: how many times sooner an update is made where many runs are trained at once.
    """
    apart: list[Branch] = []
    kinds: dict[tuple[str, type], list[RunSpec]] = {}
    for tree in branches(specs):
        if worth_sharing([tree], gain) or any(map(why_alone, tree.specs)):
            apart.append(tree)
        else:
            for spec in tree.specs:
                kinds.setdefault((spec.task, type(spec.method.optimizer)), []).append(spec)
    lots = _of_trees(apart, workers, seconds)
    share = max(workers // max(len(kinds), 1), 1)  # a worker with nothing to do costs more than a smaller stack
    for members in kinds.values():
        ordered = sorted(members, key=lambda spec: (spec.updates, spec.seed))
        lots += divided(ordered, max(math.ceil(len(members) / STACKED), min(share, len(members))))
    return lots


def worth_sharing(trees: Sequence[Branch], gain: float) -> bool:
    """Whether runs are trained sooner by sharing their beginnings than at once."""
    updates = sum(spec.updates for tree in trees for spec in tree.specs)
    return saved(trees) > 0 and (updates - saved(trees)) * gain <= updates


def by_seconds(
    specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """Runs of one task and seed in lots of about half a second; alone where nobody knows how long they take."""
    kinds: dict[tuple[str, int], list[RunSpec]] = {}
    for spec in specs:
        kinds.setdefault((spec.task, spec.seed), []).append(spec)
    lots: list[list[RunSpec]] = []
    for members in kinds.values():
        lot: list[RunSpec] = []
        filled = 0.0
        for spec in members:
            likely = seconds(spec)
            if lot and (likely is None or filled + likely > SECONDS or len(lot) >= max(len(members) // workers, 1)):
                lots.append(lot)
                lot, filled = [], 0.0
            lot = [*lot, spec]
            filled += likely or 0.0
        lots.append(lot)
    return lots


def one_by_one(
    specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """Every run alone: for scripts, which share no beginning, and may leave anything behind in their process."""
    del workers, seconds
    return [[spec] for spec in specs]


def _leaves(tree: Branch) -> list[RunSpec]:
    """The runs of a tree as they end, so that neighbours have most in common."""
    return [*tree.ended, *(spec for branch in tree.then for spec in _leaves(branch))]


def divided(specs: list[RunSpec], parts: int) -> list[list[RunSpec]]:
    """In so many parts of nearly the same length."""
    edges = [len(specs) * part // parts for part in range(parts + 1)]
    return [specs[begin:end] for begin, end in pairwise(edges)]
