"""Selection: in worlds whose truth is known the race finds it, keeps its promises, and tells why from the records."""

import math
import re
from collections.abc import Sequence

import msgspec
import pytest

from contracts.search import TRUTHS, Truth, answer, carried, chance, diverged, failed, mixed
from lrcontrol.analysis.compare import accuracy_error
from lrcontrol.errors import BadInput, OverBudget, RecordError
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.method import method
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.search.search import Candidate
from lrcontrol.selection.choice import Choice, choose
from lrcontrol.selection.portfolio import BASE_LRS, DEFAULT, UNTUNED, candidates_of, portfolio
from lrcontrol.selection.race import Race, plan_race
from lrcontrol.selection.telling import on_test
from lrcontrol.training.tasks.catalogue import TASKS

ACCURACY = TASKS["digits-cnn"]
ERROR = TASKS["diabetes-mlp"]
BUDGETS = ["1run", "1.5runs", "2runs", "2.99runs", "3runs", "20runs"]


def of(task: Task, truth: Truth) -> Truth:
    """The same world, told in the metric of `task`."""

    def told(spec: RunSpec) -> Record:
        record = truth(spec)
        evals = tuple(
            msgspec.structs.replace(
                each, values={"loss": each.values["loss"], task.objective.metric: abs(each.values["accuracy"])}
            )
            for each in record.evals
        )
        return msgspec.structs.replace(record, objective=task.objective, evals=evals)

    return told


def selected(
    truth: Truth,
    budget: str,
    task: Task = ACCURACY,
    candidates: Sequence[Candidate] | None = None,
    seed: int = 0,
    untuned: Sequence[Candidate] = (),
) -> tuple[Choice, list[Record], Race, Budget]:
    """Race, and choose."""
    allowed = Budget.parse(budget, task.full_steps)
    race = plan_race(task, allowed, portfolio() if candidates is None else candidates, DEFAULT, seed, untuned)
    records = carried(race, of(task, truth), allowed, slots=8, seed=seed, watched=False)
    return choose(race, records, task, allowed), records, race, allowed


def candidate_of(record: Record) -> Candidate:
    return Candidate(record.spec.method, record.spec.base_lr)


def world(best: Candidate, noise: float, salt: str = "") -> Truth:
    """One candidate is best; accuracy falls with each decade from its rate and for other methods, and is noisy."""

    def truth(spec: RunSpec) -> Record:
        decades = abs(math.log10(spec.base_lr / best.base_lr))
        final = 0.95 - 0.1 * decades - (0.03 if spec.method != best.method else 0) + noise * (chance(spec, salt) - 0.5)
        return answer(spec, final * min(1, 0.7 + 0.3 * spec.total_steps / ACCURACY.full_steps), 1 - final)

    return truth


@pytest.mark.parametrize("best", portfolio()[::11], ids=str)
def test_the_race_finds_the_known_best(best: Candidate) -> None:
    """With noise of a third of what sets methods apart; for methods of every kind and rate."""
    for seed in range(2):
        choice, *_ = selected(world(best, 0.01, salt=str(seed)), "20runs", seed=seed)
        assert (choice.record.spec.method, choice.record.spec.base_lr) == (best.method, best.base_lr)


def test_more_budget_finds_what_less_cannot() -> None:
    """Two full runs reach the default and the first candidate alone."""
    best = Candidate("sgd:step", 1.0)  # type: ignore[arg-type]
    assert selected(world(best, 0), "2runs")[0].record.spec.method != best.method
    assert selected(world(best, 0), "20runs")[0].record.spec.method == best.method


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("task", [ACCURACY, ERROR], ids=lambda task: task.name)
def test_the_choice_is_never_worse_on_validation_than_the_default_or_any_full_run(budget: str, task: Task) -> None:
    """In 6 worlds of runs that finish, tie, diverge and fail."""
    for seed in range(6):
        try:
            choice, records, _, allowed = selected(mixed, budget, task, seed=seed)
        except RecordError:
            continue  # not one full run worked
        assert choice.record.usable
        assert choice.record.rank_key <= choice.default.rank_key
        full = [record for record in records if record.spec.total_steps == task.full_steps]
        assert choice.record.rank_key == min(record.rank_key for record in full)
        assert choice.spent == allowed.spent(records) <= allowed.steps
        assert choice.default.spec.method == DEFAULT.method


