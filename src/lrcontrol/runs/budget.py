"""Budget: how many updates a study may make, everything included, in how much time, and what is left."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["Budget"]

_UNITS = {
    **dict.fromkeys(("run", "runs"), "runs"),
    **dict.fromkeys(("step", "steps"), "steps"),
    **dict.fromkeys(("ep", "epoch", "epochs"), "epochs"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
}
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_LONGEST = 10**9  # seconds: 31 years


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A number of updates of one task, and perhaps a time by which they must be made.

    Every update counts once, and where a control computes a second gradient for it twice: of runs that were abandoned,
    diverged or failed, of comparisons, and of the final run.

    Args:
        steps: >= 1.
        full_steps: >= 1; updates of one full run of the task, for telling steps as runs.
        seconds: > 0; of wall-clock time, where the budget is one: `steps` is then what was reckoned to fit in it.
    Example:
        >>> Budget.parse("2.5runs", full_steps=100)
        Budget(steps=250, full_steps=100, seconds=None)
    """

    steps: int
    full_steps: int
    seconds: float | None = None

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps, low=1)
        checks.integer("full_steps", self.full_steps, low=1)
        if self.seconds is not None:
            checks.number("seconds", self.seconds, low=0, open_low=True)

    @classmethod
    def parse(
        cls,
        text: "str | Budget",
        full_steps: int,
        *,
        steps_per_epoch: int | None = None,
        steps_in: Callable[[float], int] | None = None,
    ) -> "Budget":
        """The budget that a text gives a task whose full run has `full_steps`.

        Args:
            text: `20runs`, `5000steps`, `50epochs`, or a time: `90s`, `30min`, `2h`.
            full_steps: >= 1.
            steps_per_epoch: of the task, where it has epochs.
            steps_in: how many updates can be made in so many seconds, where that can be told; called for a time.
        """
        if isinstance(text, Budget):
            return text
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text) if isinstance(text, str) else None
        unit = _UNITS.get(found[2]) if found is not None else None
        if found is None or unit is None:
            raise BadInput(
                f"a budget must be like '20runs', '5000steps', '50epochs' or '30min', got {checks.shown(text)}."
            )
        amount, seconds = Decimal(found[1]), None  # a float would make 2.3 runs of 100 steps 229 steps
        match unit:
            case "runs":
                steps = amount * full_steps
            case "steps":
                steps = amount
                if amount != int(amount):
                    raise BadInput(f"a budget in steps must be a whole number, got {checks.shown(text)}.")
            case "epochs":
                if steps_per_epoch is None:
                    raise BadInput(f"a budget in epochs needs a task that has epochs, got {checks.shown(text)}.")
                steps = amount * steps_per_epoch
            case _:
                seconds = float(amount * _SECONDS[unit])
                if not 0 < seconds <= _LONGEST:
                    raise BadInput(f"a budget must be a time within (0, {_LONGEST}] s, got {checks.shown(text)}.")
                if steps_in is None:
                    raise BadInput(f"a budget must be in runs or steps here, got {checks.shown(text)}.")
                steps = Decimal(max(steps_in(seconds), 1))
        if steps > checks.LARGEST_STEP:
            raise BadInput(f"a budget must be at most {checks.LARGEST_STEP} steps, got {checks.shown(text)}.")
        if steps < 1:
            raise BadInput(f"a budget must be at least one step, got {checks.shown(text)}.")
        return cls(int(steps), full_steps, seconds)

    @staticmethod
    def is_time(text: object) -> bool:
        """Whether `parse` would have to reckon with the time that updates take.

        Example:
            >>> Budget.is_time("30min"), Budget.is_time("20runs")
            (True, False)
        """
        found = re.fullmatch(r"\s*[\d.]+\s*([a-z]+)\s*", text) if isinstance(text, str) else None
        return found is not None and _UNITS.get(found[1]) in _SECONDS

    def spent(self, records: Iterable[Record]) -> int:
        """Updates of these runs, each as if it were alone: what was shared is saved time, not a discount."""
        return sum(record.charged for record in records)

    def left(self, records: Iterable[Record], running: Iterable[RunSpec] = ()) -> int:
        """Updates left when these runs are paid and those that still run have made all of theirs."""
        return self.steps - self.spent(records) - sum(spec.charge for spec in running)

    def runs(self, steps: float) -> str:
        """`steps` told as full runs.

        Example:
            >>> Budget(steps=100, full_steps=100).runs(150)
            '1.5 runs'
        """
        amount = f"{steps / self.full_steps:.3g}"
        return f"{amount} run" if amount == "1" else f"{amount} runs"

    def told(self, spent: int | None = None) -> str:
        """The budget in words, or what was spent of it.

        Example:
            >>> Budget(steps=100, full_steps=50, seconds=1800.0).told()
            '30 min (reckoned as 2 runs)'
        """
        whole = self.runs(self.steps)
        if self.seconds is not None:
            time = f"{self.seconds:g} s" if self.seconds < 120 else f"{self.seconds / 60:g} min"
            whole = f"{time} (reckoned as {whole})"
        return whole if spent is None else f"{self.runs(spent)} of {whole}"
