"""Convex classification."""

from lrcontrol.runs.task import ACCURACY, Task

__all__ = ["TASKS"]

HOME = "lrcontrol.training.tasks.convex"

TASKS = (
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
        home=HOME,
    ),
    Task(
        name="digits-softmax",
        kind="convex classification",
        data="handwritten digits of scikit-learn, 8x8 grey",
        sizes=(1078, 359, 360),
        model="softmax regression",
        parameters=650,
        objective=ACCURACY,
        batch_size=16,
        full_steps=6700,
        home=HOME,
    ),
)
