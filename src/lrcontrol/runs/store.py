"""Store: records in one SQLite file, each row with a checksum of its own.

A record that `add` has returned from survives the death of the process at any moment, and a loss of power where the
disk keeps what it has promised to. The same record added twice is kept once. What is damaged, foreign or from the
future is a clear error, never wrong data: a checksum tells a changed row, the numbers without gap and SQLite's own
count of them (`AUTOINCREMENT`) tell a lost one, and nothing is looked up in an index, which may be damaged where the
rows are not.
"""

import contextlib
import os
import sqlite3
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from lrcontrol.errors import NotAStore, RecordError, StoreDamaged, StoreError, StoreFromTheFuture
from lrcontrol.runs.record import Outcome, Record, unpack_columns
from lrcontrol.runs.storage.layouts import LAYOUTS, NEWEST, BadRow, Layout, Row
from lrcontrol.runs.storage.listing import Listing, Records
from lrcontrol.runs.storage.places import network_file_system, ready
from lrcontrol.runs.storage.telling import REMEDY, cannot_be_read, told
from lrcontrol.runs.storage.waiting import patiently

__all__ = ["APPLICATION_ID", "Store", "decoded", "with_columns"]

APPLICATION_ID = 0x4C524354  # "LRCT"
OPEN_SECONDS = 1.5  # what is ours opens in milliseconds; a schema made to be slow is given up
COUNTS = ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)")  # SQLite's own, for AUTOINCREMENT

Face = tuple[int, int, list[tuple[str, str, str]]]


