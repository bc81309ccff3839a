"""The papers that a method relies on, read from the sources that its parts name in their docstrings."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.controls.text import CONTROLS, WRAPPERS, read_control
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs.method import OPTIMIZERS, read_method
from lrcontrol.runs.optimizer import read_optimizer
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.reader import Reader
from lrcontrol.schedules.recipes.catalogue import RECIPES

__all__ = ["Citation", "cite", "papers_of"]

KINDS: dict[str, Mapping[str, Any]] = {"optimizer": OPTIMIZERS, "schedule": RECIPES, "control": CONTROLS | WRAPPERS}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class Citation(msgspec.Struct, frozen=True):
    """A part of a method, and where it comes from.

    Args:
        kind: `optimizer`, `schedule` or `control`.
        name: as in text.
        papers: one entry a source, with equation or section where it is known; empty for what needs none.
        links: the arXiv pages of those that have one.
    """

    kind: str
    name: str
    papers: tuple[str, ...]
    links: tuple[str, ...]


def cite(given: str) -> tuple[Citation, ...]:
    """The papers behind a method, a control, a schedule, or one of their names.

    Args:
        given: such as `adamw:warmup(0.05)+rex`, `one_cycle` or `plateau`.
    Returns:
        One citation per optimizer, schedule and control that the text makes, in the order of the text; a parameter's
        name or value, such as the shape of a cooldown, is cited by what it is a parameter of.
    Raises:
        BadText: the text cannot be read. UnknownName: near misses are named.
    Example:
        >>> [(found.name, found.links) for found in cite("sgd:rex")][1]
        ('rex', ('https://arxiv.org/abs/2107.04197',))
    """
    if not isinstance(given, str):
        raise BadInput(f"what is cited must be a text such as 'adamw:rex', got {checks.shown(given)}.")
    words = [given.strip()] if given.strip() in OPTIMIZERS else _called(given)
    named = [(kind, word) for word in dict.fromkeys(words) for kind, known in KINDS.items() if word in known]
    return tuple(_citation(kind, name, KINDS[kind][name]) for kind, name in named)


def papers_of(thing: object) -> tuple[str, ...]:
    """The sources that a docstring names, one entry each."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    if "Source:" not in lines:
        return ()
    found: list[str] = []
    for line in lines[lines.index("Source:") + 1 :]:
        if line and not line.startswith(" "):
            break
        found.append(line.strip())
    text = " ".join(filter(None, found)).rstrip(".").replace("`", "")
    return tuple(text.split("; ")) if text else ()


def _called(given: str) -> list[str]:
    """The names of all that a text makes, and not those of parameters and their values."""
    whole = ":" in given
    reader = Reader(given, "method" if whole else "control", steps_per_epoch=1)
    try:
        optimizer = given.partition("(")[0].strip() in OPTIMIZERS
        (read_method if whole else read_optimizer if optimizer else read_control)(reader)
        reader.finish()
    except UnknownName:
        word = given.strip()
        if word.isidentifier():
            known = [*OPTIMIZERS, *RECIPES, *CONTROLS, *WRAPPERS]
            raise UnknownName(checks.near_miss("method", word, known, ours(word))) from None
        raise
    return reader.called


def _citation(kind: str, name: str, thing: object) -> Citation:
    papers = papers_of(thing)
    links = tuple(f"https://arxiv.org/abs/{found}" for paper in papers for found in _ARXIV.findall(paper))
    return Citation(kind, name, papers, links)
