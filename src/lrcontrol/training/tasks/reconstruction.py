"""Reconstruction: images from a quarter of their frequencies, as a fast magnetic resonance scan would measure them."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import image_files
from lrcontrol.training.tasks.problem import Problem, Split
from lrcontrol.training.tasks.splits import Splits

__all__ = ["UNet", "build", "cifar10_lines", "lines", "ssim", "zero_filled"]

SIDE = 32  # pixels
CENTRE, DRAWN = (-1, 0, 1), (3, 13, 15, 22, 28)
TRAIN, VALIDATION, TEST = 400, 100, 100  # images of each class
GREY = np.array([0.299, 0.587, 0.114])


def build(task: Task, seed: int) -> Problem:
    """Grey images, shape (1, 32, 32) and range [0, 1], from what is left of them without most of their frequencies."""
    splits = cifar10_lines()
    model = UNet(8)
    return Problem(model, *splits, functional.l1_loss, _ssim, batch_size=task.batch_size, seed=seed, chunk=250)


def _ssim(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return {"ssim": float(ssim(outputs.double(), targets.double()).mean())}


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """How alike images are in structure, one number for each pair, at most 1.

    Args:
        images: shape (n, 1, height, width), of range [0, 1].
        others: the same.
    Source:
        Wang, Bovik, Sheikh, Simoncelli 2004, IEEE Transactions on Image Processing 13(4), equation 13, with even
        windows of 7x7 that lie within the image, as in Zbontar et al. 2018, arXiv:1811.08839, section 5.2.
    """
    side = 7
    mine, theirs = (functional.avg_pool2d(each, side, stride=1) for each in (images, others))
    products = (images * images, others * others, images * others)
    means = (mine * mine, theirs * theirs, mine * theirs)
    sampled = side**2 / (side**2 - 1)  # variances of a sample, as usual with these windows
    my_variance, their_variance, covariance = (
        sampled * (functional.avg_pool2d(product, side, stride=1) - mean)
        for product, mean in zip(products, means, strict=True)
    )
    first, second = 0.01**2, 0.03**2
    above = (2 * mine * theirs + first) * (2 * covariance + second)
    below = (mine * mine + theirs * theirs + first) * (my_variance + their_variance + second)
    return (above / below).mean(dim=(1, 2, 3))


class UNet(nn.Module):
    """A U-Net with instance norm that says what to add to the image it is given.

    Args:
        width: channels of the first two convolutions; twice that at half the size, four times at a quarter.
    Source:
        Zbontar et al. 2018, arXiv:1811.08839, section 5.1.2, after Ronneberger, Fischer, Brox 2015, arXiv:1505.04597;
        every image is brought to mean 0 and deviation 1 and back again.
        Deviates: two times half the size, for images of 32x32; leaky rectifiers as in the authors' later code; what
        comes out is added to the image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([_convolutions(1, width), _convolutions(width, 2 * width)])
        self.bottom = _convolutions(2 * width, 4 * width)
        self.up = nn.ModuleList([_enlarging(4 * width, 2 * width), _enlarging(2 * width, width)])
        self.joined = nn.ModuleList([_convolutions(4 * width, 2 * width), _convolutions(2 * width, width)])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Of shape (n, 1, height, width), both multiples of 4."""
        deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
        deviation = deviation.clamp(min=1e-3)
        now = (images - mean) / deviation
        kept = []
        for down in self.down:
            now = down(now)
            kept.append(now)
            now = functional.avg_pool2d(now, 2)
        now = self.bottom(now)
        for up, joined in zip(self.up, self.joined, strict=True):
            now = joined(torch.cat([up(now), kept.pop()], dim=1))
        outputs: Tensor = images + deviation * self.last(now)
        return outputs


def _normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.LeakyReLU(0.2)]


def _convolutions(before: int, after: int) -> nn.Module:
    """Two of them, 3x3, with instance norm."""
    first, second = (nn.Conv2d(each, after, 3, padding=1, bias=False) for each in (before, after))
    return nn.Sequential(*_normed(first, after), *_normed(second, after))


def _enlarging(before: int, after: int) -> nn.Module:
    """Every pixel becomes 2x2."""
    return nn.Sequential(*_normed(nn.ConvTranspose2d(before, after, 2, stride=2, bias=False), after))


def lines() -> NDArray[np.bool_]:
    """Which of the 32 lines of frequencies are measured, in the order of `np.fft.fft`: 8, the same for all images.

    Three in the centre, and five that were drawn once at random.

    Source:
        Zbontar et al. 2018, arXiv:1811.08839, section 4.9: at an acceleration of 4 the 8 % of lines in the centre, the
        others at random.
    """
    measured = np.zeros(SIDE, bool)
    measured[[*CENTRE, *DRAWN]] = True
    return measured


def zero_filled(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The images, shape (n, 32, 32), with nothing in the lines of frequencies that are not measured.

    Of what then comes out the real part. The images are real, so a line tells what is in its mirror image as well: a
    pair of which one is measured has half its height, and a network can learn to give it back the other half.
    """
    filled: NDArray[np.float64] = np.fft.ifft(np.fft.fft(images) * lines()).real
    return filled


@functools.cache
def cifar10_lines() -> Splits:
    """CIFAR-10 in grey: of every class the first 400 images of the train file for train, the next 100 for validation,
    and the first 100 of the test file for test; images of the train file that are alike to others do not count.
    """
    (first, of_first), (last, of_last) = image_files.cifar10("train"), image_files.cifar10("test")
    own = np.setdiff1d(np.arange(len(first)), image_files.alike())
    return (
        _split(first[_of_each_class(own, of_first, 0, TRAIN)]),
        _split(first[_of_each_class(own, of_first, TRAIN, TRAIN + VALIDATION)]),
        _split(last[_of_each_class(np.arange(len(last)), of_last, 0, TEST)]),
    )


def _of_each_class(rows: NDArray[np.int64], labels: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
    """Of these rows, those that are [start, end) in their class."""
    return np.concatenate([rows[labels[rows] == label][start:end] for label in range(len(image_files.CLASSES))])


def _split(pixels: NDArray[np.uint8]) -> Split:
    """From colours, shape (n, 3, 32, 32), to grey in [0, 1]."""
    images: NDArray[np.float64] = np.einsum("nchw,c->nhw", pixels / 255, GREY)
    inputs, targets = (torch.from_numpy(each[:, None].astype(np.float32)) for each in (zero_filled(images), images))
    return Split(inputs, targets)
