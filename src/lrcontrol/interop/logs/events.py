"""Scalars in event files of TensorBoard: tag, step and value, read from the few fields of the protocol that hold them.

Event has wall_time = 1, step = 2, summary = 5; Summary has value = 1; Value has tag = 1, simple_value = 2, tensor = 8;
TensorProto has dtype = 1, tensor_content = 4, float_val = 5, double_val = 6. What else is there is passed over.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrcontrol.interop.logs.frames import Frames

__all__ = ["Scalars", "scalars"]

FEW = 8  # events of one length, below which each is read alone
TEMPLATES = 64  # ways in which events of one length are laid out, after which each is read alone
FLOATS = {1: "<f4", 2: "<f8"}  # DT_FLOAT, DT_DOUBLE


class Scalars(NamedTuple):
    """Values of one tag, in no order: `places` are where in the block their events begin."""

    tag: str
    places: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


class _Field(NamedTuple):
    """A field of a message: number, kind, where its content begins and ends, and its value if that is a varint."""

    number: int
    kind: int
    begin: int
    end: int
    value: int


class _Found(NamedTuple):
    """A scalar, and where in the event its value lies."""

    tag: str
    step: int
    value: float
    at: int
    kind: str


def scalars(block: Frames) -> tuple[list[Scalars], int]:
    """All scalars of a block of frames by tag, and how many events could not be read."""
    parts: list[Scalars] = []
    alone: list[tuple[int, int]] = []
    for length in np.unique(block.lengths).tolist():
        starts = block.starts[block.lengths == length]
        if len(starts) >= FEW:
            starts = _alike(block.buffer, starts, length, parts)
        alone += [(start, length) for start in starts.tolist()]
    loose: dict[str, list[tuple[int, int, float]]] = {}
    bad = 0
    for start, length in alone:
        try:
            for found in _event(block.buffer[start : start + length].tobytes()):
                loose.setdefault(found.tag, []).append((start, found.step, found.value))
        except (ValueError, IndexError, struct.error):
            bad += 1
    for tag, rows in loose.items():
        places, steps, values = zip(*rows, strict=True)
        parts.append(Scalars(tag, np.array(places), np.array(steps, np.int64), np.array(values, np.float64)))
    return parts, bad


def _alike(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], length: int, parts: list[Scalars]
) -> NDArray[np.int64]:
    """Read events that differ from one of their kind in time, step and value alone; returns where the others begin."""
    rows = np.lib.stride_tricks.sliding_window_view(buffer, length)
    left: list[NDArray[np.int64]] = []
    for _ in range(TEMPLATES):
        if len(starts) < FEW:
            break
        first = rows[starts[0]]
        try:
            outer = list(_fields(first.tobytes(), 0, length))
            (found,) = _event(first.tobytes())
        except (ValueError, IndexError, struct.error):  # not one scalar, or not to be read at all
            left.append(starts[:1])
            starts = starts[1:]
            continue
        fixed = np.ones(length, np.bool_)
        size = np.dtype(found.kind).itemsize
        fixed[found.at : found.at + size] = False
        step = next((field for field in outer if field.number == 2), None)
        for field in outer:
            if field.number in (1, 2):
                fixed[field.begin : field.end] = False
        block = rows[starts]
        same: NDArray[np.bool_] = (block[:, fixed] == first[fixed]).all(axis=1)
        steps = np.zeros(len(block), np.int64)
        if step is not None:
            digits = block[:, step.begin : step.end]
            same &= ((digits & 128) == (first[step.begin : step.end] & 128)).all(axis=1)
            for place in range(step.end - step.begin):
                steps |= (digits[:, place] & 127).astype(np.int64) << (7 * place)
        values = block[:, found.at : found.at + size].copy().view(found.kind)[:, 0].astype(np.float64)
        parts.append(Scalars(found.tag, starts[same], steps[same], values[same]))
        starts = starts[~same]
    return np.concatenate([*left, starts])


def _event(data: bytes) -> list[_Found]:
    """The scalars of one event."""
    step, values = 0, []
    for field in _fields(data, 0, len(data)):
        if field.number == 2 and field.kind == 0:
            step = field.value - (1 << 64) if field.value >> 63 else field.value
        elif field.number == 5 and field.kind == 2:
            values += [
                (inner.begin, inner.end)
                for inner in _fields(data, field.begin, field.end)
                if inner.number == 1 and inner.kind == 2
            ]
    return [found for begin, end in values if (found := _value(data, begin, end, step)) is not None]


def _value(data: bytes, begin: int, end: int, step: int) -> _Found | None:
    """The scalar of one value; None if it is something else."""
    tag, at, kind = "", -1, "<f4"
    for field in _fields(data, begin, end):
        if field.number == 1 and field.kind == 2:
            tag = data[field.begin : field.end].decode("utf-8", "replace")
        elif field.number == 2 and field.kind == 5:
            at, kind = field.begin, "<f4"
        elif field.number == 8 and field.kind == 2:
            at, kind = _tensor(data, field.begin, field.end)
    if at < 0:
        return None
    return _Found(tag, step, float(np.frombuffer(data, kind, 1, at)[0]), at, kind)


def _tensor(data: bytes, begin: int, end: int) -> tuple[int, str]:
    """Where the one number of a tensor lies and what it is; (-1, ...) if it has not one of a kind that is known."""
    fields = list(_fields(data, begin, end))
    kind = FLOATS.get(next((field.value for field in fields if field.number == 1), 0), "")
    for field in fields:
        if kind and field.number in (4, 5, 6) and field.end - field.begin == np.dtype(kind).itemsize:
            return field.begin, kind
    return -1, "<f4"


def _fields(data: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields of a message; ValueError where it is none."""
    while at < end:
        key, at = _varint(data, at)
        number, kind, begin, value = key >> 3, key & 7, at, 0
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            length, begin = _varint(data, at)
            at = begin + length
        elif kind == 5:
            at += 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at > end or number == 0:
            raise ValueError("a field that is longer than its message")
        yield _Field(number, kind, begin, at, value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 10 bytes")
