"""The range test on a user's own model, optimizer and data: rates that grow from update to update, and the losses."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, Unpack

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.controls.composed import StopOnDivergence
from lrcontrol.controls.control import Observation
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.docstrings import with_keys
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import Method, Own
from lrcontrol.runs.range_spec import ASKED, Shape, range_spec
from lrcontrol.runs.record import Cost, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.training.borrow import Borrowed, several
from lrcontrol.training.own_updates import OwnUpdates
from lrcontrol.training.range_options import OfModel

__all__ = ["OWN_MODEL", "confirm", "own_range_test"]

OWN_MODEL = "own-model"
"""The task's name in records of a user's model."""

LOSS = Objective("loss", "minimize")


@with_keys(OfModel)
def own_range_test(
    model: nn.Module,
    optimizer: Optimizer | Callable[[], Optimizer],
    loader: Iterable[Any] | Callable[[], Iterable[Any]],
    loss: Callable[..., Any] | None = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    shape: Shape = "exponential",
    repeats: int = 1,
    seed: int = 0,
    **how: Unpack[OfModel],
) -> list[Record]:
    """Train for a few updates at rates that grow from `low` to `high`, and put everything back.

    What is put back, and how Ctrl-C is borne, is told at `Borrowed`: after it, it is as if it had not been. The test
    ends early where the loss diverges. A point is an update that was made: not a micro-batch, nor an update that a
    gradient scaler skipped. The loss of a point is that before the update, the mean over its micro-batches, and over
    all processes of torch.distributed, which all see the same losses and end at the same update.

    The largest of the groups' rates is the one that grows; the others keep their ratios to it: those of the rates the
    groups have, or of those that a schedule on the optimizer began with.

    Args:
        model: in training mode, or it is put in it; wrapped for several processes as for training.
        optimizer: with the state it has; its rates need only be right to one another. Or a function that makes one.
        loader: any iterable of batches that can be iterated over anew; passes over it follow one another. Batches are
            moved to the device of the model's parameters. Or a function that makes one; what that encloses is put
            back, as is what is enclosed by one that makes the optimizer.
        loss: of `(outputs, targets)`, where a batch is inputs and targets: the last of it are the targets, and inputs
            in a tuple or dict are taken apart. Or of `(model, batch)`, where its first parameter is called `model`.
            Or None, where `model(**batch)` has its own loss, as Transformers' models do.
        low: > 0; the rate of the first update, and
        high: > low; of the last.
        steps: >= 20; updates.
        shape: whether the rate grows by the same factor at every update, or by the same amount.
        repeats: >= 1; tests, each from the same weights and with data in another order.
        seed: >= 0; repeat `r` draws all random numbers from `seed + r`, so that a test can be repeated.
    Returns:
        A record for each repeat, its columns `loss` and `lr`, that of the largest group. It is FINISHED; or DIVERGED
        at the first loss that is not finite; or STOPPED where the loss rose far above its lowest, or a signal came
        whose handler is content with that.
    Raises:
        BadInput: a bad value; a loader that cannot begin anew, or a function that encloses an iterator; a loss that is
            not one number, or batches that do not go with it; an optimizer without rates. Whatever the model, the data
            or `step` raise comes through.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3.
    Example:
        >>> inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
        >>> loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
        >>> model = nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> (record,) = own_range_test(model, optimizer, loader, nn.functional.mse_loss, low=1e-4, high=100)
        >>> record.outcome.value, str(record.spec.method)[:22], record.column("lr")[0].item() < 1.01e-4
        ('stopped', 'own:stop_on_divergence', True)
    """
    repeats = checks.integer("repeats", repeats, low=1, high=1000)
    seed = checks.integer("seed", seed, high=2**31 - 1 - repeats)
    specs = [
        range_spec(OWN_MODEL, Own(), low=low, high=high, steps=steps, shape=shape, seed=seed + number)
        for number in range(repeats)
    ]
    return _carried_out(specs, model, optimizer, loader, loss, how)


@with_keys(OfModel)
def confirm(
    model: nn.Module,
    optimizer: Optimizer | Callable[[], Optimizer],
    loader: Iterable[Any] | Callable[[], Iterable[Any]],
    loss: Callable[..., Any] | None = None,
    *,
    lr: float,
    steps: int = 100,
    seed: int = 0,
    **how: Unpack[OfModel],
) -> Record:
    """Train for some updates at one rate, and put everything back.

    Args:
        model: this and all else as in `own_range_test`.
        optimizer: likewise.
        loader: likewise.
        loss: likewise.
        lr: > 0; the rate of the largest group.
        steps: >= 1; updates.
        seed: as in `own_range_test`.
    Returns:
        A record with columns `loss` and `lr`, FINISHED where the loss stayed finite and did not diverge.
    Raises:
        BadInput: as `own_range_test`.
    Example:
        >>> inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> loader = [(inputs, inputs.sum(1, keepdim=True))]
        >>> model = nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> losses = confirm(model, optimizer, loader, nn.functional.mse_loss, lr=0.1, steps=20).column("loss")
        >>> bool(losses[-1] < losses[0])
        True
    """
    rate = checks.number("lr", lr, low=0, open_low=True)
    method = Method(Own(), StopOnDivergence(Scheduled(constant())))
    spec = RunSpec(task=OWN_MODEL, method=method, base_lr=rate, total_steps=steps, seed=seed)
    (record,) = _carried_out([spec], model, optimizer, loader, loss, how)
    return record


def _carried_out(
    specs: Sequence[RunSpec],
    model: nn.Module,
    optimizer: Optimizer | Callable[[], Optimizer],
    loader: Iterable[Any] | Callable[[], Iterable[Any]],
    loss: Callable[..., Any] | None,
    how: OfModel,
) -> list[Record]:
    """The records of runs that all begin where the user's objects are now, which is where these are at the end."""
    if torch.is_inference_mode_enabled():
        raise BadInput("updates must be made outside of torch.inference_mode(), got a call within it.")
    of_updates: dict[str, Any] = {name: value for name, value in how.items() if name not in ("schedules", "also")}
    given, maker = (optimizer, None) if isinstance(optimizer, Optimizer) else (None, optimizer)
    borrowed = Borrowed(
        model,
        given,
        loader=loader,
        scaler=how.get("scaler"),
        schedules=how.get("schedules"),
        also=[*several(how.get("also")), loss, how.get("step"), maker],
    )
    records: list[Record] = []
    with borrowed:
        updates = OwnUpdates(model, optimizer, loader, loss, asked=lambda: borrowed.asked, **of_updates)
        with closing(_runs(specs, borrowed, updates)) as runs:
            for record in runs:
                records.append(record)  # noqa: PERF402 - a signal may end it, and those before are kept
    nothing = {name: np.empty(0, np.float32) for name in ("loss", "lr")}
    return records or [Record(spec=specs[0], outcome=Outcome.STOPPED, objective=LOSS, columns=nothing, message=ASKED)]


