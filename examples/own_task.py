"""A task of your own: three kinds of wine from 13 measurements. See docs/own_tasks.md."""

import functools

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn

import lrcontrol as lrc


@functools.cache  # loaded once, for all runs
def splits() -> list[lrc.Split]:
    """Train, validation and test: 60, 20 and 20 %, scaled by what train says."""
    features, labels = load_wine(return_X_y=True)
    inputs, targets = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    train, rest = train_test_split(range(len(labels)), test_size=0.4, stratify=labels, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    inputs = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
    return [lrc.Split(inputs[rows], targets[rows]) for rows in (train, validation, test)]


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """The share of rows whose largest output is the target's."""
    return {"accuracy": float((outputs.argmax(1) == targets).double().mean())}


@lrc.as_task(metric="accuracy", direction="maximize", full_steps=120)
def wine(seed: int) -> lrc.Problem:
    """A small MLP; its first weights follow from the seed, which is set before this is called."""
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return lrc.Problem(model, *splits(), nn.functional.cross_entropy, accuracy, batch_size=16, seed=seed)


if __name__ == "__main__":
    found = lrc.select(wine, budget="6runs", seed=0)
    print(found.method, found.base_lr, found.test)
