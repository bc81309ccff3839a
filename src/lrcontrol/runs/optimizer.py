"""Optimizers of methods as text: their names, reading and writing `name(parameter=value)`."""

from collections.abc import Collection

import msgspec

from lrcontrol import checks
from lrcontrol.errors import UnknownName
from lrcontrol.runs.optimizer_specs import (
    SGD,
    AdamW,
    Cocob,
    DAdaptAdam,
    DAdaptSGD,
    DoG,
    DoWG,
    LDoG,
    Mechanic,
    Own,
    Prodigy,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.reader import Reader, call
from lrcontrol.schedules.text import number_text

__all__ = [
    "OPTIMIZERS",
    "OptimizerSpec",
    "has_momentum",
    "low_rate",
    "optimizer",
    "optimizer_name",
    "optimizer_text",
    "read_optimizer",
]

OptimizerSpec = (
    SGD
    | AdamW
    | ScheduleFreeSGD
    | ScheduleFreeAdamW
    | Prodigy
    | DAdaptSGD
    | DAdaptAdam
    | DoG
    | LDoG
    | DoWG
    | Cocob
    | Mechanic
    | Own
)

OPTIMIZERS: dict[str, type[OptimizerSpec]] = {
    "adamw": AdamW,
    "cocob": Cocob,
    "dadapt_adam": DAdaptAdam,
    "dadapt_sgd": DAdaptSGD,
    "dog": DoG,
    "dowg": DoWG,
    "ldog": LDoG,
    "mechanic": Mechanic,
    "own": Own,
    "prodigy": Prodigy,
    "schedulefree_adamw": ScheduleFreeAdamW,
    "schedulefree_sgd": ScheduleFreeSGD,
    "sgd": SGD,
}
"""Every optimizer by its name in text."""


def read_optimizer(reader: Reader, known: Collection[str] = OPTIMIZERS) -> OptimizerSpec:
    """Read `name` or `name(parameter=value, ...)`, one of `known`; a mechanic's first value is an optimizer."""
    name = reader.name("an optimizer")
    if name not in known:
        raise UnknownName(checks.near_miss("optimizer", name, known, ours(name)))
    positional: list[object] = []
    named: dict[str, object] = {}
    if reader.take("("):
        if OPTIMIZERS[name] is Mechanic and reader.ahead().kind == "name" and reader.ahead(1).text != "=":
            if reader.peek() in OPTIMIZERS and OPTIMIZERS[reader.peek()] not in (SGD, AdamW):
                reader.fail(f"a mechanic must be around sgd or adamw, got {reader.peek()}")
            positional.append(read_optimizer(reader))
            if not reader.take(","):
                reader.expect(")")
                return _made(reader, name, positional, named)
        positional, named = reader.arguments(positional)
    return _made(reader, name, positional, named)


def optimizer(text: str) -> OptimizerSpec:
    """The optimizer that a text describes.

    Example:
        >>> optimizer("sgd(momentum=0.5)").momentum
        0.5
    """
    reader = Reader(text, "optimizer")
    made = read_optimizer(reader)
    reader.finish()
    return made


def optimizer_name(optimizer: OptimizerSpec) -> str:
    """Its name in text."""
    return str(optimizer.__struct_config__.tag)


def optimizer_text(optimizer: OptimizerSpec) -> str:
    """The canonical text of an optimizer: its name, and what is not as usual."""
    inside = [optimizer_text(optimizer.inner)] if isinstance(optimizer, Mechanic) else []
    changed = [
        f"{field.name}={str(value).lower() if isinstance(value, bool) else number_text(value)}"
        for field in msgspec.structs.fields(optimizer)
        if (value := getattr(optimizer, field.name)) != field.default and field.name != "inner"
    ]
    told = ", ".join([*inside, *changed])
    return f"{optimizer_name(optimizer)}({told})" if told else optimizer_name(optimizer)


def low_rate(optimizer: OptimizerSpec, base_lr: float) -> str | None:
    """What to say of a base rate that is far below the one that is usual where the rate is found; else None."""
    usual = optimizer.usual_lr
    if usual is None or base_lr >= usual / 3:
        return None
    return (
        f"{optimizer_name(optimizer)} finds its rate itself, and what it finds is multiplied by {base_lr:g}; "
        f"{usual:g} is usual."
    )


def _made(reader: Reader, name: str, positional: list[object], named: dict[str, object]) -> OptimizerSpec:
    made: OptimizerSpec = call(reader, OPTIMIZERS[name], name, positional, named, 0)
    return made


def has_momentum(optimizer: OptimizerSpec) -> bool:
    """Whether it has momentum, or a beta1, that a schedule can set."""
    inner = optimizer.inner if isinstance(optimizer, Mechanic) else optimizer
    return isinstance(inner, Own) or hasattr(inner, "momentum") or hasattr(inner, "beta1")
