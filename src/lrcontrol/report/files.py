"""Files written whole or not at all."""

import contextlib
import os
from pathlib import Path

from lrcontrol.errors import BadInput

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` beside `path` and move it into place, so that no reader ever sees half a file.

    Raises:
        BadInput: the folder does not exist, or the file cannot be written there; says why.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if not target.parent.is_dir():
        raise BadInput(f"cannot write {os.fspath(path)}: the folder {target.parent} does not exist; make it first.")
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise BadInput(f"cannot write {os.fspath(path)}: {error.strerror or error}.") from None
