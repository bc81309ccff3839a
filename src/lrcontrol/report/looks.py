"""How methods look in the charts of a study: one colour each, the same in every chart, on pages and in files."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lrcontrol.errors import BadInput
from lrcontrol.report.theme import DASHES, PALETTE, RUN_DASHES, SHAPES
from lrcontrol.report.words import clean

__all__ = ["Look", "look_in", "looks_of", "looks_of_runs"]


class Look(NamedTuple):
    """What tells a line from others: its colour, its dash, and the shape of its points."""

    colour: str
    dash: tuple[int, ...]
    shape: str


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """A look per name, by its place; the palette over again, with another dash and marker, where names are many.

    Example:
        >>> looks = looks_of(f"method {number}" for number in range(13))
        >>> looks["method 0"].colour == looks["method 12"].colour, looks["method 0"] == looks["method 12"]
        (True, False)
    """
    found = {}
    for place, name in enumerate(dict.fromkeys(map(clean, names))):
        over, at = divmod(place, len(PALETTE))
        found[name] = Look(PALETTE[at], DASHES[over % len(DASHES)], SHAPES[over % len(SHAPES)])
    return found


def look_in(looks: Mapping[str, Look], method: str) -> Look:
    """The look of a method.

    Raises:
        BadInput: it has none.
    """
    if clean(method) not in looks:
        raise BadInput(
            f"`looks` must hold every method of the chart, got none for {method}; name it to `looks_of` too."
        )
    return looks[clean(method)]


def looks_of_runs(names: Sequence[str], methods: Sequence[str], looks: Mapping[str, Look]) -> dict[str, Look]:
    """The looks of runs: those of their methods; a further run of one method has its colour and another dash.

    Args:
        names: of the runs, distinct.
        methods: one per run.
        looks: of every method.
    """
    found: dict[str, Look] = {}
    before: Counter[str] = Counter()
    for name, method in zip(names, methods, strict=True):
        look, times = look_in(looks, method), before[method]
        found[name] = look._replace(dash=RUN_DASHES[(times - 1) % len(RUN_DASHES)]) if times else look
        before[method] += 1
    return found
