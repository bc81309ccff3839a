"""Mechanic: the sum of another optimizer's updates, scaled by what would have paid so far."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import add_scaled, dots, squares, total
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["Mechanic"]


class Mechanic(LRFree):
    """See `runs.optimizer_specs.Mechanic`; `scales` of each group are the scales that are summed.

    Nothing waits for the device. The groups are those of the optimizer inside, whose learning rate should be 1 or
    follow a schedule whose base is 1.

    Args:
        inner: makes the updates; before its first one. torch's SGD and AdamW step the sum itself; with others their
            updates are read off the parameters, which costs a copy.
        spec: the numbers of the tuner; its own `inner` is not looked at.
    """

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
        own = {name: value for name, value in state_dict.items() if name != "inner"}
        super().load_state_dict(own)
        self.inner.load_state_dict(copy.deepcopy(state_dict["inner"]))
        self.param_groups = self.inner.param_groups

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "inner": self.inner}

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            part.keep(x0=torch.clone, delta=torch.zeros_like)
        scale = self._tune(*_slope(parts, decays=bool(self.param_groups[0]["mechanic_decay"])))
        self._advance(parts)
        on_cpu = scale.device.type == "cpu"
        known = float(scale) if on_cpu else 0.0
        for part in parts:
            for _, p, begun, sum_ in part.blocks("x0", "delta"):
                if on_cpu:
                    for new, old, moved in zip(p, begun, sum_, strict=True):
                        torch.add(old, moved, alpha=known, out=new)
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

    def _advance(self, parts: list[Part]) -> None:
        """Add the updates of the optimizer inside, all at the parameters as they are, to the sums."""
        kind = type(self.inner)
        if kind not in (torch.optim.SGD, torch.optim.AdamW):
            before = [[each.clone() for each in part.parameters] for part in parts]
            self._step_inner()
            for part, were in zip(parts, before, strict=True):
                torch._foreach_add_(part.kept("delta"), torch._foreach_sub(part.parameters, were))
            return
        with _standing_in(parts, coupled=kind is torch.optim.SGD):
            self._step_inner()

    def _step_inner(self) -> None:
        with torch.enable_grad():
            self.inner.step()


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


@contextmanager
def _standing_in(parts: list[Part], *, coupled: bool) -> Iterator[None]:
    """The sums in the place of the parameters, so that what steps these steps those.

    Weight decay is of the parameters: it is seen to here, added to the gradient or to the sum, and put away.
    """
    put_back: list[Callable[[], None]] = []
    try:
        for part in parts:
            delta = part.kept("delta")
            group, decay = part.group, part.group["weight_decay"]
            own = [each for each in group["params"] if each.grad is not None]
            put_back.append(lambda group=group, decay=decay: group.update(weight_decay=decay))  # type: ignore[misc]
            group["weight_decay"] = 0.0
            if decay and not coupled:
                shrink = -float(group["lr"]) * float(decay)
                for _, p, sum_ in part.blocks("delta"):
                    torch._foreach_add_(sum_, p, alpha=shrink)
            slopes = part.grads
            if decay and coupled:
                slopes = list(torch._foreach_add(part.grads, part.parameters, alpha=float(decay)))
            for each, value, slope in zip(own, delta, slopes, strict=True):
                put_back.append(lambda each=each, was=each.data, grad=each.grad: _set(each, was, grad))  # type: ignore[misc]
                _set(each, value, slope if slope.stride() == value.stride() else torch.empty_like(value).copy_(slope))
        yield
    finally:
        for back in put_back:
            back()


def _set(parameter: Tensor, value: Tensor, grad: Tensor | None) -> None:
    parameter.grad = None  # a gradient must be of the value's layout when the value is set
    parameter.data = value
    parameter.grad = grad
