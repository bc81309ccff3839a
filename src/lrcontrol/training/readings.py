"""What users and frameworks read of a schedule on an optimizer, by torch's names and by ours."""

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrcontrol.controls.control import Control
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.closed import Loop
from lrcontrol.training.groups import Groups, Scaled
from lrcontrol.training.meters import Meter
from lrcontrol.training.plan import Plan, Settings

__all__ = ["Readings"]


class Readings(LRScheduler):
    """Schedule, horizon and rates in force of a `TorchSchedule`, which sets what is declared here."""

    optimizer: Optimizer
    last_epoch: int
    _source: Plan | Loop
    _groups: Groups
    _meter: Meter | None
    _extra_count: int
    _given: Sequence[float] | None  # base rates, where the user gave them
    _doubt: str | None  # why the rates of the groups may not be their own, until that is clear

    def _set_pace(self) -> None:
        raise NotImplementedError

    def _admit(self) -> None:
        raise NotImplementedError

    @property
    def schedule(self) -> Schedule | Control:
        """The schedule or control that is followed."""
        return self._source.control if isinstance(self._source, Loop) else self._source.schedule

    @property
    def horizon(self) -> Horizon:
        """The horizon, all changes included; epochs, and amounts of one size an update, as steps."""
        return self._source.horizon

    @property
    def multiplier(self) -> float:
        """The multiplier in force."""
        return self._settings.multiplier

    @property
    def stop_reason(self) -> str | None:
        """Why the control wants the run to end before the next update; None where it does not."""
        return self._source.decision.stop if isinstance(self._source, Loop) else None

    @property  # type: ignore[override] # torch has an attribute of floats or tensors
    def base_lrs(self) -> list[float]:
        """The base learning rate of every group."""
        self._admit()
        return list(self._groups.lrs.bases)

    @base_lrs.setter  # type: ignore[override] # as above
    def base_lrs(self, base_lrs: Sequence[float]) -> None:
        self._admit()
        self._groups.lrs = Scaled("lr", self.optimizer, base_lrs)
        self._given, self._doubt = base_lrs, None
        self._set_pace()
        self._groups.write(self.optimizer, self._settings)

    @property  # type: ignore[override] # torch has an attribute
    def _last_lr(self) -> list[float]:
        return self.get_last_lr()

    @_last_lr.setter
    def _last_lr(self, rates: object) -> None:
        raise BadInput(
            "a schedule of lrcontrol cannot stand in torch's SequentialLR; join schedules in their text, as in "
            "'warmup(100)+cosine'."
        )

    def get_last_lr(self) -> list[float]:  # type: ignore[override] # torch's may be tensors
        """The rates in force, one per group, as plain floats."""
        self._admit()
        multiplier = self._settings.multiplier
        return [base * multiplier for base in self._groups.lrs.bases]

    def get_lr(self) -> list[float]:  # type: ignore[override] # torch's may be tensors
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    @property
    def _settings(self) -> Settings:
        """What is in force."""
        return self._source.at(self._ticks) if isinstance(self._source, Plan) else self._source.settings

    @property
    def _step_count(self) -> int:
        """Steps made and one: torch's name. accelerate counts it on where it makes no step."""
        return self.last_epoch + self._extra_count

    @_step_count.setter
    def _step_count(self, count: int) -> None:
        self._extra_count = count - self.last_epoch

    @property
    def _ticks(self) -> int:
        return self.last_epoch if self._meter is None else self._meter.ticks

    def __repr__(self) -> str:
        return f"<{self}, {self.last_epoch} updates made>"

    def __str__(self) -> str:
        return str(self._source)
