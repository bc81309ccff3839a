"""Why a search left a part of its budget: a sentence, from its plan and its records alone."""

from collections.abc import Sequence

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.search.autolrs import AutoLRS
from lrcontrol.search.halving import SuccessiveHalving
from lrcontrol.search.plan import Plan
from lrcontrol.search.refinement import Refinement
from lrcontrol.search.search import Search, affordable
from lrcontrol.selection.race import Race

__all__ = ["left_over"]

LITTLE = 0.05  # of a budget, that nobody asks after


def left_over(way: Search, records: Sequence[Record], budget: Budget) -> list[str]:
    """A sentence where a good part of the budget was not used, though there was time: what it would not pay for.

    Args:
        way: the search.
        records: of it.
        budget: of it.
    """
    left = budget.steps - budget.spent(records)
    halving = way.halving if isinstance(way, Race) else way
    if left < LITTLE * budget.steps or way.propose(records, [], 1, budget):
        return []
    if isinstance(halving, SuccessiveHalving) and halving.closed:
        return []
    unplanned = budget.steps - _planned(way, budget)
    early = sum(record.spec.charge - record.charged for record in records)
    fewer = left - unplanned - early
    reasons = []
    if unplanned >= LITTLE * budget.steps:
        reasons.append(_not_planned(way, halving, unplanned, budget))
    if early >= LITTLE * budget.steps:
        reasons.append("runs ended early")
    if fewer >= LITTLE * budget.steps:
        if isinstance(way, Refinement):
            reasons.append("fewer schedules were refined than were planned for")
        else:
            reasons.append("fewer runs went on than were planned for, as others were lost")
    runs = budget.runs(left)
    return (
        [f"Of the budget {runs} {'is' if runs == '1 run' else 'are'} left: {'; '.join(reasons)}."] if reasons else []
    )


def _planned(way: Search, budget: Budget) -> int:
    """Updates that are planned within the budget."""
    return sum(spec.charge for spec in affordable(way.specs, budget)) if isinstance(way, Plan) else way.cost


def _not_planned(way: Search, halving: Search | None, left: int, budget: Budget) -> str:
    """Why nothing was planned for so many updates."""
    if isinstance(way, AutoLRS):
        return "a run in stages takes no more"
    if isinstance(way, Plan):
        if left >= budget.full_steps:
            return f"{_all(len(way.specs), 'run')} made that were planned"
        return _no_further(budget.full_steps)
    if isinstance(way, Refinement):
        if left >= budget.full_steps:
            return f"{_all(len(way.candidates), 'candidate')} run in full, and refined as often as was asked"
        return _no_further(budget.full_steps)
    if not isinstance(halving, SuccessiveHalving):  # a race of nobody
        return "there was no other candidate" if left >= budget.full_steps else _no_further(budget.full_steps)
    first, *longer = halving.rungs
    if not longer and first.count == len(halving.candidates):
        return f"{_all(first.count, 'candidate')} run in full"
    if any(rung.horizon == "continued" for rung in longer):
        return "runs that go on from others cost less than runs that begin anew"
    if longer and left >= first.steps:
        whole = f"{_all(first.count, 'candidate')} compared over {first.steps} steps"
        return f"{whole}, and what is left pays for no further run over {longer[0].steps}"
    return _no_further(first.steps)


def _all(count: int, what: str) -> str:
    return f"all {count} {what}s were" if count > 1 else f"the one {what} was"


def _no_further(steps: int) -> str:
    return f"that pays for no further run over {steps} steps"
