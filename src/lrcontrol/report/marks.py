"""What the charts are made of: lines with points to hover over, colours, scales, and the chart that is empty."""

import json
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol.analysis.curves import outline, thin
from lrcontrol.errors import BadInput
from lrcontrol.report.looks import Look, look_in, looks_of
from lrcontrol.report.theme import DASHES, HEIGHT, SHAPES, Chart, finish
from lrcontrol.report.words import clean, wrapped
from lrcontrol.runs.record import Objective, Record

__all__ = [
    "HINT",
    "ROW",
    "Extent",
    "Row",
    "Series",
    "axis_title",
    "described",
    "empty_chart",
    "focus_and_params",
    "line_chart",
    "objective_of",
    "overlaid",
    "scales_of",
    "shade",
    "side_by_side",
    "spans_decades",
    "subtitle_of",
    "tip",
    "values_of",
]

Row = dict[str, Any]

HINT = "Hover to single out a line; click a name to keep it, shift-click for several."
DIM = 0.12  # opacity of what is not looked at
# Naming fields in alt.Tooltip shows texts as "undefined" where the nearest point is looked for: Vega-Lite 6.4 then
# reads them from the mark that was drawn, whose `datum` is the row. This works for both.
ROW = "(datum.datum || datum)"
FEW = 40  # a line of no more points than this shows them
SHORT = 300  # up to this many steps every level is drawn as one, however small the difference
DASHED = 500  # size of a legend's lines on which dashes are to be told apart
DENSE = 500  # a line of more corners than this is drawn thin, lest it become a block
# What can only be pointed at is drawn where somebody can point: a file without a window needs no unseen points.
POINTED_AT = "!datum.joint && (datum.dot || isValid(windowSize()[0]))"


class Series(NamedTuple):
    """One line: its name in the legend, and its points."""

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def drawable(self, *, positive: bool) -> "Series":
        """Without the points that an axis cannot show."""
        shown = np.isfinite(self.values) & ((self.values > 0) | (not positive))
        return Series(self.name, self.steps[shown], self.values[shown])

    def rows(self, *, log: bool) -> list[Row]:
        """One row per point that is drawn, at most 500, at 6 digits."""
        kept = thin(np.log(self.values) if log else self.values)
        dot = self.values.size <= FEW
        return [self._row(self.steps[at], self.values[at], dot) for at in kept]

    def corners(self, extent: "Extent", *, log: bool) -> list[Row]:
        """One row per corner of a line of levels, at 6 digits; where the line only turns it is a `joint`."""
        low, high = np.log(extent) if log else extent
        levels = np.log(self.values) if log else self.values
        drawn = outline(self.steps, levels, grain=float(high - low) / HEIGHT, slopes=self.values.size > SHORT)
        values = np.exp(drawn.values) if log else drawn.values
        rows = (self._row(step, value, dot=False) for step, value in zip(drawn.steps, values, strict=True))
        return [row | {"joint": True} if joint else row for row, joint in zip(rows, drawn.joints, strict=True)]

    def _row(self, step: Any, value: Any, dot: bool) -> Row:
        return {"run": self.name, "step": int(step), "value": float(f"{value:.6g}"), "dot": dot}


