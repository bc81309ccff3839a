"""AutoLRS as a search: a run in stages of one rate each, the rate found by trying some from the stage's checkpoint."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, OverBudget
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method, optimizer_name
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.search.search import pending

__all__ = [
    "NARROWEST",
    "AutoLRS",
    "Stretch",
    "Tried",
    "autolrs_within",
    "forecast",
    "forecast_of",
    "next_rate",
    "stage_lengths",
    "tries_in",
]

FIRST, LARGEST = 16, 4  # the first stage is this part of the run, and no other is longer than that
TRIED = 10  # rates, in a stage
FEWEST = 5  # updates with a rate; a stage that is too short for so many tries fewer rates
NARROWEST = 2.0  # the largest rate, in units of the least

# The authors fit any exponential. One whose time constant is longer than half of what was seen reads the fall after a
# jump of the loss, or its noise, as a trend, and forecasts far below what then comes: docs/autolrs.md has numbers.
SLOWEST = 0.5  # time constant of a forecast, in units of the updates it is fitted to
FASTEST = 0.05
CONSTANTS = 100  # that are tried

# The authors' code fits the kernel (Matérn 5/2) to each stage's forecasts, and weighs the deviation by 1e6, so that
# rates are laid out evenly whatever is forecast. Here the kernel is fixed and the weight is a usual one.
POINTS = 64  # rates to choose between
LENGTH = 0.15  # of the kernel, in units of the range of log rates
SIGNAL, NOISE = 0.5, 0.05  # standard deviations, in units of twice the median's distance from the best
CAUTION = 2.0  # standard deviations below the mean: the lower confidence bound


class Tried(NamedTuple):
    """A rate that was tried in a stage.

    Args:
        record: of its run.
        forecast: the validation loss that it is forecast to reach by the stage's end; inf where it diverged or failed.
    """

    record: Record
    forecast: float

    @property
    def base_lr(self) -> float:
        """The rate."""
        return self.record.spec.base_lr


class Stretch(NamedTuple):
    """A stage that is done or under way.

    Args:
        begin: updates made before it, and
        end: at its end.
        tried: the rates tried, in their order.
        asked: the run that comes next; None where the stage is done, or no rate is left to go on with.
        trained: the run of the chosen rate, once it has ended with weights that work.
        lost: runs of rates that were chosen before it, and were lost before the end of the stage.
    """

    begin: int
    end: int
    tried: tuple[Tried, ...]
    asked: RunSpec | None
    trained: Record | None = None
    lost: tuple[Record, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """All that have answered."""
        last = () if self.trained is None else (self.trained,)
        return (*(each.record for each in self.tried), *self.lost, *last)


class AutoLRS(msgspec.Struct, frozen=True):
    """One run whose rate is chosen anew at the beginning of each stage; it costs at most two.

    In a stage of `tau` updates ten rates are tried for `tau / 10` updates each, all from the checkpoint at its
    beginning. Which rate comes next is what a Gaussian process over the log rate holds for possibly best (lower
    confidence bound). The rate whose forecast is lowest is trained with from the same checkpoint for all of `tau`;
    where that diverges and the budget has updates left for it, the next one.

    The runs depend on one another, so that they are made one after the other, whatever the room.

    Args:
        task: its name.
        method: an optimizer with `constant`.
        low: > 0; the least rate.
        high: >= 2 low; the largest rate.
        forecast: what the losses of a run foretell, by its id and the updates after which; see `forecast_of`. The
            same run, the same answer: the search is resumed by asking again.
        full_steps: >= 10; updates of the run.
        seed: of every run.
    Raises:
        BadInput: a value out of range, a schedule of its own, or an optimizer that finds its rate itself.
    Source:
        Jin, Zhou, Zhao, Zhu, Guo, Canini, Krishnamurthy 2021, ICLR, arXiv:2105.10762, algorithm 1.
        Deviates: stages are shares of the horizon (1/16, doubled up to 1/4) where theirs are 1,000 updates, doubled up
        to 8,000; a stage begins by trying the rate of the one before; forecasts are told apart by the validation loss.
    Example:
        >>> search = AutoLRS("digits-mlp", "adamw:constant", 1e-4, 1e-1, lambda run, steps: 0.0, full_steps=1600)
        >>> (first,) = search.propose([], [], room=8, budget=Budget(steps=3200, full_steps=1600))
        >>> first.base_lr, first.stop_step, search.cost
        (0.003162, 10, 3200)
    """

    task: str
    method: Method
    low: float
    high: float
    forecast: Callable[[str, int], float]
    full_steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "method", parse_method(self.method))
        if self.method.optimizer.usual_lr is not None:
            raise BadInput(
                "a rate is searched for optimizers that do not find it themselves, got "
                f"{optimizer_name(self.method.optimizer)}; use for example adamw or sgd."
            )
        if self.method.control != Scheduled(constant()):
            raise BadInput(
                "a rate that is chosen anew in each stage leaves no place for a schedule, got "
                f"{self.method.label}; name the optimizer alone, as in {optimizer_name(self.method.optimizer)}."
            )
        put(self, "low", checks.number("low", self.low, low=0, open_low=True))
        put(self, "high", checks.number("high", self.high, low=NARROWEST * self.low))
        checks.integer("full_steps", self.full_steps, low=2 * FEWEST)

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early and each chosen rate lasts to the end of its stage."""
        return self._cost_from(0)

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The next run, where the budget pays for it and for the rest of the search."""
        stretches = self.progress(records)
        now = stretches[-1]
        if now.asked is None:
            return []
        spent = budget.spent(record for each in stretches for record in each.records)
        count, updates = tries_in(now.end - now.begin)
        trying = now.asked.updates == updates
        rest = (count - len(now.tried) - 1) * updates + now.end - now.begin if trying else 0
        if spent + now.asked.charge + rest + self._cost_from(now.end) > budget.steps:
            return []
        return pending([now.asked], records, running, room)

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this search."""
        return [record for each in self.progress(records) for record in each.records]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """What was trained in the stages so far, and the run of the rate that is chosen now; none when all is done.

        A stage begins from the last of them. The others are kept because that one, if its checkpoint is lost, is made
        again from the one before, which would otherwise be dropped and made again for ever.
        """
        stages = self.progress(records)
        asked = stages[-1].asked
        if asked is None:
            return frozenset()
        trained = frozenset(each.trained.id for each in stages if each.trained is not None)
        return trained | ({asked.id} if asked.checkpoint else frozenset())

    def progress(self, records: Sequence[Record]) -> list[Stretch]:
        """The stages so far, the last of them under way or done."""
        known = {record.id: record for record in records}
        result: list[Stretch] = []
        before: RunSpec | None = None
        for length in stage_lengths(self.full_steps):
            result.append(self._stretch(0 if before is None else before.stop_step, length, before, known))
            trained = result[-1].trained
            if trained is None:
                break
            before = trained.spec
        return result

    def _stretch(self, begin: int, length: int, before: RunSpec | None, known: dict[str, Record]) -> Stretch:
        """One stage, as far as it has come."""
        end = begin + length
        tried: list[Tried] = []
        lost: list[Record] = []
        count, updates = tries_in(length)
        rate = float(f"{math.sqrt(self.low * self.high):.4g}") if before is None else before.base_lr
        for _ in range(count):
            spec = self._spec(rate, before, begin + updates, stays=False)
            if spec.id not in known:
                return Stretch(begin, end, tuple(tried), spec)
            record = known[spec.id]
            tried.append(Tried(record, self.forecast(record.id, length) if record.usable else math.inf))
            rate = next_rate(self.low, self.high, tuple((each.base_lr, each.forecast) for each in tried))
        for each in sorted(tried, key=lambda each: each.forecast):
            if math.isfinite(each.forecast):
                spec = self._spec(each.base_lr, before, end, stays=True)
                if spec.id not in known:
                    return Stretch(begin, end, tuple(tried), spec, lost=tuple(lost))
                if known[spec.id].usable:
                    return Stretch(begin, end, tuple(tried), None, known[spec.id], tuple(lost))
                lost.append(known[spec.id])
        return Stretch(begin, end, tuple(tried), None, lost=tuple(lost))

    def _spec(self, base_lr: float, before: RunSpec | None, stop_step: int, *, stays: bool) -> RunSpec:
        """The run with a rate after the one before; one that `stays` is gone on from, and saved at the end of all."""
        last = stop_step == self.full_steps
        return RunSpec(
            task=self.task,
            method=self.method,
            base_lr=base_lr,
            total_steps=self.full_steps,
            stop_step=stop_step,
            seed=self.seed,
            save=stays and last,
            start=None if before is None else Start(before.id, before.stop_step),
            checkpoint=stays and not last,
        )

    def _cost_from(self, begin: int) -> int:
        """Updates of the stages from `begin` on."""
        at, total = 0, 0
        for length in stage_lengths(self.full_steps):
            count, updates = tries_in(length)
            total += count * updates + length if at >= begin else 0
            at += length
        return total


