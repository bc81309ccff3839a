"""How far the reading of a range test is off, on known curves and on real tasks, beside other libraries' rules.

    python benchmarks/lr_range.py synthetic               # two minutes
    python benchmarks/lr_range.py real --out DIR          # goes on where it was ended; hours, of full runs
    python benchmarks/lr_range.py real --out DIR --there  # of the grids that are in DIR already
    python benchmarks/lr_range.py runs --out DIR          # full runs at what lr_range.json says was suggested

`synthetic`: losses that are flat, fall by 1.4 and diverge, with noise; how far each rule is from the steepest point,
in decades. `real`: a range test of each task and optimizer, beside the best rate of a fine grid of full runs, and full
runs at the suggestion. Prints the tables of docs/range_test.md and writes lr_range.json beside this file.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from lr_range_rules import RULES

from lrcontrol.analysis.lr_range import PART_OF_LOWEST, suggest_lr
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.range_spec import ramp
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.training.tasks.catalogue import TASKS as TASKS_THERE
from lrcontrol.workplace import Workplace, make_executor

FOUND = Path(__file__).with_suffix(".json")
OURS = "lrcontrol, steepest"

# Known curves

RANGES = {"1e-8 to 1": (1e-8, 1.0), "1e-7 to 10": (1e-7, 10.0), "1e-6 to 1": (1e-6, 1.0)}
NOISES = (0.0, 0.02, 0.05)
SEEDS = 200
POINTS = 100


def curve_of(seed):
    """A loss as a function of log10 of the rate, and where it is steepest: both drawn with the seed."""
    chance = np.random.default_rng([7, seed])
    centre, width = chance.uniform(-5, -2), chance.uniform(0.15, 0.5)
    diverges, sharp = centre + chance.uniform(1.2, 2.5), chance.uniform(0.08, 0.3)

    def loss(x):
        return 2.3 - 1.4 / (1 + np.exp(-(x - centre) / width)) + np.exp(np.minimum((x - diverges) / sharp, 200))

    fine = np.linspace(centre - 1, centre + 1, 20_001)
    return loss, float(fine[np.gradient(loss(fine)).argmin()])


def suggested_by(loss, low, high):
    """A tenth of where a loss without noise is lowest, but not before a tenth of its fall is made."""
    fine = np.linspace(np.log10(low), np.log10(high), 80_001)
    values = loss(fine)
    lowest = int(values.argmin())
    above = values[: lowest + 1] >= values[lowest] + 0.9 * (values[0] - values[lowest])
    return max(float(fine[lowest] + np.log10(PART_OF_LOWEST)), float(fine[np.flatnonzero(above)[-1]]))


def synthetic():
    found = {}
    for name, (low, high) in RANGES.items():
        for noise in NOISES:
            errors = {rule: [] for rule in (OURS, *RULES)}
            inside, widths, said, said_inside = [], [], [], []
            for seed in range(SEEDS):
                loss, truth = curve_of(seed)
                lrs = np.geomspace(low, high, POINTS)
                losses = loss(np.log10(lrs)) + noise * np.random.default_rng([8, seed]).standard_normal(POINTS)
                ours = suggest_lr(lrs, losses)
                rates = {OURS: ours.steepest, **{rule: RULES[rule](lrs, losses) for rule in RULES}}
                for rule, rate in rates.items():
                    errors[rule].append(np.inf if rate is None else abs(np.log10(rate) - truth))
                if ours.steepest_interval is not None:
                    least, most = np.log10(ours.steepest_interval)
                    inside.append(bool(least <= truth <= most))
                    widths.append(float(most - least))
                    least, most = np.log10(ours.interval)
                    true = suggested_by(loss, low, high)
                    said.append(abs(np.log10(ours.suggestion) - true))
                    said_inside.append(bool(least <= true <= most))
            found[f"{name}, noise {noise:g}"] = {
                "median": {rule: round(statistics.median(values), 3) for rule, values in errors.items()},
                "ninth": {rule: round(float(np.quantile(values, 0.9)), 3) for rule, values in errors.items()},
                "none": {rule: sum(np.isinf(values)) for rule, values in errors.items()},
                "covered": round(100 * float(np.mean(inside)), 1),
                "width": round(statistics.median(widths), 3),
                "suggestion": round(statistics.median(said), 3),
                "suggestion_covered": round(100 * float(np.mean(said_inside)), 1),
            }
    return found


def print_synthetic(found):
    rules = list(next(iter(found.values()))["median"])
    print("Error of the steepest point in decades, median (nine tenths are below), and its nominal 95 % interval;")
    print("then the same of the suggestion, against that of the curve without noise\n")
    ends = f"{'covers, %':>12}{'decades':>9}{'suggestion':>12}{'covers, %':>12}"
    print(f"{'range':26}" + "".join(f"{rule:>23}" for rule in rules) + ends)
    for name, row in found.items():
        errors = "".join(f"{row['median'][rule]:>14.3f} ({row['ninth'][rule]:.3f})" for rule in rules)
        print(f"{name:26}{errors}{row['covered']:>12}{row['width']:>9}", end="")
        print(f"{row['suggestion']:>12}{row['suggestion_covered']:>12}")


# Real tasks

FIRST = (
    "glass-softmax",
    "wine-softmax",
    "heart-logistic",
    "breast-cancer-logistic",
    "svmguide2-softmax",
    "vehicle-softmax",
    "digits-softmax",
    "diabetes-mlp",
    "bike-mlp",
    "houses-mlp",
    "digits-mlp",
    "digits-cnn",
    "coat-mf",
    "filmtrust-mf",
)
LATER = (
    "filmtrust-ncf",
    "magic-mlp",
    "optdigits-mlp",
    "spambase-mlp",
    "cora-gcn",
    "shuttle-mlp",
    "lambdarank-mlp",
    "sst-bag",
    "subj-bag",
    "etth1-dlinear",
)
LAST = ("tox21-mlp", "etth1-lstm", "esol-cnn")
TASKS = FIRST + LATER + LAST
CHOSEN_ON = {*(("adamw", name) for name in FIRST + LATER), *(("sgd", name) for name in FIRST[:-1])}
"""By these the rule was chosen, and not by others."""

PLAIN = "sgd(momentum=0)"  # sgd alone has momentum 0.9
COARSE = {
    "adamw": range(-18, 1, 2),
    "sgd": range(-14, 5, 2),
    PLAIN: range(-12, 7, 2),
}  # quarters of a decade: rates of 10 ** (k / 4)
CLOSER = (-1, 1, -3, 3)  # from the best of those
LOW, HIGH, UPDATES, RAMPS = 1e-6, 10.0, 100, 3
PART = 0.02  # of a metric other than accuracy: no worse than that is as good as the best
NEAR = np.log10(3)
MOST = 10.0  # tolerances that a regret counts for


class Bench:
    """The runs of one task with one optimizer."""

    def __init__(self, name, optimizer, out, only_there):
        self.task, self.optimizer, self.out, self.only_there = TASKS_THERE[name], optimizer, out, only_there
        self.sign = 1 if self.task.objective.direction == "minimize" else -1

    def run(self, specs, made=True):
        """The records of the specs, those that are not there yet carried out; None where they may not be."""
        with Store(self.out / "runs.db") as store:
            missing = any(spec.id not in store.records().ids for spec in specs)
            if missing and not made:
                return None
            if missing:
                budget = Budget(steps=10**12, full_steps=self.task.full_steps)
                with make_executor(Workplace("serial"), self.task, self.out) as runner:
                    carry_out(Plan(tuple(specs)), runner, store, budget)
            return [store.record(spec.id) for spec in specs]

    def full(self, base_lr, seed=0):
        method, steps = f"{self.optimizer}:cosine", self.task.full_steps
        return RunSpec(task=self.task.name, method=method, base_lr=base_lr, total_steps=steps, seed=seed)

    def grid(self, seed=0, made=False):
        """Logarithms of rates, and what full runs at them came to, lower is better; None where they are not there."""
        coarse = list(COARSE[self.optimizer])
        records = self.run([self.full(10 ** (k / 4), seed) for k in coarse], made)
        if records is None:
            return None
        best = coarse[min(range(len(coarse)), key=lambda at: records[at].rank_key)]
        closer = self.run([self.full(10 ** ((best + k) / 4), seed) for k in CLOSER], made)
        if closer is None:
            return None
        both = sorted(records + closer, key=lambda record: record.spec.base_lr)
        top = min(both, key=lambda record: record.rank_key)
        values = [None if record.final is None else self.sign * record.final for record in both]
        worst = max(value for value in values if value is not None)
        filled = np.array([worst if value is None else value for value in values])
        return np.log10([record.spec.base_lr for record in both]), filled, np.log10(top.spec.base_lr)

    def ramps(self):
        """The rates of a range test, and the losses of each of its repeats, to the end or to what is not finite."""
        text = f"{self.optimizer}:{ramp(LOW, HIGH)}"
        records = self.run(
            [
                RunSpec(task=self.task.name, method=text, base_lr=HIGH, total_steps=UPDATES, seed=seed)
                for seed in range(RAMPS)
            ]
        )
        table = np.full((RAMPS, UPDATES), np.nan)
        for row, record in zip(table, records, strict=True):
            losses = record.column("loss")
            row[: losses.size] = losses
        return np.geomspace(LOW, HIGH, UPDATES), table

    def tolerance(self, best):
        """What is as good as the best: a standard error of an accuracy, 2 % of any other metric."""
        if self.task.objective.metric != "accuracy":
            return PART * abs(best)
        share, count = abs(best), self.task.sizes[1]
        return float(np.sqrt(max(share * (1 - share), 1 / count) / count))

    def measured(self, second):
        found = self.grid(0, not self.only_there)
        if found is None:
            return None
        at, values, best = found
        tolerance = self.tolerance(values.min())
        good = at[values <= values.min() + tolerance]
        lrs, table = self.ramps()
        ours = [suggest_lr(lrs, losses) for losses in table]
        rates = {
            "lrcontrol": [each.suggestion for each in ours],
            "lrcontrol, steepest": [each.steepest for each in ours],
        }
        rates |= {rule: [RULES[rule](lrs, losses) for losses in table] for rule in RULES}
        rates |= {"lrcontrol, of 3 ramps": [suggest_lr(lrs, table).suggestion]}
        rates |= {"the task's default": [self.task.base_lr]} if self.task.method.startswith(self.optimizer) else {}
        rates |= {f"always {rate:g}": [rate] for rate in (1e-3, 1e-2, 1e-1)}
        other = self.grid(1, second)
        rates |= {} if other is None else {"the best of another seed": [10 ** float(other[2])]}
        final, ran = None, False
        if ours[0].suggestion is not None:
            records = self.run([self.full(float(f"{ours[0].suggestion:.3g}"))], not self.only_there)
            ran = records is not None
            final = self.sign * records[0].final if ran and records[0].final is not None else None
        rows = {}
        for rule, each in rates.items():
            logs = [None if rate is None else float(np.log10(rate)) for rate in each]
            rows[rule] = [
                None
                if log is None
                else {
                    "log": round(log, 3),
                    "off": round(log - best, 3),
                    "outside": round(max(0.0, float(good.min()) - log, log - float(good.max())), 3),
                    "regret": round(float(np.interp(log, at, values) - values.min()) / tolerance, 3),
                }
                for log in logs
            ]
        return {
            "metric": self.task.objective.metric,
            "best": round(float(best), 3),
            "as good": [round(float(good.min()), 3), round(float(good.max()), 3)],
            "value at best": self.sign * float(values.min()),
            "value at suggestion": None if final is None else self.sign * final,
            "ran": ran,
            "regret of the run": None if final is None else round((final - float(values.min())) / tolerance, 3),
            "tolerance": tolerance,
            "reasons": [each.reason for each in ours],
            "rules": rows,
        }


def real(out, names, optimizers, only_there, second, known):
    out.mkdir(parents=True, exist_ok=True)
    for optimizer in optimizers or COARSE:
        for name in names or TASKS:
            row = Bench(name, optimizer, out, only_there).measured(second)
            if row is not None:
                known[f"{name} {optimizer}"] = row
                print(f"{name:24}{optimizer:7}best {row['best']:6.2f}  as good {row['as good']}", flush=True)
    return known


def runs(out, found):
    """Full runs at the first ramp's suggestion of every pair that has one, beside the best of its grid."""
    out.mkdir(parents=True, exist_ok=True)
    for key, row in found.items():
        suggested = row["rules"]["lrcontrol"][0]
        if suggested is None:
            continue
        name, optimizer = key.split()
        bench = Bench(name, optimizer, out, False)
        (record,) = bench.run([bench.full(float(f"{10 ** suggested['log']:.3g}"))])
        final, best = record.final, bench.sign * row["value at best"]
        row["ran"], row["value at suggestion"] = True, final
        row["regret of the run"] = None if final is None else round((bench.sign * final - best) / row["tolerance"], 3)
        print(
            f"{key:40}{row['value at best']:10.4g}{final or float('nan'):10.4g}{row['regret of the run']}", flush=True
        )


