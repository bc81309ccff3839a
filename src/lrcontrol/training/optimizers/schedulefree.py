"""Schedule-free SGD and AdamW: z is stepped, x is the average of z, gradients are taken between them at y.

The parameters hold y, z is kept beside them, and x follows from both. The authors' package is the reference.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.adam_step import adam_step
from lrcontrol.training.optimizers.blocks import add_scaled, into, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]


class _ScheduleFree(LRFree):
    """What both have in common; `step`, `largest_lr`, `weight_sum` and `mixed` of each group are its own."""

    def __init__(
        self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], settings: dict[str, Any], momentum: float
    ) -> None:
        made = {"step": 0, "largest_lr": 0.0, "weight_sum": 0.0, "mixed": momentum}
        super().__init__(parameters, settings | made)

    def values_for_evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The averages x, from y and z."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if "z" in self.state.get(parameter, {}):
                    beta = group["mixed"]
                    yield parameter, torch.lerp(parameter.detach(), self.state[parameter]["z"], 1 - 1 / beta)

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            group = part.group
            part.keep(z=torch.clone)
            lr, step = float(group["lr"]), group["step"] + 1
            largest = max(lr, group["largest_lr"])
            weight = _power(step, group["average_power"]) * _power(largest, group["lr_power"])
            weight_sum = group["weight_sum"] + weight
            share = weight / weight_sum if weight_sum else 0.0
            held, beta = group["mixed"], self._beta(group)
            group.update(step=step, largest_lr=largest, weight_sum=weight_sum, mixed=beta)
            self._descend(part, lr, share, held)

    def _beta(self, group: dict[str, Any]) -> float:
        """How much of the average gradients are taken at from now on."""
        raise NotImplementedError

    def _descend(self, part: Part, lr: float, share: float, held: float) -> None:
        """Step z, and put y between it and the average, in which it has a share; `held` is what mixed them so far."""
        raise NotImplementedError


class ScheduleFreeSGD(_ScheduleFree):
    """See `runs.optimizer_specs.ScheduleFreeSGD`."""

    _keeps = ("z",)

    def __init__(
        self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], spec: specs.ScheduleFreeSGD, lr: float
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": spec.momentum,
            "weight_decay": spec.weight_decay,
            "average_power": spec.average_power,
            "lr_power": spec.lr_power,
        }
        super().__init__(parameters, settings, spec.momentum)

    def _beta(self, group: dict[str, Any]) -> float:
        return float(group["momentum"])

    def _descend(self, part: Part, lr: float, share: float, held: float) -> None:
        decay, beta = part.group["weight_decay"], part.group["mixed"]
        for g, y, z, room in part.blocks("z", rooms=1):
            slopes = with_decay(g, y, decay, room)
            if beta != held:
                torch._foreach_lerp_(y, z, 1 - beta / held)
            # y' = (1 - beta) z' + beta ((1 - c) x + c z'), in terms of y: x is never made
            torch._foreach_lerp_(y, z, share)
            add_scaled(y, slopes, lr * (beta * (1 - share) - 1))
            add_scaled(z, slopes, -lr)


class ScheduleFreeAdamW(_ScheduleFree):
    """See `runs.optimizer_specs.ScheduleFreeAdamW`."""

    _keeps = ("z", "exp_avg_sq")

    def __init__(
        self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], spec: specs.ScheduleFreeAdamW, lr: float
    ) -> None:
        settings = {
            "lr": lr,
            "betas": (spec.beta1, spec.beta2),
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
            "average_power": spec.average_power,
            "lr_power": spec.lr_power,
        }
        super().__init__(parameters, settings, spec.beta1)

    def _beta(self, group: dict[str, Any]) -> float:
        return float(group["betas"][0])

    def _descend(self, part: Part, lr: float, share: float, held: float) -> None:
        group = part.group
        decay, beta2, eps = group["weight_decay"], group["betas"][1], group["eps"]
        part.keep(exp_avg_sq=torch.zeros_like)
        for g, y, z, second, nothing, room in part.blocks("z", "exp_avg_sq", rooms=2):
            decayed = into(room, "mul", y, -lr * decay) if decay else None
            torch._foreach_lerp_(y, z, 1 - 1 / held)  # x
            nothing = nothing or list(map(torch.empty_like, g))
            torch._foreach_zero_(nothing)
            adam_step(z, g, nothing, second, group["step"], lr=lr, beta1=0.0, beta2=beta2, eps=eps)
            if decayed is not None:
                torch._foreach_add_(z, decayed)
            # y' = (1 - beta) z' + beta ((1 - c) x + c z')
            torch._foreach_lerp_(y, z, 1 - group["mixed"] * (1 - share))


def _power(number: float, exponent: float) -> float:
    """The power, or infinity where that is too large for a float."""
    try:
        return float(number**exponent)
    except OverflowError:
        return math.inf
