"""What a run costs beside its training, on Ray and in processes of this machine: runs that do nothing, in turns.

    python benchmarks/cluster.py [RUNS]

Two slots each, every run in a process of its own; medians of three turns, milliseconds of the wall clock per run.
The seconds that slots take to begin are told apart.
"""

import contextlib
import os
import statistics
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = str(TESTS)

from faults.samples import OBJECTIVE, spec  # noqa: E402 - the tests' helpers are found by the lines above
from lrcontrol.runs.executors.processes import Processes  # noqa: E402
from lrcontrol.runs.executors.ray import RayExecutor  # noqa: E402

TARGET = "faults.targets:run"


def carried_out(executor, numbers):
    todo, began = [spec(number) for number in numbers], time.monotonic()
    while todo or executor.running:
        while todo and executor.room:
            executor.submit(todo.pop())
        executor.wait()
    return time.monotonic() - began


def main(count=300):
    made = {
        "processes": lambda: Processes(TARGET, OBJECTIVE, workers=2),
        "ray": lambda: RayExecutor(TARGET, OBJECTIVE, workers=2),
    }
    with contextlib.ExitStack() as stack:
        opened, turns = {}, {name: [] for name in made}
        for name, make in made.items():
            began = time.monotonic()
            opened[name] = stack.enter_context(contextlib.closing(make()))
            carried_out(opened[name], range(2))
            print(f"{name:10} begins in {time.monotonic() - began:5.1f} s", flush=True)
        for turn in range(3):
            for name, executor in opened.items():
                took = carried_out(executor, range(10 + turn * count, 10 + (turn + 1) * count))
                turns[name].append(1000 * took / count)
    told = {name: statistics.median(found) for name, found in turns.items()}
    each = "  ".join(f"{name} {value:.1f} ms a run" for name, value in told.items())
    print(f"{each}  ({told['ray'] / told['processes']:.2f} times)", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
