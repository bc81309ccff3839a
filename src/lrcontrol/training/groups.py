"""The groups of an optimizer as a schedule writes them: rates, weight decays and momenta, floats and tensors.

Tensors are filled in place, so that what was compiled or captured with them stays valid, and are never read back.
"""

import operator
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.plan import Settings
from lrcontrol.training.updates import begun

__all__ = ["Groups", "Momentum", "Scaled", "known", "left_over", "own_bases"]

_SLOT = 16  # bytes between the values of a stack: the alignment that compiled code may ask of a tensor


class Scaled:
    """`group[key]` as its own base times a multiplier; a group added later joins with what it has then.

    Float64 products, rounded once to the type of the tensor. Scalar tensors of one device and type lie side by side
    in one buffer, so that one call fills them all: they stay the objects they are, only their storage is moved.

    Args:
        key: `lr` or `weight_decay`.
        optimizer: its groups now.
        bases: one number >= 0 per group; by default what the groups have.
    Raises:
        BadInput: a bad base, or a group without the key.
    """

    def __init__(self, key: str, optimizer: Optimizer, bases: Sequence[float] | None = None) -> None:
        groups = optimizer.param_groups
        _all_have(key, optimizer)
        self.key = key
        given = [_plain(key, group) for group in groups] if bases is None else bases
        self.bases = _checked_bases(f"base_{key}s", given, len(groups))
        self.forget()

    def forget(self) -> None:
        """Look at the groups anew before the next value is written."""
        # what was looked at, and what to write; a scheduler's step takes the floats from here
        self.groups: list[dict[str, Any]] | None = None
        self.count = 0
        self.kind: type = object
        self.floats: list[tuple[dict[str, Any], float]] = []
        self.stacks: list[tuple[Tensor, Tensor]] = []  # values, float64 bases
        self.tensors: set[int] = set()  # ids of the tensors that are filled

    def write(self, optimizer: Optimizer, multiplier: float) -> None:
        """Set the key of every group; nothing waits for the device."""
        groups, key = optimizer.param_groups, self.key
        # loading a state replaces the list, adding a group lengthens it, `tensorize` changes the kind
        if groups is not self.groups or len(groups) != self.count or type(groups[0][key]) is not self.kind:
            self._look(groups, getattr(optimizer, "defaults", {}).get(key))
        for group, base in self.floats:
            group[key] = base * multiplier
        for values, bases in self.stacks:
            torch.mul(bases, multiplier, out=values)

    def regroup(self, groups: list[dict[str, Any]], places: Sequence[int | None]) -> None:
        """Take the groups there are now: where each was before, or None where it is new and has its own base."""
        key = self.key
        self.bases = [
            checks.number(key, _plain(key, group), low=0) if place is None else self.bases[place]
            for group, place in zip(groups, places, strict=True)
        ]
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"key": self.key, "bases": list(self.bases)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.key, self.bases = state["key"], state["bases"]
        self.forget()

    def _look(self, groups: list[dict[str, Any]], default: object) -> None:
        """Take the floats and stack the tensors of `groups`.

        torch gives the default's own tensor to every group that names none: it is left alone.
        """
        key = self.key
        self.floats = []
        alike: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, float]]] = {}
        taken = {id(default)}
        for group, base in zip(groups, self.bases, strict=True):
            held = group[key]
            if not isinstance(held, Tensor):
                self.floats.append((group, base))
                continue
            if not held.is_floating_point():
                raise BadInput(f"a tensor `{key}` must be of a floating type, got {held.dtype}.")
            if id(held) in taken:
                group[key] = held = held.clone()
            taken.add(id(held))
            alike.setdefault((held.device, held.dtype), []).append((held, base))
        self.tensors = {id(held) for pairs in alike.values() for held, _ in pairs}
        self.stacks = [
            (_stacked([held for held, _ in pairs]), torch.tensor([base for _, base in pairs], dtype=torch.float64))
            for pairs in alike.values()
        ]
        self.stacks = [(values, bases.to(values.device)) for values, bases in self.stacks]
        self.groups, self.count, self.kind = groups, len(groups), type(groups[0][key])


