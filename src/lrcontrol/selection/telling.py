"""What is said of any study's outcome: which run is best, what to beware of, where its rate is among those tried."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from lrcontrol.analysis.compare import Stage, accuracy_error, best_record
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.endings import endings_of
from lrcontrol.runs.optimizer import optimizer_text
from lrcontrol.runs.record import Record
from lrcontrol.runs.task import Task
from lrcontrol.search.autolrs import AutoLRS
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.plan import Plan
from lrcontrol.search.search import Search

__all__ = ["best_of", "caution_of", "closed_rungs", "edge_of", "is_lost", "on_test", "still_growing"]

FURTHER_OUT = 1e-4  # where to begin then; what did better than the papers' numbers for DoG
BEGINNINGS = ("initial_distance", "d0", "initial_scale")  # what optimizers call it
NAMED = 3  # runs, at most


def best_of(stages: Sequence[Stage]) -> Record | None:
    """The best of the longest runs; of shorter ones where none of these ended with weights that work."""
    for steps in sorted({stage.total_steps for stage in stages}, reverse=True):
        best = best_record([each for stage in stages if stage.total_steps == steps for each in stage.records])
        if best is not None:
            return best
    return None


def is_lost(way: Search, stages: Sequence[Stage]) -> bool:
    """Whether all of the longest runs that were made were lost, so that a search has no answer.

    A run in stages is told as far as it came.
    """
    return not isinstance(way, AutoLRS) and bool(_longest(stages)) and best_record(_longest(stages)) is None


def _longest(stages: Sequence[Stage]) -> list[Record]:
    steps = max((stage.total_steps for stage in stages if stage.records), default=0)
    return [record for stage in stages if stage.total_steps == steps for record in stage.records]


def caution_of(way: Search, stages: Sequence[Stage], budget: Budget) -> str:
    """What must be known before a search's outcome is read: one or two sentences, or nothing."""
    records = [record for stage in stages for record in stage.records]
    best = best_of(stages)
    if best is None:
        return f"No run finished: {endings_of(records)}." if records else "No run was made in the time there was."
    told = []
    if not best.spec.is_full(budget.full_steps):
        full = [record for record in records if record.spec.is_full(budget.full_steps)]
        why = f": {endings_of(full)}" if full else " in the time there was"
        if not full and is_lost(way, stages):
            lost = _longest(stages)
            why = f", as none over {lost[0].spec.stop_step} steps ended with weights that work: {endings_of(lost)}"
        why = _lost_stage(way, records, budget) or why
        told.append(f"No full run finished{why}; what is told is of {best.spec.stop_step} updates.")
    if isinstance(way, Plan) and len(way.specs) > len(records):
        told.append(_cut_plan(way, len(records), budget))
    return " ".join(told)


def _lost_stage(way: Search, records: Sequence[Record], budget: Budget) -> str:
    """Why a run in stages went no further, where no rate was left to go on with, or no updates for another one."""
    if not isinstance(way, AutoLRS):
        return ""
    stages = way.progress(records)
    now, place = stages[-1], len(stages)
    if now.trained is None and now.asked is None:
        return f", as no rate is left to go on with in stage {place}: {endings_of(now.records)}"
    if now.lost and budget.seconds is None:
        return f", as the budget pays for no other rate in stage {place}: {endings_of(now.lost)}"
    return ""


def _cut_plan(way: Plan, made: int, budget: Budget) -> str:
    """That a plan was carried out in part: of a grid, the first rates of each method alone."""
    what = "time" if budget.seconds is not None else "budget"
    paid = f"The {what} paid for {made} of {len(way.specs)}"
    methods = Counter(spec.method for spec in way.specs)
    if len(set(methods.values())) > 1:  # random draws
        return f"{paid} runs, in their order."
    rates = len(way.specs) // len(methods)
    few = made // len(methods)
    tried = f"only {few} of {rates} rates of each method" if few else "not even one rate of each method"
    if made % len(methods) and few:
        tried = f"only {few} or {few + 1} of {rates} rates of each method"
    if rates == 1:
        tried = f"only {made} of {len(methods)} methods"
    return f"{paid} combinations, in their order: {tried}; all of them need {budget.runs(way.cost)}."


