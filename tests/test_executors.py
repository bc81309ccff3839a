"""Executors: the contract, and what only runs in processes of their own can promise."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contracts.executor import ExecutorContract, Make, answers
from faults import targets
from faults.drivers import TARGET
from faults.nursery import TESTS, Nursery, gone, marked
from faults.samples import OBJECTIVE, content, spec
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment of every process that this test begins; workers can import `faults`."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("LRCONTROL_MARK", str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def processes(mark: str) -> Iterator[Processes]:
    del mark
    with closing(Processes(TARGET, OBJECTIVE, workers=2)) as executor:
        yield executor


class TestSerial(ExecutorContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: closing(Serial(targets.run, OBJECTIVE))


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make(self, mark: str) -> Make:
        del mark
        return lambda: closing(Processes(TARGET, OBJECTIVE, workers=2))


def test_training_in_processes_and_in_series_gives_equal_records(mark: str) -> None:
    from lrcontrol.training.loop import train
    from lrcontrol.training.tasks.catalogue import task

    objective = task("diabetes-mlp").objective
    specs = [RunSpec(task="diabetes-mlp", method="adamw:cosine", base_lr=lr, total_steps=20) for lr in (1e-3, 1e4)]
    with closing(Serial(train, objective)) as one:
        here = answers(one, specs)
    with closing(Processes("lrcontrol.training.loop:train", objective, workers=1)) as other:
        there = answers(other, specs)
    for each in specs:
        assert content(here[each.id], seconds=False) == content(there[each.id], seconds=False)


def test_however_a_process_ends_the_record_says_so_and_no_other_run_is_hurt(processes: Processes) -> None:
    ends = [spec(number, task=kind) for number, kind in enumerate(targets.DIES)]
    bystanders = [spec(number) for number in range(len(ends))]
    found = answers(processes, [each for pair in zip(ends, bystanders, strict=True) for each in pair])
    for dead in ends:
        message = found[dead.id].message or ""
        assert found[dead.id].outcome is Outcome.FAILED
        assert targets.DIES[dead.task][1] in message, (dead.task, message)
    for each in bystanders:
        assert content(found[each.id]) == content(targets.answer(each))


def test_what_a_run_prints_closes_or_starts_is_no_part_of_the_drivers_output(
    processes: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    specs = [spec(number, task=kind) for number, kind in enumerate(targets.ANSWERS)]
    found = answers(processes, specs)
    for each in specs:
        assert content(found[each.id]) == content(targets.answer(each)), found[each.id].message
    assert capfd.readouterr() == ("", "")


@linux
def test_the_death_of_a_busy_host_fails_its_run_alone(processes: Processes, mark: str) -> None:
    answers(processes, [spec(0)])
    processes.submit(spec(1, task="sleep-60"))
    (host,) = marked(mark, parent=os.getpid())
    os.kill(host, signal.SIGKILL)
    failed = processes.wait()
    assert failed.outcome is Outcome.FAILED
    assert re.search("hosts runs was ended by signal 9", failed.message or "")
    assert content(answers(processes, [spec(2)])[spec(2).id]) == content(targets.answer(spec(2)))


@linux
def test_the_death_of_an_idle_host_fails_no_run(processes: Processes, mark: str) -> None:
    answers(processes, [spec(0)])
    for host in marked(mark, parent=os.getpid()):
        os.kill(host, signal.SIGKILL)
    time.sleep(0.2)
    for number in (1, 2, 3):
        assert content(answers(processes, [spec(number)])[spec(number).id]) == content(targets.answer(spec(number)))


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_the_whole_study_fails_no_run(processes: Processes, mark: str, number: int) -> None:
    """Who stops a job signals every process; which of them dies first must not become a record."""
    answers(processes, [spec(0)])
    asked = spec(1, task="sleep-0.5")
    processes.submit(asked)
    time.sleep(0.2)
    for pid in marked(mark):
        os.kill(pid, number)
    assert content(processes.wait()) == content(targets.answer(asked))


@pytest.mark.parametrize("target", ["faults.nowhere:run", "faults.targets:nowhere", "faults", "", "::"])
def test_a_target_that_cannot_be_imported_is_an_error_and_no_record(mark: str, target: str) -> None:
    with closing(Processes(target, OBJECTIVE, workers=1)) as executor:
        executor.submit(spec(0))
        with pytest.raises(BadInput, match=r"`target` must be a function that can be imported, got .*Error"):
            executor.wait()


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_workers_must_be_a_number_of_processes(workers: object) -> None:
    with pytest.raises(BadInput, match="`workers` must be an integer >= 1"):
        Processes(TARGET, OBJECTIVE, workers=workers)  # type: ignore[arg-type]


def test_ctrl_c_is_no_ending_of_a_serial_run() -> None:
    executor = Serial(targets.run, OBJECTIVE)
    executor.submit(spec(0, task="keyboard-interrupt"))
    with pytest.raises(KeyboardInterrupt):
        executor.wait()


@linux
def test_close_leaves_no_process(processes: Processes, mark: str) -> None:
    answers(processes, [spec(0), spec(1)])
    for number in range(2):
        processes.submit(spec(number, task="sleep-60"))
    assert len(marked(mark)) >= 2
    processes.close()
    assert gone(mark, seconds=2)


@linux
def test_no_worker_outlives_its_driver(tmp_path: Path) -> None:
    """Killed in the middle of runs, or while its workers are still starting."""
    with Nursery("faults.drivers", mark=str(tmp_path)) as nursery:
        driver = nursery.begin("faults.drivers:hold", 3, out=tmp_path / "told")
        until = time.monotonic() + 60
        while driver.out.read_bytes() != b"ready\n" and time.monotonic() < until:
            time.sleep(0.02)
        assert len(marked(str(tmp_path))) == 6  # three hosts, three runs
        driver.send(signal.SIGKILL)
        driver.end()
        assert gone(str(tmp_path), seconds=10)
        for delay in (0.01, 0.1, 0.3):
            driver = nursery.begin("faults.drivers:hold", 3, out=tmp_path / "told")
            time.sleep(delay)
            driver.send(signal.SIGKILL)
            driver.end()
            assert gone(str(tmp_path), seconds=10)


def test_packed_bytes_of_a_failed_record_read_back(processes: Processes) -> None:
    processes.submit(spec(0, task="surrogates"))
    failed = processes.wait()
    assert Record.from_summary(*failed.packed()).message == failed.message
