"""greedy: that of Transformers, on losses and metrics, with its resets, cooldowns and warmups."""

import math
import random
from typing import Any

import msgspec
import pytest
import torch

from lrcontrol.controls.control import Observation
from lrcontrol.controls.greedy import Greedy
from lrcontrol.errors import BadInput

LOSSES = 400


def any_losses(chance: random.Random) -> list[float]:
    """Falling, flat and rising stretches, with noise of any size; all positive."""
    level, made = 3.0, []
    while len(made) < LOSSES:
        trend = chance.choice([0.97, 1.0, 1.0, 1.02])
        noise = chance.choice([0.001, 0.05, 0.3])
        for _ in range(chance.randint(5, 60)):
            level *= trend
            made.append(level * math.exp(noise * chance.gauss(0, 1)))
        level = min(max(level, 0.1), 10.0)
    return made[:LOSSES]


def any_greedy(chance: random.Random, on: Any) -> Greedy:
    return Greedy(
        factor=chance.choice([0.5, 0.8, 0.95]),
        patience=chance.randrange(5),
        on=on,
        window=chance.choice([1, 2, 7, 50]),
        threshold=chance.choice([0.0, 1e-6, 0.02]),
        cooldown=chance.randrange(4),
        warmup=chance.randrange(4),
        floor=chance.choice([0.01, 0.5, 1.0]),
        ceiling=chance.choice([1.0, 2.0, 10.0]),
        reset=chance.randint(1, 4),
    )


def multipliers(given: Greedy, values: list[float]) -> list[float]:
    _, state = given.start(len(values) + 1)
    found = []
    for step, value in enumerate(values):
        decision, state = given.next(state, Observation(step, **{given.on: value}))
        found.append(decision.multiplier)
    return found


@pytest.mark.parametrize("on", ["loss", "metric"])
@pytest.mark.parametrize("chunk", range(4))
def test_it_is_that_of_transformers(chunk: int, on: str) -> None:
    """Of 25 controls each on losses of its own; those that the client resets are among them."""
    client = pytest.importorskip("transformers.optimization")
    moved = resets = 0
    for seed in range(25 * chunk, 25 * chunk + 25):
        chance = random.Random(seed)
        given, losses = any_greedy(chance, on), any_losses(chance)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        theirs = client.GreedyLR(
            optimizer,
            factor=given.factor,
            patience=given.patience,
            threshold=given.threshold,
            threshold_mode="rel",
            cooldown=given.cooldown,
            warmup=given.warmup,
            min_lr=0.3 * given.floor,
            max_lr=0.3 * given.ceiling,
            eps=0.0,
            smooth=on == "loss",
            window_size=given.window,
            reset_start=given.reset,
        )
        wanted = []
        for loss in losses:
            theirs.step(loss)
            wanted.append(optimizer.param_groups[0]["lr"])
            resets += theirs.best == float("inf")
        assert [0.3 * each for each in multipliers(given, losses)] == pytest.approx(wanted, rel=1e-9), seed
        moved += len(set(wanted)) > 3
    assert moved > 10
    assert resets > 10


def test_a_loss_that_is_not_finite_is_passed_over() -> None:
    """As if it had not been; also one that is missing."""
    given = Greedy(factor=0.5, patience=1, window=2, floor=0.1)
    losses = any_losses(random.Random(3))[:60]
    wanted = multipliers(given, losses)
    for bad in (math.nan, math.inf, -math.inf, None):
        with_gaps: list[Any] = [value for loss in losses for value in (bad, loss)]
        assert multipliers(given, with_gaps)[1::2] == wanted
    assert len(set(wanted)) > 2


def test_a_negative_loss_improves_downwards() -> None:
    """Where the client's relative mode would ask for less the lower the loss is."""
    falling = [-1.0 - 0.5 * step for step in range(6)]
    assert multipliers(Greedy(factor=0.5, patience=1, window=1), falling) == [1.0, 2.0, 2.0, 4.0, 4.0, 8.0]


def test_every_parameter_moves_something() -> None:
    chance = random.Random(8)
    values = any_losses(chance)
    usual = Greedy(0.7, 2, "loss", 3, 0.01, 2, 2, 0.3, 1.5, 2)
    others = {
        "factor": 0.8,
        "patience": 1,
        "window": 1,
        "threshold": 0.1,
        "cooldown": 0,
        "warmup": 0,
        "floor": 0.2,
        "ceiling": 3.0,
        "reset": 1,
    }
    for name, value in others.items():
        other = msgspec.structs.replace(usual, **{name: value})
        assert multipliers(other, values) != multipliers(usual, values), name
        whole = name not in ("factor", "threshold", "floor", "ceiling")
        for bad in (True, -1, math.nan, "1", None, 1.5 if whole else 10**400):
            with pytest.raises(BadInput, match=f"`{name}`"):
                Greedy(**{name: bad})
    assert usual.needs == {"loss"}
    assert msgspec.structs.replace(usual, on="metric").needs == {"metric"}
    with pytest.raises(BadInput, match="did you mean 'loss'"):
        Greedy(on="losses")  # type: ignore[arg-type]
