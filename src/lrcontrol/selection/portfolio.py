"""The methods and base learning rates that a selection chooses between."""

from collections.abc import Sequence
from typing import Any

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import Method, method, optimizer_name
from lrcontrol.runs.parts import PARTS
from lrcontrol.search.search import Candidate

__all__ = [
    "BASE_LRS",
    "DEFAULT",
    "OWN_SHARES",
    "SCHEDULES",
    "UNTUNED",
    "candidates_of",
    "method_list",
    "own_portfolio",
    "portfolio",
    "rates_around",
]

DEFAULT = Candidate(method("adamw:cosine"), 1e-3)
"""What many people would run without thinking: the measure of every selection."""

UNTUNED = (
    Candidate(method("adamw:cosine*l4"), 1e-3),
    Candidate(method("schedulefree_sgd:warmup(0.05)+constant"), 1.0),
)
"""Methods to be run in full beside the plain default, each at one rate.

Over twenty tasks the best of the three runs is nearly as good as a tuned rate, where the two were picked on the other
tasks (docs/lr_free.md).
"""

SCHEDULES = ("cosine", "warmup(0.05)+rex", "warmup(0.05)+linear", "step", "constant")
"""One of each temper: smooth, late, straight, sudden, none. All are given as shares, so that they compress."""

BASE_LRS = {
    "adamw": (1e-3, 3e-3, 3e-4, 1e-2, 1e-4, 3e-2),
    "sgd": (3e-2, 1e-1, 1e-2, 3e-1, 3e-3, 1.0),
}
"""Half-decade grids around the usual rate of each optimizer, from the middle outwards."""

OWN_SHARES = (3.0, 0.3, 10.0, 0.1, 30.0)
"""The same as shares of the rate that a script would train with."""


def portfolio() -> tuple[Candidate, ...]:
    """Every optimizer with every schedule at every base learning rate; the likeliest rates of all methods first.

    Example:
        >>> len(portfolio()), str(portfolio()[0]), str(portfolio()[1])
        (60, 'adamw:cosine at 0.001', 'sgd:cosine at 0.03')
    """
    methods = [method(f"{optimizer}:{schedule}") for schedule in SCHEDULES for optimizer in BASE_LRS]
    return candidates_of(methods)


def own_portfolio(base_lr: float) -> tuple[Candidate, ...]:
    """Every schedule for the optimizer that a script makes itself, at base learning rates around that of the script.

    Example:
        >>> len(own_portfolio(0.1)), str(own_portfolio(0.1)[0]), str(own_portfolio(0.1)[5])
        (30, 'own:cosine at 0.1', 'own:cosine at 0.3')
    """
    return candidates_of([method(f"own:{schedule}") for schedule in SCHEDULES], rates_around(base_lr))


def rates_around(base_lr: float) -> tuple[float, ...]:
    """Base learning rates around that of a script, from the middle outwards.

    Example:
        >>> rates_around(0.1)
        (0.1, 0.3, 0.03, 1.0, 0.01, 3.0)
    """
    return (base_lr, *(float(f"{base_lr * share:.15g}") for share in OWN_SHARES))


def candidates_of(methods: Sequence[Method], base_lrs: Sequence[float] | None = None) -> tuple[Candidate, ...]:
    """Every method at each of `base_lrs`, or at the rates of the portfolio for its optimizer; each once.

    A method that finds its rate itself has the one that is usual for it, whatever rates there are for others.

    Raises:
        BadInput: nothing to choose between, a rate that is none, or no rates for an optimizer that a script makes.
    """
    given = (
        None if base_lrs is None else tuple(checks.number("base_lr", each, low=0, open_low=True) for each in base_lrs)
    )
    rates = [_usual(each) if given is None or each.usual_lr is not None else given for each in methods]
    unknown = [each for each, own in zip(methods, rates, strict=True) if base_lrs is None and not own]
    if unknown:
        raise BadInput(
            f"base learning rates must be given for {unknown[0]}, of whose optimizer none are usual; give `base_lrs`, "
            "--lr on the command line."
        )
    if not methods or not all(rates):
        raise BadInput("there must be at least one method and one base learning rate to choose between, got none.")
    crossed = (
        Candidate(each, own[place])
        for place in range(max(map(len, rates)))
        for each, own in zip(methods, rates, strict=True)
        if place < len(own)
    )
    return tuple(dict.fromkeys(crossed))


def _usual(given: Method) -> tuple[float, ...]:
    """The usual rates of a method: a grid for its optimizer, or the one where it finds its rate itself."""
    alone = given.usual_lr
    return BASE_LRS.get(optimizer_name(given.optimizer), ()) if alone is None else (alone,)


def method_list() -> dict[str, Any]:
    """What methods are made of, the portfolio that `select` races, and what it runs in full beside, as JSON values.

    Each has its kind, name, papers and what it needs to be shown; an optimizer its numbers, usual rate, and what a
    step costs beside one of fused SGD, and the method that did better than its defaults in a calibration, or None; a
    control its price, in updates.
    """
    kinds = ("optimizer", "schedule", "control")
    return {
        **{f"{kind}s": [part.listed for part in PARTS.values() if part.kind == kind] for kind in kinds},
        "portfolio": [{"method": str(each.method), "base_lr": each.base_lr} for each in portfolio()],
        "default": {"method": str(DEFAULT.method), "base_lr": DEFAULT.base_lr},
        "untuned": [{"method": str(each.method), "base_lr": each.base_lr} for each in UNTUNED],
    }
