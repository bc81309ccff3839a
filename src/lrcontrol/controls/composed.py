"""Controls made of others: after a schedule, beside one (product, floor, ceiling), or around another; all controls."""

from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alignment import Alignment
from lrcontrol.controls.control import Decision, Looks, Observation, State, Update, reconsidered
from lrcontrol.controls.cycle_wise import Snapshots, StopEarly, WholeCycles
from lrcontrol.controls.divergence import Divergence
from lrcontrol.controls.greedy import Greedy
from lrcontrol.controls.holding import Around, Holds, check_nested
from lrcontrol.controls.hypergradient import Hypergradient
from lrcontrol.controls.l4 import L4
from lrcontrol.controls.learned import Learned
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.polyak import Polyak
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.schedules.cycle_ends import Ends, ends_of, fewest
from lrcontrol.schedules.laying import lengths
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.schedule import Schedule

__all__ = [
    "AnyControl",
    "AtLeast",
    "AtMost",
    "Clip",
    "Looking",
    "Single",
    "StopOnDivergence",
    "Then",
    "Times",
]


class _Beside(Holds, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """A schedule and a control over the same steps, their multipliers taken together."""

    schedule: Schedule
    inner: "Looking"

    def __post_init__(self) -> None:
        _check(self.schedule, self.inner)

    @property
    def _held(self) -> "AnyControl":
        return self.inner

    def ends(self, total_steps: int) -> Ends:
        """Where the longer cycles of the two end."""
        return fewest([ends_of(self.schedule, total_steps), self.inner.ends(total_steps)])

    def join(self, one: float, other: float) -> float:
        """The multiplier of the schedule and that of the control, taken together."""
        raise NotImplementedError

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        decision, inner = self.inner.start(total_steps)
        return self._joined(decision, 0, total_steps), {"step": 0, "total_steps": total_steps, "inner": inner}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`."""
        decision, inner = self.inner.next(state["inner"], seen)
        step, total = seen.step + 1, state["total_steps"]
        return self._joined(decision, step, total), {"step": step, "total_steps": total, "inner": inner}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The decision for the update that is about to be made."""
        decision, inner = reconsidered(self.inner, state["inner"], update)
        return self._joined(decision, state["step"], state["total_steps"]), {**state, "inner": inner}

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit where a schedule is longer than `total_steps`, or leaves a control no step."""
        self.schedule.multiplier(0, total_steps)
        self.inner.check_fits(total_steps)

    def _joined(self, decision: Decision, step: int, total_steps: int) -> Decision:
        multiplier = self.join(decision.multiplier, self.schedule.multiplier(step, total_steps))
        return msgspec.structs.replace(decision, multiplier=multiplier)


class Times(_Beside, frozen=True, tag="times"):
    """The product of a schedule and a control, laid over the same steps; in text `cosine*plateau`.

    Args:
        schedule: over the steps that the control has.
        inner: the control whose multipliers it multiplies.
    """

    @property
    def sets_rate(self) -> bool:
        """Whether that of the control inside is the same whatever the base rate."""
        return self.inner.sets_rate

    def join(self, one: float, other: float) -> float:
        """The product."""
        return one * other


class AtLeast(_Beside, frozen=True, tag="at_least"):
    """A control that a schedule keeps from falling lower; in text `max(cosine*plateau, 0.1)`.

    Args:
        schedule: the floor, over the steps that the control has.
        inner: the control, which does not know of the floor.
    """

    def join(self, one: float, other: float) -> float:
        """The larger."""
        return max(one, other)


class AtMost(_Beside, frozen=True, tag="at_most"):
    """A control that a schedule keeps from being higher; in text `min(plateau, warmup(0.1)+constant)`.

    Args:
        schedule: the ceiling, over the steps that the control has.
        inner: the control, which does not know of the ceiling.
    """

    def join(self, one: float, other: float) -> float:
        """The smaller."""
        return min(one, other)


class Then(Holds, frozen=True, forbid_unknown_fields=True, tag_field="control", tag="then"):
    """A schedule for its own length, and after it a control; in text `warmup(0.05)+plateau`.

    The control is told of the updates from the schedule's end on, and its steps are counted from there.

    Args:
        schedule: no part of which takes the rest of the run.
        inner: the control that takes it.
    """

    schedule: Schedule
    inner: "Looking"

    def __post_init__(self) -> None:
        _check(self.schedule, self.inner)
        if any(part.takes_rest for part in self.schedule.parts):
            raise BadInput(
                f"the schedule before a control must have a length of its own, got {self.schedule}; "
                "give each part `share` or `steps`, as in warmup(0.05)+plateau."
            )

    @property
    def _held(self) -> "AnyControl":
        return self.inner

    def ends(self, total_steps: int) -> Ends:
        """Where the cycles of both end."""
        length = self._length(total_steps)
        before, after = (
            ends_of(self.schedule, length) if length else Ends([], True),
            self.inner.ends(total_steps - length),
        )
        return Ends([*before.places, *(length + place for place in after.places)], after.whole)

    def looks(self, total_steps: int) -> Looks:
        """When the control inside wants to be shown the metric, counted from the beginning."""
        length = self._length(total_steps)
        often, at = self.inner.looks(total_steps - length)
        return Looks(often, frozenset(length + place for place in at))

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        total = checks.integer("total_steps", total_steps, low=1)
        return self._at(0, total, None)

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`."""
        total, inner = state["total_steps"], state["inner"]
        if inner is None:
            return self._at(seen.step + 1, total, None)
        shifted = msgspec.structs.replace(seen, step=seen.step - self._length(total))
        decision, inner = self.inner.next(inner, shifted)
        return decision, {"step": seen.step + 1, "total_steps": total, "inner": inner}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The decision for the update that is about to be made; the control is not asked before its turn."""
        if state["inner"] is None:
            return self._at(state["step"], state["total_steps"], None)
        decision, inner = reconsidered(self.inner, state["inner"], update)
        return decision, {**state, "inner": inner}

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit where the schedule leaves the control no step."""
        self.inner.check_fits(total_steps - self._length(total_steps))

    def _at(self, step: int, total: int, inner: Any) -> tuple[Decision, State]:
        length = self._length(total)
        if step >= length:
            decision, inner = self.inner.start(total - length)
        else:
            decision = Decision((self.schedule + constant()).multiplier(step, total))
        return decision, {"step": step, "total_steps": total, "inner": inner}

    def _length(self, total: int) -> int:
        length = sum(lengths(self.schedule.parts, total))
        if length >= total:
            raise DoesNotFit(
                f"a schedule before a control must leave it steps: {self.schedule} takes {length} of {total}."
            )
        return length


class Clip(Around, frozen=True, tag="clip"):
    """A control, under which gradients are clipped; in text `clip(warmup(0.05)+cosine, norm=1)`.

    Where the L2 norm of the gradient of all parameters together is larger than `norm`, it is scaled down to that
    before the update. What a control is shown of gradients is of before.

    Args:
        inner: a schedule or a control; its multipliers are left as they are.
        norm: > 0; the smallest of two where one is around the other.
    Source:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1.
    Example:
        >>> from lrcontrol.controls.text import control
        >>> control("clip(cosine, norm=0.5)").start(100)[0].clip
        0.5
    """

    norm: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        norm = checks.number("norm", self.norm, low=0, open_low=True)
        msgspec.structs.force_setattr(self, "norm", norm)

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        decision, inner = self.inner.start(total_steps)
        return self._clipped(decision), {"inner": inner}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`."""
        decision, inner = self.inner.next(state["inner"], seen)
        return self._clipped(decision), {"inner": inner}

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The decision for the update that is about to be made."""
        decision, after = super().reconsider(state, update)
        return self._clipped(decision), after

    def _clipped(self, decision: Decision) -> Decision:
        clip = self.norm if decision.clip is None else min(self.norm, decision.clip)
        return msgspec.structs.replace(decision, clip=clip)


class StopOnDivergence(Around, frozen=True, tag="stop_on_divergence"):
    """A control, ended where the loss diverges; in text `stop_on_divergence(warmup(0.05)+cosine, factor=4)`.

    The rule is that of `lrcontrol.controls.divergence.Divergence`.

    Args:
        inner: a schedule or a control; its multipliers are left as they are.
        factor: > 0; how many times as far above its lowest a loss may rise as it has fallen.
    Source:
        Smith 2017, arXiv:1506.01186, section 3.3, on where a range test may end.
    Example:
        >>> from lrcontrol.controls.text import control
        >>> ending = control("stop_on_divergence(cosine)")
        >>> decision, state = ending.start(100)
        >>> ending.next(state, Observation(0, loss=float("nan")))[0].stop
        'the loss was not finite at update 0'
    """

    factor: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "factor", self._rule.factor)

    @property
    def needs(self) -> frozenset[str]:
        """The loss of every update, and what the control inside needs."""
        return super().needs | {"loss"}

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        decision, inner = self.inner.start(total_steps)
        return decision, {"inner": inner, "seen": self._rule.start()}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`, which says stop where the losses say so."""
        decision, inner = self.inner.next(state["inner"], seen)
        reason, after = self._rule.next(state["seen"], seen.step, seen.loss)
        if decision.stop is None and reason is not None:
            decision = msgspec.structs.replace(decision, stop=reason)
        return decision, {"inner": inner, "seen": after}

    @property
    def _rule(self) -> Divergence:
        return Divergence(self.factor)


Single = Plateau | Hypergradient | Polyak | L4 | Alignment | Greedy | Learned
"""A control that stands for itself."""

Looking = Single | Times | AtLeast | AtMost | Then | Clip | StopOnDivergence | StopEarly | WholeCycles | Snapshots
"""A control that looks, alone, beside schedules or around another."""

AnyControl = Scheduled | Looking
"""Every control: a schedule, with schedules of momentum and weight decay beside it, or one that looks."""


def _check(schedule: Schedule, inner: Looking) -> None:
    checks.instance("schedule", schedule, Schedule, "a Schedule")
    checks.instance("inner", inner, Looking, "a control such as Plateau()")
    check_nested(inner, (schedule,))