def print_runs(found):
    """What full runs at the suggestion came to: how many are as good as the best of the grid, and how far off."""
    for half, keys in halves(found).items():
        ran = [found[key] for key in keys if found[key]["ran"]]
        regrets = [MOST if row["regret of the run"] is None else row["regret of the run"] for row in ran]
        good = sum(each <= 1 for each in regrets)
        lost = sum(row["regret of the run"] is None for row in ran)
        middle, high = np.quantile(regrets, [0.5, 0.9])
        print(
            f"{half}: of {len(ran)} full runs {good} within one tolerance of the grid's best, {lost} diverged; "
            f"regret {middle:.2f} at the median, {high:.2f} at the ninetieth percentile"
        )


def halves(found):
    """The keys of what was there when the rule was chosen, of all else, and of all."""
    seen = [key for key in found if tuple(reversed(key.split())) in CHOSEN_ON]
    return {"chosen on": seen, "other": [key for key in found if key not in seen], "all": list(found)}


def summed(found):
    """What the rules came to on tasks and ramps, each mean with a 95 % interval over tasks, of pairs.

    Shares are of all ramps, where no answer is a miss, and then of the ramps for which ours gives one: other rules
    always answer, and those that ours declines are the hard ones. Regrets are of the latter.
    """
    result = {}
    for half, keys in halves(found).items():
        for rule in dict.fromkeys(rule for key in keys for rule in found[key]["rules"]):
            rows = {key: found[key]["rules"][rule] for key in keys if rule in found[key]["rules"]}
            alike = {key: answered(found[key]["rules"]["lrcontrol"], row) for key, row in rows.items()}
            alike = {key: row for key, row in alike.items() if row}
            result[f"{half}: {rule}"] = {
                "tasks": len(rows),
                "none": sum(each is None for row in rows.values() for each in row),
                "within 3 of the best": over(rows, [share(row, "off") for row in rows.values()]),
                "within 3 of as good": over(rows, [share(row, "outside") for row in rows.values()]),
                "of the ramps ours answers": over(alike, [share(row, "outside") for row in alike.values()]),
                "regret of those": over(alike, [regret(row) for row in alike.values()]),
            }
        asked = [key for key in keys if found[key]["ran"]]  # runs are at what the first ramp says
        runs = [found[key]["regret of the run"] for key in asked]
        result[f"{half}: runs at the suggestion"] = {
            "tasks": len(asked),
            "none": sum(run is None for run in runs),  # diverged
            "regret of those": over(asked, [MOST if run is None else min(run, MOST) for run in runs]),
        }
        result |= {f"{half}: lrcontrol less {rule}": paired(found, keys, rule) for rule in RULES}
    return result


