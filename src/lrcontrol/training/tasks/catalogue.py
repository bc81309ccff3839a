"""The tasks there are, as data: listing them imports no training library."""

from lrcontrol import checks
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks.listed import convex, images, language, signals, structured, tabular

__all__ = ["TASKS", "task"]

FAMILIES = (convex, images, language, signals, structured, tabular)

TASKS: dict[str, Task] = {
    task.name: task for task in sorted((task for each in FAMILIES for task in each.TASKS), key=lambda task: task.name)
}
"""Every task by its name."""


def task(name: str) -> Task:
    """The task of this name; UnknownName with near misses where there is none.

    Example:
        >>> task("digits-mlp").objective.metric
        'accuracy'
    """
    return TASKS[checks.one_of("task", name, TASKS)]
