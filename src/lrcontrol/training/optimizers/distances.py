"""DoG, L-DoG and DoWG: SGD whose step is a distance that was come over the gradients that were seen.

Nothing waits for the device: distances and sums are numbers on it. All groups are one vector, as in the papers, where
L-DoG takes every tensor by itself; the learning rate of a group multiplies its steps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.training.optimizers.blocks import add_scaled, into, squares, total, with_decay
from lrcontrol.training.optimizers.lr_free import LRFree, Part

__all__ = ["DoG", "DoWG", "LDoG"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class DoG(LRFree):
    """See `runs.optimizer_specs.DoG`; in each group `reach` is the largest distance and `squares` the sum so far."""

    _keeps = ("x0", "average")

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

    def _not_of_group(self, group: dict[str, Any]) -> str | None:
        """Also where distances are of all tensors together and should be of each, or the other way round."""
        reach = group.get("reach")
        if reach is not None and torch.as_tensor(reach).dim() != int(self._apart):
            return "one distance for all tensors" if self._apart else "a distance for each tensor"
        return super()._not_of_group(group)

    def _update(self, parts: list[Part]) -> None:
        first = self.param_groups[0]
        now = total(_of_gradients(parts))
        if first["reach"] is None:
            reach, seen = first["initial_distance"] * (1 + total(_of_parameters(parts)).sqrt()), first["eps"] + now
        else:
            reach, seen = first["reach"].to(now.device), first["squares"].to(now.device) + now
        step = first["step"] + 1
        share = _last(step, first["average_power"])
        rate = self.found = reach / seen.sqrt()
        come: list[Tensor] = []
        for part in parts:
            part.keep(x0=torch.clone, average=torch.clone)
            come += _moved(part, rate * float(part.group["lr"]), share)
        self._share(step=step, reach=torch.maximum(reach, total(come).sqrt()), squares=seen)


class LDoG(DoG):
    """See `runs.optimizer_specs.LDoG`; `reach` and `squares` of a group hold a number for each of its tensors."""

    _apart = True

    def _update(self, parts: list[Part]) -> None:
        found = [self._update_group(part) for part in parts]
        self.found = found[0] if len(found) == 1 else torch.cat(found)

    def _update_group(self, part: Part) -> Tensor:
        """The rates of its tensors that the update went by, at a learning rate of 1."""
        group, layout = part.group, part.layout
        owners = layout.index("owners", [owner for block in layout.owners for owner in block])

        def each(numbers: list[Tensor]) -> Tensor:
            """The sums of what belongs to each tensor."""
            stacked = torch.stack(numbers).to(_wide(numbers[0]))
            return stacked.new_zeros(len(part.parameters)).index_add_(0, owners, stacked)

        now = each(_of_gradients([part]))
        with_grads = [place for place, given in enumerate(group["params"]) if given.grad is not None]
        places = layout.index("places", with_grads)
        if group["reach"] is None:
            reach, seen = (now.new_zeros(len(group["params"])) for _ in range(2))
        else:
            reach, seen = (group[name].to(now.device, copy=True) for name in ("reach", "squares"))
        if any("x0" not in state for state in part.states):
            new = torch.tensor(["x0" not in state for state in part.states], device=now.device)
            begun = group["initial_distance"] * (1 + each(_of_parameters([part])).sqrt())
            reach[places] = torch.where(new, begun, reach[places])
            seen[places] += torch.where(new, group["eps"], 0.0)
        seen[places] += now
        rates = reach[places] / seen[places].sqrt()
        part.keep(x0=torch.clone, average=torch.clone)
        step = group["step"] + 1
        come = each(_moved(part, rates * float(group["lr"]), _last(step, group["average_power"])))
        reach[places] = torch.maximum(reach[places], come.sqrt())
        group.update(step=step, reach=reach, squares=seen)
        return rates


class DoWG(LRFree):
    """See `runs.optimizer_specs.DoWG`; `reach` is the largest squared distance, `squares` the weighted sum so far."""

    _keeps = ("x0",)

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
        rate = self.found = reach / (seen.sqrt() + first["eps"])
        come: list[Tensor] = []
        for part in parts:
            part.keep(x0=torch.clone)
            come += _moved(part, rate * float(part.group["lr"]), None)
        self._share(reach=torch.maximum(reach, total(come)), squares=seen)


def _moved(part: Part, rate: Tensor, share: float | None) -> list[Tensor]:
    """Step the parameters of a part; squared distances to where they began, piece by piece.

    The rate is one, or one for each tensor; the share is that of the new weights in their averages, where there are
    some.
    """
    come: list[Tensor] = []
    decay = part.group["weight_decay"]
    names = ("x0",) if share is None else ("x0", "average")
    on_cpu = rate.device.type == "cpu"
    rates: Any = (-rate).tolist() if on_cpu else -rate
    for (g, p, begun, *averaged, room), owners in zip(part.blocks(*names, rooms=1), part.layout.owners, strict=True):
        slopes = with_decay(g, p, decay, room)
        if rate.dim() == 0:
            add_scaled(p, slopes, rates)
        else:
            for owner, of_p, slope in zip(owners, p, slopes, strict=True):
                add_scaled([of_p], [slope], rates[owner])
        come += squares(into(room, "sub", p, begun))
        for each in averaged:
            torch._foreach_lerp_(each, p, share or 0.0)
    return come


def _last(step: int, gamma: float) -> float:
    """The share of the last weights in their average: (1 + gamma) / (t + gamma) at step t from 1."""
    return (1 + gamma) / (step + gamma)


def _of_gradients(parts: list[Part]) -> list[Tensor]:
    """Squared norms of the gradients, with weight decay where it is added to them, which add up."""
    found: list[Tensor] = []
    for part in parts:
        for g, p, room in part.blocks(rooms=1):
            found += squares(with_decay(g, p, part.group["weight_decay"], room))
    return found


def _of_parameters(parts: list[Part]) -> list[Tensor]:
    """Squared norms of the parameters, which add up."""
    return [each for part in parts for _, p in part.blocks() for each in squares(p)]


def _wide(numbers: Tensor) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if numbers.device.type == "mps" else torch.float64
