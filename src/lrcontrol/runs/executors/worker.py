"""The host of one slot of the processes executor: imports the training code once, then forks for every run.

Run as `python -P -m lrcontrol.runs.executors.worker TARGET FILES OPTIONS READ_FD WRITE_FD`. Specs come as lines of
JSON on one pipe, answers go as frames on the other; a run has a process of its own, so nothing it does to itself
(a crash, an exit, a leak) reaches the host or another run.
"""

import ctypes
import importlib
import io
import json
import os
import selectors
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from lrcontrol.runs import user_code
from lrcontrol.runs.executors.executor import packed
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["FAILURE", "RECORD", "UNUSABLE", "ending", "main", "read_frame", "write_frame"]

RECORD, FAILURE, UNUSABLE = b"R", b"F", b"U"
PATIENCE_SECONDS = 0.2  # between two looks at a run's process that is silent
_HEAD = struct.Struct("<cQQ")


def write_frame(file: BinaryIO, kind: bytes, first: bytes, second: bytes = b"") -> None:
    """One answer: a record's summary and columns, the text of a failure, or why the target cannot be used."""
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
    target, files, options, read_fd, write_fd = sys.argv[1:]
    # Who ends a study signals all of its processes, and the driver decides what that means: a run that died of it
    # first would be recorded as failed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channels = (int(read_fd), int(write_fd))
    with os.fdopen(channels[0], "rb") as asked, os.fdopen(channels[1], "wb") as answers:
        try:
            module_name, _, name = target.partition(":")
            module = importlib.import_module(module_name)
            train, warm = getattr(module, name), getattr(module, "warm", None)
            for file in json.loads(files):
                user_code.load(file)
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            write_frame(answers, UNUSABLE, reason.encode("utf-8", "backslashreplace"))
            return
        for line in asked:
            spec = RunSpec.from_json(line)
            try:
                if warm is not None:
                    warm(spec)
            except BaseException:
                frame = _failure()
            else:
                frame = _in_own_process(train, spec, json.loads(options), channels)
            write_frame(answers, *frame)


def _in_own_process(
    train: Callable[..., Record], spec: RunSpec, options: dict[str, Any], channels: tuple[int, ...]
) -> tuple[bytes, bytes, bytes]:
    host = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for descriptor in (reader, *channels):  # the driver must see the host's end, whoever outlives it
            os.close(descriptor)
        _run(train, spec, options, writer, host)
    os.close(writer)
    written, status = _last_words(reader, child, channels[0])
    frame = read_frame(io.BytesIO(written))
    return frame or (FAILURE, f"the run's process {ending(os.waitstatus_to_exitcode(status))}".encode(), b"")


def _last_words(reader: int, child: int, asked: int) -> tuple[bytes, int]:
    """All that a run's process wrote, and its status; processes that it leaves behind may hold the pipe for ever.

    The pipe of specs is watched too: while a run is under way its end means that the driver is gone. (The kernel's
    signal at the death of a parent would come at the end of the thread that started us, in a notebook or a server.)
    """
    received, status = bytearray(), None
    os.set_blocking(reader, False)
    with selectors.DefaultSelector() as selector, os.fdopen(reader, "rb", buffering=0) as file:
        selector.register(file, selectors.EVENT_READ)
        selector.register(asked, selectors.EVENT_READ)
        while True:
            readable = [key.fd for key, _ in selector.select(0 if status is not None else PATIENCE_SECONDS)]
            if asked in readable:
                os.kill(child, signal.SIGKILL)
                os._exit(1)
            chunk = file.read(1 << 20) if readable else None
            if chunk:
                received += chunk
            elif chunk == b"" or status is not None:
                break
            else:
                ended, code = os.waitpid(child, os.WNOHANG)
                status = code if ended else None
    return bytes(received), os.waitpid(child, 0)[1] if status is None else status


def _run(train: Callable[..., Record], spec: RunSpec, options: dict[str, Any], writer: int, host: int) -> NoReturn:
    """The life of one run's process."""
    try:
        _die_with(host)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        with os.fdopen(writer, "wb") as file:
            try:
                frame = (RECORD, *packed(train(spec, **options), spec))
            except BaseException:
                frame = _failure()
            write_frame(file, *frame)
    finally:
        os._exit(0)


def _failure() -> tuple[bytes, bytes, bytes]:
    """The frame of the exception that is being handled."""
    return FAILURE, traceback.format_exc(limit=-5).encode("utf-8", "backslashreplace"), b""


def ending(exit_code: int) -> str:
    """How a process ended before it answered; a negative code is a signal."""
    if exit_code >= 0:
        return f"ended with exit status {exit_code} before it answered"
    number = -exit_code
    name = next((known.name for known in signal.Signals if known == number), "a real-time signal")
    probably = ", probably out of memory" if number == signal.SIGKILL else ""
    return f"was ended by signal {number} ({name}){probably}"


def _die_with(parent: int) -> None:
    """Have the kernel end a run's process when its host does (Linux), so that no run outlives its driver."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()
