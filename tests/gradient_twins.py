"""Slow twins of the controls that set the rate of an update by its own gradient: loops straight from the papers.

Nothing is shared with the library. Each yields, update by update, the rates of all groups and the loss.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lrcontrol import as_torch_scheduler

Rates = tuple[list[float], float]
Direction = Callable[[list[Tensor]], list[Tensor]]


class Bench:
    """A loss of noisy batches in float64, and parameters in two groups."""

    def __init__(self, kind: str) -> None:
        random = torch.Generator().manual_seed(11)
        self.truth = torch.randn(6, 1, generator=random, dtype=torch.float64)
        torch.manual_seed(5)
        self.model = {
            "least squares": lambda: nn.Sequential(nn.Linear(6, 1)),
            "perceptron": lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)),
        }[kind]().double()
        named = list(self.model.named_parameters())
        ends = [[each for name, each in named if name.endswith(kind)] for kind in ("weight", "bias")]
        self.groups: list[list[nn.Parameter]] = ends

    def loss(self, step: int) -> Tensor:
        random = torch.Generator().manual_seed(step)
        inputs = torch.randn(16, 6, generator=random, dtype=torch.float64)
        noise = 0.3 * torch.randn(16, 1, generator=random, dtype=torch.float64)
        return (self.model(inputs) - (inputs @ self.truth).sin() - noise).square().mean()

    def gradients(self, step: int) -> tuple[float, list[list[Tensor]]]:
        """The loss of a batch, and the gradients of each group."""
        loss = self.loss(step)
        flat = [each for group in self.groups for each in group]
        found = iter(torch.autograd.grad(loss, flat))
        return loss.item(), [[next(found) for _ in group] for group in self.groups]

    def move(self, group: int, change: list[Tensor]) -> None:
        with torch.no_grad():
            for each, by in zip(self.groups[group], change, strict=True):
                each += by


def inner(left: list[list[Tensor]], right: list[list[Tensor]]) -> float:
    return sum(
        float((a * b).sum()) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True)
    )


def scaled(bases: list[float], vectors: list[list[Tensor]]) -> list[list[Tensor]]:
    return [[base * each for each in vector] for base, vector in zip(bases, vectors, strict=True)]


# ---- directions: what an optimizer would go along, before its rate ----


class Plain:
    def __call__(self, grads: list[list[Tensor]]) -> list[list[Tensor]]:
        return grads


class Heavy:
    """Momentum, and Nesterov's."""

    def __init__(self, momentum: float = 0.9, nesterov: bool = False) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        self.buffers: list[list[Tensor]] | None = None

    def __call__(self, grads: list[list[Tensor]]) -> list[list[Tensor]]:
        if self.buffers is None:
            self.buffers = grads
        else:
            pairs = zip(self.buffers, grads, strict=True)
            self.buffers = [[self.momentum * b + g for b, g in zip(*both, strict=True)] for both in pairs]
        if not self.nesterov:
            return self.buffers
        pairs = zip(self.buffers, grads, strict=True)
        return [[g + self.momentum * b for b, g in zip(*both, strict=True)] for both in pairs]


class Adam:
    """The quotient of the moments, neither of which is biased."""

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.settings = beta1, beta2, eps
        self.first: list[list[Tensor]] | None = None
        self.second: list[list[Tensor]] = []
        self.count = 0

    def __call__(self, grads: list[list[Tensor]]) -> list[list[Tensor]]:
        beta1, beta2, eps = self.settings
        if self.first is None:
            self.first = [[torch.zeros_like(each) for each in group] for group in grads]
            self.second = [[torch.zeros_like(each) for each in group] for group in grads]
        self.count += 1
        found = []
        for m, v, g in zip(self.first, self.second, grads, strict=True):
            for place, each in enumerate(g):
                m[place] = beta1 * m[place] + (1 - beta1) * each
                v[place] = beta2 * v[place] + (1 - beta2) * each**2
            unbiased = [(a / (1 - beta1**self.count), b / (1 - beta2**self.count)) for a, b in zip(m, v, strict=True)]
            found.append([a / (b.sqrt() + eps) for a, b in unbiased])
        return found


