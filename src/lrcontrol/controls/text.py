"""Controls as text: a schedule, with schedules of momentum and weight decay beside it, or one that looks.

A control that looks stands alone, after a schedule, beside schedules, or around a control: `WRAPPERS` has those.
"""

import re
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alignment import Alignment
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.composed import (
    AnyControl,
    AtLeast,
    AtMost,
    Clip,
    Looking,
    Single,
    StopOnDivergence,
    Then,
    Times,
)
from lrcontrol.controls.cycle_wise import Snapshots, StopEarly, WholeCycles, snapshots
from lrcontrol.controls.greedy import Greedy
from lrcontrol.controls.hypergradient import Hypergradient
from lrcontrol.controls.l4 import L4
from lrcontrol.controls.learned import Learned
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.polyak import Polyak
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput
from lrcontrol.schedules.reader import Reader, call
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.schedule import DEEPEST, Schedule
from lrcontrol.schedules.text import TOGETHER, number_text, read_product, read_schedule, schedule_text, term_text

__all__ = ["CONTROLS", "WRAPPERS", "AnyControl", "control", "control_text", "read_control"]

CONTROLS: dict[str, type[Single]] = {
    "alignment": Alignment,
    "greedy": Greedy,
    "hypergradient": Hypergradient,
    "l4": L4,
    "learned": Learned,
    "plateau": Plateau,
    "polyak": Polyak,
}
"""Every control that stands for itself, by its name in text."""

WRAPPERS: dict[str, type[Clip | StopOnDivergence | StopEarly | WholeCycles]] = {
    "clip": Clip,
    "snapshots": Snapshots,
    "stop_early": StopEarly,
    "stop_on_divergence": StopOnDivergence,
    "whole_cycles": WholeCycles,
}
"""Every control around another, by its name in text: `name(control, parameter=value)`."""

MADE_BY: dict[str, Any] = {**WRAPPERS, "snapshots": snapshots}
"""What makes each of them of the arguments in a text."""

BOUNDS: dict[str, type[AtLeast | AtMost]] = {"max": AtLeast, "min": AtMost}
"""What keeps a control from being lower or higher, by its name in text."""

BESIDE = ("momentum", "weight_decay")
"""What a schedule of the rate may have schedules of beside it."""

_WORDS = re.compile(r"([A-Za-z_]\w*)|([()])", re.ASCII)


def control(given: "str | Schedule | AnyControl", *, steps_per_epoch: int | None = None) -> AnyControl:
    """The control that a text describes; a schedule is one that looks at nothing, a control is returned as it is.

    Args:
        given: a schedule's text, `schedule, momentum=schedule, weight_decay=schedule`, or a control that looks, such
            as `plateau(patience=5)`, `warmup(0.05)+plateau`, `(warmup(0.05)+plateau)*cosine`,
            `max(cosine*plateau, 0.1)` or `stop_on_divergence(warmup(0.05)+cosine, factor=4)`.
        steps_per_epoch: >= 1; what an epoch is in lengths such as 5ep.
    Raises:
        BadText: the text cannot be read; the sentence shows the place. UnknownName: near misses are named.
    Example:
        >>> control("warmup(0.05)+plateau(factor=0.5)").inner.factor
        0.5
    """
    if isinstance(given, AnyControl):
        return given
    if isinstance(given, Schedule):
        return Scheduled(given)
    if not isinstance(given, str):
        raise BadInput(f"a control must be a text, a Schedule or a control, got {checks.shown(given)}.")
    reader = Reader(given, "control", steps_per_epoch)
    result = read_control(reader)
    reader.finish()
    return result


def read_control(reader: Reader) -> AnyControl:
    """Read `schedule [, momentum=schedule] [, weight_decay=schedule]`, or a control that looks, beside schedules."""
    reader.foreign, reader.foreign_at = frozenset({*CONTROLS, *WRAPPERS}), _places(reader.text)
    made = _read_sum(reader)
    return _read_beside(reader, made) if isinstance(made, Schedule) else made


