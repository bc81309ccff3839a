"""Selection at equal cost: `select` and two random searches with 20 runs each, on every task.

    python benchmarks/selection.py [--out FOLDER] [--budget 20runs] [--seeds 3]

Random search makes full runs, the best of which on validation is taken: of `adamw:cosine` with base learning rates
drawn log-uniformly from [1e-4, 1e-1] (what a careful user would do by hand), and of candidates of the portfolio
that `select` races, drawn at random (what racing adds). The plain default (one run at 1e-3) stands beside them.
Prints test metrics, mean and range over seeds. Resumable.
"""

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np

from lrcontrol import api
from lrcontrol.analysis.compare import best_record
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan, random_draws, spec_of
from lrcontrol.selection.portfolio import portfolio
from lrcontrol.training.loop import test_metrics, train
from lrcontrol.training.tasks.catalogue import TASKS


def best_of(specs, task, budget, folder, name):
    """Test metrics of the best full run of a plan."""
    plan = Plan(tuple(specs))
    with Store(folder / f"{name}.db") as store, api.make_executor("processes", task, folder) as executor:
        carry_out(plan, executor, store, budget)
        best = best_record(plan.answered(store.records()))
    kept = msgspec.structs.replace(best.spec, save=True)  # the same run, its weights kept
    return test_metrics(train(kept, weights=folder / "weights"), folder / "weights")


def adamw_cosine(task, budget, seed):
    count = budget.steps // task.full_steps
    return random_draws(task.name, ["adamw:cosine"], 1e-4, 1e-1, count, task.full_steps, seed).specs


def from_portfolio(task, budget, seed):
    order = np.random.default_rng(seed).permutation(len(portfolio()))[: budget.steps // task.full_steps]
    return [spec_of(task.name, portfolio()[place], task.full_steps, seed) for place in order]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("lrcontrol-out/selection"))
    parser.add_argument("--budget", default="20runs")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    rows = []
    names = ("plain default", "random adamw:cosine", "random portfolio", "select")
    print(f"{'test':34}" + "".join(f"{name:>26}" for name in names) + "   methods selected")
    for task in TASKS.values():
        budget = Budget.parse(given.budget, task.full_steps)
        metric = task.objective.metric
        found, plain, hand, drawn = [], [], [], []
        for seed in range(given.seeds):
            folder = given.out / f"{task.name}-{seed}"
            selection = api.select(task.name, budget=budget, seed=seed, out=folder)
            found.append((selection.test[metric], f"{selection.method} at {selection.base_lr:g}"))
            plain.append(selection.default_test[metric])
            hand.append(best_of(adamw_cosine(task, budget, seed), task, budget, folder, "random")[metric])
            drawn.append(best_of(from_portfolio(task, budget, seed), task, budget, folder, "portfolio")[metric])
        chosen = [value for value, _ in found]
        rows.append(
            {
                "task": task.name,
                "metric": f"{metric}, {task.objective.direction}",
                "plain_default": plain,
                "random_adamw_cosine": hand,
                "random_portfolio": drawn,
                "select": chosen,
                "methods": [name for _, name in found],
            }
        )
        cells = "".join(
            f"{np.mean(v):>8.4g} [{min(v):.4g}, {max(v):.4g}]".rjust(26) for v in (plain, hand, drawn, chosen)
        )
        print(f"{task.name + ' ' + metric:34}{cells}   {'; '.join(name for _, name in found)}", flush=True)
    Path(__file__).with_name("selection.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
