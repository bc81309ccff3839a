"""Controls that set the rate of an update by its own gradient, at a tenth of a usual base rate, at it, at tenfold.

    python benchmarks/controls.py runs [--out DIR]    # ten minutes of one core; goes on where it was ended
    python benchmarks/controls.py steps               # what an update costs

`runs`: one seed, the validation metric at the end, all runs of a task at equal cost: where an update is charged twice
there are half as many. `steps`: time of the thread that an update takes, in units of one under a schedule, medians of
interleaved rounds. Both print the tables of docs/controls.md and write controls.json beside this file.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from lrcontrol.runs.beginnings import Branch
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.carry_out import carry_out
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.plan import Plan
from lrcontrol.training import loop
from lrcontrol.training.tasks.catalogue import TASKS as KNOWN
from lrcontrol.training.tasks.problem import alone, build
from lrcontrol.training.under_way import UnderWay

FOUND = Path(__file__).with_suffix(".json")

TASKS = {
    "digits-mlp": (660, 0.1, 0.001),
    "digits-cnn": (166, 0.03, 0.001),
    "bike-mlp": (700, 0.03, 0.003),
    "shakespeare-lstm": (80, 1.0, 0.003),
}
"""Updates, and the usual base rates of SGD with momentum and of AdamW; without momentum it is ten times as high."""

ALL = (
    "constant",
    "cosine",
    "hypergradient",
    "hypergradient(rule=additive)",
    "greedy",
    "alignment",
    "l4",
    "cosine*l4",
    "polyak",
    "learned",
    "clip(cosine)",
)
CONTROLS = {"sgd": ALL, "sgd(momentum=0)": ("cosine", "polyak", "cosine*polyak"), "adamw": ALL}
PARTS = (0.1, 1.0, 10.0)

TIMED = ("digits-mlp", "mnist-mlp")
TIMED_CONTROLS = ("cosine", "clip(cosine)", "greedy", "hypergradient", "polyak", "l4", "alignment", "learned")
ROUNDS, UPDATES = 15, 20


def usual(task: str, optimizer: str) -> float:
    _, sgd, adamw = TASKS[task]
    return {"sgd": sgd, "sgd(momentum=0)": 10 * sgd, "adamw": adamw}[optimizer]


def spec_of(task: str, text: str, base_lr: float) -> RunSpec:
    made = method(text)
    return RunSpec(task=task, method=made, base_lr=base_lr, total_steps=made.updates_for(TASKS[task][0]))


def runs(folder: Path) -> dict[str, Any]:
    """The metric of every run, by task, method and part of the usual rate; None where it diverged."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for task in TASKS:
        specs = {
            (f"{optimizer}:{control}", part): spec_of(
                task, f"{optimizer}:{control}", float(f"{part * usual(task, optimizer):g}")
            )
            for optimizer, controls in CONTROLS.items()
            for control in controls
            for part in PARTS
        }
        plan = Plan(tuple(specs.values()))
        executor = Serial(loop.train_all, KNOWN[task].objective)
        with Store(folder / f"{task}.db") as store:
            carry_out(plan, executor, store, Budget(plan.cost, KNOWN[task].full_steps))
            records = {record.id: record for record in store.records()}
        found[task] = {}
        for (text, part), spec in specs.items():
            found[task].setdefault(text, {})[f"{part:g}"] = ended(records[spec.id])
    return found


def ended(record: Record) -> float | None:
    return record.final if record.outcome is Outcome.FINISHED else None


def steps() -> dict[str, Any]:
    """What an update takes in units of one under `cosine`, by task and method."""
    found: dict[str, Any] = {}
    for task in TIMED:
        texts = [f"{optimizer}:{control}" for optimizer in ("sgd", "adamw") for control in TIMED_CONTROLS]
        going = {text: Going(task, text) for text in texts}
        taken: dict[str, list[float]] = {text: [] for text in texts}
        for turn in range(ROUNDS + 2):
            for text, each in going.items():
                seconds = each.seconds()
                taken[text] += [seconds] if turn > 1 else []
        medians = {text: statistics.median(each) for text, each in taken.items()}
        found[task] = {
            text: round(each / medians[f"{text.partition(':')[0]}:cosine"], 2) for text, each in medians.items()
        }
    return found


class Going:
    """A run that goes on for a few updates at a time, never looking at validation."""

    def __init__(self, task: str, text: str) -> None:
        self.spec = RunSpec(task=task, method=text, base_lr=1e-3, total_steps=10**6)
        whole = Branch((self.spec,), 0, 10**6, (), ())
        with alone():
            self.run = UnderWay(KNOWN[task], build(KNOWN[task], 0), whole)

    def seconds(self) -> float:
        branch = Branch((self.spec,), self.run.step, self.run.step + UPDATES, (), ())
        began = time.thread_time()
        self.run.advance(branch)
        return time.thread_time() - began


def shown(task: str, values: dict[str, float | None]) -> str:
    digits = 3 if KNOWN[task].objective.direction == "maximize" else 2
    return " / ".join("–" if values[f"{part:g}"] is None else f"{values[f'{part:g}']:.{digits}f}" for part in PARTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "steps"])
    parser.add_argument("--out", type=Path, default=Path("controls-runs"))
    given = parser.parse_args()
    kept = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    kept[given.what] = found = runs(given.out) if given.what == "runs" else steps()
    FOUND.write_text(json.dumps(kept, indent=1) + "\n")
    names = list(found)
    print("| |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for text in found[names[0]]:
        cells = [
            shown(task, found[task][text]) if given.what == "runs" else f"{found[task][text]:.2f}" for task in names
        ]
        print(f"| `{text}` |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
