"""A range test on a model of your own, in the midst of its training, which goes on as if there had been none."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrcontrol as lrc


def digits() -> TensorDataset:
    """1797 pictures of 8 by 8 points."""
    images, labels = load_digits(return_X_y=True)
    return TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader) -> None:
    """One pass over the data."""
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(digits(), batch_size=64, shuffle=True)

    train(model, optimizer, loader)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = lrc.range_test(model, optimizer, loader, nn.functional.cross_entropy, low=1e-5, confirm=60)
    print(found)
    print(found.reason)
    if found.confirmation is not None:
        print(found.confirmation.sentence)
    print("as it was:", all(torch.equal(value, before[name]) for name, value in model.state_dict().items()))

    for group in optimizer.param_groups:
        group["lr"] = found.suggestion or group["lr"]
    train(model, optimizer, loader)
