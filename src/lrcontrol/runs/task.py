"""Task: what every stage needs to know of a training task, without the libraries that train it."""

import msgspec

from lrcontrol import checks
from lrcontrol.runs.record import Objective

__all__ = ["Task"]


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training task as data.

    Args:
        name: as in specs and on the command line.
        kind: for people, such as "image classification".
        data: where they come from.
        sizes: how many examples train, validation and test have.
        model: for people, such as "64-128-10 MLP, ReLU".
        parameters: how many numbers are trained.
        objective: the validation metric runs are compared by.
        batch_size: >= 1.
        full_steps: >= 1; the 100 % budget of one run, in updates.
        home: the module that builds it.
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

    def __post_init__(self) -> None:
        checks.integer("full_steps", self.full_steps, low=1)
        checks.integer("batch_size", self.batch_size, low=1)
