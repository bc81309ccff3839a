"""Slow twins: every optimizer straight from its paper, a parameter at a time, for tensors that are never joined."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float((each.double() ** 2).sum()) for each in tensors))


def inner(left: list[Tensor], right: list[Tensor]) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(left, right, strict=True))


class Twin:
    """`step(lr)` on parameters that have gradients; `evaluated()` is what to judge by."""

    def __init__(self, parameters: list[Tensor], **settings: Any) -> None:
        self.parameters = parameters
        self.t = 0
        for name, value in settings.items():
            setattr(self, name, value)

    def grads(self, decay: float = 0.0) -> list[Tensor]:
        return [each.grad + decay * each.detach() for each in self.parameters]

    def evaluated(self) -> list[Tensor]:
        return [each.detach().clone() for each in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        self.t += 1
        self.update(lr)

    def update(self, lr: float) -> None:
        raise NotImplementedError


class DoG(Twin):
    initial_distance, eps, weight_decay, average_power = 1e-6, 1e-8, 0.0, 8.0

    def update(self, lr: float) -> None:
        grads = self.grads(self.weight_decay)
        if self.t == 1:
            self.x0 = self.evaluated()
            self.average = self.evaluated()
            self.reach, self.sum = self.initial_distance * (1 + norm(self.x0)), self.eps
        else:
            self.reach = max(self.reach, norm([p - x for p, x in zip(self.parameters, self.x0, strict=True)]))
        self.sum += norm(grads) ** 2
        for p, g, average in zip(self.parameters, grads, self.average, strict=True):
            p -= lr * self.reach / math.sqrt(self.sum) * g
            share = (1 + self.average_power) / (self.t + self.average_power)
            average.copy_((1 - share) * average + share * p)

    def evaluated(self) -> list[Tensor]:
        return [each.clone() for each in self.average] if self.t and hasattr(self, "average") else super().evaluated()


class LDoG(DoG):
    def update(self, lr: float) -> None:
        if self.t == 1:
            names = ("initial_distance", "eps", "weight_decay", "average_power")
            settings = {name: getattr(self, name) for name in names}
            self.alone = [DoG([each], **settings) for each in self.parameters]
        for each in self.alone:
            each.step(lr)

    def evaluated(self) -> list[Tensor]:
        return [each.evaluated()[0] for each in self.alone] if self.t else Twin.evaluated(self)


class DoWG(Twin):
    initial_distance, eps, weight_decay = 1e-2, 1e-4, 0.0

    def update(self, lr: float) -> None:
        grads = self.grads(self.weight_decay)
        if self.t == 1:
            self.x0, self.reach, self.sum = self.evaluated(), self.initial_distance**2, 0.0
        else:
            self.reach = max(self.reach, norm([p - x for p, x in zip(self.parameters, self.x0, strict=True)]) ** 2)
        self.sum += self.reach * norm(grads) ** 2
        for p, g in zip(self.parameters, grads, strict=True):
            p -= lr * self.reach / (math.sqrt(self.sum) + self.eps) * g


class Cocob(Twin):
    alpha, eps, weight_decay = 100.0, 1e-8, 0.0

    def update(self, lr: float) -> None:
        if self.t == 1:
            self.start = self.evaluated()
            self.scale = [torch.full_like(each, self.eps) for each in self.start]
            self.sum, self.reward, self.theta = ([torch.zeros_like(each) for each in self.start] for _ in range(3))
        for k, (p, g) in enumerate(zip(self.parameters, self.grads(self.weight_decay), strict=True)):
            slope = lr * g
            self.scale[k] = torch.maximum(self.scale[k], slope.abs())
            self.sum[k] = self.sum[k] + slope.abs()
            self.reward[k] = torch.clamp(self.reward[k] - (p - self.start[k]) * slope, min=0)
            self.theta[k] = self.theta[k] - slope
            stake = self.scale[k] * torch.maximum(self.sum[k] + self.scale[k], self.alpha * self.scale[k])
            p.copy_(self.start[k] + self.theta[k] / stake * (self.scale[k] + self.reward[k]))


class Mechanic(Twin):
    """Around what `make` makes for plain copies of the parameters, whose updates it asks for."""

    decay, initial_scale, eps, num_betas = 0.01, 1e-8, 1e-8, 6
    make: Callable[[list[Tensor]], torch.optim.Optimizer]

    def update(self, lr: float) -> None:
        grads = self.grads()
        if self.t == 1:
            self.reference = self.evaluated()
            self.stand_ins = [torch.nn.Parameter(each.clone()) for each in self.reference]
            self.base = type(self).make(self.stand_ins)
            self.delta = [torch.zeros_like(each) for each in self.reference]
            self.m, self.v, self.r, self.s = ([0.0] * self.num_betas for _ in range(4))
        for stand_in, p, g in zip(self.stand_ins, self.parameters, grads, strict=True):
            stand_in.copy_(p)
            stand_in.grad = g.clone()
        for group in self.base.param_groups:
            group["lr"] = lr
        self.base.step()
        weights = self.evaluated()
        pull = self.decay * sum(self.s) * norm(grads) / (norm(weights) or 1.0)
        h = inner(self.delta, grads) + pull * inner(self.delta, weights)
        for d, stand_in, p in zip(self.delta, self.stand_ins, self.parameters, strict=True):
            d += stand_in - p
        for k in range(self.num_betas):
            beta = 1 - 0.1 ** (k + 1)
            self.m[k] = max(beta * self.m[k], abs(h))
            self.v[k] = beta**2 * self.v[k] + h**2
            self.r[k] = max(0.0, beta * self.r[k] - self.s[k] * h)
            wealth = self.initial_scale / self.num_betas * self.m[k] + self.r[k]
            self.s[k] = wealth / (math.sqrt(self.v[k]) + self.eps)
        for p, x, d in zip(self.parameters, self.reference, self.delta, strict=True):
            p.copy_(x + sum(self.s) * d)


class ScheduleFree(Twin):
    """x, y and z all kept; `adam` for AdamW's."""

    adam, beta, beta2, eps, weight_decay, average_power, lr_power = False, 0.9, 0.999, 1e-8, 0.0, 0.0, 2.0

    def update(self, lr: float) -> None:
        if self.t == 1:
            self.x, self.z = self.evaluated(), self.evaluated()
            self.v = [torch.zeros_like(each) for each in self.x]
            self.largest, self.weights = 0.0, 0.0
        self.largest = max(self.largest, lr)
        weight = self.t**self.average_power * self.largest**self.lr_power
        self.weights += weight
        c = weight / self.weights if self.weights else 0.0
        for k, (y, g) in enumerate(zip(self.parameters, self.grads(), strict=True)):
            move = g
            if self.adam:
                self.v[k] = self.beta2 * self.v[k] + (1 - self.beta2) * g * g
                move = g / ((self.v[k] / (1 - self.beta2**self.t)).sqrt() + self.eps)
            self.z[k] = self.z[k] - lr * (move + self.weight_decay * y)
            self.x[k] = (1 - c) * self.x[k] + c * self.z[k]
            y.copy_((1 - self.beta) * self.z[k] + self.beta * self.x[k])

    def evaluated(self) -> list[Tensor]:
        return [each.clone() for each in self.x] if self.t > 1 or hasattr(self, "x") else super().evaluated()


