"""Gradient norms in event files of TensorBoard: one, or those of a folder, of which every folder below is a run."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText
from lrcontrol.interop.logs.events import Scalars, scalars
from lrcontrol.interop.logs.frames import begins_like_frames, frames
from lrcontrol.interop.logs.joined import run_number
from lrcontrol.interop.logs.names import Wanted, choose, known
from lrcontrol.interop.logs.table import Table, left_out
from lrcontrol.interop.logs.text import Text, opened

__all__ = ["event_files", "looks_like_events", "read_events"]

DEEPEST, MOST = 6, 100_000  # levels and files of a folder that are looked at
MARK = "tfevents"


def looks_like_events(text: Text) -> bool:
    """Whether a file is an event file, by its first bytes or, where it is damaged, by its name."""
    return begins_like_frames(text.raw) or (MARK in text.path.name and not text.packed)


def event_files(folder: Path) -> dict[str, list[Path]]:
    """The event files below a folder, in the order they were begun, by the folder they are in."""
    found: dict[str, list[Path]] = {}
    seen = 0
    for at, folders, files in os.walk(folder):
        run = os.path.relpath(at, folder)
        seen += len(files)
        if run.count(os.sep) >= DEEPEST or seen > MOST:
            folders.clear()
        folders.sort()
        events = [Path(at, name) for name in files if MARK in name and Path(at, name).is_file()]
        if events:
            found[run] = sorted(events, key=_begun)
    return found


def read_events(runs: dict[str, list[Path]], wanted: Wanted, run: int | str | None, where: str) -> Table:
    """The scalars of a run.

    Raises:
        BadText: no tag is known.
        BadInput: a tag or run that must be chosen, or that is not there.
    """
    if wanted.step_column is not None:
        raise BadInput(f"`step_column`: every event of {where} has a step of its own; leave it out.")
    names = list(runs)
    name = names[run_number(run, names, where)] if len(names) > 1 else names[0]
    tags: dict[str, list[Scalars]] = {}
    others: dict[str, None] = {}
    notes: list[str] = []
    damaged = base = 0
    for path in runs[name]:
        with opened(path) as file:
            for block in frames(file):
                parts, bad = scalars(block)
                for part in parts:
                    if known(part.tag) or part.tag == wanted.column:
                        places = part.places + base
                        tags.setdefault(part.tag, []).append(part._replace(places=places))
                    else:
                        others[part.tag] = None
                damaged += block.damaged + bad
                base += len(block.buffer)
                if block.torn:
                    damaged += 1
                    notes.append(f"the last {block.torn} bytes of {path} are a torn event, and were left out.")
    notes[:0] = left_out(damaged - len(notes), "damaged event", where)
    table = _table(tags, list(others), wanted, where) if tags or others else Table(np.zeros(0, np.int64), {})
    table.skipped += damaged
    table.notes[:0] = notes
    table.names = (name,) if len(names) > 1 else ()
    return table


def _begun(path: Path) -> tuple[int, str]:
    """When a file was begun, as its name tells."""
    seconds = re.search(MARK + r"\.(\d+)", path.name)
    return int(seconds[1]) if seconds else 0, path.name


def _table(tags: dict[str, list[Scalars]], others: Sequence[str], wanted: Wanted, where: str) -> Table:
    names = [*tags, *others]
    chosen = choose(names, wanted, where)
    if not chosen.columns.keys() - {"step", "run"}:
        some = ", ".join(map(repr, names[:12]))
        raise BadText(
            f"{where} has no tag of gradient norms; name it with column=, which may be: {checks.shown(some)}."
        )
    read = {role: _in_order(tags[tag]) for role, tag in chosen.columns.items() if role not in ("step", "run")}
    main = read[next(role for role in ("l2", "l1", "loss", "lr") if role in read)]
    if all(np.array_equal(each.steps, main.steps) for each in read.values()):
        table = Table(main.steps, {role: each.values for role, each in read.items()})
    else:  # a row of its own for each scalar; they are put together by their steps
        order = np.argsort(np.concatenate([each.places for each in read.values()]), kind="stable")
        table = Table(np.concatenate([each.steps for each in read.values()])[order], {})
        begin = 0
        for role, each in read.items():
            values, there = np.full(len(order), np.nan), np.zeros(len(order), np.bool_)
            values[begin : begin + len(each.steps)] = each.values
            there[begin : begin + len(each.steps)] = True
            table.columns[role], table.there[role] = values[order], there[order]
            begin += len(each.steps)
    table.notes += chosen.notes
    return table


def _in_order(parts: Sequence[Scalars]) -> Scalars:
    """The scalars of a tag in the order of the file, those with impossible steps left out."""
    places = np.concatenate([part.places for part in parts])
    order = np.argsort(places, kind="stable")
    steps = np.concatenate([part.steps for part in parts])[order]
    kept = (steps >= 0) & (steps <= checks.LARGEST_STEP)
    values = np.concatenate([part.values for part in parts])[order]
    return Scalars(parts[0].tag, places[order][kept], steps[kept], values[kept])
