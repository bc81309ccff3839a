"""A training script of your own: handwritten digits, with a loop as anybody writes it. See docs/own_scripts.md."""

import functools

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrcontrol as lrc


@functools.cache  # loaded once, for all runs
def digits() -> list[TensorDataset]:
    """Train and validation: 80 and 20 % of 1797 pictures of 8 by 8 points."""
    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, validation = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    return [TensorDataset(inputs[rows], targets[rows]) for rows in (train, validation)]


@lrc.task(metric="val_loss", direction="minimize", full_steps=300, base_lr=0.05, prepare=digits)
def train(run: lrc.Run) -> None:
    """An MLP. The seed is set before this is called: first weights and the order of the data follow from it."""
    training, validation = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    run.steer(optimizer)

    while not run.should_stop:
        for inputs, targets in DataLoader(training, batch_size=64, shuffle=True):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log_loss(loss)
            if run.should_stop:
                break
        inputs, targets = validation.tensors
        with torch.no_grad():
            outputs = model(inputs)
            run.log(
                val_loss=nn.functional.cross_entropy(outputs, targets),
                accuracy=(outputs.argmax(1) == targets).double().mean(),
            )
    run.save({"model": model.state_dict()})


if __name__ == "__main__":
    found = lrc.select(train, budget="6runs", seed=0)
    print(found.method, found.base_lr, found.record.final)
