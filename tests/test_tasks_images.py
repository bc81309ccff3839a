"""Tasks on images: the contract, that the defaults learn as they did, and what they hold."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from contracts.task import TaskContract, splits
from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import autoencoding, data, image_files, images
from lrcontrol.training.tasks import models_images as models
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, build
from task_kit import each, with_data

FULL = ["cifar10-densenet121", "cifar10-resnet20"]
"""For a GPU: two updates are tested."""

LARGE = ["cifar10-densenet", "cifar10-resnet8-groups", "cifar10-vit", "mnist-cnn"]
"""Their contract is in test_tasks_images_large.py."""

FAST = ["cifar10-resnet8", "mnist-mlp", "mnist-vae"]
SMALL = [*LARGE, *FAST]
NAMES = [name for name in FAST if data.here(TASKS[name].files)]


@pytest.mark.parametrize("task", each(FAST))
class TestImages(TaskContract):
    """Every task keeps the contract."""


def test_every_task_of_the_family_is_here() -> None:
    of_family = [name for name in TASKS if name.startswith(("mnist-", "cifar10-"))]
    ours = [name for name in of_family if TASKS[name].home.endswith((".images", ".autoencoding"))]
    assert sorted(ours) == sorted(SMALL + FULL)


def of_the_largest_class(problem: Problem) -> float:
    """Of train, on test."""
    return float((problem.test.targets == problem.train.targets.bincount().argmax()).double().mean())


def of_the_train_frequencies(problem: Problem) -> float:
    """Each pixel on its own, white as often as in train, with one added to both counts."""
    train, test = (split.inputs.flatten(1).double() for split in (problem.train, problem.test))
    white = (train.sum(dim=0) + 1) / (len(train) + 2)
    return float(functional.binary_cross_entropy(white.expand_as(test), test) * 784)


@pytest.mark.parametrize(
    "task", [*each(SMALL + FULL), TASKS["digits-cnn"], TASKS["digits-mlp"]], ids=lambda task: task.name
)
def test_the_naive_metric_is_what_it_says(task: Task) -> None:
    naive = of_the_train_frequencies if task.name == "mnist-vae" else of_the_largest_class
    assert task.naive == pytest.approx(naive(build(task, 0)), rel=1e-3)


@pytest.mark.parametrize("task", each(FULL))
def test_two_updates_of_a_full_task_are_finite_and_lower_the_loss_of_their_rows(task: Task) -> None:
    """On four images, mirrored and moved; the batch would take long on a CPU."""
    problem = build(task, 0)
    assert task.size == "full"
    assert tuple(map(len, splits(problem))) == task.sizes
    assert sum(parameter.numel() for parameter in problem.model.parameters()) == task.parameters
    assert problem.augment is images.flipped_and_cropped
    inputs, targets = problem.batches(0, 1)[0]
    assert inputs.shape == (task.batch_size, 3, 32, 32)
    inputs, targets = inputs[:4], targets[:4]
    optimizer = torch.optim.SGD(problem.model.parameters(), 0.01, momentum=0.9)
    losses = []
    for _ in range(3):
        loss = problem.loss(problem.model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert losses[2] < losses[0]


@with_data("mnist-cnn")
def test_mnist_is_the_published_data() -> None:
    train, labels = image_files.mnist("train")
    test, test_labels = image_files.mnist("test")
    assert labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert test_labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert test.shape == (10_000, 28, 28)


@with_data("mnist-cnn")
def test_validation_of_mnist_is_stratified_train_and_test_is_the_test_file() -> None:
    train, validation, test = splits(build(TASKS["mnist-cnn"], 0))
    shares = [split.targets.bincount() / len(split) for split in (train, validation)]
    assert (shares[0] - shares[1]).abs().max() < 1e-4
    assert np.array_equal(test.inputs.numpy()[:, 0], image_files.mnist("test")[0])
    assert np.array_equal(test.targets.numpy(), image_files.mnist("test")[1])
    of_file = {image.tobytes() for image in image_files.mnist("train")[0]}
    assert {image.numpy().tobytes() for image in torch.cat([train.inputs, validation.inputs])} == of_file


@with_data("cifar10-resnet8")
def test_cifar10_is_the_published_data_but_for_what_jpeg_loses() -> None:
    for part, each_class in (("train", 5000), ("test", 1000)):
        pixels, labels = image_files.cifar10(part)  # type: ignore[arg-type]
        assert np.bincount(labels).tolist() == [each_class] * 10
        assert pixels.shape == (10 * each_class, 3, 32, 32)
    pixels = image_files.cifar10("train")[0][::10]
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=0.004)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)) / 255, [0.2470, 0.2435, 0.2616], atol=0.004)
    assert image_files.CLASSES[6] == "frog"


@with_data("cifar10-resnet8")
@pytest.mark.parametrize("name", ["cifar10-resnet8", "cifar10-resnet20"])
def test_splits_of_cifar10_are_stratified_and_hold_no_near_double(name: str) -> None:
    train, validation, test = splits(build(TASKS[name], 0))
    shrink = 32 // train.inputs.shape[-1]
    assert test.targets.bincount().tolist() == [1000] * 10
    for split in (train, validation):
        assert (split.targets.bincount() / len(split) - 0.1).abs().max() < 3e-3

    def reduced(pixels: np.ndarray) -> list[bytes]:
        squares = pixels.reshape(-1, 3, 32 // shrink, shrink, 32 // shrink, shrink)
        return [image.tobytes() for image in np.floor(squares.mean(axis=(3, 5)) + 0.5).astype(np.uint8)]

    used = {image.numpy().tobytes() for split in (train, validation) for image in split.inputs}
    pixels, alike = image_files.cifar10("train")[0], image_files.alike()
    assert len(alike) == 654
    assert not used & set(reduced(pixels[alike]))
    others = np.setdiff1d(np.arange(50_000), alike)[::50]
    found = [image in used for image in reduced(pixels[others])]
    assert np.mean(found) == pytest.approx(len(used) / 49_346, abs=0.05)
    assert [image.numpy().tobytes() for image in test.inputs[::50]] == reduced(image_files.cifar10("test")[0][::50])


@pytest.mark.slow
@with_data("cifar10-resnet8")
def test_the_near_doubles_of_cifar10_are_those_that_are_kept() -> None:
    """Against all pairs: coarse means first, then those of 2x2 pixels; the mean of an image is taken off both."""
    every = np.concatenate([image_files.cifar10("test")[0], image_files.cifar10("train")[0]])

    def described(square: int) -> torch.Tensor:
        side = 32 // square
        means = (
            every.reshape(-1, 3, side, square, side, square).mean(axis=(3, 5), dtype=np.float32).reshape(60_000, -1)
        )
        means -= means.mean(axis=1, keepdims=True)
        return torch.from_numpy(means / np.linalg.norm(means, axis=1, keepdims=True))

    coarse, fine = described(4), described(2)
    found = set()
    for first in range(10_000, 60_000, 1000):
        rows, others = torch.where(coarse[first : first + 1000] @ coarse[: first + 1000].T > 0.93)
        rows, others = (each[others < rows + first] for each in (rows, others))
        close = (fine[rows + first] * fine[others]).sum(dim=1) > 0.94
        found |= set((rows[close] + first - 10_000).tolist())
    assert len(found ^ set(image_files.alike().tolist())) <= 2, "but for rounding"


@with_data("mnist-cnn")
def test_pixels_are_scaled_by_the_train_split_alone() -> None:
    for name in ("mnist-cnn", "mnist-mlp", "cifar10-resnet8", "cifar10-vit", "cifar10-densenet"):
        if not data.here(TASKS[name].files):
            continue
        problem = build(TASKS[name], 0)
        pixels = next(module for module in problem.model.modules() if isinstance(module, models.Pixels))
        train = problem.train.inputs.numpy()
        assert pixels.mean.flatten().numpy() == pytest.approx(train.mean(axis=(0, 2, 3)), rel=1e-5)
        assert pixels.deviation.flatten().numpy() == pytest.approx(train.std(axis=(0, 2, 3)), rel=1e-5)
        scaled = pixels(problem.train.inputs[::10]).double()
        assert abs(float(scaled.mean())) < 0.02
        assert float(scaled.std()) == pytest.approx(1, abs=0.02)
        everyone = np.concatenate([split.inputs.numpy() for split in splits(problem)])
        assert pixels.mean.flatten().numpy() != pytest.approx(everyone.mean(axis=(0, 2, 3)), rel=1e-5)


@with_data("mnist-vae")
def test_black_and_white_digits_are_white_as_often_as_they_are_bright() -> None:
    problem = build(TASKS["mnist-vae"], 0)
    grey = build(TASKS["mnist-cnn"], 0)
    for drawn, bright in zip(splits(problem), splits(grey), strict=True):
        assert torch.equal(drawn.targets, bright.targets)
        ones, pixels = drawn.inputs[::10], bright.inputs[::10]
        assert set(ones.unique().tolist()) == {0, 1}
        assert not ones[pixels == 0].any()
        assert ones[pixels == 255].all()
        middle = (pixels > 100) & (pixels < 155)
        wanted = float(pixels[middle].double().mean()) / 255
        assert float(ones[middle].double().mean()) == pytest.approx(wanted, abs=0.02)


def test_the_bound_is_the_papers_two_terms() -> None:
    """Against torch's own distributions, on the draw that evaluation makes."""
    torch.manual_seed(3)
    model = autoencoding.Autoencoder().eval()
    pixels = (torch.rand(5, 1, 28, 28) < 0.3).byte()
    mean, log_variance = model.encoder(pixels.flatten(1).float()).chunk(2, dim=1)
    places = [sum(place for place, pixel in enumerate(row) if pixel) for row in pixels.flatten(1).tolist()]
    noise = model.noise[[place % autoencoding.DRAWS for place in places]]
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    logits = model.decoder(mean + posterior.stddev * noise)
    lost = -torch.distributions.Bernoulli(logits=logits).log_prob(pixels.flatten(1).float()).sum(dim=1)
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(model(pixels), torch.stack([lost, divergence], dim=1), rtol=1e-5, atol=1e-5)
    assert torch.equal(model(pixels), torch.cat([model(pixels[:2]), model(pixels[2:])])) or torch.allclose(
        model(pixels), torch.cat([model(pixels[:2]), model(pixels[2:])]), rtol=1e-5
    )


