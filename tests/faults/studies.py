"""Studies in processes of their own, killed at any moment and given again until they are done."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

COMMAND = "import sys; from lrcontrol.cli import main; main(sys.argv[1:])"
STUDY = ("select", "breast-cancer-logistic", "--budget", "3runs", "--json")
Rows = dict[int, tuple[str, bytes]]


def begin(folder: Path, *options: str, study: tuple[str, ...] = STUDY) -> subprocess.Popen[str]:
    """Start a study in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *study, "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(folder: Path) -> Rows:
    """The rows of a folder's store: the id and summary (seconds included) under each number."""
    if not (folder / "runs.db").exists():
        return {}
    with sqlite3.connect(folder / "runs.db") as connection:
        found = connection.execute("SELECT number, id, summary FROM runs").fetchall()
    connection.close()
    return {number: (run_id, summary) for number, run_id, summary in found}


class Kills(NamedTuple):
    """What became of a study that was killed again and again."""

    kills: int
    repeated: int
    """Runs that were recorded and then run again, or whose record was changed."""
    answer: dict[str, object]


def answer_of(out: str) -> dict[str, object]:
    """What a study says, without where its files are."""
    return {name: value for name, value in json.loads(out).items() if name not in ("report", "weights")}


def undisturbed(folder: Path, *options: str) -> tuple[dict[str, object], set[str], float]:
    """A study left in peace: its answer, the runs it made, and its seconds."""
    began = time.monotonic()
    process = begin(folder, *options)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return answer_of(out), {run_id for run_id, _ in rows(folder).values()}, time.monotonic() - began


def kill_study(folder: Path, kills: int, seconds: float, seed: int, *options: str) -> Kills:
    """Kill a study `kills` times, at moments spread over `seconds`, each time given again; then let it finish."""
    rng = random.Random(seed)
    repeated, before = 0, rows(folder)
    for _ in range(kills):
        process = begin(folder, *options)
        time.sleep(rng.uniform(0.1, 0.7) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        after = rows(folder)
        repeated += sum(after.get(number) != row for number, row in before.items())
        before = after
    process = begin(folder, *options)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    after = rows(folder)
    repeated += sum(after.get(number) != row for number, row in before.items())
    repeated += len(after) - len({run_id for run_id, _ in after.values()})
    return Kills(kills, repeated, answer_of(out))
