"""Every part that methods are made of, in one table: what lists, explains, cites and misses them reads it here."""

import inspect
import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Literal, NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import CONTROLS, WRAPPERS
from lrcontrol.docstrings import HEADINGS, entries
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs.optimizer import OPTIMIZERS, optimizer_text
from lrcontrol.runs.papers import papers_of
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.text import number_text

__all__ = ["PARTS", "TRIED_AT", "Part", "part_named"]

TRIED_AT = 1e-3  # torch's for AdamW: what updates are tried at where a control sets the rate whatever that is

STEP_COSTS: dict[str, float] = {
    "sgd": 1.0,
    "adamw": 1.3,
    "schedulefree_sgd": 1.5,
    "schedulefree_adamw": 2.2,
    "prodigy": 3.9,
    "dadapt_sgd": 2.3,
    "dadapt_adam": 3.7,
    "dog": 2.6,
    "ldog": 2.6,
    "dowg": 2.0,
    "cocob": 6.0,
    "mechanic": 4.4,
}
"""Times a step of torch's fused SGD with momentum, of 10 million weights, one thread: benchmarks/optimizers.py.

`mechanic` is of `mechanic(adamw)`. A forward and backward pass of most models takes many times as long as a step;
budgets count updates, whatever these cost.
"""

CALIBRATED: dict[str, str] = {
    "dog": "dog(initial_distance=1e-4):constant",
    "mechanic": "mechanic(adamw):warmup(0.05)+cosine",
    "prodigy": "prodigy(bias_correction=true, safeguard_warmup=true):warmup(0.05)+cosine",
}
"""Methods that gained more than noise over an optimizer's defaults, in the median over four tasks, two seeds each.

Hints, as docs/lr_free.md says, which has the figures; `python benchmarks/lr_free.py calibration` makes them again. The
defaults stay those of the papers.
"""

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


class Part(NamedTuple):
    """An optimizer, a schedule or a control: its name in text, and what makes it, whose docstring tells of it."""

    kind: Literal["optimizer", "schedule", "control"]
    name: str
    thing: Callable[..., Any]

    @property
    def listed(self) -> dict[str, Any]:
        """What a list says of it, as JSON values: see `method_list`."""
        about = (self.thing.__doc__ or "").strip().partition("\n")[0]
        told: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "about": about,
            "papers": list(papers_of(self.thing)),
            "needs": [],
        }
        if self.kind == "optimizer":
            told |= {"defaults": msgspec.to_builtins(self.thing()), "usual_lr": self.thing().usual_lr}
            told |= {"step_cost": STEP_COSTS.get(self.name), "calibrated": CALIBRATED.get(self.name)}
        if self.kind == "control":
            made = self.thing(Scheduled(constant())) if self.name in WRAPPERS else self.thing()
            told |= {"needs": sorted(made.needs), "price": made.price}
            told |= {"usual_lr": TRIED_AT if made.sets_rate else None}
        return told

    @property
    def whole(self) -> dict[str, Any]:
        """All there is to know of it, as JSON values: what is listed, and more.

        That is its whole `description`; the `numbers` that it takes, each with its default as text, empty where that
        depends on others, and what it is; and an `example`, a method that has it.

        Example:
            >>> part = PARTS["dowg"].whole
            >>> part["example"], part["numbers"][0]["name"], part["numbers"][0]["default"]
            ('dowg:constant', 'initial_distance', '0.01')
        """
        told = dict(re.findall(r"^(\w+): (.+(?:\n .+)*)", "\n".join(entries(self.thing)), re.MULTILINE))
        takes = inspect.signature(self.thing).parameters
        numbers = [
            {"name": name, "default": _default_text(takes[name].default), "about": _plain(told[name])}
            for name in takes
        ]
        lines = takewhile(lambda line: line not in HEADINGS, inspect.cleandoc(self.thing.__doc__ or "").splitlines())
        description = "\n".join(map(_plain, "\n".join(lines).strip().split("\n\n")))
        return self.listed | {"description": description, "numbers": numbers, "example": self.example}

    @property
    def example(self) -> str:
        """A method that has it, the plainest where there is none that shows more."""
        if self.kind == "optimizer":
            made = self.thing()
            return f"{optimizer_text(made)}:{'cosine' if made.usual_lr is None else 'constant'}"
        return EXAMPLES.get(self.name) or f"adamw:{self.name}{'(cosine)' if self.name in WRAPPERS else ''}"


def _plain(text: str) -> str:
    """A paragraph of a docstring in one line, without marks of code."""
    return " ".join(text.replace("`", "").split())


def _default_text(value: object) -> str:
    """A default as a method's text has it; nothing for what is to be given, or follows from others."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | int):
        return number_text(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(number_text, value))})" if value else ""
    return value if isinstance(value, str) else ""


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        *(Part("optimizer", name, spec) for name, spec in OPTIMIZERS.items()),
        *(Part("schedule", name, recipe) for name, recipe in sorted(RECIPES.items())),
        *(Part("control", name, control) for name, control in {**CONTROLS, **WRAPPERS}.items()),
    )
}
"""Every part by its name in text; no two of them have the same."""


def part_named(name: str) -> Part:
    """The part of methods that is called so.

    Raises:
        BadInput: more than a name. UnknownName: nothing is called so; near misses are named.
    """
    word = name.strip()
    if not re.fullmatch(r"[\w-]+", word):
        names = [each for each in dict.fromkeys(re.findall(r"\w+", word)) if each in PARTS]
        told = f"; {' and '.join(names)} {'is its part' if len(names) == 1 else 'are its parts'}" if names else ""
        raise BadInput(
            "a part of methods must be given by its name alone, such as adamw or cosine, got "
            f"{checks.shown(name)}{told}."
        )
    if word not in PARTS:
        raise UnknownName(checks.near_miss("optimizer, schedule or control", word, PARTS, ours(word)))
    return PARTS[word]
