"""Whole schedules of ten million steps, and single steps of a billion: time and memory, beside peers.

    python benchmarks/whole.py

Everything runs on one core, and seconds are of its processor, so that other work on the machine counts little.
Pairs are interleaved and medians are taken: of every recipe and copying an array of as many values; of a recipe and
torch's own stepped 100,000 times, its time scaled to ten million; of a recipe and optax's over `jnp.arange`, in one
compiled call after a first one, in float64 and in float32. Memory is what is held at the peak
beyond the result, as Python and numpy count it (tracemalloc) and as the kernel does (peak resident set); it is
compared with that of a tenth of the steps, and the time of one step of a billion with that of one of a thousand.
Prints a table and writes whole.json beside this file: rows of name, ours, peer, ratio (peer / ours), goal, unit.
"""

import gc
import importlib.util
import json
import os
import statistics
import time
import tracemalloc
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the libraries count their threads

import numpy as np
import torch
from torch.optim import lr_scheduler

import lrcontrol as lrc
from lrcontrol.schedules.recipes.catalogue import RECIPES

STEPS, STEPPED, BILLION, PAIRS, TORCH_PAIRS = 10**7, 10**5, 10**9, 7, 3

STATUS = Path("/proc/self/status")

TORCH = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, 1.0, STEPS),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "exp_range(period=4000)": lambda o: lr_scheduler.CyclicLR(o, 0.025, 0.1, mode="exp_range", gamma=0.99994),
    "geometric": lambda o: lr_scheduler.ExponentialLR(o, 0.99994),
    "linear": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, STEPS),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, STEPS, cycle_momentum=False),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, STEPS, 2),
    "sgdr(period=10000)": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10_000, 2),
    "step(every=1000000)": lambda o: lr_scheduler.StepLR(o, 10**6),
    "triangular(period=4000)": lambda o: lr_scheduler.CyclicLR(o, 0.025, 0.1, cycle_momentum=False),
    "warmup(1000)+cosine": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.001, 1.0, 1000), lr_scheduler.CosineAnnealingLR(o, STEPS)], [1000]
    ),
}
"""Ours, and the same schedule of torch's."""


