"""The groups of an optimizer as a schedule writes them: rates, weight decays and momenta, floats and tensors.

Tensors are filled in place, so that what was compiled or captured with them stays valid, and are never read back.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.plan import Settings

__all__ = ["Groups", "Momentum", "Scaled", "known", "own_bases"]

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
        if not all(key in group for group in groups):
            raise BadInput(
                f"`{key}` needs an optimizer whose groups have {key}, but {type(optimizer).__name__} has none; "
                "leave it out."
            )
        self.key = key
        given = [_plain(group[key]) for group in groups] if bases is None else bases
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

    def write(self, optimizer: Optimizer, multiplier: float) -> None:
        """Set the key of every group; nothing waits for the device."""
        groups, key = optimizer.param_groups, self.key
        # loading a state replaces the list, adding a group lengthens it, `tensorize` changes the kind
        if groups is not self.groups or len(groups) != self.count or type(groups[0][key]) is not self.kind:
            if len(groups) < len(self.bases):
                raise BadInput(
                    f"an optimizer must keep its groups, but of {len(self.bases)} it now has {len(groups)}."
                )
            self._look(groups, getattr(optimizer, "defaults", {}).get(key))
        for group, base in self.floats:
            group[key] = base * multiplier
        for values, bases in self.stacks:
            torch.mul(bases, multiplier, out=values)

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
        self.bases += [checks.number(key, _plain(group[key]), low=0) for group in groups[len(self.bases) :]]
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
        self.stacks = [
            (_stacked([held for held, _ in pairs]), torch.tensor([base for _, base in pairs], dtype=torch.float64))
            for pairs in alike.values()
        ]
        self.stacks = [(values, bases.to(values.device)) for values, bases in self.stacks]
        self.groups, self.count, self.kind = groups, len(groups), type(groups[0][key])


class Momentum:
    """`momentum`, or the first of `betas`, of every group: the same for all.

    Raises:
        BadInput: the groups have neither.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        groups = optimizer.param_groups
        self.key = next((key for key in ("momentum", "betas") if all(key in group for group in groups)), "")
        if not self.key:
            raise BadInput(
                "`momentum` needs an optimizer whose groups have momentum or betas, "
                f"but {type(optimizer).__name__} has neither; leave it out."
            )

    def write(self, optimizer: Optimizer, value: float) -> None:
        """Set it in every group."""
        for group in optimizer.param_groups:
            held = group[self.key]
            first = held[0] if self.key == "betas" else held
            if isinstance(first, Tensor):
                first.detach().fill_(value)
            else:
                group[self.key] = (value, *held[1:]) if self.key == "betas" else value


class Groups:
    """All that a schedule sets in the groups of an optimizer; weight decays and momenta once they are asked for."""

    def __init__(self, optimizer: Optimizer, base_lrs: Sequence[float] | None = None) -> None:
        self.lrs = Scaled("lr", optimizer, base_lrs)
        self.momentum: Momentum | None = None
        self.weight_decays: Scaled | None = None

    def prepare(self, optimizer: Optimizer, settings: Settings) -> None:
        """See that the settings can be written, or raise BadInput."""
        if settings.momentum is not None and self.momentum is None:
            self.momentum = Momentum(optimizer)
        if settings.weight_decay is not None and self.weight_decays is None:
            self.weight_decays = Scaled("weight_decay", optimizer)

    def write(self, optimizer: Optimizer, settings: Settings) -> None:
        """Set what is in force during the next update."""
        multiplier, momentum, weight_decay = settings
        self.lrs.write(optimizer, multiplier)
        if momentum is None and weight_decay is None:
            return
        self.prepare(optimizer, settings)  # a control may set them for the first time
        if momentum is not None and self.momentum is not None:
            self.momentum.write(optimizer, momentum)
        if weight_decay is not None and self.weight_decays is not None:
            self.weight_decays.write(optimizer, weight_decay)

    def state(self) -> dict[str, Any]:
        """The bases as JSON values."""
        decays = self.weight_decays
        return {"base_lrs": list(self.lrs.bases), "base_weight_decays": decays and list(decays.bases)}

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
        made = Groups(optimizer, state["base_lrs"])
        if state["base_weight_decays"] is not None:
            made.weight_decays = Scaled("weight_decay", optimizer, state["base_weight_decays"])
        elif self.weight_decays is not None:
            made.weight_decays = Scaled("weight_decay", optimizer, self.weight_decays.bases)
        made.prepare(optimizer, settings)
        return made


def own_bases(optimizer: Optimizer) -> list[float]:
    """The rates of the groups, where they are the groups' own.

    Raises:
        BadInput: they may be what an earlier schedule left there.
    """
    now = [_plain(group["lr"]) for group in optimizer.param_groups]
    earlier = _HAD.get(optimizer)
    if earlier is not None and earlier.lrs.bases != now:
        had = checks.shown(earlier.lrs.bases)
        raise BadInput(
            f"base rates must be told where an earlier schedule has moved an optimizer's rates: it had {had}, and now "
            f"they are {checks.shown(now)}; give base_lrs={had} to begin anew from those, or others."
        )
    return now


def known(optimizer: Optimizer, groups: Groups) -> None:
    """Remember the groups of a schedule on this optimizer, also when the schedule is gone."""
    _HAD[optimizer] = groups


_HAD: "weakref.WeakKeyDictionary[Optimizer, Groups]" = weakref.WeakKeyDictionary()
"""What the last schedule on an optimizer knew of its groups."""


def _plain(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


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
