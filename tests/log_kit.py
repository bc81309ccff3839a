"""Gradient logs to try readers with: made, cut at every byte, flipped at every byte, mixed, large, and strange.

    python -m log_kit make FOLDER
    python -m log_kit strange FOLDER
    python -m log_kit large FILE

make strange files, and print what a fresh process found: how long each took, how much memory, whether torch is there.
"""

import gzip
import json
import os
import random
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lrcontrol
from lrcontrol.errors import BadInput, LRControlError
from lrcontrol.runs.gradient_log import GradientLog, GradientLogFile
from lrcontrol.runs.log_lines import csv_lines, json_lines

KINDS = ("jsonl", "csv", "tfevents")


def slow_crc32c(content: bytes) -> int:
    """CRC-32C bit by bit, masked as event files have it: the twin of our own."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    content = b""
    while value > 127:
        content, value = content + bytes([value & 127 | 128]), value >> 7
    return content + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def event(step: int, tag: str, value: float, kind: str = "simple") -> bytes:
    """One event as the protocol has it, with the value in one of the places where writers put it."""
    held = {
        "simple": lambda: b"\x15" + struct.pack("<f", value),
        "float": lambda: field(8, b"\x08\x01\x12\x00" + field(5, struct.pack("<f", value))),
        "float alone": lambda: field(8, b"\x08\x01\x2d" + struct.pack("<f", value)),
        "double": lambda: field(8, b"\x08\x02" + field(6, struct.pack("<d", value))),
        "content": lambda: field(8, b"\x08\x01" + field(4, struct.pack("<f", value))),
        "text": lambda: field(8, b"\x08\x07" + field(8, b"words")),
    }[kind]()
    summary = field(1, field(1, tag.encode()) + held)
    return b"\x09" + struct.pack("<d", 1e9 + step) + b"\x10" + varint(step) + field(5, summary)


def frame(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    return head + struct.pack("<I", slow_crc32c(head)) + content + struct.pack("<I", slow_crc32c(content))


def event_file(events: list[bytes]) -> bytes:
    begin = b"\x09" + struct.pack("<d", 1e9) + field(3, b"brain.Event:2")
    return b"".join(map(frame, [begin, *events]))


@dataclass(frozen=True)
class Sample:
    """A log of one run in a file's bytes, where each of its records ends, and what it holds."""

    kind: str
    content: bytes
    ends: list[int]
    steps: np.ndarray
    l2: np.ndarray


def sample(kind: str, size: int, seed: int = 0) -> Sample:
    """A log of about `size` bytes."""
    rng = np.random.default_rng(seed)
    ends, content = [], {"csv": b"step,l1,l2,loss,lr\n", "jsonl": b"", "tfevents": event_file([])}[kind]
    steps: list[int] = []
    norms: list[float] = []
    while len(content) < size:
        step, norm = len(steps) * 10, float(np.float32(rng.lognormal()))
        columns = {name: np.array([rng.lognormal()]) for name in ("l1", "loss", "lr")} | {"l2": np.array([norm])}
        if kind == "csv":
            content += csv_lines(["step", "l1", "l2", "loss", "lr"], np.array([step]), columns)
        elif kind == "jsonl":
            content += json_lines(np.array([step]), columns)
        else:
            content += frame(event(step, "train/grad_norm", norm))
        ends.append(len(content))
        steps.append(step)
        norms.append(norm)
    return Sample(kind, content, ends, np.array(steps), np.array(norms))


def right(log: GradientLog, made: Sample) -> tuple[int, int]:
    """How many readings of a log are those that were made, and how many are others."""
    known = dict(zip(made.steps.tolist(), made.l2.tolist(), strict=True))
    norms = log.l2.tolist() if log.l2 is not None else []
    same = sum(known.get(step) == norm for step, norm in zip(log.steps.tolist(), norms, strict=True))
    return same, len(log) - same


@dataclass
class Counted:
    tried: int = 0
    wrong: int = 0
    raised: int = 0
    untold: int = 0

    @property
    def bad(self) -> int:
        return self.wrong + self.raised + self.untold


