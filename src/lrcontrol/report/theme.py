"""How charts look: one palette, one configuration."""

import functools
from collections.abc import Sequence
from typing import Any

import altair as alt

__all__ = [
    "DASHES",
    "FONT",
    "HEIGHT",
    "NEUTRAL",
    "ON_PAGE",
    "ON_PAPER",
    "PALETTE",
    "RUN_DASHES",
    "SHAPES",
    "WIDTH",
    "Chart",
    "config",
    "finish",
]

Chart = alt.Chart | alt.LayerChart

WIDTH = 780  # of the plot alone; with its axis it suits a page 900 px wide
HEIGHT = 300  # of the plot alone
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

PALETTE = (
    "#3577d4",
    "#dd6b20",
    "#1f9d6b",
    "#c8416b",
    "#8764d6",
    "#a8811a",
    "#168fa8",
    "#a35f3a",
    "#6a8c25",
    "#cc5aae",
    "#5d7a9c",
    "#d13c32",
)
"""Lines; each has a contrast of at least 3 to the light page and to the dark one."""

NEUTRAL = "#7d8797"
"""Bars of what is no method."""

DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 3))
"""What tells lines apart once the palette is used up."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right", "triangle-left")
"""What tells points apart then; as many as make pairs with dashes that all differ."""

RUN_DASHES = ((3, 7), (1, 5), (12, 4, 1, 4))
"""What tells further runs of one method from its first."""

ON_PAPER = {"ink": "#1c2230", "muted": "#5b6577", "grid": "#e6e9ee", "paper": "#ffffff"}
"""The colours of everything that is not data, for image files."""

ON_PAGE = {name: f"var(--{name})" for name in ON_PAPER} | {"paper": "transparent"}
"""The same as variables of the page's style sheet, so that charts follow its light or dark scheme and print light."""


def config(colours: dict[str, str], legend_columns: int = 1) -> dict[str, Any]:
    """The Vega-Lite configuration with these colours for everything that is not data."""
    ink, muted, grid = colours["ink"], colours["muted"], colours["grid"]
    return {
        "font": FONT,
        "background": colours["paper"],
        "padding": 8,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "group",
            "fontSize": 15,
            "fontWeight": 600,
            "color": ink,
            "subtitleColor": muted,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "offset": 12,
        },
        "axis": {
            "labelColor": muted,
            "titleColor": muted,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "titlePadding": 10,
            "labelPadding": 6,
            "grid": True,
            "gridColor": grid,
            "domainColor": grid,
            "ticks": False,
            "labelFlush": False,
        },
        "axisX": {"grid": False, "ticks": True, "tickColor": grid, "tickSize": 4},
        "axisY": {"domain": False},
        "legend": {
            "orient": "top",
            "columns": legend_columns,
            "labelColor": ink,
            "titleColor": muted,
            "labelFontSize": 12,
            "labelLimit": WIDTH // legend_columns - 40,
            "columnPadding": 18,
            "rowPadding": 3,
            "symbolStrokeWidth": 3,
            "offset": 10,
        },
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        "text": {"color": ink, "fontSize": 12},
    }


def finish(
    chart: Chart, labels: Sequence[str] = (), *, title: str, subtitle: str | list[str] = "", height: int = HEIGHT
) -> Chart:
    """The chart at page width with its title and the theme; `labels` are those of its legend."""
    widest = max((len(label) for label in labels), default=0)
    columns = max(1, min(len(labels), int(WIDTH / (7 * min(widest, 60) + 50))))
    heading = alt.TitleParams(text=title, subtitle=subtitle) if subtitle else alt.TitleParams(text=title)
    sized = chart.properties(width=WIDTH, height=height, title=heading)
    sized.config = _paper(columns)
    return sized


@functools.cache
def _paper(legend_columns: int) -> alt.Config:
    """The configuration of image files; reading it takes Altair longer than a chart."""
    return alt.Config.from_dict(config(ON_PAPER, legend_columns))
