"""What is read from torch, Transformers, optax and Keras gives the rates of the original, stepped for real."""

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from lrcontrol.interop import describe, describe_transformers, sampled

Draw = np.random.Generator
SEED = 20261122


def two_groups(lrs: tuple[float, ...] = (0.3, 0.03)) -> torch.optim.Optimizer:
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs], lr=0.3, momentum=0.9)


def stepped(theirs: Any, steps: int) -> Any:
    """The rates that torch gives the updates, shape (steps, groups)."""
    optimizer, rates = theirs.optimizer, []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The epoch parameter in", UserWarning)
        for at in range(steps):
            rates.append([float(group["lr"]) for group in optimizer.param_groups])
            if at < steps - 1:
                optimizer.step()
                theirs.step()
    return np.array(rates)


def whole(draw: Draw, low: int, high: int) -> int:
    return int(draw.integers(low, high))


TORCH: dict[str, Callable[[Any, Draw], Any]] = {
    "StepLR": lambda on, draw: lr_scheduler.StepLR(on, whole(draw, 1, 40), draw.uniform(0.1, 1)),
    "StepLR that grows": lambda on, draw: lr_scheduler.StepLR(on, whole(draw, 20, 40), 1.5),
    "MultiStepLR": lambda on, draw: lr_scheduler.MultiStepLR(on, [0, 7, 7, 30, 200], draw.uniform(0.1, 1)),
    "ConstantLR": lambda on, draw: lr_scheduler.ConstantLR(on, draw.uniform(0.1, 1), whole(draw, 0, 50)),
    "ConstantLR of 0": lambda on, draw: lr_scheduler.ConstantLR(on, draw.uniform(0.1, 1), 0),
    "LinearLR": lambda on, draw: lr_scheduler.LinearLR(on, draw.uniform(0.1, 1), draw.uniform(0, 1), 30),
    "LinearLR of 0": lambda on, draw: lr_scheduler.LinearLR(on, draw.uniform(0.1, 1), 1.0, 0),
    "ExponentialLR": lambda on, draw: lr_scheduler.ExponentialLR(on, draw.uniform(0.9, 1)),
    "ExponentialLR that grows": lambda on, draw: lr_scheduler.ExponentialLR(on, draw.uniform(1, 1.05)),
    "PolynomialLR": lambda on, draw: lr_scheduler.PolynomialLR(on, whole(draw, 1, 90), draw.uniform(0.5, 3)),
    "CosineAnnealingLR": lambda on, draw: lr_scheduler.CosineAnnealingLR(on, whole(draw, 100, 150)),
    "CosineAnnealingLR past T_max": lambda on, draw: lr_scheduler.CosineAnnealingLR(on, whole(draw, 5, 60)),
    "restarts": lambda on, draw: lr_scheduler.CosineAnnealingWarmRestarts(on, whole(draw, 1, 40), whole(draw, 1, 4)),
    "OneCycleLR": lambda on, draw: lr_scheduler.OneCycleLR(on, [0.5, 0.2], 100, pct_start=0.3),
    "OneCycleLR of three": lambda on, draw: lr_scheduler.OneCycleLR(
        on, [0.5, 0.2], 100, pct_start=0.4, three_phase=True, anneal_strategy="linear", final_div_factor=50
    ),
    "CyclicLR": lambda on, draw: lr_scheduler.CyclicLR(on, [0.1, 0.01], [0.5, 0.05], whole(draw, 1, 30)),
    "CyclicLR, uneven": lambda on, draw: lr_scheduler.CyclicLR(on, [0.1, 0.01], [0.5, 0.05], 7, 13),
    "CyclicLR, triangular2": lambda on, draw: lr_scheduler.CyclicLR(
        on, [0.1, 0.01], [0.5, 0.05], whole(draw, 1, 20), mode="triangular2"
    ),
    "CyclicLR, exp_range": lambda on, draw: lr_scheduler.CyclicLR(
        on, [0.1, 0.01], [0.5, 0.05], whole(draw, 1, 20), mode="exp_range", gamma=draw.uniform(0.9, 1)
    ),
    "warmup, then cosine": lambda on, draw: lr_scheduler.SequentialLR(
        on,
        [lr_scheduler.LinearLR(on, 0.1, 1.0, total_iters=20), lr_scheduler.CosineAnnealingLR(on, 80)],
        [20],
    ),
    "three cut short": lambda on, draw: lr_scheduler.SequentialLR(
        on,
        [
            lr_scheduler.CosineAnnealingLR(on, 50),
            lr_scheduler.MultiStepLR(on, [5, 40], 0.5),
            lr_scheduler.ExponentialLR(on, 0.97),
        ],
        [20, 50],
    ),
    "restarts, then steps": lambda on, draw: lr_scheduler.SequentialLR(
        on,
        [
            lr_scheduler.StepLR(on, 5, 0.5),
            lr_scheduler.CosineAnnealingWarmRestarts(on, 9, 2),
            lr_scheduler.PolynomialLR(on, 10, 2.0),
            lr_scheduler.ConstantLR(on, 0.3, 7),
            lr_scheduler.LinearLR(on, 0.5, 1.0, 5),
        ],
        [12, 40, 60, 80],
    ),
    "a chain": lambda on, draw: lr_scheduler.ChainedScheduler(
        [
            lr_scheduler.LinearLR(on, 0.2, 1.0, total_iters=15),
            lr_scheduler.ExponentialLR(on, draw.uniform(0.9, 1)),
            lr_scheduler.CosineAnnealingLR(on, 99),
        ]
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_read_is_torch_stepped(name: str) -> None:
    """To 1e-12 of the rate: torch's recursions drift by some hundred ulp, ours does not."""
    draw = np.random.default_rng(SEED)
    for _ in range(5):
        theirs = TORCH[name](two_groups(), draw)
        found = describe(theirs, 100)
        assert found.total_steps >= 100
        ours = np.outer(found.schedule.multiplier(np.arange(100), found.total_steps), found.base_lrs)
        np.testing.assert_allclose(ours, stepped(theirs, 100), rtol=1e-12, atol=1e-15, err_msg=str(found.schedule))
        assert lrc.schedule(str(found.schedule)) == found.schedule


def test_eta_min_is_a_share_that_all_groups_must_have() -> None:
    theirs = lr_scheduler.CosineAnnealingLR(two_groups((0.3, 0.3)), 100, eta_min=0.03)
    found = describe(theirs)
    assert (str(found.schedule), found.total_steps, found.base_lrs) == ("cosine(end=0.1)", 100, (0.3, 0.3))
    ours = np.outer(found.schedule.multipliers(100), found.base_lrs)
    np.testing.assert_allclose(ours, stepped(theirs, 100), rtol=1e-12)
    with pytest.raises(BadInput, match=r"group 0 has 'cosine\(end=0.1\)' and group 1 has 'cosine\(end=1\)'"):
        describe(lr_scheduler.CosineAnnealingLR(two_groups(), 100, eta_min=0.03))


def test_where_theirs_stands_does_not_matter() -> None:
    theirs = TORCH["warmup, then cosine"](two_groups(), np.random.default_rng(SEED))
    before = describe(theirs, 100)
    stepped(theirs, 60)
    assert describe(theirs, 100) == before
    assert str(before.schedule) == "linear(start=0.1, end=1, steps=20)+cosine"


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "plateau": (lr_scheduler.ReduceLROnPlateau, "ReduceLROnPlateau is not among those that can be read"),
    "a function": (lambda on: lr_scheduler.LambdaLR(on, lambda step: 0.5**step), "holds a function that cannot be"),
    "a peak between steps": (
        lambda on: lr_scheduler.OneCycleLR(on, 0.5, 101, pct_start=0.3),
        "a phase that ends at step=29.3, and ours change at whole steps",
    ),
    "a scale_fn": (
        lambda on: lr_scheduler.CyclicLR(on, 0.1, 0.5, 10, scale_fn=lambda cycle: 0.9**cycle),
        "CyclicLR has a `scale_fn`",
    ),
    "1cycle in a sequence": (
        lambda on: lr_scheduler.SequentialLR(
            on, [lr_scheduler.LinearLR(on), lr_scheduler.OneCycleLR(on, 0.5, 100)], [5]
        ),
        "OneCycleLR in SequentialLR does not do in torch what it does alone",
    ),
    "restarts in a chain": (
        lambda on: lr_scheduler.ChainedScheduler([lr_scheduler.CosineAnnealingWarmRestarts(on, 5)]),
        "CosineAnnealingWarmRestarts in ChainedScheduler sets the rate",
    ),
    "a cosine with a floor in a chain": (
        lambda on: lr_scheduler.ChainedScheduler([lr_scheduler.CosineAnnealingLR(on, 200, eta_min=0.1)]),
        "multiplies only with eta_min=0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_ours_cannot_say_is_refused_with_what_to_write(name: str) -> None:
    make, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        describe(make(two_groups()), 100)
    assert "write sampled(rate_at, total_steps) instead" in str(caught.value)


def test_what_has_no_end_needs_a_horizon_and_what_is_no_schedule_is_told() -> None:
    with pytest.raises(BadInput, match="`total_steps` must be given"):
        describe(lr_scheduler.ExponentialLR(two_groups(), 0.9))
    for other in ("cosine", 3, lambda step: step, np.zeros(3)):
        with pytest.raises(BadInput, match="`theirs` must be a schedule of torch, Transformers, optax or Keras"):
            describe(other, 100)


def test_a_function_is_sampled_at_every_step() -> None:
    found = sampled(lambda step: 0.2 / math.sqrt(step + 1), 9999)
    rates = found.base_lrs[0] * found.schedule.multipliers(9999)
    np.testing.assert_allclose(rates, 0.2 / np.sqrt(np.arange(1, 10_000)), rtol=1e-15)
    assert found.schedule.multiplier(9999, 9999) == pytest.approx(0.01, rel=1e-15)
    assert sampled(lambda _: 0.0, 3).schedule.multipliers(3).tolist() == [0.0] * 3
    with pytest.raises(BadInput, match="`total_steps` must be an integer <= 9999"):
        sampled(float, 10_000)
    with pytest.raises(BadInput, match="`rate_at` must be a number >= 0, got rate_at=-1"):
        sampled(lambda step: 1.0 - step, 3)


TRANSFORMERS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("cosine", {}),
    ("cosine", {"num_cycles": 1.5}),
    ("cosine_with_restarts", {"num_cycles": 3}),
    ("polynomial", {"lr_end": 1e-3, "power": 1.7}),
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("inverse_sqrt", {}),
    ("inverse_sqrt", {"timescale": 70}),
    ("cosine_with_min_lr", {"min_lr": 0.01}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.2}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.2}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.2, "warmup_lr_rate": 0.1}),
    *(
        ("warmup_stable_decay", {"num_decay_steps": 30, "min_lr_ratio": 0.1, "warmup_type": up, "decay_type": down})
        for up, down in itertools.product(("linear", "cosine", "1-sqrt"), repeat=2)
    ),
]


