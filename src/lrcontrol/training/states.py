"""States of a schedule on an optimizer: what is saved, what is read, and what is done where the two disagree."""

from collections.abc import Sequence
from typing import Any, Literal

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon, horizon
from lrcontrol.training.closed import Loop, read_loop_state
from lrcontrol.training.course import Change
from lrcontrol.training.plan import Plan

__all__ = ["FORMAT", "MISMATCHES", "STATE", "VERSION", "OnMismatch", "agreed", "read_state", "with_bases"]

FORMAT, VERSION = "lrcontrol/torch-schedule", 2
MISMATCHES = ("raise", "keep", "rescale", "replace")
OnMismatch = Literal["raise", "keep", "rescale", "replace"]
STATE = (
    "format",
    "version",
    "plan",
    "control",
    "beyond",
    "step",
    "updated",
    "ticks",
    "told",
    "base_lrs",
    "base_weight_decays",
)
_STATE_1 = ("format", "version", "schedule", "horizon", "beyond", "step", "base_lrs")
_PLAN = ("schedule", "momentum", "weight_decay", "horizon", "ticks", "changes")


def read_state(state: Any) -> dict[str, Any]:
    """A state of this version with the right keys and plain values, from one of any version.

    Raises:
        BadInput: no state of ours, or a value that cannot be one; the sentence names it.
    """
    checks.instance("state_dict", state, dict, "what state_dict() gave")
    version = state.get("version")
    if state.get("format") != FORMAT or isinstance(version, bool) or version not in (1, VERSION):
        raise BadInput(
            f'a state must have "format": "{FORMAT}" and version 1 or {VERSION}, '
            f"got {checks.shown(state.get('format'))}, {checks.shown(version)}."
        )
    _exactly(state, _STATE_1 if version == 1 else STATE)
    if version == 1:
        state = _from_version_1(state)
    if state["plan"] is not None:
        checks.instance("plan", state["plan"], dict, "what a plan is kept as")
        _exactly(state["plan"], _PLAN)
    if (state["plan"] is None) is (state["control"] is None):
        raise BadInput("a state must have either a plan or a control, got both or none.")
    checks.one_of("rule past the end", state["beyond"], ("hold", "raise"))
    checks.instance("updated", state["updated"], bool, "true or false")
    step = checks.integer("step", state["step"])
    ticks, told = (checks.integer(name, state[name], high=2**63) for name in ("ticks", "told"))
    plan, control = state["plan"], state["control"]
    in_steps = plan is None or horizon(plan["horizon"]).unit in ("steps", "epochs")
    if in_steps and not step == ticks == told:
        raise BadInput(f"a state over steps must have one count of them, got {step}, {ticks} and {told}.")
    if plan is not None and plan["weight_decay"] is None and state["base_weight_decays"] is not None:
        raise BadInput("a state without a schedule of the weight decay must have no `base_weight_decays`, got some.")
    read = {"control": None if control is None else read_loop_state(control)}
    return {**state, **read, "step": step, "ticks": ticks, "told": told}


def with_bases(state: dict[str, Any], given: Sequence[float] | None, on_mismatch: OnMismatch) -> dict[str, Any]:
    """The state with the base rates to go on with: its own, unless others were given and are to replace them.

    Raises:
        BadInput: other base rates were given, and nothing says what to do.
    """
    saved = state["base_lrs"]
    if given is None or not isinstance(saved, list | tuple) or list(saved[: len(given)]) == list(given):
        return state
    if on_mismatch == "replace":
        return {**state, "base_lrs": [*given, *saved[len(given) :]]}
    if on_mismatch == "raise":
        raise BadInput(
            f"the state must have the base rates that were given: it has {checks.shown(list(saved))}, and base_lrs is "
            f"{checks.shown(list(given))}; leave base_lrs out or build with on_mismatch='keep' to go on with the "
            "former, or with 'replace' for the latter."
        )
    return state


