"""Does a short run foretell the full one? Compressed and cut horizons against full runs on digits-mlp.

    python benchmarks/horizons.py [--out FOLDER]

Every candidate of the portfolio is run in full, and over 1/9 and 1/3 of the steps in both ways: with the whole
schedule laid over them (compressed), and stopped early (cut). Prints how well the short runs rank the full ones.
Resumable.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.selection.portfolio import portfolio
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.workplace import Workplace, make_executor

TASK, SEEDS, SHARES = "digits-mlp", range(6), (9, 3)


def spec_of(candidate, seed, full, share=1, horizon="full"):
    steps = full // share
    return RunSpec(
        task=TASK,
        method=candidate.method,
        base_lr=candidate.base_lr,
        seed=seed,
        total_steps=full if horizon == "cut" else steps,
        stop_step=steps,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("lrcontrol-out/horizons"))
    out = parser.parse_args().out
    task = find_task(TASK)
    full, candidates = task.full_steps, portfolio()
    kinds = [(horizon, share) for share in SHARES for horizon in ("compressed", "cut")]
    plan = Plan(
        tuple(
            spec_of(candidate, seed, full, share, horizon)
            for seed in SEEDS
            for candidate in candidates
            for horizon, share in [("full", 1), *kinds]
        )
    )
    with Store(out / "runs.db") as store, make_executor(Workplace("processes"), task, out) as executor:
        carry_out(plan, executor, store, Budget(plan.cost, full))
        records = {record.id: record for record in store.records()}

    rows = []
    for horizon, share in kinds:
        correlations, among_best, regrets, kept, moved = [], [], [], [], {}
        for seed in SEEDS:
            long = [records[spec_of(each, seed, full).id].rank_key for each in candidates]
            short = [records[spec_of(each, seed, full, share, horizon).id].rank_key for each in candidates]
            truth, guess = places(long), places(short)
            top = [place for place, rank in enumerate(truth) if rank < 20]
            correlations.append(stats.spearmanr(truth, guess).statistic)
            among_best.append(stats.spearmanr([truth[i] for i in top], [guess[i] for i in top]).statistic)
            regrets.append(100 * (long[int(np.argmin(guess))][0] - min(long)[0]))
            for candidate, before, after in zip(candidates, truth, guess, strict=True):
                moved.setdefault(candidate.method.control_text, []).append(after - before)
            first_third = set(np.argsort(guess, kind="stable")[: len(candidates) // 3])
            kept.append(sum(truth[i] < 6 for i in first_third))
        rows.append(
            {
                "horizon": horizon,
                "share": f"1/{share}",
                "spearman": round(float(np.mean(correlations)), 2),
                "spearman_best_20": round(float(np.mean(among_best)), 2),
                "regret_points": round(float(np.mean(regrets)), 2),
                "best_6_kept_of_6": round(float(np.mean(kept)), 1),
                "places_moved": {name: round(float(np.mean(by)), 1) for name, by in moved.items()},
            }
        )
    print(f"{TASK}, {len(candidates)} candidates, {len(SEEDS)} seeds, against full runs of {full} steps")
    print(f"{'horizon':12}{'share':>6}{'Spearman':>10}{'best 20':>9}{'regret':>8}{'best 6 kept':>13}  places moved")
    for row in rows:
        print(
            f"{row['horizon']:12}{row['share']:>6}{row['spearman']:>10.2f}{row['spearman_best_20']:>9.2f}"
            f"{row['regret_points']:>8.2f}{row['best_6_kept_of_6']:>13.1f}"
            f"  {', '.join(f'{name} {by:+}' for name, by in row['places_moved'].items())}"
        )
    Path(__file__).with_name("horizons.json").write_text(json.dumps(rows, indent=1) + "\n")


def places(keys):
    """Rank of each key, the best 0; ties in order."""
    order = sorted(range(len(keys)), key=lambda place: (keys[place], place))
    ranks = [0] * len(keys)
    for rank, place in enumerate(order):
        ranks[place] = rank
    return ranks


if __name__ == "__main__":
    main()