def test_one_run_and_a_half_buy_the_default_alone_and_two_one_more() -> None:
    for budget in ("1run", "1.5runs", "1.99runs"):
        choice, records, race, _ = selected(mixed, budget, seed=1)
        assert race.halving is None
        assert [record.id for record in records] == [race.default.id] == [choice.record.id]
        assert choice.record.spec.save
    choice, records, *_ = selected(TRUTHS["all finish"], "2runs")
    assert [record.spec.total_steps for record in records] == [ACCURACY.full_steps] * 2
    assert all(record.spec.save for record in records)


@pytest.mark.parametrize(
    ("budget", "count"), [("1run", 0), ("1.99runs", 0), ("2runs", 1), ("3runs", 2), ("20runs", 2)]
)
def test_what_needs_no_rate_is_run_in_full_first_as_far_as_the_budget_reaches(budget: str, count: int) -> None:
    _, records, race, allowed = selected(TRUTHS["all finish"], budget, untuned=UNTUNED)
    assert race.default == race.insured[0]
    assert [Candidate(spec.method, spec.base_lr) for spec in race.insured] == [DEFAULT, *UNTUNED][: count + 1]
    assert race.propose([], [], 8, allowed)[: count + 1] == list(race.insured)
    assert all(spec.is_full(ACCURACY.full_steps) and spec.save for spec in race.insured)
    assert race.cost <= allowed.steps
    assert (race.halving is None) == (budget != "20runs")
    assert {record.id for record in records} >= {spec.id for spec in race.insured}


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_choice_is_never_worse_on_validation_than_what_needs_no_rate(budget: str) -> None:
    for seed in range(6):
        try:
            choice, records, race, allowed = selected(mixed, budget, seed=seed, untuned=UNTUNED)
        except RecordError:
            continue
        full = [record for record in records if record.spec.total_steps == ACCURACY.full_steps]
        assert choice.record.rank_key == min(record.rank_key for record in full)
        assert {record.id for record in choice.stages[-1].records} == {record.id for record in full}
        assert choice.spent == allowed.spent(records) <= allowed.steps
        ran = [record for record in full if record.id in {spec.id for spec in race.untuned}]
        failed = [record for record in ran if record.outcome is Outcome.FAILED]
        assert sum("cannot train this task" in reason for reason in choice.reasons) == len(failed)
        told = [reason for reason in choice.reasons if "run in full as the plain default was" in reason]
        assert len(told) == (len(ran) > len(failed))
        assert all((str(record.spec.method) in told[0]) == (record not in failed) for record in ran if told)
        check_reasons(choice, records, allowed.told())


def test_a_candidate_that_is_run_in_full_anyway_is_not_raced() -> None:
    _, records, race, _ = selected(answer, "10runs", candidates=[*UNTUNED, *portfolio()[:8]], untuned=UNTUNED)
    assert race.halving is not None
    assert not set(race.halving.candidates) & set(UNTUNED)
    assert sum(record.spec.method == UNTUNED[0].method for record in records) == 1


def test_a_race_that_was_kept_before_there_were_any_is_read() -> None:
    race = plan_race(ACCURACY, Budget(20 * 330, 330), portfolio(), DEFAULT, 0)
    kept = msgspec.json.decode(msgspec.json.encode(race))
    del kept["untuned"]
    assert msgspec.convert(kept, Race) == race


@pytest.mark.parametrize("steps", [1, 329])
def test_less_than_one_full_run_is_refused(steps: int) -> None:
    with pytest.raises(OverBudget, match=f"330 steps.*got {steps} steps.*'1run'"):
        plan_race(ACCURACY, Budget(steps, 330), portfolio(), DEFAULT, 0)


