"""The last-iterate bound: against a double loop, against published numbers, and its laws."""

import math
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

import lrcontrol as lrc
from lrcontrol.analysis.bound import Bound, best_multipliers, last_iterate_bound
from lrcontrol.errors import BadInput

law = settings(max_examples=100, derandomize=True, deadline=None)
positive = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40)


def straight_from_the_formula(
    eta: list[float], norms: list[float], distance: float = 1.0
) -> tuple[float, float, float]:
    """Defazio et al. 2023, theorem 10, in double loops; steps from 1 to T."""
    T = len(eta)  # noqa: N806 - as in the paper
    eta, norms = [0, *eta], [0, *norms]
    t1 = distance**2 / (2 * sum(eta))
    t2 = sum(eta[t] ** 2 * norms[t] ** 2 for t in range(1, T + 1)) / (2 * sum(eta))
    t3 = 0.0
    for k in range(1, T):
        here, after = sum(eta[k:]), sum(eta[k + 1 :])
        t3 += 0.5 * eta[k] / (after * here) * sum(eta[t] ** 2 * norms[t] ** 2 for t in range(k, T + 1))
    return t1, t2, t3


# methods.md, section 1.3, with D = G = 1: gamma* and bound at T = 100 and 1000, bound * sqrt(T) at 100, 1000, 10000
TABLE: dict[str, tuple[str, str, str, str, str]] = {
    "linear": (".09726 .203608", ".03150 .063434", "2.0361", "2.0060", "2.0008"),
    "rex": (".07841 .206129", ".02542 .064039", "2.0613", "2.0251", "2.0180"),
    "rex(0.1)": (".05411 .222179", ".01753 .068936", "2.2218", "2.1800", "2.1640"),
    "cosine": (".09469 .209114", ".03062 .065243", "2.0911", "2.0632", "2.0605"),
    "step": (".07419 .255524", ".02403 .078901", "2.5552", "2.4951", "2.4973"),
    "constant": (".04023 .248543", ".01086 .092111", "2.4854", "2.9128", "3.2844"),
    "polynomial(1.5)": ("- .207178", "- .064653", "2.0718", "2.0445", "2.0416"),
    "polynomial(2)": ("- .214869", "- .067166", "2.1487", "2.1240", "2.1216"),
    "polynomial(0.5)": ("- .211116", "- .067069", "2.1112", "2.1209", "2.1215"),
    "constant+linear(share=0.2)": ("- .223028", "- .068707", "2.2303", "2.1727", "2.1614"),
    "constant+linear(share=0.5)": ("- .207722", "- .064516", "2.0772", "2.0402", "2.0337"),
}


@pytest.mark.parametrize("text", TABLE)
def test_our_schedules_give_the_published_table(text: str) -> None:
    """To every printed digit."""
    at_100, at_1000, *scaled = TABLE[text]
    for total, row in ((100, at_100), (1000, at_1000)):
        bound = last_iterate_bound(lrc.schedule(text).multipliers(total))
        rate, value = row.split()
        assert f"{bound.value:.6f}".lstrip("0") == value
        if rate != "-":
            assert f"{bound.base_lr:.5f}".lstrip("0") == rate
    for total, printed in zip((100, 1000, 10_000), scaled, strict=True):
        bound = last_iterate_bound(lrc.schedule(text).multipliers(total))
        assert f"{bound.value * math.sqrt(total):.4f}" == printed


def test_at_ten_steps_linear_is_not_best() -> None:
    values = {text: last_iterate_bound(lrc.schedule(text).multipliers(10)).value for text in ("constant", "linear")}
    values["1/sqrt"] = last_iterate_bound(1 / np.sqrt(np.arange(1, 11))).value
    assert {name: f"{value:.4f}" for name, value in values.items()} == {
        "1/sqrt": "0.6100",
        "constant": "0.6188",
        "linear": "0.6696",
    }


@pytest.mark.parametrize(
    ("gamma", "norm", "distance", "total"), [(1.0, 1.0, 1.0, 1), (0.3, 2.0, 5.0, 50), (7.0, 0.1, 0.2, 333)]
)
def test_a_constant_rate_has_a_closed_form(gamma: float, norm: float, distance: float, total: int) -> None:
    """t1 = D²/(2γT), t2 = γG²/2, t3 = γG²H_{T-1}/2."""
    bound = last_iterate_bound(np.full(total, gamma), norm, distance)
    harmonic = sum(1 / k for k in range(1, total))
    assert bound.t1 == pytest.approx(distance**2 / (2 * gamma * total), rel=1e-13)
    assert bound.t2 == pytest.approx(gamma * norm**2 / 2, rel=1e-13)
    assert bound.t3 == pytest.approx(gamma * norm**2 * harmonic / 2, rel=1e-13)


