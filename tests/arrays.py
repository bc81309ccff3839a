"""Other array libraries beside numpy: how far the multipliers of random trees are apart.

Run as `python -m arrays jax 20` in a process of its own, for jax must be told to count in 64 bits before it starts;
prints JSON.
"""

import json
import random
import sys
from typing import Any

import numpy as np

from chance import any_schedule, horizon_of
from lrcontrol.schedules.schedule import Cycled, Nested, Schedule
from twin import leaves

__all__ = ["apart", "readings", "weight"]


def weight(schedule: Schedule) -> int:
    """How many results may each be 4 ulp off: those of segments, and of turns that shrink."""
    turns, heap = 0, [schedule]
    while heap:
        for part in heap.pop().parts:
            children = getattr(part, "children", ())
            turns += isinstance(part, Cycled | Nested)
            heap.extend(children)
    return len(leaves(schedule)) + turns


def apart(one: Any, other: Any) -> float:
    """The largest distance in ulp; values below the smallest normal number count as equal."""
    unit = np.spacing(np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-290))
    return float(np.max(np.abs(one - other) / unit))


def readings(total: int, chance: random.Random) -> Any:
    """The first and last steps, those past the end, and others."""
    steps = [0, 1, total - 1, total, total + 1, 10 * total, *(chance.randrange(total) for _ in range(30))]
    return np.array(steps)


def main(count: int) -> None:
    """Compare jax: as it comes, traced, and mapped."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    chance, worst, done = random.Random(5005), {"plain": (0.0, ""), "jit": (0.0, ""), "vmap": (0.0, "")}, 0
    while done < count:
        schedule = any_schedule(chance, chance.choice([1, 1, 2, 3]))
        total = horizon_of(schedule, chance, 2000)
        if total is None or len(schedule.pieces(total)) > 60:
            continue
        done += 1
        steps = readings(total, chance)
        ours, given = schedule.multiplier(steps, total), jnp.asarray(steps)

        def of(step: Any, schedule: Schedule = schedule, total: int = total) -> Any:
            return schedule.multiplier(step, total)

        for name, read in (("plain", of), ("jit", jax.jit(of)), ("vmap", jax.jit(jax.vmap(of)))):
            if name == "plain" and done > count / 4:
                continue
            theirs = np.asarray(read(given))
            if theirs.dtype != np.float64 or theirs.shape != ours.shape:
                worst[name] = (float("inf"), f"{schedule}: {theirs.dtype} {theirs.shape}")
            worst[name] = max(worst[name], (apart(ours, theirs) / weight(schedule), f"{schedule} over {total}"))
    print(json.dumps({"schedules": done, "worst": worst}))


if __name__ == "__main__":
    main(int(sys.argv[2]))
