"""The run that a range test is: a ramp through all learning rates, ended where the loss diverges."""

import math
from typing import Literal

from lrcontrol import checks
from lrcontrol.controls.composed import StopOnDivergence
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import Method, OptimizerSpec
from lrcontrol.runs.spec import RunSpec
from lrcontrol.schedules.recipes.single import exponential, linear
from lrcontrol.schedules.schedule import Schedule

__all__ = ["ASKED", "Shape", "ramp", "range_spec"]

Shape = Literal["exponential", "linear"]
ASKED = "a signal asked to end it"
"""The message of a run that ended for that reason alone."""

FEWEST = 20  # updates: fewer are no curve
WIDEST = 1e12  # factor between the largest rate and the least


def ramp(low: float, high: float, shape: Shape = "exponential") -> Schedule:
    """The multipliers of a range test: from `low / high` at the first update up to 1 at the last.

    Args:
        low: > 0.
        high: > low, at most 1e12 times it.
        shape: `exponential`: by one factor every update; `linear`: by one amount, as in Smith's paper.
    Raises:
        BadInput: a bound that is not a number in its range, or another shape.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3 (linear).
    Example:
        >>> ramp(1e-3, 1.0).multipliers(4).round(6).tolist()
        [0.001, 0.01, 0.1, 1.0]
    """
    low = checks.number("low", low, low=0, open_low=True)
    high = checks.number("high", high, low=low, open_low=True)
    if high > WIDEST * low:
        raise BadInput(f"`high` must be at most {WIDEST:g} times `low`, got low={low:g} and high={high:g}.")
    checks.one_of("shape of a ramp", shape, ("exponential", "linear"))
    if shape == "linear":
        return linear(start=low / high, end=1.0, at="closed")
    return exponential(-math.log(high / low), start=low / high, at="closed")


def range_spec(
    task: str,
    optimizer: OptimizerSpec,
    *,
    low: float,
    high: float,
    steps: int,
    shape: Shape = "exponential",
    seed: int = 0,
) -> RunSpec:
    """The spec of a range test: its largest rate is the base learning rate.

    Args:
        task: a task's name.
        optimizer: without its learning rate.
        low: > 0; the rate of the first update, and
        high: > low; of the last.
        steps: >= 20; updates, where the loss does not diverge before.
        shape: as for `ramp`.
        seed: of all chance.
    Raises:
        BadInput: a value out of its range.
    Example:
        >>> from lrcontrol.runs.method import SGD
        >>> spec = range_spec("digits-mlp", SGD(), low=1e-4, high=1.0, steps=100, shape="linear")
        >>> str(spec.method), spec.base_lr
        ('sgd:stop_on_divergence(linear(start=0.0001, end=1, at=closed))', 1.0)
    """
    steps = checks.integer("steps", steps, low=FEWEST)
    control = StopOnDivergence(Scheduled(ramp(low, high, shape)))
    return RunSpec(task=task, method=Method(optimizer, control), base_lr=high, total_steps=steps, seed=seed)
