"""What is told of a budget of which a search leaves a part: true of the plan, and silent where nothing is asked."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from contracts.search import Truth, answer, carried, diverged, failed, mixed
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Record
from lrcontrol.search.halving import SuccessiveHalving, rungs_within
from lrcontrol.search.plan import grid, random_draws
from lrcontrol.search.refinement import Asked, refinement_within
from lrcontrol.search.search import Candidate, Search
from lrcontrol.selection.choice import choose
from lrcontrol.selection.left_over import left_over
from lrcontrol.selection.portfolio import DEFAULT
from lrcontrol.selection.race import plan_race
from lrcontrol.selection.stages import search_reasons, stages_of
from lrcontrol.training.tasks.catalogue import TASKS

TASK = TASKS["digits-cnn"]
FULL = TASK.full_steps
ENTERED = tuple(Candidate(f"sgd:{each}", lr) for each in ("rex", "cosine", "linear") for lr in (0.3, 0.1, 0.03, 0.01))  # type: ignore[arg-type]


def of(runs: float) -> Budget:
    return Budget(round(runs * FULL), FULL)


def halving(runs: float, *, horizon: str = "compressed", entered: Sequence[Candidate] = ENTERED) -> SuccessiveHalving:
    rungs = rungs_within(of(runs).steps, FULL, len(entered), horizon)  # type: ignore[arg-type]
    return SuccessiveHalving(TASK.name, tuple(entered), rungs, FULL)


def told(way: Search, runs: float, truth: Truth = answer) -> list[str]:
    return left_over(way, records_of(way, runs, truth), of(runs))


def records_of(way: Search, runs: float, truth: Truth = answer) -> list[Record]:
    return way.answered(carried(way, truth, of(runs), slots=4, seed=0, watched=False))


def refined(runs: float, truth: Truth = answer, asked: bool = True) -> list[str]:
    entered = [Candidate("sgd:warmup(0.05)+linear", lr) for lr in (0.1, 0.03)]  # type: ignore[arg-type]

    def refine(_: str) -> Asked | str:
        return Asked(Candidate("sgd:rex", 0.1).method, 0.1) if asked else "nothing"  # type: ignore[arg-type]

    return told(refinement_within(TASK.name, entered, refine, of(runs), FULL), runs, truth)


def of_grid(runs: float, truth: Truth = answer) -> list[str]:
    return told(grid(TASK.name, ["sgd:rex", "sgd:cosine"], [0.1, 0.2], FULL), runs, truth)


def of_draws(runs: float) -> list[str]:
    return told(random_draws(TASK.name, ["sgd:rex", "sgd:cosine"], 0.1, 1.0, int(runs), FULL), runs)


def of_halving(runs: float, truth: Truth = answer, **more: Any) -> list[str]:
    return told(halving(runs, **more), runs, truth)


ALL_REFINED = "all 2 candidates were run in full, and refined as often as was asked"
LOST = "fewer runs went on than were planned for, as others were lost"
LEFT = {
    "half a run of halving": (of_halving(1.5), "0.5 runs are left: that pays for no further run over 330 steps"),
    "a third of a rung": (of_halving(2.5), "0.167 runs are left: that pays for no further run over 110 steps"),
    "nothing": (of_halving(3), None),
    "more than there is": (of_halving(13), "1 run is left: all 12 candidates were run in full"),
    "one alone": (of_halving(3, entered=ENTERED[:1]), "2 runs are left: the one candidate was run in full"),
    "continued": (
        of_halving(3, horizon="continued"),
        "0.679 runs are left: runs that go on from others cost less than runs that begin anew",
    ),
    "lost": (of_halving(9, failed), f"5 runs are left: {LOST}"),
    "half a run of a grid": (of_grid(3.5), "0.5 runs are left: that pays for no further run over 330 steps"),
    "a grid": (of_grid(4), None),
    "more than a grid": (of_grid(5.5), "1.5 runs are left: all 4 runs were made that were planned"),
    "diverged": (of_grid(4, diverged), "3.99 runs are left: runs ended early"),
    "draws": (of_draws(3.4), "0.4 runs are left: that pays for no further run over 330 steps"),
    "half a run of a refinement": (refined(4.5), "0.5 runs are left: that pays for no further run over 330 steps"),
    "a refinement": (refined(5), None),
    "more than a refinement": (refined(7), f"2 runs are left: {ALL_REFINED}"),
    "refused": (refined(5, asked=False), "3 runs are left: fewer schedules were refined than were planned for"),
    "nothing to refine": (refined(5, failed), "3 runs are left: fewer schedules were refined than were planned for"),
}


@pytest.mark.parametrize("case", LEFT)
def test_why_a_part_of_a_budget_is_left_is_told(case: str) -> None:
    sentences, wanted = LEFT[case]
    assert sentences == ([] if wanted is None else [f"Of the budget {wanted}."])


@pytest.mark.parametrize("truth", [answer, mixed, diverged, failed])
@pytest.mark.parametrize("horizon", ["compressed", "continued", "cut"])
def test_what_no_rung_pays_for_is_true_and_a_good_part_is_never_left_in_silence(truth: Truth, horizon: str) -> None:
    for tenths in range(10, 140, 3):
        runs = tenths / 10
        way = halving(runs, horizon=horizon)
        records = records_of(way, runs, truth)
        sentences = left_over(way, records, of(runs))
        left = of(runs).left(records)
        assert bool(sentences) >= (left > 0.15 * of(runs).steps)
        assert left >= 0.05 * of(runs).steps or not sentences
        for steps in re.findall(r"no further run over (\d+)", " ".join(sentences)):
            assert of(runs).steps - way.cost < int(steps)
            assert int(steps) in {rung.steps for rung in way.rungs}


def test_a_selection_and_a_search_tell_it_before_what_was_spent() -> None:
    race = plan_race(TASK, of(3), [Candidate("sgd:rex", 0.1)], DEFAULT, 0)  # type: ignore[arg-type]
    choice = choose(race, records_of(race, 3), TASK, of(3))
    assert choice.reasons[-2:] == (
        "Of the budget 1 run is left: the one candidate was run in full.",
        "Spent 2 runs of 3 runs, everything included.",
    )
    alone = plan_race(TASK, of(2.5), [DEFAULT], DEFAULT, 0)
    assert left_over(alone, records_of(alone, 2.5), of(2.5)) == [
        "Of the budget 1.5 runs are left: there was no other candidate."
    ]
    way = halving(2.5)
    records = records_of(way, 2.5)
    reasons = search_reasons(way, stages_of(way, records, FULL), of(2.5))
    assert reasons[-2:] == [*left_over(way, records, of(2.5)), "Spent 2.33 runs of 2.5 runs, everything included."]


def test_where_time_was_short_that_is_what_is_told() -> None:
    """Not what a budget would not pay for: neither of rungs that were closed nor of runs that are missing."""
    way = halving(9)
    records = records_of(way, 9)
    assert left_over(way, records[:3], of(9)) == []
    closed = msgspec.structs.replace(way, closed=1)
    few = carried(closed, answer, of(9), slots=4, seed=0, watched=False)
    assert left_over(closed, closed.answered(few), of(9)) == []