def optax_schedules(optax):
    """Ours, and the same schedule of optax's."""
    return {
        "constant": optax.constant_schedule(0.1),
        "cosine": optax.cosine_decay_schedule(0.1, STEPS),
        "geometric": optax.exponential_decay(0.1, 1, 0.99994),
        "linear": optax.linear_schedule(0.1, 0.0, STEPS),
        "one_cycle": optax.cosine_onecycle_schedule(STEPS, 0.1),
        "polynomial": optax.polynomial_schedule(0.1, 0.0, 2, STEPS),
        "sgdr": optax.sgdr_schedule(
            [
                {"init_value": 0.1, "peak_value": 0.1, "decay_steps": STEPS * 2**k // 15, "warmup_steps": 0}
                for k in range(4)
            ]
        ),
        "step": optax.piecewise_constant_schedule(0.1, {STEPS // 2: 0.1, STEPS * 3 // 4: 0.1}),
        "warmup(1000)+cosine": optax.warmup_cosine_decay_schedule(0.0, 0.1, 1000, STEPS),
    }


def seconds(call):
    """How long a call takes."""
    gc.collect()
    began = time.process_time()
    result = call()
    took = time.process_time() - began
    del result
    return took


def medians(ours, peer, pairs=PAIRS):
    """Of both, taken in turn, each after one call that is not counted."""
    ours(), peer()
    taken = [(ours(), peer()) for _ in range(pairs)]
    return statistics.median(a for a, _ in taken), statistics.median(b for _, b in taken)


def whole(text):
    """A function that times the whole schedule."""
    schedule = lrc.schedule(text)
    return lambda: seconds(lambda: schedule.multipliers(STEPS))


def stepped(make):
    """A function that times a scheduler of torch's, scaled to the whole."""

    def one():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        optimizer.step()  # torch's warn where they are stepped before their optimizer
        scheduler = make(optimizer)
        optimizer.step()
        began = time.process_time()
        for _ in range(STEPPED):
            scheduler.step()
        return (time.process_time() - began) * (STEPS / STEPPED)

    return one


def beyond(call, size):
    """Bytes held at the peak beyond a result of `size` bytes: as Python counts them, and as the kernel does."""
    call()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    result = call()
    counted = tracemalloc.get_traced_memory()[1] - before - size
    tracemalloc.stop()
    del result
    return counted, resident_beyond(call, size)


def resident_beyond(call, size):
    """By the kernel's peak, set back before the call; None where there is no /proc."""
    if not STATUS.exists():
        return None
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    result = call()
    peak = kilobytes("VmHWM")
    del result
    return max((peak - before) * 1024 - size, 0)


def kilobytes(field):
    """A field of the process's status."""
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(field))


class Table:
    """The rows, printed as they come."""

    def __init__(self):
        self.rows = []

    def head(self, title, peer):
        print(f"\n{title:52}{'ours':>12}{peer:>14}{'peer / ours':>13}  goal")

    def row(self, name, ours, peer=None, goal="", unit="s"):
        ratio = None if not ours or peer is None else peer / ours
        self.rows.append({"name": name, "ours": shortened(ours), "peer": shortened(peer), "ratio": shortened(ratio)})
        self.rows[-1] |= {"goal": goal, "unit": unit}
        shown = ["" if value is None else f"{value:.4g}" for value in (ours, peer, ratio)]
        print(f"{name:52}{shown[0]:>12}{shown[1]:>14}{shown[2]:>13}  {goal}", flush=True)


def shortened(value):
    """To four digits."""
    return None if value is None else float(f"{value:.4g}")


def main():
    table = Table()
    values = np.random.default_rng(0).random(STEPS)

    table.head(f"whole schedule of {STEPS:,} steps, s", "copying")
    for name in RECIPES:
        goal = "< 0.3 s; at most 2.5 x copying" if name == "linear" else "< 0.3 s"
        table.row(f"{name}; copying an array", *medians(whole(name), lambda: seconds(values.copy)), goal)

    table.head("the same, s", "torch, scaled")
    for text, make in TORCH.items():
        table.row(f"{text}; torch, scaled from {STEPPED:,}", *medians(whole(text), stepped(make), TORCH_PAIRS))

    if importlib.util.find_spec("optax") is not None:
        against_optax(table)

    table.head("memory beyond the result, bytes", f"{STEPS // 10:,} steps")
    for name, recipe in RECIPES.items():
        schedule = recipe()
        (counted, resident), (counted_less, _) = (
            beyond(lambda schedule=schedule, steps=steps: schedule.multipliers(steps), steps * 8)
            for steps in (STEPS, STEPS // 10)
        )
        table.row(f"{name}, {STEPS:,} steps", counted, counted_less, "the same for both", "bytes")
        table.row(f"{name}, resident", resident, goal="< 1 MB", unit="bytes")

    table.head(f"one step of {BILLION:,}, microseconds", "of 1,000")
    for name, recipe in RECIPES.items():
        first, any_step, of_few = one_step(recipe())
        table.row(f"{name}, any step", any_step, of_few, "the same for both", unit="microseconds")
        table.row(f"{name}, the first call", first, unit="microseconds")
        counted, _ = beyond(lambda recipe=recipe: recipe().multiplier(BILLION // 3, BILLION - 1), 0)
        table.row(f"{name}, memory of the first call", counted, goal="< 100 kB", unit="bytes")
    Path(__file__).with_name("whole.json").write_text(json.dumps(table.rows, indent=1) + "\n")


def against_optax(table):
    """Compiled, over all steps at once, after a call that compiles."""
    import jax
    import optax

    for exact in (True, False):
        table.head("the same, s", f"optax float{64 if exact else 32}")
        with jax.enable_x64(exact):
            for text, schedule in optax_schedules(optax).items():
                run = jax.jit(lambda schedule=schedule: jax.vmap(schedule)(jax.numpy.arange(STEPS)))
                ours, peer = medians(whole(text), lambda run=run: seconds(lambda: run().block_until_ready()))
                table.row(f"{text}; optax in float{64 if exact else 32}", ours, peer)


def one_step(schedule):
    """Microseconds of one multiplier: where the schedule is not laid yet, anywhere in it, and in a short one."""
    began = time.process_time()
    schedule.multiplier(BILLION // 2, BILLION)
    first = time.process_time() - began
    any_step, of_few = medians(lambda: anywhere(schedule, BILLION), lambda: anywhere(schedule, 1000))
    return first * 1e6, any_step, of_few


def anywhere(schedule, total):
    """Microseconds of one multiplier at a random step."""
    steps = np.random.default_rng(0).integers(0, total, 1000).tolist()
    began = time.process_time()
    for step in steps:
        schedule.multiplier(step, total)
    return (time.process_time() - began) / len(steps) * 1e6


if __name__ == "__main__":
    main()
