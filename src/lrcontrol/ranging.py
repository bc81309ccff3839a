"""The range test: one short run through all learning rates, read for the one to train with."""

import inspect
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.analysis.lr_range import Suggestion, suggest_lr
from lrcontrol.controls.composed import StopOnDivergence
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs.method import Method, OptimizerSpec
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.range_spec import ASKED, Shape, range_spec
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.study_folder import folder_of, made
from lrcontrol.training.range_options import OfModel
from lrcontrol.training.tasks import catalogue
from lrcontrol.training.tasks.own import OwnTask
from lrcontrol.training.tasks.script import ScriptTask

if TYPE_CHECKING:
    from lrcontrol.report.theme import Chart

__all__ = ["Besides", "Confirmation", "OfTask", "RangeTest", "range_test"]

LOW, HIGH, STEPS, REPEATS = 1e-6, 10.0, 100, 1
BESIDE = 3.0  # factor between the suggestion and the rates that it is confirmed against
MOST_REPEATS = 100
NEVER_BEGUN = (
    "gradients are not finite before any update, whatever the scaler's scale, which no learning rate can help; look "
    "for what is not finite in the backward pass, such as that of a square root at 0."
)


class Confirmation(msgspec.Struct, frozen=True):
    """Short runs at the suggested rate, at a third of it and at three times it.

    Args:
        records: the lowest rate first.
        confirmed: whether the run at the suggestion came to the best of the three.
        sentence: what they came to.
    """

    records: tuple[Record, ...]
    confirmed: bool
    sentence: str

    def __repr__(self) -> str:
        """The sentence."""
        return f"<Confirmation: {self.sentence}>"


class RangeTest(msgspec.Struct, frozen=True, eq=False):
    """What a range test came to.

    Args:
        found: the reading of the curve; the rates that it found can be asked of this object too.
        records: one a repeat, with columns `lr` and `loss`.
        confirmation: what runs at the suggestion came to, where they were asked for.
    """

    found: Suggestion
    records: tuple[Record, ...]
    confirmation: Confirmation | None = None

    @property
    def suggestion(self) -> float | None:
        """The learning rate to train with, or None where the curve says nothing."""
        return self.found.suggestion

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the suggestion lies by the noise of the losses."""
        return self.found.interval

    @property
    def low(self) -> float | None:
        """The least rate for cycling."""
        return self.found.low

    @property
    def high(self) -> float | None:
        """The largest rate for cycling."""
        return self.found.high

    @property
    def steepest(self) -> float | None:
        """Where the loss falls fastest."""
        return self.found.steepest

    @property
    def divergence(self) -> float | None:
        """Where it begins to rise for good."""
        return self.found.divergence

    @property
    def reason(self) -> str:
        """One sentence: why this rate, or why none."""
        return self.found.reason

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended a ramp early, whose handler was content with that."""
        return any(map(_interrupted, self.records))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences that bear on how the suggestion is to be taken."""
        told = []
        if self.interrupted:
            highest = max((float(each.column("lr")[-1]) for each in self.records if each.cost.steps), default=0.0)
            told.append(
                f"A signal ended the range test early, at a rate of {highest:.2g}: higher ones were not tried."
            )
        optimizer = self.records[0].spec.method.optimizer
        if self.suggestion is not None and getattr(optimizer, "usual_lr", None) == 1:
            told.append(
                f"{self.optimizer} finds its step itself: the rate multiplies that, and 1 is what its paper has."
            )
        if self.confirmation is not None:
            told.append(self.confirmation.sentence)
        return tuple(told)

    @property
    def optimizer(self) -> str:
        """The optimizer that was tested, as text; `own` is one of the user's."""
        return str(self.records[0].spec.method).partition(":")[0]

    @property
    def steps(self) -> int:
        """Updates that were made in all, those of the confirmation included."""
        confirming = () if self.confirmation is None else self.confirmation.records
        return sum(record.cost.steps for record in (*self.records, *confirming))

    def plot(self) -> "Chart":
        """A chart of the losses over the rates, for a notebook; `chart.save("range.svg")` writes it."""
        return self.found.plot()

    def __repr__(self) -> str:
        """The suggestion, or why there is none, and the cost."""
        found = self.found
        if found.suggestion is None or found.interval is None:
            told = f"no suggestion: {found.reason}"
        else:
            told = f"train at {found.suggestion:.2g} ({found.interval[0]:.2g} to {found.interval[1]:.2g})"
        if self.confirmation is not None:
            told += ", confirmed" if self.confirmation.confirmed else ", not confirmed"
        early = ", ended early" if self.interrupted else ""
        return f"<RangeTest {told}{early}; {self.steps} updates>"


