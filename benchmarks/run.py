"""What running costs: ours beside what a user would otherwise have, in interleaved pairs, medians.

    python benchmarks/run.py

Prints a table and writes latest.json beside this file: rows of name, ours, peer, ratio (peer / ours), goal.
"""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.training.loop import train
from lrcontrol.training.tasks.catalogue import task
from lrcontrol.workplace import CARRY, Workplace, make_executor

PAIRS = 7
STUDY = 100  # runs, or trials


def pairs(ours, peer):
    """Medians of `ours()` and `peer()`, each a number of seconds, taken in turn."""
    taken = [(ours(), peer()) for _ in range(PAIRS)]
    return statistics.median(a for a, _ in taken), statistics.median(b for _, b in taken)


def seconds(call, repeats=1):
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats


def run_overhead():
    """What a run costs beside its training: a warm slot of ours, and a fresh interpreter that imports torch."""
    specs = iter(
        RunSpec(task="digits-mlp", method="sgd:cosine", base_lr=0.1, total_steps=1, seed=seed) for seed in range(1000)
    )
    executor = Processes(CARRY, task("digits-mlp").objective, workers=1)

    def ours():
        spec = next(specs)
        began = time.perf_counter()
        executor.submit(spec)
        (record,) = executor.wait()
        return time.perf_counter() - began - record.cost.seconds

    ours()
    fresh = [sys.executable, "-c", "import torch"]
    result = pairs(ours, lambda: seconds(lambda: subprocess.run(fresh, check=True)))
    executor.close()
    return result


def study(folder):
    """What a run of a study costs beside its training, spec to progress, on one slot; and a trial of Optuna's.

    The runs are of 20 updates each, so that what is not training weighs most.
    """
    import optuna

    known = task("digits-softmax")
    budget = Budget(steps=10**9, full_steps=known.full_steps)
    counted = itertools.count()

    def specs(count):
        return tuple(
            RunSpec(task=known.name, method="sgd:cosine", base_lr=0.1 + 1e-6 * next(counted), total_steps=20)
            for _ in range(count)
        )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db")
    with Store(folder / "study.db") as store, make_executor(Workplace("processes", 1), known, folder) as runner:

        def ours():
            training, plan = [], Plan(specs(STUDY))
            began = time.perf_counter()
            carry_out(plan, runner, store, budget, seen=lambda record: training.append(record.cost.seconds))
            return (time.perf_counter() - began - sum(training)) / STUDY

        def peer():
            return seconds(lambda: asked.optimize(lambda trial: trial.suggest_float("lr", 0, 1), STUDY)) / STUDY

        ours()
        return pairs(ours, peer)


def store_add(folder):
    """Keeping the record of a run of 1000 updates, durably."""
    record = train(RunSpec(task="digits-mlp", method="sgd:cosine", base_lr=0.1, total_steps=1000))
    with Store(folder / "kept.db") as store:
        others = [
            msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, seed=seed)) for seed in range(50)
        ]
        return statistics.median(seconds(lambda each=each: store.add(each)) for each in others)


def main():
    rows = []

    def row(name, ours, peer, goal, unit="s"):
        ratio = None if peer is None else round(peer / ours, 2)
        rows.append(
            {
                "name": name,
                "ours": float(f"{ours:.3g}"),
                "peer": peer and float(f"{peer:.3g}"),
                "ratio": ratio,
                "goal": goal,
            }
        )
        told = "" if ratio is None else f"{peer:>12.3g}{ratio:>9.2f}"
        print(f"{name:74}{ours:>12.3g}{told:21}  {goal}")

    print(f"{'seconds':74}{'ours':>12}{'peer':>12}{'ratio':>9}  goal")
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = run_overhead()
        kept = store_add(Path(folder))
        beside, trial = study(Path(folder))
    row("a run in a process of its own; a fresh import of torch", ours, peer, "<= 5 ms")
    row("a short run of a study, beside its training; a trial of Optuna on SQLite", beside, trial, "<= 5 ms")
    row("keeping the record of a run, durably", kept, None, "<= 5 ms")
    shown = [str(Path(sys.executable).with_name("lrcontrol")), "--help"]
    ours, peer = pairs(
        lambda: seconds(lambda: subprocess.run(shown, check=True, stdout=subprocess.DEVNULL)),
        lambda: seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)),
    )
    row("lrcontrol --help; an empty Python", ours, peer, "< 0.3 s")
    Path(__file__).with_name("latest.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
