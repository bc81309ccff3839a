"""A store checked to the last row: what is right in it, and what is not."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from lrcontrol import checks
from lrcontrol.errors import StoreDamaged, StoreError
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.storage.decoding import decoded, with_columns
from lrcontrol.runs.storage.layouts import BadRow, Layout
from lrcontrol.runs.storage.opening import opened
from lrcontrol.runs.storage.telling import REMEDY, told
from lrcontrol.runs.storage.waiting import transaction

__all__ = ["Checked", "check", "right_records"]

MOST_OF_SQLITE = 20  # lines that SQLite's own check may tell
BOTH_WAYS = {"SELECT number FROM runs ORDER BY number": 1, "SELECT number FROM runs ORDER BY number DESC": -1}

Found = TypeVar("Found")


class Checked(msgspec.Struct, frozen=True):
    """What a check found.

    Args:
        path: of the store.
        version: its format; None where it could not be opened.
        right: rows that are what was written, in all their parts; every try of a run has one.
        faults: a sentence for each thing that is not as it must be; none where the store is right.
    """

    path: str
    version: int | None
    right: int
    faults: tuple[str, ...]


def check(path: Path) -> Checked:
    """Verify every row of a store, columns included; nothing in it is changed.

    A store so damaged that it cannot be opened has that as its one fault.

    Raises:
        StoreError: there is none, it is something else or from the future, or another process holds it.
    """
    faults: list[str] = []
    right, version = 0, None
    try:
        for version, record in _read(path, faults.append):  # noqa: B007 - the format is told below
            right += record is not None
    except StoreDamaged as error:
        faults.append(str(error).replace(f"; {REMEDY}", "").removesuffix("."))
    return Checked(str(path), version, right, tuple(faults))


def right_records(path: Path, fault: Callable[[str], None]) -> Iterator[Record]:
    """The records of a store, with columns, that are what was written; `fault` is called with what is wrong.

    Of several tries of a run all are given, in their order.
    """
    return (record for _, record in _read(path, fault) if record is not None)


def _read(path: Path, fault: Callable[[str], None]) -> Iterator[tuple[int, Record | None]]:
    """The format and the record of every row that is right; first the format alone."""
    connection, layout = opened(path, create=False, read_only=True)
    try:
        with told(path), transaction(connection, path, "DEFERRED"):
            yield layout.version, None
            for line in _sqlite_faults(connection):
                fault(f"SQLite says: {line}")
            _tried("the count of runs", lambda: layout.counted(connection), fault)
            numbers = _numbers(connection)
            for gone in _gaps(numbers, _last(connection, numbers)):
                fault(gone)
            settled: set[str] = set()
            for number in numbers:
                record = _tried(f"run number {number}", partial(_record, connection, layout, path, number), fault)
                if record is None:
                    continue
                if record.id in settled:
                    fault(f"run number {number} is of run '{record.id}', which was kept before")
                    continue
                if record.outcome is not Outcome.FAILED:
                    settled.add(record.id)
                yield layout.version, record
    finally:
        connection.close()


def _record(connection: sqlite3.Connection, layout: Layout, path: Path, number: int) -> Record:
    row = next(layout.rows_after(connection, number - 1), None)
    if row is None:  # found from the other end alone
        raise BadRow(f"run number {number} is gone")
    return with_columns(path, row, decoded(path, row), layout.columns(connection, number, row[1]))


def _tried(what: str, call: Callable[[], Found], fault: Callable[[str], None]) -> Found | None:
    """What a call gives, or None after telling what was wrong with `what` it reads."""
    try:
        return call()
    except BadRow as error:
        fault(str(error))
    except StoreError as error:  # a row that is what was written, of a form that cannot be read
        fault(str(error).removesuffix("."))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        fault(f"{what} cannot be read: {checks.shown_error(error)}")
    return None


def _sqlite_faults(connection: sqlite3.Connection) -> list[str]:
    try:
        lines = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({MOST_OF_SQLITE})")]
    except sqlite3.Error as error:
        lines = [str(error)]
    return [" ".join(part.split()) for line in lines for part in line.splitlines() if part != "ok"][:MOST_OF_SQLITE]


def _numbers(connection: sqlite3.Connection) -> Sequence[int]:
    """The numbers of all rows that can be found, from both ends: in the middle there may be a page that cannot."""
    found: set[int] = set()
    for select, direction in BOTH_WAYS.items():
        before = None
        try:
            for (number,) in connection.execute(select):
                if before is not None and direction * (number - before) <= 0:
                    break  # a damaged page leads round in a circle
                before = number
                found.add(number)
        except sqlite3.Error:
            continue
    return sorted(found)


def _last(connection: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """The largest number that was ever given."""
    last = numbers[-1] if numbers else 0
    try:
        counted = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
    except sqlite3.Error:
        return last
    return max(last, counted[0]) if counted and isinstance(counted[0], int) else last


def _gaps(numbers: Sequence[int], last: int) -> Iterator[str]:
    before = 0
    for number in [*numbers, last + 1]:
        if number - before == 2:
            yield f"run number {before + 1} is gone"
        elif number - before > 2:
            yield f"runs number {before + 1} to {number - 1} are gone"
        before = number
