"""Devices: what a run is trained on, and the random numbers that are drawn there."""

import contextlib
import os
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["SLOT", "count_of", "device_of", "find_device", "random_kept", "random_now", "seed_random", "set_random"]

_NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")


SLOT = "LRCONTROL_SLOT"
"""What the processes executor tells its processes by: which of those side by side each is, from 0."""


def find_device(name: str | None) -> torch.device | None:
    """The device of a name: `cpu`, `cuda:NUMBER`, or `cuda`, of which processes side by side take one after the other.

    Raises:
        BadInput: no such name, or this machine has no such device.
    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name is None:
        return None
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise BadInput(f"a device must be cpu, cuda or cuda:NUMBER, got {checks.shown(name)}.")
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = int(os.environ.get(SLOT, "0")) % max(count, 1) if found[1] is None else int(found[1])
    if place >= count:
        raise BadInput(f"a device must be there, got {name}, where torch {torch.__version__} finds {count}; use cpu.")
    return torch.device("cuda", place)


def count_of(name: str) -> int:
    """How many devices of this machine a name stands for: all accelerators for `cuda`, else one.

    Raises:
        BadInput: as `find_device`.
    """
    find_device(name)
    return torch.cuda.device_count() if name == "cuda" else 1


def device_of(model: nn.Module) -> torch.device:
    """Where a model is: that of its first parameter."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def seed_random(seed: int, device: torch.device) -> None:
    """Seed torch's random numbers here and on a device; torch.manual_seed would seed every accelerator."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def random_now(device: torch.device) -> Tensor:
    """Where torch's random numbers on a device are."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random(state: Tensor, device: torch.device) -> None:
    """Go back to where `random_now` was called for the device."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextlib.contextmanager
def random_kept(device: torch.device | None = None) -> Iterator[None]:
    """Put torch's random numbers back at the end: here, on a device, and on every accelerator that is in use."""
    used = torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    devices = {torch.device("cpu"), *(torch.device("cuda", place) for place in range(used))}
    before = [(each, random_now(each)) for each in devices | ({device} if device is not None else set())]
    try:
        yield
    finally:
        for each, state in before:
            set_random(state, each)
