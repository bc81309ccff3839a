"""Schedules as text and JSON, and back.

Text: `rex`, `warmup(0.05)+rex(beta=0.5)`, `(linear+constant(0.1))*0.5`, `repeat(cosine, times=3)`,
`over(linear*cosine, share=0.5)`, `max(inverse_sqrt, 0.1)`, `warmup(5ep)+cosine`.
`+` is "then", `*` multiplies. Names come from closed lists; nothing named in a text or file is ever imported.
JSON: `{"format": "lrcontrol/schedule", "version": 1, "schedule": {...}}`, read strictly.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText, UnknownName
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.profiles import Constant, InversePower, Linear, Polynomial, Shape
from lrcontrol.schedules.reader import LARGEST_DOCUMENT, Reader, call
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.recipes.phases import step, tidy
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.sampling import MOST_READINGS, Sampling
from lrcontrol.schedules.schedule import (
    DEEPEST,
    MOST_SEGMENTS,
    Cycled,
    Held,
    Maximum,
    Minimum,
    Nested,
    Part,
    Product,
    Schedule,
    Segment,
    Sum,
    compact_json,
)

__all__ = [
    "FORMAT",
    "VERSION",
    "from_json",
    "levels_shortened",
    "number_text",
    "read_document",
    "read_product",
    "read_schedule",
    "schedule",
    "schedule_text",
    "shortened",
    "term_text",
    "to_json",
]

FORMAT = "lrcontrol/schedule"  # of a schedule's JSON document
VERSION = 1  # of FORMAT
SHOWN_VALUES = 12  # of a table, where people are shown its text
SHOWN_LEVELS = 50  # characters of levels, one after the other, likewise
_LEVEL = r"constant(?:\([^()]*\))?"

Value = TypeVar("Value")

CONTROLS_LOOK = (
    "alignment",
    "greedy",
    "hypergradient",
    "l4",
    "learned",
    "plateau",
    "polyak",
)  # names of controls, told apart from names that nobody knows
CONTROLS_AROUND = ("clip", "snapshots", "stop_early", "stop_on_divergence", "whole_cycles")  # around others

TOGETHER: dict[str, type[Sum | Maximum | Minimum]] = {"max": Maximum, "min": Minimum, "sum": Sum}
"""What lays schedules side by side, by its name in text; products are written with `*`."""

AROUND: dict[str, Callable[..., Schedule]] = {
    "hold": Schedule.held,
    "over": Schedule.over,
    "repeat": Schedule.repeat,
}
"""What is done to one schedule, by its name in text."""

HELD = {
    "hold": "a schedule, as in hold(cosine)",
    "max": "schedules and numbers, as in max(cosine, 0.1)",
    "min": "schedules and numbers, as in min(cosine, 0.5)",
    "over": "a schedule, as in over(cosine, share=0.5)",
    "repeat": "a schedule, as in repeat(cosine, times=3)",
    "sum": "schedules and numbers, as in sum(cosine, 0.1)",
}
"""What stands in the brackets after each of these, for the sentence where there are none."""


def schedule(given: str | Schedule, *, steps_per_epoch: int | None = None) -> Schedule:
    """The schedule that a text describes; a schedule is returned as it is.

    Args:
        given: text such as `warmup(0.05)+rex`; names and parameters are those of the recipes. Lengths may be in
            epochs, as in `warmup(5ep)` or `cosine(every=1ep)`.
        steps_per_epoch: >= 1; what an epoch is in such lengths.
    Raises:
        BadText: the text cannot be read; the sentence shows the place. UnknownName: near misses are named.
    Example:
        >>> schedule("warmup(0.05) + cosine(end=0.1)").multiplier(100, 100)
        0.1
    """
    if isinstance(given, Schedule):
        return given
    if not isinstance(given, str):
        raise BadInput(f"a schedule must be a text or a Schedule, got {checks.shown(given)}.")
    if steps_per_epoch is not None:
        steps_per_epoch = checks.integer("steps_per_epoch", steps_per_epoch, low=1)
    reader = Reader(given, "schedule", steps_per_epoch)
    result = read_schedule(reader)
    reader.finish()
    return result


def to_json(given: Schedule) -> str:
    """The schedule as a JSON document that `from_json` reads back, equal.

    Raises:
        BadInput: something else is given.
    Example:
        >>> from_json(to_json(schedule("warmup(0.05)+rex"))) == schedule("warmup(0.05)+rex")
        True
    """
    checks.instance("given", given, Schedule, "a Schedule")
    document = {"format": FORMAT, "version": VERSION, "schedule": given}
    text = msgspec.json.encode(document)
    if len(text) > LARGEST_DOCUMENT:  # what is usual is left out only where there is no room for it
        text = compact_json(document)
    return text.decode()


def shortened(text: str) -> str:
    """The text of a schedule or method as people are shown it: long tables by their length and a digest.

    Example:
        >>> shortened("adamw:table(values=(1, 0.75, 0.5))")
        'adamw:table(values=(1, 0.75, 0.5))'
        >>> shortened(f"adamw:table(values={tuple(range(100))}, end=0.1)")
        'adamw:table(100 values e856c4, end=0.1)'
    """

    def brief(found: re.Match[str]) -> str:
        values = found.group(1)
        count = values.count(",") + 1
        if count <= SHOWN_VALUES:
            return found.group(0)
        return f"table({count} values {hashlib.sha256(values.encode()).hexdigest()[:6]}"

    return re.sub(r"table\(values=\(([^()]*)\)", brief, text)


def levels_shortened(text: str) -> str:
    """The text of a schedule or method with many levels, one after the other, told by number, ends and a digest.

    So is what a run in stages comes to; a sentence beside it tells it in full.

    Example:
        >>> levels_shortened("sgd:over(constant(steps=1500)+constant(0.0384, steps=2000)+constant(0.00333333))")
        'sgd:over(3 levels, 1 to 0.00333333, 8245f3)'
    """

    def brief(found: re.Match[str]) -> str:
        whole = found.group(0)
        if len(whole) <= SHOWN_LEVELS:
            return whole
        values = re.findall(r"constant(?:\(([\d.e-]+)(?![\w=]))?", whole)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
        return f"{len(values)} levels, {values[0] or 1} to {values[-1] or 1}, {digest}"

    return re.sub(rf"(?<=over\()(?:{_LEVEL}\+)+{_LEVEL}(?=\))", brief, text)


def from_json(text: str | bytes) -> Schedule:
    """The schedule that a JSON document holds.

    Raises:
        BadText: not JSON, another format or version, an unknown or doubled key, a wrong type, NaN, too large or
            too deep; the sentence names the place.
    """
    checks.instance("text", text, str | bytes, "a text or bytes")
    segments = text.count('"segment"') if isinstance(text, str) else text.count(b'"segment"')
    if segments > MOST_SEGMENTS:  # told before they are made
        raise BadText(f"a schedule in JSON must have at most {MOST_SEGMENTS} segments, got {segments}.")
    return read_document(text, FORMAT, VERSION, "schedule", Schedule)


def read_document(text: str | bytes, form: str, version: int, key: str, kind: type[Value]) -> Value:
    """The value of type `kind` under `key` of a versioned JSON document, read strictly."""
    document = _strict_json(text)
    if not isinstance(document, dict) or document.get("format") != form:
        raise BadText(f'a {key} in JSON must have "format": "{form}", got {checks.shown(document)}.')
    got = document.get("version")
    if type(got) is not int or got != version:  # true and 1.0 equal 1
        raise BadText(f"a {key} in JSON must have version {version}, got {checks.shown(got)}.")
    if set(document) != {"format", "version", key}:
        raise BadText(
            f'a {key} in JSON must hold "format", "version" and "{key}", got {checks.shown(sorted(document))}.'
        )
    try:
        return msgspec.convert(document[key], kind, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadText(f"this {key} in JSON cannot be read: {checks.shown_error(error)}.") from None


def _strict_json(text: str | bytes) -> Any:
    checks.instance("text", text, str | bytes, "a text or bytes")
    if len(text) > LARGEST_DOCUMENT:
        raise BadText(f"a JSON document must have at most {LARGEST_DOCUMENT} bytes, got {len(text)}.")

    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise BadText(f"a key must occur once in a JSON object, got {checks.shown(names)}.")
        return found

    def no_constants(name: str) -> NoReturn:
        raise BadText(f"numbers in JSON must be finite, got {name}.")

    try:
        return json.loads(text, object_pairs_hook=no_doubles, parse_constant=no_constants)
    except BadText:
        raise
    except (ValueError, RecursionError) as error:
        raise BadText(f"this is not JSON that can be read: {checks.shown_error(error)}.") from None


def read_schedule(reader: Reader) -> Schedule:
    """Read `product + product + ...`."""
    first = read_product(reader)
    parts = list(first.parts)
    while reader.take("+"):
        parts.extend(read_product(reader).parts)
    return Schedule(tuple(parts)) if len(parts) > len(first.parts) else first


def read_product(reader: Reader) -> Schedule:
    """Read `factor * factor * ...`; a `*` before what is foreign to schedules is left."""
    scale: float | None = None
    factors: list[Schedule] = []
    while True:
        factor = _read_factor(reader)
        if isinstance(factor, Schedule):
            factors.append(factor)
        else:
            scale = factor if scale is None else scale * factor
        foreign = reader.peek() == "*" and reader.ahead(1).at in reader.foreign_at
        if foreign or not reader.take("*"):
            break
    if not factors and foreign:
        factors, scale = [constant(scale or 0.0)], None
    if not factors:
        reader.fail("a number alone is no schedule; write constant(...)")
    result = factors[0] if len(factors) == 1 else Schedule((Product(tuple(factors)),))
    return result if scale is None else result * scale


def _read_factor(reader: Reader) -> Schedule | float:
    if reader.at_number():
        word = reader.peek() + reader.ahead(1).text  # 1cycle is a number and a name
        if reader.ahead(1).kind == "name" and ours(word):
            raise _unknown(reader, word)
        reader.count()
        return reader.number()
    if reader.take("("):
        inner = _read_inner(reader)
        reader.expect(")")
        return inner
    at = reader.ahead().at
    name = reader.name("a schedule")
    if name in HELD and not reader.take("("):
        reader.fail(f"{name} stands around {HELD[name]}", at)
    if name in AROUND:
        inner = _read_inner(reader)
        if not reader.take(",") and reader.peek() != ")":
            reader.expect(",")
        positional, named = reader.arguments([inner])
        return cast(Schedule, call(reader, AROUND[name], name, positional, named, at))
    if name in TOGETHER:
        return Schedule((TOGETHER[name](_read_terms(reader)),))
    reader.count()
    if name not in RECIPES:
        if name in CONTROLS_LOOK:
            reader.fail(
                f"{name} is a control, which looks at the run; it stands last, as in warmup(0.05)+{name}, "
                f"in a product, or in max or min beside schedules, as in max(cosine*{name}, 0.1)",
                at,
            )
        if name in CONTROLS_AROUND:
            reader.fail(
                f"{name} is a control around a schedule, and no schedule itself; it stands around the whole, last, or "
                f"beside schedules, as in {name}(warmup(0.05)+cosine)",
                at,
            )
        if reader.peek() in (":", "(") and ":" in reader.text and reader.kind != "method":
            reader.fail("this is a method, optimizer:schedule; a schedule is what stands after the ':'", at)
        if reader.peek() == "=":
            reader.refuse_rate(name, at)
            reader.fail(
                "the schedule of the rate comes first, without a name, as in one_cycle, momentum=one_cycle_momentum,",
                at,
            )
        raise _unknown(reader, name)
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    return cast(Schedule, call(reader, RECIPES[name], name, positional, named, at))


def _unknown(reader: Reader, name: str) -> UnknownName:
    known = [*RECIPES, *AROUND, *TOGETHER, *reader.foreign]
    return UnknownName(checks.near_miss("schedule", name, known, ours(name)))


def _read_terms(reader: Reader) -> tuple[Schedule, ...]:
    """Read `schedule or number, ...)`, the opening bracket having been read."""
    terms = []
    while not reader.take(")"):
        alone = reader.at_number() and reader.ahead(1).text in (",", ")")
        if alone:
            reader.count()
        terms.append(constant(reader.number()) if alone else _read_inner(reader))
        if not reader.take(","):
            reader.expect(")")
            break
    return tuple(terms)


def _read_inner(reader: Reader) -> Schedule:
    reader.depth += 1
    if reader.depth > 2 * DEEPEST:  # a part of every kind needs at most two pairs
        reader.fail(f"brackets deeper than {2 * DEEPEST}")
    inner = read_schedule(reader)
    reader.depth -= 1
    return inner


def schedule_text(given: Schedule) -> str:
    """The canonical text of a schedule; `schedule` reads it back, equal."""
    texts, at = [], 0
    while at < len(given.parts):
        for parts, name in _bare():
            if given.parts[at : at + len(parts)] == parts:
                texts.append(name)
                at += len(parts)
                break
        else:
            texts.append(_part_text(given.parts[at]))
            at += 1
    return "+".join(texts)


def number_text(value: float) -> str:
    """The shortest text that reads back as `value`."""
    return repr(value).removesuffix(".0")


@lru_cache(maxsize=1)
def _bare() -> list[tuple[tuple[Part, ...], str]]:
    """The parts of every composed recipe at its defaults, and its name; the longest first."""
    made = [(recipe().parts, name) for name, recipe in RECIPES.items()]
    found = [(parts, name) for parts, name in made if len(parts) > 1 or not isinstance(parts[0], Segment)]
    return sorted(found, key=lambda each: (-len(each[0]), each[1]))


def _part_text(part: Part) -> str:
    if isinstance(part, Segment):
        return _segment_text(part)
    length = _arguments({"steps": part.steps, "share": part.share}, {"steps": None, "share": None})
    if isinstance(part, Nested | Cycled):
        return _turns_text(part, length)
    if isinstance(part, Held):
        when = _arguments(msgspec.structs.asdict(part.sampling), msgspec.structs.asdict(Sampling()))
        return f"hold({', '.join([schedule_text(part.schedule), *when, *length])})"
    if isinstance(part, Product):
        text = "*".join(_factor_text(factor) for factor in part.factors)
    else:
        name = next(name for name, kind in TOGETHER.items() if isinstance(part, kind))
        text = f"{name}({', '.join(map(term_text, part.terms))})"
    return f"over({', '.join([text, *length])})" if length else text


def _turns_text(part: Nested | Cycled, length: list[str]) -> str:
    steps = _step_arguments(part)
    if steps is not None:
        return _call_text("step", [*steps, *length])
    inner = schedule_text(part.schedule)
    change = _arguments({"growth": part.growth, "shrink": part.shrink}, {"growth": 1.0, "shrink": 1.0})
    if isinstance(part, Cycled):
        return f"repeat({', '.join([inner, f'period={part.period}', *change, *length])})"
    if part.schedule.over(steps=part.steps, share=part.share).parts == (part,):
        return f"over({', '.join([inner, *length])})"
    return f"repeat({', '.join([inner, f'times={part.times}', *change, *length])})"


def _step_arguments(part: Nested | Cycled) -> list[str] | None:
    """The arguments of the step recipe that makes this part, or None where it does not."""
    if isinstance(part, Cycled):
        if part.schedule != constant() or part.growth != 1:
            return None
        return _arguments({"factor": part.shrink, "every": part.period}, {"factor": 0.1, "every": None})
    levels = [inner for inner in part.schedule.parts if isinstance(inner, Segment)]
    if part.times != 1 or not 2 <= len(levels) <= MOST_READINGS or levels[0].start != 1:
        return None
    factor = levels[1].start
    milestones: tuple[float, ...]
    if levels[0].steps is None:
        shares = [level.share or 0.0 for level in levels]
        milestones = tuple(tidy(sum(shares[: index + 1])) for index in range(len(levels) - 1))
    else:
        lengths = [level.steps or 0 for level in levels]
        milestones = tuple(sum(lengths[: index + 1]) for index in range(len(levels) - 1))
    try:
        made = step(factor, milestones, steps=part.steps, share=part.share)
    except BadInput:
        return None
    if made.parts != (part,):
        return None
    return _arguments({"factor": factor, "milestones": milestones}, {"factor": 0.1, "milestones": (0.5, 0.75)})


def _factor_text(factor: Schedule) -> str:
    text = schedule_text(factor)
    return f"({text})" if "+" in text or isinstance(factor.parts[0], Product) else text


def term_text(term: Schedule) -> str:
    """The text of a schedule among others side by side: a level alone is a number."""
    only = term.parts[0]
    level = len(term.parts) == 1 and only.takes_rest and isinstance(only, Segment) and only.profile == Constant()
    return number_text(only.start) if level and isinstance(only, Segment) else schedule_text(term)


def _segment_text(segment: Segment) -> str:
    profile, sampling, where = segment.profile, segment.sampling, {"steps": segment.steps, "share": segment.share}
    rises = isinstance(profile, Linear) and segment.end is not None and segment.start <= segment.end
    warm = rises and sampling == Sampling(at="right") and not segment.takes_rest and not segment.reverse
    if warm and (segment.share is None or segment.share < 1):
        length = segment.steps if segment.share is None else segment.share
        rise = _arguments({"start": segment.start, "end": segment.end}, {"start": 0.0, "end": 1.0})
        return f"warmup({', '.join([repr(length), *rise])})"
    if isinstance(profile, Constant):
        level = [] if segment.start == 1 else [number_text(segment.start)]
        return _call_text("constant", [*level, *_arguments(where, {"steps": None, "share": None})])
    name, shape = _shape_text(profile, segment.reverse)
    natural = profile.natural_end
    layout = {"start": segment.start, "end": segment.end, **where, **msgspec.structs.asdict(sampling)}
    usual = {
        "start": 1.0,
        "end": None if natural is None else segment.start * natural,
        "steps": None,
        "share": None,
        **msgspec.structs.asdict(Sampling()),
    }
    return _call_text(name, [*shape, *_arguments(layout, usual)])


def _shape_text(profile: Shape, reverse: bool) -> tuple[str, list[str]]:
    """The recipe of a shape, and the arguments that make it."""
    if profile == Polynomial(0.5) and reverse:
        return "one_minus_sqrt", []
    name, fields = str(profile.__struct_config__.tag), msgspec.structs.asdict(profile)
    if isinstance(profile, InversePower) and profile.exponent == 0.5:
        name = "inverse_sqrt"
        del fields["exponent"]
    shape = _arguments(fields, msgspec.structs.asdict(type(profile)()))
    return name, [*shape, "reverse=true"] if reverse else shape


def _arguments(values: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """`name=value` for each value that is not its default."""
    return [f"{name}={_literal(name, value)}" for name, value in values.items() if value != defaults[name]]


def _literal(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_literal(name, item) for item in value)})"
    if isinstance(value, str):
        return value
    return repr(value) if name in ("milestones", "timescale") else number_text(value)  # where 1 and 1.0 differ


def _call_text(name: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})" if arguments else name
