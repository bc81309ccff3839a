"""What holds a control, and is as it in all that it does not change; what is around a control is one of these."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

import lrcontrol.controls  # where the field of `Around` begins to look for its type
from lrcontrol import checks
from lrcontrol.controls.alone import Alone
from lrcontrol.controls.control import Decision, Looks, State, Update, reconsidered
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput
from lrcontrol.schedules.cycle_ends import Ends
from lrcontrol.schedules.schedule import DEEPEST, Schedule, check_written

if TYPE_CHECKING:
    import lrcontrol.controls.composed
    from lrcontrol.controls.composed import AnyControl

__all__ = ["Around", "Ensemble", "Holds", "check_nested", "inside"]

Ensemble = Literal["greedy", "all"]
"""Which snapshots are members: those whose predictions together are best on validation, or all of them."""


class Holds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """What holds a control, and is as it in all that it does not change."""

    @property
    def _held(self) -> "AnyControl":
        raise NotImplementedError

    @property
    def needs(self) -> frozenset[str]:
        """What the control inside needs."""
        return self._held.needs

    @property
    def sets_rate(self) -> bool:
        """Whether the rate that comes of it is the same whatever the base rate: not where a part is of that."""
        return False

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


class Around(Holds, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """A control, or a schedule, whose multipliers are left as they are.

    Which controls there are is only known in `composed`, where this one's kinds are among them; so the field's type is
    told by its place, and msgspec looks there when it first reads one.
    """

    inner: "lrcontrol.controls.composed.AnyControl"

    def __post_init__(self) -> None:
        inner = Scheduled(self.inner) if isinstance(self.inner, Schedule) else self.inner
        checks.instance("inner", inner, Alone | Scheduled | Holds, "a schedule or a control such as Plateau()")
        msgspec.structs.force_setattr(self, "inner", inner)
        check_nested(inner, ())

    @property
    def _held(self) -> "AnyControl":
        return self.inner

    @property
    def sets_rate(self) -> bool:
        """Whether that of the control inside is the same whatever the base rate."""
        return self.inner.sets_rate

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


def inside(control: "AnyControl") -> "Iterator[AnyControl]":
    """A control, and whatever it holds, from the outside in."""
    yield control
    while not isinstance(control, Alone | Scheduled):
        control = control.inner
        yield control


def check_nested(inner: "AnyControl", beside: tuple[Schedule, ...]) -> None:
    """BadInput where what is around `inner`, and `beside` it, is too deep or too long to be read back."""
    depth = 1
    while not isinstance(inner, Alone | Scheduled):
        if not isinstance(inner, Around):
            beside = (*beside, inner.schedule)
        depth, inner = depth + 1, inner.inner
    if isinstance(inner, Scheduled):
        beside = (*beside, *inner.schedules)
    if depth > DEEPEST:
        raise BadInput(f"controls must nest at most {DEEPEST} deep, got {depth}.")
    check_written(*beside)
