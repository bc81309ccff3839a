"""Data with structure: graphs, ratings, series, rankings, molecules."""

from lrcontrol.runs.task import ACCURACY, Task

__all__ = ["TASKS"]

HERE = "lrcontrol.training.tasks."

TASKS = (
    Task(
        name="cora-gcn",
        kind="node classification",
        data="citations of 2708 papers (Cora), 1433 words, Planetoid split",
        sizes=(140, 500, 1000),
        model="graph network 1433-16-7, dropout",
        parameters=23_063,
        objective=ACCURACY,
        batch_size=140,
        full_steps=200,
        home=HERE + "graphs",
        files=(
            "cora/ind.cora.allx",
            "cora/ind.cora.ally",
            "cora/ind.cora.tx",
            "cora/ind.cora.ty",
            "cora/ind.cora.graph",
            "cora/ind.cora.test.index",
        ),
        method="adamw(weight_decay=0.5):constant",
        base_lr=0.01,
        source="Kipf, Welling 2017, arXiv:1609.02907, section 5.2: width 16, dropout 0.5, 200 epochs of all nodes, "
        "Adam 0.01; its L2 penalty 5e-4 on the first layer is a decay of 0.5 of all here, chosen on validation",
        naive=0.319,
        margin=0.45,
    ),
)
