"""Images."""

from lrcontrol.runs.task import ACCURACY, Task

__all__ = ["TASKS"]

HOME = "lrcontrol.training.tasks.images"
DIGITS = "handwritten digits of scikit-learn, 8x8 grey"
DIGITS_SIZES = (1078, 359, 360)

TASKS = (
    Task(
        name="digits-cnn",
        kind="image classification",
        data=DIGITS,
        sizes=DIGITS_SIZES,
        model="CNN, 3 convolutions with batch norm",
        parameters=24_058,
        objective=ACCURACY,
        batch_size=32,
        full_steps=330,
        home=HOME,
    ),
    Task(
        name="digits-mlp",
        kind="image classification",
        data=DIGITS,
        sizes=DIGITS_SIZES,
        model="64-128-10 MLP, ReLU",
        parameters=9610,
        objective=ACCURACY,
        batch_size=32,
        full_steps=1980,
        home=HOME,
    ),
)
