"""AutoLRS: the contract of searches; the rates it finds where the best are known; a run in stages on a real task."""

import hashlib
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from command_kit import caller
from contracts.search import TRUTHS, SearchContract, answer, carried, diverged, failed
from lrcontrol import api
from lrcontrol.analysis.course import Course, joined
from lrcontrol.errors import BadInput, OverBudget
from lrcontrol.report.study import course_table, study_page
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.search.autolrs import AutoLRS, forecast, forecast_of, next_rate, stage_lengths, tries_in
from lrcontrol.selection.stages import course_of, search_reasons, stages_of
from lrcontrol.selection.telling import best_of, caution_of
from lrcontrol.training import loop
from lrcontrol.training.tasks.catalogue import TASKS

TASK, FULL, LOW, HIGH = "digits-mlp", 1600, 1e-4, 1e-1
LOSS = Objective("loss", "minimize")
TWO = Budget(2 * FULL, FULL)
PLENTY = Budget(10**6, FULL)


def by_chance(run: str, steps: int) -> float:
    """A stand-in for what losses foretell: it depends on the run and the length alone."""
    return int(hashlib.sha256(f"{run} {steps}".encode()).hexdigest()[:8], 16) / 16**8


def made(**change: Any) -> AutoLRS:
    given: dict[str, Any] = {
        "task": TASK,
        "method": "adamw:constant",
        "low": LOW,
        "high": HIGH,
        "forecast": by_chance,
        "full_steps": FULL,
    }
    return AutoLRS(**(given | change))


SEARCHES = {
    "long": (made(), PLENTY),
    "short": (made(full_steps=40, seed=3), Budget(10**6, 40)),
    "shortest": (made(full_steps=10), Budget(10**6, 10)),
    "narrow": (made(low=0.001, high=0.002, full_steps=200), Budget(10**6, 200)),
}


@pytest.mark.parametrize(("search", "budget"), SEARCHES.values(), ids=SEARCHES)
class TestAutoLRS(SearchContract):
    """It keeps the contract of searches."""


# Stages


