"""Refinement as people see it: the norms, the schedule they ask for, and what they say of others."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import altair as alt
import numpy as np
import rich.box
import rich.table
from rich.markup import escape

from lrcontrol.analysis.advice import Advice
from lrcontrol.analysis.refine import Refined
from lrcontrol.report.console import plain_console, show_files
from lrcontrol.report.marks import Series, line_chart
from lrcontrol.report.theme import Chart
from lrcontrol.report.words import wrapped
from lrcontrol.schedules.recipes.single import linear

__all__ = ["refinement", "show_advice", "show_refined"]

UNLIKE = 0.25  # relative error from which two numbers tell nothing of a curve
MOST_STEPS = 100_000  # of the drawn schedules; more do not show


def refinement(found: Refined, total_steps: int | None = None) -> Chart:
    """Norms and smoothed norms above, the refined schedule beside linear and its compact form below.

    Args:
        found: what `refined` gave.
        total_steps: the horizon that the schedules are drawn over; by default the length of the log.
    """
    steps = found.steps.astype(np.int64)
    total = min(int(steps[-1]) + 1 if total_steps is None else total_steps, MOST_STEPS)
    lowest, highest = float(found.norms.min()), float(found.norms.max())
    above = line_chart(
        [Series("as logged", steps, found.norms), Series("smoothed", steps, found.filtered)],
        title="Norm of the gradient",
        subtitle=f"{steps.size:,} readings, for order {found.order}; running median over "
        f"{100 * found.smoothing:.3g} % of the log.",
        y_title="norm",
        log=highest > 30 * lowest,
        from_zero=True,
        levels=True,
        part="_above",
    )
    compact = found.compact
    schedules = {
        "refined": found.schedule,
        f"warmup {compact.warmup:.1%}, power {compact.power:.2f}": compact.schedule,
        "linear": linear(),
    }
    below = line_chart(
        [Series(name, np.arange(total), each.multipliers(total)) for name, each in schedules.items()],
        title="Refined, beside linear",
        subtitle=wrapped(found.degenerate or ""),
        y_title="multiplier of the base learning rate",
        from_zero=True,
        levels=True,
        part="_below",
    )
    return _stacked(above, below)


def _stacked(*charts: Chart) -> Chart:
    """Charts below one another, with the looks of the first."""
    config = charts[0].config
    for each in charts:
        each.config = alt.Undefined
    whole = alt.vconcat(*charts, spacing=28).resolve_scale(color="independent", strokeDash="independent")
    spec = whole.to_dict()
    for each in spec["params"]:  # Altair names all layers; a selection that two of them hold is refused
        each["views"] = [view for view in each["views"] if view.startswith("points")]
    stacked = alt.VConcatChart.from_dict(spec)
    stacked.config = config
    stacked.title = "The schedule that gradient norms ask for"
    return cast(Chart, stacked)


def show_refined(found: Refined, written: Mapping[str, Path]) -> None:
    """Print what a refinement came to."""
    console = plain_console()
    near = found.compact
    asked = f"what {found.norms.size:,} norms ask for by order {found.order}"
    off = f"(off by {100 * near.error:.2g} %)"
    if near.error < UNLIKE:
        console.print(f"[bold]{escape(str(near.schedule))}[/] is {near.how} {asked} {off}.", highlight=False)
    else:
        console.print(f"No warmup and power come near {asked}: the nearest are {escape(str(near.schedule))} {off}.")
    for sentence in (*found.notes, *filter(None, [found.degenerate])):
        console.print(f"  • {escape(sentence)}", highlight=False)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    shares = np.arange(0, 100, 10)
    table.add_column("of the run", justify="left")
    for share in shares:
        table.add_column(f"{share} %", justify="right")
    table.add_row("multiplier", *(f"{value:.3f}" for value in found.schedule.multipliers(10)))
    console.print(table)
    show_files(console, written)
    if "schedule" in written:
        file = str(written["schedule"])
        plain = re.fullmatch(r"[\w./~-]+", file)
        method = f"{'adamw' if found.order == 'l1' else 'sgd'}:@{file if plain else json.dumps(file)}"
        console.print(
            f"train with it: lrcontrol train TASK {escape(method if plain else shlex.quote(method))} --lr LR",
            highlight=False,
        )


def show_advice(found: Advice) -> None:
    """Print what the bound says."""
    console = plain_console()
    seen = found.observed
    known = "" if seen.base_lr is None else f" at {seen.base_lr:.3g}; the rates below are right if that was its best"
    console.print(
        f"The log is of [bold]{escape(seen.name)}[/] over {seen.total_steps:,} steps{known}.", highlight=False
    )
    for sentence in found.notes:
        console.print(f"  • {escape(sentence)}", highlight=False)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("schedule")
    for column in ("steps", "bound", "base lr", *([] if seen.base_lr is None else ["that is"])):
        table.add_column(column, justify="right")
    for row in (*found.rows, found.lowest):
        told = [] if row.base_lr is None else [f"{row.base_lr:.3g}"]
        table.add_row(
            escape(row.name), f"{row.total_steps:,}", f"{row.bound_ratio:.3f} x", f"{row.lr_ratio:.3g} x", *told
        )
    console.print(table)
    console.print(
        "bound: what convex theory promises of the last iterate, each schedule at its own best base rate, beside that "
        "of the log; lower is better. base lr: its best rate, beside that of the log.",
        highlight=False,
    )
