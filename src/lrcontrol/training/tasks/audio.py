"""Sounds: which digit is spoken, from how loud each pitch is over time."""

import functools
import io
import re
import wave

import numpy as np
import scipy.sparse
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.judging import accuracy
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits, carved, tensors

__all__ = ["build", "fsdd", "log_mel", "network", "wav"]

RATE = 8000  # samples a second
WINDOW, HOP = 256, 128  # samples
BANDS, FRAMES = 32, 64
QUIETEST = -80.0  # decibels below the loudest of a recording
FILE = "fsdd/recordings.tar.gz"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50  # of each digit by each speaker


def build(task: Task, seed: int) -> Problem:
    """Spoken digits as spectrograms of shape (1, bands, frames)."""
    splits = fsdd()
    model = network()
    return Problem(model, *splits, functional.cross_entropy, accuracy, batch_size=task.batch_size, seed=seed)


def network() -> nn.Module:
    """Convolutions with batch norm; each of the first three halves the bands and frames. Their mean, and a layer."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16, 2),
        *block(16, 32, 2),
        *block(32, 64, 2),
        *block(64, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@functools.cache
def fsdd() -> Splits:
    """Free Spoken Digit Dataset: takes 0 to 4 of every digit and speaker for test, 10 of the other 45 for validation.

    The same six speakers are in all three splits. Every band is scaled by its mean and deviation over the frames of
    the train rows.

    Source:
        Jackson et al., github.com/Jakobovski/free-spoken-digit-dataset, README (takes 0 to 4 are the test set).
    """
    sounds = _recordings()
    names = sorted(sounds)
    spectrograms = np.stack([log_mel(sounds[name]) for name in names])
    digits, speakers, takes = (np.array(column, np.int64) for column in zip(*names, strict=True))
    test = np.flatnonzero(takes < 5)
    train, validation = carved(np.flatnonzero(takes >= 5), 600, digits * len(SPEAKERS) + speakers)
    mean, deviation = (of(spectrograms[train], axis=(0, 2)) for of in (np.mean, np.std))
    inputs = (spectrograms - mean[:, None]) / deviation[:, None]
    return tensors(inputs[:, None], digits, (train, validation, test))


def log_mel(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """How loud each band is in each frame, shape (bands, frames), in decibels below the loudest, in [-80, 0].

    Args:
        samples: of a recording, as they come; what is beyond the last frame is cut, what is missing is silence.
    Source:
        Power spectra of Hann windows, summed by triangles that are even on the mel scale of O'Shaughnessy 1987,
        2595 log10(1 + f/700), from 0 to half the rate.
    """
    held = np.zeros(WINDOW + (FRAMES - 1) * HOP)
    cut = samples[: len(held)]
    held[: len(cut)] = cut
    window = np.hanning(WINDOW + 1)[:-1]
    power = np.abs(np.fft.rfft(sliding_window_view(held, WINDOW)[::HOP] * window)) ** 2
    bands: NDArray[np.float64] = _filters() @ power.T
    lowest = 10 ** (QUIETEST / 10)
    result: NDArray[np.float64] = 10 * np.log10(np.maximum(bands / max(bands.max(), 1), lowest))
    return result


@functools.cache
def _filters() -> scipy.sparse.csr_array:
    """The triangles, shape (bands, frequencies); sparse, so that products are the same in any number of threads."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    left, peak, right = (corners[first : first + BANDS, None] for first in range(3))
    frequencies = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rising, falling = (frequencies - left) / (peak - left), (right - frequencies) / (right - peak)
    return scipy.sparse.csr_array(np.maximum(np.minimum(rising, falling), 0))


def wav(name: str, content: bytes) -> NDArray[np.int16]:
    """The samples of a sound file: 16 bits, one channel, 8000 a second; not empty and not all silent."""

    def reader() -> NDArray[np.int16]:
        try:
            with wave.open(io.BytesIO(content)) as file:
                kind = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
                count = file.getnframes()
                raw = file.readframes(count)
        except EOFError:  # which says nothing
            raise ValueError("it ends too early") from None
        if kind != (1, 16, RATE):
            raise ValueError(
                f"it has {kind[0]} channels of {kind[1]} bits at {kind[2]} a second, not 1 of 16 at {RATE}"
            )
        if len(raw) != 2 * count:
            raise ValueError(f"it should have {count} samples, and has {len(raw) // 2}")
        samples = np.frombuffer(raw, "<i2").astype(np.int16)
        if not samples.any():
            raise ValueError("it has no samples, or all are silent")
        return samples

    return formats.told(name, reader)


def _recordings() -> dict[tuple[int, int, int], NDArray[np.int16]]:
    """The samples by digit, speaker and take."""
    pattern = re.compile(rf"recordings/(\d)_({'|'.join(SPEAKERS)})_(0|[1-9]\d?)\.wav")
    found = {}
    for member, content in formats.members(FILE, data.read(FILE)):
        if match := pattern.fullmatch(member):
            digit, speaker, take = int(match[1]), SPEAKERS.index(match[2]), int(match[3])
            found[digit, speaker, take] = wav(f"{FILE} ({member})", content)
    if len(found) != 10 * len(SPEAKERS) * TAKES or max(take for *_, take in found) >= TAKES:
        raise DataDamaged(
            f"the data file {FILE} must hold {TAKES} takes of 10 digits by {len(SPEAKERS)} speakers, "
            f"got {len(found)} recordings, or takes of other numbers."
        )
    return found
