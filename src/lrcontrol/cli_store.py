"""`lrcontrol store`: what is in a store, whether it is right, and what other programs and stores are to have of it.

Where a command takes a store, the folder of a study is as good: its `runs.db` is meant.
"""

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from lrcontrol.cli_words import Json, print_json
from lrcontrol.errors import BadInput

__all__ = ["store_app"]

store_app = cyclopts.App(
    name="store",
    help="Stores of records: what is in them, whether they are right, as tables, and several as one.",
)


@store_app.command
def info(path: Path, /, *, as_json: Json = False) -> None:
    """Count what is in the store PATH, or in that of the study in the folder PATH."""
    from lrcontrol.runs.storage.describing import describe
    from lrcontrol.runs.storage.places import file_of

    found = describe(file_of(path))
    if as_json:
        print_json(found)
        return
    from lrcontrol.report.stores import show_described

    show_described(found)


@store_app.command
def check(path: Path, /, *, as_json: Json = False) -> None:
    """Verify every row of the store PATH, with its columns; one line a fault, and exit status 1 where there is one."""
    from lrcontrol.runs.storage import checking
    from lrcontrol.runs.storage.places import file_of

    found = checking.check(file_of(path))
    if as_json:
        print_json(found)
    else:
        from lrcontrol.report.stores import show_checked

        show_checked(found)
    if found.faults:
        sys.exit(1)


@store_app.command
def export(
    path: Path,
    /,
    *,
    out: Annotated[Path, Parameter(["--out", "-o"], help="A .csv or .parquet file (needs lrcontrol[parquet]).")],
    columns: Annotated[bool, Parameter("--columns", negative="", help="One row an update: loss, rate.")] = False,
    evals: Annotated[bool, Parameter("--evals", negative="", help="One row an evaluation: all its metrics.")] = False,
) -> None:
    """Write the store PATH as a table of one row a run."""
    from lrcontrol.runs.storage import exported
    from lrcontrol.runs.storage.places import file_of

    if columns and evals:
        raise BadInput("one table can be written at a time, got --columns and --evals; give the command twice.")
    rows = exported.export(file_of(path), out, "columns" if columns else "evals" if evals else "runs")
    print(f"{out}: {rows:,} rows")


@store_app.command
def merge(
    paths: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Annotated[
        Path,
        Parameter(
            ["--out", "-o"],
            help="The store that all go to, or its folder: a name without a suffix.",
        ),
    ],
    salvage: Annotated[
        bool, Parameter("--salvage", negative="", help="Take what is right of damaged stores too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add the runs of the stores PATHS to one store, each run once; the same command again adds nothing.

    A finished run takes the place of its failed tries. Of two records of one run the first stays. Weights and
    checkpoints are copied to the folder beside the new store.
    """
    from lrcontrol.runs.storage import merging
    from lrcontrol.runs.storage.places import file_of, file_to

    found = merging.merge([file_of(path) for path in paths], file_to(out), salvage=salvage)
    if as_json:
        print_json(found)
        return
    from lrcontrol.report.stores import show_merged

    show_merged(found)