def closed_rungs(race: SuccessiveHalving, records: Sequence[Record]) -> list[str]:
    """A sentence for each rung that was ended early, so that there was time for the longer runs."""
    told = []
    entered = len(race.candidates)
    for rung, _, answered, kept in race.progress(records)[: race.closed]:
        planned = min(rung.count, entered)
        entered = len(kept)
        if len(answered) < planned:
            told.append(
                f"The race over {rung.steps} steps ended after {len(answered)} of {planned} runs, as its share of the "
                "time was up."
            )
    return told


def edge_of(best: Record, stages: Sequence[Stage]) -> list[str]:
    """A warning where the best rate is the largest, the smallest or the only one that was tried for its method."""
    tried = {
        record.spec.base_lr for stage in stages for record in stage.records if record.spec.method == best.spec.method
    }
    if min(tried) < best.spec.base_lr < max(tried):
        return []
    if len(tried) == 1:
        if best.spec.method.usual_lr is not None:  # what it finds takes the place of the rate
            return []
        return ["It is the only base learning rate that was tried with it: another may be better."]
    side = "largest" if best.spec.base_lr == max(tried) else "smallest"
    return [f"Its base learning rate is the {side} of {len(tried)} tried with it: one further out may be better."]


def on_test(task: Task, test: Mapping[str, float], default_test: Mapping[str, float] | None) -> list[str]:
    """A sentence where what was chosen is no better than the plain default on the test split, or by mere noise.

    Args:
        task: what was trained.
        test: metrics of what was chosen; may be empty.
        default_test: those of the plain default's run, or None where it has no weights.
    """
    metric = task.objective.metric
    if metric not in test or not default_test:
        return []
    chosen, plain = test[metric], default_test[metric]
    both = f"{chosen:.4g} and {plain:.4g}"
    if task.objective.lower_is_better(chosen) >= task.objective.lower_is_better(plain):
        return [f"On the test split it is no better than the plain default: {both}."]
    if metric != "accuracy":
        return []
    errors = [accuracy_error(each, task.sizes[2]) for each in (chosen, plain)]
    if abs(chosen - plain) > math.hypot(*errors):
        return []
    return [
        f"On the test split it cannot be told from the plain default: {both}, with standard errors of "
        f"{100 * errors[0]:.2f} and {100 * errors[1]:.2f} points."
    ]


def still_growing(stages: Sequence[Stage]) -> list[str]:
    """A sentence where runs were dropped while the rate that their optimizer found was still growing: what to do.

    Short runs tell little of such optimizers, which need some hundred updates to come away from where they begin.
    """
    full = max((stage.total_steps for stage in stages), default=0)
    short = [
        record
        for stage in stages
        if stage.kept and stage.total_steps < full
        for record in stage.records
        if record.id not in stage.kept and record.usable and record.still_growing
    ]
    if not short:
        return []
    named = [
        f"{record.spec.method.label} at {record.spec.base_lr:g} after {record.spec.stop_step} updates "
        f"({record.growth:.3g} times what it was halfway)"
        for record in short[:NAMED]
    ]
    if len(short) > NAMED:
        named.append(f"{len(short) - NAMED} more")
    begin = next(filter(None, map(_further_out, short)), None)
    ways = ["give a larger budget", "train one in full with `lrcontrol train`"]
    ways = ways if begin is None else [f"begin further out, as in {begin}", *ways]
    return [
        f"Dropped while the rate that was found was still growing steeply: {', '.join(named)}; so short a run "
        f"tells little of it: {', '.join(ways[:-1])}, or {ways[-1]}."
    ]


def _further_out(record: Record) -> str | None:
    """The same optimizer, begun where it is sooner away; None where it begins there already."""
    optimizer = record.spec.method.optimizer
    name = next((each for each in BEGINNINGS if getattr(optimizer, each, FURTHER_OUT) < FURTHER_OUT), None)
    return name and optimizer_text(msgspec.structs.replace(optimizer, **{name: FURTHER_OUT}))
