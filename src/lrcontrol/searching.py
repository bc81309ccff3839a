"""The verb of searching. Each strategy says itself what it searches, what it needs for that, and what it refuses."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Unpack

import msgspec

from lrcontrol import checks
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput, OverBudget
from lrcontrol.refining import asked_of
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.optimizer import optimizer
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.search.autolrs import NARROWEST, autolrs_within, forecast_of
from lrcontrol.search.halving import SuccessiveHalving, rungs_within
from lrcontrol.search.plan import Plan, random_draws, spec_of
from lrcontrol.search.refinement import FIRST, MOST_ROUNDS, refinement_within
from lrcontrol.search.search import Candidate, Search
from lrcontrol.selection.stages import course_of, search_reasons, stages_of
from lrcontrol.selection.telling import best_of, caution_of, is_lost
from lrcontrol.studies import (
    Planned,
    Seen,
    Told,
    Where,
    beside_text,
    default_among,
    entered,
    lead_of,
    plain_default,
    rates_for,
    usual_methods,
    warn_of_rates,
    write_page,
)
from lrcontrol.study_folder import folder_of, made
from lrcontrol.time_budgets import allowed
from lrcontrol.training.tasks import catalogue
from lrcontrol.training.tasks.own import OwnTask
from lrcontrol.training.tasks.script import ScriptTask
from lrcontrol.workplace import Workplace, carry_out_study, check_place

if TYPE_CHECKING:
    from lrcontrol.report.study import Study

__all__ = ["STRATEGIES", "Searched", "search"]

DRAWN = (1e-4, 1.0)  # the range of rates of random draws
Rungs = Literal["compressed", "cut", "continued"]


class Searched:
    """What a search found.

    Args:
        task: what was trained.
        folder: holds `runs.db`.
        study: the runs by length, and the best of the longest.
    """

    def __init__(self, task: Task, folder: Path, study: "Study") -> None:
        self.task, self.folder, self.study = task, folder, study

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the page of the search; one HTML file that opens offline."""
        return write_page(self.study, path)


class _Strategy(msgspec.Struct, frozen=True):
    """How the runs of a search are chosen: what most strategies say; each one says what is otherwise with it.

    Args:
        task: what is trained.
        place: where.
        folder: of the study.
        methods: those that are named.
        base_lrs: those that are named.
        rungs: of halving.
        rounds: of a refinement.
        seed: of the draws and of every run.
    """

    title: ClassVar[str]
    task: Task
    place: Workplace
    folder: Path
    methods: Sequence[str | Method]
    base_lrs: Sequence[float] | None
    rungs: Rungs
    rounds: int
    seed: int

    @property
    def slots(self) -> int:
        """How many of its runs are made side by side."""
        return self.place.slots

    @property
    def usual(self) -> list[str]:
        """The methods where none are named: those of the portfolio."""
        return sorted(map(str, usual_methods(self.task)))

    @property
    def own(self) -> str:
        """The optimizer of the task's default, as text."""
        return self.task.method.partition(":")[0]

    def check(self) -> None:
        """BadInput where what is asked cannot be searched this way."""

    def candidates(self) -> tuple[Candidate, ...]:
        """The methods at their rates."""
        found = entered(self.task, self.methods or self.usual, self.base_lrs)
        warn_of_rates(found, self.base_lrs)
        return found

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        """The search of the candidates within the budget, which pays for one full run at least.

        Raises:
            OverBudget: and that is too little for this one.
        """
        raise NotImplementedError


class _Grid(_Strategy, frozen=True):
    """Every method at every rate, in full."""

    title = "Grid search"

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        return Plan(tuple(spec_of(self.task.name, each, budget.full_steps, self.seed) for each in candidates))