def test_training_draws_noise_from_the_default_generator_and_evaluation_draws_none() -> None:
    model = autoencoding.Autoencoder()
    pixels = torch.ones(4, 1, 28, 28, dtype=torch.uint8)
    torch.manual_seed(5)
    first, second = model(pixels), model(pixels)
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(model(pixels), first)
    model.eval()
    state = torch.get_rng_state()
    assert torch.equal(model(pixels), model(pixels))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_table_of_noise_is_standard_normal_and_the_same_for_every_seed() -> None:
    noise = autoencoding.Autoencoder().noise
    assert torch.equal(noise, autoencoding.Autoencoder().noise)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(1, abs=0.01)


def test_mirrored_and_moved_images_are_what_a_loop_makes_of_the_same_draws() -> None:
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (40, 3, 8, 6), dtype=torch.uint8)
    found = images.flipped_and_cropped(pixels, torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(9)
    mirrored = torch.rand(40, generator=generator) < 0.5
    top, left = torch.randint(0, 9, (2, 40), generator=generator)
    assert 0 < int(mirrored.sum()) < 40
    for row, image in enumerate(pixels):
        canvas = torch.zeros(3, 16, 14, dtype=torch.uint8)
        canvas[:, 4:12, 4:10] = image.flip(2) if mirrored[row] else image
        down, along = int(top[row]), int(left[row])
        assert torch.equal(found[row], canvas[:, down : down + 8, along : along + 6])
    assert found.dtype == torch.uint8
    other = images.flipped_and_cropped(pixels, torch.Generator().manual_seed(10))
    assert not torch.equal(other, found)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_residual_network_has_the_papers_layers(depth: int) -> None:
    train = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8)
    model = models.Residual(train, width=16, depth=depth)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6 * depth + 2
    maps = model.blocks(model.first(train[:2]))
    assert maps.shape == (2, 64, 8, 8)
    shortcut = model.blocks[depth]  # the first of the second stage
    values = torch.rand(2, 16, 32, 32)
    for parameter in shortcut.parameters():
        nn.init.zeros_(parameter)
    passed = shortcut(values)
    assert torch.equal(passed[:, :16], values[:, :, ::2, ::2])
    assert not passed[:, 16:].any()


