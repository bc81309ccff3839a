"""A chart as a file: SVG, PNG, or an HTML page that works offline."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcontrol.errors import BadInput
from lrcontrol.files import write_whole
from lrcontrol.report.terminal import terminal

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = ["SUFFIXES", "checked_suffix", "save_chart", "terminal"]


def save_chart(chart: "Chart", path: str | os.PathLike[str]) -> None:
    """Write a chart to `path`; the suffix says as what.

    Args:
        chart: of `lrcontrol.report.charts`, or any other Altair chart.
        path: ends in .svg, .png (two pixels per point) or .html (interactive, everything inlined).
    Raises:
        BadInput: another suffix, or a file that cannot be written.
    """
    write_whole(path, SUFFIXES[checked_suffix(path)](chart))


def checked_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of `path` in lower case if charts can be written so, else BadInput that names the known ones."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"a chart can be written to a file ending in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}.")
    return suffix


def _svg(chart: "Chart") -> bytes:
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.to_dict(), **_options())
    return svg.encode()


def _png(chart: "Chart") -> bytes:
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(chart.to_dict(), scale=2, **_options())
    return png


def _html(chart: "Chart") -> bytes:
    from lrcontrol.report.page import page_of, render

    return render(page_of(chart)).encode()


def _options() -> dict[str, Any]:
    """The Vega-Lite that Altair writes for, and no address that data or images may be loaded from."""
    import altair

    return {"vl_version": ".".join(altair.SCHEMA_VERSION.split(".")[:2]), "allowed_base_urls": []}


SUFFIXES: dict[str, Callable[["Chart"], bytes]] = {".svg": _svg, ".png": _png, ".html": _html}
"""How a chart is written, by the suffix of its file."""
