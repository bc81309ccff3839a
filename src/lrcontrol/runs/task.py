"""Task: what every stage needs to know of a training task, without the libraries that train it."""

from typing import Literal

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.record import Objective

__all__ = ["ACCURACY", "Measured", "Task"]

ACCURACY = Objective("accuracy", "maximize")


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training task as data.

    A script makes model and batches itself: nothing is known of them, so `sizes`, `parameters` and `batch_size` are 0.

    Args:
        name: as in specs and on the command line.
        kind: for people, such as "image classification".
        data: where they come from.
        sizes: how many examples train, validation and test have.
        model: for people, such as "64-128-10 MLP, ReLU".
        parameters: how many numbers are trained.
        objective: the validation metric runs are compared by.
        batch_size: >= 1, or 0 for a script.
        full_steps: >= 1; the 100 % budget of one run, in updates.
        home: the module that builds it.
        files: the data files it reads, as in `training/tasks/files.json`; none for bundled data.
        method: the field's default for it, as text.
        base_lr: > 0; the base learning rate of that default.
        source: where batch size, budget and default come from.
        naive: the test metric of predicting without looking at the inputs, and
        margin: > 0; by how much the default beats it.
        judges_train: whether the end of a run is judged on the train split too, as the papers on convex tasks do.
        size: `small` tasks take at most a minute on one core, `full` ones want a GPU.
    """

    name: str
    kind: str
    data: str
    sizes: tuple[int, int, int]
    model: str
    parameters: int
    objective: Objective
    batch_size: int
    full_steps: int
    home: str
    files: tuple[str, ...] = ()
    method: str = "adamw:cosine"
    base_lr: float = 1e-3
    source: str = ""
    naive: float | None = None
    margin: float | None = None
    judges_train: bool = False
    size: Literal["small", "full"] = "small"

    @property
    def is_script(self) -> bool:
        """Whether it is a training script of a user, which trains and judges by itself."""
        return self.batch_size == 0

    @property
    def steps_per_epoch(self) -> int | None:
        """Updates that see the train split once; what does not fill a batch sits out. None for a script."""
        return None if self.is_script else self.sizes[0] // self.batch_size

    def __post_init__(self) -> None:
        checks.integer("full_steps", self.full_steps, low=1)
        checks.integer("batch_size", self.batch_size, low=1 if any(self.sizes) else 0)
        checks.number("base_lr", self.base_lr, low=0, open_low=True)
        if self.batch_size > self.sizes[0]:
            raise BadInput(
                f"`batch_size` must be at most the train split's {self.sizes[0]} examples, got {self.batch_size}."
            )


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a task's default came to, in full, with seeds 0, 1 and 2; written by `benchmarks/tasks.py`.

    Args:
        of: the task it was measured of, as `catalogue.content_of` has it, which tells whether that has changed since.
        seconds: of one core's own time.
        validation: the metric of each seed.
        test: the same on the test split.
        train: the same on the train split, where the task says so.
    """

    of: str
    seconds: float
    validation: tuple[float, ...]
    test: tuple[float, ...]
    train: tuple[float, ...] = ()
