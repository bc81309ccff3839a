"""Handwritten characters: which of 136 it is, in the hand of drawers that train has not seen."""

import functools
import io
import re

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, tensors

__all__ = ["Residual", "build", "moved", "omniglot", "png", "residual_network"]

FILE = "omniglot-small1/images_background_small1.zip"
ALPHABETS = {"Balinese": 24, "Early_Aramaic": 22, "Greek": 24, "Korean": 40, "Latin": 26}
CHARACTERS = sum(ALPHABETS.values())
DRAWERS = 20
SIDE, BLOCK = 105, 3  # pixels of a drawing, and how many become one


def build(task: Task, seed: int) -> Problem:
    """Drawings of shape (1, 35, 35)."""
    splits = omniglot()
    return Problem(
        residual_network(),
        *splits,
        functional.cross_entropy,
        accuracy,
        batch_size=task.batch_size,
        seed=seed,
        augment=moved,
    )


def moved(drawings: Tensor, generator: torch.Generator) -> Tensor:
    """Each drawing turned by up to 0.2 radians, stretched by up to 12 % each way, shifted by up to 5 % of its side.

    Args:
        drawings: shape (n, 1, height, width); what comes in from beyond them is as their lightest pixel.
        generator: of all that is drawn, evenly, for each drawing by itself.
    """
    drawn = torch.rand(5, len(drawings), generator=generator).to(drawings.device)
    angle, wider, higher, right, down = (2 * drawn - 1).unbind()
    cosine, sine = torch.cos(0.2 * angle), torch.sin(0.2 * angle)
    wider, higher = 1 + 0.12 * wider, 1 + 0.12 * higher
    rows = (
        torch.stack([wider * cosine, -wider * sine, 0.1 * right], dim=1),
        torch.stack([higher * sine, higher * cosine, 0.1 * down], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(drawings.shape), align_corners=False)
    lightest = drawings.min()
    return functional.grid_sample(drawings - lightest, grid, align_corners=False) + lightest


class Residual(nn.Module):
    """Two convolutions with group norm beside a way past them.

    Args:
        before: channels that go in.
        after: channels that come out, a multiple of 8.
        stride: of the first convolution, and of the way past.
    Source:
        He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 3; Wu, He 2018, arXiv:1803.08494, for the norm.
        Deviates: the groups are of 8 channels, for layers that have 64 at most.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.GroupNorm(after // 8, after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.GroupNorm(after // 8, after),
        )
        self.past: nn.Module = nn.Identity()
        if before != after or stride != 1:
            convolution = nn.Conv2d(before, after, 1, stride, bias=False)
            self.past = nn.Sequential(convolution, nn.GroupNorm(after // 8, after))

    def forward(self, images: Tensor) -> Tensor:
        """From (n, before, height, width) to (n, after, height/stride, width/stride)."""
        return functional.relu(self.past(images) + self.change(images))


def residual_network() -> nn.Module:
    """A convolution that halves the drawing, three residual blocks, their means in 3x3 places, and a layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(2, 16),
        nn.ReLU(),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, CHARACTERS),
    )


@functools.cache
def omniglot() -> Splits:
    """Omniglot's small background set 1: of 20 drawers of every character 12 for train, 4 for validation, 4 for test.

    A pixel is the share of ink in a square of 3x3, scaled by mean and deviation of the train drawings.

    Source:
        Lake, Salakhutdinov, Tenenbaum 2015, Science 350(6266).
        Deviates: it is classification of known characters by unknown drawers, not of new characters from one example.
    """
    drawings = _drawings()
    labels, drawers = (np.array(column, np.int64) for column in zip(*sorted(drawings), strict=True))
    ink = np.stack([drawings[key] for key in sorted(drawings)])
    rows = (
        np.flatnonzero(drawers <= 12),
        np.flatnonzero((drawers > 12) & (drawers <= 16)),
        np.flatnonzero(drawers > 16),
    )
    inputs = (ink - ink[rows[0]].mean()) / ink[rows[0]].std()
    return tensors(inputs[:, None], labels, rows)


def png(name: str, content: bytes) -> NDArray[np.bool_]:
    """Where there is ink in a drawing of 105x105 pixels, which must be in black and white and have some."""

    def reader() -> NDArray[np.bool_]:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if (image.mode, image.size) != ("1", (SIDE, SIDE)):
                raise ValueError(
                    f"it is an image of kind {image.mode} and size {image.size}, not 1 and {(SIDE, SIDE)}"
                )
            ink = ~np.asarray(image)
        if not ink.any():
            raise ValueError("it has no ink")
        return ink

    return formats.told(name, reader)


def _drawings() -> dict[tuple[int, int], NDArray[np.float64]]:
    """The share of ink in every square, shape (35, 35), by character, from 0, and drawer, from 1."""
    first = dict(zip(ALPHABETS, np.cumsum([0, *ALPHABETS.values()]).tolist(), strict=False))
    pattern = re.compile(rf"images_background_small1/({'|'.join(ALPHABETS)})/character(\d\d)/\d{{4}}_(\d\d)\.png")
    found: dict[tuple[int, int], NDArray[np.float64]] = {}
    for member, content in formats.members(FILE, data.read(FILE)):
        match = pattern.fullmatch(member)
        if match and 1 <= int(match[2]) <= ALPHABETS[match[1]] and 1 <= int(match[3]) <= DRAWERS:
            ink = png(f"{FILE} ({member})", content)
            side = SIDE // BLOCK
            shares = ink.reshape(side, BLOCK, side, BLOCK).mean(axis=(1, 3))
            found[first[match[1]] + int(match[2]) - 1, int(match[3])] = shares
    if len(found) != CHARACTERS * DRAWERS:
        raise DataDamaged(
            f"the data file {FILE} must hold {CHARACTERS} characters by {DRAWERS} drawers, got {len(found)} drawings."
        )
    return found
