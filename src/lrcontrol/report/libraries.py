"""The scripts that draw charts on a page: Vega, Vega-Lite and Vega-Embed, in one text."""

import contextlib
import functools
import hashlib
import os
from importlib.metadata import version
from pathlib import Path

import altair as alt

from lrcontrol.errors import BadInput
from lrcontrol.files import write_whole

__all__ = ["libraries"]


@functools.cache
def libraries() -> str:
    """The scripts in the version that Altair writes for; put together once on a machine, which takes seconds."""
    path = _cache() / f"vega-{alt.SCHEMA_VERSION}-{version('vl-convert-python')}.js"
    found = _kept(path)
    if found is None:
        found = _bundled()
        with contextlib.suppress(OSError, BadInput):  # no home to write to: then again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _digest(found).encode() + b"\n" + found.encode())
    return found


def _kept(path: Path) -> str | None:
    """What is kept at `path`, if it is whole and this user's own: it becomes part of pages as a script."""
    with contextlib.suppress(OSError, ValueError):
        with path.open(encoding="utf-8", newline="") as file:
            own = not hasattr(os, "getuid") or os.fstat(file.fileno()).st_uid == os.getuid()
            digest, _, text = file.read().partition("\n")
        return text if own and digest == _digest(text) else None
    return None


def _bundled() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    )
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n").replace("\r", "\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "lrcontrol"
