"""Schedules as text and JSON, and back.

Text: `rex`, `warmup(0.05)+rex(beta=0.5)`, `(linear+constant(0.1))*0.5`, `repeat(cosine, times=3)`,
`over(linear*cosine, share=0.5)`.
`+` is "then", `*` multiplies. Names come from closed lists; nothing named in a text or file is ever imported.
JSON: `{"format": "lrcontrol/schedule", "version": 1, "schedule": {...}}`, read strictly.
"""

import inspect
import json
import re
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText, LRControlError, UnknownName
from lrcontrol.schedules.profiles import Constant, Exponential, Linear
from lrcontrol.schedules.recipes import RECIPES, exponential, step, tidy
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import DEEPEST, Nested, Part, Product, Schedule, Segment

__all__ = [
    "LARGEST_DOCUMENT",
    "Reader",
    "from_json",
    "number_text",
    "read_document",
    "schedule",
    "schedule_text",
    "to_json",
]

LARGEST_DOCUMENT = 2**20  # bytes of text or JSON
FORMAT, VERSION = "lrcontrol/schedule", 1

Value = TypeVar("Value")


def schedule(given: str | Schedule) -> Schedule:
    """The schedule that a text describes; a schedule is returned as it is.

    Args:
        given: text such as `warmup(0.05)+rex`; names and parameters are those of the recipes.
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
    reader = Reader(given, "schedule")
    result = read_schedule(reader)
    reader.finish()
    return result


def to_json(given: Schedule) -> str:
    """The schedule as a JSON document that `from_json` reads back, equal.

    Example:
        >>> from_json(to_json(schedule("warmup(0.05)+rex"))) == schedule("warmup(0.05)+rex")
        True
    """
    document = {"format": FORMAT, "version": VERSION, "schedule": given}
    return msgspec.json.encode(document).decode()


def from_json(text: str | bytes) -> Schedule:
    """The schedule that a JSON document holds.

    Raises:
        BadText: not JSON, another format or version, an unknown or doubled key, a wrong type, NaN, too large or
            too deep; the sentence names the place.
    """
    return read_document(text, FORMAT, VERSION, "schedule", Schedule)


def read_document(text: str | bytes, form: str, version: int, key: str, kind: type[Value]) -> Value:
    """The value of type `kind` under `key` of a versioned JSON document, read strictly."""
    document = _strict_json(text)
    if not isinstance(document, dict) or document.get("format") != form:
        raise BadText(f'a {key} in JSON must have "format": "{form}", got {checks.shown(document)}.')
    if document.get("version") != version:
        raise BadText(f"a {key} in JSON must have version {version}, got {checks.shown(document.get('version'))}.")
    extra = sorted(set(document) - {"format", "version", key})
    if extra or key not in document:
        raise BadText(f'a {key} in JSON must hold "format", "version" and "{key}", got {sorted(document)}.')
    try:
        return msgspec.convert(document[key], kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadText(f"this {key} in JSON cannot be read: {error}") from None


def _strict_json(text: str | bytes) -> Any:
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
        raise BadText(f"this is not JSON that can be read: {error}.") from None


class Token(NamedTuple):
    """A piece of text and where it begins."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[-+*(),=:])")


