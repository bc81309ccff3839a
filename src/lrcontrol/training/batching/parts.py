"""Parts: which numbers of a model every run of a stack has for itself, and which they share."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Parts", "numbers_of", "parts_of", "stacked"]


class Parts(NamedTuple):
    """The names of a model's parameters and buffers.

    Args:
        trained: parameters that get gradients.
        own: the rest that training changes or that runs differ in, such as running statistics.
        shared: what all runs have alike.
    """

    trained: tuple[str, ...]
    own: tuple[str, ...]
    shared: tuple[str, ...]


def numbers_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those that are used twice once."""
    return {name: value.detach() for name, value in (*model.named_parameters(), *model.named_buffers())}


def parts_of(models: Sequence[nn.Module], trained: Sequence[str], changing: Sequence[str]) -> Parts:
    """The parts of models that begin a stack.

    Args:
        models: one for each seed, untrained.
        trained: parameters that get gradients.
        changing: other numbers that a step changes.
    """
    first, *others = [numbers_of(model) for model in models]
    rest = [name for name in first if name not in trained]
    own = [
        name
        for name in rest
        if name in changing or any(not torch.equal(first[name], numbers[name]) for numbers in others)
    ]
    return Parts(tuple(trained), tuple(own), tuple(name for name in rest if name not in own))


def stacked(models: Sequence[nn.Module], names: Sequence[str]) -> dict[str, Tensor]:
    """The numbers of these names, one row a model."""
    numbers = [numbers_of(model) for model in models]
    return {name: torch.stack([each[name] for each in numbers]) for name in names}
