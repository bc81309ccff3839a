"""How the rows of a store are laid out in its tables, one layout a format version.

Every row has a checksum over its number, its run's id and its content, so that no row can pass for another. Format 2
keeps columns in a table of their own: to list records nothing has to be read or checked but their summaries.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Protocol

from lrcontrol import checks

__all__ = ["LAYOUTS", "NEWEST", "BadRow", "Layout", "Row"]


class BadRow(Exception):
    """A row is not what was written; the text says which and how, to come before "in the store PATH"."""


Row = tuple[int, str, bytes]
"""A verified row: its number, the run's id, its summary. As SQLite gave it: of 100,000 every microsecond tells."""


class Layout(Protocol):
    """One format version: its tables, and how a run is written and read, within a transaction of the caller's."""

    @property
    def version(self) -> int: ...

    @property
    def tables(self) -> dict[str, str]:
        """The SQL that makes each table."""
        ...

    def write(self, connection: sqlite3.Connection, row: Row, columns: bytes) -> None:
        """Insert a run."""
        ...

    def counted(self, connection: sqlite3.Connection) -> int:
        """How many runs were added; read off the ends of the tables, so that it costs nothing.

        Raises:
            BadRow: the tables end otherwise than SQLite's own count of rows says.
        """
        ...

    def rows_after(self, connection: sqlite3.Connection, number: int) -> Iterator[Row]:
        """The runs above a number, in order.

        Raises:
            BadRow: one is not what was written.
        """
        ...

    def columns(self, connection: sqlite3.Connection, number: int, run_id: str) -> bytes:
        """The columns of a run.

        Raises:
            BadRow: they are gone, or not what was written.
        """
        ...


class _Together:
    """Format 1: a run is one row with one checksum; to check its summary its columns have to be read."""

    version = 1
    tables = {  # noqa: RUF012 - a constant
        "runs": """CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    summary BLOB NOT NULL,
    columns BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT"""
    }

    def write(self, connection: sqlite3.Connection, row: Row, columns: bytes) -> None:
        connection.execute(
            "INSERT INTO runs (number, id, summary, columns, checksum) VALUES (?, ?, ?, ?, ?)",
            (*row, columns, self._checksum(*row, columns)),
        )

    def counted(self, connection: sqlite3.Connection) -> int:
        return _counted(connection, "SELECT max(number) FROM runs", self.tables)

    def rows_after(self, connection: sqlite3.Connection, number: int) -> Iterator[Row]:
        select = "SELECT number, id, summary, columns, checksum FROM runs WHERE number > ? ORDER BY number"
        for row in connection.execute(select, (number,)):
            number += 1
            if not self._good(number, *row):
                raise _bad(number, *row[:2])
            yield row[:3]

    def columns(self, connection: sqlite3.Connection, number: int, run_id: str) -> bytes:
        select = "SELECT number, id, summary, columns, checksum FROM runs WHERE number = ?"
        row = connection.execute(select, (number,)).fetchone()
        if row is None or row[1] != run_id:
            raise BadRow(f"run '{run_id}' is gone")
        if not self._good(number, *row):
            raise _bad(number, *row[:2])
        return bytes(row[3])

    def _good(
        self, expected: int, number: int, run_id: object, summary: object, columns: object, checksum: object
    ) -> bool:
        """Whether a row, in which anything may have become anything, is what was written."""
        if not (isinstance(run_id, str) and isinstance(summary, bytes) and isinstance(columns, bytes)):
            return False
        return number == expected and checksum == self._checksum(number, run_id, summary, columns)

    def _checksum(self, number: int, run_id: str, summary: bytes, columns: bytes) -> bytes:
        digest = hashlib.sha256()
        for part in (str(number).encode(), run_id.encode("utf-8", "surrogatepass"), summary, columns):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()


class _Apart:
    """Format 2: summaries and columns in tables of their own, each row with a checksum."""

    version = 2
    tables = {  # noqa: RUF012 - a constant
        "runs": """CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    summary BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT""",
        "columns": """CREATE TABLE columns (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    block BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT""",
    }

    def write(self, connection: sqlite3.Connection, row: Row, columns: bytes) -> None:
        number, run_id, summary = row
        connection.execute(
            "INSERT INTO runs (number, id, summary, checksum) VALUES (?, ?, ?, ?)",
            (*row, _checksum("summary", number, run_id, summary)),
        )
        connection.execute(
            "INSERT INTO columns (number, block, checksum) VALUES (?, ?, ?)",
            (number, columns, _checksum("columns", number, run_id, columns)),
        )

    def counted(self, connection: sqlite3.Connection) -> int:
        lasts = "SELECT (SELECT max(number) FROM runs), (SELECT max(number) FROM columns)"
        return _counted(connection, lasts, self.tables)

    def rows_after(self, connection: sqlite3.Connection, number: int) -> Iterator[Row]:
        select = "SELECT number, id, summary, checksum FROM runs WHERE number > ? ORDER BY number"
        for row in connection.execute(select, (number,)):
            number += 1
            found, run_id, summary, checksum = row
            typed = isinstance(run_id, str) and isinstance(summary, bytes) and found == number
            if not typed or checksum != _checksum("summary", number, run_id, summary):
                raise _bad(number, found, run_id)
            yield row[:3]

    def columns(self, connection: sqlite3.Connection, number: int, run_id: str) -> bytes:
        row = connection.execute("SELECT block, checksum FROM columns WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise BadRow(f"the columns of run '{run_id}' are gone")
        block, checksum = row
        if not isinstance(block, bytes) or checksum != _checksum("columns", number, run_id, block):
            raise BadRow(f"the columns of run '{run_id}' are damaged")
        return block


def _checksum(part: str, number: int, run_id: str, content: bytes) -> bytes:
    """SHA-256 over a row; lengths are in it, so that no row can pass for another."""
    head = f"lrcontrol {part} {number} {len(run_id)} {run_id} {len(content)} "
    return hashlib.sha256(head.encode("utf-8", "surrogatepass") + content).digest()


def _bad(expected: int, number: object, run_id: object) -> BadRow:
    if number != expected:
        return BadRow(f"run number {expected} is gone")
    if not isinstance(run_id, str):
        return BadRow(f"run number {number} is damaged")
    return BadRow(f"run '{checks.shown(run_id)[1:-1]}' is damaged")


def _counted(connection: sqlite3.Connection, lasts: str, tables: Iterable[str]) -> int:
    ends = connection.execute(lasts).fetchone()
    counts = connection.execute("SELECT name, seq FROM sqlite_sequence LIMIT 9").fetchall()
    last = ends[0] or 0
    expected = {(name, last) for name in tables} if last else set()
    if any(end != ends[0] for end in ends) or len(counts) != len(expected) or {*counts} != expected:
        raise BadRow("the runs are not as many as were added")
    return int(last)


LAYOUTS: dict[int, Layout] = {each.version: each for each in (_Together(), _Apart())}
"""Every format version there has been, each readable and writable for ever."""

NEWEST = max(LAYOUTS)
