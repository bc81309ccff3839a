"""Docstrings that say all there is to say: the keys of a `**options: Unpack[Options]`, spelled out in help."""

import inspect
from collections.abc import Callable
from typing import TypeVar

__all__ = ["HEADINGS", "entries", "with_keys"]

HEADINGS = ("Args:", "Returns:", "Raises:", "Source:", "Example:")

Function = TypeVar("Function", bound=Callable[..., object])


def entries(thing: object) -> list[str]:
    """The lines under `Args:` in a docstring, as far to the left as they go."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    begin, past = _arguments(lines)
    return inspect.cleandoc("\n" + "\n".join(lines[begin:past])).splitlines()


def with_keys(keys: type) -> Callable[[Function], Function]:
    """A decorator: the entries of `keys`, a TypedDict, stand last under `Args:` of the function's docstring."""

    def spelled(function: Function) -> Function:
        lines = inspect.cleandoc(function.__doc__ or "").splitlines()
        begin, past = _arguments(lines)
        added = [f"    {line}" for line in entries(keys)]
        lines[past:past] = added if begin < past else ["Args:", *added]
        function.__doc__ = "\n".join(lines)
        return function

    return spelled


def _arguments(lines: list[str]) -> tuple[int, int]:
    """Where the entries under `Args:` begin and end; where there are none, where they would stand."""
    headings = [at for at, line in enumerate(lines) if line in HEADINGS]
    if not headings or lines[headings[0]] != "Args:":
        at = headings[0] if headings else len(lines)
        return at, at
    past = headings[1] if len(headings) > 1 else len(lines)
    while not lines[past - 1].strip():
        past -= 1
    return headings[0] + 1, past
