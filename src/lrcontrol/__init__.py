"""lrcontrol takes the learning rate off your hands.

    import lrcontrol as lrc

Importing it loads neither torch nor a chart library; each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrcontrol.schedules.recipes import (
        constant,
        cosine,
        exponential,
        linear,
        polynomial,
        rex,
        step,
        warmup,
    )
    from lrcontrol.schedules.schedule import Schedule
    from lrcontrol.schedules.text import schedule

_HOME = {
    "Schedule": "schedules.schedule",
    "constant": "schedules.recipes",
    "cosine": "schedules.recipes",
    "exponential": "schedules.recipes",
    "linear": "schedules.recipes",
    "polynomial": "schedules.recipes",
    "rex": "schedules.recipes",
    "schedule": "schedules.text",
    "step": "schedules.recipes",
    "warmup": "schedules.recipes",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lrcontrol' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrcontrol.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