class OfTask(TypedDict, total=False):
    """What the range test of a task takes besides.

    Args:
        out: a folder to keep the runs in; runs that are there already are not made again.
        progress: called with the number of updates made, now and then.
        device: what is trained on, `cpu`, `cuda` or `cuda:NUMBER`; by default where the task is made.
    """

    out: str | os.PathLike[str] | None
    progress: Callable[[int], None] | None
    device: str | None


class Besides(OfTask, OfModel, total=False):
    """What a range test takes besides, of a task and of a model."""


@with_keys(OfModel)
@with_keys(OfTask)
def range_test(
    given: Any,
    optimizer: Any = None,
    loader: Any = None,
    loss: Callable[..., Any] | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    steps: int | None = None,
    shape: Shape = "exponential",
    repeats: int | None = None,
    confirm: int = 0,
    seed: int = 0,
    **besides: Unpack[Besides],
) -> RangeTest:
    """Raise the learning rate from far too low to too high in one short run, and tell the one to train with.

    Of a task, or of your own model: `range_test(model, optimizer, loader, loss)`. Your objects are put back to the
    bit, also where it is interrupted: the training that follows is as if there had been no test. It ends early where
    the loss diverges. Groups of an optimizer keep the ratios of their rates; the largest of them is the one told.

    Args:
        given: a task's name, one of your own, or a model.
        optimizer: of a task its text, such as `sgd(momentum=0.9)`, by default that of the task's default; of a model
            the torch optimizer.
        loader: of a model: an iterable of batches that can be iterated over anew.
        loss: of a model: of `(outputs, targets)` or `(model, batch)`; None where the model computes it itself.
        low: > 0; the rate of the first update, by default 1e-6, and
        high: > low; of the last, by default 10.
        steps: >= 20; updates of one ramp, by default 100.
        shape: `exponential`: the rate rises by one factor every update; `linear`: by one amount, as in the paper.
        repeats: 1 to 100; ramps, each with a seed of its own: data in another order, and of a task other weights. By
            default one.
        confirm: updates of each of three runs at the suggestion, a third of it and three times it; 0 makes none.
        seed: of the first ramp; the others have those after it.
    Returns:
        The suggestion, with an interval, the usable rates, a sentence why, the records and a chart; see `RangeTest`.
    Raises:
        BadInput: a bad value, or one that does not go with what is tested.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3 (how the curve is read is ours: docs/range_test.md shows how it did).
    Example:
        >>> found = range_test("digits-mlp", "sgd(momentum=0.9)", low=1e-5)
        >>> 0.003 < found.low < found.suggestion < 1
        True
    """
    low, high = LOW if low is None else low, HIGH if high is None else high
    steps = STEPS if steps is None else steps
    repeats = checks.integer("repeats", REPEATS if repeats is None else repeats, low=1, high=MOST_REPEATS)
    confirm = checks.integer("confirm", confirm)
    checks.integer("seed", seed, high=2**31 - 1 - MOST_REPEATS)
    is_task = isinstance(given, str | OwnTask | ScriptTask)
    foreign = (OfModel if is_task else OfTask).__annotations__.keys() & besides.keys()
    foreign |= {name for name, value in (("loader", loader), ("loss", loss)) if is_task and value is not None}
    if foreign:
        what = ("task", "a model") if is_task else ("model", "a task")
        raise BadInput(f"`{min(foreign)}` belongs to the range test of {what[1]}, but this is one of a {what[0]}.")
    unknown = besides.keys() - Besides.__annotations__.keys()
    if unknown:
        known = [*inspect.signature(range_test).parameters.keys() - {"besides"}, *Besides.__annotations__]
        raise UnknownName(checks.near_miss("parameter of range_test,", min(unknown), known))
    ramps = {"low": low, "high": high, "steps": steps, "shape": shape}
    named: dict[str, Any] = dict(besides)
    runs: _TaskRuns | _ModelRuns
    runs = _TaskRuns(given, optimizer, **named) if is_task else _ModelRuns((given, optimizer, loader, loss), named)
    records = runs.ramps(repeats, seed, ramps)
    interrupted = any(map(_interrupted, records))
    found = suggest_lr(_planned(records[0].spec), _losses(records, steps), seed=seed, ended=interrupted)
    if found.suggestion is None and 2 * sum(map(_never_begun, records)) >= len(records):
        found = msgspec.structs.replace(found, reason=NEVER_BEGUN)
    if not confirm or found.suggestion is None or interrupted:
        return RangeTest(found, records)
    rates = tuple(float(f"{found.suggestion * factor:.3g}") for factor in (1 / BESIDE, 1.0, BESIDE))
    return RangeTest(found, records, _confirmed(runs.runs_at(rates, confirm, seed), runs.told))


