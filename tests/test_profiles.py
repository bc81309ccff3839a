"""Profiles: the contract, and each curve against its formula at 60 digits."""

import random
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import twin
from chance import any_profile
from contracts.profile import ProfileContract
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
    Shape,
    Table,
)
from lrcontrol.schedules.schedule import Schedule, Segment

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
    Exponential(-700.0),
    Geometric(0.99994),
    Geometric(0.5),
    Geometric(1 - 2.0**-53),
    InversePower(0.5, 0.04),
    InversePower(0.51, 10),
    InversePower(1.0, 0.5),
    InversePower(10.0, 1e-12),
    InversePower(0.01, 10**15),
    Rex(0.5),
    Rex(0.1),
    Rex(1.0),
    Rex(1e-6),
    Table((1.0, 0.0)),
    Table((1.0, 0.3, 0.2, 0.0)),
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
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (1.0, 0.0), (1.0, 0.0)


class TestATableOfAnyValues(ProfileContract):
    """A table need neither start at 1, nor end at 0, nor fall."""

    @pytest.fixture
    def profile(self) -> Table:
        return Table((0.25, 1.0, 0.0, 0.5))

    @pytest.fixture
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (0.25, 0.75), (0.5, 0.5)

    @pytest.fixture
    def falls(self) -> bool:
        return False


# ---- 60 digits ----


def any_positions(chance: random.Random, whole: int, count: int) -> list[int]:
    """Whole numbers up to `whole`: both ends, their neighbours, and others, many near an end."""
    found = {0, min(1, whole), whole // 2, max(whole - 2, 0), whole - 1, whole}
    for _ in range(count):
        near = int(whole * 10 ** chance.uniform(-16, 0))
        found.add(chance.choice([chance.randrange(whole + 1), near, whole - near]))
    return sorted(found)


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_within_4_ulp_of_60_digits_with_any_parameters_at_any_horizon(count: int, capsys: Any) -> None:
    """Curve and both weights, ends included, for T from 1 to 2**53; the truth takes the parameters as they are."""
    chance, worst, values = random.Random(20260), {}, 0
    with mpmath.workdps(twin.DIGITS):
        for profile in [*PROFILES, *(any_profile(chance) for _ in range(count))]:
            total = chance.choice([1, 2, 3, 10, 1000, 10**6, 10**9, 10**12, 2**52, 2**53, chance.randint(1, 10**6)])
            whole = chance.choice([total, total, total, 2 * total]) if total <= 2**52 else total
            positions = any_positions(chance, whole, 12)
            gone, left = np.array(positions, float), np.array([whole - at for at in positions], float)
            shape = profile.laid(total)
            for name in ("curve", "start_weight", "end_weight"):
                formula = getattr(twin, name)
                for at, got in zip(positions, getattr(shape, name)(gone, left, float(whole)), strict=True):
                    off = twin.ulps(got, formula(profile, mpmath.mpf(at) / whole, total))
                    values += 1
                    key = type(profile).__name__
                    worst[key] = max(worst.get(key, (0.0,)), (off, name, repr(profile)[:80], total, whole, at))
    with capsys.disabled():
        largest = max(worst.values())
        print(f"\nULP profiles={count + len(PROFILES)} values={values} worst={largest[0]:.2f}", end="")
    for found in worst.values():
        assert found[0] <= 4, found


def test_rex_is_the_papers_curve_and_0_1_the_widespread_other() -> None:
    """Values of methods.md, section 2: (1-p)/(1-p/2), and z/(0.1+0.9 z) with z = 1-p."""
    quarters = np.array([0, 0.25, 0.5, 0.75, 1])
    assert Rex()(quarters).tolist() == pytest.approx([1, 6 / 7, 2 / 3, 0.4, 0], rel=1e-15)
    z = 1 - quarters
    assert Rex(0.1)(quarters).tolist() == pytest.approx((z / (0.1 + 0.9 * z)).tolist(), rel=1e-15)
    assert Rex(1.0)(quarters).tolist() == z.tolist()


@pytest.mark.parametrize("profile", [Linear(), Rex(0.5), Rex(0.1), Constant(), Table((1.0, 0.3, 0.0))], ids=repr)
def test_plain_arithmetic_agrees_with_torch_bit_for_bit(profile: Shape) -> None:
    shape, whole = profile.laid(10_001), 10_001.0
    gone = np.arange(10_002.0)
    for weight in (shape.curve, shape.start_weight, shape.end_weight):
        theirs = weight(torch.from_numpy(gone), torch.from_numpy(whole - gone), whole)
        assert np.array_equal(weight(gone, whole - gone, whole), theirs.numpy())


@pytest.mark.parametrize("rate", [0, 0.0, -0.0, 1e-10, -1e-10])
def test_an_exponential_of_rate_0_is_refused_and_linear_named(rate: float) -> None:
    with pytest.raises(BadInput, match=r"`rate`.*linear"):
        Exponential(rate)


@pytest.mark.parametrize("profile", [Geometric(), InversePower(0.5, 4)], ids=repr)
def test_a_shape_by_the_step_must_be_laid_before_it_is_read(profile: Shape) -> None:
    with pytest.raises(BadInput, match=r"laid\(length\)"):
        profile(0.5)
    assert 0 < profile.laid(10)(0.5) < 1


def test_two_steps_are_not_two_lengths_of_a_segment() -> None:
    """2 == 2.0, but not where one is steps and the other a share: laid schedules are kept by their value."""
    steps, share = (Schedule((Segment(InversePower(1.0, scale), 1.0, 0.5),)) for scale in (2, 2.0))
    assert steps != share
    assert InversePower(1.0, 2) == InversePower(1, 2)
    assert hash(InversePower(1.0, 2)) == hash(InversePower(1, 2))
    assert InversePower(1.0, 2) != Linear()
    assert steps.multipliers(8).tolist() != share.multipliers(8).tolist()


def test_a_shape_without_weights_says_so() -> None:
    for read in (lambda: Shape()(0.5), lambda: Shape().end_weight(0.5, 0.5, 1.0)):
        with pytest.raises(NotImplementedError):
            read()
