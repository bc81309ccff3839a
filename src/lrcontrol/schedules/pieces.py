"""What computes over a length that is known, where a part holds other schedules: read at once, held, or in turns."""

from collections.abc import Callable
from functools import cached_property, lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrcontrol.schedules.exact import power_of_written, powers_of_written
from lrcontrol.schedules.laying import Piece, chain, goes_on, look_up, written
from lrcontrol.schedules.profiles import namespace
from lrcontrol.schedules.sampling import Sampling

__all__ = ["AtOnce", "InTurns", "Level", "ReadNowAndThen"]

TABLED = 2**16  # steps of a turn up to which its multipliers are kept as a table
FEW = 8  # numbers that are sooner computed one by one
WORTH_A_TABLE = 8  # a turn is kept as a table where at least a share of 1/8 of its steps is asked for at once


class Level:
    """One value, computed when it is first asked for."""

    def __init__(self, level: Callable[[], float]) -> None:
        self._of = level

    def values(self, step: Any, length: int) -> Any:
        """The level at every step."""
        del length
        xp = namespace(step)
        return xp.full_like(step, self.level, dtype=xp.float64)

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """All the way."""
        del length
        return np.ones(step.shape, np.bool_)

    @cached_property
    def level(self) -> float:
        """The value."""
        return self._of() + 0.0  # never -0.0


class AtOnce:
    """Schedules side by side, taken together by `join`."""

    def __init__(self, join: Callable[[Any, Any], Any], laid: tuple[list[Piece], ...]) -> None:
        self.join, self.laid = join, laid

    def values(self, step: Any, length: int) -> Any:
        """What all come to together."""
        del length
        return reduce(self.join, (_within(pieces, step) for pieces in self.laid))

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Where all do."""
        del length
        return reduce(np.logical_and, (goes_on(pieces, step) for pieces in self.laid))


class ReadNowAndThen:
    """A schedule whose values hold from where each interval begins."""

    def __init__(self, sampling: Sampling, laid: list[Piece]) -> None:
        self.sampling, self.laid = sampling, laid

    def values(self, step: Any, length: int) -> Any:
        """The value at the beginning of each step's interval."""
        return _within(self.laid, self.sampling.begin(step, length))

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Nowhere: its values hold."""
        del length
        return np.zeros(step.shape, np.bool_)


class InTurns:
    """A schedule again and again in turns of equal length, each `shrink` times the one before."""

    def __init__(self, laid: list[Piece], period: int, shrink: float) -> None:
        self.laid, self.period, self.shrink = laid, period, shrink

    def values(self, step: Any, length: int) -> Any:
        """The values inside the turn of each step."""
        turn = step // self.period
        inside = step - turn * self.period
        if isinstance(step, np.ndarray) and self.period <= min(TABLED, WORTH_A_TABLE * step.size):
            value = _table(self)[inside]
        else:
            value = _within(self.laid, inside)
        if self.shrink == 1:
            return value
        return value * self._powers(turn, length // self.period)

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Where it does within a turn, and at the end of the last."""
        inside = step % self.period
        result: NDArray[np.bool_] = goes_on(self.laid, inside) & ((inside + 1 < self.period) | (step + 1 == length))
        return result

    def _powers(self, turn: Any, most: int) -> Any:
        """What each turn is multiplied by; where a few turns are asked for many times, each once."""
        if not isinstance(turn, np.ndarray) or not turn.size:
            return powers_of_written(namespace(turn), self.shrink, turn, most)
        first, last = int(turn.min()), int(turn.max())
        if last - first < FEW:
            return np.array([power_of_written(self.shrink, each) for each in range(first, last + 1)])[turn - first]
        if last - first >= turn.size:
            return powers_of_written(np, self.shrink, turn, last)
        return powers_of_written(np, self.shrink, np.arange(first, last + 1), last)[turn - first]


def _within(pieces: list[Piece], step: Any) -> Any:
    """The multipliers at `step`, an array of any library whose steps all lie in `pieces`."""
    return (look_up if isinstance(step, np.ndarray) else chain)(pieces, 0.0, step)


@lru_cache(maxsize=32)
def _table(turn: InTurns) -> NDArray[np.float64]:
    return written(turn.laid, turn.period)
