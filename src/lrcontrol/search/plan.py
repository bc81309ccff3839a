"""Searches that know all their runs before the first: one method alone, a grid, random draws."""

from collections.abc import Sequence
from itertools import product

import msgspec
import numpy as np

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import Method
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.search.search import Candidate, affordable, pending

__all__ = ["Plan", "alone", "grid", "random_draws", "spec_of"]


class Plan(msgspec.Struct, frozen=True):
    """A fixed list of runs, made in order as far as the budget reaches.

    Args:
        specs: the runs; one that is named again is one run.
    """

    specs: tuple[RunSpec, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "specs", tuple(dict.fromkeys(self.specs)))

    def propose(
        self, records: Sequence[Record], running: Sequence[RunSpec], room: int, budget: Budget
    ) -> list[RunSpec]:
        """The next runs of the list that the budget pays for; one that goes on from another waits for that."""
        awaited = {spec.id for spec in self.specs} - {record.id for record in records}
        begin = [
            spec for spec in affordable(self.specs, budget) if spec.start is None or spec.start.run not in awaited
        ]
        return pending(begin, records, running, room)

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """Those of `records` that are of this plan."""
        own = {spec.id for spec in self.specs}
        return [record for record in records if record.id in own]

    def keeps(self, records: Sequence[Record]) -> frozenset[str]:
        """The runs that others of the plan go on from, until those have answered."""
        answered = {record.id for record in records}
        return frozenset(spec.start.run for spec in self.specs if spec.start is not None and spec.id not in answered)

    @property
    def cost(self) -> int:
        """Updates of all runs, where none ends early and the budget pays for all."""
        return sum(spec.charge for spec in self.specs)


def alone(task: str, candidate: Candidate, total_steps: int, seeds: Sequence[int] = (0,)) -> Plan:
    """One method at one base learning rate, once for each seed."""
    return Plan(tuple(spec_of(task, candidate, total_steps, seed) for seed in seeds))


def grid(
    task: str,
    methods: Sequence[str | Method],
    base_lrs: Sequence[float],
    total_steps: int,
    seeds: Sequence[int] = (0,),
) -> Plan:
    """Every method at every base learning rate with every seed.

    Example:
        >>> len(grid("digits-mlp", ["adamw:cosine", "sgd:rex"], [0.1, 0.01], total_steps=100).specs)
        4
    """
    if not methods or not base_lrs or not seeds:
        raise BadInput("a grid must have at least one method, one base learning rate and one seed.")
    combinations = product(methods, base_lrs, seeds)
    return Plan(
        tuple(spec_of(task, Candidate(parse_method(given), lr), total_steps, seed) for given, lr, seed in combinations)
    )


def random_draws(
    task: str,
    methods: Sequence[str | Method],
    low: float,
    high: float,
    count: int,
    total_steps: int,
    seed: int = 0,
) -> Plan:
    """`count` draws: a method uniformly, and its base learning rate log-uniformly from [low, high].

    A method that finds its rate itself has the one that is usual for it, and is one run however often it is drawn.

    Args:
        task: its name.
        methods: at least one.
        low: > 0.
        high: >= low.
        count: >= 1.
        total_steps: of every run.
        seed: of the draws, and of the runs.

    Source:
        Bergstra, Bengio 2012, JMLR 13:281-305.

    Example:
        >>> plan = random_draws("digits-mlp", ["adamw:cosine"], 1e-4, 1e-1, count=3, total_steps=100)
        >>> all(1e-4 <= spec.base_lr <= 1e-1 for spec in plan.specs)
        True
    """
    parsed = [parse_method(given) for given in methods]
    if not parsed:
        raise BadInput("a random search must have at least one method, got none.")
    low = checks.number("low", low, low=0, open_low=True)
    high = checks.number("high", high, low=low)
    count = checks.integer("count", count, low=1)
    generator = np.random.default_rng(checks.integer("seed", seed))
    specs = []
    for _ in range(count):
        chosen = parsed[int(generator.integers(len(parsed)))]
        base_lr = float(np.exp(generator.uniform(np.log(low), np.log(high))))
        base_lr = min(max(float(f"{base_lr:.4g}"), low), high)  # four digits are enough, and readable
        base_lr = base_lr if chosen.usual_lr is None else chosen.usual_lr
        specs.append(spec_of(task, Candidate(chosen, base_lr), total_steps, seed))
    return Plan(tuple(specs))


def spec_of(task: str, candidate: Candidate, total_steps: int, seed: int) -> RunSpec:
    """The run of a candidate that costs what `total_steps` updates of a schedule do."""
    steps = candidate.method.updates_for(total_steps)
    return RunSpec(task=task, method=candidate.method, base_lr=candidate.base_lr, total_steps=steps, seed=seed)
