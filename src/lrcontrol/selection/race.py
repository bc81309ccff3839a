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
    """The plain default in full, and successive halving over the portfolio whose last rung is in full.

    The full run of the default is the insurance: a selection is never worse than it on validation.

    Args:
        default: the plain default's full run.
        halving: the race of the others, or None where the budget pays for the default alone.
    """

    default: RunSpec
    halving: SuccessiveHalving | None

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The default's run first, then the race's."""
        chosen = pending([self.default], records, running, room)
        if self.halving is not None:
            raced = self.halving.propose(records, running, room, budget)
            chosen += [spec for spec in raced if spec.id != self.default.id]
        return chosen[:room]

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this race."""
        raced = [] if self.halving is None else self.halving.answered(records)
        return [*(record for record in records if record.id == self.default.id), *raced]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """Those of the race."""
        return frozenset() if self.halving is None else self.halving.keeps(records)

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early."""
        return self.default.charge + (0 if self.halving is None else self.halving.cost)


def plan_race(task: Task, budget: Budget, candidates: Sequence[Candidate], default: Candidate, seed: int) -> Race:
    """The race that a budget pays for.

    One full run goes to the default, the rest to successive halving over the others (`rungs_within`).

    Raises:
        OverBudget: the budget does not pay for one full run.
    """
    full = task.full_steps
    if budget.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {task.name} ({full} steps), "
            f"got {budget.steps} steps; give at least '1run'."
        )
    first = RunSpec(
        task=task.name,
        method=default.method,
        base_lr=default.base_lr,
        total_steps=default.method.updates_for(full),
        seed=seed,
        save=True,
    )
    others = tuple(dict.fromkeys(candidate for candidate in candidates if candidate != default))
    rungs = rungs_within(budget.steps - full, full, len(others))
    if not rungs:
        return Race(first, None)
    halving = SuccessiveHalving(task.name, others, rungs, full_steps=full, seed=seed, save_last=True)
    return Race(first, halving)
