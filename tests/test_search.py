"""Searches: the contract, and what each promises besides."""

import math
import random
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from contracts.search import TRUTHS, SearchContract, answer, carried, chance, diverged, failed, mixed
from lrcontrol.errors import BadInput, DoesNotFit, OverBudget
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.search.halving import Rung, SuccessiveHalving, rungs_within
from lrcontrol.search.plan import Plan, alone, grid, random_draws, spec_of
from lrcontrol.search.refinement import Asked, Refinement, refinement_within
from lrcontrol.search.search import Candidate, affordable, pending
from lrcontrol.selection.portfolio import DEFAULT, candidates_of, portfolio
from lrcontrol.selection.race import plan_race
from lrcontrol.selection.stages import search_reasons, stages_of
from lrcontrol.training.tasks.catalogue import TASKS

TASK = "digits-cnn"
FULL = 330
FIELD = portfolio()[:20]
PLENTY = Budget(10**6, FULL)


def asked_of(run: str) -> Asked:
    """A stand-in for what the norms of a run ask for: it depends on the run alone."""
    return Asked(method(f"sgd:table(values=(0, 1, 0.{int(run[:4], 16)}, 0))"), 0.01)


SEARCHES: dict[str, tuple[Any, Budget]] = {
    "alone": (alone(TASK, DEFAULT, 100, seeds=(0, 1, 2)), PLENTY),
    "grid": (grid(TASK, ["adamw:cosine", "sgd:rex"], [0.1, 0.01, 0.001], 100, seeds=(0, 5)), PLENTY),
    "grid, poor": (grid(TASK, ["adamw:cosine", "sgd:rex"], [0.1, 0.01], 100), Budget(250, FULL)),
    "random": (random_draws(TASK, ["adamw:cosine", "sgd:rex"], 1e-4, 1.0, 15, 100, seed=3), PLENTY),
    "halving": (
        SuccessiveHalving(TASK, FIELD, (Rung(36, 18), Rung(110, 6), Rung(330, 2)), FULL),
        Budget(36 * 18 + 110 * 6 + 330 * 2, FULL),
    ),
    "halving, cut rungs": (
        SuccessiveHalving(TASK, FIELD, (Rung(36, 9, "cut"), Rung(110, 3, "cut"), Rung(330, 1)), FULL, seed=4),
        PLENTY,
    ),
    "halving, continued": (
        SuccessiveHalving(
            TASK, FIELD, tuple(Rung(*each, "continued") for each in ((36, 9), (110, 3), (330, 1))), FULL
        ),
        PLENTY,
    ),
    "halving, one rung": (SuccessiveHalving(TASK, FIELD, (Rung(330, 5),), FULL, save_last=True), PLENTY),
    "race": (plan_race(TASKS[TASK], Budget(20 * FULL, FULL), portfolio(), DEFAULT, 0), Budget(20 * FULL, FULL)),
    "refinement": (
        Refinement(
            TASK,
            tuple(Candidate(f"{each}:linear", rate) for rate in (0.1, 0.01) for each in ("sgd", "adamw")),
            asked_of,
            FULL,
            rounds=2,
        ),
        PLENTY,
    ),
    "race, poor": (plan_race(TASKS[TASK], Budget(FULL, FULL), portfolio(), DEFAULT, 0), Budget(FULL, FULL)),
}


@pytest.mark.parametrize(("search", "budget"), SEARCHES.values(), ids=SEARCHES)
class TestSearches(SearchContract):
    """Every search keeps the contract."""


# One method alone, grid, random draws


def test_a_grid_is_complete_and_holds_nothing_else() -> None:
    methods, base_lrs, seeds = ["adamw:cosine", "sgd:rex", "sgd(momentum=0):step"], [0.1, 0.01], [0, 3, 9]
    specs = grid(TASK, methods, base_lrs, 100, seeds).specs
    asked = {(str(spec.method), spec.base_lr, spec.seed, spec.total_steps, spec.stop_step) for spec in specs}
    assert asked == {(method, lr, seed, 100, 100) for method in methods for lr in base_lrs for seed in seeds}
    assert len(specs) == 18


def test_a_run_named_twice_is_one_run() -> None:
    plan = grid(TASK, ["adamw:cosine", "adamw : cosine"], [0.1, 0.10], 100)
    assert len(plan.specs) == 1
    assert plan.cost == 100


