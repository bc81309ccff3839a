"""The larger models of language: the contract, in minutes."""

import pytest

from contracts.task import TaskContract
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.catalogue import TASKS

NAMES = ["shakespeare-gpt-400k", "shakespeare-gpt-1600k"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not data.available(TASKS[NAMES[0]].files), reason=f"the texts are not in {data.FOLDER}"),
]


@pytest.mark.parametrize("task", [TASKS[name] for name in NAMES], ids=NAMES)
class TestLarge(TaskContract):
    """Every task keeps the contract."""
