"""Refined schedules beside named ones on real tasks, every one at a base rate tuned the same way, five seeds each.

    python benchmarks/refinement.py                       # goes on where it was ended; about an hour on two cores
    python benchmarks/refinement.py digits-mlp --out DIR  # one task

For each task: warmup-linear is tuned on seed 0, its gradient norms are refined, and then every schedule is tuned on
seed 0 over the same rates (a factor of 2 apart, five of them, more while the best is at an edge) and run with seeds 1
to 5 at its best. Prints the table of docs/refinement.md and writes refinement.json beside this file.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from lrcontrol.analysis.refine import refined
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method, optimizer_name
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.workplace import Workplace, carry_out_study

NAMES = ("digits-mlp", "digits-cnn", "satimage-softmax", "mnist-mlp", "letter-softmax", "shakespeare-gpt-100k")
FIRST = "warmup(0.05)+linear"
SCHEDULES = ("constant", "cosine", "linear", "rex", FIRST)
SEEDS = (1, 2, 3, 4, 5)
FACTOR = 2.0
FOUND = Path(__file__).with_suffix(".json")


class Bench:
    """One task, its store, and what was asked of it."""

    def __init__(self, name, out):
        self.task, self.folder = TASKS[name], out / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.optimizer = self.task.method.split(":")[0]

    def run(self, specs):
        """The records of the specs, those that are not there yet carried out."""
        with Store(self.folder / "runs.db") as store:
            way = Plan(tuple(specs))
            budget = Budget(steps=10**12, full_steps=self.task.full_steps)
            carry_out_study(
                way,
                store,
                budget,
                self.task,
                self.folder,
                Workplace("auto" if self.task.name.endswith("softmax") else "processes"),
            )
            return [store.record(spec.id) for spec in specs]

    def spec(self, schedule, base_lr, seed=0, norms=()):
        return RunSpec(
            task=self.task.name,
            method=method(f"{self.optimizer}:{schedule}"),
            base_lr=base_lr,
            total_steps=self.task.full_steps,
            seed=seed,
            norms=norms,
        )

    def tuned(self, schedules, norms=()):
        """The best record of each schedule on seed 0, and the rates that were tried."""
        rates = {each: [self.task.base_lr * FACTOR**power for power in range(-2, 3)] for each in schedules}
        best, open_ones = {}, set(schedules)
        while open_ones:
            asked = [(each, rate) for each in schedules if each in open_ones for rate in rates[each]]
            answers = self.run([self.spec(each, rate, norms=norms) for each, rate in asked])
            for each in list(open_ones):
                mine = [record for (which, _), record in zip(asked, answers, strict=True) if which == each]
                best[each] = min(mine, key=lambda record: record.rank_key)
                at, low, high = best[each].spec.base_lr, min(rates[each]), max(rates[each])
                if len(rates[each]) >= 9 or low < at < high:
                    open_ones.discard(each)
                else:
                    rates[each].append(low / FACTOR if at == low else high * FACTOR)
        return best, rates


def measured(name, out):
    bench = Bench(name, out)
    order = "l2" if optimizer_name(method(bench.task.method).optimizer) == "sgd" else "l1"
    first, _ = bench.tuned([FIRST], norms=("l1", "l2"))
    found = refined(first[FIRST].column(order), order=order, points=1000)
    schedules = {**{each: each for each in SCHEDULES}, "refined": str(found.schedule)}
    best, rates = bench.tuned(list(schedules.values()))
    asked = [
        bench.spec(text, best[text].spec.base_lr, seed=seed, norms=()) for text in schedules.values() for seed in SEEDS
    ]
    answers = iter(bench.run(asked))
    records = {label: [next(answers) for _ in SEEDS] for label in schedules}
    return {
        "metric": bench.task.objective.metric,
        "direction": bench.task.objective.direction,
        "optimizer": bench.optimizer,
        "steps": bench.task.full_steps,
        "order": order,
        "warmup": round(found.compact.warmup, 4),
        "power": round(found.compact.power, 3),
        "error": round(found.compact.error, 3),
        "degenerate": found.degenerate,
        "base_lr": {label: best[text].spec.base_lr for label, text in schedules.items()},
        "tried": {label: len(rates[text]) for label, text in schedules.items()},
        "finals": {label: [record.final for record in mine] for label, mine in records.items()},
        "losses": {label: [record.evals[-1].values["loss"] for record in mine] for label, mine in records.items()},
        "curve": [round(float(value), 4) for value in found.schedule.multipliers(50)],
    }


def interval(values):
    """Mean, and half the width of its 95 % interval (Student's t)."""
    spread = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(student.ppf(0.975, len(values) - 1)) * spread


def print_table(found):
    for name, row in found.items():
        better = "higher" if row["direction"] == "maximize" else "lower"
        print(
            f"\n{name} ({row['optimizer']}, {row['steps']} updates, {row['order']}): "
            f"{row['metric']}, {better} is better"
        )
        sign = 1 if row["direction"] == "maximize" else -1
        linear = np.array(row["finals"]["linear"])
        for label, values in row["finals"].items():
            mean, half = interval(values)
            ahead, doubt = interval(sign * (np.array(values) - linear))
            against = "" if label == "linear" else f"  better than linear by {ahead:+.4f} ± {doubt:.4f}"
            loss = statistics.fmean(row["losses"][label])
            print(f"  {label:20} {mean:.4f} ± {half:.4f}  loss {loss:.4f}  at {row['base_lr'][label]:.3g}{against}")
        fall = f"then (1-p)^{row['power']}"
        print(
            f"  refined is near: warmup {row['warmup']:.1%}, {fall} (off by {row['error']}); {row['degenerate'] or ''}"
        )


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("names", nargs="*", default=[], metavar="TASK")
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/refinement"))
    options = asked.parse_args()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for name in options.names or NAMES:
        found[name] = measured(name, options.out)
        FOUND.write_text(json.dumps(found, indent=1) + "\n")
        print_table({name: found[name]})


if __name__ == "__main__":
    main()
