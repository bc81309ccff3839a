"""train_batched(specs) -> records: runs of one task trained many at once, for models that wait for Python alone."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from lrcontrol.errors import BadInput
from lrcontrol.runs.executors.lots import divided, why_alone
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.batching.stack import Stack
from lrcontrol.training.batching.trial import tried
from lrcontrol.training.devices import on_cpu
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.own import OWN
from lrcontrol.training.tasks.problem import Problem, alone, build

__all__ = ["train_batched", "why_not_batched"]

MOST = 64  # runs in a stack
NUMBERS = 1 << 18  # weights in a stack, so that it stays in a core's cache; on an accelerator, in its memory
NUMBERS_THERE = 1 << 26
LEAST = 8  # runs that it has at least, if there are as many


def train_batched(
    specs: Sequence[RunSpec],
    *,
    weights: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
    device: torch.device | None = None,
) -> Iterator[Record]:
    """Train several runs at once, each as if it were alone.

    A run sees the data, the random numbers, the rates and the looks at validation that `train` shows it, and its
    record is the same but for rounding and its seconds, which are its part of the time that the runs took together.
    (Dropout on an accelerator is drawn otherwise.)
    At rates where training is chaotic, rounding grows: there the records agree as those of other seeds do.

    Args:
        specs: what to run; no two the same. `why_not_batched` says whether these can be run so.
        weights: the folder of trained weights; needed where a spec says save=True.
        progress: called with the number of updates made for all of them, now and then.
        device: what they are trained on; by default where their task puts them, for one of ours here.
    Yields:
        The records, each as soon as its run has ended, in another order than the specs.
    Raises:
        BadInput: these cannot be batched, an unknown task, a schedule that does not fit, or no folder for what is to
            be kept; before anything is trained.
    Example:
        >>> rates = (0.3, 0.1, 0.03)
        >>> specs = [RunSpec(task="digits-softmax", method="sgd:rex", base_lr=lr, total_steps=20) for lr in rates]
        >>> sorted(record.cost.steps for record in train_batched(specs))
        [20, 20, 20]
    """
    for spec in specs:
        find_task(spec.task)
        spec.method.control.check_fits(spec.total_steps)
        if spec.save and weights is None:
            raise BadInput("`weights` must name a folder where the spec says save=True, got weights=None.")
    reason = why_not_batched(specs, device)
    if reason is not None:
        raise BadInput(reason)
    return _records(specs, None if weights is None else Path(weights), progress, device)


def why_not_batched(specs: Sequence[RunSpec], device: torch.device | None = None) -> str | None:
    """One sentence that says why these runs cannot be trained at once, or None where they can.

    The model is tried under `torch.func.vmap`, once for each task in a process, on the device.

    Example:
        >>> why_not_batched([RunSpec(task="digits-mlp", method="sgd:rex", base_lr=0.1, total_steps=5)]) is None
        True
    """
    if not specs:
        return "runs that are batched must be at least one, got none."
    tasks = sorted({spec.task for spec in specs})
    if len(tasks) > 1:
        return f"runs that are batched must be of one task, got {', '.join(tasks[:3])}; batch those of each apart."
    kinds = {type(spec.method.optimizer).__name__ for spec in specs}
    if len(kinds) > 1:
        return f"runs that are batched must have one kind of optimizer, SGD or AdamW, got {', '.join(sorted(kinds))}."
    alone = next(filter(None, map(why_alone, specs)), None)
    if alone is not None:
        return alone
    if find_task(tasks[0]).is_script:
        return f"runs that are batched must be of a task whose model is known, got {tasks[0]}, which trains by itself."
    reason = tried(tasks[0], device).why_not
    return None if reason is None else f"the task {tasks[0]} cannot be batched: {reason}."


def _records(
    specs: Sequence[RunSpec],
    folder: Path | None,
    progress: Callable[[int], None] | None,
    device: torch.device | None,
) -> Iterator[Record]:
    """The records, chunk by chunk; the caller's threads and random numbers are his own between two of them."""
    task = find_task(specs[0].task)
    problems: dict[int, Problem] = {}
    done = 0
    for chunk in _chunks(specs, device):
        with alone(device=device):
            for seed in {spec.seed for spec in chunk}:
                problems[seed] = build(task, seed, device)
            key = (task.name, id(OWN.get(task.name)), chunk[0].seed if task.name in OWN else None)
            stack = Stack(task, chunk, problems, tried(task.name, device), key=key, folder=folder)
        while stack.live:
            with alone(device=device):
                records = stack.advance()
            if progress is not None:
                progress(done + stack.made)
            yield from records
        done += stack.made
        problems.clear()


def _chunks(specs: Sequence[RunSpec], device: torch.device | None) -> list[list[RunSpec]]:
    """Runs to train at once: of about one length, so that few wait for others, and as many as there is place for."""
    found = tried(specs[0].task, device)
    numbers = NUMBERS if on_cpu(device) else NUMBERS_THERE
    most = min(MOST, max(numbers // max(found.numbers, 1), LEAST))
    groups: dict[int | None, list[RunSpec]] = {}
    for spec in sorted(specs, key=lambda spec: (spec.stop_step, spec.seed)):
        groups.setdefault(spec.seed if found.seeds_apart else None, []).append(spec)
    chunks = []
    for group in groups.values():
        chunks += divided(group, -(-len(group) // most))
    return chunks
