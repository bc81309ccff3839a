"""optax drives our schedule, under jit, vmap and scan; optax's own schedules agree with ours in float64."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit

optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")
jnp = jax.numpy

from lrcontrol.interop.optax import LONGEST_TABLE, as_optax_schedule  # noqa: E402 - only where optax is

SCHEDULE = "warmup(3)+rex"
STEPS = 12
EXPECTED = 0.3 * np.append(lrc.schedule(SCHEDULE).multipliers(STEPS), 0.0)
LONG = ("warmup(1000)+cosine(times=7)", 2_000_000_000)  # its steps times 7 do not fit in an int32


def test_an_optimizer_takes_every_rate() -> None:
    """Plain gradient descent on `x` moves by the rate in force."""
    optimizer = optax.sgd(as_optax_schedule(SCHEDULE, STEPS, 0.3))

    def update(carry: Any, _: Any) -> Any:
        x, state = carry
        change, state = optimizer.update(jnp.float32(-1.0), state)
        return (x + change, state), change

    start = jnp.float32(0.0)
    _, changes = jax.lax.scan(update, (start, optimizer.init(start)), length=STEPS + 1)
    assert changes.tolist() == EXPECTED.astype(np.float32).tolist()


def test_a_saved_state_goes_on() -> None:
    optimizer = optax.sgd(as_optax_schedule(SCHEDULE, STEPS, 0.3))
    state = optimizer.init(jnp.float32(0.0))
    for _ in range(7):
        _, state = optimizer.update(jnp.float32(0.0), state)
    leaves, tree = jax.tree.flatten(state)
    again = jax.tree.unflatten(tree, [np.asarray(leaf) for leaf in leaves])
    changes = []
    for _ in range(STEPS - 7):
        change, again = optimizer.update(jnp.float32(-1.0), again)
        changes.append(float(change))
    assert changes == EXPECTED[7:-1].astype(np.float32).tolist()


def test_the_rate_can_be_read_from_the_state_where_optax_injects_it() -> None:
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=as_optax_schedule(SCHEDULE, STEPS, 0.3))
    state = optimizer.init(jnp.float32(0.0))
    for want in EXPECTED.astype(np.float32).tolist():
        _, state = optimizer.update(jnp.float32(0.0), state)
        assert float(state.hyperparams["learning_rate"]) == want


@pytest.mark.parametrize(("text", "total"), [(SCHEDULE, STEPS), ("cosine", LONGEST_TABLE), LONG])
@pytest.mark.parametrize("how", ["eager", "jit", "vmap", "jit of vmap"])
def test_float32_is_the_rounded_float64_however_it_is_called(text: str, total: int, how: str) -> None:
    """Without x64, with int32 counts: what is computed in float64 is rounded once."""
    rate = as_optax_schedule(text, total, 0.3)
    call = {"eager": rate, "jit": jax.jit(rate), "vmap": jax.vmap(rate), "jit of vmap": jax.jit(jax.vmap(rate))}[how]
    steps = np.unique([0, 1, total - 1, total, total + 5, *np.random.default_rng(0).integers(0, total, 500)])
    got = call(jnp.asarray(steps, jnp.int32))
    assert got.dtype == jnp.float32
    want = (0.3 * lrc.schedule(text).multiplier(steps, total)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(got), want)


def test_with_x64_it_is_float64() -> None:
    with jax.enable_x64(True):
        for text, total in ((SCHEDULE, STEPS), LONG):
            rate, steps = as_optax_schedule(text, total, 0.3), np.arange(total - 12, total)
            want = 0.3 * lrc.schedule(text).multiplier(steps, total)
            for call in (rate, jax.jit(rate)):
                got = call(jnp.asarray(steps))
                assert got.dtype == jnp.float64
                np.testing.assert_allclose(np.asarray(got), want, rtol=1e-15)


def test_numbers_are_taken_and_what_cannot_be_is_refused() -> None:
    rate = as_optax_schedule(SCHEDULE, STEPS, 0.3)
    assert float(rate(0)) == float(rate(np.int64(0))) == np.float32(EXPECTED[0])
    for call in (rate, jax.jit(rate)):
        with pytest.raises(BadInput, match="`count` must hold integers, got an array of float"):
            call(jnp.float32(1.0))
    with pytest.raises(DoesNotFit):
        as_optax_schedule("warmup(11)", 10)
    with pytest.raises(DoesNotFit):
        as_optax_schedule("warmup(2_000_001)".replace("_", ""), 2_000_000)
    with pytest.raises(BadInput, match="`base_lr`"):
        as_optax_schedule("rex", 10, math.nan)


def test_it_prints_itself() -> None:
    rate = as_optax_schedule(lrc.warmup(3).then("rex"), STEPS, 0.3)
    assert repr(rate) == "as_optax_schedule('warmup(3)+rex', total_steps=12, base_lr=0.3)"


# Theirs as the truth, in float64: what optax makes; ours, its horizon and its base rate.
Case = tuple[Any, str, int, float]


def linear(draw: np.random.Generator) -> Case:
    steps, begin, end = int(draw.integers(1, 3000)), int(draw.integers(0, 300)), draw.uniform(0, 1)
    base_lr = draw.uniform(1e-4, 2)
    peer = optax.linear_schedule(base_lr, end * base_lr, steps, begin)
    return peer, f"constant(steps={begin})+linear(end={end!r})", begin + steps, base_lr


def polynomial(draw: np.random.Generator) -> Case:
    steps, power, end = int(draw.integers(1, 3000)), draw.uniform(0.3, 4), draw.uniform(0, 1)
    peer = optax.polynomial_schedule(1.0, end, power, steps)
    return peer, f"polynomial({power!r}, end={end!r})", steps, 1.0


def cosine(draw: np.random.Generator) -> Case:
    steps, alpha, base_lr = int(draw.integers(1, 3000)), draw.uniform(0, 1), draw.uniform(1e-4, 2)
    return optax.cosine_decay_schedule(base_lr, steps, alpha), f"cosine(end={alpha!r})", steps, base_lr


def exponential(draw: np.random.Generator) -> Case:
    total, every, decay = int(draw.integers(1, 3000)), int(draw.integers(1, 500)), draw.uniform(0.8, 0.99)
    rate = -math.log(decay) * total / every
    return optax.exponential_decay(1.0, every, decay), f"exponential({rate!r})", total, 1.0


def staircase(draw: np.random.Generator) -> Case:
    total, every, decay = int(draw.integers(1, 3000)), int(draw.integers(1, 500)), draw.uniform(0.8, 0.99)
    rate = -math.log(decay) * total / every
    peer = optax.exponential_decay(1.0, every, decay, staircase=True)
    return peer, f"exponential({rate!r}, every={every})", total, 1.0


def piecewise(draw: np.random.Generator) -> Case:
    """Their boundary is the first step of the next piece, as ours."""
    at = sorted({int(step) for step in draw.integers(1, 2000, 3)})
    scales = draw.uniform(0.1, 1.5, len(at))
    levels = np.cumprod([1.0, *scales]).tolist()
    lengths = np.diff([0, *at]).tolist()
    parts = [f"constant({level!r}, steps={length})" for level, length in zip(levels, lengths, strict=False)]
    peer = optax.piecewise_constant_schedule(1.0, dict(zip(at, scales.tolist(), strict=True)))
    return peer, "+".join([*parts, f"constant({levels[-1]!r})"]), 2100, 1.0


def warmup_cosine(draw: np.random.Generator) -> Case:
    """Their `decay_steps` counts the warmup, which reads the left end of each step."""
    rise, fall = int(draw.integers(1, 300)), int(draw.integers(1, 2000))
    start, end, peak = draw.uniform(0, 0.5), draw.uniform(0, 1), draw.uniform(1e-4, 2)
    peer = optax.warmup_cosine_decay_schedule(start * peak, peak, rise, rise + fall, end * peak)
    return peer, f"linear(start={start!r}, end=1, steps={rise})+cosine(end={end!r})", rise + fall, peak


def warmup_exponential(draw: np.random.Generator) -> Case:
    rise, every, decay = int(draw.integers(1, 300)), int(draw.integers(1, 300)), draw.uniform(0.8, 0.99)
    fall = int(draw.integers(1, 2000))
    peer = optax.warmup_exponential_decay_schedule(0.0, 1.0, rise, every, decay)
    rate = -math.log(decay) * fall / every
    return peer, f"linear(start=0, end=1, steps={rise})+exponential({rate!r})", rise + fall, 1.0


def sgdr(draw: np.random.Generator) -> Case:
    cycles = [
        {"init_value": 0.0, "peak_value": peak, "decay_steps": int(rise + fall), "warmup_steps": int(rise)}
        for peak, rise, fall in zip(
            draw.uniform(0.1, 1, 3).tolist(), draw.integers(1, 50, 3), draw.integers(1, 500, 3), strict=True
        )
    ]
    parts = [
        f"linear(start=0, end={cycle['peak_value']!r}, steps={cycle['warmup_steps']})"
        f"+cosine(start={cycle['peak_value']!r}, steps={cycle['decay_steps'] - cycle['warmup_steps']})"  # type: ignore[operator]
        for cycle in cycles
    ]
    total = sum(int(cycle["decay_steps"]) for cycle in cycles)
    return optax.sgdr_schedule(cycles), "+".join(parts), total, 1.0


def cosine_onecycle(draw: np.random.Generator) -> Case:
    total, rise = int(draw.integers(20, 3000)), draw.uniform(0.1, 0.5)
    peer = optax.cosine_onecycle_schedule(total, 1.0, rise, 25.0, 1e4)
    up = int(rise * total)
    return peer, f"cosine(start=0.04, end=1, steps={up})+cosine(end={1 / 25e4!r})", total, 1.0


def linear_onecycle(draw: np.random.Generator) -> Case:
    total = int(draw.integers(100, 3000))
    peer = optax.linear_onecycle_schedule(total, 1.0, 0.3, 0.85, 25.0, 1e4)
    up, down = int(0.3 * total), int(0.85 * total)
    text = (
        f"linear(start=0.04, end=1, steps={up})+linear(end=0.04, steps={down - up})"
        f"+linear(start=0.04, end={1 / 25e4!r})"
    )
    return peer, text, total, 1.0


CASES: list[Callable[[np.random.Generator], Case]] = [
    linear,
    polynomial,
    cosine,
    exponential,
    staircase,
    piecewise,
    warmup_cosine,
    warmup_exponential,
    sgdr,
    cosine_onecycle,
    linear_onecycle,
]
ENDLESS = (exponential, staircase, warmup_exponential)  # theirs goes on past the horizon, ours holds


@pytest.fixture
def x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_their_schedules_agree_with_ours(case: Callable[[np.random.Generator], Case]) -> None:
    """To 4 ulp of the peak in float64."""
    draw = np.random.default_rng(20261122)
    for _ in range(4):
        peer, text, total, base_lr = case(draw)
        want = np.asarray(jax.vmap(peer)(jnp.arange(4000)))  # one length for all, so that it is compiled once
        steps = np.arange(total if case in ENDLESS else total + 2)
        got = np.asarray(as_optax_schedule(text, total, base_lr)(steps))
        assert np.abs(got - want[steps]).max() <= 4 * np.spacing(want[steps].max()), text
