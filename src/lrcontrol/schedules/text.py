"""Schedules as text and JSON, and back.

Text: `rex`, `warmup(0.05)+rex(beta=0.5)`, `(linear+constant(0.1))*0.5`, `repeat(cosine, times=3)`,
`over(linear*cosine, share=0.5)`.
`+` is "then", `*` multiplies. Names come from closed lists; nothing named in a text or file is ever imported.
JSON: `{"format": "lrcontrol/schedule", "version": 1, "schedule": {...}}`, read strictly.
"""

import inspect
import json
import math
import re
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText, LRControlError, UnknownName
from lrcontrol.schedules.profiles import Constant, Exponential, Linear
from lrcontrol.schedules.recipes import RECIPES, step, tidy
from lrcontrol.schedules.sampling import MOST_READINGS, Sampling
from lrcontrol.schedules.schedule import DEEPEST, MOST_SEGMENTS, Nested, Part, Product, Schedule, Segment

__all__ = [
    "FORMAT",
    "LARGEST_DOCUMENT",
    "VERSION",
    "Reader",
    "Token",
    "call",
    "from_json",
    "number_text",
    "read_document",
    "read_schedule",
    "schedule",
    "schedule_text",
    "to_json",
]

LARGEST_DOCUMENT = 2**20  # bytes of text or JSON
FORMAT = "lrcontrol/schedule"  # of a schedule's JSON document
VERSION = 1  # of FORMAT

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


