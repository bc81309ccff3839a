"""DoG, L-DoG and DoWG: SGD whose step is a distance that was come over the gradients that were seen.

Nothing waits for the device: distances and sums are numbers on it. All groups are one vector, as in the papers, where
L-DoG takes every tensor by itself; the learning rate of a group multiplies its steps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import add_scaled, blocks, into, squares, total, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["DoG", "DoWG", "LDoG"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]
_WIDE = torch.float64


class DoG(LRFree):
    """See `runs.optimizer_specs.DoG`; in each group `reach` is the largest distance and `squares` the sum so far."""

    def __init__(self, parameters: Parameters, spec: specs.DoG | specs.LDoG, lr: float) -> None:
        settings = {
            "lr": lr,
            "initial_distance": spec.initial_distance,
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
            "average_power": spec.average_power,
        }
        super().__init__(parameters, settings | {"step": 0, "reach": None, "squares": None})

    def values_for_evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The averages."""
        for parameter, state in self.state.items():
            if "average" in state:
                yield parameter, state["average"]

    def _update(self, parts: list[Part]) -> None:
        first = self.param_groups[0]
        now = total(_of_gradients(parts))
        if first["reach"] is None:
            reach, seen = first["initial_distance"] * (1 + total(_of_parameters(parts)).sqrt()), first["eps"] + now
        else:
            reach, seen = first["reach"].to(now.device), first["squares"].to(now.device) + now
        step = first["step"] + 1
        share = _last(step, first["average_power"])
        come: list[Tensor] = []
        for part in parts:
            kept = [part.kept("x0", torch.clone), part.kept("average", torch.clone)]
            come += _moved(part, reach / seen.sqrt() * float(part.group["lr"]), kept, share)
        self._share(step=step, reach=torch.maximum(reach, total(come).sqrt()), squares=seen)


class LDoG(DoG):
    """See `runs.optimizer_specs.LDoG`; `reach` and `squares` of a group hold a number for each of its tensors."""

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            self._update_group(part)

    def _update_group(self, part: Part) -> None:
        group = part.group
        ones = [
            Part(group, [parameter], [grad], [state])
            for parameter, grad, state in zip(part.parameters, part.grads, part.states, strict=True)
        ]
        now = [_sum(_of_gradients([one])) for one in ones]
        places = [place for place, each in enumerate(group["params"]) if each.grad is not None]
        if group["reach"] is None:
            reach, seen = ([torch.zeros_like(now[0])] * len(group["params"]) for _ in range(2))
        else:
            reach, seen = (list(group[name].to(now[0].device).unbind()) for name in ("reach", "squares"))
        for place, one, square in zip(places, ones, now, strict=True):
            if "x0" not in one.states[0]:
                reach[place] = group["initial_distance"] * (1 + _sum(_of_parameters([one])).sqrt())
                seen[place] = seen[place] + group["eps"]
            seen[place] = seen[place] + square
        rates = (torch.stack(reach) / torch.stack(seen).sqrt() * float(group["lr"])).unbind()
        step = group["step"] + 1
        share = _last(step, group["average_power"])
        for place, one in zip(places, ones, strict=True):
            come = _moved(one, rates[place], [one.kept("x0", torch.clone), one.kept("average", torch.clone)], share)
            reach[place] = torch.maximum(reach[place], _sum(come).sqrt())
        group.update(step=step, reach=torch.stack(reach), squares=torch.stack(seen))


class DoWG(LRFree):
    """See `runs.optimizer_specs.DoWG`; `reach` is the largest squared distance, `squares` the weighted sum so far."""

    def __init__(self, parameters: Parameters, spec: specs.DoWG, lr: float) -> None:
        settings = {
            "lr": lr,
            "initial_distance": spec.initial_distance,
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
        }
        super().__init__(parameters, settings | {"reach": None, "squares": None})

    def _update(self, parts: list[Part]) -> None:
        first = self.param_groups[0]
        now = total(_of_gradients(parts))
        if first["reach"] is None:
            reach, seen = torch.full_like(now, first["initial_distance"] ** 2), torch.zeros_like(now)
        else:
            reach, seen = first["reach"].to(now.device), first["squares"].to(now.device)
        seen = seen + reach * now
        rate = reach / (seen.sqrt() + first["eps"])
        come: list[Tensor] = []
        for part in parts:
            come += _moved(part, rate * float(part.group["lr"]), [part.kept("x0", torch.clone)], 0.0)
        self._share(reach=torch.maximum(reach, total(come)), squares=seen)


def _moved(part: Part, rate: Tensor, kept: list[list[Tensor]], share: float) -> list[Tensor]:
    """Step the parameters of a part; squared distances to where they began, which add up.

    What is kept is where they began, and their averages where there are some.
    """
    come: list[Tensor] = []
    decay = part.group["weight_decay"]
    for g, p, begun, *averaged, room in blocks(part.grads, part.parameters, *kept, rooms=1):
        add_scaled(p, with_decay(g, p, decay, room), -rate)
        come += squares(into(room, "sub", p, begun))
        for each in averaged:
            torch._foreach_lerp_(each, p, share)
    return come


def _last(step: int, gamma: float) -> float:
    """The share of the last weights in their average: (1 + gamma) / (t + gamma) at step t from 1."""
    return (1 + gamma) / (step + gamma)


def _of_gradients(parts: list[Part]) -> list[Tensor]:
    """Squared norms of the gradients, with weight decay where it is added to them, which add up."""
    found: list[Tensor] = []
    for part in parts:
        for g, p, room in blocks(part.grads, part.parameters, rooms=1):
            found += squares(with_decay(g, p, part.group["weight_decay"], room))
    return found


def _of_parameters(parts: list[Part]) -> list[Tensor]:
    """Squared norms of the parameters, which add up."""
    return [each for part in parts for (p,) in blocks(part.parameters) for each in squares(p)]


def _sum(numbers: list[Tensor]) -> Tensor:
    """The sum of one or more numbers; of one without a detour."""
    return numbers[0].to(_WIDE) if len(numbers) == 1 and numbers[0].device.type != "mps" else total(numbers)