class _TaskRuns:
    """The runs of a task's range test."""

    def __init__(
        self,
        task: str | OwnTask | ScriptTask,
        optimizer: Any,
        out: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
        device: str | None = None,
    ) -> None:
        from lrcontrol.training.devices import find_device

        self._task = catalogue.named(task)
        named = self._task.method.partition(":")[0] if optimizer is None else optimizer
        if isinstance(named, str) and ":" in named:
            raise BadInput(
                f"a range test takes an optimizer without a control, got {named}; leave out what follows ':'."
            )
        if isinstance(named, str):
            named = parse_method(f"{named}:constant").optimizer
        self._optimizer: OptimizerSpec = named
        catalogue.check_optimizer(self._task, Method(named, parse_method("own:constant").control))
        self._folder = None if out is None else folder_of(out, self._task)
        self._trained: dict[str, Any] = {"progress": progress, "device": find_device(device)}
        self.told = self._task.objective.told

    def ramps(self, repeats: int, seed: int, ramps: Any) -> tuple[Record, ...]:
        """One record a ramp."""
        each = partial(range_spec, self._task.name, self._optimizer, **ramps)
        specs = [each(seed=seed + place) for place in range(repeats)]
        try:
            return self._records(specs)
        except BadInput as error:  # the ramp is a control that nobody asked for by its name
            control, said = specs[0].method.control_text, str(error)
            if not said.startswith(control):
                raise
            raise BadInput(f"a range test{said.removeprefix(control)}") from None

    def runs_at(self, rates: Sequence[float], steps: int, seed: int) -> tuple[Record, ...]:
        """Runs under the schedule of the task's default, compressed."""
        control = parse_method(self._task.method, steps_per_epoch=self._task.steps_per_epoch).control
        method = Method(self._optimizer, control)
        name = self._task.name
        specs = [RunSpec(task=name, method=method, base_lr=rate, total_steps=steps, seed=seed) for rate in rates]
        return self._records(specs)

    def _records(self, specs: Sequence[RunSpec]) -> tuple[Record, ...]:
        from lrcontrol.training import loop

        if self._folder is None:
            by_id = {record.id: record for record in loop.train_all(specs, **self._trained)}
            return tuple(by_id[spec.id] for spec in specs)
        with Store(made(self._folder) / "runs.db") as store:
            known = store.records().ids
            for record in loop.train_all([spec for spec in specs if spec.id not in known], **self._trained):
                store.add(record)
            return tuple(store.record(spec.id) for spec in specs)


