"""Files made to run code when they are read, given to every reader, in a process that watches what Python does.

    python -m faults.no_code FOLDER

Prints one line of JSON: files, readings, and whatever was executed, imported, begun, written or connected to.
"""

import contextlib
import io
import json
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

import lrcontrol
from faults.samples import record
from lrcontrol.errors import LRControlError
from lrcontrol.runs.kept_files import manifest_name, state_name
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.schedules.text import from_json, schedule
from lrcontrol.training.checkpoints import load_checkpoint
from lrcontrol.training.tasks import formats, pickles

NAMES = ("os.system", "builtins.eval", "subprocess.Popen", "lrcontrol.runs.user_code.load", "sys:exit")
WORDS = (
    *NAMES,
    "__import__('os').system('touch SENTINEL')",
    "{0.__class__.__mro__}",
    "{{ ''.__class__.__mro__ }}",
    "${jndi:ldap://127.0.0.1/x}",
    "$(touch SENTINEL)",
    "`touch SENTINEL`",
    "file.py:train",
    "!!python/object/apply:os.system ['touch SENTINEL']",
    "../../../../etc/passwd",
    "%(x)s%n",
)
KEYS = ("_target_", "_instantiator", "__class__", "__reduce__", "py/object", "$type", "class_path", "import")


class Harm:
    """Whose unpickling runs a command."""

    def __init__(self, sentinel: str) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.sentinel}",)


