"""A stand-in for training that ends in every way a run can, told by the seed of its spec."""

import os
import signal
import sys
import time

from faults.samples import record
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["ENDINGS", "train"]


class Unspeakable(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def _raise(error: BaseException) -> None:
    raise error


def _flood() -> None:
    for _ in range(200):
        sys.stdout.write("x" * 1_000_000)
    raise ValueError("after the flood")


ENDINGS = {
    "exception": (lambda: _raise(ValueError("a plain reason")), "a plain reason"),
    "two arguments": (lambda: _raise(KeyError("one", "two")), "KeyError"),
    "unspeakable": (lambda: _raise(Unspeakable()), "Unspeakable"),
    "long message": (lambda: _raise(ValueError("y" * 10_000_000)), "ValueError"),
    "lone surrogate": (lambda: _raise(ValueError("\ud800")), "ValueError"),
    "system exit": (lambda: sys.exit(3), "SystemExit"),
    "interrupt": (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
    "memory": (lambda: _raise(MemoryError()), "MemoryError"),
    "recursion": (lambda: _raise(RecursionError("deep")), "RecursionError"),
    "exit": (lambda: os._exit(7), "exit status 7"),
    "exit 0": (lambda: os._exit(0), "exit status 0"),
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    "segfault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
    "abort": (os.abort, "SIGABRT"),
    "flood": (_flood, "after the flood"),
}
"""What a run does, and a word that its record must say, by name."""


def train(spec: RunSpec) -> Record:
    """End as number `seed` of ENDINGS, or well where there is none of that number."""
    if spec.seed < len(ENDINGS):
        list(ENDINGS.values())[spec.seed][0]()
    time.sleep(0.01)
    return record(0, spec=spec)
