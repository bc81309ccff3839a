"""The tasks there are, as data: listing them imports no training library."""

from lrcontrol import checks
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks.listed import convex, images, tabular

__all__ = ["TASKS", "task"]

TASKS: dict[str, Task] = {
    task.name: task for task in sorted((*convex.TASKS, *images.TASKS, *tabular.TASKS), key=lambda task: task.name)
}
"""Every task by its name."""


def task(name: str) -> Task:
    """The task of this name; UnknownName with near misses where there is none.

    Example:
        >>> task("digits-mlp").objective.metric
        'accuracy'
    """
    return TASKS[checks.one_of("task", name, TASKS)]
