"""Ray for tests: a cluster of this machine's, one of several machines that are processes, and what is left of them."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
SLOT, HOST = "ray::Slot", "lrcontrol.runs.executors.worker"


def processes(*words: str) -> list[int]:
    """The ids of all processes whose command has one of these words."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=1) for line in listed.splitlines() if any(word in line for word in words)]
    return [int(pid) for pid, *_ in found]


def descendants(of: int | None = None) -> dict[int, str]:
    """The processes that descend from one, by default this one, and their commands."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    parents = {
        int(pid): (int(parent), args) for pid, parent, args in (li.split(maxsplit=2) for li in listed.splitlines())
    }
    found: dict[int, str] = {}
    around = {os.getpid() if of is None else of}
    while around:
        around = {pid for pid, (parent, _) in parents.items() if parent in around and pid not in found}
        found |= {pid: parents[pid][1] for pid in around}
    return found


def slots(of: int | None = None) -> list[int]:
    """The actors that descend from a process."""
    return [pid for pid, command in descendants(of).items() if command.startswith(SLOT)]


def gone(pids: list[int], seconds: float = 10) -> list[int]:
    """Those of some processes that are still there after a while."""
    until = time.monotonic() + seconds
    while (left := [pid for pid in pids if _lives(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def one_machine(cpus: int = 2) -> Iterator[Any]:
    """This process connected to a Ray of its own; it is gone at the end."""
    from lrcontrol.runs.executors.ray_cluster import Cluster

    os.environ["PYTHONPATH"] = str(TESTS)  # the machines' processes find what runs are made of
    cluster = Cluster(None, cpus)
    try:
        yield cluster
    finally:
        began = list(descendants())
        cluster.close()
        assert not gone(began), began


@contextlib.contextmanager
def several_machines(count: int, cpus: int = 2) -> Iterator[Any]:
    """A head without processors, which this process is connected to, and so many machines beside it."""
    from lrcontrol.runs.executors.ray_cluster import TOKEN
    from lrcontrol.runs.executors.ray_cluster import Cluster as Connection

    os.environ.update(RAY_AUTH_TOKEN=TOKEN, RAY_AUTH_MODE="token", PYTHONPATH=str(TESTS))
    import ray
    from ray.cluster_utils import Cluster

    store = 100 << 20
    head = {"num_cpus": 0, "object_store_memory": store, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=cpus, object_store_memory=store)
        connection = Connection(cluster.address, 0)
        yield cluster
        connection.close()
    finally:
        began = list(descendants())
        ray.shutdown()
        cluster.shutdown()
        assert not gone(began), began