# ---- the papers' loops ----


def baydin(bench: Bench, rate: float, beta: float, direction: Any, steps: int) -> Iterator[Rates]:
    """Algorithms 4 to 6 of arXiv:1703.04782: the rate moves by beta times what the last direction says."""
    before: list[list[Tensor]] | None = None
    for step in range(steps):
        loss, grads = bench.gradients(step)
        if before is not None:
            rate += beta * inner(grads, before)
        before = direction(grads)
        for group, along in enumerate(before):
            bench.move(group, [-rate * each for each in along])
        yield [rate] * len(grads), loss


def by_the_angle(
    bench: Bench, bases: list[float], beta: float, bounds: tuple[float, float], direction: Any, steps: int
) -> Iterator[Rates]:
    """The multiplier times 1 + beta cos, within bounds; the angle is between whole vectors, each group by its rate."""
    multiplier, change = 1.0, None
    for step in range(steps):
        loss, grads = bench.gradients(step)
        if change is not None:
            cosine = -inner(grads, change) / math.sqrt(inner(grads, grads) * inner(change, change))
            multiplier = min(max(multiplier * (1 + beta * cosine), bounds[0]), bounds[1])
        change = scaled([-multiplier * base for base in bases], direction(grads))
        for group, along in enumerate(change):
            bench.move(group, along)
        yield [multiplier * base for base in bases], loss


def sps_max(
    bench: Bench, bases: list[float], c: float, lowest: float, growth: float, period: int, direction: Any, steps: int
) -> Iterator[Rates]:
    """arXiv:2002.10542: the smaller of Polyak's step and the last one times growth**(1 / period)."""
    cap = 1.0
    for step in range(steps):
        loss, grads = bench.gradients(step)
        squares = sum(base * inner([each], [each]) for base, each in zip(bases, grads, strict=True))
        size = min((loss - lowest) / (c * squares), cap) if loss > lowest else 0.0
        cap = size * growth ** (1 / period) if size > 0 else cap
        for group, along in enumerate(direction(grads)):
            bench.move(group, [-size * bases[group] * each for each in along])
        yield [size * base for base in bases], loss


def l4(
    bench: Bench,
    bases: list[float],
    alpha: float,
    gamma: float,
    memory: int,
    momentum: float,
    direction: Any,
    steps: int,
) -> Iterator[Rates]:
    """Algorithm 1 of arXiv:1802.05074; the gradient is estimated as in the authors' code, by Adam's first moment."""
    least = 0.0
    mean: list[list[Tensor]] = []
    for step in range(steps):
        loss, grads = bench.gradients(step)
        if step == 0:
            least = 0.75 * loss
            mean = [[torch.zeros_like(each) for each in group] for group in grads]
        least = min(least, loss)
        pairs = zip(mean, grads, strict=True)
        mean = [[momentum * m + (1 - momentum) * g for m, g in zip(*both, strict=True)] for both in pairs]
        estimate = [[each / (1 - momentum ** (step + 1)) for each in group] for group in mean]
        along = scaled(bases, direction(grads))
        size = alpha * (loss - gamma * least) / (inner(estimate, along) + 1e-12)
        for group, each in enumerate(along):
            bench.move(group, [-size * part for part in each])
        least *= 1 + 1 / memory
        yield [size * base for base in bases], loss


# ---- ours, on an optimizer of one's own ----


def ours(bench: Bench, make: Any, bases: list[float], control: Any, steps: int) -> Iterator[Rates]:
    """The same by a torch optimizer and its scheduler."""
    groups = [{"params": params, "lr": base} for params, base in zip(bench.groups, bases, strict=True)]
    optimizer = make(groups)
    scheduler = as_torch_scheduler(optimizer, control, steps)
    for step in range(steps):
        loss = bench.loss(step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        scheduler.tell(loss=loss)
        optimizer.step()
        yield [group["lr"] for group in optimizer.param_groups], loss.item()
        scheduler.step()
