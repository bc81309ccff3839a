"""Controls that set the rate of an update by its own gradient: their formulas, what theory says, and their laws."""

import copy
import functools
import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gradient_twins as twins
from contracts.control import TOTAL
from gradient_twins import Adam, Bench, Heavy, Plain
from lrcontrol.controls.alignment import Alignment
from lrcontrol.controls.composed import AnyControl
from lrcontrol.controls.control import AHEAD, Observation, Update, reconsidered
from lrcontrol.controls.greedy import Greedy
from lrcontrol.controls.hypergradient import Hypergradient
from lrcontrol.controls.l4 import L4
from lrcontrol.controls.polyak import Polyak
from lrcontrol.controls.text import CONTROLS, WRAPPERS, control, control_text
from lrcontrol.errors import BadInput, BadText
from lrcontrol.schedules.text import CONTROLS_AROUND, CONTROLS_LOOK, schedule

STEPS = 200
BASES = [0.03, 0.01]

SGD = functools.partial(torch.optim.SGD, lr=1.0)
ADAM = functools.partial(torch.optim.AdamW, lr=1.0, weight_decay=0.0)
DIRECTIONS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "sgd": (SGD, Plain),
    "momentum": (functools.partial(SGD, momentum=0.9), Heavy),
    "nesterov": (functools.partial(SGD, momentum=0.9, nesterov=True), functools.partial(Heavy, nesterov=True)),
    "adam": (ADAM, Adam),
}
KINDS = ("least squares", "perceptron")


def check_twins(theirs: Iterator[twins.Rates], ours: Iterator[twins.Rates]) -> list[list[float]]:
    """Rates and losses are the same; the rates."""
    trail = []
    for step, ((rates, loss), (own_rates, own_loss)) in enumerate(zip(theirs, ours, strict=True)):
        assert own_rates == pytest.approx(rates, rel=1e-9, abs=0), step
        assert own_loss == pytest.approx(loss, rel=1e-9, abs=0), step
        trail.append(rates)
    assert len(trail) == STEPS
    return trail


# ---- the papers' formulas ----


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_hypergradient_descent_is_the_papers(kind: str, direction: str) -> None:
    """The additive rule; the paper's beta is ours times the base rate squared."""
    make, rule = DIRECTIONS[direction]
    rate, beta = (0.002, 4e-6) if direction == "adam" else (0.005, 4e-5)
    found = check_twins(
        twins.baydin(Bench(kind), rate, beta, rule(), STEPS),
        twins.ours(Bench(kind), make, [rate] * 2, Hypergradient(beta / rate**2, "additive"), STEPS),
    )
    rates = [group for group, _ in found]
    assert max(rates) > 1.05 * rate
    assert all(0.5 < after / before < 2 for before, after in pairwise(rates))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_multiplicative_rule_is_by_the_angle(kind: str, direction: str) -> None:
    make, rule = DIRECTIONS[direction]
    beta, floor, ceiling = 0.1, 0.5, 3.0
    found = check_twins(
        twins.by_the_angle(Bench(kind), BASES, beta, (floor, ceiling), rule(), STEPS),
        twins.ours(Bench(kind), make, BASES, Hypergradient(beta, floor=floor, ceiling=ceiling), STEPS),
    )
    multipliers = [rate / BASES[0] for rate, _ in found]
    assert max(multipliers) > 1.1
    assert floor <= min(multipliers)


