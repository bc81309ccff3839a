"""The slower models of images: the contract, in minutes."""

import pytest

from contracts.task import TaskContract
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.catalogue import TASKS

NAMES = ["cifar10-densenet", "cifar10-resnet8-groups", "cifar10-vit", "mnist-cnn"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(data.here(TASKS[name].files) for name in NAMES), reason=f"the images are not in {data.FOLDER}"
    ),
]


@pytest.mark.parametrize("task", [TASKS[name] for name in NAMES], ids=NAMES)
class TestLarge(TaskContract):
    """Every task keeps the contract."""
