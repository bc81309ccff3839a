"""The rate that the optimizer or the control of a run found, in numbers and sentences."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrcontrol.controls.alone import Alone
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.runs.record import Record

__all__ = ["Found", "found_text", "largest_found", "rates_found"]


class Found(NamedTuple):
    """The rates that were found in a run; the last is not finite where the run diverged at it."""

    by: Literal["optimizer", "control"]
    smallest: float
    largest: float
    last: float

    @property
    def told(self) -> dict[str, str | float | None]:
        """As JSON values."""
        return {
            "found_by": self.by,
            "smallest_found": self.smallest,
            "largest_found": self.largest,
            "last_found": self.last if math.isfinite(self.last) else None,
        }


def rates_found(record: Record) -> Found | None:
    """What the optimizer or the control of a run found, or None; the record has its columns."""
    rates = _column(record)
    if rates is None or not np.isfinite(rates).any():
        return None
    finite = rates[np.isfinite(rates)]
    by: Literal["optimizer", "control"] = "control" if record.found_rates is None else "optimizer"
    return Found(by, float(finite.min()), float(finite.max()), float(rates[-1]))


def largest_found(record: Record) -> float | None:
    """The largest of them, or None."""
    found = rates_found(record)
    return None if found is None else found.largest


def found_text(record: Record) -> list[str]:
    """Sentences on the rate that the optimizer or the control of a run found, where one did.

    Args:
        record: with its columns.
    """
    found = rates_found(record)
    if found is None:
        return []
    whose = "optimizer found" if found.by == "optimizer" else "control gave"
    told = [f"The rate that its {whose}: {found.largest:.3g} at its largest, {found.last:.3g} in the last update."]
    if record.usable and record.still_growing:
        told.append(
            f"That was still growing steeply, {record.growth:.3g} times what it was halfway: so short a run tells "
            "little of this optimizer."
        )
    return told


def _column(record: Record) -> NDArray[np.float64] | None:
    """The rate of every update where the optimizer or the control found it; None where it was known before."""
    if record.found_rates is not None:
        return record.found_rates
    control = record.spec.method.control
    while not isinstance(control, Alone | Scheduled):  # what only acts at cycle ends or on gradients finds no rate
        control = control.inner
    if isinstance(control, Scheduled) or not record.columns.get("lr", np.empty(0)).size:
        return None
    return record.column("lr").astype(np.float64)