class Momentum:
    """`momentum`, or the first of `betas`, of every group: the same for all, also where it was 0.

    Args:
        optimizer: its groups now.
        first: what it begins with.
    Raises:
        BadInput: the groups have neither, or the optimizer cannot begin without any.
    """

    def __init__(self, optimizer: Optimizer, first: float) -> None:
        groups = optimizer.param_groups
        self.key = next((key for key in ("momentum", "betas") if all(key in group for group in groups)), "")
        if not self.key:
            raise BadInput(
                "`momentum` needs an optimizer whose groups have momentum or betas, "
                f"but {type(optimizer).__name__} has neither; leave it out."
            )

        if first == 0 and isinstance(optimizer, torch.optim.RMSprop):  # it makes its buffers at the first update
            raise BadInput("the momentum of RMSprop must begin above 0, got 0; begin with a small one, as 0.001.")

    def write(self, optimizer: Optimizer, value: float) -> None:
        """Set it in every group."""
        for group in optimizer.param_groups:
            held = group[self.key]
            first = held[0] if self.key == "betas" else held
            if isinstance(first, Tensor):
                first.detach().fill_(value)
            else:
                group[self.key] = (value, *held[1:]) if self.key == "betas" else value


class _Roll:
    """Which groups an optimizer had when they were last looked at."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self._list, self._groups = groups, list(groups)
        self._firsts = [next(iter(group["params"]), None) for group in groups]

    def holds(self, groups: list[dict[str, Any]]) -> bool:
        """Whether these are the same groups in the same places."""
        return len(groups) == len(self._groups) and all(map(operator.is_, groups, self._groups))

    def places(self, groups: list[dict[str, Any]]) -> list[int | None]:
        """Where each of these groups was, or None where it is new.

        A group may be another dict of the same parameters: where an optimizer has loaded a state, all are; where one
        was put in by hand, it is the old one if it has its rate, and else a group of its own.

        Raises:
            BadInput: none of them was there, and they are fewer.
        """
        loaded = groups is not self._list
        by_dict = {id(group): place for place, group in enumerate(self._groups)}
        by_first = {id(first): place for place, first in enumerate(self._firsts) if first is not None}
        found: list[int | None] = []
        for group in groups:
            place = by_dict.get(id(group))
            if place is None:
                place = by_first.get(id(next(iter(group["params"]), None)))
                if place is not None and not loaded and group["lr"] is not self._groups[place]["lr"]:
                    place = None
            found.append(place)
        if not loaded or any(place is not None for place in found):
            return found
        if len(groups) < len(self._groups):
            raise BadInput(f"an optimizer must keep its groups, but of {len(self._groups)} it now has {len(groups)}.")
        return [place if place < len(self._groups) else None for place in range(len(groups))]


class Groups:
    """All that a schedule sets in the groups of an optimizer; weight decays and momenta once they are asked for.

    Args:
        optimizer: its groups now.
        base_lrs: one number >= 0 per group; by default what the groups have.
        base_weight_decays: the same of the weight decays; one at least is above 0.
    Raises:
        BadInput: not one base per group, or no weight decay to multiply.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lrs: Sequence[float] | None = None,
        base_weight_decays: Sequence[float] | None = None,
    ) -> None:
        self.lrs = Scaled("lr", optimizer, base_lrs)
        self.momentum: Momentum | None = None
        self.weight_decays = None if base_weight_decays is None else _decays(optimizer, base_weight_decays, sure=True)
        self._roll: _Roll | None = _Roll(optimizer.param_groups)

    def prepare(self, optimizer: Optimizer, settings: Settings) -> None:
        """See that the settings can be written, or raise BadInput."""
        if settings.momentum is not None and self.momentum is None:
            self.momentum = Momentum(optimizer, settings.momentum)
        if settings.weight_decay is not None and self.weight_decays is None:
            own = own_bases("weight_decay", optimizer)
            self.weight_decays = _decays(optimizer, own, sure=not begun(optimizer))

    @property
    def idle_decays(self) -> str | None:
        """Why a schedule of the weight decay does nothing, or None; a state that is loaded may say otherwise."""
        if self.weight_decays is None or any(self.weight_decays.bases):
            return None
        return (
            "a schedule multiplies the weight decay of every group, but all of them are 0, so that it does nothing; "
            "give base_weight_decays if another has moved them there, or load a state."
        )

    def changed(self, optimizer: Optimizer) -> bool:
        """Whether groups were added, removed or put in the place of others; then they are looked at anew."""
        groups = optimizer.param_groups
        if self._roll is not None and self._roll.holds(groups):
            return False
        if self._roll is not None:
            places = self._roll.places(groups)
            for each in (self.lrs, self.weight_decays):
                if each is not None:
                    each.regroup(groups, places)
        self._roll = _Roll(groups)
        return True

    def idle(self, optimizer: Optimizer, multiplier: float) -> bool:
        """Whether somebody else has set all rates to 0: so torch.distributed.checkpoint steps, to make states."""
        found = False
        for group, base in zip(optimizer.param_groups, self.lrs.bases, strict=False):
            rate = group["lr"]
            ours = id(rate) in self.lrs.tensors if isinstance(rate, Tensor) else rate != 0
            if ours or float(rate) != 0:
                return False
            found = found or base * multiplier > 0
        return found

    def write(self, optimizer: Optimizer, settings: Settings) -> None:
        """Set what is in force during the next update."""
        multiplier, momentum, weight_decay = settings
        self.changed(optimizer)
        self.lrs.write(optimizer, multiplier)
        if momentum is None and weight_decay is None:
            return
        self.prepare(optimizer, settings)  # a control may set them for the first time
        if momentum is not None and self.momentum is not None:
            self.momentum.write(optimizer, momentum)
        if weight_decay is not None and self.weight_decays is not None:
            self.weight_decays.write(optimizer, weight_decay)

    def state(self, *, decays: bool) -> dict[str, Any]:
        """The bases as JSON values, those of the weight decays only if asked for."""
        scaled = self.weight_decays if decays else None
        return {"base_lrs": list(self.lrs.bases), "base_weight_decays": scaled and list(scaled.bases)}

    def restored(self, optimizer: Optimizer, settings: Settings, state: dict[str, Any]) -> "Groups":
        """The groups with the bases of a state; these ones are not changed.

        Raises:
            BadInput: not one base per group.
        """
        checks.instance("base_lrs", state["base_lrs"], list | tuple, "a list of the state's base rates")
        if len(state["base_lrs"]) != len(optimizer.param_groups):
            raise BadInput(
                f"the state must be of an optimizer with as many groups: it has {len(state['base_lrs'])}, and this "
                f"optimizer has {len(optimizer.param_groups)}; add the groups that are missing first."
            )
        decays = state["base_weight_decays"]
        if decays is None and self.weight_decays is not None:
            decays = self.weight_decays.bases
        made = Groups(optimizer, state["base_lrs"])
        if decays is not None:
            made.weight_decays = Scaled("weight_decay", optimizer, decays)
        made.prepare(optimizer, settings)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_roll": None}


