"""Which runs begin alike: the tree of what they share, read off their rates before anything trains."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.spec import RunSpec

__all__ = ["Branch", "branches", "rates", "saved"]


class Branch(NamedTuple):
    """Updates that several runs have in common, and what comes after.

    Args:
        specs: the runs, in the order they were given; all of them make these updates with the same rates.
        first: the first update, and
        last: the one after the last.
        ended: those of `specs` whose run ends here.
        then: where the others part; each goes on from the state at `last`.
    """

    specs: tuple[RunSpec, ...]
    first: int
    last: int
    ended: tuple[RunSpec, ...]
    then: "tuple[Branch, ...]"


def branches(specs: Sequence[RunSpec]) -> list[Branch]:
    """The runs as trees: each begins with its first update, and a run is on one path from there.

    Runs share what they have in common from the beginning: task, seed, optimizer, the run they go on from, and the
    rates, momenta and weight decays of every update so far, to the bit. A control that looks is known only as it
    runs: its run shares nothing.

    Args:
        specs: no two the same.
    Example:
        >>> wsd = [f"adamw:constant(share=0.8)+linear(start=1, end={end})" for end in (0.0, 0.1)]
        >>> runs = [RunSpec(task="digits-mlp", method=each, base_lr=1e-3, total_steps=100) for each in wsd]
        >>> (tree,) = branches(runs)
        >>> tree.first, tree.last, [branch.last for branch in tree.then]
        (0, 81, [100, 100])
    """
    kinds: dict[tuple[object, ...], list[int]] = {}
    for place, spec in enumerate(specs):
        open_loop = isinstance(spec.method.control, Scheduled)
        alike = (spec.task, spec.seed, spec.method.optimizer, spec.start, None if open_loop else place)
        kinds.setdefault(alike, []).append(place)
    found: list[Branch] = []
    for places in kinds.values():
        members = [specs[place] for place in places]
        if len(members) == 1:
            (spec,) = members
            found.append(Branch((spec,), spec.first_step, spec.stop_step, (spec,), ()))
        else:
            tables = [rates(spec) for spec in members]
            found += _grown(members, tables, members[0].first_step, 0)
    return found


def saved(trees: Sequence[Branch]) -> int:
    """How many updates need not be made because runs share them."""
    return sum((len(tree.specs) - 1) * (tree.last - tree.first) + saved(tree.then) for tree in trees)


def rates(spec: RunSpec) -> NDArray[np.float64]:
    """What an open-loop control puts in force from the spec's first update to its last.

    Returns:
        Shape (spec.updates, 3): learning rate, momentum and weight decay; NaN where one is left as it is.
    Example:
        >>> rates(RunSpec(task="digits-mlp", method="sgd:linear", base_lr=2.0, total_steps=4))[:, 0].tolist()
        [2.0, 1.5, 1.0, 0.5]
    """
    control = spec.method.control
    assert isinstance(control, Scheduled)  # noqa: S101 - nobody asks for those of others, told to the type checker
    table = np.full((spec.total_steps, 3), np.nan)
    momentum, decay = control.beside(spec.total_steps)
    with np.errstate(over="ignore"):  # a rate beyond float64 is infinite; such a run diverges
        table[:, 0] = spec.base_lr * control.multipliers(spec.total_steps)
    if momentum is not None:
        table[:, 1] = momentum
    if decay is not None:
        table[:, 2] = spec.method.optimizer.weight_decay * decay
    return table[spec.first_step : spec.stop_step]


def _grown(specs: list[RunSpec], tables: list[NDArray[np.float64]], first: int, done: int) -> Iterator[Branch]:
    """The branches of runs that have been alike up to update `first`, which is row `done` of their tables."""
    nexts: dict[bytes, list[int]] = {}
    for place, table in enumerate(tables):
        nexts.setdefault(table[done].tobytes(), []).append(place)
    for places in nexts.values():
        members, own = [specs[place] for place in places], [tables[place] for place in places]
        alike = _alike(own, done)
        last = first + alike - done
        ended = tuple(spec for spec in members if spec.stop_step == last)
        rest = [place for place, spec in enumerate(members) if spec.stop_step > last]
        then = _grown([members[place] for place in rest], [own[place] for place in rest], last, alike) if rest else ()
        yield Branch(tuple(members), first, last, ended, tuple(then))


def _alike(tables: list[NDArray[np.float64]], done: int) -> int:
    """How many rows, the first `done` of them known to be, are the same in all tables, to the bit."""
    shortest = min(map(len, tables))
    rows = tables[0][done:shortest].view(np.int64)
    for table in tables[1:]:
        differ = (rows != table[done : done + len(rows)].view(np.int64)).any(axis=1)
        rows = rows[: int(differ.argmax())] if differ.any() else rows
    return done + len(rows)