class Reader:
    """A text in tokens, read one at a time; errors show the place."""

    def __init__(self, text: str, kind: str) -> None:
        if len(text) > LARGEST_DOCUMENT:
            raise BadText(f"a {kind} as text must have at most {LARGEST_DOCUMENT} characters, got {len(text)}.")
        self.text, self.kind, self.depth, self.index = text, kind, 0, 0
        self.tokens: list[Token] = []
        at = 0
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(text, at)
            if found is None:
                self.fail(f"unexpected {text[at]!r}", at)
            self.tokens.append(Token(str(found.lastgroup), found.group(), at))
            at = found.end()

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        """Raise BadText with the text around position `at` (by default, of the next token)."""
        if at is None:
            at = self.tokens[self.index].at if self.index < len(self.tokens) else len(self.text)
        near = self.text[max(at - 30, 0) : at + 30]
        raise BadText(f"a {self.kind} cannot be read: {what} at position {at} of {near!r}.")

    def peek(self) -> str:
        """The next token's text, or '' at the end."""
        return self.tokens[self.index].text if self.index < len(self.tokens) else ""

    def take(self, text: str) -> bool:
        """Whether the next token is `text`; if so it is read."""
        if self.peek() != text:
            return False
        self.index += 1
        return True

    def expect(self, text: str) -> None:
        """Read `text`, or fail."""
        if not self.take(text):
            self.fail(f"expected {text!r}, got {self.peek() or 'the end'!r}")

    def name(self, what: str) -> str:
        """Read a name, or fail."""
        if self.index >= len(self.tokens) or self.tokens[self.index].kind != "name":
            self.fail(f"expected {what}, got {self.peek() or 'the end'!r}")
        self.index += 1
        return self.tokens[self.index - 1].text

    def at_number(self) -> bool:
        """Whether a number comes next."""
        return self.index < len(self.tokens) and self.tokens[self.index].kind == "number"

    def number(self) -> int | float:
        """Read a number; one without point and exponent is an int."""
        sign = -1 if self.take("-") else 1
        if not self.at_number():
            self.fail(f"expected a number, got {self.peek() or 'the end'!r}")
        text = self.tokens[self.index].text
        if len(text) > 400:
            self.fail("a number of more than 400 digits")
        self.index += 1
        return sign * (int(text) if text.isdecimal() else float(text))

    def value(self) -> Any:
        """Read a literal: a number, a tuple of numbers, true, false, or a bare word."""
        if self.take("("):
            items = []
            while not self.take(")"):
                items.append(self.number())
                if not self.take(","):
                    self.expect(")")
                    break
            return tuple(items)
        if self.index < len(self.tokens) and self.tokens[self.index].kind == "name":
            word = self.name("a value")
            return {"true": True, "false": False}.get(word.lower(), word)
        return self.number()

    def arguments(self, positional: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Read `value, ..., name=value, ...)`, the opening bracket having been read."""
        named: dict[str, Any] = {}
        while not self.take(")"):
            following = self.tokens[self.index + 1].text if self.index + 1 < len(self.tokens) else ""
            if following == "=":
                name = self.name("a parameter")
                if name in named:
                    self.fail(f"`{name}` given twice")
                self.expect("=")
                named[name] = self.value()
            elif named:
                self.fail("a value without a name after one with a name")
            else:
                positional.append(self.value())
            if not self.take(","):
                self.expect(")")
                break
        return positional, named

    def finish(self) -> None:
        """Fail unless all has been read."""
        if self.index < len(self.tokens):
            self.fail(f"unexpected {self.peek()!r}")


def read_schedule(reader: Reader) -> Schedule:
    """Read `product + product + ...`."""
    parts: list[Part] = []
    while True:
        parts.extend(_read_product(reader).parts)
        if not reader.take("+"):
            return Schedule(tuple(parts))


def _read_product(reader: Reader) -> Schedule:
    result = _read_factor(reader)
    while reader.take("*"):
        other = _read_factor(reader)
        if isinstance(result, Schedule):
            result = result * other
        elif isinstance(other, Schedule):
            result = other * result
        else:
            reader.fail("a product of two numbers")
    if not isinstance(result, Schedule):
        reader.fail("a number alone is no schedule; write constant(...)")
    return result


def _read_factor(reader: Reader) -> Schedule | float:
    if reader.at_number():
        return reader.number()
    if reader.take("("):
        inner = _read_inner(reader)
        reader.expect(")")
        return inner
    at = reader.tokens[reader.index].at if reader.index < len(reader.tokens) else None
    name = reader.name("a schedule")
    if name in ("repeat", "over"):
        reader.expect("(")
        inner = _read_inner(reader)
        reader.take(",")
        positional, named = reader.arguments([])
        target = inner.repeat if name == "repeat" else inner.over
        return cast(Schedule, call(reader, target, name, positional, named, at))
    if name not in RECIPES:
        raise UnknownName(checks.near_miss("schedule", name, [*RECIPES, "repeat", "over"]))
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    return cast(Schedule, call(reader, RECIPES[name], name, positional, named, at))


def _read_inner(reader: Reader) -> Schedule:
    reader.depth += 1
    if reader.depth > 4 * DEEPEST:
        reader.fail(f"brackets deeper than {4 * DEEPEST}")
    inner = read_schedule(reader)
    reader.depth -= 1
    return inner


def call(reader: Reader, target: Any, name: str, positional: list[Any], named: dict[str, Any], at: int | None) -> Any:
    """`target(*positional, **named)` for a text, with unknown parameters named and the place told."""
    known = _parameters(target)
    for parameter in named:
        if parameter not in known:
            raise UnknownName(checks.near_miss(f"parameter of {name},", parameter, known))
    try:
        inspect.signature(target).bind(*positional, **named)
    except TypeError as error:
        reader.fail(f"{name}: {error}", at)
    try:
        return target(*positional, **named)
    except LRControlError as error:
        raise type(error)(f"{name}: {error}") from None


def _parameters(target: Any) -> list[str]:
    """The names that `target` takes, those of `**layout: Unpack[...]` spelled out."""
    names = []
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names += list(parameter.annotation.__args__[0].__annotations__)
        else:
            names.append(parameter.name)
    return names


def schedule_text(given: Schedule) -> str:
    """The canonical text of a schedule; `schedule` reads it back, equal."""
    return "+".join(_part_text(part) for part in given.parts)


def number_text(value: float) -> str:
    """The shortest text that reads back as `value`."""
    return repr(value).removesuffix(".0")


def _part_text(part: Part) -> str:
    if isinstance(part, Segment):
        return _segment_text(part)
    length = _arguments({"steps": part.steps, "share": part.share}, {"steps": None, "share": None})
    if isinstance(part, Product):
        text = "*".join(_factor_text(factor) for factor in part.factors)
        return f"over({', '.join([text, *length])})" if length else text
    levels = _step_arguments(part)
    if levels is not None:
        return _call_text("step", [*levels, *length])
    inner = schedule_text(part.schedule)
    if part.schedule.over(steps=part.steps, share=part.share).parts == (part,):
        return f"over({', '.join([inner, *length])})"
    return f"repeat({', '.join([inner, f'times={part.times}', *length])})"


def _step_arguments(part: Nested) -> list[str] | None:
    """The arguments of the step recipe that makes this part, or None where it does not."""
    levels = [inner for inner in part.schedule.parts if isinstance(inner, Segment)]
    if part.times != 1 or len(levels) < 2 or levels[0].start == 0:
        return None
    shares = [level.share or 0.0 for level in levels]
    factor = tidy(levels[1].start / levels[0].start)
    milestones = tuple(tidy(sum(shares[: index + 1])) for index in range(len(levels) - 1))
    try:
        made = step(factor, milestones, steps=part.steps, share=part.share)
    except BadInput:
        return None
    if made.parts != (part,):
        return None
    return _arguments({"factor": factor, "milestones": milestones}, {"factor": 0.1, "milestones": (0.5, 0.75)})


def _factor_text(factor: Schedule) -> str:
    text = schedule_text(factor)
    return f"({text})" if len(factor.parts) > 1 or isinstance(factor.parts[0], Product) else text


def _segment_text(segment: Segment) -> str:
    profile, sampling = segment.profile, segment.sampling
    warm = isinstance(profile, Linear) and sampling == Sampling(at="right") and not segment.takes_rest
    length = segment.steps if segment.share is None else segment.share
    if warm and (segment.share is None or segment.share < 1):
        rise = _arguments({"start": segment.start, "end": segment.last}, {"start": 0.0, "end": 1.0})
        return f"warmup({', '.join([repr(length), *rise])})"
    name = str(profile.__struct_config__.tag)
    shape = _arguments(msgspec.structs.asdict(profile), msgspec.structs.asdict(type(profile)()))
    where = {"steps": segment.steps, "share": segment.share}
    if isinstance(profile, Constant):
        level = [] if segment.start == 1 else [number_text(segment.start)]
        return _call_text(name, [*level, *_arguments(where, {"steps": None, "share": None})])
    ends = {"start": segment.start, "end": segment.last}
    default_end = 0.0
    if isinstance(profile, Exponential):
        default_end = exponential(profile.rate, start=segment.start).last
    read = msgspec.structs.asdict(sampling)
    rest = _arguments(
        {**ends, **where, **read},
        {
            "start": 1.0,
            "end": default_end,
            "steps": None,
            "share": None,
            **msgspec.structs.asdict(Sampling()),
        },
    )
    return _call_text(name, [*shape, *rest])


def _arguments(values: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """`name=value` for each value that is not its default."""
    return [f"{name}={_literal(value)}" for name, value in values.items() if value != defaults[name]]


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(number_text, value))})"
    return value if isinstance(value, str) else number_text(value)


def _call_text(name: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})" if arguments else name
