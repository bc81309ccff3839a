"""Reading text: tokens, literals, and calls of closed lists of functions by name."""

import inspect
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from lrcontrol import checks
from lrcontrol.errors import BadText, LRControlError, UnknownName
from lrcontrol.schedules.laying import nearest_step
from lrcontrol.schedules.other_names import PARAMETERS
from lrcontrol.schedules.profiles import MOST_VALUES
from lrcontrol.schedules.sampling import MOST_READINGS
from lrcontrol.schedules.schedule import LARGEST_DOCUMENT, MOST_SEGMENTS

__all__ = ["LARGEST_DOCUMENT", "Reader", "Token", "call"]


class Token(NamedTuple):
    """A piece of text and where it begins."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)|(?P<mark>[-+*(),=:\[\]])|(?P<end>\Z))",
    re.ASCII,
)
_JOINT = re.compile(r"(?<!\d[eE])[+*]")  # between two schedules or numbers, and not an exponent's sign
_EPOCHS = ("ep", "epoch", "epochs")

RATES = ("at", "base_lr", "initial_lr", "learning_rate", "lr", "max_lr")
"""What people call the learning rate where they look for its place in a text; it has none."""

LIKE = {
    "control": "warmup(0.05)+plateau(factor=0.5)",
    "method": "sgd(momentum=0.9):warmup(0.05)+cosine(end=0.1)",
    "optimizer": "sgd(momentum=0.9)",
    "schedule": "warmup(0.05)+cosine(end=0.1)",
}
"""What each kind of text looks like, for who has written another."""


class Reader:
    """A text in tokens, cut off one at a time, so that a bad text costs no more than its good beginning."""

    def __init__(self, text: str, kind: str, steps_per_epoch: int | None = None) -> None:
        if len(text) > LARGEST_DOCUMENT:
            raise BadText(f"a {kind} as text must have at most {LARGEST_DOCUMENT} characters, got {len(text)}.")
        many = 1 + sum(1 for _ in _JOINT.finditer(text))
        if many > MOST_SEGMENTS + (kind != "schedule"):  # told before they are made; a control may stand beside
            raise BadText(f"a {kind} as text must have at most {MOST_SEGMENTS} schedules and numbers, got {many}.")
        self.text, self.kind, self.depth, self.made = text, kind, 0, 0
        self.steps_per_epoch = steps_per_epoch
        self.foreign: frozenset[str] = frozenset()  # names that are not schedules, for whoever reads on
        self.foreign_at: frozenset[int] = frozenset()  # where what is no schedule begins
        self.called: list[str] = []  # the names of what has been called, in their order
        self._cut = 0  # the text before it has been cut into tokens
        self._ahead: list[Token] = []  # those not read yet

    def ahead(self, count: int = 0) -> Token:
        """The token `count` places after the next one; of kind `end` and empty at the end."""
        if len(self._ahead) > count:
            return self._ahead[count]
        while len(self._ahead) <= count:
            found = _TOKEN.match(self.text, self._cut)
            if found is None:
                at = self._cut + len(self.text[self._cut :]) - len(self.text[self._cut :].lstrip())
                hint = "; a share is a number, 0.05 for 5 %," if self.text[at] == "%" else ""
                self.fail(f"unexpected {self.text[at]!r}{hint}", at, like=True)
            kind = str(found.lastgroup)
            self._ahead.append(Token(kind, found.group(kind), found.start(kind)))
            self._cut = found.end()
        return self._ahead[count]

    def fail(self, what: str, at: int | None = None, *, like: bool = False) -> NoReturn:
        """Raise BadText with the text around position `at` (by default, of the next token), and what one is `like`."""
        if at is None:
            at = self.ahead().at
        near = self.text[max(at - 30, 0) : at + 30]
        article = "an" if self.kind[0] in "aeiou" else "a"
        told = f"; write it as in {LIKE[self.kind]}" if like else ""
        raise BadText(f"{article} {self.kind} cannot be read: {what} at position {at} of {near!r}{told}.")

    def refuse_rate(self, name: str, at: int | None = None) -> None:
        """Fail where `name` is one of the learning rate."""
        if name in RATES and self.kind in ("method", "optimizer"):
            self.fail("the learning rate is given beside it, as `base_lr`, --lr on the command line,", at)
        if name in RATES:
            self.fail(f"a {self.kind} has multipliers, and the learning rate that they are of is the optimizer's,", at)

    def peek(self) -> str:
        """The next token's text, or '' at the end."""
        return (self._ahead[0] if self._ahead else self.ahead()).text

    def count(self) -> None:
        """Count one more schedule or number; fail where there are too many."""
        self.made += 1
        if self.made > MOST_SEGMENTS:
            self.fail(f"more than {MOST_SEGMENTS} schedules and numbers")

    def take(self, text: str) -> bool:
        """Whether the next token is `text`; if so it is read."""
        if self.peek() != text:
            return False
        self._ahead.pop(0)
        return True

    def expect(self, text: str) -> None:
        """Read `text`, or fail."""
        if not self.take(text):
            self.fail(f"expected {text!r}, got {checks.shown(self.peek() or 'the end')}", like=True)

    def name(self, what: str) -> str:
        """Read a name, or fail."""
        if self.ahead().kind != "name":
            self.fail(f"expected {what}, got {checks.shown(self.peek() or 'the end')}", like=True)
        return self._ahead.pop(0).text

    def at_number(self) -> bool:
        """Whether a number comes next."""
        return self.ahead().kind == "number"

    def number(self) -> int | float:
        """Read a number; one without point and exponent is an int, and so is one of epochs, in steps."""
        sign = -1 if self.take("-") else 1
        if not self.at_number():
            self.fail(f"expected a number, got {checks.shown(self.peek() or 'the end')}", like=True)
        if len(self.peek()) > 400:
            self.fail("a number of more than 400 digits")
        token = self._ahead.pop(0)
        value: int | float = int(token.text) if token.text.isdecimal() else float(token.text)
        unit = self.ahead()
        if unit.kind == "name" and unit.at == token.at + len(token.text):
            value = self._epochs(value, token.text, unit)
        return sign * value

    def _epochs(self, value: float, written: str, unit: Token) -> int:
        """Steps for a number of epochs, met as it is written."""
        if unit.text not in _EPOCHS:
            self.fail(f"unknown unit {unit.text[:20]!r} of a length; write 5ep for epochs, 500 for steps", unit.at)
        if self.steps_per_epoch is None:
            self.fail("lengths in epochs need `steps_per_epoch`", unit.at)
        if not value * self.steps_per_epoch <= checks.LARGEST_STEP:
            self.fail(f"a length of more than {checks.LARGEST_STEP} steps", unit.at)
        self._ahead.pop(0)
        return nearest_step(Decimal(written), self.steps_per_epoch) if value else 0

    def value(self) -> Any:
        """Read a literal: a number, a tuple of numbers, true, false, or a bare word."""
        closing = ")" if self.take("(") else "]" if self.take("[") else None
        if closing:
            items: list[int | float] = []
            while not self.take(closing):
                if len(items) == MOST_VALUES:
                    self.fail(f"more than {MOST_VALUES} values")
                items.append(self.number())
                if not self.take(","):
                    self.expect(closing)
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
            if len(positional) + len(named) == MOST_READINGS:
                self.fail(f"more than {MOST_READINGS} values")
            if self.ahead().kind == "name" and self.ahead(1).text == "=":
                name = self.name("a parameter")
                if name in named:
                    self.fail(f"`{name}` given twice")
                self.expect("=")
                named[name] = self.value()
            elif named:
                self.fail("a value without a name after one with a name", like=True)
            else:
                positional.append(self.value())
            if not self.take(","):
                self.expect(")")
                break
        return positional, named

    def finish(self) -> None:
        """Fail unless all has been read."""
        if self.ahead().kind != "end":
            self.refuse_rate(self.peek())
            self.fail(f"unexpected {checks.shown(self.peek())}", like=True)


