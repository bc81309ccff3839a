"""DoG, L-DoG and DoWG: SGD whose step is a distance that was come over the gradients that were seen.

Nothing waits for the device: distances and sums are numbers on it. All groups are one vector, as in the papers, where
L-DoG takes every tensor by itself; the learning rate of a group multiplies its steps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import add_scaled, blocks, square, total, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["DoG", "DoWG", "LDoG"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


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
        squares = _of_gradients(parts)
        if first["reach"] is None:
            reach = first["initial_distance"] * (1 + _of_tensors(parts).sqrt())
            squares = squares + first["eps"]
        else:
            reach = _beside(first["reach"], squares)
            squares = squares + _beside(first["squares"], squares)
        rate = reach / squares.sqrt()
        step = first["step"] + 1
        gamma = first["average_power"]
        averages = self._kept(parts, "average", torch.clone)
        come = _stepped(self, parts, [rate * float(part.group["lr"]) for part in parts], averages, _last(step, gamma))
        self._share(step=step, reach=torch.maximum(reach, come.sqrt()), squares=squares)


class LDoG(DoG):
    """See `runs.optimizer_specs.LDoG`; `reach` and `squares` of a group hold a number for each of its tensors."""

    def _update(self, parts: list[Part]) -> None:
        for part in parts:
            self._update_group(part)

    def _update_group(self, part: Part) -> None:
        group = part.group
        now = [_of_gradients([Part(group, [p], [g])]) for p, g in zip(part.parameters, part.grads, strict=True)]
        count = len(group["params"])
        if group["reach"] is None:
            group["squares"] = torch.full((count,), group["eps"], dtype=now[0].dtype, device=now[0].device)
            group["reach"] = torch.zeros_like(group["squares"])
        places = [place for place, each in enumerate(group["params"]) if each.grad is not None]
        reaches, squares = (list(_beside(group[name], now[0]).unbind()) for name in ("reach", "squares"))
        step = group["step"] + 1
        (averages,) = self._kept([part], "average", torch.clone)
        begun = ["x0" in self.state[group["params"][place]] for place in places]
        for place, p, g, average, known, found in zip(
            places, part.parameters, part.grads, averages, begun, now, strict=True
        ):
            own = Part(group, [p], [g])
            if not known:
                reaches[place] = group["initial_distance"] * (1 + _of_tensors([own]).sqrt())
            squares[place] = squares[place] + found
            rate = reaches[place] / squares[place].sqrt() * float(group["lr"])
            self.state[group["params"][place]].setdefault("x0", p.clone())
            x0 = self.state[group["params"][place]]["x0"]
            come = _moved(own, rate, [x0], [average], _last(step, group["average_power"]))
            reaches[place] = torch.maximum(reaches[place], total(come).sqrt())
        group.update(step=step, reach=torch.stack(reaches), squares=torch.stack(squares))


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
        squares = _of_gradients(parts)
        if first["reach"] is None:
            reach = torch.full_like(squares, first["initial_distance"] ** 2)
            squares = reach * squares
        else:
            reach = _beside(first["reach"], squares)
            squares = _beside(first["squares"], squares) + reach * squares
        rate = reach / (squares.sqrt() + first["eps"])
        come = _stepped(self, parts, [rate * float(part.group["lr"]) for part in parts], None, 0.0)
        self._share(reach=torch.maximum(reach, come), squares=squares)


def _stepped(
    optimizer: LRFree, parts: list[Part], rates: list[Tensor], averages: list[list[Tensor]] | None, share: float
) -> Tensor:
    """Step all parts, and their averages; the squared distance to where they began."""
    starts = optimizer._kept(parts, "x0", torch.clone)
    come: list[Tensor] = []
    for place, (part, rate, x0) in enumerate(zip(parts, rates, starts, strict=True)):
        come += _moved(part, rate, x0, None if averages is None else averages[place], share)
    return total(come)


def _moved(part: Part, rate: Tensor, x0: list[Tensor], average: list[Tensor] | None, share: float) -> list[Tensor]:
    """Step the parameters of a part; squared distances to where they began, which add up."""
    come = []
    lists = [part.grads, part.parameters, x0] + ([] if average is None else [average])
    for g, p, begun, *averaged in blocks(*lists):
        add_scaled(p, with_decay(g, p, part.group["weight_decay"]), -rate)
        come.append(square(torch._foreach_sub(p, begun)))
        for each in averaged:
            torch._foreach_lerp_(each, p, share)
    return come


def _last(step: int, gamma: float) -> float:
    """The share of the last weights in their average: (1 + gamma) / (t + gamma) at step t from 1."""
    return (1 + gamma) / (step + gamma)


def _of_gradients(parts: list[Part]) -> Tensor:
    """The squared norm of the gradients of all parts, with weight decay where it is added to them."""
    found = [
        square(with_decay(g, p, part.group["weight_decay"]))
        for part in parts
        for g, p in blocks(part.grads, part.parameters)
    ]
    return total(found)


def _of_tensors(parts: list[Part]) -> Tensor:
    """The squared norm of the parameters of all parts."""
    return total([square(p) for part in parts for (p,) in blocks(part.parameters)])


def _beside(number: Tensor, other: Tensor) -> Tensor:
    """The number on the device of another: a state may have been loaded elsewhere."""
    return number.to(other.device)
