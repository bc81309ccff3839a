"""The folder of a study: named, looked at before it is made, and held by one process at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lrcontrol.errors import StoreError
from lrcontrol.runs.task import Task

__all__ = ["folder_of", "held", "made"]


def folder_of(out: str | os.PathLike[str] | None, task: Task) -> Path:
    """The folder for results, which need not be there yet: what is asked is looked at before one is made.

    Raises:
        StoreError: it can be seen that it cannot be made, or that nothing can be written there.
    """
    folder = Path("lrcontrol-out") / task.name.replace(":", "-") if out is None else Path(out)
    try:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}.") from None
    if not there.is_dir():
        raise StoreError(f"the folder {folder} cannot be made: {there} is a file; name another with --out.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"the folder {there} must be writable; name another with --out.")
    return folder


def made(folder: Path) -> Path:
    """The same folder, which is there now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}.") from None
    return folder


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from carrying out a study in the same folder; the system ends that with this process."""
    try:
        import fcntl
    except ImportError:  # no such locks here: they would do the same work twice, and harm nothing
        yield
        return
    with open(folder / ".lock", "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip()
            raise StoreError(
                f"another process ({holder or 'unknown'}) carries out a study in {folder}; wait for it, end it, or "
                "name another folder with --out."
            ) from None
        except OSError:  # a file system without such locks
            yield
            return
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