@pytest.mark.parametrize("rise", [0, 1, 10])
@pytest.mark.parametrize(("name", "more"), TRANSFORMERS, ids=str)
def test_transformers_read_is_transformers_stepped(name: str, more: dict[str, Any], rise: int) -> None:
    transformers = pytest.importorskip("transformers")
    total = 100 + rise  # what is left for the cycles is a multiple of 2 and 3
    total += 2 if "num_cycles" in more else 0
    optimizer = two_groups((0.3,))
    theirs = transformers.get_scheduler(name, optimizer, rise, total, more)
    found = describe_transformers(name, rise, total, base_lr=0.3, **more)
    assert found == describe(theirs, total)
    assert found.total_steps == total
    ours = found.base_lrs[0] * found.schedule.multipliers(total)
    np.testing.assert_allclose(ours, stepped(theirs, total)[:, 0], rtol=1e-12, atol=1e-15, err_msg=str(found.schedule))
    assert lrc.schedule(str(found.schedule)) == found.schedule


def test_cycles_of_transformers_that_do_not_fit_whole_steps_are_refused() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(BadInput, match=r"restarts between two steps; write repeat\(cosine, times=3\)"):
        describe_transformers("cosine_with_restarts", 0, 100, base_lr=0.1, num_cycles=3)
    with pytest.raises(BadInput, match=r"has num_cycles=0\.45, and ours turn at whole steps"):
        describe_transformers("cosine", 0, 100, base_lr=0.1, num_cycles=0.45)