class _Random(_Strategy, frozen=True):
    """Methods at rates from a range, in full."""

    title = "Random search"

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        full, rates = budget.full_steps, rates_for(self.task, self.base_lrs) or DRAWN
        methods = list(dict.fromkeys(each.method for each in candidates))
        return random_draws(self.task.name, methods, min(rates), max(rates), budget.steps // full, full, self.seed)


class _Halving(_Strategy, frozen=True):
    """Every method at every rate for few updates, the best of them for more."""

    title = "Halving search"

    def check(self) -> None:
        if self.rungs == "continued" and self.place.kind == "batched":
            raise BadInput(
                "runs that are trained at once cannot go on from others, got --rungs continued with --executor "
                "batched; use --executor processes, or --rungs compressed."
            )

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        rungs = rungs_within(budget.steps, budget.full_steps, len(candidates), self.rungs)
        return SuccessiveHalving(self.task.name, candidates, rungs, budget.full_steps, self.seed)


class _Refinement(_Strategy, frozen=True):
    """Every method at every rate, then with the schedule that the gradient norms of its best run ask for."""

    title = "Refinement search"

    @property
    def usual(self) -> list[str]:
        return [f"{self.own}:{FIRST}"]

    def check(self) -> None:
        if self.task.is_script:
            raise BadInput(
                f"a refinement needs gradient norms, which {self.task.name} does not record; use lrcontrol.refine."
            )

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        asked = partial(asked_of, self.folder / "runs.db")
        return refinement_within(self.task.name, candidates, asked, budget, budget.full_steps, self.seed, self.rounds)


class _AutoLRS(_Strategy, frozen=True):
    """One run in stages, which wait for one another, as do the trials of each."""

    title = "AutoLRS search"

    @property
    def slots(self) -> int:
        return 1

    @property
    def usual(self) -> list[str]:
        return [self.own]

    def check(self) -> None:
        if self.place.kind == "batched":
            raise BadInput(
                "runs that are trained at once cannot go on from others, got --strategy autolrs with --executor "
                "batched; use --executor serial."
            )
        if self.task.is_script:
            raise BadInput(
                f"stages are gone on with from checkpoints and by every loss, which {self.task.name} may not keep; "
                "use another strategy for a script."
            )
        if len(self.methods) > 1:
            raise BadInput(
                f"a run in stages has one optimizer, got {len(self.methods)} methods; name one with --method."
            )
        if self.base_lrs is not None and len(set(self.base_lrs)) < 2:
            raise BadInput(
                f"`base_lrs` must hold the least and the largest rate of a range, got {list(self.base_lrs)}; give two."
            )

    def candidates(self) -> tuple[Candidate, ...]:
        """The optimizer, which may be named alone, at rates from the least to the largest."""
        (named,) = self.methods or self.usual
        if isinstance(named, str) and ":" not in named:
            named = Method(optimizer(named), Scheduled(constant()))
        found = entered(self.task, [named], self.base_lrs)
        rates = [each.base_lr for each in found]
        if len(rates) > 1 and max(rates) < NARROWEST * min(rates):
            raise BadInput(
                f"the largest of `base_lrs` must be at least {NARROWEST:g} times the least, got {min(rates):g} to "
                f"{max(rates):g}; widen the range."
            )
        return found

    def way(self, candidates: tuple[Candidate, ...], budget: Budget) -> Search:
        rates = [each.base_lr for each in candidates]
        foretold = partial(forecast_of, self.folder / "runs.db")
        return autolrs_within(
            self.task.name, candidates[0].method, min(rates), max(rates), foretold, budget, self.seed
        )


STRATEGIES: dict[str, type[_Strategy]] = {
    "grid": _Grid,
    "random": _Random,
    "halving": _Halving,
    "refinement": _Refinement,
    "autolrs": _AutoLRS,
}


@with_keys(Where)
def search(
    task: str | OwnTask | ScriptTask,
    strategy: Literal["grid", "random", "halving", "refinement", "autolrs"] = "halving",
    *,
    methods: Sequence[str | Method] | None = None,
    base_lrs: Sequence[float] | None = None,
    rungs: Rungs = "compressed",
    rounds: int = 1,
    budget: str | Budget = "20runs",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    seen: Seen | None = None,
    planned: Planned | None = None,
    told: Told = lambda _: None,
    **where: Unpack[Where],
) -> Searched:
    """Search methods and base learning rates of a task within a budget, on validation alone.

    Args:
        task: a task's name; one of your own as `path/to/file.py:function`, or what `lrcontrol.as_task` or
            `lrcontrol.task` made.
        strategy: `grid` (every method at every rate, in full, as far as the budget reaches), `random` (methods
            uniformly, rates log-uniformly between the least and the largest given, in full), `halving`
            (successive halving over compressed horizons), `refinement` (each method at every rate; then the
            schedule that the gradient norms of its best run ask for, at three rates), or `autolrs` (one run in stages,
            the rate of each found by short trials from its beginning; it takes two runs of the budget).
        methods: by default those of the portfolio; for `refinement` the optimizer of the task's default with
            `warmup(0.05)+linear`; for `autolrs` that optimizer alone, and one at most.
        base_lrs: by default those of the portfolio for each optimizer; for `random` 1e-4 to 1. For `random` and
            `autolrs` the least and the largest are the range.
        rungs: what the shorter runs of `halving` are: the whole schedule laid over fewer steps, the full one cut
            short, or that and gone on with from a checkpoint by those that are promoted.
        rounds: >= 1; how many times `refinement` refines.
        budget: such as `20runs`, `5000steps`, `50epochs` or `30min`.
        seed: of the draws and of every run.
        out: a folder for the store; by default `lrcontrol-out/TASK`.
        seen: called with each new record.
        planned: called once with the updates planned and made already, before anything runs.
        told: called with sentences on what was found out about this machine.

    Raises:
        BadInput: an unknown task, strategy or method, or a bad value. OverBudget: not enough for one full run, for
            `autolrs` two. StoreError: the folder cannot be written, or holds something else.
    """
    began = time.monotonic()
    place = Workplace(**where)
    known = catalogue.named(task)
    checks.one_of("strategy", strategy, tuple(STRATEGIES))
    checks.one_of("kind of rungs", rungs, ("compressed", "cut", "continued"))
    checks.integer("rounds", rounds, low=1, high=MOST_ROUNDS)
    folder, full = folder_of(out, known), known.full_steps
    chosen_by = STRATEGIES[strategy](known, place, folder, methods or (), base_lrs, rungs, rounds, seed)
    chosen_by.check()
    candidates = chosen_by.candidates()
    for method in dict.fromkeys(each.method for each in candidates):
        method.control.check_fits(method.updates_for(full))
    asked = (strategy, rungs, str(rounds), str(seed), *map(str, candidates))
    given = allowed(budget, known, chosen_by.slots, folder, asked, threads=place.threads, device=place.device)
    if given.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {known.name} ({full} steps), got {given.steps} steps."
        )
    way = chosen_by.way(candidates, given)
    check_place(place, known, way, given, folder)
    with Store(made(folder) / "runs.db") as store:
        way = carry_out_study(
            way, store, given, known, folder, place, seen=seen, planned=planned, told=told, began=began
        )
        records = way.answered(store.records())
        stages = stages_of(way, records, full)
        best = best_of(stages)
        chosen = None if best is None or is_lost(way, stages) else store.record(best.id)
        course = course_of(way, records, store.record)
        default = default_among(store, known, full, seed)
    from lrcontrol.report.study import Study

    shown = chosen if course is None else course.whole
    cost = given.runs(given.spent(records))
    reasons = search_reasons(way, stages, given, course)
    reasons[-1:-1] = beside_text(shown, default, plain_default(known), cost, alone=course is not None)
    study = Study(
        task=known,
        title=f"{chosen_by.title} on {known.name}",
        lead=f"{lead_of(known, given, seed)}; on validation alone.",
        stages=stages,
        budget=given,
        chosen=chosen,
        default=default,
        reasons=tuple(reasons),
        caution=caution_of(way, stages, given),
        course=course,
    )
    return Searched(known, folder, study)
