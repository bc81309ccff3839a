"""Tasks of a user: a function that builds a problem, in a file of the user's, as a task like any other."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import Task
from lrcontrol.runs.user_code import HOST

if TYPE_CHECKING:
    from lrcontrol.training.tasks.problem import Problem
    from lrcontrol.training.tasks.script import ScriptTask

__all__ = ["OWN", "OwnTask", "as_task", "file_of", "registered"]

Builder = Callable[[int], "Problem"]
Made = TypeVar("Made", "OwnTask", "ScriptTask")

OWN: dict[str, "OwnTask | ScriptTask"] = {}
"""The user's tasks of this process, by `file.py:function`."""


class OwnTask:
    """A function that builds a problem, as a task; made by `as_task`.

    Args:
        builder: of a seed; returns a Problem.
        objective: the validation metric runs are compared by.
        full_steps: the 100 % budget of one run, in updates.
        about: what the catalogue says of its own tasks too: kind, data, model, method, base_lr, source.
    """

    def __init__(self, builder: Builder, objective: Objective, full_steps: int, about: dict[str, Any]) -> None:
        self.builder, self.objective, self.full_steps, self.about = builder, objective, full_steps, about
        self.file = file_of(builder)
        self.name = f"{self.file.name}:{builder.__name__}"
        functools.update_wrapper(self, builder)

    def __call__(self, seed: int) -> "Problem":
        """The problem of a seed."""
        from lrcontrol.training.tasks.problem import Problem, seeded

        with seeded(seed):
            problem = self.builder(seed)
        if not isinstance(problem, Problem):
            raise BadInput(f"{self.name} must return an lrcontrol.Problem, got {checks.shown(problem)}.")
        return problem

    @functools.cached_property
    def task(self) -> Task:
        """What every stage needs to know, read off the problem of seed 0, which is built twice and tried once.

        Raises:
            BadInput: the function raises, or what it returns cannot be trained or judged; the sentence says why.
        """
        from lrcontrol.training.tasks.problem import seeded
        from lrcontrol.training.tasks.trial import tried

        try:
            with seeded(0):
                problem = self(0)
                if HOST not in os.environ:  # which forks for its runs: a backward pass in it would be in their way
                    problem = tried(problem, self(0), self.objective.metric)
        except BadInput as error:
            raise BadInput(f"{self.name}: {error}") from None
        except Exception as error:
            raise BadInput(
                f"{self.name} must make a problem that can be trained and judged, got {type(error).__name__}: "
                f"{checks.shown_error(error)}."
            ) from error
        return Task(
            name=self.name,
            sizes=(len(problem.train), len(problem.validation), len(problem.test)),
            parameters=sum(each.numel() for each in problem.model.parameters() if each.requires_grad),
            objective=self.objective,
            batch_size=problem.batch_size,
            full_steps=self.full_steps,
            home="",
            **({"model": type(problem.model).__name__} | self.about),
        )


def as_task(
    *,
    metric: str,
    direction: Literal["minimize", "maximize"],
    full_steps: int,
    kind: str = "own task",
    data: str = "data of its own",
    model: str | None = None,
    method: str = "adamw:cosine",
    base_lr: float = 1e-3,
) -> Callable[[Builder], OwnTask]:
    """Makes a task of a function that builds a Problem from a seed; a decorator.

    The function must be at the top of a file: every run has a process of its own, which loads that file (so what the
    file does besides belongs under `if __name__ == "__main__":`). Data that are slow to load belong in a function
    under `functools.cache`: they are then loaded once for all runs. The task is named `file.py:function`, on the
    command line with the path of the file, in Python also by the object itself.

    Args:
        metric: the validation metric runs are compared by; a key of what the problem's `metrics` returns, or "loss".
        direction: which way it is better.
        full_steps: >= 1; updates of a full run, the 100 % budget.
        kind: for people, such as "regression".
        data: for people; where they come from.
        model: for people; by default the name of the model's class.
        method: a default for it, as text; it is told in lists. `select` compares with its own plain default.
        base_lr: > 0; the base learning rate of that default.
    Raises:
        BadInput: a bad value, or a function that is not at the top of a file.
    Example:
        See docs/own_tasks.md, whose file is run by the tests.
    """
    if not isinstance(metric, str) or not metric:
        raise BadInput(f"`metric` must be the name of a metric, got metric={checks.shown(metric)}.")
    checks.one_of("direction", direction, ("minimize", "maximize"))
    checks.integer("full_steps", full_steps, low=1)
    parse_method(method)
    checks.number("base_lr", base_lr, low=0, open_low=True)
    about = {"kind": kind, "data": data, "method": method, "base_lr": base_lr}

    def made(builder: Builder) -> OwnTask:
        told = about | ({} if model is None else {"model": model})
        return registered(OwnTask(builder, Objective(metric, direction), full_steps, told))

    return made


def file_of(function: Callable[..., object]) -> Path:
    """The file that other processes find a function in.

    Raises:
        BadInput: it is not at the top of one.
    """
    file = inspect.getsourcefile(inspect.unwrap(function))
    if file is None or not Path(file).is_file() or "<locals>" in function.__qualname__:
        raise BadInput(
            f"a task must be a function at the top of a Python file, so that other processes can load it, got "
            f"{function.__qualname__}; put it in a file and import or name that."
        )
    return Path(file).resolve()


def registered(own: Made) -> Made:
    """The same task, known by its name from now on in this process.

    Raises:
        BadInput: another file has one of this name.
    """
    other = OWN.get(own.name)
    if other is not None and other.file != own.file:
        raise BadInput(
            f"tasks must have names of their own, and {own.name} is in {other.file} already; rename the function "
            f"or the file, {own.file}."
        )
    OWN[own.name] = own
    return own
