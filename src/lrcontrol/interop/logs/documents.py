"""Gradient norms in one JSON document: the state of a Transformers trainer, histories of W&B, lists by their names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from lrcontrol.errors import BadInput, BadText
from lrcontrol.interop.logs import numbers
from lrcontrol.interop.logs.names import STEPS, Wanted, choose, is_norm, known, words
from lrcontrol.interop.logs.table import Columns, Table, left_out
from lrcontrol.interop.logs.text import Text

__all__ = ["read_document"]

LARGEST = 1 << 28  # bytes
DEEPEST = 6  # levels below which no lists are looked for
HORIZONS = ("max_steps", "total_steps", "num_training_steps", "max_iters", "iterations", "num_steps")
_Rows = Sequence[Mapping[str, Any]]
Lists = Mapping[str, Sequence[Any]]


class _Found(NamedTuple):
    """Something in a document that may be a log: where it is, its names, and its rows or its lists."""

    path: str
    names: list[str]
    content: _Rows | Lists


def read_document(text: Text, wanted: Wanted) -> Table:
    """The rows of the log in a document.

    Raises:
        BadText: it is no JSON, or holds nothing that is known.
        BadInput: a name that must be chosen, or that is not there.
    """
    where = str(text.path)
    data = _decoded(text, where)
    found = _log(list(_logs(data, "", 0)), wanted, where)
    if wanted.column and wanted.column not in found.names:
        wanted = wanted._replace(column=wanted.column.removeprefix(found.path + "/"))
    chosen = choose(found.names, wanted, where)
    if not chosen.columns:
        raise BadText(f"{where} has no gradient norms; name them with column=, which may be: {_some(found.names)}.")
    roles = ["step", *(role for role in chosen.columns if role not in ("step", "run"))]
    columns = Columns(roles, counted="step" not in chosen.columns)
    keys = [chosen.columns.get(role, "") for role in roles]
    notes, bad = list(chosen.notes), 0
    if isinstance(found.content, Mapping):
        lists, notes_on_lengths = _equal(found.content, roles, keys, where)
        notes += notes_on_lengths
        rows: Iterator[Sequence[Any]] = zip(*lists, strict=True)
    else:
        rows = (tuple(row.get(key) for key in keys) for row in found.content)
    kept: list[list[float | None]] = []
    for row in rows:
        try:
            kept.append([numbers.of_value(value) for value in row])
        except ValueError:
            bad += 1
    columns.add_rows(kept)
    table = columns.table()
    table.skipped = bad + columns.damaged + columns.stepless
    notes += left_out(bad + columns.damaged, "damaged reading", where)
    notes += left_out(columns.stepless, "reading without a step", where)
    if columns.counted:
        notes.append(f"{where} has no list of steps; its readings are counted from 0.")
    table.notes, table.total_steps = notes, _horizon(data)
    return table


def _decoded(text: Text, where: str) -> Any:
    content = bytearray()
    while more := text.read(1 << 22):
        content += more
        if len(content) > LARGEST:
            raise BadText(
                f"{where} is a JSON document of more than {LARGEST >> 20} MB; write a line of JSON a reading."
            )
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return json.loads(content)  # knows NaN and Infinity
    except json.JSONDecodeError as error:
        raise BadText(f"{where} is damaged or cut short at line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError):
        raise BadText(f"{where} cannot be read: it is nested too deeply, or has a number without end.") from None


def _logs(data: Any, path: str, depth: int) -> Iterator[_Found]:
    """All that may be a log."""
    if depth > DEEPEST:
        return
    if isinstance(data, list):
        rows = [row for row in data if isinstance(row, dict)]
        names = dict.fromkeys(
            name for row in rows for name, value in row.items() if not isinstance(value, dict | list)
        )
        if names and len(rows) == len(data):
            yield _Found(path, list(names), rows)
        for at, each in enumerate(data[:8]):
            if isinstance(each, dict | list):
                yield from _logs(each, f"{path}/{at}".lstrip("/"), depth + 1)
    elif isinstance(data, dict):
        lists = {name: _list(values) for name, values in data.items()}
        there = {name: values for name, values in lists.items() if values is not None}
        if there:
            yield _Found(path, list(there), there)
        for name, each in data.items():
            if isinstance(each, dict | list) and name not in there:
                yield from _logs(each, f"{path}/{name}".lstrip("/"), depth + 1)


def _list(values: Any) -> list[Any] | None:
    """A list of readings; that is what a frame of pandas is with its rows by number, too."""
    if isinstance(values, dict) and values and all(key.isdecimal() for key in values):
        values = list(values.values())
    if not isinstance(values, list) or any(isinstance(value, dict | list) for value in values):
        return None
    return values


def _log(found: Sequence[_Found], wanted: Wanted, where: str) -> _Found:
    """The one that is meant: it has what was asked for, or a gradient norm, or else a loss or rate; training first."""
    if wanted.column:
        fits = [each for each in found if wanted.column in (*each.names, *(f"{each.path}/{n}" for n in each.names))]
        if not fits:
            names = [name for each in found for name in each.names]
            raise BadInput(f"`column`: {where} has no {wanted.column!r}; it has: {_some(names)}.")
    else:
        norms = [each for each in found if any(map(is_norm, each.names))]
        fits = norms or [each for each in found if any(known(name) and name not in STEPS for name in each.names)]
    fits = [each for each in fits if "train" in words(each.path)] or list(fits)
    if not fits:
        names = [name for each in found for name in each.names]
        raise BadText(f"{where} has no gradient norms; name them with column=, which may be: {_some(names)}.")
    if len(fits) > 1:
        listed = [f"{each.path}/{name}".lstrip("/") for each in fits for name in each.names if is_norm(name)]
        if listed or wanted.column:
            raise BadInput(f"{where} holds more than one log; choose a norm with column=: {_some(listed)}.")
    return fits[0]


def _equal(
    lists: Lists, roles: Sequence[str], keys: Sequence[str], where: str
) -> tuple[list[Sequence[Any]], list[str]]:
    """The lists, of one length; those of losses and rates that have another are left out."""
    main = next(role for role in ("l2", "l1", "loss", "lr") if role in roles)
    length = len(lists[keys[roles.index(main)]])
    notes: list[str] = []
    kept: list[Sequence[Any]] = []
    for role, key in zip(roles, keys, strict=True):
        values = lists[key] if key else [0] * length
        if len(values) != length:
            if role in ("step", "l1", "l2"):
                name = keys[roles.index(main)]
                raise BadText(
                    f"{where}: {name!r} has {length} values, but {key!r} has {len(values)}; they must agree."
                )
            notes.append(f"{key!r} of {where} has {len(values)} values, not {length}; left out.")
            values = [None] * length
        kept.append(values)
    return kept, notes


def _horizon(data: Any) -> int | None:
    """The number of steps that the run was planned for, where the document or its `config` tells."""
    if not isinstance(data, dict):
        return None
    config = data.get("config")
    for place in (data, config if isinstance(config, dict) else {}):
        for name in HORIZONS:
            value = place.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 2**53:
                return value
    return None


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - 12} more" if len(distinct) > 12 else ""
    return ", ".join(repr(name) for name in distinct[:12]) + more
