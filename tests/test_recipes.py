"""Recipes against straight formulas of the papers, a step at a time, with random parameters."""

import inspect
import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

import lrcontrol as lrc
from lrcontrol.errors import BadText
from lrcontrol.schedules.horizon import horizon
from lrcontrol.schedules.profiles import PROFILES, Constant
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.recipes.cycles import fractal
from lrcontrol.schedules.recipes.single import Layout
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import Schedule, Segment

Formula = Callable[[int, int], float]
TOTALS = (1, 2, 7, 10, 100, 1003)


def half_cosine(p: float) -> float:
    return (1 + math.cos(math.pi * p)) / 2


def between(weight: Callable[[float], float], start: float, end: float) -> Formula:
    """From start to end as the weight falls from 1 to 0, read at t/n."""
    return lambda t, n: end + (start - end) * weight(t / n)


def turn(t: int, n: int, cycles: int) -> tuple[int, int, int]:
    """Which of `cycles` equal turns of n steps holds step t, the step in it, and its length."""
    edges = [n * index // cycles for index in range(cycles + 1)]
    index = max(index for index in range(cycles) if edges[index] <= t)
    return index, t - edges[index], edges[index + 1] - edges[index]


@lru_cache
def nearest(share: float, n: float = 1) -> int:
    """The step nearest to a share as it is written."""
    return math.floor(Fraction(repr(share)) * n + Fraction(1, 2))


@lru_cache
def nearest_sum(shares: tuple[float, ...], n: int) -> int:
    return math.floor(sum(Fraction(repr(share)) for share in shares) * n + Fraction(1, 2))


def triangle(at: int, length: int, rise: float) -> float:
    """Up to 1 at the nearest step to `rise`, and down."""
    up = nearest(rise, length)
    return at / up if at < up else 1 - (at - up) / (length - up)


# ---- one case of random parameters for each recipe ----


def constant(chance: random.Random) -> tuple[Schedule, Formula]:
    level = chance.uniform(0, 3)
    return lrc.constant(level), lambda t, n: level


def one_segment(name: str, weight: Callable[..., float], parameter: Callable[[random.Random], Any] | None) -> Any:
    """A case of a recipe of one segment between two levels, whose weight may have a parameter."""

    def case(chance: random.Random) -> tuple[Schedule, Formula]:
        start, end = chance.random() * 2, chance.random()
        given = () if parameter is None else (parameter(chance),)
        return RECIPES[name](*given, start=start, end=end), between(lambda p: weight(p, *given), start, end)

    return case


def exponential(chance: random.Random) -> tuple[Schedule, Formula]:
    rate, start = chance.uniform(-4, 9), chance.random()
    if chance.random() < 0.5:
        return lrc.exponential(rate, start=start), lambda t, n: start * math.exp(-rate * t / n)
    fall = between(lambda p: (math.exp(-rate * p) - math.exp(-rate)) / (1 - math.exp(-rate)), start, 0.25)
    return lrc.exponential(rate, start=start, end=0.25), fall


def geometric(chance: random.Random) -> tuple[Schedule, Formula]:
    gamma, start = chance.uniform(0.9, 1), chance.random()
    return lrc.geometric(gamma, start=start), lambda t, n: start * gamma**t


def inverse_power(chance: random.Random) -> tuple[Schedule, Formula]:
    exponent, share, steps = chance.uniform(0.1, 3), chance.uniform(0.01, 2), chance.randint(1, 50)
    if chance.random() < 0.5:
        return lrc.inverse_power(exponent, share), lambda t, n: (1 + t / (n * share)) ** -exponent
    return lrc.inverse_power(exponent, steps), lambda t, n: (1 + t / steps) ** -exponent


def inverse_sqrt(chance: random.Random) -> tuple[Schedule, Formula]:
    """Vaswani et al., equation 3, after the warmup: proportional to 1 / sqrt of the step, counted from 1."""
    warm = chance.randint(1, 50)
    return lrc.inverse_sqrt(warm), lambda t, n: ((t + warm) / warm) ** -0.5


def table(chance: random.Random) -> tuple[Schedule, Formula]:
    values = tuple(chance.random() for _ in range(chance.randint(2, 9)))
    places = np.linspace(0, 1, len(values))
    return lrc.table(values, start=0.9, end=0.2), lambda t, n: 0.2 + 0.7 * float(np.interp(t / n, places, values))


def warmup(chance: random.Random) -> tuple[Schedule, Formula]:
    start, end, share = chance.random(), chance.random(), chance.uniform(0, 0.9)

    def rise(t: int, n: int) -> float:
        long = nearest(share, n)
        return start + (end - start) * min((t + 1) / long, 1) if long else end

    return lrc.warmup(share, start=start, end=end), rise


def step(chance: random.Random) -> tuple[Schedule, Formula]:
    if chance.random() < 0.5:
        every = chance.randint(1, 300)
        return lrc.step(0.5, every=every), lambda t, n: 0.5 ** (t // every)
    shares = tuple(sorted(chance.sample([index / 20 for index in range(1, 20)], 3)))
    return lrc.step(0.1, shares), lambda t, n: 0.1 ** sum(t >= nearest(share, n) for share in shares)


def piecewise(chance: random.Random) -> tuple[Schedule, Formula]:
    values, edges = [chance.random() for _ in range(4)], (0.2, 0.55)
    if chance.random() < 0.5:
        held = RECIPES["piecewise"](values[:3], edges, hold=True)
        return held, lambda t, n: values[sum(t >= nearest(edge, n) for edge in edges)]

    def line(t: int, n: int) -> float:
        knots = [0, *(nearest(edge, n) for edge in edges), n]
        past = next(index for index in range(1, 4) if t < knots[index])
        p = (t - knots[past - 1]) / (knots[past] - knots[past - 1])
        return values[past - 1] * (1 - p) + values[past] * p

    return RECIPES["piecewise"](values, edges), line


def wsd(chance: random.Random) -> tuple[Schedule, Formula]:
    end, shares = chance.uniform(0.01, 0.5), (chance.uniform(0, 0.4), chance.uniform(0.05, 0.5))
    falls: dict[str, Callable[[float], float]] = {
        "cosine": lambda p: end + (1 - end) * half_cosine(p),
        "exponential": lambda p: end**p,
        "linear": lambda p: end + (1 - end) * (1 - p),
        "one_minus_sqrt": lambda p: end + (1 - end) * (1 - math.sqrt(p)),
        "square": lambda p: end + (1 - end) * (1 - p * p),
    }
    shape = chance.choice(list(falls))

    def phases(t: int, n: int) -> float:
        warm, cool = nearest(shares[0], n), nearest_sum(shares, n) - nearest(shares[0], n)
        if t < warm:
            return (t + 1) / warm
        return 1.0 if t < n - cool else falls[shape]((t - n + cool) / cool)

    return RECIPES["wsd"](*shares, shape, end=end), phases


def cycle(chance: random.Random, low: float, high: float, last: float, name: str) -> tuple[Schedule, Formula]:
    """Up over `rise` of the run, both its ends included, then down in one phase or two."""
    rise, fall = chance.uniform(0.1, 0.5), chance.choice([None, chance.uniform(0.1, 0.4)])
    shape, weight = chance.choice([("cosine", half_cosine), ("linear", lambda p: 1 - p)])
    named = {"low": high, "high": low} if name == "one_cycle_momentum" else {"start": low, "end": last}

    def phases(t: int, n: int) -> float:
        up = nearest(rise, n)
        down = nearest_sum((rise, fall), n) if fall else up
        if t < up:
            return high + (low - high) * weight(t / max(up - 1, 1))
        begin, past, first, then = (up, down, high, low) if t < down else (down, n, low if fall else high, last)
        return then + (first - then) * weight((t + 1 - begin) / (past - begin))

    return RECIPES[name](rise, fall, shape=shape, **named), phases


def one_cycle(chance: random.Random) -> tuple[Schedule, Formula]:
    return cycle(chance, chance.uniform(0, 0.5), 1.0, chance.uniform(0, 0.1), "one_cycle")


def one_cycle_momentum(chance: random.Random) -> tuple[Schedule, Formula]:
    """From high down to low: the other way round."""
    low, high = chance.uniform(0.5, 0.9), chance.uniform(0.9, 0.99)
    return cycle(chance, high, low, high, "one_cycle_momentum")


def power(chance: random.Random) -> tuple[Schedule, Formula]:
    exponent, knee = chance.uniform(0.2, 2), chance.randint(1, 40)
    return RECIPES["power"](exponent, knee), lambda t, n: min(1.0, (max(t, 1) / knee) ** -exponent)


def keras_cyclical(chance: random.Random, name: str, height: Callable[[int, int], float], **named: Any) -> Any:
    """Smith's formula as in the reference for Keras: `it` counts from 0, a cycle has 2 * size steps."""
    size, low = chance.randint(1, 40), chance.random()

    def rate(t: int, n: int) -> float:
        number = math.floor(1 + t / (2 * size))
        x = abs(t / size - 2 * number + 1)
        return low + (1 - low) * max(0.0, 1 - x) * height(number, t)

    return RECIPES[name](period=2 * size, low=low, **named), rate


def triangular(chance: random.Random) -> tuple[Schedule, Formula]:
    if chance.random() < 0.5:
        made: tuple[Schedule, Formula] = keras_cyclical(chance, "triangular", lambda number, t: 1.0)
        return made
    cycles, low, rise = chance.randint(1, 5), chance.random(), chance.uniform(0.3, 0.7)
    return lrc.triangular(
        cycles, low=low, rise=rise
    ), lambda t, n: low + (1 - low) * triangle(*turn(t, n, cycles)[1:], rise)


def triangular2(chance: random.Random) -> tuple[Schedule, Formula]:
    made: tuple[Schedule, Formula] = keras_cyclical(chance, "triangular2", lambda number, t: 0.5 ** (number - 1))
    return made


def exp_range(chance: random.Random) -> tuple[Schedule, Formula]:
    """Both readings: what shrinks is the height above `low`, or both bounds."""
    gamma, cycles, low = chance.uniform(0.9, 0.9999), chance.randint(1, 5), chance.random()
    if chance.random() < 0.3:
        made: tuple[Schedule, Formula] = keras_cyclical(chance, "exp_range", lambda number, t: gamma**t, gamma=gamma)
        return made
    if chance.random() < 0.5:
        return RECIPES["exp_range"](
            gamma, cycles, low=low
        ), lambda t, n: low + (1 - low) * triangle(*turn(t, n, cycles)[1:], 0.5) * gamma**t
    return RECIPES["exp_range"](
        gamma, cycles, low=low, both=True
    ), lambda t, n: (low + (1 - low) * triangle(*turn(t, n, cycles)[1:], 0.5)) * gamma**t


def sgdr(chance: random.Random) -> tuple[Schedule, Formula]:
    """Equation 5, T_i and the height grown and shrunk at each restart."""
    first, growth, shrink = chance.randint(1, 60), chance.choice([1, 2, 3]), chance.choice([1.0, 0.7])
    low, cycles = chance.choice([0.0, 0.1]), chance.randint(1, 4)

    def by_period(t: int, n: int) -> float:
        long, high = first, 1.0
        while t >= long:
            t, long, high = t - long, long * growth, high * shrink
        return low + (1 - low) * high * half_cosine(t / long)

    def by_count(t: int, n: int) -> float:
        whole = sum(growth**index for index in range(cycles))
        edges = [
            math.floor(Fraction(n * sum(growth**index for index in range(count)), whole) + Fraction(1, 2))
            for count in range(cycles + 1)
        ]
        if growth == 1:
            edges = [n * count // cycles for count in range(cycles + 1)]
        index = max(index for index in range(cycles) if edges[index] <= t < edges[index + 1])
        p = (t - edges[index]) / (edges[index + 1] - edges[index])
        return low + (1 - low) * shrink**index * half_cosine(p)

    if chance.random() < 0.5:
        return lrc.sgdr(growth=growth, shrink=shrink, low=low, period=first), by_period
    return lrc.sgdr(cycles, growth, shrink=shrink, low=low), by_count


def snapshot(chance: random.Random) -> tuple[Schedule, Formula]:
    cycles = chance.randint(1, 7)

    def rate(t: int, n: int) -> float:
        _, at, length = turn(t, n, cycles)
        return half_cosine(at / length)

    return lrc.snapshot(cycles), rate


def chebyshev(chance: random.Random) -> tuple[Schedule, Formula]:
    """Definition 1, and the permutation of definition 2 by its recursion."""
    nodes, low, high, every = 2 ** chance.randint(0, 6), chance.uniform(0.01, 1), chance.uniform(1, 9), 3
    order = [1]
    while len(order) < nodes:
        order = [value for node in order for value in (node, 2 * len(order) + 1 - node)]

    def rate(t: int, n: int) -> float:
        node = order[t // every % nodes]
        return 1 / ((high + low) / 2 - (high - low) / 2 * math.cos((node - 0.5) * math.pi / nodes))

    return fractal(nodes, low=low, high=high, every=every), rate


def a_power(chance: random.Random) -> float:
    return chance.uniform(0.2, 5)


CASES: dict[str, Callable[[random.Random], tuple[Schedule, Formula]]] = {
    "constant": constant,
    "cosine": one_segment("cosine", half_cosine, None),
    "exp_range": exp_range,
    "exponential": exponential,
    "fractal": chebyshev,
    "geometric": geometric,
    "inverse_power": inverse_power,
    "inverse_sqrt": inverse_sqrt,
    "linear": one_segment("linear", lambda p: 1 - p, None),
    "one_cycle": one_cycle,
    "one_cycle_momentum": one_cycle_momentum,
    "one_minus_sqrt": one_segment("one_minus_sqrt", lambda p: 1 - math.sqrt(p), None),
    "piecewise": piecewise,
    "polynomial": one_segment("polynomial", lambda p, power: (1 - p) ** power, a_power),
    "power": power,
    "rex": one_segment("rex", lambda p, beta: (1 - p) / (1 - p + beta * p), lambda chance: 1 - chance.random()),
    "sgdr": sgdr,
    "snapshot": snapshot,
    "step": step,
    "table": table,
    "triangular": triangular,
    "triangular2": triangular2,
    "warmup": warmup,
    "wsd": wsd,
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_formula_of_its_paper(name: str) -> None:
    chance = random.Random(f"recipe {name}")
    for _ in range(25):
        schedule, formula = CASES[name](chance)
        for total in TOTALS:
            if name == "power" and total < (schedule.parts[0].steps or 0):
                continue  # a knee past the end does not fit
            wanted = [formula(t, total) for t in range(total)]
            np.testing.assert_allclose(
                schedule.multipliers(total), wanted, rtol=1e-11, atol=1e-13, err_msg=f"{schedule} over {total}"
            )


# ---- libraries, tables and special cases ----


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("total", [10, 50, 200, 1000])
def test_one_cycle_is_torchs_value_for_value(shape: str, total: int) -> None:
    """The rate and the momentum, where `rise` of the run is a whole number of steps."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total, anneal_strategy="cos" if shape == "cosine" else "linear"
    )
    rates, momenta = [], []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if len(rates) < total:
            theirs.step()
    np.testing.assert_allclose(lrc.one_cycle(shape=shape).multipliers(total), rates, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(RECIPES["one_cycle_momentum"](shape=shape).multipliers(total), momenta, rtol=1e-13)


def test_smiths_triangle_with_annihilation() -> None:
    """Smith 2018: 45 % up from a tenth, 45 % down to it, and on to a hundredth of that; read by hand."""
    values = lrc.one_cycle(0.45, 0.45, start=0.1, end=0.001, shape="linear").multipliers(100)
    assert (values[0], values[44], values[89], values[99]) == (0.1, 1.0, 0.1, 0.001)
    np.testing.assert_allclose(np.diff(values[:45]), 0.9 / 44, rtol=1e-12)
    np.testing.assert_allclose(np.diff(values[44:90]), -0.9 / 45, rtol=1e-12)
    np.testing.assert_allclose(np.diff(values[89:]), -0.099 / 10, rtol=1e-11)


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_sgdr_is_torchs_warm_restarts(growth: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 7, growth, eta_min=0.05)
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = lrc.sgdr(growth=growth, low=0.05, period=7).multipliers(200)
    np.testing.assert_allclose(ours, rates, rtol=1e-12)


@pytest.mark.parametrize(("nodes", "low", "best"), [(8, 0.1, 0.0106087), (8, 0.01, 0.386063), (64, 0.01, 5.28955e-6)])
def test_fractal_steps_reach_the_chebyshev_optimum(nodes: int, low: float, best: float) -> None:
    """methods.md, section 6: max over [low, 1] of |prod(1 - eta lambda)| is 2 / (q**T + q**-T)."""
    etas = fractal(nodes, low=low).multipliers(nodes)
    curvatures = np.linspace(low, 1, 20_001)
    worst = np.abs(np.prod(1 - curvatures[:, None] * etas, axis=1)).max()
    q = (math.sqrt(1 / low) + 1) / (math.sqrt(1 / low) - 1)
    assert worst == pytest.approx(best, rel=3e-6)
    assert worst == pytest.approx(2 / (q**nodes + q**-nodes), rel=1e-6)


@pytest.mark.parametrize(
    ("nodes", "order"),
    [
        (1, [1]),
        (8, [1, 8, 4, 5, 2, 7, 3, 6]),
        (16, [1, 16, 8, 9, 4, 13, 5, 12, 2, 15, 7, 10, 3, 14, 6, 11]),
    ],
)
def test_fractal_order(nodes: int, order: list[int]) -> None:
    """The place of each step size among all of them, the largest first."""
    etas = fractal(nodes).multipliers(nodes)
    assert [1 + sorted(etas, reverse=True).index(eta) for eta in etas] == order
    if nodes == 8:
        assert etas.round(2).tolist() == [16.91, 1.01, 2.31, 1.62, 7.69, 1.09, 3.83, 1.27]


@pytest.mark.parametrize("total", [1, 2, 5, 6, 9, 10, 11, 100, 101, 1003])
def test_snapshot_has_its_cycles_whatever_the_number_of_steps(total: int) -> None:
    """As many cycles as there are steps for, each begins at 1, none longer than another by more than a step."""
    values = lrc.snapshot(5).multipliers(total)
    begins = [t for t in range(total) if values[t] == 1]
    lengths = np.diff([*begins, total])
    assert len(begins) == min(5, total)
    assert max(lengths) - min(lengths) <= 1
    if total % 5 == 0:
        official = [half_cosine(t % (total // 5) / (total // 5)) for t in range(total)]
        np.testing.assert_allclose(values, official, rtol=1e-12, atol=1e-15)


def test_an_exponential_read_rarely_is_a_step_schedule() -> None:
    rare = lrc.exponential(math.log(1000), shares=(1 / 3, 2 / 3)).multipliers(300)
    np.testing.assert_allclose(rare, lrc.step(0.1, (1 / 3, 2 / 3)).multipliers(300), rtol=1e-14)


# ---- what holds for all ----

OTHERS: dict[str, Any] = {
    "level": 0.5,
    "start": 0.5,
    "end": 0.015,
    "steps": 13,
    "share": 0.4,
    "every": 3,
    "times": 3,
    "shares": (0.3, 0.5),
    "at": "right",
    "reverse": True,
    "rate": 2.0,
    "power": 3.0,
    "gamma": 0.9,
    "exponent": 0.7,
    "timescale": 7,
    "beta": 0.2,
    "values": (0.5, 0.2, 0.1),
    "length": 9,
    "factor": 0.3,
    "milestones": (0.2, 0.6),
    "edges": (0.25,),
    "warmup": 0.3,
    "cooldown": 0.5,
    "shape": "linear",
    "rise": 0.2,
    "fall": 0.3,
    "low": 0.5,
    "high": 0.9,
    "knee": 9,
    "cycles": 2,
    "period": 6,
    "growth": 3.0,
    "shrink": 0.5,
    "nodes": 4,
    "both": True,
}
BESIDE = {
    ("piecewise", "hold"): {"values": (0.5, 0.2), "hold": True},
    ("one_minus_sqrt", "reverse"): {"reverse": False},
    ("table", "reverse"): {"values": (1.0, 0.2, 0.0), "reverse": True},
}
"""Another value for each parameter; where one alone would not do, what to give."""
SYMMETRIC = ("cosine", "linear")  # the same, turned end for end


@pytest.mark.parametrize("name", RECIPES)
def test_every_parameter_of_every_recipe_moves_an_output(name: str) -> None:
    recipe = RECIPES[name]
    parameters = inspect.signature(recipe).parameters
    layout = Layout.__annotations__ if "layout" in parameters else {}
    for field in [*(field for field in parameters if field != "layout"), *layout]:
        given = BESIDE.get((name, field)) or {field: OTHERS[field]}
        usual = recipe(**{other: value for other, value in given.items() if other != field and field != "hold"})
        moved = recipe(**given)
        if name == "constant" and field in ("steps", "share"):  # a length shows in what follows
            usual, moved = recipe(0.5, share=0.9).then(lrc.linear()), recipe(0.5, **given).then(lrc.linear())
        same = np.array_equal(moved.multipliers(40), usual.multipliers(40))
        assert same == (field == "reverse" and name in SYMMETRIC), field
        assert moved != usual


SHAPES = [profile for name, profile in PROFILES.items() if profile is not Constant]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_profile_grows_as_well_as_it_decays(shape: Any, reverse: bool) -> None:
    """Growth is the decay upside down: what is above the end in one is below it in the other."""
    down = Schedule((Segment(shape(), 1.0, 0.25, reverse=reverse),)).multipliers(200)
    up = Schedule((Segment(shape(), 0.25, 1.0, reverse=reverse),)).multipliers(200)
    assert (down[0], up[0]) == (1.0, 0.25)
    assert np.all(np.diff(down) < 0)
    assert np.all(np.diff(up) > 0)
    np.testing.assert_allclose(down + up, 1.25, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("reverse", [False, True])
def test_reversed_is_turned_end_for_end(shape: Any, reverse: bool) -> None:
    """What is read at the left end of step t, is read reversed at the right end of step T - 1 - t."""
    plain = Schedule((Segment(shape(), 1.0, 0.25, Sampling(at="left"), reverse),)).multipliers(100)
    turned = Schedule((Segment(shape(), 0.25, 1.0, Sampling(at="right"), not reverse),)).multipliers(100)
    np.testing.assert_allclose(turned[::-1], plain, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("rate", [1000, 500, 250, 100, 50, 7, 1])
def test_any_sampling_rate_holds_between_refreshes(shape: Any, rate: int) -> None:
    """Chen et al., section 3: refreshed at 0, rate, 2 rate, ... of 1000 iterations, for every profile."""
    every_step = Schedule((Segment(shape()),))
    rarely = Schedule((Segment(shape(), sampling=Sampling(every=rate)),))
    held = [every_step.multiplier(t // rate * rate, 1000) for t in range(1000)]
    assert rarely.multipliers(1000).tolist() == held
    if 1000 % rate == 0:
        times = Schedule((Segment(shape(), sampling=Sampling(times=1000 // rate)),))
        assert times.multipliers(1000).tolist() == held


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("warmup(5ep)+cosine", "warmup(35)+cosine"),
        ("linear(every=1ep)", "linear(every=7)"),
        ("warmup(0.5epochs)+linear", "warmup(4)+linear"),
        ("step(milestones=(1ep, 2epoch))", "step(milestones=(7, 14))"),
        ("sgdr(period=3ep)", "sgdr(period=21)"),
        ("inverse_sqrt(timescale=2ep)", "inverse_sqrt(timescale=14)"),
        ("repeat(linear(steps=1ep), times=2, steps=4ep)", "repeat(linear(steps=7), times=2, steps=28)"),
        ("power(knee=1e1ep)", "power(knee=70)"),
    ],
)
def test_lengths_in_epochs_are_steps(text: str, same: str) -> None:
    assert lrc.schedule(text, steps_per_epoch=7) == lrc.schedule(same)
    with pytest.raises(BadText, match="need `steps_per_epoch` at position"):
        lrc.schedule(text)


@pytest.mark.parametrize("text", ["warmup(5 ep)", "warmup(5eps)", "warmup(5min)", "warmup(1e300ep)", "warmup(ep)"])
def test_other_units_are_refused(text: str) -> None:
    with pytest.raises(lrc.errors.BadInput):
        lrc.schedule(text + "+linear", steps_per_epoch=7)


def test_lengths_in_epochs_are_met_as_they_are_written() -> None:
    """0.145 of 100 steps is 14.5, which rounds up, and not the float below it."""
    assert lrc.schedule("warmup(0.145ep)+linear", steps_per_epoch=100) == lrc.schedule("warmup(15)+linear")
    for tenths in range(1, 400):
        made = lrc.schedule(f"warmup({tenths / 10}ep)+linear", steps_per_epoch=10)
        assert made.parts[0].steps == tenths
    assert lrc.schedule("linear(steps=1e-9999999999999ep)", steps_per_epoch=7) == lrc.schedule("linear(steps=0)")
    with pytest.raises(BadText, match="a length of more than"):
        lrc.schedule("linear(steps=1e9999999999999ep)", steps_per_epoch=7)


def test_horizons_in_epochs_and_seconds_are_met_as_they_are_written() -> None:
    """A tenth of ten steps is one step; so many tenths of seconds are so many nanoseconds."""
    for tenths in range(1, 400):
        amount = tenths / 10
        assert horizon(f"{amount}ep").resolved(steps_per_epoch=10) == horizon(tenths)
        assert horizon(f"{amount}ep").resolved(steps_per_epoch=100) == horizon(10 * tenths)
        assert horizon(f"{amount}s").ticks == tenths * 10**8
    chance = random.Random(55)
    for ticks in (chance.randrange(1, 2**51) for _ in range(500)):
        assert horizon("1s").with_ticks(ticks).ticks == ticks


@pytest.mark.parametrize("factor", [0.1, 0.3, 0.7, 0.9, 0.99, 1 / 3])
def test_levels_are_powers_of_the_number_as_it_is_written(factor: float) -> None:
    """By milestones, every so many steps, and in turns that grow or not; at any turn, one at a time or all at once."""
    true = [float(Fraction(repr(factor)) ** turn) for turn in range(200)]
    every = lrc.step(factor, every=2)
    assert every.multipliers(400)[::2].tolist() == true
    assert [every.multiplier(2 * turn, 10**9) for turn in range(200)] == true
    assert every.multiplier(torch.arange(0, 400, 2), 400).tolist() == true
    assert [every.last(2 * turn) for turn in range(1, 200)] == true[:-1]
    assert lrc.constant().repeat(200, shrink=factor).multipliers(200).tolist() == true
    assert lrc.constant().repeat(period=2, growth=1.5, shrink=factor).multipliers(8).tolist() == [
        *true[:1] * 2, *true[1:2] * 3, *true[2:3] * 3
    ]  # fmt: skip
    assert lrc.step(factor, tuple(range(1, 200))).multipliers(200).tolist() == true
