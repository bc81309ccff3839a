"""Signals: sounds, strokes, and images from some of their frequencies."""

from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import ACCURACY, Task

__all__ = ["TASKS"]

HERE = "lrcontrol.training.tasks."

TASKS = (
    Task(
        name="cifar10-unet",
        kind="image reconstruction",
        data="6000 images of CIFAR-10 in grey, 8 of the 32 lines of their frequencies",
        sizes=(4000, 1000, 1000),
        model="U-Net, 8, 16 and 32 channels, instance norm",
        parameters=29_137,
        objective=Objective("ssim", "maximize"),
        batch_size=16,
        full_steps=750,
        home=HERE + "reconstruction",
        files=("cifar10-jpg/train.tar.gz", "cifar10-jpg/test.tar.gz"),
        base_lr=5e-3,
        source="Zbontar et al. 2018, arXiv:1811.08839, section 5.1.2: U-Net, batch 16, L1; width, AdamW for "
        "RMSprop, rate and 3 epochs are ours, chosen on validation",
        naive=0.6841,
        margin=0.05,
    ),
    Task(
        name="fsdd-cnn",
        kind="audio classification",
        data="spoken digits (FSDD), 6 speakers, 32 mel bands x 64 frames; takes 0 to 4 for test",
        sizes=(2100, 600, 300),
        model="CNN, 4 convolutions with batch norm",
        parameters=61_050,
        objective=ACCURACY,
        batch_size=32,
        full_steps=650,
        home=HERE + "audio",
        files=("fsdd/recordings.tar.gz",),
        base_lr=0.01,
        source="takes for test as in the README of the data; model, batch, rate and 10 epochs are ours, chosen on "
        "validation",
        naive=0.1,
        margin=0.8,
    ),
    Task(
        name="omniglot-resnet",
        kind="image classification",
        data="136 characters by 20 drawers (Omniglot, small set 1), 35x35 grey; 4 drawers for test",
        sizes=(1632, 544, 544),
        model="residual net, 7 convolutions with group norm",
        parameters=155_576,
        objective=ACCURACY,
        batch_size=32,
        full_steps=1020,
        home=HERE + "characters",
        files=("omniglot-small1/images_background_small1.zip",),
        base_lr=0.01,
        source="data of Lake et al. 2015; model as in He et al. 2016, arXiv:1512.03385; sizes, turns and "
        "shifts, batch, rate and 20 epochs are ours, chosen on validation",
        naive=1 / 136,
        margin=0.6,
    ),
)
