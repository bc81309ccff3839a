"""What a store of 100,000 records costs: opening, listing, adding, telling, exporting, merging, the page of a study.

    python benchmarks/store.py [RECORDS]

Makes the store once in a temporary folder; prints a table and writes store.json beside this file: rows of name, ours
(seconds by the clock), processor (seconds of its time), each (microseconds of that for one record), goal.
"""

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from lrcontrol.analysis.compare import Stage
from lrcontrol.report.page import write
from lrcontrol.report.study import Study, study_page
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.training.tasks import catalogue

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
    clock = cpu = 0.0
    made = records(count)
    with Store(path) as store:
        while batch := list(islice(made, BATCH)):
            taken, _ = timed(lambda batch=batch: store.add_all(batch))
            clock, cpu = clock + taken[0], cpu + taken[1]
    return clock, cpu


def command(*words):
    run = "import sys; from lrcontrol.cli import main; main(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", run, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def page_of_all(path, out):
    """The page of a search whose one stage is every run of a store."""
    with Store(path, read_only=True) as store:
        records = tuple(store.records())
        chosen = store.record(min(records, key=lambda record: record.rank_key).id)
    stage = Stage("all runs", 100, records)
    budget = Budget(sum(record.cost.steps for record in records), 100)
    study = Study(catalogue.task("digits-mlp"), "All runs", "One stage.", (stage,), budget, chosen)
    write(study_page(study), out)


def processor():
    """Seconds of processor time that this process and those it has ended have taken."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(call):
    """The seconds a call takes, by the clock and of the processor, and what it gives."""
    gc.collect()
    began, taken = time.perf_counter(), processor()
    value = call()
    return (time.perf_counter() - began, processor() - taken), value


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows = []

    def row(name, taken, goal=None, of=count):
        seconds, cpu = taken
        rows.append({"name": name, "ours": seconds, "processor": cpu, "each": 1e6 * cpu / of, "goal": goal})
        shown = "" if goal is None else f"  goal {goal:g} s"
        each = f"{1e6 * cpu / of:>8.1f} µs each"
        print(f"{name:44}{seconds:>9.3f} s by the clock {cpu:>8.3f} s of the processor {each}{shown}", flush=True)

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
        # What a user waits for: a command, with the start of Python.
        out = Path(folder)
        for name, *words in (
            ("store info", "info", path),
            ("store check", "check", path),
            ("store export to CSV", "export", path, "-o", out / "runs.csv"),
            ("store export of columns to Parquet", "export", path, "-o", out / "columns.parquet", "--columns"),
            ("store merge into a new store", "merge", path, "-o", out / "merged.db"),
            ("store merge once more", "merge", path, "-o", out / "merged.db"),
        ):
            row(name, timed(lambda words=words: command("store", *words))[0])
        command("select", "digits-mlp", "--budget", "1run", "--executor", "serial", "--out", out / "study")
        with Store(out / "study" / "runs.db") as study, Store(path, read_only=True) as whole:
            ids = whole.records().ids
            for first in range(0, count, BATCH):
                study.add_all([whole.record(run_id) for run_id in ids[first : first + BATCH]])
        row("report of a study in such a store", timed(lambda: command("report", out / "study"))[0], 30.0)
        row("page of one stage with all of them", timed(lambda: page_of_all(path, out / "all.html"))[0], 30.0)
        Path(__file__).with_name("store.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
