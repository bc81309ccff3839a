"""Norms that were read at some steps of a run: which can be used, and what steps each of them stands for."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["FEWEST", "Numbers", "edges_of", "not_shown", "places_of", "spread", "usable", "vector"]

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
    return values.astype(np.float64, copy=False)


def places_of(steps: ArrayLike | None, count: int) -> Numbers:
    """The step of every reading."""
    if steps is None:
        return np.arange(count, dtype=np.float64)
    places = vector("steps", steps)
    if places.size != count:
        raise BadInput(f"`steps` must have one value per norm, {count}, got {places.size}.")
    good = np.isfinite(places) & (places >= 0)
    if not good.all():
        raise BadInput(f"`steps` must be finite numbers >= 0, got {places[int(np.argmin(good))]}.")
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


def edges_of(places: Numbers, total: int | None) -> Numbers:
    """Where the steps that a reading stands for begin, and where the last one's end: shape (readings + 1,)."""
    between = (places[1:] + places[:-1] + 1) / 2
    reach = float(np.median(np.diff(places))) / 2
    first, last = max(places[0] + 0.5 - reach, 0.0), places[-1] + 0.5 + reach
    if total is not None and last > total > between[-1]:
        last = float(total)
    return np.concatenate([[first], between, [last]])


def not_shown(places: Numbers, edges: Numbers, total: int | None) -> list[str]:
    """Notes of what part of the run the log does not show."""
    first, last, notes = float(edges[0]), float(edges[-1]), []
    if first > 0.1 * (last - first):
        notes.append(
            f"the log begins at step {places[0]:.0f}: what came before is unknown; the schedule is of what it shows."
        )
    if total is not None and last < 0.9 * total:
        notes.append(
            f"the log ends at step {places[-1]:.0f} of {total}: what came after is unknown; "
            "the schedule is of what it shows."
        )
    return notes


def spread(norms: Numbers, edges: Numbers, total: int) -> Numbers:
    """The norms of a run of `total` steps: at each the root mean square of those read in that part of the log.

    Args:
        norms: shape (readings,), finite, >= 0.
        edges: shape (readings + 1,); as `edges_of` gives them.
        total: >= 1.
    Returns:
        Shape (total,).
    Example:
        >>> spread(np.array([3.0, 1.0]), np.array([0.0, 10.0, 20.0]), 4).round(9).tolist()
        [3.0, 3.0, 1.0, 1.0]
    """
    largest = float(norms.max())
    if largest == 0:
        return np.zeros(total)
    squares = np.concatenate([[0.0], np.cumsum((norms / largest) ** 2 * np.diff(edges))])
    within = np.diff(np.interp(np.linspace(edges[0], edges[-1], total + 1), edges, squares))
    result: Numbers = largest * np.sqrt(np.maximum(within, 0) * (total / (edges[-1] - edges[0])))
    return result
