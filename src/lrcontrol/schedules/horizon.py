"""Horizons: how long a run is, in steps, epochs, samples, tokens or seconds; the unit travels with the value."""

import math
import re
from fractions import Fraction
from typing import Any, Literal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText
from lrcontrol.schedules.schedule import Schedule

__all__ = ["UNITS", "Horizon", "Unit", "horizon", "length_in_steps"]

Unit = Literal["steps", "epochs", "samples", "tokens", "seconds"]
"""What a horizon is measured in."""

UNITS = ("steps", "epochs", "samples", "tokens", "seconds")
_SUFFIXES: dict[str, tuple[Unit, int]] = {
    "st": ("steps", 1),
    "ep": ("epochs", 1),
    "sp": ("samples", 1),
    "tok": ("tokens", 1),
    "s": ("seconds", 1),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
}
_OTHER_SPELLINGS = {
    **dict.fromkeys(("ba", "step", "steps", "it", "iter", "iters", "batch", "batches", "updates"), "st"),
    **dict.fromkeys(("e", "epoch", "epochs"), "ep"),
    **dict.fromkeys(("sa", "sample", "samples"), "sp"),
    **dict.fromkeys(("t", "tk", "tokens", "token"), "tok"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
}
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z_]*)\s*", re.ASCII)
_LONGEST = 60  # characters of a text
_LONGEST_TIME = 10**9  # seconds: 31 years
_PER_SECOND = 10**9  # a clock is read in nanoseconds


