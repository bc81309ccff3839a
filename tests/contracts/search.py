"""What every search must do; a new one is a line in the list of tests/test_search.py. With a world that is a fake."""

import copy
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

ACCURACY = Objective("accuracy", "maximize")
Truth = Callable[[RunSpec], Record]


def answer(spec: RunSpec, final: float = 0.5, loss: float = 1.0, objective: Objective = ACCURACY) -> Record:
    """The record of a run that finished."""
    evals = (Evaluation(spec.stop_step, {"loss": loss, objective.metric: final}),)
    return Record(spec=spec, outcome=Outcome.FINISHED, objective=objective, evals=evals, cost=Cost(spec.updates, 0.0))


def diverged(spec: RunSpec, steps: int = 1, objective: Objective = ACCURACY) -> Record:
    """The record of a run that diverged after `steps` updates; it looked splendid until then."""
    evals = (Evaluation(steps, {"loss": 0.0, objective.metric: 1.0}),)
    return Record(
        spec=spec,
        outcome=Outcome.DIVERGED,
        objective=objective,
        evals=evals,
        cost=Cost(min(steps, spec.updates), 0.0),
        message=f"the loss was not finite at update {steps - 1}",
    )


def failed(spec: RunSpec, objective: Objective = ACCURACY) -> Record:
    """The record of a run that raised: a traceback of several lines."""
    message = 'Traceback (most recent call last):\n  File "task.py", line 1, in train\nRuntimeError: no such device\n'
    return Record(
        spec=spec, outcome=Outcome.FAILED, objective=objective, cost=Cost(spec.updates, 0.0), message=message
    )


def chance(spec: RunSpec, salt: str = "") -> float:
    """A number in [0, 1) that follows from the spec alone."""
    return int(hashlib.sha256(salt.encode() + spec.to_json()).hexdigest()[:12], 16) / 16**12


def mixed(spec: RunSpec) -> Record:
    """Most runs finish with any accuracy (of eleven, so that ties occur), some diverge, some fail."""
    if chance(spec, "diverged") < 0.15:
        return diverged(spec, 1 + int(chance(spec, "steps") * spec.stop_step))
    if chance(spec, "failed") < 0.1:
        return failed(spec)
    return answer(spec, round(10 * chance(spec)) / 10, round(4 * chance(spec, "loss")) / 4)


TRUTHS: dict[str, Truth] = {
    "mixed": mixed,
    "all finish": lambda spec: answer(spec, chance(spec), chance(spec, "loss")),
    "all tie": answer,
    "all diverge": diverged,
    "all fail": failed,
}


class Answers:
    """An executor whose runs end at once, in any order."""

    def __init__(self, truth: Truth, slots: int, seed: int) -> None:
        self._truth, self._slots, self._chance = truth, slots, random.Random(seed)
        self.running: list[RunSpec] = []
        self.ran: list[RunSpec] = []

    @property
    def room(self) -> int:
        return self._slots - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        assert self.room > 0
        self.running.append(spec)
        self.ran.append(spec)

    def wait(self) -> list[Record]:
        count = self._chance.randint(1, min(3, len(self.running)))
        return [self._truth(self.running.pop(self._chance.randrange(len(self.running)))) for _ in range(count)]

    def close(self) -> None:
        self.running.clear()


