"""What the verbs that carry out studies share: where runs are made, what is entered by default, how pages begin."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.search.plan import spec_of
from lrcontrol.search.search import Candidate
from lrcontrol.selection.portfolio import DEFAULT, candidates_of, own_portfolio, portfolio, rates_around
from lrcontrol.training.tasks import catalogue

if TYPE_CHECKING:
    from lrcontrol.report.study import Study

__all__ = [
    "Planned",
    "Seen",
    "Told",
    "Where",
    "beside_text",
    "default_among",
    "entered",
    "for_nobody",
    "lead_of",
    "plain_default",
    "rates_for",
    "usual_methods",
    "warn_of_rates",
    "write_page",
]

Seen = Callable[[Record], None]
Planned = Callable[[int, int], None]
Told = Callable[[str], None]


class Where(TypedDict, total=False):
    """Where the runs of a study are made.

    Args:
        executor: `processes` (by default), `serial`, `batched`, `auto` or `ray[:ADDRESS]`; see
            `lrcontrol.workplace.Workplace`.
        workers: how many processes at once; by default one a core.
        run_seconds: > 0; how long a run may take before it is given up.
        run_gigabytes: > 0; memory that a run's process may hold.
        run_cpus: > 0; processors of a run, by default one: as many threads, which a cluster sets aside.
        run_gpus: >= 0; accelerators, or a part of one, that it sets aside for a run, by default none.
        device: what runs are trained on, `cpu`, `cuda` or `cuda:NUMBER`; by default where their task is made.
    """

    executor: str
    workers: int | None
    run_seconds: float | None
    run_gigabytes: float | None
    run_cpus: float
    run_gpus: float
    device: str | None


def usual_methods(task: Task) -> list[Method]:
    """The methods to choose between where none are named: those of the portfolio."""
    usual = own_portfolio(task.base_lr) if catalogue.makes_own_optimizer(task) else portfolio()
    return list(dict.fromkeys(each.method for each in usual))


def rates_for(task: Task, base_lrs: Sequence[float] | None) -> Sequence[float] | None:
    """The base learning rates that are named, or those around that of a script; None for those of the portfolio."""
    if base_lrs is None and catalogue.makes_own_optimizer(task):
        return rates_around(task.base_lr)
    return base_lrs


def entered(
    task: Task, methods: Sequence[str | Method], base_lrs: Sequence[float] | None = None
) -> tuple[Candidate, ...]:
    """The candidates of a study: every method at every rate.

    Raises:
        BadInput: a method that is none, or leaves the optimizer to a task that makes none, or the other way round.
    """
    named = [parse_method(each, steps_per_epoch=task.steps_per_epoch) for each in methods]
    for method in named:
        catalogue.check_optimizer(task, method)
    return candidates_of(named, rates_for(task, base_lrs))


def plain_default(task: Task) -> Candidate:
    """What results are compared with: the plain default, or what a task uses that makes its optimizer itself."""
    if catalogue.makes_own_optimizer(task):
        return Candidate(parse_method(task.method), task.base_lr)
    return DEFAULT


def default_among(store: Store, task: Task, full_steps: int, seed: int) -> Record | None:
    """The plain default's record, with columns, where a store holds a full run of it with weights that work."""
    plain = spec_of(task.name, plain_default(task), full_steps, seed)
    asked, known = (plain.id, msgspec.structs.replace(plain, save=True).id), store.records().ids
    found = (store.record(each) for each in asked if each in known)
    return next((record for record in found if record.usable), None)


def beside_text(
    result: Record | None, default: Record | None, plain: Candidate, cost: str, *, alone: bool
) -> list[str]:
    """What the result of a search stands beside, in a sentence.

    Args:
        result: of the search.
        default: the plain default's record, where there is one.
        plain: the plain default.
        cost: of the search, in words.
        alone: whether the search compared nothing in full, so that it is told too where nothing stands beside it.
    """
    if result is None or (default is not None and default.id == result.id):
        return []
    named = f"the plain default, {plain.method.label} at {plain.base_lr:g}"
    if default is not None and default.final is not None:
        reached = f"{default.objective.told} {default.final:.4g}"
        return [f"Beside it stands {named}: {reached} in one full run, where this took {cost} in all."]
    return [f"Nothing stands beside it: no full run of {named}, with this seed has ended well here."] if alone else []


def warn_of_rates(candidates: Sequence[Candidate], base_lrs: Sequence[float] | None) -> None:
    """Warn where base learning rates are given, and all methods find theirs."""
    usual = {each.method.usual_lr for each in candidates}
    if base_lrs is None or None in usual or set(base_lrs) <= usual:
        return
    warnings.warn(for_nobody([each.method for each in candidates], list(base_lrs)), stacklevel=3)


def for_nobody(methods: Sequence[Method], base_lrs: Sequence[float]) -> str:
    """What to say where base learning rates are given for methods that all have the one that is usual for them."""
    named, usual = dict.fromkeys(map(str, methods)), dict.fromkeys(f"{each.usual_lr:g}" for each in methods)
    many = len(base_lrs) > 1
    return (
        f"{' and '.join(named)} find{'s' if len(named) == 1 else ''} the rate alone, so that the base learning "
        f"{'rates that are' if many else 'rate that is'} given {'are' if many else 'is'} for nobody; "
        f"{' and '.join(usual)}, as is usual, {'is' if len(usual) == 1 else 'are'} used."
    )


def lead_of(task: Task, budget: Budget, seed: int) -> str:
    """What stands under the title of a study's page, without a full stop."""
    return f"{task.model} on {task.data}; budget {budget.told()}, seed {seed}"


def write_page(study: "Study", path: str | os.PathLike[str]) -> Path:
    """Write the page of a study; one HTML file that opens offline."""
    from lrcontrol.report.page import write
    from lrcontrol.report.study import study_page

    write(study_page(study), path)
    return Path(path)
