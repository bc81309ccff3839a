"""RunSpec: what a run is asked to do. Frozen, hashable; its id is its content."""

import hashlib
import re
from collections.abc import Collection
from functools import cached_property
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import Method, without_added
from lrcontrol.runs.method import method as parse_method

__all__ = ["RunSpec", "Start"]

NORMS = ("l1", "l2")


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run goes on from: the end of another, whose checkpoint was kept.

    Args:
        run: the id of that run.
        step: >= 1; updates that its weights have seen.
    """

    run: str
    step: int

    def __post_init__(self) -> None:
        if not isinstance(self.run, str) or not re.fullmatch("[0-9a-f]{20}", self.run):
            raise BadInput(f"`run` must be the id of a run, 20 hexadecimal digits, got run={checks.shown(self.run)}.")
        msgspec.structs.force_setattr(self, "step", checks.integer("step", self.step, low=1))


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One training run, asked.

    The id is of all content, in this and in what it holds. A field that is added to any of these later is left out of
    the content where it has its default (`ADDED`), so that the ids of old runs stay as they are.

    `total_steps` is the horizon the schedule is laid over, `stop_step` where this run ends. Where they are equal the
    run sees the whole schedule, laid over however many steps there are (a compressed horizon); where `stop_step`
    is less, the run is cut (a cosine cut at a third is not a short cosine).

    Args:
        task: a task's name.
        method: optimizer and control, or their text.
        base_lr: > 0; every group's learning rate at multiplier 1.
        seed: >= 0; of initial weights, data order and all other chance.
        total_steps: >= 1.
        stop_step: 1 to total_steps; by default total_steps.
        save: whether the trained weights are kept.
        start: the run whose end this one goes on from, with its weights, optimizer and place in the data. The
            schedule is laid as without it: the first update is `start.step`. The method may be another, with the
            same kind of optimizer.
        checkpoint: whether all that another run needs to go on from the end of this one is kept.
        norms: which norms of the gradient of every update are recorded, of `l1` and `l2`; in any order.
    Example:
        >>> spec = RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=1e-3, total_steps=100)
        >>> spec.stop_step, spec.is_cut, len(spec.id)
        (100, False, 20)
    """

    task: str
    method: Method
    base_lr: float
    total_steps: int
    seed: int = 0
    stop_step: int = 0
    save: bool = False
    start: Start | None = None
    checkpoint: bool = False
    norms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or not self.task:
            raise BadInput(f"`task` must be the name of a task, got task={checks.shown(self.task)}.")
        put = msgspec.structs.force_setattr
        put(self, "method", parse_method(self.method))
        put(self, "base_lr", checks.number("base_lr", self.base_lr, low=0, open_low=True))
        put(self, "seed", checks.integer("seed", self.seed, high=2**31 - 1))
        total = checks.integer("total_steps", self.total_steps, low=1)
        put(self, "total_steps", total)
        stop = self.stop_step if self.stop_step != 0 else total
        put(self, "stop_step", checks.integer("stop_step", stop, low=1, high=total))
        put(self, "norms", _norms(self.norms))
        if self.start is not None and self.start.step >= self.stop_step:
            raise BadInput(
                f"a run must end after the step it goes on from, got start.step={self.start.step} and "
                f"stop_step={self.stop_step}."
            )

    @property
    def first_step(self) -> int:
        """The first update that this run makes itself."""
        return 0 if self.start is None else self.start.step

    @property
    def updates(self) -> int:
        """How many updates it makes itself, where it does not end early."""
        return self.stop_step - self.first_step

    @property
    def charge(self) -> int:
        """What it costs, in updates: its own, and what its control computes beside them."""
        return self.updates * self.method.control.price

    @cached_property
    def id(self) -> str:
        """20 hexadecimal digits of the SHA-256 of the content; equal specs have equal ids, in every process."""
        return hashlib.sha256(self.to_json()).hexdigest()[:20]

    def is_full(self, full_steps: int) -> bool:
        """Whether it makes all the updates that a full run of so many of a schedule's pays for."""
        return self.stop_step >= self.method.updates_for(full_steps)

    @property
    def is_cut(self) -> bool:
        """Whether the run ends before its schedule does."""
        return self.stop_step < self.total_steps

    def to_json(self) -> bytes:
        """The content, in one canonical form."""
        parts: dict[str, Any] = {
            name: self.method.content if name == "method" else msgspec.to_builtins(getattr(self, name))
            for name in self.__struct_fields__
        }
        return msgspec.json.encode(without_added(parts))

    @classmethod
    def from_json(cls, text: bytes | str) -> "RunSpec":
        """The spec that `to_json` wrote."""
        return msgspec.json.decode(text, type=cls)


def _norms(given: Any) -> tuple[str, ...]:
    """Names of norms, each once and in one order, so that what is the same has one id."""
    if isinstance(given, str) or not isinstance(given, Collection):
        raise BadInput(f"`norms` must be a tuple of names such as ('l2',), got norms={checks.shown(given)}.")
    return tuple(sorted({checks.one_of("norm", name, NORMS) for name in given}))
