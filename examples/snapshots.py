"""A snapshot ensemble in a loop of your own: handwritten digits, five cycles, five models for the cost of one.

Run it twice: the second run finds the snapshots of the first, as a run would that was killed. See docs/cycles.md.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import lrcontrol as lrc

STEPS, CYCLES, BATCH = 1000, 5, 32


def digits() -> list[torch.Tensor]:
    """Inputs of train, validation and test, and their targets."""
    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, rest = train_test_split(range(len(labels)), test_size=0.4, stratify=labels, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    return [part[rows] for part in (inputs, targets) for rows in (train, validation, test)]


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of right answers."""
    return float((outputs.argmax(dim=1) == targets).double().mean())


def main(folder: Path) -> None:
    """Train, choose members on validation, and tell what they come to on test."""
    torch.manual_seed(0)
    train, validation, test, train_labels, validation_labels, test_labels = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    schedule = lrc.snapshot(CYCLES)
    scheduler = lrc.as_torch_scheduler(optimizer, schedule, STEPS)
    ensemble = lrc.snapshots(model, schedule, STEPS, folder=folder)

    for _ in range(STEPS):
        rows = torch.randint(len(train), (BATCH,))
        loss = nn.functional.cross_entropy(model(train[rows]), train_labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        ensemble.step(scheduler.last_epoch)

    members = ensemble.select([(validation, validation_labels)], nn.functional.cross_entropy)
    print(f"members: the models after {', '.join(map(str, members))} of {STEPS} updates")
    model.eval()
    with torch.no_grad():
        print(f"test accuracy of the last model alone {accuracy(model(test), test_labels):.4f}")
    print(f"test accuracy of the ensemble         {accuracy(ensemble.predict(test), test_labels):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "lrcontrol-out/snapshots"))