def _decays(optimizer: Optimizer, bases: Sequence[float], *, sure: bool) -> Scaled:
    """The weight decays of the groups, to be multiplied; BadInput where it is `sure` that this does nothing."""
    made = Scaled("weight_decay", optimizer, bases)
    if sure and not any(made.bases):
        raise BadInput(
            "`weight_decay` needs an optimizer of which a group has some, but that of every group of "
            f"{type(optimizer).__name__} is 0; make it with some, as in weight_decay=0.01, give base_weight_decays "
            "if a schedule has moved it to 0, or leave it out."
        )
    return made


def own_bases(key: str, optimizer: Optimizer) -> list[float]:
    """The rates or weight decays of the groups, where they are the groups' own.

    Args:
        key: `lr` or `weight_decay`.
        optimizer: its groups now.
    Raises:
        BadInput: they may be what an earlier schedule left there.
    """
    groups = optimizer.param_groups
    _all_have(key, optimizer)
    now = [_plain(key, group) for group in groups]
    earlier = _HAD.get(optimizer)
    scaled = None if earlier is None else earlier.lrs if key == "lr" else earlier.weight_decays
    if scaled is None:
        return now
    had = [*scaled.bases[: len(now)], *now[len(scaled.bases) :]]
    if all(_is(group[key], base) for group, base in zip(groups, had, strict=True)):
        return had
    name = "base_lrs" if key == "lr" else "base_weight_decays"
    raise BadInput(
        f"`{name}` must be told where an earlier schedule has moved them on an optimizer: they were "
        f"{checks.shown(had)}, and the groups now have {checks.shown(now)}; give {name}={checks.shown(had)} to begin "
        "anew from those, or others."
    )


