"""Successive halving: many candidates for few steps, the best of them for more."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.search.search import Candidate, pending

__all__ = ["Rung", "RungRecords", "SuccessiveHalving", "rungs_within"]


REDUCTION_FACTOR = 3
SHORTEST = 20  # updates; a shorter run says nothing of a longer one
MOST_RUNGS = 3


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A length at which candidates are compared.

    Args:
        steps: >= 1; updates of each run.
        count: >= 1; how many candidates run here: in the first rung the first ones, then the best of the rung before.
        horizon: `compressed`: the whole schedule is laid over `steps`; `cut`: it is laid over the full horizon, and
            the run stops after `steps`. A cut run of a decaying schedule has not yet decayed, so what cut rungs
            compare is not what a full run would give. `continued`: cut, and who is promoted goes on from the
            checkpoint of the rung before, instead of beginning anew.
    """

    steps: int
    count: int
    horizon: Literal["compressed", "cut", "continued"] = "compressed"

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps, low=1)
        checks.integer("count", self.count, low=1)
        checks.one_of("horizon of a rung", self.horizon, ("compressed", "cut", "continued"))


class RungRecords(NamedTuple):
    """A rung that is done or under way: what it asks for, what has been answered, and who went on."""

    rung: Rung
    specs: tuple[RunSpec, ...]
    records: tuple[Record, ...]
    kept: frozenset[str]