def test_a_large_budget_runs_everything_in_full_once() -> None:
    _, records, *_ = selected(TRUTHS["all finish"], "100runs")
    assert len(records) == 60
    assert {record.spec.total_steps for record in records} == {ACCURACY.full_steps}


@pytest.mark.parametrize("candidates", [(), (DEFAULT,), (DEFAULT, DEFAULT)], ids=len)
def test_nothing_to_choose_from_but_the_default_is_the_default(candidates: tuple[Candidate, ...]) -> None:
    choice, records, *_ = selected(answer, "5runs", candidates=candidates)
    assert len(records) == 1
    assert choice.record is choice.default


def test_a_candidate_named_twice_races_once() -> None:
    other = Candidate("sgd:rex", 0.1)  # type: ignore[arg-type]
    _, records, *_ = selected(answer, "5runs", candidates=(other, DEFAULT, other))
    assert len(records) == 2


@pytest.mark.parametrize("truth", ["all diverge", "all fail"])
@pytest.mark.parametrize("budget", ["1run", "20runs"])
def test_where_nothing_works_that_is_said_in_one_line(truth: str, budget: str) -> None:
    with pytest.raises(RecordError, match=r"no full run of digits-cnn ended with weights that work") as caught:
        selected(TRUTHS[truth], budget)
    assert "\n" not in str(caught.value)
    assert ("RuntimeError: no such device" in str(caught.value)) == (truth == "all fail")


def test_a_default_that_diverges_is_told_and_not_chosen() -> None:
    def truth(spec: RunSpec) -> Record:
        is_default = (spec.method, spec.base_lr) == (DEFAULT.method, DEFAULT.base_lr)
        return diverged(spec) if is_default else answer(spec, chance(spec))

    choice, records, *_ = selected(truth, "20runs")
    assert choice.record.usable
    assert choice.default.outcome is Outcome.DIVERGED
    assert "In full, the plain default, adamw:cosine at 0.001, diverged." in choice.reasons
    check_reasons(choice, records, "20 runs")


def test_where_the_race_loses_everyone_the_default_is_chosen() -> None:
    def truth(spec: RunSpec) -> Record:
        return answer(spec) if (spec.method, spec.base_lr) == (DEFAULT.method, DEFAULT.base_lr) else diverged(spec)

    choice, records, *_ = selected(truth, "20runs")
    assert choice.record.id == choice.default.id
    assert choice.stages[-1].total_steps == ACCURACY.full_steps
    assert [record.id for record in choice.stages[-1].records] == [choice.default.id]
    check_reasons(choice, records, "20 runs")


def test_a_tie_is_decided_by_validation_loss_and_that_is_said() -> None:
    def truth(spec: RunSpec) -> Record:
        return answer(spec, 0.9, chance(spec))

    choice, *_ = selected(truth, "20runs")
    finalists = choice.stages[-1].records
    assert choice.record.evals[-1].values["loss"] == min(record.evals[-1].values["loss"] for record in finalists)
    assert any("the tie was decided by validation loss" in reason for reason in choice.reasons)


def test_a_tie_in_loss_too_goes_to_the_first_and_that_is_said() -> None:
    choice, *_ = selected(answer, "20runs")
    assert choice.record.id == choice.default.id
    assert any("a tie, also in validation loss: the first" in reason for reason in choice.reasons)
    assert not any("decided by" in reason for reason in choice.reasons)


def test_a_race_that_is_not_finished_has_no_choice() -> None:
    _, records, race, budget = selected(mixed, "20runs", seed=3)
    for known in ([], records[:1], records[:-1], records[1:]):
        with pytest.raises(RecordError, match="must be finished"):
            choose(race, known, ACCURACY, budget)
    choose(race, records, ACCURACY, budget)


