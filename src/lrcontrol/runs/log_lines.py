"""Arrays and lines of gradient logs: what may be in one, what is written, and what tells that a line is whole."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["COLUMNS", "CRC", "HEADER", "TORN", "column_of", "csv_lines", "json_lines", "steps_of"]

COLUMNS = ("l1", "l2", "loss", "lr")
HEADER = ",".join(("step", *COLUMNS)).encode() + b"\n"
TORN = b" torn\n"  # ends a row of CSV that is not whole: half a number is not to be taken for a number
CRC = b',"crc":"%08x"}'  # ends a line of JSONL: the CRC-32 of all before it


def steps_of(steps: ArrayLike) -> NDArray[np.int64]:
    """Steps as int64 that nobody can write to."""
    given = np.asarray(steps)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise BadInput(f"`steps` must be integers in one dimension, got {given.dtype} of shape {given.shape}.")
    if given.size and (int(given.min()) < 0 or int(given.max()) > checks.LARGEST_STEP):
        raise BadInput(f"`steps` must be in [0, {checks.LARGEST_STEP}], got {given.min()} to {given.max()}.")
    return _kept(given, np.int64)


def column_of(name: str, values: Any, length: int) -> NDArray[np.float64]:
    """One column as float64 that nobody can write to."""
    try:
        kept = _kept(np.asarray(values), np.float64)
    except (TypeError, ValueError):
        raise BadInput(f"`{name}` must be numbers, got {name}={checks.shown(values)}.") from None
    if kept.shape != (length,):
        raise BadInput(f"`{name}` must have shape ({length},) as `steps` has, got {kept.shape}.")
    return kept


def _kept(values: NDArray[Any], kind: type) -> NDArray[Any]:
    """The array itself where it is of the kind and nobody can write to it, else a copy."""
    if values.dtype == kind and not values.flags.writeable and values.base is None:
        return values
    kept: NDArray[Any] = np.array(values, dtype=kind)
    kept.setflags(write=False)
    return kept


def csv_lines(order: Sequence[str], steps: NDArray[np.int64], given: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Rows of CSV with the columns of `order`; those that are not given are empty."""
    cells = {name: [_text(value) for value in values.tolist()] for name, values in given.items()}
    cells["step"], empty = [str(step) for step in steps.tolist()], [""] * len(steps)
    rows = zip(*(cells.get(name, empty) for name in order), strict=True)
    return "".join(",".join(row) + "\n" for row in rows).encode()


def json_lines(steps: NDArray[np.int64], given: Mapping[str, NDArray[np.float64]]) -> bytes:
    """One object a line with what is given, and the CRC-32 of it."""
    return b"".join(_json_lines(steps, given))


def _json_lines(steps: NDArray[np.int64], given: Mapping[str, NDArray[np.float64]]) -> Iterator[bytes]:
    for step, *values in zip(steps.tolist(), *(column.tolist() for column in given.values()), strict=True):
        pairs = "".join(f',"{name}":{_json(value)}' for name, value in zip(given, values, strict=True))
        line = f'{{"step":{step}{pairs}'.encode()
        yield line + CRC % zlib.crc32(line) + b"\n"


def _text(value: float) -> str:
    """A float so that it is read as it was."""
    if value - value == 0:
        return repr(value)
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _json(value: float) -> str:
    """The same in JSON, which knows no numbers that are not finite."""
    return repr(value) if value - value == 0 else f'"{_text(value)}"'
