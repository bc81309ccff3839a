"""Random valid objects for the laws: profiles, samplings, segments and whole schedules, nested up to depth 4."""

from typing import Any

from hypothesis import strategies as st

from lrcontrol.errors import DoesNotFit
from lrcontrol.schedules.profiles import Constant, Cosine, Exponential, Linear, Polynomial, Rex
from lrcontrol.schedules.sampling import PLACES, Sampling
from lrcontrol.schedules.schedule import Nested, Product, Schedule, Segment

levels = st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(0, 2))
horizons = st.one_of(st.integers(1, 12), st.integers(1, 400))
counts = st.integers(1, 9)
places = st.sampled_from(PLACES)

profiles = st.one_of(
    st.just(Constant()),
    st.just(Linear()),
    st.just(Cosine()),
    st.builds(Polynomial, st.floats(0.1, 6)),
    st.builds(Exponential, st.floats(0.01, 8) | st.floats(-8, -0.01)),
    st.builds(Rex, st.floats(0.01, 1)),
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

_kinds = st.sampled_from(["segment"] * 3 + ["nested", "product"])
_fixed = st.sampled_from([None, None, None, None, 0, 1, 3])
_weights = st.integers(0, 4)


@st.composite
def segments(draw: Any, **length: Any) -> Segment:
    """A segment of the given length: `steps`, `share` or neither."""
    profile = draw(profiles)
    if isinstance(profile, Constant):
        return Segment(profile, draw(levels), **length)
    return Segment(profile, draw(levels), draw(levels), draw(samplings), **length)


@st.composite
def schedules(draw: Any, depth: int = 4) -> Schedule:
    """A schedule of one to three parts, at most `depth` deep."""
    count = draw(st.integers(1, 3 if depth >= 3 else 2))
    rest = draw(st.integers(0, count))  # count: no part takes the rest
    weights = [draw(_weights) for _ in range(count)]
    whole = sum(weights) + draw(_weights) or 1
    parts = []
    for index, weight in enumerate(weights):
        steps = draw(_fixed)
        length = {} if index == rest else {"share": weight / whole} if steps is None else {"steps": steps}
        kind = draw(_kinds) if depth > 1 else "segment"
        if kind == "nested":
            parts.append(Nested(draw(schedules(depth - 1)), draw(st.integers(1, 4)), **length))
        elif kind == "product":
            parts.append(Product((draw(schedules(depth - 1)), draw(schedules(depth - 2))), **length))
        else:
            parts.append(draw(segments(**length)))
    return Schedule(tuple(parts))


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
