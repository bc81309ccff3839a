"""What a step of every optimizer costs beside torch's fused AdamW and SGD, and beside the packages' own steps.

    python benchmarks/optimizers.py [--rounds 15] [--only NAME] [--out benchmarks/optimizers.json]

One thread. The tensors of small transformers of 1 and 10 million weights. Gradients are a small random set and then
its opposite, and so for a few sets in turn, so that nothing wanders off; they are written where gradients lie before
every step, as a backward pass does, outside of its time. Each optimizer is stepped in turns with fused AdamW and fused
SGD with momentum; a figure is the median over rounds of its steps' time over that of AdamW's (or SGD's) beside it.
Some steps are made before. Estimates of distances stay as they are, as they do in most of training.

The bound of a step is what it would take if it did nothing but read and write its numbers, each as often as it must,
as fast as one long vector is added to another in the same round.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrcontrol.training.optimizers import make_optimizer

SIZES = {"1M": (128, 5), "10M": (512, 3)}
SETS = 2
WARM = 20
Made = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def shapes(width: int, layers: int) -> list[tuple[int, ...]]:
    """Of a decoder without embeddings: attention, a layer of four times the width, norms and biases."""
    block = [(3 * width, width), (3 * width,), (width, width), (width,), (4 * width, width), (4 * width,)]
    block += [(width, 4 * width), (width,), (width,), (width,), (width,), (width,)]
    return block * layers


class Plain:
    """One long vector, to which another is added: two numbers read and one written for each."""

    def __init__(self, size: str) -> None:
        count = sum(math.prod(shape) for shape in shapes(*SIZES[size]))
        self._sum, self._other = torch.zeros(count), torch.zeros(count)

    def seconds(self, steps: int) -> float:
        """The time of one number read or written, for every weight."""
        began = time.thread_time()
        for _ in range(steps):
            self._sum.add_(self._other)
        return (time.thread_time() - began) / steps / 3


class Contestant:
    """An optimizer on weights of its own."""

    def __init__(self, make: Made, size: str) -> None:
        random = torch.Generator().manual_seed(0)

        def drawn(scale: float) -> list[torch.Tensor]:
            return [torch.randn(shape, generator=random) * scale for shape in shapes(*SIZES[size])]

        self.parameters = [nn.Parameter(each) for each in drawn(0.05)]
        self.optimizer = make(self.parameters)
        sets = [drawn(1e-3) for _ in range(SETS)]
        self._turns = itertools.cycle((some, sign) for some in sets for sign in (1.0, -1.0))
        for each in self.parameters:
            each.grad = torch.zeros_like(each)

    def seconds(self, steps: int) -> float:
        """A step's time, without that of writing its gradients."""
        grads = [each.grad for each in self.parameters if each.grad is not None]
        spent = 0.0
        for _ in range(steps):
            some, sign = next(self._turns)
            torch._foreach_copy_(grads, some)
            torch._foreach_mul_(grads, sign)
            began = time.thread_time()
            self.optimizer.step()
            spent += time.thread_time() - began
        return spent / steps


def ours(text: str, lr: float | None = None) -> Made:
    return lambda given: make_optimizer(text, given, lr)


def packages() -> dict[str, Made]:
    """The packages' own, of what we have of theirs."""
    found: dict[str, Made] = {}
    with contextlib.suppress(ImportError):
        import schedulefree

        found["schedulefree_sgd"] = lambda given: _trained(schedulefree.SGDScheduleFree(given, lr=0.1))
        found["schedulefree_adamw"] = lambda given: _trained(schedulefree.AdamWScheduleFree(given, lr=1e-3))
    with contextlib.suppress(ImportError):
        import prodigyopt

        found["prodigy"] = lambda given: prodigyopt.Prodigy(given)
    with contextlib.suppress(ImportError):
        import dadaptation

        found["dadapt_sgd"] = lambda given: dadaptation.DAdaptSGD(given, momentum=0.9)
        found["dadapt_adam"] = lambda given: dadaptation.DAdaptAdam(given)
    return found


def _trained(optimizer: Any) -> Any:
    optimizer.train()
    return optimizer


