"""Table: what every reader makes of a file, before its rows are joined to one run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks

__all__ = ["Columns", "Table", "left_out"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def left_out(count: int, what: str, where: str) -> list[str]:
    """The sentence that tells of what was left out, if it was anything.

    Example:
        >>> left_out(2, "damaged row", "norms.csv"), left_out(0, "damaged row", "norms.csv")
        (['2 damaged rows of norms.csv were left out.'], [])
    """
    return [f"{count} {what}{'s' if count > 1 else ''} of {where} {'were' if count > 1 else 'was'} left out."] * (
        count > 0
    )


@dataclass
class Table:
    """Rows in the order of the file.

    Args:
        steps: shape (rows,), >= 0, in any order.
        columns: values of `l1`, `l2`, `loss` and `lr`, as far as they are there.
        there: which values are there, of the columns in which some are not.
        runs: shape (rows,), which of `names` a row belongs to, where rows say so.
        names: the runs.
        skipped: damaged rows that were left out.
        notes: sentences about that.
        total_steps: horizon, where the file tells it.
    """

    steps: NDArray[np.int64]
    columns: dict[str, Floats]
    there: dict[str, Mask] = field(default_factory=dict)
    runs: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    total_steps: int | None = None


class Columns:
    """Columns that grow block by block; the first is that of steps, unless rows are `counted`."""

    def __init__(self, roles: Sequence[str], counted: bool = False) -> None:
        self.roles = roles
        self.counted = counted
        self.damaged = self.stepless = 0
        self._rows = 0
        self._parts: list[list[NDArray[np.generic]]] = [[] for _ in roles]
        self._masks: list[list[Mask]] = [[] for _ in roles]

    def add(self, columns: Sequence[Floats], there: Sequence[Mask | None]) -> None:
        """Append rows, column by column; `there` says which values are, None where all are."""
        steps, given = columns[0], there[0]
        keep = (steps >= 0) & (steps <= checks.LARGEST_STEP) & (steps == np.floor(steps))
        if self.counted:
            keep, steps = (
                np.ones(len(steps), np.bool_),
                np.arange(self._rows, self._rows + len(steps), dtype=np.float64),
            )
        self._rows += len(steps)
        if not keep.all():
            lacking = 0 if given is None else int((~given).sum())
            self.stepless += lacking
            self.damaged += int((~keep).sum()) - lacking
            columns = [column[keep] for column in columns]
            there = [None if mask is None else mask[keep] for mask in there]
            steps = steps[keep]
        self._parts[0].append(steps.astype(np.int64))
        for place in range(1, len(self.roles)):
            mask = there[place]
            self._parts[place].append(columns[place])
            self._masks[place].append(np.ones(len(steps), np.bool_) if mask is None else mask)

    def table(self) -> Table:
        """All rows as a table; the columns are emptied on the way, so that nothing is held twice."""
        columns: list[NDArray[np.generic]] = []
        for parts in self._parts:
            columns.append(np.concatenate(parts) if parts else np.zeros(0))
            parts.clear()
        table = Table(columns[0].astype(np.int64, copy=False), {})
        for role, values, masks in zip(self.roles[1:], columns[1:], self._masks[1:], strict=True):
            table.columns[role] = values.astype(np.float64, copy=False)
            there = np.concatenate(masks) if masks else np.ones(0, np.bool_)
            if not there.all():
                table.there[role] = there
        return table

    def add_rows(self, rows: Iterable[Sequence[float | None]]) -> None:
        """Append rows one by one; None is a value that is not there."""
        kept = list(rows)
        if kept:
            values = np.array(kept, np.float64)
            there = np.array([[value is not None for value in row] for row in kept])
            self.add(list(values.T), list(there.T))
