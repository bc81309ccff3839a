"""A store's file opened: made where there is none, and refused where it is not exactly what we make."""

import os
import sqlite3
import time
from pathlib import Path

from lrcontrol.errors import NotAStore, StoreDamaged, StoreError, StoreFromTheFuture
from lrcontrol.runs.storage.layouts import LAYOUTS, NEWEST, Layout
from lrcontrol.runs.storage.places import ready
from lrcontrol.runs.storage.telling import REMEDY, told
from lrcontrol.runs.storage.waiting import patiently, transaction

__all__ = ["APPLICATION_ID", "opened"]

APPLICATION_ID = 0x4C524354  # "LRCT"
SMALLEST = 512  # bytes of a database
OPEN_SECONDS = 1.5  # what is ours opens in milliseconds; a schema made to be slow is given up
COUNTS = ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)")  # SQLite's own, for AUTOINCREMENT

Face = tuple[int, int, list[tuple[str, str, str]]]


def opened(path: Path, *, create: bool, read_only: bool = False) -> tuple[sqlite3.Connection, Layout]:
    """A connection to a store, and how it is laid out.

    Raises:
        StoreError: as `Store` says.
    """
    ready(path, create and not read_only)
    if 0 < os.path.getsize(path) < SMALLEST:  # which SQLite would take for an empty one, and write over
        raise NotAStore(f"{path} is not a store of lrcontrol; name another file.")
    try:
        # The whole path, so that no name is special to SQLite, as ':memory:' is.
        connection = sqlite3.connect(os.path.abspath(path), 0, isolation_level=None)
    except (sqlite3.Error, ValueError) as error:
        raise StoreError(f"the store {path} cannot be opened: {error}.") from None
    try:
        with told(path):
            layout = _prepared(connection, path, create and not read_only)
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            else:  # a rollback journal: before SQLite 3.51.3 a write-ahead log can lose data where two writers meet
                patiently(connection, path, "PRAGMA journal_mode = DELETE")
    except BaseException:
        connection.close()
        raise
    return connection, layout


def _prepared(connection: sqlite3.Connection, path: Path, create: bool) -> Layout:
    """Set a connection up; make the tables in an empty file, refuse what is not ours."""
    until = time.monotonic() + OPEN_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)
    # EXTRA, since after FULL a loss of power may bring the journal of a commit back, which would undo it.
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "synchronous = EXTRA"):
        patiently(connection, path, f"PRAGMA {setting}")
    with transaction(connection, path, "DEFERRED"):
        face = _face(connection)
    if face == (0, 0, []):
        if not create:
            raise NotAStore(f"{path} is empty, not a store of lrcontrol; name another file.")
        with transaction(connection, path, "IMMEDIATE"):
            if _face(connection) == face:  # else another process made it between the look and the lock
                for table in LAYOUTS[NEWEST].tables.values():
                    connection.execute(table)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {NEWEST}")
            face = _face(connection)
    connection.set_progress_handler(None, 0)
    return _layout(path, face)


def _face(connection: sqlite3.Connection) -> Face:
    """Whose database it is, its format, and what it is made of."""
    ask = connection.execute
    return (
        ask("PRAGMA application_id").fetchone()[0],
        ask("PRAGMA user_version").fetchone()[0],
        ask("SELECT type, name, sql FROM sqlite_schema LIMIT 9").fetchall(),
    )


def _layout(path: Path, face: Face) -> Layout:
    found, version, schema = face
    if found != APPLICATION_ID:
        raise NotAStore(f"{path} is a database of something else; name another file for the store.")
    if version > NEWEST:
        raise StoreFromTheFuture(
            f"the store {path} has format {version}, this lrcontrol reads up to {NEWEST}; update lrcontrol."
        )
    layout = LAYOUTS.get(version)
    expected = [] if layout is None else [("table", *table) for table in layout.tables.items()]
    if layout is None or sorted(schema, key=repr) != sorted([*expected, COUNTS], key=repr):
        raise StoreDamaged(f"the store {path} is not laid out as it must be; {REMEDY}")
    return layout
