"""LRFree: what all optimizers here have in common: one step, what is refused, and weights of their own to judge by."""

import copy
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol.errors import BadInput
from lrcontrol.training.optimizers.kinds import KIND, other_kind, refuse_others
from lrcontrol.training.optimizers.layout import Layout

__all__ = ["LRFree", "Part", "one_lr"]

_OF_TORCH = "differentiable"
"""What torch adds to the defaults of an optimizer that has loaded a state."""

_is_sparse = attrgetter("is_sparse")


class Part(NamedTuple):
    """What an update is made of: a group, those of its parameters that have gradients, these, and their states."""

    group: dict[str, Any]
    parameters: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Any]]
    layout: Layout

    def keep(self, **firsts: Callable[[Tensor], Any]) -> None:
        """See to it that every parameter has these in its state, made from the parameter where it has none yet."""
        for name, first in firsts.items():
            for state, parameter in zip(self.states, self.parameters, strict=True):
                if name not in state:
                    state[name] = first(parameter)

    def kept(self, name: str) -> list[Tensor]:
        """The state `name` of every parameter."""
        self.layout.kept(name, self.states)
        return [state[name] for state in self.states]

    def blocks(self, *names: str, rooms: int = 0) -> Iterator[tuple[list[Tensor], ...]]:
        """Block by block: pieces of the gradients, which are not to be written to, of the parameters, and of states.

        What is written to a piece is written to the tensor.

        Args:
            names: of the states.
            rooms: how many lists come with them to put in what is needed on the way.
        """
        layout = self.layout
        kept = [layout.kept(name, self.states) for name in names]
        yield from zip(layout.grads, layout.parameters, *kept, *layout.rooms(rooms), strict=True)


