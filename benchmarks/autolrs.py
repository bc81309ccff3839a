"""AutoLRS beside cosine decay: final validation of the same seeds, three of them, and what each way costs.

    python benchmarks/autolrs.py                       # goes on where it was ended; under half an hour beside load
    python benchmarks/autolrs.py digits-mlp --out DIR  # one task
    python benchmarks/autolrs.py --forecasts           # what a tenth of a stage says of the whole; a few minutes

For each task and seed: `search --strategy autolrs` with AdamW over the portfolio's range of rates (two runs of cost),
and `adamw:cosine` in full at the portfolio's six rates. Of these stand in the table: the usual 1e-3 (one run), the
better of 1e-3 and 3e-3 (two), and the best of all (six). Prints the tables of docs/autolrs.md and writes autolrs.json
beside this file.

With `--forecasts`: from five places of a run of each task, thirteen rates are trained with for a tenth of a stage and
for all of it. For each way to forecast: the validation loss after the stage at the rate that it would choose, above
the lowest of all thirteen, in units of what the median rate is above that. A training loss is the mean of the last
third of those seen.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from lrcontrol.api import search
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.search import autolrs
from lrcontrol.search.plan import Plan
from lrcontrol.selection.portfolio import BASE_LRS
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.workplace import Workplace, carry_out_study

NAMES = ("digits-mlp", "digits-cnn", "bike-mlp", "sst-bag")
SEEDS = (0, 1, 2)
RATES = BASE_LRS["adamw"]
WAYS = {"cosine at 1e-3": 1, "cosine, best of 2": 2, "cosine, best of 6": len(RATES)}
PLACES = ((None, 0, 1 / 16), (1e-3, 1 / 8, 1 / 8), (1e-3, 1 / 2, 1 / 4), (3e-3, 1 / 2, 1 / 4), (3e-3, 7 / 8, 1 / 8))
FORECASTS = {  # whether the validation loss is what falls; the longest time constant, in units of what was seen
    "validation loss, no forecast": (True, None),
    "validation loss, up to 0.5": (True, 0.5),
    "validation loss, up to 2": (True, 2.0),
    "validation loss, up to 10": (True, 10.0),
    "training loss, up to 0.5": (False, 0.5),
    "training loss, up to 10": (False, 10.0),
}
FOUND = Path(__file__).with_suffix(".json")


def cosines(name, seed, folder):
    """The records of cosine decay at every rate, in the order of `RATES`."""
    task = TASKS[name]
    specs = tuple(
        RunSpec(task=name, method=method("adamw:cosine"), base_lr=rate, total_steps=task.full_steps, seed=seed)
        for rate in RATES
    )
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "runs.db") as store:
        budget = Budget(len(specs) * task.full_steps, task.full_steps)
        carry_out_study(Plan(specs), store, budget, task, folder, Workplace("serial"))
        return [store.record(spec.id) for spec in specs]


def measured(name, out):
    rows = {label: [] for label in ("AutoLRS", *WAYS)}
    stages, spent = [], []
    for seed in SEEDS:
        folder = out / f"{name}-{seed}"
        found = search(
            name, "autolrs", methods=["adamw"], budget="2runs", seed=seed, out=folder / "autolrs", executor="serial"
        )
        records = cosines(name, seed, folder / "cosine")
        bests = {label: min(records[:count], key=lambda record: record.rank_key) for label, count in WAYS.items()}
        for label, record in {"AutoLRS": found.study.chosen, **bests}.items():
            rows[label].append({"final": record.final, "loss": record.end.values["loss"], "lr": record.spec.base_lr})
        stages.append([[leg.base_lr, leg.forecast, leg.record.end.values["loss"]] for leg in found.study.course.legs])
        spent.append(found.study.spent / TASKS[name].full_steps)
    objective = TASKS[name].objective
    return {
        "metric": objective.metric,
        "direction": objective.direction,
        "steps": TASKS[name].full_steps,
        "rows": rows,
        "stages": stages,
        "runs_spent": spent,
    }


def regrets(name, out):
    """Of each way to forecast, from each place of a run: how far above the best the rate it chooses ends."""
    task, folder = TASKS[name], out / f"{name}-forecasts"
    folder.mkdir(parents=True, exist_ok=True)
    full, found = task.full_steps, {label: [] for label in FORECASTS}
    for trunk_lr, share, length in PLACES:
        begin, tau = int(full * share), int(full * length)
        alike = {"task": name, "method": method("adamw:constant"), "total_steps": full}
        trunk = [RunSpec(**alike, base_lr=trunk_lr, stop_step=begin, checkpoint=True)] if begin else []
        start = Start(trunk[0].id, begin) if begin else None
        rates = [float(f"{rate:.4g}") for rate in np.geomspace(min(RATES), max(RATES), 13)]
        lengths = (tau // 10, tau)
        specs = [
            RunSpec(**alike, base_lr=rate, stop_step=begin + steps, start=start) for steps in lengths for rate in rates
        ]
        with Store(folder / "runs.db") as store:
            plan = Plan((*trunk, *specs))
            carry_out_study(plan, store, Budget(10**9, full), task, folder, Workplace("serial"))
            records = [store.record(spec.id) for spec in specs]
        seen, whole = records[: len(rates)], records[len(rates) :]
        ends = np.array([record.end.values["loss"] if record.usable else np.inf for record in whole])
        for label, (anchored, slowest) in FORECASTS.items():
            told = [foretold(record, tau, anchored, slowest) if record.usable else np.inf for record in seen]
            above = ends[int(np.argmin(told))] - ends.min()
            found[label].append(float(above / (np.median(ends) - ends.min())))
    return found


def foretold(record, steps, anchored, slowest):
    losses = record.column("loss")
    fall = 0.0
    if slowest is not None:
        before, autolrs.SLOWEST = autolrs.SLOWEST, slowest
        fall = autolrs.forecast(losses, steps)
        autolrs.SLOWEST = before
    now = record.end.values["loss"] if anchored else float(losses[-max(len(losses) // 3, 1) :].mean())
    return now - fall


def print_regrets(names, out):
    found = [regrets(name, out) for name in names]
    print("\n| what the rate is chosen by | median | mean | worst |\n|---|---|---|---|")
    for label in FORECASTS:
        values = [value for each in found for value in each[label]]
        print(f"| {label} | {statistics.median(values):.2f} | {statistics.fmean(values):.2f} | {max(values):.1f} |")


def print_table(found):
    labels = ("AutoLRS", *WAYS)
    for of in ("final", "loss"):
        print(f"\n| {'task' if of == 'final' else 'validation loss'} | {' | '.join(labels)} |")
        print("|---" * (len(labels) + 1) + "|")
        for name, row in found.items():
            cells = []
            for label in labels:
                values = [each[of] for each in row["rows"][label]]
                cells.append(f"{statistics.fmean(values):.4f} [{min(values):.4f}, {max(values):.4f}]")
            print(f"| {name}, {row['metric']} | {' | '.join(cells)} |")
    print("\n| task | rates of the stages, a line a seed |\n|---|---|")
    for name, row in found.items():
        told = "<br>".join(", ".join(f"{rate:.2g}" for rate, _, _ in stages) for stages in row["stages"])
        print(f"| {name} | {told} |")


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("names", nargs="*", default=[], metavar="TASK")
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/autolrs"))
    asked.add_argument("--forecasts", action="store_true")
    options = asked.parse_args()
    if options.forecasts:
        print_regrets(options.names or NAMES, options.out)
        return
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for name in options.names or NAMES:
        found[name] = measured(name, options.out)
        FOUND.write_text(json.dumps(found, indent=1) + "\n")
    print_table(found)


if __name__ == "__main__":
    main()