@pytest.mark.parametrize("empty", [{"methods": []}, {"base_lrs": []}, {"seeds": []}], ids=str)
def test_an_empty_grid_is_refused(empty: dict[str, Any]) -> None:
    given = {"methods": ["sgd:rex"], "base_lrs": [0.1], "seeds": [0]} | empty
    with pytest.raises(BadInput, match="at least one method, one base learning rate and one seed"):
        grid(TASK, given["methods"], given["base_lrs"], 100, given["seeds"])


def test_random_draws_are_log_uniform_and_methods_uniform() -> None:
    """Kolmogorov-Smirnov over 3000 draws of seed 1, and a binomial test of the methods."""
    plan = random_draws(TASK, ["adamw:cosine", "sgd:rex"], 1e-4, 1.0, 3000, 100, seed=1)
    logs = np.log10([spec.base_lr for spec in plan.specs])
    assert stats.kstest((logs + 4) / 4, "uniform").pvalue > 0.01
    first = sum(str(spec.method) == "adamw:cosine" for spec in plan.specs)
    assert stats.binomtest(first, len(plan.specs)).pvalue > 0.01


def test_an_optimizer_that_finds_its_rate_is_drawn_at_its_own_and_leaves_the_others_theirs() -> None:
    named, own = (
        random_draws(TASK, ["adamw:cosine", other], 1e-4, 1e-1, 20, 100) for other in ("sgd:rex", "prodigy:rex")
    )
    assert {spec.base_lr for spec in own.specs if str(spec.method) == "prodigy:rex"} == {1.0}
    assert len(own.specs) == 1 + sum(str(spec.method) == "adamw:cosine" for spec in named.specs)
    assert [spec for spec in named.specs if str(spec.method) == "adamw:cosine"] == [
        spec for spec in own.specs if str(spec.method) == "adamw:cosine"
    ]


@pytest.mark.parametrize(
    ("low", "high"), [(1e-4, 1.0), (0.00012345678, 0.00012345679), (0.12346, 0.12349), (5e-324, 1e-320), (0.3, 0.3)]
)
def test_draws_stay_within_their_bounds(low: float, high: float) -> None:
    """Also where the bounds have more digits than a draw is rounded to."""
    specs = random_draws(TASK, ["sgd:rex"], low, high, 50, 100).specs
    assert all(low <= spec.base_lr <= high for spec in specs)
    assert (len(specs) == 1) == (len({spec.base_lr for spec in specs}) == 1)


def test_the_seed_moves_the_draws_and_the_count_does_not() -> None:
    """The first draws of a longer search are those of a shorter one."""
    draws = [random_draws(TASK, ["sgd:rex", "sgd:step"], 1e-3, 1, count, 100, seed=2).specs for count in (5, 20)]
    assert draws[1][:5] == draws[0]
    other = random_draws(TASK, ["sgd:rex", "sgd:step"], 1e-3, 1, 5, 100, seed=3).specs
    assert [spec.base_lr for spec in other] != [spec.base_lr for spec in draws[0]]
    assert {spec.seed for spec in other} == {3}


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"low": 0}, "low"),
        ({"low": -1}, "low"),
        ({"low": math.nan}, "low"),
        ({"low": "0.1"}, "low"),
        ({"high": 1e-5}, "high"),
        ({"high": math.inf}, "high"),
        ({"count": 0}, "count"),
        ({"count": 1.5}, "count"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"total_steps": 0}, "total_steps"),
        ({"methods": []}, "at least one method"),
        ({"methods": ["sgd"]}, "expected ':'"),
        ({"task": ""}, "task"),
    ],
    ids=str,
)
def test_bad_draws_are_refused_by_name(bad: dict[str, Any], named: str) -> None:
    good = {"task": TASK, "methods": ["sgd:rex"], "low": 1e-3, "high": 1.0, "count": 3, "total_steps": 100, "seed": 0}
    with pytest.raises(BadInput, match=named):
        random_draws(**(good | bad))


# What searches share


def test_affordable_is_the_longest_beginning_that_the_budget_pays_for() -> None:
    plan = [spec_of(TASK, DEFAULT, steps, seed=steps) for steps in (100, 50, 60, 10)]
    for steps, count in ((99, 0), (100, 1), (149, 1), (150, 2), (209, 2), (210, 3), (219, 3), (220, 4)):
        assert affordable(plan, Budget(steps, 100)) == plan[:count]


def test_pending_leaves_out_what_ran_or_runs_and_names_no_run_twice() -> None:
    plan = [spec_of(TASK, DEFAULT, 100, seed) for seed in range(5)]
    assert pending([*plan, *plan], [answer(plan[1])], [plan[3]], 10) == [plan[0], plan[2], plan[4]]
    assert pending(plan, [], [], 2) == plan[:2]


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "0.1", None, 1e400])
def test_a_candidate_without_a_rate_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="`base_lr`"):
        Candidate("sgd:rex", bad)


