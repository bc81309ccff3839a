"""SGD: torch's own, fused, whose momentum begins at 0 and not in a way that only fits a usual first update."""

from typing import Any

import torch
from torch import Tensor

from lrcontrol.training.optimizers.kinds import OfTorch

__all__ = ["SGD"]


class SGD(OfTorch, torch.optim.SGD):
    """torch's SGD, in which the momentum of every parameter begins when it gets its first gradient.

    torch's fused step begins that of a whole group at once. It raises TypeError where a parameter gets its first
    gradient later than the others, and goes on with memory that nobody wrote where a gradient scaler skips the first
    update. A momentum that begins at 0 comes to the same numbers as torch's, and to what SGD without fused=True does.
    """

    _sets = ("momentum", "dampening", "weight_decay", "nesterov")
    _may_keep = ("momentum_buffer",)

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        momentum_buffer_list: list[Tensor | None],
    ) -> bool:
        has_sparse: bool = super()._init_group(group, params, grads, momentum_buffer_list)  # type: ignore[no-untyped-call]
        # With dampening the first update would be another: torch takes the whole of a first gradient.
        if group["fused"] and group["momentum"] and not group["dampening"]:
            for place, parameter in enumerate(params):
                if momentum_buffer_list[place] is None:
                    begun = torch.zeros_like(parameter)
                    momentum_buffer_list[place] = self.state[parameter]["momentum_buffer"] = begun
        return has_sparse
