"""A schedule as optax wants it: a function from the count of updates to the rate, under jit, vmap and scan."""

import jax
import jax.numpy as jnp
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.schedule import LARGEST, Schedule
from lrcontrol.schedules.text import schedule as parse_schedule

__all__ = ["LONGEST_TABLE", "OptaxSchedule", "as_optax_schedule"]

LONGEST_TABLE = 2**20  # steps: 8 MiB of rates; longer horizons are computed from the count


def as_optax_schedule(schedule: str | Schedule, total_steps: int, base_lr: float = 1.0) -> "OptaxSchedule":
    """The rates of a schedule as an optax schedule: `base_lr * multiplier(count)`, held past the end.

    Every rate is computed in float64 and rounded once, to jax's default float: the float32 nearest to the exact rate
    where x64 is off. This holds for int32 counts and any horizon, eagerly, under jit, vmap and scan.

    Args:
        schedule: a schedule or its text.
        total_steps: >= 1; updates that the schedule is laid over.
        base_lr: in [0, 1e9]; the rate at multiplier 1.

    Raises:
        BadInput: a bad value. DoesNotFit: the schedule is too long.

    Example:
        >>> rate = as_optax_schedule("linear", total_steps=4, base_lr=0.5)
        >>> [float(jax.jit(rate)(count)) for count in range(6)]
        [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
        >>> rate
        as_optax_schedule('linear', total_steps=4, base_lr=0.5)
    """
    return OptaxSchedule(parse_schedule(schedule), total_steps, base_lr)


class OptaxSchedule:
    """See `as_optax_schedule`."""

    def __init__(self, schedule: Schedule, total_steps: int, base_lr: float = 1.0) -> None:
        self.schedule = schedule
        self.total_steps = checks.integer("total_steps", total_steps, low=1)
        self.base_lr = checks.number("base_lr", base_lr, low=0, high=LARGEST)
        self._rates = None
        past_the_end = schedule.multiplier(self.total_steps, self.total_steps)  # refused now where it does not fit
        if self.total_steps <= LONGEST_TABLE:
            self._rates = self.base_lr * np.append(schedule.multipliers(self.total_steps), past_the_end)

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        """The rate of update `count`: an int, or an array of ints, >= 0."""
        traced = isinstance(count, jax.core.Tracer)
        steps = count if traced else np.asarray(count)
        if not jnp.issubdtype(steps.dtype, jnp.integer):
            raise BadInput(f"`count` must hold integers, got an array of {steps.dtype}.")
        if not traced:
            return jnp.asarray(self.base_lr * self.schedule.multiplier(steps, self.total_steps))
        if self._rates is not None:
            return jnp.asarray(self._rates)[jnp.clip(steps, 0, self.total_steps)]
        rounded = jnp.result_type(float)
        with jax.enable_x64(True):  # in float32 a count above 2**24 would lose its last digits
            rates = self.base_lr * self.schedule.multiplier(steps.astype(jnp.int64), self.total_steps)
            return rates.astype(rounded)

    def __repr__(self) -> str:
        return f"as_optax_schedule('{self.schedule}', total_steps={self.total_steps}, base_lr={self.base_lr!r})"
