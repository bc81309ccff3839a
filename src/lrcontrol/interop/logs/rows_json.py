"""Gradient norms in lines of JSON: ours, with their checksums, and any other, such as the history of W&B."""

import functools
import json
import zlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol.errors import BadText
from lrcontrol.interop.logs import numbers
from lrcontrol.interop.logs.names import Wanted, choose
from lrcontrol.interop.logs.table import Columns, Table, left_out
from lrcontrol.interop.logs.text import Text, blocks, halves
from lrcontrol.runs.log_lines import COLUMNS, CRC

__all__ = ["of_line", "read_lines"]

SAMPLE = 1 << 24  # bytes in which all keys of a log must have been
OURS = {"step", "run", "crc", *COLUMNS}
CHECK = b',"crc":"'
CHECKED = len(CRC % 0)
KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])
SCAN = json.JSONDecoder()
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


def of_line(line: bytes) -> dict[str, Any] | None:
    """The object that a line is; None if it is none, or its checksum says that it is damaged."""
    line = line.strip(b"\0\r\n\t ")
    if line[-CHECKED:].startswith(CHECK) and not _checked(line):
        return None
    try:
        found = msgspec.json.decode(line)
    except UNREADABLE:
        try:
            found = json.loads(line)  # knows NaN and Infinity
        except UNREADABLE:
            return None
    return found if isinstance(found, dict) else None


def read_lines(text: Text, wanted: Wanted) -> Table:
    """The rows of lines of JSON.

    Raises:
        BadText: no line has a key that is known.
        BadInput: a key that must be chosen, or that is not there.
    """
    where = str(text.path)
    names = _names(text)
    if not names:
        return Table(np.zeros(0, np.int64), {}, skipped=int(bool(text.head)), notes=[f"{where} holds no whole line."])
    rows = _Rows(names, wanted, where)
    torn = long = 0
    for content, tail, many in blocks(text):
        long += many
        rows.add(content)
        if tail.strip(b"\0\r\n\t "):
            torn = rows.lines([tail])
    table = rows.table()
    table.skipped += torn + long
    table.notes += [f"the last line of {where} ends in the middle, and was left out."] * torn
    table.notes += left_out(long, "overlong line", where)
    return table


class _Rows:
    """Rows with these keys, read block by block."""

    def __init__(self, names: Sequence[str], wanted: Wanted, where: str) -> None:
        self._where = where
        self._columns_of = choose(names, wanted, where)
        chosen = self._columns_of.columns
        if not chosen.keys() - {"step", "run"}:
            raise BadText(
                f"{where} has no key of gradient norms; name it with column=, which may be: {', '.join(names[:12])}."
            )
        self._roles = ["step", *(role for role in chosen if role != "step")]
        self._keys = tuple(chosen.get(role, "") for role in self._roles)
        self._columns = Columns(self._roles, counted="step" not in chosen)
        self._run_at = self._roles.index("run") if "run" in chosen else -1
        self._decoder, self._getters = _decoder(self._keys, self._run_at)
        self._runs: dict[str, int] = {}
        self._damaged = self._checked = self._unchecked = self._mended = 0

    def add(self, content: bytes) -> None:
        """Read whole lines: at once, and where that fails each half of them, down to lines."""
        count = content.count(b"\n")
        if not count or self._at_once(content, count):
            return
        if both := halves(content):
            for half in both:
                self.add(half)
        else:
            self._damaged += self.lines(content.split(b"\n"))

    def lines(self, lines: Sequence[bytes]) -> int:
        """Read lines one by one; returns how many are damaged."""
        rows: list[list[float | None]] = []
        damaged = 0
        for line in lines:
            if not line.strip(b"\0\r\n\t "):
                continue
            found = of_line(line)
            objects = _apart(line) if found is None else [found]
            self._mended += found is None and bool(objects)
            try:
                rows += [self._row(each) for each in objects]
                damaged += not objects
            except ValueError:
                damaged += 1
        self._columns.add_rows(rows)
        return damaged

    def table(self) -> Table:
        """All rows."""
        where, damaged = self._where, self._damaged + self._columns.damaged
        table = self._columns.table()
        if self._run_at >= 0:
            table.runs, table.names = table.columns.pop("run", table.steps).astype(np.int64), tuple(self._runs)
        table.skipped = damaged + self._columns.stepless
        table.notes = [*self._columns_of.notes, *left_out(damaged, "damaged line", where)]
        table.notes += left_out(self._columns.stepless, "line without a step", where)
        if self._mended:
            table.notes.append(f"line breaks of {where} are damaged in {self._mended} places; no row was lost.")
        if self._checked and self._unchecked:
            table.notes.append(f"{self._unchecked} lines of {where} have no checksum as the others have.")
        if self._columns.counted:
            table.notes.append(f"{where} has no key of steps; its rows are counted from 0.")
        return table

    def _at_once(self, content: bytes, count: int) -> bool:
        """Whether a block has been read, which it is if all of its lines are whole."""
        try:
            rows = self._decoder.decode_lines(content)
        except UNREADABLE:
            return False
        if len(rows) != count:
            return False
        checked = CHECK in content
        if checked and not _all_checked(content, [row.crc for row in rows]):
            return False
        columns: list[NDArray[np.float64]] = []
        for key, get in zip(self._keys, self._getters, strict=True):
            values = map(self._run_of, map(get, rows)) if len(columns) == self._run_at else map(get, rows)
            there = b'"%b"' % key.encode() in content
            columns.append(np.fromiter(values, np.float64, count) if there else np.full(count, np.nan))
        self._checked += count * checked
        self._unchecked += count * (not checked)
        self._columns.add_complete(columns)
        return True

    def _run_of(self, name: object) -> int:
        return self._runs.setdefault(str(name), len(self._runs))

    def _row(self, found: dict[str, Any]) -> list[float | None]:
        row: list[float | None] = []
        for role, key in zip(self._roles, self._keys, strict=True):
            value = found.get(key)
            row.append(self._run_of(value) if role == "run" else numbers.of_value(value))
        self._checked += "crc" in found
        self._unchecked += "crc" not in found
        return row