# Successive halving


def by_hand(candidates: tuple[Candidate, ...], rungs: list[tuple[int, int]], score: Any) -> list[tuple[str, int]]:
    """Algorithm 1 of Jamieson and Talwalkar, straight: run all, sort, keep the best."""
    runs = []
    field = list(candidates)
    for index, (steps, count) in enumerate(rungs):
        field = field[:count]
        scores = []
        for candidate in field:
            runs.append((str(candidate), steps))
            scores.append(score(candidate, steps))
        best_first = sorted((score, place) for place, score in enumerate(scores) if score is not None)
        if index + 1 < len(rungs):
            field = [field[place] for _, place in best_first[: rungs[index + 1][1]]]
    return runs


def test_halving_runs_what_its_slow_twin_runs() -> None:
    """60 random races, with ties, diverged and failed runs."""
    draw = random.Random(11)
    for case in range(60):
        candidates = tuple(draw.sample(portfolio(), draw.randint(1, 25)))
        counts = sorted((draw.randint(1, len(candidates)) for _ in range(draw.randint(1, 4))), reverse=True)
        lengths = sorted(draw.sample(range(1, FULL + 1), len(counts)))
        rungs = list(zip(lengths, counts, strict=True))
        search = SuccessiveHalving(TASK, candidates, tuple(Rung(*rung) for rung in rungs), FULL, seed=case)

        def score(candidate: Candidate, steps: int, seed: int = case) -> tuple[float, float] | None:
            record = mixed(spec_of(TASK, candidate, steps, seed))
            return record.rank_key if record.usable else None

        records = carried(search, mixed, PLENTY, slots=draw.randint(1, 9), seed=case)
        ran = [(f"{record.spec.method} at {record.spec.base_lr:g}", record.spec.total_steps) for record in records]
        assert sorted(ran) == sorted(by_hand(candidates, rungs, score)), f"case {case}"


def test_a_rung_begins_when_all_of_the_one_before_have_answered() -> None:
    search = SuccessiveHalving(TASK, FIELD, (Rung(36, 4), Rung(110, 2)), FULL)
    first = search.propose([], [], 9, PLENTY)
    assert [spec.total_steps for spec in first] == [36] * 4
    three = [answer(spec, 0.1 * place) for place, spec in enumerate(first[:3])]
    assert search.propose(three, first[3:], 9, PLENTY) == []
    second = search.propose([*three, answer(first[3], 0.05)], [], 9, PLENTY)
    assert [(str(spec.method), spec.base_lr) for spec in second] == [
        (str(FIELD[place].method), FIELD[place].base_lr) for place in (2, 1)
    ]


def test_compressed_and_cut_rungs_are_told_apart_in_the_spec() -> None:
    """A compressed run sees its whole schedule, a cut one the beginning of the full one."""
    for horizon, total in (("compressed", 110), ("cut", FULL)):
        search = SuccessiveHalving(TASK, FIELD, (Rung(110, 2, horizon), Rung(FULL, 1)), FULL)  # type: ignore[arg-type]
        for spec in search.propose([], [], 9, PLENTY):
            assert (spec.total_steps, spec.stop_step, spec.is_cut) == (total, 110, horizon == "cut")
        last = carried(search, mixed, PLENTY)[-1].spec
        assert (last.total_steps, last.stop_step) == (FULL, FULL)


@pytest.mark.parametrize("unusable", [diverged, failed])
def test_a_run_without_weights_that_work_is_never_promoted(unusable: Any) -> None:
    """However good its metric was before it broke, and even where that leaves places empty."""
    good = FIELD[3]
    search = SuccessiveHalving(TASK, FIELD, (Rung(36, 6), Rung(110, 3), Rung(330, 2)), FULL)

    def truth(spec: RunSpec) -> Record:
        return answer(spec, 0.01) if (spec.method, spec.base_lr) == (good.method, good.base_lr) else unusable(spec)

    records = carried(search, truth, PLENTY)
    assert [record.spec.total_steps for record in records] == [36] * 6 + [110, 330]
    assert all(record.usable for record in records[6:])


