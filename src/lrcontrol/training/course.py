"""A course: where on its first horizon a run is at every tick, also after the horizon was changed.

A tick is the smallest thing that is counted: an update, a sample, a token or a nanosecond. All positions are exact
fractions, so that a change moves nothing at the moment it is made, however many changes came before.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["MOST_CHANGES", "RULES", "Change", "Course", "Rule", "changes_of"]

Rule = Literal["rescale", "hold", "keep"]
"""How a curve follows a change of its horizon."""

RULES = ("rescale", "hold", "keep")
MOST_CHANGES = 100  # in one run


class Change(NamedTuple):
    """A change of the horizon, made at tick `at`: it is `to` ticks from then on."""

    at: int
    to: int
    rule: Rule


class _Leg(NamedTuple):
    """Up to tick `past`, the position is `(constant + slope * tick) / whole`; all are integers."""

    past: int
    constant: int
    slope: int
    whole: int


class Course:
    """Ticks of now to ticks of the first horizon; never decreasing, and frozen: a change gives another.

    Args:
        first: >= 1; ticks of the first horizon.
        changes: made since, oldest first.
    Raises:
        BadInput: a change that cannot be made; see `changed`.
    Example:
        >>> course = Course(100).changed(50, 150, "rescale")
        >>> course.position(50), course.position(100), course.position(150)
        (Fraction(50, 1), Fraction(75, 1), Fraction(100, 1))
    """

    def __init__(self, first: int, changes: Iterable[Change] = ()) -> None:
        self.first, self.total = first, first
        self.changes: tuple[Change, ...] = ()
        self.end = Fraction(first)  # the position at `total`, and past it
        self._knots = [(Fraction(0), Fraction(0)), (Fraction(first), Fraction(first))]  # tick, position
        self._legs: list[_Leg] = []
        for change in changes:
            self._change(change)
        self._lay()

    def changed(self, at: int, to: int, rule: Rule) -> "Course":
        """The course after a change at tick `at`, where the position is the same before and after.

        Args:
            at: ticks made so far.
            to: > `at`; ticks of the whole run from now on.
            rule: `rescale` stretches or shrinks what is left over what is now left; `hold` (longer only) holds the
                position for the added ticks and then goes on as before; `keep` goes on as before, and then stays
                at the end's position (longer) or ends early (shorter).
        Raises:
            BadInput: `to` is not above `at`, the rule is unknown, `hold` with a shorter horizon, or the 101st change.
        """
        return Course(self.first, (*self.changes, Change(at, to, rule)))

    @property
    def straight(self) -> bool:
        """Whether every position is the tick itself, up to the first horizon."""
        return not self.changes

    def position(self, tick: int) -> Fraction:
        """Where tick >= 0 lies on the first horizon, in [0, first]."""
        if tick >= self.total:
            return self.end
        _, constant, slope, whole = self._legs[bisect_right(self._legs, tick, key=_past)]
        return Fraction(constant + slope * tick, whole)

    def positions(self, first: int, count: int) -> list[tuple[int, float]]:
        """The positions of `count` ticks from `first` on, each as a whole part and a fraction in [0, 1)."""
        found: list[tuple[int, float]] = []
        begin = first
        for past, constant, slope, whole in self._legs[bisect_right(self._legs, first, key=_past) :]:
            for tick in range(begin, min(past, first + count)):
                part, rest = divmod(constant + slope * tick, whole)
                found.append((part, rest / whole))
            begin = max(begin, min(past, first + count))
        part, rest = divmod(self.end.numerator, self.end.denominator)
        return found + [(part, rest / self.end.denominator)] * (count - len(found))

    def _change(self, change: Change) -> None:
        at, to, rule = change
        checks.one_of("rule of a change", rule, RULES)
        if to <= at:
            raise BadInput(f"a horizon must end after what is already made ({at}), got {to}; give more.")
        if rule == "hold" and to <= self.total:
            raise BadInput(
                f"the rule 'hold' needs a longer horizon than the present {self.total}, got {to}; "
                "use 'rescale' or 'keep'."
            )
        if len(self.changes) == MOST_CHANGES:
            raise BadInput(f"the horizon of a run must not change more than {MOST_CHANGES} times.")
        self._lay()
        here, there = (Fraction(at), self.position(at)), Fraction(to)
        before = [knot for knot in self._knots if knot[0] < at]
        after = [knot for knot in self._knots if knot[0] > at]
        if not after:  # the end is reached: whatever the rule, it is held
            after = [(here[0], self.end)]
        if rule == "rescale":
            stretch = (there - at) / (after[-1][0] - at) if after[-1][0] > at else Fraction(1)
            after = [(at + (tick - at) * stretch, position) for tick, position in after]
        elif rule == "hold":
            added = to - max(self.total, at)
            after = [(here[0] + added, here[1]), *((tick + added, position) for tick, position in after)]
        elif to < self.total:  # keep, and end early
            after = [*(knot for knot in after if knot[0] < to), (there, self.position(to))]
        self._knots = [*before, here, *after, (there, after[-1][1])]
        self.changes, self.total, self.end = (*self.changes, change), to, self._knots[-1][1]

    def _lay(self) -> None:
        self._legs = []
        for (begin, origin), (end, goal) in pairwise(self._knots):
            if end > begin:
                rate = (goal - origin) / (end - begin)
                constant = origin - rate * begin
                whole = math.lcm(constant.denominator, rate.denominator)
                self._legs.append(_Leg(math.ceil(end), int(constant * whole), int(rate * whole), whole))


def _past(leg: _Leg) -> int:
    return leg.past


def changes_of(state: Any) -> tuple[Change, ...]:
    """The changes in a state's list of `[at, to, rule]`, or BadInput."""
    checks.instance("changes", state, list | tuple, "a list of changes")
    found = []
    for item in state:
        if not isinstance(item, list | tuple) or len(item) != 3:
            raise BadInput(f"`changes` must hold [at, to, rule], got {checks.shown(item)}.")
        at, to = checks.integer("at", item[0], high=2**63), checks.integer("to", item[1], low=1, high=2**63)
        found.append(Change(at, to, checks.one_of("rule of a change", item[2], RULES)))  # type: ignore[arg-type]
    return tuple(found)
