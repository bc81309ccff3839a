"""One part that methods are made of, told whole: an optimizer, a schedule or a control."""

import inspect
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from lrcontrol import checks
from lrcontrol.controls.text import CONTROLS, WRAPPERS
from lrcontrol.docstrings import entries
from lrcontrol.errors import UnknownName
from lrcontrol.runs.method import OPTIMIZERS
from lrcontrol.runs.optimizer import optimizer_text
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.text import number_text
from lrcontrol.selection.portfolio import method_list

__all__ = ["method_part"]

HEADINGS = ("Args:", "Returns:", "Raises:", "Source:", "Example:")
EXAMPLES = {
    "l4": "adamw:cosine*l4",
    "polyak": "sgd(momentum=0):cosine*polyak",
    "plateau": "adamw:warmup(0.05)+plateau",
    "one_cycle_momentum": "sgd:one_cycle, momentum=one_cycle_momentum",
    "snapshots": "sgd:snapshots(cycles=5)",
    "stop_early": "sgd:stop_early(snapshot(10))",
    "warmup": "adamw:warmup(0.05)+linear",
    "whole_cycles": "sgd:whole_cycles(sgdr)",
}
"""Methods that show a part as it is mostly used, where the plainest one does not."""


def method_part(name: str) -> dict[str, Any]:
    """All there is to know of a part of methods, as JSON values: what `method_list` says of it, and more.

    That is its whole `description`; the `numbers` that it takes, each with its default as text, empty where that
    depends on others, and what it is; and an `example`, a method that has it.

    Raises:
        UnknownName: nothing is called so; near misses are named.
    Example:
        >>> part = method_part("dowg")
        >>> part["example"], part["numbers"][0]["name"], part["numbers"][0]["default"]
        ('dowg:constant', 'initial_distance', '0.01')
    """
    word, listed = name.strip(), method_list()
    known: dict[str, dict[str, Any]] = {
        each["name"]: each for kind in ("optimizers", "schedules", "controls") for each in listed[kind]
    }
    if word not in known:
        raise UnknownName(checks.near_miss("optimizer, schedule or control", word, known, ours(word)))
    things: dict[str, Any] = {**RECIPES, **CONTROLS, **WRAPPERS, **OPTIMIZERS}
    return known[word] | {
        "description": _description(things[word]),
        "numbers": _numbers(things[word]),
        "example": EXAMPLES.get(word) or _example(word),
    }


def _description(thing: object) -> str:
    """What a docstring says before it comes to arguments and sources: a paragraph a line, without marks of code."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    told = "\n".join(takewhile(lambda line: line not in HEADINGS, lines)).replace("`", "").strip()
    return "\n".join(" ".join(paragraph.split()) for paragraph in told.split("\n\n"))


def _numbers(thing: Callable[..., object]) -> list[dict[str, str]]:
    """What a part takes, in the order of its signature, as its docstring explains it."""
    told: dict[str, str] = {}
    name = ""
    for line in entries(thing):
        if line.startswith(" "):
            told[name] += " " + line.strip()
        else:
            name, _, told[name] = line.partition(": ")
    takes = inspect.signature(thing).parameters
    return [
        {"name": name, "default": _default_text(takes[name].default), "about": told[name].replace("`", "")}
        for name in takes
    ]


def _default_text(value: object) -> str:
    """A default as a method's text has it; nothing for what is to be given, or follows from others."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | int):
        return number_text(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(number_text, value))})" if value else ""
    return value if isinstance(value, str) else ""


def _example(word: str) -> str:
    """The plainest method that has a part."""
    if word in OPTIMIZERS:
        made = OPTIMIZERS[word]()
        return f"{optimizer_text(made)}:{'cosine' if made.usual_lr is None else 'constant'}"
    return f"adamw:{word}(cosine)" if word in WRAPPERS else f"adamw:{word}"
