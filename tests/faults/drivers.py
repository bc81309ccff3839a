"""Programs that hold an executor, for tests that end them."""

import os
import time

from faults.samples import OBJECTIVE, spec
from lrcontrol.runs.executors.processes import Processes

TARGET = "faults.targets:run"


def hold(workers: int) -> None:
    """Keep all slots at work for a minute; one line on stdout once a first run of each has been answered."""
    executor = Processes(TARGET, OBJECTIVE, workers=workers)
    for number in range(workers):
        executor.submit(spec(number))
    for _ in range(workers):
        executor.wait()
    for number in range(workers):
        executor.submit(spec(number, task="sleep-60"))
    os.write(1, b"ready\n")
    time.sleep(60)