class Token(NamedTuple):
    """A piece of text and where it begins."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[-+*(),=:])|(?P<end>\Z))",
    re.ASCII,
)
_MOST_VALUES = 1000  # between one pair of brackets


class Reader:
    """A text in tokens, cut off one at a time, so that a bad text costs no more than its good beginning."""

    def __init__(self, text: str, kind: str) -> None:
        if len(text) > LARGEST_DOCUMENT:
            raise BadText(f"a {kind} as text must have at most {LARGEST_DOCUMENT} characters, got {len(text)}.")
        self.text, self.kind, self.depth, self.made = text, kind, 0, 0
        self._cut = 0  # the text before it has been cut into tokens
        self._ahead: list[Token] = []  # those not read yet

    def ahead(self, count: int = 0) -> Token:
        """The token `count` places after the next one; of kind `end` and empty at the end."""
        while len(self._ahead) <= count:
            found = _TOKEN.match(self.text, self._cut)
            if found is None:
                at = self._cut + len(self.text[self._cut :]) - len(self.text[self._cut :].lstrip())
                self.fail(f"unexpected {self.text[at]!r}", at)
            kind = str(found.lastgroup)
            self._ahead.append(Token(kind, found.group(kind), found.start(kind)))
            self._cut = found.end()
        return self._ahead[count]

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        """Raise BadText with the text around position `at` (by default, of the next token)."""
        if at is None:
            at = self.ahead().at
        near = self.text[max(at - 30, 0) : at + 30]
        raise BadText(f"a {self.kind} cannot be read: {what} at position {at} of {near!r}.")

    def peek(self) -> str:
        """The next token's text, or '' at the end."""
        return self.ahead().text

    def take(self, text: str) -> bool:
        """Whether the next token is `text`; if so it is read."""
        if self.peek() != text:
            return False
        self._ahead.pop(0)
        return True

    def expect(self, text: str) -> None:
        """Read `text`, or fail."""
        if not self.take(text):
            self.fail(f"expected {text!r}, got {self.peek() or 'the end'!r}")

    def name(self, what: str) -> str:
        """Read a name, or fail."""
        if self.ahead().kind != "name":
            self.fail(f"expected {what}, got {self.peek() or 'the end'!r}")
        return self._ahead.pop(0).text

    def at_number(self) -> bool:
        """Whether a number comes next."""
        return self.ahead().kind == "number"

    def number(self) -> int | float:
        """Read a number; one without point and exponent is an int."""
        sign = -1 if self.take("-") else 1
        if not self.at_number():
            self.fail(f"expected a number, got {self.peek() or 'the end'!r}")
        if len(self.peek()) > 400:
            self.fail("a number of more than 400 digits")
        text = self._ahead.pop(0).text
        return sign * (int(text) if text.isdecimal() else float(text))

    def value(self) -> Any:
        """Read a literal: a number, a tuple of numbers, true, false, or a bare word."""
        if self.take("("):
            items: list[int | float] = []
            while not self.take(")"):
                if len(items) == _MOST_VALUES:
                    self.fail(f"more than {_MOST_VALUES} values")
                items.append(self.number())
                if not self.take(","):
                    self.expect(")")
                    break
            return tuple(items)
        if self.ahead().kind == "name":
            word = self.name("a value")
            return {"true": True, "false": False}.get(word.lower(), word)
        return self.number()

    def arguments(self, positional: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Read `value, ..., name=value, ...)`, the opening bracket having been read."""
        named: dict[str, Any] = {}
        while not self.take(")"):
            if len(positional) + len(named) == _MOST_VALUES:
                self.fail(f"more than {_MOST_VALUES} values")
            if self.ahead().kind == "name" and self.ahead(1).text == "=":
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
        if self.ahead().kind != "end":
            self.fail(f"unexpected {self.peek()!r}")


def read_schedule(reader: Reader) -> Schedule:
    """Read `product + product + ...`."""
    first = _read_product(reader)
    parts = list(first.parts)
    while reader.take("+"):
        parts.extend(_read_product(reader).parts)
    return Schedule(tuple(parts)) if len(parts) > len(first.parts) else first


def _read_product(reader: Reader) -> Schedule:
    scale: float | None = None
    factors: list[Schedule] = []
    while True:
        factor = _read_factor(reader)
        if isinstance(factor, Schedule):
            factors.append(factor)
        else:
            scale = factor if scale is None else scale * factor
        if not reader.take("*"):
            break
    if not factors:
        reader.fail("a number alone is no schedule; write constant(...)")
    result = factors[0] if len(factors) == 1 else Schedule((Product(tuple(factors)),))
    return result if scale is None else result * scale


def _read_factor(reader: Reader) -> Schedule | float:
    reader.made += 1
    if reader.made > MOST_SEGMENTS:
        reader.fail(f"more than {MOST_SEGMENTS} schedules and numbers")
    if reader.at_number():
        return reader.number()
    if reader.take("("):
        inner = _read_inner(reader)
        reader.expect(")")
        return inner
    at = reader.ahead().at
    name = reader.name("a schedule")
    if name in ("repeat", "over"):
        reader.expect("(")
        inner = _read_inner(reader)
        if not reader.take(",") and reader.peek() != ")":
            reader.expect(",")
        positional, named = reader.arguments([inner])
        target = Schedule.repeat if name == "repeat" else Schedule.over
        return cast(Schedule, call(reader, target, name, positional, named, at))
    if name not in RECIPES:
        raise UnknownName(checks.near_miss("schedule", name, [*RECIPES, "repeat", "over"]))
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    return cast(Schedule, call(reader, RECIPES[name], name, positional, named, at))


def _read_inner(reader: Reader) -> Schedule:
    reader.depth += 1
    if reader.depth > 2 * DEEPEST:  # a part of every kind needs at most two pairs
        reader.fail(f"brackets deeper than {2 * DEEPEST}")
    inner = read_schedule(reader)
    reader.depth -= 1
    return inner


def call(reader: Reader, target: Any, name: str, positional: list[Any], named: dict[str, Any], at: int | None) -> Any:
    """`target(*positional, **named)` for a text, with unknown parameters named and the place told."""
    signature, known = _parameters(target)
    for parameter in named:
        if parameter not in known:
            raise UnknownName(checks.near_miss(f"parameter of {name},", parameter, known))
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        reader.fail(f"{name}: {error}", at)
    try:
        return target(*positional, **named)
    except LRControlError as error:
        raise type(error)(f"{name}: {error}") from None


@lru_cache(maxsize=256)
def _parameters(target: Any) -> tuple[inspect.Signature, list[str]]:
    """The signature of `target` and the names it takes, those of `**layout: Unpack[...]` spelled out."""
    signature, names = inspect.signature(target), []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names += list(parameter.annotation.__args__[0].__annotations__)
        elif parameter.name != "self":
            names.append(parameter.name)
    return signature, names


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
    if part.times != 1 or not 2 <= len(levels) <= MOST_READINGS or levels[0].start == 0:
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
        default_end = segment.start * math.exp(-profile.rate)  # as the recipe has it
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