def corpus(sentinel: str) -> Iterator[tuple[str, bytes]]:
    """The files: their names and what is in them."""
    harm = Harm(sentinel)
    for protocol in range(6):
        yield f"pickle-{protocol}", pickle.dumps(harm, protocol)
    for name, zipped in (("torch-zip", True), ("torch-old", False)):
        buffer = io.BytesIO()
        torch.save({"weight": harm}, buffer, _use_new_zipfile_serialization=zipped)
        yield name, buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([harm], dtype=object), allow_pickle=True)
    yield "npy-object", buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, harm=np.array([harm], dtype=object))
    yield "npz-object", buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../../tmp/out", "x")
        archive.writestr("data.pkl", pickle.dumps(harm))
    yield "zip-slip", buffer.getvalue()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, link in (("../../../tmp/out", ""), ("link", "/etc/passwd")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            tar.addfile(member)
    yield "tar-slip", buffer.getvalue()
    code = f"import os\nos.system('touch {sentinel}')\n"
    yield "python", code.encode()
    yield "shell", f"#!/bin/sh\ntouch {sentinel}\n".encode()
    yield "yaml", f"!!python/object/apply:os.system ['touch {sentinel}']\n".encode()
    yield "xml", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    yield "safetensors", safetensors.torch.save({"__class__": torch.zeros(1)}, {"__reduce__": "os.system"})
    plain = json.loads(record(0).summary())
    for word in WORDS:
        told = word.replace("SENTINEL", sentinel)
        yield f"text-{len(told)}-{told[:9]}", told.encode()
        yield f"record-{told[:9]}", json.dumps(_with_words(plain, told)).encode()
        document = {
            "format": told,
            "version": 1,
            "schedule": {"parts": [{"part": told, "profile": {"profile": told}}]},
        }
        yield f"schedule-{told[:9]}", json.dumps(document).encode()
    for key in KEYS:
        yield f"key-{key}", json.dumps({key: "os.system", "args": [f"touch {sentinel}"]}).encode()
        yield f"keyed-{key}", json.dumps(plain | {key: "os.system"}).encode()


def _with_words(value: Any, word: str) -> Any:
    """The same JSON with every text in it replaced."""
    if isinstance(value, dict):
        return {key: _with_words(inner, word) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_words(inner, word) for inner in value]
    return word if isinstance(value, str) else value


def readers(folder: Path, good: RunSpec) -> dict[str, Callable[[bytes], object]]:
    """Whatever reads a file or a text of somebody else."""
    from lrcontrol import api
    from lrcontrol.training.tasks.image_files import _decoded

    def placed(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def go(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return read(folder / name)

        return go

    def stored(path: Path) -> object:
        with Store(path, create=False) as store:
            return list(store.records())

    def checkpoint(part: str) -> Callable[[bytes], object]:
        name = manifest_name(good.id) if part == "manifest" else state_name(good.id)
        whole = (folder / name).read_bytes()

        def go(content: bytes) -> object:
            (folder / name).write_bytes(content)
            try:
                return load_checkpoint(folder, good.id)
            finally:
                (folder / name).write_bytes(whole)

        return go

    return {
        "gradient log": placed("odd.log", lrcontrol.gradient_log),
        "gradient log of events": placed("odd.tfevents.1", lrcontrol.gradient_log),
        "schedule": lambda content: schedule(content.decode("utf-8", "replace")),
        "method": lambda content: method(content.decode("utf-8", "replace")),
        "schedule from JSON": lambda content: from_json(content.decode("utf-8", "replace")),
        "spec": RunSpec.from_json,
        "record": Record.from_summary,
        "selection": placed("selection.json", lambda path: api.load_selection(path.parent)),
        "store": placed("other.db", stored),
        "checkpoint's manifest": checkpoint("manifest"),
        "checkpoint's tensors": checkpoint("tensors"),
        "old pickle": lambda content: pickles.unpickled("odd.pkl", content),
        "gzip": lambda content: formats.gunzipped("odd.gz", content),
        "idx": lambda content: formats.idx("odd", content),
        "members": lambda content: list(formats.members("odd.zip", content)),
        "table": lambda content: formats.numbers("odd.csv", content),
        "svmlight": lambda content: formats.svmlight("odd", content, 5),
        "text": lambda content: formats.text("odd.txt", content),
        "images": lambda content: _decoded("odd", "train", content, 2),
    }


def main(folder: Path) -> None:
    """Read everything with everything."""
    from lrcontrol.training.loop import train

    sentinel = folder / "sentinel"
    good = RunSpec(
        task="iris-softmax", method="sgd:constant", base_lr=0.1, total_steps=4, stop_step=2, checkpoint=True
    )
    train(good, weights=folder)
    files = dict(corpus(str(sentinel)))
    ways = readers(folder, good)
    seen: list[str] = []
    watching = False
    bad = {"exec", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect"}

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in bad and not (event == "import" and arguments[0] in sys.modules):
            seen.append(f"{event} {str(arguments)[:80]}")
        writes = event == "open" and isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax+"))
        if watching and writes and not str(arguments[0]).startswith(str(folder)):
            seen.append(f"open {arguments[0]} {arguments[1]}")

    def read(way: Callable[[bytes], object], content: bytes) -> None:
        with contextlib.suppress(LRControlError, ValueError, KeyError, TypeError):
            way(content)

    buffer, packed = io.BytesIO(), io.BytesIO()
    np.savez(buffer, innocent=np.zeros(2))
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("innocent"))
    innocent = (b"", b"{}", b"\x80\x02].", buffer.getvalue(), packed.getvalue(), record(0).summary())
    for encoding in ("cp437", "utf-8-sig", *(f"utf-{width}-{end}" for width in (16, 32) for end in ("le", "be"))):
        "".encode(encoding)  # Python's own, loaded when they are first asked for
    for way in ways.values():  # what is imported for an innocent file is imported now
        for content in innocent:
            read(way, content)
    sys.addaudithook(watch)
    readings = 0
    for name, content in files.items():
        for how, way in ways.items():
            before = len(seen)
            watching = True
            try:
                read(way, content)
            except Exception as error:
                seen.append(f"{type(error).__name__} {error}"[:100])
            finally:
                watching = False
            seen[before:] = [f"{name} by {how}: {each}" for each in seen[before:]]
            readings += 1
    print(json.dumps({"files": len(files), "readings": readings, "seen": seen, "sentinel": sentinel.exists()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