def call(reader: Reader, target: Any, name: str, positional: list[Any], named: dict[str, Any], at: int | None) -> Any:
    """`target(*positional, **named)` for a text, with unknown parameters named and the place told."""
    takes = _parameters(target)
    for parameter in named:
        if parameter not in takes.known:
            reader.refuse_rate(parameter, at)
            meant = PARAMETERS.get(parameter)
            meant = meant if meant in takes.known else None
            raise UnknownName(checks.near_miss(f"parameter of {name},", parameter, takes.known, meant))
    try:
        takes.bind(positional, named)
    except TypeError as error:
        reader.fail(f"{name}: {error}; it takes {', '.join(takes.known)}", at)
    reader.called.append(name)
    try:
        return target(*positional, **named)
    except LRControlError as error:
        raise type(error)(f"{name}: {error}") from None


class _Parameters(NamedTuple):
    """The signature of a target, the names it takes, and those that may or must be given by place."""

    signature: inspect.Signature
    known: tuple[str, ...]
    in_place: tuple[str, ...]
    needed: frozenset[str]

    def bind(self, positional: list[Any], named: dict[str, Any]) -> None:
        """TypeError where the arguments cannot be bound; what can be is seen at once, without inspect."""
        given = self.in_place[: len(positional)]
        if len(given) < len(positional) or not named.keys().isdisjoint(given) or not self.needed <= {*given, *named}:
            self.signature.bind(*positional, **named)


@lru_cache(maxsize=256)
def _parameters(target: Any) -> _Parameters:
    """What `target` takes, the names of `**layout: Unpack[...]` spelled out."""
    signature = inspect.signature(target)
    known: list[str] = []
    in_place: list[str] = []
    needed: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            known += list(parameter.annotation.__args__[0].__annotations__)
            continue
        if parameter.name != "self":
            known.append(parameter.name)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            in_place.append(parameter.name)
        if parameter.default is parameter.empty:
            needed.append(parameter.name)
    return _Parameters(signature, tuple(known), tuple(in_place), frozenset(needed))
