"""The picture of all schedules that is kept is the one that the recipes draw."""

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_that_is_kept_is_up_to_date(gallery: ModuleType) -> None:
    """If not: `python docs/gallery.py`."""
    drawn = gallery.overview()
    assert gallery.OVERVIEW.read_text() == drawn
    assert len(drawn) < 60_000
    names = [text.text for text in ET.fromstring(drawn).iter(f"{SVG}text")]
    assert names == [texts[0] for texts in gallery.SHOWN.values()]
    assert f"({gallery.OVERVIEW.name})" in (DOCS / "gallery.md").read_text()
