"""Data files: found in `LRCONTROL_DATA` or the cache, else downloaded there; checked before they are read.

`files.json` lists every file that a task reads, by `folder/name`, with its SHA-256 and, where one is known, its
address. With `LRCONTROL_DATA` set to a folder laid out in the same way, nothing is ever downloaded.
"""

import functools
import hashlib
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import msgspec

from lrcontrol.errors import DataDamaged, DataMissing

__all__ = ["FOLDER", "KnownFile", "available", "ensure", "files", "here", "path_of", "read"]

FOLDER = "LRCONTROL_DATA"  # the environment variable


class KnownFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a data file: the SHA-256 and length of its content, and an address if there is one."""

    sha256: str
    bytes: int
    url: str | None = None


@functools.cache
def files() -> dict[str, KnownFile]:
    """Every file by `folder/name`."""
    text = resources.files("lrcontrol.training.tasks").joinpath("files.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, KnownFile])


def available(names: Iterable[str]) -> bool:
    """Whether every one of these files is here, or could be downloaded; nothing is read and nothing is fetched."""
    with_address = not os.environ.get(FOLDER)
    return all(here([name]) or (with_address and files()[name].url is not None) for name in names)


def here(names: Iterable[str]) -> bool:
    """Whether every one of these files is in the folder or, without one, in the cache: no network is needed."""
    given = os.environ.get(FOLDER)
    folder = Path(given) if given else _cache()
    return all(_is_file(folder / name) for name in names)


def read(name: str) -> bytes:
    """The content of a data file, checked against its SHA-256.

    Args:
        name: `folder/name`, as in `files()`.
    Raises:
        DataMissing: it is neither in the folder nor to be had. DataDamaged: its content is not what it should be.
    """
    known = files()[name]
    given = os.environ.get(FOLDER)
    path = path_of(name)
    if not _is_file(path):
        if given or _is_there(path):
            otherwise = f", or unset {FOLDER} to have it downloaded" if given and known.url is not None else ""
            what = "something there that is no file or cannot be seen" if _is_there(path) else f"{given!r} without it"
            where = f"the folder that {FOLDER} names" if given else f"{path.parent}"
            raise DataMissing(f"the data file {name} must be in {where}, got {what}; put it there{otherwise}.")
        _download(name, known, path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataMissing(f"the data file {path} cannot be read: {error.strerror}.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256:
        raise DataDamaged(
            f"the data file {path} must have SHA-256 {known.sha256[:16]}... and {known.bytes} bytes, "
            f"got {found[:16]}... and {len(content)} bytes; delete it or put a whole copy there."
        )
    return content


def path_of(name: str) -> Path:
    """Where a data file is, or is put when it is downloaded."""
    given = os.environ.get(FOLDER)
    return Path(given) / name if given else _cache() / name


def ensure(names: Iterable[str]) -> None:
    """See that every one of these files is here and whole, downloading what is not, or raise as `read` does."""
    for name in names:
        read(name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that must not be looked into
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:
        return True


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("lrcontrol"))


def _download(name: str, known: KnownFile, path: Path) -> None:
    """Fetch a file to the cache, whole or not at all."""
    if known.url is None:
        raise DataMissing(
            f"the data file {name} has no address to be downloaded from; put it in a folder laid out as in "
            f"docs/data.md and set {FOLDER} to that folder."
        )
    import pooch

    try:
        pooch.retrieve(known.url, known_hash=known.sha256, fname=path.name, path=path.parent, progressbar=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataMissing(
            f"the data file {name} cannot be downloaded from {known.url}: {reason}; put it in a folder laid out as in "
            f"docs/data.md and set {FOLDER} to that folder."
        ) from None