def autolrs_within(
    task: str,
    method: Method,
    low: float,
    high: float,
    forecast: Callable[[str, int], float],
    budget: Budget,
    seed: int = 0,
) -> AutoLRS:
    """AutoLRS over a full run, where the budget pays for its stages and the rates that are tried for them.

    Raises:
        OverBudget: it does not.
    """
    way = AutoLRS(task, method, low, high, forecast, budget.full_steps, seed)
    if budget.steps < way.cost:
        more = "'2runs'" if budget.seconds is None else "more time"
        raise OverBudget(
            f"stages of {task} and the rates that are tried for them need {way.cost} steps, got {budget.steps}; give "
            f"{more}."
        )
    return way


def stage_lengths(full_steps: int) -> list[int]:
    """The lengths of the stages of a run: a sixteenth of it, doubled up to a quarter; the last has what is left.

    Example:
        >>> stage_lengths(1600)
        [100, 200, 400, 400, 400, 100]
    """
    first = max(full_steps // FIRST, 2 * FEWEST)
    largest = max(full_steps // LARGEST, first)
    lengths, length, left = [], first, full_steps
    while left:
        length = length if left - length >= first else left
        lengths.append(length)
        left -= length
        length = min(2 * length, largest)
    return lengths


def tries_in(length: int) -> tuple[int, int]:
    """How many rates are tried in a stage, and for how many updates each; together at most what the stage has.

    Example:
        >>> tries_in(400), tries_in(20)
        ((10, 40), (4, 5))
    """
    count = min(TRIED, length // FEWEST)
    return count, length // count


@lru_cache(maxsize=4096)  # a search is asked again and again, and says what it said
def next_rate(low: float, high: float, tried: tuple[tuple[float, float], ...]) -> float:
    """The rate to try next: where the lower confidence bound of the forecasts is least, in four digits.

    Args:
        low: > 0; the least rate.
        high: > low; the largest rate.
        tried: at least one rate with its forecast; inf where there is none, which is as bad as the worst.
    Source:
        Srinivas, Krause, Kakade, Seeger 2010, ICML, arXiv:0912.3995 (the bound); Rasmussen, Williams 2006, Gaussian
        Processes for Machine Learning, algorithm 2.1 (the process), equation 4.17 (the kernel).
    Example:
        >>> next_rate(1e-4, 1e-1, ((1e-3, 0.9), (1e-4, 2.0), (1e-1, float("inf")), (1e-2, 0.5)))
        0.00416
    """
    rates = np.array([min(max(float(f"{rate:.4g}"), low), high) for rate in np.geomspace(low, high, POINTS)])
    rates = rates[~np.isin(rates, [rate for rate, _ in tried])]
    seen, places = (np.log(np.array(each) / low) / math.log(high / low) for each in ([r for r, _ in tried], rates))
    values = _scaled(np.array([value for _, value in tried]))
    within = _kernel(seen, seen) + NOISE**2 * np.eye(seen.size)
    across = _kernel(places, seen)
    weights = np.linalg.solve(within, across.T)
    mean = values.mean() + (values - values.mean()) @ weights
    variance = np.maximum(SIGNAL**2 - (across.T * weights).sum(axis=0), 0.0)
    bound = (mean - CAUTION * np.sqrt(variance)).round(9)  # places that are alike but for rounding tie
    return float(rates[int(bound.argmin())])


def _kernel(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matérn 5/2."""
    far = math.sqrt(5) * np.abs(left[:, None] - right[None, :]) / LENGTH
    result: NDArray[np.float64] = SIGNAL**2 * (1 + far + far**2 / 3) * np.exp(-far)
    return result


def _scaled(forecasts: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for the best, 1/2 for the median, 1 for all that are twice as far from the best, however far."""
    finite = forecasts[np.isfinite(forecasts)]
    result = np.ones(forecasts.size)
    if finite.size:
        width = 2 * float(np.median(finite) - finite.min())
        above = forecasts - finite.min()
        result = np.minimum(above / width, 1.0) if width > 0 else (above > 0).astype(np.float64)
    return result


def forecast(losses: ArrayLike, steps: int) -> float:
    """How far the loss is forecast to fall from the last of `losses` to the update `steps`; below 0 where it rises.

    What falls is the exponential `a + b exp(-t / c)` that is nearest to the losses, where c is at most half of their
    number: a trend that is still there at their end is not followed for long.

    Args:
        losses: shape (updates,), finite; of the first updates.
        steps: >= updates.
    Example:
        >>> falling = 1 + np.exp(-np.arange(30) / 10)
        >>> round(forecast(falling, 300), 3)
        0.057
    """
    values = np.asarray(losses, dtype=np.float64)
    above = values - values.mean()
    constants = np.geomspace(max(FASTEST * values.size, 1.0), max(SLOWEST * values.size, 1.0), CONSTANTS)
    shapes = np.exp(-np.arange(values.size) / constants[:, None])
    around = shapes - shapes.mean(axis=1, keepdims=True)
    heights = around @ above / np.maximum((around**2).sum(axis=1), 1e-300)
    missed = ((above - heights[:, None] * around) ** 2).sum(axis=1)
    best = int(missed.argmin())
    return float(heights[best] * (shapes[best, -1] - math.exp(-steps / constants[best])))


@lru_cache(maxsize=4096)
def forecast_of(store: Path, run: str, steps: int) -> float:
    """The validation loss that a run of the store would reach after `steps` updates of its own.

    It is what the run ended with on validation, less what its training loss is forecast to fall.

    Args:
        store: that holds the run, with its losses.
        run: its id; it must have ended with weights that work.
        steps: from its own first update on.
    """
    with Store(store, create=False) as opened:
        record = opened.record(run)
    losses, end = record.column("loss"), record.end
    if end is None or not np.isfinite(losses).all():
        return math.inf
    now = end.values.get("loss", record.objective.lower_is_better(end.values[record.objective.metric]))
    return now - forecast(losses, steps)
