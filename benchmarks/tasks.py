"""What the tasks come to: every default in full, three seeds each, judged on test; docs/tasks.md states these figures.

    python benchmarks/tasks.py                  # all small tasks whose data are here; goes on where it was ended
    python benchmarks/tasks.py cora-gcn sst-bag # these, anew

Seconds are of one core's own time, so that other work on the machine does not count. The figures are written to
`src/lrcontrol/training/tasks/measured.json`, where `lrcontrol tasks` finds them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from lrcontrol.files import write_whole
from lrcontrol.runs.task import Measured
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.catalogue import MEASURED_FILE, TASKS, content_of, default_spec, measured

SEEDS = 3
ROOT = Path(__file__).parents[1]


def one(name, seed):
    """One run, in this process: its seconds, and its last metrics on validation and test (and train, where told)."""
    from lrcontrol.training import loop

    spec = default_spec(TASKS[name], seed, save=True)
    metric = TASKS[name].objective.metric
    loop.warm(spec)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        record = loop.train(spec, weights=folder)
        seconds = time.process_time() - begun
        tested = loop.test_metrics(record, Path(folder))
    last = record.evals[-1].values
    return {
        "seconds": seconds,
        "validation": last[metric],
        "test": tested[metric],
        "train": last.get(f"train_{metric}"),
    }


def in_a_process(name):
    """All seeds in a process of the task's own."""
    done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1])


def rounded(value):
    return float(f"{value:.6g}")


def joined(name, runs):
    train = [rounded(each["train"]) for each in runs if each["train"] is not None]
    return Measured(
        of=content_of(TASKS[name]),
        seconds=float(f"{statistics.median(each['seconds'] for each in runs):.3g}"),
        validation=tuple(rounded(each["validation"]) for each in runs),
        test=tuple(rounded(each["test"]) for each in runs),
        train=tuple(train),
    )


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("names", nargs="*", choices=[[], *TASKS])
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--one", metavar="NAME")
    options = asked.parse_args()
    if options.one:
        print(msgspec.json.encode([one(options.one, seed) for seed in range(SEEDS)]).decode())
        return
    known = {name: each for name, each in measured().items() if name in TASKS}
    small = [name for name, task in TASKS.items() if task.size == "small" and data.here(task.files)]
    stale = [name for name in small if name not in known or known[name].of != content_of(TASKS[name])]
    with ThreadPoolExecutor(options.workers) as pool:
        runs = {name: pool.submit(in_a_process, name) for name in options.names or stale}
        for name, promised in runs.items():
            known[name] = joined(name, promised.result())
            mean, deviation = statistics.mean(known[name].test), statistics.stdev(known[name].test)
            metric = TASKS[name].objective.metric
            print(f"{name:28}{known[name].seconds:>8.1f} s  test {metric} {mean:.4f} ± {deviation:.4f}", flush=True)
            write_whole(
                ROOT / "src" / MEASURED_FILE, msgspec.json.format(msgspec.json.encode(dict(sorted(known.items()))))
            )


if __name__ == "__main__":
    main()
