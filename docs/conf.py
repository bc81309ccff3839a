"""Sphinx settings."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # an example's, not the reader's

project = "lrcontrol"
author = "the lrcontrol authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "lrcontrol"
exclude_patterns = ["_build", "_gallery/recipes.md"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_custom_sections = ["Source"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]


def setup(app):
    """Draw the gallery before the pages are read."""
    import sys
    from pathlib import Path

    here = Path(__file__).parent
    sys.path.insert(0, str(here))
    import gallery

    app.connect("builder-inited", lambda _: gallery.write(here / "_gallery"))