def control_text(given: AnyControl) -> str:
    """The canonical text of a control; `control` reads it back, equal, apart from the rule past the end."""
    match given:
        case Scheduled():
            beside = (("momentum", given.momentum), ("weight_decay", given.weight_decay))
            texts = [f"{name}={schedule_text(each)}" for name, each in beside if each is not None]
            return ", ".join([schedule_text(given.schedule), *texts])
        case Then():
            return f"{schedule_text(given.schedule)}+{_factor_text(given.inner, Then)}"
        case Times():
            text = schedule_text(given.schedule)
            alone = len(given.schedule.parts) == 1 and "+" not in text
            return f"{text if alone else f'({text})'}*{_factor_text(given.inner, Then | Times)}"
        case AtLeast() | AtMost():
            name = next(name for name, kind in BOUNDS.items() if isinstance(given, kind))
            return f"{name}({control_text(given.inner)}, {term_text(given.schedule)})"
    inside = [] if isinstance(given, Alone) else [control_text(given.inner)]
    changed = [
        f"{field.name}={_value_text(getattr(given, field.name))}"
        for field in msgspec.structs.fields(given)
        if field.name != "inner" and getattr(given, field.name) != field.default
    ]
    name = str(given.__struct_config__.tag)
    return f"{name}({', '.join([*inside, *changed])})" if inside or changed else name


def _value_text(value: str | float) -> str:
    return value if isinstance(value, str) else number_text(value)


def _factor_text(given: Looking, in_brackets: Any) -> str:
    return f"({control_text(given)})" if isinstance(given, in_brackets) else control_text(given)


def _places(text: str) -> frozenset[int]:
    """Where controls begin in a text: their names, and the brackets, `max` and `min` that hold them."""
    found: set[int] = set()
    opened: list[int] = []
    if not any(name in text for name in (*CONTROLS, *WRAPPERS)):
        return frozenset()
    before = None
    for word in _WORDS.finditer(text):
        if word[0] in CONTROLS or word[0] in WRAPPERS:
            found |= {word.start(), *opened}
        elif word[0] == "(":
            named = before is not None and not text[before.end() : word.start()].strip()
            opened.append(before.start() if named and before is not None else word.start())
            if len(opened) > 2 * DEEPEST:
                break
        elif word[0] == ")" and opened:
            opened.pop()
        before = word if word[1] else None
    return frozenset(found)


def _read_sum(reader: Reader) -> Schedule | Looking:
    """Read `product + product + ...`, the last of which may hold a control."""
    terms: list[Schedule] = []
    while not _at_control(reader):
        terms.append(read_product(reader))
        if reader.take("*"):  # only a control can follow, or the product would have read on
            return _after(terms[:-1], _read_times(reader, terms[-1]))
        if not reader.take("+"):
            return Schedule(tuple(part for term in terms for part in term.parts))
    return _after(terms, _read_times(reader, None))


def _at_control(reader: Reader) -> bool:
    """Whether a control comes next, or what may hold one."""
    token = reader.ahead()
    return token.at in reader.foreign_at and token.text in ("(", *CONTROLS, *BOUNDS, *WRAPPERS)


def _after(terms: list[Schedule], control: Looking) -> Looking:
    if not terms:
        return control
    return Then(Schedule(tuple(part for term in terms for part in term.parts)), control)


def _read_times(reader: Reader, schedule: Schedule | None) -> Looking:
    """Read a control and what it is multiplied by, on either side."""
    if not _at_control(reader):
        read_product(reader)  # which fails, and says what is wrong
    looking = _read_looking(reader)
    if reader.take("*"):
        if _at_control(reader):
            reader.fail("a product holds one control")
        other = read_product(reader)
        schedule = other if schedule is None else schedule * other
    if reader.peek() == "*":
        reader.fail("a product holds one control")
    if reader.peek() == "+":
        reader.fail(
            "a control goes on to the end of the run, so nothing can follow it; a cooldown from where it is then is "
            "a factor, as in plateau*(constant+linear(share=0.2))"
        )
    return looking if schedule is None else Times(schedule, looking)


