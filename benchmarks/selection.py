"""What is found at equal cost: `select`, its race alone, and random rates, with budgets of 4, 10 and 20 runs.

    python benchmarks/selection.py --out DIR [--tasks TASK ...] [--seeds 3]    # goes on where it was ended
    python benchmarks/selection.py --table                                     # of what is there

Tasks are on other data than those of lr_free.py, by which the methods that `select` does not race were picked. Told is
the metric on the test split of what was best on validation: beside the plain default (one run at 0.001),
`adamw:cosine` at so many rates drawn log-uniformly from [1e-4, 1e-1], the race over the portfolio with nothing but the
plain default beside it, and `select` as it is.

What is lost is 0 % where `adamw:linear` ends, in full and with the same seeds, at a rate that was tuned with two other
seeds on a grid of seven rates or more, and 100 % before training. Writes selection.json beside this file.
"""

import argparse
import json
import statistics
from pathlib import Path

import msgspec
import numpy as np
from lr_free import CHOOSING, LEAST, Bench, Row, capped_mean, over_tasks, percent

from lrcontrol import api
from lrcontrol.analysis.compare import best_record
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan, random_draws
from lrcontrol.selection.portfolio import portfolio
from lrcontrol.training.loop import test_metrics
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import alone, build
from lrcontrol.workplace import Workplace, make_executor

FOUND = Path(__file__).with_suffix(".json")
HELD_OUT = (
    *("shuttle-mlp", "spambase-mlp", "vehicle-softmax", "svmguide2-softmax", "dna-softmax", "kin8nm-mlp"),
    *("houses-mlp", "esol-cnn", "satimage-softmax", "connect-4-mlp", "krkopt-mlp", "sst-bag"),
)
BUDGETS = (4, 10, 20)
REFERENCE = Row("adamw:linear", grid=(-8, -2))
ARMS = ("random rates", "race alone", "select")
PLACE = Workplace("auto", workers=1)


def carried(specs, task, folder, name):
    """The records of specs, in their order, with their weights."""
    plan = Plan(tuple(msgspec.structs.replace(spec, save=True) for spec in specs))
    budget = Budget(10**12, task.full_steps)
    with Store(folder / f"{name}.db") as store, make_executor(PLACE, task, folder, first=plan.specs) as executor:
        carry_out(plan, executor, store, budget)
        found = {record.id: record for record in store.records()}
    return [found[spec.id] for spec in plan.specs]


def tested(record, task, folder):
    return test_metrics(record, folder / "weights")[task.objective.metric]


def reference(name, out, seeds):
    """The test metric of the tuned rate with each seed, the rate, and the mean before training."""
    task, folder = TASKS[name], out / name
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "tuning.db") as store:
        bench = Bench(name, store, folder, only_there=False, steps=task.full_steps)
        rate, _ = bench.tuned(REFERENCE)
        specs = bench.specs(REFERENCE, rate, range(seeds))
    with alone():
        problems = [build(task, seed) for seed in range(seeds)]
        before = [each.evaluate(each.test)[task.objective.metric] for each in problems]
    return {
        "rate": rate,
        "tuned": [tested(record, task, folder) for record in carried(specs, task, folder, "reference")],
        "untrained": statistics.fmean(before),
    }


def random_rates(name, count, seed, folder):
    """The best on validation of the first `count` of the most rates."""
    task = TASKS[name]
    drawn = random_draws(name, ["adamw:cosine"], 1e-4, 1e-1, max(BUDGETS), task.full_steps, seed).specs
    best = best_record(carried(drawn, task, folder, "random")[:count])
    return (tested(best, task, folder), f"{best.spec.method} at {best.spec.base_lr:g}")


def selected(name, count, seed, folder, candidates=None):
    found = api.select(
        name, budget=f"{count}runs", seed=seed, out=folder, executor="auto", workers=1, candidates=candidates
    )
    metric = TASKS[name].objective.metric
    return found.test[metric], f"{found.method} at {found.base_lr:g}", found.default_test[metric]


