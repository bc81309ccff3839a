"""Tasks on sounds, characters, and images from some of their frequencies."""

import dataclasses
import functools
import gzip
import io
import re
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from contracts.task import TaskContract, splits
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import audio, characters, data, formats, image_files, reconstruction
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build
from lrcontrol.training.tasks.splits import carved
from task_kit import each, with_data

ALL = ["cifar10-unet", "fsdd-cnn", "omniglot-resnet"]
NAMES = [name for name in ALL if data.here(TASKS[name].files)]


@pytest.mark.parametrize("task", each(ALL))
class TestSignals(TaskContract):
    """Every task keeps the contract."""

    def test_an_epoch_visits_each_example_at_most_once_and_with_its_own_target(self, problem: Problem) -> None:
        """As it is in the split: what moves it about in training has its own test."""
        super().test_an_epoch_visits_each_example_at_most_once_and_with_its_own_target(
            dataclasses.replace(problem, augment=None)
        )


def of_any_class(problem: Problem) -> float:
    """All are of one size."""
    counts = problem.test.targets.bincount()
    assert counts.unique().numel() == 1
    return 1 / len(counts)


def of_what_was_measured(problem: Problem) -> float:
    return problem.metrics(problem.test.inputs, problem.test.targets)["ssim"]


NAIVE: dict[str, Callable[[Problem], float]] = {
    "cifar10-unet": of_what_was_measured,
    "fsdd-cnn": of_any_class,
    "omniglot-resnet": of_any_class,
}
"""The test metric without the model: of one class for all, or of the images with nothing for what is missing."""


@pytest.mark.parametrize("task", each(ALL))
def test_the_naive_metric_is_what_the_catalogue_says(task: Task) -> None:
    assert NAIVE[task.name](build(task, 0)) == pytest.approx(task.naive, abs=5e-4)


# What the sounds are.


def tone(pitch: float, seconds: float = 1.0, height: float = 8000) -> np.ndarray:
    """A sine of this many hertz."""
    return np.round(height * np.sin(2 * np.pi * pitch * np.arange(int(8000 * seconds)) / 8000)).astype(np.int16)


@with_data("fsdd-cnn")
def test_digits_are_split_by_take_and_every_digit_and_speaker_is_in_every_split_alike() -> None:
    """Rows are found again by their spectrograms, made anew."""
    train, validation, test = audio.fsdd()
    mean, deviation = fsdd_scale()
    counts: dict[int, np.ndarray] = {part: np.zeros((10, 6), int) for part in range(3)}
    place = {
        row.numpy().tobytes(): (part, int(target))
        for part, split in enumerate((train, validation, test))
        for row, target in zip(split.inputs, split.targets, strict=True)
    }
    for (digit, speaker, take), spectrogram in spectrograms().items():
        row = ((spectrogram - mean[:, None]) / deviation[:, None]).astype(np.float32)
        part, target = place.pop(row.tobytes())
        assert target == digit
        assert (part == 2) == (take < 5)
        counts[part][digit, speaker] += 1
    assert not place
    assert [np.unique(counts[part]).tolist() for part in range(3)] == [[35], [10], [5]]


