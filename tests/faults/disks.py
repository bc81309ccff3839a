"""What a disk may hold after a loss of power: every write of a session recorded, and the disk rebuilt at any moment.

The kernel promises only what was synchronised. A write, a cut or a name in a folder that was not may be on the disk or
not, each for itself; one that was is there.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faults.samples import record
from lrcontrol.errors import StoreError
from lrcontrol.runs.store import Store

TESTS = Path(__file__).parent.parent
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename,mkdir"
SESSION = """
import os, sys
sys.path.insert(0, {tests!r})
from faults.samples import record
from lrcontrol.runs.store import Store
{before}
with Store({path!r}) as store:
    for number in range({count}):
        store.add(record(number))
        os.write(1, b"%d\\n" % number)
"""
WEAKER = """
from lrcontrol.runs.storage import opening
usual = opening.patiently
opening.patiently = lambda connection, path, statement: usual(connection, path, statement.replace("EXTRA", {level!r}))
"""
"""Code that lets a session synchronise less than it should: it shows that this test would tell."""
STRACE = shutil.which("strace")
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of disks are soon made there


class Event(NamedTuple):
    """One thing that a session did.

    Args:
        kind: make, write, cut, remove (which need to be synchronised), sync, sync-names, told (an acknowledgement).
        name: of the file.
        at: offset of a write, length after a cut, number of what was told.
        data: what was written.
    """

    kind: str
    name: str
    at: int = 0
    data: bytes = b""


def recorded(folder: Path, count: int, before: str = "") -> list[Event]:
    """The events of a session that keeps `count` records in `folder`/runs.db and tells each once it is kept."""
    assert STRACE is not None
    log = folder.parent / "calls.log"
    code = SESSION.format(tests=str(TESTS), path=str(folder / "runs.db"), count=count, before=before)
    command = [STRACE, "-xx", "-s", "200000", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c", code]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return list(_events(log.read_text(), folder))


def _text(quoted: str) -> bytes:
    return bytes.fromhex(quoted.replace("\\x", ""))


def _events(log: str, folder: Path) -> Iterator[Event]:
    opened: dict[int, str] = {}
    present: set[str] = set()
    for line in log.splitlines():
        found = re.fullmatch(r"(\w+)\((.*)\) += (-?\d+).*", line)
        if found is None or int(found[3]) < 0:
            continue
        call, inner, result = found[1], found[2], int(found[3])
        strings = [_text(each) for each in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', inner)]
        numbers = [int(each) for each in re.findall(r"(?:^|, )(\d+)(?=,|$)", inner)]
        if call == "openat":
            path = Path(strings[0].decode())
            opened[result] = "." if path == folder else path.name if path.parent == folder else ""
            if opened[result] not in ("", ".") and "O_CREAT" in inner and path.name not in present:
                present.add(path.name)
                yield Event("make", path.name)
        elif call == "unlink" and Path(strings[0].decode()).parent == folder:
            name = Path(strings[0].decode()).name
            present.discard(name)
            yield Event("remove", name)
        elif call == "write" and numbers[0] == 1:
            yield from (Event("told", "", int(each)) for each in strings[0].split())
        elif call in ("pwrite64", "ftruncate", "fsync", "fdatasync", "write") and opened.get(numbers[0]):
            name = opened[numbers[0]]
            if call == "pwrite64":
                assert result == len(strings[0]) == numbers[1], line[:200]
                yield Event("write", name, numbers[2], strings[0])
            elif call == "ftruncate":
                yield Event("cut", name, numbers[1])
            else:
                assert call != "write", "nothing of a store is written in sequence"
                yield Event("sync-names" if name == "." else "sync", name)
        else:
            assert call not in ("rename",) or str(folder).encode() not in strings[0], "a store renames nothing"


Files = dict[str, bytes]


def _applied(files: Files, events: list[Event]) -> Files:
    """The files after some events. What is written to a file whose making was lost is lost with it."""
    files = dict(files)
    for event in events:
        if event.kind == "make":
            files[event.name] = b""
        elif event.kind == "remove":
            files.pop(event.name, None)
        elif event.name in files and event.kind == "write":
            blob = files[event.name].ljust(event.at, b"\0")
            files[event.name] = blob[: event.at] + event.data + blob[event.at + len(event.data) :]
        elif event.name in files and event.kind == "cut":
            files[event.name] = files[event.name][: event.at].ljust(event.at, b"\0")
    return files


class Disk(NamedTuple):
    """What a disk may hold at one moment of a session, and how many records had been acknowledged by then."""

    files: Files
    told: int


def disks(events: list[Event], rng: random.Random, share: float = 1.0) -> Iterator[Disk]:
    """Every prefix of a session; every prefix that lacks one thing, or all, of what was not synchronised.

    Args:
        events: of the session.
        rng: chooses where `share` is below 1.
        share: of the disks that lack something, how many to give.
    """
    steady: Files = {}
    pending: list[Event] = []  # what came after the last moment at which all was synchronised
    safe: set[int] = set()  # places in `pending` that are synchronised
    told = 0
    for event in events:
        if event.kind == "told":
            told = event.at + 1
            continue
        if event.kind in ("sync", "sync-names"):
            for place, each in enumerate(pending):
                names = each.kind in ("make", "remove")
                if names if event.kind == "sync-names" else not names and each.name == event.name:
                    safe.add(place)
        else:
            pending.append(event)
        yield Disk(_applied(steady, pending), told)
        unsure = [place for place in range(len(pending)) if place not in safe]
        for place in unsure:
            if rng.random() < share:
                yield Disk(_applied(steady, [each for at, each in enumerate(pending) if at != place]), told)
        if len(unsure) > 1 and rng.random() < share:
            yield Disk(_applied(steady, [each for at, each in enumerate(pending) if at in safe]), told)
        if not unsure:
            steady, pending, safe = _applied(steady, pending), [], set()


class Crashes(NamedTuple):
    """What became of a session's disks: how many were tried, and how many of them did not hold what they must."""

    writes: int
    disks: int
    different: int
    refused: int
    lost: int
    wrong: int


def crash_everywhere(folder: Path, count: int, seed: int, share: float = 1.0, before: str = "") -> Crashes:
    """Lose power at every write of a session of `count` records; what was acknowledged must be there, and right."""
    (folder / "session").mkdir()
    events = recorded(folder / "session", count, before)
    assert sum(event.kind == "told" for event in events) == count
    packed = [record(number).packed() for number in range(count)]
    expected = [(number + 1, record(number).id, summary) for number, (summary, _) in enumerate(packed)]
    seen: set[bytes] = set()
    place = Path(tempfile.mkdtemp(dir=MEMORY)) / "disk"
    tried = refused = lost = wrong = 0
    for disk in disks(events, random.Random(seed), share):
        tried += 1
        digest = hashlib.sha256(repr((disk.told, sorted(disk.files.items()))).encode()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        place.mkdir()
        for name, content in disk.files.items():
            (place / name).write_bytes(content)
        try:
            with Store(place / "runs.db") as store:
                rows = [*store.records().rows]
                lost += max(disk.told - len(rows), 0)
                columns = [store._layout.columns(store._connection, *row[:2]) for row in rows]
                wrong += rows != expected[: len(rows)] or columns != [block for _, block in packed[: len(rows)]]
        except StoreError:
            refused += 1
        shutil.rmtree(place)
    place.parent.rmdir()
    writes = sum(event.kind not in ("told", "sync", "sync-names") for event in events)
    return Crashes(writes, tried, len(seen), refused, lost, wrong)
