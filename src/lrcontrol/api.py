"""The verbs: what a user asks for, joined from training, search, selection and report."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText, OverBudget, StoreError
from lrcontrol.files import write_whole
from lrcontrol.refining import asked_of
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.schedules.text import read_document
from lrcontrol.search.autolrs import AutoLRS, forecast_of
from lrcontrol.search.halving import SuccessiveHalving, rungs_within
from lrcontrol.search.plan import Plan, random_draws, spec_of
from lrcontrol.search.refinement import FIRST, refinement_within
from lrcontrol.search.search import Candidate, Search
from lrcontrol.selection.choice import Choice, choose
from lrcontrol.selection.portfolio import DEFAULT, candidates_of, own_portfolio, portfolio, rates_around
from lrcontrol.selection.race import Race, plan_race
from lrcontrol.selection.stages import course_of, search_reasons, stages_of
from lrcontrol.selection.telling import best_of, caution_of
from lrcontrol.study_folder import folder_of, made
from lrcontrol.time_budgets import allowed
from lrcontrol.training.tasks import catalogue
from lrcontrol.training.tasks.own import OWN, OwnTask
from lrcontrol.training.tasks.script import ScriptTask
from lrcontrol.workplace import Workplace, carry_out_study, check_place

if TYPE_CHECKING:
    import torch

    from lrcontrol.report.study import Study

__all__ = [
    "Searched",
    "Selection",
    "load_selection",
    "search",
    "select",
    "train",
]

FORMAT, VERSION = "lrcontrol/selection", 1
STRATEGIES = ("grid", "random", "halving", "refinement", "autolrs")
Seen = Callable[[Record], None]
Planned = Callable[[int, int], None]
Told = Callable[[str], None]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What selection.json holds: what was asked, the race that was planned, and what came of it.

    `about` is there for a user's own task: its file need not be run to show what was found.
    """

    task: str
    budget: Budget
    seed: int
    race: Race
    method: str
    base_lr: float
    run: str
    test: dict[str, float]
    default_test: dict[str, float] | None
    about: Task | None = None


