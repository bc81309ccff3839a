"""The runs of a search by the length at which they were compared, and what they say in sentences."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lrcontrol.analysis.compact import compact_form
from lrcontrol.analysis.compare import Stage, best_record, stage_name
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.endings import endings_of
from lrcontrol.runs.record import Record
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.refinement import Refinement
from lrcontrol.search.search import Search
from lrcontrol.selection.telling import best_of, closed_rungs, edge_of

__all__ = ["search_reasons", "stages_of"]

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
    if not isinstance(way, SuccessiveHalving):
        return (Stage(stage_name(full_steps, full_steps), full_steps, tuple(records)),)
    return tuple(
        Stage(stage_name(rung.steps, full_steps), rung.steps, answered, kept)
        for rung, _, answered, kept in way.progress(records)
    )


def search_reasons(way: Search, stages: Sequence[Stage], budget: Budget) -> list[str]:
    """Sentences about a search's outcome, each from the records alone."""
    reasons = []
    best, records = best_of(stages), [record for stage in stages for record in stage.records]
    if best is not None and best.final is not None:
        metric = f"{best.objective.told} {best.final:.4g}"
        where = "in full" if best.spec.is_full(budget.full_steps) else f"over {best.spec.stop_step} steps"
        reasons.append(f"{best.spec.method.label} at {best.spec.base_lr:g} was best {where}: {metric}, with one seed.")
        reasons += edge_of(best, stages)
        lost = endings_of(records)
        reasons += [f"Of the runs {lost}; their updates are counted."] if lost else []
    if isinstance(way, SuccessiveHalving):
        reasons += closed_rungs(way, records)
    if isinstance(way, Refinement):
        reasons += _refined(stages)
        reasons += [f"No schedule was refined: {each}" for found in way.progress(records) for each in found.refused]
    spent = budget.spent(records)
    return [*reasons, f"Spent {budget.told(spent)}, everything included."]


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
