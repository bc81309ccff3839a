"""How learning-rate-free methods do over tasks, as they come, beside AdamW whose rate was tuned.

    python benchmarks/lr_free.py table --out DIR          # goes on where it was ended; two hours of one core
    python benchmarks/lr_free.py calibration --out DIR    # afterwards: what their papers leave to the user
    python benchmarks/lr_free.py table --out DIR --there  # of the tasks whose runs are in DIR already
    python benchmarks/lr_free.py table --out DIR --kind closed  # these rows alone; the others keep their figures

`table`: every row of `ROWS` on every task with five seeds, with its own defaults; those that are tuned have their rate
from a grid of runs with two other seeds. `calibration`: other settings on some of the tasks, with those two seeds.
Where a row is added, its runs alone are carried out. Prints the tables of docs/lr_free.md and writes lr_free.json
beside this file.
"""

import argparse
import json
import statistics
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range
from scipy.stats import t as student

from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.training.tasks.catalogue import TASKS as TASKS_THERE
from lrcontrol.training.tasks.problem import alone, build
from lrcontrol.workplace import Workplace, make_executor

FOUND = Path(__file__).with_suffix(".json")

TASKS = {
    "a9a-logistic": 2690,
    "digits-softmax": 2010,
    "digits-mlp": 1980,
    "mnist-mlp": 781,
    "digits-cnn": 330,
    "fsdd-cnn": 195,
    "cifar10-resnet8": 150,
    "mnist-vae": 250,
    "subj-bag": 1190,
    "shakespeare-gpt-100k": 150,
    "diabetes-mlp": 800,
    "magic-mlp": 1770,
    "bike-mlp": 1950,
    "cora-gcn": 200,
    "tox21-mlp": 720,
    "coat-mf": 860,
    "filmtrust-ncf": 970,
    "lambdarank-mlp": 300,
    "etth1-dlinear": 1330,
    "etth1-lstm": 200,
}
"""Updates of every run: of the large tasks fewer than a full run has."""

SEEDS = range(5)
CHOOSING = (5, 6)
"""Seeds of the runs by which rates and settings are chosen, and of no others."""


class Row(msgspec.Struct, frozen=True):
    """A row of the table: a method, its base rate or the grid that it is tuned on, and what it stands for."""

    method: str
    base_lr: float | None = None
    grid: tuple[int, int] | None = None  # rates of 10 ** (k / 2)
    kind: str = "free"


TUNED, FIXED, PLAIN = "adamw:linear, tuned", "adamw:linear at 0.001", "adamw:cosine at 0.001"
ROWS = {
    TUNED: Row("adamw:linear", grid=(-8, -2), kind="reference"),
    "sgd:linear, tuned": Row("sgd:linear", grid=(-6, 0), kind="reference"),
    FIXED: Row("adamw:linear", 1e-3, kind="reference"),
    "sgd:linear at 0.1": Row("sgd:linear", 0.1, kind="reference"),
    PLAIN: Row("adamw:cosine", 1e-3, kind="plain"),
    "prodigy": Row("prodigy:constant", 1.0),
    "prodigy:linear": Row("prodigy:linear", 1.0),
    "dadapt_adam": Row("dadapt_adam:constant", 1.0),
    "dadapt_adam:linear": Row("dadapt_adam:linear", 1.0),
    "dadapt_sgd": Row("dadapt_sgd:constant", 1.0),
    "dadapt_sgd:linear": Row("dadapt_sgd:linear", 1.0),
    "schedulefree_adamw at 0.0025": Row("schedulefree_adamw:warmup(0.05)+constant", 0.0025),
    "schedulefree_sgd at 1": Row("schedulefree_sgd:warmup(0.05)+constant", 1.0),
    "dog": Row("dog:constant", 1.0),
    "ldog": Row("ldog:constant", 1.0),
    "dowg": Row("dowg:constant", 1.0),
    "cocob": Row("cocob:constant", 1.0),
    "mechanic(adamw)": Row("mechanic(adamw):constant", 1.0),
    "mechanic(adamw):linear": Row("mechanic(adamw):linear", 1.0),
    "mechanic(sgd)": Row("mechanic(sgd):constant", 1.0),
    "mechanic(sgd):linear": Row("mechanic(sgd):linear", 1.0),
    "adamw:plateau at 0.001": Row("adamw:plateau", 1e-3, kind="closed"),
    "adamw:greedy at 0.001": Row("adamw:greedy", 1e-3, kind="closed"),
    "adamw:hypergradient at 0.001": Row("adamw:hypergradient", 1e-3, kind="closed"),
    "adamw:alignment at 0.001": Row("adamw:alignment", 1e-3, kind="closed"),
    "adamw:l4": Row("adamw:l4", 1e-3, kind="closed"),
    "adamw:cosine*l4": Row("adamw:cosine*l4", 1e-3, kind="closed"),
    "sgd:hypergradient at 0.001": Row("sgd:hypergradient", 1e-3, kind="closed"),
    "sgd(momentum=0):polyak": Row("sgd(momentum=0):polyak", 1.0, kind="closed"),
    "sgd(momentum=0):cosine*polyak": Row("sgd(momentum=0):cosine*polyak", 1.0, kind="closed"),
}
"""Rates are packages' and torch's own, for all that have one."""

