"""Archives of data: read member by member in memory; whatever they hold, nothing is written and nothing is large."""

import gzip
import io
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrcontrol.errors import DataDamaged
from lrcontrol.training.tasks import formats

LARGEST = 1 << 24  # here, so that what is too large is soon made
NAMES = (
    "../up", "../../up", "/absolute", "a/../../up", "..\\up", "C:\\up", "~/up", "a/./b", "a//b", ".", "..", "nul\x01",
    "-rf", "a" * 200, "é/ü", "%2e%2e/up",
)  # fmt: skip


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return kept.getvalue()


def tarred(*members: tuple[str, bytes, bytes, str]) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        for name, content, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, link, len(content), 0o6777
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(kept.getvalue(), 1)


def lying_zip() -> bytes:
    """A member that says it has 3 bytes and has a million."""
    content = bytearray(zipped(("a", bytes(1_000_000)), method=zipfile.ZIP_DEFLATED))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + at, 3)
    return bytes(content)


def archives() -> Iterator[tuple[str, bytes, str | None]]:
    """Name, content, and what is said of it; None where its plain files can be read."""
    for place, name in enumerate(NAMES):
        yield f"slip{place}.zip", zipped((name, b"mine")), None
        yield f"slip{place}.tar.gz", tarred((name, b"mine", tarfile.REGTYPE, "")), None
    kinds = {
        "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE, "folder": tarfile.DIRTYPE,
    }  # fmt: skip
    for kind, code in kinds.items():
        yield f"{kind}.tar.gz", tarred(("a", b"", code, "/etc/passwd"), ("b", b"mine", tarfile.REGTYPE, "")), None
    twice = ("a", b"1", tarfile.REGTYPE, ""), ("a", b"2", tarfile.REGTYPE, "")
    yield "twice.tar.gz", tarred(*twice), "twice"
    with pytest.warns(UserWarning, match="Duplicate"):
        yield "twice.zip", zipped(("a", b"1"), ("a", b"2")), "twice"
    yield "lying.zip", lying_zip(), "cannot be read"
    yield "bomb.tar.gz", gzip.compress(bytes(4 * LARGEST), 9), "more than"
    yield "huge.zip", _told_to_be_huge(), "more than"
    yield "torn.tar.gz", tarred(("a", bytes(5000), tarfile.REGTYPE, ""))[:40], "cannot be read"
    yield "torn.zip", zipped(("a", bytes(5000)))[:2000], "cannot be read"
    yield "other.tar.gz", gzip.compress(b"no tar at all" * 100), "cannot be read"
    yield "other.zip", b"no zip at all" * 100, "cannot be read"


def _told_to_be_huge() -> bytes:
    content = bytearray(zipped(*((f"{each}", b"x") for each in range(8))))
    at = content.index(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<I", content, at + 24, 1 << 29)
        at = content.find(b"PK\x01\x02", at + 1)
    return bytes(content)


def test_archives_are_read_in_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setattr(formats, "LARGEST", LARGEST)
    count = read = refused = 0
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content, said in archives():
        count += 1
        try:
            found = list(formats.members(name, content))
        except DataDamaged as error:
            refused += said is not None and said in str(error) and name in str(error)
        else:
            read += said is None and [member for _, member in found] == [b"mine"]
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    print(
        f"RELIABILITY X11 archives={count} read={read} refused={refused} written={len(written)} "
        f"seconds={seconds:.1f} grown_gigabytes={grown:.2f}"
    )
    assert (read + refused, written) == (count, [])
    assert count >= 30
