"""A driver that carries out a plan on Ray: python -m faults.ray_driver STORE RUNS SECONDS ADDRESS.

It says a line on stdout for every record that is kept, and a sentence on stderr where the cluster is lost.
"""

import contextlib
import os
import sys
from pathlib import Path

from faults.samples import OBJECTIVE, spec
from lrcontrol.errors import ClusterLost
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.executors.ray import RayExecutor
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan

BUDGET = Budget(steps=10_000_000, full_steps=100)


def runs(count: int, seconds: float) -> tuple[RunSpec, ...]:
    """So many runs of so many seconds, all answered by a finished one."""
    return tuple(spec(5 * number, task=f"sleep-{seconds}") for number in range(count))


def say(record: Record) -> None:
    """Tell of a record that is kept."""
    os.write(1, f"{record.id}\n".encode())


def main(path: str, count: str, seconds: str, address: str) -> int:
    """Carry out what is left of the plan."""
    try:
        with (
            Store(Path(path)) as store,
            contextlib.closing(
                RayExecutor(
                    "faults.targets:run",
                    OBJECTIVE,
                    address=None if address == "own" else address,
                    workers=2,
                    retries=30,
                )
            ) as executor,
        ):
            carry_out(Plan(runs(int(count), float(seconds))), executor, store, BUDGET, seen=say)
    except ClusterLost as error:
        os.write(2, f"lost: {error}\n".encode())
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
