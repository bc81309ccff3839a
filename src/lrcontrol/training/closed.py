"""A control on a user's optimizer: what is in force depends on what `step()` is told."""

import warnings
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from lrcontrol import checks
from lrcontrol.controls.control import Control, Decision, Observation
from lrcontrol.controls.text import AnyControl, control_text
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon
from lrcontrol.training.plan import Settings

__all__ = ["Loop", "Told"]

_NAMES = {"metric": "metrics", "loss": "loss", "grad_norm": "grad_norm"}  # of Observation, and of step()


class Told(TypedDict, total=False):
    """What `step()` can be told.

    Args:
        amount: samples or tokens since the last call, for a horizon that is counted in them.
        metrics: the latest validation metric, lower is better; for a control.
        loss: the batch loss of the update; for a control.
        grad_norm: L2 norm of its gradient before clipping; for a control.
    """

    amount: int
    metrics: float
    loss: float
    grad_norm: float


class Loop:
    """A control, its state, and its last decision.

    Args:
        control: decides after every update.
        total: in steps.
    Raises:
        BadInput: a horizon that is not in steps.
    """

    def __init__(self, control: Control, total: Horizon, direction: str = "minimize") -> None:
        if total.counted:
            raise BadInput(f"a control needs a horizon in steps, got {total}; give steps, or `per_step`.")
        self.control, self.horizon = control, total
        self.decision, self._state = control.start(total.ticks)
        self.sign = {"minimize": 1.0, "maximize": -1.0}[
            checks.one_of("direction", direction, ("minimize", "maximize"))
        ]
        self._heard: dict[str, float] = {}
        self.direction = direction
        self._deaf = 0  # updates without any metric, until the first one

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return Settings(self.decision.multiplier, self.decision.momentum, self.decision.weight_decay)

    def hear(self, told: Mapping[str, Any]) -> None:
        """Keep what one call of `step()` was told, also where no update was made, until the next update."""
        heard = {name: _number(key, told[key]) for name, key in _NAMES.items() if key in told}
        if "metric" in heard:
            heard["metric"] *= self.sign
        self._heard |= {name: value for name, value in heard.items() if name in self.control.needs}

    def next(self, step: int) -> Settings:
        """What is in force after update `step`.

        Raises:
            BadInput: the control needs something of every update that was not told; nothing changes.
        """
        missing = sorted(self.control.needs - self._heard.keys() - {"metric"})  # which is not measured every time
        if missing:
            got = ", ".join(sorted(self._heard)) or "nothing"
            raise BadInput(
                f"{self.name} needs `{missing[0]}` of every update, got {got}; call step({missing[0]}=...)."
            )
        if "metric" in self.control.needs and self._deaf >= 0:
            self._deaf = -1 if "metric" in self._heard else self._deaf + 1
            if self._deaf == self.horizon.ticks > 1:
                warnings.warn(
                    f"{self.name} has not been told a metric in all of {self.horizon} and did nothing without one; "
                    "call step(metrics=...) when it has been measured.",
                    stacklevel=4,
                )
        self.decision, self._state = self.control.next(self._state, Observation(step, **self._heard))
        self._heard = {}
        return self.settings

    @property
    def name(self) -> str:
        """The control as text: the same for equal controls, in every process."""
        if isinstance(self.control, AnyControl):
            return control_text(self.control)
        kind = type(self.control)
        plain = kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__
        return kind.__name__ if plain else str(self.control)

    def state(self) -> dict[str, Any]:
        """The control's name, state and last decision as JSON values."""
        return {
            "name": self.name,
            "horizon": str(self.horizon),
            "direction": self.direction,
            "state": msgspec.to_builtins(self._state),
            "heard": dict(self._heard),
            "decision": msgspec.to_builtins(self.decision),
        }

    def fits(self, state: Any) -> bool:
        """Whether `state` is of this control and horizon."""
        checks.instance("control", state, dict, "what a control's state is kept as")
        own = (self.name, str(self.horizon), self.direction)
        return (state.get("name"), state.get("horizon"), state.get("direction", "minimize")) == own

    def __str__(self) -> str:
        return f"{checks.shown(self.name)} over {self.horizon}"

    def restored(self, state: Any) -> "Loop":
        """A loop of the same control that goes on from what `state` gave; this one is not changed."""
        made = object.__new__(Loop)
        made.control, made.horizon, made.sign, made._deaf = self.control, self.horizon, self.sign, -1
        made.direction = self.direction
        try:
            made._state = msgspec.convert(state["state"], dict[str, Any])
            made._heard = msgspec.convert(state["heard"], dict[str, float])
            made.decision = msgspec.convert(state["decision"], Decision, strict=True)
        except (KeyError, msgspec.ValidationError) as error:
            raise BadInput(f"the state of a control cannot be read: {checks.shown_error(error)}.") from None
        return made


def _number(name: str, value: Any) -> float:
    """`value` as a float, whatever its library; the control judges what is not finite."""
    try:
        if not isinstance(value, bool | str | bytes):
            return float(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise BadInput(f"`{name}` must be one number, got {name}={checks.shown(value)}.")
