"""What the tests of clients share: one schedule, its rates, and an optimizer that is watched."""

from torch import nn
from torch.optim import SGD, Optimizer

import lrcontrol as lrc

SCHEDULE = "warmup(3)+rex"
BASE_LR = 0.3
STEPS = 12
EXPECTED = [BASE_LR * multiplier for multiplier in lrc.schedule(SCHEDULE).multipliers(STEPS).tolist()]
BATCHES = 6  # of an epoch, so that there are two


def watched(optimizer: Optimizer) -> list[float]:
    """A list that gets the rate in force at the beginning of every update."""
    rates: list[float] = []
    optimizer.register_step_pre_hook(lambda it, _args, _kwargs: rates.append(it.param_groups[0]["lr"]))
    return rates


def sgd(model: nn.Module) -> tuple[Optimizer, list[float]]:
    optimizer = SGD(model.parameters(), lr=BASE_LR, momentum=0.9)
    return optimizer, watched(optimizer)