def paired(found, keys, rule):
    """By how much ours differs from a rule on the same ramps, each pair of task and optimizer by itself."""
    both = {key: (found[key]["rules"]["lrcontrol"], found[key]["rules"][rule]) for key in keys}
    alike = {key: answered(ours, ours) for key, (ours, _) in both.items()}
    alike = {key: (ours, answered(both[key][0], both[key][1])) for key, ours in alike.items() if ours}
    return {
        "tasks": len(both),
        "none": sum(each is None for ours, _ in both.values() for each in ours),
        "within 3 of as good": over(both, [share(a, "outside") - share(b, "outside") for a, b in both.values()]),
        "of the ramps ours answers": over(
            alike, [share(a, "outside") - share(b, "outside") for a, b in alike.values()]
        ),
        "regret of those": over(alike, [regret(a) - regret(b) for a, b in alike.values()]),
    }


def answered(ours, row):
    """Of one answer a ramp, those of ramps that ours answers; a rule without ramps has one answer, which stands."""
    return [each for mine, each in zip(ours, row, strict=True) if mine] if len(row) == len(ours) else row


def share(row, what):
    return float(np.mean([each is not None and abs(each[what]) <= NEAR + 1e-9 for each in row]))


def regret(row):
    return float(np.mean([MOST if each is None else min(each["regret"], MOST) for each in row]))


