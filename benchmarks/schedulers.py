"""One step of a scheduler: ours beside torch's own and the Transformers' lambda, in interleaved pairs, medians.

    python benchmarks/schedulers.py

Three times are taken: of `scheduler.step()` alone with ours counting calls; of `scheduler.step()` after an update
was noted, which is what a training loop pays; and of what the hook adds to `optimizer.step()`. Prints a table and
writes schedulers.json beside this file: rows of name, ours, peer (microseconds), ratio (peer / ours), goal.
"""

import json
import math
import statistics
import time
from pathlib import Path

import torch
from torch.optim import lr_scheduler

import lrcontrol as lrc

PAIRS, TOTAL = 15, 100_000


def optimizer_of(groups, tensor):
    """A group for every rate; no gradients, so that an update costs what torch itself costs."""
    rate = (lambda: torch.tensor(0.1)) if tensor else (lambda: 0.1)
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate()} for _ in range(groups)])


def huggingface(optimizer):
    """The Transformers' cosine with warmup: a LambdaLR with this lambda, one call of it a group."""

    def multiplier(step, warmup=100, total=TOTAL, cycles=0.5):
        if step < warmup:
            return float(step) / float(max(1, warmup))
        progress = float(step - warmup) / float(max(1, total - warmup))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress)))

    return lr_scheduler.LambdaLR(optimizer, multiplier)


PEERS = {
    "CosineAnnealingLR": ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
    "LinearLR": ("linear", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.01, TOTAL)),
    "StepLR": ("step", lambda o: lr_scheduler.StepLR(o, TOTAL // 4)),
    "OneCycleLR": (
        "linear(start=0.04, end=1, share=0.3)+cosine",
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, TOTAL, cycle_momentum=False),
    ),
    "Transformers' cosine": ("warmup(100)+cosine", huggingface),
}


def microseconds(call, repeats):
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats * 1e6


def stepper(make, groups, tensor, *, noted=False):
    """A function that times some steps of a scheduler after the first, on an optimizer of its own."""
    optimizer = optimizer_of(groups, tensor)
    scheduler = make(optimizer)
    optimizer.step()  # torch's warn where they are stepped before their optimizer
    scheduler.step()
    repeats = 200 if groups == 100 else 1000
    if not noted:
        return lambda: microseconds(scheduler.step, repeats)
    updates = scheduler._updates

    def after_an_update():
        updates.made = True
        scheduler.step()

    return lambda: microseconds(after_an_update, repeats)


def medians(ours, peer):
    taken = [(ours(), peer()) for _ in range(PAIRS)]
    return statistics.median(a for a, _ in taken), statistics.median(b for _, b in taken)


def main():
    rows = []
    print(f"{'microseconds a step':64}{'ours':>9}{'peer':>9}{'ratio':>8}  goal")

    def row(name, ours, peer, goal=""):
        rows.append({"name": name, "ours": round(ours, 3), "peer": round(peer, 3), "ratio": round(peer / ours, 1)})
        rows[-1]["goal"] = goal
        print(f"{name:64}{ours:9.2f}{peer:9.2f}{peer / ours:8.1f}  {goal}")

    for tensor in (False, True):
        for groups in (1, 10, 100):
            goal = "8x" if not tensor else "50x" if groups == 100 else ""
            kind = f"{groups} {'tensor' if tensor else 'float'} rates"
            for name, (text, peer) in PEERS.items():
                theirs = stepper(peer, groups, tensor)

                def make(optimizer, text=text):
                    return lrc.as_torch_scheduler(optimizer, text, TOTAL, count="calls")

                row(f"{kind}; {name}", *medians(stepper(make, groups, tensor), theirs), goal)
            ours = stepper(lambda o: lrc.as_torch_scheduler(o, "cosine", TOTAL), groups, tensor, noted=True)
            row(
                f"{kind}, updates counted; CosineAnnealingLR",
                *medians(ours, stepper(PEERS["CosineAnnealingLR"][1], groups, tensor)),
                goal,
            )
    bare, hooked = optimizer_of(1, False), optimizer_of(1, False)
    scheduler = lrc.as_torch_scheduler(hooked, "cosine", TOTAL)
    row(
        "optimizer.step() with the hook that counts updates; without",
        *medians(lambda: microseconds(hooked.step, 1000), lambda: microseconds(bare.step, 1000)),
    )
    del scheduler
    Path(__file__).with_name("schedulers.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
