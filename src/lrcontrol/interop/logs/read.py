"""gradient_log: what a file or a folder holds of gradient norms, whoever wrote it."""

import os
from pathlib import Path
from typing import Literal

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText
from lrcontrol.interop.logs.documents import read_document
from lrcontrol.interop.logs.event_files import event_files, looks_like_events, read_events
from lrcontrol.interop.logs.joined import joined
from lrcontrol.interop.logs.names import Wanted
from lrcontrol.interop.logs.rows_csv import is_ours, looks_like_csv, read_csv
from lrcontrol.interop.logs.rows_json import of_line, read_lines
from lrcontrol.interop.logs.table import Table
from lrcontrol.interop.logs.text import Text
from lrcontrol.runs.gradient_log import GradientLog

__all__ = ["gradient_log"]

IN_FOLDERS = ("trainer_state.json", "metrics.csv", "wandb-history.jsonl")
LOOKED_AT = 8  # lines, of which one must be whole for a file to be lines of JSON


def gradient_log(
    path: str | os.PathLike[str],
    *,
    run: int | str | None = None,
    column: str | None = None,
    step_column: str | None = None,
    order: Literal["l1", "l2"] | None = None,
) -> GradientLog:
    r"""The gradient norms that a log holds, with the losses and rates beside them.

    What kind of log it is, its content tells: CSV or JSONL of ours (`GradientLogFile`), any table with columns of
    steps and norms, event files of TensorBoard or a folder of them, `trainer_state.json` of Transformers,
    `metrics.csv` of Lightning, exports and histories of W&B, and JSON with lists by their names or objects in a list.
    It may be packed by gzip, and damaged or torn: whole records are read, and `skipped` and `notes` tell what is not.
    A log of every n-th step is taken for what it is.

    Args:
        path: a file or a folder.
        run: which run, where the log holds several: its name, or its number from 0, or from -1 backwards.
        column: the name of the norms, where it is not one that is known.
        step_column: the name of the steps, likewise.
        order: which norm it is, where its name does not say; without it the L2 norm, as most logs have it.
    Raises:
        BadInput: there is no such log, or something in it must be chosen; the sentence lists what.
        BadText: it holds no gradient norms, losses or rates that are known; the sentence says what it holds.
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "metrics.csv")
        >>> _ = path.write_text("step,train/grad_norm\n0,2.0\n50,1.5\n100,1.")
        >>> log = gradient_log(path)
        >>> log.steps.tolist(), log.norms("l2").tolist(), log.skipped
        ([0, 50], [2.0, 1.5], 1)
    """
    given = Path(path)
    for name, value in (("column", column), ("step_column", step_column)):
        if value is not None:
            checks.instance(name, value, str, "the name of a column")
    if run is not None and (isinstance(run, bool) or not isinstance(run, int | str)):
        raise BadInput(f"`run` must be the name or the number of a run, got run={checks.shown(run)}.")
    if order is not None:
        checks.one_of("norm", order, ("l1", "l2"))
    wanted = Wanted(column, step_column, order)
    try:
        table = _of_folder(given, wanted, run) if given.is_dir() else _of_file(given, wanted, run)
    except OSError as error:
        raise BadInput(f"cannot read {given}: {error.strerror or error}.") from None
    return joined(table, run, str(given))


def _of_folder(folder: Path, wanted: Wanted, run: int | str | None) -> Table:
    runs = event_files(folder)
    if runs:
        return read_events(runs, wanted, run, str(folder))
    there = [folder / name for name in IN_FOLDERS if (folder / name).is_file()]
    if len(there) == 1:
        return _of_file(there[0], wanted, run)
    if there:
        names = ", ".join(path.name for path in there)
        raise BadInput(f"the folder {folder} holds more than one log; give the path of one of them: {names}.")
    raise BadInput(
        f"the folder {folder} must hold event files of TensorBoard or one of {', '.join(IN_FOLDERS)}; "
        "give the path of another log itself."
    )


def _of_file(path: Path, wanted: Wanted, run: int | str | None) -> Table:
    with Text(path) as text:
        if looks_like_events(text):
            return read_events({path.name: [path]}, wanted, run, str(path))
        kind = _kind(text.head)
        if kind == "document":
            table = read_document(text, wanted)
        elif kind == "lines":
            table = read_lines(text, wanted)
        elif kind == "csv":
            table = read_csv(text, wanted, run)
        else:
            start = checks.shown(text.head[:60])
            raise BadText(
                f"{path} is no gradient log that is known: it begins with {start}; see lrcontrol.gradient_log."
            )
        table.notes += text.notes
        return table


def _kind(head: bytes) -> Literal["csv", "lines", "document"] | None:
    """What a text is, by its first lines."""
    start = head.lstrip(b"\0\r\n\t ")
    lines = [line for line in start.split(b"\n")[: LOOKED_AT + 1] if line.strip(b"\0\r\t ")]
    first, *others = [line for line in lines if not line.startswith((b"#", b"sep="))] or [b""]
    if is_ours(first):
        return "csv"
    objects = [found for line in (first, *others) if (found := of_line(line)) is not None]
    if start.startswith(b"[") and not (objects and others and of_line(others[0]) is not None):
        return "document"
    if objects and (others or not any(isinstance(value, dict | list) for value in objects[0].values())):
        return "lines"
    if start.startswith(b"{"):
        return "document" if objects or others or not _cut(first, head) else "lines"
    return "csv" if looks_like_csv(first) or not start else None


def _cut(line: bytes, head: bytes) -> bool:
    """Whether the only line of a text is not finished, as that of a log is that was just begun."""
    return not line.endswith(b"}") and len(head) == len(line)
