"""Refinement: the schedule that a run's own gradient norms ask for, as a closed form of them.

Steps at which gradients were large teach little and get a small rate; what is left of the run weighs on every step,
so that warmup and the final fall come out by themselves. `grad_norm` is a plain array; files are read elsewhere.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from lrcontrol import checks
from lrcontrol.analysis.compact import Compact, compact_form
from lrcontrol.analysis.readings import FEWEST, Numbers, edges_of, extent_of, not_shown, places_of, usable, vector
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import MOST_VALUES
from lrcontrol.schedules.recipes.single import table
from lrcontrol.schedules.schedule import Schedule

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = ["Order", "Refined", "closed_form", "degeneracy", "refined", "smoothed"]

Order = Literal["l1", "l2"]
POWERS: dict[str, int] = {"l1": -1, "l2": -2}
LARGEST_SHARE = 0.01  # of the sum of all rates, what a single reading may take where there are enough of them
_MASS = 0.49 * LARGEST_SHARE  # of the sum of weights; the factor of what is left at most doubles it
_SPARSE = 5.0  # where readings are few, one may have so many times the weight that its steps have on average
_MANY = 5000  # readings, from which on none has more
_NARROW = 0.05  # of the run: a schedule with half its rates in less than that is degenerate


class Refined(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A refined schedule, and what it was made of.

    Args:
        schedule: a table over progress with maximum 1, going to 0; it lies over any horizon.
        values: shape (points,); those of the table, at even distances of progress.
        order: which norm was read.
        smoothing: width of the median filter, as a share of the log.
        steps: shape (readings,); where the norms that were used were read.
        norms: shape (readings,); those, as they were, and
        filtered: as they were used.
        notes: sentences: what was left out, and what bears on how far the schedule can be trusted.
        degenerate: why the schedule should not be used as it is, or None.
    """

    schedule: Schedule
    values: Numbers
    order: Order
    smoothing: float
    steps: Numbers
    norms: Numbers
    filtered: Numbers
    notes: tuple[str, ...] = ()
    degenerate: str | None = None

    @cached_property
    def compact(self) -> Compact:
        """A warmup and a power that come near the table."""
        return compact_form(self.values)

    def __repr__(self) -> str:
        """What it was made of and what it is near, in one line."""
        near = f"{self.compact.how} {self.compact.schedule}"
        return (
            f"<Refined from {self.norms.size} {self.order} norms: {near}{', degenerate' if self.degenerate else ''}>"
        )

    def plot(self, total_steps: int | None = None) -> "Chart":
        """A chart of the norms, and of the schedule beside linear, for a notebook; `chart.save("name.svg")` writes it.

        Args:
            total_steps: >= 1; the horizon of the schedules that are drawn; by default the length of the log.
        """
        from lrcontrol.report.refinement import refinement  # it draws itself, as schedules do: an import up the layers

        return refinement(self, total_steps)


def closed_form(grad_norm: ArrayLike, order: Order = "l2") -> Numbers:
    """The schedule of the paper for these norms as they are: no smoothing, no guard, the last step wasted.

    With G_t the norms, t = 1..T, and weights w_t = G_t^-2 (`l2`, for SGD) or G_t^-1 (`l1`, for Adam):

        η_t = w_t (w_{t+1} + ... + w_T) / (w_1 + ... + w_T), divided by the largest; η_T = 0

    Args:
        grad_norm: shape (steps,), finite, > 0, at least two.
        order: `l2` or `l1`.
    Returns:
        Shape (steps,), in [0, 1].
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, "refinement" in closed form.
    Example:
        >>> closed_form([4, 2, 1, 1, 2]).round(3).tolist()
        [0.125, 0.45, 1.0, 0.2, 0.0]
    """
    norms = vector("grad_norm", grad_norm)
    power = POWERS[checks.one_of("order of a norm", order, POWERS)]
    if norms.size < 2:
        raise BadInput(f"`grad_norm` must have at least two values, got {norms.size}.")
    bad = ~(np.isfinite(norms) & (norms > 0))
    if bad.any():
        step = int(np.argmax(bad))
        raise BadInput(f"`grad_norm` must be finite numbers > 0, got {norms[step]} at step {step}.")
    weights = _weights(norms, power)
    left = np.cumsum(weights[::-1])[::-1] - weights
    left[-1] = 0
    rates = weights * left
    result: Numbers = rates / rates.max()
    return result


