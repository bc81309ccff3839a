"""GradientLog: the gradient norms of a run, step by step; GradientLogFile writes them where every reader finds them.

Logs of other programs, and damaged ones, are read by `interop.logs`.
"""

import contextlib
import os
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.log_lines import COLUMNS, HEADER, TORN, column_of, csv_lines, json_lines, steps_of
from lrcontrol.runs.record import Record

__all__ = ["GradientLog", "GradientLogFile"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GradientLog:
    """Gradient norms of one run, and what was logged beside them, at the steps where they were logged.

    Arrays are copied unless nobody can write to them, and nobody can write to the copies. A value that was not logged
    is NaN; a column that was not logged at all is None.

    Args:
        steps: shape (readings,), integers >= 0, each larger than the one before; the update that the gradient was for.
        l1: shape (readings,); L1 norm of the whole gradient, as it was logged: neither finite nor positive for sure.
        l2: the same of the L2 norm.
        loss: loss at these steps.
        lr: learning rate in force at these steps.
        total_steps: >= 1; the horizon of the run, where the log tells it.
        notes: sentences on what reading the log left out, and what it took for what.
        skipped: >= 0; how many damaged records were left out.
    Raises:
        BadInput: steps that do not increase, or a column of another length.
    Example:
        >>> log = GradientLog([0, 10, 20], l2=[2.0, 1.0, 0.5])
        >>> len(log), log.every, log.norms("l2").tolist()
        (3, 10, [2.0, 1.0, 0.5])
    """

    steps: NDArray[np.int64]
    l1: Floats | None = None
    l2: Floats | None = None
    loss: Floats | None = None
    lr: Floats | None = None
    total_steps: int | None = None
    notes: tuple[str, ...] = ()
    skipped: int = 0

    # Written out, for type checkers take the fields for the arguments: any array will do.
    def __init__(
        self,
        steps: ArrayLike,
        l1: ArrayLike | None = None,
        l2: ArrayLike | None = None,
        loss: ArrayLike | None = None,
        lr: ArrayLike | None = None,
        total_steps: int | None = None,
        notes: Iterable[str] = (),
        skipped: int = 0,
    ) -> None:
        kept = steps_of(steps)
        if len(kept) > 1 and not bool((kept[1:] > kept[:-1]).all()):
            at = int(np.argmin(kept[1:] > kept[:-1])) + 1
            raise BadInput(
                f"`steps` must increase, got {kept[at - 1]} and then {kept[at]}; "
                "lrcontrol.gradient_log reads files in which they do not."
            )
        object.__setattr__(self, "steps", kept)
        for name, values in zip(COLUMNS, (l1, l2, loss, lr), strict=True):
            object.__setattr__(self, name, None if values is None else column_of(name, values, len(kept)))
        horizon = None if total_steps is None else checks.integer("total_steps", total_steps, low=1)
        object.__setattr__(self, "total_steps", horizon)
        object.__setattr__(self, "notes", tuple(notes))
        object.__setattr__(self, "skipped", checks.integer("skipped", skipped))

    def __len__(self) -> int:
        """How many readings there are."""
        return len(self.steps)

    def __repr__(self) -> str:
        """Lengths and columns, not the numbers."""
        span = f", steps {self.steps[0]} to {self.steps[-1]}" if len(self) else ""
        return f"<GradientLog of {len(self)} readings{span}: {', '.join(self.columns) or 'no columns'}>"

    @property
    def columns(self) -> dict[str, Floats]:
        """The columns that are there, by their names."""
        return {name: values for name in COLUMNS if (values := getattr(self, name)) is not None}

    @property
    def every(self) -> int:
        """The usual (median) number of steps from one reading to the next; 1 where there are fewer than two."""
        if len(self) < 2:
            return 1
        apart = np.diff(self.steps)
        return int(np.partition(apart, len(apart) // 2)[len(apart) // 2])

    def norms(self, order: Literal["l1", "l2"] = "l2") -> Floats:
        """The norms of one order.

        Raises:
            RecordError: they were not logged; names the columns there are.
        """
        checks.one_of("norm", order, ("l1", "l2"))
        values: Floats | None = getattr(self, order)
        if values is None:
            there = ", ".join(self.columns) or "none"
            raise RecordError(f"the log has no {order} norms; its columns are: {there}.")
        return values

    @classmethod
    def of(cls, record: Record) -> "GradientLog":
        """The log of a run that was trained with `norms`.

        Raises:
            RecordError: its record has no column of norms.
        """
        there = {name: np.asarray(record.columns[name], np.float64) for name in COLUMNS if name in record.columns}
        if not {"l1", "l2"} & set(there):
            raise RecordError(
                f"record {record.id} has no gradient norms, only: {', '.join(record.columns) or 'no columns'}; "
                "train with norms to have them."
            )
        first = record.spec.first_step
        steps = np.arange(first, first + len(next(iter(there.values()))), dtype=np.int64)
        l1, l2, loss, lr = (there.get(name) for name in COLUMNS)
        return cls(steps, l1, l2, loss, lr, record.spec.total_steps)


class GradientLogFile:
    """A file of gradient norms, written in blocks of whole lines: CSV where its name ends in .csv, else JSONL.

    A block is with the operating system when `write` returns: what ends the process later loses none of it. Lines of
    JSONL end with a checksum, which tells readers of damage. Numbers are written so that they are read as they were,
    and what is not finite as "NaN", "Infinity" or "-Infinity". A run that is resumed goes back in steps and on in the
    same file: readers take the last value of a step. `notes` tells what was found at the end of a file gone on with.

    Args:
        path: where to write, with the suffix .jsonl or .csv.
        append: go on in a file that is there; otherwise it must not be there, or be empty.
    Raises:
        BadInput: another suffix; a file that is there already, is no log of this kind, or is being written to by
            somebody else; a file that cannot be written.
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "norms.csv")
        >>> with GradientLogFile(path) as file:
        ...     file.write([0, 1], l2=[2.0, 1.5], lr=0.1)
        >>> print(path.read_text().strip())
        step,l1,l2,loss,lr
        0,,2.0,,0.1
        1,,1.5,,0.1
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = Path(path)
        self.notes: tuple[str, ...] = ()
        self._csv = self.path.suffix == ".csv"
        self._mend = b""  # what ends a line that was only begun
        if self.path.suffix not in (".csv", ".jsonl"):
            raise BadInput(f"a gradient log must be named .jsonl or .csv, got {self.path.name!r}.")
        if not self.path.parent.is_dir():
            raise BadInput(f"cannot write {self.path}: the folder {self.path.parent} does not exist; make it first.")
        if self.path.exists() and not self.path.is_file():
            raise BadInput(f"cannot write {self.path}: it is no regular file.")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise BadInput(f"cannot write {self.path}: {error.strerror or error}.") from None
        try:
            _alone(self._file, self.path)
            self._order = self._begin(append)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "GradientLogFile":
        """The file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def write(
        self,
        steps: ArrayLike,
        l1: ArrayLike | None = None,
        l2: ArrayLike | None = None,
        loss: ArrayLike | None = None,
        lr: ArrayLike | None = None,
    ) -> None:
        """Append readings.

        Args:
            steps: one step or shape (readings,), integers >= 0.
            l1: shape (readings,), or one number for all of them, or None where it was not seen.
            l2: likewise.
            loss: likewise.
            lr: likewise.
        Raises:
            BadInput: lengths that differ, steps that are none, a column that the file has not, a disk that is full.
        """
        if self._file < 0:
            raise BadInput(f"cannot write {self.path}: it is closed.")
        kept = steps_of(np.atleast_1d(np.asarray(steps)))
        given = {
            name: column_of(name, np.broadcast_to(values, kept.shape) if np.ndim(values) == 0 else values, len(kept))
            for name, values in zip(COLUMNS, (l1, l2, loss, lr), strict=True)
            if values is not None
        }
        lacking = [name for name in given if self._csv and name not in self._order]
        if lacking:
            raise BadInput(
                f"{self.path} has no column {lacking[0]!r}, only: {', '.join(self._order)}; write to another file."
            )
        self._append(csv_lines(self._order, kept, given) if self._csv else json_lines(kept, given))

    def close(self) -> None:
        """Close the file; once is enough, twice does no harm."""
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)

    def _append(self, content: bytes) -> None:
        rest = memoryview(self._mend + content)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
                self._mend = (TORN if self._csv else b"\n") if rest else b""
        except OSError as error:
            raise BadInput(f"cannot write {self.path}: {error.strerror or error}.") from None

    def _read(self, at: int, count: int) -> bytes:
        os.lseek(self._file, at, os.SEEK_SET)
        return os.read(self._file, count)

    def _begin(self, append: bool) -> list[str]:
        """Columns in the order of the file, whose torn tail has been ended."""
        size = os.fstat(self._file).st_size
        if size and not append:
            raise BadInput(f"{self.path} is there already; give append=True to go on with it, or another path.")
        head, end, _ = self._read(0, 1 << 16).partition(b"\n")
        start = head + end
        if self._csv and not start.endswith(b"\n") and HEADER.startswith(start):
            self._append(HEADER[len(start) :])
            return ["step", *COLUMNS]
        order = start.decode("utf-8-sig", "replace").strip().split(",") if self._csv else []
        if size and ("step" not in order if self._csv else not start.removeprefix(BOM_UTF8).startswith(b"{")):
            kind = "CSV with a column `step`" if self._csv else "JSONL"
            raise BadInput(f"{self.path} must be {kind} to be gone on with, but it begins with {checks.shown(start)}.")
        if size and self._read(size - 1, 1) != b"\n":
            self._mend = TORN if self._csv else b"\n"
            self.notes += (f"{self.path} did not end with a whole line; what follows begins a new one.",)
        return order


def _alone(file: int, path: Path) -> None:
    """BadInput where another process writes to the same file; nothing where file locks are unknown."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike those of flock, it is not handed to forks
    except (BlockingIOError, PermissionError):
        raise BadInput(f"cannot write {path}: somebody else writes to it; one process alone may log a run.") from None
    except OSError:  # a file system without locks
        return
