"""What a run can do to the process that carries it out; the task's name says which."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from faults import samples
from lrcontrol.runs.record import Evaluation, Record
from lrcontrol.runs.spec import RunSpec


class TwoArguments(Exception):
    """An exception that cannot be made from its own message, so that it does not survive pickling."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Unprintable(Exception):
    """An exception whose message raises."""

    def __str__(self) -> str:
        raise RuntimeError("not to be printed")


def answer(spec: RunSpec) -> Record:
    """The record of `samples` that has this seed, as if it had been trained."""
    found = samples.record(spec.seed)
    return Record(
        spec=spec,
        outcome=found.outcome,
        objective=found.objective,
        evals=found.evals,
        cost=found.cost,
        columns=found.columns,
        message=found.message,
    )


def kill_with(number: int) -> Callable[[RunSpec], NoReturn]:
    """A run whose process gets a signal."""

    def run(_: RunSpec) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(60)
        raise AssertionError

    return run


def segfault(_: RunSpec) -> Record:
    """Read where nothing is."""
    ctypes.string_at(0)
    raise AssertionError


def raise_it(error: BaseException) -> Callable[[RunSpec], Record]:
    """A run that raises."""

    def run(_: RunSpec) -> Record:
        raise error

    return run


def leave_behind(spec: RunSpec) -> Record:
    """Die without an answer; a child process that goes on holds the pipe on which the answer was to come."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(3)


def flood(spec: RunSpec) -> Record:
    """Write 64 MB on stdout and stderr, then answer."""
    for _ in range(512):
        os.write(1, b"x" * 65536)
        print("y" * 65535, file=sys.stderr)
    subprocess.run(["/bin/echo", "from a child"], check=True)
    return answer(spec)


def close_output(spec: RunSpec) -> Record:
    """Close every stream there is, then print."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return answer(spec)


def run_in_thread(spec: RunSpec) -> Record:
    """Answer while a thread raises and another never ends."""
    threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    return answer(spec)


def swallow(limit_mb: int) -> Callable[[RunSpec], Record]:
    """Ask for more memory than this process may have."""

    def run(_: RunSpec) -> Record:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit_mb << 20, limit_mb << 20))
        raise AssertionError(len(bytearray(limit_mb << 21)))

    return run


def recurse(spec: RunSpec) -> Record:
    """Call itself without end."""
    return recurse(spec)


# Each way of ending, and what the message of the failed record must hold.
RAISES: dict[str, tuple[Callable[[RunSpec], Record], str]] = {
    "raises": (raise_it(ValueError("a bad batch")), "ValueError: a bad batch"),
    "two-arguments": (raise_it(TwoArguments("this", "that")), "TwoArguments: this and that"),
    "unprintable": (raise_it(Unprintable()), "Unprintable: <exception str() failed>"),
    "long-message": (raise_it(ValueError("x" * 10_000_000)), "ValueError: xxx"),
    "surrogates": (raise_it(ValueError("\udc80 alone \ud800")), r"ValueError: \udc80 alone \ud800"),
    "system-exit": (raise_it(SystemExit(0)), "SystemExit: 0"),
    "generator-exit": (raise_it(GeneratorExit()), "GeneratorExit"),
    "recursion": (recurse, "RecursionError"),
    "no-record": (lambda _: None, "must return a Record"),  # type: ignore[dict-item,return-value]
    "other-record": (lambda _: samples.record(999), "must return its own record"),
    "not-finite": (
        lambda spec: samples.record(spec.seed, spec=spec, evals=(Evaluation(1, {"accuracy": float("nan")}),)),
        "must be readable",
    ),
}
DIES: dict[str, tuple[Callable[[RunSpec], Record], str]] = {
    "os-exit": (lambda _: os._exit(7), "exit status 7"),
    "os-exit-0": (lambda _: os._exit(0), "exit status 0 before it answered"),
    "segfault": (segfault, "SIGSEGV"),
    "abort": (kill_with(signal.SIGABRT), "SIGABRT"),
    "sigkill": (kill_with(signal.SIGKILL), "SIGKILL), probably out of memory"),
    "sigterm": (kill_with(signal.SIGTERM), "SIGTERM"),
    "real-time-signal": (kill_with(40), "signal 40"),
    "leaves-a-child": (leave_behind, "exit status 3"),
    "memory": (swallow(2048), "MemoryError"),
    "keyboard-interrupt": (raise_it(KeyboardInterrupt()), "KeyboardInterrupt"),
}
ANSWERS: dict[str, Callable[[RunSpec], Record]] = {
    "made-up": answer,
    "flood": flood,
    "closes-output": close_output,
    "thread": run_in_thread,
}


def busy(_: RunSpec) -> NoReturn:
    """Compute without end, where Python cannot be interrupted."""
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")
    raise AssertionError


def deaf(_: RunSpec) -> NoReturn:
    """Sleep through every signal that can be slept through."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)
    raise AssertionError


def with_family(_: RunSpec) -> NoReturn:
    """Sleep beside a child that sleeps beside its own, all holding the pipe."""
    if os.fork() == 0:
        os.fork()
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
    raise AssertionError


def stop_itself(_: RunSpec) -> NoReturn:
    """Be stopped."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
    raise AssertionError


def greedy(_: RunSpec) -> NoReturn:
    """Hold ever more memory, slowly, up to a gigabyte."""
    held = []
    for _ in range(50):
        held.append(b"x" * (20 << 20))
        time.sleep(0.05)
    time.sleep(60)
    raise AssertionError


def stop_and_go_on(spec: RunSpec) -> Record:
    """Be stopped, have somebody else wake it a second later, and answer."""
    pid = os.getpid()
    if os.fork() == 0:
        time.sleep(1.0)
        os.kill(pid, signal.SIGCONT)
        os._exit(0)
    os.kill(pid, signal.SIGSTOP)
    return answer(spec)


HANGS: dict[str, Callable[[RunSpec], Record]] = {
    "sleep-60": lambda _: time.sleep(60),  # type: ignore[dict-item,return-value]
    "busy": busy,
    "deaf": deaf,
    "family": with_family,
    "stops-itself": stop_itself,
}


OTHERS: dict[str, Callable[[RunSpec], Record]] = {"greedy": greedy, "stops-and-goes-on": stop_and_go_on}


def run(specs: Sequence[RunSpec]) -> Iterator[Record]:
    """Do what the name of each task says."""
    for spec in specs:
        known = {name: does for name, (does, _) in (RAISES | DIES).items()} | ANSWERS | HANGS | OTHERS
        if spec.task in known:
            yield known[spec.task](spec)
            continue
        time.sleep(float(spec.task.removeprefix("sleep-")))
        yield answer(spec)


def first_try_dies(specs: Sequence[RunSpec]) -> Iterator[Record]:
    """Leave a mark where the task's name says and be killed; where the mark is, answer."""
    for spec in specs:
        if not os.path.exists(spec.task):
            with open(spec.task, "wb"):
                os.kill(os.getpid(), signal.SIGKILL)
        yield answer(spec)
