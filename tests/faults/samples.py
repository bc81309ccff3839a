"""Small records without training, and what it means that two are the same."""

import struct
from typing import Any

import msgspec
import numpy as np

from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record, Weights
from lrcontrol.runs.spec import RunSpec

OBJECTIVE = Objective("accuracy", "maximize")


def spec(number: int, **changes: Any) -> RunSpec:
    """The spec of run `number`; all numbers have different ids."""
    return RunSpec(
        **{
            "task": "made-up",
            "method": ("sgd(momentum=0.8):warmup(0.05)+rex", "adamw:cosine", "sgd:step")[number % 3],
            "base_lr": 0.001 * (1 + number),
            "total_steps": 30,
            "stop_step": 10 + number % 20,
            "seed": number,
            **changes,
        }
    )


def well(number: int, **changes: Any) -> RunSpec:
    """The spec of a run whose record is a finished one."""
    return spec(5 * number, **changes)


def record(number: int, **changes: Any) -> Record:
    """A record of run `number` with columns, in turns finished, stopped, diverged and failed."""
    asked = spec(number)
    rng = np.random.default_rng(number)
    steps = asked.stop_step
    kind = (Outcome.FINISHED, Outcome.FINISHED, Outcome.STOPPED, Outcome.DIVERGED, Outcome.FAILED)[number % 5]
    columns = {
        "loss": rng.standard_normal(steps).astype(np.float32),
        "lr": rng.random(steps).astype(np.float32),
    }
    if kind is Outcome.DIVERGED:
        columns["loss"][-2:] = (np.inf, np.nan)
    evals = (Evaluation(steps // 2, {"accuracy": 0.5, "loss": 1e300}), Evaluation(steps, {"accuracy": rng.random()}))
    return Record(
        **{
            "spec": asked,
            "outcome": kind,
            "objective": OBJECTIVE,
            "evals": () if kind is Outcome.FAILED else evals,
            "cost": Cost(steps, float(rng.random())),
            "columns": {} if kind is Outcome.FAILED else columns,
            "message": None if kind is Outcome.FINISHED else f"how run {number} ended: ünïcode, \0, \u2028",
            "weights": Weights(f"{asked.id}.safetensors", "0" * 64) if kind is Outcome.FINISHED else None,
            **changes,
        }
    )


def content(of: Record, *, seconds: bool = True) -> tuple[bytes, list[tuple[str, bytes]]]:
    """All that a record holds, bit for bit; without its seconds where they are of no matter."""
    if not seconds:
        of = msgspec.structs.replace(of, cost=Cost(of.cost.steps, 0.0))
    return of.summary(), [(name, struct.pack(f"<{len(values)}f", *values)) for name, values in of.columns.items()]
