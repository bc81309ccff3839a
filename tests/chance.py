"""Random valid objects by the thousand: faster than strategies.py, and over all of what is allowed."""

import random
from typing import Any

import msgspec

from lrcontrol.errors import BadInput
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
from lrcontrol.schedules.sampling import EVERY_STEP, PLACES, Sampling
from lrcontrol.schedules.schedule import (
    Cycled,
    Held,
    Maximum,
    Minimum,
    Nested,
    Product,
    Schedule,
    Segment,
    Sum,
)

SHAPES = (Constant, Cosine, Exponential, Geometric, InversePower, Linear, Polynomial, Rex, Table)
TOGETHER = (Maximum, Minimum, Product, Sum)


def any_profile(chance: random.Random, kinds: tuple[Any, ...] = SHAPES) -> Any:
    """A profile with parameters from all of what is allowed."""
    kind = chance.choice(kinds)
    size = 10 ** chance.uniform(-9, 0)
    match kind.__name__:
        case "Exponential":
            return Exponential(chance.choice([-1, 1]) * chance.choice([700 * size + 1e-9, chance.uniform(1e-3, 10)]))
        case "Geometric":
            near_1 = 1 - 10 ** chance.uniform(-15.9, 0)
            return Geometric(chance.choice([near_1, 10 ** chance.uniform(-300, -1e-9), 5e-324, 1 - 2.0**-53]) or 0.5)
        case "InversePower":
            steps, share = int(10 ** chance.uniform(0, 15)), 10 ** chance.uniform(-90, 3)
            exponent = chance.choice([0.5, 0.51, 1.0, 2.0, 10.0, chance.uniform(1e-3, 10), 1e-9])
            return InversePower(exponent, chance.choice([steps, share, chance.uniform(1e-3, 2)]))
        case "Polynomial":
            return Polynomial(chance.choice([1000 * size, chance.uniform(0, 4) + 1e-9, 0.5, 2.0, 3.0, 1000.0]))
        case "Rex":
            return Rex(chance.choice([0.5, 0.1, 1.0, size]))
        case "Table":
            count = chance.choice([2, 3, 5, 11, 100])
            return Table(tuple(chance.choice([0.0, 1.0, chance.random(), size]) for _ in range(count)))
    return kind()


def any_level(chance: random.Random) -> float:
    """A multiplier: 0, 1, one in between, or one of any size up to a thousand."""
    return chance.choice([0.0, 1.0, 0.1, chance.random(), 10 ** chance.uniform(-12, 3)])


def any_sampling(chance: random.Random) -> Sampling:
    """Every step, every few, so many times or at shares; read at any place."""
    at = chance.choice(PLACES)
    match chance.randrange(6):
        case 0:
            return Sampling(every=chance.choice([1, 2, 3, 7, 50, 10**6]), at=at)
        case 1:
            return Sampling(times=chance.choice([1, 2, 3, 7, 1000]), at=at)
        case 2:
            shares = sorted({min(max(chance.random(), 1e-9), 0.999) for _ in range(chance.randint(1, 5))})
            return Sampling(shares=tuple(shares), at=at)
        case 3:
            return Sampling(at=at)
    return EVERY_STEP


def any_segment(chance: random.Random, **length: Any) -> Segment:
    """A segment, with an end of its own or where it comes to, either way round."""
    profile = any_profile(chance)
    if isinstance(profile, Constant):
        return Segment(profile, any_level(chance), **length)
    end = any_level(chance) if chance.random() < 0.5 or (profile.natural_end or 0) > 1e5 else None
    return Segment(profile, any_level(chance), end, any_sampling(chance), chance.random() < 0.3, **length)


def any_schedule(chance: random.Random, depth: int = 4) -> Schedule:
    """A schedule of one to four parts, at most `depth` deep, of all kinds of parts and lengths."""
    while True:
        try:
            return _tree(chance, depth)
        except BadInput:  # levels too high in a product, a cycle too short for its parts
            continue


def _tree(chance: random.Random, depth: int) -> Schedule:
    count = chance.choice([1, 1, 2, 3, 4])
    rest = chance.randrange(count + 1)  # count: no part takes the rest
    weights = [chance.randrange(5) for _ in range(count)]
    whole = sum(weights) + chance.randrange(5) or 1
    parts = []
    for index, weight in enumerate(weights):
        length: dict[str, Any] = {"share": weight / whole}
        if index == rest:
            length = {}
        elif chance.random() < 0.2:
            length = {"steps": chance.choice([0, 1, 3])}
        parts.append(_part(chance, depth, length))
    return Schedule(tuple(parts))


def _part(chance: random.Random, depth: int, length: dict[str, Any]) -> Any:
    if depth == 1 or chance.random() < 0.5:
        return any_segment(chance, **length)
    inner = any_schedule(chance, depth - 1)
    layout = {"shrink": chance.choice([1.0, 1.0, 0.5, 0.0, chance.random()]), **length}
    growth = chance.choice([1.0, 1.0, 2.0, 1.5, chance.uniform(1, 3)])
    match chance.randrange(5):
        case 0:
            return Nested(inner, chance.randint(1, 5), growth=chance.choice([growth, 1 / growth]), **layout)
        case 1:
            return Cycled(inner, chance.choice([1, 7, 60, chance.randint(1, 1000), 10**6]), growth=growth, **layout)
        case 2:
            sampling = msgspec.structs.replace(any_sampling(chance), at="left")
            return Held(schedule=inner, sampling=sampling, **length)
    terms = tuple(any_schedule(chance, max(depth - 2, 1)) for _ in range(chance.randint(1, 2)))
    return chance.choice(TOGETHER)((inner, *terms), **length)


def horizon_of(schedule: Schedule, chance: random.Random, most: int = 10**4) -> int | None:
    """A horizon that the schedule fits, or None where it fits none of a few."""
    for total in (chance.choice([1, 2, 3, 10, chance.randint(1, most)]), chance.randint(most // 2, most), 10**9):
        try:
            schedule.pieces(total)
        except BadInput:
            continue
        return total
    return None
