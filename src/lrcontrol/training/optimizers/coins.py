"""COCOB: every weight bets on the sign of its next gradient; what it has won so far decides how much."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import into, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["Cocob"]


class Cocob(LRFree):
    """See `runs.optimizer_specs.Cocob`.

    The learning rate weights the gradients, as a schedule's multiplier does in online learning and in optax's version:
    the paper has none.
    """

    _keeps = ("x0", "scale", "sum", "won", "bet")

    def __init__(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], spec: specs.Cocob, lr: float) -> None:
        settings = {"lr": lr, "alpha": spec.alpha, "eps": spec.eps, "weight_decay": spec.weight_decay}
        super().__init__(parameters, settings)

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            group = part.group
            eps, alpha, lr = group["eps"], group["alpha"], float(group["lr"])
            part.keep(x0=torch.clone, scale=partial(torch.full_like, fill_value=eps))
            part.keep(sum=torch.zeros_like, won=torch.zeros_like, bet=torch.zeros_like)
            for g, p, x0, scale, sum_, won, bet, room_of_sizes, room in part.blocks(
                "x0", "scale", "sum", "won", "bet", rooms=2
            ):
                slopes = with_decay(g, p, group["weight_decay"], room)
                if lr != 1:
                    slopes = into(room, "mul", slopes, lr)
                sizes = into(room_of_sizes, "abs", slopes)
                torch._foreach_maximum_(scale, sizes)
                torch._foreach_add_(sum_, sizes)
                torch._foreach_sub_(p, x0)  # what is bet now
                torch._foreach_addcmul_(won, p, slopes, value=-1)
                torch._foreach_clamp_min_(won, 0)
                torch._foreach_sub_(bet, slopes)
                # x0 + bet / (scale * max(sum + scale, alpha * scale)) * (scale + won)
                sizes = into(room_of_sizes, "mul", scale, alpha - 1)
                torch._foreach_maximum_(sizes, sum_)
                torch._foreach_add_(sizes, scale)
                torch._foreach_mul_(sizes, scale)
                stakes = into(room, "add", won, scale)
                torch._foreach_mul_(stakes, bet)
                if room:
                    into(p, "addcdiv", x0, stakes, sizes)
                else:
                    torch._foreach_copy_(p, x0)
                    torch._foreach_addcdiv_(p, stakes, sizes)
