"""Sphinx settings."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # an example's, not the reader's

project = "lrcontrol"
author = "the lrcontrol authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "lrcontrol"
exclude_patterns = ["_build"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_custom_sections = ["Source"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]
