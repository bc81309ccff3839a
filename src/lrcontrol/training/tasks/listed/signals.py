"""Signals: sounds, strokes, and images from some of their frequencies."""

from lrcontrol.runs.task import Task

__all__ = ["TASKS"]

HERE = "lrcontrol.training.tasks."

TASKS: tuple[Task, ...] = ()
