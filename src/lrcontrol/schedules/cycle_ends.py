"""Where the cycles of a schedule are complete, read off its structure: the edges of what is laid again and again."""

from itertools import pairwise
from typing import NamedTuple

from lrcontrol import checks
from lrcontrol.errors import DoesNotFit
from lrcontrol.schedules.laying import edges_of_turns, lengths
from lrcontrol.schedules.profiles import Constant
from lrcontrol.schedules.schedule import Cycled, Held, Nested, Part, Schedule, Segment

__all__ = ["Ends", "cycle_ends", "ends_of", "fewest"]

MOST = 1_000_000  # cycles of a run


class Ends(NamedTuple):
    """Where cycles end over a length.

    Args:
        places: after how many of the steps a cycle is complete; increasing.
        whole: whether the length ends where nothing is cut short: with a cycle, or after them.
    """

    places: list[int]
    whole: bool

    def over(self, total: int) -> tuple[int, ...]:
        """The places, and the end of all where nothing is cut short there."""
        closes = self.whole and self.places[-1:] != [total]
        return (*self.places, total) if closes else tuple(self.places)


def cycle_ends(schedule: Schedule, total_steps: int) -> tuple[int, ...]:
    """After how many updates of a run each cycle is complete, and at last the schedule itself; see `Schedule`."""
    total = checks.integer("total_steps", total_steps, low=1)
    return ends_of(schedule, total).over(total)


def ends_of(schedule: Schedule, length: int) -> Ends:
    """Where the cycles of a schedule end over `length` steps.

    Raises:
        DoesNotFit: the parts are longer than that, or it leaves a cycle no step.
    """
    begin, whole = 0, True
    found: list[int] = []
    for part, steps in zip(schedule.parts, lengths(schedule.parts, length), strict=True):
        if steps:
            ends = _of_part(part, steps)
            found += [begin + place for place in ends.places]
            begin, whole = begin + steps, ends.whole
            _check_count(found)
    return Ends(found, whole)


def fewest(beside: list[Ends]) -> Ends:
    """Of what is laid side by side, the longest cycles: what ends in the middle of another's is no end of all."""
    cyclic = [ends for ends in beside if ends.places]
    places = min((ends.places for ends in cyclic), key=len, default=[])
    return Ends(places, all(ends.whole for ends in beside))


def _of_part(part: Part, length: int) -> Ends:
    match part:
        case Segment():
            return Ends([], True)
        case Held():
            return ends_of(part.schedule, length)
        case Nested() if part.times == 1:
            return ends_of(part.schedule, length)
        case Nested():
            return Ends([], True) if _level(part.schedule) else _of_nested(part, length)
        case Cycled():
            return Ends([], True) if _level(part.schedule) else _of_cycled(part, length)
    return fewest([ends_of(child, length) for child in part.children])


def _of_nested(part: Nested, length: int) -> Ends:
    turns = list(pairwise(edges_of_turns(length, part.times, part.growth)))
    empty = sum(first == past for first, past in turns)
    if empty:
        raise DoesNotFit(
            f"every cycle must have a step, but {length} steps leave {empty} of {part.times} cycles none; ask for "
            "fewer cycles, for less growth from one to the next, or for more steps."
        )
    found: list[int] = []
    for first, past in turns:
        found += _turn(part.schedule, first, past)
        _check_count(found)
    return Ends(found, True)


def _of_cycled(part: Cycled, length: int) -> Ends:
    found: list[int] = []
    if part.growth == 1:
        inner = _turn(part.schedule, 0, part.period)
        _check_count(range(length // part.period * len(inner)))
        for begin in range(0, length, part.period):
            found += [begin + place for place in inner if begin + place <= length]
    else:
        for first, past in part.growing(length):
            found += [place for place in _turn(part.schedule, first, past) if place <= length]
            _check_count(found)
    return Ends(found, found[-1:] == [length])


def _turn(schedule: Schedule, first: int, past: int) -> list[int]:
    """The ends of a turn: of the cycles inside it, and its own."""
    inside = [first + place for place in ends_of(schedule, past - first).places]
    return inside if inside[-1:] == [past] else [*inside, past]


def _level(schedule: Schedule) -> bool:
    """Whether a turn is one level: steps down from turn to turn are no cycles."""
    return all(isinstance(part, Segment) and part.profile == Constant() for part in schedule.parts) and (
        len({part.start for part in schedule.parts if isinstance(part, Segment)}) == 1
    )


def _check_count(found: list[int] | range) -> None:
    if len(found) > MOST:
        raise DoesNotFit(f"a run must have at most {MOST} cycles, and this schedule has more; make them longer.")
