"""How far the reading of a range test is off, on known curves and on real tasks, beside other libraries' rules.

    python benchmarks/lr_range.py synthetic               # two minutes
    python benchmarks/lr_range.py real --out DIR          # goes on where it was ended; hours, of full runs

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

from lrcontrol.analysis.lr_range import MADE, suggest_lr

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


def made_of(loss, low):
    """Where three quarters of the fall of a loss without noise are made, from its value at the lowest rate on."""
    fine = np.linspace(np.log10(low), 0, 80_001)
    values = loss(fine)
    lowest = int(values.argmin())
    above = values[: lowest + 1] >= values[lowest] + (1 - MADE) * (values[0] - values[lowest])
    return float(fine[np.flatnonzero(above)[-1]])


def synthetic():
    found = {}
    for name, (low, high) in RANGES.items():
        for noise in NOISES:
            errors = {rule: [] for rule in (OURS, *RULES)}
            inside, widths, made, made_inside = [], [], [], []
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
                    made.append(abs(np.log10(ours.suggestion) - made_of(loss, low)))
                    made_inside.append(bool(least <= made_of(loss, low) <= most))
            found[f"{name}, noise {noise:g}"] = {
                "median": {rule: round(statistics.median(values), 3) for rule, values in errors.items()},
                "ninth": {rule: round(float(np.quantile(values, 0.9)), 3) for rule, values in errors.items()},
                "none": {rule: sum(np.isinf(values)) for rule, values in errors.items()},
                "covered": round(100 * float(np.mean(inside)), 1),
                "width": round(statistics.median(widths), 3),
                "suggestion": round(statistics.median(made), 3),
                "suggestion_covered": round(100 * float(np.mean(made_inside)), 1),
            }
    return found


def print_synthetic(found):
    rules = list(next(iter(found.values()))["median"])
    print("Error of the steepest point in decades, median (nine tenths are below), and its nominal 95 % interval;")
    print("then the same of the suggestion, against three quarters of the fall\n")
    ends = f"{'covers, %':>12}{'decades':>9}{'suggestion':>12}{'covers, %':>12}"
    print(f"{'range':26}" + "".join(f"{rule:>23}" for rule in rules) + ends)
    for name, row in found.items():
        errors = "".join(f"{row['median'][rule]:>14.3f} ({row['ninth'][rule]:.3f})" for rule in rules)
        print(f"{name:26}{errors}{row['covered']:>12}{row['width']:>9}", end="")
        print(f"{row['suggestion']:>12}{row['suggestion_covered']:>12}")


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("part", choices=("synthetic", "real"))
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/lr-range"))
    options = asked.parse_args()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    if options.part == "synthetic":
        found["synthetic"] = synthetic()
        print_synthetic(found["synthetic"])
    FOUND.write_text(json.dumps(found, indent=1, default=int) + "\n")


if __name__ == "__main__":
    main()
