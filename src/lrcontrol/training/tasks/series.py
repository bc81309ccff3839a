"""Time series: the next day of seven sensors of a power transformer from the four days before."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.errors import DataDamaged
from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.problem import Problem, Split
from lrcontrol.training.tasks.splits import Splits, scaled

__all__ = ["LSTM", "DLinear", "build", "etth1"]

SEEN, WANTED = 96, 24  # hours
MONTH = 30 * 24
COLUMNS = ["date", "HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]


def build(task: Task, seed: int) -> Problem:
    """Forecasts of all seven series; loss and metric are mean squared errors of standardised values."""
    splits = etth1()
    model = _MODELS[task.name]()
    return Problem(model, *splits, functional.mse_loss, _mse, batch_size=task.batch_size, seed=seed, chunk=512)


def _mse(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return {"mse": float(functional.mse_loss(outputs.double(), targets.double()))}


class DLinear(nn.Module):
    """A moving mean and what is left of it, each forecast by one linear layer that all series share.

    Args:
        seen: hours that go in.
        wanted: hours that come out.
        window: of the moving mean, odd; the series is held at both ends.
    Source:
        Zeng, Chen, Zhang, Xu 2023, arXiv:2205.13504, section 4.
    """

    def __init__(self, seen: int, wanted: int, window: int) -> None:
        super().__init__()
        self.trend, self.rest = nn.Linear(seen, wanted), nn.Linear(seen, wanted)
        self.window = window

    def forward(self, hours: Tensor) -> Tensor:
        """From (n, seen, series) to (n, wanted, series)."""
        series = hours.transpose(1, 2)
        held = functional.pad(series, (self.window // 2, self.window // 2), mode="replicate")
        trend = functional.avg_pool1d(held, self.window, stride=1)
        outputs: Tensor = self.trend(trend) + self.rest(series - trend)
        return outputs.transpose(1, 2)


class LSTM(nn.Module):
    """A recurrent layer that reads the hours; its last state says how the next hours differ from the last one.

    Args:
        series: how many there are.
        wanted: hours that come out.
        hidden: width of the recurrent layer.
    Source:
        Hochreiter, Schmidhuber 1997, Neural Computation 9(8); forecasts relative to the last value as in the NLinear
        of Zeng, Chen, Zhang, Xu 2023, arXiv:2205.13504, section 4.
    """

    def __init__(self, series: int, wanted: int, hidden: int) -> None:
        super().__init__()
        self.reader = nn.LSTM(series, hidden, batch_first=True)
        self.last = nn.Linear(hidden, wanted * series)

    def forward(self, hours: Tensor) -> Tensor:
        """From (n, seen, series) to (n, wanted, series)."""
        now = hours[:, -1:]
        states, _ = self.reader(hours - now)
        changes: Tensor = self.last(states[:, -1]).reshape(len(hours), -1, hours.shape[2])
        return now + changes


_MODELS: dict[str, Callable[[], nn.Module]] = {
    "etth1-dlinear": functools.partial(DLinear, SEEN, WANTED, 25),
    "etth1-lstm": functools.partial(LSTM, 7, WANTED, 32),
}


@functools.cache
def etth1() -> Splits:
    """Windows of 96 hours, and the 24 hours that follow each: 12 months for train, 4 for validation, 4 for test.

    The hours to be forecast are in one split alone. The first windows of validation and test look back into the
    split before, as a forecast made on the first day of a month would.

    Source:
        Zhou et al. 2021, arXiv:2012.07436, section 5.1 (months of 30 days); scaled on the 12 months alone.
    """
    name = "etth1/ETTh1.csv"
    columns, rows = formats.table(name, data.read(name))
    if columns != COLUMNS or len(rows) < 20 * MONTH:
        raise DataDamaged(f"the data file {name} must have 20 months of {len(COLUMNS)} columns, got something else.")
    values = formats.told(name, lambda: np.array([row[1:] for row in rows[: 20 * MONTH]], np.float64))
    hours = torch.from_numpy(scaled(values, np.arange(12 * MONTH)).astype(np.float32))
    months = ((0, 12), (12, 16), (16, 20))
    train, validation, test = (_windows(hours[max(0, first * MONTH - SEEN) : last * MONTH]) for first, last in months)
    return train, validation, test


def _windows(hours: Tensor) -> Split:
    """Every window of these hours, one a row, one hour apart."""
    both = hours.unfold(0, SEEN + WANTED, 1).transpose(1, 2)
    return Split(both[:, :SEEN].contiguous(), both[:, SEEN:].contiguous())
