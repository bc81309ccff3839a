"""The Ray executor: what any executor does, and what is of Ray: slots, machines and clusters, and what travels."""

import contextlib
import functools
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.executor import ExecutorContract, Make, answers, check_every_ending
from faults.clusters import descendants, gone, one_machine, slots
from faults.drivers import TARGET
from faults.samples import OBJECTIVE, content, spec, well
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors import ray_slot
from lrcontrol.runs.executors.ray import RayExecutor
from lrcontrol.runs.executors.ray_cluster import Cluster, check_address
from lrcontrol.runs.executors.rooms import Room, sweep
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
TRAIN = "lrcontrol.training.together:carry"


@pytest.fixture(scope="module")
def machine() -> Iterator[Any]:
    with one_machine(2) as cluster:
        yield cluster


on_ray = pytest.mark.usefixtures("machine")


def opened(target: str = TARGET, **options: Any) -> contextlib.closing[RayExecutor]:
    return contextlib.closing(RayExecutor(target, OBJECTIVE, **({"workers": 2} | options)))


def as_trained(record: Record) -> Any:
    """All of a record but how long it took and what was trained together."""
    return content(msgspec.structs.replace(record, cost=msgspec.structs.replace(record.cost, seconds=0.0, shared=0)))


@pytest.fixture(scope="class")
def long_lived(machine: Any) -> Iterator[RayExecutor]:
    """An executor that all tests of the contract use, one after the other, as it takes seconds to begin."""
    del machine
    with opened() as executor:
        yield executor


class TestRay(ExecutorContract):
    @pytest.fixture
    def make(self, long_lived: RayExecutor) -> Make:
        @contextlib.contextmanager
        def lent() -> Iterator[RayExecutor]:
            try:
                yield long_lived
            finally:
                answers(long_lived, [])

        return lent


@on_ray
def test_every_ending_is_told_and_hurts_no_other() -> None:
    """However a run ends, it and no other is a failed one, as in processes of this machine."""
    with opened(ahead=8, retries=0) as executor:
        check_every_ending(executor)


@on_ray
def test_here_and_on_ray_records_and_files_are_the_same(tmp_path: Path) -> None:
    """One plan, with weights and checkpoints kept and runs that go on from others, serially and on Ray."""
    from lrcontrol.training.loop import train_all

    first = [
        RunSpec(task=task, method=method, base_lr=0.01, total_steps=60, stop_step=30, checkpoint=True)
        for task in ("iris-softmax", "digits-mlp")
        for method in ("sgd:cosine", "adamw:warmup(0.1)+rex")
    ]
    then = [
        msgspec.structs.replace(each, stop_step=60, start=Start(each.id, 30), checkpoint=False, save=True)
        for each in first
    ]
    here, there = tmp_path / "here", tmp_path / "there"
    with contextlib.closing(Serial(functools.partial(train_all, weights=here), OBJECTIVE, ahead=8)) as local:
        found = answers(local, first) | answers(local, then)
    with opened(TRAIN, folder=there, workers=1, ahead=8) as executor:
        on_ray = answers(executor, first) | answers(executor, then)
        lost = msgspec.structs.replace(then[0], start=Start("0" * 20, 30))
        (failed,) = answers(executor, [lost]).values()
        assert "checkpoint of run 00000000000000000000 cannot be read" in (failed.message or "")
    assert {each.outcome for each in found.values()} == {Outcome.FINISHED}
    equal = sum(as_trained(found[run]) == as_trained(on_ray[run]) for run in found)
    assert equal == len(found) == 8
    files = sorted(path.name for path in here.iterdir())
    assert files == sorted(path.name for path in there.iterdir())
    assert len(files) == 3 * 4
    assert all((here / name).read_bytes() == (there / name).read_bytes() for name in files)
    print(f"RELIABILITY records here and on Ray equal={equal}/{len(found)} files={len(files)}")