class Kept:
    """A store in memory."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self._records = {record.id: record for record in records}

    def add_all(self, records: Sequence[Record]) -> None:
        for record in records:
            before = self._records.get(record.id)
            again = "only what failed in an earlier call is run again"
            assert before is None or before.outcome is Outcome.FAILED, again
            self._records[record.id] = record

    def records(self) -> list[Record]:
        return list(self._records.values())


class Watched:
    """A search whose every proposal is held to the laws."""

    def __init__(self, search: Any) -> None:
        self._search = search
        self.proposals = 0

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        before = (list(records), list(running))  # what they hold is frozen
        proposed: list[RunSpec] = self._search.propose(records, running, room, budget)
        assert (records, running) == before, "the arguments are left alone"
        mixed_up = random.Random(self.proposals).sample(records, len(records))
        assert self._search.propose(mixed_up, running[::-1], room, budget) == proposed, "a pure function of a set"
        ids = [spec.id for spec in proposed]
        assert len(ids) <= max(room, 0)
        assert len(set(ids)) == len(ids)
        assert not set(ids) & {record.id for record in records}
        assert not set(ids) & {spec.id for spec in running}
        self.proposals += 1
        assert self.proposals < 10_000, "it ends"
        return proposed


def carried(
    search: Any,
    truth: Truth,
    budget: Budget,
    *,
    slots: int = 1,
    seed: int = 0,
    known: Sequence[Record] = (),
    watched: bool = True,
) -> list[Record]:
    """The records after a search was carried out in a world of this truth; if `watched`, held to the laws."""
    store = Kept(known)
    carry_out(Watched(search) if watched else search, Answers(truth, slots, seed), store, budget)  # type: ignore[arg-type]
    return store.records()


class SearchContract:
    """Inherit, and give `search` and a `budget` that pays for it in part or in whole."""

    @pytest.fixture
    def search(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def budget(self) -> Budget:
        raise NotImplementedError

    @pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
    @pytest.mark.parametrize("slots", [1, 3, 100])
    def test_it_ends_within_the_budget_and_every_proposal_is_lawful(
        self, search: Any, budget: Budget, truth: Truth, slots: int
    ) -> None:
        records = carried(search, truth, budget, slots=slots)
        assert records
        assert sum(record.spec.stop_step for record in records) <= budget.steps
        assert budget.spent(records) <= budget.steps
        assert search.propose(records, [], 100, budget) == []

    @pytest.mark.parametrize("truth", ["mixed", "all tie"])
    def test_what_runs_does_not_depend_on_the_order_of_answers(self, search: Any, budget: Budget, truth: str) -> None:
        alone = {record.id: record for record in carried(search, TRUTHS[truth], budget)}
        for slots, seed in ((7, 2), (100, 3)):
            raced = carried(search, TRUTHS[truth], budget, slots=slots, seed=seed)
            assert {record.id: record for record in raced} == alone

    def test_a_search_that_was_ended_anywhere_goes_on_where_it_was(self, search: Any, budget: Budget) -> None:
        whole = carried(search, mixed, budget)
        for done in sorted({0, 1, len(whole), *(len(whole) * part // 4 for part in range(4))}):
            assert carried(search, mixed, budget, known=whole[:done]) == whole

    def test_records_of_others_change_nothing(self, search: Any, budget: Budget) -> None:
        whole = carried(search, mixed, budget)
        strangers = [
            answer(msgspec.structs.replace(record.spec, seed=record.spec.seed + 1000), 1.0) for record in whole
        ]
        assert carried(search, mixed, budget, known=strangers) == [*strangers, *whole]
        own = search.answered([*strangers, *whole])
        assert {record.id for record in own} == {record.id for record in whole}
        assert len(own) == len(whole)

    def test_no_room_no_runs(self, search: Any, budget: Budget) -> None:
        for room in (0, -1):
            assert search.propose([], [], room, budget) == []

    def test_the_planned_cost_is_what_is_spent_where_all_finish(self, search: Any, budget: Budget) -> None:
        records = carried(search, TRUTHS["all finish"], budget)
        assert budget.spent(records) == sum(record.spec.updates for record in records)
        if search.cost <= budget.steps:
            assert budget.spent(records) == search.cost

    def test_the_same_search_is_equal_and_says_the_same(self, search: Any, budget: Budget) -> None:
        twin = copy.deepcopy(search)
        assert twin == search
        assert twin.propose([], [], 100, budget) == search.propose([], [], 100, budget)
