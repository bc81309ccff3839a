"""The race: a portfolio raced by compressed horizons, within one budget that includes every full run."""

from collections.abc import Sequence

import msgspec

from lrcontrol.errors import OverBudget
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.search.halving import SuccessiveHalving, rungs_within
from lrcontrol.search.search import Candidate, pending

__all__ = ["Race", "plan_race"]


class Race(msgspec.Struct, frozen=True):
    """The plain default and a few others in full, and successive halving over the rest, whose last rung is in full.

    The full runs are the insurance: a selection is never worse than any of them on validation.

    Args:
        default: the plain default's full run.
        halving: the race of the others, or None where the budget pays for the full runs alone.
        untuned: full runs of methods that are not searched for a rate.
    """

    default: RunSpec
    halving: SuccessiveHalving | None
    untuned: tuple[RunSpec, ...] = ()

    @property
    def insured(self) -> tuple[RunSpec, ...]:
        """The full runs that are made whatever the race says."""
        return (self.default, *self.untuned)

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The full runs first, then the race's."""
        chosen = pending(self.insured, records, running, room)
        if self.halving is not None:
            insured = {spec.id for spec in self.insured}
            raced = self.halving.propose(records, running, room, budget)
            chosen += [spec for spec in raced if spec.id not in insured]
        return chosen[:room]

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this race."""
        raced = [] if self.halving is None else self.halving.answered(records)
        insured = {spec.id for spec in self.insured}
        return [*(record for record in records if record.id in insured), *raced]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """Those of the race."""
        return frozenset() if self.halving is None else self.halving.keeps(records)

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early."""
        raced = 0 if self.halving is None else self.halving.cost
        return sum(spec.charge for spec in self.insured) + raced


def plan_race(
    task: Task,
    budget: Budget,
    candidates: Sequence[Candidate],
    default: Candidate,
    seed: int,
    untuned: Sequence[Candidate] = (),
) -> Race:
    """The race that a budget pays for.

    One full run goes to the default, then one to each untuned method, the rest to successive halving over the others
    (`rungs_within`).

    Raises:
        OverBudget: the budget does not pay for one full run.
    """
    full = task.full_steps
    if budget.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {task.name} ({full} steps), "
            f"got {budget.steps} steps; give at least '1run'."
        )

    def in_full(candidate: Candidate) -> RunSpec:
        steps = candidate.method.updates_for(full)
        return RunSpec(
            task=task.name,
            method=candidate.method,
            base_lr=candidate.base_lr,
            total_steps=steps,
            seed=seed,
            save=True,
        )

    insured = tuple(dict.fromkeys((default, *untuned)))[: budget.steps // full]
    first, *beside = map(in_full, insured)
    others = tuple(dict.fromkeys(candidate for candidate in candidates if candidate not in insured))
    rungs = rungs_within(budget.steps - full * len(insured), full, len(others))
    halving = None
    if rungs:
        halving = SuccessiveHalving(task.name, others, rungs, full_steps=full, seed=seed, save_last=True)
    return Race(first, halving, tuple(beside))