class Extent(NamedTuple):
    """From where to where an axis goes."""

    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike, low: float | None = None, high: float | None = None) -> "Extent":
        """Of the values, which must be finite, cut off at `low` and at `high`."""
        line = np.asarray(values, dtype=np.float64)
        lowest, highest = float(line.min()), float(line.max())
        return cls(
            lowest if low is None else max(low, lowest),
            highest if high is None else min(high, highest),
        )

    def scale_and_axis(self, *, log: bool) -> dict[str, Any]:
        """The scale, a little wider than the values, and the axis with ticks at round numbers."""
        if not log:
            low, high = self
            if low == high:
                low, high = low - 0.05 * (abs(low) or 1.0), high + 0.05 * (abs(high) or 1.0)
            return {
                "scale": alt.Scale(domain=[low, high], zero=False, nice=True),
                "axis": alt.Axis(tickCount=6),
            }
        low, high = self.low / 1.15, self.high * 1.15
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        digits = (1, 2, 5) if last - first <= 3 else (1,)
        every = max(1, round((last - first) / 8))
        ticks = [float(f"{digit}e{power}") for power in range(first, last + 1, every) for digit in digits]
        return {
            "scale": alt.Scale(type="log", domain=[low, high], nice=False),
            "axis": alt.Axis(format="~g", values=[tick for tick in ticks if low <= tick <= high]),
        }


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    y_title: str,
    subtitle: str | list[str] = "",
    log: bool = False,
    bounds: tuple[float | None, float | None] = (None, None),
    from_zero: bool = False,
    levels: bool = False,
    part: str = "",
    looks: Mapping[str, Look] | None = None,
) -> Chart:
    """Lines of values against steps.

    Args:
        series: the lines, in the order of the legend; their points are thinned.
        title: of the chart.
        y_title: of the vertical axis, with what is better in brackets.
        subtitle: of the chart.
        log: whether the vertical axis is logarithmic; values that are not positive are then left out.
        bounds: where the vertical axis begins and ends, None for as far as the values go; lines may leave the chart.
        from_zero: whether an axis that is not logarithmic begins at 0.
        levels: whether each value holds up to the next step; jumps are then upright, and no points are shown.
        part: a name of its own, where the chart is to be a part of another.
        looks: of the lines by name; by default by their place.
    """
    lines = [line for given in series if (line := given.drawable(positive=log)).values.size]
    if not lines:
        return empty_chart(title, "There is nothing to draw.")
    names = [line.name for line in lines]
    focus, params = focus_and_params(part)
    colour, dash, _ = scales_of(names, looks)
    extent = Extent.of(np.concatenate([line.values for line in lines]), *bounds)
    if from_zero and not log:
        extent = Extent(min(0.0, extent.low), extent.high or 1.0)
    clip = extent.low == bounds[0] or extent.high == bounds[1]
    rows = [row for line in lines for row in (line.corners(extent, log=log) if levels else line.rows(log=log))]
    dense = levels and max(Counter(row["run"] for row in rows).values()) > DENSE
    last = max(row["step"] for row in rows)
    ticks = {"values": list(range(last + 1))} if last <= 8 else {"tickMinStep": 1, "tickCount": 8}
    base = alt.Chart(values_of(rows)).encode(
        x=alt.X(
            "step:Q",
            title="step (updates made)",
            scale=alt.Scale(nice=False, domainMin=0),
            axis=alt.Axis(format=",d", **ticks),
        ),
        y=alt.Y("value:Q", title=axis_title(y_title, log=log), **extent.scale_and_axis(log=log)),
        color=colour,
    )
    strokes = (
        base.mark_line(clip=clip, strokeWidth=1 if dense else 2)
        .encode(opacity=shade(focus), **dash)
        .properties(name=f"lines{part}")
    )
    quantity = y_title.split(" (")[0]
    points = (
        base.transform_filter(POINTED_AT)
        .mark_point(filled=True, size=32, clip=clip)
        .encode(
            opacity=alt.when("!datum.dot").then(alt.value(0)).when(focus).then(alt.value(1)).otherwise(alt.value(DIM)),
            tooltip=tip(
                {"run": f"{ROW}.run", "step": f"format({ROW}.step, ',d')", quantity: f"format({ROW}.value, '.4~g')"}
            ),
        )
        .properties(name=f"points{part}")
        .add_params(*params)
    )
    return finish(overlaid(strokes, points), names, title=title, subtitle=subtitle)


def empty_chart(title: str, sentence: str) -> Chart:
    """A chart that says why it is empty."""
    text = alt.Chart(values_of([{"text": sentence}])).mark_text().encode(text="text:N")
    return finish(text, title=title, height=60)


def focus_and_params(part: str = "") -> tuple[Any, list[alt.Parameter]]:
    """The predicate "looked at", and its two selections: the line nearest to the pointer, the names clicked."""
    hover = alt.selection_point(
        name=f"hover{part}", fields=["run"], on="pointerover", clear="pointerout", nearest=True, empty=True
    )
    pick = alt.selection_point(name=f"pick{part}", fields=["run"], bind="legend", empty=True)
    return hover & pick, [hover, pick]


def shade(focus: Any) -> Any:
    """The opacity of marks: full where looked at, dim elsewhere."""
    return alt.when(focus).then(alt.value(1)).otherwise(alt.value(DIM))


