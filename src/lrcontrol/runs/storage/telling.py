"""What SQLite says as our errors, each one sentence."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lrcontrol import checks
from lrcontrol.errors import NotAStore, StoreDamaged, StoreError
from lrcontrol.runs.storage.layouts import BadRow
from lrcontrol.runs.storage.waiting import holders

__all__ = ["REMEDY", "cannot_be_read", "told"]

REMEDY = "`lrcontrol store check` tells what is right in it; restore it from a copy, or name a new one."


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of layouts inside into ours, naming `path`."""
    try:
        yield
    except BadRow as error:
        raise StoreDamaged(f"{error} in the store {path}; {REMEDY}") from None
    except UnicodeDecodeError:  # SQLite quotes the damaged text of its schema in a message that is then no UTF-8
        raise StoreDamaged(f"the store {path} is damaged: its schema cannot be read; {REMEDY}") from None
    except sqlite3.Error as error:
        raise _ours(path, error) from None


def _ours(path: Path, error: sqlite3.Error) -> StoreError:
    reason = checks.shown_error(error)
    code = getattr(error, "sqlite_errorcode", None)  # None where the driver speaks, not SQLite
    match code if code is None else code & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return NotAStore(f"{path} is not a store of lrcontrol; name another file.")
        case sqlite3.SQLITE_FULL:
            return StoreError(
                f"the store {path} cannot be written: {reason}, with {_free(path)}; make room and give the same "
                "command again: nothing that was kept is lost."
            )
        case sqlite3.SQLITE_IOERR:
            return StoreError(
                f"the store {path} cannot be used: {reason}, with {_free(path)}; see whether the disk is well "
                "and files may grow on it, and give the same command again: nothing that was kept is lost."
            )
        case sqlite3.SQLITE_BUSY:
            return StoreError(
                f"the store {path} cannot be used: {holders(path)} has locked it; stop it, or use another store."
            )
        case sqlite3.SQLITE_INTERRUPT:
            return NotAStore(f"{path} is a database that takes too long to open; name another file for the store.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreError(f"the store {path} and its folder must be readable and writable, but: {reason}.")
    if isinstance(error, sqlite3.ProgrammingError):  # closed, or used in another thread
        return StoreError(f"the store {path} cannot be used: {reason}.")
    if isinstance(error, sqlite3.OperationalError) and "decode" not in reason:  # else text that is not text
        return StoreError(f"the store {path} cannot be used: {reason}.")
    return StoreDamaged(f"the store {path} is damaged: {reason}; {REMEDY}")


def cannot_be_read(path: Path, run_id: str, error: Exception) -> StoreDamaged:
    """The error for a row that is as it was written, and still no record that this version can read."""
    return StoreDamaged(
        f"run '{run_id}' in the store {path} cannot be read by this version of lrcontrol: {checks.shown_error(error)}."
    )


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free:,} bytes free there"
    except OSError:
        return "an unknown number of bytes free there"