class _ModelRuns:
    """The runs of a model's range test, after which all is as it was."""

    told = "last losses"

    def __init__(self, objects: tuple[Any, Any, Any, Any], how: dict[str, Any]) -> None:
        if objects[1] is None or objects[2] is None:
            raise BadInput(
                f"a range test needs the name of a task, or a model with its optimizer and loader, got "
                f"{checks.shown(objects[0])} alone; call range_test(model, optimizer, loader, loss)."
            )
        self._objects, self._how = objects, how

    def ramps(self, repeats: int, seed: int, ramps: Any) -> tuple[Record, ...]:
        """One record a ramp."""
        from lrcontrol.training.range_test import own_range_test

        model, optimizer, loader, loss = self._objects
        how: dict[str, Any] = {**ramps, **self._how}
        return tuple(own_range_test(model, optimizer, loader, loss, repeats=repeats, seed=seed, **how))

    def runs_at(self, rates: Sequence[float], steps: int, seed: int) -> tuple[Record, ...]:
        """Runs at rates that stay as they are."""
        from lrcontrol.training.range_test import confirm

        model, optimizer, loader, loss = self._objects
        records: list[Record] = []
        for rate in rates:
            records.append(confirm(model, optimizer, loader, loss, lr=rate, steps=steps, seed=seed, **self._how))
            if _interrupted(records[-1]):
                break
        return tuple(records)


def _interrupted(record: Record) -> bool:
    """Whether a signal ended a run, whose handler was content with that."""
    return record.outcome is Outcome.STOPPED and record.message == ASKED


def _never_begun(record: Record) -> bool:
    """Whether no update could be made, though the loss was finite."""
    return record.outcome is Outcome.DIVERGED and not record.cost.steps


def _planned(spec: RunSpec) -> NDArray[np.float64]:
    """The rates of a ramp, also those after the update at which it ended."""
    control = spec.method.control
    assert isinstance(control, StopOnDivergence)  # noqa: S101 - a range test has no other, told to mypy
    assert isinstance(control.inner, Scheduled)  # noqa: S101 - likewise
    return spec.base_lr * control.inner.multipliers(spec.total_steps)


def _losses(records: Sequence[Record], steps: int) -> NDArray[np.float64]:
    """The losses of every ramp; after its end infinite, or NaN where a signal ended it and nobody knows."""
    table = np.full((len(records), steps), np.inf)
    for row, record in zip(table, records, strict=True):
        if _interrupted(record):
            row[:] = np.nan
        if "loss" not in record.columns:
            raise BadInput(f"a range test needs the loss of every update, which {record.spec.task} did not tell.")
        losses = record.column("loss")
        row[: len(losses)] = losses
    return table


def _confirmed(records: tuple[Record, ...], told: str) -> Confirmation:
    """What three runs came to, the lowest rate first."""
    if _interrupted(records[-1]):
        return Confirmation(records, False, "Not confirmed: a signal asked to end the runs before they had.")
    finals = [_final(record) for record in records]
    keys = [
        math.inf if value is None else record.objective.lower_is_better(value)
        for value, record in zip(finals, records, strict=True)
    ]
    best = min(range(len(keys)), key=keys.__getitem__)
    below, at, above = ("diverged" if value is None else f"{value:.4g}" for value in finals)
    rate, steps = records[1].spec.base_lr, records[1].spec.total_steps
    confirmed = math.isfinite(keys[1]) and keys[1] <= keys[best]
    found = f"{told} over {steps:,} updates: {at} at {rate:.2g}, {below} at a third of it, {above} at three times it"
    if confirmed:
        sentence = f"Confirmed: {found}."
    elif best == 0 or not math.isfinite(keys[best]):
        sentence = f"Not confirmed: {found}."
    else:
        sentence = f"Not confirmed, though a full run may still be best there: {found}; short runs favour high rates."
    return Confirmation(records, confirmed, sentence)


def _final(record: Record) -> float | None:
    """What a run came to: its metric, or the median of its last losses where none is measured; None if it diverged."""
    if record.outcome is not Outcome.FINISHED:
        return None
    if record.evals:
        return record.final
    losses = record.column("loss")
    return float(np.median(losses[-max(len(losses) // 5, 1) :]))
