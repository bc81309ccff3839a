"""The chart of a stage: what each method made of each learning rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from lrcontrol.analysis.compare import Stage, standings
from lrcontrol.report.looks import Look
from lrcontrol.report.marks import (
    HINT,
    ROW,
    Extent,
    Row,
    axis_title,
    described,
    empty_chart,
    focus_and_params,
    objective_of,
    overlaid,
    scales_of,
    shade,
    side_by_side,
    spans_decades,
    subtitle_of,
    tip,
    values_of,
)
from lrcontrol.report.theme import Chart, finish
from lrcontrol.report.words import clean
from lrcontrol.runs.record import Record

__all__ = ["responses"]

HEIGHT = 340
LARGE, SMALL = 130, 36  # areas of points, in pixels
HIDDEN = 2  # pixels by which points must differ in height not to hide one another


def responses(stage: Stage, looks: Mapping[str, Look] | None = None) -> Chart:
    """The final validation metric against the base learning rate, one line per method, the best method first.

    Runs without a final metric (diverged, failed) are crosses at the bad edge of the chart, or where methods are more
    than colours the hollow points of their methods; runs that went on to the next stage are large points. Points that
    would hide one another stand side by side, and the chart says so. Where a rate was run with several seeds the line
    goes through their mean. A chart of one method names it.

    Args:
        stage: the runs.
        looks: of the methods, as for `learning_curves`; by default by their place in this stage.
    """
    rows = [_response(record, stage) for record in stage.records]
    usable = [row for row in rows if row["value"] is not None]
    lost = [row for row in rows if row["value"] is None]
    title = f"What each method made of each learning rate: {clean(stage.name)}"
    if not usable:
        return empty_chart(title, f"None of the {len(rows)} runs has a final metric.")
    objective = objective_of(stage.records)
    names = [clean(standing.method) for standing in standings(stage)]
    usable.sort(key=lambda row: (row["kept"] == "no", names.index(row["run"])))  # small points above large ones
    focus, params = focus_and_params()
    colour, dash, shape = scales_of(names, looks, points=True)
    finals = [row["value"] for row in usable]
    log_y = spans_decades(finals, objective)
    y_title = axis_title(f"final {described(objective)}", log=log_y)
    shared = {
        "x": alt.X(
            "base_lr:Q",
            title="base learning rate (log scale)",
            **Extent.of([row["base_lr"] for row in rows]).scale_and_axis(log=True),
        ),
        "color": colour,
        "opacity": shade(focus),
    }
    tooltip = tip(
        {
            "method": f"{ROW}.run",
            "base learning rate": f"format({ROW}.base_lr, '.4~g')",
            f"final {clean(objective.metric)}": f"isValid({ROW}.value) ? format({ROW}.value, '.4~g') : 'none'",
            "seed": f"{ROW}.seed",
            "outcome": f"{ROW}.outcome",
            "went on": f"{ROW}.kept",
        }
    )
    extent = Extent.of(finals)
    y_axis = extent.scale_and_axis(log=log_y)
    places = _places(usable, extent, log=log_y)
    beside = side_by_side(usable, places, apart=12 if stage.kept else 8)
    base = alt.Chart(values_of(beside)).encode(**shared)
    lines = base.mark_line().encode(y=alt.Y("mean(value):Q", title=y_title, **y_axis), **dash)
    points = base.mark_point(filled=True, xOffset=alt.ExprRef("datum.beside")).encode(
        y=alt.Y("value:Q", title=y_title, **y_axis),
        size=alt.when("datum.kept == 'yes'").then(alt.value(LARGE)).otherwise(alt.value(SMALL)),
        tooltip=tooltip,
        **shape,
    )
    layers = [lines.properties(name="lines"), points.properties(name="points").add_params(*params)]
    if lost:
        edge = alt.value(0) if objective.direction == "minimize" else alt.value("height")
        base = alt.Chart(values_of(side_by_side(lost, [row["base_lr"] for row in lost])), name="lost")
        drawn: dict[str, Any] = (
            {"filled": False, "strokeWidth": 2} if shape else {"shape": "cross", "angle": 45, "filled": True}
        )
        marked = base.mark_point(**drawn, size=70, xOffset=alt.ExprRef("datum.beside"))
        layers.append(marked.encode(**shared, **shape, y=edge, tooltip=tooltip))
    notes = ["Large points went on to the next stage."] if stage.kept else []
    marks = "Hollow points" if shape else "Crosses"
    notes += [f"{marks} at the edge have no final metric: they diverged or failed."] if lost else []
    notes += ["Points that would hide one another stand side by side."] if len(set(places)) < len(places) else []
    said = subtitle_of(names, " ".join(notes) or (HINT if len(names) > 1 else ""))
    return finish(overlaid(*layers), names, title=title, subtitle=said, height=HEIGHT)


def _places(rows: Sequence[Row], extent: Extent, *, log: bool) -> list[tuple[float, int]]:
    """Where the points of rows lie: their rate, and a number that all have whose heights are next to each other."""
    values = np.array([row["value"] for row in rows], dtype=np.float64)
    low, high = np.log(extent) if log else extent
    heights = (np.log(values) if log else values) * (HEIGHT / (high - low) if high > low else 0.0)
    places, number = [(0.0, 0)] * len(rows), 0
    order = sorted(range(len(rows)), key=lambda at: (rows[at]["base_lr"], heights[at]))
    for before, at in zip([order[0], *order], order, strict=False):
        same = rows[before]["base_lr"] == rows[at]["base_lr"] and heights[at] - heights[before] < HIDDEN
        number += not same
        places[at] = (rows[at]["base_lr"], number)
    return places


def _response(record: Record, stage: Stage) -> Row:
    final = record.final
    return {
        "run": clean(record.spec.method.label),
        "base_lr": record.spec.base_lr,
        "value": final if final is not None and math.isfinite(final) else None,
        "seed": record.spec.seed,
        "outcome": str(record.outcome),
        "kept": "yes" if record.id in stage.kept else "no",
    }
