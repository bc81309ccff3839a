"""Bags of embeddings that torch can derive twice: its own it derives but once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["DerivableBags"]


class DerivableBags(TorchFunctionMode):
    """Within it torch's embedding_bag, which nn.EmbeddingBag calls too, is sums of rows, equal up to rounding.

    Raises:
        NotImplementedError: a bag whose gradient is none of what it gives, or that changes its weights.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The call as it is, or of a bag."""
        del types
        return (_bag if func is functional.embedding_bag else func)(*args, **(kwargs or {}))


def _bag(
    input: Tensor,  # noqa: A002 - torch's name, by which it may be given
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """What torch.nn.functional.embedding_bag gives for the same."""
    del norm_type
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError("a bag of embeddings has max_norm, scale_grad_by_freq or sparse")
    words = input.reshape(-1)
    if offsets is None:
        starts = torch.arange(len(input), device=input.device) * input.shape[1]
    else:
        starts = offsets[:-1] if include_last_offset else offsets
    places = torch.arange(len(words), dtype=starts.dtype, device=words.device)
    bags = torch.searchsorted(starts.contiguous(), places, right=True) - 1
    padding = -1 if padding_idx is None else padding_idx % len(weight)
    shares = (words != padding).to(weight.dtype)
    counts = weight.new_zeros(len(starts)).index_add(0, bags, shares).unsqueeze(1)
    if mode == "max":
        *_, largest = torch.embedding_bag(weight.detach(), words, starts, False, 2, False, None, False, padding_idx)
        return weight.gather(0, largest) * (counts > 0)
    if per_sample_weights is not None:
        shares = shares * per_sample_weights.reshape(-1)
    rows = weight.index_select(0, words) * shares.unsqueeze(1)
    summed = weight.new_zeros(len(starts), weight.shape[1]).index_add(0, bags, rows)
    return summed / counts.clamp(min=1) if mode == "mean" else summed