@law
@given(positive, st.randoms(use_true_random=False), st.floats(0.1, 10))
def test_it_equals_the_double_loop(eta: list[float], chance: random.Random, distance: float) -> None:
    """Also with zeros between and before, and with a norm of its own at every step."""
    eta = [0.0 if chance.random() < 0.2 else value for value in eta[:-1]] + eta[-1:]
    norms = [chance.choice([0.0, chance.uniform(0.1, 10)]) for _ in eta[:-1]] + [chance.uniform(0.1, 10)]
    bound = last_iterate_bound(eta, norms, distance)
    assert (bound.t1, bound.t2, bound.t3) == pytest.approx(straight_from_the_formula(eta, norms, distance), rel=1e-11)


@law
@given(positive, st.integers(1, 30))
def test_trailing_zeros_change_nothing(eta: list[float], zeros: int) -> None:
    norms = np.linspace(1, 2, len(eta))
    padded = last_iterate_bound([*eta, *[0.0] * zeros], [*norms, *[1e9] * zeros])
    assert padded == last_iterate_bound(eta, norms)


def test_a_schedule_that_ends_at_exactly_zero_is_the_one_before_its_last_step() -> None:
    closed = lrc.linear(at="closed").multipliers(101)
    assert closed[-1] == 0
    ours = last_iterate_bound(closed)
    assert ours == last_iterate_bound(closed[:-1])
    assert ours.value == pytest.approx(last_iterate_bound(lrc.linear().multipliers(100)).value, rel=1e-12)


