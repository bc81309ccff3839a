"""Prodigy and D-adaptation: steps go by d, a growing lower bound of the distance to the solution.

The host learns d once a step. The authors' packages are the reference, to rounding. Groups at rate 0 stand still.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.adam_step import NO_CORRECTION, adam_step, over_roots
from lrcontrol.training.optimizers.blocks import add_scaled, dots, into, sizes, squares, total, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part, one_lr

__all__ = ["DAdaptAdam", "DAdaptSGD", "Prodigy"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class Prodigy(LRFree):
    """See `runs.optimizer_specs.Prodigy`; `d` of each group is the estimate now."""

    _keeps = ("p0", "s", "exp_avg", "exp_avg_sq")

    def __init__(self, parameters: Parameters, spec: specs.Prodigy, lr: float) -> None:
        settings = {
            "lr": lr,
            "betas": (spec.beta1, spec.beta2),
            "beta3": spec.beta3,
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
            "decoupled": spec.decoupled,
            "bias_correction": spec.bias_correction,
            "safeguard_warmup": spec.safeguard_warmup,
            "d0": spec.d0,
            "d_coef": spec.d_coef,
            "growth_rate": spec.growth_rate,
        }
        super().__init__(parameters, settings | {"step": 0, "d": spec.d0, "d_max": spec.d0, "numerator": 0.0})

    def _update(self, parts: list[Part]) -> None:
        lr, first = one_lr(self), self.param_groups[0]
        self.found = first["d"] * _correction(first)
        parts = [part for part in parts if part.group["lr"] > 0]
        if not parts:
            return
        beta1, beta2 = first["betas"]
        beta3 = math.sqrt(beta2) if first["beta3"] is None else first["beta3"]
        d, d0 = first["d"], first["d0"]
        dlr = d * lr * _correction(first)
        weight = d / d0 * (d if first["safeguard_warmup"] else dlr)
        gains: list[Tensor] = []
        norms: list[Tensor] = []
        for part in parts:
            _begin_units(part, d)
            part.keep(p0=torch.clone, s=torch.zeros_like, exp_avg=torch.zeros_like, exp_avg_sq=torch.zeros_like)
            for g, p, x0, sums_of, room, other in part.blocks("p0", "s", rooms=2):
                slopes = _slopes(part.group, g, p, other)
                gains += dots(slopes, into(room, "sub", x0, p))
                torch._foreach_mul_(sums_of, beta3)
                add_scaled(sums_of, slopes, weight)
                norms += sizes(sums_of, room)
        gain, norm = _known(gains, norms)
        if norm == 0:
            return
        numerator = beta3 * first["numerator"] + d / d0 * dlr * gain
        estimate = first["d_coef"] * numerator / norm
        largest = max(first["d_max"], estimate)
        begun = max(d, estimate) if d == d0 else d
        after = largest if first["growth_rate"] is None else min(largest, begun * first["growth_rate"])
        for part in parts:
            group = part.group
            decay = group["weight_decay"] if group["decoupled"] else 0.0
            aged = _in_units(part, d, exp_avg=1, exp_avg_sq=2)
            for g, p, of_first, of_second, room in part.blocks("exp_avg", "exp_avg_sq", rooms=1):
                if aged != 1:
                    torch._foreach_mul_(of_first, aged)
                    torch._foreach_mul_(of_second, aged**2)
                adam_step(
                    p,
                    _slopes(group, g, p, room),
                    of_first,
                    of_second,
                    NO_CORRECTION,
                    lr=dlr,
                    beta1=beta1,
                    beta2=beta2,
                    eps=group["eps"] * after / d,
                    weight_decay=decay,
                )
        self._share(step=first["step"] + 1, d=after, d_max=largest, numerator=numerator)


class DAdaptAdam(LRFree):
    """See `runs.optimizer_specs.DAdaptAdam`; `d` of each group is the estimate now."""

    _keeps = ("exp_avg", "exp_avg_sq", "s")

    def __init__(self, parameters: Parameters, spec: specs.DAdaptAdam, lr: float) -> None:
        settings = {
            "lr": lr,
            "betas": (spec.beta1, spec.beta2),
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
            "decoupled": spec.decoupled,
            "bias_correction": spec.bias_correction,
            "growth_rate": spec.growth_rate,
        }
        super().__init__(parameters, settings | {"step": 0, "d": spec.d0, "numerator": 0.0})

    def _update(self, parts: list[Part]) -> None:
        lr, first = one_lr(self), self.param_groups[0]
        self.found = first["d"] * _correction(first)
        parts = [part for part in parts if part.group["lr"] > 0]
        if not parts:
            return
        beta1, beta2 = first["betas"]
        keep = math.sqrt(beta2)
        d = first["d"]
        dlr = d * lr * _correction(first)
        gains: list[Tensor] = []
        norms: list[Tensor] = []
        for part in parts:
            group = part.group
            decay, eps = (group["weight_decay"] if group["decoupled"] else 0.0), group["eps"]
            _begin_units(part, dlr)
            part.keep(exp_avg=torch.zeros_like, exp_avg_sq=torch.zeros_like, s=torch.zeros_like)
            aged = _in_units(part, dlr, exp_avg=1, s=1)
            for g, p, of_first, of_second, sums, room, other, zeros in part.blocks(
                "exp_avg", "exp_avg_sq", "s", rooms=3
            ):
                slopes = _slopes(group, g, p, other)
                if aged != 1:
                    torch._foreach_mul_(of_first, aged)
                    torch._foreach_mul_(sums, aged)
                gains += dots(slopes, over_roots(sums, of_second, eps, room, zeros))
                torch._foreach_lerp_(sums, slopes, 1 - keep)
                norms += sizes(sums, room)
                adam_step(
                    p,
                    slopes,
                    of_first,
                    of_second,
                    NO_CORRECTION,
                    lr=dlr,
                    beta1=beta1,
                    beta2=beta2,
                    eps=eps,
                    weight_decay=decay,
                )
        gain, norm = (dlr * each for each in _known(gains, norms))
        if norm == 0:
            return
        numerator = keep * first["numerator"] + (1 - keep) * dlr * gain
        self._share(
            step=first["step"] + 1,
            d=_grown(first, numerator / ((1 - keep) * norm) if keep < 1 else d),
            numerator=numerator,
        )


class DAdaptSGD(LRFree):
    """See `runs.optimizer_specs.DAdaptSGD`; `d` of each group is the estimate now."""

    _keeps = ("x0", "s")

    def __init__(self, parameters: Parameters, spec: specs.DAdaptSGD, lr: float) -> None:
        settings = {
            "lr": lr,
            "momentum": spec.momentum,
            "weight_decay": spec.weight_decay,
            "growth_rate": spec.growth_rate,
        }
        super().__init__(parameters, settings | {"d": spec.d0, "numerator": 0.0, "first_norm": 0.0})

    def _update(self, parts: list[Part]) -> None:
        lr, first = one_lr(self), self.param_groups[0]
        parts = [part for part in parts if part.group["lr"] > 0]
        if not parts:
            return
        first_norm = first["first_norm"] or self._norm(parts)
        if first_norm == 0:  # no gradient so far
            return
        dlr = first["d"] * lr / first_norm
        self.found = first["d"] / first_norm
        gains: list[Tensor] = []
        norms: list[Tensor] = []
        for part in parts:
            momentum, decay = part.group["momentum"], part.group["weight_decay"]
            part.keep(x0=torch.clone, s=torch.zeros_like)
            for g, p, starts_of, sums, room in part.blocks("x0", "s", rooms=1):
                slopes = with_decay(g, p, decay, room)
                gains += dots(slopes, sums)
                add_scaled(sums, slopes, dlr)
                norms += squares(sums)
                torch._foreach_lerp_(p, starts_of, 1 - momentum)
                torch._foreach_add_(p, sums, alpha=momentum - 1)
        gain, norm = _known(gains, norms)
        numerator = first["numerator"] + dlr * gain
        d = _grown(first, 2 * numerator / math.sqrt(norm)) if norm > 0 else first["d"]
        self._share(d=d, numerator=numerator, first_norm=first_norm)

    def _norm(self, parts: list[Part]) -> float:
        """Of the first gradient, without weight decay."""
        return math.sqrt(
            float(total([each for part in parts for grads, _ in part.blocks() for each in squares(grads)]))
        )


def _begin_units(part: Part, unit: float) -> None:
    """Moments that are new are in this unit, and those of before there were units in ones."""
    for state in part.states:
        if "unit" not in state:
            state["unit"] = 1.0 if "exp_avg" in state else unit


def _in_units(part: Part, unit: float, **powers: int) -> float:
    """What makes moments, of gradients in units of what d was, moments of gradients in units of what it is.

    They are kept in such units so that Adam's kernel can take the gradients as they are. Each parameter knows its own,
    for what had no gradient stayed behind; moments of different units are brought to the new one here.
    """
    units = {state["unit"] for state in part.states}
    aged = 1.0
    if len(units) == 1:
        aged = units.pop() / unit
    else:
        for state in part.states:
            for name, power in powers.items():
                state[name].mul_((state["unit"] / unit) ** power)
    for state in part.states:
        state["unit"] = unit
    return aged


def _slopes(group: dict[str, Any], grads: list[Tensor], parameters: list[Tensor], rooms: list[Tensor]) -> list[Tensor]:
    """The gradients, with weight decay where it is added to them."""
    return with_decay(grads, parameters, 0.0 if group["decoupled"] else group["weight_decay"], rooms)


def _correction(group: dict[str, Any]) -> float:
    """Adam's correction of both moments, where it is asked for."""
    if not group["bias_correction"]:
        return 1.0
    (beta1, beta2), step = group["betas"], group["step"] + 1
    return float(math.sqrt(1 - beta2**step) / (1 - beta1**step))


def _grown(group: dict[str, Any], estimate: float) -> float:
    """The estimate where it is larger than before, growing as fast as it may."""
    d, rate = group["d"], group["growth_rate"]
    return float(max(d, estimate if rate is None else min(estimate, d * rate)))


def _known(*numbers: list[Tensor]) -> list[float]:
    """The sums of numbers that the device has computed; the host waits for them once."""
    found: list[float] = torch.stack([total(each) for each in numbers]).tolist()
    return found