KINDS = ("reference", "plain", "free", "closed")

MOST = 12  # rates of a grid
OVERFITTED = ("diabetes-mlp", "coat-mf")  # where rows that fit better fail; seen in the runs
LEAST = 0.005  # of what training wins: a difference below that is none
FAILED = 0.5
DRAWS = 4000

CALIBRATED = ("digits-mlp", "digits-cnn", "subj-bag", "bike-mlp")
SETTINGS = {
    "prodigy": {
        "prodigy, beta2 0.99": Row("prodigy(beta2=0.99):constant", 1.0),
        "prodigy, d_coef 0.5": Row("prodigy(d_coef=0.5):constant", 1.0),
        "prodigy, d_coef 2": Row("prodigy(d_coef=2):constant", 1.0),
        "prodigy, bias correction": Row("prodigy(bias_correction=true):constant", 1.0),
        "prodigy, weight decay 0.01": Row("prodigy(weight_decay=0.01):constant", 1.0),
        "prodigy, cosine": Row("prodigy:cosine", 1.0),
        "prodigy, bias correction and safeguard, warmup and cosine": Row(
            "prodigy(bias_correction=true, safeguard_warmup=true):warmup(0.05)+cosine", 1.0
        ),
    },
    "dadapt_adam": {
        "dadapt_adam, beta2 0.99": Row("dadapt_adam(beta2=0.99):constant", 1.0),
        "dadapt_adam, bias correction": Row("dadapt_adam(bias_correction=true):constant", 1.0),
        "dadapt_adam, growth 1.02": Row("dadapt_adam(growth_rate=1.02):constant", 1.0),
        "dadapt_adam, cosine": Row("dadapt_adam:cosine", 1.0),
    },
    "schedulefree_adamw at 0.0025": {
        "schedulefree_adamw at 0.0075": Row("schedulefree_adamw:warmup(0.05)+constant", 0.0075),
        "schedulefree_adamw at 0.025": Row("schedulefree_adamw:warmup(0.05)+constant", 0.025),
        "schedulefree_adamw at 0.0025, no warmup": Row("schedulefree_adamw:constant", 0.0025),
        "schedulefree_adamw at 0.0025, beta1 0.98": Row(
            "schedulefree_adamw(beta1=0.98):warmup(0.05)+constant", 0.0025
        ),
    },
    "schedulefree_sgd at 1": {
        "schedulefree_sgd at 0.33": Row("schedulefree_sgd:warmup(0.05)+constant", 0.33),
        "schedulefree_sgd at 3": Row("schedulefree_sgd:warmup(0.05)+constant", 3.0),
        "schedulefree_sgd at 10": Row("schedulefree_sgd:warmup(0.05)+constant", 10.0),
        "schedulefree_sgd at 1, no warmup": Row("schedulefree_sgd:constant", 1.0),
    },
    "dog": {
        "dog, initial distance 1e-4": Row("dog(initial_distance=1e-4):constant", 1.0),
        "dog, initial distance 1e-2": Row("dog(initial_distance=1e-2):constant", 1.0),
        "dog, average of all": Row("dog(average_power=0):constant", 1.0),
        "dog, weight decay 0.0005": Row("dog(weight_decay=0.0005):constant", 1.0),
        "dog, linear": Row("dog:linear", 1.0),
    },
    "mechanic(adamw)": {
        "mechanic(adamw), decay 0": Row("mechanic(adamw, decay=0):constant", 1.0),
        "mechanic(adamw), decay 0.1": Row("mechanic(adamw, decay=0.1):constant", 1.0),
        "mechanic(adamw), initial scale 1e-6": Row("mechanic(adamw, initial_scale=1e-6):constant", 1.0),
        "mechanic(adamw), warmup and cosine": Row("mechanic(adamw):warmup(0.05)+cosine", 1.0),
    },
}
"""What papers and packages leave to the user, by the row that it is a change of."""


