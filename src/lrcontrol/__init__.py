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
    from lrcontrol.analysis.lr_range import suggest_lr
    from lrcontrol.api import Selection, load_selection, select, train
    from lrcontrol.citing import cite
    from lrcontrol.controls.text import control
    from lrcontrol.interop.description import describe
    from lrcontrol.interop.logs.read import gradient_log
    from lrcontrol.ranging import range_test
    from lrcontrol.refining import advise, refine
    from lrcontrol.runs.method import Method, method
    from lrcontrol.schedules.horizon import Horizon, horizon
    from lrcontrol.schedules.recipes.cycles import exp_range, fractal, sgdr, snapshot, triangular, triangular2
    from lrcontrol.schedules.recipes.phases import one_cycle, one_cycle_momentum, piecewise, power, step, warmup, wsd
    from lrcontrol.schedules.recipes.single import (
        constant,
        cosine,
        exponential,
        geometric,
        inverse_power,
        inverse_sqrt,
        linear,
        one_minus_sqrt,
        polynomial,
        rex,
        table,
    )
    from lrcontrol.schedules.schedule import Schedule
    from lrcontrol.schedules.text import from_json, schedule, to_json
    from lrcontrol.training.adapter import as_torch_scheduler
    from lrcontrol.training.observe import observe
    from lrcontrol.training.optimizers.evaluation import evaluation_weights, recalibrate
    from lrcontrol.training.optimizers.found import found_lr
    from lrcontrol.training.optimizers.making import make_optimizer
    from lrcontrol.training.run import Run
    from lrcontrol.training.snapshots import snapshots
    from lrcontrol.training.tasks.own import as_task
    from lrcontrol.training.tasks.problem import Problem, Split
    from lrcontrol.training.tasks.script import task
    from lrcontrol.training.tensorize import tensorize

_HOME = {
    "Horizon": "schedules.horizon",
    "Method": "runs.method",
    "Problem": "training.tasks.problem",
    "Run": "training.run",
    "Schedule": "schedules.schedule",
    "Selection": "api",
    "Split": "training.tasks.problem",
    "advise": "refining",
    "as_task": "training.tasks.own",
    "as_torch_scheduler": "training.adapter",
    "cite": "citing",
    "constant": "schedules.recipes.single",
    "control": "controls.text",
    "cosine": "schedules.recipes.single",
    "describe": "interop.description",
    "evaluation_weights": "training.optimizers.evaluation",
    "exp_range": "schedules.recipes.cycles",
    "exponential": "schedules.recipes.single",
    "found_lr": "training.optimizers.found",
    "fractal": "schedules.recipes.cycles",
    "from_json": "schedules.text",
    "geometric": "schedules.recipes.single",
    "gradient_log": "interop.logs.read",
    "horizon": "schedules.horizon",
    "inverse_power": "schedules.recipes.single",
    "inverse_sqrt": "schedules.recipes.single",
    "linear": "schedules.recipes.single",
    "load_selection": "api",
    "make_optimizer": "training.optimizers.making",
    "method": "runs.method",
    "observe": "training.observe",
    "one_cycle": "schedules.recipes.phases",
    "one_cycle_momentum": "schedules.recipes.phases",
    "one_minus_sqrt": "schedules.recipes.single",
    "piecewise": "schedules.recipes.phases",
    "polynomial": "schedules.recipes.single",
    "power": "schedules.recipes.phases",
    "range_test": "ranging",
    "recalibrate": "training.optimizers.evaluation",
    "refine": "refining",
    "rex": "schedules.recipes.single",
    "schedule": "schedules.text",
    "select": "api",
    "sgdr": "schedules.recipes.cycles",
    "snapshot": "schedules.recipes.cycles",
    "snapshots": "training.snapshots",
    "step": "schedules.recipes.phases",
    "suggest_lr": "analysis.lr_range",
    "table": "schedules.recipes.single",
    "task": "training.tasks.script",
    "tensorize": "training.tensorize",
    "to_json": "schedules.text",
    "train": "api",
    "triangular": "schedules.recipes.cycles",
    "triangular2": "schedules.recipes.cycles",
    "warmup": "schedules.recipes.phases",
    "wsd": "schedules.recipes.phases",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lrcontrol' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrcontrol.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
