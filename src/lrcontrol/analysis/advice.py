"""Advice: what the bound says of other schedules and horizons, given the gradient norms of one run.

Which shape is best here, and how does the base learning rate change with the shape and the horizon?
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.analysis.bound import Bound, best_multipliers, last_iterate_bound
from lrcontrol.analysis.readings import Numbers, spread
from lrcontrol.errors import BadInput
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import shortened

__all__ = ["MOST", "Advice", "Advised", "advised"]

MOST = 10_000_000  # steps of a horizon


class Advised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One schedule over one horizon, under the norms of the log.

    Args:
        name: the schedule's text, or what it is called.
        total_steps: its horizon.
        lr_ratio: > 0; its best base learning rate over that of the schedule the log was made with. Where the bound
            has no say (the lowest of all bounds) it is that of its largest multiplier.
        bound_ratio: > 0; its bound at its best base rate over the other's at its own; below 1 is better.
        base_lr: the rate, where the one of the log is known.
    """

    name: str
    total_steps: int
    lr_ratio: float
    bound_ratio: float
    base_lr: float | None = None


class Advice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bound says.

    Args:
        observed: the schedule that the log was made with, over its own horizon.
        rows: the others, the lowest bound first.
        lowest: the schedule with the lowest bound of all, over the new horizon: no shape can promise more.
        notes: sentences on what bears on it.
    """

    observed: Advised
    rows: tuple[Advised, ...]
    lowest: Advised
    notes: tuple[str, ...] = ()


def advised(
    norms: Numbers,
    edges: Numbers,
    observed: Schedule,
    others: Mapping[str, Schedule],
    steps: int,
    new_steps: int,
    base_lr: float | None = None,
    *,
    name: str | None = None,
    notes: Sequence[str] = (),
) -> Advice:
    """The bound of other schedules beside that of the one which a log was made with.

    The distance from the start to the optimum, which nobody knows, is taken to be the same: it leaves every ratio.

    Args:
        norms: shape (readings,), finite, > 0.
        edges: shape (readings + 1,); where the steps that a reading stands for begin and end.
        observed: the schedule in force when the norms were read.
        others: to compare, by the names they are told by.
        steps: the horizon of the log's run.
        new_steps: that of the runs to come.
        base_lr: > 0; the best base learning rate known for `observed` over `steps`.
        name: what `observed` is called; by default its text.
        notes: sentences on the log that the advice is to hold.
    Raises:
        DoesNotFit: a schedule is longer than its horizon.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, theorem 10; that it foretells the order of
        schedules and how their best rates differ: Schaipp, Hägele, Taylor, Simsekli, Bach 2025, arXiv:2501.18965.
    Example:
        >>> import lrcontrol as lrc
        >>> given = advised(np.ones(100), np.arange(101.0), lrc.linear(), {"constant": lrc.constant()}, 100, 400)
        >>> row = given.rows[0]
        >>> row.name, round(row.lr_ratio, 2), round(row.bound_ratio, 2)
        ('constant', 0.19, 0.68)
    """
    if base_lr is not None:
        base_lr = checks.number("base_lr", base_lr, low=0, open_low=True)
    steps = checks.integer("steps", steps, low=1, high=MOST)
    new_steps = checks.integer("new_steps", new_steps, low=1, high=MOST)
    known = spread(norms, edges, steps)
    coming = known if new_steps == steps else spread(norms, edges, new_steps)
    start = _bound(observed, steps, known)

    def row(called: str, bound: Bound, total: int) -> Advised:
        ratio = bound.base_lr / start.base_lr
        return Advised(called, total, ratio, bound.value / start.value, None if base_lr is None else base_lr * ratio)

    rows = [row(called, _bound(each, new_steps, coming), new_steps) for called, each in others.items()]
    lowest = best_multipliers(coming)
    return Advice(
        observed=Advised(shortened(str(observed)) if name is None else name, steps, 1.0, 1.0, base_lr),
        rows=tuple(sorted(rows, key=lambda each: each.bound_ratio)),
        lowest=row("the lowest bound", last_iterate_bound(lowest, coming), new_steps),
        notes=tuple(notes),
    )


def _bound(schedule: Schedule, total: int, norms: Numbers) -> Bound:
    multipliers = schedule.multipliers(total)
    if not np.any(multipliers):
        raise BadInput(f"a schedule must not be 0 at every step, got {schedule} over {total} steps.")
    return last_iterate_bound(multipliers, norms)
