"""The face of a search, and the parts that searches share."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from lrcontrol import checks
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Candidate", "Search", "affordable", "pending"]


class Search(Protocol):
    """Which runs to make next. Pure: the same records, the same answer; so a search resumes by being asked again."""

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The runs to begin now: at most `room`; none when all is done or the answers of `running` are needed."""

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this search."""

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """The runs whose checkpoints may still be gone on from; those of all others can be dropped."""

    @property
    def cost(self) -> int:
        """Updates of all runs that are planned, where none ends early."""


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What searches choose between: a method at a base learning rate.

    Args:
        method: optimizer and control, or their text.
        base_lr: > 0.
    """

    method: Method
    base_lr: float

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "method", parse_method(self.method))
        msgspec.structs.force_setattr(self, "base_lr", checks.number("base_lr", self.base_lr, low=0, open_low=True))

    def __str__(self) -> str:
        return f"{self.method} at {self.base_lr:g}"


def pending(
    plan: Iterable[RunSpec], records: Sequence[Record], running: Sequence[RunSpec], room: int
) -> list[RunSpec]:
    """The first `room` specs of `plan` that neither ran nor run."""
    taken = {record.id for record in records} | {spec.id for spec in running}
    chosen: list[RunSpec] = []
    for spec in plan:
        if len(chosen) >= room:
            break
        if spec.id not in taken:
            taken.add(spec.id)
            chosen.append(spec)
    return chosen


def affordable(plan: Sequence[RunSpec], budget: Budget) -> list[RunSpec]:
    """The longest beginning of `plan` whose updates fit the budget; it does not depend on what has run."""
    chosen, left = [], budget.steps
    for spec in plan:
        left -= spec.charge
        if left < 0:
            break
        chosen.append(spec)
    return chosen