def test_a_choice_without_a_comparison_in_full_says_so_and_what_the_race_points_to() -> None:
    budget = Budget.parse("20s", ACCURACY.full_steps, steps_in=lambda _: 20 * ACCURACY.full_steps)
    race = plan_race(ACCURACY, budget, portfolio(), DEFAULT, 0)
    assert race.halving is not None
    first = race.halving.propose([], [], 5, budget)
    records = [answer(race.default, 0.9), *(answer(spec, 0.1 * place) for place, spec in enumerate(first))]
    choice = choose(race, records, ACCURACY, budget)
    assert choice.record.id == race.default.id
    best = f"{first[-1].method} at {first[-1].base_lr:g}, the best of 5 runs over 36 of 330 steps"
    assert choice.caution == (
        "No comparison in full was possible in the time there was: only the plain default, adamw:cosine at 0.001, "
        f"ended in full. The race points to {best}: validation accuracy 0.4 there."
    )
    assert not any("none of the 0" in reason for reason in choice.reasons)
    assert any("no other run was made in full" in reason for reason in choice.reasons)
    closed = msgspec.structs.replace(race, halving=msgspec.structs.replace(race.halving, closed=1))
    full = closed.halving.propose(records, [], 5, budget)[0]  # type: ignore[union-attr]
    planned = race.halving.rungs[0].count
    choice = choose(closed, [*records, answer(full, 0.95)], ACCURACY, budget)
    assert (
        f"The race over 36 steps ended after 5 of {planned} runs, as its share of the time was up." in choice.reasons
    )
    assert full.stop_step > 36
    alone = choose(Race(race.default, None), records[:1], ACCURACY, budget)
    assert alone.caution == "Nothing was compared: the budget paid for the plain default alone."


def test_records_of_others_and_their_order_change_no_choice() -> None:
    choice, records, race, budget = selected(mixed, "20runs", seed=3)
    strangers = [answer(msgspec.structs.replace(record.spec, seed=77), 1.0) for record in records]
    again = choose(race, [*strangers, *records[::-1]], ACCURACY, budget)
    assert again == choice


def test_the_reasons_follow_from_the_records() -> None:
    """In 10 worlds, small and large."""
    for seed in range(5):
        for budget, told in (("5runs", "5 runs"), ("20runs", "20 runs")):
            try:
                choice, records, *_ = selected(mixed, budget, seed=seed)
            except RecordError:
                continue
            check_reasons(choice, records, told)


def check_reasons(choice: Choice, records: list[Record], told: str) -> None:
    """Every sentence, against the records themselves."""
    reasons, best = choice.reasons, choice.record
    text = " ".join(reasons)
    full = [record for record in records if record.spec.total_steps == ACCURACY.full_steps]
    assert all(reason.endswith(".") and "\n" not in reason for reason in reasons)

    rates = {record.spec.base_lr for record in records if record.spec.method == best.spec.method}
    at_the_edge = len(rates) > 1 and best.spec.base_lr in (min(rates), max(rates))
    edge = [reason for reason in reasons if "one further out" in reason]
    assert bool(edge) == at_the_edge
    if edge:
        side = "largest" if best.spec.base_lr == max(rates) else "smallest"
        assert edge == [
            f"Its base learning rate is the {side} of {len(rates)} tried with it: one further out may be better."
        ]

    searched = candidate_of(best) not in UNTUNED
    assert ("It is the only base learning rate that was tried" in text) == (len(rates) == 1 and searched)

    lost = [record for record in records if not record.usable]
    counted = re.search(r"(\d+) runs? diverged and (\d+) failed", text)
    assert bool(counted) == bool(lost)
    if counted:
        outcomes = [record.outcome for record in lost]
        assert int(counted[1]) == outcomes.count(Outcome.DIVERGED)
        assert int(counted[2]) == outcomes.count(Outcome.FAILED)

    spent = sum(record.cost.steps for record in records)
    assert choice.spent == spent == sum(stage.cost for stage in choice.stages)
    runs = f"{spent / ACCURACY.full_steps:.3g}"
    assert reasons[-1] == f"Spent {runs} run{'' if runs == '1' else 's'} of {told}, everything included."

    assert (
        f"{best.spec.method} at {best.spec.base_lr:g} was best in full: validation accuracy {best.final:.4g}" in text
    )
    others = [record for record in full if record.usable and record.id != best.id]
    assert ("(next " in text) == bool(others)
    if best.id == choice.default.id:
        assert "That is the plain default" in text
    else:
        assert "In full, the plain default" in text
    raced = {steps: sum(record.spec.total_steps == steps for record in records) for steps in (36, 110)}
    for steps, count in raced.items():
        assert (f"{count} over {steps} steps" in text) == bool(count)
    if raced[110] or raced[36]:
        runs = "1 run" if len(full) == 1 else f"{len(full)} runs"
        assert f"; {runs} in full." in text
    assert ("standard error" in text) == (len(full) > 1)
    if len(full) > 1:
        assert best.final is not None
        error = accuracy_error(best.final, ACCURACY.sizes[1])
        finals = [record.final for record in full if record.id != best.id and record.final is not None]
        assert (
            f"points here, and {close_told(sum(best.final - each <= error for each in finals), len(full) - 1)}; "
            in text
        )
    for value in re.findall(r"([+-]\d\.\d\d) \(Spearman\)", text):
        assert -1 <= float(value) <= 1


