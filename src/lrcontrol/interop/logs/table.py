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
        self._steps: list[NDArray[np.int64]] = []
        self._parts: list[list[tuple[Floats | None, Mask | None]]] = [[] for _ in roles]

    def add(self, columns: Sequence[Floats], there: Sequence[Mask | None]) -> None:
        """Append rows, column by column; `there` says which values are, None where all are."""
        steps, given = columns[0], there[0]
        keep = (steps >= 0) & (steps <= checks.LARGEST_STEP) & (steps == np.floor(steps))
        if self.counted:
            keep, steps = np.ones(len(steps), np.bool_), np.arange(self._rows, self._rows + len(steps), dtype=float)
        self._rows += len(steps)
        if not keep.all():
            lacking = np.zeros(len(steps), np.bool_) if given is None else ~given
            self.damaged += int((~keep & ~lacking).sum())
            norms = [mask for role, mask in zip(self.roles, there, strict=True) if role in ("l1", "l2")]
            self.stepless += int(
                lacking.sum()
                if any(mask is None for mask in norms)
                else (lacking & np.any([m for m in norms if m is not None], axis=0)).sum()
            )
            columns = [column[keep] for column in columns]
            there = [None if mask is None else mask[keep] for mask in there]
            steps = steps[keep]
        self._steps.append(steps.astype(np.int64))
        for parts, values, mask in zip(self._parts, columns, there, strict=True):
            nothing = mask is not None and not mask.any()
            parts.append((None, None) if nothing else (values, mask))

    def add_complete(self, columns: Sequence[Floats]) -> None:
        """Append rows in which NaN is a value that is not there, as where nothing else can be NaN."""
        gaps = [np.isnan(column) for column in columns]
        self.add(columns, [~gap if gap.any() else None for gap in gaps])

    def add_rows(self, rows: Iterable[Sequence[float | None]]) -> None:
        """Append rows one by one; None is a value that is not there."""
        kept = list(rows)
        if kept:
            values = np.array(kept, np.float64)
            there = np.array([[value is not None for value in row] for row in kept])
            self.add(list(values.T), list(there.T))

    def table(self) -> Table:
        """All rows as a table; the columns are emptied on the way, so that nothing is held twice."""
        lengths = [len(part) for part in self._steps]
        table = Table(np.concatenate([*self._steps, np.zeros(0, np.int64)]), {})
        self._steps.clear()
        for role, parts in zip(self.roles[1:], self._parts[1:], strict=True):
            if parts and all(values is None for values, _ in parts):
                continue
            each = [(length, *part) for length, part in zip(lengths, parts, strict=True)]
            parts.clear()
            if any(values is None or mask is not None for _, values, mask in each):
                there = [np.full(size, values is not None) if mask is None else mask for size, values, mask in each]
                table.there[role] = np.concatenate(there)
            found = [np.full(size, np.nan) if values is None else values for size, values, _ in each]
            table.columns[role] = np.concatenate([*found, np.zeros(0)])
        return table