class LRFree(Optimizer):
    """An optimizer whose update is `_update`; numbers that all groups share are in each of them.

    Parameters without a gradient are left alone. Gradients are read and never changed. A learning rate that is
    written into the groups before a step is what that step goes by.

    Args:
        parameters: tensors or groups, as torch's optimizers take them; real, of floating point, on one device.
        settings: what every group has, `lr` among it, where it names none itself.
    Raises:
        BadInput: a step, a state saved or loaded while evaluation weights are in place; a step with gradients that are
            sparse, or of two parameters that are one in memory; the state of another kind of optimizer.
    """

    _keeps: tuple[str, ...] = ()
    """What every parameter that has been stepped has in its state."""

    _apart = False
    """Whether tensors are gone through one by one."""

    _layouts: dict[int, Layout] | None = None
    """How the tensors of each group lie in blocks; found anew by a copy."""

    found: Tensor | float | None = None
    """What the update made last went by: times the learning rate it is the rate that the optimizer stands for.

    On the parameters' device; a number for each tensor where every one has its own. None before the first update, and
    of those that find no rate.
    """

    _trained: list[tuple[Tensor, Tensor]] | None = None
    """Parameters and the values that training goes on from, while they have their values for evaluation."""

    def __init__(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], settings: dict[str, Any]) -> None:
        super().__init__(parameters, settings | {KIND: type(self).__name__})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch's optimizers do; numbers that all groups share it gets with the next update."""
        super().add_param_group(param_group)
        named = list(self.param_groups[-1]["params"])
        if any(not each.is_floating_point() for each in named):
            self.param_groups.pop()
            raise BadInput(f"parameters must be real numbers of floating point, got {named[0].dtype}.")
        devices = {each.device for group in self.param_groups for each in group["params"]}
        if len(devices) > 1:
            self.param_groups.pop()
            found = ", ".join(sorted(map(str, devices)))
            raise BadInput(
                f"parameters of {type(self).__name__} must be on one device, as one step goes by all, got {found}."
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update.

        Args:
            closure: computes the loss and the gradients; optional.
        Returns:
            The closure's loss, or None.
        """
        self._refuse_in_evaluation("a step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            parts = self._parts()
            for part in parts:
                part.layout.enter(part.grads)
            try:
                if parts:
                    self._update(parts)
            finally:
                for part in parts:
                    part.layout.leave()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What training goes on from, as torch's optimizers give it: tensors that are each in memory of its own."""
        self._refuse_in_evaluation("saving a state")
        self._separate()
        return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        self._separate()
        return super().__getstate__()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, here or elsewhere; the weights are the model's to load.

        What is loaded is a copy: torch's own optimizers go on in the tensors that they are given.
        """
        self._refuse_in_evaluation("loading a state")
        refuse_others(type(self).__name__, state_dict, self._not_of_group, self._not_of_parameter)
        super().load_state_dict(copy.deepcopy(state_dict))
        self._name_kind()
        self.found = None

    @property
    def shows_others(self) -> bool:
        """Whether the parameters now have other values than those that it trains with."""
        return bool(self._trained)

    def values_for_evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters and the values to judge the model by, where they are not those that it trains with."""
        yield from ()

    def _update(self, parts: list[Part]) -> None:
        raise NotImplementedError

    def _separate(self) -> None:
        for layout in (self._layouts or {}).values():
            layout.separate()

    def _refuse_in_evaluation(self, what: str) -> None:
        if self._trained is not None:
            raise BadInput(
                f"{what} must come after `with evaluation_weights(optimizer)`, got it inside: the weights there are "
                "those to judge the model by, not those that training goes on from."
            )

    def _name_kind(self) -> None:
        """Say in the groups whose they are, also where their state is from before that was said."""
        for group in self.param_groups:
            group[KIND] = type(self).__name__

    def _not_of_group(self, group: dict[str, Any]) -> str | None:
        """Why a saved group cannot be of this kind of optimizer."""
        kind = group.get(KIND, type(self).__name__)
        if kind != type(self).__name__:
            return f"one of {kind}"
        optional = (KIND, _OF_TORCH)
        missing = next((name for name in self.defaults if name not in group and name not in optional), None)
        return missing and f"a group without `{missing}`"

    def _not_of_parameter(self, state: dict[str, Any]) -> str | None:
        """Why what was saved of a parameter cannot be of this kind of optimizer; empty before its first step."""
        return other_kind(state, self._keeps)

    def _parts(self) -> list[Part]:
        """What the update is made of; groups without gradients are left out."""
        found, is_new = [], False
        layouts = self._layouts = self._layouts or {}
        for place, group in enumerate(self.param_groups):
            parameters = [each for each in group["params"] if each.grad is not None]
            grads = [each.grad for each in parameters]
            if any(map(_is_sparse, grads)):
                raise BadInput(
                    f"gradients of {type(self).__name__} must be dense, got a sparse one; build the embedding with "
                    "sparse=False."
                )
            if parameters:
                layout = layouts.get(place)
                if layout is None or not layout.fits(parameters):
                    is_new = True
                    if layout is not None:
                        layout.separate()  # what is left out is not to hold on to the rest
                    layout = layouts[place] = Layout(parameters, apart=self._apart)
                states = [self.state[each] for each in parameters]
                found.append(Part(group, layout.tensors, grads, states, layout))
        if is_new:
            self._refuse_the_same(found)
        return found

    def _refuse_the_same(self, parts: list[Part]) -> None:
        places = [each.data_ptr() for part in parts for each in part.parameters if each.numel()]
        if len(set(places)) < len(places):
            self._layouts = None
            raise BadInput(
                f"parameters of {type(self).__name__} must each have memory of their own, got two that are one there; "
                "have modules share one parameter instead of its data, and give it once."
            )

    def _share(self, **numbers: Any) -> None:
        """Put numbers that all groups share into each of them."""
        for group in self.param_groups:
            group.update(numbers)


def one_lr(optimizer: Optimizer) -> float:
    """The learning rate of all groups, where a group may also have 0.

    Raises:
        BadInput: two groups have two rates above 0: there is one estimate for all of them.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    largest = max(rates)
    other = next((rate for rate in rates if rate not in (largest, 0.0)), None)
    if other is not None:
        raise BadInput(
            f"all groups of {type(optimizer).__name__} must have one learning rate, or 0 to stand still, got "
            f"{largest:g} and {other:g}: it estimates one distance for all; scale the loss of a part, or use ldog."
        )
    return largest
