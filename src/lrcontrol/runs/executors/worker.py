"""The host of one slot of the processes executor: imports the training code once, then forks for every lot of runs.

Run as `python -P -m lrcontrol.runs.executors.worker TARGET FILES OPTIONS READ_FD WRITE_FD`. Lots come as lines of
JSON on one pipe, answers go as frames on the other, a record each and then how the lot ended. A lot has a process of
its own, so nothing that its runs do (a crash, an exit, a leak) reaches the host or another lot.
"""

import contextlib
import ctypes
import functools
import importlib
import json
import os
import selectors
import signal
import struct
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from lrcontrol.runs import user_code
from lrcontrol.runs.executors.executor import packed
from lrcontrol.runs.executors.lots import Carry
from lrcontrol.runs.spec import RunSpec

__all__ = ["DIED", "DONE", "FAILURE", "FORKED", "RECORD", "UNUSABLE", "ending", "main", "read_frame", "write_frame"]

FORKED, RECORD, DONE, FAILURE, DIED, UNUSABLE = b"B", b"R", b"E", b"F", b"D", b"U"
"""A lot's beginning; a record; its end; that a run raised; that the process died; that the target is no good."""
FORKED_CUDA = (
    b"lrcontrol.errors.BadInput: a file must not use the accelerator while it is loaded or prepared, for its runs are "
    b"forked from that process; do so in the function."
)
PATIENCE_SECONDS = 0.2  # between two looks at a process that is silent
_HEAD = struct.Struct("<cQQ")


def write_frame(file: BinaryIO, kind: bytes, first: bytes, second: bytes = b"") -> None:
    """One answer: a record's summary and columns, or another kind with its text."""
    file.write(_HEAD.pack(kind, len(first), len(second)) + first + second)
    file.flush()


def read_frame(file: BinaryIO) -> tuple[bytes, bytes, bytes] | None:
    """The next answer, or None where the pipe ended before a whole one; nothing beyond it is read."""
    head = _exactly(file, _HEAD.size)
    if head is None:
        return None
    kind, first, second = _HEAD.unpack(head)
    body = _exactly(file, first + second)
    return None if body is None else (kind, body[:first], body[first:])