def cut(made: Sample, folder: Path, every: int = 1) -> Counted:
    """Read the log cut at every byte: right is exactly what was whole, with a note if there is a tail."""
    found, path = Counted(), folder / f"cut.{made.kind}"
    for length in range(0, len(made.content) + 1, every):
        path.write_bytes(made.content[:length])
        found.tried += 1
        try:
            log = lrcontrol.gradient_log(path)
        except LRControlError:
            found.raised += 1
            continue
        complete = 1 if made.kind == "jsonl" else 0  # a closed object is whole, whatever follows
        whole = sum(end - complete <= length for end in made.ends)
        found.wrong += right(log, made) != (whole, 0)
        begin = {"csv": 19, "jsonl": 0, "tfevents": len(event_file([]))}[made.kind]
        at_an_end = any(length in (end, end - complete) for end in [0, begin, *made.ends])
        found.untold += not at_an_end and not log.notes
    return found


def flip(made: Sample, folder: Path, every: int = 1, seed: int = 0) -> Counted:
    """Read the log with one byte changed, at every byte: all records but one are right, and it is told."""
    found, path, chance = Counted(), folder / f"flipped.{made.kind}", random.Random(seed)
    for place in range(chance.randrange(every), len(made.content), every):
        content = bytearray(made.content)
        content[place] ^= chance.randrange(1, 256)
        path.write_bytes(content)
        found.tried += 1
        try:
            log = lrcontrol.gradient_log(path)
        except LRControlError:
            found.raised += 1
            continue
        same, others = right(log, made)
        found.wrong += same < len(made.steps) - 1 or (others > 0 and made.kind != "csv")  # CSV has no checksums
        found.untold += not log.notes
    return found


@dataclass(frozen=True)
class Mix:
    """Rows in the order of a file, and what is to be read of them; nothing where they are to be refused."""

    kind: str
    steps: list[int]
    norms: list[float]
    runs: list[str] | None
    truth: dict[int | str | None, dict[int, float] | None]


def mix(seed: int) -> Mix:
    """Runs that were resumed, doubled, joined, named, shuffled, repeated or interleaved, at random."""
    chance = random.Random(seed)
    kind = ("resumed", "doubled", "joined", "named", "shuffled", "repeated", "interleaved", "jumbled")[seed % 8]
    count, every = chance.randrange(20, 60), chance.choice((1, 1, 10, 50))
    steps = list(range(chance.choice((0, every)), count * every, every))

    def norms(length: int) -> list[float]:
        return [chance.lognormvariate(0, 1) for _ in range(length)]

    first, second = norms(len(steps)), norms(len(steps))
    one, two = dict(zip(steps, first, strict=True)), dict(zip(steps, second, strict=True))
    if kind == "resumed":
        rows, truth, at = [], {}, 0
        for _ in range(chance.randrange(1, 4)):
            end = chance.randrange(at + 8, len(steps) + 8)
            part = [(step, chance.lognormvariate(0, 1)) for step in steps[at:end]]
            rows += part
            truth = {step: norm for step, norm in truth.items() if step < steps[at]} | dict(part)
            at = chance.randrange(1, min(end, len(steps)) - 3)
        return Mix(kind, [step for step, _ in rows], [norm for _, norm in rows], None, {None: truth})
    if kind == "doubled":
        part = chance.randrange(3, len(steps))
        return Mix(kind, steps + steps[:part], first + first[:part], None, {None: one})
    if kind == "joined":
        return Mix(kind, steps * 2, first + second, None, {None: None, 0: one, 1: two, -1: two, 2: None})
    if kind == "named":
        rows = [(step, norm, "a") for step, norm in one.items()] + [(step, norm, "b") for step, norm in two.items()]
        rows = sorted(rows) if chance.random() < 0.5 else rows
        columns = [list(column) for column in zip(*rows, strict=True)]
        return Mix(kind, *columns, {None: None, "a": one, "b": two, "c": None})
    if kind == "shuffled":
        order = chance.sample(range(len(steps)), len(steps))
        return Mix(kind, [steps[at] for at in order], [first[at] for at in order], None, {None: one})
    if kind == "repeated":
        at = chance.randrange(2, len(steps) - 2)
        again = steps[: at + 1] + steps[at:]
        return Mix(
            kind,
            again,
            first[: at + 1] + second[at : at + 1] + first[at + 1 :],
            None,
            {None: one | {steps[at]: second[at]}},
        )
    pairs = [row for pair in zip(one.items(), two.items(), strict=True) for row in pair]
    if kind == "jumbled":
        chance.shuffle(pairs)
    return Mix(kind, [step for step, _ in pairs], [norm for _, norm in pairs], None, {None: None, 0: None})