def smoothed(norms: ArrayLike, smoothing: float = 0.1) -> Numbers:
    """The running median of the norms, `2 floor(floor(smoothing n) / 2) + 1` wide, n their number.

    Beyond the right end the norms are mirrored, beyond the left the first of them is repeated.

    Args:
        norms: shape (readings,), finite.
        smoothing: in [0, 1]; the width as a share of the length.
    Returns:
        Shape (readings,).
    Source:
        Defazio et al. 2023, as their published logs are smoothed. Deviates: the width follows from the log's own
        length; their script takes it from 10,000 whatever the length, 4 % instead of 10 % of 25,000 steps.
    Example:
        >>> smoothed([1, 1, 9, 1, 1, 1, 1, 1, 1, 1], smoothing=0.3).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    values = vector("norms", norms)
    share = checks.number("smoothing", smoothing, low=0, high=1)
    half = math.floor(share * values.size) // 2
    if half == 0:
        return values.copy()
    from scipy.ndimage import median_filter  # a second to import, and seldom needed

    padded = np.pad(values, (0, half), mode="reflect")
    result: Numbers = median_filter(padded, 2 * half + 1, mode="nearest")[: values.size]
    return result


def refined(
    grad_norm: ArrayLike,
    *,
    order: Order = "l2",
    smoothing: float = 0.1,
    steps: ArrayLike | None = None,
    total_steps: int | None = None,
    points: int = MOST_VALUES,
    notes: Sequence[str] = (),
) -> Refined:
    """The schedule that a run with these gradient norms asks for, on any horizon.

    It is `closed_form` of the smoothed norms, as a curve over progress: a reading stands for the steps up to halfway
    to its neighbours, and for a new horizon the curve is stretched. Where a norm stands is what it is taken for: a log
    of every 100th step is not filled in.

    Readings that are 0, negative or not finite are left out and told. No reading takes more than 1 % of the sum of all
    rates; where readings are fewer than 5,000 or one stands for many steps, twice to ten times what its steps have on
    average.

    Args:
        grad_norm: shape (readings,), at least 20 of them good, and at least half; norm of the whole gradient of the
            batch, before clipping.
        order: `l2` for SGD, or `l1` for Adam and what is like it: which norm it is.
        smoothing: in [0, 1]; width of the median filter, as a share of the log; 0 smooths nothing.
        steps: shape (readings,), increasing; at which step each was read; by default 0, 1, 2, ...
        total_steps: the horizon of the run that was logged, at least its last step; by default the log ends with it.
        points: 20 to 10,000; most values of the schedule's table.
        notes: sentences on the log that the result is to hold too.
    Raises:
        BadInput: too few good readings, or a value out of range.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831: the closed form, with the L2 norm
        for SGD and the L1 norm for Adam.
        Deviates: what is left at a step includes its own weight, so that the last step has a rate > 0, and constant
        norms ask for exactly `linear`; no reading rules.
    Example:
        >>> norms = 1 + 9 * np.exp(-np.arange(1000) / 30)
        >>> found = refined(norms)
        >>> found.schedule.multipliers(4).round(2).tolist()
        [0.01, 0.95, 0.64, 0.32]
        >>> refined(np.full(1000, 3.0)).schedule.multipliers(4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    given = vector("grad_norm", grad_norm)
    power = POWERS[checks.one_of("order of a norm", order, POWERS)]
    points = checks.integer("points", points, low=FEWEST, high=MOST_VALUES)
    where = places_of(steps, given.size)
    good, found = usable(given)
    norms, places = (given, where) if good.all() else (given[good], where[good])
    filtered = smoothed(norms, smoothing)
    extent = extent_of(where, total_steps)
    edges = edges_of(places, extent)
    spans = np.diff(edges)
    masses, held, share = _held(_weights(filtered, power) * spans, spans)
    if held:
        found.append(
            f"{held} of {norms.size} readings have norms so small that each would rule the schedule; "
            f"they were given {100 * share:.2g} % of all weight."
        )
    values = _table(masses, edges, min(points - 1, given.size))
    found += not_shown(places, extent)
    return Refined(
        schedule=table(tuple(values.tolist())),
        values=values,
        order=order,
        smoothing=float(smoothing),
        steps=places,
        norms=norms,
        filtered=filtered,
        notes=(*notes, *found),
        degenerate=degeneracy(values, share, order),
    )


def _weights(norms: Numbers, power: int) -> Numbers:
    """Norms to the power, in units of their median, so that those of any size have a weight a float holds."""
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.clip(norms / np.median(norms), 1e-60, 1e60)
        result: Numbers = 1 / (ratio * ratio) if power == -2 else 1 / ratio
    return result


def _held(masses: Numbers, spans: Numbers) -> tuple[Numbers, int, float]:
    """The weights, none above its allowed share of all of them; how many had been, and their share of all now.

    Args:
        masses: shape (readings,), > 0.
        spans: shape (readings,), > 0; how many steps each stands for.
    """
    factor = min(max(_MANY / spans.size, 1.0), _SPARSE)
    even = spans * ((1 + 1e-9) / spans.sum())  # equal weights are nobody's rule, whatever they are rounded to
    shares = np.clip(2 * even, 0.5, 0.95)
    np.minimum(shares, factor * even, out=shares)
    np.maximum(shares, np.maximum(even, _MASS), out=shares)
    ratios = np.divide(masses, shares, out=even)
    whole = float(masses.sum())
    if float(ratios.max()) <= whole:
        return masses, 0, 0.0
    count = min(int(1 / _MASS) + 1, masses.size)  # more cannot be above their share
    order = np.argpartition(ratios, masses.size - count)
    top = order[-count:][np.argsort(-ratios[order[-count:]], kind="stable")]
    rest = float(masses[order[:-count]].sum()) + np.cumsum(masses[top][::-1])[::-1]  # of those from the k-th on
    for held, at in enumerate(top):
        taken = float(shares[top[:held]].sum())
        if taken >= 1 or ratios[at] <= (whole := float(rest[held]) / (1 - taken)):
            break
    if held == 0:
        return masses, 0, 0.0
    return np.minimum(masses, shares * whole), held, min(taken, 1.0)


def _table(masses: Numbers, edges: Numbers, cells: int) -> Numbers:
    """The curve at `cells + 1` even distances of progress, its maximum 1."""
    left = np.concatenate([np.cumsum(masses[::-1])[::-1], [0.0]])  # at the edges
    if cells == masses.size and np.ptp(np.diff(edges)) == 0:
        within, before = masses, left[:-1]
    else:
        before = np.interp(np.linspace(edges[0], edges[-1], cells + 1), edges, left)
        within, before = before[:-1] - before[1:], before[:-1]
    rates = np.append(within * before, 0.0)
    result: Numbers = np.clip(rates / rates.max(), 0.0, 1.0)
    return result


def degeneracy(values: Numbers, held: float = 0.0, order: Order = "l1") -> str | None:
    """Why a refined curve is not fit to train with as it is, or None.

    It is not where readings that were held at their share make up half of all weight or more, where half of its rates
    lie in less than 5 % of the run, and where they lie later in the run than those of a constant rate: norms collapse
    where a model fits its training set, and the closed form then asks for large rates at the end.

    Args:
        values: shape (points,), >= 0, not all 0; the curve at even distances of progress.
        held: in [0, 1]; share of all weight that was held.
        order: of the norms that it was refined from.
    """
    falling = np.sort(values)[::-1]
    half = int(np.searchsorted(np.cumsum(falling), values.sum() / 2)) + 1
    share = half / values.size
    peak = float(values.argmax()) / (values.size - 1)
    instead = "use a named schedule" + (", or more smoothing" if order == "l1" else ", more smoothing, or order l1")
    if held >= 0.5:
        return f"a few readings with very small norms would have had nearly all weight; {instead}."
    if share < _NARROW:
        return (
            f"half of all rates lie in {100 * share:.1f} % of the run, with the peak at {100 * peak:.0f} %: the norms "
            f"fall or rise too far for the closed form; {instead}."
        )
    middle = float(values @ np.linspace(0, 1, values.size) / values.sum())
    if middle > 0.5:
        return (
            f"the rates lie late, with the peak at {100 * peak:.0f} %: norms collapse where a model fits its training "
            f"set, and the closed form says little then; {instead}."
        )
    return None
