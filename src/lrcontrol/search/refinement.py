"""Refinement as a search: train, look at the gradient norms, refine the schedule, try base rates anew, and again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, OverBudget
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.search.search import Candidate, pending

__all__ = ["FIRST", "MOST_ROUNDS", "Asked", "Refinement", "Round", "refinement_within"]

FIRST = "warmup(0.05)+linear"
"""The schedule that is refined where none is named."""

MOST_ROUNDS = 10
TRIED = (1.0, 0.5, 2.0)  # base rates of a refined schedule, in units of the one that the bound asks for
NORMS = ("l1", "l2")


class Asked(NamedTuple):
    """What the norms of a run ask for.

    Args:
        method: its optimizer with the refined schedule.
        base_lr: > 0; the base rate to try first.
    """

    method: Method
    base_lr: float


class Round(NamedTuple):
    """One round.

    Args:
        specs: its runs.
        records: those that have answered.
        best: the best of each method, from which the next round is refined.
        refused: why norms of these ask for nothing that is worth a run.
    """

    specs: tuple[RunSpec, ...]
    records: tuple[Record, ...]
    best: tuple[Record, ...]
    refused: tuple[str, ...] = ()


class Refinement(msgspec.Struct, frozen=True):
    """Every method at some base rates; then, `rounds` times, each method's schedule refined and tried at three more.

    Args:
        task: its name.
        candidates: the methods to begin with at their base rates.
        refine: what the norms of a run ask for, by its id; a sentence where that is worth no run. The same run, the
            same answer: the search is resumed by asking again.
        full_steps: the horizon of every run.
        seed: of every run.
        rounds: >= 1; how many times the best run of each method is refined.
    Raises:
        BadInput: no candidate, or a value out of range.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, as the authors proceed.
    """

    task: str
    candidates: tuple[Candidate, ...]
    refine: Callable[[str], Asked | str]
    full_steps: int
    seed: int = 0
    rounds: int = 1

    def __post_init__(self) -> None:
        if not self.candidates:
            raise BadInput("a refinement must have at least one method at one base learning rate, got none.")
        checks.integer("rounds", self.rounds, low=1, high=MOST_ROUNDS)
        for each in self.candidates:
            if not isinstance(each.method.control, Scheduled):
                raise BadInput(f"a refinement begins with methods of a schedule, got {each.method}; name one with it.")

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early and every method is refined."""
        methods = len({each.method for each in self.candidates})
        return self.full_steps * (len(self.candidates) + self.rounds * len(TRIED) * methods)

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The next runs of the round that is under way; the rounds were planned within the budget."""
        del budget
        return pending(self.progress(records)[-1].specs, records, running, room)

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this search."""
        return [record for each in self.progress(records) for record in each.records]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """None: every run begins anew."""
        del records
        return frozenset()

    def progress(self, records: Sequence[Record]) -> list[Round]:
        """The rounds so far, the last of them under way or (where all have answered) done."""
        known = {record.id: record for record in records}
        entered: list[Candidate] = list(self.candidates)
        result: list[Round] = []
        for made in range(self.rounds + 1):
            specs = tuple(self._spec(each) for each in entered)
            answered = tuple(known[spec.id] for spec in specs if spec.id in known)
            if len(answered) < len(specs):
                return [*result, Round(specs, answered, ())]
            best: dict[Method, Record] = {}
            for record in answered:
                before = best.get(record.spec.method)
                if record.usable and (before is None or record.rank_key < before.rank_key):
                    best[record.spec.method] = record
            if made == self.rounds:
                return [*result, Round(specs, answered, tuple(best.values()))]
            asked = [self.refine(record.id) for record in best.values()]
            refused = tuple(each for each in asked if isinstance(each, str))
            result.append(Round(specs, answered, tuple(best.values()), refused))
            entered = [
                Candidate(each.method, float(f"{each.base_lr * share:.4g}"))
                for share in TRIED
                for each in asked
                if isinstance(each, Asked)
            ]
            if not entered:
                break
        return result

    def _spec(self, candidate: Candidate) -> RunSpec:
        return RunSpec(
            task=self.task,
            method=candidate.method,
            base_lr=candidate.base_lr,
            total_steps=self.full_steps,
            seed=self.seed,
            norms=NORMS,
        )


def refinement_within(
    task: str,
    candidates: Sequence[Candidate],
    refine: Callable[[str], Asked | str],
    budget: Budget,
    full_steps: int,
    seed: int = 0,
    rounds: int = 1,
) -> Refinement:
    """A refinement of the candidates that fit the budget beside the refined runs; the first of them first.

    Raises:
        OverBudget: not enough for one base rate a method and the refined runs.
    """
    methods = len({each.method for each in candidates})
    after = checks.integer("rounds", rounds, low=1, high=MOST_ROUNDS) * len(TRIED) * methods
    first = budget.steps // full_steps - after
    if first < methods:
        raise OverBudget(
            f"a refinement of {methods} method{'s' if methods > 1 else ''} must have at least {after + methods} full "
            f"runs ({(after + methods) * full_steps} steps), got {budget.steps} steps."
        )
    return Refinement(task, tuple(candidates[:first]), refine, full_steps, seed, rounds)
