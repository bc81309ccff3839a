"""What a study's tables hold, as JSON values."""

from collections.abc import Sequence
from typing import Any

from lrcontrol.analysis.compare import Stage, accuracy_error
from lrcontrol.runs.task import Task

__all__ = ["runs_told", "test_told"]


def runs_told(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """A row for every run, in the order of the tables."""
    return [
        {
            "method": str(record.spec.method),
            "base_lr": record.spec.base_lr,
            "total_steps": record.spec.total_steps,
            "stop_step": record.spec.stop_step,
            "seed": record.spec.seed,
            "outcome": record.outcome.value,
            "final": record.final,
            "message": record.message,
            "run": record.id,
        }
        for stage in stages
        for record in stage.records
    ]


def test_told(task: Task, test: dict[str, float] | None) -> dict[str, Any]:
    """Test metrics under `test`, and the standard error of an accuracy under `test_error`.

    Example:
        >>> from lrcontrol.training.tasks.catalogue import TASKS
        >>> test_told(TASKS["diabetes-mlp"], {"rmse": 55.1})
        {'test': {'rmse': 55.1}, 'test_error': None}
    """
    if not test:
        return {"test": None, "test_error": None}
    accuracy = test.get("accuracy") if task.objective.metric == "accuracy" else None
    return {"test": test, "test_error": None if accuracy is None else accuracy_error(accuracy, task.sizes[2])}
