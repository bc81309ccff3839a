"""What a store of 100,000 records costs: opening, listing, adding, telling, exporting, merging, the page of a study.

    python benchmarks/store.py [RECORDS]

Makes the store once in a temporary folder; prints a table and writes store.json beside this file: rows of name, ours
(seconds of it all), each (microseconds for one record), goal.
"""

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lrcontrol.runs.method import method
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store

OBJECTIVE = Objective("accuracy", "maximize")
METHODS = [
    method(f"{optimizer}:{schedule}")
    for optimizer in ("adamw", "sgd")
    for schedule in ("cosine", "warmup(0.05)+rex", "constant", "step", "warmup(0.05)+linear")
]
BATCH = 2000


def records(count):
    """Runs of 20 to 100 updates with ten evaluations each, as a search makes them."""
    rng = np.random.default_rng(0)
    for number in range(count):
        steps = int(rng.integers(20, 101))
        spec = RunSpec(
            task="digits-mlp",
            method=METHODS[number % len(METHODS)],
            base_lr=float(10 ** rng.uniform(-4, 0)),
            total_steps=steps,
            seed=number // 100,
        )
        points = np.linspace(steps / 10, steps, 10).astype(int)
        values = rng.random((10, 2))
        evals = tuple(
            Evaluation(int(step), {"loss": float(loss), "accuracy": float(accuracy)})
            for step, (loss, accuracy) in zip(points, values, strict=True)
        )
        columns = {name: rng.random(steps).astype(np.float32) for name in ("loss", "lr")}
        outcome = Outcome.DIVERGED if number % 50 == 49 else Outcome.FINISHED
        yield Record(
            spec=spec,
            outcome=outcome,
            objective=OBJECTIVE,
            evals=evals,
            cost=Cost(steps, float(rng.random())),
            columns=columns,
            message="the loss was not finite at update 19" if outcome is Outcome.DIVERGED else None,
        )


def filled(path, count):
    """A store of so many records; the seconds that adding them took, a transaction for every 2,000."""
    taken, batch = 0.0, []
    with Store(path) as store:
        for record in records(count):
            batch.append(record)
            if len(batch) == BATCH:
                began = time.perf_counter()
                store.add_all(batch)
                taken += time.perf_counter() - began
                batch = []
        store.add_all(batch)
    return taken


def timed(call):
    gc.collect()
    began = time.perf_counter()
    value = call()
    return time.perf_counter() - began, value


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows = []

    def row(name, seconds, goal=None, of=count):
        rows.append({"name": name, "ours": seconds, "each": 1e6 * seconds / of, "goal": goal})
        shown = "" if goal is None else f"  goal {goal} s"
        print(f"{name:44}{seconds:>9.3f} s {1e6 * seconds / of:>10.1f} µs each{shown}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        row(f"adding {count:,} in batches of {BATCH:,}", filled(path, count))
        print(f"{'size':44}{path.stat().st_size / 1e6:>9.0f} MB")
        seconds, store = timed(lambda: Store(path, create=False))
        row("opening", seconds, 1.0)
        seconds, listed = timed(store.records)
        row("listing, summaries verified", seconds, 1.0)
        seconds, _ = timed(store.records)
        row("listing again", seconds)
        seconds, _ = timed(lambda: [each.rank_key for each in listed])
        row("decoding all of them", seconds)
        seconds, _ = timed(lambda: [store.record(run_id) for run_id in listed.ids[:5000]])
        row("reading 5,000 with their columns", seconds, of=5000)
        extra = list(records(count + 200))[count:]
        seconds, _ = timed(lambda: [store.add(each) for each in extra])
        row("adding 200, one by one", seconds, of=200)
        store.close()
        Path(__file__).with_name("store.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
