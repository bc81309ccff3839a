"""Records compared: what was run in which stage, and how the methods stand there."""

from collections.abc import Sequence

import msgspec

from lrcontrol.runs.record import Outcome, Record

__all__ = ["Stage", "Standing", "accuracy_error", "best_record", "stage_name", "standings"]


class Stage(msgspec.Struct, frozen=True):
    """Runs of equal length that were compared with one another.

    Args:
        name: for people, such as "race, 1/9 of the horizon".
        total_steps: the horizon every one of them was laid over.
        records: all of them, in the order asked.
        kept: ids of those that went on to the next stage.
    """

    name: str
    total_steps: int
    records: tuple[Record, ...]
    kept: frozenset[str] = frozenset()

    @property
    def cost(self) -> int:
        """Updates made in this stage."""
        return sum(record.charged for record in self.records)


class Standing(msgspec.Struct, frozen=True):
    """How one method did at its own best base learning rate among runs of equal length.

    Args:
        method: its text, as people are shown it.
        best: its best record.
        runs: how many base learning rates (and seeds) were tried.
        diverged: how many of them diverged.
        failed: how many of them failed.
        kept: how many went on to the next stage.
    """

    method: str
    best: Record
    runs: int
    diverged: int
    failed: int
    kept: int


def standings(stage: Stage) -> list[Standing]:
    """Every method of the stage at its own best base learning rate, the best first; ties in the order asked.

    A shape must be compared at its own best rate: the ranking of schedules depends on the rate
    (Schaipp et al. 2025, arXiv:2501.18965).
    """
    groups: dict[str, list[Record]] = {}
    for record in stage.records:
        groups.setdefault(record.spec.method.label, []).append(record)
    rows = [
        Standing(
            method=name,
            best=min(records, key=lambda record: record.rank_key),
            runs=len(records),
            diverged=sum(record.outcome is Outcome.DIVERGED for record in records),
            failed=sum(record.outcome is Outcome.FAILED for record in records),
            kept=sum(record.id in stage.kept for record in records),
        )
        for name, records in groups.items()
    ]
    return sorted(rows, key=lambda row: row.best.rank_key)


def best_record(records: Sequence[Record]) -> Record | None:
    """The usable record with the best final metric, ties in the order given; None where none is usable."""
    usable = [record for record in records if record.usable]
    return min(usable, key=lambda record: record.rank_key, default=None)


def accuracy_error(accuracy: float, count: int) -> float:
    """The standard error of an accuracy on `count` examples, above 0 also where all are right.

    Source:
        Agresti, Coull 1998, The American Statistician 52:119 (two successes and two failures added).

    Example:
        >>> round(accuracy_error(0.5, 96), 4), accuracy_error(1.0, 96) > 0
        (0.05, True)
    """
    share = (accuracy * count + 2) / (count + 4)
    return float((share * (1 - share) / (count + 4)) ** 0.5)


def stage_name(steps: int, full_steps: int) -> str:
    """What people call a stage of runs over `steps` of `full_steps`.

    Example:
        >>> stage_name(110, 990), stage_name(990, 990)
        ('race over 110 steps (1/9)', 'full runs')
    """
    return "full runs" if steps == full_steps else f"race over {steps} steps (1/{round(full_steps / steps)})"
