"""Mechanic: the sum of another optimizer's updates, scaled by what would have paid so far."""

import copy
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import add_scaled, dots, fitting, squares, total
from lrcontrol.training.optimizers.inner_step import known_states, moments_of, step_block
from lrcontrol.training.optimizers.kinds import KIND
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["Mechanic"]


class Mechanic(LRFree):
    """See `runs.optimizer_specs.Mechanic`; `scales` of each group are the scales that are summed.

    Nothing waits for the device. The groups are those of the optimizer inside, whose learning rate should be 1 or
    follow a schedule whose base is 1.

    Args:
        inner: makes the updates; before its first one. The usual steps of torch's SGD and AdamW are made on the sum
            itself; those of others are read off the parameters, which costs a copy.
        spec: the numbers of the tuner; its own `inner` is not looked at.
    """

    _keeps = ("x0", "delta")

    def __init__(self, inner: Optimizer, spec: specs.Mechanic) -> None:
        checks.instance("inner", inner, Optimizer, "a torch optimizer")
        self.inner = inner
        settings = {
            "mechanic_decay": spec.decay,
            "initial_scale": spec.initial_scale,
            "mechanic_eps": spec.eps,
            "num_betas": spec.num_betas,
        }
        begun = dict.fromkeys(("largest", "products", "reward", "scales"))
        super().__init__(inner.param_groups, settings | begun)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to both."""
        if not any(each is param_group for each in self.inner.param_groups):
            self.inner.add_param_group(param_group)
            param_group = self.inner.param_groups[-1]
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {**super().state_dict(), "inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        checks.instance("state_dict", state_dict, dict, "what state_dict() gave")
        if not isinstance(state_dict.get("inner"), dict):
            raise BadInput(
                "a state of Mechanic must hold `inner`, the state of the optimizer inside, got none; load it into an "
                "optimizer of the kind that saved it."
            )
        own = {name: value for name, value in state_dict.items() if name != "inner"}
        super().load_state_dict(own)
        inner = copy.deepcopy(state_dict["inner"])
        for group in inner["param_groups"]:  # shared, and so of both kinds
            group.pop(KIND, None)
        self.inner.load_state_dict(inner)
        self.param_groups = self.inner.param_groups
        self._name_kind()

    def _not_of_group(self, group: dict[str, Any]) -> str | None:
        """Also where the optimizer inside was another; flags, which torch's versions add, may be missing."""
        why = super()._not_of_group(group)
        numbers = (name for name, value in self.inner.defaults.items() if not isinstance(value, bool | None))
        missing = next((name for name in numbers if name not in group), None)
        return why or (missing and f"a group without `{missing}`")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "inner": self.inner}

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            part.keep(x0=torch.clone, delta=torch.zeros_like)
        scale = self.found = self._tune(*_slope(parts, decays=bool(self.param_groups[0]["mechanic_decay"])))
        number = float(scale) if scale.device.type == "cpu" else 0.0
        known = known_states(self.inner, parts)
        if known is None:
            self._read_off(parts)
        for part, states in zip(parts, known or repeat(None), strict=False):
            moments, steps = ([], part.layout.owners) if states is None else moments_of(self.inner, part, states)
            every = zip(part.blocks("x0", "delta", rooms=1), steps, *moments, strict=True)
            for (g, p, begun, sum_, room), of_block, *kept in every:
                if states is not None:
                    step_block(sum_, g, p, kept, of_block, part.group, room)
                if room:
                    for new, old, moved in zip(p, begun, sum_, strict=True):
                        torch.add(old, moved, alpha=fitting(number, new.dtype), out=new)
                else:
                    torch._foreach_copy_(p, begun)
                    add_scaled(p, sum_, scale)

    def _tune(self, gain: Tensor, pull: Tensor) -> Tensor:
        """Learn from the slope along the sum so far; the scale from now on."""
        group = self.param_groups[0]
        count, eps, initial = group["num_betas"], group["mechanic_eps"], group["initial_scale"]
        if group["scales"] is None:
            zeros = torch.zeros(count, dtype=gain.dtype, device=gain.device)
            largest, products, reward, scales = zeros, zeros, zeros, zeros
        else:
            largest, products, reward, scales = (
                group[name].to(gain.device) for name in ("largest", "products", "reward", "scales")
            )
        betas = 1 - 0.1 ** torch.arange(1, count + 1, dtype=gain.dtype, device=gain.device)
        slope = gain + group["mechanic_decay"] * scales.sum() * pull
        largest = torch.maximum(betas * largest, slope.abs())
        products = betas**2 * products + slope**2
        reward = torch.clamp_min(betas * reward - scales * slope, 0)
        scales = (largest * initial / count + reward) / (products.sqrt() + eps)
        self._share(largest=largest, products=products, reward=reward, scales=scales)
        scale: Tensor = scales.sum()
        return scale

    def _read_off(self, parts: list[Part]) -> None:
        """Let the optimizer inside make its update, and add that to the sums."""
        before = [[each.clone() for each in part.parameters] for part in parts]
        every = [each for part in parts for each in part.group["params"] if each.grad is not None]
        # torch's fused optimizers silently take gradients to lie as parameters do
        otherwise = [(each, each.grad) for each in every if each.grad.stride() != each.stride()]
        for each, grad in otherwise:
            each.grad = torch.empty_like(each, requires_grad=False).copy_(grad)
        try:
            with torch.enable_grad():
                self.inner.step()
        finally:
            for each, grad in otherwise:
                each.grad = grad
        for each, tensor in zip(every, [tensor for part in parts for tensor in part.parameters], strict=True):
            if each.data_ptr() != tensor.data_ptr():  # the optimizer has put another in its place
                tensor.copy_(each)
                each.data = tensor
        for part, were in zip(parts, before, strict=True):
            torch._foreach_add_(part.kept("delta"), torch._foreach_sub(part.parameters, were))


def _slope(parts: list[Part], *, decays: bool) -> tuple[Tensor, Tensor]:
    """The slope of the loss along the sums, and that of what pulls the weights to 0 as hard as the gradient pulls."""
    gains: list[Tensor] = []
    grads_of: list[Tensor] = []
    sizes: list[Tensor] = []
    inner: list[Tensor] = []
    for part in parts:
        for g, p, sum_ in part.blocks("delta"):
            gains += dots(sum_, g)
            if decays:
                grads_of += squares(g)
                sizes += squares(p)
                inner += dots(sum_, p)
    gain = total(gains)
    if not decays:
        return gain, torch.zeros_like(gain)
    size = total(sizes)
    pull = total(grads_of).sqrt() * total(inner) / torch.where(size > 0, size, 1).sqrt()
    return gain, pull
