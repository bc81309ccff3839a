"""Steering: the rates of a run on the optimizer of a script, and the updates that it really makes."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.controls.control import AHEAD
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput
from lrcontrol.runs.spec import RunSpec
from lrcontrol.schedules.horizon import Horizon
from lrcontrol.training.closed import Loop
from lrcontrol.training.groups import Groups, own_bases
from lrcontrol.training.halves import halves_of
from lrcontrol.training.optimizers.evaluation import forgotten, unwrapped
from lrcontrol.training.optimizers.found import as_column, numbers_of
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.plan import Plan
from lrcontrol.training.state import lay_out, settings_of
from lrcontrol.training.updates import hooked, seen_through

__all__ = ["CutOff", "Steering"]

RARELY = 1000  # updates between two looks at what the optimizer found, each of which waits for the device


class CutOff(BaseException):
    """Ends a script that makes updates after the last one it was asked for; no `except Exception` is in its way."""


class Steering:
    """The optimizer of a run: what is in force is set before every update, and updates are counted.

    Args:
        spec: the run.
        optimizer: has made no update. Its first group gets the base learning rate times the multiplier; the others,
            also those that are added later, keep their ratio to it.
        direction: of the metric that a control is told.
        loss_of: the batch loss of an update, or None where it was not told.
        made_by_us: whether all its settings are those of the method, also where it loads a state with others.
    Raises:
        BadInput: an optimizer without a learning rate, or one that cannot have what the method sets.
    """

    def __init__(
        self,
        spec: RunSpec,
        optimizer: Optimizer,
        direction: str,
        *,
        loss_of: Callable[[int], float | None],
        made_by_us: bool,
    ) -> None:
        checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
        self._optimizer, self._base_lr, self._loss_of = optimizer, spec.base_lr, loss_of
        self._source = _source(spec, direction)
        own = own_bases("lr", optimizer)
        self._first_lr = own[0]
        if not self._first_lr > 0:
            raise BadInput(
                f"the first group of an optimizer must have a rate > 0, as that of others is kept in ratio to it, got "
                f"lr={self._first_lr:g}."
            )
        self._groups = Groups(optimizer, [self._scaled(lr) for lr in own])
        self._groups.prepare(optimizer, self._source.settings)
        self._settings = [settings_of(group) for group in optimizer.param_groups] if made_by_us else None
        self._written: tuple[dict[str, Any], float] | None = None
        self._first = self.step = spec.first_step
        self._last = spec.stop_step
        self._decided = spec.first_step  # the update whose settings are at hand
        self._told = False  # whether the control was told a metric since
        self._set = False  # whether the rate of the update that may have been made since the last look is the run's
        self._now = self._source.at(self.step) if isinstance(self._source, Plan) else self._source.settings
        plain = unwrapped(optimizer)
        self._finding = plain if isinstance(plain, LRFree) else None
        self._fresh: list[Tensor | float | None] = []  # what it found in updates that were not looked at yet
        self._found: list[NDArray[np.float64]] = []
        self.rates: list[float] = []
        self.ended = False
        self.cut_off = False
        self.kept: int | None = None  # after how many updates the control said last to keep the weights
        how = "call run.log_loss(loss) before optimizer.step()"
        self._halves = halves_of(optimizer, self._source, how) if isinstance(self._source, Loop) else None
        self._updates = hooked(optimizer, self, self._before, self._after)
        self._observer = None
        if spec.norms:
            from lrcontrol.training.observe import observe  # which loads torch's compiler

            self._observer = observe(optimizer, norms=spec.norms, first_step=spec.first_step)

    @property
    def needs(self) -> frozenset[str]:
        """What the control must be told."""
        return self._source.control.needs if isinstance(self._source, Loop) else frozenset()

    @property
    def stop(self) -> str | None:
        """Why the control ends the run here, or None."""
        return self._source.decision.stop if isinstance(self._source, Loop) else None

    @property
    def lr(self) -> float:
        """The first group's rate, at the update that is next or has been made last."""
        return self._base_lr * self._now.multiplier

    def count(self) -> int:
        """How many updates have been made, the one that may have been made since the last look included.

        Raises:
            BadInput: one that was not seen before it was made, so that its rate was another.
        """
        if self._updates.made:  # where the device knows, this waits for it
            self._updates.made = False
            if not self._set:
                raise BadInput(
                    "an update of a run must be seen before it is made, but one was not, as in a compiled function; "
                    "call optimizer.step() outside of torch.compile."
                )
            self._set = False
            self.step += 1
            self.rates.append(self.lr)
            if self._finding is not None:
                self._fresh.append(self._finding.found)
                if len(self._fresh) == RARELY:
                    self._look()
        return self.step

    def hear(self, metric: float) -> None:
        """Tell the control the metric after the last update, unless it has decided on the next one already."""
        forgot = forgotten(self._optimizer)
        if forgot is not None:
            warnings.warn(forgot, stacklevel=3)
        if isinstance(self._source, Loop) and self._decided < self.count():
            self._source.hear({"metrics": metric})
            self._told = True

    def decide_if_told(self) -> None:
        """Have the control decide on the next update, if it has been told all it needs to know of the last one."""
        if ("metric" not in self.needs or self._told) and (
            "loss" not in self.needs or self._loss_of(self.count() - 1) is not None
        ):
            self.decide()

    def decide(self) -> None:
        """Have the control decide on the next update, once.

        Raises:
            BadInput: it needs a loss that it was not told.
        """
        if self._decided == self.count():
            return
        if isinstance(self._source, Loop):
            if "loss" in self.needs:
                loss = self._loss_of(self.step - 1)
                if loss is None:
                    raise BadInput(
                        f"{self._source.name} needs the loss of every update, got none of update {self.step - 1}; "
                        "call run.log_loss(loss)."
                    )
                self._source.hear({"loss": loss})
            self._now = self._source.next(self.step - 1)
            if self._source.decision.keep:
                self.kept = self.step
        else:
            self._now = self._source.at(self.step)
        self._decided, self._told = self.step, False

    def found(self, made: int) -> dict[str, NDArray[np.float32]]:
        """What the optimizer found in the first updates, as a column of a record, where it finds a rate."""
        self._look()
        return as_column(np.concatenate(self._found)[:made])

    def norms(self, made: int) -> dict[str, NDArray[np.float32]]:
        """Norms of the gradients of the first updates, as columns of a record; no more are observed."""
        if self._observer is None:
            return {}
        self._observer.close()
        seen = self._observer.columns
        place = seen.pop("step").astype(np.int64) - self._first
        with np.errstate(over="ignore"):
            found = {name: values[place < made].astype(np.float32) for name, values in seen.items()}
        return {name: values for name, values in found.items() if name in ("l1", "l2")}

    def state(self) -> dict[str, Any] | None:
        """What the control goes on from, as JSON values; None where all follows from the step."""
        return self._source.state() if isinstance(self._source, Loop) else None

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where the same control was."""
        if isinstance(self._source, Loop):
            self._source = self._source.restored(state)
            self._now = self._source.settings

    def _before(self) -> bool:
        """Before an update: it counts, if the run has not ended."""
        self.decide()
        if self.ended or self.step >= self._last or self.stop is not None:
            self.cut_off = True
            raise CutOff
        optimizer = self._optimizer
        group = optimizer.param_groups[0]
        if self._written is not None and group is self._written[0] and group["lr"] != self._written[1]:
            raise BadInput(
                f"the learning rate must be left to the run once an optimizer is steered, but something set it to "
                f"{checks.shown(group['lr'])}; take the script's own scheduler out."
            )
        known = len(self._groups.lrs.bases)
        changed = self._groups.changed(optimizer)
        if changed or not self.rates:  # a state may have been loaded
            for held in seen_through(optimizer):
                lay_out(held)
        if changed:
            bases = self._groups.lrs.bases
            bases[known:] = [self._scaled(lr) for lr in bases[known:]]
            self._groups.lrs.forget()
            for own, each in zip(self._settings or (), optimizer.param_groups, strict=False):
                each.update(own)  # a state that was loaded may be of another method
        self._groups.write(optimizer, self._now)
        if isinstance(self._source, Loop) and self._halves is not None:
            loss = self._loss_of(self.step) if "batch_loss" in self.needs else None
            self._halves.before(self._source, self._groups, loss, closure=self._updates.closure)
            self._now = self._source.settings
        self._note_written()
        self._set = True
        return True

    def _after(self) -> None:
        """After an update that counts."""
        if isinstance(self._source, Loop) and self._halves is not None:
            self._halves.after(self._source, self._groups)
            self._now = self._source.settings
            self._note_written()

    def _look(self) -> None:
        """Look at what was found since the last look."""
        self._found.append(numbers_of(self._fresh))
        self._fresh = []

    def _note_written(self) -> None:
        group = self._optimizer.param_groups[0]
        self._written = (group, group["lr"]) if isinstance(group["lr"], float) else None

    def _scaled(self, lr: float) -> float:
        return self._base_lr * (lr / self._first_lr)


def _source(spec: RunSpec, direction: str) -> Plan | Loop:
    control, total = spec.method.control, Horizon(spec.total_steps, "steps")
    if isinstance(control, Scheduled):
        return Plan(control.schedule, total, momentum=control.momentum, weight_decay=control.weight_decay)
    if control.ensemble is not None:
        raise BadInput(
            f"a script keeps its weights itself and cannot end as an ensemble, got {spec.method}; use "
            "lrcontrol.snapshots in the script, or leave the snapshots out."
        )
    unknown = sorted(control.needs - AHEAD - {"loss", "metric"})
    if unknown:
        raise BadInput(f"a script tells a control its loss and its metric, but {spec.method} needs {unknown[0]}.")
    return Loop(control, total, direction)