@on_ray
def test_files_that_cannot_be_kept_are_a_failed_run_that_tells(below_a_file: Path) -> None:
    with opened("faults.sent:keep", workers=1, folder=below_a_file) as executor:
        (failed,) = answers(executor, [well(0)]).values()
    assert failed.outcome is Outcome.FAILED
    assert str(below_a_file) in (failed.message or "")


@on_ray
def test_a_slot_that_is_killed_costs_one_try_of_the_run_it_was_at() -> None:
    with opened(workers=1, retries=0) as executor:
        answers(executor, [well(0)])
        executor.submit(spec(1, task="sleep-60"))
        (slot,) = slots()
        began = [*descendants(slot)]
        os.kill(slot, signal.SIGKILL)
        (failed,) = executor.wait()
        assert (failed.outcome, failed.attempt) == (Outcome.FAILED, 1)
        assert "the Ray actor that hosts runs died" in (failed.message or "")
        assert gone(began) == []
        assert [each.outcome for each in answers(executor, [well(2)]).values()] == [Outcome.FINISHED]
        executor._retries = 1
        executor.submit(well(3, task="sleep-1"))
        os.kill(slots()[0], signal.SIGKILL)
        (again,) = executor.wait()
        assert (again.outcome, again.attempt) == (Outcome.FINISHED, 2)


@on_ray
def test_a_killed_slot_hurts_only_what_it_had_not_answered() -> None:
    """A lot of several runs is carried out again, each alone and as a first try: nobody knows which run it was."""
    short = [RunSpec(task="sleep-0.2", method="sgd:cosine", base_lr=rate, total_steps=5) for rate in (1.0, 2.0, 3.0)]
    with opened(workers=1, ahead=3, divide=lambda specs, *_: [list(specs)], retries=0) as executor:
        for each in short:
            executor.submit(each)
        found = executor.wait()
        os.kill(slots()[0], signal.SIGKILL)
        while executor.running:
            found += executor.wait()
    assert sorted(each.id for each in found) == sorted(each.id for each in short)
    assert {each.attempt for each in found} == {1}


