"""Lines of gradient logs: what `GradientLogFile` writes, and what tells a reader that a line is whole."""

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "CRC", "HEADER", "TORN", "csv_lines", "json_lines"]

COLUMNS = ("l1", "l2", "loss", "lr")
HEADER = ",".join(("step", *COLUMNS)).encode() + b"\n"
TORN = b" torn\n"  # ends a row of CSV that is not whole: half a number is not to be taken for a number
CRC = b',"crc":"%08x"}'  # ends a line of JSONL: the CRC-32 of all before it


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