def measured(name, seed, out):
    """What every arm comes to on one task with one seed."""
    folder = out / name / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    found = {"task": name, "seed": seed, "test": {}, "chosen": {}}
    for count in BUDGETS:
        arms = {
            "random rates": random_rates(name, count, seed, folder),
            "race alone": selected(name, count, seed, folder, portfolio()),
            "select": selected(name, count, seed, folder),
        }
        for arm, (value, chosen, *default) in arms.items():
            found["test"][f"{arm}, {count}"], found["chosen"][f"{arm}, {count}"] = value, chosen
            found["test"]["plain default"] = default[0] if default else None
    return found


def lost(found):
    """By row of the table: what each task loses with each seed, shape (tasks, seeds)."""
    tasks = [name for name in HELD_OUT if any(row["task"] == name for row in found["rows"])]
    seeds = sorted({row["seed"] for row in found["rows"]})
    rows = {(row["task"], row["seed"]): row for row in found["rows"]}
    whole = [name for name in tasks if all((name, seed) in rows for seed in seeds)]
    labels = ["plain default", *(f"{arm}, {count}" for count in BUDGETS for arm in ARMS)]
    shares = {label: np.zeros((len(whole), len(seeds))) for label in labels}
    for at, name in enumerate(whole):
        told = found["references"][name]
        tuned, untrained = statistics.fmean(told["tuned"]), told["untrained"]
        for place, seed in enumerate(seeds):
            for label in labels:
                value = rows[name, seed]["test"][label]
                shares[label][at, place] = (value - tuned) / (untrained - tuned)
    return whole, shares


def summed(found):
    """Means, medians and worst over tasks, and on how many as good as the reference."""
    whole, shares = lost(found)
    within = np.array([tolerance(found["references"][name]) for name in whole])
    rows = {}
    for label, table in shares.items():
        means = table.mean(1)
        rows[label] = {
            "mean lost": over_tasks(table, capped_mean),
            "median lost": over_tasks(table),
            "worst lost": round(float(means.max()), 4),
            "worst on": whole[int(means.argmax())],
            "worst of a run": round(float(table.max()), 4),
            "as good": int((means <= within).sum()),
        }
    against = {
        f"{label} less race alone": over_tasks(table - shares[label.replace("select", "race alone")])
        for label, table in shares.items()
        if label.startswith("select")
    }
    return {"tasks": whole, "seeds": int(next(iter(shares.values())).shape[1]), "rows": rows, "median": against}


def tolerance(told):
    spread = statistics.stdev(told["tuned"]) / abs(told["untrained"] - statistics.fmean(told["tuned"]))
    return max(spread, LEAST)


def print_table(figures):
    print(f"\n{len(figures['tasks'])} tasks, {figures['seeds']} seeds; lost on the test split, in %\n")
    print("| | mean | median | worst task | worst run | as good |\n|---|---|---|---|---|---|")
    for label, row in figures["rows"].items():
        cells = [percent(row["mean lost"]), percent(row["median lost"])]
        cells += [f"{100 * row['worst lost']:.1f} ({row['worst on']})", f"{100 * row['worst of a run']:.1f}"]
        print(f"| {label} | {' | '.join(cells)} | {row['as good']} |")
    for label, values in figures["median"].items():
        print(f"{label}: {percent(values)}")


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/selection"))
    asked.add_argument("--tasks", nargs="*", default=list(HELD_OUT), metavar="TASK")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--table", action="store_true", help="make no runs")
    given = asked.parse_args()
    assert not set(CHOOSING) & set(range(given.seeds))
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {"references": {}, "rows": []}
    if not given.table:
        for name in given.tasks:
            if name not in found["references"]:
                found["references"][name] = reference(name, given.out, given.seeds)
                write(found)
        for seed in range(given.seeds):
            for name in given.tasks:
                if not any((row["task"], row["seed"]) == (name, seed) for row in found["rows"]):
                    found["rows"].append(measured(name, seed, given.out))
                    print(json.dumps(found["rows"][-1]), flush=True)
                    write(found)
    found["summed"] = summed(found)
    print_table(found["summed"])
    write(found)


def write(found):
    FOUND.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
