"""Controls that do something where a cycle is complete: end a run, or say which weights it ends with."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lrcontrol import checks
from lrcontrol.controls.control import Decision, Looks, Observation, State
from lrcontrol.controls.holding import Around, Ensemble, inside
from lrcontrol.controls.patience import Patience
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.schedules.recipes.cycles import snapshot
from lrcontrol.schedules.schedule import Schedule

if TYPE_CHECKING:
    from lrcontrol.controls.composed import AnyControl

__all__ = ["Snapshots", "StopEarly", "WholeCycles", "snapshots"]

MOST_LOOKS = 50  # at cycle ends: of more cycles than that some are passed over, evenly


class _CycleWise(Around, frozen=True):
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
def _cycles(control: "AnyControl", total_steps: int) -> _Cycles:
    found = control.ends(total_steps)
    ends = found.over(total_steps)
    every = max(1, -(-len(ends) // MOST_LOOKS))
    return _Cycles(frozenset(ends), bool(found.places), frozenset(ends[::-every]))


import lrcontrol.controls.composed  # noqa: E402, F401 - where the union is that the fields above are of
