"""One step of Adam on a block: torch's own kernel, which reads and writes each number once, where there is one."""

import torch
from torch import Tensor

__all__ = ["NO_CORRECTION", "adam_step", "over_roots"]

NO_CORRECTION = 1e30
"""A step so late that the corrections of the moments are 1."""

_NEXT_TO_1 = 1 - 2**-53

_HAVE_KERNEL = ("cpu", "cuda")


def adam_step(
    tensors: list[Tensor],
    grads: list[Tensor],
    firsts: list[Tensor],
    seconds: list[Tensor],
    step: float | list[Tensor],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
) -> None:
    """Step `tensors` and their moments as torch.optim.AdamW does; nothing waits for the device.

    Args:
        tensors: one device and type; changed.
        grads: of their shapes.
        firsts: their first moments, changed; where `beta1` is 0 any memory, of finite numbers.
        seconds: their second moments, changed.
        step: from 1; the corrections of the moments are those of this step. Where there is a kernel, also one for
            each tensor, on its device.
        lr: may be 0.
        beta1: in [0, 1).
        beta2: in [0, 1).
        eps: >= 0.
        weight_decay: >= 0; multiplied by `lr`.
    Source:
        Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2.
    Example:
        >>> weight, second = torch.ones(1), torch.zeros(1)
        >>> adam_step([weight], [torch.ones(1)], [torch.zeros(1)], [second], 1, lr=0.5, beta1=0, beta2=0.99, eps=0)
        >>> weight
        tensor([0.5000])
    """
    device = tensors[0].device
    if device.type in _HAVE_KERNEL or isinstance(step, list):
        at = step if isinstance(step, list) else [torch.full((), float(step), device=device)] * len(tensors)
        torch._fused_adamw_(
            tensors,
            grads,
            firsts,
            seconds,
            [],
            at,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        return
    torch._foreach_lerp_(firsts, grads, 1 - beta1)
    torch._foreach_mul_(seconds, beta2)
    torch._foreach_addcmul_(seconds, grads, grads, value=1 - beta2)
    roots = torch._foreach_sqrt(seconds)
    torch._foreach_div_(roots, (1 - beta2**step) ** 0.5)
    torch._foreach_add_(roots, eps)
    torch._foreach_mul_(tensors, 1 - lr * weight_decay)
    torch._foreach_addcdiv_(tensors, firsts, roots, value=-lr / (1 - beta1**step))


def over_roots(
    tensors: list[Tensor], seconds: list[Tensor], eps: float, rooms: list[Tensor], zeros: list[Tensor]
) -> list[Tensor]:
    """The tensors over the roots of second moments plus `eps`, put into the rooms where there are some.

    torch's square roots on a processor cost as much as a whole step of Adam's kernel, which divides by them, too. The
    tensors are its first moments here, and at betas next to 1 it leaves what it is given as it is, to rounding.
    """
    if not rooms:
        roots = torch._foreach_sqrt(seconds)
        torch._foreach_add_(roots, eps)
        return list(torch._foreach_div(tensors, roots))
    torch._foreach_zero_(rooms)
    adam_step(rooms, zeros, tensors, seconds, NO_CORRECTION, lr=-1.0, beta1=_NEXT_TO_1, beta2=_NEXT_TO_1, eps=eps)
    return rooms