class Horizon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount of one unit.

    Args:
        amount: > 0 and at most 2**53; whole for steps, samples and tokens. At most 1e9 seconds.
        unit: `steps`, `epochs`, `samples`, `tokens` or `seconds`.
    Raises:
        BadInput: an amount out of range. UnknownName: another unit.
    Example:
        >>> str(Horizon(5400, "seconds")), str(Horizon(10, "epochs"))
        ('90min', '10ep')
    """

    amount: int | float
    unit: Unit = "steps"

    def __post_init__(self) -> None:
        checks.one_of("unit", self.unit, UNITS)
        if self.unit in ("epochs", "seconds"):
            high = _LONGEST_TIME if self.unit == "seconds" else checks.LARGEST_STEP
            amount: int | float = checks.number("amount", self.amount, low=0, open_low=True, high=high)
            amount = int(amount) if amount == int(amount) else amount
        else:
            amount = checks.integer("amount", self.amount, low=1)
        msgspec.structs.force_setattr(self, "amount", amount)

    @property
    def counted(self) -> bool:
        """Whether it is not a number of steps, so that something else than updates must be counted."""
        return self.unit in ("samples", "tokens", "seconds")

    @property
    def ticks(self) -> int:
        """The amount in the smallest unit it is counted in: steps, samples, tokens, or nanoseconds.

        Raises:
            BadInput: epochs, which `resolved` turns into steps.
        """
        if self.unit == "epochs":
            raise BadInput(f"a horizon in epochs must be resolved before it is counted, got {self}.")
        return max(round(self._exact * (_PER_SECOND if self.unit == "seconds" else 1)), 1)

    def with_ticks(self, ticks: int) -> "Horizon":
        """The horizon of the same unit that has so many `ticks`."""
        if self.unit != "seconds":
            return Horizon(ticks, self.unit)
        return Horizon(ticks // _PER_SECOND if ticks % _PER_SECOND == 0 else ticks / _PER_SECOND, "seconds")

    def resolved(self, *, steps_per_epoch: int | None = None, per_step: int | None = None) -> "Horizon":
        """This horizon in steps, rounded up, where it can be told; else itself.

        Args:
            steps_per_epoch: updates of one epoch; epochs need it.
            per_step: samples or tokens of one update, where all updates have the same number.
        Raises:
            BadInput: epochs without `steps_per_epoch`, or one of the two beside a unit that has no use for it.
        Example:
            >>> str(Horizon(2.5, "epochs").resolved(steps_per_epoch=3))
            '8st'
            >>> str(Horizon(0.1, "epochs").resolved(steps_per_epoch=10))
            '1st'
        """
        per = None if per_step is None else checks.integer("per_step", per_step, low=1)
        epoch = None if steps_per_epoch is None else checks.integer("steps_per_epoch", steps_per_epoch, low=1)
        if per is not None and self.unit not in ("samples", "tokens"):
            raise BadInput(f"`per_step` goes with a horizon in samples or tokens, got {self}; leave it out.")
        if self.unit == "epochs":
            if epoch is None:
                raise BadInput(
                    f"a horizon in epochs needs `steps_per_epoch`, got {self} without it; "
                    "give the number of updates of one epoch."
                )
            return Horizon(math.ceil(self._exact * epoch), "steps")
        return self if per is None else Horizon(-(-int(self.amount) // per), "steps")

    @property
    def _exact(self) -> Fraction:
        """The amount as it is written: 0.1 is a tenth, not the float beside it."""
        return Fraction(repr(self.amount))

    def __str__(self) -> str:
        if self.unit == "seconds":
            for suffix in ("h", "min"):
                size = _SUFFIXES[suffix][1]
                if self.amount % size == 0:
                    return f"{int(self.amount // size)}{suffix}"
            return f"{self.amount!r}s"
        suffix = next(suffix for suffix, (unit, _) in _SUFFIXES.items() if unit == self.unit)
        return f"{self.amount!r}{suffix}"


def horizon(given: int | str | Horizon) -> Horizon:
    """The horizon that a number of steps or a text describes; a Horizon is returned as it is.

    Args:
        given: steps as an int, or a text: a number and `st` (or nothing) for steps, `ep` epochs, `sp` samples,
            `tok` tokens, `s`, `min` or `h`.
    Raises:
        BadText: the text cannot be read; near misses of units are named. BadInput: an amount out of range.
    Example:
        >>> horizon("1.5h") == horizon("90min") == Horizon(5400, "seconds")
        True
        >>> horizon("5e9tok").amount, str(horizon(1000))
        (5000000000, '1000st')
    """
    if isinstance(given, Horizon):
        return given
    if not isinstance(given, str):
        return Horizon(checks.integer("total_steps", given, low=1), "steps")
    found = _TEXT.fullmatch(given) if len(given) <= _LONGEST else None
    if found is None:
        raise BadText(
            "a horizon must be a number and a unit, such as '1000', '10ep', '1e6sp', '5e9tok', '90s', '30min' or "
            f"'2h', got {checks.shown(given)}."
        )
    number, suffix = found.groups()
    suffix = suffix or "st"
    if suffix not in _SUFFIXES:
        guess = _OTHER_SPELLINGS.get(suffix.lower(), suffix.lower())
        hint = f"; did you mean '{guess}'?" if guess in _SUFFIXES else ";"
        raise BadText(f"unknown unit {suffix!r} in {checks.shown(given)}{hint} known: {', '.join(sorted(_SUFFIXES))}.")
    unit, size = _SUFFIXES[suffix]
    amount = Fraction(number) * size
    if amount <= 0 or amount > (_LONGEST_TIME if unit == "seconds" else checks.LARGEST_STEP):
        raise BadText(f"a horizon must be above 0 and at most 2**53 (1e9 seconds), got {checks.shown(given)}.")
    if unit in ("steps", "samples", "tokens") and amount.denominator != 1:
        raise BadText(f"a horizon in {unit} must be a whole number, got {checks.shown(given)}.")
    return Horizon(int(amount) if amount.denominator == 1 else float(amount), unit)


def length_in_steps(schedule: Schedule) -> str | None:
    """The first length or interval of a schedule that is given in steps, such as `steps=100`, or None.

    A schedule that has one means something else on every grid, so it cannot be laid over tokens or time.

    Example:
        >>> import lrcontrol as lrc
        >>> length_in_steps(lrc.schedule("warmup(100)+rex")), length_in_steps(lrc.schedule("warmup(0.1)+rex"))
        ('steps=100', None)
    """
    return _length_in_steps(schedule)


_IN_STEPS = {"steps": 0, "every": 1, "period": 0, "timescale": 0}
"""Fields that are steps where they hold an int, and the value at which they ask for none."""


def _length_in_steps(value: Any) -> str | None:
    if isinstance(value, tuple):
        return next(filter(None, map(_length_in_steps, value)), None)
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inner = getattr(value, name)
            if name == "gamma":  # what a step leaves
                return f"gamma={inner}"
            if isinstance(inner, int) and inner != _IN_STEPS.get(name, inner):
                return f"{name}={inner}"
            found = _length_in_steps(inner)
            if found is not None:
                return found
    return None
