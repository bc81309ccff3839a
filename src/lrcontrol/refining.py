"""The verbs of refinement: gradient norms, wherever they are kept, to a schedule and to advice."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.analysis import readings
from lrcontrol.analysis.advice import MOST, Advice, advised
from lrcontrol.analysis.compare import best_record
from lrcontrol.analysis.refine import Order, Refined, refined, smoothed
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.gradient_log import GradientLog
from lrcontrol.runs.method import AdamW, Method
from lrcontrol.runs.record import Record
from lrcontrol.runs.store import Store
from lrcontrol.schedules.profiles import MOST_VALUES
from lrcontrol.schedules.recipes.single import constant, table
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule, shortened
from lrcontrol.search.refinement import Asked

__all__ = ["SHAPES", "advise", "asked_of", "refine"]

SHAPES = ("constant", "cosine", "linear", "rex", "wsd", "inverse_sqrt", "step", "warmup(0.05)+linear")
"""What `advise` compares where nothing is named."""

FARTHEST = 4.0  # factor between the base rate of a run and the first that is tried with its refined schedule
UNLIKE = 0.2  # difference of multipliers from which two schedules are not the same, where warmups differ a little
SEARCHED = 1000  # values of a schedule that a search refines: every record of a run holds them
_STORE = b"SQLite format 3\0"


def refine(
    norms: Any,
    *,
    order: Order | None = None,
    smoothing: float = 0.1,
    steps: Any = None,
    total_steps: int | None = None,
    points: int = MOST_VALUES,
    run: str | None = None,
    column: str | None = None,
) -> Refined:
    """The schedule that a run's gradient norms ask for, on any horizon, from wherever the norms are.

    Args:
        norms: shape (readings,), the norms themselves; or a `GradientLog`, a `Record` with columns of norms, the
            path of a log (of any kind that `gradient_log` reads), or of a store or the folder of a study.
        order: `l2` (for SGD, weights G^-2) or `l1` (for Adam and what is like it, G^-1). By default the norm that was
            logged; of both, `l1` for a run of `adamw`, else `l2`. Where only the other norm was logged it stands for
            the one that is asked for.
        smoothing: in [0, 1]; width of the median filter, as a share of the log; 0 smooths nothing.
        steps: shape (readings,), increasing; where norms that are given themselves were read; by default 0, 1, 2, ...
        total_steps: the horizon of the run that was logged; by default what the log tells, or where it ends.
        points: 20 to 10,000; most values of the schedule's table.
        run: which run of a log or store that holds several.
        column: which column of a log holds the norms.
    Returns:
        The schedule, as `.schedule`, with its compact form, notes, and why it may be of no use; see `Refined`.
    Raises:
        BadInput: nothing to read, too few good readings, or a value out of range. RecordError: no such norms.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831.
    Example:
        >>> norms = 1 + 9 * np.exp(-np.arange(1000) / 30)
        >>> found = refine(norms, order="l2")
        >>> found.schedule.multipliers(4).round(2).tolist()
        [0.01, 0.95, 0.64, 0.32]
    """
    log = _read(norms, steps, total_steps, run, column)
    order, values, places, notes = log.of_order(order)
    return refined(
        values,
        order=order,
        smoothing=smoothing,
        steps=places,
        total_steps=log.total_steps,
        points=points,
        notes=notes,
    )


def advise(
    norms: Any,
    *,
    observed: str | Schedule | None = None,
    to: str | Schedule | Sequence[str | Schedule] | Mapping[str, str | Schedule] = (),
    steps: int | None = None,
    new_steps: int | None = None,
    base_lr: float | None = None,
    order: Order | None = None,
    smoothing: float = 0.1,
    run: str | None = None,
    column: str | None = None,
) -> Advice:
    """What one run's gradient norms say of other schedules and horizons: which is best, and at which base rate.

    Everything is told relative to the schedule that the log was made with. It is what a bound of convex theory says,
    not a promise; docs/refinement.md shows how it did on real runs.

    Args:
        norms: as `refine` takes them.
        observed: the schedule in force when the norms were logged; by default that of the run, where it is one of
            ours, else what the log's column of rates says, else `constant`.
        to: schedules to compare, or by names of your own; `refined` is the one that these norms ask for. By default
            those of `SHAPES` and that one.
        steps: the horizon of the logged run; by default what the log tells, or where it ends.
        new_steps: that of the runs to come; by default the same.
        base_lr: > 0; the best base learning rate known for `observed` over `steps`; by default, where `observed` is
            not given, that of the run, or the largest that was logged.
        order: as `refine` takes it.
        smoothing: in [0, 1]; width of the median filter, as a share of the log; 0 smooths nothing.
        run: which run of a log or store that holds several.
        column: which column of a log holds the norms.
    Raises:
        BadInput: as `refine`. DoesNotFit: a schedule is longer than its horizon.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, theorem 10; Schaipp, Hägele, Taylor, Simsekli,
        Bach 2025, arXiv:2501.18965.
        Deviates: for order `l1` the L1 norm stands in the bound where the square of the L2 norm does for SGD, as it
        does in the closed form: then the refined schedule has nearly the lowest bound for either order.
    Example:
        >>> given = advise(np.ones(1000), observed="cosine", to=["wsd(cooldown=0.2)"], new_steps=4000, base_lr=0.01)
        >>> given.rows[0].name, round(given.rows[0].base_lr, 5)
        ('wsd(cooldown=0.2)', 0.00285)
    """
    log = _read(norms, None, steps, run, column)
    order, given, places, notes = log.of_order(order)
    good, found = readings.usable(given)
    extent = readings.extent_of(places, log.total_steps)
    edges = readings.edges_of(places[good], extent)
    total = round(extent[1] - extent[0])
    if total > MOST:
        raise BadInput(
            f"the horizon of the logged run must be at most {MOST} steps, got {total}; count its steps in updates."
        )
    told = log.schedule(extent) if observed is None else log.beside(schedule(observed), extent)
    if not isinstance(to, Mapping):
        named = (to,) if isinstance(to, str | Schedule) else tuple(to)
        to = {shortened(str(each)): each for each in named or (*SHAPES, "refined")}
    others: dict[str, Schedule] = {}
    doubts: list[str] = []
    for name, each in to.items():
        if isinstance(each, str) and each == "refined":
            own = refined(given, order=order, smoothing=smoothing, steps=places, total_steps=log.total_steps)
            others[name] = own.schedule
            doubts += [] if own.degenerate is None else [f"refined: {own.degenerate}"]
        else:
            others[name] = schedule(each)
    norm = smoothed(given[good], smoothing)
    return advised(
        np.sqrt(norm) if order == "l1" else norm,
        edges,
        told.schedule,
        others,
        total,
        total if new_steps is None else new_steps,
        told.base_lr if base_lr is None else base_lr,
        name=told.name,
        notes=(*notes, *found, *readings.not_shown(places[good], extent), *told.notes, *doubts),
    )


@lru_cache(maxsize=256)
def asked_of(store: Path, run: str) -> Asked | str:
    """What the gradient norms of a run ask for: its optimizer with the refined schedule, and the base rate to try.

    The rate is that of the run times what the bound says of the two schedules, which is not followed further than a
    factor of 4.

    Args:
        store: that holds the run.
        run: its id.
    Returns:
        A sentence where they ask for nothing that is worth a run.
    """
    with Store(store, create=False) as opened:
        record = opened.record(run)
    spec = record.spec
    assert isinstance(spec.method.control, Scheduled)  # noqa: S101 - the search begins with no other, told to mypy
    try:
        found = refine(record, points=SEARCHED)
        if found.degenerate is not None:
            return found.degenerate
        ratio = advise(record, to=[found.schedule]).rows[0].lr_ratio
    except (BadInput, RecordError) as error:
        return str(error)
    control = msgspec.structs.replace(spec.method.control, schedule=found.schedule)
    return Asked(Method(spec.method.optimizer, control), spec.base_lr * min(max(ratio, 1 / FARTHEST), FARTHEST))


class _Told(NamedTuple):
    """The schedule that a log was made with, as far as anything tells it."""

    schedule: Schedule
    base_lr: float | None = None
    name: str | None = None
    notes: tuple[str, ...] = ()


class _Read(NamedTuple):
    """Norms of one run by their order, each with the steps it was logged at, and what is known beside them."""

    norms: Mapping[str, tuple[Any, Any]]
    total_steps: int | None = None
    notes: tuple[str, ...] = ()
    record: Record | None = None
    rates: tuple[Any, Any] | None = None
    source: str = "the log"

    def of_order(self, asked: Order | None) -> tuple[Order, Any, Any, tuple[str, ...]]:
        """The order that is meant, norms, their steps, and notes; RecordError where no norm was logged."""
        if asked is not None:
            checks.one_of("order of a norm", asked, ("l1", "l2"))
        adam = self.record is not None and isinstance(self.record.spec.method.optimizer, AdamW)
        likely: tuple[Order, Order] = ("l1", "l2") if asked == "l1" or (asked is None and adam) else ("l2", "l1")
        there = [each for each in likely if each in self.norms]
        if not there:
            raise RecordError(f"{self.source} has no gradient norms: no reading of l1 or l2.")
        places, values = self.norms[there[0]]
        order = asked if asked is not None else "l1" if adam else there[0]
        notes = self.notes
        if asked is None and self.record is None and order == "l2":
            notes += ("weights are those of SGD (order l2); for Adam and what is like it give order l1.",)
        if order not in self.norms:
            notes += (f"the log has {there[0]} norms only: they stand for the {order} norms, as if in proportion.",)
        return order, values, places, notes

    def beside(self, named: Schedule, extent: tuple[float, float]) -> _Told:
        """The schedule that a user names, and a note where the logged rates are those of another."""
        notes: tuple[str, ...] = ()
        if self.rates is not None or self.record is not None:
            own, other = (each.multipliers(SEARCHED) for each in (named, self.schedule(extent).schedule))
            if float(np.abs(own / max(own.max(), 1e-300) - other / max(other.max(), 1e-300)).max()) > UNLIKE:
                notes = ("the rates that were logged are not those of the schedule that is named for the log.",)
        return _Told(named, name=shortened(str(named)), notes=notes)

    def schedule(self, extent: tuple[float, float]) -> _Told:
        """The schedule in force: of the run, or what the logged rates say, or constant."""
        if self.record is not None and isinstance(self.record.spec.method.control, Scheduled):
            return _Told(self.record.spec.method.control.schedule, self.record.spec.base_lr)
        if self.rates is not None:
            places, rates = self.rates
            largest = float(rates.max())
            steps = np.linspace(*extent, SEARCHED, endpoint=False)
            curve = np.append(np.interp(steps, places, rates), rates[-1]) / largest
            note = f"the schedule of the run is taken from its logged rates, with {largest:.4g} as base rate."
            return _Told(table(tuple(curve.tolist())), largest, "its logged rates", (note,))
        note = "nothing tells the schedule of the logged run: constant is assumed; name it with observed (--from)."
        return _Told(constant(), notes=(note,))


def _read(given: Any, steps: Any, total_steps: int | None, run: str | None, column: str | None) -> _Read:
    """What a user means by `given`."""
    notes: tuple[str, ...] = ()
    source = os.fspath(given) if isinstance(given, str | os.PathLike) else "the log"
    if isinstance(given, str | os.PathLike):
        store = _store(Path(given))
        if store is not None:
            given, notes = _recorded(store, run)
        else:
            from lrcontrol.interop.logs.read import gradient_log

            given = gradient_log(given, run=run, column=column)
    record = given if isinstance(given, Record) else None
    log = GradientLog.of(record) if record is not None else given
    if not isinstance(log, GradientLog):
        values = readings.vector("norms", log)
        both = (readings.places_of(steps, values.size), values)
        return _Read({"l1": both, "l2": both}, total_steps)
    if steps is not None:
        raise BadInput("`steps` go with norms that are given themselves; a log tells its own, leave them out.")
    places = log.steps.astype(np.float64)
    norms: dict[str, tuple[Any, Any]] = {}
    for name, column_of in (("l1", log.l1), ("l2", log.l2)):
        if column_of is not None:
            known = np.ones(len(log), np.bool_) if record is not None else _logged(log, name)
            if not known.all():
                notes += (f"{int((~known).sum())} of {len(log)} rows hold no {name} norm.",)
            if (np.isfinite(column_of) & (column_of > 0)).sum() >= readings.FEWEST or not norms:
                norms[name] = (places[known], column_of[known])
    total = log.total_steps if total_steps is None else total_steps
    if total is None and norms and all(where.size and where[-1] < places[-1] for where, _ in norms.values()):
        total = int(places[-1]) + 1  # the run went on after the last norm that was logged
    rates = None
    if log.lr is not None:
        shown = np.isfinite(log.lr) & (log.lr > 0)
        rates = (places[shown], log.lr[shown]) if shown.any() else None
    told = (note.replace(source, "the log") for note in log.notes)  # a file that was named need not be named again
    return _Read(norms, total, (*notes, *told), record, rates, source)


def _logged(log: GradientLog, name: str) -> NDArray[np.bool_]:
    """At which rows a norm was logged: where it is a number, and where NaN is all that the row holds."""
    beside = np.zeros(len(log), np.bool_)
    for other, values in log.columns.items():
        if other != name:
            beside |= ~np.isnan(values)
    result: NDArray[np.bool_] = ~np.isnan(log.columns[name]) | ~beside
    return result


def _store(path: Path) -> Path | None:
    """The store that is at a path, or in the folder of a study; None where there is something else."""
    from lrcontrol.runs.storage.places import file_of

    found = file_of(path)
    try:
        with open(found, "rb") as file:
            return found if found.is_file() and file.read(16) == _STORE else None
    except OSError:
        return None


def _recorded(path: Path, run: str | None) -> tuple[Record, tuple[str, ...]]:
    """The run that is meant, with its columns, and a note of which it is where it was not named."""
    with Store(path, create=False) as store:
        listed = store.records()
        if run is not None:
            meant = [record for record in listed if record.id.startswith(run)]
            if len(meant) != 1:
                raise RecordError(
                    f"`run` must be the beginning of the id of one run, got {checks.shown(run)}, which that of "
                    f"{len(meant)} of the {len(listed)} runs of {path} begins with."
                )
            return store.record(meant[0].id), ()
        known = [record for record in listed if record.spec.norms and record.cost.steps]
        if not known:
            raise RecordError(f"{path} holds no run with gradient norms; train with --norms l2 (norms=('l2',)).")
        if len({record.spec.task for record in known}) > 1:
            told = "; ".join(f"{record.id[:8]} {record.spec.task} {record.spec.method.label}" for record in known[:6])
            raise BadInput(f"{path} holds runs of several tasks with gradient norms, name one as run: {told}.")
        longest = max(record.spec.total_steps for record in known)
        best = best_record([record for record in known if record.spec.total_steps == longest]) or known[-1]
        note = (
            f"the norms are those of run {best.id[:8]}, {best.spec.method.label} at {best.spec.base_lr:g}, the best "
            f"of {len(known)} that have some."
        )
        return store.record(best.id), (note,) if len(known) > 1 else ()
