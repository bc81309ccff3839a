"""Runners: what `make reliability` tries at length, tried a little."""

from pathlib import Path

import pytest

from faults import runners


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_way_to_hang_is_ended_and_hurts_no_other() -> None:
    found = runners.hang(1)
    assert found.counted == (5, 5, 0)
    assert found.gone
    assert found.late < 20


def test_an_answer_that_comes_late_is_not_taken() -> None:
    assert runners.come_late(4) == (4, 4, 0)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_an_interrupt_loses_nothing_and_leaves_nothing(twice: bool, tmp_path: Path) -> None:
    found = runners.interrupt(tmp_path, 4, twice=twice, seed=4)
    assert (found.lost, found.left, found.other) == (0, 0, 0)
    assert found.slowest < 10


def test_a_killed_race_makes_the_same_decisions(tmp_path: Path) -> None:
    assert runners.kill_races(tmp_path, 5, seed=5) == (5, True)
