"""Who shares a store with others waits its turn, is told when that is long, and gets its turn."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from itertools import accumulate, cycle
from pathlib import Path

import pytest

from faults.samples import content, record
from faults.writers import shares
from lrcontrol.errors import StoreError
from lrcontrol.runs.storage import waiting
from lrcontrol.runs.store import Store

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
connection.execute("SELECT * FROM runs").fetchone()
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


class Stranger:
    """A process of another program that holds a lock on a file for some seconds."""

    def __init__(self, path: Path, kind: str = "EXCLUSIVE", seconds: float = 60) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), kind, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux tells who holds a lock")
def test_who_holds_the_lock_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """First a warning, then an error, both with the process; afterwards all goes on."""
    path = tmp_path / "runs.db"
    with Store(path) as store:
        store.add(record(0))
        with Stranger(path) as stranger:
            named = rf"process {stranger.process.pid} \(python[\w.]*\)"
            for use in (
                lambda: store.add(record(1)),
                store.records,
                lambda: Store(path),
                lambda: store.record(record(0).id),
            ):
                with (
                    pytest.warns(RuntimeWarning, match=f"is locked by {named}; waiting for it up to 0.5 s"),
                    pytest.raises(StoreError, match=f"{named} has held its lock for 0.5 s; stop it, or"),
                ):
                    use()
        assert store.add(record(1))
        assert store.records().ids == [record(0).id, record(1).id]
    with Store(path) as store:
        assert content(store.record(record(1).id)) == content(record(1))


@pytest.mark.usefixtures("impatient")
def test_without_the_system_s_word_it_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    with Store(path) as store, Stranger(path):
        monkeypatch.setattr(waiting.os, "stat", lambda _: (_ for _ in ()).throw(OSError()))
        with (
            pytest.warns(RuntimeWarning, match="locked by another process"),
            pytest.raises(StoreError, match="another process has held its lock"),
        ):
            store.add(record(1))


def test_a_lock_that_is_let_go_in_time_is_waited_for(tmp_path: Path) -> None:
    """Whether the stranger writes, or reads and so holds a commit up."""
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for number, kind in enumerate(("EXCLUSIVE", "IMMEDIATE", "DEFERRED")):
            with Stranger(path, kind, 0.4):
                assert store.add(record(number))
        assert len(store.records()) == 3


def test_an_interrupt_ends_the_waiting_and_keeps_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store(path) as store:
        store.add(record(0))
        with Stranger(path):
            timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                store.add(record(1))
            assert time.monotonic() - began < 10
        assert store.records().ids == [record(0).id]
        assert store.add(record(1))


def test_no_writer_is_starved(tmp_path: Path) -> None:
    """Eight of them side by side; a fair share is 12.5 %."""
    found = shares(tmp_path / "runs.db", 8, 2.0)
    print(f"RELIABILITY writers=8 least_share={found[0]:.3f} largest_share={found[-1]:.3f}")
    assert found[0] >= 0.05


def test_jumps_of_the_clock_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand jumps of the wall clock: the file is the same to the byte, and its order that of the numbers."""

    def written(path: Path) -> bytes:
        with Store(path) as store:
            for number in range(1000):
                time.time()
                if number % 20 == 0:
                    store.add(record(number))
                else:
                    assert len(store.records()) == number // 20 + 1
            assert store.records().ids == [record(number).id for number in range(0, 1000, 20)]
        return path.read_bytes()

    still = written(tmp_path / "still.db")
    now = accumulate(cycle((3600.0, -3600.0, 400 * 86400.0, -400 * 86400.0, 0.0)))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: next(now))
        jumping = written(tmp_path / "jumping.db")
    assert jumping == still
    print("RELIABILITY clock_jumps=1000 changes=0")


def test_a_batch_that_fails_is_not_kept_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the file nor in what this object remembers."""
    path = tmp_path / "runs.db"
    with Store(path) as store, Store(path) as reader:
        store.add(record(0))
        write, calls = store._layout.write, []

        def failing(connection: sqlite3.Connection, row: tuple[int, str, bytes], columns: bytes) -> None:
            calls.append(row)
            if len(calls) == 3:
                raise sqlite3.OperationalError("as if the disk were gone")
            write(connection, row, columns)

        with monkeypatch.context() as patch:
            patch.setattr(type(store._layout), "write", staticmethod(failing))
            with pytest.raises(StoreError, match="as if the disk were gone"):
                store.add_all([record(number) for number in range(1, 6)])
        for each in (store, reader):
            assert each.records().ids == [record(0).id]
        assert store.add_all([record(number) for number in range(6)]) == [False, *[True] * 5]
        assert reader.records().ids == store.records().ids
