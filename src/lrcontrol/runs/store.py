"""Store: records in one SQLite file, each row with a checksum of its own.

A record that `add` has returned from survives the death of the process at any moment. The same record added twice
is kept once. What is damaged, foreign or from the future is a clear error, never wrong data: a checksum tells a
changed row, the numbers without gap and SQLite's own count of them (`AUTOINCREMENT`) tell a lost one, and nothing is
looked up in an index, which may be damaged where the rows are not.
"""

import contextlib
import hashlib
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import NotAStore, RecordError, StoreDamaged, StoreError, StoreFromTheFuture
from lrcontrol.runs.record import Outcome, Record

__all__ = ["Store"]

APPLICATION_ID = 0x4C524354  # "LRCT"
VERSION = 1
WAIT_SECONDS = 30.0
ROW = "SELECT number, id, summary, columns, checksum FROM runs WHERE number = ?"
ROWS_AFTER = "SELECT number, id, summary, columns, checksum FROM runs WHERE number > ? ORDER BY number"
REMEDY = "restore the file from a copy, or name a new one."

_JITTER = random.SystemRandom()  # nobody's seeded numbers are touched

TABLE = """CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    summary BLOB NOT NULL,
    columns BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT"""


class Store:
    """The records of runs, in the order they were added.

    Args:
        path: the file; made, with its folder, where there is none.
        create: whether a store is made where the file is missing or empty; else it is an error.
    Raises:
        NotAStore: the file is something else. StoreFromTheFuture: a newer lrcontrol wrote it. StoreDamaged: a row is
            not what was written. StoreError: it cannot be opened, read or written.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "runs.db") as store:
        ...     len(store.records())
        0
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.path = Path(path)
        if os.path.isdir(self.path):  # these two never raise, whatever the path
            raise NotAStore(f"a store must be a file, got the folder {self.path}.")
        if not os.path.exists(self.path):
            if not create:
                raise StoreError(f"there is no store at {self.path}.")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the folder {self.path.parent} cannot be made: {error.strerror}.") from None
        self._records: dict[str, Record] = {}
        self._numbers: dict[str, int] = {}
        self._rows = 0
        try:
            # The whole path, so that no name is special to SQLite, as ':memory:' is.
            self._connection = sqlite3.connect(os.path.abspath(self.path), WAIT_SECONDS, isolation_level=None)
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"the store {self.path} cannot be opened: {error}.") from None
        try:
            with self._told():
                self._prepare(create)
            self.records()
        except BaseException:
            self._connection.close()
            raise

    def add(self, record: Record) -> bool:
        """Keep a record, durably; False, and nothing written, where its run is already kept.

        A FAILED record is provisional: another try of the same run takes its place.

        Raises:
            RecordError: the record could not be read back.
        """
        summary, columns = record.packed()
        with self._told(), self._transaction("IMMEDIATE"):
            self._refresh()
            if record.id in self._records and not self._failed(record.id):
                return False
            number = self._rows + 1
            self._connection.execute(
                "INSERT INTO runs (number, id, summary, columns, checksum) VALUES (?, ?, ?, ?, ?)",
                (number, record.id, summary, columns, _checksum(number, record.id, summary, columns)),
            )
        return True

    def records(self) -> list[Record]:
        """All records without their columns, in the order they were added."""
        with self._told(), self._transaction("DEFERRED"):
            self._refresh()
        return list(self._records.values())

    def record(self, run_id: str) -> Record:
        """One record with its columns.

        Raises:
            RecordError: no run of this id is kept.
        """
        if run_id not in self._numbers:
            self.records()
        if run_id not in self._numbers:
            raise RecordError(f"the store {self.path} holds no run '{run_id}'.")
        number = self._numbers[run_id]
        with self._told():
            row = self._connection.execute(ROW, (number,)).fetchone()
        if row is None or row[:2] != (number, run_id):
            raise StoreDamaged(f"run '{run_id}' is gone from the store {self.path}; {REMEDY}")
        return self._decode(*row)

    def close(self) -> None:
        """Close the file; a closed store can be closed again."""
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, create: bool) -> None:
        """Set the connection up; make the table in an empty file, refuse what is not ours."""
        connection = self._connection
        connection.execute("PRAGMA trusted_schema = OFF")
        found, version, schema = self._face()
        if (found, version, schema) == (0, 0, []):
            if not create:
                raise NotAStore(f"{self.path} is empty, not a store of lrcontrol; name another file.")
            connection.execute("PRAGMA synchronous = FULL")
            with self._transaction("IMMEDIATE"):
                if self._face()[2] == []:  # else another process made it between the look and the lock
                    connection.execute(TABLE)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {VERSION}")
            found, version, schema = self._face()
        if found != APPLICATION_ID:
            raise NotAStore(f"{self.path} is a database of something else; name another file for the store.")
        if version > VERSION:
            raise StoreFromTheFuture(
                f"the store {self.path} has format {version}, this lrcontrol reads up to {VERSION}; update lrcontrol."
            )
        if version != VERSION or schema != [("table", TABLE)]:
            raise StoreDamaged(f"the store {self.path} is not laid out as it must be; {REMEDY}")
        # A rollback journal: before SQLite 3.51.3 a write-ahead log can lose data where two writers meet.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")

    def _face(self) -> tuple[int, int, list[tuple[str, str]]]:
        """Whose database it is, its format, and what it is made of."""
        ask = self._connection.execute
        return (
            ask("PRAGMA application_id").fetchone()[0],
            ask("PRAGMA user_version").fetchone()[0],
            ask("SELECT type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'").fetchall(),
        )

    def _refresh(self) -> None:
        """Read the rows that came since the last look, from whichever process; within a transaction."""
        rows = self._connection.execute(ROWS_AFTER, (self._rows,)).fetchall()
        counted = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchall()
        expected = self._rows + len(rows)
        if counted != ([(expected,)] if expected else []):
            raise StoreDamaged(f"the store {self.path} does not hold as many runs as were added; {REMEDY}")
        for number, *row in rows:
            record = self._decode(number, *row)
            known = record.id in self._records and not self._failed(record.id)
            if number != self._rows + 1 or known:
                raise StoreDamaged(f"run '{record.id}' in the store {self.path} is out of place; {REMEDY}")
            self._records[record.id] = record.without_columns()
            self._numbers[record.id] = self._rows = number

    def _failed(self, run_id: str) -> bool:
        return self._records[run_id].outcome is Outcome.FAILED

    def _decode(self, number: int, run_id: object, summary: object, columns: object, checksum: object) -> Record:
        """The record of a row, in which anything may have become anything."""
        if not (isinstance(run_id, str) and isinstance(summary, bytes) and isinstance(columns, bytes)):
            raise StoreDamaged(f"run number {number} in the store {self.path} is damaged; {REMEDY}")
        if checksum != _checksum(number, run_id, summary, columns):
            raise StoreDamaged(f"run '{checks.shown(run_id)[1:-1]}' in the store {self.path} is damaged; {REMEDY}")
        try:
            record = Record.from_summary(summary, columns)
        except (msgspec.MsgspecError, ValueError) as error:
            reason = checks.shown_error(error)
            raise StoreDamaged(f"run '{run_id}' in the store {self.path} cannot be read: {reason}.") from None
        if record.id != run_id:
            raise StoreDamaged(f"run '{run_id}' in the store {self.path} holds run '{record.id}'; {REMEDY}")
        return record

    @contextlib.contextmanager
    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
        try:
            if kind == "IMMEDIATE":
                self._take_turn()
            else:
                self._connection.execute("BEGIN DEFERRED")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _take_turn(self) -> None:
        """Begin to write; SQLite's own waiting, ever longer, would starve some of many writers."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            until = time.monotonic() + WAIT_SECONDS
            while True:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
                time.sleep(_JITTER.uniform(0.001, 0.005))
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000:.0f}")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours, in a sentence."""
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = str(error)
            if "locked" in reason or "busy" in reason:
                reason = f"another process has held its lock for {WAIT_SECONDS:g} s; stop it, or use another store"
            kind = StoreDamaged if "decode" in reason else StoreError  # text that is not text
            raise kind(f"the store {self.path} cannot be used: {reason.rstrip('.')}.") from None
        except UnicodeDecodeError:  # SQLite quotes the damaged text of its schema in a message that is then no UTF-8
            raise StoreDamaged(f"the store {self.path} is damaged: its schema cannot be read; {REMEDY}") from None
        except sqlite3.ProgrammingError as error:  # closed, or used in another thread
            raise StoreError(f"the store {self.path} cannot be used: {checks.shown_error(error)}.") from None
        except sqlite3.Error as error:
            if "not a database" in str(error):
                raise NotAStore(f"{self.path} is not a store of lrcontrol; name another file.") from None
            raise StoreDamaged(f"the store {self.path} is damaged: {error}.") from None


def _checksum(number: int, run_id: str, summary: bytes, columns: bytes) -> bytes:
    """SHA-256 over the parts of a row, each with its length, so that no part or row can pass for another."""
    digest = hashlib.sha256()
    for part in (str(number).encode(), run_id.encode("utf-8", "surrogatepass"), summary, columns):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
