"""OneCycleLR and CyclicLR with the momentum that they turn, as random cases."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch.optim import lr_scheduler as theirs

from peers.cases import ANGLE, Case, Family, as_text, half_cosine, length_of, rate_of, real, share_of


def one_cycle(shape: str, three: bool, what: str = "lr") -> Callable[[random.Random], Case]:
    """Where `pct_start` of the steps is a whole number."""

    def draw(rng: random.Random) -> Case:
        rise = length_of(rng, 2)
        total = (2 * rise - 1 if three else rise) + length_of(rng)
        peak, part = rate_of(rng), rng.choice([25.0, 10.0, 1.0, rng.uniform(1, 100)])
        final = rng.choice([1e4, 10.0, 1.0, rng.uniform(1, 1e6)])
        low, high = sorted((rng.uniform(0.5, 0.9), rng.uniform(0.8, 0.99)))
        momentum = what != "lr"
        start, end = 1 / part, float(1 / (real(part) * real(final)))  # the floats in our text, and so in the formula
        rates = [real(peak) * level for level in (start, 1, start, end)]
        levels = [real(high), real(low), real(high), real(high)] if momentum else rates
        ends = [0, rise - 1, 2 * rise - 2, total - 1] if three else [0, rise - 1, total - 1]
        values = levels if three else [levels[0], levels[1], levels[3]]

        def truth(t: int) -> Any:
            phase = max(index for index, (begin, _) in enumerate(pairwise(ends)) if begin < t or index == 0)
            begin, past = ends[phase], ends[phase + 1]
            gone = real(t - begin) / (past - begin) if shape == "linear" else 1 - half_cosine(t - begin, past - begin)
            return values[phase] * (1 - gone) + values[phase + 1] * gone

        fall = f", {(rise - 1) / total!r}" if three else ""
        recipe, between = "one_cycle", f"start={start!r}, end={end!r}"
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


FAMILIES = [
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
]