@on_ray
def test_a_late_answer_of_a_slot_that_was_given_up_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot even be ended goes on and answers; its run is answered once, by the second try."""
    with opened(workers=2) as executor:
        answers(executor, [well(0), well(1)])
        monkeypatch.setattr(executor, "_end", lambda _: None)
        executor.submit(well(2, task="sleep-0.5"))
        (zombie,) = (slot for slot in executor._slots if slot.lot)
        assert executor._lost(zombie, "nobody hears of it", 0.0) == []
        (record,) = executor.wait()
        assert (record.outcome, record.attempt) == (Outcome.FINISHED, 2)
        told = executor._here.ray.get(zombie.asked)  # it has answered indeed
        assert Record.from_summary(*told[1][0][:2]).id == record.id
        assert executor.running == []


@on_ray
def test_a_run_that_dies_with_its_machine_is_spared_ten_times(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(workers=1, retries=1) as executor:
        run = well(0)
        assert [executor._again(run, with_machine=True) for _ in range(10)] == [True] * 10
        assert executor._again(run, with_machine=True)
        assert not executor._again(run, with_machine=True)
        assert executor._attempts[run.id] == 12


@on_ray
def test_limits_and_tries_are_those_of_processes(tmp_path: Path) -> None:
    with opened(seconds=0.5, retries=0) as executor:
        found = answers(executor, [spec(0, task="deaf"), well(1)])
    assert "longer than 0.5 s" in (found[spec(0, task="deaf").id].message or "")
    assert found[well(1).id].outcome is Outcome.FINISHED
    with opened("faults.targets:first_try_dies", workers=1, retries=1) as executor:
        (record,) = answers(executor, [well(1, task=str(tmp_path / "mark"))]).values()
    assert (record.outcome, record.attempt) == (Outcome.FINISHED, 2)


@on_ray
def test_close_ends_every_process_of_the_runs_at_once() -> None:
    executor = RayExecutor(TARGET, OBJECTIVE, workers=2)
    answers(executor, [well(0), well(1)])
    executor.submit(spec(0, task="family"))
    until, actors, began, rooms = time.monotonic() + 30, list[int](), list[int](), set[Path]()
    while (len(began) < 2 * 2 + 2 or len(rooms) < 2) and time.monotonic() < until:
        time.sleep(0.1)
        actors = slots()
        began = [pid for slot in actors for pid in (slot, *descendants(slot))]
        held = {Path(os.path.realpath(file)).parent for slot in slots() for file in Path(f"/proc/{slot}/fd").iterdir()}
        rooms = {path for path in held if path.name.startswith("lrcontrol-slot-")}  # others may have some here
    assert len(began) >= 2 * 2 + 2
    assert len(rooms) == 2
    executor.close()
    ours = [pid for pid in began if pid not in actors]
    assert gone(ours, 5) == []
    assert gone(began, 30) == []  # the actors end as Ray ends them, which takes it seconds on a machine that is busy
    until = time.monotonic() + 5
    while any(path.exists() for path in rooms) and time.monotonic() < until:
        sweep("lrcontrol-slot-")  # as the next slot does; what began after `began` was read may take a moment to end
        time.sleep(0.1)
    assert [path for path in rooms if path.exists()] == []


@on_ray
def test_a_users_file_is_sent_with_those_beside_it(tmp_path: Path) -> None:
    """A machine that has not got the files, or others under their names, runs what was sent."""
    (tmp_path / "own.py").write_text("import beside_own\nMADE = beside_own.MADE\n")
    (tmp_path / "beside_own.py").write_text("MADE = 'what was sent'\n")
    with opened("faults.sent:run", workers=1, files=[str(tmp_path / "own.py")]) as executor:
        (tmp_path / "beside_own.py").unlink()
        (tmp_path / "own.py").write_text("MADE = 'what is here'\n")
        (record,) = answers(executor, [well(0, task="what was sent")]).values()
    assert record.outcome is Outcome.FINISHED, record.message


@on_ray
def test_data_that_a_machine_lacks_are_sent_to_its_cache_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Any
) -> None:
    here, there = tmp_path / "here" / "kind" / "a.gz", tmp_path / "there" / "lrcontrol" / "kind" / "a.gz"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"some data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    monkeypatch.setenv("LRCONTROL_DATA", str(tmp_path / "empty"))
    elsewhere = {"kind/a.gz": (str(tmp_path / "gone" / "kind" / "a.gz"), 9)}

    def slot(data: dict[str, tuple[str, int]]) -> ray_slot.Slot:
        limits = {"seconds": None, "memory": None, "retries": 0}
        return ray_slot.Slot(TARGET, msgspec.json.encode(OBJECTIVE), "{}", limits, [], data, False)

    with contextlib.closing(slot(elsewhere)) as lacking:
        assert lacking.next([well(0).to_json()]) == (ray_slot.LACKS, ["kind/a.gz"])
        kind, found = lacking.next([], sent={"kind/a.gz": machine.ray.put(here.read_bytes())})
        assert (kind, len(found)) == (ray_slot.RECORDS, 1)
        assert there.read_bytes() == b"some data"
        assert "LRCONTROL_DATA" not in os.environ
    with contextlib.closing(slot(elsewhere)) as second:
        assert second.next([well(0).to_json()])[0] == ray_slot.RECORDS
    there.unlink()
    with contextlib.closing(slot({"kind/a.gz": (str(here), 9)})) as beside:
        assert beside.next([well(0).to_json()])[0] == ray_slot.RECORDS
        assert os.environ["LRCONTROL_DATA"] == str(tmp_path / "here")
    assert not there.exists()


@on_ray
def test_a_machine_with_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(workers=1) as executor:
        monkeypatch.setattr(ray_slot, "versions", lambda: "lrcontrol 99 on Python 4.0.0")
        executor.submit(well(0))
        with pytest.raises(BadInput, match=r"must have lrcontrol 99 on Python 4\.0\.0, .*got lrcontrol"):
            executor.wait()


@on_ray
def test_a_target_that_cannot_be_imported_is_said() -> None:
    with opened("faults.nowhere:train", workers=1) as executor:
        executor.submit(well(0))
        with pytest.raises(BadInput, match="nowhere"):
            executor.wait()


@on_ray
def test_the_cluster_says_how_many_runs_it_has_place_for() -> None:
    with contextlib.closing(RayExecutor(TARGET, OBJECTIVE)) as executor:
        assert executor.workers == 2
    with contextlib.closing(RayExecutor(TARGET, OBJECTIVE, num_cpus=0.5)) as executor:
        assert executor.workers == 4
    with pytest.raises(BadInput, match=r"`num_cpus` and `num_gpus` .* got 3 and 0, where the most are 2 and"):
        RayExecutor(TARGET, OBJECTIVE, num_cpus=3)
    with pytest.raises(BadInput, match="is connected to Ray at"):
        RayExecutor(TARGET, OBJECTIVE, address="127.0.0.1:1")


@pytest.mark.parametrize("grows", [True, False])
def test_only_a_cluster_that_may_grow_is_waited_for(grows: bool) -> None:
    """One that begins with an executor, in a room of its own, is this machine alone."""

    class Machine:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    cluster = object.__new__(Cluster)
    cluster.ray, cluster._room = Machine, None if grows else Room("lrc-ray-")
    try:
        assert cluster.slots(1, 0, 4) == 4
        if grows:
            assert cluster.slots(1, 1, 4) == 4
        else:
            with pytest.raises(
                BadInput, match="at most what this machine has, got 1 and 1, where the most are 2 and 0;"
            ):
                cluster.slots(1, 1, 4)
        with pytest.raises(BadInput, match="got 3 and 0, where the most are 2 and 0;"):
            cluster.slots(3, 0)
    finally:
        if cluster._room is not None:
            cluster._room.close()


@on_ray
def test_what_a_signal_does_stays_as_it_was() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"workers": 0}, "`workers` must be an integer >= 1, got workers=0"),
        ({"num_cpus": 0}, "`num_cpus` must be a number > 0, got num_cpus=0"),
        ({"num_gpus": -1}, "`num_gpus` must be a number >= 0, got num_gpus=-1"),
        ({"seconds": 0}, "`seconds` must be a number > 0, got seconds=0"),
        ({"memory": "1GB"}, "`memory` must be an integer >= 1, got memory='1GB'"),
        ({"retries": -1}, "`retries` must be an integer >= 0, got retries=-1"),
        ({"ahead": 0}, "`ahead` must be an integer >= 1, got ahead=0"),
        ({"address": "ray://head:10001"}, "`address` must be HOST:PORT"),
        ({"address": ""}, "`address` must be HOST:PORT"),
        ({"files": ["nowhere.py"]}, "the Python file nowhere.py cannot be read"),
        ({"data": {"kind/a": Path("/nowhere/kind/a")}}, "the data file /nowhere/kind/a cannot be read"),
    ],
)
def test_what_is_given_is_checked_before_ray_is_begun(change: dict[str, object], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        RayExecutor(TARGET, OBJECTIVE, **change)  # type: ignore[arg-type]


def test_an_address_where_nothing_answers_is_said_at_once() -> None:
    with socket.socket() as taken:  # bound, and listening to nobody
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = (
            "from lrcontrol.runs.executors.ray import RayExecutor\n"
            "from lrcontrol.runs.record import Objective\n"
            f"RayExecutor('a:b', Objective('loss', 'minimize'), address={address!r})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"must be that of a Ray cluster, got {address}, where nothing answers" in done.stderr


@pytest.mark.parametrize("address", [None, "auto", "head:6379", "10.0.0.1:6379", "[fe80::1]:6379"])
def test_addresses_are_read(address: str | None) -> None:
    assert check_address(address) == address


def test_without_ray_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"not installed; install it with lrcontrol\[ray\]"):
        RayExecutor(TARGET, OBJECTIVE)


def test_ray_is_imported_only_where_it_is_used() -> None:
    code = "import sys, lrcontrol.runs.executors.ray; print([n for n in ('ray', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
