"""Runs side by side, each lot of them in a process of its own; the crash of one hurts no other."""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs import user_code
from lrcontrol.runs.executors import worker
from lrcontrol.runs.executors.executor import check_room, check_running, failed
from lrcontrol.runs.executors.lots import Divide, Lots, by_beginnings
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Processes", "cores"]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Host:
    """One slot: a process that has imported the training code and forks for every lot."""

    def __init__(
        self, target: str, files: Sequence[str], options: Mapping[str, Any], slot: int, environment: Mapping[str, str]
    ) -> None:
        self.slot = slot
        asked_read, asked_write = os.pipe()
        answers_read, answers_write = os.pipe()
        told = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        told[user_code.HOST] = "1"
        # Else torch would ask CUDA itself whether it is there, and no process that is forked afterwards could use it.
        told["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
        arguments = [target, json.dumps(list(files)), json.dumps(dict(options)), str(asked_read), str(answers_write)]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "lrcontrol.runs.executors.worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it is the driver's, for results
            pass_fds=(asked_read, answers_write),
            start_new_session=True,  # Ctrl-C in the terminal is for the driver
            env={**os.environ, **told, **environment},
        )
        os.close(asked_read)
        os.close(answers_write)
        self.asked: BinaryIO = os.fdopen(asked_write, "wb")
        self.answers: BinaryIO = os.fdopen(answers_read, "rb", buffering=0)  # what is buffered, no selector sees
        self.lot: list[RunSpec] = []  # without those that have been answered
        self.busy = False  # until the end of the lot is told
        self.since = 0.0
        self.timed = False  # whether a run is being made, and not loaded for

    def begin(self, lot: list[RunSpec], memory: int | None) -> None:
        self.lot, self.busy, self.timed, self.since = lot, True, False, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # a dead host is noticed when it is waited for
            specs = [json.loads(spec.to_json()) for spec in lot]
            self.asked.write(json.dumps({"specs": specs, "memory": memory}).encode() + b"\n")
            self.asked.flush()

    def end(self) -> None:
        self.busy = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for file in (self.asked, self.answers):
            with contextlib.suppress(OSError):
                file.close()


def _readable(hosts: Sequence[_Host], seconds: float | None) -> list[_Host]:
    """Those that have something to say, as soon as there is one, or none after so many seconds."""
    with selectors.DefaultSelector() as selector:
        for host in hosts:
            selector.register(host.answers, selectors.EVENT_READ, host)
        return [key.data for key, _ in selector.select(seconds)]


