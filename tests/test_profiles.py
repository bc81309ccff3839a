"""Profiles: the contract, and each curve against its formula at 50 digits."""

import random
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from contracts.profile import ProfileContract
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import Constant, Cosine, Exponential, Linear, Polynomial, Rex, Shape

PROFILES = [
    Linear(),
    Cosine(),
    Polynomial(2.0),
    Polynomial(0.5),
    Polynomial(1.5),
    Polynomial(0.01),
    Polynomial(100.0),
    Exponential(4.0),
    Exponential(-2.0),
    Exponential(1e-6),
    Exponential(700.0),
    Rex(0.5),
    Rex(0.1),
    Rex(1.0),
    Rex(1e-6),
]


@pytest.mark.parametrize("profile", PROFILES, ids=repr)
class TestProfiles(ProfileContract):
    """Every profile keeps the contract."""


class TestConstant(ProfileContract):
    """The constant keeps it too, and never leaves its start."""

    @pytest.fixture
    def profile(self) -> Constant:
        return Constant()

    @pytest.fixture
    def ends(self) -> tuple[float, float]:
        return (1.0, 0.0)


def from_the_papers(profile: Any, p: mpmath.mpf) -> mpmath.mpf:
    """The weight of the start at progress `p`, straight from the formula."""
    q = 1 - p
    match profile:
        case Linear():
            return q
        case Cosine():
            return (1 + mpmath.cos(mpmath.pi * p)) / 2
        case Polynomial(power):
            return q ** mpmath.mpf(power)
        case Rex(beta):
            return q / (1 - p * (1 - mpmath.mpf(beta)))  # init2winit's form; 0.5: (1-p)/(1-p/2), the paper's
        case Exponential(rate):
            r = mpmath.mpf(rate)
            return (mpmath.exp(-r * p) - mpmath.exp(-r)) / (1 - mpmath.exp(-r))
    raise AssertionError(profile)


def conditioned(profile: Any) -> float:
    """How many ulp the error of one correctly rounded argument may become: the exponent's size."""
    match profile:
        case Polynomial(power):
            return power
        case Exponential(rate):
            return abs(rate)
    return 0.0


@pytest.mark.parametrize("profile", PROFILES, ids=repr)
def test_within_4_ulp_of_50_digits_at_any_horizon(profile: Shape) -> None:
    """Both weights, at random steps and the first and last two, for T from 1 to 2**53.

    4 ulp for exponents up to 4; a larger exponent turns the rounding of progress into that many more.
    """
    chance = random.Random(20260)
    with mpmath.workdps(50):
        for total in (1, 2, 3, 10, 1000, 10**6, 10**9, 10**12, 2**53):
            steps = sorted(
                {0, total // 2, max(total - 2, 0), total - 1, *(chance.randrange(total) for _ in range(40))}
            )
            gone, left = np.array(steps) / total, (total - np.array(steps)) / total
            toward_start, toward_end = profile.split(gone, left)
            for index, step in enumerate(steps):
                true = from_the_papers(profile, mpmath.mpf(step) / total)
                for got, wanted in ((toward_start[index], true), (toward_end[index], 1 - true)):
                    off = abs(mpmath.mpf(float(got)) - wanted) / float(np.spacing(max(got, 1e-290)))
                    assert off <= max(4.0, conditioned(profile) + 4.0), (profile, total, step, float(off))


def test_rex_is_the_papers_curve_and_0_1_the_widespread_other() -> None:
    """Values of methods.md, section 2: (1-p)/(1-p/2), and z/(0.1+0.9 z) with z = 1-p."""
    quarters = np.array([0, 0.25, 0.5, 0.75, 1])
    assert Rex()(quarters).tolist() == pytest.approx([1, 6 / 7, 2 / 3, 0.4, 0], rel=1e-15)
    z = 1 - quarters
    assert Rex(0.1)(quarters).tolist() == pytest.approx((z / (0.1 + 0.9 * z)).tolist(), rel=1e-15)
    assert Rex(1.0)(quarters).tolist() == z.tolist()


@pytest.mark.parametrize("profile", [Linear(), Rex(0.5), Rex(0.1), Constant(), Polynomial(2.0)], ids=repr)
def test_plain_arithmetic_agrees_with_torch_bit_for_bit(profile: Shape) -> None:
    grid = np.arange(10_001) / 10_001
    for ours, theirs in zip(
        profile.split(grid, 1 - grid), profile.split(*map(torch.from_numpy, (grid, 1 - grid))), strict=True
    ):
        if not isinstance(profile, Polynomial) or ours is profile.split(grid, 1 - grid)[0]:
            assert np.array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("rate", [0, 0.0, -0.0, 1e-10, -1e-10])
def test_an_exponential_of_rate_0_is_refused_and_linear_named(rate: float) -> None:
    with pytest.raises(BadInput, match=r"`rate`.*linear"):
        Exponential(rate)


def test_a_shape_without_a_split_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Shape()(0.5)
