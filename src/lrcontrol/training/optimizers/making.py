"""Optimizers of methods, made for a model's parameters."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lrcontrol import checks
from lrcontrol.errors import BadInput, BadText
from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.runs.optimizer import OPTIMIZERS, OptimizerSpec, low_rate, optimizer_text, read_optimizer
from lrcontrol.schedules.reader import Reader
from lrcontrol.training.optimizers.adamw import AdamW
from lrcontrol.training.optimizers.coins import Cocob
from lrcontrol.training.optimizers.distances import DoG, DoWG, LDoG
from lrcontrol.training.optimizers.estimates import DAdaptAdam, DAdaptSGD, Prodigy
from lrcontrol.training.optimizers.mechanic import Mechanic
from lrcontrol.training.optimizers.schedulefree import ScheduleFreeAdamW, ScheduleFreeSGD
from lrcontrol.training.optimizers.sgd import SGD

__all__ = ["make_optimizer"]


def make_optimizer(
    spec: OptimizerSpec | str,
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    base_lr: float | None = None,
    **others: Any,
) -> torch.optim.Optimizer:
    """The torch optimizer that `spec` describes; SGD and AdamW are fused: one kernel an update, not one an operation.

    A parameter may get its first gradient later than others, as one that is frozen at first or a branch that is not
    always taken.

    Args:
        spec: an optimizer, or its text, such as `prodigy`, `mechanic(sgd)` or `dog(initial_distance=1e-4)`.
        parameters: tensors or groups, as torch's optimizers take them.
        base_lr: > 0; by default 1 for those that find their rate themselves, which a much lower one only slows down.
        others: none; all other numbers are in `spec`.
    Raises:
        BadInput: it leaves the optimizer to a script, it needs a rate, or an argument is not what it must be.
    Example:
        >>> make_optimizer("prodigy", [nn.Parameter(torch.ones(1))]).param_groups[0]["lr"]
        1.0
    """
    if others:
        raise BadInput(
            "`make_optimizer` takes an optimizer, its parameters and `base_lr` (the learning rate), got "
            f"`{next(iter(others))}`; all other numbers are in the text, as in dog(weight_decay=0.1)."
        )
    if isinstance(parameters, nn.Module):
        raise BadInput(
            "`parameters` must be tensors or groups, got a module; give model.parameters(), and `base_lr` after it "
            "where a rate is needed."
        )
    if isinstance(spec, str):
        spec = _read(spec)
        low = None if base_lr is None else low_rate(spec, checks.number("base_lr", base_lr, low=0, open_low=True))
        if low is not None:  # only where a text is given: of the data of a run it was said when that was asked for
            warnings.warn(low, stacklevel=2)
    checks.instance("spec", spec, OptimizerSpec, 'an optimizer such as AdamW() or "adamw"')
    if isinstance(spec, specs.Own):
        raise BadInput("a method must name the optimizer that is to be made, got own; give one such as adamw.")
    if base_lr is None:
        base_lr = spec.usual_lr
        if base_lr is None:
            name = spec.__struct_config__.tag
            raise BadInput(f"`base_lr` must be given for {name}: it does not find its learning rate itself.")
    base_lr = checks.number("base_lr", base_lr, low=0, open_low=True)
    match spec:
        case specs.SGD():
            return SGD(
                parameters,
                lr=base_lr,
                momentum=spec.momentum,
                weight_decay=spec.weight_decay,
                nesterov=spec.nesterov,
                fused=True,
            )
        case specs.AdamW():
            return AdamW(
                parameters,
                lr=base_lr,
                betas=(spec.beta1, spec.beta2),
                eps=spec.eps,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        case specs.ScheduleFreeSGD():
            return ScheduleFreeSGD(parameters, spec, base_lr)
        case specs.ScheduleFreeAdamW():
            return ScheduleFreeAdamW(parameters, spec, base_lr)
        case specs.Prodigy():
            return Prodigy(parameters, spec, base_lr)
        case specs.DAdaptSGD():
            return DAdaptSGD(parameters, spec, base_lr)
        case specs.DAdaptAdam():
            return DAdaptAdam(parameters, spec, base_lr)
        case specs.LDoG():
            return LDoG(parameters, spec, base_lr)
        case specs.DoG():
            return DoG(parameters, spec, base_lr)
        case specs.DoWG():
            return DoWG(parameters, spec, base_lr)
        case specs.Cocob():
            return Cocob(parameters, spec, base_lr)
        case specs.Mechanic():
            return Mechanic(make_optimizer(spec.inner, parameters, base_lr), spec)


def _read(text: str) -> OptimizerSpec:
    """The optimizer of a text, one that can be made."""
    reader = Reader(text, "optimizer")
    spec = read_optimizer(reader, [name for name, kind in OPTIMIZERS.items() if kind is not specs.Own])
    if reader.peek() == ":":
        raise BadText(
            f"`make_optimizer` takes an optimizer alone, got {checks.shown(text)}; make it as "
            f"{checks.shown(optimizer_text(spec))}, and give what is after the colon to as_torch_scheduler."
        )
    reader.finish()
    return spec
