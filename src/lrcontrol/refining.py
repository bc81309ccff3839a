"""The verbs of refinement: gradient norms, wherever they are kept, to a schedule and to advice."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.analysis import readings
from lrcontrol.analysis.advice import Advice, advised
from lrcontrol.analysis.compare import best_record
from lrcontrol.analysis.refine import Order, Refined, refined, smoothed
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.gradient_log import GradientLog
from lrcontrol.runs.method import AdamW, Method
from lrcontrol.runs.record import Record
from lrcontrol.runs.store import Store
from lrcontrol.schedules.profiles import MOST_VALUES
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import schedule
from lrcontrol.search.refinement import Asked

__all__ = ["SHAPES", "advise", "asked_of", "refine"]

SHAPES = ("constant", "cosine", "linear", "rex", "wsd", "inverse_sqrt", "step", "warmup(0.05)+linear")
"""What `advise` compares where nothing is named."""

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
        order: which norm it is: `l2` (for SGD) or `l1` (for Adam and what is like it). By default what there is: the
            order that was logged, and of both, `l1` for a run of `adamw`, else `l2`.
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
    order = log.order(order)
    return refined(
        log.norms[order],
        order=order,
        smoothing=smoothing,
        steps=log.steps,
        total_steps=log.total_steps,
        points=points,
        notes=log.notes,
    )


def advise(
    norms: Any,
    *,
    observed: str | Schedule | None = None,
    to: Sequence[str | Schedule] = (),
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
            ours, else `constant`.
        to: schedules to compare; by default those of `SHAPES` and the refined one.
        steps: the horizon of the logged run; by default what the log tells, or where it ends.
        new_steps: that of the runs to come; by default the same.
        base_lr: > 0; the best base learning rate known for `observed` over `steps`; by default that of the run, where
            it is one of ours.
        order: as `refine` takes it.
        smoothing: in [0, 1]; width of the median filter, as a share of the log; 0 smooths nothing.
        run: which run of a log or store that holds several.
        column: which column of a log holds the norms.
    Raises:
        BadInput: as `refine`. DoesNotFit: a schedule is longer than its horizon.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, theorem 10; Schaipp, Hägele, Taylor, Simsekli,
        Bach 2025, arXiv:2501.18965.
    Example:
        >>> given = advise(np.ones(1000), observed="cosine", to=["wsd(cooldown=0.2)"], new_steps=4000, base_lr=0.01)
        >>> given.rows[0].name, round(given.rows[0].base_lr, 5)
        ('wsd(cooldown=0.2)', 0.00285)
    """
    log = _read(norms, None, steps, run, column)
    order = log.order(order)
    good, notes = readings.usable(readings.vector("norms", log.norms[order]))
    values, places = log.norms[order][good], np.asarray(log.steps, np.float64)[good]
    edges = readings.edges_of(places, log.total_steps)
    total = round(float(edges[-1])) if log.total_steps is None else log.total_steps
    if observed is None and log.record is not None:
        own = log.record.spec
        if isinstance(own.method.control, Scheduled):
            observed, base_lr = own.method.control.schedule, own.base_lr if base_lr is None else base_lr
    others = {str(each): schedule(each) for each in to or SHAPES}
    if not to:
        others["refined"] = refined(
            values, order=order, smoothing=smoothing, steps=places, total_steps=log.total_steps
        ).schedule
    return advised(
        smoothed(values, smoothing),
        edges,
        schedule("constant" if observed is None else observed),
        others,
        total,
        total if new_steps is None else new_steps,
        base_lr,
        notes=(*log.notes, *notes, *readings.not_shown(places, edges, total)),
    )


@lru_cache(maxsize=256)
def asked_of(store: Path, run: str) -> Asked | None:
    """What the gradient norms of a run ask for: its optimizer with the refined schedule, and the base rate to try.

    The rate is that of the run, times what the bound says of the two schedules.

    Args:
        store: that holds the run.
        run: its id.
    Returns:
        None where its norms cannot be refined.
    """
    with Store(store, create=False) as opened:
        record = opened.record(run)
    spec = record.spec
    if not isinstance(spec.method.control, Scheduled):
        return None
    try:
        found = refine(record, points=SEARCHED)
        ratio = advise(record, to=[found.schedule]).rows[0].lr_ratio
    except (BadInput, RecordError):
        return None
    control = msgspec.structs.replace(spec.method.control, schedule=found.schedule)
    return Asked(Method(spec.method.optimizer, control), spec.base_lr * ratio)


class _Read(NamedTuple):
    """Norms of one run, by their order, and what is known beside them."""

    steps: Any
    norms: Mapping[str, Any]
    total_steps: int | None = None
    notes: tuple[str, ...] = ()
    record: Record | None = None

    def order(self, asked: Order | None) -> Order:
        """The order that is meant; RecordError where it was not logged."""
        if asked is not None:
            checks.one_of("order of a norm", asked, ("l1", "l2"))
        adam = self.record is not None and isinstance(self.record.spec.method.optimizer, AdamW)
        meant: tuple[Order, ...] = (asked,) if asked is not None else ("l1", "l2") if adam else ("l2", "l1")
        for each in meant:
            if each in self.norms:
                return each
        raise RecordError(
            f"the log has no {meant[0]} norms, only: {', '.join(self.norms) or 'none'}; leave out order, or log these."
        )


def _read(given: Any, steps: Any, total_steps: int | None, run: str | None, column: str | None) -> _Read:
    """What a user means by `given`."""
    notes: tuple[str, ...] = ()
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
        return _Read(np.arange(values.size) if steps is None else steps, {"l1": values, "l2": values}, total_steps)
    norms = {name: values for name, values in (("l1", log.l1), ("l2", log.l2)) if values is not None}
    return _Read(
        log.steps, norms, log.total_steps if total_steps is None else total_steps, (*notes, *log.notes), record
    )


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
