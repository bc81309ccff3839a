"""Every schedule of torch.optim.lr_scheduler as random cases."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from torch.optim import lr_scheduler as theirs

from peers.cases import Case, Family, Truth, half_cosine, length_of, rate_of, real, share_of

DRIFT = 1e-12  # of a recursion over a few hundred steps, as a share of the largest value
ANGLE = 1e-13  # what rounding does to an angle of many turns, or to a place in a cycle as `1 + t / size - cycle`


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
    del base_lr
    every, gamma = length_of(rng), share_of(rng, least=1e-3)
    return Shape(
        lambda optimizer: theirs.StepLR(optimizer, every, gamma),
        f"step({gamma!r}, every={every})",
        lambda t: real(gamma) ** (t // every),
    )


def multi_step(rng: random.Random, base_lr: float) -> Shape:
    """The formula has the decimal number as it is written, of which 0.1 in binary falls short."""
    del base_lr
    gamma = rng.choice([0.1, 0.5, 0.2, 1.5, rng.uniform(0.05, 2)])
    edges = sorted(rng.sample(range(1, 90), rng.randint(1, 9)))
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
        total = shape.least + rng.randint(0, 40)
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
    rate = -math.log1p(gamma - 1) * total
    return Case(
        lambda optimizer: theirs.ExponentialLR(optimizer, gamma),
        f"exponential({rate!r})",
        total,
        total,
        lambda t: base_lr * real(gamma) ** t,
        base_lr,
    )


def one_cycle(shape: str, three: bool, what: str = "lr") -> Callable[[random.Random], Case]:
    """Where `pct_start` of the steps is a whole number."""

    def draw(rng: random.Random) -> Case:
        rise = length_of(rng, 2)
        total = (2 * rise - 1 if three else rise) + length_of(rng)
        peak, part = rate_of(rng), rng.choice([25.0, 10.0, 1.0, rng.uniform(1, 100)])
        final = rng.choice([1e4, 10.0, 1.0, rng.uniform(1, 1e6)])
        low, high = sorted((rng.uniform(0.5, 0.9), rng.uniform(0.8, 0.99)))
        momentum = what != "lr"
        top, start = real(peak), real(peak) / part
        levels = [real(high), real(low), real(high), real(high)] if momentum else [start, top, start, start / final]
        ends = [0, rise - 1, 2 * rise - 2, total - 1] if three else [0, rise - 1, total - 1]
        values = levels if three else [levels[0], levels[1], levels[3]]

        def truth(t: int) -> Any:
            phase = max(index for index, (begin, _) in enumerate(pairwise(ends)) if begin < t or index == 0)
            begin, past = ends[phase], ends[phase + 1]
            gone = real(t - begin) / (past - begin) if shape == "linear" else 1 - half_cosine(t - begin, past - begin)
            return values[phase] * (1 - gone) + values[phase + 1] * gone

        fall = f", {(rise - 1) / total!r}" if three else ""
        recipe, between = "one_cycle", f"start={1 / part!r}, end={1 / part / final!r}"
        if momentum:
            recipe, between = "one_cycle_momentum", f"low={low!r}, high={high!r}"
        return Case(
            lambda optimizer: theirs.OneCycleLR(
                optimizer,
                peak,
                total,
                pct_start=rise / total,
                anneal_strategy="cos" if shape == "cosine" else "linear",
                base_momentum=low,
                max_momentum=high,
                div_factor=part,
                final_div_factor=final,
                three_phase=three,
            ),
            f"{recipe}({rise / total!r}{fall}, {between}, shape={shape})",
            total,
            total,
            truth,
            1.0 if momentum else peak,
            what,
        )

    return draw


def cyclic(mode: str, what: str = "lr") -> Callable[[random.Random], Case]:
    """Triangles of both lengths; `exp_range` shrinks what is above the lower bound."""

    def draw(rng: random.Random) -> Case:
        up, down = length_of(rng), length_of(rng)
        size, peak = up + down, rate_of(rng)
        steps = rng.randint(1, 4 * size if size < 40 else 2 * size)
        gamma = rng.choice([0.99994, 0.9, rng.uniform(0.5, 0.9999)])
        low, high = share_of(rng) * peak, peak
        if what != "lr":
            low, high = 0.8, rng.choice([0.9, rng.uniform(0.8, 0.99)])

        def truth(t: int) -> Any:
            turn, inside = divmod(t, size)
            height = real(inside) / up if inside <= up else real(size - inside) / down
            height *= {"triangular": real(1), "triangular2": real(2) ** -turn, "exp_range": real(gamma) ** t}[mode]
            if what != "lr":
                return high - (real(high) - low) * height
            return low + (real(high) - low) * height

        ratio = up / size
        text = (
            f"{mode}({f'{gamma!r}, ' if mode == 'exp_range' else ''}low={low / high!r}, rise={ratio!r}, period={size})"
        )
        if what != "lr" and mode == "triangular":
            down_up = f"linear(start={high!r}, end={low!r}, share={ratio!r})+linear(start={low!r}, end={high!r})"
            text = f"repeat({down_up}, period={size})"
        elif what != "lr" and mode == "triangular2":
            turns = -(-steps // size)
            knots = [high] + [knot for turn in range(turns) for knot in (high - (high - low) * 0.5**turn, high)]
            places = [place for turn in range(turns) for place in (turn * size + up, (turn + 1) * size)]
            text = f"piecewise({as_text([*knots, high])}, {as_text(places)})"
            steps = turns * size
        elif what != "lr":
            text = f"table({as_text([float(truth(t)) for t in range(steps + 1)])})"
        rates = (low, high) if what == "lr" else (0.1, 1.0)
        momenta = (low, high) if what != "lr" else (0.8, 0.9)
        return Case(
            lambda optimizer: theirs.CyclicLR(
                optimizer, *rates, up, down, mode, gamma, base_momentum=momenta[0], max_momentum=momenta[1]
            ),
            text,
            steps,
            steps,
            truth,
            peak if what == "lr" else 1.0,
            what,
        )

    return draw


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


def as_text(values: list[Any]) -> str:
    """A tuple in our text."""
    return f"({', '.join(repr(value) for value in values)},)"


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
    *(
        Family(f"OneCycleLR {3 if three else 2} phases {shape}{'' if what == 'lr' else ' ' + what}", draw)
        for three in (False, True)
        for shape in ("cosine", "linear")
        for what in ("lr", "momentum", "betas")
        if what != "betas" or (shape == "cosine" and not three)
        for draw in [one_cycle(shape, three, what)]
    ),
    *(
        Family(f"CyclicLR {mode}{'' if what == 'lr' else ' ' + what}", cyclic(mode, what), ANGLE)
        for mode in ("triangular", "triangular2", "exp_range")
        for what in ("lr", "momentum", "betas")
        if what != "betas" or mode == "triangular"
    ),
    Family("ChainedScheduler", chained, DRIFT),
    Family("SequentialLR", sequential, DRIFT),
    *(
        Family(f"{how} as {'levels' if levels else 'table'}", multiplied(how, levels), DRIFT)
        for how in ("LambdaLR", "MultiplicativeLR")
        for levels in (True, False)
    ),
]
