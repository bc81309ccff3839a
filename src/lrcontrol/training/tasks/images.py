"""Image classification: digits from MLPs and CNNs, photographs from residual and dense networks and a transformer."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import bundled, image_files
from lrcontrol.training.tasks import models_images as models
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem, Split
from lrcontrol.training.tasks.splits import Rows, Splits, carved

__all__ = ["build", "cifar10", "cifar10_small", "flipped_and_cropped", "mnist", "mnist_rows", "of_bytes"]

CHUNK = 500  # rows evaluated at once
MARGIN = 4  # pixels that a crop may move by


def build(task: Task, seed: int) -> Problem:
    """The model of the task's name on its images; inputs of MNIST and CIFAR-10 are bytes, which the model scales."""
    made = _MADE[task.name]
    train, validation, test = made.data()
    return Problem(
        made.network(train.inputs),
        train,
        validation,
        test,
        functional.cross_entropy,
        accuracy,
        batch_size=task.batch_size,
        seed=seed,
        chunk=made.chunk,
        augment=made.augment,
    )


def flipped_and_cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image mirrored or not, then moved by up to 4 pixels each way; what moves in is black.

    Source:
        He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 4.2.
    """
    rows = len(images)
    device = images.device
    mirrored = (torch.rand(rows, generator=generator) < 0.5).to(device)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, (MARGIN,) * 4)
    top, left = torch.randint(0, 2 * MARGIN + 1, (2, rows), generator=generator).to(device)
    image, channel, row, column = (torch.arange(most, device=device) for most in images.shape)
    down = (top[:, None] + row)[:, None, :, None]
    along = (left[:, None] + column)[:, None, None, :]
    return padded[image[:, None, None, None], channel[:, None, None], down, along]


def mnist_rows() -> Rows:
    """Validation is 10,000 of the train file, stratified; test is the test file, whose rows come after train's."""
    labels = image_files.mnist("train")[1]
    train, validation = carved(np.arange(len(labels)), 10_000, labels)
    return train, validation, np.arange(len(labels), len(labels) + 10_000)


@functools.cache
def mnist() -> Splits:
    """Bytes of shape (n, 1, 28, 28), ink is white; targets are the ten digits."""
    parts = [image_files.mnist(part) for part in ("train", "test")]
    images, labels = (np.concatenate(both) for both in zip(*parts, strict=True))
    return of_bytes(images[:, None], labels, mnist_rows())


@functools.cache
def cifar10() -> Splits:
    """Bytes of shape (n, 3, 32, 32); targets are the ten classes. Validation is 5000 of the train file, stratified.

    An image of the train file that nearly equals one of the test file, or one before it, is in no split.
    """
    rest, labels = _distinct_photographs()
    return _photographs(*carved(rest, 5000, labels), shrink=1)


@functools.cache
def cifar10_small() -> Splits:
    """Bytes of shape (n, 3, 16, 16), the means of 2x2 pixels: 20,000 images for train and 2500 for validation.

    They are stratified; test is the whole test file. Near doubles are left out as in `cifar10`.
    """
    rest, labels = _distinct_photographs()
    chosen, _ = carved(rest, len(rest) - 22_500, labels)
    return _photographs(*carved(chosen, 2500, labels), shrink=2)


def of_bytes(images: NDArray[np.uint8], labels: NDArray[np.int64], rows: Rows) -> Splits:
    """The three splits as tensors; the images stay bytes."""
    train, validation, test = (Split(torch.from_numpy(images[part]), torch.from_numpy(labels[part])) for part in rows)
    return train, validation, test


def _distinct_photographs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of CIFAR-10's train file that are no near doubles, and the classes of all of its rows."""
    labels = image_files.cifar10("train")[1]
    return np.setdiff1d(np.arange(len(labels)), image_files.alike()), labels


def _photographs(train: NDArray[np.int64], validation: NDArray[np.int64], *, shrink: int) -> Splits:
    """These rows of CIFAR-10's train file, and its test file, each side `shrink` times shorter."""
    images, labels = image_files.cifar10("train")
    tested, tested_labels = image_files.cifar10("test")
    kept = np.concatenate([train, validation])
    rows = np.split(np.arange(len(kept) + len(tested)), [len(train), len(kept)])
    every = np.concatenate([_smaller(images[kept], shrink), _smaller(tested, shrink)])
    return of_bytes(every, np.concatenate([labels[kept], tested_labels]), (rows[0], rows[1], rows[2]))


def _smaller(images: NDArray[np.uint8], shrink: int) -> NDArray[np.uint8]:
    """Means over squares of pixels, rounded to the nearest, halves up."""
    if shrink == 1:
        return images
    rows, channels, height, width = images.shape
    squares = images.reshape(rows, channels, height // shrink, shrink, width // shrink, shrink)
    area = shrink * shrink
    smaller: NDArray[np.uint8] = ((squares.sum(axis=(3, 5), dtype=np.uint16) + area // 2) // area).astype(np.uint8)
    return smaller


def _digits_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def _digits_cnn() -> nn.Module:
    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class _Made(NamedTuple):
    """What a task is built of; the network is made for the inputs of train."""

    data: Callable[[], Splits]
    network: Callable[[Tensor], nn.Module]
    chunk: int | None = CHUNK
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None


_group_norm = functools.partial(nn.GroupNorm, 4)

_MADE: dict[str, _Made] = {
    "cifar10-densenet": _Made(cifar10_small, functools.partial(models.DenseNet, layers=(2, 2, 2), growth=8)),
    "cifar10-densenet121": _Made(
        cifar10, functools.partial(models.DenseNet, layers=(6, 12, 24, 16), growth=12), augment=flipped_and_cropped
    ),
    "cifar10-resnet8": _Made(cifar10_small, functools.partial(models.Residual, width=16, depth=1)),
    "cifar10-resnet8-groups": _Made(
        cifar10_small, functools.partial(models.Residual, width=16, depth=1, norm=_group_norm)
    ),
    "cifar10-resnet20": _Made(
        cifar10, functools.partial(models.Residual, width=16, depth=3), augment=flipped_and_cropped
    ),
    "cifar10-vit": _Made(
        cifar10_small, functools.partial(models.VisionTransformer, patch=4, width=64, layers=2, heads=4)
    ),
    "digits-cnn": _Made(bundled.digits, lambda _: _digits_cnn(), chunk=None),
    "digits-mlp": _Made(bundled.digits, lambda _: _digits_mlp(), chunk=None),
    "mnist-cnn": _Made(mnist, functools.partial(models.convolutions, widths=(8, 16))),
    "mnist-mlp": _Made(mnist, functools.partial(models.perceptron, hidden=300)),
}
