"""Tasks that are scripts of a user: a function that trains as a run says, with any loop."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks.own import file_of, registered

if TYPE_CHECKING:
    from lrcontrol.training.run import Run

__all__ = ["Script", "ScriptTask", "task"]

Script = Callable[["Run"], object]


class ScriptTask:
    """A training script as a task; made by `lrcontrol.task`.

    Args:
        script: is called with a run, and trains.
        objective: the validation metric runs are compared by.
        full_steps: the 100 % budget of one run, in updates.
        about: what the catalogue says of its own tasks too: kind, data, model, method, base_lr.
        prepare: loads what all runs share, before them.
    """

    def __init__(
        self,
        script: Script,
        objective: Objective,
        full_steps: int,
        about: dict[str, Any],
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.file = file_of(script)
        self.name = f"{self.file.name}:{script.__name__}"
        self.script, self._prepare = script, prepare
        self.task = Task(
            name=self.name,
            sizes=(0, 0, 0),
            parameters=0,
            objective=objective,
            batch_size=0,
            full_steps=full_steps,
            home="",
            **about,
        )
        functools.update_wrapper(self, script)

    def __call__(self, run: "Run") -> object:
        """Train as a run says."""
        return self.script(run)

    def prepare(self) -> None:
        """Load what all runs share."""
        if self._prepare is not None:
            self._prepare()


def task(
    script: None = None,
    /,
    *,
    metric: str,
    direction: Literal["minimize", "maximize"],
    full_steps: int | None = None,
    method: str = "own:cosine",
    base_lr: float = 1e-3,
    prepare: Callable[[], object] | None = None,
    kind: str = "training script",
    data: str = "data of its own",
    model: str = "a training script",
) -> Callable[[Script], ScriptTask]:
    """Makes a task of a training script, a function that is called with a `Run` and trains; a decorator.

    The function must be at the top of a file, which every process of runs loads, so that what the file does besides
    belongs under `if __name__ == "__main__":`. The task is named `file.py:function`, on the command line with the path
    of the file, in Python also by the object itself.

    Args:
        script: nothing; the decorator is called with the arguments below.
        metric: the validation metric runs are compared by; a name that the script logs.
        direction: which way it is better.
        full_steps: >= 1; updates of a full run: what the `1run` of a budget is, and what schedules are laid over.
        method: a default, as text. `own:...` lets the script make its optimizer itself and steer it; the schedule and
            base learning rate are chosen. With another, such as `adamw:cosine`, the script takes its optimizer from
            `run.optimizer`, and the optimizer is chosen too.
        base_lr: > 0; the rate that the script would be trained with, which those that are tried lie around.
        prepare: a function without arguments that loads what all runs share, as data under `functools.cache`; called
            once in every process that begins runs.
        kind: for people, such as "image classification".
        data: for people; where they come from.
        model: for people.
    Raises:
        BadInput: a bad value, or a function that is not at the top of a file or takes no run.
    Example:
        See docs/own_scripts.md, whose files are run by the tests.
    """
    if script is not None:
        raise BadInput(
            '`task` must be called with a metric, as in @lrcontrol.task(metric="val_loss", direction="minimize", '
            f"full_steps=500), got {checks.shown(script)}."
        )
    if not isinstance(metric, str) or not metric:
        raise BadInput(f"`metric` must be the name of a metric, got metric={checks.shown(metric)}.")
    checks.one_of("direction", direction, ("minimize", "maximize"))
    if full_steps is None:
        raise BadInput(
            "`full_steps` must say how many updates a full run has, as budgets such as 20runs are counted in those "
            "and schedules are laid over them; got none."
        )
    steps = checks.integer("full_steps", full_steps, low=1)
    parse_method(method)
    checks.number("base_lr", base_lr, low=0, open_low=True)
    if prepare is not None and not callable(prepare):
        raise BadInput(f"`prepare` must be a function without arguments, got prepare={checks.shown(prepare)}.")
    about = {"kind": kind, "data": data, "model": model, "method": method, "base_lr": base_lr}

    def made(script: Script) -> ScriptTask:
        _check_takes_a_run(script)
        return registered(ScriptTask(script, Objective(metric, direction), steps, about, prepare))

    return made


def _check_takes_a_run(script: Any) -> None:
    name = getattr(script, "__qualname__", checks.shown(script))
    if not inspect.isfunction(script) or inspect.iscoroutinefunction(script) or inspect.isgeneratorfunction(script):
        raise BadInput(f"a script must be a plain function that trains when it is called, got {name}.")
    signature = inspect.signature(script)
    try:
        signature.bind(None)
    except TypeError:
        raise BadInput(
            f"a script must take the run as its one argument, as in def {script.__name__}(run), got "
            f"{script.__name__}{signature}."
        ) from None