class Processes:
    """An executor with `workers` slots; each carries out one lot of runs after the other, with one thread.

    Runs that share their beginnings are a lot, and so are a few short ones (`lots`); a longer run is a lot alone. A
    lot has a process of its own. If that raises or dies, its runs are carried out again, each alone, so that the one
    it was is found and hurts no other; a run whose process dies alone is tried `retries` more times.

    Args:
        target: `module:function` that carries out the runs of a lot; the module may have a function `warm(spec)`,
            called before every lot with the same options, so that runs share what it loads. BadInput from `wait`
            where it cannot be imported.
        objective: of the task, for records of runs that fail.
        workers: >= 1; by default one a core.
        options: keyword arguments for the function, as JSON values.
        files: Python files of the user's to load first, such as the one that a task is in.
        ahead: >= 1; how many runs are taken on for each worker, so that those that belong together can be found.
        divide: says which belong together.
        seconds: > 0; how long a run may take, or None. Its process is ended then, and the run is FAILED.
        memory: >= 1; bytes that a run's process may hold (Linux), or None. The same.
        retries: >= 0.
        environments: at least one; variables of the environment that the processes of slots have besides, in turn.
    """

    def __init__(
        self,
        target: str,
        objective: Objective,
        *,
        workers: int | None = None,
        options: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
        ahead: int = 1,
        divide: Divide = by_beginnings,
        seconds: float | None = None,
        memory: int | None = None,
        retries: int = 1,
        environments: Sequence[Mapping[str, str]] = ({},),
    ) -> None:
        if not hasattr(os, "fork"):
            raise BadInput("the processes executor needs an operating system that forks; use the serial executor.")
        self.workers = cores() if workers is None else checks.integer("workers", workers, low=1)
        self._target, self._objective, self._options = target, objective, dict(options or {})
        self._files, self._ahead = tuple(files), checks.integer("ahead", ahead, low=1)
        self._seconds = None if seconds is None else checks.number("seconds", seconds, low=0, open_low=True)
        self._memory = None if memory is None else checks.integer("memory", memory, low=1)
        if memory is not None and not os.path.exists("/proc/self/statm"):
            raise BadInput("a limit of memory needs Linux, which tells what a process holds; leave it out here.")
        self._retries = checks.integer("retries", retries)
        self._environments = list(environments)
        self._lots = Lots(divide, self.workers)
        self._attempts: dict[str, int] = {}
        self._hosts: list[_Host] = []
        self._interrupted = False

    @property
    def running(self) -> list[RunSpec]:
        """What the slots are at, and what waits."""
        return [spec for host in self._hosts for spec in host.lot] + self._lots.waiting

    @property
    def room(self) -> int:
        """How many more may be taken on."""
        return self.workers * self._ahead - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        """Take a run; with nothing to look ahead for it begins at once."""
        check_room(self.room)
        self._lots.add(spec)
        if self._ahead == 1:
            self._fill()

    def wait(self) -> list[Record]:
        """The records that are there; a run that raised, died or took too much is FAILED, and its record says how.

        Ctrl-C is put off until what has ended is returned.
        """
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        check_running(self.running)
        ended: list[Record] = []
        try:
            while not ended:
                self._fill()
                self._gather(ended)
        except KeyboardInterrupt:
            if not ended:
                raise
            self._interrupted = True
        for record in ended:
            self._lots.saw(record)
        return ended

    def _gather(self, ended: list[Record]) -> None:
        """Wait until a host has something to say or has run out of time, and take all that is there."""
        busy = [host for host in self._hosts if host.busy]
        left = min(map(self._left, busy))
        readable = _readable(busy, None if math.isinf(left) else max(left, 0))
        for host in readable:  # what has been answered counts, however long the driver was kept from hearing it
            record = self._heard(host)
            while record is not None:
                ended.append(record)
                record = self._heard(host) if host.busy and _readable([host], 0) else None
        for host in busy:
            if host.busy and host not in readable and self._left(host) <= 0:
                overdue = self._overdue(host)
                ended += [] if overdue is None else [overdue]

    def _fill(self) -> None:
        """Give every free slot a lot, as long as there are some."""
        for host in self._hosts[:]:
            if host.busy and not host.lot and _readable([host], 0.1):  # the end of its lot follows the last record
                self._heard(host)
        while self._lots.waiting:
            free = next((host for host in self._hosts if not host.busy), None)
            if free is not None and free.process.poll() is not None:  # somebody ended it while it was idle
                self._end(free)
                continue
            if free is None:
                if len(self._hosts) == self.workers:
                    return
                slots = {host.slot for host in self._hosts}
                slot = next(slot for slot in range(self.workers) if slot not in slots)
                environment = self._environments[slot % len(self._environments)]
                free = _Host(self._target, self._files, self._options, slot, environment)
                self._hosts.append(free)
            free.begin(self._lots.take(), self._memory)

    def _left(self, host: _Host) -> float:
        """Seconds until a host must have answered; a run has as long as it would have alone."""
        if self._seconds is None or not host.timed:
            return math.inf
        return host.since + self._seconds - time.monotonic()

    def _heard(self, host: _Host) -> Record | None:
        """What a host has to say, if it is a record."""
        seconds = time.monotonic() - host.since
        frame = worker.read_frame(host.answers)
        if frame is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                host.process.wait(1)  # its own ending is the one to tell
            lot, host.lot = host.lot, []
            self._end(host)
            return self._broke(lot, f"the process that hosts runs {worker.ending(host.process.returncode)}", seconds)
        kind, first, second = frame
        if kind == worker.FORKED:
            host.timed, host.since = True, time.monotonic()
            return None
        if kind == worker.RECORD:
            record = Record.from_summary(first, second)
            host.lot = [spec for spec in host.lot if spec.id != record.id]
            host.since = time.monotonic()
            attempt = self._attempts.pop(record.id, 1)
            return record if attempt == 1 else msgspec.structs.replace(record, attempt=attempt)
        if kind == worker.UNUSABLE:
            reason = checks.shown_error(ImportError(first.decode()))
            raise BadInput(f"`target` must be a function that can be imported, got {self._target} ({reason}).")
        lot, host.lot, host.busy = host.lot, [], False
        if kind == worker.DIED:
            return self._broke(lot, first.decode(), seconds)
        text = first.decode("utf-8", "replace") or "the run ended without a record"
        return self._broke(lot, text, seconds, retries=0)

    def _overdue(self, host: _Host) -> Record | None:
        """End a host whose run takes too long."""
        lot, host.lot = host.lot, []
        self._end(host)
        text = f"the run took longer than {self._seconds:g} s, and its process was ended"
        return self._broke(lot, text, time.monotonic() - host.since, retries=0)

    def _broke(self, lot: list[RunSpec], text: str, seconds: float, *, retries: int | None = None) -> Record | None:
        """What becomes of runs whose lot did not end well: another try, or the record of the one that it was."""
        if len(lot) != 1:
            self._lots.alone(lot)
            return None
        (spec,) = lot
        attempt = self._attempts.get(spec.id, 1)
        if attempt <= (self._retries if retries is None else retries) and self._lots.alone(lot):
            self._attempts[spec.id] = attempt + 1
            return None
        self._attempts.pop(spec.id, None)
        tries = f" ({attempt} attempts)" if attempt > 1 else ""
        return failed(spec, self._objective, text + tries, seconds, attempt)

    def _end(self, host: _Host) -> None:
        host.end()
        self._hosts.remove(host)

    def withdraw(self) -> None:
        """Give up the runs that no slot has begun, also of lots that break later."""
        self._lots.withdraw()

    def close(self) -> None:
        """End all processes at once, and wait until they are gone."""
        for host in self._hosts:
            host.end()
        self._hosts.clear()
        self._lots.clear()
        self._attempts.clear()
