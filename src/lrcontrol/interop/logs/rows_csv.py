"""Gradient norms in CSV: ours, Lightning's, exports of W&B, and any table with a line of names."""

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import BadText
from lrcontrol.interop.logs import numbers
from lrcontrol.interop.logs.joined import run_number
from lrcontrol.interop.logs.names import Wanted, choose, known
from lrcontrol.interop.logs.table import Columns, Table, left_out
from lrcontrol.interop.logs.text import Text, blocks, halves
from lrcontrol.runs.log_lines import HEADER

__all__ = ["is_ours", "looks_like_csv", "read_csv"]

DELIMITERS = (b",", b";", b"\t", b"|")
WIDEST = 256  # columns, above which rows are cut into cells one by one
END, GAP = -7e19, -7e18  # stand for the end of a row and for an empty cell among the numbers of a block
END_TEXT, GAP_TEXT = b",-7e19,", b",-7e18,"
NUMBERS = msgspec.json.Decoder(list[float])
JOINED = re.compile(rb"([-+.\deE]+)[^-+.\deE]([\d]+)")  # two rows whose line break was damaged


class _Head(NamedTuple):
    """The line of names: what parts cells, the names, what of it is already a row, and what is to be told."""

    delimiter: bytes
    names: list[str]
    row: bytes = b""
    note: str | None = None


def is_ours(line: bytes) -> bool:
    """Whether a line is the first one of our own files, or begins like it, or has one damaged byte."""
    return _ours(line) is not None or (line != b"" and HEADER.startswith(line))


def looks_like_csv(line: bytes) -> bool:
    """Whether a line may name the columns of a table."""
    if _ours(line) is not None or any(map(_known, _head(line).names)):
        return True
    return line.isascii() and line.decode().strip().isprintable() and any(mark in line for mark in DELIMITERS)


def read_csv(text: Text, wanted: Wanted, run: int | str | None) -> Table:
    """The rows of a table in CSV.

    Raises:
        BadText: the first line names no columns that are known.
        BadInput: a column or run that must be chosen, or that is not there.
    """
    where, torn = str(text.path), "the last line of {} does not end, and was left out."
    reader: _Rows | None = None
    notes: list[str] = []
    skipped = overlong = 0
    for content, tail, long in blocks(text):
        overlong += long
        if reader is None and (content or tail):
            line, _, content = (content or tail).lstrip(b"\0\n\r ").partition(b"\n")
            while line.startswith((b"#", b"sep=")):
                line, _, content = content.lstrip(b"\0\n\r ").partition(b"\n")
            begun = bool(tail) and HEADER.startswith(line)
            head = _ours(HEADER[:-1] if begun else line) or _head(line)
            if not tail or begun:
                reader = _Rows(head, wanted, run, where)
                content = head.row + b"\n" * bool(head.row) + content
                notes += [head.note.format(where)] if head.note else []
            elif not any(map(_known, head.names)):
                raise BadText(f"{where} must begin with a line of column names, got {checks.shown(line[:99])}.")
        if reader is not None:
            reader.add(content)
        quoted = reader is not None and tail.rstrip().endswith(b'"')  # which shows that it is whole
        if tail.strip(b"\0\r\n\t ") and not (quoted and reader is not None and not reader.lines([tail])):
            skipped += 1
            notes.append(torn.format(where))
    if reader is None:
        return Table(np.zeros(0, np.int64), {}, skipped=skipped, notes=notes or [f"{where} holds no rows."])
    table = reader.table()
    table.skipped += skipped + overlong
    table.notes[:0] = notes
    table.notes += left_out(overlong, "overlong line", where)
    return table


class _Rows:
    """Rows of a table with this head, read block by block."""

    def __init__(self, head: _Head, wanted: Wanted, run: int | str | None, where: str) -> None:
        self._where = where
        self._delimiter, self._width = head.delimiter, len(head.names)
        names, self._runs = _of_run(head.names, run, where)
        chosen = choose(list(dict.fromkeys(filter(None, names))), wanted, where)
        self._notes = [*chosen.notes]
        twice = [name for name in chosen.columns.values() if names.count(name) > 1]
        if twice:
            raise BadText(f"{where} has more than one column {twice[0]!r}; give the others another name.")
        if not chosen.columns.keys() - {"step", "run"}:
            raise BadText(
                f"{where} has no column of gradient norms; name it with column=, which may be: {_listed(head.names)}."
            )
        roles = ["step", *(role for role in chosen.columns if role != "step")]
        counted = "step" not in chosen.columns
        if counted:
            self._notes.append(f"{where} has no column of steps; its rows are counted from 0.")
        self._places = [names.index(chosen.columns[role]) if role in chosen.columns else -1 for role in roles]
        self._columns = Columns(roles, counted)
        self._names: dict[bytes, int] | None = {} if "run" in roles else None
        self._fast = self._width <= WIDEST and self._names is None
        self._damaged = self._mended = 0

    def add(self, content: bytes) -> None:
        """Read whole lines: at once, and where that fails each half of them, down to lines."""
        values = _numbers(content, self._width, self._delimiter) if self._fast else None
        if values is not None:
            self._columns.add_complete([values[:, place].copy() for place in self._places])
        elif self._fast and (both := halves(content)):
            for half in both:
                self.add(half)
        else:
            self._damaged += self.lines(content.split(b"\n"))

    def lines(self, lines: Sequence[bytes]) -> int:
        """Read lines one by one; returns how many are damaged."""
        rows: list[list[float | None]] = []
        damaged = 0
        for line in lines:
            line = line.strip(b"\0\r\n ") if self._delimiter == b"\t" else line.strip(b"\0\r\n\t ")
            if not line:
                continue
            apart, lost = _cells(line, self._width, self._delimiter)
            found = [row for cells in apart if (row := self._row(cells))]
            rows += found
            damaged += lost + len(apart) - len(found)
            self._mended += len(apart) == 2
        self._columns.add_rows(rows)
        return damaged

    def table(self) -> Table:
        """All rows."""
        damaged = self._damaged + self._columns.damaged
        table = self._columns.table()
        if self._names is not None:
            names = [name.decode("utf-8", "replace") for name in self._names]
            table.runs, table.names = table.columns.pop("run", table.steps).astype(np.int64), tuple(names)
        elif self._runs:
            table.names = (self._runs,)
        table.skipped = damaged + self._columns.stepless
        table.notes = [*self._notes, *left_out(damaged, "damaged row", self._where)]
        table.notes += left_out(self._columns.stepless, "row without a step", self._where)
        if self._mended:
            table.notes.append(f"line breaks of {self._where} are damaged in {self._mended} places; no row was lost.")
        return table

    def _row(self, cells: Sequence[bytes]) -> list[float | None] | None:
        comma = self._delimiter != b","
        row: list[float | None] = []
        try:
            for role, place in zip(self._columns.roles, self._places, strict=True):
                if role == "run" and self._names is not None:
                    row.append(self._names.setdefault(cells[place].strip(), len(self._names)))
                else:
                    row.append(0.0 if place < 0 else numbers.of_text(cells[place], comma))
        except ValueError:
            return None
        return row


