"""Optimizers of methods, as data: all but the learning rate, checked; torch makes them elsewhere."""

from typing import ClassVar

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = [
    "SGD",
    "AdamW",
    "Cocob",
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "LDoG",
    "Mechanic",
    "Own",
    "Prodigy",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
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
    usual_lr: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        _numbers(self, momentum=(0, 1), weight_decay=(0, None))
        _flags(self, "nesterov")
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
    usual_lr: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        _numbers(self, beta1=(0, 1), beta2=(0, 1), eps=(0, None), weight_decay=(0, None))


class ScheduleFreeSGD(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="schedulefree_sgd"
):
    """Schedule-free SGD: gradients at a mixture of fast weights and their average, evaluation at the average.

    It takes away the schedule, not the rate: 10 to 50 times what SGD takes is usual. The average is weighted by the
    largest rate so far, so that a warmup in the schedule counts as the authors' does.

    Args:
        momentum: in (0, 1); how much of the average gradients are taken at (beta).
        weight_decay: >= 0; added to the gradient, of the weights that it is taken at.
        average_power: >= 0; the average's weights grow with the step to this power (r).
        lr_power: >= 0; and with the largest learning rate so far to this one.
    Source:
        Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky 2024, arXiv:2405.15682, equations 1 to 3 and section 4.1;
        package schedulefree 1.4.1.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    average_power: float = 0.0
    lr_power: float = 2.0
    usual_lr: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        _numbers(self, weight_decay=(0, None), average_power=(0, None), lr_power=(0, None))
        _positive(self, momentum=1)


class ScheduleFreeAdamW(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="schedulefree_adamw"
):
    """Schedule-free AdamW: gradients at a mixture of fast weights and their average, evaluation at the average.

    It takes away the schedule, not the rate: 1 to 10 times what AdamW takes is usual. Longer runs want a larger
    `beta1`, 0.95 to 0.98.

    Args:
        beta1: in (0, 1); how much of the average gradients are taken at.
        beta2: in [0, 1).
        eps: >= 0.
        weight_decay: >= 0; multiplied by the learning rate in force, of the weights that gradients are taken at.
        average_power: >= 0; the average's weights grow with the step to this power (r).
        lr_power: >= 0; and with the largest learning rate so far to this one.
    Source:
        Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky 2024, arXiv:2405.15682, algorithm 1; package schedulefree
        1.4.1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    average_power: float = 0.0
    lr_power: float = 2.0
    usual_lr: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        _numbers(
            self, beta2=(0, 1), eps=(0, None), weight_decay=(0, None), average_power=(0, None), lr_power=(0, None)
        )
        _positive(self, beta1=1)


class Prodigy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="prodigy"):
    """Adam that estimates the distance to the solution, and steps by it; base learning rate 1.

    Args:
        beta1: in [0, 1).
        beta2: in [0, 1).
        beta3: in [0, 1); of the estimate; by default the root of beta2.
        eps: > 0.
        weight_decay: >= 0.
        decoupled: whether weight decay is AdamW's, or added to the gradient.
        bias_correction: as Adam has it.
        safeguard_warmup: leave the learning rate out of the estimate's denominator; for a rate that warms up.
        d0: > 0; the first estimate.
        d_coef: > 0; a factor of the estimate, and the number to tune if any.
        growth_rate: > 1; how fast the estimate may grow in a step; by default as fast as it wants.
    Source:
        Mishchenko, Defazio 2023, arXiv:2306.06101, algorithm 4; package prodigyopt 1.1.2.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    beta3: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True
    bias_correction: bool = False
    safeguard_warmup: bool = False
    d0: float = 1e-6
    d_coef: float = 1.0
    growth_rate: float | None = None
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, beta1=(0, 1), beta2=(0, 1), weight_decay=(0, None))
        _positive(self, eps=None, d0=None, d_coef=None)
        _flags(self, "decoupled", "bias_correction", "safeguard_warmup")
        if self.beta3 is not None:
            _numbers(self, beta3=(0, 1))
        _growth(self)


class DAdaptSGD(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="dadapt_sgd"):
    """SGD by D-adaptation: the distance to the solution is bounded from below, and steps go by it; base rate 1.

    Args:
        momentum: in [0, 1).
        weight_decay: >= 0; added to the gradient.
        d0: > 0; the first estimate.
        growth_rate: > 1; how fast the estimate may grow in a step; by default as fast as it wants.
    Source:
        Defazio, Mishchenko 2023, arXiv:2301.07733, algorithm 4; package dadaptation 3.2.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    d0: float = 1e-6
    growth_rate: float | None = None
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, momentum=(0, 1), weight_decay=(0, None))
        _positive(self, d0=None)
        _growth(self)


