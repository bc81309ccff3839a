"""Outputs of several models made one: what an ensemble's prediction is."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Combine", "combine_of", "mean_of_chances", "mean_of_outputs", "mean_of_probabilities"]

Combine = Callable[[Sequence[Tensor]], Tensor]
"""Of the outputs of each model, all of one shape, those of the ensemble, which loss and metrics take as a model's."""


def mean_of_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """The mean, for regression."""
    return torch.stack(list(outputs)).mean(dim=0)


def mean_of_probabilities(outputs: Sequence[Tensor], dim: int = 1) -> Tensor:
    """The logarithm of the mean of the probabilities, for classes whose scores lie along `dim`.

    Source:
        Huang et al. 2017, arXiv:1704.00109, section 3.
    Example:
        >>> certain = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.3, 0.7]]).log()
        >>> [round(float(chance), 6) for chance in mean_of_probabilities(certain).exp()[0]]
        [0.6, 0.4]
    """
    logs = torch.stack([functional.log_softmax(each, dim=dim) for each in outputs])
    return torch.logsumexp(logs, dim=0) - math.log(len(logs))


def mean_of_chances(outputs: Sequence[Tensor]) -> Tensor:
    """The score whose chance is the mean of the chances, for scores of yes against no."""
    scores = torch.stack(list(outputs))
    return torch.logsumexp(functional.logsigmoid(scores), dim=0) - torch.logsumexp(
        functional.logsigmoid(-scores), dim=0
    )


def combine_of(loss: Callable[[Tensor, Tensor], Tensor]) -> Combine:
    """What suits a loss: the mean of the probabilities for torch's cross-entropy, else the mean of the outputs."""
    if loss is functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss):
        return mean_of_probabilities
    if loss is functional.binary_cross_entropy_with_logits or isinstance(loss, nn.BCEWithLogitsLoss):
        return mean_of_chances
    return mean_of_outputs
