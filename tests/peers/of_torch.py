"""Every schedule of torch.optim.lr_scheduler as random cases."""

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch.optim import lr_scheduler as theirs

from peers.cases import ANGLE, Case, Family, Truth, as_text, half_cosine, length_of, mp, rate_of, real, share_of
from peers.of_torch_cycles import FAMILIES as CYCLES

DRIFT = 1e-12  # of a recursion over a few hundred steps, as a share of the largest value


@dataclass(frozen=True)
class Shape:
    """What multiplies the base rate: a call of theirs, our text, and the formula."""

    make: Callable[[Any], Any]
    text: str
    truth: Truth
    least: int = 1  # steps that the text needs
    until: int = 10**9  # past this step the two part on purpose

    def cut(self, steps: int) -> str:
        """The first `steps` steps, as one part of our text."""
        if self.least > steps:
            return f"repeat({self.text}, period={self.least}, steps={steps})"
        return f"over({self.text}, steps={steps})"


def constant(rng: random.Random, base_lr: float) -> Shape:
    del base_lr
    low, steps = share_of(rng, least=1e-6), length_of(rng)
    return Shape(
        lambda optimizer: theirs.ConstantLR(optimizer, low, steps),
        f"constant({low!r}, steps={steps})+constant",
        lambda step: real(low if step < steps else 1),
        steps,
    )


def linear(rng: random.Random, base_lr: float) -> Shape:
    del base_lr
    start, end, steps = share_of(rng, least=1e-3), share_of(rng), length_of(rng)
    return Shape(
        lambda optimizer: theirs.LinearLR(optimizer, start, end, steps),
        f"linear(start={start!r}, end={end!r}, steps={steps})+constant({end!r})",
        lambda step: real(start) + (real(end) - real(start)) * min(step, steps) / steps,
        steps,
    )


def exponential(rng: random.Random, base_lr: float) -> Shape:
    del base_lr
    gamma = rng.choice([0.1, 0.5, 0.9, 0.999, 0.99994, rng.uniform(0.01, 0.9999)])
    return Shape(
        lambda optimizer: theirs.ExponentialLR(optimizer, gamma), f"geometric({gamma!r})", lambda t: real(gamma) ** t
    )


