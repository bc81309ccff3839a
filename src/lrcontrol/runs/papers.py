"""The papers that something relies on, read from the sources that its docstring names."""

import inspect
import re
from itertools import takewhile

import msgspec

__all__ = ["Citation", "citation", "papers_of"]

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class Citation(msgspec.Struct, frozen=True):
    """A part of a method, a strategy or an analysis, and where it comes from.

    Args:
        kind: `optimizer`, `schedule`, `control`, `strategy` or `analysis`.
        name: as in text.
        papers: one entry a source, with equation or section where it is known; empty for what needs none.
        links: the arXiv pages of those that have one.
    """

    kind: str
    name: str
    papers: tuple[str, ...]
    links: tuple[str, ...]


def citation(kind: str, name: str, thing: object) -> Citation:
    """What a docstring says of the sources of `thing`."""
    papers = papers_of(thing)
    links = dict.fromkeys(f"https://arxiv.org/abs/{found}" for paper in papers for found in _ARXIV.findall(paper))
    return Citation(kind, name, papers, tuple(links))


def papers_of(thing: object) -> tuple[str, ...]:
    """The sources that a docstring names, one entry each; not what deviates from them."""
    lines = inspect.cleandoc(thing.__doc__ or "").partition("\nSource:\n")[2].splitlines()
    told = takewhile(lambda line: line[:1] in ("", " ") and not line.strip().startswith("Deviates:"), lines)
    text = " ".join(" ".join(told).split()).rstrip(".").replace("`", "")
    return tuple(text.split("; ")) if text else ()