OURS: dict[str, Made] = {
    "schedulefree_sgd": ours("schedulefree_sgd", 0.1),
    "schedulefree_adamw": ours("schedulefree_adamw", 1e-3),
    "prodigy": ours("prodigy"),
    "dadapt_sgd": ours("dadapt_sgd"),
    "dadapt_adam": ours("dadapt_adam"),
    "dog": ours("dog"),
    "ldog": ours("ldog"),
    "dowg": ours("dowg"),
    "cocob": ours("cocob"),
    "mechanic(adamw)": ours("mechanic(adamw)"),
    "mechanic(sgd)": ours("mechanic(sgd)"),
}
MOVED = {
    "schedulefree_sgd": 5,  # g y z, y z
    "schedulefree_adamw": 7,  # g y z v, y z v
    "prodigy": 12,  # g p x0 s, s; and when the estimate is known g p m v, p m v
    "dadapt_sgd": 6,  # g p x0 s, p s
    "dadapt_adam": 9,  # g p m v s, p m v s
    "dog": 7,  # g; and when its norm is known g p x0 average, p average
    "ldog": 7,
    "dowg": 5,  # g; and when its norm is known g p x0, p
    "cocob": 12,  # g p x0 and four sums, p and these
    "mechanic(adamw)": 13,  # g p sum; and when the scale is known g p x0 sum m v, p sum m v
    "mechanic(sgd)": 10,  # g p sum; and when the scale is known g x0 sum m, p sum m
    "adamw fused": 7,  # g p m v, p m v
    "sgd fused, momentum": 5,  # g p m, p m
}
"""How many numbers are read and written for each weight in a step that reads each once for every pass it must make."""
TORCH: dict[str, Made] = {
    "adamw fused": lambda given: torch.optim.AdamW(given, fused=True),
    "adamw foreach": lambda given: torch.optim.AdamW(given, foreach=True),
    "adamw one by one": lambda given: torch.optim.AdamW(given, foreach=False, fused=False),
    "sgd fused, momentum": lambda given: torch.optim.SGD(given, lr=0.1, momentum=0.9, fused=True),
}


def measured(make: Made, size: str, rounds: int, moved: int | None) -> dict[str, float]:
    """A step's time, over that of fused AdamW's and of fused SGD's, and in milliseconds."""
    adamw = Contestant(lambda given: torch.optim.AdamW(given, fused=True), size)
    sgd = Contestant(lambda given: torch.optim.SGD(given, lr=1e-6, momentum=0.9, fused=True), size)
    contestant, plain = Contestant(make, size), Plain(size)
    steps = 8 if size == "1M" else 2
    for each in (adamw, sgd, contestant, plain):
        each.seconds(WARM)
    rows = [tuple(each.seconds(steps) for each in (adamw, contestant, sgd, plain)) for _ in range(rounds)]
    found = {
        "of_adamw": round(statistics.median(own / base for base, own, _, _ in rows), 2),
        "of_sgd": round(statistics.median(own / base for _, own, base, _ in rows), 2),
        "milliseconds": round(1e3 * statistics.median(own for _, own, _, _ in rows), 3),
    }
    if moved is not None:
        found["bound_of_adamw"] = round(statistics.median(moved * each / base for base, _, _, each in rows), 2)
        found["bound_of_sgd"] = round(statistics.median(moved * each / base for _, _, base, each in rows), 2)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--only")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    groups = {"ours": OURS, "packages": packages(), "torch": TORCH}
    found: dict[str, Any] = {}
    for size in SIZES:
        for kind, made in groups.items():
            for name, make in made.items():
                if given.only and given.only not in name:
                    continue
                with contextlib.redirect_stdout(io.StringIO()):
                    row = measured(make, size, given.rounds, MOVED.get(name) if kind != "packages" else None)
                found.setdefault(size, {}).setdefault(kind, {})[name] = row
                bound = (
                    f", bound {row['bound_of_adamw']:.2f} {row['bound_of_sgd']:.2f}" if "bound_of_adamw" in row else ""
                )
                print(
                    f"{size:>4} {kind:9} {name:20} {row['of_adamw']:6.2f} of AdamW {row['of_sgd']:6.2f} of SGD{bound}",
                    flush=True,
                )
    if given.out:
        about = {"torch": torch.__version__, "machine": platform.processor() or platform.machine(), "threads": 1}
        given.out.write_text(json.dumps({"about": about, "rounds": given.rounds, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
