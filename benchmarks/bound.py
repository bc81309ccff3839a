"""What the bound foretells beside what was measured: language-model runs of 25,000 steps under nine schedules.

    LRCONTROL_DATA=... python benchmarks/bound.py

The runs are those in the folder llm-schedules of the data (a 124M-parameter model on SlimPajama, four peak rates for
every schedule, one seed; Schaipp et al. 2025, arXiv:2501.18965); the gradient norms are those of other runs of the
same model, of 50,000 steps. Prints the tables of docs/refinement.md and writes bound.json beside this file.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import lrcontrol as lrc
from lrcontrol.interop.logs.read import gradient_log
from lrcontrol.refining import advise

STEPS, WARMUP = 25_000, 300 / 25_000
SCHEDULES = {
    **{
        f"wsd, cooldown {share:.0%}": lrc.wsd(warmup=WARMUP, cooldown=share)
        for share in (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
    },
    "wsd, 1-sqrt 20%": lrc.schedule(f"warmup({WARMUP})+constant(share={0.8 - WARMUP})+one_minus_sqrt(share=0.2)"),
    "cosine to 10%": lrc.schedule(f"warmup({WARMUP})+cosine(end=0.1)"),
    "cosine to 0": lrc.schedule(f"warmup({WARMUP})+cosine"),
}


def measured(folder):
    """The final validation losses by schedule and peak rate."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text())
        name = path.name
        if name.startswith("cos"):
            label = "cosine to 10%" if name.startswith("cos-10") else "cosine to 0"
        elif "decay_sqrt" in name:
            label = "wsd, 1-sqrt 20%"
        else:
            label = f"wsd, cooldown {float(name.split('_')[0].rsplit('-', 1)[1]):.0%}"
        found.setdefault(label, {})[run["config"]["lr"]] = run["summary"]["final-val/loss"]
    return found


def best(losses):
    """The best rate and loss of a curve a / rate + b rate + c through the losses, the form that the bound has."""
    rates = np.array(sorted(losses))
    values = np.array([losses[rate] for rate in rates])
    (a, b, c), *_ = np.linalg.lstsq(np.stack([1 / rates, rates, np.ones_like(rates)], 1), values, rcond=None)
    return float(np.sqrt(a / b)), float(2 * np.sqrt(a * b) + c)


def foretold(norms, steps=None, order="l2"):
    rows = advise(
        norms, observed="constant", to=list(SCHEDULES.values()), steps=steps, new_steps=STEPS, order=order
    ).rows
    by_text = {row.name: row for row in rows}
    return {name: by_text[str(each)] for name, each in SCHEDULES.items()}


def main():
    if "LRCONTROL_DATA" not in os.environ:
        sys.exit("the runs are not bundled: set LRCONTROL_DATA to the folder of the data.")
    folder = Path(os.environ["LRCONTROL_DATA"], "llm-schedules")
    truth = {name: best(losses) for name, losses in measured(folder).items()}
    least = {name: min(losses.values()) for name, losses in measured(folder).items()}
    logs = {"constant norms": (np.ones(1000), None)}
    for path in sorted((folder / "grad_norm").glob("*.json")):
        rate = json.loads(path.read_text())["config"]["lr"]
        kind = "constant" if path.name.startswith("stable") else "linear"
        logs[f"run of {kind} at {rate:g}"] = (gradient_log(path), 50_000)
    shapes = sorted(SCHEDULES)
    ratio = truth["wsd, cooldown 20%"][0] / truth["wsd, cooldown 90%"][0]
    rows = []
    print(f"rank correlation (by the least loss seen), and best rate of 20 % over 90 %, measured as {ratio:.3f}")
    print(f"{'norms from':24}{'order l2':>24}{'order l1':>24}")
    for label, (norms, steps) in logs.items():
        row = {"norms": label}
        for order in ("l2", "l1"):
            told = foretold(norms, steps, order)
            bounds = [told[each].bound_ratio for each in shapes]
            row[order] = {
                "rank": spearmanr(bounds, [truth[each][1] for each in shapes])[0],
                "rank_of_least": spearmanr(bounds, [least[each] for each in shapes])[0],
                "ratio": told["wsd, cooldown 20%"].lr_ratio / told["wsd, cooldown 90%"].lr_ratio,
            }
        rows.append(row)
        cells = (
            f"{row[each]['rank']:.2f} ({row[each]['rank_of_least']:.2f}) {row[each]['ratio']:.3f}"
            for each in ("l2", "l1")
        )
        print(f"{label:24}" + "".join(f"{cell:>24}" for cell in cells))
    told = foretold(*logs["run of linear at 0.001"])
    print(f"\n{'schedule':22}{'loss at best rate':>18}{'bound':>8}{'best rate':>11}{'least loss seen':>17}")
    for name in sorted(shapes, key=lambda each: truth[each][1]):
        rate, loss = truth[name]
        print(f"{name:22}{loss:>18.4f}{told[name].bound_ratio:>8.3f}{rate:>11.2g}{least[name]:>17.4f}")
    content = {"measured_ratio": ratio, "rows": rows, "truth": truth, "least": least}
    Path(__file__).with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
