"""One HTML file that opens offline: text, key figures, tables and interactive charts; everything escaped."""

import base64
import functools
import hashlib
import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from typing import Literal, NamedTuple

import altair as alt
import jinja2
import msgspec
from markupsafe import Markup

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.files import write_whole
from lrcontrol.report.libraries import libraries
from lrcontrol.report.theme import ON_PAGE, Chart, config
from lrcontrol.report.words import clean

__all__ = ["Page", "Section", "Table", "page_of", "render", "write"]


class Table(msgspec.Struct, frozen=True):
    """Rows of text under named columns.

    Args:
        columns: their names.
        rows: of as many cells each.
        align: `left` or `right` per column; right for numbers; by default all left.
        highlight: index of the row that was chosen, or None.
    Raises:
        BadInput: a row or `align` of another length than `columns`, or no such row to highlight.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: Sequence[Literal["left", "right"]] = ()
    highlight: int | None = None

    def __post_init__(self) -> None:
        width = len(self.columns)
        for index, row in enumerate(self.rows):
            if len(row) != width:
                raise BadInput(f"every row of a table must have {width} cells, got {len(row)} in row {index}.")
        if self.align and len(self.align) != width:
            raise BadInput(f"`align` must have one word per column, got {len(self.align)} for {width}.")
        for word in self.align:
            checks.one_of("alignment", word, ("left", "right"))
        if self.highlight is not None:
            checks.integer("highlight", self.highlight, high=len(self.rows) - 1)

    @property
    def sides(self) -> Sequence[str]:
        """The alignment of every column."""
        return self.align or ["left"] * len(self.columns)


class Section(msgspec.Struct, frozen=True):
    """A heading, paragraphs, and then a table, a chart, or both.

    Args:
        heading: may be empty.
        text: paragraphs.
        table: shown after the chart.
        chart: of `lrcontrol.report.charts`, or any other Altair chart whose data is inline.
    """

    heading: str
    text: Sequence[str] = ()
    table: Table | None = None
    chart: Chart | None = None


class Page(msgspec.Struct, frozen=True):
    """A whole page.

    Args:
        title: of the page and of its window.
        lead: the first paragraph: the answer, before the reasons.
        sections: in order.
        figures: key figures in a band at the top: label, value and note of each.
    """

    title: str
    lead: str = ""
    sections: Sequence[Section] = ()
    figures: Sequence[tuple[str, str, str]] = ()


def render(page: Page) -> str:
    """The page as HTML; the same page gives the same text.

    Whatever a text holds is shown, never run: HTML is escaped, charts and their data are packed, which makes the page
    less than half as long, and the page's content security policy allows only the two scripts written here, by their
    hashes, and no request at all. One of them, Vega, is packed too; the other unpacks and adds it.
    """
    figures = [_figure(section.chart) if section.chart is not None else None for section in page.sections]
    drawn = any(figures)
    vega = libraries() if drawn else ""
    script = _beside("page.js") if drawn else ""
    allowed = [_hash(text) for text in (vega, script) if text]
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(allowed)}" if allowed else "script-src 'none'",
            "style-src 'unsafe-inline'",  # Vega's tooltips set styles on elements
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            policy=policy,
            style=Markup(_beside("page.css")),  # noqa: S704 - ours
            libraries=_packed_once(vega),
            script=Markup(script),  # noqa: S704 - ours
            figures=figures,
            version=version("lrcontrol"),
        )
    )


def page_of(chart: Chart) -> Page:
    """A page that holds one chart and bears its title."""
    heading = _figure(chart)
    untitled = chart.copy(deep=False)
    untitled.title = alt.Undefined
    return Page(heading.title or "Chart", heading.subtitle, [Section("", chart=untitled)])


def write(page: Page, path: str | os.PathLike[str]) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        BadInput: the file cannot be written; says why.
    """
    write_whole(path, render(page).encode())


class _Figure(NamedTuple):
    """What the page shows of a chart: its title and subtitle as text, and the rest as packed JSON."""

    title: str
    subtitle: str
    spec: str


def _figure(chart: Chart) -> _Figure:
    """A chart as wide as the page and in the page's colours."""
    spec = chart.to_dict()
    spec.pop("usermeta", None)  # could turn Vega's menu with its links back on
    heading = spec.pop("title", "")
    if not isinstance(heading, Mapping):
        heading = {"text": heading}
    own = spec.get("config", {})
    columns = own.get("legend", {}).get("columns", 1)
    spec["config"] = {**own, **config(ON_PAGE, columns)}
    if not {"facet", "hconcat", "vconcat", "concat", "repeat"} & set(spec):
        spec["width"] = "container"
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return _Figure(_joined(heading.get("text")), _joined(heading.get("subtitle")), _packed(_json(spec)))


def _joined(lines: object) -> str:
    """A title, which Vega-Lite writes as one line or as several."""
    return " ".join(lines) if isinstance(lines, list) else lines if isinstance(lines, str) else ""


def _json(value: object) -> str:
    """JSON in ASCII; what is not finite becomes null."""
    return json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _packed(text: str) -> str:
    """A text as zlib packs it, in letters and digits in which no HTML parser can see a tag."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


_packed_once = functools.cache(_packed)
"""The same for the libraries, which every page of a process has."""


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def _hash(script: str) -> str:
    """A script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _beside(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files("lrcontrol.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_beside),
        autoescape=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