def written(made: Mix, path: Path) -> Path:
    """The rows of a mix in a file, as its suffix says."""
    runs = made.runs or [None] * len(made.steps)
    rows = zip(made.steps, made.norms, runs, strict=True)
    if path.suffix == ".csv":
        lines = [f"{step},{norm!r}" + f",{run}" * bool(run) for step, norm, run in rows]
        path.write_text("\n".join(["step,l2" + ",run" * bool(made.runs), *lines, ""]))
    elif path.suffix == ".jsonl":
        objects = [{"step": step, "l2": norm} | ({"run": run} if run else {}) for step, norm, run in rows]
        path.write_text("".join(json.dumps(each) + "\n" for each in objects))
    elif path.suffix == ".json":
        objects = [{"step": step, "l2": norm} for step, norm, _ in rows]
        path.write_text(json.dumps(objects))
    else:
        path.write_bytes(event_file([event(step, "l2", norm, "double") for step, norm, _ in rows]))
    return path


def mixes(folder: Path, count: int) -> tuple[Counted, dict[str, int]]:
    """Read `count` mixes: right is what is true, or a refusal where nothing is; wrong is anything else."""
    found, kinds = Counted(), {}
    for seed in range(count):
        made = mix(seed)
        kinds[made.kind] = kinds.get(made.kind, 0) + 1
        suffix = (".csv", ".jsonl") if made.runs else (".csv", ".jsonl", ".json")
        ending = suffix[seed // 8 % len(suffix)] if made.runs or seed // 8 % 10 else ".tfevents"
        path = written(made, folder / f"mix{ending}")
        for run, truth in made.truth.items():
            found.tried += 1
            try:
                log = lrcontrol.gradient_log(path, run=run)
            except BadInput:
                found.raised += truth is not None
                continue
            read = dict(zip(log.steps.tolist(), log.norms("l2").tolist(), strict=True))
            found.wrong += truth is None or list(read.items()) != sorted(truth.items())
            plain = made.runs is not None or made.steps == sorted(set(made.steps))
            found.untold += not plain and not log.notes
    return found, kinds


def large(path: Path, rows: int) -> None:
    """A log of many rows with steps and norms, as `GradientLogFile` writes it."""
    norms = np.random.default_rng(0).lognormal(size=100_000)
    with GradientLogFile(path) as file:
        for begin in range(0, rows, len(norms)):
            file.write(np.arange(begin, min(begin + len(norms), rows)), l2=norms[: rows - begin])


ROWS = b"".join(b"%d,%d.5\n" % (step, step % 7) for step in range(100))
TABLE = b"step,l2\n" + ROWS
LINES = b"".join(b'{"step":%d,"l2":%d.5}\n' % (step, step % 7) for step in range(100))
WHOLE = 100
SPELLINGS = (
    b"NaN",
    b"nan",
    b"-nan",
    b"inf",
    b"-inf",
    b"+Inf",
    b"Infinity",
    b"-Infinity",
    b"1.#INF",
    b"1.#QNAN",
    b"-nan(ind)",
    b"1",
)
JSON_SPELLINGS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b'"NaN"',
    b'"Infinity"',
    b'"inf"',
    b'"-inf"',
    b'"nan"',
    b"1e5",
    b"1",
)


