"""Schedules as documents: there and back by the thousand, damaged at random, and built to hurt; what is no data.

Each test prints its figure; the full size is slow, and the same at a smaller size is part of every run.
"""

import ast
import contextlib
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrcontrol as lrc
from chance import TOGETHER, any_schedule
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import control
from lrcontrol.errors import BadInput, BadText, DoesNotFit
from lrcontrol.runs.method import method
from lrcontrol.schedules.exact import power_of_written
from lrcontrol.schedules.laying import edges_of_turns
from lrcontrol.schedules.profiles import Cosine, Linear, Table
from lrcontrol.schedules.reader import LARGEST_DOCUMENT
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import Cycled, Nested, Schedule, Segment, compact_json
from lrcontrol.schedules.text import FORMAT, VERSION, from_json, schedule, to_json

PACKAGE = Path(lrc.__file__).parent


def sizes(small: int, full: int) -> Any:
    """The same test small, in every run, and full, where there is time."""
    return pytest.mark.parametrize("count", [small, pytest.param(full, marks=pytest.mark.slow)])


def say(capsys: Any, figure: str) -> None:
    with capsys.disabled():
        print(f"\n{figure}", end="")


@sizes(600, 100_000)
def test_text_json_and_object_are_one(count: int, capsys: Any) -> None:
    """Random trees of all parts (seed 3001): both forms read back equal, and are written the same again."""
    chance, off = random.Random(3001), []
    for _ in range(count):
        made = any_schedule(chance, chance.choice([1, 1, 1, 2, 2, 3, 4]))
        text, document = str(made), to_json(made)
        by_text, by_json = schedule(text), from_json(document)
        if not (made == by_text == by_json and hash(made) == hash(by_text) == hash(by_json)) or (
            str(by_json),
            to_json(by_text),
        ) != (text, document):
            off.append(text)
    say(capsys, f"ROUND-TRIPS schedules={count} off={len(off)}")
    assert off == []


def test_the_deepest_read_back() -> None:
    """Three hundred chains of parts in parts (seed 3002), eight deep, each with company."""
    chance = random.Random(3002)
    for _ in range(300):
        made = lrc.linear(share=0.5).then(lrc.rex())
        for _ in range(7):
            company = any_schedule(chance, 1)
            kind = chance.choice([Cycled, Nested, *TOGETHER])
            turns = {"shrink": 0.5, **({"period": 50} if kind is Cycled else {"times": 2})}
            part = kind(made, **turns) if kind in (Cycled, Nested) else kind((made, company), share=0.5)
            made = Schedule((part, *lrc.linear(steps=1).parts)[: chance.randint(1, 2)])
        assert schedule(str(made)) == made == from_json(to_json(made))


# ---- X2 ----

FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "pickle.load",
    "pickle.loads",
    "marshal.load",
    "marshal.loads",
    "torch.load",
    "joblib.load",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute, '' of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def call_sites(file: Path) -> list[str]:
    """What would run code, or read it, from data."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        place = f"{file.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            if dotted(node.func) in FORBIDDEN_CALLS:
                found.append(f"{place} {dotted(node.func)}")
            found += [
                f"{place} shell"
                for word in node.keywords
                if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            ]
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{place} {name}" for name in modules if name.partition(".")[0] in FORBIDDEN_MODULES]
    return found


def test_x2_nothing_in_the_package_runs_data(capsys: Any) -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    found = [site for file in files for site in call_sites(file)]
    say(capsys, f"X2 files={len(files)} sites={len(found)}")
    assert len(files) > 50
    assert found == []


def test_x2_would_see_them(tmp_path: Path) -> None:
    """The scan itself: one of each is found."""
    lines = ["import pickle", "from yaml import load", "eval('1')", "import os; os.system('x')", "run(a, shell=True)"]
    for line in lines:
        (tmp_path / "one.py").write_text(line)
        assert len(call_sites(tmp_path / "one.py")) == 1, line


# ---- X3 ----

NASTY = [
    "null", "true", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "-1", "0", "1", "0.5", "1e-4", '"1e-4"', "1.0",
    "1000000000000", "9223372036854775808", "9" * 400, "9" * 5000, "1e309", "5e-324", "{}", "[]", '"x"', '"linear"',
    '"\\ud800"', '"' + "a" * 2000 + '"', "[" * 200 + "]" * 200, '{"part":"segment"}', "[0.1,0.5]", "[0.5,0.1]",
]  # fmt: skip
PIECES = [
    "(", ")", "+", "*", ",", "=", "-", "1e999", "nan", "inf", "linear", "0", "9" * 20, "9" * 500, ".", "e", " ", "",
    "\u00e9", ":", "repeat(", "max(", "times=1000000000000", "period=1", "growth=1.0000001", "1e12", "true", "ep",
    "\x00", "steps=", "share=0.5", "over(", "shrink=0", "9223372036854775808", "start=-1", "every=1e12",
]  # fmt: skip
RAW = [b"null", b"1e999", b"-1", b'"x"', b"{}", b"[]", b"NaN", b"true", b"9" * 30, b",", b"}", b'"', b"\xff", b"\x00"]


def any_place(value: Any, chance: random.Random) -> tuple[Any, Any]:
    """A container inside `value`, and a key or index of it."""
    places = []
    heap = [value]
    while heap:
        inside = heap.pop()
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else []
        places += [(inside, key) for key in keys]
        heap += [inside[key] for key in keys]
    chosen: tuple[Any, Any] = chance.choice(places)
    return chosen


def damaged_document(good: str, chance: random.Random) -> str | bytes:
    """A JSON document with values, keys or bytes exchanged, doubled, taken away or added."""
    if chance.random() < 0.3:
        raw = bytearray(good.encode())
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randint(0, 8)] = chance.choice([*RAW, bytes([chance.randrange(256)]), b""])
        return bytes(raw)
    document = json.loads(good)
    nasty = []
    for _ in range(chance.randint(1, 2)):
        inside, key = any_place(document, chance)
        match chance.randrange(5 if isinstance(inside, dict) else 3):
            case 0 | 1:
                nasty.append(chance.choice(NASTY))
                inside[key] = f"NASTY{len(nasty) - 1}"
            case 2:
                del inside[key]
            case 3:
                inside[chance.choice(["x", "beta", "part", "__class__", "steps", "\ud800"])] = inside[key]
            case 4:
                nasty.append(f"{json.dumps(inside[key])},{json.dumps(key)}:{json.dumps(inside[key])}")
                inside[key] = f"NASTY{len(nasty) - 1}"  # doubled
        if not document:
            break
    text = json.dumps(document)
    for index, piece in enumerate(nasty):
        text = text.replace(f'"NASTY{index}"', piece)
    return text


def damaged_text(good: str, chance: random.Random) -> str:
    """A text with pieces put in, or parts of it taken away or doubled."""
    for _ in range(chance.randint(1, 4)):
        at, past = chance.randrange(len(good) + 1), chance.randint(0, 6)
        again = good[at : at + chance.randint(0, 40)] if chance.random() < 0.2 else chance.choice(PIECES)
        good = good[:at] + again + good[at + past :]
    return good


def costs(read: Callable[[Any], Any], given: Any) -> tuple[Any, float]:
    """What is read, None where it is refused, and the processor's time it took, the shortest of three if long."""
    taken = []
    while True:
        begin = time.process_time()
        try:
            made = read(given)
        except BadInput as error:
            assert len(str(error)) < 700, str(error)[:200]  # noqa: PT017 - the same is expected of every refusal
            made = None
        taken.append(time.process_time() - begin)
        if taken[-1] < 0.1 or len(taken) == 3:
            return made, min(taken)


