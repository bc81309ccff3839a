"""Budgets: read from text, everything counted, never exceeded by a plan."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.samples import record, spec
from lrcontrol.errors import BadInput, OverBudget
from lrcontrol.runs.budget import Budget
from lrcontrol.search.halving import rungs_within
from lrcontrol.selection.portfolio import DEFAULT, portfolio
from lrcontrol.selection.race import plan_race
from lrcontrol.training.tasks.catalogue import TASKS


@pytest.mark.parametrize(
    ("text", "steps"), [("20runs", 2000), ("1run", 100), (" 2.5 runs ", 250), ("750steps", 750), ("1 step", 1)]
)
def test_a_budget_is_read_from_text(text: str, steps: int) -> None:
    assert Budget.parse(text, full_steps=100) == Budget(steps, 100)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5 min", 90), ("2h", 7200), ("30 minutes", 1800)])
def test_a_budget_in_time_is_reckoned_in_updates(text: str, seconds: float) -> None:
    assert Budget.is_time(text)
    made = Budget.parse(text, full_steps=100, steps_in=lambda asked: int(asked * 3))
    assert made == Budget(int(seconds * 3), 100, seconds)
    with pytest.raises(BadInput, match="must be in runs or steps here"):
        Budget.parse(text, full_steps=100)


def test_a_budget_in_epochs_is_steps() -> None:
    assert Budget.parse("2.5epochs", full_steps=100, steps_per_epoch=30) == Budget(75, 100)
    with pytest.raises(BadInput, match="needs a task that has epochs"):
        Budget.parse("2epochs", full_steps=100)


@pytest.mark.parametrize(
    "text",
    [
        "0s",
        "10000000h",
        "3 fortnights",
        "",
        "20",
        "runs",
        "-1runs",
        "0runs",
        "0.001runs",
        "1e3runs",
        "20 rounds",
        "nan runs",
        None,
        20,
        "9" * 30 + "runs",
    ],
)
def test_what_is_no_budget_is_refused_in_one_sentence(text: object) -> None:
    with pytest.raises(BadInput, match=r"^a budget must .*got .*\.$"):
        Budget.parse(text, full_steps=100)  # type: ignore[arg-type]


def test_every_update_counts_once() -> None:
    """Finished, stopped, diverged and failed runs are paid; those that run are paid in full."""
    records = [record(number) for number in range(10)]
    budget = Budget(1000, 100)
    assert budget.spent(records) == sum(each.cost.steps for each in records)
    running = [spec(20), spec(21)]
    assert budget.left(records, running) == 1000 - budget.spent(records) - sum(each.stop_step for each in running)


@settings(derandomize=True, max_examples=300)
@given(runs=st.floats(0, 300), full=st.integers(1, 5000), candidates=st.integers(0, 100))
def test_rungs_never_cost_more_than_there_is(runs: float, full: int, candidates: int) -> None:
    """And each leaves candidates to drop, and none holds more than there are."""
    steps = int(runs * full)
    rungs = rungs_within(steps, full, candidates)
    assert sum(rung.steps * rung.count for rung in rungs) <= steps
    assert all(before.count >= 1.5 * after.count for before, after in itertools.pairwise(rungs))
    assert all(rung.count <= candidates for rung in rungs)
    assert bool(rungs) == (candidates > 0 and steps >= full)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("runs", [1, 1.5, 2, 3, 5, 20, 60, 300])
def test_a_race_never_costs_more_than_its_budget(task, runs: float) -> None:
    budget = Budget(int(runs * task.full_steps), task.full_steps)
    assert plan_race(task, budget, portfolio(), DEFAULT, 0).cost <= budget.steps


def test_a_budget_below_one_run_is_refused() -> None:
    task = TASKS["digits-mlp"]
    with pytest.raises(OverBudget, match="at least one full run of digits-mlp"):
        plan_race(task, Budget(task.full_steps - 1, task.full_steps), portfolio(), DEFAULT, 0)