def over(keys, values):
    """The mean over pairs of a task and an optimizer, and its 95 % interval by drawing tasks anew."""
    if not values:
        return [float("nan")] * 3
    tasks = np.unique([key.split()[0] for key in keys], return_inverse=True)[1]
    sums, counts = np.bincount(tasks, values), np.bincount(tasks)
    drawn = np.random.default_rng(0).choice(counts.size, (4000, counts.size))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [round(float(each), 3) for each in (np.mean(values), *np.quantile(means, [0.025, 0.975]))]


def print_real(found):
    for key, row in summed(found).items():
        told = "  ".join(
            f"{name} {row[name][0]:.2f} ({row[name][1]:.2f} to {row[name][2]:.2f})" for name in list(row)[2:]
        )
        print(f"{key:38}{row['tasks']:>3} pairs, {row['none']:>2} none  {told}")


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("part", choices=("synthetic", "real", "runs"))
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/lr-range"))
    asked.add_argument("--tasks", nargs="*", default=())
    asked.add_argument("--optimizers", nargs="*", default=(), choices=COARSE)
    asked.add_argument("--second", action="store_true", help="make the grids with another seed too")
    asked.add_argument("--there", action="store_true", help="make no full runs of grids")
    options = asked.parse_args()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    if options.part == "synthetic":
        found["synthetic"] = synthetic()
        print_synthetic(found["synthetic"])
    elif options.part == "runs":
        runs(options.out, found["real"])
        print_runs(found["real"])
    else:
        found["real"] = real(
            options.out, options.tasks, options.optimizers, options.there, options.second, found.get("real", {})
        )
        found["summed"] = summed(found["real"])
        print_real(found["real"])
    FOUND.write_text(json.dumps(found, indent=1, default=int) + "\n")


if __name__ == "__main__":
    main()