OPTAX: dict[str, Callable[[Any], Any]] = {
    "constant": lambda optax: optax.constant_schedule(0.3),
    "linear": lambda optax: optax.linear_schedule(0.3, 0.1, 50, 20),
    "polynomial": lambda optax: optax.polynomial_schedule(0.3, 0.1, 1.7, 70),
    "no transition": lambda optax: optax.linear_schedule(0.3, 0.1, 0),
    "exponential": lambda optax: optax.exponential_decay(0.3, 7, 0.9, 10),
    "bounded": lambda optax: optax.exponential_decay(0.3, 7, 0.8, end_value=0.1),
    "staircase": lambda optax: optax.exponential_decay(0.3, 7, 0.9, 10, staircase=True),
    "growing": lambda optax: optax.exponential_decay(0.3, 50, 1.5, end_value=0.5),
    "cosine": lambda optax: optax.cosine_decay_schedule(0.3, 60, 0.1),
    "piecewise": lambda optax: optax.piecewise_constant_schedule(0.3, {20: 0.5, 70: 0.1}),
    "interpolated": lambda optax: optax.piecewise_interpolate_schedule("linear", 0.3, {20: 0.5, 70: 0.1}),
    "cosine_onecycle": lambda optax: optax.cosine_onecycle_schedule(100, 0.3),
    "linear_onecycle": lambda optax: optax.linear_onecycle_schedule(100, 0.3),
    "warmup_constant": lambda optax: optax.warmup_constant_schedule(0.0, 0.3, 10),
    "warmup_cosine": lambda optax: optax.warmup_cosine_decay_schedule(0.0, 0.3, 10, 100, 0.01),
    "warmup_exponential": lambda optax: optax.warmup_exponential_decay_schedule(0.0, 0.3, 10, 7, 0.9),
    "sgdr": lambda optax: optax.sgdr_schedule(
        [
            {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 5, "decay_steps": 40},
            {"init_value": 0.0, "peak_value": 0.2, "warmup_steps": 5, "decay_steps": 60},
        ]
    ),
    "joined": lambda optax: optax.join_schedules(
        [optax.constant_schedule(0.1), optax.cosine_decay_schedule(0.3, 500)], [30]
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax_read_is_optax_called(name: str) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    theirs = OPTAX[name](optax)
    with jax.enable_x64(True):
        want = np.array(jax.vmap(theirs)(jax.numpy.arange(100)))
        found = describe(theirs, 100)
    assert found == describe(theirs, 100)  # in float32 it reads the same
    ours = found.base_lrs[0] * found.schedule.multiplier(np.arange(100), found.total_steps)
    np.testing.assert_allclose(ours, want, rtol=1e-12, atol=1e-15, err_msg=str(found.schedule))


def test_of_optax_what_ours_cannot_say_is_refused() -> None:
    optax = pytest.importorskip("optax")
    with pytest.raises(BadInput, match="has exponent=2, and our cosine has none; write sampled"):
        describe(optax.cosine_decay_schedule(0.3, 60, exponent=2), 100)
    with pytest.raises(BadInput, match="of optax is not among"):
        describe(optax.sgd, 100)


def keras_schedules() -> Any:
    return pytest.importorskip("keras").optimizers.schedules


KERAS: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda theirs: theirs.CosineDecay(0.3, 60, 0.1),
    "warmup": lambda theirs: theirs.CosineDecay(0.03, 60, 0.1, warmup_target=0.3, warmup_steps=20),
    "exponential": lambda theirs: theirs.ExponentialDecay(0.3, 7, 0.9),
    "staircase": lambda theirs: theirs.ExponentialDecay(0.3, 7, 0.9, staircase=True),
    "polynomial": lambda theirs: theirs.PolynomialDecay(0.3, 60, 0.03, 1.7),
    "inverse": lambda theirs: theirs.InverseTimeDecay(0.3, 7, 0.9),
    "piecewise": lambda theirs: theirs.PiecewiseConstantDecay([20, 70], [0.3, 0.1, 0.2]),
    "restarts": lambda theirs: theirs.CosineDecayRestarts(0.3, 10, 2.0, 0.8, 0.1),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_read_is_keras_called(name: str) -> None:
    theirs = KERAS[name](keras_schedules())
    keras = pytest.importorskip("keras")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    want = np.array([float(theirs(step)) for step in range(100)])
    keras.config.set_floatx(before)
    found = describe(theirs, 100)
    ours = found.base_lrs[0] * found.schedule.multiplier(np.arange(100), found.total_steps)
    np.testing.assert_allclose(ours, want, rtol=1e-12, atol=1e-15, err_msg=str(found.schedule))


def test_of_keras_what_ours_cannot_say_is_refused() -> None:
    theirs = keras_schedules()
    for one, sentence in (
        (theirs.PolynomialDecay(0.3, 60, cycle=True), "has cycle=True, whose horizon grows"),
        (theirs.InverseTimeDecay(0.3, 7, 0.9, staircase=True), "has staircase=True"),
        (theirs.CosineDecayRestarts(0.3, 10, 1.1), "has t_mul=1.1, m_mul=1, and restarts between two steps"),
    ):
        with pytest.raises(BadInput, match=sentence):
            describe(one, 100)


def test_of_keras_a_class_of_somebody_else_is_refused_whatever_its_name() -> None:
    theirs = keras_schedules()

    class CosineDecay(theirs.CosineDecay):  # type: ignore[misc, name-defined]
        def __call__(self, step: Any) -> Any:
            return 0.5 * super().__call__(step)

    with pytest.raises(BadInput, match=r"CosineDecay of \S*test_interop_describe is not among CosineDecay"):
        describe(CosineDecay(0.3, 60), 100)


def test_of_keras_a_version_that_computes_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = keras_schedules()
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(theirs.CosineDecay, "__call__", lambda self, step: 0.3 / (1 + step))
    with pytest.raises(BadInput, match=r"gives .* at step 1, where it was read as"):
        describe(theirs.CosineDecay(0.3, 60), 100)
    assert keras.config.floatx() == "float32"
