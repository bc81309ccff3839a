"""Norms that were read at some steps of a run: which can be used, and what steps each of them stands for."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["FEWEST", "Numbers", "edges_of", "extent_of", "not_shown", "places_of", "spread", "usable", "vector"]

Numbers = NDArray[np.float64]

FEWEST = 20  # readings; fewer are neither smoothed nor a curve


def vector(name: str, given: Any) -> Numbers:
    """`given` as a float64 vector; what its numbers must be is for others to say."""
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "fiu":
            raise ValueError
    except (ValueError, OverflowError, TypeError):
        raise BadInput(f"`{name}` must hold numbers, got {name}={checks.shown(given)}.") from None
    if values.ndim != 1:
        raise BadInput(f"`{name}` must have one dimension, got shape {values.shape}.")
    with np.errstate(over="ignore"):
        return values.astype(np.float64, copy=False)


def places_of(steps: ArrayLike | None, count: int) -> Numbers:
    """The step of every reading."""
    if steps is None:
        return np.arange(count, dtype=np.float64)
    places = vector("steps", steps)
    if places.size != count:
        raise BadInput(f"`steps` must have one value per norm, {count}, got {places.size}.")
    good = (places >= 0) & (places <= checks.LARGEST_STEP)
    good &= places == np.floor(places)
    if not good.all():
        raise BadInput(f"`steps` must be whole numbers from 0 to 2**53, got {places[int(np.argmin(good))]:g}.")
    falls = np.flatnonzero(np.diff(places) <= 0)
    if falls.size:
        at = int(falls[0])
        raise BadInput(f"`steps` must increase, got {places[at]:g} and then {places[at + 1]:g}.")
    return places


def usable(norms: Numbers) -> tuple[NDArray[np.bool_], list[str]]:
    """Which readings can be used, and a note of those that cannot; BadInput where too few can."""
    good = np.isfinite(norms) & (norms > 0)
    count, bad = int(good.sum()), int(good.size - good.sum())
    kinds = {
        "not finite": int((~np.isfinite(norms)).sum()),
        "negative": int((np.isfinite(norms) & (norms < 0)).sum()),
        "0": int((norms == 0).sum()),
    }
    told = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number)
    if count < FEWEST:
        raise BadInput(
            f"`grad_norm` must hold at least {FEWEST} finite readings > 0, got {count}"
            + (f" and {bad} that cannot be used ({told})." if bad else "; log more steps, or more often.")
        )
    if bad > count:
        raise BadInput(
            f"at least half of `grad_norm` must be finite and > 0, got {count} of {good.size} ({told}); "
            "look at the run they come from."
        )
    return good, [f"{bad} of {good.size} readings were left out ({told})."] if bad else []


def extent_of(places: Numbers, total_steps: int | None) -> tuple[float, float]:
    """From where to where a run goes whose norms were read at these places, good or not.

    Where its horizon is not known it is from the first reading to the last, half the usual distance before and after
    them; what is missing to step 0 is added where it is no more than one such distance. Readings at 0, n, 2n, ... go
    to the one that would be next, at n, 2n, ... to the last.

    Raises:
        BadInput: a reading lies beyond the horizon.
    """
    if total_steps is not None:
        total = checks.integer("total_steps", total_steps, low=1)
        if places.size and places[-1] > total:
            raise BadInput(
                f"`total_steps` must be the horizon of the logged run, at least its last step, got {total} and "
                f"step {places[-1]:.0f}; give that horizon, or leave it out."
            )
        return 0.0, float(total)
    if places.size < 2:
        return 0.0, float(places.size)
    usual = float(np.median(np.diff(places)))
    if usual > 1 and places[0] in (0, usual):  # counted from 0, or from the first reading that was due
        return 0.0, float(places[-1]) + (usual if places[0] == 0 else 0.0)
    first, last = float(places[0]) + 0.5 - usual / 2, float(places[-1]) + 0.5 + usual / 2
    return (first if first > usual else 0.0), last


def edges_of(places: Numbers, extent: tuple[float, float]) -> Numbers:
    """Where the steps begin that each reading stands for, and where those of the last end: shape (readings + 1,).

    Each stands for the steps up to halfway to its neighbours, the first and the last for all up to the ends.
    """
    between = (places[1:] + places[:-1] + 1) / 2
    return np.concatenate([[extent[0]], between, [extent[1]]])


def not_shown(places: Numbers, extent: tuple[float, float]) -> list[str]:
    """Notes of what part of the run the readings do not show."""
    (first, last), notes = extent, []
    tenth = 0.1 * (last - first)
    if first > tenth:
        notes.append(f"the log begins at step {first:.0f}: what it shows is taken for a whole run.")
    if places[0] - first > tenth:
        notes.append(f"no norm before step {places[0]:.0f} can be used: those there are taken to be as the first.")
    if last - places[-1] > tenth:
        notes.append(
            f"no norm after step {places[-1]:.0f} of {last:.0f} can be used: those there are taken to be as the last."
        )
    return notes


def spread(norms: Numbers, edges: Numbers, total: int) -> Numbers:
    """The norms of a run of `total` steps: at each the root mean square of those read in that part of the log.

    Args:
        norms: shape (readings,), finite, > 0.
        edges: shape (readings + 1,), increasing; as `edges_of` gives them.
        total: >= 1.
    Returns:
        Shape (total,), > 0.
    Example:
        >>> spread(np.array([3.0, 1.0]), np.array([0.0, 10.0, 20.0]), 4).tolist()
        [3.0, 3.0, 1.0, 1.0]
    """
    steps = np.linspace(edges[0], edges[-1], total + 1)
    cuts = np.union1d(edges, steps)
    reading = np.searchsorted(edges, cuts[:-1], side="right") - 1
    cells = np.diff(cuts)
    unit = np.maximum.reduceat(norms[reading], begin := np.searchsorted(cuts, steps[:-1]))  # of each step
    # a sum of each step's own, so that small norms keep their digits beside large ones
    step = np.repeat(np.arange(total), np.diff(np.append(begin, cells.size)))
    squares = np.add.reduceat((norms[reading] / unit[step]) ** 2 * cells, begin)
    result: Numbers = unit * np.sqrt(squares / np.add.reduceat(cells, begin))
    return result
