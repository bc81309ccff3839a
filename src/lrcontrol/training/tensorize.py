"""Rates and betas as tensors, so that a compiled optimizer step is not compiled anew when they change."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.optimizers.kinds import class_in_torch

__all__ = ["tensorize"]

_RATES = ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
_BETAS = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")  # of _RATES, those that have them


def tensorize(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with every group's `lr`, and `betas` where it has them, as tensors to be filled in place.

    Under torch.compile a float that changes is compiled anew, a tensor that is filled is not. The tensors are float32
    on the device of the group's first parameter, so a rate is rounded once to float32. Call it before the step is
    compiled; a schedule may already be on the optimizer. What is a tensor already stays the object it is.

    Weight decays and SGD's momentum stay floats: with a schedule of theirs the step is compiled once more.

    In eager steps tensors cost more than floats, and without `capturable=True` an accelerator is waited for.

    Args:
        optimizer: one of torch's Adadelta, Adagrad, Adam, Adamax, AdamW, ASGD, NAdam, RAdam, RMSprop, Rprop, SGD. One
            that has betas needs `foreach=False`, `capturable=True` or `fused=True`; Adam and AdamW may also leave all
            three open.
    Raises:
        BadInput: another optimizer, or one in a mode that takes no tensors; nothing changes.
    Example:
        >>> optimizer = tensorize(torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5))
        >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]
        (tensor(0.5000), tensor(0.9000))
    """
    checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
    name = type(optimizer).__name__
    if name not in _RATES or class_in_torch(optimizer) is not getattr(torch.optim, name):
        raise BadInput(
            f"`tensorize` needs an optimizer that takes a tensor as its rate ({', '.join(_RATES)}), got {name}."
        )
    for group in optimizer.param_groups:
        mode = {key: group.get(key) for key in ("foreach", "capturable", "fused")}
        open_mode = mode["foreach"] is None and name in ("Adam", "AdamW")
        if name in _BETAS and not (mode["foreach"] is False or mode["capturable"] or mode["fused"] or open_mode):
            raise BadInput(
                f"`tensorize` needs {name} with foreach=False, capturable=True or fused=True, which take betas as "
                f"tensors, got foreach={mode['foreach']}; build it so."
            )
    for group in optimizer.param_groups:
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        group["lr"] = _tensor(group["lr"], device)
        if "betas" in group:
            group["betas"] = tuple(_tensor(beta, device) for beta in group["betas"])
    return optimizer


def _tensor(value: float | Tensor, device: torch.device) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float32, device=device)