# Runs


class Bench:
    """The runs of one task."""

    def __init__(self, name, store, out, only_there, steps=None):
        self.task, self.steps, self.store, self.out = TASKS_THERE[name], steps or TASKS[name], store, out
        self.objective, self.only_there = self.task.objective, only_there

    def run(self, specs):
        """The records of the specs, those that are not there yet carried out; None where they may not be."""
        there = self.there()
        if any(spec.id not in there for spec in specs):
            if self.only_there:
                return None
            budget = Budget(steps=10**12, full_steps=self.task.full_steps)
            with make_executor(Workplace("serial"), self.task, self.out) as runner:
                carry_out(Plan(tuple(specs)), runner, self.store, budget)
            there = self.there()
        for record in self.store.records():
            if record.outcome is Outcome.FAILED and any(record.id == spec.id for spec in specs):
                raise SystemExit(f"{record.spec.task}, {record.spec.method}: {record.message}")
        return [there[spec.id] for spec in specs]

    def there(self):
        """The records of runs that did not fail, by their ids."""
        return {record.id: record for record in self.store.records() if record.outcome is not Outcome.FAILED}

    def specs(self, row, base_lr, seeds):
        asked = method(row.method)
        steps = asked.updates_for(self.steps)  # at equal cost
        return [
            RunSpec(task=self.task.name, method=asked, base_lr=base_lr, total_steps=steps, seed=seed) for seed in seeds
        ]

    def tuned(self, row):
        """The best rate of a row's grid, which goes on beyond an end that is best, and all finals; None if missing."""
        low, high = row.grid
        while True:
            ks = range(low, high + 1)
            if self.run([spec for k in ks for spec in self.specs(row, rate(k), CHOOSING)]) is None:
                return None
            found = {k: self.run(self.specs(row, rate(k), CHOOSING)) for k in ks}
            best = min(ks, key=lambda k: chosen_by(found[k]))
            if low < best < high or len(ks) == MOST:
                return rate(best), {rate(k): [record.final for record in found[k]] for k in ks}
            low, high = low - (best == low), high + (best == high)

    def records(self, row, base_lr, seeds=SEEDS):
        """The records of a row, one for each seed; None if they are not there."""
        return self.run(self.specs(row, base_lr, seeds))

    def train_loss(self, records):
        """The mean loss of the batches of the last tenth of the updates; None where a run diverged."""
        if any(record.final is None for record in records):
            return None
        columns = [self.store.record(record.id).column("loss") for record in records]
        return float(f"{np.mean([losses[-(losses.size // 10) :].mean() for losses in columns]):.5g}")

    def untrained(self):
        """The mean metric of the models before their first update."""
        with alone():
            problems = [build(self.task, seed) for seed in SEEDS]
            values = [each.evaluate(each.validation)[self.objective.metric] for each in problems]
        return statistics.fmean(values)

    def measured(self, known, kinds):
        """All that is there of the task, and of `known` what is not asked anew: its rows of other kinds among it."""
        of_others = {label for label, asked in ROWS.items() if asked.kind not in kinds}
        row = {
            "metric": self.objective.metric,
            "direction": self.objective.direction,
            "steps": self.steps,
            "full_steps": self.task.full_steps,
            "untrained": known["untrained"] if "untrained" in known else self.untrained(),
        }
        for name in ("tuned", "grids", "finals", "train_loss"):
            row[name] = {label: value for label, value in known.get(name, {}).items() if label in of_others}
        for label, asked in ROWS.items():
            if label in of_others:
                continue
            base_lr = asked.base_lr
            if asked.grid is not None:
                found = self.tuned(asked)
                if found is None:
                    continue
                base_lr, row["grids"][label] = found
                row["tuned"][label] = base_lr
            records = self.records(asked, base_lr)
            if records is not None:
                finals = row["finals"][label] = [record.final for record in records]
                row["train_loss"][label] = self.train_loss(records)
                told = ", ".join("diverged" if value is None else f"{value:.4g}" for value in finals)
                print(f"{self.task.name:22}{label:30}{told}", flush=True)
        return row


