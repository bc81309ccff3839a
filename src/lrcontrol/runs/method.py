"""Methods: an optimizer and a control, as data and as text such as `sgd(momentum=0.9):warmup(0.05)+rex`."""

from functools import cached_property

import msgspec

from lrcontrol import checks
from lrcontrol.controls.text import AnyControl, control_text, read_control
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.schedules.reader import Reader, call
from lrcontrol.schedules.text import number_text, shortened

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
]


class SGD(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="sgd"):
    """Stochastic gradient descent with heavy-ball momentum, as torch.optim.SGD.

    Args:
        momentum: in [0, 1).
        weight_decay: >= 0; added to the gradient.
        nesterov: Nesterov's form; needs momentum > 0.
    Source:
        Sutskever, Martens, Dahl, Hinton 2013, ICML (momentum as torch computes it).
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _numbers(self, momentum=(0, 1), weight_decay=(0, None))
        if not isinstance(self.nesterov, bool):
            raise BadInput(f"`nesterov` must be true or false, got nesterov={checks.shown(self.nesterov)}.")
        if self.nesterov and self.momentum == 0:
            raise BadInput("`nesterov` needs momentum > 0, got momentum=0.")


class AdamW(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="adamw"):
    """Adam with decoupled weight decay, as torch.optim.AdamW.

    Args:
        beta1: in [0, 1).
        beta2: in [0, 1).
        eps: >= 0.
        weight_decay: >= 0; multiplied by the learning rate in force.
    Source:
        Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _numbers(self, beta1=(0, 1), beta2=(0, 1), eps=(0, None), weight_decay=(0, None))


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="own"):
    """The optimizer that a training script makes itself, with all but its learning rate."""

    @property
    def weight_decay(self) -> float:
        """1: what is scheduled is told in multiples of the script's own."""
        return 1.0


OptimizerSpec = SGD | AdamW | Own

OPTIMIZERS: dict[str, type[SGD | AdamW | Own]] = {"adamw": AdamW, "own": Own, "sgd": SGD}
"""Every optimizer by its name in text."""


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
        checks.instance("optimizer", self.optimizer, (SGD, AdamW, Own), "an optimizer such as SGD() or AdamW()")
        checks.instance("control", self.control, AnyControl, "a control such as Scheduled(schedule)")

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        """The text, made once: a report of many runs asks for it again and again."""
        optimizer = self.optimizer
        changed = [
            f"{name}={str(value).lower() if isinstance(value, bool) else number_text(value)}"
            for name, value in msgspec.structs.asdict(optimizer).items()
            if value != getattr(type(optimizer)(), name)
        ]
        name = optimizer_name(optimizer)
        return f"{name}({', '.join(changed)}):{self.control_text}" if changed else f"{name}:{self.control_text}"

    @cached_property
    def label(self) -> str:
        """The text as people are shown it: long tables are told by their length and a digest."""
        return shortened(self._text)

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
    name = reader.name("an optimizer")
    if name not in OPTIMIZERS:
        raise UnknownName(checks.near_miss("optimizer", name, OPTIMIZERS))
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    optimizer = call(reader, OPTIMIZERS[name], name, positional, named, 0)
    if not reader.take(":"):
        reader.fail("a method is optimizer:control, as in adamw:cosine; expected ':'")
    return Method(optimizer, read_control(reader))


def optimizer_name(optimizer: OptimizerSpec) -> str:
    """Its name in text."""
    return str(optimizer.__struct_config__.tag)


def _numbers(spec: msgspec.Struct, **bounds: tuple[float, float | None]) -> None:
    """Check and store plain floats; an upper bound is open."""
    for name, (low, high) in bounds.items():
        value = getattr(spec, name)
        checked = (
            checks.number(name, value, low=low)
            if high is None
            else checks.number(name, value, low=low, high=high, open_high=True)
        )
        msgspec.structs.force_setattr(spec, name, checked)
