"""What the tests of tasks share: tasks as parameters, skipped where their data are not here."""

from collections.abc import Collection
from typing import Any

import pytest

from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.catalogue import TASKS

__all__ = ["each", "with_data"]


def with_data(name: str) -> pytest.MarkDecorator:
    """Skips a test where the files of a task are not to be had."""
    missing = not data.here(TASKS[name].files)
    return pytest.mark.skipif(missing, reason=f"the data of {name} are not here; set {data.FOLDER}")


def each(names: Collection[str], slow: Collection[str] = ()) -> list[Any]:
    """The tasks of these names as parameters, those in `slow` marked so."""
    marks = {name: [with_data(name), *([pytest.mark.slow] if name in slow else [])] for name in names}
    return [pytest.param(TASKS[name], id=name, marks=marks[name]) for name in names]
