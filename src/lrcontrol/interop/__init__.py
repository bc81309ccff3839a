"""Schedules in other people's training code, and theirs read back: one file per client.

`as_<client>_<what the client calls it>` gives a schedule to a client; `<client>_task` makes a task of what a client
trains, and `<client>_range_test` tests the rates that it could have; `describe` reads a client's schedule. Each name
is loaded when it is first used, and with it the client.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrcontrol.interop.description import Description, describe, describe_transformers, sampled
    from lrcontrol.interop.ignite import as_ignite_handler
    from lrcontrol.interop.keras import as_keras_schedule
    from lrcontrol.interop.lightning import as_lightning_config
    from lrcontrol.interop.lightning_range import lightning_range_test
    from lrcontrol.interop.lightning_scripts import lightning_task
    from lrcontrol.interop.optax import as_optax_schedule
    from lrcontrol.interop.skorch import as_skorch_callback
    from lrcontrol.interop.transformers import as_transformers_schedule, as_transformers_trainer
    from lrcontrol.interop.transformers_range import transformers_range_test
    from lrcontrol.interop.transformers_scripts import transformers_task

_HOME = {
    "Description": "description",
    "as_ignite_handler": "ignite",
    "as_keras_schedule": "keras",
    "as_lightning_config": "lightning",
    "as_optax_schedule": "optax",
    "as_skorch_callback": "skorch",
    "as_transformers_schedule": "transformers",
    "as_transformers_trainer": "transformers",
    "describe": "description",
    "describe_transformers": "description",
    "lightning_range_test": "lightning_range",
    "lightning_task": "lightning_scripts",
    "sampled": "description",
    "transformers_range_test": "transformers_range",
    "transformers_task": "transformers_scripts",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lrcontrol.interop' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrcontrol.interop.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
