"""Steps of torch's SGD and AdamW on other tensors than their parameters, with their own kernels and states."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol.training.optimizers.adam_step import adam_step
from lrcontrol.training.optimizers.blocks import add_scaled, with_decay
from lrcontrol.training.optimizers.kinds import class_in_torch
from lrcontrol.training.optimizers.layout import Blocks
from lrcontrol.training.optimizers.lr_free import Part

__all__ = ["known_states", "moments_of", "step_block"]

States = list[dict[str, Any]]

_OTHERWISE = ("amsgrad", "capturable", "dampening", "differentiable", "maximize")


def known_states(inner: Optimizer, parts: list[Part]) -> list[States] | None:
    """The states of an optimizer for the parts; None where these steps are not its own, so that it has to make them.

    That is so for another kind of optimizer, or another device, or where something else than its usual steps is asked
    for; where it is watched; and where some parameters have made more steps than others, on a processor.
    """
    watched = inner._optimizer_step_pre_hooks or inner._optimizer_step_post_hooks or "step" in vars(inner)
    device = parts[0].parameters[0].device.type
    known = class_in_torch(inner) in (torch.optim.SGD, torch.optim.AdamW)
    if not known or watched or device not in ("cpu", "cuda"):
        return None
    found = []
    for part in parts:
        group = part.group
        if any(group.get(name) for name in _OTHERWISE) or isinstance(group["lr"], Tensor):
            return None
        if device == "cuda" and (part.layout.puts_together or not group["fused"]):
            return None
        states = [inner.state[each] for each in group["params"] if each.grad is not None]
        if device == "cpu" and len({float(state.get("step", 0)) for state in states}) > 1:
            return None
        found.append(states)
    return found


def moments_of(inner: Optimizer, part: Part, states: States) -> tuple[list[Blocks], list[list[Tensor]]]:
    """For each block what the optimizer keeps of it, and the numbers of the steps that are made, which it counts."""
    part, layout = part._replace(states=states), part.layout
    nothing: list[list[Tensor]] = [[] for _ in layout.owners]
    if isinstance(inner, torch.optim.SGD):
        if not part.group["momentum"]:
            return [], nothing
        for state in states:
            if state.get("momentum_buffer", 0) is None:
                del state["momentum_buffer"]
        part.keep(momentum_buffer=torch.zeros_like)
        return [layout.kept("momentum_buffer", states)], nothing
    device = part.parameters[0].device
    part.keep(step=lambda _: torch.zeros((), device=device))
    part.keep(exp_avg=torch.zeros_like, exp_avg_sq=torch.zeros_like)
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, torch.ones((), device=device) if device.type == "cpu" else 1)
    moments = [layout.kept(name, states) for name in ("exp_avg", "exp_avg_sq")]
    return moments, [[steps[owner] for owner in block] for block in layout.owners]


def step_block(
    tensors: list[Tensor],
    grads: list[Tensor],
    parameters: list[Tensor],
    moments: list[list[Tensor]],
    steps: list[Tensor],
    group: dict[str, Any],
    rooms: list[Tensor],
) -> None:
    """Step `tensors` as the parameters would be, with weight decay that is of the parameters."""
    lr, decay = float(group["lr"]), float(group["weight_decay"])
    if steps:
        if decay:
            add_scaled(tensors, parameters, -lr * decay)
        (beta1, beta2), (firsts, seconds) = group["betas"], moments
        adam_step(tensors, grads, firsts, seconds, steps, lr=lr, beta1=beta1, beta2=beta2, eps=group["eps"])
        return
    torch._fused_sgd_(
        tensors,
        with_decay(grads, parameters, decay, rooms),
        moments[0] if moments else [],
        weight_decay=0.0,
        momentum=group["momentum"],
        lr=lr,
        dampening=0.0,
        nesterov=group["nesterov"],
        maximize=False,
        is_first_step=False,
    )
