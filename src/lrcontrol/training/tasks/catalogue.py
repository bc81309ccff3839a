"""The tasks there are, as data: listing them imports no training library."""

from lrcontrol import checks
from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import Task

__all__ = ["TASKS", "task"]

ACCURACY = Objective("accuracy", "maximize")
DIGITS = "handwritten digits of scikit-learn, 8x8 grey"
DIGITS_SIZES = (1078, 359, 360)
CLASSIFICATION = "lrcontrol.training.tasks.classification"
REGRESSION = "lrcontrol.training.tasks.regression"

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="breast-cancer-logistic",
            kind="convex classification",
            data="Wisconsin breast cancer of scikit-learn, 30 features",
            sizes=(341, 114, 114),
            model="logistic regression",
            parameters=62,
            objective=ACCURACY,
            batch_size=16,
            full_steps=2100,
            home=CLASSIFICATION,
        ),
        Task(
            name="diabetes-mlp",
            kind="regression",
            data="diabetes progression of scikit-learn, 10 features",
            sizes=(265, 88, 89),
            model="10-64-64-1 MLP, tanh",
            parameters=4929,
            objective=Objective("rmse", "minimize"),
            batch_size=32,
            full_steps=800,
            home=REGRESSION,
        ),
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
            home=CLASSIFICATION,
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
            home=CLASSIFICATION,
        ),
        Task(
            name="digits-softmax",
            kind="convex classification",
            data=DIGITS,
            sizes=DIGITS_SIZES,
            model="softmax regression",
            parameters=650,
            objective=ACCURACY,
            batch_size=16,
            full_steps=6700,
            home=CLASSIFICATION,
        ),
    )
}
"""Every task by its name."""


def task(name: str) -> Task:
    """The task of this name; UnknownName with near misses where there is none.

    Example:
        >>> task("digits-mlp").objective.metric
        'accuracy'
    """
    return TASKS[checks.one_of("task", name, TASKS)]
