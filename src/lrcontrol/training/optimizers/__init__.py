"""Optimizers of methods, and those that find their learning rate themselves; one face for all of them."""

from lrcontrol.training.optimizers.evaluation import evaluation_weights, recalibrate
from lrcontrol.training.optimizers.making import make_optimizer

__all__ = ["evaluation_weights", "make_optimizer", "recalibrate"]