def test_who_is_promoted_goes_on_from_its_checkpoint_and_pays_only_what_is_new() -> None:
    """Each start is the same candidate's run of the rung before; checkpoints are kept while they may be needed."""
    rungs = tuple(Rung(*each, "continued") for each in ((36, 9), (110, 3), (330, 1)))
    race = SuccessiveHalving(TASK, FIELD, rungs, FULL)
    records = carried(race, TRUTHS["all finish"], PLENTY)
    by_id = {record.id: record.spec for record in records}
    assert race.cost == 36 * 9 + (110 - 36) * 3 + (330 - 110)
    assert sum(spec.updates for spec in by_id.values()) == race.cost
    for spec in by_id.values():
        assert spec.total_steps == FULL
        assert spec.checkpoint == (spec.stop_step < 330)
        if spec.stop_step == 36:
            assert spec.start is None
            continue
        assert spec.start is not None
        before = by_id[spec.start.run]
        assert (before.method, before.base_lr, before.stop_step) == (spec.method, spec.base_lr, spec.start.step)
    first = [record for record in records if record.spec.stop_step == 36]
    assert race.keeps([]) == frozenset(record.id for record in first)
    second = [record for record in records if record.spec.stop_step == 110]
    starts = {record.spec.start.run for record in second if record.spec.start}
    assert race.keeps(first) == starts | {record.id for record in second}
    assert race.keeps([*first, *second]) == {records[-1].spec.start.run}  # type: ignore[union-attr]
    assert race.keeps(records) == frozenset()


def test_a_rung_in_which_all_are_lost_ends_the_race() -> None:
    search = SuccessiveHalving(TASK, FIELD, (Rung(36, 6), Rung(110, 3)), FULL)
    records = carried(search, diverged, PLENTY)
    assert len(records) == 6
    done = search.progress(records)
    assert len(done) == 1
    assert done[0].kept == frozenset()


def test_ties_are_broken_by_loss_and_then_by_the_order_of_candidates() -> None:
    search = SuccessiveHalving(TASK, FIELD[:4], (Rung(36, 4), Rung(110, 2)), FULL)
    first = search.propose([], [], 9, PLENTY)
    losses = [2.0, 1.0, 1.0, 1.0]
    records = [answer(spec, 0.5, loss) for spec, loss in zip(first, losses, strict=True)]
    assert [spec.base_lr for spec in search.propose(records, [], 9, PLENTY)] == [FIELD[1].base_lr, FIELD[2].base_lr]


def test_a_rung_that_is_closed_promotes_the_best_of_those_that_have_answered() -> None:
    """In whatever order they answered; the last rung is never closed, nor one from which nobody could go on."""
    open_ = SuccessiveHalving(TASK, FIELD, (Rung(36, 6), Rung(110, 3), Rung(330, 1)), FULL)
    first = open_.propose([], [], 9, PLENTY)
    assert (open_.closing([]), open_.through([])) == (0, 36 * 6)
    assert open_.closing([diverged(first[0])]) == 0
    some = [answer(first[place], final) for place, final in ((4, 0.2), (1, 0.9), (3, 0.5))]
    assert open_.closing(some) == 1
    race = msgspec.structs.replace(open_, closed=1)
    assert [record.id for record in race.answered(some)] == [first[place].id for place in (1, 3, 4)]
    second = race.propose(some, [], 9, PLENTY)
    assert [spec.base_lr for spec in second] == [first[place].base_lr for place in (1, 3, 4)]
    assert race.through(some) == 36 * 6 + 110 * 3
    two = [*some, answer(second[2], 0.1)]
    assert race.closing(two) == 2
    race = msgspec.structs.replace(race, closed=2)
    (last,) = race.propose(two, [], 9, PLENTY)
    assert (last.base_lr, last.stop_step) == (first[4].base_lr, FULL)
    assert race.closing(two) == 0
    assert race.propose([*two, answer(last)], [], 9, PLENTY) == []
    assert msgspec.structs.replace(race, closed=1).propose([], [], 9, PLENTY) == []


def test_weights_are_kept_of_the_last_rung_alone() -> None:
    search = SuccessiveHalving(TASK, FIELD, (Rung(36, 6), Rung(330, 2)), FULL, save_last=True)
    for record in carried(search, mixed, PLENTY):
        assert record.spec.save == (record.spec.total_steps == FULL)


