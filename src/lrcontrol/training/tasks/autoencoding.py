"""Autoencoding: a variational autoencoder on digits in black and white."""

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import image_files, images
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits

__all__ = ["Autoencoder", "build", "in_black_and_white"]

PIXELS = 28 * 28
HIDDEN, CODE = 400, 20
NOISE_SEED = 7_919_503  # of the noise of evaluation; no run is seeded so
DRAWS = 4096  # of the noise in evaluation


def build(task: Task, seed: int) -> Problem:
    """The model's outputs are the two terms of the bound, in nats an image; the targets, digits, are not looked at."""
    splits = in_black_and_white()
    return Problem(Autoencoder(), *splits, _loss, _metrics, batch_size=task.batch_size, seed=seed, chunk=1000)


class Autoencoder(nn.Module):
    """A Gaussian code of an image, drawn once, and a Bernoulli for each pixel given the code.

    In training the noise comes from torch's default generator. In evaluation it is a fixed table's row that the
    image itself picks, so that the bound is still an unbiased draw, and the same wherever and whenever it is taken.

    Source:
        Kingma, Welling 2014, arXiv:1312.6114, sections 2.3, 2.4 and appendices B and C.
        Deviates: 400 hidden ReLUs instead of 500 tanh.
    """

    noise: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * CODE))
        self.decoder = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
        noise = torch.randn(DRAWS, CODE, generator=torch.Generator().manual_seed(NOISE_SEED))
        self.register_buffer("noise", noise, persistent=False)
        self.register_buffer("places", torch.arange(float(PIXELS)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Shape (rows, 2): nats lost in reconstruction, and the divergence of the code from its prior; >= 0."""
        pixels = images.flatten(1).float()
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        code = mean + torch.exp(log_variance / 2) * self._drawn(pixels, mean)
        logits = self.decoder(code)
        lost = functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(dim=1)
        divergence = (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1) / 2
        return torch.stack([lost, divergence], dim=1)

    def _drawn(self, pixels: Tensor, mean: Tensor) -> Tensor:
        if self.training:
            return torch.randn_like(mean)
        picked = (pixels @ self.places).long() % DRAWS  # whole numbers below 2**24: exact in any order
        return self.noise[picked]


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The negative evidence lower bound, nats an image."""
    del targets
    return outputs.sum(dim=1).mean()


def _metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    del targets
    return {"negative_elbo": float(outputs.double().sum(dim=1).mean())}


@functools.cache
def in_black_and_white() -> Splits:
    """Zeros and ones as bytes, shape (n, 1, 28, 28): each pixel was drawn once, white as often as it is bright.

    Source:
        Salakhutdinov, Murray 2008, ICML, section 6 (pixels drawn once, in proportion to their brightness).
        Deviates: the draws are our own.
    """
    parts = [image_files.mnist(part) for part in ("train", "test")]
    grey, labels = (np.concatenate(both) for both in zip(*parts, strict=True))
    thresholds = np.random.default_rng(0).integers(0, 255, size=grey.shape, dtype=np.uint8)
    return images.of_bytes((grey > thresholds).astype(np.uint8)[:, None], labels, images.mnist_rows())