class Store:
    """The records of runs, in the order they were added.

    Args:
        path: the file; made, with its folder, where there is none. Only its owner can read a file made here.
        create: whether a store is made where the file is missing or empty; else it is an error.
        read_only: whether writing is refused; such a store is never made.
    Raises:
        NotAStore: the file is something else. StoreFromTheFuture: a newer lrcontrol wrote it. StoreDamaged: it is
            not laid out as it was. StoreError: it cannot be opened.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "runs.db") as store:
        ...     len(store.records())
        0
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True, read_only: bool = False) -> None:
        self.path, self._read_only = Path(path), read_only
        ready(self.path, create and not read_only)
        self._kept: dict[str, Row] = {}
        self._decoded = Records(partial(decoded, self.path))
        self._count = 0
        try:
            # The whole path, so that no name is special to SQLite, as ':memory:' is.
            self._connection = sqlite3.connect(os.path.abspath(self.path), 0, isolation_level=None)
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"the store {self.path} cannot be opened: {error}.") from None
        try:
            with told(self.path):
                self._layout = self._prepare(create and not read_only)
        except BaseException:
            self._connection.close()
            raise
        if not read_only and (kind := network_file_system(self.path)) is not None:
            warnings.warn(
                f"the store {self.path} is on a network file system ({kind}), whose locks may fail: "
                "let one machine at a time write to it.",
                RuntimeWarning,
                stacklevel=2,
            )

    @property
    def version(self) -> int:
        """Its format; a store keeps the one it was made with."""
        return self._layout.version

    def add(self, record: Record) -> bool:
        """Keep a record, durably; False, and nothing written, where its run is already kept.

        A FAILED record is provisional: another try of the same run takes its place.

        Raises:
            RecordError: the record could not be read back. StoreError: it cannot be written; nothing kept is lost.
        """
        return self.add_all([record])[0]

    def add_all(self, records: Iterable[Record]) -> list[bool]:
        """Keep several records in one go, all or none; for each of them what `add` says."""
        if self._read_only:
            raise StoreError(f"the store {self.path} was opened for reading only.")
        packed = [(record.id, *record.packed()) for record in records]
        added: list[bool] = []
        fresh: dict[str, Row] = {}
        with told(self.path), self._transaction("IMMEDIATE"):
            self._refresh()
            count = self._count
            for run_id, summary, columns in packed:
                row = fresh.get(run_id) or self._kept.get(run_id)
                added.append(row is None or self._failed(row))
                if added[-1]:
                    count += 1
                    fresh[run_id] = (count, run_id, summary)
                    self._layout.write(self._connection, fresh[run_id], columns)
        self._kept |= fresh  # only now: what was not committed is not kept
        self._count = count
        return added

    def records(self) -> Listing:
        """All records without their columns, in the order they were added; each is decoded when first looked at.

        Raises:
            StoreDamaged: a summary is not what was written, or one is gone.
        """
        with told(self.path), self._transaction("DEFERRED"):
            self._refresh()
        return Listing([*self._kept.values()], self._decoded)

    def record(self, run_id: str) -> Record:
        """One record with its columns.

        Raises:
            RecordError: no run of this id is kept. StoreDamaged: its columns are not what was written, or gone.
        """
        with told(self.path), self._transaction("DEFERRED"):
            if run_id not in self._kept:
                self._refresh()
            if run_id not in self._kept:
                raise RecordError(f"the store {self.path} holds no run '{run_id}'.")
            row = self._kept[run_id]
            block = self._layout.columns(self._connection, row[0], run_id)
        return with_columns(self.path, row, self._decoded.of(row), block)

    def close(self) -> None:
        """Close the file; a closed store can be closed again."""
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, create: bool) -> Layout:
        """Set the connection up; make the tables in an empty file, refuse what is not ours."""
        ask = self._connection.execute
        until = time.monotonic() + OPEN_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)
        # EXTRA, since after FULL a loss of power may bring the journal of a commit back, which would undo it.
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "synchronous = EXTRA"):
            patiently(self._connection, self.path, f"PRAGMA {setting}")
        with self._transaction("DEFERRED"):
            face = self._face()
        if face == (0, 0, []):
            if not create:
                raise NotAStore(f"{self.path} is empty, not a store of lrcontrol; name another file.")
            with self._transaction("IMMEDIATE"):
                if self._face() == face:  # else another process made it between the look and the lock
                    for table in LAYOUTS[NEWEST].tables.values():
                        ask(table)
                    ask(f"PRAGMA application_id = {APPLICATION_ID}")
                    ask(f"PRAGMA user_version = {NEWEST}")
                face = self._face()
        layout = self._layout_of(face)
        if self._read_only:
            ask("PRAGMA query_only = ON")
        else:  # a rollback journal: before SQLite 3.51.3 a write-ahead log can lose data where two writers meet
            patiently(self._connection, self.path, "PRAGMA journal_mode = DELETE")
        self._connection.set_progress_handler(None, 0)
        with self._transaction("DEFERRED"):
            layout.counted(self._connection)
        return layout

    def _face(self) -> Face:
        """Whose database it is, its format, and what it is made of."""
        ask = self._connection.execute
        return (
            ask("PRAGMA application_id").fetchone()[0],
            ask("PRAGMA user_version").fetchone()[0],
            ask("SELECT type, name, sql FROM sqlite_schema LIMIT 9").fetchall(),
        )

    def _layout_of(self, face: Face) -> Layout:
        found, version, schema = face
        if found != APPLICATION_ID:
            raise NotAStore(f"{self.path} is a database of something else; name another file for the store.")
        if version > NEWEST:
            raise StoreFromTheFuture(
                f"the store {self.path} has format {version}, this lrcontrol reads up to {NEWEST}; update lrcontrol."
            )
        layout = LAYOUTS.get(version)
        expected = [] if layout is None else [("table", *table) for table in layout.tables.items()]
        if layout is None or sorted(schema, key=repr) != sorted([*expected, COUNTS], key=repr):
            raise StoreDamaged(f"the store {self.path} is not laid out as it must be; {REMEDY}")
        return layout

    def _refresh(self) -> None:
        """Read the rows that came since the last look, from whichever process; within a transaction."""
        counted = self._layout.counted(self._connection)
        if counted != self._count:
            for row in self._layout.rows_after(self._connection, self._count):
                known = self._kept.get(row[1])
                if known is not None and not self._failed(known):
                    raise BadRow(f"run '{row[1]}' is out of place")
                self._kept[row[1]] = row
                self._count = row[0]
        if counted != self._count:
            raise BadRow("there are not as many runs as were added")

    def _failed(self, row: Row) -> bool:
        return self._decoded.of(row).outcome is Outcome.FAILED

    @contextlib.contextmanager
    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
        try:
            patiently(self._connection, self.path, f"BEGIN {kind}")
            if kind == "DEFERRED":  # which takes no lock before something is read
                patiently(self._connection, self.path, "PRAGMA schema_version")
            yield
            patiently(self._connection, self.path, "COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise


def decoded(path: Path, row: Row) -> Record:
    """The record of a verified row, without columns."""
    _, run_id, summary = row
    try:
        return Record.from_summary(summary)
    except (msgspec.MsgspecError, ValueError) as error:
        raise cannot_be_read(path, run_id, error) from None


def with_columns(path: Path, row: Row, record: Record, block: bytes) -> Record:
    """A record with the columns of a verified block; here it is also made sure that the row is of its run."""
    run_id = row[1]
    if record.id != run_id:
        raise StoreDamaged(f"run '{run_id}' in the store {path} holds run '{record.id}'; {REMEDY}")
    try:
        return msgspec.structs.replace(record, columns=unpack_columns(block))
    except (ValueError, TypeError, zlib.error) as error:
        raise cannot_be_read(path, run_id, error) from None