@law
@given(positive, st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_scaling_moves_what_it_should(eta: list[float], scale: float, norm: float) -> None:
    """Multipliers times c: best rate over c, same bound. Norms or distance times c: bound times c."""
    shape = np.array(eta)
    one = last_iterate_bound(shape)
    assert last_iterate_bound(shape * scale).value == pytest.approx(one.value, rel=1e-12)
    assert last_iterate_bound(shape * scale).base_lr == pytest.approx(one.base_lr / scale, rel=1e-12)
    assert last_iterate_bound(shape, norm).value == pytest.approx(one.value * norm, rel=1e-12)
    assert last_iterate_bound(shape, distance=norm).value == pytest.approx(one.value * norm, rel=1e-12)
    assert last_iterate_bound(shape, np.full(len(shape), norm)) == last_iterate_bound(shape, norm)


@law
@given(positive, st.floats(0.01, 100))
def test_base_lr_is_where_the_bound_is_lowest(eta: list[float], off: float) -> None:
    bound = last_iterate_bound(eta)
    assert bound.at(bound.base_lr) == pytest.approx(bound.value, rel=1e-13)
    assert bound.at(bound.base_lr * off) >= bound.value * (1 - 1e-13)
    shape = np.array(eta) * bound.base_lr
    whole = last_iterate_bound(shape)
    assert whole.t1 + whole.t2 + whole.t3 == pytest.approx(bound.value, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
def test_tiny_and_huge_multipliers_keep_their_digits(scale: float) -> None:
    shape = lrc.rex().multipliers(50)
    scaled, one = last_iterate_bound(shape * scale), last_iterate_bound(shape)
    assert scaled.value == pytest.approx(one.value, rel=1e-12)
    assert last_iterate_bound(shape, scale**0.5).value == pytest.approx(one.value * scale**0.5, rel=1e-12)


def test_a_power_that_underflows_still_has_a_bound() -> None:
    shape = lrc.polynomial(200).multipliers(1000)
    assert shape[-1] == 0
    assert math.isfinite(last_iterate_bound(shape).value)


def test_a_million_steps_take_one_pass() -> None:
    bound = last_iterate_bound(lrc.linear().multipliers(10**6))
    assert bound.value * 1000 == pytest.approx(2.0, rel=1e-4)


def test_every_field_moves_the_value_and_the_rate() -> None:
    bound = Bound(1.0, 2.0, 3.0)
    for field in msgspec.structs.fields(Bound):
        moved = msgspec.structs.replace(bound, **{field.name: 0.5})
        assert moved.value != bound.value
        assert moved.base_lr != bound.base_lr
        assert moved.at(0.1) != bound.at(0.1)


BAD_ARRAYS: list[tuple[Any, str]] = [
    ([1.0, math.nan], "finite numbers >= 0, got nan at step 1"),
    ([math.inf, 1.0], "finite numbers >= 0, got inf at step 0"),
    ([1.0, 1.0, -1e-9], "finite numbers >= 0, got -1e-09 at step 2"),
    ([], "shape"),
    ([[1.0, 2.0]], "shape"),
    (["1", "2"], "must hold numbers"),
    ([True, False], "must hold numbers"),
    ([None, 1.0], "must hold numbers"),
    ([1.0, [2.0]], "must hold numbers"),
    ([10**5000], "must hold numbers"),
    ([1j], "must hold numbers"),
    (None, "must hold numbers"),
    ("linear", "must hold numbers"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD_ARRAYS, ids=lambda given: type(given).__name__)
def test_bad_arrays_are_refused_by_name(bad: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=rf"`multipliers`.*{sentence}"):
        last_iterate_bound(bad)
    with pytest.raises(BadInput, match=rf"`grad_norm`.*({sentence}|one value per multiplier)"):
        last_iterate_bound([1.0, 1.0, 1.0], bad)


def test_what_has_no_bound_is_refused() -> None:
    with pytest.raises(BadInput, match="`multipliers` must not all be 0"):
        last_iterate_bound([0.0, 0.0])
    with pytest.raises(BadInput, match="`multipliers` must have shape"):
        last_iterate_bound(1.0)
    with pytest.raises(BadInput, match="one value per multiplier, 3, got 2"):
        last_iterate_bound([1, 1, 1], [1, 1])
    with pytest.raises(BadInput, match="`grad_norm` must not be 0 at every step"):
        last_iterate_bound([1, 0, 0], [0, 5, 5])
    with pytest.raises(BadInput, match="`grad_norm`"):
        last_iterate_bound([1, 1], 0.0)
    with pytest.raises(BadInput, match="`grad_norm`"):
        last_iterate_bound([1, 1], -1.0)
    with pytest.raises(BadInput, match="a float can hold"):
        last_iterate_bound([1.0, 5e-324])
    for bad in (0, -1, math.nan, math.inf, True, "1", None, 10**5000):
        with pytest.raises(BadInput, match="`distance`"):
            last_iterate_bound([1.0], distance=bad)
        with pytest.raises(BadInput, match="`base_lr`"):
            Bound(1.0, 1.0, 1.0).at(bad)


# The schedule with the lowest bound


def by_parts(rates: NDArray[np.float64], norms: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The bound at distance 1 summed by parts, and its derivative by every rate."""
    left = np.cumsum(rates[::-1])[::-1]
    noise = (rates * norms) ** 2
    value = 1 / (2 * left[0]) + 0.5 * (float((noise[:-1] / left[1:]).sum()) + rates[-1] * norms[-1] ** 2)
    slope = np.full_like(rates, -1 / (2 * left[0] ** 2))
    slope[:-1] += rates[:-1] * norms[:-1] ** 2 / left[1:]
    slope[-1] += 0.5 * norms[-1] ** 2
    slope[1:] -= 0.5 * np.cumsum(noise[:-1] / left[1:] ** 2)
    return value, slope


@law
@given(positive)
def test_summed_by_parts_the_bound_is_the_same(norms: list[float]) -> None:
    rates = np.random.default_rng(len(norms)).uniform(0.1, 1, len(norms))
    value, _ = by_parts(rates, np.array(norms))
    assert value == pytest.approx(last_iterate_bound(rates, norms).at(1.0), rel=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 40])
def test_descent_finds_no_lower_bound(total: int) -> None:
    """L-BFGS-B from a constant, as the authors compute it, ends where the recursion is."""
    for seed in range(5):
        norms = np.exp(np.random.default_rng(seed).standard_normal(total))
        found = minimize(
            by_parts,
            np.full(total, total**-0.5),
            args=(norms,),
            jac=True,
            method="L-BFGS-B",
            bounds=[(1e-8, None)] * total,
            options={"maxiter": 100_000, "maxfun": 100_000, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-10},
        )
        best = last_iterate_bound(best_multipliers(norms), norms)
        assert best.value <= found.fun * (1 + 1e-12)
        assert best.value == pytest.approx(found.fun, rel=1e-6)


@law
@given(positive)
def test_it_is_where_nothing_pulls(norms: list[float]) -> None:
    """At its best base rate every derivative is 0, and the bound is convex: there is no lower one."""
    values = np.array(norms)
    best = best_multipliers(values)
    rates = best * last_iterate_bound(best, values).base_lr
    value, slope = by_parts(rates, values)
    assert float(np.abs(slope * rates).max()) <= 1e-9 * value


@law
@given(positive, st.sampled_from(sorted(TABLE)))
def test_no_named_schedule_has_a_lower_one(norms: list[float], text: str) -> None:
    named = last_iterate_bound(lrc.schedule(text).multipliers(len(norms)), norms).value
    assert last_iterate_bound(best_multipliers(norms), norms).value <= named * (1 + 1e-9)


def test_long_runs_keep_their_digits() -> None:
    """Constant norms: 1 + (T - t) / 4 up to a factor, and nearly the bound of linear decay."""
    best = best_multipliers(np.ones(100_000))
    line = 1 + np.arange(100_000)[::-1] / 4
    assert np.abs(best - line / line[0]).max() < 1e-4
    assert last_iterate_bound(best).value * math.sqrt(100_000) == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    ("norms", "said"), [([1, 0, 1], "0 at step 1"), ([1, -1], "-1"), ([1e-200, 1], "150 orders"), ([], "shape")]
)
def test_norms_without_a_lowest_bound_are_refused(norms: list[float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        best_multipliers(norms)