def _numbers(content: bytes, width: int, delimiter: bytes) -> NDArray[np.float64] | None:
    """Lines of numbers as an array of shape (lines, width), NaN for empty cells; None where they are else.

    The decoder of JSON is the fastest reader of numbers that is at hand, and as exact as Python's own.
    """
    if delimiter != b",":
        if b"," in content:
            return None
        content = content.replace(delimiter, b",")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    if b'"' in content:
        beside = sum(map(content.count, (b'",', b',"', b'"\n', b'\n"'))) + content.startswith(b'"')
        if content.count(b'"') != beside:  # one that stands elsewhere is part of a cell
            return None
        content = content.replace(b'"', b"")
    flat = b"," + content.removesuffix(b"\n").replace(b"\n", END_TEXT) + b","
    length, gaps = len(flat), 0
    if b",," in flat:
        flat = flat.replace(b",,", GAP_TEXT).replace(b",,", GAP_TEXT)
        gaps = (len(flat) - length) // (len(GAP_TEXT) - 2)
    try:
        found = NUMBERS.decode(b"[" + flat[1:] + END_TEXT[1:-1] + b"]")
    except msgspec.MsgspecError:
        return None
    if len(found) % (width + 1):
        return None
    values = np.fromiter(found, np.float64, len(found))
    rows = values.reshape(-1, width + 1)
    if not (rows[:, -1] == END).all() or (gaps and int((values == GAP).sum()) != gaps):
        return None
    if gaps:
        rows[rows == GAP] = np.nan
    return rows[:, :-1]


def _cells(line: bytes, width: int, delimiter: bytes) -> tuple[list[list[bytes]], int]:
    """The rows of a line, and how many are damaged: where the break between two was, both are in one."""
    cells = _quoted(line, delimiter) if b'"' in line else line.split(delimiter)
    if len(cells) == width:
        return [cells], 0
    if len(cells) != 2 * width - 1:
        return [], 1
    if parts := JOINED.fullmatch(cells[width - 1]):
        return [[*cells[: width - 1], parts[1]], [parts[2], *cells[width:]]], 0
    return [[*cells[: width - 1], b""]], 1  # the break became a digit: nobody knows where one number ends


def _quoted(line: bytes, delimiter: bytes) -> list[bytes]:
    """The cells of a line in which there are quotes."""
    try:
        cells = next(csv.reader([line.decode("latin-1")], delimiter=delimiter.decode(), strict=True))
    except (csv.Error, StopIteration):
        return []
    return [cell.encode("latin-1") for cell in cells]


def _head(line: bytes) -> _Head:
    """The names in a line, cut where most of them are known."""
    line = line.strip(b"\0\r ")
    found = [(delimiter, _quoted(line, delimiter) or line.split(delimiter)) for delimiter in DELIMITERS]
    heads = [_Head(mark, [cell.decode("utf-8", "replace").strip() for cell in cells]) for mark, cells in found]
    return max(heads, key=lambda head: (sum(map(_known, head.names)), len(head.names)))


def _ours(line: bytes) -> _Head | None:
    """The head of our own files, also with one damaged byte."""
    names, head = HEADER.decode().strip().split(","), HEADER[:-1]
    if line == head:
        return _Head(b",", names)
    if line.startswith(head) and not line[len(head) :].startswith(b","):
        return _Head(b",", names, line[len(head) + 1 :], "the first line of {} does not end; what follows is a row.")
    if len(line) == len(head) and sum(a != b for a, b in zip(line, head, strict=True)) == 1:
        return _Head(b",", names, b"", "a byte in the names of the columns of {} is damaged; read as our own.")
    return None


def _known(name: str) -> bool:
    return known(name.rpartition(" - ")[2])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _of_run(names: list[str], run: int | str | None, where: str) -> tuple[list[str], str]:
    """The names with those of other runs left out, and the run, where W&B puts it in front of them ("run - loss")."""
    parts = [name.rpartition(" - ") for name in names]
    runs = list(dict.fromkeys(front for front, dash, last in parts if dash and _known(last)))
    if not runs:
        return names, ""
    chosen = runs[run_number(run, runs, where)]
    ends = ("__MIN", "__MAX")  # of the readings that W&B drew as one point
    return [
        name if not dash else last if front == chosen and not last.endswith(ends) else ""
        for name, (front, dash, last) in zip(names, parts, strict=True)
    ], chosen