class SuccessiveHalving(msgspec.Struct, frozen=True):
    """Candidates raced over rungs; a rung begins when all of the one before have answered.

    Args:
        task: its name.
        candidates: in the order in which ties are broken.
        rungs: from short to long; counts must not rise.
        full_steps: the full horizon, which cut rungs are laid over.
        seed: of every run.
        save_last: whether the runs of the last rung keep their weights.
        closed: how many rungs begin no further run, because time is short: who has answered there is compared.

    Raises:
        BadInput: no candidate or rung, counts that rise, or steps that do not. DoesNotFit: a schedule is longer than
            a rung; give its parts as shares.
    Source:
        Jamieson, Talwalkar 2016, arXiv:1502.07943, algorithm 1 (with given rungs instead of a fixed budget split).

    Example:
        >>> candidates = [Candidate("sgd:cosine", lr) for lr in (0.01, 0.1, 1.0)]
        >>> race = SuccessiveHalving("digits-mlp", tuple(candidates), (Rung(100, 3), Rung(300, 1)), full_steps=300)
        >>> [spec.total_steps for spec in race.propose([], [], room=8, budget=Budget(steps=600, full_steps=300))]
        [100, 100, 100]
    """

    task: str
    candidates: tuple[Candidate, ...]
    rungs: tuple[Rung, ...]
    full_steps: int
    seed: int = 0
    save_last: bool = False
    closed: int = 0

    def __post_init__(self) -> None:
        if not self.rungs or not self.candidates:
            raise BadInput("successive halving must have at least one candidate and one rung.")
        if len(set(self.candidates)) < len(self.candidates):
            raise BadInput("the candidates of successive halving must differ from one another.")
        counts = [len(self.candidates), *(rung.count for rung in self.rungs)]
        if counts != sorted(counts, reverse=True):
            raise BadInput(f"the counts of rungs must not rise above those before, got {counts[1:]} of {counts[0]}.")
        lengths = [rung.steps for rung in self.rungs]
        if any(length > self.full_steps for length in lengths) or lengths != sorted(lengths):
            raise BadInput(f"the steps of rungs must rise, up to full_steps={self.full_steps}, got {lengths}.")
        for rung in self.rungs:
            horizon = rung.steps if rung.horizon == "compressed" else self.full_steps
            for method in {candidate.method for candidate in self.candidates}:
                method.control.check_fits(method.updates_for(horizon))

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early."""
        return sum(self._costs)

    @property
    def _costs(self) -> list[int]:
        before = (0, *(rung.steps for rung in self.rungs))
        return [
            (rung.steps - (done if rung.horizon == "continued" else 0)) * rung.count
            for rung, done in zip(self.rungs, before, strict=False)
        ]

    def through(self, records: Sequence[Record]) -> int:
        """Updates that are planned for the rung under way and those before it, where none ends early."""
        return sum(self._costs[: len(self.progress(records))])

    def closing(self, records: Sequence[Record]) -> int:
        """What `closed` is where the rung under way begins no further run; 0 where nobody could go on from it."""
        rungs = self.progress(records)
        return len(rungs) if len(rungs) < len(self.rungs) and any(map(_is_usable, rungs[-1].records)) else 0

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The next runs of the rung that is under way; the rungs were planned within the budget."""
        del budget
        under_way = self.progress(records)[-1]
        return pending(under_way.specs, records, running, room)

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this search."""
        return [record for rung in self.progress(records) for record in rung.records]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """The runs whose checkpoints may still be gone on from."""
        under_way = self.progress(records)[-1]
        answered = {record.id for record in under_way.records}
        starts = (spec.start.run for spec in under_way.specs if spec.start is not None and spec.id not in answered)
        return frozenset(starts) | {spec.id for spec in under_way.specs if spec.checkpoint}

    def progress(self, records: Sequence[Record]) -> list[RungRecords]:
        """The rungs so far, the last of them under way or (where all have answered) done."""
        known = {record.id: record for record in records}
        field: list[tuple[Candidate, RunSpec | None]] = [(candidate, None) for candidate in self.candidates]
        result: list[RungRecords] = []
        for index, rung in enumerate(self.rungs):
            last = index + 1 == len(self.rungs)
            entered = [(candidate, self._spec(candidate, before, index)) for candidate, before in field[: rung.count]]
            if index < self.closed and not last:
                entered = [(candidate, spec) for candidate, spec in entered if spec.id in known]
            specs = tuple(spec for _, spec in entered)
            answered = tuple(known[spec.id] for spec in specs if spec.id in known)
            if last or len(answered) < len(specs):
                return [*result, RungRecords(rung, specs, answered, frozenset())]
            ranked = sorted(
                (place for place, record in enumerate(answered) if record.usable),
                key=lambda place: (answered[place].rank_key, place),
            )[: self.rungs[index + 1].count]
            result.append(RungRecords(rung, specs, answered, frozenset(answered[place].id for place in ranked)))
            field = [entered[place] for place in ranked]
            if not field:
                return result
        raise AssertionError("the last rung returns")

    def _spec(self, candidate: Candidate, before: RunSpec | None, index: int) -> RunSpec:
        """What a candidate runs in a rung, after what it ran in the one before."""
        rung, last = self.rungs[index], index + 1 == len(self.rungs)
        steps = candidate.method.updates_for(rung.steps)
        goes_on = before is not None and rung.horizon == "continued" and before.stop_step < steps
        return RunSpec(
            task=self.task,
            method=candidate.method,
            base_lr=candidate.base_lr,
            total_steps=steps if rung.horizon == "compressed" else candidate.method.updates_for(self.full_steps),
            stop_step=steps,
            seed=self.seed,
            save=self.save_last and last,
            start=Start(before.id, before.stop_step) if goes_on and before is not None else None,
            checkpoint=not last and self.rungs[index + 1].horizon == "continued",
        )


def _is_usable(record: Record) -> bool:
    return record.usable


def rungs_within(
    steps: int, full: int, candidates: int, horizon: Literal["compressed", "cut", "continued"] = "compressed"
) -> tuple[Rung, ...]:
    """Rungs of equal cost within `steps` updates, the last at the full horizon; none where there is no run to pay.

    With `s + 1` rungs at full, 1/3 and 1/9 of the horizon every rung gets the same share, so that
    `m = steps // (full * (s + 1))` candidates reach the last and `m * 3**s` enter the first; what is left over
    lets more in. There are as many rungs, up to three, as leave each at least a third of its candidates to drop.

    Args:
        steps: updates for all rungs together.
        full: updates of a full run.
        candidates: how many there are.
        horizon: of every rung. Continued ones cost less than reckoned here, as nobody begins anew.

    Example:
        >>> [(rung.steps, rung.count) for rung in rungs_within(1900, full=100, candidates=59)]
        [(33, 30), (100, 9)]
    """
    if not candidates:
        return ()
    if steps // full >= candidates:  # enough for everyone in full: no need to race
        return (Rung(full, candidates, horizon),)
    for count in range(MOST_RUNGS, 0, -1):
        lengths = [full // REDUCTION_FACTOR**power for power in range(count - 1, -1, -1)]
        finalists = steps // (count * full)
        if finalists == 0 or (count > 1 and lengths[0] < SHORTEST):
            continue
        counts = [min(finalists * REDUCTION_FACTOR**power, candidates) for power in range(count - 1, -1, -1)]
        left = steps - sum(length * number for length, number in zip(lengths, counts, strict=True))
        for place, length in enumerate(lengths):
            most = candidates if place == 0 else counts[place - 1]
            more = min(max(left // length, 0), most - counts[place])
            counts[place] += more
            left -= more * length
        if any(before < 1.5 * after for before, after in pairwise(counts)):
            continue  # a rung that ends hardly anyone's race is better spent on longer runs
        return tuple(Rung(length, number, horizon) for length, number in zip(lengths, counts, strict=True))
    return ()
