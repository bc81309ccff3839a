"""A schedule as Keras wants it: a `LearningRateSchedule` that is saved and loaded with the model.

Import this module before a saved model is loaded: it makes `KerasSchedule` known to Keras.
"""

from typing import Any

import keras
import numpy as np

from lrcontrol import checks
from lrcontrol.schedules.schedule import LARGEST, Schedule
from lrcontrol.schedules.text import schedule as parse_schedule

__all__ = ["LONGEST", "KerasSchedule", "as_keras_schedule"]

LONGEST = 2**24  # steps: a table of 64 MiB


def as_keras_schedule(schedule: str | Schedule, total_steps: int, base_lr: float) -> "KerasSchedule":
    """The rates of a schedule as a Keras schedule: `base_lr * multiplier(step)`, held past the end.

    Args:
        schedule: a schedule or its text.
        total_steps: 1 to 2**24; updates that the schedule is laid over. With `model.fit` that is epochs times
            batches, divided by `gradient_accumulation_steps`.
        base_lr: in [0, 1e9]; the rate at multiplier 1.

    Raises:
        BadInput: a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> rate = as_keras_schedule("linear", total_steps=4, base_lr=0.5)
        >>> [float(rate(step)) for step in range(6)]
        [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
        >>> rate.get_config()
        {'schedule': 'linear', 'total_steps': 4, 'base_lr': 0.5}
    """
    return KerasSchedule(schedule, total_steps, base_lr)


@keras.saving.register_keras_serializable(package="lrcontrol")
class KerasSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """See `as_keras_schedule`. Rates are computed in float64; unless that is `floatx`, they are rounded to float32."""

    def __init__(self, schedule: str | Schedule, total_steps: int, base_lr: float) -> None:
        self.schedule = parse_schedule(schedule)
        self.total_steps = checks.integer("total_steps", total_steps, low=1, high=LONGEST)
        self.base_lr = checks.number("base_lr", base_lr, low=0, high=LARGEST)
        past_the_end = self.schedule.multiplier(self.total_steps, self.total_steps)
        rates = self.base_lr * np.append(self.schedule.multipliers(self.total_steps), past_the_end)
        # one look-up on the model's own device: the step, which lives there, is never waited for
        double = keras.config.floatx() == "float64"
        self._rates = keras.ops.convert_to_tensor(rates, dtype="float64" if double else "float32")

    def __call__(self, step: Any) -> Any:
        """The rate of update `step`, an int or an integer tensor."""
        return keras.ops.take(self._rates, keras.ops.clip(step, 0, self.total_steps))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes this schedule of: text, horizon, base learning rate."""
        return {"schedule": str(self.schedule), "total_steps": self.total_steps, "base_lr": self.base_lr}

    def __repr__(self) -> str:
        return f"as_keras_schedule('{self.schedule}', total_steps={self.total_steps}, base_lr={self.base_lr!r})"
