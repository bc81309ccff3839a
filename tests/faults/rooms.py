"""Disks that are full: small file systems in memory where we may mount them, else a limit to the size of files."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faults.samples import content, record
from lrcontrol.errors import StoreError
from lrcontrol.runs.store import Store

TESTS = Path(__file__).parent.parent
ENOUGH = "64m"


def _mount(*arguments: str) -> bool:
    command = ["mount", "-t", "tmpfs", *arguments]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


@contextlib.contextmanager
def room(folder: Path, size: int) -> Iterator[bool]:
    """A folder with room for `size` bytes; False where it cannot be made so."""
    folder.mkdir()
    made = os.geteuid() == 0 and _mount("-o", f"size={size}", "none", str(folder))
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", str(folder)], check=True)


class Filled(NamedTuple):
    """What became of a store on a full disk.

    Args:
        kept: records that were acknowledged before it was full.
        sentence: what was said when no more could be kept.
        lost: acknowledged records that were not there after room had been made, or not as they were.
        resumed: whether the rest could then be kept.
    """

    kept: int
    sentence: str
    lost: int
    resumed: bool


def fill(folder: Path) -> Filled:
    """Keep records on a small disk until it is full, make room, and go on."""
    path = folder / "runs.db"
    kept, sentence = 0, ""
    store = None
    try:
        store = Store(path)
        while kept < 2000:
            store.add(record(kept))
            kept += 1
    except StoreError as error:
        sentence = str(error)
    again = store is not None and _mount("-o", f"remount,size={ENOUGH}", "none", str(folder))
    if again and store is not None:  # the very object that met the full disk goes on
        resumed = store.add(record(kept)) and store.add(record(kept + 1))
        store.close()
        return Filled(kept, sentence, _lost(path, kept + 2), resumed)
    _mount("-o", f"remount,size={ENOUGH}", "none", str(folder))
    with Store(path) as another:
        resumed = another.add(record(kept)) and another.add(record(kept + 1))
    return Filled(kept, sentence, _lost(path, kept + 2), resumed)


def _lost(path: Path, count: int) -> int:
    with Store(path) as store:
        told = {each: content(store.record(each)) for each in store.records().ids}
    return sum(told.get(record(number).id) != content(record(number)) for number in range(count))


def fill_limited(folder: Path, size: int) -> Filled:
    """As `fill`, where files may not grow above `size` bytes, in a process of its own."""
    path = folder / "runs.db"
    command = [sys.executable, "-m", "faults.rooms", str(path), str(size)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    kept, _, sentence = done.stdout.strip().partition(" ")
    with Store(path) as store:
        resumed = store.add(record(int(kept))) and store.add(record(int(kept) + 1))
    return Filled(int(kept), sentence, _lost(path, int(kept) + 2), resumed)


def main() -> None:
    """Keep records until no more can be kept; print how many there are, and what was said."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    kept = 0
    try:
        with Store(sys.argv[1]) as store:
            while kept < 2000:
                store.add(record(kept))
                kept += 1
    except StoreError as error:
        print(kept, error)


if __name__ == "__main__":
    main()