def _read_looking(reader: Reader) -> Looking:
    at = reader.ahead().at
    if reader.take("("):
        inner = _read_inner(reader)
        reader.expect(")")
        if isinstance(inner, Schedule):
            reader.fail("expected a control", at)
        return inner
    name = reader.name("a control")
    if name in BOUNDS:
        return _read_bound(reader, name, at)
    if name in WRAPPERS:
        return _read_around(reader, name, at)
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    made = call(reader, CONTROLS[name], name, positional, named, at)
    assert isinstance(made, Single)  # noqa: S101 - what CONTROLS holds, told to the type checker
    return made


def _read_inner(reader: Reader) -> Schedule | Looking:
    reader.depth += 1
    if reader.depth > 2 * DEEPEST:
        reader.fail(f"brackets deeper than {2 * DEEPEST}")
    inner = _read_sum(reader)
    reader.depth -= 1
    return inner


def _read_bound(reader: Reader, name: str, at: int) -> Looking:
    """Read `(control, schedule or number, ...)`, in any order; there is a bracket, or this were no control."""
    reader.expect("(")
    looking: list[Looking] = []
    bounds: list[Schedule] = []
    while not reader.take(")"):
        if reader.at_number() and reader.ahead(1).text in (",", ")"):
            reader.count()
            bounds.append(constant(reader.number()))
        else:
            term = _read_inner(reader)
            bounds.append(term) if isinstance(term, Schedule) else looking.append(term)
        if not reader.take(","):
            reader.expect(")")
            break
    if len(looking) != 1 or not bounds:
        reader.fail(f"{name} holds one control and at least one schedule or number beside it", at)
    together = bounds[0] if len(bounds) == 1 else Schedule((TOGETHER[name](terms=tuple(bounds)),))
    return BOUNDS[name](together, looking[0])


def _read_around(reader: Reader, name: str, at: int) -> Looking:
    """Read `(control, parameter=value, ...)`; schedules beside that of the rate come first."""
    around = f"{name} stands around a schedule or a control, as in {name}(sgdr)"
    if not reader.take("("):
        reader.fail(around, at)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    if reader.at_number() and reader.ahead(1).text in (",", ")"):
        reader.fail(around, at)
    if reader.peek() != ")" and reader.ahead(1).text != "=":
        inner = _read_inner(reader)
        positional = [_read_beside(reader, inner, others=True) if isinstance(inner, Schedule) else inner]
    if not positional or reader.take(","):
        positional, named = reader.arguments(positional)
    else:
        reader.expect(")")
    if not positional and "inner" not in named and MADE_BY[name] is WRAPPERS[name]:
        reader.fail(around, at)
    made = call(reader, MADE_BY[name], name, positional, named, at)
    assert isinstance(made, Looking)  # noqa: S101 - what WRAPPERS holds, told to the type checker
    return made


def _read_beside(reader: Reader, schedule: Schedule, *, others: bool = False) -> Scheduled:
    """Read `, momentum=schedule, weight_decay=schedule`; whatever else follows is left where `others` may."""
    beside: dict[str, Schedule] = {}
    while not (others and reader.ahead(1).text not in BESIDE) and reader.take(","):
        at, name = reader.ahead().at, reader.name("momentum or weight_decay")
        if name not in BESIDE:
            reader.refuse_rate(name, at)
            reader.fail(
                f"expected momentum=... or weight_decay=..., got {name!r}; what comes next in time is joined by '+', "
                "as in warmup(0.05)+cosine,",
                at,
            )
        if name in beside:
            reader.fail(f"`{name}` given twice")
        reader.expect("=")
        beside[name] = read_schedule(reader)
    return Scheduled(schedule, momentum=beside.get("momentum"), weight_decay=beside.get("weight_decay"))
