"""Writes `store-v1.db`, the stored file of format 1 that tests read for ever.

The file is never written anew while a released lrcontrol has this format: what no longer reads it is a bug.
Run as `python tests/data/make_store.py` from a checkout, with a format of its own for the next file.
"""

import sys
from pathlib import Path

import numpy as np

from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record, Weights
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import VERSION, Store

FOLDER = Path(__file__).parent
ACCURACY, RMSE = Objective("accuracy", "maximize"), Objective("rmse", "minimize")


def records() -> list[Record]:
    """One record of every outcome, and methods with nested schedules and every kind of argument."""
    finished = RunSpec(task="digits-mlp", method="adamw:cosine", base_lr=1e-3, total_steps=3, seed=7, save=True)
    stopped = RunSpec(
        task="diabetes-mlp",
        method="sgd(momentum=0.8, weight_decay=0.0005, nesterov=true):warmup(0.05)+rex(beta=0.4)",
        base_lr=0.1,
        total_steps=300,
        stop_step=2,
    )
    diverged = RunSpec(task="digits-softmax", method="sgd:step", base_lr=30.0, total_steps=6700, stop_step=4)
    failed = RunSpec(task="digits-cnn", method="adamw(beta1=0.8, eps=1e-6):constant", base_lr=0.01, total_steps=5)
    return [
        Record(
            spec=finished,
            outcome=Outcome.FINISHED,
            objective=ACCURACY,
            evals=(Evaluation(2, {"loss": 0.75, "accuracy": 0.5}), Evaluation(3, {"loss": 0.25, "accuracy": 0.9375})),
            cost=Cost(3, 0.125),
            columns={
                "loss": np.array([2.5, 1.25, 0.625], np.float32),
                "lr": np.array([1e-3, 7.5e-4, 2.5e-4], np.float32),
            },
            weights=Weights(f"{finished.id}.safetensors", "ab" * 32),
        ),
        Record(
            spec=stopped,
            outcome=Outcome.STOPPED,
            objective=RMSE,
            evals=(Evaluation(2, {"rmse": 61.5}),),
            cost=Cost(2, 0.5),
            columns={"loss": np.array([0.0, -0.0], np.float32), "lr": np.array([1e-38, 0.1], np.float32)},
            message="the metric was no better for 2 evaluations: «enough»",
        ),
        Record(
            spec=diverged,
            outcome=Outcome.DIVERGED,
            objective=ACCURACY,
            cost=Cost(4, 0.0625),
            columns={
                "loss": np.array([2.3, 1e38, np.inf, np.nan], np.float32),
                "lr": np.array([30, 30, 30, 30], np.float32),
            },
            message="the loss was not finite at update 2",
        ),
        Record(
            spec=failed,
            outcome=Outcome.FAILED,
            objective=ACCURACY,
            cost=Cost(5, 2.0),
            message="the run's process was ended by signal 9 (SIGKILL), probably out of memory",
        ),
    ]


def main() -> None:
    """Write the file, which must not be there."""
    path = FOLDER / f"store-v{VERSION}.db"
    if path.exists():
        sys.exit(f"{path} is there, and stays as it is.")
    with Store(path) as store:
        for record in records():
            store.add(record)
    print(path)


if __name__ == "__main__":
    main()
