"""Frames of event files: a length, its CRC, that many bytes, their CRC; and how to go on behind a damaged one."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrcontrol.interop.logs import crc32c

__all__ = ["Frames", "begins_like_frames", "frames"]

HEAD = struct.Struct("<QI")
BLOCK = 1 << 24
LONGEST = 1 << 28  # bytes of one frame; no scalar is near it
LOST = 1 << 25  # bytes without a frame, after which nothing more is looked for


class Frames(NamedTuple):
    """Whole frames of one block.

    Args:
        buffer: the block.
        starts: where the content of each frame begins.
        lengths: how long it is.
        damaged: how many stretches of the block were no whole frames.
        torn: how many bytes at the end of the file are a frame that is not finished.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    damaged: int
    torn: int


def begins_like_frames(head: bytes) -> bool:
    """Whether some bytes begin with the length of a frame and its CRC."""
    return len(head) >= 12 and crc32c.masked(head[:8]) == HEAD.unpack_from(head)[1]


def frames(file: BinaryIO) -> Iterator[Frames]:
    """The frames of a file, block by block; what is damaged is passed over up to the next frame that is whole."""
    content, final, lost = b"", False, 0
    known: dict[bytes, int] = {}  # CRCs of lengths, which repeat
    while not final and lost <= LOST:
        more = file.read(BLOCK)
        final = len(more) < BLOCK
        content += more
        starts, lengths, at, damaged = _walk(content, known, final)
        buffer = np.frombuffer(content, np.uint8)
        whole = _whole(buffer, starts, lengths)
        lost = 0 if whole.any() or not damaged else lost + len(more)
        damaged += len(whole) - int(whole.sum())
        yield Frames(buffer, starts[whole], lengths[whole], damaged, len(content) - at if final else 0)
        content = content[at:]


def _walk(
    content: bytes, known: dict[bytes, int], final: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Starts and lengths of frames whose lengths are right, where the first unfinished one begins, and damages."""
    starts: list[int] = []
    lengths: list[int] = []
    at, size, damaged = 0, len(content), 0
    while at + 12 <= size:
        length, crc = HEAD.unpack_from(content, at)
        head = content[at : at + 8]
        right = known.get(head)
        if right is None:
            right = known[head] = crc32c.masked(head)
            if len(known) > 1 << 16:
                known.clear()
        if crc != right or length > LONGEST:
            damaged += 1
            at = _next(content, at + 1, final)
            continue
        end = at + length + 16
        if end > size:
            break
        starts.append(at + 12)
        lengths.append(length)
        at = end
    return np.array(starts, np.int64), np.array(lengths, np.int64), at, damaged


def _next(content: bytes, begin: int, final: bool) -> int:
    """Where the next frame begins whose CRCs hold, or one that may yet; at the end of the content if there is none."""
    size = len(content)
    for low in range(begin, size - 11, 1 << 16):
        window = np.frombuffer(content, np.uint8, min((1 << 16) + 11, size - low), low)
        if not window.any():
            continue  # a file that was made longer than what was written
        told = window[8:-3].astype(np.uint32)
        for place in (1, 2, 3):
            told |= window[8 + place : len(window) - 3 + place].astype(np.uint32) << np.uint32(8 * place)
        for found in (low + np.flatnonzero(crc32c.masked_windows(window[:-4], 8) == told)).tolist():
            length, end = HEAD.unpack_from(content, found)[0], 0
            end = found + 12 + length
            if end + 4 > size and not final and length <= LONGEST:
                return int(found)
            if end + 4 <= size and crc32c.masked(content[found + 12 : end]) == int.from_bytes(
                content[end : end + 4], "little"
            ):
                return int(found)
    return size if final else max(begin, size - 11)


def _whole(buffer: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which frames have the content that their CRC says."""
    told = np.zeros(len(starts), np.uint32)
    for place in range(4):
        told |= buffer[starts + lengths + place].astype(np.uint32) << np.uint32(8 * place)
    whole = np.zeros(len(starts), np.bool_)
    for length in np.unique(lengths).tolist():
        at = np.flatnonzero(lengths == length)
        whole[at] = crc32c.masked_all(buffer, starts[at], length) == told[at]
    return whole