def test_stages_fill_the_run_and_double_up_to_a_quarter() -> None:
    assert stage_lengths(1600) == [100, 200, 400, 400, 400, 100]
    for full in range(10, 5000):
        lengths = stage_lengths(full)
        first, last = lengths[0], lengths[-1]
        assert sum(lengths) == full
        assert min(lengths) == min(first, last) >= 10 or full < 20
        assert max(lengths) < max(full // 4, first) + first
        assert all(after <= 2 * before for before, after in pairwise(lengths[:-1]))


@pytest.mark.parametrize(
    ("length", "tries"), [(10, (2, 5)), (14, (2, 7)), (15, (3, 5)), (49, (9, 5)), (50, (10, 5)), (409, (10, 40))]
)
def test_trials_take_no_more_updates_than_the_stage(length: int, tries: tuple[int, int]) -> None:
    assert tries_in(length) == tries
    assert math.prod(tries) <= length


def test_a_search_costs_two_runs_and_is_not_begun_for_less() -> None:
    search = made()
    assert search.cost == 2 * FULL
    for steps, begins in ((2 * FULL - 1, False), (2 * FULL, True)):
        assert bool(search.propose([], [], 9, Budget(steps, FULL))) == begins
    records = carried(search, TRUTHS["all finish"], TWO)
    assert TWO.spent(records) == 2 * FULL
    assert records[-1].spec.stop_step == FULL


def test_all_runs_of_a_stage_go_on_from_one_checkpoint_and_the_last_run_is_saved() -> None:
    search = made()
    records = carried(search, TRUTHS["all finish"], TWO)
    stages = search.progress(records)
    assert [(each.begin, each.end) for each in stages] == [
        (0, 100),
        (100, 300),
        (300, 700),
        (700, 1100),
        (1100, 1500),
        (1500, 1600),
    ]
    before = None
    for stage in stages:
        assert stage.trained is not None
        assert len(stage.tried) == 10
        assert len({each.base_lr for each in stage.tried}) == 10
        starts = {None if record.spec.start is None else record.spec.start.run for record in stage.records}
        assert starts == {None if before is None else before.id}
        assert stage.tried[0].base_lr == (0.003162 if before is None else before.spec.base_lr)
        assert {each.record.spec.updates for each in stage.tried} == {(stage.end - stage.begin) // 10}
        best = min(stage.tried, key=lambda each: each.forecast)
        assert stage.trained.spec.base_lr == best.base_lr
        before = stage.trained
    saved = [record.spec.stop_step for record in records if record.spec.save]
    kept = [record.spec.stop_step for record in records if record.spec.checkpoint]
    assert (saved, kept) == ([FULL], [100, 300, 700, 1100, 1500])


def test_checkpoints_of_the_chain_are_kept_until_all_is_done_and_no_others() -> None:
    search = made()
    records = carried(search, TRUTHS["all finish"], TWO)
    for place in range(len(records)):
        known = records[:place]
        asked = search.progress(known)[-1].asked
        assert asked is not None
        trained = {record.id for record in known if record.spec.checkpoint}
        assert search.keeps(known) == trained | ({asked.id} if asked.checkpoint else set())
        assert asked.start is None or asked.start.run in trained
    assert search.keeps(records) == frozenset()


def test_every_field_moves_what_runs() -> None:
    other = {
        "task": "digits-cnn",
        "method": "sgd:constant",
        "low": 2e-4,
        "high": 0.2,
        "forecast": lambda run, steps: -by_chance(run, steps),
        "full_steps": 1601,
        "seed": 1,
    }
    asked = [record.spec for record in carried(made(), TRUTHS["all finish"], PLENTY)]
    for name, value in other.items():
        moved = carried(made(**{name: value}), TRUTHS["all finish"], PLENTY)
        assert [record.spec for record in moved] != asked, name


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"low": 0}, "low"),
        ({"low": math.nan}, "low"),
        ({"high": LOW}, "high"),
        ({"high": 1.99 * LOW}, "high"),
        ({"high": math.inf}, "high"),
        ({"full_steps": 9}, "full_steps"),
        ({"full_steps": 10.5}, "full_steps"),
        ({"method": "adamw:cosine"}, "no place for a schedule, got adamw:cosine"),
        ({"method": "adamw:constant(0.5)"}, "no place for a schedule"),
        ({"method": "adamw:plateau"}, "no place for a schedule"),
        ({"method": "adamw:constant, weight_decay=linear"}, "no place for a schedule"),
        ({"method": "prodigy:constant"}, "do not find it themselves, got prodigy"),
    ],
    ids=str,
)
def test_a_bad_search_is_refused_when_it_is_made(bad: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        made(**bad)


# Rates that are lost


def test_a_rate_that_diverges_is_never_chosen_however_good_it_looked() -> None:
    def truth(spec: RunSpec) -> Record:
        return diverged(spec) if spec.base_lr > 0.003 else answer(spec)

    search = made(forecast=lambda run, steps: -1.0 if run not in good else by_chance(run, steps))
    good: set[str] = set()

    def noted(spec: RunSpec) -> Record:
        record = truth(spec)
        good.update({record.id} if record.usable else ())
        return record

    records = carried(search, noted, TWO, watched=False)
    stages = search.progress(records)
    assert len(stages) == 6
    assert all(each.trained is not None and each.trained.spec.base_lr <= 0.003 for each in stages)
    lost = [each for stage in stages for each in stage.tried if each.base_lr > 0.003]
    assert lost
    assert all(each.forecast == math.inf for each in lost)


def lost_in_full(search: AutoLRS, stage: int, count: int) -> Callable[[RunSpec], Record]:
    """A world in which the first `count` rates that are chosen for a stage are lost at once."""
    lost: set[str] = set()

    def truth(spec: RunSpec) -> Record:
        end = sum(stage_lengths(search.full_steps)[: stage + 1])
        if spec.stop_step == end and (spec.id in lost or len(lost) < count):
            lost.add(spec.id)
            return diverged(spec)
        return answer(spec)

    return truth


def test_where_the_chosen_rate_is_lost_the_next_best_is_trained_if_the_budget_pays() -> None:
    search = made()
    for steps, done in ((2 * FULL + 1, False), (2 * FULL + 2, True)):
        budget = Budget(steps, FULL)
        records = carried(search, lost_in_full(search, 2, 2), budget)
        stages = search.progress(records)
        assert budget.spent(records) <= steps
        assert [record.spec.base_lr for record in stages[2].lost] == [
            each.base_lr for each in sorted(stages[2].tried, key=lambda each: each.forecast)[: len(stages[2].lost)]
        ]
        assert (len(stages) == 6) == done
        assert len(stages[2].lost) == 2


def test_a_stage_without_a_rate_that_works_ends_the_search_and_says_so() -> None:
    search = made()
    for world, why in ((lost_in_full(search, 1, 10), "no rate is left to go on with in stage 2: 10 diverged"),):
        records = carried(search, world, PLENTY)
        assert search.propose(records, [], 9, PLENTY) == []
        stages = stages_of(search, records, FULL)
        assert why in caution_of(search, stages, PLENTY)
        best = best_of(stages)
        assert best is not None
        assert best.spec.stop_step == 100
    records = carried(search, lost_in_full(search, 1, 9), TWO)
    told = caution_of(search, stages_of(search, records, FULL), TWO)
    assert "the budget pays for no other rate in stage 2: 1 diverged" in told
    for world in (diverged, failed):
        records = carried(search, world, PLENTY)
        assert len(records) == 10
        assert caution_of(search, stages_of(search, records, FULL), PLENTY).startswith("No run finished: 10 ")


# What is forecast, and which rate is tried next


@pytest.mark.parametrize("constant", [2.0, 5.0, 15.0])
@pytest.mark.parametrize("height", [3.0, -0.5])
def test_a_true_exponential_is_foretold(constant: float, height: float) -> None:
    """Up to the grid of time constants, also where the loss rises to a plateau."""
    losses = 0.7 + height * np.exp(-np.arange(40) / constant)
    truth = losses[-1] - 0.7
    assert forecast(losses, 10_000) == pytest.approx(truth, rel=0.05, abs=1e-3 * abs(height))


def test_a_trend_that_goes_on_is_not_followed_far() -> None:
    """A straight fall is foretold to go on by less than it fell while it was seen, however far the horizon is."""
    falling = 2 - 0.01 * np.arange(50)
    seen = falling[0] - falling[-1]
    assert 0 < forecast(falling, 500) < seen
    assert forecast(falling, 500) == pytest.approx(forecast(falling, 10**6))
    assert forecast(falling[::-1], 500) == pytest.approx(-forecast(falling, 500))
    assert forecast(np.ones(7), 70) == 0
    assert forecast([3.0], 10) == 0


def test_a_forecast_depends_on_differences_of_losses_alone() -> None:
    losses = np.random.default_rng(5).normal(size=30).cumsum()
    assert forecast(losses + 100, 300) == pytest.approx(forecast(losses, 300))
    assert forecast(3 * losses, 300) == pytest.approx(3 * forecast(losses, 300))


def twin(low: float, high: float, tried: list[tuple[float, float]]) -> dict[float, float]:
    """The lower confidence bound of each rate, from the textbook formulas with an inverse, one rate at a time."""
    found = sorted(value for _, value in tried if math.isfinite(value))
    best, median = found[0], float(np.median(found))
    y = [min((value - best) / (2 * (median - best)), 1.0) for _, value in tried]

    def place(rate: float) -> float:
        return math.log(rate / low) / math.log(high / low)

    def k(left: float, right: float) -> float:
        r = abs(left - right) / 0.15
        return 0.25 * (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)

    x = [place(rate) for rate, _ in tried]
    inverse = np.linalg.inv(
        np.array([[k(left, right) + (0.0025 if left == right else 0) for right in x] for left in x])
    )
    centre = sum(y) / len(y)
    bounds = {}
    for rate in np.geomspace(low, high, 64):
        rate = min(max(float(f"{rate:.4g}"), low), high)
        if rate not in [each for each, _ in tried]:
            near = np.array([k(place(rate), other) for other in x])
            mean = centre + near @ inverse @ (np.array(y) - centre)
            bounds[rate] = float(mean) - 2 * math.sqrt(max(0.25 - near @ inverse @ near, 0))
    return bounds


def test_the_next_rate_is_that_of_a_slow_twin() -> None:
    draw = np.random.default_rng(8)
    for _ in range(30):
        count = int(draw.integers(3, 11))
        rates = [float(f"{rate:.4g}") for rate in np.exp(draw.uniform(np.log(LOW), np.log(HIGH), count))]
        values = draw.normal(size=count)
        values[draw.random(count) < 0.2] = math.inf
        if np.isfinite(values).sum() < 3:
            continue
        tried = list(zip(rates, values.tolist(), strict=True))
        bounds = twin(LOW, HIGH, tried)
        found = next_rate(LOW, HIGH, tuple(tried))
        assert bounds[found] == pytest.approx(min(bounds.values()), abs=1e-6)


def tried_rates(truth: Callable[[float], float], count: int = 10) -> list[tuple[float, float]]:
    tried = [(math.sqrt(LOW * HIGH), truth(math.sqrt(LOW * HIGH)))]
    while len(tried) < count:
        rate = next_rate(LOW, HIGH, tuple(tried))
        tried.append((rate, truth(rate)))
    return tried


@pytest.mark.parametrize("best", [1e-4, 3e-4, 1e-3, 5e-3, 2e-2, 1e-1])
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("edge", [math.inf, 2.5])
def test_ten_rates_find_the_best_of_a_bowl(best: float, noise: float, edge: float) -> None:
    """Within a factor of 1.5 over three decades, where rates beyond 2.5 times it diverge or not.

    Under noise it is as near as the noise allows: three standard deviations of it in the loss.
    """
    chance = np.random.default_rng(3)

    def truth(rate: float) -> float:
        return math.log(rate / best) ** 2 * (100 if rate > best else 1) / 10

    tried = tried_rates(lambda rate: truth(rate) + noise * chance.normal() if rate <= edge * best else math.inf)
    found, _ = min(tried, key=lambda each: each[1])
    assert truth(found) <= max(math.log(1.5) ** 2 / 10, 3 * noise)
    assert len({rate for rate, _ in tried}) == 10
    assert all(LOW <= rate <= HIGH for rate, _ in tried)


def test_where_all_rates_are_alike_or_lost_they_are_laid_out_over_the_range() -> None:
    for tried in (tried_rates(lambda _: 0.3), tried_rates(lambda _: math.inf)):
        places = np.sort([math.log(rate / LOW) / math.log(HIGH / LOW) for rate, _ in tried])
        assert np.diff(places).max() < 0.2
        assert places[0] < 0.1
        assert places[-1] > 0.9


# A world whose best rates are known


class Quadratic:
    """Gradient descent with noise on a quadratic: the expected loss has a closed form, and each stage a best rate.

    Source:
        Schaul, Zhang, LeCun 2013, ICML, arXiv:1206.1106, the noisy quadratic.
    """

    curvature, noise = 30.0, 0.3

    def __init__(self) -> None:
        self.ends: dict[str, float] = {}
        self.records: dict[str, Record] = {}

    def losses(self, variance: float, rate: float, steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """After each of `steps` updates, and before the first."""
        shrink, floor = (1 - rate * self.curvature) ** 2, rate**2 * self.noise
        found = [variance]
        for _ in range(steps):
            found.append(min(shrink * found[-1] + floor, 1e30))
        return np.array(found) * self.curvature / 2

    def __call__(self, spec: RunSpec) -> Record:
        variance = 1.0 if spec.start is None else self.ends[spec.start.run]
        losses = self.losses(variance, spec.base_lr, spec.updates)
        if not np.isfinite(losses).all() or losses[-1] > 1e6:
            return diverged(spec, objective=LOSS)
        self.ends[spec.id] = 2 * losses[-1] / self.curvature
        columns = {"loss": losses[:-1].astype(np.float32)}
        record = answer(spec, float(losses[-1]), float(losses[-1]), LOSS)
        record = msgspec.structs.replace(record, columns=columns)
        self.records[spec.id] = record
        return record

    def forecast(self, run: str, steps: int) -> float:
        record = self.records[run]
        assert record.end is not None
        return record.end.values["loss"] - forecast(record.columns["loss"], steps)

    def exact(self, run: str, steps: int) -> float:
        """The loss that the rate of a run comes to over the whole stage."""
        spec = self.records[run].spec
        variance = 1.0 if spec.start is None else self.ends[spec.start.run]
        return float(self.losses(variance, spec.base_lr, steps)[-1])


@pytest.mark.parametrize(("foretold", "share"), [("exact", 0.95), ("forecast", 0.45)])
def test_the_best_rate_of_each_stage_of_a_noisy_quadratic_is_found(foretold: str, share: float) -> None:
    """Rates fall from stage to stage, and the run ends below what any one rate comes to in as many updates.

    In each stage the log of the loss falls by at least this share of what it would at the best of 301 rates from where
    the stage began: nearly by all of it where forecasts are exact, by half where a tenth of the stage is what they
    are made from.
    """
    world, low = Quadratic(), 1e-5
    search = made(low=low, forecast=getattr(world, foretold))
    variance, chosen = 1.0, []
    rates = np.geomspace(low, HIGH, 301)
    for stage in search.progress(carried(search, world, TWO, watched=False)):
        assert stage.trained is not None
        best = min(world.losses(variance, rate, stage.end - stage.begin)[-1] for rate in rates)
        began, reached = variance * world.curvature / 2, world.ends[stage.trained.id] * world.curvature / 2
        assert math.log(began / reached) >= share * math.log(began / best)
        chosen.append(stage.trained.spec.base_lr)
        variance = world.ends[stage.trained.id]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[-1] < chosen[0] / 10
    assert variance * world.curvature / 2 < min(world.losses(1.0, rate, FULL)[-1] for rate in rates) / 2


# A course told as one run


def test_a_course_is_the_chain_of_what_was_trained_as_one_schedule() -> None:
    world = Quadratic()
    search = made(forecast=world.forecast)
    records = carried(search, world, TWO)
    course = course_of(search, records, world.records.__getitem__)
    assert isinstance(course, Course)
    spec = course.whole.spec
    rates = spec.base_lr * spec.method.control.multipliers(FULL)  # type: ignore[union-attr]
    for leg in course.legs:
        assert rates[leg.begin : leg.end] == pytest.approx(leg.base_lr, rel=1e-5)
        assert leg.forecast == min(value for _, value in leg.tried)
        assert (leg.edge is None) == (min(leg.tried)[0] < leg.base_lr < max(leg.tried)[0])
    assert course.whole.column("loss").shape == (FULL,)
    assert [each.step for each in course.whole.evals] == [100, 300, 700, 1100, 1500, 1600]
    assert (course.whole.cost.steps, course.whole.final) == (FULL, course.legs[-1].record.final)
    told = search_reasons(search, stages_of(search, records, FULL), TWO, course)
    assert told[0].startswith("It was trained in full in 6 stages at ")
    assert told[1] == f"As one schedule this is {spec.method} at {spec.base_lr:g}."
    assert told[-1] == f"Spent {TWO.told(TWO.spent(records))}, everything included."
    assert json.loads(json.dumps(course.told))[0]["tried"][0][0] == 0.003162


def test_a_course_that_was_ended_early_is_told_as_far_as_it_came() -> None:
    world = Quadratic()
    search = made(forecast=world.forecast)
    records = carried(search, world, TWO)
    assert course_of(search, records[:10], world.records.__getitem__) is None
    some = records[:25]
    course = course_of(search, some, world.records.__getitem__)
    assert course is not None
    assert [leg.end for leg in course.legs] == [100, 300]
    stages = stages_of(search, some, FULL)
    best = best_of(stages)
    assert best is not None
    assert best.id == course.legs[-1].record.id
    assert "what is told is of 300 updates" in caution_of(search, stages, TWO)
    assert "over 300 of 1600 steps in 2 stages" in search_reasons(search, stages, TWO, course)[0]


def test_runs_at_one_rate_are_joined_to_a_constant() -> None:
    spec = made(full_steps=100).propose([], [], 1, PLENTY)[0]
    assert str(joined([answer(spec)]).spec.method) == "adamw:constant"


# On a real task


def kept(folder: Path) -> dict[str, Record]:
    with Store(folder / "runs.db", create=False) as store:
        return {record.id: record for record in store.records()}


def test_a_real_run_in_stages_is_the_run_of_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained anew with the one schedule that is told, it comes to the same losses; its weights are there."""
    monkeypatch.setitem(TASKS, TASK, msgspec.structs.replace(TASKS[TASK], full_steps=320))
    found = api.search(TASK, "autolrs", budget="2runs", out=tmp_path / "a", executor="serial")
    course, chosen = found.study.course, found.study.chosen
    assert course is not None
    assert chosen is not None
    assert found.study.spent <= 2 * 320
    assert chosen.spec.stop_step == 320
    assert chosen.weights is not None
    files = {file.name for file in (tmp_path / "a" / "weights").iterdir()}
    assert files == {chosen.weights.file}
    again = loop.train(msgspec.structs.replace(course.whole.spec, save=False))
    assert again.final == pytest.approx(chosen.final, rel=1e-3)
    assert again.column("loss") == pytest.approx(course.whole.column("loss"), rel=1e-2, abs=1e-3)
    assert forecast_of(tmp_path / "a" / "runs.db", chosen.id, chosen.spec.updates) == pytest.approx(
        chosen.end.values["loss"],  # type: ignore[union-attr]
        rel=0.05,
    )
    table = course_table(course)
    assert [row[3] for row in table.rows] == [f"{leg.base_lr:g}" for leg in course.legs]
    headings = [section.heading for section in study_page(found.study).sections]
    assert "Stage by stage" in headings
    assert not any("equal cost" in heading for heading in headings)
    page = found.report(tmp_path / "page.html").read_text()
    assert "Stage by stage" in page


@pytest.mark.parametrize("runs", [1, 5, 6, 17, 40])
def test_a_search_that_was_interrupted_goes_on_and_repeats_no_run(short: str, tmp_path: Path, runs: int) -> None:
    """Wherever it was, also between stages: the same runs, each made once, to the same bits."""
    whole = api.search(short, "autolrs", budget="2runs", out=tmp_path / "a", executor="serial")
    ended: list[str] = []

    def seen(record: Record) -> None:
        ended.append(record.id)
        if len(ended) == runs:
            raise KeyboardInterrupt

    given: dict[str, Any] = {"budget": "2runs", "out": tmp_path / "b", "executor": "serial", "seen": seen}
    if runs <= len(kept(tmp_path / "a")):
        with pytest.raises(KeyboardInterrupt):
            api.search(short, "autolrs", **given)
        assert len(kept(tmp_path / "b")) == runs
    again = api.search(short, "autolrs", **given)
    left, right = kept(tmp_path / "a"), kept(tmp_path / "b")
    assert list(left) == list(right) == ended
    assert all(left[run].evals == right[run].evals for run in left)
    assert again.study.reasons == whole.study.reasons


def test_where_checkpoints_are_lost_they_are_made_again_and_the_search_ends(short: str, tmp_path: Path) -> None:
    """In the last stage, whose beginning is then made again from the very first update."""
    whole = api.search(short, "autolrs", budget="2runs", out=tmp_path / "a", executor="serial")
    records = list(kept(tmp_path / "a").values())
    begun = next(place for place, record in enumerate(records) if record.spec.first_step == 40)
    made_again: list[str] = []

    def seen(record: Record) -> None:
        made_again.append(record.id)
        assert len(made_again) <= len(records) + 3
        if len(made_again) == begun + 1:
            raise KeyboardInterrupt

    given: dict[str, Any] = {"budget": "2runs", "out": tmp_path / "b", "executor": "serial", "seen": seen}
    with pytest.raises(KeyboardInterrupt):
        api.search(short, "autolrs", **given)
    for file in (tmp_path / "b" / "weights").iterdir():
        file.unlink()
    again = api.search(short, "autolrs", **given)
    trained = [record.id for record in records if record.spec.checkpoint]
    assert made_again[begun + 1 :] == [*trained, *(record.id for record in records[begun + 1 :])]
    assert again.study.reasons == whole.study.reasons
    assert list(kept(tmp_path / "b")) == list(kept(tmp_path / "a"))


def test_the_command_tells_people_and_machines_of_every_stage(
    short: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = caller(capfd, "search", short, "--strategy", "autolrs", "--executor", "serial", "--out", str(tmp_path))
    given = ("--method", "sgd", "--lr", 0.001, "--lr", 0.1, "--budget", "2runs")
    text, told = run(*given), run(*given, "--json")
    assert (text.status, told.status, told.err) == (0, 0, "")
    found = json.loads(told.out)
    assert [each["end"] for each in found["stages"]] == [10, 25, 40, 60]
    assert "stage by stage" in text.out
    heading, *_, whole = (
        text.out.splitlines()[0],
        *(line for line in text.out.splitlines() if "As one schedule" in line),
    )
    assert len(heading) < 80
    assert found["method"] in whole
    assert all(f"{each['base_lr']:g}" in text.out for each in found["stages"])
    assert all(0.001 <= rate <= 0.1 for each in found["stages"] for rate, _ in each["tried"])
    assert (found["run"], found["final"]) == (found["stages"][-1]["run"], found["stages"][-1]["final"])
    assert found["base_lr"] == max(each["base_lr"] for each in found["stages"])
    assert found["spent_steps"] <= found["budget_steps"] == 120
    refused = run("--method", "sgd:cosine")
    assert refused.status == 2
    assert refused.err.startswith("lrcontrol: a rate that is chosen anew in each stage leaves no place for a schedule")


def test_methods_rates_and_seed_are_those_that_are_asked_for(short: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"methods": ["sgd(momentum=0)"], "base_lrs": [0.3, 0.001, 0.03], "seed": 7}
    found = api.search(short, "autolrs", budget="20runs", out=tmp_path, executor="serial", **given)
    records = [record for stage in found.study.stages for record in stage.records]
    assert {str(record.spec.method) for record in records} == {"sgd(momentum=0):constant"}
    assert all(0.001 <= record.spec.base_lr <= 0.3 and record.spec.seed == 7 for record in records)
    assert found.study.spent <= 120


@pytest.mark.parametrize(
    ("bad", "kind", "match"),
    [
        ({"methods": ["adamw", "sgd"]}, BadInput, "one optimizer, got 2 methods"),
        ({"methods": ["adamw:cosine"]}, BadInput, "no place for a schedule, got adamw:cosine; name the optimizer"),
        ({"methods": ["prodigy"]}, BadInput, "do not find it themselves, got prodigy"),
        ({"methods": ["dog"], "base_lrs": [1, 2]}, BadInput, "do not find it themselves, got dog"),
        ({"methods": ["adam"]}, BadInput, "did you mean 'adamw'"),
        (
            {"methods": ["adamw cosine"]},
            BadInput,
            "^an optimizer cannot be read: .* 6 of 'adamw cosine'; write it as in",
        ),
        ({"base_lrs": [0.1]}, BadInput, r"the least and the largest rate of a range, got \[0.1\]"),
        (
            {"base_lrs": [0.1, 0.15]},
            BadInput,
            "largest of `base_lrs` must be at least 2 times the least, got 0.1 to 0.15",
        ),
        ({"executor": "batched"}, BadInput, "--strategy autolrs with --executor batched"),
        ({"budget": "1.9runs"}, OverBudget, "need 120 steps, got 114; give '2runs'"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    short: str, tmp_path: Path, bad: dict[str, Any], kind: type[Exception], match: str
) -> None:
    given: dict[str, Any] = {"budget": "2runs", "out": tmp_path / "out", "executor": "serial"} | bad
    with pytest.raises(kind, match=match):
        api.search(short, "autolrs", **given)
    assert not (tmp_path / "out" / "runs.db").exists()
