"""The host of one slot of the processes executor: imports the training code once, then forks for every run.

Run as `python -P -m lrcontrol.runs.executors.worker TARGET OPTIONS PARENT READ_FD WRITE_FD`. Specs come as lines of
JSON on one pipe, answers go as frames on the other; a run has a process of its own, so nothing it does to itself
(a crash, an exit, a leak) reaches the host or another run.
"""

import ctypes
import importlib
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from lrcontrol.runs.record import Record, pack_columns
from lrcontrol.runs.spec import RunSpec

__all__ = ["FAILURE", "RECORD", "main", "read_frame", "write_frame"]

RECORD, FAILURE = b"R", b"F"
_HEAD = struct.Struct("<cQQ")


def write_frame(file: BinaryIO, kind: bytes, first: bytes, second: bytes = b"") -> None:
    """One answer: a record's summary and columns, or the text of a failure."""
    file.write(_HEAD.pack(kind, len(first), len(second)) + first + second)
    file.flush()


def read_frame(file: BinaryIO) -> tuple[bytes, bytes, bytes] | None:
    """The next answer, or None where the pipe ended before a whole one."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, first, second = _HEAD.unpack(head)
    body = file.read(first + second)
    return (kind, body[:first], body[first:]) if len(body) == first + second else None


def main() -> None:
    """Answer specs until the pipe closes."""
    target, options, parent, read_fd, write_fd = sys.argv[1:]
    _die_with(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module_name, _, name = target.partition(":")
    module = importlib.import_module(module_name)
    train = getattr(module, name)
    warm = getattr(module, "warm", None)
    with os.fdopen(int(read_fd), "rb") as asked, os.fdopen(int(write_fd), "wb") as answers:
        for line in asked:
            spec = RunSpec.from_json(line)
            try:
                if warm is not None:
                    warm(spec)
                frame = _in_own_process(train, spec, json.loads(options))
            except Exception:
                frame = (FAILURE, traceback.format_exc(limit=-5).encode("utf-8", "replace"), b"")
            write_frame(answers, *frame)


def _in_own_process(
    train: Callable[..., Record], spec: RunSpec, options: dict[str, Any]
) -> tuple[bytes, bytes, bytes]:
    host = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(train, spec, options, writer, host)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        frame = read_frame(file)
    _, status = os.waitpid(child, 0)
    return frame or (FAILURE, _ending(status).encode(), b"")


def _run(train: Callable[..., Record], spec: RunSpec, options: dict[str, Any], writer: int, host: int) -> NoReturn:
    """The life of one run's process."""
    try:
        _die_with(host)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        with os.fdopen(writer, "wb") as file:
            try:
                record = train(spec, **options)
                frame = (RECORD, record.summary(), pack_columns(record.columns))
            except BaseException:
                frame = (FAILURE, traceback.format_exc(limit=-5).encode("utf-8", "replace"), b"")
            write_frame(file, *frame)
    finally:
        os._exit(0)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        probably = ", probably out of memory" if number == signal.SIGKILL else ""
        return f"the run's process was ended by signal {number} ({signal.Signals(number).name}){probably}"
    return f"the run's process ended with exit status {os.WEXITSTATUS(status)} before it answered"


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent does (Linux), so that no run outlives its driver."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()