def test_a_dense_layer_keeps_what_was_before_it_and_a_transition_halves_it() -> None:
    train = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8)
    model = models.DenseNet(train, layers=(2, 2, 2), growth=8)
    values, widths = train[:2], []
    for part in model.parts[:11]:
        before, values = values, part(values)
        if isinstance(part, models._DenseLayer):
            assert torch.equal(values[:, : before.shape[1]], before)
        widths.append(tuple(values.shape[1:3]))
    assert widths[1:] == [
        *[(16, 16), (24, 16), (32, 16)],
        *[(16, 16), (16, 8), (24, 8), (32, 8)],
        *[(16, 8), (16, 4), (24, 4)],
    ]


def test_a_vision_transformer_knows_places_by_their_embedding_alone() -> None:
    """Without it, patches in another order are the same; with it, they are not."""
    torch.manual_seed(0)
    train = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8)
    model = models.VisionTransformer(train, patch=4, width=16, layers=2, heads=4).eval()
    swapped = train[:4].roll(4, dims=3)
    assert not torch.allclose(model(swapped), model(train[:4]), rtol=1e-3)
    nn.init.zeros_(model.places)
    torch.testing.assert_close(model(swapped), model(train[:4]), rtol=1e-4, atol=1e-5)


def test_batch_group_and_layer_norm_occur() -> None:
    train = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8)
    for name, kind, other in (
        ("cifar10-resnet8", nn.BatchNorm2d, nn.GroupNorm),
        ("cifar10-resnet8-groups", nn.GroupNorm, nn.BatchNorm2d),
        ("cifar10-vit", nn.LayerNorm, nn.BatchNorm2d),
    ):
        modules = list(images._MADE[name].network(train).modules())
        assert any(isinstance(module, kind) for module in modules)
        assert not any(isinstance(module, other) for module in modules)


