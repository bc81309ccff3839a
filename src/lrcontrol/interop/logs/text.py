"""The bytes of a log: opened without surprises, unpacked, decoded to UTF-8, and cut into blocks of whole lines."""

import codecs
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lrcontrol.errors import BadInput, BadText

__all__ = ["LONGEST_LINE", "Text", "blocks", "halves", "opened"]

HEAD = 1 << 16
BLOCK = 1 << 20
LONGEST_LINE = 1 << 24  # bytes; a longer one is no record
FEWEST = 32  # lines that are read one by one, where a block of them cannot be read at once
LOST = 1 << 26  # bytes of one line, after which nothing more is looked for
MOST_UNPACKED = 100  # times the size of what is packed, after the first 4 MB: rows of numbers do not come near it
NOT_LOGS = {
    b"PK\x03\x04": "a zip archive (or a file of torch.save, which is never read, for it can run code)",
    b"\x80\x02": "a pickle, which is never read, for it can run code",
    b"\x80\x03": "a pickle, which is never read, for it can run code",
    b"\x80\x04": "a pickle, which is never read, for it can run code",
    b"\x80\x05": "a pickle, which is never read, for it can run code",
    b"BZh": "packed by bzip2; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"SQLite format 3": "an SQLite database; of a store, the record's columns are the log",
    b"PAR1": "a Parquet file; write it as CSV",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a file of NumPy; its array can be given itself",
    b":W&B": "the binary log of W&B; export the history of the run as CSV or JSON",
}
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def opened(path: Path) -> BinaryIO:
    """A regular file, opened to be read.

    Raises:
        BadInput: it is not there, is no regular file, or cannot be read.
    """
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)  # before it is opened: opening a FIFO waits for a writer
        file = path.open("rb", buffering=0) if regular else None
    except FileNotFoundError:
        raise BadInput(f"there is no gradient log {path}.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    if file is None:
        raise BadInput(f"a gradient log must be a file or a folder, and {path} is neither.")
    return file


class Text:
    """A log as UTF-8: `head` are its first bytes, which `read` gives again.

    `notes` tell, once all has been read, what was wrong with it on the way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._file = opened(path)
        self.packed = self._old_mac = False
        self._again = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Text":
        """The text itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, size: int) -> bytes:
        """At least one byte more, about `size` of them; none at the end."""
        if self._again:
            begin, self._again = self._again, b""
            return begin
        while True:
            raw = self._unpacked(size)
            if self._decoder is None:
                text = raw
            else:
                text = self._decoder.decode(raw, final=not raw).encode("utf-8", "replace")
            if text or not raw:
                return text.replace(b"\r", b"\n") if self._old_mac else text

    def rewound(self) -> "Text":
        """The same log from its beginning."""
        return Text(self.path)

    def _begin(self) -> None:
        raw = self._file.read(HEAD)
        for magic, what in NOT_LOGS.items():
            if raw.startswith(magic):
                raise BadText(f"{self.path} is no gradient log but {what}.")
        if raw.startswith(b"\x1f\x8b"):
            self.packed, self._taken, self._given = True, 0, 0
            self._inflate = zlib.decompressobj(31)
            self._waiting = raw
            raw = self._unpacked(HEAD)
        self.raw = raw[:16]
        encoding, skip = _encoding(raw)
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
            self.head = self._decoder.decode(raw[skip:]).encode("utf-8", "replace")
        else:
            self.head = raw[skip:]
        self._old_mac = b"\r" in self.head and b"\n" not in self.head
        if self._old_mac:
            self.head = self.head.replace(b"\r", b"\n")
        self._again = self.head

    def _unpacked(self, size: int) -> bytes:
        """More bytes of the file, unpacked where it is packed; what is damaged ends it."""
        if not self.packed:
            return self._file.read(size)
        while True:
            self._waiting = self._waiting or self._file.read(HEAD)
            if not self._waiting:
                if not self._inflate.eof:
                    self._end(f"{self.path} ends in the middle of what is packed")
                return b""
            if self._inflate.eof:  # one packed piece after another is one file
                self._inflate = zlib.decompressobj(31)
            self._taken += len(self._waiting)
            try:
                text = self._inflate.decompress(self._waiting, size)
            except zlib.error:
                if not self._given:
                    raise BadText(f"{self.path} is packed by gzip and damaged: none of it can be unpacked.") from None
                self._end(f"{self.path} is damaged where it is packed; what follows was left out")
                return b""
            self._waiting = self._inflate.unconsumed_tail or self._inflate.unused_data
            self._taken -= len(self._waiting)
            self._given += len(text)
            if self._given > MOST_UNPACKED * self._taken and self._given > 4 * BLOCK:
                raise BadText(f"{self.path} unpacks to more than {MOST_UNPACKED} times its size, as no log does.")
            if text:
                return text

    def _end(self, note: str) -> None:
        self.notes.append(note + ".")
        self._file, self._waiting, self.packed = io.BytesIO(), b"", False


def _encoding(raw: bytes) -> tuple[str, int]:
    """The encoding of a text and how long its mark is; UTF-16 is known without a mark where every other byte is 0."""
    for mark, name in MARKS:
        if raw.startswith(mark):
            return name, len(mark)
    start = raw[:64]
    if len(start) >= 8 and not any(start[1::2]) and all(start[0::2]):
        return "utf-16-le", 0
    if len(start) >= 8 and not any(start[0::2]) and all(start[1::2]):
        return "utf-16-be", 0
    return "utf-8", 0


def blocks(text: Text) -> Iterator[tuple[bytes, bytes, int]]:
    """Whole lines, block by block: the lines, at the end of the file what follows the last of them, lines too long."""
    rest, passed = b"", 0  # what of a line has been read, or how much of one that is too long
    while more := text.read(BLOCK):
        if passed:
            begin = more.find(b"\n") + 1
            passed = 0 if begin else passed + len(more)
            more = more[begin:] if begin else b""
            if passed > LOST:
                text.notes.append(f"what follows a line of more than {LOST >> 20} MB in {text.path} was left out.")
                return
        cut = more.rfind(b"\n") + 1
        if cut:
            yield rest + more[:cut], b"", 0
            rest = more[cut:]
        elif len(rest) + len(more) > LONGEST_LINE:
            rest, passed = b"", len(rest) + len(more)
            yield b"", b"", 1
        else:
            rest += more
    if rest:
        yield b"", rest, 0


def halves(lines: bytes) -> tuple[bytes, bytes] | None:
    """Lines in two parts, about as long; None where they are few, or one is longer than all others."""
    if lines.count(b"\n") <= FEWEST:
        return None
    middle = lines.find(b"\n", len(lines) // 2) + 1
    if middle == len(lines):
        middle = lines.rfind(b"\n", 0, len(lines) // 2) + 1
    return (lines[:middle], lines[middle:]) if 0 < middle < len(lines) else None
