"""Folders of a process that others may delete once it has ended, however it did."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["Room", "sweep"]

LOCK = "in-use"  # the file in each that its process holds a lock on
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
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place or _usual()))
        self._lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Delete it; again does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
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
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return
        lock = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
