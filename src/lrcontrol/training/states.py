"""States of a schedule on an optimizer: what is saved, what is read, and what is done where the two disagree."""

from typing import Any, Literal

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.horizon import Horizon
from lrcontrol.training.closed import Loop
from lrcontrol.training.course import Change
from lrcontrol.training.plan import Plan

__all__ = ["FORMAT", "MISMATCHES", "STATE", "VERSION", "OnMismatch", "agreed", "read_state"]

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
    checks.instance("updated", state["updated"], bool, "true or false")
    step = checks.integer("step", state["step"])
    ticks, told = (checks.integer(name, state[name], high=2**63) for name in ("ticks", "told"))
    return {**state, "step": step, "ticks": ticks, "told": told}


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
    if on_mismatch == "replace" and not ours.horizon.counted:
        return ours
    was = control["name"] if plan is None else plan["schedule"]
    raise BadInput(
        f"the state must be of this schedule or control: it is of {checks.shown(was)}, and this is {ours}; build with "
        "the former to go on, or with on_mismatch='replace' to begin the latter at the saved step."
    )


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