MNIST_FILES = TASKS["mnist-cnn"].files


def idx(shape: tuple[int, ...], kind: int = 8, fill: int = 1) -> bytes:
    """A gzipped idx file of equal bytes."""
    head = bytes([0, 0, kind, len(shape)]) + np.array(shape, ">u4").tobytes()
    return gzip.compress(head + bytes([fill]) * int(np.prod(shape)), 1)


ODD_MNIST: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: np.random.default_rng(5).bytes(1000),
    "empty": lambda content: b"",
    "another format": lambda content: b'{"rows": [1, 2, 3]}\n',
    "gzipped text": lambda content: gzip.compress(b"5, 0, 4, 1"),
    "of floats": lambda content: idx((10_000,), kind=13),
    "fewer": lambda content: idx((9_999,)),
    "of rank 2": lambda content: idx((100, 100)),
    "other sizes": lambda content: idx((10_000, 14, 14)),
}


@with_data("mnist-cnn")
@pytest.mark.parametrize("case", ODD_MNIST)
@pytest.mark.parametrize("file", MNIST_FILES[2:], ids=["images", "labels"])
def test_a_damaged_file_of_mnist_is_one_sentence(file: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {each: data.read(each) for each in MNIST_FILES[2:]}
    held[file] = ODD_MNIST[case](held[file])
    monkeypatch.setattr(data, "read", held.__getitem__)
    with pytest.raises(DataDamaged, match=rf"^the data file {file} [^\n]+\.$"):
        image_files.mnist.__wrapped__("test")


@with_data("mnist-cnn")
def test_a_digit_above_nine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {each: data.read(each) for each in MNIST_FILES[2:]}
    held[MNIST_FILES[3]] = idx((10_000,), fill=10)
    monkeypatch.setattr(data, "read", held.__getitem__)
    with pytest.raises(DataDamaged, match="must hold 10000 labels from 0 to 9"):
        image_files.mnist.__wrapped__("test")


def encoded(size: tuple[int, int] = (32, 32), mode: str = "RGB", kind: str = "JPEG", shade: int = 100) -> bytes:
    held = io.BytesIO()
    Image.new(mode, size, (shade, 0, 0) if mode == "RGB" else shade).save(held, kind)
    return held.getvalue()


def archive(images: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz", compresslevel=1) as file:
        for name, content in images.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return held.getvalue()


NUMBERS = [f"test/{label}/{number:04d}.jpg" for label in image_files.CLASSES for number in range(2)]
GOOD = {name: encoded(shade=10 * row) for row, name in enumerate(NUMBERS)}
FIRST = NUMBERS[0]

ODD_CIFAR: dict[str, bytes] = {
    "empty": b"",
    "garbage": np.random.default_rng(5).bytes(1000),
    "another format": b'{"rows": [1, 2, 3]}\n',
    "truncated": archive(GOOD)[:500],
    "no images": archive({}),
    "one fewer": archive({name: GOOD[name] for name in NUMBERS[1:]}),
    "one more": archive(GOOD | {"test/airplane/0002.jpg": encoded()}),
    "another class": archive({name.replace("truck", "tram"): content for name, content in GOOD.items()}),
    "another part": archive({name.replace("test/", "train/"): content for name, content in GOOD.items()}),
    "an empty image": archive(GOOD | {FIRST: b""}),
    "a truncated image": archive(GOOD | {FIRST: GOOD[FIRST][:-40]}),
    "half a header": archive(GOOD | {FIRST: GOOD[FIRST][:30]}),
    "text for an image": archive(GOOD | {FIRST: b"an airplane"}),
    "a png": archive(GOOD | {FIRST: encoded(kind="PNG")}),
    "a grey image": archive(GOOD | {FIRST: encoded(mode="L")}),
    "a large image": archive(GOOD | {FIRST: encoded((33, 32))}),
    "a huge image": archive(GOOD | {FIRST: encoded((12_000, 9_000))}),
}


def in_small(content: bytes, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """CIFAR-10's reader takes two images of each class for the whole of test, and keeps them in `folder`."""
    import pooch

    monkeypatch.setattr(image_files, "EACH", {"train": 2, "test": 2})
    monkeypatch.setattr(data, "read", lambda _: content)
    monkeypatch.setattr(pooch, "os_cache", lambda _: str(folder))


@pytest.mark.parametrize("case", ODD_CIFAR)
def test_a_damaged_archive_of_photographs_is_one_sentence(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_small(ODD_CIFAR[case], monkeypatch, tmp_path)
    with pytest.raises(DataDamaged, match=r"^the data file cifar10-jpg/test.tar.gz cannot be read: [^\n]+\.$"):
        image_files.cifar10.__wrapped__("test")
    assert list(tmp_path.iterdir()) == [], "what is damaged is not kept"


def test_decoded_photographs_are_kept_and_what_is_damaged_is_decoded_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_small(archive(GOOD), monkeypatch, tmp_path)
    pixels, labels = image_files.cifar10.__wrapped__("test")
    assert labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert abs(pixels[:, 0].mean(axis=(1, 2)) - 10 * np.arange(20)).max() <= 4
    assert pixels[:, 1:].max() <= 4
    (kept,) = (tmp_path / "decoded").iterdir()
    whole = kept.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (flipped, whole[:-1], whole + b"0", b"", b"\0" * len(whole)):
        kept.write_bytes(content)
        assert np.array_equal(image_files.cifar10.__wrapped__("test")[0], pixels)
        assert kept.read_bytes() == whole
    monkeypatch.setattr(image_files, "_decoded", None)
    again, _ = image_files.cifar10.__wrapped__("test")
    assert np.array_equal(again, pixels)
    assert not again.flags.writeable


def test_other_content_is_not_taken_for_what_was_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_small(archive(GOOD), monkeypatch, tmp_path)
    pixels, _ = image_files.cifar10.__wrapped__("test")
    in_small(archive(GOOD | {FIRST: encoded(shade=250)}), monkeypatch, tmp_path)
    assert not np.array_equal(image_files.cifar10.__wrapped__("test")[0], pixels)
    assert len(list((tmp_path / "decoded").iterdir())) == 1, "what was kept of the other is gone"


def test_where_nothing_can_be_kept_photographs_are_decoded(
    monkeypatch: pytest.MonkeyPatch, below_a_file: Path
) -> None:
    in_small(archive(GOOD), monkeypatch, below_a_file)
    assert image_files.cifar10.__wrapped__("test")[0].shape == (20, 3, 32, 32)


@with_data("cifar10-resnet8")
def test_arrays_of_the_files_cannot_be_written_to() -> None:
    for pixels, labels in (image_files.mnist("test"), image_files.cifar10("test")):
        for array in (pixels, labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
