"""Files of images: MNIST and CIFAR-10 as whole arrays of bytes, read once per process and not to be written to.

The JPEG files of CIFAR-10 take seconds to decode, so what they came to is kept in the user's cache, with a checksum;
what is damaged there, or cannot be kept, is decoded again.
"""

import contextlib
import functools
import hashlib
import io
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol.errors import BadInput, DataDamaged
from lrcontrol.files import write_whole
from lrcontrol.training.tasks import data, formats

__all__ = ["CLASSES", "Images", "Part", "alike", "cifar10", "mnist"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Of CIFAR-10, in the order of their numbers."""

Part = Literal["train", "test"]

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pixels, and the class of each image."""

FORMAT = 1  # of the pixels that are kept; another where they are decoded otherwise
DIGEST = 32  # bytes of a SHA-256
COLOURED = (3, 32, 32)
EACH: dict[Part, int] = {"train": 5000, "test": 1000}  # images of a class of CIFAR-10


@functools.cache
def mnist(part: Part) -> Images:
    """Handwritten digits in grey, shape (60000 or 10000, 28, 28), and which digits they are; in the files' order.

    Source: LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11).
    """
    stem, count = {"train": ("mnist/train", 60_000), "test": ("mnist/t10k", 10_000)}[part]
    images_file, labels_file = f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz"
    images = formats.idx(images_file, data.read(images_file))
    labels = formats.idx(labels_file, data.read(labels_file))
    if images.shape != (count, 28, 28):
        raise DataDamaged(f"the data file {images_file} must hold {count} images of 28x28, got shape {images.shape}.")
    if labels.shape != (count,) or labels.max() > 9:
        raise DataDamaged(f"the data file {labels_file} must hold {count} labels from 0 to 9, got something else.")
    return _for_reading(images, labels)


@functools.cache
def cifar10(part: Part) -> Images:
    """Photographs in colour, shape (50000 or 10000, 3, 32, 32), and their classes; class by class, each as numbered.

    The files are JPEG, which loses some detail of the images as published.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    name, each = f"cifar10-jpg/{part}.tar.gz", EACH[part]
    content = data.read(name)
    kept = _kept(part, content)
    pixels = _load(kept, each)
    if pixels is None:
        pixels = formats.told(name, lambda: _decoded(name, part, content, each))
        _keep(kept, pixels)
    return _for_reading(pixels, np.repeat(np.arange(len(CLASSES)), each))


@functools.cache
def alike() -> NDArray[np.int64]:
    """The rows of CIFAR-10's train file that nearly equal an image of its test file, or one before them.

    Two images are alike where the means of their squares of 2x2 pixels, less the image's mean, have a correlation of
    more than 0.94: mostly the same photograph in other contrast or slightly other colours, nine pairs of ten of one
    class. The rows were found once and are kept in `alike.json`.
    """
    text = resources.files("lrcontrol.training.tasks").joinpath("alike.json").read_bytes()
    rows = np.array(msgspec.json.decode(text, type=dict[str, list[int]])["cifar10-jpg/train.tar.gz"])
    rows.setflags(write=False)
    return rows


def _for_reading(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> Images:
    """Neither can be written to: every task of the process has the same arrays."""
    wide = labels.astype(np.int64)
    images.setflags(write=False)
    wide.setflags(write=False)
    return images, wide


def _decoded(name: str, part: Part, content: bytes, each: int) -> NDArray[np.uint8]:
    """The pixels of an archive of `each` JPEG files a class, in the order of their names."""
    from PIL import Image

    found = list(formats.members(name, content))
    wanted = [f"{part}/{label}/{number:04d}.jpg" for label in CLASSES for number in range(each)]
    if [member for member, _ in found] != wanted:
        raise ValueError(f"it must hold {each} images for each of {len(CLASSES)} classes, named by their numbers")
    pixels = np.empty((len(found), *COLOURED), np.uint8)
    for row, (member, encoded) in enumerate(found):
        try:
            with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as image:
                if (image.size, image.mode) != ((32, 32), "RGB"):
                    raise ValueError(f"must have 32x32 pixels in colour, got {image.size} in {image.mode}")
                pixels[row] = np.asarray(image).transpose(2, 0, 1)
        except (OSError, SyntaxError, ValueError) as error:  # a broken header is a SyntaxError of Pillow's
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"its image {member}: {reason}") from None
    return pixels


def _kept(part: Part, content: bytes) -> Path:
    """Where the pixels are kept: the name follows from the archive, and from what decodes it."""
    import PIL
    import pooch
    from PIL import features

    decoder = f"format {FORMAT}, Pillow {PIL.__version__} with libjpeg-turbo {features.version('libjpeg_turbo')}"
    key = hashlib.sha256(hashlib.sha256(content).digest() + decoder.encode()).hexdigest()[:16]
    return Path(pooch.os_cache("lrcontrol")) / "decoded" / f"cifar10-{part}-{key}"


def _load(path: Path, each: int) -> NDArray[np.uint8] | None:
    """The pixels that a file holds after their SHA-256; None where there is no whole one."""
    try:
        held = path.read_bytes()
    except OSError:
        return None
    shape = (len(CLASSES) * each, *COLOURED)
    if len(held) != DIGEST + int(np.prod(shape)):
        return None
    if hashlib.sha256(memoryview(held)[DIGEST:]).digest() != held[:DIGEST]:
        return None
    return np.frombuffer(held, np.uint8, offset=DIGEST).reshape(shape)


def _keep(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write the pixels after their SHA-256; a folder that cannot be written to costs time only."""
    with contextlib.suppress(OSError, BadInput):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, b"".join((hashlib.sha256(pixels.data).digest(), pixels.data)))
        for older in path.parent.glob(f"{path.name.rpartition('-')[0]}-*"):
            if older != path:
                older.unlink()
