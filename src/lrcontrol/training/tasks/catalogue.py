"""The tasks there are, as data: listing them imports no training library."""

from lrcontrol import checks
from lrcontrol.errors import UnknownName
from lrcontrol.runs import user_code
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks.listed import convex, images, language, signals, structured, tabular
from lrcontrol.training.tasks.own import OWN, OwnTask

__all__ = ["TASKS", "named", "task"]

FAMILIES = (convex, images, language, signals, structured, tabular)

TASKS: dict[str, Task] = {
    task.name: task for task in sorted((task for each in FAMILIES for task in each.TASKS), key=lambda task: task.name)
}
"""Every task of ours by its name."""


def task(name: str) -> Task:
    """The task of this name, ours or one of the user's that this process has loaded; nothing is loaded here.

    Raises:
        UnknownName: there is none; the sentence has near misses.
    Example:
        >>> task("digits-mlp").objective.metric
        'accuracy'
    """
    if isinstance(name, str) and ":" in name:
        if name not in OWN:
            raise UnknownName(f"the task {checks.shown(name)} must be loaded first; name its file, as in my/{name}.")
        return OWN[name].task
    return TASKS[checks.one_of("task", name, TASKS)]


def named(given: str | OwnTask) -> Task:
    """The task that a user names; `path/to/file.py:function` loads that file.

    Raises:
        UnknownName: there is no such task. BadInput: the file cannot be loaded, or builds no whole problem.
    """
    if isinstance(given, OwnTask):
        return given.task
    checks.instance("task", given, str, "the name of a task, or one made by lrcontrol.as_task")
    if ":" not in given or given in OWN:
        return task(given)
    path, _, function = given.rpartition(":")
    module = user_code.load(path)
    own = {name: value for name, value in vars(module).items() if isinstance(value, OwnTask)}
    return own[checks.one_of(f"task of {path}", function, own)].task
