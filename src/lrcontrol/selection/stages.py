"""The runs of a search by the length at which they were compared, and what they say in sentences."""

from collections.abc import Sequence

from lrcontrol.analysis.compare import Stage, best_record, stage_name
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.plan import Plan
from lrcontrol.search.search import Search

__all__ = ["search_reasons", "stages_of"]


def stages_of(way: Search, records: Sequence[Record], full_steps: int) -> tuple[Stage, ...]:
    """The runs of a search by the length at which they were compared."""
    if not isinstance(way, SuccessiveHalving):
        return (Stage(stage_name(full_steps, full_steps), full_steps, tuple(records)),)
    return tuple(
        Stage(stage_name(rung.steps, full_steps), rung.steps, answered, kept)
        for rung, _, answered, kept in way.progress(records)
    )


def search_reasons(way: Search, stages: Sequence[Stage], budget: Budget) -> list[str]:
    """Sentences about a search's outcome, each from the records alone."""
    reasons = []
    best = best_record(stages[-1].records)
    if best is not None and best.final is not None:
        metric = f"validation {best.objective.metric} {best.final:.4g}"
        where = "in full" if best.spec.stop_step == budget.full_steps else f"over {best.spec.stop_step} steps"
        reasons.append(f"{best.spec.method} at {best.spec.base_lr:g} was best {where}: {metric}, with one seed.")
    if isinstance(way, Plan) and len(way.specs) > len(stages[-1].records):
        reasons.append(
            f"The budget paid for {len(stages[-1].records)} of {len(way.specs)} combinations, in their order."
        )
    spent = budget.spent(record for stage in stages for record in stage.records)
    return [*reasons, f"Spent {budget.told(spent)}, everything included."]
