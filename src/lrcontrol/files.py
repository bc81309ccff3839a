"""Files written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lrcontrol.errors import BadInput, LRControlError

__all__ = ["sync_folder", "whole_file", "write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` beside `path`, durably, and move it into place, so that no reader ever sees half a file.

    Raises:
        BadInput: the folder does not exist, or the file cannot be written there; says why.
    """
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to beside `path`, which takes its place at the end; where an error is raised, nothing is left.

    Raises:
        BadInput: the folder does not exist, or the file cannot be written there; says why.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if not target.parent.is_dir():
        raise BadInput(f"cannot write {os.fspath(path)}: the folder {target.parent} does not exist; make it first.")
    part = None
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_UMASK)  # as if it had been opened by name
        os.replace(part, target)
        sync_folder(target.parent)
    except BaseException as error:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
        if not isinstance(error, OSError) or isinstance(error, LRControlError):  # ours say more already
            raise
        raise BadInput(f"cannot write {os.fspath(path)}: {error.strerror or error}.") from None


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable, where its file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _umask()
