"""What observing gradient norms adds to a training step: with the observer, without, and as one would write it.

    python benchmarks/observe.py

Steps of one model are made in turn without an observer, with one, and with torch's own L2 norm read at every step; the
order changes from turn to turn. Everything runs on one core, and seconds are of its processor, so that other work on
the machine counts less. Two figures are told of each: how much longer the median step is (`added`), and what the
observer's own calls took, of the median step without it (`own`), which the noise of whole steps does not reach. Prints
a table and writes observe.json beside this file: rows of name, parameters, norms, step (milliseconds without), added,
own (percent), peer (percent added by torch's norm, which is of float32 and L2 alone), goal.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn

import lrcontrol as lrc

torch.set_num_threads(1)


def mlp():
    """Three layers of width 512 on pictures of 784 numbers, batches of 128."""
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    inputs, targets = torch.randn(128, 784), torch.randint(0, 10, (128,))
    return model, lambda: nn.functional.cross_entropy(model(inputs), targets)


class Language(nn.Module):
    """A transformer of eight layers of width 320 on text in bytes."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(320, 8, 1280, dropout=0.0, batch_first=True, norm_first=True)
        self.tokens, self.places = nn.Embedding(256, 320), nn.Embedding(128, 320)
        self.layers = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
        self.out = nn.Linear(320, 256)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(128))

    def forward(self, text):
        """Logits of the next byte."""
        hidden = self.tokens(text) + self.places(torch.arange(text.shape[1]))
        return self.out(self.layers(hidden, mask=self.mask, is_causal=True))


def language():
    """Ten million parameters; batches of eight texts of 128 bytes."""
    model = Language()
    text = torch.randint(0, 256, (8, 129))
    return model, lambda: nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


CASES = (
    ("language model", language, ("l2",), 15, "<= 1 %"),
    ("language model", language, ("l1", "l2"), 15, "<= 2 %"),
    ("three layers of 512", mlp, ("l2",), 300, "<= 5 %"),
    ("three layers of 512", mlp, ("l1", "l2"), 300, "<= 5 %"),
    ("three layers of 512", mlp, ("l1", "l2", "dot", "update", "distance"), 100, ""),
)


class Timed:
    """Adds up what calls of a function take."""

    def __init__(self, call):
        self.call, self.seconds = call, 0.0

    def __call__(self, *arguments):
        """The call."""
        began = time.process_time()
        result = self.call(*arguments)
        self.seconds += time.process_time() - began
        return result


def measured(make, names, turns, folder):
    torch.manual_seed(0)
    model, loss_of = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    observer = lrc.observe(optimizer, folder / f"{time.monotonic_ns()}.jsonl", norms=names)
    before, after = Timed(observer._before), Timed(observer._after)
    observer.close()

    def step(kind):
        handles = ()
        if kind == "ours":
            handles = (optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after))
        before.seconds = after.seconds = 0.0
        began = time.process_time()
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        if kind == "torch's":
            nn.utils.get_total_norm([each.grad for each in model.parameters()]).item()
        optimizer.step()
        taken = time.process_time() - began
        for handle in handles:
            handle.remove()
        return taken, before.seconds + after.seconds

    kinds = ["none", "ours", "torch's"]
    taken = {kind: [] for kind in kinds}
    own = []
    for turn in range(turns + 2):
        for kind in kinds[turn % 3 :] + kinds[: turn % 3]:
            seconds, inside = step(kind)
            if turn >= 2:  # the first ones make the optimizer's state
                taken[kind].append(seconds)
                own += [inside] if kind == "ours" else []
    plain, ours, peer = (statistics.median(taken[kind]) for kind in kinds)
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "norms": list(names),
        "step": round(plain * 1e3, 3),
        "added": round(100 * (ours / plain - 1), 2),
        "own": round(100 * statistics.median(own) / plain, 2),
        "peer": round(100 * (peer / plain - 1), 2),
    }


def main():
    rows = []
    print(
        f"{'':22}{'parameters':>11}  {'observed':36}{'step, ms':>9}{'added, %':>9}{'own, %':>8}{'torch, %':>9}  goal"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, make, names, turns, goal in CASES:
            row = {"name": name, **measured(make, names, turns, Path(folder)), "goal": goal}
            rows.append(row)
            print(
                f"{name:22}{row['parameters']:>11}  {', '.join(names):36}{row['step']:>9.2f}{row['added']:>9.2f}"
                f"{row['own']:>8.2f}{row['peer']:>9.2f}  {goal}"
            )
    Path(__file__).with_name("observe.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
