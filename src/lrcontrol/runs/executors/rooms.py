"""Folders of a process that others may delete once it has ended, however it did."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

__all__ = ["Room", "sweep"]

LOCK = "in-use"  # the file in each that its process holds a lock on
MAKING_SECONDS = 60  # how old a room without a lock must be to be nobody's
LONGEST = 24  # characters of the place for temporary files; a socket's path must fit into 107 with what Ray adds


class Room:
    """A new folder that only this user sees, among temporary files; those of processes that have ended are deleted.

    Args:
        prefix: begins its name, and those of its like.
        place: where; by default where temporary files are, or /tmp where that path is long.
    Example:
        >>> room = Room("lrcontrol-example-")
        >>> room.path.is_dir(), room.path.stat().st_mode & 0o777 == 0o700
        (True, True)
        >>> room.close()
        >>> room.path.exists()
        False
    """

    def __init__(self, prefix: str, place: Path | None = None) -> None:
        sweep(prefix, place)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place or _usual()))
            self._lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if os.fstat(self._lock).st_nlink:
                break
            os.close(self._lock)  # another locked it first, and took the room for one that was left

    def close(self) -> None:
        """Delete it; again does nothing."""
        if self._lock >= 0:
            _delete(self.path)
            os.close(self._lock)
            self._lock = -1


def sweep(prefix: str, place: Path | None = None) -> None:
    """Delete the rooms of this user's processes that have ended."""
    for folder in (place or _usual()).glob(f"{prefix}*"):
        _delete_left(folder)


def _usual() -> Path:
    usual = Path(tempfile.gettempdir())
    return Path("/tmp") if len(str(usual)) > LONGEST else usual  # noqa: S108 - what mkdtemp makes there is private


def _delete_left(folder: Path) -> None:
    """Delete a folder of ours that no process holds; one that is not ours, or is being made, stays."""
    with contextlib.suppress(OSError):
        found = folder.stat(follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except FileNotFoundError:
            if time.time() - found.st_mtime > MAKING_SECONDS:
                folder.rmdir()  # its process ended between its first two steps, or its last two
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete(folder)
        finally:
            os.close(lock)


def _delete(folder: Path) -> None:
    """Delete a room, its lock last: whoever is ended before that leaves what others find and delete."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK:
                path.unlink()
        if [path.name for path in folder.iterdir()] == [LOCK]:  # else something was written meanwhile
            (folder / LOCK).unlink()
            folder.rmdir()
