"""Checks of arguments: one helper per rule, one wording.

Every sentence says what must hold, what was got, and (where it can) what to do. Each helper returns the
value in its plain type, so that numpy scalars never reach a file or a hash.
"""

import difflib
import math
import numbers
import reprlib
from collections.abc import Collection
from itertools import accumulate
from typing import Any

from lrcontrol.errors import BadInput, UnknownName

__all__ = [
    "LARGEST_STEP",
    "closest",
    "instance",
    "integer",
    "near_miss",
    "number",
    "numbers_in",
    "one_of",
    "shown",
    "shown_error",
    "steps_or_share",
]

MOST_LISTED = 360  # characters of names in a sentence
LARGEST_STEP = 2**53  # above this a float64 no longer holds every whole number

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxtuple, _BRIEF.maxstring = 3, 12, 12, 60


def shown(value: object) -> str:
    """`value` as error messages show it: its repr, cut to 60 characters."""
    try:  # a container is shown in part, however large or deep it is
        text = _BRIEF.repr(value) if isinstance(value, dict | list | tuple | set | frozenset) else repr(value)
    except (ValueError, RecursionError):  # an int of more digits than Python prints; an object without end
        text = f"<{type(value).__name__} too long to print>"
    return text if len(text) <= 60 else text[:57] + "..."


def shown_error(error: BaseException) -> str:
    """The message of `error` as ours quote it: one line, cut to 300 characters, without its full stop."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 300 else text[:297] + "...").removesuffix(".")


def integer(name: str, value: Any, *, low: int = 0, high: int = LARGEST_STEP) -> int:
    """`value` as an int in [low, high], or BadInput naming `name`; booleans and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
        raise BadInput(f"`{name}` must be an integer >= {low}, got {name}={shown(value)}.")
    result = int(value)
    if result < low:
        raise BadInput(f"`{name}` must be an integer >= {low}, got {name}={shown(value)}.")
    if result > high:
        raise BadInput(f"`{name}` must be an integer <= {high}, got {name}={shown(value)}.")
    return result


def number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a finite float between `low` and `high`, or BadInput naming `name`."""
    if isinstance(value, (float, int, numbers.Real)) and not isinstance(value, bool):
        try:
            result = float(value) + 0.0  # -0.0 becomes 0.0: equal values must have equal text and hash
        except OverflowError:
            result = math.inf
        above = result > low if open_low else result >= low
        below = result < high if open_high else result <= high
        if above and below and math.isfinite(result):
            return result
    bounds = []
    if low != -math.inf:
        bounds.append(f"{'>' if open_low else '>='} {low:g}")
    if high != math.inf:
        bounds.append(f"{'<' if open_high else '<='} {high:g}")
    rule = "a number " + " and ".join(bounds) if bounds else "a finite number"
    raise BadInput(f"`{name}` must be {rule}, got {name}={shown(value)}.")


def numbers_in(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, least: int = 1, most: int = 1000
) -> tuple[float, ...]:
    """`value` as a tuple of `least` to `most` finite floats in [low, high], or BadInput naming `name`."""
    if isinstance(value, str | bytes | dict | set) or not hasattr(value, "__iter__") or not hasattr(value, "__len__"):
        raise BadInput(f"`{name}` must be a list of numbers, got {name}={shown(value)}.")
    if not least <= len(value) <= most:
        raise BadInput(f"`{name}` must be {least} to {most} numbers, got {len(value)}.")
    if all(type(item) is float and low <= item <= high and -math.inf < item < math.inf for item in value):
        return tuple(item + 0.0 for item in value)  # thousands of them at once
    return tuple(number(name, item, low=low, high=high) for item in value)


def steps_or_share(
    name: str, value: Any, *, low: int = 0, most: float = 1.0, open_most: bool = False, open_low: bool = False
) -> int | float:
    """`value` as an int >= `low` (steps) or a float in [0, most] (a share), or BadInput naming `name`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise BadInput(f"`{name}` must be an int (steps) or a float (a share), got {name}={shown(value)}.")
    if isinstance(value, numbers.Integral):
        return integer(name, value, low=low)
    return number(name, value, low=0, high=most, open_low=open_low, open_high=open_most)


def instance(name: str, value: Any, kind: Any, what: str) -> None:
    """BadInput naming `name` unless `value` is an instance of `kind`, which the sentence calls `what`."""
    if not isinstance(value, kind):
        raise BadInput(f"`{name}` must be {what}, got {name}={shown(value)}.")


def one_of(kind: str, name: object, known: Collection[str]) -> str:
    """`name` if it is in `known`, or UnknownName with near misses and the list."""
    if isinstance(name, str) and name in known:
        return name
    raise UnknownName(near_miss(kind, name, known))


def near_miss(kind: str, name: object, known: Collection[str], meant: str | None = None) -> str:
    """The sentence for an unknown name: what was got, what was `meant` or else the nearest known name, all of them."""
    close = meant or closest(name, known) if isinstance(name, str) else None
    guess = f"; did you mean '{close}'?" if close else ";"
    return f"unknown {kind} {shown(name)}{guess} known: {_listed(known)}."


def _listed(known: Collection[str]) -> str:
    """All names, or where they are many the first of them and how many more there are."""
    names = sorted(known)
    shown = sum(length <= MOST_LISTED for length in accumulate(len(name) + 2 for name in names))
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if shown < len(names) else "")


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that was most likely meant: spelled otherwise, cut short, or mistyped."""
    plain, known = name[:200].lower().replace("-", "_"), sorted(known)
    last = plain.rpartition(".")[2]  # of torch.optim.AdamW
    if last in known and last != name:
        return last
    begun = [each for each in known if each.startswith(plain)] if len(plain) >= 3 else []
    return next(iter(begun or difflib.get_close_matches(plain, known, n=1, cutoff=0.6)), None)