def test_every_field_of_halving_moves_what_runs() -> None:
    base = {
        "task": TASK,
        "candidates": FIELD,
        "rungs": (Rung(36, 6, "cut"), Rung(330, 2)),
        "full_steps": FULL,
        "seed": 0,
        "save_last": False,
        "closed": 0,
    }
    other = {
        "task": "digits-mlp",
        "candidates": FIELD[::-1],
        "rungs": (Rung(36, 6), Rung(330, 2)),
        "full_steps": 331,
        "seed": 1,
        "save_last": True,
        "closed": 1,
    }
    asked = [record.spec for record in carried(SuccessiveHalving(**base), mixed, PLENTY)]  # type: ignore[arg-type]
    for name, value in other.items():
        moved = SuccessiveHalving(**(base | {name: value}))  # type: ignore[arg-type]
        assert [record.spec for record in carried(moved, mixed, PLENTY)] != asked, name


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"candidates": ()}, "at least one candidate"),
        ({"rungs": ()}, "at least one candidate and one rung"),
        ({"candidates": (FIELD[0], FIELD[0])}, "must differ"),
        ({"rungs": (Rung(36, 3), Rung(110, 4))}, "must not rise"),
        ({"rungs": (Rung(36, 21),)}, "must not rise"),
        ({"rungs": (Rung(110, 3), Rung(36, 2))}, "must rise"),
        ({"rungs": (Rung(331, 3),)}, "full_steps=330"),
    ],
    ids=str,
)
def test_a_bad_race_is_refused_when_it_is_made(change: dict[str, Any], match: str) -> None:
    good = {"task": TASK, "candidates": FIELD, "rungs": (Rung(36, 3),), "full_steps": FULL}
    with pytest.raises(BadInput, match=match):
        SuccessiveHalving(**(good | change))


def test_a_schedule_that_does_not_fit_a_rung_is_refused_unless_the_rung_is_cut() -> None:
    """A compressed rung lays the whole schedule over its own length, a cut one over the full horizon."""
    fixed = (Candidate("sgd:warmup(111)+rex", 0.1),)  # type: ignore[arg-type]
    SuccessiveHalving(TASK, fixed, (Rung(110, 1, "cut"), Rung(330, 1)), FULL)
    SuccessiveHalving(TASK, fixed, (Rung(111, 1), Rung(330, 1)), FULL)
    with pytest.raises(DoesNotFit, match="110 steps"):
        SuccessiveHalving(TASK, fixed, (Rung(110, 1), Rung(330, 1)), FULL)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None, "3", math.nan, 2**60])
@pytest.mark.parametrize("name", ["steps", "count"])
def test_a_bad_rung_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(BadInput, match=f"`{name}`"):
        Rung(**({"steps": 1, "count": 1} | {name: bad}))


def test_an_unknown_horizon_of_a_rung_names_the_near_miss() -> None:
    with pytest.raises(BadInput, match="did you mean 'compressed'"):
        Rung(3, 3, "compresed")  # type: ignore[arg-type]


# Rungs within a budget


def test_rungs_fit_their_budget_and_leave_nothing_that_could_be_run() -> None:
    """3000 random budgets, horizons and fields."""
    draw = random.Random(5)
    for _ in range(3000):
        full = draw.choice([1, 2, 5, 19, 20, 59, 60, 179, 180, 330, 1980, draw.randint(1, 5000)])
        steps, candidates = int(full * draw.uniform(0, 40)), draw.choice([0, 1, 2, 3, 8, 59, draw.randint(1, 200)])
        rungs = rungs_within(steps, full, candidates)
        case = (steps, full, candidates, rungs)
        if steps < full or candidates == 0:
            assert rungs == (), case
            continue
        lengths, counts = [rung.steps for rung in rungs], [rung.count for rung in rungs]
        assert lengths[-1] == full, case
        assert lengths == sorted(set(lengths)), case
        assert len(rungs) == 1 or lengths[0] >= 20, case
        left = steps - sum(rung.steps * rung.count for rung in rungs)
        assert left >= 0, case
        assert candidates >= counts[0], case
        assert counts == sorted(counts, reverse=True), case
        assert all(before >= 1.5 * after for before, after in pairwise(counts)), case
        for place, rung in enumerate(rungs):
            most = candidates if place == 0 else counts[place - 1]
            assert left < rung.steps or rung.count == most, case


def test_enough_for_everyone_in_full_is_no_race() -> None:
    assert rungs_within(1000, 100, 10) == (Rung(100, 10),)
    assert rungs_within(5000, 100, 1) == (Rung(100, 1),)
    assert len(rungs_within(999, 100, 10)) > 1


