"""The verbs: what a user asks for, joined from training, search, selection and report; search is in `searching`."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from lrcontrol import checks
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput, BadText, StoreError
from lrcontrol.files import write_whole
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method, Own
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.optimizer import low_rate
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.schedules.text import read_document
from lrcontrol.search.search import Candidate
from lrcontrol.searching import Searched, search
from lrcontrol.selection.choice import Choice, choose
from lrcontrol.selection.portfolio import UNTUNED
from lrcontrol.selection.race import Race, plan_race
from lrcontrol.selection.telling import on_test
from lrcontrol.studies import (
    Planned,
    Seen,
    Told,
    Where,
    entered,
    for_nobody,
    lead_of,
    plain_default,
    usual_methods,
    warn_of_rates,
    write_page,
)
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
        """Sentences that explain the choice, also where it is no better than the plain default on the test split."""
        reasons = list(self.choice.reasons)
        if self.record.id != self.choice.default.id:
            reasons[-1:-1] = on_test(self.task, self.test, self.default_test)
        return tuple(reasons)

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
            lead=f"{lead_of(self.task, self.budget, self.seed)}.",
            stages=self.choice.stages,
            budget=self.budget,
            chosen=self.choice.record,
            default=self.choice.default,
            reasons=self.reasons,
            test=self.test or None,
            default_test=self.default_test,
            caution=self.choice.caution,
        )

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the page that shows the choice and everything it stands on; one HTML file that opens offline."""
        return write_page(self.study(), path)

    def __repr__(self) -> str:
        metric = self.task.objective.metric
        name, value = self.task.objective.told, self.record.final
        if self.test:
            name, value = f"test {metric}", self.test[metric]
        return f"<Selection {self.task.name}: {self.method} at {self.base_lr:g}, {name} {value:.4g}>"