def left_over(optimizer: Optimizer) -> str | None:
    """Why the rates of the groups may be what a schedule of torch left there, or None.

    Those keep a group's base rate in it as `initial_lr`. No rate is ever taken from there.
    """
    groups = optimizer.param_groups
    _all_have("lr", optimizer)
    begun = [group.get("initial_lr", group["lr"]) for group in groups]
    if all(isinstance(each, Tensor) or _is(group["lr"], each) for group, each in zip(groups, begun, strict=True)):
        return None
    now, had = [_plain("lr", group) for group in groups], [float(each) for each in begun]
    return (
        f"the base learning rates are taken to be those that the groups have, {checks.shown(now)}, but another "
        f"schedule began on them at {checks.shown(had)}; give base_lrs={checks.shown(had)} to begin at those, "
        f"base_lrs={checks.shown(now)} if these are meant, or load a state."
    )


def known(optimizer: Optimizer, groups: Groups) -> None:
    """Remember the groups of a schedule on this optimizer, also when the schedule is gone."""
    _HAD[optimizer] = groups


_HAD: "weakref.WeakKeyDictionary[Optimizer, Groups]" = weakref.WeakKeyDictionary()
"""What the last schedule on an optimizer knew of its groups."""


def _all_have(key: str, optimizer: Optimizer) -> None:
    if not all(key in group for group in optimizer.param_groups):
        raise BadInput(
            f"`{key}` needs an optimizer whose groups have {key}, but {type(optimizer).__name__} has none; "
            "leave it out."
        )


def _plain(key: str, group: dict[str, Any]) -> float:
    """What a group has there, as a float."""
    held = group.get(key)
    try:
        return float(held.detach() if isinstance(held, Tensor) else held)  # type: ignore[arg-type] # is judged here
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(
            f"every group of an optimizer must have one number as its `{key}`, got {checks.shown(held)}; an optimizer "
            "that finds it by itself takes no schedule."
        ) from None


def _is(held: Any, base: float) -> bool:
    """Whether a group's value is this base, rounded to the type of its tensor."""
    if isinstance(held, Tensor):
        return bool(held.detach().cpu() == torch.tensor(base, dtype=held.dtype))
    return bool(held == base)


def _checked_bases(name: str, given: Any, groups: int) -> list[float]:
    """`given` as one float >= 0 per group, or BadInput."""
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != groups:
        raise BadInput(f"`{name}` must have one number per group ({groups}), got {name}={checks.shown(given)}.")
    return [checks.number(name, base, low=0) for base in given]


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Shape (len(tensors),): the values of the tensors, whose storage it is from now on."""
    first = tensors[0].detach()
    if len(tensors) == 1:
        return first.reshape(1)
    slots = torch.empty(len(tensors), _SLOT // first.element_size(), dtype=first.dtype, device=first.device)
    for tensor, slot in zip(tensors, slots, strict=True):
        slot[:1] = tensor.detach().reshape(1)
        tensor.data = slot[:1].view(tensor.shape)
    return slots[:, 0]
