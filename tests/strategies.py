"""Random valid objects for the laws: profiles, samplings, segments and whole schedules, nested up to depth 4."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from lrcontrol.errors import DoesNotFit
from lrcontrol.schedules.profiles import (
    Constant,
    Cosine,
    Exponential,
    Geometric,
    InversePower,
    Linear,
    Polynomial,
    Rex,
    Table,
)
from lrcontrol.schedules.sampling import PLACES, Sampling
from lrcontrol.schedules.schedule import Cycled, Held, Maximum, Minimum, Nested, Product, Schedule, Segment, Sum

levels = st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(0, 2))
horizons = st.one_of(st.integers(1, 12), st.integers(1, 400))
counts = st.integers(1, 9)
places = st.sampled_from(PLACES)

unit = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)

profiles = st.one_of(
    st.just(Constant()),
    st.just(Linear()),
    st.just(Cosine()),
    st.builds(Polynomial, st.sampled_from([0.5, 2.0]) | st.floats(0.1, 6)),
    st.builds(Exponential, st.floats(0.01, 8) | st.floats(-8, -0.01)),
    st.builds(Geometric, st.floats(0.5, 0.99999)),
    st.builds(InversePower, st.sampled_from([0.5, 1.0]) | st.floats(0.1, 4), st.integers(1, 500) | st.floats(0.01, 2)),
    st.builds(Rex, st.floats(0.01, 1)),
    st.builds(Table, st.lists(unit, min_size=2, max_size=6).map(tuple)),
)
"""Every profile, with parameters in the range people use."""

increasing = st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=1, max_size=4, unique=True).map(
    lambda shares: tuple(sorted(shares))
)
"""One to four increasing shares in (0, 1)."""

samplings = st.one_of(
    st.builds(Sampling, at=places),
    st.builds(Sampling, every=counts, at=places),
    st.builds(Sampling, times=counts, at=places),
    st.builds(Sampling, shares=increasing, at=places),
)
"""Every step, every few, so many times or at shares; read at any place."""

growths = st.sampled_from([1.0, 1.0, 2.0, 1.5, 3.0]) | st.floats(1, 3)
shrinks = st.sampled_from([1.0, 1.0, 0.5, 0.0]) | st.floats(0, 1)

KINDS = ("cycled", "held", "maximum", "minimum", "nested", "product", "sum")
_kinds = st.sampled_from(("segment",) * 4 + KINDS)
_fixed = st.sampled_from([None, None, None, None, 0, 1, 3])
_weights = st.integers(0, 4)


@st.composite
def segments(draw: Any, **length: Any) -> Segment:
    """A segment of the given length: `steps`, `share` or neither; with an end of its own, or where it comes to."""
    profile = draw(profiles)
    if isinstance(profile, Constant):
        return Segment(profile, draw(levels), **length)
    end = draw(levels) if draw(st.booleans()) else None
    return Segment(profile, draw(levels), end, draw(samplings), draw(st.booleans()), **length)


@st.composite
def schedules(draw: Any, depth: int = 4) -> Schedule:
    """A schedule of one to three parts, at most `depth` deep."""
    count = draw(st.integers(1, 3 if depth >= 3 else 2))
    rest = draw(st.integers(0, count))  # count: no part takes the rest
    weights = [draw(_weights) for _ in range(count)]
    whole = sum(weights) + draw(_weights) or 1
    parts: list[Any] = []
    for index, weight in enumerate(weights):
        steps = draw(_fixed)
        length = {} if index == rest else {"share": weight / whole} if steps is None else {"steps": steps}
        kind = draw(_kinds) if depth > 1 else "segment"
        parts.append(draw(_part(kind, depth, length)))
    return Schedule(tuple(parts))


@st.composite
def _part(draw: Any, kind: str, depth: int, length: dict[str, Any]) -> Any:
    if kind == "segment":
        return draw(segments(**length))
    inner = draw(schedules(depth - 1))
    if kind == "nested":
        growth = draw(growths | st.floats(0.3, 1))
        return Nested(inner, draw(st.integers(1, 4)), growth=growth, shrink=draw(shrinks), **length)
    if kind == "held":
        sampling = msgspec.structs.replace(draw(samplings), at="left")
        return Held(schedule=inner, sampling=sampling, **length)
    if kind == "cycled":
        layout = {"growth": draw(growths), "shrink": draw(shrinks), **length}
        for period in (draw(st.integers(1, 60)), 400):
            try:
                return Cycled(inner, period, **layout)
            except DoesNotFit:
                continue
        return Cycled(Schedule((draw(segments()),)), draw(st.integers(1, 60)), **layout)
    together = {"product": Product, "sum": Sum, "maximum": Maximum, "minimum": Minimum}[kind]
    return together((inner, draw(schedules(max(depth - 2, 1)))), **length)


@st.composite
def laid(draw: Any, depth: int = 4) -> tuple[Schedule, int]:
    """A schedule and a horizon that it fits."""
    schedule, total = draw(schedules(depth)), draw(horizons)
    for horizon in (total, 400, 10_000):
        try:
            schedule.multipliers(horizon)
        except DoesNotFit:
            continue
        return schedule, horizon
    return Schedule((draw(segments()),)), total