@functools.cache
def spectrograms() -> dict[tuple[int, int, int], np.ndarray]:
    found = {}
    for member, content in formats.members(audio.FILE, data.read(audio.FILE)):
        digit, speaker, take = member.removeprefix("recordings/").removesuffix(".wav").split("_")
        with wave.open(io.BytesIO(content)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        found[int(digit), audio.SPEAKERS.index(speaker), int(take)] = audio.log_mel(samples)
    return found


def fsdd_scale() -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every band over the train rows."""
    made = np.stack(list(spectrograms().values()))
    digits = np.array([key[0] * 6 + key[1] for key in spectrograms()])
    takes = np.array([key[2] for key in spectrograms()])
    order = np.lexsort((takes, digits))
    rest = np.flatnonzero(takes[order] >= 5)
    train, _ = carved(rest, 600, digits[order])
    rows = made[order][train]
    return rows.mean(axis=(0, 2)), rows.std(axis=(0, 2))


@with_data("fsdd-cnn")
def test_bands_are_scaled_on_train_alone() -> None:
    train, validation, test = (split.inputs.double() for split in audio.fsdd())
    assert train.mean(dim=(0, 1, 3)).abs().max() < 1e-6
    assert (train.std(dim=(0, 1, 3), correction=0) - 1).abs().max() < 1e-6
    for other in (validation, test):
        assert other.mean(dim=(0, 1, 3)).abs().max() > 1e-3, "it would be 0 had its rows been used"


@with_data("fsdd-cnn")
def test_known_recordings_have_their_lengths_and_samples() -> None:
    found = {
        member: audio.wav(member, content)
        for member, content in formats.members(audio.FILE, data.read(audio.FILE))
        if member.endswith(("0_george_0.wav", "6_theo_33.wav"))
    }
    assert [len(samples) for samples in found.values()] == [2384, 2922]
    assert [int(np.abs(samples.astype(int)).max()) for samples in found.values()] == [10_354, 343]


@pytest.mark.parametrize("pitch", [300.0, 1000.0, 2500.0])
def test_a_tone_is_loudest_in_the_band_of_its_pitch_and_silence_is_80_decibels_below(pitch: float) -> None:
    """Against the spectrum of one frame, summed by triangles on the mel scale one by one."""
    found = audio.log_mel(tone(pitch, 0.5))
    assert found.shape == (32, 64)
    assert found.max() == 0
    assert found.min() == -80
    assert (found[:, 33:] == -80).all()
    frame = tone(pitch, 0.5)[128:384] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256))
    power = [abs(sum(frame * np.exp(-2j * np.pi * number * np.arange(256) / 256))) ** 2 for number in range(129)]
    edges = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 34)]
    bands = [
        sum(
            energy * max(0, min((hertz - left) / (peak - left), (right - hertz) / (right - peak)))
            for hertz, energy in zip(np.arange(129) * 31.25, power, strict=True)
        )
        for left, peak, right in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    loudest = int(np.argmax(bands))
    assert edges[loudest] < pitch < edges[loudest + 2]
    decibels = 10 * np.log10(np.array(bands) / max(bands))
    heard = decibels > -60
    np.testing.assert_allclose((found[:, 1] - found[loudest, 1])[heard], decibels[heard], rtol=1e-6, atol=1e-6)


def test_what_is_louder_as_a_whole_or_longer_than_the_frames_makes_no_difference() -> None:
    long = tone(700, 2)
    np.testing.assert_array_equal(audio.log_mel(long), audio.log_mel(long[: 256 + 63 * 128]))
    np.testing.assert_allclose(audio.log_mel(2 * tone(700)), audio.log_mel(tone(700)), rtol=1e-9, atol=1e-9)


# What the characters are.


@with_data("omniglot-resnet")
def test_no_drawer_is_in_two_splits_and_every_character_is_in_all() -> None:
    drawings = characters._drawings()
    train = np.stack([ink for (_, drawer), ink in drawings.items() if drawer <= 12])
    mean, deviation = train.mean(), train.std()
    for split, first, last in zip(characters.omniglot(), (1, 13, 17), (12, 16, 20), strict=True):
        assert split.targets.bincount().tolist() == [last - first + 1] * 136
        known = {
            ((ink - mean) / deviation).astype(np.float32).tobytes(): label
            for (label, drawer), ink in drawings.items()
            if first <= drawer <= last
        }
        found = {row.numpy().tobytes(): int(label) for row, label in zip(split.inputs, split.targets, strict=True)}
        assert found == known


@with_data("omniglot-resnet")
def test_a_known_drawing_is_the_share_of_ink_in_squares_of_three() -> None:
    with zipfile.ZipFile(io.BytesIO(data.read(characters.FILE))) as archive:
        encoded = archive.read("images_background_small1/Early_Aramaic/character03/0253_07.png")
    white = np.asarray(Image.open(io.BytesIO(encoded)))
    found = characters._drawings()[24 + 2, 7]
    assert found.shape == (35, 35)
    for row, column in ((0, 0), (17, 17), (10, 22), (34, 34)):
        square = white[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert found[row, column] == pytest.approx(1 - square.mean())
    assert found.mean() == pytest.approx(1 - white.mean())


def test_drawings_are_moved_each_by_itself_and_by_little() -> None:
    """Against the place of a dot, worked out one by one from the same numbers."""
    drawings = torch.zeros(40, 1, 35, 35)
    drawings[:, :, 10, 25] = 1
    drawn = 2 * torch.rand(5, 40, generator=torch.Generator().manual_seed(6)) - 1
    found = characters.moved(drawings - 0.5, torch.Generator().manual_seed(6)) + 0.5
    places = []
    for (turn, wider, higher, right, down), image in zip(drawn.T.tolist(), found[:, 0].numpy(), strict=True):
        row, column = (np.average(np.arange(35), weights=image.sum(axis=axis)) for axis in (1, 0))
        x, y = (2 * column + 1) / 35 - 1, (2 * row + 1) / 35 - 1
        cosine, sine = np.cos(0.2 * turn), np.sin(0.2 * turn)
        came_from = (
            (1 + 0.12 * wider) * (cosine * x - sine * y) + 0.1 * right,
            (1 + 0.12 * higher) * (sine * x + cosine * y) + 0.1 * down,
        )
        assert came_from == pytest.approx((16 / 35, -14 / 35), abs=0.03)
        places.append((row, column))
    assert np.array(places).std(axis=0).min() > 0.5
    assert np.abs(np.array(places) - (10, 25)).max() < 6
    assert torch.equal(found, characters.moved(drawings - 0.5, torch.Generator().manual_seed(6)) + 0.5)


# What the reconstructions are.


@with_data("cifar10-unet")
def test_targets_are_grey_images_of_each_class_and_inputs_are_made_of_them_alone() -> None:
    parts = zip(splits(build(TASKS["cifar10-unet"], 0)), ("train", "train", "test"), (0, 400, 0), strict=True)
    for split, part, first in parts:
        each_class = len(split) // 10
        pixels, labels = image_files.cifar10(part)  # type: ignore[arg-type]
        own = np.setdiff1d(np.arange(len(labels)), image_files.alike()) if part == "train" else np.arange(len(labels))
        for label, number in ((0, 0), (3, 7), (9, each_class - 1)):
            image = pixels[own[labels[own] == label][first + number]] / 255
            grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
            row = label * each_class + number
            np.testing.assert_allclose(split.targets[row, 0], grey, rtol=1e-6)
            np.testing.assert_allclose(split.inputs[row, 0], reconstruction.zero_filled(grey[None])[0], atol=1e-6)


def test_eight_lines_are_measured_and_the_others_are_gone_but_for_what_their_mirror_images_tell() -> None:
    """Of real images a line and its mirror image hold the same: of a pair that is measured once, half is left."""
    measured = reconstruction.lines()
    assert np.flatnonzero(measured).tolist() == [0, 1, 3, 13, 15, 22, 28, 31]
    images = np.random.default_rng(3).random((4, 32, 32))
    before, after = np.fft.fft2(images), np.fft.fft2(reconstruction.zero_filled(images))
    for line in range(32):
        left = (int(measured[line]) + int(measured[-line])) / 2
        assert left == {0: 1, 1: 1, 31: 1}.get(line, 0.5 if measured[line] or measured[-line] else 0)
        np.testing.assert_allclose(after[:, :, line], left * before[:, :, line], rtol=1e-9, atol=1e-9)


def test_similarity_is_the_papers_formula_window_by_window() -> None:
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(2, 1, 11, 9, generator=generator, dtype=torch.float64)
    others = (images + 0.2 * torch.rand(images.shape, generator=generator, dtype=torch.float64)).clamp(max=1)
    for row in range(2):
        found = []
        for top in range(5):
            for left in range(3):
                x, y = (each[row, 0, top : top + 7, left : left + 7].flatten().numpy() for each in (images, others))
                ((vx, cov), (_, vy)), mx, my = np.cov(x, y), x.mean(), y.mean()
                above = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
                found.append(above / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2)))
        assert float(reconstruction.ssim(images, others)[row]) == pytest.approx(np.mean(found), rel=1e-9)
    torch.testing.assert_close(reconstruction.ssim(images, images), torch.ones(2, dtype=torch.float64))


def test_the_network_follows_the_brightness_and_contrast_of_its_image() -> None:
    torch.manual_seed(5)
    network, images = reconstruction.UNet(4).double(), torch.rand(3, 1, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(network(0.5 * images + 0.25), 0.5 * network(images) + 0.25)
    flat = torch.full((1, 1, 32, 32), 0.3, dtype=torch.float64)
    assert torch.isfinite(network(flat)).all()


# Damaged and odd files.

LOADERS: dict[str, tuple[Any, str]] = {
    "cifar10-unet": (reconstruction.cifar10_lines, "cifar10-jpg/train.tar.gz"),
    "fsdd-cnn": (audio.fsdd, audio.FILE),
    "omniglot-resnet": (characters.omniglot, characters.FILE),
}
"""What loads the data of a task, and the file that is damaged."""


def sounds(**changed: bytes | None) -> bytes:
    """An archive of all recordings, each the same tone, apart from those that are changed or, if None, left out."""
    usual = a_wav()
    held = {
        f"{digit}_{speaker}_{take}": usual for digit in range(10) for speaker in audio.SPEAKERS for take in range(50)
    }
    return tarred(
        {f"recordings/{name}.wav": content for name, content in (held | changed).items() if content is not None}
    )


def tarred(held: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in held.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(target.getvalue(), 1)


def zipped(held: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return target.getvalue()


def a_wav(channels: int = 1, width: int = 2, rate: int = 8000, samples: np.ndarray | None = None) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((tone(440, 0.25) if samples is None else samples).tobytes())
    return target.getvalue()


def a_png(mode: str = "1", size: tuple[int, int] = (105, 105), kind: str = "PNG", ink: bool = True) -> bytes:
    target = io.BytesIO()
    image = Image.new(mode, size, 1 if mode == "1" else 255)
    if ink:
        image.paste(0, (40, 40, 60, 60))
    image.save(target, kind)
    return target.getvalue()


ODD_WAVS: dict[str, tuple[Callable[[], bytes], str]] = {
    "two channels": (lambda: a_wav(channels=2), "2 channels of 16 bits at 8000 a second"),
    "8 bits": (lambda: a_wav(width=1), "1 channels of 8 bits"),
    "32 bits": (lambda: a_wav(width=4), "1 channels of 32 bits"),
    "another rate": (lambda: a_wav(rate=16_000), "at 16000 a second"),
    "no samples": (lambda: a_wav(samples=tone(440, 0)), "are silent"),
    "silence": (lambda: a_wav(samples=np.zeros(99, np.int16)), "are silent"),
    "samples cut off": (lambda: a_wav()[:-101], "should have 2000 samples, and has 1949"),
    "header alone": (lambda: a_wav()[:30], "ends too early"),
    "half a header": (lambda: a_wav()[:9], "not a WAVE file"),
    "nothing": (lambda: b"", "ends too early"),
    "garbage": (lambda: np.random.default_rng(6).bytes(500), "cannot be read"),
    "a compressed kind": (lambda: a_wav()[:20] + b"\x55\0" + a_wav()[22:], "unknown format"),
    "no samples at all in it": (lambda: a_wav()[:36] + b"junk" + a_wav()[40:], "cannot be read"),
}
"""A recording, and what is said of it."""


@pytest.mark.parametrize("case", list(ODD_WAVS))
def test_an_odd_recording_is_one_sentence_that_names_it(case: str) -> None:
    made, said = ODD_WAVS[case]
    with pytest.raises(DataDamaged, match=r"^the data file some/a\.wav cannot be read: [^\n]+\.$") as caught:
        audio.wav("some/a.wav", made())
    assert said in str(caught.value)


ODD_SOUNDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a recording is missing": (lambda: sounds(**{"3_theo_7": None}), "must hold 50 takes"),
    "a recording is odd": (lambda: sounds(**{"3_theo_7": a_wav(rate=1)}), r"\(recordings/3_theo_7.wav\)"),
    "a take too many": (lambda: sounds(**{"3_theo_50": a_wav()}), "must hold 50 takes"),
    "another take instead": (lambda: sounds(**{"3_theo_7": None, "3_theo_51": a_wav()}), "must hold 50 takes"),
    "another speaker instead": (lambda: sounds(**{"3_theo_7": None, "3_anna_7": a_wav()}), "must hold 50 takes"),
    "no digit": (lambda: sounds(**{"3_theo_7": None, "x_theo_7": a_wav()}), "must hold 50 takes"),
    "no recordings": (lambda: tarred({"readme": b"sounds"}), "must hold 50 takes"),
}
"""An archive of recordings, and what is said of it."""


@pytest.mark.parametrize("case", list(ODD_SOUNDS))
def test_an_odd_archive_of_recordings_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = ODD_SOUNDS[case]
    monkeypatch.setattr(data, "read", lambda _: made())
    with pytest.raises(DataDamaged, match=rf"^the data file {audio.FILE}[^\n]*{said}[^\n]*\.$"):
        audio._recordings()


ODD_PNGS: dict[str, tuple[Callable[[], bytes], str]] = {
    "grey": (lambda: a_png(mode="L"), "of kind L"),
    "in colour": (lambda: a_png(mode="RGB"), "of kind RGB"),
    "another size": (lambda: a_png(size=(105, 104)), "size (105, 104)"),
    "another format": (lambda: a_png(mode="L", kind="JPEG"), "cannot identify"),
    "no ink": (lambda: a_png(ink=False), "no ink"),
    "cut off": (lambda: a_png()[:-30], "cannot be read"),
    "a header alone": (lambda: a_png()[:33], "cannot be read"),
    "one bit": (lambda: a_png()[:20] + bytes([a_png()[20] ^ 1]) + a_png()[21:], "cannot be read"),
    "nothing": (lambda: b"", "cannot be read"),
    "garbage": (lambda: np.random.default_rng(7).bytes(500), "cannot be read"),
}
"""A drawing, and what is said of it."""


@pytest.mark.parametrize("case", list(ODD_PNGS))
def test_an_odd_drawing_is_one_sentence_that_names_it(case: str) -> None:
    made, said = ODD_PNGS[case]
    with pytest.raises(DataDamaged, match=r"^the data file some/a\.png cannot be read: [^\n]+\.$") as caught:
        characters.png("some/a.png", made())
    assert said in str(caught.value)


def drawings(**changed: bytes | None) -> bytes:
    """An archive of all drawings, each the same, apart from those that are changed or, if None, left out."""
    usual = a_png()
    held = {
        f"{alphabet}/character{number + 1:02d}/0001_{drawer + 1:02d}": usual
        for alphabet, count in characters.ALPHABETS.items()
        for number in range(count)
        for drawer in range(20)
    }
    kept = {name: content for name, content in (held | changed).items() if content is not None}
    return zipped({f"images_background_small1/{name}.png": content for name, content in kept.items()})


ONE = "Greek/character24/0001_20"
ODD_DRAWINGS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a drawing is missing": (lambda: drawings(**{ONE: None}), "must hold 136 characters by 20 drawers, got 2719"),
    "a drawing is odd": (lambda: drawings(**{ONE: a_png(mode="L")}), rf"\(images_background_small1/{ONE}.png\)"),
    "another alphabet": (lambda: drawings(**{ONE: None, "Tengwar/character01/0001_01": a_png()}), "got 2719"),
    "a character too many": (lambda: drawings(**{ONE: None, "Greek/character25/0001_20": a_png()}), "got 2719"),
    "a drawer too many": (lambda: drawings(**{ONE: None, "Greek/character24/0001_21": a_png()}), "got 2719"),
    "no drawings": (lambda: zipped({"readme": b"drawings"}), "got 0"),
}
"""An archive of drawings, and what is said of it."""


@pytest.mark.parametrize("case", list(ODD_DRAWINGS))
def test_an_odd_archive_of_drawings_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = ODD_DRAWINGS[case]
    monkeypatch.setattr(data, "read", lambda _: made())
    with pytest.raises(DataDamaged, match=rf"^the data file {characters.FILE}[^\n]*{said}[^\n]*\.$"):
        characters._drawings()


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "truncated": content[: len(content) // 2],
        "garbage": np.random.default_rng(5).bytes(len(content)),
        "one bit": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "empty": b"",
        "another format": b'{"rows": [1, 2, 3]}\n',
    }


@pytest.mark.parametrize("case", ["truncated", "garbage", "one bit", "empty", "another format"])
@pytest.mark.parametrize("task", each(list(LOADERS)))
def test_a_damaged_file_is_told_by_its_checksum(
    task: Task, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, file = LOADERS[task.name]
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(damaged(data.read(file))[case])
    monkeypatch.setenv(data.FOLDER, str(tmp_path))
    image_files.cifar10.cache_clear()
    with pytest.raises(DataDamaged, match=rf"^the data file [^\n]*{file} must have SHA-256 [^\n]+\.$"):
        loader.__wrapped__()


@pytest.mark.parametrize("case", ["truncated", "garbage", "empty", "another format"])
@pytest.mark.parametrize("task", each(["fsdd-cnn", "omniglot-resnet"]))
def test_a_damaged_file_with_the_known_checksum_is_told_by_what_is_in_it(
    task: Task, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, file = LOADERS[task.name]
    content = damaged(data.read(file))[case]
    monkeypatch.setattr(data, "read", lambda _: content)
    with pytest.raises(DataDamaged, match=rf"^the data file {re.escape(file)} [^\n]+\.$"):
        loader.__wrapped__()
