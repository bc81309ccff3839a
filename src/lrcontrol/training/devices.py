"""Devices: what a run is trained on, and the random numbers that are drawn there."""

import contextlib
import os
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = [
    "CPU",
    "device_of",
    "find_device",
    "on_cpu",
    "places_of_random",
    "random_kept",
    "random_now",
    "seed_random",
    "seen_alone",
    "set_random",
]

CPU = torch.device("cpu")
_NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")

SEEN = "CUDA_VISIBLE_DEVICES"
"""Where the environment says which accelerators a process sees."""


def find_device(name: str | None) -> torch.device | None:
    """The device of a name: `cpu`, `cuda:NUMBER`, or `cuda`, the first.

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
        return CPU
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = int(found[1] or 0)
    if place >= count:
        there = {0: "none", 1: "1, cuda:0"}.get(count, f"{count}, cuda:0 to cuda:{count - 1}")
        raise BadInput(f"a device must be there, got {name}, where torch {torch.__version__} finds {there}; use cpu.")
    return torch.device("cuda", place)


def seen_alone(name: str) -> list[dict[str, str]]:
    """For each accelerator that a name stands for, all of them for `cuda`: with what a process sees that one alone.

    It is `cuda` there. So what a script or a library takes for the accelerator without being asked is the right one.

    Raises:
        BadInput: as `find_device`.
    Example:
        >>> seen_alone("cpu")
        [{}]
    """
    found = find_device(name)
    if found is None or on_cpu(found):
        return [{}]
    known = os.environ.get(SEEN)
    all_of_them = known.split(",") if known else [str(place) for place in range(torch.cuda.device_count())]
    return [{SEEN: each} for each in (all_of_them if name == "cuda" else [all_of_them[found.index or 0]])]


def on_cpu(device: torch.device | None) -> bool:
    """Whether runs are on the CPU that are asked to be there, or nowhere in particular."""
    return device is None or device.type == "cpu"


def device_of(model: nn.Module) -> torch.device:
    """Where a model is: that of its first parameter."""
    return next((each.device for each in model.parameters()), CPU)


def seed_random(seed: int, device: torch.device) -> None:
    """Seed torch's random numbers here and on a device; torch.manual_seed would seed every accelerator."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def places_of_random(device: torch.device | None = None) -> list[torch.device]:
    """Where there are random numbers that a run may draw: here, on a device, on every accelerator that is in use."""
    used = torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    here = [CPU, *(torch.device("cuda", place) for place in range(used))]
    return here if device is None or device in here else [*here, device]


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
    """Put torch's random numbers back at the end, wherever a run on a device may draw some."""
    before = [(each, random_now(each)) for each in places_of_random(device)]
    try:
        yield
    finally:
        for each, state in before:
            set_random(state, each)