def strange(folder: Path) -> Iterator[tuple[str, Path, int | None]]:
    """Files one meets: name, path, and how many readings are right; None where only an error is."""

    def made(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    def sparse(name: str, begin: bytes) -> Path:
        path = made(name, begin)
        os.truncate(path, 1 << 30)
        return path

    right: dict[str, bytes] = {
        "bom.csv": b"\xef\xbb\xbf" + TABLE,
        "bom.jsonl": b"\xef\xbb\xbf" + LINES,
        "crlf.csv": TABLE.replace(b"\n", b"\r\n"),
        "crlf.jsonl": LINES.replace(b"\n", b"\r\n"),
        "cr.csv": TABLE.replace(b"\n", b"\r"),
        "semicolons-comma.csv": TABLE.replace(b",", b";").replace(b".", b","),
        "semicolons-point.csv": TABLE.replace(b",", b";"),
        "tabs.tsv": TABLE.replace(b",", b"\t"),
        "spaces.csv": TABLE.replace(b",", b" , "),
        "quotes.csv": b"".join(b'"' + line.replace(b",", b'","') + b'"\n' for line in TABLE.splitlines()),
        "excel.csv": b"sep=,\n" + TABLE,
        "comment.csv": b"# made by hand\n\n" + TABLE,
        "blank-lines.csv": TABLE.replace(b"\n", b"\n\n"),
        "nul-tail.csv": TABLE + bytes(4096),
        "nul-tail.jsonl": LINES + bytes(4096),
        "nul-head.jsonl": bytes(512) + LINES,
        "utf-16.csv": TABLE.decode().encode("utf-16"),
        "utf-16-be.csv": b"\xfe\xff" + TABLE.decode().encode("utf-16-be"),
        "utf-16-no-mark.csv": TABLE.decode().encode("utf-16-le"),
        "utf-32.jsonl": LINES.decode().encode("utf-32"),
        "latin-1.csv": b"step,l2,gr\xf6\xdfe\n" + ROWS.replace(b"\n", b",\xe4\n"),
        "packed.csv.gz": gzip.compress(TABLE),
        "packed-twice.csv.gz": gzip.compress(TABLE[:300]) + gzip.compress(TABLE[300:]),
        "packed-no-suffix": gzip.compress(LINES),
        "huge-ints.jsonl": LINES + b'{"step":%s,"l2":1}\n{"step":101,"l2":%s}\n' % (b"9" * 9999, b"9" * 9999),
        "huge-exponents.csv": TABLE.replace(b"3,3.5\n", b"3,1e999\n"),
        "spellings.csv": b"step,l2\n"
        + b"".join(b"%d,%b\n" % (at, SPELLINGS[at % len(SPELLINGS)]) for at in range(100)),
        "spellings.jsonl": b"".join(
            b'{"step":%d,"l2":%b}\n' % (at, JSON_SPELLINGS[at % len(JSON_SPELLINGS)]) for at in range(100)
        ),
        "float-steps.csv": TABLE.replace(b",1.5", b".0,1.5"),
        "many-columns.csv": b"step,l2" + b"".join(b",c%d" % at for at in range(100_000)) + b"\n"
        + ROWS.replace(b"\n", b"," * 100_000 + b"\n"),
        "nested.jsonl": LINES.replace(b'"l2"', b'"h":{"bins":[1,[2,{}]]},"l2"'),
        "words.csv": TABLE + b"100,many\nsoon,1.5\n",
        "scattered-nul.jsonl": LINES.replace(b"\n", b"\0\n\0"),
    }  # fmt: skip
    for name, content in right.items():
        yield name, made(name, content), WHOLE
    yield "duplicate-names.csv", made("duplicate-names.csv", b"step,l2,l2\n" + ROWS.replace(b"\n", b",1\n")), None
    yield (
        "many-columns-unknown.csv",
        made("many-columns-unknown.csv", b",".join(b"c%d" % at for at in range(100_000)) + b"\n"),
        None,
    )
    yield "empty.csv", made("empty.csv", b""), 0
    yield "header-only.csv", made("header-only.csv", b"step,l2\n"), 0
    yield "junk", made("junk", random.Random(0).randbytes(1 << 20)), None
    yield "junk.tfevents", made("junk.tfevents", random.Random(1).randbytes(1 << 20)), 0
    yield "pickle.csv", made("pickle.csv", b"\x80\x04cos\nsystem\n(S'touch pickled'\ntR."), None
    yield "pickle-0.csv", made("pickle-0.csv", b"cos\nsystem\n(S'touch pickled'\ntR.\n"), None
    yield "deep.json", made("deep.json", b"[" * 1_000_000), None
    yield "deep.jsonl", made("deep.jsonl", LINES + b'{"step":100,"l2":' + b"[" * 1_000_000 + b"\n"), WHOLE
    yield "bomb.csv.gz", made("bomb.csv.gz", gzip.compress(b"step,l2\n" + b"0" * (1 << 26))), None
    yield "bomb-rows.csv.gz", made("bomb-rows.csv.gz", gzip.compress(b"step,l2\n" + b"0,0\n" * (1 << 24))), None
    yield "torn.csv.gz", made("torn.csv.gz", gzip.compress(random.Random(0).randbytes(100) + TABLE)[:-200]), None
    yield "damaged.csv.gz", made("damaged.csv.gz", gzip.compress(TABLE)[:-8] + bytes(8)), None
    yield "numbers.csv", made("numbers.csv", ROWS), None
    yield "prose.txt", made("prose.txt", b"The norm of the gradient fell.\n" * 99), None
    yield "one-line.csv", sparse("one-line.csv", b"step,l2\n0,1\n"), 1
    yield "one-line.jsonl", sparse("one-line.jsonl", b'{"step":0,"l2":1}\n'), 1
    yield "one-line", sparse("one-line", b""), 0
    yield "one-line.tfevents", sparse("one-line.tfevents", event_file([event(0, "grad_norm", 1.0)])), 1
    os.mkfifo(folder / "fifo.csv")
    yield "fifo", folder / "fifo.csv", None
    (folder / "folder").mkdir()
    yield "folder without logs", folder / "folder", None
    (folder / "loop").symlink_to(folder / "loop")
    yield "link to itself", folder / "loop", None
    yield "nothing", folder / "nothing", None
    yield "device", Path("/dev/zero"), None
    yield "name with NUL", Path("a\0b"), None


def _make(folder: Path) -> None:
    files = [(name, str(path), readings) for name, path, readings in strange(folder)]
    (folder / "list").write_text(json.dumps(files))


def _strange(folder: Path) -> None:
    for name, path, readings in json.loads((folder / "list").read_text()):
        began = time.monotonic()
        try:
            log = lrcontrol.gradient_log(path)
            verdict, count = "read", len(log)
        except (LRControlError, ValueError) as error:
            verdict, count = f"{type(error).__name__}: {error}", None
        told = {"name": name, "right": count == readings, "verdict": verdict, "readings": count}
        print(json.dumps(told | {"seconds": time.monotonic() - began, "megabytes": _peak()}))
    print(json.dumps({"torch": "torch" in sys.modules, "pickled": Path("pickled").exists()}))


def _large(path: Path) -> None:
    import lrcontrol.interop.logs.read

    began = time.monotonic()
    log = lrcontrol.gradient_log(path)
    seconds = time.monotonic() - began
    print(
        json.dumps({"readings": len(log), "seconds": seconds, "megabytes": _peak(), "sum": float(log.norms().sum())})
    )


def _peak() -> float:
    """Megabytes that this process had at most; `ru_maxrss` would count those of the process that began it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def fresh(*words: str) -> list[dict[str, Any]]:
    """What this module printed in a fresh process."""
    import subprocess

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-m", "log_kit", *words],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


COMMANDS: dict[str, Callable[[Path], None]] = {"make": _make, "strange": _strange, "large": _large}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]))