def close_told(close: int, others: int) -> str:
    """How many of the other full runs are close, as people say it."""
    if others == 1:
        return "the other full run is that close" if close else "the other full run is not that close"
    told = {0: "none", 1: "1"}.get(close, str(close))
    return f"{told} of the {others} other full runs {'is' if close < 2 else 'are'} that close"


@pytest.mark.parametrize(
    ("budget", "finals", "said"),
    [
        ("2runs", [0.9, 0.5], "the other full run is not that close"),
        ("2runs", [0.9, 0.895], "the other full run is that close"),
        ("3runs", [0.9, 0.5, 0.6], "none of the 2 other full runs is that close"),
        ("3runs", [0.9, 0.5, 0.895], "1 of the 2 other full runs is that close"),
        ("3runs", [0.9, 0.899, 0.895], "2 of the 2 other full runs are that close"),
    ],
)
def test_how_many_other_full_runs_are_close_is_told_in_words(budget: str, finals: list[float], said: str) -> None:
    candidates = [DEFAULT, *UNTUNED]

    def truth(spec: RunSpec) -> Record:
        return answer(spec, finals[candidates.index(Candidate(spec.method, spec.base_lr))])

    choice, records, *_ = selected(truth, budget, untuned=UNTUNED)
    assert len(records) == len(finals)
    assert any(f"points here, and {said}; the best of several" in reason for reason in choice.reasons)


@pytest.mark.parametrize(
    ("budget", "finals", "said"),
    [
        ("2runs", [0.9, 0.5], "the other full run was no better."),
        ("3runs", [0.9, 0.5, 0.6], "none of the 2 other full runs was better."),
        ("2runs", [0.9, None], "the other full run did not end with weights that work."),
        ("3runs", [0.9, None, None], "none of the 2 other full runs ended with weights that work."),
    ],
)
def test_what_the_plain_default_won_against_is_told_in_words(
    budget: str, finals: list[float | None], said: str
) -> None:
    candidates = [DEFAULT, *UNTUNED]

    def truth(spec: RunSpec) -> Record:
        final = finals[candidates.index(Candidate(spec.method, spec.base_lr))]
        return diverged(spec) if final is None else answer(spec, final)

    choice, *_ = selected(truth, budget, untuned=UNTUNED)
    assert f"That is the plain default: {said}" in choice.reasons


def test_rank_agreement_is_one_where_lengths_agree_and_minus_one_where_they_reverse() -> None:
    for sign, told in ((1, "+1.00"), (-1, "-1.00")):

        def truth(spec: RunSpec, sign: int = sign) -> Record:
            place = portfolio().index(Candidate(spec.method, spec.base_lr))
            return answer(spec, (0.5 + 0.005 * place) if spec.total_steps == 36 else (0.5 + sign * 0.005 * place))

        choice, *_ = selected(truth, "20runs")
        assert any("between 36 and 110 steps" in reason and told in reason for reason in choice.reasons)


def test_a_tie_of_all_has_no_rank_agreement_and_no_warning() -> None:
    """Where all are equal there is no rank to agree on; SciPy would warn of it."""
    choice, *_ = selected(answer, "20runs")
    assert not any("Spearman" in reason for reason in choice.reasons)


