"""Selection at equal cost: `select`, and random search over AdamW with cosine, both with 20 runs, on every task.

    python benchmarks/selection.py [--out FOLDER] [--budget 20runs] [--seeds 3]

Random search draws base learning rates log-uniformly from [1e-4, 1e-1] and makes full runs, the best of which on
validation is taken: what a careful user would do by hand. The plain default (one run at 1e-3) stands beside both.
Prints test metrics, mean and range over seeds. Resumable.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from lrcontrol import api
from lrcontrol.analysis.compare import best_record
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan, random_draws
from lrcontrol.training.loop import test_metrics, train
from lrcontrol.training.tasks.catalogue import TASKS


def by_hand(task, budget, seed, folder):
    """Test metrics of the best of random full runs of adamw:cosine."""
    draws = random_draws(
        task.name, ["adamw:cosine"], 1e-4, 1e-1, budget.steps // task.full_steps, task.full_steps, seed
    )
    plan = Plan(draws.specs)
    with Store(folder / "random.db") as store, api.make_executor("processes", task, folder) as executor:
        carry_out(plan, executor, store, budget)
        best = best_record(plan.answered(store.records()))
    spec = RunSpec(
        task=task.name,
        method=best.spec.method,
        base_lr=best.spec.base_lr,
        seed=seed,
        total_steps=task.full_steps,
        save=True,
    )
    return test_metrics(train(spec, weights=folder / "weights"), folder / "weights")  # the same run, its weights kept


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("lrcontrol-out/selection"))
    parser.add_argument("--budget", default="20runs")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    rows = []
    print(f"{'test':26}{'plain default':>22}{'random search':>22}{'select':>22}   methods selected")
    for task in TASKS.values():
        budget = Budget.parse(given.budget, task.full_steps)
        metric = task.objective.metric
        found, plain, hand = [], [], []
        for seed in range(given.seeds):
            folder = given.out / f"{task.name}-{seed}"
            selection = api.select(task.name, budget=budget, seed=seed, out=folder)
            found.append((selection.test[metric], f"{selection.method} at {selection.base_lr:g}"))
            plain.append(selection.default_test[metric])
            hand.append(by_hand(task, budget, seed, folder)[metric])
        chosen = [value for value, _ in found]
        rows.append(
            {
                "task": task.name,
                "metric": f"{metric}, {task.objective.direction}",
                "plain_default": plain,
                "random_search": hand,
                "select": chosen,
                "methods": [name for _, name in found],
            }
        )
        cells = "".join(f"{np.mean(v):>8.4g} [{min(v):.4g}, {max(v):.4g}]".rjust(22) for v in (plain, hand, chosen))
        print(f"{task.name + ' ' + metric:34}{cells}   {'; '.join(name for _, name in found)}", flush=True)
    Path(__file__).with_name("selection.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