@functools.lru_cache(maxsize=32)
def _decoder(keys: tuple[str, ...], run_at: int) -> tuple[msgspec.json.Decoder[Any], list[Callable[[Any], Any]]]:
    """What decodes the values of some keys, all numbers but those that name a run, and what gets them."""
    fields: list[tuple[str, Any, Any]] = [(f"f{at}", float, np.nan) for at in range(len(keys))]
    if run_at >= 0:
        fields[run_at] = (f"f{run_at}", str | int | float | None, None)
    names = {f"f{at}": key for at, key in enumerate(keys)}
    row = msgspec.defstruct("Row", [*fields, ("crc", str | None, None)], gc=False, rename=names)
    return msgspec.json.Decoder(row), [attrgetter(f"f{at}") for at in range(len(keys))]


def _names(text: Text) -> list[str]:
    """The keys of a log; our own without a look at more than a line."""
    first = of_line(text.head.partition(b"\n")[0])
    if first is not None and "step" in first and first.keys() <= OURS:
        return ["step", *COLUMNS, *(["run"] if "run" in first else [])]
    names: dict[str, None] = {}
    seen = 0
    with text.rewound() as again:
        for content, tail, _ in blocks(again):
            _keys(content + tail, names)
            seen += len(content)
            if seen > SAMPLE:
                break
    return list(names)


def _keys(content: bytes, names: dict[str, None]) -> None:
    """Add the keys of all lines that are objects."""
    try:
        for row in KEYS.decode_lines(content):
            names.update(dict.fromkeys(row))
    except UNREADABLE:
        if both := halves(content):
            for half in both:
                _keys(half, names)
        else:
            for line in content.split(b"\n"):
                for found in [of_line(line)] if of_line(line) else _apart(line):
                    names.update(dict.fromkeys(found or ()))


def _checked(line: bytes) -> bool:
    """Whether the checksum of a line is right."""
    return line[-CHECKED:] == CRC % zlib.crc32(line[:-CHECKED])


def _all_checked(content: bytes, told: Sequence[str | None]) -> bool:
    """Whether the checksums of all lines of a block are right."""
    names = [name for name in told if name is not None]
    if len(names) < len(told):
        return False
    bodies = [line[:-CHECKED] for line in content.split(b"\n")[:-1]]
    right = np.fromiter(map(zlib.crc32, bodies), ">u4", len(bodies))
    return "".join(names) == right.tobytes().hex()


def _apart(line: bytes) -> list[dict[str, Any]]:
    """The objects of a line in which line breaks were damaged; none where there is anything else in it."""
    text = line.strip(b"\0\r\n\t ").decode("utf-8", "surrogateescape")
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(text):
        try:
            _, end = SCAN.raw_decode(text, at)
        except UNREADABLE:
            return []
        each = of_line(text[at:end].encode("utf-8", "surrogateescape"))
        if each is None:
            return []
        found.append(each)
        at = end + 1
    return found
