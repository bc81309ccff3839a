"""The smooth curve: against a slow twin of whole matrices, its slope, its laws, and points far off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcontrol.analysis import fitted as module
from lrcontrol.analysis.fitted import fitted

law = settings(max_examples=10, derandomize=True, deadline=None)


def waves(count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = np.sort(chance.uniform(-3, 2, count))
    return x, np.sin(2 * x) + noise * chance.standard_normal(count)


def test_it_is_the_posterior_of_whole_matrices() -> None:
    """The mean over all lengths and ratios, by matrices of points instead of coefficients."""
    x, y = waves(25, 0.2, 0)
    middle, half = (x.max() + x.min()) / 2, (x.max() - x.min()) / 2
    level = (y - np.median(y)) / y.std()
    at, grid = module._basis((x - middle) / half)[0], module._basis(np.linspace(-1, 1, module.GRID))[0]
    logs, means = [], []
    for length in module._LENGTHS:
        spectrum = np.sqrt(2 * np.pi) * length * np.exp(-0.5 * (length * module._frequencies()) ** 2)
        prior = np.concatenate([[1.0], spectrum])
        for ratio in module._RATIOS:
            whole = np.eye(x.size) + ratio * (at * prior) @ at.T
            solved = np.linalg.solve(whole, level)
            logs.append(-0.5 * np.linalg.slogdet(whole)[1] - 0.5 * x.size * np.log(level @ solved))
            means.append(ratio * (grid * prior) @ at.T @ solved)
    chances = np.exp(np.array(logs) - max(logs))
    twin = np.median(y) + y.std() * (chances / chances.sum()) @ np.array(means)
    curve = fitted(x, y)
    if np.all(curve.weights == 1):
        assert curve.values == pytest.approx(twin, abs=1e-6)
    else:  # pragma: no cover
        pytest.fail("the seed was to give no point far off")


def test_slopes_are_those_of_the_values() -> None:
    x, y = waves(80, 0.1, 1)
    curve = fitted(x, y)
    steps = np.gradient(curve.values, curve.places)
    assert curve.slopes[5:-5] == pytest.approx(steps[5:-5], abs=0.01)
    assert np.gradient(curve.drawn_values, curve.places, axis=1)[:, 5:-5] == pytest.approx(
        curve.drawn_slopes[:, 5:-5], abs=0.05
    )


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_noise_is_found_and_draws_cover_the_truth(noise: float) -> None:
    """At nine tenths of all places, nine tenths of the draws' quantiles hold the truth: on average over seeds."""
    found, inside = [], []
    for seed in range(12):
        curve = fitted(*waves(100, noise, seed))
        found.append(curve.noise)
        low, high = np.quantile(curve.drawn_values, [0.05, 0.95], axis=0)
        truth = np.sin(2 * curve.places)
        inside.append(np.mean((low <= truth) & (truth <= high)))
    assert np.median(found) == pytest.approx(noise, rel=0.15)
    assert np.mean(inside) > 0.8


@law
@given(st.floats(-10, 10), st.floats(1e-6, 1e6), st.floats(-50, 50), st.floats(0.01, 100), st.integers(0, 5))
def test_only_shapes_matter(shift: float, size: float, move: float, stretch: float, seed: int) -> None:
    x, y = waves(40, 0.1, seed)
    plain, other = fitted(x, y, draws=5), fitted(move + stretch * x, shift * size + size * y, draws=5)
    assert (other.values - shift * size) / size == pytest.approx(plain.values, abs=1e-4)
    assert other.slopes * stretch / size == pytest.approx(plain.slopes, abs=1e-3)
    assert (other.drawn_values - shift * size) / size == pytest.approx(plain.drawn_values, abs=1e-2)
    assert other.gain == pytest.approx(plain.gain, abs=1e-3)


def test_points_far_off_have_little_weight_and_the_order_of_points_none() -> None:
    x, y = waves(80, 0.05, 2)
    plain = fitted(x, y)
    odd = y.copy()
    odd[[10, 40, 41]] += [2, -3, 2]
    curve = fitted(x, odd)
    assert curve.weights[[10, 40, 41]].max() < 0.05
    assert np.abs(curve.values - plain.values).max() < 0.1
    order = np.random.default_rng(0).permutation(x.size)
    assert fitted(x[order], odd[order]).values == pytest.approx(curve.values, abs=1e-6)


def test_seeds_change_draws_alone() -> None:
    x, y = waves(40, 0.2, 3)
    one, other = fitted(x, y, seed=1), fitted(x, y, seed=2)
    assert np.array_equal(one.values, other.values)
    assert not np.array_equal(one.drawn_values, other.drawn_values)
    assert np.array_equal(one.drawn_values, fitted(x, y, seed=1).drawn_values)