def rate(k):
    return float(f"{10 ** (k / 2):.3g}")


def chosen_by(records):
    """What rates are sorted by: the mean metric, then the mean loss; infinite where a run diverged."""
    return tuple(np.mean([record.rank_key for record in records], axis=0))


# Figures


def lower(row, values):
    """Values of which less is better; infinite for a run that diverged."""
    sign = 1 if row["direction"] == "minimize" else -1
    return np.array([np.inf if value is None else sign * value for value in values])


def shares(row, finals):
    """How much of what training wins is lost by each run: 0 at the tuned reference's mean, 1 untrained.

    A run that diverged has lost all of it.
    """
    values, reference = lower(row, finals), lower(row, row["finals"][TUNED]).mean()
    (start,) = lower(row, [row["untrained"]])
    return (np.where(np.isinf(values), start, values) - reference) / (start - reference)


def lost(row, label, reference=TUNED):
    """For each seed, by how much a row loses more than a reference with the same seed."""
    return shares(row, row["finals"][label]) - shares(row, row["finals"][reference])


def tolerance(row):
    """The reference's standard deviation over seeds, in shares of what training wins; at least `LEAST`."""
    return max(float(shares(row, row["finals"][TUNED]).std(ddof=1)), LEAST)


def interval(values):
    """Mean, and the ends of its 95 % interval (Student's t)."""
    mean, half = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half *= float(student.ppf(0.975, len(values) - 1))
    return mean, mean - half, mean + half


def over_tasks(table, middle=np.median):
    """The middle over tasks of means over seeds, and its 95 % interval: tasks are drawn anew, and their seeds."""
    chance = np.random.default_rng(0)
    tasks, seeds = table.shape
    drawn = chance.integers(tasks, size=(DRAWS, tasks))
    of_seeds = chance.integers(seeds, size=(DRAWS, tasks, seeds))
    middles = middle(table[drawn[..., None], of_seeds].mean(-1), axis=1)
    values = middle(table.mean(1)[None], axis=1)[0], *np.quantile(middles, [0.025, 0.975])
    return [round(float(each), 4) for each in values]


def capped_mean(means, axis):
    """The mean over tasks, each counted as 0 to 1: what is better than the reference makes up for no failure."""
    return np.clip(means, 0, 1).mean(axis)


def whole(found):
    """The tasks that have the reference, and the rows that are on all of them."""
    tasks = {name: found[name] for name in TASKS if TUNED in found.get(name, {"finals": ()})["finals"]}
    return tasks, [label for label in ROWS if tasks and all(label in row["finals"] for row in tasks.values())]


def summed(found):
    """What each row came to over the tasks."""
    tasks, labels = whole(found)
    result = {"tasks": list(tasks), "rows": {}}
    if not tasks:
        return result
    means = {label: np.array([lost(row, label).mean() for row in tasks.values()]) for label in labels}
    names = list(tasks)
    ranks = ranked(tasks, labels)
    free = [label for label in labels if ROWS[label].kind in ("free", "closed")]
    winner = {name: min(free, key=lambda label: means[label][at]) for at, name in enumerate(names)}
    for place, label in enumerate(labels):
        table = np.array([lost(row, label) for row in tasks.values()])
        pairs = [interval(each) for each in table]
        result["rows"][label] = {
            "median lost": over_tasks(table),
            "mean lost": over_tasks(table, capped_mean),
            "median lost against adamw at 0.001": over_tasks(
                np.array([lost(row, label, reference=FIXED) for row in tasks.values()])
            ),
            "worst lost": round(float(means[label].max()), 4),
            "worst on": names[int(means[label].argmax())],
            "as good": int(
                sum(mean <= tolerance(row) for mean, row in zip(means[label], tasks.values(), strict=True))
            ),
            "better": [name for name, each in zip(names, pairs, strict=True) if each[2] < 0],
            "worse": int(sum(each[1] > 0 for each in pairs)),
            "failed": [name for name, mean in zip(names, means[label], strict=True) if mean > FAILED],
            "fits as well": int(sum(fits(row, label) for row in tasks.values())),
            "diverged": int(sum(value is None for row in tasks.values() for value in row["finals"][label])),
            "best of the untuned": [name for name in names if winner[name] == label],
            "mean rank": round(float(ranks[:, place].mean()), 2),
        }
    result["agreement"] = agreement(tasks, labels)
    result["one for all"] = one_for_all(names, free, means)
    result["by task"] = {
        name: {
            "best": winner[name],
            "lost": [round(each, 4) for each in interval(lost(row, winner[name]))],
            "as good": [label for label in free if lost(row, label).mean() <= tolerance(row)],
            "failed": [label for label in free if lost(row, label).mean() > FAILED],
        }
        for name, row in tasks.items()
    }
    return result


