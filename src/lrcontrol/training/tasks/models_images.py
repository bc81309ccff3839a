"""Models of images: they read bytes, shape (rows, channels, height, width), and scale them themselves."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.training.tasks.models_language import Block

__all__ = ["DenseNet", "Pixels", "Residual", "VisionTransformer", "convolutions", "perceptron"]

Norm = Callable[[int], nn.Module]
"""A normalisation of so many channels."""


class Pixels(nn.Module):
    """Bytes to floats with mean 0 and deviation 1, channel by channel.

    Args:
        train: images whose mean and deviation these are, uint8, shape (n, channels, height, width).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, train: Tensor) -> None:
        super().__init__()
        counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in train.unbind(dim=1)]).double()
        values, share = torch.arange(256).double(), counts / counts.sum(dim=1, keepdim=True)
        mean = share @ values
        deviation = (share @ values.square() - mean.square()).sqrt()
        self.register_buffer("mean", mean.float()[:, None, None], persistent=False)
        self.register_buffer("deviation", deviation.float()[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """float32, shape of `images`, channels last in memory where there are several: convolutions are faster so."""
        scaled = (images.float() - self.mean) / self.deviation
        return scaled.contiguous(memory_format=torch.channels_last) if images.shape[1] > 1 else scaled


def perceptron(train: Tensor, hidden: int) -> nn.Module:
    """A hidden layer of ReLUs on all pixels, and ten classes.

    Source:
        LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11), section III.C (300 hidden units).
        Deviates: ReLU and cross-entropy.
    """
    return nn.Sequential(
        Pixels(train), nn.Flatten(), nn.Linear(train[0].numel(), hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


def convolutions(train: Tensor, widths: tuple[int, int]) -> nn.Module:
    """Two convolutions of 5x5, each with batch norm and pooling, a hidden layer of 64, and ten classes.

    Source:
        LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11), section II.B (LeNet-5).
        Deviates: widths, batch norm, ReLU, pooling of the largest, one hidden layer, cross-entropy.
    """
    first, second = widths
    model = nn.Sequential(
        Pixels(train),
        *(nn.Conv2d(1, first, 5, padding=2, bias=False), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 5, bias=False), nn.BatchNorm2d(second), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(25 * second, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    _lay_out(model)
    return model


class Residual(nn.Module):
    """A residual network of three stages; each halves the size of the maps and doubles their number.

    Args:
        train: images that pixels are scaled by.
        width: of the first stage.
        depth: residual blocks in a stage; the network has 6 * depth + 2 layers.
        norm: of the maps.
    Source:
        He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 4.2 (shortcuts without parameters; first values of
        He et al. 2015, arXiv:1502.01852).
    """

    def __init__(self, train: Tensor, *, width: int, depth: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.first = nn.Sequential(Pixels(train), _convolution(train.shape[1], width), norm(width), nn.ReLU())
        widths = [width] * (depth + 1) + [2 * width] * depth + [4 * width] * depth
        self.blocks = nn.Sequential(*(_ResidualBlock(*pair, norm) for pair in itertools.pairwise(widths)))
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))
        _begin(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (rows, 10)."""
        logits: Tensor = self.last(self.blocks(self.first(images)))
        return logits


class _ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which skips every second pixel and adds empty maps where they halve."""

    def __init__(self, before: int, after: int, norm: Norm) -> None:
        super().__init__()
        self.stride, self.added = (2, after - before) if after > before else (1, 0)
        self.layers = nn.Sequential(
            *(_convolution(before, after, stride=self.stride), norm(after), nn.ReLU()),
            *(_convolution(after, after), norm(after)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps
        if self.added:
            shortcut = functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))
        return functional.relu(self.layers(maps) + shortcut)


class DenseNet(nn.Module):
    """Blocks whose every layer adds `growth` maps to all before it, with bottlenecks and compression between blocks.

    Args:
        train: images that pixels are scaled by.
        layers: of each block.
        growth: maps that a layer adds.
    Source:
        Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993, section 3 (DenseNet-BC).
    """

    def __init__(self, train: Tensor, *, layers: Sequence[int], growth: int) -> None:
        super().__init__()
        width = 2 * growth
        parts: list[nn.Module] = [Pixels(train), _convolution(train.shape[1], width)]
        for index, count in enumerate(layers):
            if index:
                parts += [_normed(width, width // 2, 1), nn.AvgPool2d(2)]
                width //= 2
            for _ in range(count):
                parts.append(_DenseLayer(width, growth))
                width += growth
        last = [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
        self.parts = nn.Sequential(*parts, *last)
        _begin(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (rows, 10)."""
        logits: Tensor = self.parts(images)
        return logits


class _DenseLayer(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_normed(width, 4 * growth, 1), _normed(4 * growth, growth, 3))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.layers(maps)], dim=1)


class VisionTransformer(nn.Module):
    """A transformer over square patches and their places; the mean of what it makes of them is classified.

    Args:
        train: images that pixels are scaled by.
        patch: pixels of a patch's side.
        width: of the embeddings.
        layers: how many.
        heads: of each attention.
    Source:
        Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1; the mean instead of a class token as in
        Beyer, Zhai, Kolesnikov 2022, arXiv:2205.01580.
    """

    def __init__(self, train: Tensor, *, patch: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        channels, height, across = train.shape[1:]
        self.patches = nn.Sequential(Pixels(train), nn.Conv2d(channels, width, patch, stride=patch))
        self.places = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (across // patch), width))
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (rows, 10)."""
        seen = self.blocks(self.patches(images).flatten(2).transpose(1, 2) + self.places)
        logits: Tensor = self.last(self.norm(seen).mean(dim=1))
        return logits


def _convolution(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)


def _normed(before: int, after: int, size: int) -> nn.Sequential:
    """Batch norm, ReLU and a convolution, in this order."""
    return nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(), _convolution(before, after, size))


def _begin(model: nn.Module) -> None:
    """Convolutions begin normal, with variance 2 over what they read."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    _lay_out(model)


def _lay_out(model: nn.Module) -> None:
    """Weights with channels last in memory, as their inputs are: up to twice as fast on a CPU."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
