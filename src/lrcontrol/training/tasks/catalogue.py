"""The tasks there are, as data: listing them imports no training library."""

import functools
import hashlib
import inspect
import re
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs import user_code
from lrcontrol.runs.method import Method, Own, optimizer_name, schedules
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.optimizer_specs import Mechanic
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Measured, Task
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.listed import convex, images, language, signals, structured, tabular
from lrcontrol.training.tasks.own import OWN, OwnTask
from lrcontrol.training.tasks.script import ScriptTask

__all__ = [
    "MEASURED_FILE",
    "TASKS",
    "about",
    "check_optimizer",
    "content_of",
    "default_spec",
    "here",
    "makes_own_optimizer",
    "measured",
    "named",
    "script_of",
    "task",
    "tasks_about",
]

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
    if not isinstance(name, str) or name not in TASKS:
        raise UnknownName(_unknown(name))
    return TASKS[name]


def _unknown(name: object) -> str:
    """What to say of a name that no task has: the one that was meant, or those that are about it."""
    words = _words(name[:200]) if isinstance(name, str) else []
    close = checks.closest(name, TASKS) if isinstance(name, str) else None
    guess = f"; did you mean '{close}'?" if close else ";"
    found = [task.name for task in TASKS.values() if words and _is_about(task, words)]
    if not found:
        listed = "`lrcontrol tasks` lists all, and `lrcontrol tasks --about WORDS` those about something."
        return f"unknown task {checks.shown(name)}{guess} {listed}"
    first = ", ".join(found[:MOST_NAMED]) + (f" and {len(found) - MOST_NAMED} more" * (len(found) > MOST_NAMED))
    about = " ".join(words)
    asked = f"'{about}'" if len(words) > 1 else about
    return f"unknown task {checks.shown(name)}{guess} `lrcontrol tasks --about {asked}` lists {first}."


MOST_NAMED = 6  # tasks in a sentence


def _words(text: str) -> list[str]:
    """The words of a text, and of what joins them no trace."""
    return re.findall(r"[^\W_]+", text.lower())


def _is_about(task: Task, words: Collection[str]) -> bool:
    """Whether words of what is told of a task begin with all of these."""
    told = _words(" ".join((task.name, task.kind, task.data, task.model, task.objective.metric, task.size)))
    return all(any(each.startswith(word) for each in told) for word in words)


def tasks_about(text: str) -> list[Task]:
    """The tasks in whose name, kind, data, model, metric or size words begin with all those of a text, in any case.

    Raises:
        BadInput: there are none.
    Example:
        >>> [task.name for task in tasks_about("regression diabetes")]
        ['diabetes-mlp']
    """
    words = _words(text)
    found = [task for task in TASKS.values() if _is_about(task, words)]
    if not found:
        raise BadInput(f"no task has all of these words: {checks.shown(text)}; name fewer, such as a kind or a model.")
    return found


MEASURED_FILE = "lrcontrol/training/tasks/measured.json"


@functools.cache
def measured() -> dict[str, Measured]:
    """What has been measured of the tasks, by name."""
    text = resources.files("lrcontrol.training.tasks").joinpath("measured.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, Measured])


def content_of(task: Task) -> str:
    """20 hexadecimal digits of the SHA-256 of all that is listed of a task, and of its default's run."""
    content = msgspec.json.encode(task) + default_spec(task, 0).to_json()
    return hashlib.sha256(content).hexdigest()[:20]


def default_spec(task: Task, seed: int, *, save: bool = False) -> RunSpec:
    """The run of a task's default in full."""
    return RunSpec(
        task=task.name,
        method=parse_method(task.method),
        base_lr=task.base_lr,
        total_steps=task.full_steps,
        seed=seed,
        save=save,
    )


def here(task: Task) -> bool:
    """Whether the task's data can be read without a network."""
    return data.here(task.files)


def about(task: Task) -> dict[str, Any]:
    """All there is to know of a task, as JSON values."""
    found = measured().get(task.name)
    return {**msgspec.to_builtins(task), "here": here(task), "measured": msgspec.to_builtins(found)}


def script_of(name: str) -> ScriptTask | None:
    """The training script of this name, if the task is one; it has been loaded."""
    own = OWN.get(name)
    return own if isinstance(own, ScriptTask) else None


def makes_own_optimizer(task: Task) -> bool:
    """Whether the task is a script that makes its optimizer itself."""
    return isinstance(parse_method(task.method).optimizer, Own)


def check_optimizer(task: Task, method: Method) -> None:
    """BadInput where a method's optimizer is not for the task, or has no weight decay that could be scheduled.

    A task that makes its optimizer itself has methods without one, and no other has.
    """
    inner = method.optimizer.inner if isinstance(method.optimizer, Mechanic) else method.optimizer
    if getattr(inner, "weight_decay", None) == 0 and schedules(method.control, "weight_decay"):
        name = optimizer_name(inner)
        raise BadInput(
            f"a schedule of weight decay multiplies that of the optimizer, which is 0 in {method.label}; give it "
            f"some, as in {name}(weight_decay=0.01), or leave `weight_decay` out."
        )
    if isinstance(method.optimizer, Own) == makes_own_optimizer(task):
        return
    if makes_own_optimizer(task):
        raise BadInput(
            f"{task.name} makes its optimizer itself, so that methods must be own:..., got {method}; write "
            f"own:{method.control_text}, or have the script take its optimizer from run.optimizer."
        )
    raise BadInput(
        f"{task.name} makes no optimizer itself, so that methods must name one, got {method}; write for example "
        f"adamw:{method.control_text}."
    )


def named(given: str | OwnTask | ScriptTask) -> Task:
    """The task that a user names; `path/to/file.py:function` loads that file.

    Raises:
        UnknownName: there is no such task. BadInput: the file cannot be loaded, or builds no whole problem.
    """
    if isinstance(given, OwnTask | ScriptTask):
        return given.task
    if not isinstance(given, str) or (":" not in given and not given.endswith(".py")):
        return task(given)
    path, _, function = given.rpartition(":") if ":" in given else (given, "", "")
    if given in OWN and not Path(path).exists():
        return task(given)
    module = user_code.load(path)
    own = {name: value for name, value in vars(module).items() if isinstance(value, OwnTask | ScriptTask)}
    if not own:
        raise UnknownName(
            f"{path} must hold a task, a function under @lrcontrol.task(...) if it trains or @lrcontrol.as_task(...) "
            f"if it makes a problem, got {_undecorated(vars(module), function)}."
        )
    if not function:
        names = ", ".join(f"{path}:{name}" for name in sorted(own))
        raise UnknownName(f"a task in a file must be named with its function, got {path}; it holds {names}.")
    return own[checks.one_of(f"task of {path}", function, own)].task


def _undecorated(found: Mapping[str, object], function: str) -> str:
    return f"the bare function {function}" if inspect.isfunction(found.get(function)) else "none"
