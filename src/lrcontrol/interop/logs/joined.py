"""Rows of a table joined to the log of one run: resumed, repeated, shuffled and several runs told apart.

No reading is ever added to another, and none counts twice. What the rows do not tell is refused.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText
from lrcontrol.interop.logs.table import Table
from lrcontrol.runs.gradient_log import GradientLog
from lrcontrol.runs.log_lines import COLUMNS

__all__ = ["joined", "run_number"]

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
MOST_LONE = 100  # rows that can be alone in the wrong place; more of them are rows in no order
SHORTEST = 3  # rows between two steps back, on average; rows that go back more often are in no order at all


def joined(table: Table, run: int | str | None, where: str) -> GradientLog:
    """The log of one run.

    Rows without a norm are left out; losses and rates in other rows of a step are put beside its norm. Then:

    * one row that does not fit between its neighbours, which fit each other, is damaged;
    * rows that are there twice with the same value are there once;
    * where steps go back, the run was resumed: of what came before, steps from there on are left out;
    * where they go back to the first step of a run or before it, another run begins, and `run` must choose;
    * rows in another order of which no step is there twice are sorted;
    * anything else is refused.

    Args:
        table: rows in the order of the file.
        run: the name of a run, or its number from 0, or from -1 backwards.
        where: the log, for errors.
    Raises:
        BadInput: there are several runs and `run` says none of them; rows contradict one another.
    """
    table, run = _of_named(table, run, where)
    notes, skipped = list(table.notes), table.skipped
    main = _main(table)
    mask = None if main is None else table.there.get(main)
    rows = None if mask is None else np.flatnonzero(mask)
    steps = table.steps if rows is None else table.steps[rows]
    span = (0, len(table.steps))
    if not _increasing(steps):
        values = np.zeros(len(steps)) if main is None else table.columns[main]
        values = values if rows is None or main is None else values[rows]
        picked, lone, (low, high) = _ordered(steps, values, run, where, notes)
        skipped += lone
        rows = np.arange(len(steps)) if rows is None else rows
        span = (int(rows[low]) if low else 0, int(rows[high]) if high < len(rows) else len(table.steps))
        rows = rows[picked]
    elif run is not None:
        _number(run, 1, where)
    steps = table.steps if rows is None else table.steps[rows]
    columns = {role: _beside(table, role, rows, span) for role in table.columns}
    for array in (steps, *columns.values()):
        if array is not None:
            array.setflags(write=False)  # the log's from here on: it need not copy them
    l1, l2, loss, lr = (columns.get(role) for role in COLUMNS)
    if len(steps) and l1 is None and l2 is None:
        notes.append(f"{where} has no gradient norms by their names, only losses or rates; column= names them.")
    return GradientLog(steps, l1, l2, loss, lr, table.total_steps, notes, skipped)


def _of_named(table: Table, run: int | str | None, where: str) -> tuple[Table, int | str | None]:
    """The rows of the run that is meant, where they say whose they are, and what of `run` is still to be heeded."""
    if table.runs is None or len(table.names) < 2:
        return table, None if run in table.names else run
    rows = np.flatnonzero(table.runs == run_number(run, table.names, where))
    return replace(
        table,
        steps=table.steps[rows],
        columns={role: values[rows] for role, values in table.columns.items()},
        there={role: mask[rows] for role, mask in table.there.items()},
        runs=None,
    ), None


def _main(table: Table) -> str | None:
    """The column whose rows are the readings: of norms the one that is there more often, else what there is."""
    count = {role: int(table.there[role].sum()) if role in table.there else len(table.steps) for role in table.columns}
    norms = [role for role in ("l2", "l1") if count.get(role)]
    others = [role for role in ("loss", "lr") if count.get(role)]
    return max(norms or others, key=lambda role: count[role], default=None)


def _increasing(steps: Rows) -> bool:
    return bool((steps[1:] > steps[:-1]).all())


def run_number(run: int | str | None, names: Sequence[str], where: str) -> int:
    """Which of several named runs is meant, by its name or number.

    Raises:
        BadInput: none of them is; or there are several and `run` is None.
    """
    if run is None and len(names) > 1:
        raise BadInput(f"{where} holds {len(names)} runs; choose one with run=: {_listed(names)}.")
    if isinstance(run, str) and run not in names:
        raise BadInput(f"{where}: {checks.near_miss('run', run, names)}")
    return names.index(run) if isinstance(run, str) else _number(run or 0, len(names), where)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _number(run: int | str, count: int, where: str) -> int:
    """Which of `count` runs is meant."""
    number = int(run) if isinstance(run, str) and run.lstrip("-").isdecimal() else run
    if isinstance(number, int) and not isinstance(number, bool) and -count <= number < count:
        return number % count
    runs = f"the {count} runs of {where}, 0 to {count - 1}" if count > 1 else f"0, for {where} holds one run"
    raise BadInput(f"`run` must be one of {runs}, got run={checks.shown(run)}.".replace("one of 0", "0"))


def _ordered(
    steps: Rows, values: Floats, run: int | str | None, where: str, notes: list[str]
) -> tuple[Rows, int, tuple[int, int]]:
    """Which rows are readings of the run, in the order of their steps, how many are damaged, where the run lies."""
    lone = _lone(steps)
    kept = np.flatnonzero(~lone)
    damaged = int(lone.sum())
    if damaged:
        rows, first = "a row" if damaged == 1 else f"{damaged} rows", steps[lone][0]
        notes.append(f"{rows} of {where} left out: the step does not fit between those beside it, such as {first}.")
    now = steps[kept]
    if not _increasing(now):
        order = np.argsort(now, kind="stable")
        again = now[order][1:] == now[order][:-1]
        if not bool((_same(values[kept][order]) | ~again).all()) or (not again.any() and _resumed(now)):
            picked, (low, high) = _of_one_run(now, run, where, notes)
            return kept[picked], damaged, (int(kept[low]), int(kept[high]) if high < len(kept) else len(steps))
        kept = kept[order][np.concatenate([[True], ~again])]
        notes.append(
            f"{int(again.sum())} readings of {where} were there twice with the same value, and count once."
            if again.any()
            else f"the rows of {where} were not in the order of their steps, and have been sorted."
        )
    if run is not None:
        _number(run, 1, where)
    return kept, damaged, (0, len(steps))


def _same(values: Floats) -> NDArray[np.bool_]:
    """Which values are the one before them, to the bit or both NaN."""
    same: NDArray[np.bool_] = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    return same


def _lone(steps: Rows) -> NDArray[np.bool_]:
    """Rows whose step does not fit between its neighbours, which fit each other; two side by side are swapped rows."""
    lone = np.zeros(len(steps), np.bool_)
    if len(steps) < 3:
        return lone
    before, here, after = steps[:-2], steps[1:-1], steps[2:]
    lone[1:-1] = (before < after) & ((here <= before) | (here >= after))
    lone[0] = steps[0] > steps[1] and steps[1] < steps[2]
    lone[-1] = steps[-1] < steps[-2] and steps[-3] < steps[-2]  # a resumed run shows itself with its second reading
    at = np.flatnonzero(lone)
    if len(at) > 2 * min(MOST_LONE, max(1, len(steps) // 20)):  # no order at all
        return np.zeros(len(steps), np.bool_)
    ordered = np.sort(steps)
    apart = np.diff(ordered)
    usual = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    pairs = np.flatnonzero(lone[1:] & lone[:-1]) + 1
    lone[pairs] = lone[pairs - 1] = False
    for place in pairs.tolist():  # the same step twice, and one missing beside it: one of the two is the missing one
        if steps[place] == steps[place - 1]:
            lone[place] = place + 1 < len(steps) and steps[place + 1] - steps[place] > usual
    for place in np.flatnonzero(lone).tolist():
        lone[place] = not _displaced(steps, place, ordered, usual)
    return lone if _in_parts(steps[~lone]) else np.zeros(len(steps), np.bool_)


def _in_parts(steps: Rows) -> bool:
    """Whether steps go back seldom, as those of runs that are resumed or joined do, and not those of shuffled rows."""
    return len(steps) >= 2 * SHORTEST * int((steps[1:] <= steps[:-1]).sum())


def _displaced(steps: Rows, at: int, ordered: Rows, usual: float) -> bool:
    """Whether a row stands where none is missing, and is missing elsewhere: among all steps in their order."""
    if 0 < at < len(steps) - 1 and steps[at + 1] - steps[at - 1] > usual:
        return False
    low, high = (int(np.searchsorted(ordered, steps[at], side=side)) for side in SIDES)
    before = steps[at] - ordered[low - 1] if low else usual
    after = ordered[high] - steps[at] if high < len(ordered) else usual
    return high - low == 1 and bool(before <= usual and after <= usual)


def _resumed(steps: Rows) -> bool:
    """Whether rows of which no step is there twice are those of a resumed run that was logged at other steps.

    They are if they go back seldom, and the rows of both parts, put together, are closer than in either.
    """
    backs = np.flatnonzero(steps[1:] <= steps[:-1]) + 1
    if not _in_parts(steps):
        return False
    apart = np.diff(steps)
    usual = np.median(apart[apart > 0])
    back, top = int(steps[backs[0]]), int(steps[: backs[0]].max())
    both = np.sort(steps[(steps >= back) & (steps <= top)])
    return len(both) > SHORTEST and float(np.median(np.diff(both))) < 0.75 * float(usual)


def _of_one_run(steps: Rows, run: int | str | None, where: str, notes: list[str]) -> tuple[Rows, tuple[int, int]]:
    """The rows of one run among those of several or of resumed ones, and from where to where it lies."""
    starts = np.concatenate([[0], np.flatnonzero(steps[1:] <= steps[:-1]) + 1])
    if len(starts) > 2 and len(steps) < SHORTEST * len(starts):
        raise BadText(
            f"{where} holds steps more than once with different values, in no order that a resumed run leaves; "
            "rows of several runs must say whose they are, in a column `run`."
        )
    ends = [*starts[1:].tolist(), len(steps)]
    runs: list[list[tuple[int, int]]] = []
    lowest = math.inf
    for start, end in zip(starts.tolist(), ends, strict=True):
        if steps[start] <= lowest:
            runs.append([])
            lowest = int(steps[start])
        runs[-1].append((start, end))
    if run is None and len(runs) > 1:
        spans = [f"{at} (steps {steps[each[0][0]]} to {steps[each[-1][1] - 1]})" for at, each in enumerate(runs[:8])]
        more = f" and {len(runs) - 8} more" if len(runs) > 8 else ""
        raise BadInput(f"{where} holds {len(runs)} runs; choose one with run=: {', '.join(spans)}{more}.")
    chosen = runs[0 if run is None else _number(run, len(runs), where)]
    parts: list[Rows] = []
    low: float = math.inf
    for start, end in reversed(chosen):  # from the last part back: it is the run's, as far as it reaches down
        inside = np.arange(start, end)
        parts.append(inside[steps[inside] < low])
        low = min(low, float(steps[start]))
    kept, span = np.concatenate(parts[::-1]), (chosen[0][0], chosen[-1][1])
    if len(chosen) > 1:
        back, times = chosen[1][0], "once" if len(chosen) == 2 else f"{len(chosen) - 1} times"
        notes.append(
            f"steps of {where} went back {times}, first from {steps[back - 1]} to {steps[back]}: "
            f"taken for a resumed run, and {span[1] - span[0] - len(kept)} readings of before are left out."
        )
    if len(runs) > 1:
        notes.append(f"{where} holds {len(runs)} runs, of which this is run {runs.index(chosen)}.")
    return kept, span


def _beside(table: Table, role: str, rows: Rows | None, span: tuple[int, int]) -> Floats | None:
    """A column at the rows that were picked; what is not in a row is taken from the nearest one of its step."""
    values, there = table.columns[role], table.there.get(role)
    if there is None:
        return values if rows is None else values[rows]
    rows = np.arange(len(values)) if rows is None else rows
    others = np.flatnonzero(there)
    others = others[(others >= span[0]) & (others < span[1])]
    if not len(others):
        return None if len(rows) else values[:0]
    numbers = np.unique(table.steps, return_inverse=True)[1]
    key = numbers * len(values) + np.arange(len(values))  # sorted by step, and then by place in the file
    others = others[np.argsort(key[others])]
    after = np.searchsorted(key[others], key[rows])
    best, nearest = np.full(len(rows), -1), np.full(len(rows), len(values))
    for side in (after - 1, after):
        other = others[np.clip(side, 0, len(others) - 1)]
        apart = np.abs(other - rows)
        nearer = (numbers[other] == numbers[rows]) & (apart < nearest)
        best[nearer], nearest[nearer] = other[nearer], apart[nearer]
    found = np.where(best >= 0, values[best], np.nan)
    return found if (best >= 0).any() else None
