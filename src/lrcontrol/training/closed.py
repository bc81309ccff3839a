"""A control on a user's optimizer: what is in force depends on what `step()` is told."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import msgspec

from lrcontrol import checks
from lrcontrol.controls.composed import Clip, Then
from lrcontrol.controls.control import AHEAD, Control, Decision, Observation, State, Update, reconsidered
from lrcontrol.controls.greedy import Greedy
from lrcontrol.controls.holding import inside
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.text import AnyControl, control_text
from lrcontrol.controls.text import control as parse_control
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.schedules.horizon import Horizon, horizon
from lrcontrol.schedules.laying import lengths
from lrcontrol.training.plan import Settings

__all__ = ["Loop", "Told", "one_number", "read_loop_state"]

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


class _Before(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a decision was made of, as it is saved."""

    state: dict[str, Any]
    seen: dict[str, float | Literal["inf", "-inf", "nan"]]


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
        self._before: tuple[State, Observation] | None = None  # what the last decision was made of
        self.direction = direction
        self._deaf = 0  # updates without any metric, until the first one

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return Settings(self.decision.multiplier, self.decision.momentum, self.decision.weight_decay)

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped under it."""
        known = inside(self.control) if isinstance(self.control, AnyControl) else ()
        return self.decision.clip is not None or any(isinstance(each, Clip) for each in known)

    def hear(self, told: Mapping[str, Any]) -> None:
        """Keep what one call of `step()` was told, also where no update was made, until something is decided."""
        heard = {name: one_number(key, told[key]) for name, key in _NAMES.items() if key in told}
        if "metric" in heard:
            heard["metric"] *= self.sign
        self._heard |= {name: value for name, value in heard.items() if name in self.control.needs}

    def next(self, step: int) -> Settings:
        """What is in force after update `step`.

        Raises:
            BadInput: the control needs something of every update that was not told; nothing changes.
        """
        missing = sorted(self.control.needs - self._heard.keys() - AHEAD - {"metric"})  # not measured every time
        if missing:
            got = ", ".join(sorted(self._heard)) or "nothing"
            raise BadInput(
                f"{self.name} needs `{missing[0]}` of every update, got {got}; call step({missing[0]}=...)."
            )
        if "metric" in self.control.needs and self._deaf >= 0:
            self._deaf = -1 if "metric" in self._heard else self._deaf + 1
            total = self.horizon.ticks
            if self._deaf == _too_late(self.control, total) and total > 1:
                which = "all" if self._deaf == total else f"the first {self._deaf}"
                seldom = "" if self._deaf == total else "; told as seldom as that its patience outlasts the run"
                warnings.warn(
                    f"{self.name} has not been told a metric in {which} of {self.horizon} and did nothing without "
                    f"one{seldom}; call step(metrics=...) when it has been measured.",
                    stacklevel=4,
                )
        self._decide(self._state, Observation(step, **self._heard))
        self._heard = {}
        return self.settings

    def reconsidered(self, update: Update) -> Settings:
        """What is in force during an update whose gradients are at hand."""
        self.decision, self._state = reconsidered(self.control, self._state, update)
        return self.settings

    def decided_anew(self) -> bool:
        """Decide again on the last update where a metric came after the decision: it is of the weights of then.

        Where no update has been made at all, it waits for the first one.

        Returns:
            Whether there was such a metric, and there may be other settings in force.
        """
        if self._before is None or "metric" not in self._heard:
            return False
        state, seen = self._before
        self._decide(state, msgspec.structs.replace(seen, metric=self._heard["metric"]))
        del self._heard["metric"]
        self._deaf = -1
        return True

    def _decide(self, state: State, seen: Observation) -> None:
        self.decision, self._state = self.control.next(state, seen)
        self._before = (state, seen) if "metric" in self.control.needs else None

    @property
    def name(self) -> str:
        """The control as text: the same for equal controls, in every process."""
        if isinstance(self.control, AnyControl):
            return control_text(self.control)
        kind = type(self.control)
        plain = kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__
        return kind.__name__ if plain else str(self.control)

    def begun_at(self, step: int) -> "Loop":
        """A loop of this control where it is after `step` updates of which it was told nothing.

        Raises:
            BadInput: the control needs to be told something of every update.
        """
        missing = sorted(self.control.needs - {"metric"})
        if missing:
            raise BadInput(
                f"{self.name} needs `{missing[0]}` of every update, so it cannot begin at step {step}; give it a "
                "horizon of its own, and do not load the state."
            )
        made = Loop(self.control, self.horizon, self.direction)
        for made_step in range(step):
            made._decide(made._state, Observation(made_step))
        return made

    def state(self) -> dict[str, Any]:
        """The control's name, state and last decision, and what that was made of, as JSON values."""
        before = {}
        if self._before is not None:
            state, seen = self._before
            shown = {name: _json(value) for name, value in msgspec.structs.asdict(seen).items() if value is not None}
            before = {"before": {"state": msgspec.to_builtins(state), "seen": shown}}
        return before | {
            "name": self.name,
            "horizon": str(self.horizon),
            "direction": self.direction,
            "state": msgspec.to_builtins(self._state),
            "heard": {name: _json(value) for name, value in self._heard.items()},
            "decision": msgspec.to_builtins(self.decision),
        }

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether `state` is of this control, horizon and direction."""
        return (state["name"], state["horizon"], state.get("direction", "minimize")) == (
            self.name,
            str(self.horizon),
            self.direction,
        )

    @staticmethod
    def of(state: dict[str, Any]) -> "Loop":
        """The loop whose state this is, from its beginning.

        Raises:
            BadInput: a control that has no text, or a state that none can have.
        """
        return Loop(parse_control(state["name"]), horizon(state["horizon"]), state.get("direction", "minimize"))

    def __str__(self) -> str:
        told = f", {self.direction}" if "metric" in self.control.needs else ""
        return f"{checks.shown(self.name)} over {self.horizon}{told}"

    def restored(self, state: dict[str, Any]) -> "Loop":
        """A loop of the same control that goes on from what `state` gave; this one is not changed.

        Raises:
            BadInput: a state or decision that the control cannot have.
        """
        made = object.__new__(Loop)
        made.control, made.horizon, made.sign, made._deaf = self.control, self.horizon, self.sign, -1
        made.direction = self.direction
        try:
            made._state = msgspec.convert(state["state"], dict[str, Any])
            heard = msgspec.convert(state["heard"], dict[str, float | Literal["inf", "-inf", "nan"]])
            made._heard = {name: float(value) for name, value in heard.items()}
            made._before = None
            if "before" in state:
                before = msgspec.convert(state["before"], _Before)
                numbers = {name: float(value) for name, value in before.seen.items() if name != "step"}
                made._before = before.state, Observation(int(before.seen["step"]), **numbers)
            made.decision = msgspec.convert(state["decision"], Decision, strict=True)
            _checked(made.decision)
            tried, after = self.control.next(made._state, Observation(0, loss=1.0, metric=1.0, grad_norm=1.0))
            _checked(tried)
            if self.control.needs & AHEAD:
                _checked(reconsidered(self.control, after, Update(**dict.fromkeys(AHEAD, 1.0)))[0])
        except OutOfSchedule:
            return made
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadInput(
                f"the state of {self.name} must be one that it saved, got {checks.shown(state['state'])} and "
                f"{checks.shown(state['decision'])} ({checks.shown_error(error)})."
            ) from None
        return made


def read_loop_state(state: Any) -> dict[str, Any]:
    """The state of a loop, its keys and texts checked, or BadInput."""
    checks.instance("control", state, dict, "what a control's state is kept as")
    keys = {"name", "horizon", "direction", "state", "heard", "decision"}
    if (set(state) | {"direction"}) - {"before"} != keys:  # the first states had neither of the two
        raise BadInput(f"the state of a control must have {', '.join(sorted(keys))}, got {checks.shown(list(state))}.")
    for key in ("name", "horizon"):
        checks.instance(key, state[key], str, "a text")
    return dict(state)


def _checked(decision: Decision) -> None:
    checks.number("multiplier", decision.multiplier, low=0)
    if decision.momentum is not None:
        checks.number("momentum", decision.momentum, low=0, high=1, open_high=True)
    if decision.weight_decay is not None:
        checks.number("weight_decay", decision.weight_decay, low=0)


def _json(value: float) -> float | str:
    """A number as JSON has it: those that are not finite as text."""
    return value if math.isfinite(value) else str(value)


def _too_late(control: Control, total: int) -> int:
    """Updates without any metric after which one that comes as seldom again is too seldom for a control's patience.

    All of them, where it has none that is counted in metrics, or one that is longer than the run.
    """
    held = list(inside(control)) if isinstance(control, AnyControl) else []
    if not held or not isinstance(held[-1], Plateau | Greedy) or "metric" not in held[-1].needs:
        return total
    before = 0
    for each in held:
        if isinstance(each, Then):
            before += sum(lengths(each.schedule.parts, total - before))
    every = (total - before) // (held[-1].patience + 2)
    return min(before + every + 1, total) if every else total


def one_number(name: str, value: Any) -> float:
    """`value` as a float, whatever its library; the control judges what is not finite."""
    try:
        if not isinstance(value, bool | str | bytes):
            return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise BadInput(f"`{name}` must be one number, got {name}={checks.shown(value)}.")
