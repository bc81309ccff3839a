"""Comparison: the best record, and methods each at its own best base learning rate."""

import itertools
import random
from typing import Any

import pytest

from contracts.search import answer, diverged, failed
from lrcontrol.analysis.compare import Stage, best_record, stage_name, standings
from lrcontrol.runs.record import Objective, Record
from lrcontrol.search.plan import spec_of
from lrcontrol.search.search import Candidate

RMSE = Objective("rmse", "minimize")


def run(method: str, base_lr: float, final: float | None, loss: float = 1.0, objective: Any = None) -> Record:
    spec = spec_of("digits-cnn", Candidate(method, base_lr), 330, seed=0)  # type: ignore[arg-type]
    if final is None:
        return diverged(spec)
    return answer(spec, final, loss, objective) if objective else answer(spec, final, loss)


A, B, C = "adamw:cosine", "sgd:rex", "sgd:step"


def test_the_best_is_the_highest_accuracy_and_the_lowest_error() -> None:
    finals = [0.3, 0.9, 0.5]
    records = [run(A, 0.1 * (place + 1), final) for place, final in enumerate(finals)]
    assert best_record(records) is records[1]
    records = [run(A, 0.1 * (place + 1), final, objective=RMSE) for place, final in enumerate(finals)]
    assert best_record(records) is records[0]


def test_ties_go_to_the_lower_loss_and_then_to_the_first() -> None:
    first, second, third = run(A, 0.1, 0.5, 2.0), run(A, 0.2, 0.5, 1.0), run(A, 0.3, 0.5, 1.0)
    assert best_record([first, second, third]) is second
    assert best_record([first, third, second]) is third
    assert best_record([run(B, 0.1, 0.4, 0.1), first]) is first, "loss decides ties alone"


def test_what_does_not_work_is_never_best() -> None:
    """However good the diverged run looked before it broke."""
    lost = [run(A, 0.1, None), failed(spec_of("digits-cnn", Candidate(B, 0.1), 330, seed=0))]  # type: ignore[arg-type]
    assert best_record(lost) is None
    assert best_record([]) is None
    worst = run(C, 0.1, 0.0, 1e9)
    assert best_record([*lost, worst]) is worst


def test_every_method_stands_at_its_own_best_rate_the_best_first() -> None:
    stage = Stage("full runs", 330, (run(A, 1e-3, 0.7), run(B, 0.1, 0.8), run(A, 1e-2, 0.9), run(B, 1.0, None)))
    rows = standings(stage)
    assert [(row.method, row.best.spec.base_lr, row.runs, row.diverged, row.kept) for row in rows] == [
        (A, 1e-2, 2, 0, 0),
        (B, 0.1, 2, 1, 0),
    ]


def test_standings_count_what_went_on_and_put_lost_methods_last_in_the_order_asked() -> None:
    records = (run(C, 0.1, None), run(B, 0.1, None), run(A, 0.1, 0.0), run(A, 0.2, 0.1))
    stage = Stage("race", 110, records, frozenset({records[3].id, records[2].id}))
    assert [(row.method, row.kept, row.best.usable) for row in standings(stage)] == [
        (A, 2, True),
        (C, 0, False),
        (B, 0, False),
    ]
    assert standings(Stage("empty", 110, ())) == []


def test_standings_do_not_depend_on_the_order_but_for_ties() -> None:
    """Every order of five runs, seed 1."""
    draw = random.Random(1)
    records = [run(draw.choice([A, B, C]), 0.1 * (place + 1), draw.random(), draw.random()) for place in range(5)]
    wanted = standings(Stage("", 330, tuple(records)))
    for order in itertools.permutations(records):
        assert standings(Stage("", 330, order)) == wanted


def test_the_cost_of_a_stage_is_the_updates_made() -> None:
    records = (run(A, 0.1, 0.5), run(B, 0.1, None))
    assert Stage("", 330, records).cost == 330 + 1


@pytest.mark.parametrize(
    ("steps", "full", "name"),
    [
        (330, 330, "full runs"),
        (110, 330, "race over 110 steps (1/3)"),
        (36, 330, "race over 36 steps (1/9)"),
        (1, 330, "race over 1 steps (1/330)"),
    ],
)
def test_stages_are_named_by_their_share(steps: int, full: int, name: str) -> None:
    assert stage_name(steps, full) == name
