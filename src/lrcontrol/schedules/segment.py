"""Segments: a profile read at a sampling rate, from one level to another, over a length."""

from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.laying import Laying, Piece, Scales
from lrcontrol.schedules.profiles import AnyProfile, Constant, Linear, Profile, Table, namespace
from lrcontrol.schedules.sampling import AT_THE_END, EVERY_STEP, Sampling

__all__ = ["LARGEST", "Length", "Segment"]

LARGEST = 1e9  # of a multiplier


class Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="part"):
    """What every part has: a length in steps, a share of the total, or (with neither) the rest."""

    steps: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.share is not None:
            raise BadInput(
                "give `steps` or `share`, not both, "
                f"got steps={checks.shown(self.steps)}, share={checks.shown(self.share)}."
            )
        if self.steps is not None:
            msgspec.structs.force_setattr(self, "steps", checks.integer("steps", self.steps, low=0))
        if self.share is not None:
            msgspec.structs.force_setattr(self, "share", checks.number("share", self.share, low=0, high=1))

    @property
    def fixed(self) -> int | None:
        """The length in steps where it does not depend on the total."""
        return self.steps

    @property
    def takes_rest(self) -> bool:
        """Whether the part's length is what the others leave."""
        return self.fixed is None and self.share is None


class Segment(Length, frozen=True, tag="segment"):
    """A profile read at a sampling rate over a length, going from `start` to `end`.

    Args:
        profile: the shape.
        start: in [0, 1e9]; the multiplier at progress 0.
        end: in [0, 1e9]; the multiplier at progress 1. By default where the profile comes to by itself: 0 for most,
            `start` for the constant one, `start * exp(-rate)` for the exponential one. It stays None where that
            depends on the length.
        sampling: when the profile is read; for the constant profile there is nothing to choose.
        reverse: the curve turned end for end between the same start and end: `1 - f(1 - p)` for a profile f.
        steps: the length in steps, or
        share: the length as a share of the total; with neither, the segment takes the rest.
    Raises:
        BadInput: a value out of range, both lengths given, or a constant profile with another end than its start,
            a sampling or `reverse`.
    Example:
        >>> Segment(Constant(), 0.5).end
        0.5
    """

    profile: AnyProfile
    start: float = 1.0
    end: float | None = None
    sampling: Sampling = EVERY_STEP
    reverse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("profile", self.profile, AnyProfile, "a profile such as Linear()")
        checks.instance("sampling", self.sampling, Sampling, "a Sampling")
        checks.instance("reverse", self.reverse, bool, "true or false")
        start = checks.number("start", self.start, low=0, high=LARGEST)
        msgspec.structs.force_setattr(self, "start", start)
        natural = self.profile.natural_end
        if self.end is not None or natural is not None:
            end = start * (natural or 0.0) if self.end is None else self.end
            msgspec.structs.force_setattr(self, "end", checks.number("end", end, low=0, high=LARGEST))
        if isinstance(self.profile, Constant):
            if self.end != start:
                raise BadInput(f"a constant segment must end where it starts, got start={start}, end={self.end}.")
            if self.sampling != EVERY_STEP or self.reverse:
                raise BadInput("a constant segment reads the same at any `sampling`, either way; leave them out.")

    def lay(self, begin: int, length: int, laying: Laying, scales: Scales) -> None:
        """Append the piece of this segment over [begin, begin + length)."""
        laying.pieces.append(Piece(begin, begin + length, length, _Laid(self, length, scales)))

    def ends_at(self, length: int, scales: Scales) -> float:
        """The multiplier at progress 1 of `length` steps."""
        curve = self.curve(length, scales)
        if not isinstance(self.profile, Table):
            return curve.end
        return float(curve.between(np.ones(1), np.zeros(1), 1.0)[0])

    @property
    def largest(self) -> float:
        """No multiplier is above this."""
        return max(self.start, self.end or 0.0)

    def scaled(self, scale: float) -> "Segment":
        """This segment with `scale` times its multipliers."""
        start, end = _scaled(self.start, self.end, self.profile.natural_end, scale)
        return msgspec.structs.replace(self, start=start, end=end)

    def curve(self, length: int, scales: Scales) -> "_Curve":
        """This segment over a known length, its levels multiplied by all `scales` in turn."""
        start, end = self.start, self.end
        for scale in scales:
            start, end = _scaled(start, end, self.profile.natural_end, scale)
        profile = self.profile.laid(length)
        return _Curve(
            profile, start, start * (profile.natural_end or 0.0) if end is None else end, self.sampling, self.reverse
        )


def _scaled(start: float, end: float | None, natural: float | None, scale: float) -> tuple[float, float | None]:
    """A start and an end that are `scale` times as high; an end that follows from the start goes on to."""
    if end is not None:
        follows = natural is not None and end == start * natural
        end = start * scale * natural if follows and natural is not None else end * scale
    return start * scale, end


class _Laid:
    """A segment over a known length, its curve computed when it is first read."""

    def __init__(self, segment: Segment, length: int, scales: Scales) -> None:
        self._of = segment, length, scales

    def values(self, step: Any, length: int) -> Any:
        """The multipliers at `step`."""
        return self._curve.values(step, length)

    def goes_on(self, step: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Whether the profile is read at every step."""
        del length
        return np.full(step.shape, self._of[0].sampling.at_every_step)

    @cached_property
    def _curve(self) -> "_Curve":
        segment, length, scales = self._of
        return segment.curve(length, scales)


class _Curve(NamedTuple):
    """A segment over a known length."""

    profile: Profile
    start: float
    end: float
    sampling: Sampling
    reverse: bool

    def values(self, step: Any, length: int) -> Any:
        """The multipliers at `step`."""
        if isinstance(self.profile, Constant):
            xp = namespace(step)
            return xp.full_like(step, self.start, dtype=xp.float64)
        return self.between(*self.sampling.read(step, length))

    def between(self, gone: Any, left: Any, whole: float) -> Any:
        """The multipliers after `gone` of `whole`; never outside [start, end]."""
        value = self._value(gone, left, whole)
        if isinstance(self.profile, Linear) and 0 in (self.start, self.end):
            return value  # a quotient of at most 1 keeps its bounds through one product
        return namespace(value).clip(value, min(self.start, self.end), max(self.start, self.end))

    def _value(self, gone: Any, left: Any, whole: float) -> Any:
        profile, start, end = self.profile, self.start, self.end
        natural = profile.natural_end or 0.0
        if end == start * natural and not self.reverse:
            weight = profile.curve(gone, left, whole)
            value = weight if start == 1 else start * weight
            if natural == 0 or self.sampling.at not in AT_THE_END:
                return value
            return namespace(value).where(left > 0, value, end)
        # the weight of the larger end says all: it counts most wherever the other's has lost digits
        from_start = start >= end
        if self.reverse:
            weight = (profile.end_weight if from_start else profile.start_weight)(left, gone, whole)
        else:
            weight = (profile.start_weight if from_start else profile.end_weight)(gone, left, whole)
        small, large = (end, start) if from_start else (start, end)
        if small == 0:
            return weight if large == 1 else large * weight
        return small * (1 - weight) + large * weight
