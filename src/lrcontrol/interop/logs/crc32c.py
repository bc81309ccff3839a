"""CRC-32C (Castagnoli), as event files of TensorBoard carry it, of many pieces of bytes at once."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["masked", "masked_all", "masked_windows"]

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]

FEW, SHORT = 16, 1024  # below both of these Python's own loop is the fastest


def _table() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (np.uint32(0x82F63B78) * (table & np.uint32(1)))
    return table


TABLE = _table()
ENTRIES: list[int] = TABLE.tolist()


def masked(content: bytes | memoryview) -> int:
    """The masked CRC of some bytes.

    Example:
        >>> hex(masked(b"123456789"))  # the CRC itself is 0xe3069283
        '0xc78ab0e5'
    """
    if len(content) > SHORT:
        return int(_mask(np.array([_long(np.frombuffer(content, np.uint8))], np.uint32))[0])
    state = 0xFFFFFFFF
    for byte in content:
        state = ENTRIES[(state ^ byte) & 255] ^ (state >> 8)
    state ^= 0xFFFFFFFF
    return ((state >> 15 | state << 17) + 0xA282EAD8) & 0xFFFFFFFF


def masked_all(buffer: Bytes, starts: Sequence[int] | NDArray[np.int64], length: int) -> Words:
    """The masked CRCs of pieces of one length."""
    if len(starts) < FEW or length > 64 * len(starts):
        pieces = (masked(buffer[start : start + length].data) for start in starts)
        return np.fromiter(pieces, np.uint32, len(starts))
    begin = np.asarray(starts)
    columns = (buffer[begin + at] for at in range(length))
    return _mask(~_run(columns, np.full(len(starts), 0xFFFFFFFF, np.uint32)))


def masked_windows(buffer: Bytes, width: int) -> Words:
    """The masked CRCs of all windows of `width` bytes."""
    count = len(buffer) - width + 1
    columns = [buffer[at : at + count] for at in range(width)]
    return _mask(~_run(columns, np.full(count, 0xFFFFFFFF, np.uint32)))


def _run(columns: Iterable[Bytes], state: Words) -> Words:
    """The states after one more byte each, column by column."""
    for column in columns:
        state = TABLE[(state ^ column) & 255] ^ (state >> 8)
    return state


def _mask(crc: Words) -> Words:
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)


def _long(content: Bytes) -> int:
    """The CRC of one long piece, from those of as many parts as a part has bytes.

    A CRC is linear: what comes before a part counts as if only zeros followed, so parts are done side by side and
    joined by a table of what that many zeros do to a state.
    """
    width = math.isqrt(len(content))
    parts = -(-len(content) // width)
    padded = np.zeros(parts * width, np.uint8)  # zeros in front do not change a state of 0
    padded[-len(content) :] = content
    padded[-len(content) :][:4] ^= 255  # the same as beginning with a state of ones
    states = _run(padded.reshape(parts, width).T, np.zeros(parts, np.uint32))
    bytes_of_states = (np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]).reshape(-1)
    after = _run(np.zeros((width, 1), np.uint8), bytes_of_states).reshape(4, 256).tolist()
    state = 0
    for part in states.tolist():
        low, second, third, high = state & 255, state >> 8 & 255, state >> 16 & 255, state >> 24
        state = after[0][low] ^ after[1][second] ^ after[2][third] ^ after[3][high] ^ part
    return state ^ 0xFFFFFFFF
