"""Controls made of others: after a schedule, beside one (product, floor, ceiling), or around what they end."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.controls.alignment import Alignment
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.control import Decision, Looks, Observation, State, Update, reconsidered
from lrcontrol.controls.divergence import Divergence
from lrcontrol.controls.greedy import Greedy
from lrcontrol.controls.hypergradient import Hypergradient
from lrcontrol.controls.l4 import L4
from lrcontrol.controls.learned import Learned
from lrcontrol.controls.patience import Patience
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.polyak import Polyak
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.schedules.cycle_ends import Ends, ends_of, fewest
from lrcontrol.schedules.laying import lengths
from lrcontrol.schedules.recipes.cycles import snapshot
from lrcontrol.schedules.recipes.single import constant
from lrcontrol.schedules.schedule import DEEPEST, Schedule, check_written

__all__ = [
    "AnyControl",
    "AtLeast",
    "AtMost",
    "Clip",
    "Ensemble",
    "Looking",
    "Single",
    "Snapshots",
    "StopEarly",
    "StopOnDivergence",
    "Then",
    "Times",
    "WholeCycles",
    "inside",
    "snapshots",
]

MOST_LOOKS = 50  # at cycle ends: of more cycles than that some are passed over, evenly

Ensemble = Literal["greedy", "all"]
"""Which snapshots are members: those whose predictions together are best on validation, or all of them."""


class _Holds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """What holds a control, and is as it in all that it does not change."""

    @property
    def _held(self) -> "AnyControl":
        raise NotImplementedError

    @property
    def needs(self) -> frozenset[str]:
        """What the control inside needs."""
        return self._held.needs

    @property
    def price(self) -> int:
        """What an update costs under the control inside."""
        return self._held.price

    @property
    def ensemble(self) -> Ensemble | None:
        """Which of the weights that are kept make the ensemble that a run ends as, or None."""
        return self._held.ensemble

    @property
    def keeps(self) -> bool:
        """Whether a run may end with other weights than its last ones."""
        return self._held.keeps

    def looks(self, total_steps: int) -> Looks:
        """When the control inside wants to be shown the metric."""
        return self._held.looks(total_steps)


class _Beside(_Holds, frozen=True, forbid_unknown_fields=True, tag_field="control"):
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


class Then(_Holds, frozen=True, forbid_unknown_fields=True, tag_field="control", tag="then"):
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


class _Around(_Holds, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """A control, or a schedule, whose multipliers are left as they are."""

    inner: "AnyControl"

    def __post_init__(self) -> None:
        inner = Scheduled(self.inner) if isinstance(self.inner, Schedule) else self.inner
        checks.instance("inner", inner, AnyControl, "a schedule or a control such as Plateau()")
        msgspec.structs.force_setattr(self, "inner", inner)
        _check_nested(inner, ())

    @property
    def _held(self) -> "AnyControl":
        return self.inner

    def ends(self, total_steps: int) -> Ends:
        """Where the cycles inside end."""
        return self.inner.ends(total_steps)

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit where the control inside does not fit."""
        self.inner.check_fits(total_steps)

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        """The decision of the control inside for the update that is about to be made."""
        decision, inner = reconsidered(self.inner, state["inner"], update)
        return decision, {**state, "inner": inner}


class Clip(_Around, frozen=True, tag="clip"):
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


class StopOnDivergence(_Around, frozen=True, tag="stop_on_divergence"):
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


class _CycleWise(_Around, frozen=True):
    """What does something where a cycle is complete, and so says what a run ends with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        held = [type(each) for each in inside(self.inner) if isinstance(each, _CycleWise)]
        if held and not (isinstance(self, StopEarly) and held == [Snapshots]):
            name, other = (each.__struct_config__.tag for each in (type(self), held[0]))
            raise BadInput(
                f"one control alone can say which weights a run ends with, got {name} around {other}; leave one of "
                "them out. Only stop_early(snapshots(...)) has two: it ends a run that is an ensemble."
            )

    @property
    def keeps(self) -> bool:
        """Yes."""
        return True

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit where the control inside does not fit, or no cycle of it is complete in so many steps."""
        super().check_fits(total_steps)
        if not _cycles(self.inner, total_steps).ends:
            raise DoesNotFit(
                f"a cycle must be complete within the run, but {total_steps} steps are not enough for the first one; "
                "use shorter cycles, or more steps."
            )

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        decision, inner = self.inner.start(total_steps)
        self.check_fits(total_steps)  # what does not fit is known before the first update
        return decision, {"inner": inner, "total_steps": total_steps}


