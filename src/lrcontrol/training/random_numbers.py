"""The random numbers that a script may draw: torch's, numpy's and Python's, seeded, taken and put back together."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lrcontrol.training.devices import CPU, places_of_random, random_now, set_random

__all__ = ["put_random", "seed_all", "seeded_all", "taken_random"]

PYTHON, NUMPY, TORCH, CUDA = "random.python", "random.numpy", "random.torch", "random.cuda."


def seed_all(seed: int) -> None:
    """Seed them all; accelerators too, for a script chooses its device itself."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - this is the one that scripts and their libraries draw from
    random.seed(seed)


@contextlib.contextmanager
def seeded_all(seed: int) -> Iterator[None]:
    """Seeded random numbers; the caller's are put back."""
    before = taken_random()
    seed_all(seed)
    try:
        yield
    finally:
        put_random(before)


def taken_random() -> dict[str, Tensor]:
    """Where they are now, as tensors by name."""
    _, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - as above
    found = {
        PYTHON: torch.tensor([*words, 0 if gauss is None else 1], dtype=torch.int64),
        f"{PYTHON}.gauss": torch.tensor(0.0 if gauss is None else gauss, dtype=torch.float64),
        NUMPY: torch.tensor([*np.asarray(keys).tolist(), place, has_gauss], dtype=torch.int64),
        f"{NUMPY}.gauss": torch.tensor(cached, dtype=torch.float64),
        TORCH: random_now(CPU),
    }
    return found | {f"{CUDA}{place.index}": random_now(place) for place in _accelerators()}


def put_random(found: dict[str, Tensor]) -> None:
    """Go back to where `taken_random` was called."""
    *words, has = found[PYTHON].tolist()
    random.setstate((3, tuple(words), float(found[f"{PYTHON}.gauss"]) if has else None))
    *keys, place, has = found[NUMPY].tolist()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), place, has, float(found[f"{NUMPY}.gauss"])))  # noqa: NPY002 - as above
    set_random(found[TORCH], CPU)
    for place in _accelerators():
        if f"{CUDA}{place.index}" in found:
            set_random(found[f"{CUDA}{place.index}"], place)


def _accelerators() -> list[torch.device]:
    """Those that have random numbers by now."""
    return [place for place in places_of_random() if place != CPU]