def _exactly(file: BinaryIO, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        chunk = file.read(size - len(found))
        if not chunk:
            return None
        found += chunk
    return bytes(found)


def main() -> None:
    """Answer lots until the pipe closes."""
    with contextlib.suppress(BrokenPipeError):  # the driver is gone, and nobody is there to be told
        _answer_lots(*sys.argv[1:])


def _answer_lots(target: str, files: str, options: str, read_fd: str, write_fd: str) -> None:
    # Who ends a study signals all of its processes, and the driver decides what that means: a run that died of it
    # first would be recorded as failed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channels = (int(read_fd), int(write_fd))
    with os.fdopen(channels[0], "rb") as asked, os.fdopen(channels[1], "wb") as answers:
        try:
            module_name, _, name = target.partition(":")
            module = importlib.import_module(module_name)
            carry, warm = getattr(module, name), getattr(module, "warm", None)
            for file in json.loads(files):
                user_code.load(file)
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            write_frame(answers, UNUSABLE, reason.encode("utf-8", "backslashreplace"))
            return
        for line in asked:
            lot = json.loads(line)
            specs = [RunSpec.from_json(json.dumps(each)) for each in lot["specs"]]
            try:
                if warm is not None:
                    warm(specs[0], **json.loads(options))
            except BaseException:
                write_frame(answers, *_failure())
            else:
                sys.stdout.flush()  # else the run's process would say it again
                given = json.loads(options)
                _in_own_process(carry, specs, given, lot["memory"], channels, answers, files != "[]")


def _in_own_process(
    carry: Carry,
    specs: Sequence[RunSpec],
    options: dict[str, Any],
    memory: int | None,
    channels: tuple[int, ...],
    answers: BinaryIO,
    heard: bool,
) -> None:
    host = os.getpid()
    if options.get("threads", 1) > 1 and _has_threads():
        # a process that is forked from one with a pool of threads hangs where it first needs its own
        options = options | {"threads": 1}
        _say_once("lrcontrol: what was loaded has begun threads of its own, so that runs have one each.")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for descriptor in (reader, *channels):  # the driver must see the host's end, whoever outlives it
            os.close(descriptor)
        _run(carry, specs, options, writer, host, heard)
    os.close(writer)
    write_frame(answers, FORKED, b"")
    told, status, greedy = _pass_on(reader, child, channels[0], memory, answers)
    if not told:
        how = f"used more than {memory} bytes of memory, and " if greedy else ""
        text = f"the run's process {how}{ending(os.waitstatus_to_exitcode(status))}"
        write_frame(answers, DIED, text.encode())


@functools.cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _has_threads() -> bool:
    """Whether this process has begun threads that compute (Linux); True where nobody can tell.

    A pool of OpenMP has the name of the process; those that allocators begin for themselves have names of their own.
    """
    try:
        names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    except OSError:  # elsewhere, or one has just ended
        return True
    return names.count(Path("/proc/self/comm").read_text()) > 1


def _pass_on(reader: int, child: int, asked: int, memory: int | None, answers: BinaryIO) -> tuple[bool, int, bool]:
    """Pass on whole frames until the child has ended; whether the last was one, the child's status, and its greed.

    Processes that the child leaves behind may hold the pipe for ever. The pipe of lots is watched too: while a lot is
    under way its end means that the driver is gone. (The kernel's signal at the death of a parent would come at the
    end of the thread that started us, in a notebook or a server.)
    """
    received, status, told, greedy = bytearray(), None, False, False
    os.set_blocking(reader, False)
    with selectors.DefaultSelector() as selector, os.fdopen(reader, "rb", buffering=0) as file:
        selector.register(file, selectors.EVENT_READ)
        selector.register(asked, selectors.EVENT_READ)
        while True:
            readable = [key.fd for key, _ in selector.select(0 if status is not None else PATIENCE_SECONDS)]
            if asked in readable:
                os.killpg(os.getpgid(child), signal.SIGKILL)  # with all that the run began, and this host
            chunk = file.read(1 << 20) if readable else None
            if chunk:
                received += chunk
                while (size := _whole_frame(received)) is not None:
                    told = received[:1] in (DONE, FAILURE)
                    answers.write(received[:size])
                    answers.flush()
                    del received[:size]
                if told:  # the driver may ask for the next lot from now on
                    os.kill(child, signal.SIGKILL)
                    break
            elif chunk == b"" or status is not None:
                break
            else:
                ended, code = os.waitpid(child, os.WNOHANG)
                status = code if ended else None
            if memory is not None and status is None and not greedy and _resident(child) > memory:
                greedy = True
                os.kill(child, signal.SIGKILL)
    return told, os.waitpid(child, 0)[1] if status is None else status, greedy


def _whole_frame(received: bytearray) -> int | None:
    """The size of the first frame, or None where it is not all there."""
    if len(received) < _HEAD.size:
        return None
    _, first, second = _HEAD.unpack_from(received)
    size: int = _HEAD.size + first + second
    return size if len(received) >= size else None


def _resident(child: int) -> int:
    """Bytes of memory that a process holds (Linux); 0 where nobody can tell."""
    try:
        return int(Path(f"/proc/{child}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _run(
    carry: Carry, specs: Sequence[RunSpec], options: dict[str, Any], writer: int, host: int, heard: bool
) -> NoReturn:
    """The life of a lot's process; what it prints goes to stderr where it is to be `heard`, and else nowhere."""
    try:
        _die_with(host)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            if stream == 0 or not heard:
                os.dup2(quiet, stream)
        if heard:
            os.dup2(2, 1)
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a file
        with os.fdopen(writer, "wb") as file:
            try:
                for record in carry(specs, **options):
                    write_frame(file, RECORD, *packed(record, specs))
                _say_all()
                write_frame(file, DONE, b"")
            except BaseException:
                _say_all()
                kind, text = _failure()
                if b"CUDA in forked subprocess" in text:  # torch's words
                    text += FORKED_CUDA
                write_frame(file, kind, text)
    finally:
        os._exit(0)


def _say_all() -> None:
    """Print what is left to print: after its last frame the process is ended."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a script may have closed them
            stream.flush()


def _failure() -> tuple[bytes, bytes]:
    """The frame of the exception that is being handled."""
    return FAILURE, traceback.format_exc(limit=-20).encode("utf-8", "backslashreplace")


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
