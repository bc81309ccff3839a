"""Runs trained many at once, beside as many trained one after the other by the plain loop.

    python benchmarks/batched.py [TASK ...]

K runs of a task and of one seed, `adamw:cosine` at rates evenly spaced over four octaves, each of as many updates as
the table says, with all of a run's looks at validation. Everything runs on one core, and seconds are of its
processor, so that other work on the machine counts little. Pairs are interleaved: one run by the plain loop, then K
at once; medians of three. The first call of a task and K also tries the task and traces the step, and is told apart.
Prints a table and writes batched.json beside this file: rows of task, K, updates, seconds a run (serial, batched,
first), ratio (serial / batched).
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.batched import train_batched, why_not_batched
from lrcontrol.training.loop import train
from lrcontrol.training.tasks.catalogue import TASKS, here

PAIRS = 3
MANY = (1, 8, 32, 128)
UPDATES = {
    "digits-softmax": 300,
    "letter-softmax": 300,
    "power-plant-mlp": 300,
    "diabetes-mlp": 300,
    "optdigits-mlp": 300,
    "digits-mlp": 300,
    "magic-mlp": 200,
    "coat-mf": 200,
    "houses-mlp": 100,
    "digits-cnn": 10,
}
"""Tasks from small to large: convex, perceptrons, dropout, batch norm, embeddings, layer norm, convolutions."""

LONG = 0.004  # seconds of an update from which 128 runs would take too long


def specs_of(name, many, updates):
    rates = [TASKS[name].base_lr * 2.0 ** (-4 * place / many - 1) for place in range(many)]
    return [RunSpec(task=name, method="adamw:cosine", base_lr=rate, total_steps=updates) for rate in rates]


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


def row(name, many, updates):
    specs = specs_of(name, many, updates)
    first = seconds(lambda: list(train_batched(specs))) / many
    train(specs[0])
    taken = [
        (seconds(lambda: train(specs[0])), seconds(lambda: list(train_batched(specs))) / many) for _ in range(PAIRS)
    ]
    serial, batched = (statistics.median(each) for each in zip(*taken, strict=True))
    found = {"task": name, "parameters": TASKS[name].parameters, "K": many, "updates": updates}
    return found | {"serial": serial, "batched": batched, "first": first, "ratio": serial / batched}


def main():
    asked = sys.argv[1:] or UPDATES
    rows = []
    print(f"{'task':18}{'parameters':>11}{'K':>5}{'updates':>9}{'serial':>10}{'batched':>10}{'first':>10}{'ratio':>8}")
    for name in asked:
        if not here(TASKS[name]) or why_not_batched(specs_of(name, 1, 1)) is not None:
            print(f"{name:18} left out: {why_not_batched(specs_of(name, 1, 1)) if here(TASKS[name]) else 'no data'}")
            continue
        for many in MANY:
            updates = UPDATES.get(name, 100)
            if rows and rows[-1]["task"] == name and many > 32 and rows[-1]["serial"] / updates > LONG:
                continue
            each = row(name, many, updates)
            rows.append(
                {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in each.items()}
            )
            shown = "".join(f"{1e3 * each[key]:>8.1f}ms" for key in ("serial", "batched", "first"))
            print(f"{name:18}{each['parameters']:>11,}{many:>5}{updates:>9}{shown}{each['ratio']:>7.1f}x", flush=True)
    if not sys.argv[1:]:
        Path(__file__).with_name("batched.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
