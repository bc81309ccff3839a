"""Tasks for trying to batch them: what torch.func.vmap can do, and what it cannot; on data that are bundled."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.training.tasks import bundled
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.own import as_task
from lrcontrol.training.tasks.problem import Problem, Split
from lrcontrol.training.tasks.splits import Splits

own = functools.partial(as_task, metric="loss", direction="minimize", full_steps=100)


def no_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    del outputs, targets
    return {}


def digits_problem(model: nn.Module, seed: int, **more: Any) -> Problem:
    more = {"loss": functional.cross_entropy, "metrics": accuracy} | more
    return Problem(model, *bundled.digits(), batch_size=32, seed=seed, **more)


def perceptron(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), *between, nn.Linear(16, 10))


class Autoencoder(nn.Module):
    """A code that is drawn, and the image it came from."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 16), nn.Linear(8, 64)

    def forward(self, images: Tensor) -> Tensor:
        mean, width = self.encoder(images.flatten(1)).chunk(2, dim=1)
        code = mean + 0.1 * width.tanh() * (torch.randn_like(mean) if self.training else 0.0)
        outputs: Tensor = torch.tanh(self.decoder(code))
        return outputs


@own()
def autoencoder(seed: int) -> Problem:
    def split(part: Split) -> Split:
        return Split(part.inputs, part.inputs.flatten(1))

    parts = [split(each) for each in bundled.digits()]
    return Problem(Autoencoder(), *parts, functional.mse_loss, no_metrics, batch_size=32, seed=seed)


class Graph(nn.Module):
    """A graph convolution; inputs are nodes, and the graph is a buffer."""

    adjacency: Tensor
    features: Tensor

    def __init__(self, features: Tensor, nearest: int = 5) -> None:
        super().__init__()
        near = torch.cdist(features, features).topk(nearest, largest=False).indices
        adjacency = torch.zeros(len(features), len(features)).scatter_(1, near, 1 / nearest)
        self.register_buffer("adjacency", adjacency)
        self.register_buffer("features", features)
        self.first, self.second = nn.Linear(features.shape[1], 16), nn.Linear(16, 3)

    def forward(self, nodes: Tensor) -> Tensor:
        hidden = torch.relu(self.adjacency @ self.first(self.features))
        outputs: Tensor = (self.adjacency @ self.second(hidden))[nodes]
        return outputs


@own()
def graph(seed: int) -> Problem:
    splits = bundled.wine()
    features = torch.cat([each.inputs for each in splits])
    places = torch.arange(len(features)).split([len(each) for each in splits])
    parts = [Split(rows, each.targets) for rows, each in zip(places, splits, strict=True)]
    return Problem(Graph(features), *parts, functional.cross_entropy, accuracy, batch_size=32, seed=seed)


@own()
def normed(seed: int) -> Problem:
    """Batch norm after a layer without a bias, and dropout."""
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)),
        nn.Linear(16, 10),
    )
    return digits_problem(model, seed)


@own()
def biased(seed: int) -> Problem:
    """Batch norm after a layer with a bias, whose gradient is nothing but rounding."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    return digits_problem(model, seed)


@own()
def own_splits(seed: int) -> Problem:
    """Other rows for train with every seed."""
    train, *others = bundled.digits()
    rows = torch.randperm(len(train))[:500]
    splits: Splits = (Split(train.inputs[rows], train.targets[rows]), others[0], others[1])
    return Problem(perceptron(), *splits, functional.cross_entropy, accuracy, batch_size=32, seed=seed)


@own()
def masked(seed: int) -> Problem:
    """A loss over what is odd, which is as many rows as the batch has."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        odd = targets % 2 == 1
        return functional.cross_entropy(outputs[odd], targets[odd])

    return digits_problem(perceptron(), seed, loss=loss)


@own()
def unused(seed: int) -> Problem:
    """A layer that nothing comes of, one that is not trained, and first weights that seeds have in common."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    model[1].requires_grad_(False)
    model.register_module("aside", nn.Identity())
    model.aside.register_parameter("more", nn.Parameter(torch.ones(3)))
    return digits_problem(model, seed)


class Counting(nn.Module):
    """A model that is another at every call, which only its own Python knows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(64, 10), 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        outputs: Tensor = self.layer(images.flatten(1)) * (1 + self.calls % 3)
        return outputs


@own()
def counting(seed: int) -> Problem:
    return digits_problem(Counting(), seed)


class Reading(nn.Module):
    """A model that reads numbers off its inputs, which is lost in a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1)) * (1 + float(images.numpy()[0].mean()) ** 2)
        return outputs


@own()
def reading(seed: int) -> Problem:
    return digits_problem(Reading(), seed)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows, self.last = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.rows(images[:, 0])[0][:, -1])
        return outputs


@own()
def recurrent(seed: int) -> Problem:
    return digits_problem(Recurrent(), seed)


class Looking(nn.Module):
    """A model that does one or the other, as its outputs are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1))
        return outputs if outputs.sum() > 0 else -outputs


@own()
def looking(seed: int) -> Problem:
    return digits_problem(Looking(), seed)


class Words(nn.Module):
    """Means of embeddings, of which one stays at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(17, 8, padding_idx=0), nn.Linear(8, 10)

    def forward(self, numbers: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.table(numbers).mean(dim=1))
        return outputs


@own()
def words(seed: int) -> Problem:
    """Pixels as words: their brightness, of 17; 0 is padding."""
    parts = [Split((16 * each.inputs).long().flatten(1), each.targets) for each in bundled.digits()]
    return Problem(Words(), *parts, functional.cross_entropy, accuracy, batch_size=32, seed=seed)
