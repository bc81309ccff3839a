"""Whose a saved state is: optimizers here load what their own kind saved, torch's SGD and AdamW among them."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["KEPT_BY_ANY", "KIND", "OfTorch", "class_in_torch", "other_kind", "refuse_others"]

KIND = "lrcontrol_kind"
"""Where groups of optimizers that are not torch's have the name of their class: two of them may set the same."""

KEPT_BY_ANY = (
    *("x0", "average", "p0", "s", "exp_avg", "exp_avg_sq", "z", "scale", "sum", "won", "bet", "delta"),
    *("momentum_buffer", "max_exp_avg_sq"),
)
"""What optimizers here and torch's SGD and AdamW have in the state of a parameter."""

Why = Callable[[dict[str, Any]], str | None]


def refuse_others(name: str, state_dict: Any, not_of_group: Why, not_of_parameter: Why) -> None:
    """BadInput unless it is the state of an optimizer of this kind; what others add to one is left alone.

    Args:
        name: of the kind.
        state_dict: what is to be loaded.
        not_of_group: why a saved group cannot be of this kind, or None.
        not_of_parameter: likewise what was saved of a parameter.
    """
    checks.instance("state_dict", state_dict, dict, "what state_dict() gave")
    groups, states = state_dict.get("param_groups"), state_dict.get("state")
    why = None
    if not isinstance(groups, list | tuple) or not isinstance(states, dict):
        why = "no `param_groups` or no `state`"
    else:
        whys = [*map(not_of_group, groups), *map(not_of_parameter, states.values())]
        why = next(filter(None, whys), None)
    if why:
        raise BadInput(
            f"a state must be of {name} to be loaded into it, got {why}; load it into an optimizer "
            "of the kind that saved it."
        )


def other_kind(state: dict[str, Any], has: tuple[str, ...], may: tuple[str, ...] = ()) -> str | None:
    """Why what was saved of a parameter cannot be of an optimizer that keeps this; empty before its first step."""
    missing = next((name for name in has if name not in state), None) if state else None
    foreign = next((name for name in KEPT_BY_ANY if name in state and name not in has + may), None)
    if missing:
        return f"a parameter without `{missing}`"
    return foreign and f"a parameter with `{foreign}`"


class OfTorch(Optimizer):
    """One of torch's optimizers that loads no state of another kind; torch's own and it load what the other saved.

    torch's own takes the groups of any optimizer for its own, with their rate, and fails at the next step or goes on.
    """

    _sets: tuple[str, ...] = ()
    """What every group of torch's versions has, beside the rate."""

    _keeps: tuple[str, ...] = ()
    """What every parameter that has been stepped has in its state."""

    _may_keep: tuple[str, ...] = ()
    """What it has there in some cases."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, here, elsewhere, or of torch's own class."""
        refuse_others(type(self).__name__, state_dict, self._not_of_group, self._not_of_parameter)
        super().load_state_dict(state_dict)

    def _not_of_group(self, group: dict[str, Any]) -> str | None:
        if group.get(KIND):
            return f"one of {group[KIND]}"
        missing = next((name for name in ("lr", *self._sets) if name not in group), None)
        return missing and f"a group without `{missing}`"

    def _not_of_parameter(self, state: dict[str, Any]) -> str | None:
        return other_kind(state, self._keeps, self._may_keep)


def class_in_torch(optimizer: Optimizer) -> type[Optimizer]:
    """The class of an optimizer; torch's of one that steps as torch's does and only loads otherwise."""
    kind = type(optimizer)
    found: type[Optimizer] = kind.__bases__[1] if OfTorch in kind.__bases__ else kind
    return found