@pytest.mark.parametrize("direction", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("kind", KINDS)
def test_polyaks_step_is_the_papers(kind: str, direction: str) -> None:
    """Capped by the smoothed one before; both the cap and the step are met."""
    make, rule = DIRECTIONS[direction]
    given = Polyak(c=8.0, lowest=0.01, growth=3.0, period=7)
    bases = [0.01, 0.005]
    found = check_twins(
        twins.sps_max(Bench(kind), bases, 8.0, 0.01, 3.0, 7, rule(), STEPS),
        twins.ours(Bench(kind), make, bases, given, STEPS),
    )
    grown = [after[0] / before[0] for before, after in pairwise(found)]
    assert any(each == pytest.approx(3 ** (1 / 7)) for each in grown)
    assert any(each < 1 for each in grown)


@pytest.mark.parametrize("direction", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("kind", KINDS)
def test_l4_is_the_papers(kind: str, direction: str) -> None:
    """On momentum, Adam and plain descent, whatever the base rates are in common."""
    make, rule = DIRECTIONS[direction]
    given = L4(alpha=0.1, gamma=0.8, memory=50)
    found = check_twins(
        twins.l4(Bench(kind), BASES, 0.1, 0.8, 50, 0.0 if direction == "sgd" else 0.9, rule(), STEPS),
        twins.ours(Bench(kind), make, BASES, given, STEPS),
    )
    ten = [10 * base for base in BASES]
    again = [rates for rates, _ in twins.ours(Bench(kind), make, ten, given, STEPS)]
    assert again[:20] == [pytest.approx(rates, rel=1e-6) for rates in found[:20]]


# ---- what theory says ----


def descended(curvatures: list[float], given: AnyControl | str, base: float, steps: int, lowest: float = 0.0) -> Any:
    """Plain descent on `sum a x**2 / 2 + lowest` from 1: rates, losses, distances from 0, before every update."""
    a = torch.tensor(curvatures, dtype=torch.float64)
    x = nn.Parameter(torch.ones(len(curvatures), dtype=torch.float64))
    optimizer = torch.optim.SGD([x], lr=base)
    from lrcontrol import as_torch_scheduler

    scheduler = as_torch_scheduler(optimizer, given, steps)
    rates, losses, distances = [], [], []
    for _ in range(steps):
        loss = (a * x**2).sum() / 2 + lowest
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item() - lowest)
        distances.append(x.detach().norm().item())
        scheduler.tell(loss=loss)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return rates, losses, distances


@pytest.mark.parametrize("lowest", [0.0, -3.0, 5.0])
def test_polyaks_step_nears_the_optimum_in_every_update(lowest: float) -> None:
    """With the true lowest, on a quadratic of condition 100: the distance falls, and the error to nothing."""
    given = Polyak(lowest=lowest, growth=1e6, period=1)
    rates, losses, distances = descended([0.1, 1.0, 10.0], given, 100.0, 600, lowest)
    falling = [after < before for before, after in pairwise(distances)]
    assert all(falling[: next((place for place, loss in enumerate(losses) if loss < 1e-10), len(losses)) - 1])
    assert losses[-1] < 1e-8
    assert all(1 / 10 <= rate <= 1 / 0.1 + 1e-9 for rate in rates[:50])  # between 1/L and 1/mu
    one, _, after = descended([7.0], given, 100.0, 2, lowest)
    assert one[0] == pytest.approx(1 / 7, rel=1e-12)
    assert after[1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("base", [1e-4, 1.5])
def test_the_hypergradient_finds_the_rate_of_one_curvature(base: float) -> None:
    """From far below and from above 1/a it comes to where a step no longer overshoots."""
    given = Hypergradient(0.1, ceiling=1e6)
    rates, losses, _ = descended([1.0], given, base, 110)
    assert losses[-1] < 1e-12 * losses[0]
    near = next(place for place, rate in enumerate(rates) if 1 / 1.12 < rate < 1.12)
    rising = rates[1:near] > rates[: near - 1]
    assert rising == (base < 1) or near == 0


def test_the_additive_rule_at_most_doubles_or_halves() -> None:
    given = Hypergradient(1e9, "additive")
    _, state = given.start(10)
    up, state = given.reconsider(state, Update(slope=-1.0))
    down, state = given.reconsider(state, Update(slope=1.0))
    assert (up.multiplier, down.multiplier) == (2.0, 1.0)


def test_l4_falls_as_its_own_equation_says() -> None:
    """On a parabola, where the lowest is the loss itself, `x' = x (1 - alpha (1 - gamma) / 2)`."""
    alpha, gamma = 0.3, 0.5
    _, losses, _ = descended([2.0], L4(alpha=alpha, gamma=gamma, memory=10**6), 0.01, 100)
    ratios = [after / before for before, after in pairwise(losses)]
    assert ratios[5:] == pytest.approx([(1 - alpha * (1 - gamma) / 2) ** 2] * len(ratios[5:]), rel=1e-4)
    assert max(ratios) < 1


@pytest.mark.parametrize("base", [1e-3, 0.1, 10.0])
def test_alignment_takes_the_best_step_in_hindsight(base: float) -> None:
    """On a parabola of curvature a the step after the first is what is left of 1/a, and none overshoots after it."""
    a, total = 0.5, {"fall": 0.0, "bend": 0.0}
    given, x, rate = Alignment(prior=0, floor=1e-9, ceiling=1e9), 1.0, base
    decision, state = given.start(100)
    for step in range(30):
        before, x = x, x * (1 - a * rate)
        slope, bend = a * x * (-base * a * before), a * (base * a * before) ** 2
        total = {"fall": total["fall"] - slope, "bend": total["bend"] + bend}
        decision, state = given.reconsider(state, Update(slope=slope, curvature=bend))
        rate = base * decision.multiplier
        assert decision.multiplier == pytest.approx(min(max(total["fall"] / total["bend"], 1e-9), 1e9), rel=1e-12)
        if step == 0 and base < 1 / a:
            assert rate == pytest.approx(1 / a - base, rel=1e-9)
    assert abs(x) < 1e-6


# ---- laws ----

positive = st.floats(1e-6, 1e6)
finite = st.floats(-1e100, 1e100)
any_number = st.none() | st.floats()


@st.composite
def singles(draw: Any) -> Any:
    """A control of its own, of any parameters."""
    floor, ceiling = draw(st.floats(1e-9, 1)), draw(st.floats(1, 1e9))
    rule = draw(st.sampled_from(["multiplicative", "additive"]))
    return draw(
        st.one_of(
            st.just(Hypergradient(draw(st.floats(1e-9, 0.999)), rule, floor, ceiling)),
            st.builds(Polyak, positive, finite, st.floats(1, 1e6), st.none() | st.integers(1, 1000)),
            st.builds(L4, st.floats(1e-6, 0.999), st.floats(1e-6, 0.999), st.integers(1, 10**6), positive),
            st.just(Alignment(draw(st.floats(0, 1e6)), floor, ceiling)),
            st.builds(
                Greedy,
                st.floats(1e-3, 0.999),
                st.integers(0, 5),
                st.sampled_from(["loss", "metric"]),
                st.integers(1, 5),
                st.floats(0, 0.999),
                st.integers(0, 3),
                st.integers(0, 3),
                st.just(floor),
                st.just(ceiling),
                st.integers(1, 4),
            ),
        )
    )


@st.composite
def controls(draw: Any) -> AnyControl:
    """One alone, or after, beside and within others."""
    text = control_text(draw(singles()))
    around = st.sampled_from(
        [
            "{}",
            "warmup(0.25)+{}",
            "cosine*{}",
            "max(cosine*{}, 0.1)",
            "min({}, warmup(0.5)+constant)",
            "clip({}, norm=0.5)",
            "stop_on_divergence(clip({}), factor=3)",
            "stop_early(snapshot(3)*{}, patience=1)",
        ]
    )
    return control(draw(around).format(text))


updates = st.builds(
    Update,
    batch_loss=any_number,
    fall=any_number,
    descent=any_number,
    slope=any_number,
    cosine=st.none() | st.floats(-1, 1) | st.just(math.nan),
    curvature=any_number,
)
observations = st.builds(Observation, step=st.just(0), loss=any_number, metric=any_number)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(controls(), st.lists(st.tuples(updates, observations), min_size=1, max_size=11))
def test_decisions_are_pure_finite_and_the_same_through_json(
    given_control: AnyControl, shown: list[tuple[Update, Observation]]
) -> None:
    """Whatever is shown, numbers that are not finite among it; the state that was given is never changed."""
    decision, state = given_control.start(TOTAL)
    for step, (update, observation) in enumerate(shown):
        seen = msgspec.structs.replace(observation, step=step)
        calls = [functools.partial(given_control.next, seen=seen)]
        if given_control.needs & AHEAD:
            calls.insert(0, functools.partial(reconsidered, given_control, update=update))
        for call in calls:
            before = copy.deepcopy(state)
            again = json.loads(json.dumps(state, allow_nan=False))
            assert again == state
            try:
                decision, after = call(state=state)
            except BadInput as error:
                assert re.search("losses must be positive|no loss may be below", str(error))  # noqa: PT017 - what is refused ends this run
                return
            assert call(state=again) == (decision, after)
            assert state == before
            state = after
            assert math.isfinite(decision.multiplier)
            assert decision.multiplier >= 0
    again = control(control_text(given_control))
    assert again == given_control
    assert msgspec.json.decode(msgspec.json.encode(given_control), type=type(given_control)) == given_control


def test_the_reader_of_schedules_knows_every_control_by_name() -> None:
    assert set(CONTROLS_LOOK) == set(CONTROLS)
    assert set(CONTROLS_AROUND) == set(WRAPPERS)
    for name in CONTROLS:
        with pytest.raises(BadText, match=f"{name} is a control, which looks at the run"):
            schedule(f"repeat({name}, times=2)")


def test_losses_that_cannot_be_are_told() -> None:
    _, state = L4().reconsider(L4().start(10)[1], Update(batch_loss=1.0, descent=1.0))
    with pytest.raises(BadInput, match="losses must be positive under l4, got -1"):
        L4().reconsider(state, Update(batch_loss=-1.0, descent=1.0))
    with pytest.raises(BadInput, match=r"no loss may be below `lowest`=0\.5 under polyak, got 0\.4"):
        Polyak(lowest=0.5).reconsider(Polyak(lowest=0.5).start(10)[1], Update(batch_loss=0.4, fall=1.0))
    assert Polyak().reconsider(Polyak().start(10)[1], Update(batch_loss=-1e-9, fall=1.0))[0].multiplier == 0.0
