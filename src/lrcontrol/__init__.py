"""lrcontrol takes the learning rate off your hands.

    import lrcontrol as lrc

    lrc.warmup(0.05).then(lrc.rex()).multipliers(1000)
    lrc.as_torch_scheduler(optimizer, "warmup(0.05)+rex", total_steps=1000)
    lrc.select("digits-cnn", budget="20runs", seed=0).report("report.html")

Importing it loads neither torch nor a chart library; each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrcontrol.api import Selection, load_selection, select, train
    from lrcontrol.runs.method import Method, method
    from lrcontrol.schedules.recipes import constant, cosine, exponential, linear, polynomial, rex, step, warmup
    from lrcontrol.schedules.schedule import Schedule
    from lrcontrol.schedules.text import schedule
    from lrcontrol.training.adapter import as_torch_scheduler

_HOME = {
    "Method": "runs.method",
    "Schedule": "schedules.schedule",
    "Selection": "api",
    "as_torch_scheduler": "training.adapter",
    "constant": "schedules.recipes",
    "cosine": "schedules.recipes",
    "exponential": "schedules.recipes",
    "linear": "schedules.recipes",
    "load_selection": "api",
    "method": "runs.method",
    "polynomial": "schedules.recipes",
    "rex": "schedules.recipes",
    "schedule": "schedules.text",
    "select": "api",
    "step": "schedules.recipes",
    "train": "api",
    "warmup": "schedules.recipes",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lrcontrol' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrcontrol.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
