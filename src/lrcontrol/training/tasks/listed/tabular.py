"""Tables of features."""

from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import Task

__all__ = ["TASKS"]

HOME = "lrcontrol.training.tasks.tabular"

TASKS = (
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
        home=HOME,
    ),
)
