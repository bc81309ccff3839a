"""A run that was made in stretches, each at a rate of its own, told as one run with one schedule."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.method import Method
from lrcontrol.runs.record import Cost, Record
from lrcontrol.schedules.recipes.phases import piecewise
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.schedule import Schedule

__all__ = ["Course", "Leg", "joined"]


class Leg(msgspec.Struct, frozen=True):
    """One stretch of a run.

    Args:
        begin: updates made before it, and
        end: at its end.
        tried: rates that were tried for it, each with the validation loss it was forecast to reach at the end; inf
            where there is none.
        record: of the stretch itself.
    """

    begin: int
    end: int
    tried: tuple[tuple[float, float], ...]
    record: Record

    @property
    def base_lr(self) -> float:
        """Its rate."""
        return self.record.spec.base_lr

    @property
    def edge(self) -> str | None:
        """Whether its rate is the `largest` or the `smallest` of those that were tried; None for any between."""
        rates = [rate for rate, _ in self.tried]
        return {min(rates): "smallest", max(rates): "largest"}.get(self.base_lr)

    @property
    def forecast(self) -> float | None:
        """The validation loss that its rate was forecast to reach."""
        return next((value for rate, value in self.tried if rate == self.base_lr and math.isfinite(value)), None)


class Course(msgspec.Struct, frozen=True):
    """All stretches of a run, and the run as one.

    Args:
        legs: in order.
        whole: what was trained, from the first update on; its spec is of a run with one schedule that has the same
            rates (to six digits), so that its id is of no run that was made.
    """

    legs: tuple[Leg, ...]
    whole: Record

    @property
    def told(self) -> list[dict[str, Any]]:
        """The legs as JSON values."""
        return [
            {
                "begin": leg.begin,
                "end": leg.end,
                "base_lr": leg.base_lr,
                "forecast": leg.forecast,
                "final": leg.record.final,
                "run": leg.record.id,
                "tried": [[rate, value if math.isfinite(value) else None] for rate, value in leg.tried],
            }
            for leg in self.legs
        ]


def joined(records: Sequence[Record]) -> Record:
    """Records of runs that go on from one another, each at a constant rate, as one.

    Args:
        records: at least one; in order, with columns.
    Returns:
        The base rate of its spec is the largest of theirs.
    Example:
        >>> from lrcontrol.runs.record import Objective, Outcome
        >>> from lrcontrol.runs.spec import RunSpec, Start
        >>> one = RunSpec(task="a", method="sgd:constant", base_lr=0.1, total_steps=9, stop_step=3, checkpoint=True)
        >>> two = RunSpec(task="a", method="sgd:constant", base_lr=0.02, total_steps=9, start=Start(one.id, 3))
        >>> ended = {"outcome": Outcome.FINISHED, "objective": Objective("loss", "minimize")}
        >>> whole = joined([Record(spec=each, **ended) for each in (one, two)])
        >>> str(whole.spec.method), whole.spec.base_lr
        ('sgd:step(factor=0.2, milestones=(3))', 0.1)
    """
    last = records[-1]
    spec = last.spec
    base_lr = max(record.spec.base_lr for record in records)
    method = Method(spec.method.optimizer, Scheduled(_levels(records, base_lr)))
    names = [name for name in last.columns if all(name in record.columns for record in records)]
    return msgspec.structs.replace(
        last,
        spec=msgspec.structs.replace(spec, method=method, base_lr=base_lr, start=None),
        evals=tuple(each for record in records for each in record.evals),
        columns={name: np.concatenate([record.columns[name] for record in records]) for name in names},
        cost=Cost(sum(record.cost.steps for record in records), sum(record.cost.seconds for record in records)),
    )


def _levels(records: Sequence[Record], base_lr: float) -> Schedule:
    """The schedule that holds each run's rate from its first update on."""
    levels = [float(f"{record.spec.base_lr / base_lr:.6g}") for record in records]
    values, edges = levels[:1], []
    for level, record in zip(levels[1:], records[1:], strict=True):
        if level != values[-1]:
            values.append(level)
            edges.append(record.spec.first_step)
    return piecewise(tuple(values), tuple(edges), hold=True) if edges else constant()
