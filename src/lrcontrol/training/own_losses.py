"""How a batch of a user's becomes a loss of his model: by a criterion, by a function of his own, or by the model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["loss_function", "moved", "one_loss"]

OF_MODEL = ("model", "module", "net", "network")
"""Names of the first parameter by which a loss function says that it wants the model and the batch."""


def loss_function(model: nn.Module, loss: Callable[..., Any] | None) -> Callable[[Any], Tensor]:
    """The function from a batch to its loss.

    Args:
        model: the user's.
        loss: of `(outputs, targets)`; or of `(model, batch)`, where the first parameter is called `model`; or None
            where the model gives its own loss for `model(**batch)`, as those of Transformers do.
    Raises:
        BadInput: at once where `loss` is none of these; by the function where the batches do not go with it.
    """
    if loss is None:
        return lambda batch: _own_loss(model, batch)
    if isinstance(loss, type):
        raise BadInput(f"`loss` must be a function, got the class {loss.__name__}; make one of it: {loss.__name__}().")
    if not callable(loss):
        raise BadInput(f"`loss` must be a function or None, got loss={checks.shown(loss)}.")
    if _wants_model(loss):
        return lambda batch: one_loss(loss(model, batch), "`loss`")
    return lambda batch: _of_pair(model, loss, batch)


def one_loss(value: Any, who: str, *, trained: bool = True) -> Tensor:
    """`value` as a tensor of one number that gradients can be taken of, or BadInput."""
    if isinstance(value, Tensor) and value.numel() == 1 and (value.requires_grad or not trained):
        return value.reshape(())
    if not trained and isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(float(value))
    if isinstance(value, Tensor) and value.numel() == 1:
        raise BadInput(f"{who} must give a loss that depends on what is trained, but it takes no gradient.")
    if trained and isinstance(value, int | float):
        raise BadInput(f"{who} must give a tensor that gradients can be taken of, got the number {value:g}.")
    got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else checks.shown(value)
    raise BadInput(f"{who} must give one number, the loss of the batch, got {got}; take its mean.")


def moved(batch: Any, device: torch.device) -> Any:
    """A batch with all that can be moved on this device; containers keep their types."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(each, device) for each in batch))
    if type(batch) in (list, tuple):
        return type(batch)(moved(each, device) for each in batch)
    if type(batch) is dict:
        return {key: moved(each, device) for key, each in batch.items()}
    return batch.to(device) if hasattr(batch, "to") else batch


def _wants_model(loss: Callable[..., Any]) -> bool:
    if isinstance(loss, nn.Module):
        return False
    try:
        names = list(inspect.signature(loss).parameters)
    except (TypeError, ValueError):  # one of C
        return False
    return bool(names) and names[0] in OF_MODEL


def _of_pair(model: nn.Module, loss: Callable[..., Any], batch: Any) -> Tensor:
    """The loss of outputs and targets."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        kind = type(batch).__name__
        raise BadInput(
            f"with a loss of (outputs, targets) a batch must be a pair of inputs and targets, got a {kind}; give "
            "loss=None where model(**batch) has its loss, or a function `def loss(model, batch)`."
        )
    *inputs, targets = batch
    outputs = _called(model, inputs[0]) if len(inputs) == 1 else model(*inputs)
    return one_loss(loss(outputs, targets), "`loss`")


def _called(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _own_loss(model: nn.Module, batch: Any) -> Tensor:
    """The loss that a model gives itself."""
    outputs = _called(model, batch)
    found: Any
    if isinstance(outputs, Tensor):
        found = outputs
    elif isinstance(outputs, Mapping) and "loss" in outputs:
        found = outputs["loss"]
    else:
        found = getattr(outputs, "loss", None)
        if found is None and isinstance(outputs, tuple) and outputs:
            found = outputs[0]
    if not isinstance(found, Tensor) or found.numel() != 1:
        raise BadInput(
            "with loss=None the model must give its own loss, as `.loss` of what it returns, got "
            f"{type(outputs).__name__}; give a loss of (outputs, targets), or a function `def loss(model, batch)`."
        )
    return one_loss(found, "the model")
