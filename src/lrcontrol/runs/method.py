"""Methods: an optimizer and a control, as data and as text such as `sgd(momentum=0.9):warmup(0.05)+rex`."""

from functools import cached_property
from typing import Any, Literal

import msgspec

from lrcontrol import checks
from lrcontrol.controls.control import AHEAD
from lrcontrol.controls.text import AnyControl, control_text, read_control
from lrcontrol.errors import BadInput
from lrcontrol.runs.optimizer import (
    OPTIMIZERS,
    OptimizerSpec,
    has_momentum,
    optimizer_name,
    optimizer_text,
    read_optimizer,
)
from lrcontrol.runs.optimizer_specs import SGD, AdamW, Own
from lrcontrol.runs.parts import PARTS, TRIED_AT
from lrcontrol.schedules.reader import Reader
from lrcontrol.schedules.text import levels_shortened, shortened

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdamW",
    "AnyControl",
    "Method",
    "OptimizerSpec",
    "Own",
    "method",
    "optimizer_name",
    "read_method",
    "schedules",
    "without_added",
]


ADDED: dict[str, Any] = {
    "checkpoint": False,
    "growth": 1.0,
    "momentum": None,
    "norms": (),
    "reverse": False,
    "shrink": 1.0,
    "start": None,
    "weight_decay": None,
}
"""Fields that specs did not have when the first ids were published, and the values at which they say nothing."""


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A way to train: an optimizer, and a control of its learning rate.

    Args:
        optimizer: without its learning rate, which is the run's `base_lr` times the control's multiplier.
        control: what the multiplier is.
    Example:
        >>> str(method("sgd(momentum=0.8) : cosine"))
        'sgd(momentum=0.8):cosine'
    """

    optimizer: OptimizerSpec
    control: AnyControl

    def __post_init__(self) -> None:
        checks.instance("optimizer", self.optimizer, OptimizerSpec, "an optimizer such as SGD() or AdamW()")
        checks.instance("control", self.control, AnyControl, "a control such as Scheduled(schedule)")
        if not has_momentum(self.optimizer) and schedules(self.control, "momentum"):
            raise BadInput(
                f"a schedule of momentum needs an optimizer that has some, got {optimizer_name(self.optimizer)}; "
                "leave `momentum` out."
            )
        alone = AHEAD - {"slope", "cosine"}
        if self.control.needs & alone and not isinstance(self.optimizer, SGD | AdamW | Own):
            raise BadInput(
                f"{shortened(self.control_text)} finds the rate itself, so its optimizer must be sgd or adamw, got "
                f"{optimizer_name(self.optimizer)}; use one of these, or a schedule."
            )

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        """The text, made once: a report of many runs asks for it again and again."""
        return f"{optimizer_text(self.optimizer)}:{self.control_text}"

    @cached_property
    def content(self) -> msgspec.Raw:
        """The method in one canonical form, made once: of a store of many runs each has one of a few."""
        return msgspec.Raw(msgspec.json.encode(without_added(msgspec.to_builtins(self))))

    @cached_property
    def label(self) -> str:
        """The text as people are shown it: long tables, and many levels, are told by their number and a digest."""
        return shortened(levels_shortened(self._text))

    @property
    def usual_lr(self) -> float | None:
        """The base learning rate where it is not the user's to find: 1 or what the optimizer's paper says, and torch's
        for AdamW where the control sets the rate whatever that is; else None.

        Example:
            >>> method("prodigy:linear").usual_lr, method("adamw:cosine*l4").usual_lr, method("adamw:cosine").usual_lr
            (1.0, 0.001, None)
        """
        return TRIED_AT if self.control.sets_rate else self.optimizer.usual_lr

    def updates_for(self, steps: int) -> int:
        """The updates that cost what so many of a schedule's do, at least one: methods are compared at equal cost.

        Example:
            >>> method("adamw:cosine").updates_for(100), method("adamw:alignment").updates_for(100)
            (100, 50)
        """
        return max(steps // self.control.price, min(steps, 1))

    @property
    def control_text(self) -> str:
        """The control's part of the method's text."""
        return control_text(self.control)


def method(given: str | Method, *, steps_per_epoch: int | None = None) -> Method:
    """The method that a text describes; a method is returned as it is.

    Args:
        given: `optimizer:control`, such as `adamw:cosine`, `sgd(momentum=0.9):warmup(0.05)+rex`,
            `sgd:one_cycle, momentum=one_cycle_momentum` or `adamw:warmup(0.05)+plateau`.
        steps_per_epoch: >= 1; what an epoch is in lengths such as 5ep.
    Raises:
        BadText: the text cannot be read; the sentence shows the place. UnknownName: near misses are named.
    Example:
        >>> method("adamw:cosine").optimizer.beta2
        0.999
    """
    if isinstance(given, Method):
        return given
    if not isinstance(given, str):
        raise BadInput(f"a method must be a text or a Method, got {checks.shown(given)}.")
    reader = Reader(given, "method", steps_per_epoch)
    result = read_method(reader)
    reader.finish()
    return result


def read_method(reader: Reader) -> Method:
    """Read `optimizer:control`."""
    _check_kind(reader, optimizer=True)
    optimizer = read_optimizer(reader)
    if not reader.take(":"):
        usual = "cosine" if optimizer.usual_lr is None else "constant"
        reader.fail(f"a method is optimizer:control, as in {optimizer_text(optimizer)}:{usual}; expected ':'")
    _check_kind(reader, optimizer=False)
    return Method(optimizer, read_control(reader))


def _check_kind(reader: Reader, *, optimizer: bool) -> None:
    """Fail where what comes next is a part of methods, and one for the other side of the colon."""
    part = PARTS.get(reader.peek().rpartition(".")[2])
    if part is not None and (part.kind == "optimizer") is not optimizer:
        article = "an" if part.kind == "optimizer" else "a"
        reader.fail(f"{part.name} is {article} {part.kind}; a method is optimizer:control, as in {part.example},")


def schedules(control: Any, name: Literal["momentum", "weight_decay"]) -> bool:
    """Whether a control holds a schedule of momentum or of weight decay."""
    while control is not None:
        if getattr(control, name, None) is not None:
            return True
        control = getattr(control, "inner", None)
    return False


def without_added(value: Any) -> Any:
    """JSON values without the fields that say nothing, see `ADDED`."""
    if isinstance(value, dict):
        return {
            name: without_added(inner)
            for name, inner in value.items()
            if name not in ADDED or type(inner) is not type(ADDED[name]) or inner != ADDED[name]
        }
    return [without_added(inner) for inner in value] if isinstance(value, list | tuple) else value
