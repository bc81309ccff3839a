"""Problem: a task made concrete, a model with its data, for the training loop."""

import contextlib
import dataclasses
import importlib
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrcontrol.errors import BadInput
from lrcontrol.runs.task import Task
from lrcontrol.training.devices import device_of, random_kept
from lrcontrol.training.tasks.combining import Combine, combine_of
from lrcontrol.training.tasks.own import OWN
from lrcontrol.training.tasks.script import ScriptTask

__all__ = ["Problem", "Split", "alone", "build", "over_chunks", "seeded"]


_THERE: MutableMapping[Tensor, "dict[torch.device, weakref.ref[Tensor]]"] = WeakTensorKeyDictionary()
"""Of tensors, what each is on devices, as long as that lives."""


def _there(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, copied there once."""
    copies = _THERE.setdefault(tensor, {})
    known = copies[device]() if device in copies else None
    if known is None:
        known = tensor.to(device)
        copies[device] = weakref.ref(known)
    return known


@dataclasses.dataclass(frozen=True)
class Split:
    """Inputs and targets as whole tensors, one row an example."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def on(self, device: torch.device) -> "Split":
        """The same on a device; what is there already and in use, of another problem, is not copied again."""
        return Split(_there(self.inputs, device), _there(self.targets, device))


@dataclasses.dataclass(frozen=True)
class Problem:
    """A model and what it is trained and judged on.

    Args:
        model: freshly initialised.
        train, validation, test: disjoint; whatever is fitted to data is fitted to train alone.
        loss: of (outputs, targets), a mean over the batch, or over what counts in it.
        metrics: of (outputs, targets) of a whole split, as plain floats.
        batch_size: of training batches.
        seed: of the order of the training examples.
        chunk: how many rows are evaluated at once, for models whose outputs on a whole split are too large; loss and
            metrics are then means over the chunks, each weighted by what counts in it. None evaluates all at once.
        weight: of the targets of a chunk: what its means are over. By default its rows.
        augment: changes the inputs of a training batch; all its chance is drawn from the generator it is given, on
            the CPU, whose state is a pure function of seed and step.
        combine: of the outputs of several models, those of their ensemble, for loss and metrics to take. By default
            the logarithm of the mean of the probabilities where the loss is torch's cross-entropy, likewise for its
            binary one with logits, else the mean of the outputs.
    """

    model: nn.Module
    train: Split
    validation: Split
    test: Split
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Tensor, Tensor], dict[str, float]]
    batch_size: int
    seed: int
    chunk: int | None = None
    weight: Callable[[Tensor], float] = len
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    combine: Combine | None = None

    @property
    def device(self) -> torch.device:
        """Where its model is."""
        return device_of(self.model)

    def on(self, device: torch.device) -> "Problem":
        """The same on a device; the model is moved, and all splits are copied there whole.

        What it begins with and the order of its examples were drawn here, so that they are the same on every device.
        """
        if device == self.device:
            return self
        splits = {name: getattr(self, name).on(device) for name in ("train", "validation", "test")}
        return dataclasses.replace(self, model=self.model.to(device), **splits)

    def batches(self, first: int, last: int) -> "list[tuple[Tensor, Tensor]]":
        """The batches of updates [first, last), a pure function of seed and step."""
        result = []
        rows = self.chosen(first, last)
        device = self.train.inputs.device
        if device.type != "cpu" and rows:
            rows = list(torch.stack(rows).to(device).unbind(0))  # once, and not at every update
        for step, chosen in enumerate(rows, start=first):
            inputs = self.train.inputs[chosen]
            if self.augment is not None:
                inputs = self.augment(inputs, torch.Generator().manual_seed(self.seed * 1_000_003 + step))
            result.append((inputs, self.train.targets[chosen]))
        return result

    def chosen(self, first: int, last: int) -> list[Tensor]:
        """The rows of train in the batches of updates [first, last).

        Every epoch is a fresh permutation; the examples that do not fill a batch sit that epoch out.
        """
        per_epoch = len(self.train) // self.batch_size
        drawn: dict[int, Tensor] = {}
        result = []
        for step in range(first, last):
            epoch, index = divmod(step, per_epoch)
            if epoch not in drawn:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                drawn[epoch] = torch.randperm(len(self.train), generator=generator)
            result.append(drawn[epoch][index * self.batch_size : (index + 1) * self.batch_size])
        return result

    def evaluate(self, split: Split) -> dict[str, float]:
        """Loss and metrics of the model, in evaluation mode, on a whole split."""
        return self.judged(self.outputs(split), split)

    @torch.no_grad()
    def outputs(self, split: Split) -> Iterator[Tensor]:
        """What the model gives in evaluation mode, chunk by chunk of a whole split."""
        training = self.model.training
        self.model.eval()
        rows = self.chunk or len(split)
        for first in range(0, len(split), rows):
            yield self.model(split.inputs[first : first + rows])
        self.model.train(training)

    @torch.no_grad()
    def judged(self, outputs: Iterable[Tensor], split: Split) -> dict[str, float]:
        """Loss and metrics of outputs on a whole split, given chunk by chunk."""
        rows = self.chunk or len(split)
        weights, judged = [], []
        with random_kept(self.device):  # how often a run is looked at does not change its training
            for place, each in enumerate(outputs):
                targets = split.targets[place * rows : (place + 1) * rows]
                judged.append({"loss": float(self.loss(each, targets)), **self.metrics(each, targets)})
                weights.append(float(self.weight(targets)))
        return over_chunks(judged, weights)

    def combined(self, outputs: Sequence[Tensor]) -> Tensor:
        """The outputs of an ensemble of models with these outputs."""
        return (combine_of(self.loss) if self.combine is None else self.combine)(outputs)


def over_chunks(judged: Sequence[dict[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """What a whole split came to, from its chunks: means, each chunk weighted by what counts in it."""
    if len(judged) == 1:
        return judged[0]
    whole = math.fsum(weights)
    return {
        name: math.fsum(weight * values[name] for weight, values in zip(weights, judged, strict=True)) / whole
        for name in judged[0]
    }


def build(task: Task, seed: int, device: torch.device | None = None) -> Problem:
    """The problem of a task; weights and data order follow from `seed`, the splits do not.

    Args:
        task: the task.
        seed: of all its chance.
        device: where it is to be; by default where it is made, for one of ours here.
    Raises:
        BadInput: the task is a script.
    """
    problem = _built(task, seed)
    return problem if device is None else problem.on(device)


def _built(task: Task, seed: int) -> Problem:
    own = OWN.get(task.name)
    if isinstance(own, ScriptTask):
        raise BadInput(f"{task.name} must be a task with a model and splits, but it is a script, which makes its own.")
    if own is not None:
        return own(seed)
    with seeded(seed):
        problem: Problem = importlib.import_module(task.home).build(task, seed)
    return problem


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers from `seed`; the caller's random state is put back."""
    with random_kept():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every accelerator too
        yield


@contextlib.contextmanager
def alone(threads: int = 1, device: torch.device | None = None) -> Iterator[None]:
    """So many threads; the caller's threads and random state, also of a device, are put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with random_kept(device):
            yield
    finally:
        torch.set_num_threads(before)
