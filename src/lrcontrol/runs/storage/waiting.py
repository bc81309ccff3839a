"""Waiting for the lock of a store: fairly among many writers, told after a while, and not for ever."""

import contextlib
import os
import random
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lrcontrol.errors import StoreError

__all__ = ["holders", "patiently", "transaction"]

TELL_SECONDS, WAIT_SECONDS = 3.0, 30.0

_JITTER = random.SystemRandom()  # nobody's seeded numbers are touched


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
    """All of what is done inside or nothing; IMMEDIATE to write, DEFERRED to read one and the same state."""
    try:
        patiently(connection, path, f"BEGIN {kind}")
        if kind == "DEFERRED":  # which takes no lock before something is read
            patiently(connection, path, "PRAGMA schema_version")
        yield
        if kind == "IMMEDIATE":
            patiently(connection, path, "COMMIT")
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def patiently(connection: sqlite3.Connection, path: Path, statement: str) -> sqlite3.Cursor:
    """Execute a statement that may find the file locked; SQLite's own waiting, ever longer, starves some of many.

    Raises:
        StoreError: the lock was held for `WAIT_SECONDS`; names the process where the system tells it.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        waited = time.monotonic() - began
        if waited > WAIT_SECONDS:
            raise StoreError(
                f"the store {path} cannot be used: {holders(path)} has held its lock for {WAIT_SECONDS:g} s; "
                "stop it, or use another store."
            )
        if waited > TELL_SECONDS and not told:
            told = True
            warnings.warn(
                f"the store {path} is locked by {holders(path)}; waiting for it up to {WAIT_SECONDS:g} s.",
                RuntimeWarning,
                stacklevel=2,
            )
        time.sleep(_JITTER.uniform(0.001, 0.005))


def holders(path: str | os.PathLike[str]) -> str:
    """Who holds a lock on a file, as far as the system tells: `process 123 (python)`, or `another process`."""
    try:
        found = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file]
    except (OSError, ValueError):
        return "another process"
    own = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    # A line: 1: POSIX ADVISORY WRITE 123 fe:00:4711 0 EOF; one that only waits has -> after the number.
    pids = {int(part[4]) for part in locks if len(part) > 5 and part[1] != "->" and part[5] == own}
    named = [f"process {pid} ({_name(pid)})" for pid in sorted(pids - {os.getpid()}) if pid > 0]
    return " and ".join(named[:3]) or "another process"


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return "".join(char if char.isprintable() else "?" for char in file.read().strip())
    except OSError:
        return "ended since"
