"""A process that has imported what is needed and forks a child for every call, so that a killed child costs little."""

import contextlib
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).parent.parent


class Child:
    """A call in a process, session and process group of its own; what it prints is in two files.

    Args:
        nursery: that forked it.
        pid: its id.
        out: its stdout; its stderr is beside it.
    """

    def __init__(self, nursery: "Nursery", pid: int, out: Path) -> None:
        self.nursery, self.pid, self.out, self.err = nursery, pid, out, out.with_suffix(".err")

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to it or its group; one that has ended gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-self.pid if group else self.pid, number)

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end, but no longer."""
        return self.nursery.wait(self.pid, seconds)

    def end(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        while not self.ended_within(60):
            self.send(signal.SIGKILL, group=True)
        return self.nursery.ended[self.pid]


class Nursery:
    """Forks children that call functions.

    Args:
        modules: imported before the first fork.
        mark: found in the environment of all that descends from it (`marked`).
    """

    def __init__(self, *modules: str, mark: str = "") -> None:
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.nursery", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "LRCONTROL_MARK": mark},
        )
        self.ended: dict[int, int] = {}

    def begin(self, target: str, *arguments: Any, out: Path) -> Child:
        """Call `module:function` with JSON arguments in a child."""
        assert self._process.stdin is not None
        for path in (out, out.with_suffix(".err")):
            path.write_bytes(b"")
        self._process.stdin.write(json.dumps([target, arguments, str(out)]).encode() + b"\n")
        self._process.stdin.flush()
        while (words := self._hear(60)) is None or words[0] != "began":
            assert words is not None, "the nursery is silent"
        return Child(self, int(words[1]), out)

    def wait(self, pid: int, seconds: float) -> bool:
        """Whether a child ended within some seconds."""
        until = time.monotonic() + seconds
        while pid not in self.ended and (left := until - time.monotonic()) > 0:
            self._hear(left)
        return pid in self.ended

    def _hear(self, seconds: float) -> list[str] | None:
        """The next words of the process, or None where there are none for so long."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            # What the buffer holds already is not seen by the selector; the process writes one short line at a time.
            if not selector.select(seconds):
                return None
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = os.read(self._process.stdout.fileno(), 1)
            assert byte, "the nursery has ended"
            line += byte
        words = line.decode().split()
        if words[0] == "ended":
            self.ended[int(words[1])] = int(words[2])
        return words

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._process.stdin, self._process.stdout):
            if file is not None:
                file.close()
        self._process.wait(60)


def marked(mark: str, parent: int | None = None) -> list[int]:
    """The processes (Linux) with this mark in their environment, a nursery's own forks apart; of one parent only."""
    found = []
    wanted = f"LRCONTROL_MARK={mark}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            command = (entry / "cmdline").read_bytes()
            state, above, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if b"faults.nursery" not in command and state != b"Z" and parent in (None, int(above)):
                found.append(int(entry.name))
    return found


def gone(mark: str, seconds: float = 10) -> bool:
    """Whether all marked processes end within some seconds."""
    until = time.monotonic() + seconds
    while marked(mark):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def main() -> None:
    """Fork on request until stdin closes; then end the children."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    children: set[int] = set()
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(bell, selectors.EVENT_READ)
        while True:
            ready = [key.fd for key, _ in selector.select()]
            if bell in ready:
                os.read(bell, 4096)
                _reap(children)
            if 0 in ready:
                line = sys.stdin.readline()
                if not line:
                    break
                target, arguments, out = json.loads(line)
                child = os.fork()
                if child == 0:
                    _live(target, arguments, Path(out))
                children.add(child)
                print(f"began {child}", flush=True)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            children.discard(child)
            print(f"ended {child} {os.waitstatus_to_exitcode(status)}", flush=True)


def _live(target: str, arguments: list[Any], out: Path) -> NoReturn:
    """The life of a child, which ends as a Python process of its own would."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in ((1, out), (2, out.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    code = 0
    try:
        module, _, name = target.partition(":")
        getattr(importlib.import_module(module), name)(*arguments)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
