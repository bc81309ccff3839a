"""The weights to judge a model by, where they are not those it trains with; batch norm measured for them."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.own_losses import moved

__all__ = ["evaluation_weights", "forgotten", "recalibrate", "statistics_of", "unwrapped"]

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_JUDGED: "weakref.WeakSet[Optimizer]" = weakref.WeakSet()  # optimizers whose evaluation weights have been in place


def evaluation_weights(*optimizers: Optimizer) -> AbstractContextManager[None]:
    """In a `with` of it, parameters have the values to judge and save the model by; afterwards their own, to the bit.

    For schedule-free optimizers these are the averages, also for those of the package schedulefree, and for DoG and
    L-DoG the averages that they need; for all others nothing changes. Memory for a second copy of what changes.

    Args:
        optimizers: of the model; one that a client has wrapped is seen through.
    Raises:
        BadInput: used inside another of the same optimizer, or something else than an optimizer. Steps, saving and
            loading a state inside are refused, too.
    Example:
        >>> from lrcontrol.training.optimizers import make_optimizer
        >>> weight = nn.Parameter(torch.ones(1))
        >>> optimizer = make_optimizer("schedulefree_sgd", [weight], 0.5)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     weight.square().sum().backward()
        ...     optimizer.step()
        >>> with evaluation_weights(optimizer):
        ...     round(weight.item(), 3)
        0.0
        >>> round(weight.item(), 3)
        0.0
    """
    return _EvaluationWeights([unwrapped(each) for each in optimizers])


class _EvaluationWeights(AbstractContextManager[None]):
    """See `evaluation_weights`."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self._optimizers = optimizers
        self._put_back: list[Callable[[], None]] = []
        self._entered = False

    def __enter__(self) -> None:
        self._entered = True
        ours = self._optimizers
        for place, each in enumerate(ours):
            if getattr(each, "_trained", None) is not None or any(each is other for other in ours[:place]):
                raise BadInput("`evaluation_weights` must not be used inside itself, got the same optimizer twice.")
        _JUDGED.update(ours)
        try:
            self._put_back.extend(map(_shown, ours))
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        while self._put_back:
            self._put_back.pop()()

    def __del__(self) -> None:
        if not self._entered:
            warnings.warn(
                "`evaluation_weights` alone changes nothing: measure inside `with evaluation_weights(optimizer):`.",
                stacklevel=2,
            )


@torch.no_grad()
def forgotten(optimizer: Any) -> str | None:
    """What to say where a model is judged though its evaluation weights have never been in place; else None.

    It is said once.
    """
    plain = unwrapped(optimizer)
    if plain in _JUDGED or not isinstance(plain, LRFree) or next(plain.values_for_evaluation(), None) is None:
        return None
    _JUDGED.add(plain)
    return (
        f"{type(plain).__name__} trains with other weights than a model is to be judged by, but those have not been "
        "in place: measure inside `with lrcontrol.evaluation_weights(optimizer):`."
    )


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Any]) -> int:
    """Measure the statistics of batch norm anew, as plain means over batches, for the weights that the model has now.

    Averaged weights never saw the statistics that training kept: call this inside `evaluation_weights`, before
    judging or saving the model. Training goes on well from the new ones. All else in the model, dropout for one, is as
    in evaluation; modes are put back.

    Args:
        model: what is called with each batch.
        batches: inputs, or tuples or lists whose first is the inputs, or dicts of keyword arguments; one at least.
    Returns:
        How many batches were seen; 0 where the model has no batch norm that keeps statistics.
    Raises:
        BadInput: no batches, or something else than a model and batches.
    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> recalibrate(model, [torch.tensor([[1.0], [3.0]])]), model.running_mean.item()
        (1, 2.0)
    """
    if not isinstance(model, nn.Module):
        raise BadInput(f"`model` must be a torch module, got a {type(model).__name__}; give the model first.")
    if isinstance(batches, Tensor | str | dict) or not (
        hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")
    ):
        raise BadInput(
            f"`batches` must be an iterable of batches, got a {type(batches).__name__}; give a loader, or a list, as "
            "in [inputs]."
        )
    norms = _norms_of(model)
    if not norms:
        return 0
    modes = [(each, each.training) for each in model.modules()]
    rates = [(each, each.momentum) for each in norms]
    kept = [
        (each, {name: value.clone() for name, value in each._buffers.items() if value is not None}) for each in norms
    ]
    device = next((each.device for each in model.parameters()), norms[0].running_mean.device)  # type: ignore[union-attr]
    count = 0
    try:
        model.eval()
        for each in norms:
            each.reset_running_stats()
            each.momentum = None  # plain means over all batches
            each.train()
        for batch in batches:
            _call(model, batch, device)
            count += 1
        if not count:
            raise BadInput("`batches` must hold at least one batch to measure batch norm by, got none.")
    except BaseException:
        for each, buffers in kept:
            for name, value in buffers.items():
                each._buffers[name].copy_(value)  # type: ignore[union-attr]
        raise
    finally:
        for each, momentum in rates:
            each.momentum = momentum
        for module, mode in modes:
            module.training = mode
    return count


def statistics_of(model: nn.Module) -> list[Tensor]:
    """The statistics that the batch norms of a model keep: their buffers."""
    return [buffer for each in _norms_of(model) for buffer in each.buffers(recurse=False)]


def _norms_of(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [each for each in model.modules() if isinstance(each, _NORMS) and each.running_mean is not None]


def unwrapped(optimizer: Any) -> Any:
    """The optimizer itself, without what a client has put around it."""
    for _ in range(4):
        if isinstance(optimizer, LRFree) or not isinstance(getattr(optimizer, "optimizer", None), Optimizer):
            break
        optimizer = optimizer.optimizer
    checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
    return optimizer


@torch.no_grad()
def _shown(optimizer: Optimizer) -> Callable[[], None]:
    """Put the values for evaluation in place; what puts back those of training."""
    if isinstance(optimizer, LRFree):
        new = list(optimizer.values_for_evaluation())
        optimizer._trained = [(parameter, parameter.detach().clone()) for parameter, _ in new]
        for parameter, value in new:
            parameter.detach().copy_(value)

        def back() -> None:
            trained, optimizer._trained = optimizer._trained or [], None
            _restore(trained)

        return back
    modes = [group.get("train_mode") for group in optimizer.param_groups]
    if not any(modes) or not callable(getattr(optimizer, "eval", None)):  # of the package schedulefree, if any
        return lambda: None
    values = [(each, each.detach().clone()) for group in optimizer.param_groups for each in group["params"]]
    optimizer.eval()  # type: ignore[attr-defined]

    def train() -> None:
        optimizer.train()  # type: ignore[attr-defined]
        _restore(values)

    return train


def _restore(values: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for parameter, value in values:
            parameter.detach().copy_(value)


def _call(model: nn.Module, batch: Any, device: torch.device) -> None:
    if isinstance(batch, dict):
        model(**{name: moved(value, device) for name, value in batch.items()})
    else:
        model(moved(batch[0] if isinstance(batch, tuple | list) else batch, device))
