"""A study that is ended at any moment and given again: the same choice, and nothing done twice."""

import os
import signal
import time
from pathlib import Path

import pytest

from faults.studies import begin, kill_study, rows, undisturbed


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], set[str], float]:
    """The study left in peace."""
    return undisturbed(tmp_path_factory.mktemp("peace"), "--executor", "serial")


@pytest.mark.parametrize(("executor", "kills", "seed"), [("serial", 3, 1), ("processes", 3, 2)])
def test_a_killed_study_makes_the_same_choice_and_repeats_no_run(
    executor: str, kills: int, seed: int, peace: tuple[dict[str, object], set[str], float], tmp_path: Path
) -> None:
    """Three kills of the whole group at random moments, with each executor."""
    answer, ids, seconds = peace
    found = kill_study(tmp_path, kills, seconds, seed, "--executor", executor)
    assert found.answer == answer
    assert found.repeated == 0
    assert {run_id for run_id, _ in rows(tmp_path).values()} == ids


def test_an_interrupt_ends_a_study_cleanly_and_says_how_to_go_on(
    peace: tuple[dict[str, object], set[str], float], tmp_path: Path
) -> None:
    """Ctrl-C once: one sentence, status 130, no process left; what was kept is still there."""
    process = begin(tmp_path, "--executor", "processes", "--workers", "2")
    for _ in range(600):  # until the first run is kept
        if rows_or_none(tmp_path) or process.poll() is not None:
            break
        time.sleep(0.1)
    kept = rows(tmp_path)
    os.kill(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert out == ""
    assert error.strip().count("\n") == 0
    assert "the same command again" in error
    assert kept.items() <= rows(tmp_path).items()
    assert not members(process.pid)
    found = kill_study(tmp_path, 0, 0, 0, "--executor", "serial")
    assert found.answer == peace[0]


def rows_or_none(folder: Path) -> object:
    """The rows, or nothing while the file is being made."""
    try:
        return rows(folder)
    except Exception:
        return None


def members(session: int) -> list[str]:
    """Processes of a session or whose parent was in it, from /proc; empty where there is none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(session) and fields[0] != "Z":
            found.append(stat.parent.name)
    return found
