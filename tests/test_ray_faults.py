"""Machines, workers, drivers and Ray itself end in the middle of a study; its records stay, and each is there once."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from faults import ray_faults
from faults.ray_faults import Survived

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


def check(name: str, found: Survived, ended: int) -> None:
    figures = " ".join(f"{field}={value}" for field, value in found._asdict().items() if field != "seconds")
    print(f"RELIABILITY {name} {figures}")
    assert (found.ended, found.lost, found.doubled) == (ended, 0, 0)


def test_machines_that_end_cost_no_run_and_double_none(tmp_path: Path) -> None:
    found = ray_faults.node_deaths(tmp_path)
    check("ray-nodes", found, 3)
    assert found.again >= 3  # what was under way there


def test_killed_workers_cost_no_run(tmp_path: Path) -> None:
    check("ray-workers", ray_faults.worker_kills(tmp_path), 20)


def test_a_killed_driver_leaves_no_process_and_its_plan_is_gone_on_with(tmp_path: Path) -> None:
    check("ray-drivers", ray_faults.driver_kills(tmp_path), 5)


@pytest.mark.parametrize(("what", "said"), [("gcs_server", "nothing answers at"), ("raylet", "no longer part of it")])
def test_a_cluster_that_is_gone_is_one_sentence_and_the_plan_is_gone_on_with(
    tmp_path: Path, what: str, said: str
) -> None:
    found, sentence = ray_faults.cluster_ends(tmp_path, what)
    assert said in sentence
    check(f"ray-{what}", found, 1)


def test_one_plan_gives_the_same_records_and_files_here_and_on_ray(tmp_path: Path) -> None:
    tried, differ = ray_faults.same_records(tmp_path)
    print(f"RELIABILITY ray-same tried={tried} other={differ}")
    assert tried >= 48
    assert differ == 0


def test_a_cluster_of_its_own_is_silent_asks_for_a_token_and_leaves_nothing(tmp_path: Path) -> None:
    """Nothing but what the caller prints comes on stdout, also where workers die, and no file or process stays."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
os.environ["PYTHONPATH"] = sys.path[0]
from faults.clusters import descendants, gone, slots
from faults.samples import OBJECTIVE, spec
from lrcontrol.runs.executors.ray import RayExecutor
executor = RayExecutor("faults.targets:run", OBJECTIVE, workers=1)
executor.submit(spec(5, task="sleep-3"))
while not slots(): executor._ready() and [executor._heard(s) for s in executor._slots]
executor._fill()
os.kill(slots()[0], signal.SIGKILL)
(record,) = executor.wait()
from ray._raylet import get_authentication_mode
mode, began = get_authentication_mode(), list(descendants())
executor.close()
names = [n for n in os.environ if n.startswith(("RAY_AUTH", "RAY_USAGE", "RAY_IGNORE"))]
print(record.attempt, int(mode), len(began) > 3, gone(began), names)
"""
    before = set(Path("/tmp").glob("lrc*"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "2 1 True [] []\n", done.stderr
    assert done.stderr == ""
    assert set(Path("/tmp").glob("lrc*")) - before == set()