def test_the_standard_error_is_of_the_validation_split_and_for_accuracies_alone() -> None:
    choice, *_ = selected(world(Candidate("sgd:rex", 0.1), 0), "20runs")  # type: ignore[arg-type]
    sentence = next(reason for reason in choice.reasons if "standard error" in reason)
    final = choice.record.final
    assert final is not None
    share = (final * 359 + 2) / 363
    assert f"{100 * math.sqrt(share * (1 - share) / 363):.2f} points" in sentence
    error, *_ = selected(world(Candidate("sgd:rex", 0.1), 0), "20runs", ERROR)  # type: ignore[arg-type]
    assert not any("standard error" in reason for reason in error.reasons)


SCRIPT = msgspec.structs.replace(ACCURACY, sizes=(0, 0, 0), batch_size=0)


@pytest.mark.parametrize("task", [ERROR, SCRIPT], ids=["rmse", "accuracy of a script"])
def test_where_no_standard_error_is_known_what_chance_may_do_is_told(task: Task) -> None:
    """Unless there was nothing to choose from."""
    for budget, lost, compared in (("3runs", -1, 3), ("3runs", 1, 2), ("2runs", 1, 0), ("1run", -1, 0)):

        def truth(spec: RunSpec, lost: int = lost) -> Record:
            place = [DEFAULT, *UNTUNED].index(Candidate(spec.method, spec.base_lr))
            return failed(spec) if place == lost else answer(spec, 0.9 - 0.1 * place)

        choice, *_ = selected(truth, budget, task, untuned=UNTUNED)
        told = [reason for reason in choice.reasons if "little less good" in reason]
        assert told == [
            f"How much of a difference in {task.objective.told} is chance is not known here; {compared} full runs "
            "were compared, and the best of several on one split, with one seed each, is likely to be a little less "
            "good elsewhere."
        ] * bool(compared)  # fmt: skip


@pytest.mark.parametrize(("budget", "full"), [("3runs", 1), ("7runs", 2), ("8runs", 3)])
def test_a_race_of_which_one_method_alone_went_on_says_so(budget: str, full: int) -> None:
    """Not where only one run went on, where two methods did, or where one alone was raced."""
    methods = ["sgd:rex", "sgd:cosine", "sgd:linear"]
    entered = [Candidate(each, lr) for each in methods for lr in (0.3, 0.1, 0.03, 0.01)]
    best = {"sgd:rex": 0.9, "sgd:cosine": 0.8, "sgd:linear": 0.7}

    def told(candidates: Sequence[Candidate], count: int, *, mixed: bool = False) -> list[str]:
        def truth(spec: RunSpec) -> Record:
            known = best.get(str(spec.method), 0.5)
            return answer(spec, 0.5 + 0.001 * known - spec.base_lr if mixed else known - 0.1 * spec.base_lr)

        choice, *_ = selected(truth, budget, candidates=candidates)
        assert len(choice.stages) > 1
        assert len(choice.stages[-1].records) == 1 + count
        return [reason for reason in choice.reasons if "alone went on" in reason]

    sentence = (
        f"Of the 3 methods that were raced sgd:rex alone went on to full runs, at {full} rates; the others were "
        "compared over shorter runs only."
    )
    assert told(entered, full) == [sentence] * (full > 1)
    assert told(entered, full, mixed=True) == []
    budget = "8runs"
    assert told([Candidate(methods[0], 0.3 / 2**place) for place in range(12)], 3) == []


@pytest.mark.parametrize("optimizer", BASE_LRS)
def test_the_edge_of_the_rates_is_told_on_either_side_and_not_within(optimizer: str) -> None:
    rates = sorted(BASE_LRS[optimizer])
    for base_lr in rates:
        best = Candidate(f"{optimizer}:rex", base_lr)  # type: ignore[arg-type]
        entered = [Candidate(best.method, lr) for lr in BASE_LRS[optimizer]]
        choice, *_ = selected(world(best, 0), "7runs", candidates=entered)
        assert choice.record.spec.base_lr == base_lr
        edge = [reason for reason in choice.reasons if "one further out" in reason]
        wanted = {rates[0]: "the smallest of 6", rates[-1]: "the largest of 6"}.get(base_lr)
        assert bool(edge) == (wanted is not None)
        assert wanted is None or wanted in edge[0]