class Prodigy(Twin):
    beta1, beta2, eps, weight_decay, d0, d_coef = 0.9, 0.999, 1e-8, 0.0, 1e-6, 1.0

    def update(self, lr: float) -> None:
        if self.t == 1:
            self.x0 = self.evaluated()
            self.m, self.v, self.s = ([torch.zeros_like(each) for each in self.x0] for _ in range(3))
            self.d, self.r = self.d0, 0.0
        grads, beta3, d = self.grads(), math.sqrt(self.beta2), self.d
        gone = [x - p for x, p in zip(self.x0, self.parameters, strict=True)]
        self.r = beta3 * self.r + (d / self.d0) * d * lr * inner(grads, gone)
        for k, g in enumerate(grads):
            self.m[k] = self.beta1 * self.m[k] + (1 - self.beta1) * d * g
            self.v[k] = self.beta2 * self.v[k] + (1 - self.beta2) * d * d * g * g
            self.s[k] = beta3 * self.s[k] + (d / self.d0) * d * lr * g
        self.d = max(d, self.d_coef * self.r / sum(float(each.double().abs().sum()) for each in self.s))
        for k, p in enumerate(self.parameters):
            p *= 1 - d * lr * self.weight_decay
            p -= d * lr * self.m[k] / (self.v[k].sqrt() + self.d * self.eps)


class DAdaptSGD(Twin):
    momentum, weight_decay, d0 = 0.9, 0.0, 1e-6

    def update(self, lr: float) -> None:
        if self.t == 1:
            self.x0 = self.evaluated()
            self.s = [torch.zeros_like(each) for each in self.x0]
            self.d, self.sum, self.first = self.d0, 0.0, norm(self.grads())
        grads, rate = self.grads(self.weight_decay), self.d * lr / self.first
        self.sum += rate * inner(grads, self.s)
        self.s = [s + rate * g for s, g in zip(self.s, grads, strict=True)]
        self.d = max(self.d, 2 * self.sum / norm(self.s))
        for p, x, s in zip(self.parameters, self.x0, self.s, strict=True):
            p.copy_(self.momentum * p + (1 - self.momentum) * (x - s))


class DAdaptAdam(Twin):
    beta1, beta2, eps, weight_decay, d0 = 0.9, 0.999, 1e-8, 0.0, 1e-6

    def update(self, lr: float) -> None:
        if self.t == 1:
            self.m, self.v, self.s = ([torch.zeros_like(each) for each in self.parameters] for _ in range(3))
            self.d, self.r = self.d0, 0.0
        grads, root, rate = self.grads(self.weight_decay), math.sqrt(self.beta2), self.d * lr
        scaled = [s / (v.sqrt() + self.eps) for s, v in zip(self.s, self.v, strict=True)]
        self.r = root * self.r + (1 - root) * rate * inner(grads, scaled)
        for k, (p, g) in enumerate(zip(self.parameters, grads, strict=True)):
            self.m[k] = self.beta1 * self.m[k] + (1 - self.beta1) * rate * g
            self.v[k] = self.beta2 * self.v[k] + (1 - self.beta2) * g * g
            self.s[k] = root * self.s[k] + (1 - root) * rate * g
            p -= self.m[k] / (self.v[k].sqrt() + self.eps)
        self.d = max(self.d, self.r / ((1 - root) * sum(float(each.double().abs().sum()) for each in self.s)))
