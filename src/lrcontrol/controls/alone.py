"""What controls that stand for themselves have in common: no length, no cycles, one model at the end."""

import msgspec

from lrcontrol.controls.control import Decision, Looks, Observation, State
from lrcontrol.schedules.cycle_ends import Ends

__all__ = ["Alone", "ByGradient"]


class Alone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="control"):
    """A control of any horizon, that says nothing of the weights its run ends with."""

    @property
    def needs(self) -> frozenset[str]:
        """What it must be shown."""
        raise NotImplementedError

    @property
    def sets_rate(self) -> bool:
        """Whether the rate that comes of it is the same whatever the base rate."""
        return False

    @property
    def price(self) -> int:
        """What an update under it costs beside one of a schedule, in whole updates."""
        return 1

    @property
    def ensemble(self) -> None:
        """Its run ends with one model."""

    @property
    def keeps(self) -> bool:
        """No: its run ends with its last weights."""
        return False

    def check_fits(self, total_steps: int) -> None:
        """It fits any horizon."""

    def ends(self, total_steps: int) -> Ends:
        """It has no cycles."""
        del total_steps
        return Ends([], True)

    def looks(self, total_steps: int) -> Looks:
        """Often, where it needs the metric."""
        del total_steps
        return Looks(often="metric" in self.needs)


class ByGradient(Alone, frozen=True):
    """One that decides on an update when the gradient of that is known; its state has the `multiplier` of then."""

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        """As before, until the gradient is known."""
        del seen
        return Decision(state["multiplier"]), state