def fits(row, label):
    """Whether the loss of a row's last batches is no higher than the tuned reference's."""
    loss = row["train_loss"][label]
    return loss is not None and loss <= row["train_loss"][TUNED]


def ranked(tasks, labels):
    """Ranks of the rows on each task by their mean metric, 1 the best; equal ones share theirs."""
    return np.array(
        [rankdata([lower(row, row["finals"][label]).mean() for label in labels]) for row in tasks.values()]
    )


def agreement(tasks, labels):
    """Whether tasks rank the rows alike: Friedman's test, Kendall's W, and by how much mean ranks must differ.

    Source:
        Demsar 2006, JMLR 7:1-30 (Friedman's test and Nemenyi's difference over data sets).
    """
    ranks, count, rows = ranked(tasks, labels), len(tasks), len(labels)
    if count < 2 or rows < 3:
        return {}
    found = friedmanchisquare(*ranks.T)
    critical = studentized_range.ppf(0.95, rows, 1e6) / 2**0.5 * (rows * (rows + 1) / (6 * count)) ** 0.5
    return {
        "friedman p": float(f"{found.pvalue:.2g}"),
        "kendall w": round(float(found.statistic / (count * (rows - 1))), 3),
        "critical difference": round(float(critical), 2),
    }


def one_for_all(names, free, means):
    """One to three untuned methods for all tasks, of which each task has the better: picked in hindsight, on all tasks
    or on the others than the one that they are judged on; also where adamw:cosine at 0.001 is run beside them.
    """
    table = np.array([means[label] for label in free])
    found = few_for_all(names, free, table) | {"lost by the best of each task": told_of(table.min(0))}
    if PLAIN in means:
        found["beside " + PLAIN] = few_for_all(names, free, np.minimum(table, means[PLAIN]))
    return found


def few_for_all(names, free, table):
    found = {}
    for count in (1, 2, 3):
        groups = list(combinations(range(len(free)), count))
        better = np.array([table[list(group)].min(0) for group in groups])  # shape (groups, tasks)
        best = int(np.argmin(capped_mean(better, 1)))
        others = [int(np.argmin(capped_mean(np.delete(better, at, axis=1), 1))) for at in range(len(names))]
        picked = {" | ".join(free[at] for at in groups[pick]): others.count(pick) for pick in sorted(set(others))}
        found[f"best {count} of hindsight"] = [free[place] for place in groups[best]]
        found[f"lost by the best {count}"] = told_of(better[best])
        found[f"best {count} on the others"] = picked
        found[f"lost by the best {count} on the others"] = told_of(better[others, range(len(names))])
    return found


def told_of(lost_on):
    """Capped mean, median and worst over tasks."""
    values = capped_mean(lost_on, 0), np.median(lost_on), lost_on.max()
    return {name: round(float(value), 4) for name, value in zip(("mean", "median", "worst"), values, strict=True)}


# Calibration


def calibrated(store, out, only_there, found):
    """Other settings beside the row that they are a change of, with the seeds of choosing."""
    result = {}
    for name in CALIBRATED:
        bench = Bench(name, store, out, only_there)
        for base, settings in SETTINGS.items():
            for label, row in {base: ROWS[base], **settings}.items():
                records = bench.records(row, row.base_lr, CHOOSING)
                if records is not None:
                    result.setdefault(base, {}).setdefault(label, {})[name] = [each.final for each in records]
        print(f"{name} is calibrated", flush=True)
    return {"finals": result, "changes": changes(found, result)}