class DAdaptAdam(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="dadapt_adam"):
    """Adam by D-adaptation: the distance to the solution is bounded from below, and steps go by it; base rate 1.

    Args:
        beta1: in [0, 1).
        beta2: in [0, 1).
        eps: > 0.
        weight_decay: >= 0.
        decoupled: whether weight decay is AdamW's, or added to the gradient.
        bias_correction: as Adam has it.
        d0: > 0; the first estimate.
        growth_rate: > 1; how fast the estimate may grow in a step; by default as fast as it wants.
    Source:
        Defazio, Mishchenko 2023, arXiv:2301.07733, algorithm 5; package dadaptation 3.2.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    bias_correction: bool = False
    d0: float = 1e-6
    growth_rate: float | None = None
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, beta1=(0, 1), beta2=(0, 1), weight_decay=(0, None))
        _positive(self, eps=None, d0=None)
        _flags(self, "decoupled", "bias_correction")
        _growth(self)


class DoG(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="dog"):
    """Distance over gradients: SGD whose step is how far it has come over what gradients it has seen; base rate 1.

    Evaluation is at an average of the weights, without which it does badly.

    Args:
        initial_distance: > 0; the first step's length in units of one plus the norm of the initial weights; 1e-4 for
            models with batch norm (r_epsilon).
        eps: > 0; added to the sum of squared gradient norms.
        weight_decay: >= 0; added to the gradient.
        average_power: >= 0; the average's weights grow with the step to this power (gamma).
    Source:
        Ivgi, Hinder, Carmon 2023, arXiv:2302.12022, equation 1 and section 4.2; Shamir, Zhang 2013, ICML, section 4
        (the average).
    """

    initial_distance: float = 1e-6
    eps: float = 1e-8
    weight_decay: float = 0.0
    average_power: float = 8.0
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, weight_decay=(0, None), average_power=(0, None))
        _positive(self, initial_distance=None, eps=None)


class LDoG(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="ldog"):
    """Distance over gradients, for every tensor of weights by itself; base rate 1.

    Evaluation is at an average of the weights, without which it does badly.

    Args:
        initial_distance: > 0; the first step's length in units of one plus the norm of the tensor's initial weights;
            1e-4 for models with batch norm (r_epsilon).
        eps: > 0; added to the sums of squared gradient norms.
        weight_decay: >= 0; added to the gradient.
        average_power: >= 0; the average's weights grow with the step to this power (gamma).
    Source:
        Ivgi, Hinder, Carmon 2023, arXiv:2302.12022, section 4.1; Shamir, Zhang 2013, ICML, section 4 (the average).
    """

    initial_distance: float = 1e-6
    eps: float = 1e-8
    weight_decay: float = 0.0
    average_power: float = 8.0
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, weight_decay=(0, None), average_power=(0, None))
        _positive(self, initial_distance=None, eps=None)


class DoWG(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="dowg"):
    """Distance over weighted gradients: as DoG, with later gradients counting more; base rate 1.

    Args:
        initial_distance: > 0; the least distance that is reckoned with (r_epsilon).
        eps: > 0; added to the root of the weighted sum.
        weight_decay: >= 0; added to the gradient.
    Source:
        Khaled, Mishchenko, Jin 2023, arXiv:2305.16284, algorithm 1.
    """

    initial_distance: float = 1e-2
    eps: float = 1e-4
    weight_decay: float = 0.0
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, weight_decay=(0, None))
        _positive(self, initial_distance=None, eps=None)


class Cocob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="cocob"):
    """Continuous coin betting, for every weight by itself: there is no learning rate; base rate 1.

    A schedule weights the gradients: at a lower rate a step is worth less. A constant rate changes nothing.

    Args:
        alpha: > 0; how carefully the first bets are made: as if so many of the largest gradients had been seen.
        eps: > 0; the scale of gradients before any is seen.
        weight_decay: >= 0; added to the gradient.
    Source:
        Orabona, Tommasi 2017, arXiv:1705.07795, algorithm 2.
    """

    alpha: float = 100.0
    eps: float = 1e-8
    weight_decay: float = 0.0
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _numbers(self, weight_decay=(0, None))
        _positive(self, alpha=None, eps=None)


class Mechanic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="mechanic"):
    """A tuner around an optimizer: the sum of its updates is scaled by what would have paid so far; base rate 1.

    In text the optimizer comes first: `mechanic(sgd(momentum=0.8), decay=0)`.

    Args:
        inner: the optimizer whose updates are scaled, sgd or adamw.
        decay: >= 0; pulls the scale towards 0 (lambda).
        initial_scale: > 0 (s_init).
        eps: > 0.
        num_betas: 1 to 15; horizons of 10, 100, ... steps over which the scale is learned, summed (n).
    Source:
        Cutkosky, Defazio, Mehta 2023, arXiv:2306.00144, algorithm 1.
    """

    inner: SGD | AdamW = msgspec.field(default_factory=AdamW)
    decay: float = 0.01
    initial_scale: float = 1e-8
    eps: float = 1e-8
    num_betas: int = 6
    usual_lr: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        checks.instance("inner", self.inner, SGD | AdamW, "sgd or adamw, with or without their numbers")
        _numbers(self, decay=(0, None))
        _positive(self, initial_scale=None, eps=None)
        msgspec.structs.force_setattr(self, "num_betas", checks.integer("num_betas", self.num_betas, low=1, high=15))

    @property
    def weight_decay(self) -> float:
        """That of the optimizer inside."""
        return self.inner.weight_decay


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="optimizer", tag="own"):
    """The optimizer that a training script makes itself, with all but its learning rate."""

    usual_lr: ClassVar[float | None] = None

    @property
    def weight_decay(self) -> float:
        """1: what is scheduled is told in multiples of the script's own."""
        return 1.0


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


def _positive(spec: msgspec.Struct, **highs: float | None) -> None:
    """Check and store plain floats > 0; an upper bound is open."""
    for name, high in highs.items():
        value = getattr(spec, name)
        checked = (
            checks.number(name, value, low=0, open_low=True)
            if high is None
            else checks.number(name, value, low=0, high=high, open_low=True, open_high=True)
        )
        msgspec.structs.force_setattr(spec, name, checked)


def _growth(spec: Prodigy | DAdaptSGD | DAdaptAdam) -> None:
    """A growth rate above 1, where one is given."""
    if spec.growth_rate is not None:
        checked = checks.number("growth_rate", spec.growth_rate, low=1, open_low=True)
        msgspec.structs.force_setattr(spec, "growth_rate", checked)


def _flags(spec: msgspec.Struct, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(spec, name), bool):
            raise BadInput(f"`{name}` must be true or false, got {name}={checks.shown(getattr(spec, name))}.")