def agreed(ours: Plan | Loop, state: dict[str, Any], on_mismatch: OnMismatch) -> Plan | Loop:
    """What to go on with after a state that `read_state` gave: the saved one where both agree, else as is said.

    Plans agree where the schedules are the same and this horizon is the one the saved run began with or now has.

    Raises:
        BadInput: they do not agree and `on_mismatch` is `raise`, or cannot do what it says.
    """
    plan, control = state["plan"], state["control"]
    if isinstance(ours, Plan) and plan is not None:
        return _agreed_plan(ours, Plan.from_state(plan), on_mismatch, state["ticks"])
    if isinstance(ours, Loop) and control is not None and ours.fits(control):
        return ours.restored(control)
    saved = Plan.from_state(plan) if plan is not None else None
    in_steps = not ours.horizon.counted and (saved is None or not saved.horizon.counted)
    if on_mismatch == "keep" and in_steps:
        return saved or Loop.of(control).restored(control)
    if on_mismatch == "replace" and not ours.horizon.counted:
        return ours.begun_at(state["step"]) if isinstance(ours, Loop) else ours
    was = saved or _told(control)
    raise BadInput(
        f"the state must be of this schedule or control: it is of {was}, and this is {ours}; build with the former to "
        "go on, with on_mismatch='keep' to go on with the saved one, or with 'replace' to begin this one at the saved "
        "step."
    )


def _told(control: dict[str, Any]) -> str:
    """A saved control, also one that has no text to be made from."""
    return f"{checks.shown(control['name'])} over {control['horizon']}, {control.get('direction', 'minimize')}"


def _agreed_plan(ours: Plan, saved: Plan, on_mismatch: OnMismatch, ticks: int) -> Plan:
    same_unit = ours.first.unit == saved.first.unit
    same_horizon = same_unit and ours.horizon.ticks in (saved.first.ticks, saved.horizon.ticks)
    if saved.texts == ours.texts and same_horizon:
        return saved
    if on_mismatch == "raise":
        raise BadInput(
            f"the state must be of this schedule and horizon: it is of {saved}, and this is {ours}; build with "
            "on_mismatch='keep' to go on with the saved ones, 'rescale' to lay what is left of the saved curve over "
            "this horizon, or 'replace' to go on from the saved step with these."
        )
    if saved.first.unit != ours.first.unit:
        raise BadInput(
            f"on_mismatch='{on_mismatch}' needs horizons in one unit, got {saved.horizon} in the state and "
            f"{ours.horizon} here; build with the former, or do not load the state."
        )
    if on_mismatch == "replace":
        return ours
    if on_mismatch == "rescale" and not same_horizon and ticks >= saved.horizon.ticks:
        raise BadInput(
            f"all of the saved {saved} has been made, and nothing is left to rescale; build with "
            f"on_mismatch='replace' to follow {ours} from the saved step."
        )
    return (
        saved if same_horizon or on_mismatch == "keep" else saved.changed(Change(ticks, ours.course.total, "rescale"))
    )


def _exactly(state: dict[str, Any], keys: tuple[str, ...]) -> None:
    if set(state) != set(keys):
        raise BadInput(f"a state must have exactly {', '.join(keys)}, got {checks.shown(list(state))}.")


def _from_version_1(state: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had steps only, no change of them, and neither momentum nor weight decay."""
    steps = Horizon(checks.integer("horizon", state["horizon"], low=1), "steps")
    step = checks.integer("step", state["step"])
    plan = {
        "schedule": state["schedule"],
        "momentum": None,
        "weight_decay": None,
        "horizon": str(steps),
        "ticks": steps.ticks,
        "changes": [],
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "plan": plan,
        "control": None,
        "beyond": state["beyond"],
        "step": step,
        "updated": False,
        "ticks": step,
        "told": step,
        "base_lrs": state["base_lrs"],
        "base_weight_decays": None,
    }
