"""What runs on another machine need and leave: a user's Python files, data files, checkpoints, weights; as bytes."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lrcontrol.errors import BadInput, RecordError
from lrcontrol.files import write_whole
from lrcontrol.runs.kept_files import manifest_name, state_name
from lrcontrol.runs.record import Record

__all__ = [
    "DATA_FOLDER",
    "LARGEST_DATA",
    "Code",
    "code_of",
    "collected",
    "data_here",
    "keep",
    "read_start",
    "receive_data",
    "unpack_code",
    "weigh_data",
]

DATA_FOLDER = "LRCONTROL_DATA"  # the environment variable that names the folder of data files
LARGEST_DATA = 512 << 20  # bytes of data files that are sent to a machine
LARGEST_BESIDE = 8 << 20  # bytes of Python files that go along with a user's file because they lie beside it


class Code(NamedTuple):
    """A user's Python file and those beside it.

    Args:
        path: of the file, where it comes from.
        contents: of it and its neighbours, by name.
    """

    path: str
    contents: dict[str, bytes]


def code_of(file: str | Path) -> Code:
    """A Python file and, where they are not too large, all others of its folder, which it may import.

    Raises:
        BadInput: it cannot be read.
    """
    path = Path(file).resolve()
    try:
        contents = {path.name: path.read_bytes()}
        beside = [other for other in sorted(path.parent.glob("*.py")) if other != path and other.is_file()]
        if sum(other.stat().st_size for other in beside) <= LARGEST_BESIDE:
            contents |= {other.name: other.read_bytes() for other in beside}
    except OSError as error:
        raise BadInput(f"the Python file {file} cannot be read: {error.strerror or error}.") from None
    return Code(str(path), contents)


def unpack_code(codes: Sequence[Code], folder: Path) -> list[str]:
    """Where the files are on this machine: in their own place if that holds the same, else in new folders."""
    places = []
    for number, code in enumerate(codes):
        own = Path(code.path)
        if _holds(own, code.contents[own.name]):
            places.append(str(own))
            continue
        home = folder / f"code-{number}"
        home.mkdir()
        for name, content in code.contents.items():
            (home / Path(name).name).write_bytes(content)
        places.append(str(home / own.name))
    return places


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def weigh_data(data: Mapping[str, Path]) -> dict[str, tuple[str, int]]:
    """For each data file, by `folder/name`, where it lies and how many bytes it has.

    Raises:
        BadInput: one is not there.
    """
    try:
        return {name: (str(path), path.stat().st_size) for name, path in data.items()}
    except OSError as error:
        raise BadInput(f"the data file {error.filename} cannot be read: {error.strerror}.") from None


def data_here(weighed: Mapping[str, tuple[str, int]]) -> list[str]:
    """See that runs of this process find the data; the names of the files that they would not.

    They are looked for where `LRCONTROL_DATA` says, in the place that they have on the machine which asks, and in
    the cache. Only their sizes are compared: what reads them compares their content.
    """
    if not weighed:
        return []
    name, (path, _) = next(iter(weighed.items()))
    asked = Path(path).parents[len(Path(name).parts) - 1]
    given = os.environ.get(DATA_FOLDER) or asked
    for folder in (Path(given), asked):
        if not _lacking(folder, weighed):
            os.environ[DATA_FOLDER] = str(folder)
            return []
    lacking = _lacking(_cache(), weighed)
    if not lacking:
        os.environ.pop(DATA_FOLDER, None)
    return lacking


def receive_data(contents: Mapping[str, bytes]) -> None:
    """Put data files into this machine's cache, where a download would have put them.

    Raises:
        BadInput: they cannot be written.
    """
    for name, content in contents.items():
        path = _cache() / name
        _make(path.parent)
        write_whole(path, content)
    os.environ.pop(DATA_FOLDER, None)


def _lacking(folder: Path, weighed: Mapping[str, tuple[str, int]]) -> list[str]:
    return [name for name, (_, size) in weighed.items() if not _has(folder / name, size)]


def _has(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("lrcontrol"))


def read_start(folder: Path, run_id: str) -> dict[str, bytes]:
    """The files of a run's checkpoint that are there; what is missing, the run that needs it says."""
    found = {}
    for name in (manifest_name(run_id), state_name(run_id)):
        if (folder / name).is_file():
            found[name] = (folder / name).read_bytes()
    return found


def collected(record: Record, folder: Path) -> dict[str, bytes]:
    """The files that a run left in `folder`, taken out of it."""
    found = {}
    for name in _names(record):
        path = folder / name
        if path.is_file():
            found[name] = path.read_bytes()
            path.unlink()
    return found


def keep(record: Record, files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files that came with a record, after checking that they are those it names.

    The manifest of a checkpoint comes after its tensors, so that there is a whole checkpoint or none.

    Raises:
        RecordError: a file is missing or another. BadInput: it cannot be written.
    """
    names = _names(record)
    if missing := [name for name in names if name not in files]:
        raise RecordError(f"run {record.id} must bring the files it names, but {missing[0]} did not come.")
    if record.weights is not None:
        _check(record, record.weights.file, files[record.weights.file], record.weights.sha256)
    if record.checkpoint is not None:
        manifest = files[manifest_name(record.id)]
        _check(record, manifest_name(record.id), manifest, record.checkpoint.sha256)
        told: Any = json.loads(manifest)
        _check(record, state_name(record.id), files[state_name(record.id)], told["tensors"])
    _make(folder)
    for name in names:
        write_whole(folder / name, files[name])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be made: {error.strerror}.") from None


def _names(record: Record) -> list[str]:
    """The files that a record speaks of, in the order in which they are to be written.

    Raises:
        RecordError: one has not the name that is made of the run's id.
    """
    names: list[str] = []
    expected: Iterable[tuple[Any, str, list[str]]] = (
        (record.weights, f"{record.id}.safetensors", [f"{record.id}.safetensors"]),
        (record.checkpoint, manifest_name(record.id), [state_name(record.id), manifest_name(record.id)]),
    )
    for named, name, files in expected:
        if named is not None and named.file != name:
            raise RecordError(f"a file of run {record.id} must be named {name}, got {named.file!r}.")
        names += files if named is not None else []
    return names


def _check(record: Record, name: str, content: bytes, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RecordError(f"the file {name} that came from run {record.id} is damaged: its SHA-256 differs.")
