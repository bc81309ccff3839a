"""Budget: how many updates a study may make, everything included, and what is left."""

import re
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Budget"]


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number of updates of one task.

    Every update counts once: of runs that were abandoned, diverged or failed, of comparisons, and of the final run.

    Args:
        steps: >= 1.
        full_steps: >= 1; updates of one full run of the task, for telling steps as runs.
    Example:
        >>> Budget.parse("2.5runs", full_steps=100)
        Budget(steps=250, full_steps=100)
    """

    steps: int
    full_steps: int

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps, low=1)
        checks.integer("full_steps", self.full_steps, low=1)

    @classmethod
    def parse(cls, text: "str | Budget", full_steps: int) -> "Budget":
        """The budget that a text such as `20runs` or `5000steps` gives a task whose full run has `full_steps`."""
        if isinstance(text, Budget):
            return text
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(runs?|steps?)\s*", text) if isinstance(text, str) else None
        if found is None:
            raise BadInput(f"a budget must be like '20runs' or '5000steps', got {checks.shown(text)}.")
        amount, unit = Decimal(found[1]), found[2]  # a float would make 2.3 runs of 100 steps 229 steps
        steps = amount * full_steps if unit.startswith("run") else amount
        if unit.startswith("step") and amount != int(amount):
            raise BadInput(f"a budget in steps must be a whole number, got {checks.shown(text)}.")
        if steps > checks.LARGEST_STEP:
            raise BadInput(f"a budget must be at most {checks.LARGEST_STEP} steps, got {checks.shown(text)}.")
        if steps < 1:
            raise BadInput(f"a budget must be at least one step, got {checks.shown(text)}.")
        return cls(int(steps), full_steps)

    def spent(self, records: Iterable[Record]) -> int:
        """Updates of these runs, each as if it were alone: what was shared on the way is saved time, not a discount."""
        return sum(record.cost.steps for record in records)

    def left(self, records: Iterable[Record], running: Iterable[RunSpec] = ()) -> int:
        """Updates left when these runs are paid and those that still run have made all of theirs."""
        return self.steps - self.spent(records) - sum(spec.updates for spec in running)

    def runs(self, steps: float) -> str:
        """`steps` told as full runs.

        Example:
            >>> Budget(steps=100, full_steps=100).runs(150)
            '1.5 runs'
        """
        amount = f"{steps / self.full_steps:.3g}"
        return f"{amount} run" if amount == "1" else f"{amount} runs"