@sizes(3000, 100_000)
def test_x3_damaged_documents_are_read_or_refused_and_nothing_else(count: int, capsys: Any) -> None:
    """Text and JSON in turn (seed 3003): what is accepted is finite, within its bounds, and reads back."""
    chance, accepted, slowest, largest = random.Random(3003), 0, 0.0, 0
    usual = [recipe() for recipe in RECIPES.values()]
    for index in range(count):
        good = chance.choice(usual) if chance.random() < 0.3 else any_schedule(chance, chance.choice([1, 1, 2, 3]))
        by_text = index % 2 == 0
        given = damaged_text(str(good), chance) if by_text else damaged_document(to_json(good), chance)
        measured = index % 10 < 2
        if measured:
            tracemalloc.start()
        made, taken = costs(schedule if by_text else from_json, given)
        if measured:
            largest = max(largest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        else:
            slowest = max(slowest, taken)
        if made is None:
            continue
        accepted += 1
        assert schedule(str(made)) == made == from_json(to_json(made))
        try:
            values = made.multiplier(np.array([0, 1, 50, 99, 100, 1000]), 100)
        except DoesNotFit:
            continue
        assert np.all(np.isfinite(values))
        assert np.all((values >= 0) & (values <= made.largest))
    say(
        capsys,
        f"X3 documents={count} accepted={accepted} crashes=0 slowest={slowest * 1e3:.1f} ms "
        f"largest={largest / 2**20:.2f} MB",
    )
    assert accepted > count / 100
    assert slowest < 0.1
    assert largest < 50 * 2**20


# ---- X4 ----

SEGMENT = '{"part":"segment","profile":{"profile":"linear"}%s}'


def whole(parts: str) -> str:
    return f'{{"format":"lrcontrol/schedule","version":1,"schedule":{{"parts":[{parts}]}}}}'


def nested(levels: int, times: str) -> str:
    inner = SEGMENT % ""
    for _ in range(levels):
        inner = f'{{"part":"nested","schedule":{{"parts":[{inner}]}},"times":{times}}}'
    return whole(inner)


BOMBS: dict[str, str] = {
    "a thousand laughs, as turns of turns": nested(7, "10000"),
    "1e12 turns": nested(1, "1000000000000"),
    "1e12 turns as text": "repeat(linear, times=1000000000000)",
    "turns of turns as text": "repeat(" * 6 + "linear" + ", times=1000)" * 6,
    "more segments than are allowed": whole(",".join([SEGMENT % ',"steps":0'] * 12_000)),
    "more schedules than are allowed": "+".join(["linear(steps=1)"] * 20_000),
    "brackets a million deep": "(" * LARGEST_DOCUMENT,
    "lists a million deep": "[" * LARGEST_DOCUMENT,
    "objects without end": '{"a":' * (LARGEST_DOCUMENT // 5),
    "a number of a million digits": whole(SEGMENT % (',"steps":' + "9" * 1_000_000)),
    "a number of a million digits as text": "linear(steps=" + "9" * 1_000_000 + ")",
    "a million letters": whole(SEGMENT % (',"sampling":{"at":"' + "a" * 1_000_000 + '"}')),
    "a name of a million letters": "linear(" + "b" * 1_000_000 + "=1)",
    "two hundred thousand values": whole(SEGMENT % (',"sampling":{"shares":[' + "0.5," * 200_000 + "0.5]}")),
    "more than a document may have": whole(SEGMENT % "") + " " * LARGEST_DOCUMENT,
    "aliases of aliases": "a: &a [x]\n" + "".join(f"{name}: &{name} [*a,*a]\n" for name in "bcdefghij"),
}


def test_x4_bombs_are_refused_at_once(capsys: Any) -> None:
    """Each in less than a tenth of a second of the processor, and a few megabytes."""
    slowest, largest = (0.0, ""), 0
    for name, bomb in BOMBS.items():
        read = from_json if bomb.startswith(("{", "[")) else schedule
        made, taken = costs(read, bomb)
        assert made is None, name
        slowest = max(slowest, (taken, name))
        tracemalloc.start()
        with pytest.raises(BadInput):
            read(bomb)
        largest = max(largest, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    say(
        capsys,
        f"X4 bombs={len(BOMBS)} refused={len(BOMBS)} slowest={slowest[0] * 1e3:.0f} ms ({slowest[1]}) "
        f"largest={largest / 2**20:.1f} MB",
    )
    assert slowest[0] < 0.1, slowest
    assert largest < 50 * 2**20


@pytest.mark.parametrize("join", ["+", "*", ","])
def test_the_longest_texts_cost_no_more_than_what_is_allowed(join: str) -> None:
    """Half a million terms are refused by their number, not made first."""
    text = f"max({'1,' * 500_000}1)" if join == "," else join.join(["1"] * 500_000)
    made, taken = costs(schedule, text)
    assert made is None
    assert taken < 2


@pytest.mark.parametrize("read", [schedule, control, method], ids=lambda read: read.__name__)
@pytest.mark.parametrize("join", ["+", "*"])
def test_too_many_terms_are_told_before_one_is_made(read: Callable[[Any], Any], join: str) -> None:
    """Sixty thousand of them, in far less time than ten thousand take to be made."""
    before = "sgd:" if read is method else ""
    _, allowed = costs(read, before + "+".join(["linear(steps=1)"] * 9_999))
    made, refused = costs(read, before + join.join(["linear(steps=1)"] * 60_000))
    assert made is None
    assert refused < allowed / 3
    with pytest.raises(BadText, match="as text must have at most 10000 schedules and numbers, got 60000"):
        read(before + join.join(["linear(steps=1)"] * 60_000))


def test_what_may_be_built_can_be_written_and_read() -> None:
    """Tables and segments up to the largest schedule that is allowed; the next is refused when it is made."""
    chance = random.Random(3006)
    values = [tuple(chance.random() for _ in range(10_000)) for _ in range(6)]
    tables = [Segment(Table(each), share=0.125) for each in values]
    shares = tuple(sorted({chance.random() for _ in range(999)}))
    for parts, most in (
        (tables, 5),
        ([Segment(Linear(), steps=1)] * 10_000, 10_000),
        ([Segment(Cosine(), chance.random(), chance.random(), share=1e-4) for _ in range(10_000)], 6000),
        ([Segment(Linear(), steps=1, sampling=Sampling(shares=shares))] * 100, 50),
        ([Nested(lrc.linear(steps=1), times=1)] * 6000, 6000),
    ):
        made = Schedule(tuple(parts[:most]))
        assert len(str(made)) <= LARGEST_DOCUMENT
        assert schedule(str(made)) == made == from_json(to_json(made))
        if most < len(parts):
            with pytest.raises(BadInput, match="must fit 1048576 bytes when it is written"):
                Schedule(tuple(parts))
    half = Schedule(tuple(tables[:4]))
    with pytest.raises(BadInput, match="must fit 1048576 bytes when it is written"):
        Scheduled(half, weight_decay=half)
    with pytest.raises(BadInput, match="schedules of one control must have at most 10000 segments, got 12000"):
        Scheduled(lrc.linear().repeat(6000), weight_decay=lrc.linear().repeat(6000))


def test_what_is_usual_left_out_reads_back() -> None:
    """The compact JSON of random trees (seed 3007), and of levels that only begin like the usual ones."""
    chance = random.Random(3007)
    like = [lrc.linear(start=1.05).repeat(2, shrink=1.0, growth=1.05), lrc.linear(end=0.05), lrc.constant(1.05)]
    for made in [*like, *(any_schedule(chance, chance.choice([1, 2, 3])) for _ in range(500))]:
        text = compact_json({"format": FORMAT, "version": VERSION, "schedule": made})
        assert from_json(text) == made
        assert len(text) < len(to_json(made)) or "segment" not in to_json(made)


GROWING = "repeat(linear, period=10, growth=1.00000{}, shrink=0.9999)"
SLOW = {
    "turns that grow, side by side": (f"sum({', '.join(map(GROWING.format, range(1, 21)))})", 90_000),
    "turns that grow, each a little lower": (GROWING.format(1), 90_000),
    "turns that grow, of several parts": ("repeat(warmup(0.5)+linear*cosine, period=10, growth=1.000001)", 90_000),
    "turns that grow in turns that grow": (f"repeat({GROWING.format(1)}, period=5000, growth=1.001)", 10**6),
    "turns that grow, side by side and inside": (f"sum({GROWING.format(1)}, " * 7 + "linear" + ")" * 7, 90_000),
    "parts within parts, ten thousand times": (f"repeat({'over(' * 6}linear{', share=1)' * 6}, times=10000)", 10**6),
    "long turns, each to be kept": (
        f"sum({', '.join(f'repeat(cosine, period={65_000 - k})' for k in range(99))})",
        10**6,
    ),
    "turns lower and longer": ("repeat(geometric(0.9, share=0.5), times=5000, growth=1.001, shrink=0.9)", 10**12),
}


@pytest.mark.parametrize("name", SLOW)
def test_small_texts_cost_little_however_they_are_built(name: str) -> None:
    """Read and laid, or refused, in little time: X3, with room for a machine that does other work."""
    text, total = SLOW[name]
    schedule("linear").multiplier(3, total)  # what is made once
    costs_of = []
    for again in range(3):
        begin = time.process_time()
        with contextlib.suppress(BadInput):
            schedule(text).multiplier(3, total + again)
        costs_of.append(time.process_time() - begin)
    assert min(costs_of) < 0.5


def test_turns_that_grow_are_what_scaled_schedules_are() -> None:
    """Scaled where they are read, as if each turn had been scaled and laid by itself; to the bit."""
    chance = random.Random(3005)
    for _ in range(60):
        inner = any_schedule(chance, chance.choice([1, 2, 3]))
        try:
            turns = inner.repeat(4, growth=1.5, shrink=0.7).multipliers(500)
        except BadInput:
            continue
        edges = edges_of_turns(500, 4, 1.5)
        alone = [
            (inner * power_of_written(0.7, turn) if turn else inner).multipliers(past - begin)
            for turn, (begin, past) in enumerate(pairwise(edges))
        ]
        assert np.concatenate(alone).tobytes() == turns.tobytes()
