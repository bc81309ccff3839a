"""Every schedule of transformers.optimization that is a function of the step, as random cases.

Their warmup begins at rate 0: it is our `linear(start=0, end=1)`, and not our `warmup`.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import optimization as theirs

from peers.cases import ANGLE, Case, Family, half_cosine, length_of, rate_of, real, share_of


def rise(rng: random.Random) -> tuple[int, str]:
    """The steps of a warmup from 0, at times none, and our text for it."""
    steps = rng.choice([0, length_of(rng)])
    return steps, f"linear(start=0, end=1, steps={steps})+" if steps else ""


def after(
    rng: random.Random,
    make: Callable[..., Any],
    text: Callable[[int], str],
    fall: Callable[[int, int], Any],
    *,
    base_lr: float | None = None,
    past: int = 3,
    multiple: int = 1,
) -> Case:
    """A warmup from 0, and over what is left of the steps `fall(gone, left in all)`."""
    base_lr = rate_of(rng) if base_lr is None else base_lr
    warm, begun = rise(rng)
    rest = multiple * length_of(rng)
    total = warm + rest

    def truth(t: int) -> Any:
        return base_lr * (real(t) / warm if t < warm else fall(min(t - warm, rest), rest))

    return Case(lambda o: make(o, warm, total), begun + text(rest), total, total + past, truth, base_lr)


def constant(rng: random.Random) -> Case:
    base_lr, total = rate_of(rng), length_of(rng)
    return Case(theirs.get_constant_schedule, "constant", total, total + 3, lambda t: real(base_lr), base_lr)


def constant_with_warmup(rng: random.Random) -> Case:
    return after(
        rng,
        lambda o, warm, total: theirs.get_constant_schedule_with_warmup(o, warm),
        lambda rest: "constant",
        lambda t, rest: real(1),
    )


def linear(rng: random.Random) -> Case:
    return after(
        rng, theirs.get_linear_schedule_with_warmup, lambda rest: "linear", lambda t, rest: 1 - real(t) / rest
    )


def cosine(rng: random.Random) -> Case:
    """Half a wave; the step after the end is the last at which it does not climb."""
    return after(
        rng,
        theirs.get_cosine_schedule_with_warmup,
        lambda rest: "cosine",
        lambda t, rest: half_cosine(t, rest),
        past=1,
    )


def wave(low: float, half: int, begin: float = 1.0) -> str:
    """Half waves of so many steps, down and up, until the length is full."""
    return f"repeat(cosine(end={low!r}, share=0.5)+cosine(start={low!r}, end=1), period={2 * half})"


def cosine_of_cycles(rng: random.Random, *, floor: bool = False) -> Case:
    """Any `num_cycles` whose half waves are whole steps, fewer than a half among them."""
    warm, begun = rise(rng)
    half, rest = length_of(rng), length_of(rng)
    total, base_lr, cycles = warm + rest, rate_of(rng), rest / half / 2
    low = share_of(rng) if floor else 0.0

    def truth(t: int) -> Any:
        return base_lr * (real(t) / warm if t < warm else low + (1 - real(low)) * half_cosine(t - warm, half))

    make = partial(theirs.get_cosine_with_min_lr_schedule_with_warmup, min_lr_rate=low)
    return Case(
        lambda o: (make if floor else theirs.get_cosine_schedule_with_warmup)(o, warm, total, cycles),
        begun + wave(low, half),
        total,
        total,
        truth,
        base_lr,
    )


def restarts(rng: random.Random) -> Case:
    """Where the cycles are whole steps; theirs are fractions of one, and a restart falls between two steps, if not."""
    cycles = rng.randint(1, 25)
    return after(
        rng,
        lambda o, warm, total: theirs.get_cosine_with_hard_restarts_schedule_with_warmup(o, warm, total, cycles),
        lambda rest: f"repeat(cosine, times={cycles})",
        lambda t, rest: half_cosine(t % (rest // cycles), rest // cycles) if t < rest else real(0),
        multiple=cycles,
    )


def polynomial(rng: random.Random) -> Case:
    base_lr, power = rate_of(rng), rng.choice([1.0, 2.0, 0.5, rng.uniform(0.1, 6)])
    end = rng.choice([0.0, 1e-7, rng.uniform(0, 0.9) * base_lr])
    return after(
        rng,
        partial(theirs.get_polynomial_decay_schedule_with_warmup, lr_end=end, power=power),
        lambda rest: f"polynomial({power!r}, end={end / base_lr!r})",
        lambda t, rest: (end + (real(base_lr) - end) * (1 - real(t) / rest) ** power) / base_lr,
        base_lr=base_lr,
    )


def inverse_sqrt(rng: random.Random) -> Case:
    """`timescale` is by default the warmup, or 10,000."""
    warm, begun = rise(rng)
    given = rng.choice([None, length_of(rng), 4000])
    timescale = given or warm or 10_000
    total, base_lr = warm + length_of(rng), rate_of(rng)
    return Case(
        lambda o: theirs.get_inverse_sqrt_schedule(o, warm, given),
        f"{begun}inverse_sqrt(timescale={timescale})",
        total,
        total,
        lambda t: base_lr * (real(t) / warm if t < warm else (1 + real(t - warm) / timescale) ** real(-0.5)),
        base_lr,
    )


def cosine_with_min_lr(rng: random.Random) -> Case:
    base_lr, low = rate_of(rng), share_of(rng)
    floor = {"min_lr": low * base_lr} if rng.random() < 0.5 else {"min_lr_rate": low}
    lowest = floor.get("min_lr", low * real(base_lr)) / real(base_lr)
    return after(
        rng,
        partial(theirs.get_cosine_with_min_lr_schedule_with_warmup, **floor),
        lambda rest: f"cosine(end={low!r})",
        lambda t, rest: lowest + (1 - lowest) * half_cosine(t, rest),
        base_lr=base_lr,
        past=1,
    )


def cosine_warmup_with_min_lr(rng: random.Random) -> Case:
    """The one of theirs that reads the right end of each step: its warmup is ours, unless it begins at a rate."""
    warm, rest, low = rng.choice([0, length_of(rng)]), length_of(rng), share_of(rng)
    start = rng.choice([None, share_of(rng)])
    total, base_lr = warm + rest, rate_of(rng)

    def truth(t: int) -> Any:
        if t >= warm:
            return base_lr * (low + (1 - real(low)) * half_cosine(t - warm + 1, rest))
        if start is None:
            return base_lr * real(t + 1) / warm
        return base_lr * (start + (1 - real(start)) * t / max(1, warm - 1))

    begun = f"warmup({warm})+" if start is None else f"linear(start={start!r}, end=1, steps={warm}, at=closed)+"
    return Case(
        lambda o: theirs.get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
            o, warm, total, min_lr_rate=low, warmup_lr_rate=start
        ),
        f"{begun if warm else ''}cosine(end={low!r}, at=right)",
        total,
        total,
        truth,
        base_lr,
    )


RISES = {"linear": "linear", "cosine": "cosine", "1-sqrt": "polynomial(0.5)"}
FALLS = {"linear": "linear", "cosine": "cosine", "1-sqrt": "one_minus_sqrt"}


def with_layout(recipe: str, layout: str) -> str:
    """A recipe with more arguments."""
    return f"{recipe[:-1]}, {layout})" if recipe.endswith(")") else f"{recipe}({layout})"


def wsd(rng: random.Random) -> Case:
    """Every form of warmup and of decay, given the stable steps or the steps in all."""
    warm, stable, decay = rng.choice([0, length_of(rng)]), rng.choice([0, length_of(rng)]), length_of(rng)
    up, down, low = rng.choice(list(RISES)), rng.choice(list(FALLS)), rng.choice([0.0, share_of(rng)])
    total, base_lr = warm + stable + decay, rate_of(rng)
    given = {"num_training_steps": total} if rng.random() < 0.5 else {"num_stable_steps": stable}

    def shape(name: str, t: int, whole: int) -> Any:
        gone = real(t) / whole
        return {"linear": gone, "cosine": 1 - half_cosine(t, whole), "1-sqrt": 1 - (1 - gone) ** real(0.5)}[name]

    def truth(t: int) -> Any:
        part = real(1)
        if t < warm:
            part = shape(up, t, warm)
        elif t >= warm + stable:
            gone = min(t - warm - stable, decay)
            part = 1 - (real(gone) / decay) ** real(0.5) if down == "1-sqrt" else 1 - shape(down, gone, decay)
        return base_lr * (low + (1 - real(low)) * part)

    parts = [
        with_layout(RISES[up], f"start={low!r}, end=1, steps={warm}"),
        f"constant(steps={stable})",
        with_layout(FALLS[down], f"end={low!r}"),
    ]
    return Case(
        lambda o: theirs.get_wsd_schedule(o, warm, decay, warmup_type=up, decay_type=down, min_lr_ratio=low, **given),
        "+".join(parts),
        total,
        total + 3,
        truth,
        base_lr,
    )


FAMILIES = [
    Family("constant", constant),
    Family("constant_with_warmup", constant_with_warmup),
    Family("linear", linear),
    Family("cosine", cosine),
    Family("cosine, any num_cycles", cosine_of_cycles, ANGLE),
    Family("cosine_with_restarts", restarts, ANGLE, lost=True),
    Family("polynomial", polynomial),
    Family("inverse_sqrt", inverse_sqrt),
    Family("cosine_with_min_lr", cosine_with_min_lr),
    Family("cosine_with_min_lr, any num_cycles", partial(cosine_of_cycles, floor=True), ANGLE),
    Family("cosine_warmup_with_min_lr", cosine_warmup_with_min_lr),
    Family("warmup_stable_decay", wsd),
]