@with_keys(Where)
def select(
    task: str | OwnTask | ScriptTask,
    *,
    budget: str | Budget = "20runs",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    methods: Sequence[str | Method] | None = None,
    base_lrs: Sequence[float] | None = None,
    candidates: Sequence[Candidate] | None = None,
    seen: Seen | None = None,
    planned: Planned | None = None,
    told: Told = lambda _: None,
    **where: Unpack[Where],
) -> Selection:
    """Pick the way to control the learning rate of a task within a budget, and train with it.

    The plain default and two methods at one rate each are run in full. What is left of the budget goes to a portfolio
    of methods and base learning rates, raced over compressed horizons, the best of which are run in full too; the best
    full run on validation is the choice. Only then, once, is the test split looked at. Where methods or rates are
    named, and for scripts, there is the plain default alone beside the race.

    The same call with the same folder goes on where an earlier one was ended, and repeats no run. With another budget
    or seed it takes the place of the earlier selection there; runs that both ask for are made once.

    Args:
        task: a task's name; one of your own as `path/to/file.py:function`, or what `lrcontrol.as_task` or
            `lrcontrol.task` made.
        budget: such as `20runs`, `5000steps`, `50epochs` or `30min`; every update of every run counts.
        seed: of every run.
        out: a folder for the store and the weights; by default `lrcontrol-out/TASK`.
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
    place = Workplace(**where)
    known = catalogue.named(task)
    seed = checks.integer("seed", seed, high=2**31 - 1)
    default = plain_default(known)
    if candidates is not None and (methods is not None or base_lrs is not None):
        raise BadInput("give either `candidates`, or `methods` and `base_lrs`, got both.")
    untuned: tuple[Candidate, ...] = ()
    if candidates is None:
        if methods is None and base_lrs is None and not known.is_script:
            untuned = UNTUNED
        candidates = entered(known, methods or usual_methods(known), base_lrs)
        warn_of_rates(candidates, base_lrs)
    candidates = tuple(candidates)
    for each in candidates:
        catalogue.check_optimizer(known, each.method)
    if not candidates:
        raise BadInput("`candidates` must hold at least one candidate, got none; leave it out for the portfolio.")
    folder = folder_of(out, known)
    given = allowed(
        budget, known, place.slots, folder, ("select", str(seed)), threads=place.threads, device=place.device
    )
    race = plan_race(known, given, candidates, default, seed, untuned)
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
        selection = _selected(known, given, seed, folder, store, race, device=place.placed())
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
    run_cpus: int = 1,
    device: str | None = None,
) -> Record:
    """Train a task once with a method at a base learning rate.

    Args:
        task: a task's name; one of your own as `path/to/file.py:function`, or what `lrcontrol.as_task` or
            `lrcontrol.task` made.
        method: `optimizer:control`, such as `adamw:cosine`; by default the task's default.
        base_lr: > 0; by default that of the task's default where that is the method or the task makes its optimizer
            itself, and 1 for an optimizer that finds its rate itself. A control that gives the rate whatever the base
            rate is, as l4 does, has the usual one.
        total_steps: by default the task's full horizon.
        seed: of weights, data order and all other chance.
        norms: `l1`, `l2` or both: the norms of the gradient of every update, which the record then has as columns.
        out: a folder; where given, the record is kept in its store and the weights beside it, and a run that the
            store holds already is not run again.
        progress: called with the number of updates made, now and then.
        run_cpus: >= 1; processors of the run: as many threads compute. With another number sums are taken in another
            order, and a run differs by rounding.
        device: what a task of ours is trained on, and where a script is asked to: `cpu`, `cuda` or `cuda:NUMBER`; by
            default where the task is made, for one of ours the CPU.

    Returns:
        The record, with columns.

    Example:
        >>> train("digits-mlp", "sgd:warmup(0.05)+rex", base_lr=0.1, total_steps=100).outcome.value
        'finished'
    """
    from lrcontrol.training import loop

    known = catalogue.named(task)
    place = Workplace("serial", run_cpus=checks.integer("run_cpus", run_cpus, low=1), device=device)
    there: dict[str, Any] = {"progress": progress, "threads": place.threads, "device": place.placed()}
    usual = parse_method(known.method, steps_per_epoch=known.steps_per_epoch)
    parsed = usual if method is None else parse_method(method, steps_per_epoch=known.steps_per_epoch)
    if method is not None:
        if base_lr is None:
            of_task = isinstance(parsed.optimizer, Own) or parsed == usual
            base_lr = known.base_lr if of_task else parsed.usual_lr
        if base_lr is None:
            raise BadInput(f"a method needs a base learning rate, got {method} without one; give `base_lr`.")
        base_lr = checks.number("base_lr", base_lr, low=0, open_low=True)
        low = low_rate(parsed.optimizer, base_lr)
        if parsed.control.sets_rate and base_lr != parsed.usual_lr:
            low = for_nobody([parsed], [base_lr])
            base_lr = parsed.usual_lr
        if low is not None:
            warnings.warn(low, stacklevel=2)
    spec = RunSpec(
        task=known.name,
        method=parsed,
        base_lr=known.base_lr if base_lr is None else base_lr,
        total_steps=known.full_steps if total_steps is None else total_steps,
        seed=seed,
        save=out is not None,
        norms=norms,  # type: ignore[arg-type] # it makes a tuple of them
    )
    if out is None:
        return loop.train(spec, **there)
    folder = made(folder_of(out, known))
    with Store(folder / "runs.db") as store:
        if spec.id not in store.records().ids:
            store.add(loop.train(spec, weights=folder / "weights", **there))
        return store.record(spec.id)


def _selected(
    task: Task,
    budget: Budget,
    seed: int,
    folder: Path,
    store: Store,
    race: Race,
    measured: _Document | None = None,
    device: "torch.device | None" = None,
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
    test = test_metrics(full.record, weights, device)
    default_test = test_metrics(full.default, weights, device) if full.default.weights is not None else None
    return Selection(task, budget, seed, folder, full, test, default_test)
