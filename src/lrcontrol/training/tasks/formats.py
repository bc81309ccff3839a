"""Formats of data files: bytes to arrays, each with one clear sentence for what is damaged or odd."""

import csv
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import DataDamaged

__all__ = ["gunzipped", "idx", "members", "numbers", "svmlight", "table", "text", "told"]

Value = TypeVar("Value")
LARGEST = 2**30  # bytes that any file may come to when unpacked


def told(name: str, reader: Callable[[], Value]) -> Value:
    """What `reader` returns; DataDamaged naming the file for whatever goes wrong in it."""
    try:
        return reader()
    except DataDamaged:
        raise
    except Exception as error:
        raise DataDamaged(f"the data file {name} cannot be read: {checks.shown_error(error)}.") from None


def gunzipped(name: str, content: bytes) -> bytes:
    """What a gzip file holds, up to 1 GiB."""

    def reader() -> bytes:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            result = file.read(LARGEST + 1)
        if len(result) > LARGEST:
            raise ValueError(f"it comes to more than {LARGEST} bytes")
        return result

    return told(name, reader)


def idx(name: str, content: bytes) -> NDArray[np.uint8]:
    """An array of unsigned bytes in the idx format of MNIST, gzipped."""

    def reader() -> NDArray[np.uint8]:
        raw = gunzipped(name, content)
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as an idx file of unsigned bytes does")
        rank = raw[3]
        shape = tuple(np.frombuffer(raw, ">u4", count=rank, offset=4).tolist())
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)

    return told(name, reader)


def svmlight(name: str, content: bytes, features: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Rows of shape (n, features), dense, and the labels as they are written."""
    from sklearn.datasets import load_svmlight_file

    def reader() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        rows, labels = load_svmlight_file(io.BytesIO(content), n_features=features, dtype=np.float32)
        return rows.toarray(), labels.astype(np.float64)

    return told(name, reader)


def table(
    name: str, content: bytes, *, delimiter: str = ",", header: bool = True
) -> tuple[list[str], list[list[str]]]:
    """The column names (empty without a header) and the rows of a table, as text."""

    def reader() -> tuple[list[str], list[list[str]]]:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8")), delimiter=delimiter) if row]
        names = rows.pop(0) if header else []
        widths = {len(row) for row in rows} | ({len(names)} if header else set())
        if not rows or len(widths) != 1:
            raise ValueError(f"its rows have {sorted(widths)} columns")
        return names, rows

    return told(name, reader)


def numbers(name: str, content: bytes, *, delimiter: str | None = None, skip: int = 0) -> NDArray[np.float64]:
    """A table of numbers, shape (rows, columns); every one finite."""

    def reader() -> NDArray[np.float64]:
        result = np.loadtxt(io.BytesIO(content), delimiter=delimiter, skiprows=skip, ndmin=2)
        if not result.size or not np.isfinite(result).all():
            raise ValueError("it is empty, or holds what is no finite number")
        return result

    return told(name, reader)


def text(name: str, content: bytes, encoding: str = "utf-8") -> str:
    """The content as text."""
    return told(name, lambda: content.decode(encoding))


def members(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The plain files of a zip archive, or of a tar packed by gzip, by name; read in memory, never extracted.

    Raises:
        DataDamaged: it is no such archive, holds a name twice, or comes to more than 1 GiB.
    """

    def reader() -> list[tuple[str, bytes]]:
        found: dict[str, bytes] = {}
        size = 0

        def keep(member: str, length: int, read: Callable[[], bytes]) -> None:
            nonlocal size
            size += length
            if size > LARGEST:
                raise ValueError(f"it comes to more than {LARGEST} bytes")
            if member in found:
                raise ValueError(f"it holds {member[:60]!r} twice")
            found[member] = read()

        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        keep(info.filename, info.file_size, lambda info=info: archive.read(info))  # type: ignore[misc]
            return sorted(found.items())
        with tarfile.open(fileobj=io.BytesIO(gunzipped(name, content)), mode="r:") as tar:
            for entry in tar:
                if entry.isreg():
                    file: Any = tar.extractfile(entry)
                    keep(entry.name, entry.size, file.read)
        return sorted(found.items())

    yield from told(name, reader)