def scales_of(
    names: Sequence[str], looks: Mapping[str, Look] | None = None, *, points: bool = False
) -> tuple[alt.Color, dict[str, Any], dict[str, Any]]:
    """The colours of names, and as far as they tell names apart the dashes of their lines and the shapes of points.

    Args:
        names: in the order of the legend.
        looks: of each name, or of more; by default by place.
        points: whether the chart has points of these names, so that the legend shows their shapes too.
    """
    known = looks_of(names) if looks is None else looks
    shown = [look_in(known, name) for name in names]
    dashed = any(look.dash != DASHES[0] for look in shown)
    shaped = points and any(look.shape != SHAPES[0] for look in shown)
    symbol: dict[str, Any] = {} if shaped else {"symbolType": "stroke"}
    if dashed and not shaped:
        symbol["symbolSize"] = DASHED
    legend = alt.Legend(title=None, symbolOpacity=1, **symbol, **_in_lines(names)) if len(names) > 1 else None

    def scale(values: Iterable[Any]) -> dict[str, Any]:
        return {"scale": alt.Scale(domain=list(names), range=list(values)), "legend": legend}

    dash, shape = {}, {}
    if shaped:
        shape = {"shape": alt.Shape("run:N", **scale(look.shape for look in shown))}
        dash = {"strokeDash": _unlisted({name: look.dash for name, look in zip(names, shown, strict=True)})}
    elif dashed:
        dash = {"strokeDash": alt.StrokeDash("run:N", **scale(list(look.dash) for look in shown))}
    return alt.Color("run:N", **scale(look.colour for look in shown)), dash, shape


def _unlisted(dashes: Mapping[str, Sequence[int]]) -> Any:
    """The dashes of names without a scale, which the legend would draw around its shapes."""
    found: Any = alt
    for dash in DASHES[1:]:
        names = [name for name, each in dashes.items() if each == dash]
        found = found.when(f"indexof({json.dumps(names)}, datum.run) >= 0").then(alt.value(list(dash)))
    return found.otherwise(alt.value(list(DASHES[0])))


def _in_lines(names: Sequence[str]) -> dict[str, Any]:
    """How a legend shows names that are too long for one line."""
    long = {name: lines for name in names if len(lines := wrapped(name)) > 1}
    return {"labelExpr": f"{json.dumps(long)}[datum.label] || datum.label"} if long else {}


def tip(entries: Mapping[str, str]) -> Any:
    """A tooltip of names and values; the values are Vega expressions of `ROW`, the row pointed at."""
    pairs = ", ".join(f"{json.dumps(name)}: {value}" for name, value in entries.items())
    return alt.value(alt.ExprRef(f"{{{pairs}}}"))


def side_by_side(rows: Sequence[Row], places: Sequence[Hashable], *, apart: float = 8) -> list[Row]:
    """The rows with how many pixels each is moved sideways, so that those of one place do not hide one another.

    Args:
        rows: of points.
        places: of each, equal where they would hide one another.
        apart: > 0; pixels between two of them, less where many are at one place.
    """
    of_all, before, moved = Counter(places), Counter[Hashable](), []
    for row, at in zip(rows, places, strict=True):
        count = of_all[at]
        moved.append({**row, "beside": min(apart, 60 / count) * (before[at] - (count - 1) / 2)})
        before[at] += 1
    return moved


def subtitle_of(names: Sequence[str], said: str | list[str] = "") -> str | list[str]:
    """What stands under a title: first the one name of a chart, which has no legend then."""
    if len(names) != 1:
        return said
    lines = list(filter(None, [said] if isinstance(said, str) else said))
    return [*wrapped(f"{names[0]}." if lines else names[0]), *lines]  # a page shows them in one line


def overlaid(*layers: alt.Chart) -> alt.LayerChart:
    """`alt.layer`, as the layer chart that it is for plain charts."""
    return cast(alt.LayerChart, alt.layer(*layers))


def values_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows as a chart's data; a plain dict, as alt.InlineData would check every value against the schema."""
    return {"values": list(rows)}


def axis_title(title: str, *, log: bool) -> str:
    """The title, which says so where the axis is logarithmic."""
    if not log:
        return title
    return f"{title[:-1]}, log scale)" if title.endswith(")") else f"{title} (log scale)"


def spans_decades(values: Iterable[float], objective: Objective) -> bool:
    """Whether a log axis shows more: a metric to be minimized, positive, over a factor of 30 or more."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and objective.direction == "minimize" and min(found) > 0 and max(found) > 30 * min(found)


def described(objective: Objective) -> str:
    """The metric, and which way is better."""
    better = "lower" if objective.direction == "minimize" else "higher"
    return f"{clean(objective.told)} ({better} is better)"


def objective_of(records: Sequence[Record]) -> Objective:
    """What all of the records measure; BadInput where they measure several things."""
    found = {record.objective for record in records} or {Objective("metric", "minimize")}
    if len(found) > 1:
        names = ", ".join(sorted(f"{objective.metric} ({objective.direction}d)" for objective in found))
        raise BadInput(f"the records of one chart must have one objective, got {names}.")
    return found.pop()
