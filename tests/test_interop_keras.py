"""Keras drives our schedule and saves it with the model; Keras's own schedules agree with ours in float64."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit

keras = pytest.importorskip("keras")
theirs = keras.optimizers.schedules

from lrcontrol.interop.keras import KerasSchedule, as_keras_schedule  # noqa: E402 - only where Keras is

SCHEDULE = "warmup(3)+rex"
BASE_LR = 0.3
STEPS = 12
EXPECTED = (BASE_LR * lrc.schedule(SCHEDULE).multipliers(STEPS)).astype(np.float32).tolist()

SEEN: list[float] = []
"""The rate that every update of `Watched` was given."""


@keras.saving.register_keras_serializable(package="lrcontrol-tests")
class Watched(keras.optimizers.SGD):  # type: ignore[misc, name-defined]
    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        SEEN.append(float(learning_rate))
        super().update_step(gradient, variable, learning_rate)


SAVING = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def model() -> Any:
    SEEN.clear()
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    made.compile(optimizer=Watched(as_keras_schedule(SCHEDULE, STEPS, BASE_LR)), loss="mse")
    return made


def fit(model: Any, epochs: int) -> None:
    model.fit(np.ones((12, 2)), np.ones((12, 1)), batch_size=2, epochs=epochs, verbose=0)


def test_fit_gives_every_update_its_rate_and_holds_past_the_end(model: Any) -> None:
    fit(model, 3)
    assert EXPECTED + [0.0] * 6 == SEEN


@SAVING
def test_a_saved_model_goes_on(model: Any, tmp_path: Path) -> None:
    fit(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fit(loaded, 1)
    assert SEEN == EXPECTED


@SAVING
def test_a_fresh_process_that_imports_the_module_loads_the_model(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(as_keras_schedule(SCHEDULE, STEPS, BASE_LR)), loss="mse")
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, lrcontrol.interop.keras\n"
        "print(keras.saving.load_model(sys.argv[1]).optimizer.get_config()['learning_rate']['config'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.keras"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str({"schedule": SCHEDULE, "total_steps": STEPS, "base_lr": BASE_LR})


def test_its_config_makes_an_equal_schedule() -> None:
    made = as_keras_schedule(lrc.schedule(SCHEDULE), STEPS, BASE_LR)
    again = theirs.deserialize(theirs.serialize(made))
    assert isinstance(again, KerasSchedule)
    assert again.get_config() == made.get_config() == {"schedule": SCHEDULE, "total_steps": STEPS, "base_lr": BASE_LR}
    assert repr(made) == "as_keras_schedule('warmup(3)+rex', total_steps=12, base_lr=0.3)"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="`total_steps` must be an integer <= 16777216"):
        as_keras_schedule("rex", 2**24 + 1, 0.1)
    with pytest.raises(BadInput, match="`base_lr` must be a number >= 0"):
        as_keras_schedule("rex", 10, -0.1)
    with pytest.raises(DoesNotFit):
        as_keras_schedule("warmup(11)", 10, 0.1)


# Theirs as the truth, in float64. Left: what Keras is given; right: ours, its horizon and its base rate.
Case = tuple[Any, str, int, float]


def cosine(draw: np.random.Generator) -> Case:
    base_lr, steps, alpha = draw.uniform(1e-4, 2), int(draw.integers(1, 3000)), draw.uniform(0, 1)
    return theirs.CosineDecay(base_lr, steps, alpha), f"cosine(end={alpha!r})", steps, base_lr


def cosine_with_warmup(draw: np.random.Generator) -> Case:
    """Their warmup reads the left end of each step: it is our linear rise, not `warmup`."""
    base_lr, steps, rise = draw.uniform(1e-4, 2), int(draw.integers(1, 3000)), int(draw.integers(1, 500))
    start, alpha = draw.uniform(0, 1), draw.uniform(0, 1)
    peer = theirs.CosineDecay(start * base_lr, steps, alpha, warmup_target=base_lr, warmup_steps=rise)
    return peer, f"linear(start={start!r}, end=1, steps={rise})+cosine(end={alpha!r})", steps + rise, base_lr


def exponential(draw: np.random.Generator) -> Case:
    base_lr, total, every = draw.uniform(1e-4, 2), int(draw.integers(1, 3000)), int(draw.integers(1, 500))
    decay = draw.uniform(0.8, 0.99)
    rate = -math.log(decay) * total / every
    return theirs.ExponentialDecay(base_lr, every, decay), f"exponential({rate!r})", total, base_lr


def staircase(draw: np.random.Generator) -> Case:
    base_lr, total, every = draw.uniform(1e-4, 2), int(draw.integers(1, 3000)), int(draw.integers(1, 500))
    decay = draw.uniform(0.8, 0.99)
    rate = -math.log(decay) * total / every
    text = f"exponential({rate!r}, every={every})"
    return theirs.ExponentialDecay(base_lr, every, decay, staircase=True), text, total, base_lr


def polynomial(draw: np.random.Generator) -> Case:
    base_lr, steps, power = draw.uniform(1e-4, 2), int(draw.integers(1, 3000)), draw.uniform(0.3, 4)
    end = draw.uniform(0, 1)
    peer = theirs.PolynomialDecay(base_lr, steps, end * base_lr, power)
    return peer, f"polynomial({power!r}, end={end!r})", steps, base_lr


def piecewise(draw: np.random.Generator) -> Case:
    """Their boundary is the last step of its piece, ours the first of the next."""
    boundaries = sorted({int(at) for at in draw.integers(0, 2000, 4)})
    values = draw.uniform(1e-4, 2, len(boundaries) + 1).tolist()
    edges = [0, *(boundary + 1 for boundary in boundaries)]
    pieces = [
        f"constant({value!r}, steps={end - begin})"
        for value, (begin, end) in zip(values, pairwise(edges), strict=False)
    ]
    return (
        theirs.PiecewiseConstantDecay(boundaries, values),
        "+".join([*pieces, f"constant({values[-1]!r})"]),
        2100,
        1.0,
    )


CASES: list[Callable[[np.random.Generator], Case]] = [
    cosine,
    cosine_with_warmup,
    exponential,
    staircase,
    polynomial,
    piecewise,
]


@pytest.fixture
def in_float64() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def rates(peer: Any, steps: Any) -> Any:
    return np.array([float(peer(int(step))) for step in steps])


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_their_schedules_agree_with_ours(case: Callable[[np.random.Generator], Case]) -> None:
    """To 4 ulp of the peak; a power of theirs is itself up to 5.3 ulp from the exact one, of ours 1.2."""
    draw = np.random.default_rng(20261122)
    for _ in range(10):
        peer, text, total, base_lr = case(draw)
        ours = as_keras_schedule(text, total, base_lr)
        steps = np.unique([0, 1, total - 1, total, *draw.integers(0, total + 1, 30)])
        if case in (exponential, staircase):
            steps = steps[steps < total]  # theirs goes on for ever
        want = rates(peer, steps)
        got = rates(ours, steps)
        assert np.abs(got - want).max() <= (7 if case is polynomial else 4) * np.spacing(want.max()), text


def test_their_restart_is_lost_to_a_logarithm() -> None:
    """Cycles of 100, 110 and 121 steps: step 210 begins the third at the full rate; theirs is still at the end."""
    peer = theirs.CosineDecayRestarts(1.0, first_decay_steps=100, t_mul=1.1)
    ours = as_keras_schedule("cosine(steps=100)+cosine(steps=110)+cosine(steps=121)", 331, 1.0)
    around = [209, 210, 211]
    assert [round(float(peer(step)), 3) for step in around] == [0.0, 0.0, 1.0]
    assert [round(float(ours(step)), 3) for step in around] == [0.0, 1.0, 1.0]


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("first", "growth"), [(7, 2), (10, 3), (100, 1)])
def test_their_restarts_agree_with_ours_elsewhere(first: int, growth: int) -> None:
    lengths = [first * growth**turn for turn in range(4)]
    peer = theirs.CosineDecayRestarts(0.5, first, t_mul=float(growth), m_mul=0.8, alpha=0.1)
    # alpha is a share of the first peak, to which every cycle comes down
    text = "+".join(
        f"cosine(start={0.9 * 0.8**turn + 0.1!r}, end=0.1, steps={length})" for turn, length in enumerate(lengths)
    )
    ours = as_keras_schedule(text, sum(lengths), 0.5)
    steps = np.arange(sum(lengths))
    np.testing.assert_allclose(rates(ours, steps), rates(peer, steps), rtol=1e-12)