def changes(found, result):
    """By how much each setting loses less than its default: medians over tasks, in shares of what training wins."""
    told = {}
    for base, settings in result.items():
        for label, finals in settings.items():
            rows = {name: found[name] for name in finals if TUNED in found.get(name, {"finals": ()})["finals"]}
            if label == base or not rows:
                continue
            table = np.array(
                [shares(row, settings[base][name]) - shares(row, finals[name]) for name, row in rows.items()]
            )
            gains, least = table.mean(1), [tolerance(row) for row in rows.values()]
            told[label] = {
                "default": base,
                "tasks": len(rows),
                "median gain": over_tasks(table),
                "gains": {name: round(float(gain), 4) for name, gain in zip(rows, gains, strict=True)},
                "better on": int(sum(gains > least)),
                "worse on": int(sum(-gains > least)),
            }
    return told


# Told


COLUMNS = (
    "lost, median",
    "mean",
    "worst",
    "as good",
    "better",
    "failed",
    "mean rank",
    "lost against adamw at 0.001, median",
)


def print_table(figures):
    print(f"\n{len(figures['tasks'])} tasks; what is lost in % of what training wins\n")
    print(f"| | {' | '.join(COLUMNS)} |\n|---{'|---' * len(COLUMNS)}|")
    for label, row in sorted(figures["rows"].items(), key=lambda pair: pair[1]["mean lost"][0]):
        cells = [percent(row["median lost"]), percent(row["mean lost"]), f"{100 * row['worst lost']:.0f}"]
        cells += [row["as good"], len(row["better"]), len(row["failed"])]
        cells += [f"{row['mean rank']:.1f}", percent(row["median lost against adamw at 0.001"])]
        print(f"| `{label}` | {' | '.join(map(str, cells))} |")
    for name in ("agreement", "one for all"):
        print(f"\n{json.dumps(figures[name], indent=1)}")


def print_tasks(found, figures):
    print(
        "\n| task | updates | metric | untrained | adamw:linear, tuned | best untuned | it loses | as good | failed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, told in figures["by task"].items():
        row = found[name]
        finals = row["finals"][TUNED]
        reference = f"{statistics.fmean(finals):.4g} ± {statistics.stdev(finals):.2g} at {row['tuned'][TUNED]:g}"
        cells = [f"{row['steps']:,}", row["metric"], f"{row['untrained']:.3g}", reference, f"`{told['best']}`"]
        cells += [percent(told["lost"]), len(told["as good"]), len(told["failed"])]
        print(f"| `{name}` | {' | '.join(map(str, cells))} |")


def print_calibration(told):
    print("\n| setting | gain, median | better on | worse on |\n|---|---|---|---|")
    for label, row in told.items():
        print(
            f"| {label} | {percent(row['median gain'])} | {row['better on']} | {row['worse on']} of {row['tasks']} |"
        )


def percent(values):
    middle, low, high = (100 * each for each in values)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("part", choices=("table", "calibration"))
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/lr-free"))
    asked.add_argument("--tasks", nargs="*", default=list(TASKS), metavar="TASK")
    asked.add_argument("--kind", nargs="*", default=list(KINDS), choices=KINDS, help="of the rows to carry out")
    asked.add_argument("--there", action="store_true", help="make no runs")
    options = asked.parse_args()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {"tasks": {}}
    with Store(options.out / "runs.db") as store:
        if options.part == "table":
            for name in options.tasks:
                bench = Bench(name, store, options.out, options.there)
                found["tasks"][name] = bench.measured(found["tasks"].get(name, {}), options.kind)
                write(found)
        else:
            found["calibration"] = calibrated(store, options.out, options.there, found["tasks"])
    found["summed"] = summed(found["tasks"])
    others = {name: row for name, row in found["tasks"].items() if name not in OVERFITTED}
    found["summed, without those that overfit"] = summed(others)
    print_table(found["summed"])
    print_tasks(found["tasks"], found["summed"])
    if "calibration" in found:
        print_calibration(found["calibration"]["changes"])
    write(found)


def write(found):
    FOUND.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
