"""Schedules of Keras, read from the configuration that they are saved with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lrcontrol.errors import BadInput
from lrcontrol.interop.reading import Curve, checked, joined, levels, per_steps, refused, share
from lrcontrol.schedules.recipes.single import cosine, inverse_power, linear, polynomial

__all__ = ["read_keras"]


def read_keras(theirs: Any, total_steps: int | None) -> tuple[Curve, float]:
    """The curve of a Keras schedule, and its base learning rate.

    Raises:
        BadInput: ours cannot say it exactly.
    """
    name, module = type(theirs).__name__, type(theirs).__module__
    if name not in READERS or module.partition(".")[0] != "keras":
        what = f"{name} of {module if module.partition('.')[0] != 'keras' else 'Keras'}"
        raise refused(what, f"is not among {', '.join(sorted(READERS))} of Keras")
    curve, base_lr = READERS[name](theirs.get_config(), total_steps)
    with _in_float64():
        return checked(name, curve, total_steps, lambda step: float(theirs(step)) / base_lr, 1e-5), base_lr


@contextmanager
def _in_float64() -> Iterator[None]:
    """Their rates in float64, for a while: in float32 a restart may come a step early."""
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _cosine(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    del total_steps
    steps, rise = config["decay_steps"], config["warmup_steps"]
    fall = Curve(cosine(end=config["alpha"], steps=steps), steps)
    if config["warmup_target"] is None:
        return fall, config["initial_learning_rate"]
    peak = config["warmup_target"]
    climb = Curve(linear(start=share(config["initial_learning_rate"], peak), end=1.0, steps=rise), rise)
    return (joined([climb, fall], [rise]) if rise else fall), peak


def _exponential(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    fall = per_steps(config["decay_rate"], config["decay_steps"], total_steps, stairs=config["staircase"])
    return fall, config["initial_learning_rate"]


def _polynomial(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    del total_steps
    if config["cycle"]:
        raise refused("PolynomialDecay", "has cycle=True, whose horizon grows as it goes")
    base_lr, steps = config["initial_learning_rate"], config["decay_steps"]
    end = share(config["end_learning_rate"], base_lr)
    return Curve(polynomial(config["power"], end=end, steps=steps), steps), base_lr


def _inverse_time(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    if config["staircase"]:
        raise refused("InverseTimeDecay", "has staircase=True, which has no name here")
    if total_steps is None:
        raise BadInput("`total_steps` must be given for a schedule that has no end of its own.")
    share = config["decay_steps"] / config["decay_rate"] / total_steps
    return Curve(inverse_power(1.0, float(share))), config["initial_learning_rate"]


def _piecewise(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    """Their boundary is the last step of its level, ours the first of the next."""
    del total_steps
    base_lr = max(config["values"])
    edges = [int(boundary) + 1 for boundary in config["boundaries"]]
    return levels([share(value, base_lr) for value in config["values"]], edges), base_lr


def _restarts(config: dict[str, Any], total_steps: int | None) -> tuple[Curve, float]:
    del total_steps
    growth, shrink, low = config["t_mul"], config["m_mul"], config["alpha"]
    if growth != int(growth) or not 0 <= shrink <= 1:
        raise refused("CosineDecayRestarts", f"has t_mul={growth:g}, m_mul={shrink:g}, and restarts between two steps")
    turns = cosine().repeat(period=config["first_decay_steps"], growth=growth, shrink=shrink)
    lifted = turns if low == 0 else (turns * (1 - low)).plus(low)
    return Curve(lifted), config["initial_learning_rate"]


READERS: dict[str, Callable[[dict[str, Any], int | None], tuple[Curve, float]]] = {
    "CosineDecay": _cosine,
    "CosineDecayRestarts": _restarts,
    "ExponentialDecay": _exponential,
    "InverseTimeDecay": _inverse_time,
    "PiecewiseConstantDecay": _piecewise,
    "PolynomialDecay": _polynomial,
}
"""A reader for each class of theirs; it takes the configuration."""
