"""A store as tables that other programs read: CSV, and Parquet where pyarrow is installed."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from lrcontrol.errors import BadInput
from lrcontrol.files import whole_file
from lrcontrol.runs.method import optimizer_name
from lrcontrol.runs.record import Record
from lrcontrol.runs.store import Store

__all__ = ["TABLES", "WRITERS", "Table", "cell", "export"]

CHUNK = 1000  # runs at once
GROUP = 500_000  # rows of a Parquet row group, about
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a text begins that a spreadsheet would calculate

Kind = Literal["text", "whole", "real", "single"]
Chunk = Mapping[str, Sequence[Any]]


class Table(NamedTuple):
    """A table that is made piece by piece.

    Args:
        kinds: of what each column is made: text, whole numbers, float64 (`real`), float32 (`single`).
        chunks: values by column, the same number in each; None where there is none.
    """

    kinds: dict[str, Kind]
    chunks: Iterable[Chunk]


def export(path: Path, out: Path, table: Literal["runs", "evals", "columns"] = "runs") -> int:
    """Write a table of a store; the number of its rows.

    Args:
        path: the store.
        out: a file ending in .csv or .parquet; written whole or not at all.
        table: `runs` (one row a run), `evals` (one row an evaluation) or `columns` (one row an update).
    Raises:
        BadInput: another suffix, a file that cannot be written, pyarrow missing. StoreError: the store cannot be read.
    """
    suffix = out.suffix.lower()
    if suffix not in WRITERS:
        raise BadInput(f"a table can be written to a file ending in {', '.join(WRITERS)}, got {os.fspath(out)!r}.")
    with Store(path, read_only=True) as store, whole_file(out) as file:
        return WRITERS[suffix](file, TABLES[table](store))


def _runs(store: Store) -> Table:
    metrics = _names(name for record in store.records() for name in _end(record))
    kinds: dict[str, Kind] = {
        **dict.fromkeys(("run", "task", "method", "optimizer", "control"), "text"),
        "base_lr": "real",
        **dict.fromkeys(("seed", "total_steps", "stop_step"), "whole"),
        "start_run": "text",
        "start_step": "whole",
        **dict.fromkeys(("outcome", "metric", "direction"), "text"),
        "final": "real",
        **dict.fromkeys(("updates", "charged_updates", "shared_updates"), "whole"),
        "seconds": "real",
        "attempt": "whole",
        **dict.fromkeys(("message", "weights", "weights_sha256", "checkpoint", "checkpoint_sha256"), "text"),
        "kept": "whole",
        "members": "text",
        **dict.fromkeys((f"last_{name}" for name in metrics), "real"),
    }

    def chunks() -> Iterator[Chunk]:
        rows: list[tuple[Any, ...]] = []
        for record in store.records():
            rows.append(_run(record, metrics))
            if len(rows) == CHUNK:
                yield dict(zip(kinds, zip(*rows, strict=True), strict=True))
                rows = []
        if rows:
            yield dict(zip(kinds, zip(*rows, strict=True), strict=True))

    return Table(kinds, chunks())


def _end(record: Record) -> dict[str, float]:
    return {} if record.end is None else record.end.values


def _run(record: Record, metrics: Sequence[str]) -> tuple[Any, ...]:
    spec, weights, checkpoint = record.spec, record.weights, record.checkpoint
    last = _end(record)
    return (
        record.id,
        spec.task,
        str(spec.method),
        optimizer_name(spec.method.optimizer),
        spec.method.control_text,
        spec.base_lr,
        spec.seed,
        spec.total_steps,
        spec.stop_step,
        None if spec.start is None else spec.start.run,
        None if spec.start is None else spec.start.step,
        record.outcome.value,
        record.objective.metric,
        record.objective.direction,
        record.final,
        record.made,
        record.cost.steps,
        record.cost.shared,
        record.cost.seconds,
        record.attempt,
        record.message,
        None if weights is None else weights.file,
        None if weights is None else weights.sha256,
        None if checkpoint is None else checkpoint.file,
        None if checkpoint is None else checkpoint.sha256,
        record.kept,
        " ".join(map(str, record.members)) or None,
        *(last.get(name) for name in metrics),
    )


def _evals(store: Store) -> Table:
    metrics = _names(name for record in store.records() for each in record.evals for name in each.values)
    headers = _headers(metrics)

    def chunks() -> Iterator[Chunk]:
        for record in store.records():
            yield {
                "run": [record.id] * len(record.evals),
                "step": [each.step for each in record.evals],
                **{
                    header: [each.values.get(name) for each in record.evals]
                    for header, name in zip(headers, metrics, strict=True)
                },
            }

    return Table({"run": "text", "step": "whole", **dict.fromkeys(headers, "real")}, chunks())


def _columns(store: Store) -> Table:
    ids = store.records().ids
    names = _names(name for run_id in ids for name in store.record(run_id).columns)
    headers = _headers(names)

    def chunks() -> Iterator[Chunk]:
        for run_id in ids:
            record = store.record(run_id)
            count = max(map(len, record.columns.values()), default=0)
            first = record.spec.first_step
            yield {
                "run": [run_id] * count,
                "step": range(first, first + count),
                **{
                    header: _padded(record.columns.get(name, ()), count)
                    for header, name in zip(headers, names, strict=True)
                },
            }

    return Table({"run": "text", "step": "whole", **dict.fromkeys(headers, "single")}, chunks())


def _padded(values: Sequence[Any], count: int) -> Sequence[Any]:
    return values if len(values) == count else [*values, *[None] * (count - len(values))]


def _names(names: Iterable[str]) -> list[str]:
    """Every name once, in the order in which they come first."""
    return list(dict.fromkeys(names))


def _headers(names: Sequence[str]) -> list[str]:
    """Names that are not those of the first two columns."""
    taken = {"run", "step", *names}
    headers = []
    for name in names:
        header = name
        while header in ("run", "step") or (header != name and header in taken):
            header += "_"
        headers.append(header)
    return headers


TABLES: dict[str, Callable[[Store], Table]] = {"runs": _runs, "evals": _evals, "columns": _columns}
"""What can be exported, by name."""


def cell(value: object) -> object:
    """A value as CSV holds it: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Example:
        >>> cell("=1+1"), cell(-0.5), cell("adamw:cosine")
        ("'=1+1", -0.5, 'adamw:cosine')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _write_csv(file: BinaryIO, table: Table) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)  # with the line ends of RFC 4180: else a carriage return would not be quoted
    writer.writerow([cell(name) for name in table.kinds])
    rows = 0
    for chunk in table.chunks:
        # As text a float32 is short and exact; as a float64 it would show digits that it does not have.
        shown = [
            map(str, values) if isinstance(values, np.ndarray) else map(cell, values) for values in chunk.values()
        ]
        writer.writerows(zip(*shown, strict=True))
        rows += len(next(iter(chunk.values())))
    text.detach()
    return rows


def _write_parquet(file: BinaryIO, table: Table) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadInput("Parquet needs pyarrow: pip install 'lrcontrol[parquet]', or write to a .csv file.") from None
    types = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "real": pyarrow.float64(),
        "single": pyarrow.float32(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in table.kinds.items()])
    rows, group, waiting = 0, [], 0
    with parquet.ParquetWriter(file, schema) as writer:
        for chunk in table.chunks:
            arrays = [pyarrow.array(chunk[name], field.type) for name, field in zip(schema.names, schema, strict=True)]
            group.append(pyarrow.record_batch(arrays, schema=schema))
            waiting += group[-1].num_rows
            if waiting >= GROUP:
                writer.write_table(pyarrow.Table.from_batches(group, schema))
                rows, group, waiting = rows + waiting, [], 0
        writer.write_table(pyarrow.Table.from_batches(group, schema))
    return rows + waiting


WRITERS: dict[str, Callable[[BinaryIO, Table], int]] = {".csv": _write_csv, ".parquet": _write_parquet}
"""How a table is written, by the suffix of its file."""
