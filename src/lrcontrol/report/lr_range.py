"""A range test as people see it: the losses over the rates, the curve, and the rate to train with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import rich.box
import rich.table
from rich.markup import escape

from lrcontrol.analysis.lr_range import Suggestion
from lrcontrol.report.console import plain_console, show_files
from lrcontrol.report.marks import Extent, Row, empty_chart, overlaid, values_of
from lrcontrol.report.theme import PALETTE, Chart, finish
from lrcontrol.report.words import begun, wrapped

__all__ = ["range_chart", "show_suggestion"]

ROOM = 0.35  # of the fall of the curve: so far above and below it losses are shown


class _Mark(NamedTuple):
    """What is drawn at a rate, or between two, and named in the legend."""

    name: str
    low: float
    high: float | None
    colour: str
    opacity: float = 1.0


def range_chart(found: Suggestion) -> Chart:
    """Losses of every repeat as points, the smooth curve, the usable rates as a band, and the suggested rate.

    Rates of a ramp that rises by one amount are on a linear axis, as in the paper; all others on a logarithmic one.

    Args:
        found: what `suggest_lr` gave.
    """
    title = "Range test: no suggestion" if found.suggestion is None else f"Range test: train at {found.suggestion:.2g}"
    losses: list[Row] = [
        {"lr": lr, "loss": loss, "repeat": place + 1}
        for place, repeat in enumerate(found.losses)
        for lr, loss in zip(found.lrs, repeat, strict=True)
        if loss is not None
    ]
    if not losses:
        return empty_chart(title, begun(found.reason))
    levels = _levels([row["loss"] for row in losses], found.curve)
    log = not _is_linear(found.lrs)
    title_of_x = "learning rate (log scale)" if log else "learning rate"
    x = alt.X("lr:Q", title=title_of_x, **Extent.of(found.lrs).scale_and_axis(log=log))
    y = alt.Y("loss:Q", title="loss (lower is better)", **levels.scale_and_axis(log=False))
    marks = _marks(found)
    scale = alt.Scale(domain=[mark.name for mark in marks], range=[mark.colour for mark in marks])
    colour = alt.Color("run:N", scale=scale, legend=alt.Legend(title=None, symbolType="square", symbolOpacity=1))
    layers = [_drawn(mark, x, colour) for mark in marks]
    layers.append(
        alt.Chart(values_of(losses))
        .mark_point(filled=True, size=22, opacity=0.45, color=PALETTE[0], clip=True)
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("lr:Q", title="learning rate", format=".3~g"),
                alt.Tooltip("loss:Q", title="loss", format=".4~g"),
                alt.Tooltip("repeat:Q", title="repeat", format="d"),
            ],
        )
        .properties(name="losses")
    )
    curve: list[Row] = [{"lr": lr, "loss": loss} for lr, loss in zip(found.curve_lrs, found.curve, strict=True)]
    if curve:
        line = alt.Chart(values_of(curve)).mark_line(color=PALETTE[0], clip=True).encode(x=x, y=y)
        layers.append(line.properties(name="curve"))
    names = [mark.name for mark in marks]
    return finish(overlaid(*layers), names, title=title, subtitle=wrapped(begun(found.reason)), height=320)


def _is_linear(lrs: Sequence[float]) -> bool:
    """Whether rates lie evenly, none of their distances off by a thousandth."""
    distances = np.diff(lrs)
    return len(lrs) > 2 and np.allclose(distances, distances.mean(), rtol=1e-3, atol=0)


def _levels(losses: Sequence[float], curve: Sequence[float]) -> Extent:
    """The losses that are shown: those near the curve as far as it falls; one that explodes leaves the chart."""
    about = np.asarray(curve or losses, dtype=np.float64)
    lowest = int(about.argmin())
    low, high = float(about[lowest]), float(about[: lowest + 1].max())
    room = ROOM * (high - low) or 0.05 * (abs(high) or 1.0)
    near = [loss for loss in losses if low - room <= loss <= high + room]
    return Extent(min([low, *near]), max([high, *near]))


def _marks(found: Suggestion) -> list[_Mark]:
    marks = []
    if found.low is not None or found.high is not None:
        low, high = found.low or min(found.lrs), found.high or max(found.lrs)
        marks.append(_Mark(f"the loss falls, {low:.2g} to {high:.2g}", low, high, PALETTE[2], 0.1))
    if found.interval is not None:
        low, high = found.interval
        marks.append(_Mark(f"interval, {low:.2g} to {high:.2g}", low, high, PALETTE[5], 0.3))
    for name, rate, colour in (
        ("steepest", found.steepest, PALETTE[4]),
        ("rises for good", found.divergence, PALETTE[3]),
        ("suggested", found.suggestion, PALETTE[1]),
    ):
        if rate is not None:
            marks.append(_Mark(f"{name}, {rate:.2g}", rate, None, colour))
    return marks


def _drawn(mark: _Mark, x: alt.X, colour: alt.Color) -> Any:
    row: Row = {"run": mark.name, "lr": mark.low, "until": mark.high}
    base = alt.Chart(values_of([row])).encode(x=x, color=colour)
    if mark.high is None:
        return base.mark_rule(strokeWidth=2, clip=True).properties(name=mark.name)
    return base.mark_rect(opacity=mark.opacity, clip=True).encode(x2="until:Q").properties(name=mark.name)


def show_suggestion(found: Suggestion, sentences: Sequence[str], written: Mapping[str, Path]) -> None:
    """Print what a range test came to: the rate, why, the usable rates, and what else is to be said."""
    console = plain_console()
    if found.suggestion is None:
        console.print("[bold]no suggestion[/]", highlight=False)
    else:
        near = "" if found.interval is None else f" (between {found.interval[0]:.2g} and {found.interval[1]:.2g})"
        console.print(f"[bold]train at {found.suggestion:.2g}[/]{near}", highlight=False)
    for sentence in (begun(found.reason), *sentences):
        console.print(f"  • {escape(sentence)}", highlight=False)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    told = {
        "loss begins to fall (least rate for cycling)": found.low,
        "falls fastest": found.steepest,
        "ends to fall (largest rate for cycling)": found.high,
        "rises for good": found.divergence,
    }
    table.add_column("the loss")
    table.add_column("learning rate", justify="right")
    for name, rate in told.items():
        table.add_row(name, "not seen" if rate is None else f"{rate:.2g}")
    console.print(table)
    show_files(console, written)