def test_rungs_at_both_sides_of_each_boundary() -> None:
    """A second rung pays from two full runs on, a third from three, and none is shorter than 20 updates."""
    assert [rung.steps for rung in rungs_within(2 * 330 - 1, 330, 59)] == [330]
    assert [rung.steps for rung in rungs_within(2 * 330, 330, 59)] == [110, 330]
    assert [rung.steps for rung in rungs_within(3 * 330 - 1, 330, 59)] == [110, 330]
    assert [rung.steps for rung in rungs_within(3 * 330, 330, 59)] == [36, 110, 330]
    assert [rung.steps for rung in rungs_within(9 * 179, 179, 59)] == [59, 179]
    assert [rung.steps for rung in rungs_within(9 * 180, 180, 59)] == [20, 60, 180]
    assert [rung.steps for rung in rungs_within(9 * 59, 59, 59)] == [59]


def test_the_portfolio_holds_every_combination_once_the_middle_rates_first() -> None:
    entered = portfolio()
    assert len(set(entered)) == len(entered) == 60
    assert DEFAULT in entered
    assert [each.base_lr for each in entered[:10]] == [1e-3, 3e-2] * 5
    for each in entered:
        each.method.control.multipliers(20)  # all compress to the shortest rung


def test_candidates_are_named_once_and_never_none() -> None:
    methods = [DEFAULT.method, DEFAULT.method]
    assert candidates_of(methods, [0.1, 0.2, 0.1]) == (Candidate("adamw:cosine", 0.1), Candidate("adamw:cosine", 0.2))
    for methods, base_lrs in (([], [0.1]), ([DEFAULT.method], [])):
        with pytest.raises(BadInput, match="at least one method and one base learning rate"):
            candidates_of(methods, base_lrs)
    with pytest.raises(BadInput, match="rates must be given for own:rex"):
        candidates_of([method("own:rex")])


def test_chance_of_the_fake_world_is_a_function_of_the_spec() -> None:
    spec = Plan((spec_of(TASK, DEFAULT, 100, 0),)).specs[0]
    assert chance(spec) == chance(RunSpec.from_json(spec.to_json()))


# Refinement


def refinement(rounds: int = 1, count: int = 4) -> Refinement:
    entered = tuple(Candidate("sgd:linear", 0.01 * 2**power) for power in range(count))
    return Refinement(TASK, entered, asked_of, FULL, rounds=rounds)


def test_a_refinement_tries_three_rates_of_what_the_best_asks_for() -> None:
    way = refinement(rounds=2)
    records: list[Record] = []
    answers: list[Record] = []
    for size in (4, 3, 3):
        specs = way.propose(records, [], 99, PLENTY)
        assert len(specs) == size
        assert all(spec.norms == ("l1", "l2") for spec in specs)
        if answers:
            best = min(answers, key=lambda record: record.rank_key)
            assert {str(spec.method) for spec in specs} == {str(asked_of(best.id).method)}
            assert [spec.base_lr for spec in specs] == [0.01, 0.005, 0.02]
        answers = [answer(spec) for spec in specs]
        records += answers
    assert way.propose(records, [], 99, PLENTY) == []
    assert len(way.answered(records)) == 10
    assert way.cost == 10 * FULL


def test_a_refinement_ends_where_no_run_can_be_refined() -> None:
    way = msgspec.structs.replace(refinement(), refine=lambda _: "too short.")
    records = [answer(spec) for spec in way.propose([], [], 99, PLENTY)]
    assert way.propose(records, [], 99, PLENTY) == []
    assert way.progress(records)[0].refused == ("too short.",)
    stages = stages_of(way, records, FULL)
    assert [stage.kept for stage in stages] == [frozenset()]  # nobody went on
    assert "No schedule was refined: too short." in search_reasons(way, stages, PLENTY)
    assert refinement().propose([diverged(record.spec) for record in records], [], 99, PLENTY) == []


def test_a_refinement_begins_with_schedules() -> None:
    with pytest.raises(BadInput, match="methods of a schedule, got sgd:plateau"):
        Refinement(TASK, (Candidate("sgd:plateau", 0.1),), asked_of, FULL)


def test_a_refinement_within_a_budget_keeps_enough_for_what_comes() -> None:
    entered = [Candidate(f"{each}:linear", rate) for rate in (0.1, 0.01, 0.001) for each in ("sgd", "adamw")]
    way = refinement_within(TASK, entered, asked_of, Budget(10 * FULL, FULL), FULL)
    assert (len(way.candidates), way.cost) == (4, 10 * FULL)
    with pytest.raises(OverBudget, match="at least 8 full runs"):
        refinement_within(TASK, entered, asked_of, Budget(7 * FULL, FULL), FULL)
