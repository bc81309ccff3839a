"""What every executor must do; a new one is a line in the list of tests/test_executors.py."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from faults.samples import OBJECTIVE, content, spec, well
from faults.targets import ANSWERS, DIES, RAISES, answer
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors.executor import Executor
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec

Make = Callable[[], AbstractContextManager[Executor]]


def answers(executor: Executor, specs: list[RunSpec]) -> dict[str, Record]:
    """The record of every spec, each answered once, at most as many side by side as there is room for."""
    waiting, found = list(specs), {}
    while waiting or executor.running:
        while waiting and executor.room:
            executor.submit(waiting.pop(0))
        for ended in executor.wait():
            assert ended.id not in found
            found[ended.id] = ended
    return found


def check_every_ending(executor: Executor) -> None:
    """However a run ends, it and no other is a failed one; for executors whose runs have processes."""
    endings = {name: told for name, (_, told) in (RAISES | DIES).items()}
    bad = [spec(number, task=name) for number, name in enumerate(endings)]
    good = [well(number, task=name) for number, name in enumerate([*ANSWERS, *["made-up"] * len(bad)], 100)]
    found = answers(executor, [each for pair in zip(bad, good, strict=False) for each in pair])
    for asked in bad:
        message = found[asked.id].message or ""
        assert found[asked.id].outcome is Outcome.FAILED, asked.task
        assert endings[asked.task] in message, (asked.task, message[-300:])
    assert {found[asked.id].outcome for asked in good[: len(bad)]} == {Outcome.FINISHED}


class ExecutorContract:
    """Inherit, and give a `make` fixture: it opens an executor whose runs are those of `faults.targets:run`."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    @pytest.fixture
    def executor(self, make: Make) -> Iterator[Executor]:
        with make() as opened:
            yield opened

    def test_every_run_is_answered_once(self, executor: Executor) -> None:
        specs = [spec(number) for number in range(7)]
        assert answers(executor, specs).keys() == {each.id for each in specs}

    def test_the_record_is_the_one_that_the_run_returned(self, executor: Executor) -> None:
        specs = [spec(number) for number in range(5)]
        found = answers(executor, specs)
        for each in specs:
            assert content(found[each.id]) == content(answer(each))

    def test_running_and_room_tell_what_is_under_way(self, executor: Executor) -> None:
        room = executor.room
        assert room >= 1
        assert list(executor.running) == []
        for number in range(room):
            executor.submit(spec(number))
            assert executor.room == room - number - 1
            assert {each.id for each in executor.running} == {spec(each).id for each in range(number + 1)}
        ended = executor.wait()
        assert executor.room == len(ended) >= 1
        assert not {each.id for each in ended} & {each.id for each in executor.running}

    def test_a_run_without_room_is_refused_and_changes_nothing(self, executor: Executor) -> None:
        for number in range(executor.room):
            executor.submit(spec(number))
        before = list(executor.running)
        with pytest.raises(BadInput, match="room"):
            executor.submit(spec(100))
        assert list(executor.running) == before

    def test_waiting_for_nothing_is_refused(self, executor: Executor) -> None:
        with pytest.raises(BadInput, match="submit one first"):
            executor.wait()

    def test_whatever_a_run_raises_is_a_failed_record_that_tells(self, executor: Executor) -> None:
        kinds = list(RAISES)
        specs = [spec(number, task=kind) for number, kind in enumerate(kinds)]
        found = answers(executor, specs)
        for asked, kind in zip(specs, kinds, strict=True):
            failed = found[asked.id]
            assert failed.outcome is Outcome.FAILED, kind
            assert RAISES[kind][1] in (failed.message or ""), kind
            assert len(failed.message or "") <= 20_000, kind
            assert failed.objective == OBJECTIVE
            assert failed.cost.steps == asked.updates  # nobody knows how far it came: all is counted

    def test_a_failed_record_can_be_kept(self, executor: Executor) -> None:
        for kind in RAISES:
            executor.submit(spec(0, task=kind))
            (failed,) = executor.wait()
            assert Record.from_summary(*failed.packed()).summary() == failed.summary()

    def test_the_runs_after_a_failed_one_are_as_ever(self, executor: Executor) -> None:
        specs = [spec(0, task="raises"), spec(1), spec(2, task="system-exit"), spec(3)]
        found = answers(executor, specs)
        for number in (1, 3):
            assert content(found[spec(number).id]) == content(answer(spec(number)))

    def test_what_is_withdrawn_was_not_begun_and_the_rest_answers(self, executor: Executor) -> None:
        specs = [spec(number) for number in range(executor.room)]
        for each in specs:
            executor.submit(each)
        before = {each.id for each in executor.running}
        executor.withdraw()
        left = {each.id for each in executor.running}
        assert left <= before
        assert answers(executor, []).keys() == left
        assert answers(executor, [spec(77)]).keys() == {spec(77).id}

    def test_a_closed_executor_holds_no_run_and_closes_again(self, executor: Executor) -> None:
        executor.submit(spec(0))
        executor.close()
        assert list(executor.running) == []
        executor.close()

    def test_a_closed_executor_can_be_used_again(self, executor: Executor) -> None:
        executor.submit(spec(0))
        executor.close()
        assert answers(executor, [spec(1)]).keys() == {spec(1).id}

    def test_records_are_equal_whatever_ran_before(self, executor: Executor) -> None:
        alone = answers(executor, [spec(4)])
        crowd = answers(executor, [spec(number) for number in range(6)])
        assert content(alone[spec(4).id]) == content(crowd[spec(4).id])
