"""Executors: every run answers once, and how one ends is no other's concern."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.executor import ExecutorContract, Make, answers, check_every_ending
from faults import targets
from faults.drivers import TARGET
from faults.nursery import Nursery, gone, marked
from faults.samples import OBJECTIVE, spec, well
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors.lots import Lots, by_beginnings, by_gain, by_seconds, why_alone
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.record import Cost, Outcome, Record
from lrcontrol.runs.spec import RunSpec


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def closing(executor: Serial | Processes) -> contextlib.AbstractContextManager[Serial | Processes]:
    return contextlib.closing(executor)


class TestSerial(ExecutorContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: closing(Serial(targets.run, OBJECTIVE))


class TestSerialAhead(ExecutorContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: closing(Serial(targets.run, OBJECTIVE, ahead=5))


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: closing(Processes(TARGET, OBJECTIVE, workers=2))


class TestProcessesAhead(ExecutorContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: closing(Processes(TARGET, OBJECTIVE, workers=2, ahead=4))


@pytest.fixture(params=[1, 8], ids=["alone", "ahead"])
def executor(request: pytest.FixtureRequest) -> Iterator[Processes]:
    with closing(Processes(TARGET, OBJECTIVE, workers=2, ahead=request.param, retries=0)) as made:
        yield made  # type: ignore[misc]


def test_every_ending_is_told_and_hurts_no_other(executor: Processes) -> None:
    """However a run ends, it and no other is a failed one; the others, before and after, answer."""
    check_every_ending(executor)


def test_a_run_whose_process_died_is_tried_again_and_its_record_tells(tmp_path: Path) -> None:
    """What only the first try does (a machine short of memory) costs no run; the record tells which try it was."""
    with closing(Processes("faults.targets:first_try_dies", OBJECTIVE, workers=1, retries=2)) as executor:
        found = answers(executor, [well(number, task=str(tmp_path / f"{number}")) for number in (1, 2)])
    assert {(each.outcome, each.attempt) for each in found.values()} == {(Outcome.FINISHED, 2)}
    with closing(Processes(TARGET, OBJECTIVE, workers=1, retries=2)) as executor:
        (lost,) = answers(executor, [spec(1, task="sigkill")]).values()
    assert lost.outcome is Outcome.FAILED
    assert lost.attempt == 3
    assert "probably out of memory (3 attempts)" in (lost.message or "")


@pytest.mark.parametrize("kind", sorted(targets.HANGS))
def test_a_run_that_hangs_is_ended_in_time_with_all_it_began(kind: str) -> None:
    mark = f"hang-{kind}-{os.getpid()}"
    os.environ["LRCONTROL_MARK"] = mark
    try:
        with closing(Processes(TARGET, OBJECTIVE, workers=2, seconds=0.5)) as executor:
            began = time.monotonic()
            found = answers(executor, [spec(0, task=kind), well(1), well(2)])
            took = time.monotonic() - began
    finally:
        del os.environ["LRCONTROL_MARK"]
    hung = found[spec(0, task=kind).id]
    assert hung.outcome is Outcome.FAILED
    assert "longer than 0.5 s" in (hung.message or "")
    assert [found[well(number).id].outcome for number in (1, 2)] == [Outcome.FINISHED] * 2
    assert took < 15
    assert gone(mark, 5), marked(mark)


def test_a_run_that_takes_too_much_memory_is_ended_and_hurts_no_other() -> None:
    with closing(Processes(TARGET, OBJECTIVE, workers=1, memory=400 << 20, retries=1)) as executor:
        found = answers(executor, [spec(0, task="greedy"), well(1)])
    greedy = found[spec(0, task="greedy").id]
    assert greedy.outcome is Outcome.FAILED
    assert f"used more than {400 << 20} bytes of memory" in (greedy.message or "")
    assert greedy.attempt == 2
    assert found[well(1).id].outcome is Outcome.FINISHED


def test_a_killed_host_costs_one_try_and_the_executor_goes_on() -> None:
    with closing(Processes(TARGET, OBJECTIVE, workers=1, retries=0)) as executor:
        answers(executor, [spec(0)])
        while executor._hosts[0].busy:  # until the end of its lot is told
            executor._fill()
        host = executor._hosts[0].process.pid
        os.kill(host, signal.SIGSTOP)
        executor.submit(spec(1))
        executor._fill()
        os.kill(host, signal.SIGKILL)
        assert executor.wait()[0].outcome is Outcome.FAILED
        assert [each.outcome for each in answers(executor, [well(2)]).values()] == [Outcome.FINISHED]


def test_a_late_answer_of_an_ended_run_is_never_taken() -> None:
    """A process that is stopped until its time is over and then goes on answers nobody: its run was given up."""
    with closing(Processes(TARGET, OBJECTIVE, workers=1, seconds=0.4)) as executor:
        found = answers(executor, [spec(number, task="stops-itself") for number in range(3)])
        assert {each.outcome for each in found.values()} == {Outcome.FAILED}
        assert [each.outcome for each in answers(executor, [well(9)]).values()] == [Outcome.FINISHED]


def test_a_run_outlives_the_thread_that_submitted_it() -> None:
    """Notebooks and servers submit from threads that end."""
    with closing(Processes(TARGET, OBJECTIVE, workers=1)) as executor:
        thread = threading.Thread(target=lambda: executor.submit(well(0)))
        thread.start()
        thread.join()
        assert executor.wait()[0].outcome is Outcome.FINISHED


def test_close_leaves_no_process() -> None:
    executor = Processes(TARGET, OBJECTIVE, workers=2)
    for number in range(2):
        executor.submit(spec(number))
    hosts = [host.process for host in executor._hosts]
    executor.close()
    assert [host.poll() for host in hosts] == [-signal.SIGKILL] * 2


def test_a_target_that_cannot_be_imported_is_said_at_once() -> None:
    with closing(Processes("faults.nowhere:train", OBJECTIVE, workers=1)) as executor:
        executor.submit(spec(0))
        with pytest.raises(BadInput, match="nowhere"):
            executor.wait()


def test_hosts_and_runs_end_with_their_driver(tmp_path: Path) -> None:
    mark = f"driver-{os.getpid()}"
    with Nursery("faults.drivers", mark=mark) as nursery:
        driver = nursery.begin("faults.drivers:hold", 2, out=tmp_path / "out")
        for _ in range(600):
            if (tmp_path / "out").read_text() and len(marked(mark)) >= 4:
                break
            time.sleep(0.05)
        assert len(marked(mark)) >= 4  # two hosts, and a run of each
        driver.send(signal.SIGKILL)
        assert gone(mark), marked(mark)


def test_a_host_whose_driver_is_gone_says_nothing() -> None:
    """Not even a traceback of the pipe that nobody reads; and it ends."""
    for target in (TARGET, "faults.nowhere:train"):
        asked, answers = os.pipe(), os.pipe()
        os.close(answers[0])
        lot = {"specs": [json.loads(spec(0).to_json())], "memory": None}
        os.write(asked[1], json.dumps(lot).encode() + b"\n")
        os.close(asked[1])
        host = [sys.executable, "-P", "-m", "lrcontrol.runs.executors.worker", target, "[]", "{}"]
        pipes = (asked[0], answers[1])
        done = subprocess.run(
            [*host, *map(str, pipes)], pass_fds=pipes, start_new_session=True, capture_output=True, timeout=60
        )
        for pipe in pipes:
            os.close(pipe)
        assert done.stderr == b""


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"workers": 0}, "`workers` must be an integer >= 1, got workers=0"),
        ({"seconds": 0}, "`seconds` must be a number > 0, got seconds=0"),
        ({"memory": "1GB"}, "`memory` must be an integer >= 1, got memory='1GB'"),
        ({"retries": -1}, "`retries` must be an integer >= 0, got retries=-1"),
        ({"ahead": 0}, "`ahead` must be an integer >= 1, got ahead=0"),
    ],
)
def test_limits_are_checked_at_once(change: dict[str, object], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        Processes(TARGET, OBJECTIVE, **change)  # type: ignore[arg-type]


def cooldown(end: float, base_lr: float = 0.1) -> RunSpec:
    method = f"sgd:constant(share=0.8)+linear(start=1, end={end})"
    return RunSpec(task="digits-mlp", method=method, base_lr=base_lr, total_steps=100)


def nobody_knows(_: RunSpec) -> float | None:
    return None


def test_runs_that_share_their_beginnings_are_a_lot_and_others_are_alone() -> None:
    shared = [cooldown(end / 10) for end in range(4)]
    others = [RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=rate, total_steps=100) for rate in (1.0, 2.0)]
    lots = by_beginnings([shared[0], others[0], *shared[1:], others[1]], 2, nobody_knows)
    assert sorted(map(len, lots)) == [1, 1, 4]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_one_tree_is_divided_among_workers_that_would_have_nothing_to_do(workers: int) -> None:
    lots = by_beginnings([cooldown(end / 10) for end in range(8)], workers, nobody_knows)
    assert len(lots) == workers
    assert sum(map(len, lots)) == 8
    assert max(map(len, lots)) - min(map(len, lots)) <= 1


def test_what_cannot_be_trained_at_once_is_a_lot_of_its_own_and_keeps_no_other_from_it() -> None:
    able = [
        RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=rate, total_steps=100) for rate in (1.0, 2.0, 3.0)
    ]
    others = [
        "adamw:cosine*l4",
        "schedulefree_sgd:constant",
        "adamw:hypergradient",
        "prodigy:linear",
        "adamw:clip(rex, 1)",
    ]
    apart = [RunSpec(task="digits-mlp", method=each, base_lr=1.0, total_steps=100) for each in others]
    assert [why_alone(spec) is None for spec in [*able, *apart]] == [True] * 3 + [False] * 5
    lots = by_gain([able[0], *apart, *able[1:]], 1, nobody_knows, gain=4.0)
    assert sorted(map(len, lots)) == [1] * 5 + [3]
    assert able in lots


def test_short_runs_are_put_together_to_half_a_second() -> None:
    specs = [cooldown(0.0, base_lr) for base_lr in range(1, 41)]
    assert [len(lot) for lot in by_seconds(specs, 2, lambda _: 0.1)] == [5] * 8
    assert [len(lot) for lot in by_seconds(specs, 2, lambda _: 0.001)] == [20, 20]
    assert [len(lot) for lot in by_seconds(specs, 2, lambda _: 2.0)] == [1] * 40


def test_what_waits_is_divided_anew_when_it_is_known_how_long_runs_take() -> None:
    lots = Lots(by_beginnings, workers=2)
    specs = [cooldown(0.0, base_lr) for base_lr in range(1, 22)]
    for each in specs:
        lots.add(each)
    (first,) = lots.take()
    lots.saw(Record(spec=first, outcome=Outcome.FINISHED, objective=OBJECTIVE, cost=Cost(100, 0.05)))
    assert len(lots.take()) == 10
    assert len(lots.waiting) == 10
