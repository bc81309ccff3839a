"""Processes that write one file again and again, and are killed."""

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from lrcontrol.files import write_whole


class FileKills(NamedTuple):
    """How often the writer of a file was killed, how many writes had ended, how often the file was not whole."""

    kills: int
    written: int
    torn: int


def kill_file_writers(folder: Path, kills: int, seed: int) -> FileKills:
    """Kill the writer of a file at any moment; each time the file must be one that was written, in whole."""
    rng = random.Random(seed)
    path = folder / "state.json"
    write_whole(path, _content(b"first"))
    written = torn = 0
    for number in range(kills):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _write(path, number, writing)
        os.close(writing)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        with os.fdopen(reading, "rb") as told:
            written += len(told.read())
        os.waitpid(pid, 0)
        torn += not _whole(path.read_bytes())
    return FileKills(kills, written, torn)


def _content(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def _whole(content: bytes) -> bool:
    return hashlib.sha256(content[32:]).digest() == content[:32]


def _write(path: Path, seed: int, told: int) -> NoReturn:
    rng = random.Random(seed)
    try:
        while True:
            write_whole(path, _content(rng.randbytes(rng.choice((10, 5000, 300_000)))))
            os.write(told, b".")
    finally:
        os._exit(1)