class Selection:
    """What `select` found: the method, its base learning rate, the trained model, and why.

    Args:
        task: what was trained.
        budget: what it was given.
        seed: of every run.
        folder: holds `runs.db`, `weights/` and `selection.json`.
        choice: the records and the reasons.
        test: the chosen run's metrics on the test split; empty for a script, of which none is known.
        default_test: those of the plain default's run, or None where it has no weights.
    """

    def __init__(
        self,
        task: Task,
        budget: Budget,
        seed: int,
        folder: Path,
        choice: Choice,
        test: dict[str, float],
        default_test: dict[str, float] | None,
    ) -> None:
        self.task, self.budget, self.seed, self.folder = task, budget, seed, folder
        self.choice, self.test, self.default_test = choice, test, default_test

    @property
    def method(self) -> Method:
        """The chosen method."""
        return self.choice.record.spec.method

    @property
    def base_lr(self) -> float:
        """Its base learning rate."""
        return self.choice.record.spec.base_lr

    @property
    def record(self) -> Record:
        """The record of its full run, with columns."""
        return self.choice.record

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that explain the choice."""
        return self.choice.reasons

    def model(self) -> "torch.nn.Module":
        """The trained model, in evaluation mode.

        It takes inputs as the task prepares them and gives what its loss takes: scaled features (and, for
        `diabetes-mlp`, targets in units of the train split's spread). `lrcontrol.training.tasks.problem.build`
        gives a task's prepared splits.

        Raises:
            BadInput: the task is a script, which makes its model itself; `state` has what it saved.
        """
        from lrcontrol.training.loop import trained_model

        if self.task.is_script:
            raise BadInput(
                f"{self.task.name} is a script and makes its model itself; load what `state()` gives into it."
            )
        return trained_model(self.record, self.folder / "weights")

    def state(self) -> Any:
        """What the chosen run of a script saved last, by `run.save`.

        Raises:
            BadInput: the task is no script. RecordError: the script saved nothing.
        """
        from lrcontrol.training.weights import load_state

        if not self.task.is_script:
            raise BadInput(f"{self.task.name} is no script, so that nothing was saved by one; use `model()`.")
        return load_state(self.folder / "weights", self.record)

    def study(self) -> "Study":
        """Everything the page and the terminal show."""
        from lrcontrol.report.study import Study

        return Study(
            task=self.task,
            title=f"Learning-rate control for {self.task.name}",
            lead=f"{_about(self.task)}; budget {self.budget.told()}, seed {self.seed}.",
            stages=self.choice.stages,
            budget=self.budget,
            chosen=self.choice.record,
            default=self.choice.default,
            reasons=self.choice.reasons,
            test=self.test or None,
            default_test=self.default_test,
            caution=self.choice.caution,
        )

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the page that shows the choice and everything it stands on; one HTML file that opens offline."""
        return _write_page(self.study(), path)

    def __repr__(self) -> str:
        metric = self.task.objective.metric
        name, value = self.task.objective.told, self.record.final
        if self.test:
            name, value = f"test {metric}", self.test[metric]
        return f"<Selection {self.task.name}: {self.method} at {self.base_lr:g}, {name} {value:.4g}>"


def select(
    task: str | OwnTask | ScriptTask,
    *,
    budget: str | Budget = "20runs",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    executor: str = "processes",
    workers: int | None = None,
    run_seconds: float | None = None,
    run_gigabytes: float | None = None,
    run_cpus: float = 1.0,
    run_gpus: float = 0.0,
    methods: Sequence[str | Method] | None = None,
    base_lrs: Sequence[float] | None = None,
    candidates: Sequence[Candidate] | None = None,
    seen: Seen | None = None,
    planned: Planned | None = None,
    told: Told = lambda _: None,
) -> Selection:
    """Pick the way to control the learning rate of a task within a budget, and train with it.

    A portfolio of methods and base learning rates is raced over compressed horizons; the best are run in full, beside
    the plain default; the best full run on validation is the choice. Only then, once, is the test split looked at.

    The same call with the same folder goes on where an earlier one was ended, and repeats no run. With another budget
    or seed it takes the place of the earlier selection there; runs that both ask for are made once.

    Args:
        task: a task's name; one of your own as `path/to/file.py:function`, or what `lrcontrol.as_task` or
            `lrcontrol.task` made.
        budget: such as `20runs`, `5000steps`, `50epochs` or `30min`; every update of every run counts.
        seed: of every run.
        out: a folder for the store and the weights; by default `lrcontrol-out/TASK`.
        executor: `processes`, `serial`, `batched`, `auto` or `ray[:ADDRESS]`; see `lrcontrol.workplace.Workplace`.
        workers: how many processes at once; by default one a core.
        run_seconds: > 0; how long a run may take before it is given up.
        run_gigabytes: > 0; memory that a run's process may hold.
        run_cpus: > 0; processors that a cluster sets aside for a run.
        run_gpus: >= 0; accelerators, or a part of one, that it sets aside for a run.
        methods: what to choose between; by default those of the portfolio.
        base_lrs: for all of them; by default those of the portfolio for each optimizer.
        candidates: methods at base learning rates of their own, instead of the two.
        seen: called with each new record.
        planned: called once with the updates planned and made already, before anything runs.
        told: called with sentences on what was found out about this machine.

    Raises:
        BadInput: an unknown task, a bad budget or seed. OverBudget: not enough for one full run.
        StoreError: the folder cannot be written, holds something else, or a selection for another task.
        RecordError: no full run ended with weights that work.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = select("diabetes-mlp", budget="1run", out=folder, executor="serial")
        ...     str(found.method), found.base_lr
        ('adamw:cosine', 0.001)
    """
    began = time.monotonic()
    known = catalogue.named(task)
    place = Workplace(executor, workers, run_seconds, run_gigabytes, run_cpus, run_gpus)
    seed = checks.integer("seed", seed, high=2**31 - 1)
    default = DEFAULT
    if catalogue.makes_own_optimizer(known):
        default = Candidate(parse_method(known.method), known.base_lr)
    if candidates is not None and (methods is not None or base_lrs is not None):
        raise BadInput("give either `candidates`, or `methods` and `base_lrs`, got both.")
    entered = _entered(known, methods, base_lrs) if candidates is None else tuple(candidates)
    for each in entered:
        catalogue.check_optimizer(known, each.method)
    if not entered:
        raise BadInput("`candidates` must hold at least one candidate, got none; leave it out for the portfolio.")
    folder = folder_of(out, known)
    given = allowed(budget, known, place.slots, folder, ("select", str(seed)))
    race = plan_race(known, given, entered, default, seed)
    check_place(place, known, race, given, folder)
    with contextlib.suppress(BadInput):  # no earlier selection, or none that can be read: it is replaced
        earlier = _read_document(folder)
        if earlier.task != known.name:
            raise StoreError(
                f"the folder {folder} holds a selection for {earlier.task}; name another for {known.name}."
            )
    with Store(made(folder) / "runs.db") as store:
        race = carry_out_study(
            race, store, given, known, folder, place, seen=seen, planned=planned, told=told, began=began
        )
        selection = _selected(known, given, seed, folder, store, race)
    document = _Document(
        task=known.name,
        budget=given,
        seed=seed,
        race=race,
        method=str(selection.method),
        base_lr=selection.base_lr,
        run=selection.record.id,
        test=selection.test,
        default_test=selection.default_test,
        about=known if known.name in OWN else None,
    )
    content = {"format": FORMAT, "version": VERSION, "selection": document}
    write_whole(folder / "selection.json", msgspec.json.format(msgspec.json.encode(content), indent=1))
    return selection


def load_selection(folder: str | os.PathLike[str]) -> Selection:
    """The selection that `select` left in a folder, read back without running anything.

    Raises:
        BadInput: the folder holds no finished selection, or one of another version.
    """
    document = _read_document(folder)
    known = _task_of(document)
    with Store(Path(folder) / "runs.db", create=False) as store:
        return _selected(known, document.budget, document.seed, Path(folder), store, document.race, document)


def _read_document(folder: str | os.PathLike[str]) -> _Document:
    path = Path(folder) / "selection.json"
    try:
        content = path.read_bytes()
    except OSError:
        page = Path(folder) / "search.html"
        search = f"; {page} is the page of a search, which the same search writes anew" if page.is_file() else ""
        raise BadInput(
            f"a folder of a finished selection must hold selection.json, but {path} cannot be read{search}."
        ) from None
    try:
        document = read_document(content, FORMAT, VERSION, "selection", _Document)
    except BadText as error:
        raise BadText(f"{path}: {error}") from None
    known = _task_of(document)
    if known.objective.metric not in document.test and not known.is_script:
        raise BadText(f"{path}: the test metrics must hold {known.objective.metric}, got {sorted(document.test)}.")
    return document


def _task_of(document: _Document) -> Task:
    return catalogue.task(document.task) if document.about is None else document.about


def train(
    task: str | OwnTask | ScriptTask,
    method: str | Method | None = None,
    *,
    base_lr: float | None = None,
    total_steps: int | None = None,
    seed: int = 0,
    norms: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Record:
    """Train a task once with a method at a base learning rate.

    Args:
        task: a task's name; one of your own as `path/to/file.py:function`, or what `lrcontrol.as_task` or
            `lrcontrol.task` made.
        method: `optimizer:control`, such as `adamw:cosine`; by default the task's default.
        base_lr: > 0; by default that of the task's default where no method is given, and 1 for an optimizer that finds
            its rate itself.
        total_steps: by default the task's full horizon.
        seed: of weights, data order and all other chance.
        norms: `l1`, `l2` or both: the norms of the gradient of every update, which the record then has as columns.
        out: a folder; where given, the record is kept in its store and the weights beside it, and a run that the
            store holds already is not run again.
        progress: called with the number of updates made, now and then.

    Returns:
        The record, with columns.

    Example:
        >>> train("digits-mlp", "sgd:warmup(0.05)+rex", base_lr=0.1, total_steps=100).outcome.value
        'finished'
    """
    from lrcontrol.training import loop

    known = catalogue.named(task)
    if method is not None:
        usual = parse_method(method, steps_per_epoch=known.steps_per_epoch).optimizer.usual_lr
        if base_lr is None and usual is None:
            raise BadInput(f"a method needs a base learning rate, got {method} without one; give --lr (base_lr=...).")
        if base_lr is None:
            base_lr = usual
        elif usual is not None and base_lr < usual / 3:
            warnings.warn(
                f"the optimizer of {method} finds its rate itself, and what it finds is multiplied by {base_lr:g}; "
                f"{usual:g} is usual.",
                stacklevel=2,
            )
    spec = RunSpec(
        task=known.name,
        method=parse_method(known.method if method is None else method, steps_per_epoch=known.steps_per_epoch),
        base_lr=known.base_lr if base_lr is None else base_lr,
        total_steps=known.full_steps if total_steps is None else total_steps,
        seed=seed,
        save=out is not None,
        norms=norms,  # type: ignore[arg-type] # it makes a tuple of them
    )
    if out is None:
        return loop.train(spec, progress=progress)
    folder = made(folder_of(out, known))
    with Store(folder / "runs.db") as store:
        if spec.id not in store.records().ids:
            store.add(loop.train(spec, weights=folder / "weights", progress=progress))
        return store.record(spec.id)


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
        return _write_page(self.study, path)


def search(
    task: str | OwnTask | ScriptTask,
    strategy: Literal["grid", "random", "halving", "refinement", "autolrs"] = "halving",
    *,
    methods: Sequence[str | Method] | None = None,
    base_lrs: Sequence[float] | None = None,
    rungs: Literal["compressed", "cut", "continued"] = "compressed",
    rounds: int = 1,
    budget: str | Budget = "20runs",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    executor: str = "processes",
    workers: int | None = None,
    run_seconds: float | None = None,
    run_gigabytes: float | None = None,
    run_cpus: float = 1.0,
    run_gpus: float = 0.0,
    seen: Seen | None = None,
    planned: Planned | None = None,
    told: Told = lambda _: None,
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
        executor: `processes`, `serial`, `batched`, `auto` or `ray[:ADDRESS]`; see `lrcontrol.workplace.Workplace`.
        workers: how many processes at once; by default one a core.
        run_seconds: > 0; how long a run may take before it is given up.
        run_gigabytes: > 0; memory that a run's process may hold.
        run_cpus: > 0; processors that a cluster sets aside for a run.
        run_gpus: >= 0; accelerators, or a part of one, that it sets aside for a run.
        seen: called with each new record.
        planned: called once with the updates planned and made already, before anything runs.
        told: called with sentences on what was found out about this machine.

    Raises:
        BadInput: an unknown task, strategy or method, or a bad value. OverBudget: not enough for one full run, for
            `autolrs` two. StoreError: the folder cannot be written, or holds something else.
    """
    began = time.monotonic()
    known = catalogue.named(task)
    place = Workplace(executor, workers, run_seconds, run_gigabytes, run_cpus, run_gpus)
    checks.one_of("strategy", strategy, STRATEGIES)
    checks.one_of("kind of rungs", rungs, ("compressed", "cut", "continued"))
    if strategy == "halving" and rungs == "continued" and place.kind == "batched":
        raise BadInput(
            "runs that are trained at once cannot go on from others, got --rungs continued with --executor batched; "
            "use --executor processes, or --rungs compressed."
        )
    if strategy == "refinement" and known.is_script:
        raise BadInput(f"a refinement needs gradient norms, which {known.name} does not record; use lrcontrol.refine.")
    if strategy == "autolrs":
        _check_autolrs(known, place, methods, base_lrs)
    full = known.full_steps
    own = known.method.partition(":")[0]
    match strategy:
        case "refinement":
            usual = [f"{own}:{FIRST}"]
        case "autolrs":
            usual = [f"{own}:constant"]
        case _:
            usual = sorted({str(each.method) for each in _portfolio_of(known)})
    if strategy == "autolrs" and methods:
        methods = [f"{each}:constant" if isinstance(each, str) and ":" not in each else each for each in methods]
    named = [parse_method(each, steps_per_epoch=known.steps_per_epoch) for each in methods or usual]
    for method in named:
        catalogue.check_optimizer(known, method)
        method.control.check_fits(method.updates_for(full))
    if base_lrs is None and catalogue.makes_own_optimizer(known):
        base_lrs = rates_around(known.base_lr)
    entered = candidates_of(named, base_lrs)
    folder = folder_of(out, known)
    study = (strategy, rungs, str(rounds), str(seed), *map(str, entered))
    slots = 1 if strategy == "autolrs" else place.slots  # its runs wait for one another
    given = allowed(budget, known, slots, folder, study)
    if given.steps < full:
        raise OverBudget(
            f"a budget must pay for at least one full run of {known.name} ({full} steps), got {given.steps} steps."
        )
    way: Search
    match strategy:
        case "grid":
            way = Plan(tuple(spec_of(known.name, each, full, seed) for each in entered))
        case "random":
            low, high = (min(base_lrs), max(base_lrs)) if base_lrs else (1e-4, 1.0)
            way = random_draws(known.name, named, low, high, given.steps // full, full, seed)
        case "refinement":
            way = refinement_within(
                known.name, entered, partial(asked_of, folder / "runs.db"), given, full, seed, rounds
            )
        case "autolrs":
            foretold = partial(forecast_of, folder / "runs.db")
            rates = base_lrs or [each.base_lr for each in entered]
            way = AutoLRS(known.name, named[0], min(rates), max(rates), foretold, full, seed)
            if given.steps < way.cost:
                more = "'2runs'" if given.seconds is None else "more time"
                raise OverBudget(
                    f"stages of {known.name} and the rates that are tried for them need {way.cost} steps, got "
                    f"{given.steps}; give {more}."
                )
        case _:
            raced = rungs_within(given.steps, full, len(entered), rungs)
            way = SuccessiveHalving(known.name, entered, raced, full, seed)
    check_place(place, known, way, given, folder)
    with Store(made(folder) / "runs.db") as store:
        way = carry_out_study(
            way, store, given, known, folder, place, seen=seen, planned=planned, told=told, began=began
        )
        records = way.answered(store.records())
        stages = stages_of(way, records, full)
        best = best_of(stages)
        chosen = None if best is None else store.record(best.id)
        course = course_of(way, records, store.record)
    from lrcontrol.report.study import Study

    return Searched(
        known,
        folder,
        Study(
            task=known,
            title=f"{'AutoLRS' if strategy == 'autolrs' else strategy.capitalize()} search on {known.name}",
            lead=f"{_about(known)}; budget {given.told()}, seed {seed}; on validation alone.",
            stages=stages,
            budget=given,
            chosen=chosen,
            reasons=tuple(search_reasons(way, stages, given, course)),
            caution=caution_of(way, stages, given),
            course=course,
        ),
    )


def _check_autolrs(
    task: Task, place: Workplace, methods: Sequence[str | Method] | None, base_lrs: Sequence[float] | None
) -> None:
    """BadInput where a run cannot be made stage by stage as it is asked."""
    if place.kind == "batched":
        raise BadInput(
            "runs that are trained at once cannot go on from others, got --strategy autolrs with --executor batched; "
            "use --executor serial."
        )
    if task.is_script:
        raise BadInput(
            f"stages are gone on with from checkpoints and by every loss, which {task.name} may not keep; use "
            "another strategy for a script."
        )
    if methods is not None and len(methods) > 1:
        raise BadInput(f"a run in stages has one optimizer, got {len(methods)} methods; name one with --method.")
    if base_lrs is not None and len(set(base_lrs)) < 2:
        raise BadInput(
            f"`base_lrs` must hold the least and the largest rate of a range, got {list(base_lrs)}; give --lr twice."
        )


def _selected(
    task: Task,
    budget: Budget,
    seed: int,
    folder: Path,
    store: Store,
    race: Race,
    measured: _Document | None = None,
) -> Selection:
    """The selection that the store's records give; test metrics are measured unless an earlier call did."""
    choice = choose(race, store.records(), task, budget)
    full = msgspec.structs.replace(
        choice, record=store.record(choice.record.id), default=store.record(choice.default.id)
    )
    if measured is not None and measured.run == choice.record.id:
        return Selection(task, budget, seed, folder, full, measured.test, measured.default_test)
    if task.is_script:
        return Selection(task, budget, seed, folder, full, {}, None)
    from lrcontrol.training.loop import test_metrics

    weights = folder / "weights"
    test = test_metrics(full.record, weights)
    default_test = test_metrics(full.default, weights) if full.default.weights is not None else None
    return Selection(task, budget, seed, folder, full, test, default_test)


def _entered(
    task: Task, methods: Sequence[str | Method] | None, base_lrs: Sequence[float] | None
) -> tuple[Candidate, ...]:
    """The candidates of a selection: the portfolio, unless methods or rates are named."""
    usual = _portfolio_of(task)
    if methods is None and base_lrs is None:
        return usual
    named = [parse_method(each, steps_per_epoch=task.steps_per_epoch) for each in methods or ()]
    if base_lrs is None and catalogue.makes_own_optimizer(task):
        base_lrs = rates_around(task.base_lr)
    return candidates_of(named or list(dict.fromkeys(each.method for each in usual)), base_lrs)


def _portfolio_of(task: Task) -> tuple[Candidate, ...]:
    return own_portfolio(task.base_lr) if catalogue.makes_own_optimizer(task) else portfolio()


def _write_page(study: "Study", path: str | os.PathLike[str]) -> Path:
    from lrcontrol.report.page import write
    from lrcontrol.report.study import study_page

    write(study_page(study), path)
    return Path(path)


def _about(task: Task) -> str:
    return f"{task.model} on {task.data}"
