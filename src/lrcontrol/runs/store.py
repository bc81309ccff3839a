"""Store: records in one SQLite file, each row with a checksum of its own.

A record that `add` has returned from survives the death of the process at any moment. The same record added twice
is kept once. What is damaged, foreign or from the future is a clear error, never wrong data.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from lrcontrol.errors import NotAStore, RecordError, StoreDamaged, StoreError, StoreFromTheFuture
from lrcontrol.runs.record import Record, pack_columns

__all__ = ["Store"]

APPLICATION_ID = 0x4C524354  # "LRCT"
VERSION = 1
WAIT_SECONDS = 30.0

TABLE = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    summary BLOB NOT NULL,
    columns BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT
"""


class Store:
    """The records of runs, in the order they were added.

    Args:
        path: the file; made, with its folder, where there is none.
        create: whether a missing file is made; else it is an error.
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
        if self.path.is_dir():
            raise NotAStore(f"a store must be a file, got the folder {self.path}.")
        if not self.path.exists():
            if not create:
                raise StoreError(f"there is no store at {self.path}.")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the folder {self.path.parent} cannot be made: {error.strerror}.") from None
        self._records: dict[str, Record] = {}
        self._last_number = 0
        try:
            self._connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} cannot be opened: {error}.") from None
        try:
            with self._told():
                self._prepare()
            self._refresh()
        except BaseException:
            self._connection.close()
            raise

    def add(self, record: Record) -> bool:
        """Keep a record, durably; False, and nothing written, where its run is already kept."""
        summary, columns = record.summary(), pack_columns(record.columns)
        row = (record.id, summary, columns, _checksum(record.id, summary, columns))
        with self._told(), self._transaction():
            before = self._connection.total_changes
            self._connection.execute(
                "INSERT INTO runs (id, summary, columns, checksum) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                row,
            )
            added = self._connection.total_changes > before
        self._refresh()
        return added

    def records(self) -> list[Record]:
        """All records without their columns, in the order they were added."""
        self._refresh()
        return list(self._records.values())

    def record(self, run_id: str) -> Record:
        """One record with its columns.

        Raises:
            RecordError: no run of this id is kept.
        """
        with self._told():
            row = self._connection.execute(
                "SELECT id, summary, columns, checksum FROM runs WHERE id = ?", (run_id,)
            ).fetchone()
        if row is None:
            raise RecordError(f"the store {self.path} holds no run '{run_id}'.")
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

    def _prepare(self) -> None:
        """Set the connection up; make the table in an empty file, refuse what is not ours."""
        connection = self._connection
        connection.execute("PRAGMA trusted_schema = OFF")
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if (found, version, tables) == (0, 0, 0):
            connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                # Another process may have made it between the look and the lock.
                if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                    connection.execute(TABLE)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        elif found != APPLICATION_ID:
            raise NotAStore(f"{self.path} is a database of something else; name another file for the store.")
        elif version > VERSION:
            raise StoreFromTheFuture(
                f"the store {self.path} has format {version}, this lrcontrol reads up to {VERSION}; update lrcontrol."
            )
        # A rollback journal: before SQLite 3.51.3 a write-ahead log can lose data where two writers meet.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")

    def _refresh(self) -> None:
        """Read the rows that came since the last look, from whichever process."""
        with self._told():
            rows = self._connection.execute(
                "SELECT number, id, summary, columns, checksum FROM runs WHERE number > ? ORDER BY number",
                (self._last_number,),
            ).fetchall()
        for number, *row in rows:
            record = self._decode(*row)
            self._records[record.id] = record.without_columns()
            self._last_number = number

    def _decode(self, run_id: str, summary: bytes, columns: bytes, checksum: bytes) -> Record:
        sentence = (
            f"run '{run_id}' in the store {self.path} is damaged; restore the file from a copy, or use a new one."
        )
        if checksum != _checksum(run_id, summary, columns):
            raise StoreDamaged(sentence)
        try:
            record = Record.from_summary(summary, columns)
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreDamaged(f"{sentence[:-1]} ({error}).") from None
        if record.id != run_id:
            raise StoreDamaged(sentence)
        return record

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours, in a sentence."""
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = str(error)
            if "locked" in reason or "busy" in reason:
                reason = f"another process has held its lock for {WAIT_SECONDS:g} s; stop it, or use another store"
            raise StoreError(f"the store {self.path} cannot be used: {reason}.") from None
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise NotAStore(f"{self.path} is not a store of lrcontrol; name another file.") from None
            raise StoreDamaged(f"the store {self.path} is damaged: {error}.") from None


def _checksum(run_id: str, summary: bytes, columns: bytes) -> bytes:
    """SHA-256 over the parts of a row, each with its length, so that no part can pass for another."""
    digest = hashlib.sha256()
    for part in (run_id.encode(), summary, columns):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
