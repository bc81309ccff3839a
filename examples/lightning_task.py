"""A Lightning module as a task: handwritten digits, and the optimizer chosen too. See docs/own_scripts.md."""

from typing import Any

import lightning
import torch
from own_script import digits
from torch import nn
from torch.utils.data import DataLoader

import lrcontrol as lrc
from lrcontrol.interop import lightning_task


class Digits(lightning.LightningModule):
    """A small convolutional network; its optimizer is the run's."""

    def __init__(self, run: lrc.Run) -> None:
        super().__init__()
        self.run = run
        self.model = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
        )

    def training_step(self, batch: Any, _index: int) -> torch.Tensor:
        """The loss of a batch."""
        inputs, targets = batch
        return nn.functional.cross_entropy(self.model(inputs), targets)

    def validation_step(self, batch: Any, _index: int) -> None:
        """What is logged here is what runs are compared by."""
        inputs, targets = batch
        outputs = self.model(inputs)
        self.log("val_loss", nn.functional.cross_entropy(outputs, targets))
        self.log("accuracy", (outputs.argmax(1) == targets).double().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Without a scheduler: the run sets the rates."""
        return self.run.optimizer(self.parameters())


@lightning_task(metric="val_loss", direction="minimize", full_steps=120, method="adamw:cosine", prepare=digits)
def train(run: lrc.Run) -> tuple[Digits, tuple[DataLoader[Any], DataLoader[Any]]]:
    """The module, and its loaders for training and validation."""
    training, validation = digits()
    return Digits(run), (DataLoader(training, batch_size=64, shuffle=True), DataLoader(validation, batch_size=360))


if __name__ == "__main__":
    found = lrc.select(train, budget="6runs", seed=0)
    print(found.method, found.base_lr, found.record.final)