def step(rng: random.Random, base_lr: float) -> Shape:
    """As `multi_step`: of the number as it is written."""
    del base_lr
    every, gamma = length_of(rng), share_of(rng, least=1e-3)
    written = Fraction(repr(gamma))
    return Shape(
        lambda optimizer: theirs.StepLR(optimizer, every, gamma),
        f"step({gamma!r}, every={every})",
        lambda t: (real(written.numerator) / written.denominator) ** (t // every),
    )


def multi_step(rng: random.Random, base_lr: float) -> Shape:
    """The formula has the decimal number as it is written, of which 0.1 in binary falls short."""
    del base_lr
    gamma = rng.choice([0.1, 0.5, 0.2, 1.5, rng.uniform(0.05, 2)])
    edges = sorted(rng.sample(range(1, 50), rng.randint(1, 9)))
    written = Fraction(repr(gamma))

    def truth(t: int) -> Any:
        level = written ** bisect_right(edges, t)
        return real(level.numerator) / level.denominator

    places = ", ".join(map(str, edges))
    return Shape(
        lambda optimizer: theirs.MultiStepLR(optimizer, edges, gamma),
        f"step({gamma!r}, milestones=({places},))",
        truth,
        edges[-1],
    )


def polynomial(rng: random.Random, base_lr: float) -> Shape:
    del base_lr
    steps, power = length_of(rng), rng.choice([1.0, 2.0, 0.5, 0.9, 3, rng.uniform(0.1, 6)])
    return Shape(
        lambda optimizer: theirs.PolynomialLR(optimizer, steps, power),
        f"polynomial({power!r}, steps={steps})+constant(0)",
        lambda t: (1 - real(min(t, steps)) / steps) ** power,
        steps,
    )


def cosine(rng: random.Random, base_lr: float) -> Shape:
    """The whole wave, with the climb after T_max that ours has only where it is asked for."""
    steps, low = length_of(rng), rng.choice([0.0, share_of(rng)]) * base_lr
    share = low / base_lr
    return Shape(
        lambda optimizer: theirs.CosineAnnealingLR(optimizer, steps, low),
        f"repeat(cosine(end={share!r}, share=0.5)+cosine(start={share!r}, end=1), period={2 * steps})",
        lambda t: (low + (real(base_lr) - low) * half_cosine(t, steps)) / base_lr,
    )


def restarts(rng: random.Random, base_lr: float) -> Shape:
    first, growth = length_of(rng), rng.choice([1, 1, 2, 2, 3])
    low = rng.choice([0.0, share_of(rng)]) * base_lr

    def truth(t: int) -> Any:
        long = first
        while t >= long:
            t, long = t - long, long * growth
        return (low + (real(base_lr) - low) * half_cosine(t, long)) / base_lr

    return Shape(
        lambda optimizer: theirs.CosineAnnealingWarmRestarts(optimizer, first, growth, low),
        f"sgdr(period={first}, growth={growth}, low={low / base_lr!r})",
        truth,
    )


MULTIPLYING = (constant, linear, exponential, step, multi_step, polynomial)
"""Those that multiply the rate they find, at every step."""
ALONE = (*MULTIPLYING, cosine, restarts)


def alone(make: Callable[[random.Random, float], Shape]) -> Callable[[random.Random], Case]:
    """One shape on an optimizer, laid over more and over fewer steps than its own."""

    def draw(rng: random.Random) -> Case:
        base_lr = rate_of(rng)
        shape = make(rng, base_lr)
        total = shape.least + rng.randint(0, 25)
        return Case(shape.make, shape.text, total, total, lambda t: base_lr * shape.truth(t), base_lr)

    return draw


def one_wave(rng: random.Random) -> Case:
    """Half a wave, as it is meant: up to T_max the same."""
    base_lr, total = rate_of(rng), length_of(rng)
    low = rng.choice([0.0, share_of(rng)]) * base_lr
    return Case(
        lambda optimizer: theirs.CosineAnnealingLR(optimizer, total, low),
        f"cosine(end={low / base_lr!r})",
        total,
        total + 1,
        lambda t: low + (real(base_lr) - low) * half_cosine(t, total),
        base_lr,
    )


def growing(rng: random.Random) -> Case:
    """`gamma` above 1: an exponential of the rate that the horizon gives."""
    gamma, total, base_lr = rng.uniform(1.0001, 1.05), length_of(rng, 2), rate_of(rng)
    rate = -float(mp.log(gamma) * total)
    return Case(
        lambda optimizer: theirs.ExponentialLR(optimizer, gamma),
        f"exponential({rate!r})",
        total,
        total,
        lambda t: base_lr * real(gamma) ** t,
        base_lr,
    )


def chained(rng: random.Random) -> Case:
    """Those that multiply what they find, together a product."""
    base_lr = rate_of(rng)
    shapes = [make(rng, base_lr) for make in rng.sample(MULTIPLYING, rng.randint(2, 4))]
    total = max(shape.least for shape in shapes) + rng.randint(0, 20)

    def truth(t: int) -> Any:
        value = real(base_lr)
        for shape in shapes:
            value *= shape.truth(t)
        return value

    def make(optimizer: Any) -> Any:
        return theirs.ChainedScheduler([shape.make(optimizer) for shape in shapes], optimizer=optimizer)

    return Case(make, "*".join(f"({shape.text})" for shape in shapes), total, total, truth, base_lr)


def sequential(rng: random.Random) -> Case:
    """One after the other, each cut or stretched to its place."""
    base_lr = rate_of(rng)
    shapes = [rng.choice(ALONE)(rng, base_lr) for _ in range(rng.randint(2, 4))]
    lengths = [length_of(rng) for _ in shapes]
    edges = [sum(lengths[:index]) for index in range(len(lengths) + 1)]

    def truth(t: int) -> Any:
        place = bisect_right(edges[1:-1], t)
        return base_lr * shapes[place].truth(t - edges[place])

    def make(optimizer: Any) -> Any:
        return theirs.SequentialLR(optimizer, [shape.make(optimizer) for shape in shapes], edges[1:-1])

    text = "+".join(shape.cut(steps) for shape, steps in zip(shapes, lengths, strict=True))
    return Case(make, text, edges[-1], edges[-1], truth, base_lr)


def multiplied(how: str, levels: bool) -> Callable[[random.Random], Case]:
    """Any function of the step: as levels up to 1000 steps, as a table up to 10,000."""

    def draw(rng: random.Random) -> Case:
        base_lr, total = rate_of(rng), length_of(rng, 2)
        given = [rng.uniform(0.5, 1.5) for _ in range(total)]
        values = [real(given[0] if how == "LambdaLR" else 1)]
        for value in given[1:]:
            values.append(real(value) * (1 if how == "LambdaLR" else values[-1]))
        floats = [float(value) for value in values]
        largest = max(floats)
        shares = [value / largest for value in floats]
        text = f"table({as_text([*shares, 0.0])}, start={largest!r})"
        if levels:
            text = f"piecewise({as_text(floats)}, {as_text(list(range(1, total)))}, hold=true)"
        return Case(
            lambda optimizer: getattr(theirs, how)(optimizer, lambda t: given[t] if t < total else 1.0),
            text,
            total,
            total,
            lambda t: base_lr * values[t],
            base_lr,
        )

    return draw


FAMILIES = [
    Family("ConstantLR", alone(constant), DRIFT),
    Family("LinearLR", alone(linear), DRIFT),
    Family("ExponentialLR", alone(exponential), DRIFT),
    Family("ExponentialLR growing", growing, DRIFT),
    Family("StepLR", alone(step), DRIFT),
    Family("MultiStepLR", alone(multi_step), DRIFT),
    Family("PolynomialLR", alone(polynomial), DRIFT),
    Family("CosineAnnealingLR to T_max", one_wave, DRIFT),
    Family("CosineAnnealingLR", alone(cosine), DRIFT, closed=ANGLE),
    Family("CosineAnnealingWarmRestarts", alone(restarts)),
    *CYCLES,
    Family("ChainedScheduler", chained, DRIFT),
    Family("SequentialLR", sequential, DRIFT),
    *(
        Family(f"{how} as {'levels' if levels else 'table'}", multiplied(how, levels), DRIFT)
        for how in ("LambdaLR", "MultiplicativeLR")
        for levels in (True, False)
    ),
]
