"""Their schedules beside ours: a case is a call of theirs, our text, and their documented formula at 40 digits."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import torch

import lrcontrol as lrc

mp = mpmath.MPContext()
mp.dps = 40
real = mp.mpf

EPSILON = 2.0**-52
ANGLE = 1e-13  # what rounding does to an angle of many turns, or to a place in a cycle as `1 + t / size - cycle`

Truth = Callable[[int], Any]


@dataclass(frozen=True)
class Case:
    """One set of parameters.

    `theirs` is given an optimizer whose only group has `base_lr`; `truth` is the rate (or momentum) at a step.
    """

    theirs: Callable[[Any], Any]
    ours: str
    total: int
    steps: int  # compared: 0 to steps - 1
    truth: Truth
    base_lr: float = 1.0
    what: str = "lr"


@dataclass(frozen=True)
class Family:
    """Cases of one schedule of theirs.

    Theirs must agree with ours to `apart` of the largest value: four units in the last place, or what a recursion
    that multiplies the rate found in the optimizer may drift; their closed form to `closed`.
    """

    name: str
    draw: Callable[[random.Random], Case]
    apart: float = 4 * EPSILON
    closed: float = 4 * EPSILON
    lost: bool = False  # theirs may be at the end of a cycle still where they should restart


@dataclass
class Agreement:
    """The largest differences found, and how many values were looked at."""

    family: str
    cases: int
    seed: int

    values: int = 0
    ulp: float = 0.0  # our multipliers from the truth, in units in the last place of the truth
    theirs_ulp: float = 0.0  # their rates from the truth, likewise
    apart: float = 0.0  # theirs from ours, as a share of the largest value
    closed: float = 0.0  # their closed form from ours, likewise
    residue: float = 0.0  # theirs where the truth is 0, as a share of the largest value
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"PEERS family={self.family!r} seed={self.seed} cases={self.cases} values={self.values} "
            f"worst_ulp={self.ulp:.2f} theirs_ulp={self.theirs_ulp:.3g} apart={self.apart:.1e} "
            f"residue={self.residue:.1e} lost={self.lost}"
        )


def optimizer_at(base_lr: float, what: str = "lr") -> Any:
    """An optimizer with one parameter group at `base_lr`, without gradients."""
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    if what == "betas":
        return torch.optim.Adam(parameters, lr=base_lr)
    return torch.optim.SGD(parameters, lr=base_lr, momentum=0.5)


def read(optimizer: Any, what: str) -> float:
    """The value in force."""
    group = optimizer.param_groups[0]
    return float(group["betas"][0] if what == "betas" else group[what])


def stepped(case: Case) -> tuple[list[float], list[float]]:
    """What is in force at every step with theirs stepped, and what their closed form says if they have one."""
    optimizer = optimizer_at(case.base_lr, case.what)
    scheduler = case.theirs(optimizer)
    optimizer.step()
    live, closed = [], []
    for _ in range(case.steps):
        live.append(read(optimizer, case.what))
        if hasattr(scheduler, "_get_closed_form_lr"):
            closed += scheduler._get_closed_form_lr()
        scheduler.step()
    return live, closed


def in_ulp(value: float, truth: Any) -> float:
    """How far `value` is from `truth`, in units in the last place of the truth."""
    return 0.0 if value == truth else float(abs(real(value) - truth) / math.ulp(float(truth)))


def ours(case: Case, base_lr: float | None = None) -> list[float]:
    """Our values at every step that is compared; past the horizon they hold."""
    multipliers = lrc.schedule(case.ours).multiplier(np.arange(case.steps), case.total)
    values: list[float] = ((case.base_lr if base_lr is None else base_lr) * multipliers).tolist()
    return values


def compared(family: Family, cases: int, seed: int) -> Agreement:
    """The largest differences over so many random cases; AssertionError at the first that is too large."""
    rng, found = random.Random(f"{family.name} {seed}"), Agreement(family.name, cases, seed)
    for _ in range(cases):
        case = family.draw(rng)
        assert str(lrc.schedule(str(lrc.schedule(case.ours)))) == str(lrc.schedule(case.ours))
        multipliers, mine, (live, closed) = ours(case, 1.0), ours(case), stepped(case)
        largest = max(max(mine), 1e-300)
        for step, value in enumerate(mine):
            truth = case.truth(step)
            where = f"{family.name}: {case.ours} over {case.total}, step {step}"
            ulp = in_ulp(multipliers[step], truth / case.base_lr)
            found.ulp = max(found.ulp, ulp)
            assert ulp <= 4, f"{where}: ours {value!r}, should be {mp.nstr(truth, 20)}, {ulp:.1f} ulp"
            away = abs(live[step] - value) / largest
            if away > family.apart:
                assert family.lost, f"{where}: ours {value!r}, theirs {live[step]!r}"
                assert abs(live[step]) <= family.apart * largest, (
                    f"{where}: theirs {live[step]!r} is no end of a cycle"
                )
                assert step > 0, where
                assert truth == case.base_lr, f"{where}: no restart, theirs {live[step]!r}"
                found.lost += 1
            else:
                found.apart = max(found.apart, away)
                if truth:
                    found.theirs_ulp = max(found.theirs_ulp, in_ulp(live[step], truth))
                else:
                    found.residue = max(found.residue, away)
            if closed:
                away = abs(closed[step] - value) / largest
                assert away <= family.closed, f"{where}: ours {value!r}, their closed form {closed[step]!r}"
                found.closed = max(found.closed, away)
        found.values += len(mine)
    return found


def half_cosine(part: int, whole: int) -> Any:
    """From 1 to 0 over `whole`, for any `part`."""
    return (1 + mp.cospi(real(part) / whole)) / 2


def rate_of(rng: random.Random) -> float:
    """A learning rate as people write it, or any."""
    return rng.choice([0.1, 1e-3, 3e-4, 1.0, rng.uniform(1e-6, 2)])


def share_of(rng: random.Random, *, least: float = 0.0) -> float:
    """A number in [least, 1], often a round one."""
    round_ones = [number for number in (0.0, 0.001, 0.1, 0.25, 0.5, 1 / 3, 1.0) if number >= least]
    return rng.choice([*round_ones, rng.uniform(least, 1), rng.uniform(least, 1)])


def length_of(rng: random.Random, least: int = 1) -> int:
    """A number of steps, small ones as likely as others."""
    return rng.choice([least, least + 1, rng.randint(least, least + 8), rng.randint(least, least + 32)])


def as_text(values: list[Any]) -> str:
    """A tuple in our text."""
    return f"({', '.join(repr(value) for value in values)},)"
