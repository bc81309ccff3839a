"""Executors: every run answers once, and how one ends is no other's concern."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from faults import endings
from faults.samples import OBJECTIVE, spec
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.record import Outcome

TARGET = "faults.endings:train"
WELL = 100  # from this seed on a run ends well


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(params=["serial", "processes"])
def executor(request: pytest.FixtureRequest):
    """Each executor, closed at the end."""
    made = Serial(endings.train, OBJECTIVE) if request.param == "serial" else Processes(TARGET, OBJECTIVE, workers=2)
    yield made
    made.close()


def carry(executor, specs):
    """All records, as they come."""
    todo, found = list(specs), []
    while todo or executor.running:
        while todo and executor.room:
            executor.submit(todo.pop(0))
        found.append(executor.wait())
    return found


def test_every_run_answers_once(executor) -> None:
    asked = [spec(number, seed=WELL + number) for number in range(7)]
    room = executor.room
    found = carry(executor, asked)
    assert sorted(each.id for each in found) == sorted(each.id for each in asked)
    assert {each.outcome for each in found} == {Outcome.FINISHED}
    assert executor.running == []
    assert executor.room == room


def test_a_run_that_raises_is_a_record(executor) -> None:
    found = carry(executor, [spec(0, seed=0), spec(1, seed=WELL)])
    by_seed = {each.spec.seed: each for each in found}
    assert by_seed[0].outcome is Outcome.FAILED
    assert "a plain reason" in by_seed[0].message
    assert by_seed[WELL].outcome is Outcome.FINISHED


def test_every_ending_is_told_and_hurts_no_other() -> None:
    """Fifteen ways to end, and as many runs that end well between them."""
    executor = Processes(TARGET, OBJECTIVE, workers=2)
    kinds = list(endings.ENDINGS)
    asked = [spec(0, seed=seed) for number in range(len(kinds)) for seed in (number, WELL + number)]
    try:
        by_seed = {each.spec.seed: each for each in carry(executor, asked)}
    finally:
        executor.close()
    for number, kind in enumerate(kinds):
        bad = by_seed[number]
        assert bad.outcome is Outcome.FAILED, kind
        assert endings.ENDINGS[kind][1] in bad.message, (kind, bad.message[-300:])
        assert len(bad.message) <= 20_000, kind
        assert by_seed[WELL + number].outcome is Outcome.FINISHED, kind


def test_a_killed_host_is_a_failed_run_and_the_executor_goes_on() -> None:
    executor = Processes(TARGET, OBJECTIVE, workers=1)
    try:
        carry(executor, [spec(0, seed=WELL)])
        host = executor._hosts[0].process.pid
        os.kill(host, signal.SIGSTOP)
        executor.submit(spec(1, seed=WELL))
        os.kill(host, signal.SIGKILL)
        assert executor.wait().outcome is Outcome.FAILED
        assert [each.outcome for each in carry(executor, [spec(2, seed=WELL)])] == [Outcome.FINISHED]
    finally:
        executor.close()


def test_a_run_outlives_the_thread_that_submitted_it() -> None:
    """Notebooks and servers submit from threads that end."""
    executor = Processes(TARGET, OBJECTIVE, workers=1)
    try:
        thread = threading.Thread(target=lambda: executor.submit(spec(0, seed=WELL)))
        thread.start()
        thread.join()
        assert executor.wait().outcome is Outcome.FINISHED
    finally:
        executor.close()


def test_close_leaves_no_process() -> None:
    executor = Processes(TARGET, OBJECTIVE, workers=2)
    for number in range(2):
        executor.submit(spec(number, seed=WELL + number))
    hosts = [host.process for host in executor._hosts]
    executor.close()
    assert [host.poll() for host in hosts] == [-signal.SIGKILL] * 2


def test_a_target_that_cannot_be_imported_is_said_at_once() -> None:
    executor = Processes("faults.nowhere:train", OBJECTIVE, workers=1)
    try:
        executor.submit(spec(0, seed=WELL))
        with pytest.raises(BadInput, match="nowhere"):
            executor.wait()
    finally:
        executor.close()


def test_hosts_end_with_their_driver(tmp_path: Path) -> None:
    """A driver that is killed leaves no host behind for more than seconds."""
    reader, writer = os.pipe()
    driver = os.fork()
    if driver == 0:
        executor = Processes(TARGET, OBJECTIVE, workers=1)
        executor.submit(spec(0, seed=WELL))
        os.write(writer, str(executor._hosts[0].process.pid).encode())
        time.sleep(60)
        os._exit(0)
    host = int(os.read(reader, 20))
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    for _ in range(300):
        state = Path(f"/proc/{host}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the host still runs")