def _runs(specs: Sequence[RunSpec], borrowed: Borrowed, updates: OwnUpdates) -> Generator[Record]:
    rank = (
        torch.distributed.get_rank() if torch.distributed.is_available() and torch.distributed.is_initialized() else 0
    )
    for number, spec in enumerate(specs):
        if number:
            borrowed.put_back()
        borrowed.seed(spec.seed, rank=rank)
        updates.begin()
        try:
            record = _run(spec, updates)
        finally:
            updates.end()
        yield record
        if record.message == ASKED:  # all processes have agreed on that, and this one may have had no signal
            borrowed.between()
            return


def _run(spec: RunSpec, updates: OwnUpdates) -> Record:
    """One run, up to where it ends."""
    began = time.perf_counter()
    control = spec.method.control
    losses: list[float] = []
    rates: list[float] = []
    outcome, message = Outcome.FINISHED, None
    decision, state = control.start(spec.total_steps)
    while len(losses) < spec.total_steps:
        rate, update = spec.base_lr * decision.multiplier, len(losses)
        point = updates.update(rate)
        if point.made or not math.isfinite(point.loss):
            losses.append(point.loss)
            rates.append(rate)
        if not math.isfinite(point.loss):
            outcome, message = Outcome.DIVERGED, f"the loss was not finite at update {update}"
        elif not point.made and not point.asked:
            outcome, message = (
                Outcome.DIVERGED,
                f"gradients were not finite at update {update}, and no update was made",
            )
        elif point.asked:
            outcome, message = Outcome.STOPPED, ASKED
        else:
            decision, state = control.next(state, Observation(update, loss=point.loss))
            if decision.stop is not None:
                outcome, message = Outcome.STOPPED, decision.stop
        if outcome is not Outcome.FINISHED:
            break
    with np.errstate(over="ignore"):
        columns = {"loss": np.array(losses).astype(np.float32), "lr": np.array(rates).astype(np.float32)}
    cost = Cost(len(losses), time.perf_counter() - began)
    return Record(spec=spec, outcome=outcome, objective=LOSS, cost=cost, columns=columns, message=message)
