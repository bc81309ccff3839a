"""Steps as arrays of torch and jax, also traced and mapped: the same multipliers as numpy's."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from arrays import apart, readings, weight
from chance import any_schedule, horizon_of


def sizes(small: int, full: int) -> Any:
    """The same test small, in every run, and full, where there is time."""
    return pytest.mark.parametrize("count", [small, pytest.param(full, marks=pytest.mark.slow)])


@sizes(300, 10_000)
def test_torch_agrees_within_4_ulp(count: int, capsys: Any) -> None:
    """For each segment that a value is made of, in random trees of all parts (seed 5004); past the end too."""
    chance, done, worst = random.Random(5004), 0, (0.0, "")
    while done < count:
        schedule = any_schedule(chance, chance.randint(1, 4))
        total = horizon_of(schedule, chance)
        if total is None:
            continue
        done += 1
        steps = readings(total, chance)
        theirs = schedule.multiplier(torch.from_numpy(steps), total)
        assert theirs.dtype == torch.float64
        off = apart(schedule.multiplier(steps, total), theirs.numpy()) / weight(schedule)
        worst = max(worst, (off, f"{schedule} over {total}"))
    with capsys.disabled():
        print(f"\nTORCH schedules={done} worst={worst[0]:.2f} ulp a segment", end="")
    assert worst[0] <= 4, worst


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@sizes(12, 300)
def test_jax_agrees_within_4_ulp_traced_and_mapped(count: int, capsys: Any) -> None:
    """As with torch (seed 5005): as it comes, under `jit`, and under `vmap` and `jit`."""
    command = [sys.executable, "-m", "arrays", "jax", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    worst = {name: off for name, (off, _) in found["worst"].items()}
    with capsys.disabled():
        print(f"\nJAX schedules={found['schedules']} worst={max(worst.values()):.2f} ulp a segment", end="")
    assert found["schedules"] == count
    assert set(worst) == {"plain", "jit", "vmap"}
    assert max(worst.values()) <= 4, found
