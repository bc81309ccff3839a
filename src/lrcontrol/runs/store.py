"""Store: records in one SQLite file, each row with a checksum of its own.

A record that `add` has returned from survives the death of the process at any moment, and a loss of power where the
disk keeps what it has promised to. The same record added twice is kept once. What is damaged, foreign or from the
future is a clear error, never wrong data: a checksum tells a changed row, the numbers without gap and SQLite's own
count of them (`AUTOINCREMENT`) tell a lost one, and nothing is looked up in an index, which may be damaged where the
rows are not.
"""

import contextlib
import os
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal

from lrcontrol.errors import RecordError, StoreError
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.storage.decoding import decoded, with_columns
from lrcontrol.runs.storage.layouts import BadRow, Row
from lrcontrol.runs.storage.listing import Listing, Records
from lrcontrol.runs.storage.opening import opened
from lrcontrol.runs.storage.places import network_file_system
from lrcontrol.runs.storage.telling import told
from lrcontrol.runs.storage.waiting import transaction

__all__ = ["Store"]


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
        self._kept: dict[str, Row] = {}
        self._decoded = Records(partial(decoded, self.path))
        self._count = 0
        self._connection, self._layout = opened(self.path, create=create, read_only=read_only)
        try:
            with told(self.path), self._transaction("DEFERRED"):
                self._layout.counted(self._connection)
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

    def _refresh(self) -> None:
        """Read the rows that came since the last look, from whichever process; within a transaction."""
        counted = self._layout.counted(self._connection)
        if counted == self._count:
            return
        kept, count = self._kept, self._count
        try:
            for row in self._layout.rows_after(self._connection, count):
                number, run_id, _ = row
                if run_id in kept and not self._failed(kept[run_id]):
                    raise BadRow(f"run '{run_id}' is out of place")
                kept[run_id] = row
                count = number
        finally:
            self._count = count
        if counted != count:
            raise BadRow("the runs are not as many as were added")

    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"]) -> contextlib.AbstractContextManager[None]:
        return transaction(self._connection, self.path, kind)

    def _failed(self, row: Row) -> bool:
        return self._decoded.of(row).outcome is Outcome.FAILED
