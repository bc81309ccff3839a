"""Optimizers of methods, made for a model's parameters."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lrcontrol.errors import BadInput
from lrcontrol.runs.method import SGD, AdamW, OptimizerSpec, Own

__all__ = ["make_optimizer"]


def make_optimizer(
    spec: OptimizerSpec, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], base_lr: float
) -> torch.optim.Optimizer:
    """The torch optimizer that `spec` describes, fused: one kernel an update instead of one an operation.

    Raises:
        BadInput: it leaves the optimizer to a script.
    """
    match spec:
        case SGD():
            return torch.optim.SGD(
                parameters,
                lr=base_lr,
                momentum=spec.momentum,
                weight_decay=spec.weight_decay,
                nesterov=spec.nesterov,
                fused=True,
            )
        case AdamW():
            return torch.optim.AdamW(
                parameters,
                lr=base_lr,
                betas=(spec.beta1, spec.beta2),
                eps=spec.eps,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        case Own():
            raise BadInput("a method must name the optimizer that is to be made, got own; give one such as adamw.")