def test_the_stages_hold_every_run_once_and_what_went_on() -> None:
    for seed in range(3):
        choice, records, race, _ = selected(mixed, "20runs", seed=seed)
        staged = [record.id for stage in choice.stages for record in stage.records]
        assert sorted(staged) == sorted(record.id for record in records)
        for stage, following in zip(choice.stages, choice.stages[1:], strict=False):
            assert {record.spec.total_steps for record in stage.records} == {stage.total_steps}
            went_on = {candidate_of(record) for record in stage.records if record.id in stage.kept}
            later = {candidate_of(record) for record in following.records if record.id != race.default.id}
            assert went_on == later


def test_a_failed_run_is_counted_and_never_chosen() -> None:
    def truth(spec: RunSpec) -> Record:
        return failed(spec) if chance(spec) < 0.3 else answer(spec, chance(spec))

    choice, records, *_ = selected(truth, "20runs", seed=2)
    assert choice.record.outcome is Outcome.FINISHED
    check_reasons(choice, records, "20 runs")


def test_what_finds_its_rate_is_raced_at_one_rate() -> None:
    methods = [method(each) for each in ("adamw:cosine", "adamw:cosine*l4", "prodigy:linear", "sgd:clip(l4, 1)")]
    entered = candidates_of(methods, [0.1, 0.01])
    rates = {each: {one.base_lr for one in entered if one.method == each} for each in methods}
    assert list(rates.values()) == [{0.1, 0.01}, {1e-3}, {1.0}, {1e-3}]
    for bounded in ("adamw:max(l4, 0.1)", "adamw:warmup(0.05)+l4", "sgd:polyak", "adamw:hypergradient"):
        assert len(candidates_of([method(bounded)], [0.1, 0.01])) == 2, "a part of it is of the base rate"
    with pytest.raises(BadInput, match="`base_lr` must be a number > 0"):
        candidates_of([method("prodigy:linear")], [-1.0])


def test_a_default_of_the_task_that_was_not_compared_is_told() -> None:
    graph = TASKS["cora-gcn"]

    def truth(spec: RunSpec) -> Record:
        return answer(spec, 0.5)

    choice, *_ = selected(truth, "2runs", graph)
    told = "The task's own default, adamw(weight_decay=0.5):constant at 0.01, was not compared; `lrcontrol train"
    assert any(reason.startswith(told) for reason in choice.reasons)
    own = [Candidate(method(graph.method), graph.base_lr)]
    choice, *_ = selected(truth, "2runs", graph, candidates=own)
    assert not any("own default" in reason for reason in choice.reasons)
    assert not any("own default" in reason for reason in selected(answer, "2runs")[0].reasons)


@pytest.mark.parametrize(
    ("task", "chosen", "plain", "told"),
    [
        (ACCURACY, 0.95, 0.95, "On the test split it is no better than the plain default: 0.95 and 0.95."),
        (
            ACCURACY,
            0.9917,
            0.9833,
            "On the test split it cannot be told from the plain default: 0.9917 and 0.9833, with",
        ),
        (ACCURACY, 0.99, 0.90, None),
        (ERROR, 55.4, 55.3, "On the test split it is no better than the plain default: 55.4 and 55.3."),
        (ERROR, 50.0, 55.3, None),
    ],
)
def test_a_choice_that_is_no_better_on_test_says_so(task: Task, chosen: float, plain: float, told: str | None) -> None:
    metric = task.objective.metric
    found = on_test(task, {metric: chosen}, {metric: plain})
    assert [each[: len(told or "")] for each in found] == ([] if told is None else [told])
    assert on_test(task, {}, {metric: plain}) == on_test(task, {metric: chosen}, None) == []
