"""Surroundings: what torch has been told for the whole process, and the random numbers that everybody draws from."""

from collections.abc import Callable
from typing import Any

import torch

from lrcontrol.training.random_numbers import put_random, taken_random

__all__ = ["Surroundings"]


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(told: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(told[0], warn_only=told[1])


def _of_cudnn(name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(torch.backends.cudnn, name), lambda told: setattr(torch.backends.cudnn, name, told)


def _of_autocast(kind: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: torch.is_autocast_enabled(kind), lambda told: torch.set_autocast_enabled(kind, told)


_TOLD: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (torch.is_grad_enabled, torch._C._set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    (_deterministic, _set_deterministic),
    *map(_of_cudnn, ("enabled", "benchmark", "deterministic")),
    *map(_of_autocast, ("cpu", "cuda")),
]


class Surroundings:
    """Settings and random numbers as they are now."""

    def __init__(self) -> None:
        self._told = [get() for get, _ in _TOLD]
        self._random = taken_random()

    def put_back(self) -> None:
        """Make them what they were."""
        for told, (get, put) in zip(self._told, _TOLD, strict=True):
            if get() != told:
                put(told)
        put_random(self._random)
