"""What the tests of the torch adapter share: small optimizers, their rates, and states as files keep them."""

import functools
import io
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import lrcontrol as lrc

as_torch = lrc.as_torch_scheduler
simulated = functools.partial(as_torch, count="calls")

FAMILIES = (
    "constant",
    "linear",
    "cosine(end=0.1)",
    "rex",
    "exponential(rate=3)",
    "polynomial(power=0.5)",
    "step",
    "warmup(5)+rex(beta=0.1)",
    "warmup(0.1)+constant(share=0.5)+linear",
    "repeat(cosine, times=3)",
    "linear(times=4)",
    "polynomial(power=2)*warmup(0.2)",
    "linear(start=0.04, end=1, share=0.3)+cosine(end=0.001)",
    "cosine(every=3)",
    "over(linear, share=0.4)+constant(0.5)",
    "exponential(rate=2, shares=(0.2, 0.7))",
)
"""Schedules of every kind that fit 40 steps and more."""


def parameters(count: int) -> list[nn.Parameter]:
    """Parameters with gradients of 0."""
    made = [nn.Parameter(torch.ones(2)) for _ in range(count)]
    for parameter in made:
        parameter.grad = torch.zeros_like(parameter)
    return made


def sgd(*lrs: Any, **keys: Any) -> torch.optim.SGD:
    """An optimizer with a group for every rate; gradients are 0."""
    groups = [{"params": [parameter], "lr": lr} for parameter, lr in zip(parameters(len(lrs)), lrs, strict=True)]
    return torch.optim.SGD(groups, lr=0.7, **keys)


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """The rate of every group as a float."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(optimizer: torch.optim.Optimizer, scheduler: Any, count: int) -> list[list[float]]:
    """The rates in force during each of `count` updates."""
    seen = []
    for _ in range(count):
        seen.append(rates(optimizer))
        optimizer.step()
        scheduler.step()
    return seen


def through_torch(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from a file that is loaded with `weights_only=True`."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from a JSON file."""
    loaded: dict[str, Any] = json.loads(json.dumps(state, allow_nan=False))
    assert loaded == state
    return loaded


def ticking(*seconds: float, then: float = 1.0) -> Callable[[], float]:
    """A clock that shows the given readings, and from then on goes `then` seconds at every reading."""
    now = [*seconds] or [0.0]

    def clock() -> float:
        shown = now[0]
        if len(now) > 1:
            del now[0]
        else:
            now[0] += then
        return shown

    return clock


def batch(step: int, inputs: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    """The batch of a step: the same in every run."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(16, inputs, generator=generator), torch.randint(0, classes, (16,), generator=generator)
