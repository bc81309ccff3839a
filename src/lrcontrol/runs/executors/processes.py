"""Runs side by side, each in a process of its own; the crash of one hurts no other."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.executors import worker
from lrcontrol.runs.executors.executor import check_room, check_running, failed
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Processes"]


class _Host:
    """One slot: a process that has imported the training code and forks for every run."""

    def __init__(self, target: str, files: Sequence[str], options: Mapping[str, Any]) -> None:
        asked_read, asked_write = os.pipe()
        answers_read, answers_write = os.pipe()
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        arguments = [target, json.dumps(list(files)), json.dumps(dict(options)), str(asked_read), str(answers_write)]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "lrcontrol.runs.executors.worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it is the driver's, for results
            pass_fds=(asked_read, answers_write),
            start_new_session=True,  # Ctrl-C in the terminal is for the driver
            env={**os.environ, **one_thread},
        )
        os.close(asked_read)
        os.close(answers_write)
        self.asked: BinaryIO = os.fdopen(asked_write, "wb")
        self.answers: BinaryIO = os.fdopen(answers_read, "rb")
        self.spec: RunSpec | None = None
        self.since = 0.0

    def submit(self, spec: RunSpec) -> None:
        self.spec, self.since = spec, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # a dead host is noticed when it is waited for
            self.asked.write(spec.to_json() + b"\n")
            self.asked.flush()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for file in (self.asked, self.answers):
            with contextlib.suppress(OSError):
                file.close()


class Processes:
    """An executor with `workers` slots; every run has a process of its own, with one thread.

    Args:
        target: `module:function` that carries out one run; the module may have a function `warm(spec)`, called
            once before the runs of a task so that they share what it loads. BadInput from `wait` where it cannot be
            imported.
        objective: of the task, for records of runs that fail.
        workers: >= 1; by default one a core.
        options: keyword arguments for the function, as JSON values.
        files: Python files of the user's to load first, such as the one that a task is in.
    """

    def __init__(
        self,
        target: str,
        objective: Objective,
        *,
        workers: int | None = None,
        options: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        if not hasattr(os, "fork"):
            raise BadInput("the processes executor needs an operating system that forks; use the serial executor.")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = cores if workers is None else checks.integer("workers", workers, low=1)
        self._target, self._objective, self._options = target, objective, dict(options or {})
        self._files = tuple(files)
        self._hosts: list[_Host] = []

    @property
    def running(self) -> list[RunSpec]:
        """What the slots are at."""
        return [host.spec for host in self._hosts if host.spec is not None]

    @property
    def room(self) -> int:
        """Free slots."""
        return self.workers - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        """Begin a run in a free slot."""
        check_room(self.room)
        host = next((host for host in self._hosts if host.spec is None), None)
        if host is not None and host.process.poll() is not None:  # somebody ended it while it was idle
            self._end(host)
            host = None
        if host is None:
            host = _Host(self._target, self._files, self._options)
            self._hosts.append(host)
        host.submit(spec)

    def wait(self) -> Record:
        """The record of the first run to end; one whose process died is FAILED, and says how."""
        check_running(self.running)
        with selectors.DefaultSelector() as selector:
            for host in self._hosts:
                if host.spec is not None:
                    selector.register(host.answers, selectors.EVENT_READ, host)
            ready = selector.select()
        host = ready[0][0].data
        spec, seconds = host.spec, time.monotonic() - host.since
        frame = worker.read_frame(host.answers)
        host.spec = None
        if frame is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                host.process.wait(1)  # its own ending is the one to tell
            self._end(host)
            message = f"the process that hosts runs {worker.ending(host.process.returncode)}"
            return failed(spec, self._objective, message, seconds)
        kind, first, second = frame
        if kind == worker.UNUSABLE:
            reason = checks.shown_error(ImportError(first.decode()))
            raise BadInput(f"`target` must be a function that can be imported, got {self._target} ({reason}).")
        if kind == worker.FAILURE:
            return failed(spec, self._objective, first.decode("utf-8", "replace"), seconds)
        return Record.from_summary(first, second)

    def _end(self, host: _Host) -> None:
        host.end()
        self._hosts.remove(host)

    def close(self) -> None:
        """End all processes at once, and wait until they are gone."""
        for host in self._hosts:
            host.end()
        self._hosts.clear()
