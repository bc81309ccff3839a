"""The runs of a search by the length at which they were compared, and what they say in sentences."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from lrcontrol.analysis.compact import compact_form
from lrcontrol.analysis.compare import Stage, best_record, stage_name
from lrcontrol.analysis.course import Course, Leg, joined
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.endings import ended_with, endings_of
from lrcontrol.runs.record import Record
from lrcontrol.search.autolrs import AutoLRS
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.refinement import Refinement
from lrcontrol.search.search import Search
from lrcontrol.selection.left_over import left_over
from lrcontrol.selection.telling import best_of, closed_rungs, edge_of, still_growing

__all__ = ["course_of", "search_reasons", "stages_of"]

_TIMES = {1: "once", 2: "twice"}


def stages_of(way: Search, records: Sequence[Record], full_steps: int) -> tuple[Stage, ...]:
    """The runs of a search by the length at which they were compared."""
    if isinstance(way, Refinement):
        rounds = way.progress(records)
        return tuple(
            Stage(
                f"refined {_TIMES.get(made, f'{made} times')}" if made else "norms observed",
                full_steps,
                each.records,
                frozenset(record.id for record in each.best) if made + 1 < len(rounds) else frozenset(),
            )
            for made, each in enumerate(rounds)
            if each.records or not made
        )
    if isinstance(way, AutoLRS):
        return _tried_and_trained(way, records)
    if not isinstance(way, SuccessiveHalving):
        return (Stage(stage_name(full_steps, full_steps), full_steps, tuple(records)),)
    return tuple(
        Stage(stage_name(rung.steps, full_steps), rung.steps, answered, kept)
        for rung, _, answered, kept in way.progress(records)
    )


def _tried_and_trained(way: AutoLRS, records: Sequence[Record]) -> tuple[Stage, ...]:
    """Two for each stage of a run: the short runs of the rates that were tried, and what was trained with one."""
    found = []
    for place, each in enumerate(way.progress(records), 1):
        tried = tuple(one.record for one in each.tried)
        trained = each.records[len(tried) :]
        if tried:
            found.append(Stage(f"stage {place}, rates tried", tried[0].spec.updates, tried))
        if trained:
            found.append(Stage(f"stage {place}, trained", each.end, trained))
    return tuple(found)


def course_of(way: Search, records: Sequence[Record], with_columns: Callable[[str], Record]) -> Course | None:
    """The run that a search made stage by stage, as far as it has come; None for other searches.

    Args:
        way: the search.
        records: of it.
        with_columns: the same record with its columns, by id.
    """
    if not isinstance(way, AutoLRS):
        return None
    legs = tuple(
        Leg(
            each.begin,
            each.end,
            tuple((one.base_lr, one.forecast) for one in each.tried),
            with_columns(each.trained.id),
        )
        for each in way.progress(records)
        if each.trained is not None
    )
    return Course(legs, joined([leg.record for leg in legs])) if legs else None


def _course_reasons(course: Course, full_steps: int) -> list[str]:
    """What a run that was made stage by stage came to, as one schedule; and where a rate was at an edge."""
    last, stages = course.legs[-1], len(course.legs)
    rates = ", ".join(f"{leg.base_lr:g}" for leg in course.legs)
    reached = "" if last.record.final is None else f": {last.record.objective.told} {last.record.final:.4g}"
    where = "in full" if last.end >= full_steps else f"over {last.end} of {full_steps} steps"
    reasons = [
        f"It was trained {where} in {stages} stage{'s' if stages > 1 else ''} at {rates}{reached}, with one seed.",
        f"As one schedule this is {course.whole.spec.method} at {course.whole.spec.base_lr:g}.",
    ]
    for edge in ("largest", "smallest"):
        there = sum(leg.edge == edge for leg in course.legs)
        if there:
            which = f"In {there} of {stages} stages" if stages > 1 else "There"
            reasons.append(f"{which} the {edge} rate that was tried was chosen: one further out may be better.")
    return reasons


def search_reasons(way: Search, stages: Sequence[Stage], budget: Budget, course: Course | None = None) -> list[str]:
    """Sentences about a search's outcome, each from the records alone."""
    reasons = []
    best, records = best_of(stages), [record for stage in stages for record in stage.records]
    if course is not None:
        reasons += _course_reasons(course, budget.full_steps)
    elif best is not None and best.final is not None:
        metric = f"{best.objective.told} {best.final:.4g}"
        where = "in full" if best.spec.is_full(budget.full_steps) else f"over {best.spec.stop_step} steps"
        reasons.append(f"{best.spec.method.label} at {best.spec.base_lr:g} was best {where}: {metric}, with one seed.")
        reasons += ended_with(best)
        reasons += edge_of(best, stages)
    if best is not None:
        lost = endings_of(records)
        reasons += [f"Of the runs {lost}; their updates are counted."] if lost else []
    if isinstance(way, SuccessiveHalving):
        reasons += closed_rungs(way, records)
        reasons += still_growing(stages)
    if isinstance(way, Refinement):
        reasons += _refined(stages)
        reasons += [f"No schedule was refined: {each}" for found in way.progress(records) for each in found.refused]
    spent = budget.spent(records)
    return [*reasons, *left_over(way, records, budget), f"Spent {budget.told(spent)}, everything included."]


def _refined(stages: Sequence[Stage]) -> list[str]:
    """A sentence for each round of a refinement: what the norms asked for, and what came of it."""
    reasons = []
    for before, after in pairwise(stages):
        then, now = best_record(before.records), best_record(after.records)
        if then is None or now is None or then.final is None or now.final is None:
            continue
        reasons.append(
            f"{after.name.capitalize()}: {_shape(now)}; {now.objective.told} {now.final:.4g} at {now.spec.base_lr:g}, "
            f"{then.final:.4g} at {then.spec.base_lr:g} before."
        )
    return reasons


def _shape(record: Record) -> str:
    """What the refined schedule of a run is near."""
    control = record.spec.method.control
    if not isinstance(control, Scheduled):
        return record.spec.method.label
    steps = min(record.spec.total_steps, 10_000)
    near = compact_form(np.append(control.multipliers(steps), control.schedule.last(steps)))
    rise = f"a warmup of {100 * near.warmup:.3g} %, then " if near.warmup else ""
    return f"the norms asked for {near.how} {rise}(1 - p)^{near.power:.2g}"
