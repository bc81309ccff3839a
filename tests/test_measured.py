"""What has been measured of the tasks: of the tasks as they are, better than without inputs, and as the docs say."""

import re
import statistics
from pathlib import Path

import pytest

from lrcontrol.training.tasks.catalogue import TASKS, content_of, measured

SMALL = [name for name, task in TASKS.items() if task.size == "small"]
PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text()
ROWS = {row.split("`")[1]: row for row in reversed(PAGE.splitlines()) if row.startswith("| `")}
"""The first row of each task."""


def test_every_task_is_on_the_page() -> None:
    assert set(TASKS) - set(ROWS) == set()


@pytest.mark.parametrize("name", SMALL)
def test_what_was_measured_is_of_the_task_as_it_is(name: str) -> None:
    """Else `python benchmarks/tasks.py` measures it anew."""
    assert measured()[name].of == content_of(TASKS[name])


@pytest.mark.parametrize("name", SMALL)
def test_the_default_beats_what_looks_at_no_inputs(name: str) -> None:
    """By the stated margin, with every seed."""
    task, found = TASKS[name], measured()[name]
    assert len(found.test) == len(found.validation) == 3
    assert task.naive is not None
    assert task.margin is not None
    assert task.margin > 0
    worst = max(found.test, key=task.objective.lower_is_better)
    assert task.objective.lower_is_better(worst) <= task.objective.lower_is_better(task.naive) - task.margin


@pytest.mark.parametrize("name", SMALL)
def test_a_full_run_takes_at_most_a_minute_of_one_core(name: str) -> None:
    assert measured()[name].seconds <= 60


@pytest.mark.parametrize("name", SMALL)
def test_the_page_says_what_was_measured(name: str) -> None:
    """Mean and deviation of the test metric over the seeds, to the digits that are written."""
    found = re.search(r"(\d[\d,]*\.?\d*) ± (\d+\.?\d*)", ROWS[name])
    assert found is not None
    for text, value in zip(found.groups(), (statistics.fmean, statistics.stdev), strict=True):
        digits = len(text.partition(".")[2])
        assert abs(float(text.replace(",", "")) - value(measured()[name].test)) <= 0.51 * 10**-digits