class StopEarly(_CycleWise, frozen=True, tag="stop_early"):
    """A control, ended where its cycle ends no longer improve; in text `stop_early(sgdr(8), patience=3)`.

    Within a cycle a metric gets worse while the rate is high; only the ends of cycles are compared, each by the last
    metric that was told in its cycle. The run ends with the weights of its best cycle end, also where it is cut
    within a cycle. A control without cycles is compared wherever the metric is told, as early stopping usually is.
    Around `snapshots` it ends the run, which is then the ensemble of the cycles that were complete. Of more than 50
    cycle ends only every second, third and so on is compared, at most 50 of them, the last among them.

    Args:
        inner: a schedule or a control; its multipliers are left as they are.
        patience: >= 1; so many cycle ends in a row without improvement end the run (where `Plateau` bears so many).
        threshold: in [0, 1); an improvement is a metric below `best - threshold * |best|`.
    Source:
        Prechelt 1998, Early stopping - but when?, criterion UP; Loshchilov, Hutter 2017, arXiv:1608.03983,
        section 4.1, on which weights to take.
    Example:
        >>> from lrcontrol.controls.text import control
        >>> ending = control("stop_early(snapshot(4), patience=1)")
        >>> decision, state = ending.start(8)
        >>> for step, metric in enumerate([0.5, 0.3, 0.6, 0.4]):
        ...     decision, state = ending.next(state, Observation(step, metric=metric))
        >>> decision.stop
        'the last cycle end was no better than those before'
    """

    patience: int = 3
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in msgspec.structs.asdict(self._rule).items():
            msgspec.structs.force_setattr(self, name, value)

    @property
    def needs(self) -> frozenset[str]:
        """The metric, and what the control inside needs."""
        return super().needs | {"metric"}

    def looks(self, total_steps: int) -> Looks:
        """At the cycle ends that are compared."""
        often, at = self.inner.looks(total_steps)
        cycles = _cycles(self.inner, total_steps)
        return Looks(often, at | cycles.compared) if cycles.cyclic else Looks(True, at)

    def start(self, total_steps: int) -> tuple[Decision, State]:
        """The decision for update 0."""
        decision, state = super().start(total_steps)
        return decision, {**state, "latest": None, "seen": self._rule.start()}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`, which says stop, and keep, where the metrics of cycle ends do."""
        decision, inner = self.inner.next(state["inner"], seen)
        made, total, latest = seen.step + 1, state["total_steps"], state["latest"]
        ends, cyclic, compared = _cycles(self.inner, total)
        if seen.metric is not None and math.isfinite(seen.metric):
            latest = seen.metric
        if cyclic and made in ends and made not in compared:
            latest = None
        after: State = {**state, "inner": inner, "latest": latest}
        if latest is None or (cyclic and made not in compared):
            return decision, after
        verdict, rest = self._rule.next(state["seen"], latest)
        after |= {"latest": None, "seen": rest}
        if verdict.lowest and self.ensemble is None:
            decision = msgspec.structs.replace(decision, keep=True)
        if verdict.over and decision.stop is None and made < total:
            what, bad = "cycle end" if cyclic else "metric", rest["bad"]
            last = f"the last {what} was" if bad == 1 else f"the last {bad} {what}s were"
            reason = f"{last} no better than those before"
            decision = msgspec.structs.replace(decision, stop=reason)
        return decision, after

    @property
    def _rule(self) -> Patience:
        return Patience(self.patience, self.threshold)


class WholeCycles(_CycleWise, frozen=True, tag="whole_cycles"):
    """A control whose run ends with the weights of its last complete cycle, wherever it is cut; `whole_cycles(sgdr)`.

    Args:
        inner: a schedule or a control; its multipliers are left as they are.
    Source:
        Loshchilov, Hutter 2017, arXiv:1608.03983, section 4.1.
    Example:
        >>> from lrcontrol.controls.text import control
        >>> anytime = control("whole_cycles(sgdr(period=2, growth=1))")
        >>> decision, state = anytime.start(7)
        >>> kept = []
        >>> for step in range(6):
        ...     decision, state = anytime.next(state, Observation(step))
        ...     kept.append(decision.keep)
        >>> kept
        [False, True, False, True, False, True]
    """

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """The decision for the update after `seen`; it says keep where a cycle is complete."""
        decision, inner = self.inner.next(state["inner"], seen)
        if seen.step + 1 in _cycles(self.inner, state["total_steps"]).ends:
            decision = msgspec.structs.replace(decision, keep=True)
        return decision, {**state, "inner": inner}


class Snapshots(WholeCycles, frozen=True, tag="snapshots"):
    """A control whose run ends as an ensemble of the models at its cycle ends; in text `snapshots(sgdr(3))`.

    `snapshots(cycles=5)` is `snapshots(snapshot(5))`. Predictions are averaged, not weights: cycles end in basins of
    their own.

    Args:
        inner: a schedule or a control with cycles; its multipliers are left as they are.
        members: `greedy`, those whose predictions together are best on validation, or `all` as in the paper.
    Source:
        Huang et al. 2017, arXiv:1704.00109; Caruana et al. 2004, Ensemble selection from libraries of models, ICML,
        section 2 (greedy, without replacement).
    Example:
        >>> from lrcontrol.controls.text import control
        >>> control("snapshots(cycles=3)") == control("snapshots(snapshot(3))")
        True
    """

    members: Ensemble = "greedy"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("choice of members", self.members, ("greedy", "all"))

    @property
    def ensemble(self) -> Ensemble | None:
        """Which snapshots are members."""
        return self.members

    def looks(self, total_steps: int) -> Looks:
        """At cycle ends too, so that what every snapshot comes to is told."""
        often, at = self.inner.looks(total_steps)
        return Looks(often, at | _cycles(self.inner, total_steps).compared)

    def check_fits(self, total_steps: int) -> None:
        """DoesNotFit as any that acts at cycle ends, and where there are none."""
        super().check_fits(total_steps)
        if not _cycles(self.inner, total_steps).cyclic:
            raise DoesNotFit(
                "an ensemble of snapshots must have cycles, but what it is made around has none; give it one such as "
                "sgdr(3) or snapshot(5)."
            )


def snapshots(
    inner: "AnyControl | Schedule | None" = None, cycles: int | None = None, members: Ensemble = "greedy"
) -> Snapshots:
    """The control `Snapshots`, around what is given or around so many cosine cycles of equal length; by default 5.

    Example:
        >>> snapshots(cycles=5).inner.schedule == snapshot(5)
        True
    """
    if inner is not None and cycles is not None:
        raise BadInput(f"give either the cycles of a schedule or their number, got {inner} and cycles={cycles}.")
    if inner is None:
        inner = snapshot() if cycles is None else snapshot(cycles)
    return Snapshots(Scheduled(inner) if isinstance(inner, Schedule) else inner, members)


Single = Plateau | Hypergradient | Polyak | L4 | Alignment | Greedy | Learned
"""A control that stands for itself."""

Looking = Single | Times | AtLeast | AtMost | Then | Clip | StopOnDivergence | StopEarly | WholeCycles | Snapshots
"""A control that looks, alone, beside schedules or around another."""

AnyControl = Scheduled | Looking
"""Every control: a schedule, with schedules of momentum and weight decay beside it, or one that looks."""


def _check(schedule: Schedule, inner: Looking) -> None:
    checks.instance("schedule", schedule, Schedule, "a Schedule")
    checks.instance("inner", inner, Looking, "a control such as Plateau()")
    _check_nested(inner, (schedule,))


def inside(control: AnyControl) -> Iterator[AnyControl]:
    """A control, and whatever it holds, from the outside in."""
    yield control
    while not isinstance(control, Alone | Scheduled):
        control = control.inner
        yield control


def _check_nested(inner: AnyControl, beside: tuple[Schedule, ...]) -> None:
    """BadInput where what is around `inner`, and `beside` it, is too deep or too long to be read back."""
    depth = 1
    while not isinstance(inner, Alone | Scheduled):
        if not isinstance(inner, _Around):
            beside = (*beside, inner.schedule)
        depth, inner = depth + 1, inner.inner
    if isinstance(inner, Scheduled):
        beside = (*beside, *inner.schedules)
    if depth > DEEPEST:
        raise BadInput(f"controls must nest at most {DEEPEST} deep, got {depth}.")
    check_written(*beside)


class _Cycles(NamedTuple):
    """After which updates a cycle is complete, and at last the run where nothing is cut short.

    Args:
        ends: all of them.
        cyclic: whether there are cycles.
        compared: those of the ends that are, at most 50.
    """

    ends: frozenset[int]
    cyclic: bool
    compared: frozenset[int]


@lru_cache(maxsize=64)
def _cycles(control: AnyControl, total_steps: int) -> _Cycles:
    found = control.ends(total_steps)
    ends = found.over(total_steps)
    every = max(1, -(-len(ends) // MOST_LOOKS))
    return _Cycles(frozenset(ends), bool(found.places), frozenset(ends[::-every]))
