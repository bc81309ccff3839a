"""Numbers: the weights and buffers of a stack, a row a run; the weights side by side in one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lrcontrol.training.batching.parts import Parts, numbers_of, stacked

__all__ = ["Numbers"]


class Numbers:
    """What the models of a stack are made of.

    Args:
        models: one for each run, untrained; runs of a seed may have the same.
        parts: of them.
    """

    def __init__(self, models: Sequence[nn.Module], parts: Parts) -> None:
        self.parts = parts
        first = numbers_of(models[0])
        self._shapes = {name: first[name].shape for name in parts.trained}
        trained = stacked(models, parts.trained)
        self._own = stacked(models, parts.own)
        self._shared = {name: first[name] for name in parts.shared}
        self.weights = torch.cat([each.flatten(1) for each in trained.values()], dim=1)
        self._lay()

    def _lay(self) -> None:
        """Views of the weights and of as many gradients."""
        self._gradients = torch.empty_like(self.weights)
        self._trained, self._slots = (self._views(each) for each in (self.weights, self._gradients))
        ones = torch.ones(len(self.weights), device=self.weights.device)
        self.tensors = [*self._trained.values(), *self._own.values(), *self._shared.values(), ones]

    def _views(self, whole: Tensor) -> dict[str, Tensor]:
        parts = torch.split(whole, [shape.numel() for shape in self._shapes.values()], dim=1)
        return {
            name: part.view(len(whole), *shape)
            for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)
        }

    def flattened(self, gradients: Sequence[Tensor]) -> Tensor:
        """Gradients side by side, in the order of the weights."""
        torch._foreach_copy_(list(self._slots.values()), list(gradients))
        return self._gradients

    def of(self, places: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Own and shared numbers of these runs, in the order of the parts."""
        own = [*self._trained.values(), *self._own.values()]
        if len(places) < len(self.weights):
            rows = torch.tensor(places, device=self.weights.device)
            own = [value[rows] for value in own]
        return own, list(self._shared.values())

    def put_into(self, model: nn.Module, place: int) -> None:
        """Make a model that of the run at a place."""
        into = numbers_of(model)
        with torch.no_grad():
            for name, value in {**self._trained, **self._own}.items():
                into[name].copy_(value[place])

    def keep(self, rows: Tensor) -> None:
        """Go on with these runs alone."""
        rows = rows.to(self.weights.device)
        self.weights = self.weights[rows]
        self._own = {name: value[rows] for name, value in self._own.items()}
        self._lay()
