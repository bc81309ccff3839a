"""Cycles: where they end, stopping early by their ends alone, and runs that end with one."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from contracts.control import ControlContract
from lrcontrol.controls.composed import AnyControl
from lrcontrol.controls.control import Looks, Observation
from lrcontrol.controls.cycle_wise import Snapshots
from lrcontrol.controls.text import control, control_text
from lrcontrol.errors import BadInput, BadText, DoesNotFit, UnknownName
from lrcontrol.runs.record import Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.runs.task import Task
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.batched import why_not_batched
from lrcontrol.training.loop import test_metrics as metrics_of_test
from lrcontrol.training.loop import train, trained_model
from lrcontrol.training.scripts import carry_out_script
from lrcontrol.training.weights import load_state
from strategies import laid

COUNTS = range(1, 13)
PLANNED = {
    "snapshot": lrc.snapshot,
    "triangular": lrc.triangular,
    "triangular2": lrc.triangular2,
    "exp_range": lambda cycles: lrc.exp_range(0.99, cycles),
    "sgdr": lrc.sgdr,
    "sgdr of equal cycles": lambda cycles: lrc.sgdr(cycles, 1.0),
    "sgdr, growth 1.5": lambda cycles: lrc.sgdr(cycles, 1.5),
    "sgdr, growth 3, lower": lambda cycles: lrc.sgdr(cycles, 3.0, shrink=0.7, low=0.1),
}


def jumps(schedule: Schedule, total: int) -> list[int]:
    """After which updates a falling multiplier leaps up: where a cosine begins anew."""
    values = schedule.multipliers(total)
    return (np.flatnonzero(np.diff(values) > 1e-12) + 1).tolist()


def refusal(schedule: Schedule, total: int) -> str | None:
    """The sentence that says why a run of so many steps has no such cycles, or None."""
    try:
        schedule.cycle_ends(total)
    except DoesNotFit as error:
        return str(error)
    return None


@pytest.mark.parametrize("recipe", PLANNED.values(), ids=PLANNED)
def test_planned_cycles_fill_any_run_to_its_end(recipe: Any) -> None:
    """Every run of 1 to 200 steps in 1 to 12 cycles: as many ends, the last with the run; or one sentence."""
    for cycles in COUNTS:
        schedule = recipe(cycles)
        grows = "growth" in str(schedule) or str(schedule).startswith("sgdr")
        for total in range(1, 201):
            refused = refusal(schedule, total)
            if refused is None:
                ends = schedule.cycle_ends(total)
                assert len(ends) == cycles <= total
                assert ends[-1] == total
                assert all(one < other for one, other in zip((0, *ends), ends, strict=False))
                assert all(isinstance(end, int) for end in ends)
            else:
                assert f"of {cycles} cycles none" in refused
                assert cycles > total or grows


@pytest.mark.parametrize("growth", [1.0, 1.5, 2.0, 3.0])
def test_a_cycle_ends_where_the_rate_leaps_up(growth: float) -> None:
    for cycles in (2, 3, 5):
        for total in range(80, 200):
            ends = lrc.sgdr(cycles, growth).cycle_ends(total)
            long = [end for begin, end in zip((0, *ends), ends[:-1], strict=False) if end - begin > 1]
            assert [end for end in jumps(lrc.sgdr(cycles, growth), total) if end in ends] == long
            assert set(jumps(lrc.sgdr(cycles, growth), total)) <= set(ends)


@pytest.mark.parametrize("growth", [1.0, 1.5, 2.0, 3.0])
def test_cycles_of_a_period_end_with_it_and_one_cut_short_does_not_count(growth: float) -> None:
    for period in range(2, 12):
        schedule = lrc.sgdr(period=period, growth=growth)
        leaps = jumps(schedule, 1000)
        for total in range(1, 200):
            assert list(schedule.cycle_ends(total)) == [end for end in leaps if end <= total]


def test_fractal_steps_end_with_their_nodes() -> None:
    for every in (1, 2, 3):
        for total in range(1, 100):
            wanted = tuple(range(8 * every, total + 1, 8 * every))
            assert lrc.fractal(8, every=every).cycle_ends(total) == wanted


@pytest.mark.parametrize(
    ("text", "total", "ends"),
    [
        ("cosine", 10, (10,)),
        ("warmup(0.1)+cosine", 10, (10,)),
        ("step(every=3)", 10, (10,)),
        ("step", 12, (12,)),
        ("cosine(every=5)", 10, (10,)),
        ("warmup(5)+sgdr(2)", 35, (15, 35)),
        ("warmup(0.1)+snapshot(3)", 100, (40, 70, 100)),
        ("over(sgdr(2), share=0.6)+linear", 100, (20, 60, 100)),
        ("over(sgdr(2, growth=1), share=0.5)+linear(share=0.2)+over(snapshot(3), share=0.3)", 100,
         (25, 50, 80, 90, 100)),
        ("triangular(4, steps=80)", 100, (20, 40, 60, 80, 100)),
        ("over(sgdr(period=30, growth=1), steps=70)", 100, (30, 60)),
        ("sgdr(period=60)", 50, ()),
        ("sgdr(3, growth=1)*linear", 90, (30, 60, 90)),
        ("max(sgdr(3, growth=1), 0.1)", 90, (30, 60, 90)),
        ("sgdr(2, growth=1)*snapshot(6)", 90, (45, 90)),
        ("snapshot(6)*sgdr(2, growth=1)*0.5", 90, (45, 90)),
        ("hold(snapshot(3), every=7)", 90, (30, 60, 90)),
        ("repeat(snapshot(2), times=3)", 90, (15, 30, 45, 60, 75, 90)),
        ("repeat(warmup(0.2)+cosine, times=3)", 90, (30, 60, 90)),
        ("repeat(triangular(2), period=20)", 75, (10, 20, 30, 40, 50, 60, 70)),
        ("snapshot(1)", 7, (7,)),
    ],
)  # fmt: skip
def test_ends_are_those_of_the_structure(text: str, total: int, ends: tuple[int, ...]) -> None:
    assert lrc.schedule(text).cycle_ends(total) == ends


@settings(max_examples=50, derandomize=True, deadline=None)
@given(laid())
def test_ends_of_any_schedule_are_increasing_steps_of_the_run(case: tuple[Schedule, int]) -> None:
    schedule, total = case
    refused = refusal(schedule, total)
    if refused is not None:
        assert "every cycle must have a step" in refused
        return
    ends = schedule.cycle_ends(total)
    assert all(one < other for one, other in zip((0, *ends), ends, strict=False))
    assert ends == () or ends[-1] <= total
    after = lrc.warmup(7).then(schedule.over(steps=total))
    assert after.cycle_ends(total + 7) == tuple(7 + end for end in ends)


@given(st.integers(1, 6), st.integers(30, 300))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_is_beside_and_around_leaves_the_ends(cycles: int, total: int) -> None:
    ends = lrc.snapshot(cycles).cycle_ends(total)
    for other in (lrc.snapshot(cycles) * 0.3, lrc.snapshot(cycles).plus(0.1), lrc.snapshot(cycles) * lrc.linear()):
        assert other.cycle_ends(total) == ends


def test_bad_horizons_are_refused() -> None:
    for bad in (0, -1, 1.5, "10", None):
        with pytest.raises(BadInput, match="`total_steps`"):
            lrc.sgdr().cycle_ends(bad)  # type: ignore[arg-type]
    with pytest.raises(DoesNotFit, match="at most 1000000 cycles"):
        lrc.fractal(2).cycle_ends(3_000_000)
    with pytest.raises(DoesNotFit, match="every cycle must have a step, but 4 steps leave 1 of 5 cycles none"):
        lrc.snapshot(5).cycle_ends(4)


# ---- controls that act where a cycle is complete ----

SHORT = "repeat(cosine, period=1, shrink=0.5)"  # its cycles fit any run

WRAPPED = {
    "early": f"stop_early({SHORT}, patience=1)",
    "early, no cycles": "stop_early(cosine)",
    "early, a control": "stop_early(warmup(0.1)+plateau(patience=0), patience=3, threshold=0.01)",
    "whole cycles": f"whole_cycles({SHORT})",
    "snapshots": f"snapshots({SHORT})",
    "beside": f"linear*stop_early({SHORT})",
    "around": f"stop_on_divergence(snapshots({SHORT}, members=all))",
}


class TestCycleWise(ControlContract):
    """The controls keep the contract, wherever they stand."""

    @pytest.fixture(params=WRAPPED.values(), ids=WRAPPED)
    def control(self, request: Any) -> AnyControl:
        return control(request.param)


def told(given: AnyControl, metrics: dict[int, float], total: int) -> tuple[int | None, list[int]]:
    """After which update the control says stop, and after which it says keep, given metrics by updates made."""
    _, state = given.start(total)
    kept = []
    for step in range(total):
        decision, state = given.next(state, Observation(step, loss=1.0, metric=metrics.get(step + 1)))
        if decision.keep:
            kept.append(step + 1)
        if decision.stop is not None:
            return step + 1, kept
    return None, kept


def test_only_cycle_ends_are_compared() -> None:
    """A metric that gets worse within every cycle stops nothing as long as its ends improve."""
    wavy = {made: 1.0 - made / 200 + (0.0 if made % 10 == 0 else 0.5) for made in range(1, 101)}
    assert told(control("stop_early(snapshot(10), patience=1)"), wavy, 100) == (None, list(range(10, 101, 10)))
    stop, _ = told(control("stop_early(cosine, patience=3)"), wavy, 100)
    assert stop is not None
    assert stop < 20


def test_patience_is_in_cycles() -> None:
    ends = {10: 0.5, 20: 0.4, 30: 0.45, 40: 0.39, 50: 0.4, 60: 0.6, 70: 0.5, 80: 0.1, 90: 0.1, 100: 0.1}
    for patience, stop, kept in (
        (1, 30, [10, 20]),
        (2, 60, [10, 20, 40]),
        (3, 70, [10, 20, 40]),
        (4, None, [10, 20, 40, 80]),
    ):
        given = control(f"stop_early(snapshot(10), patience={patience})")
        assert told(given, ends, 100) == (stop, kept)
        assert told(control(f"warmup(7)+stop_early(snapshot(10), patience={patience})"), {}, 107) == (None, [])
        shifted = {made + 7: value for made, value in ends.items()}
        found = told(control(f"warmup(7)+stop_early(snapshot(10), patience={patience})"), shifted, 107)
        assert found == (None if stop is None else stop + 7, [made + 7 for made in kept])


def test_a_threshold_asks_for_more_and_the_lowest_is_kept_all_the_same() -> None:
    ends = {10: -0.5, 20: -0.51, 30: -0.52, 40: -0.53, 50: -0.6}
    assert told(control("stop_early(snapshot(5), patience=2)"), ends, 50) == (None, [10, 20, 30, 40, 50])
    assert told(control("stop_early(snapshot(5), patience=2, threshold=0.1)"), ends, 50) == (30, [10, 20, 30])


def test_a_cycle_is_judged_by_the_last_metric_told_in_it() -> None:
    """Where a loop measures at other places than cycle ends; one that was told none is passed over."""
    metrics = {3: 0.9, 8: 0.5, 12: 0.9, 19: 0.6, 38: 0.4}
    assert told(control("stop_early(snapshot(4), patience=1)"), metrics, 40) == (20, [10])
    assert told(control("stop_early(snapshot(4), patience=2)"), metrics, 40) == (None, [10, 40])
    nan = {10: 0.5, 20: float("nan"), 30: 0.4, 40: 0.3}
    assert told(control("stop_early(snapshot(4), patience=1)"), nan, 40) == (None, [10, 30, 40])


def test_the_end_of_the_run_is_never_a_stop() -> None:
    assert told(control("stop_early(snapshot(2), patience=1)"), {10: 0.1, 20: 0.5}, 20) == (None, [10])


def test_whole_cycles_are_kept_as_they_end() -> None:
    assert told(control("whole_cycles(sgdr(period=10, growth=1))"), {}, 35) == (None, [10, 20, 30])
    assert told(control("snapshots(sgdr(2, growth=1))"), {}, 35) == (None, [17, 35])
    assert told(control("stop_early(snapshots(snapshot(4)), patience=1)"), {10: 1.0, 20: 2.0}, 40) == (20, [10, 20])


def test_of_many_cycle_ends_those_that_are_passed_over_count_for_nothing() -> None:
    """Of 60 every second is compared, also where something in the middle of each cycle was told a metric."""
    given = control("stop_early(snapshot(60), patience=3)")
    compared = given.looks(600).at
    assert compared == frozenset(range(20, 601, 20))
    often = {made: 1.0 - made / 1000 for made in range(2, 601, 3)} | {108: 1e-6}
    stop, kept = told(given, often | dict.fromkeys(compared, 0.5), 600)
    assert (stop, kept) == (80, [20])
    assert set(told(given, often, 600)[1]) <= compared
    looking = train(spec("sgd:stop_early(snapshot(60)*plateau, patience=3)", total_steps=600))
    assert looking.end is not None
    assert looking.end.step % 20 == 0


@pytest.mark.parametrize(
    ("text", "outer", "inner"),
    [
        ("whole_cycles(stop_early(snapshot(5), patience=2))", "whole_cycles", "stop_early"),
        ("snapshots(stop_early(cosine))", "snapshots", "stop_early"),
        ("snapshots(linear*stop_on_divergence(stop_early(snapshot(5))))", "snapshots", "stop_early"),
        ("snapshots(whole_cycles(sgdr))", "snapshots", "whole_cycles"),
        ("snapshots(snapshots(sgdr))", "snapshots", "snapshots"),
        ("stop_early(whole_cycles(sgdr))", "stop_early", "whole_cycles"),
        ("stop_early(warmup(0.1)+stop_early(sgdr))", "stop_early", "stop_early"),
        ("stop_early(stop_early(snapshots(sgdr)))", "stop_early", "stop_early"),
    ],
)
def test_nests_that_would_end_with_two_things_are_refused(text: str, outer: str, inner: str) -> None:
    match = f"one control alone can say which weights a run ends with, got {outer} around {inner}"
    with pytest.raises(BadInput, match=match):
        control(text)


def test_a_run_stopped_as_an_ensemble_needs_cycles() -> None:
    assert control("stop_early(linear*snapshots(sgdr))").ensemble == "greedy"
    with pytest.raises(DoesNotFit, match="must have cycles"):
        control("stop_early(snapshots(cosine))").check_fits(100)
    with pytest.raises(DoesNotFit, match="must have cycles"):
        control("snapshots(cosine)").check_fits(100)


def test_what_a_control_asks_to_see() -> None:
    for text, total, often, at in (
        ("cosine", 100, False, []),
        ("plateau", 100, True, []),
        ("whole_cycles(snapshot(4))", 100, False, []),
        ("stop_early(snapshot(4))", 100, False, [25, 50, 75, 100]),
        ("stop_early(cosine)", 100, True, []),
        ("stop_early(snapshot(4)*plateau)", 100, True, [25, 50, 75, 100]),
        ("warmup(20)+stop_early(snapshot(4))", 100, False, [40, 60, 80, 100]),
        ("linear*stop_on_divergence(stop_early(snapshot(4)))", 100, False, [25, 50, 75, 100]),
        ("stop_early(snapshot(100))", 1000, False, list(range(20, 1001, 20))),
        ("stop_early(sgdr(period=30, growth=1))", 100, False, [30, 60, 90]),
    ):
        assert control(text).looks(total) == Looks(often, frozenset(at))


@pytest.mark.parametrize("text", WRAPPED.values(), ids=WRAPPED)
def test_text_of_the_wrappers_reads_back(text: str) -> None:
    made = control(text)
    assert control(control_text(made)) == made
    assert control_text(control(control_text(made))) == control_text(made)


def test_snapshots_have_a_short_form() -> None:
    assert control("snapshots(cycles=3)") == control("snapshots(snapshot(3))") == Snapshots(control("snapshot(3)"))
    assert control("snapshots()") == control("snapshots(cycles=5)")
    assert control_text(control("snapshots(cycles=3, members=all)")).endswith("members=all)")


def test_bad_wrappers_are_told() -> None:
    for text, error, match in [
        ("stop_early(sgdr, patience=0)", BadInput, "`patience` must be an integer >= 1"),
        ("stop_early(sgdr, threshold=1)", BadInput, "`threshold` must be a number >= 0 and < 1"),
        ("snapshots(sgdr, cycles=3)", BadInput, "give either the cycles of a schedule or their number"),
        ("snapshots(sgdr, members=some)", UnknownName, "unknown choice of members 'some'"),
        ("snapshots(cycles=0)", BadInput, "`cycles`"),
        (
            "whole_cycles()",
            BadText,
            r"stands around a schedule or a control, as in whole_cycles\(sgdr\) at position 0",
        ),
    ]:
        with pytest.raises(error, match=match):
            control(text)
    for text in ("whole_cycles(sgdr(period=60))", "snapshots(sgdr(period=60))", "stop_early(sgdr(period=60))"):
        with pytest.raises(DoesNotFit, match="50 steps are not enough for the first one"):
            control(text).check_fits(50)
    with pytest.raises(DoesNotFit, match="of 9 cycles none"):
        control("warmup(3)+snapshots(cycles=9)").check_fits(11)


# ---- runs ----


def spec(method: str, **more: Any) -> RunSpec:
    return RunSpec(**{"task": "digits-mlp", "base_lr": 0.1, "total_steps": 120} | more, method=method)  # type: ignore[arg-type]


def test_a_run_that_is_cut_within_a_cycle_ends_with_the_last_whole_one(tmp_path: Path) -> None:
    """Its weights, its metric and its rank are those of the run that was cut at that cycle's end."""
    for stop in (50, 60):
        cut = train(spec("sgd:whole_cycles(snapshot(4))", stop_step=stop, save=True), weights=tmp_path)
        end = stop - stop % 30
        there = train(spec("sgd:snapshot(4)", stop_step=end, save=True), weights=tmp_path)
        assert cut.kept == (None if end == stop else end)
        assert cut.cost.steps == stop
        assert cut.end is not None
        assert (cut.end.step, cut.final) == (end, there.final)
        assert cut.rank_key == pytest.approx(there.rank_key, rel=1e-6)  # the weights lie elsewhere in memory
        assert [each.step for each in cut.evals] == sorted({each.step for each in cut.evals})
        ours, theirs = trained_model(cut, tmp_path), trained_model(there, tmp_path)
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(one, other)
        assert metrics_of_test(cut, tmp_path) == metrics_of_test(there, tmp_path)
    whole = train(spec("sgd:whole_cycles(snapshot(4))"))
    assert whole.kept is None
    assert whole.evals == train(spec("sgd:snapshot(4)")).evals


def test_a_run_that_is_stopped_early_ends_with_its_best_cycle_end(tmp_path: Path) -> None:
    method = "sgd(momentum=0):stop_early(snapshot(12), patience=2)"
    record = train(spec(method, base_lr=0.5, total_steps=600, save=True), weights=tmp_path)
    judged = {each.step: each.values["accuracy"] for each in record.evals if each.step % 50 == 0}
    best = max(judged, key=lambda step: (judged[step], -step))
    assert record.outcome is Outcome.STOPPED
    assert record.message is not None
    assert record.message == "the last 2 cycle ends were no better than those before"
    assert (record.kept or record.evals[-1].step) == best
    assert record.final == judged[best]
    alone = train(spec("sgd(momentum=0):snapshot(12)", base_lr=0.5, total_steps=600, stop_step=best, save=True),
                  weights=tmp_path)  # fmt: skip
    assert metrics_of_test(record, tmp_path) == metrics_of_test(alone, tmp_path)


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path: Path) -> None:
    """Also what was kept before the checkpoint is there after it; training goes on from the last weights."""
    for control_of in ("whole_cycles(snapshot(4))", "snapshots(snapshot(4))", "stop_early(snapshot(4), patience=4)"):
        for first, stop in ((40, 59), (30, 59), (60, 85)):
            method = f"sgd:{control_of}"
            whole = train(spec(method, stop_step=stop, save=True), weights=tmp_path)
            begun = spec(method, stop_step=first, checkpoint=True)
            train(begun, weights=tmp_path)
            rest = train(
                spec(method, stop_step=stop, save=True, start=Start(begun.id, first)),
                weights=tmp_path,
            )
            assert (rest.final, rest.kept, rest.members) == (whole.final, whole.kept, whole.members)
            assert metrics_of_test(rest, tmp_path) == metrics_of_test(whole, tmp_path)


def test_records_with_kept_weights_are_stored_and_those_without_as_before(tmp_path: Path) -> None:
    kept = train(spec("sgd:whole_cycles(snapshot(4))", stop_step=50))
    plain = train(spec("sgd:snapshot(4)", stop_step=50))
    with Store(tmp_path / "runs.db") as store:
        store.add_all([kept, plain])
        assert list(store.records()) == [kept.without_columns(), plain.without_columns()]
    assert b'"kept":30' in kept.summary()
    assert b"kept" not in plain.summary()
    assert b"members" not in plain.summary()
    assert Record.from_summary(*kept.packed()).end == kept.end


def test_runs_that_keep_weights_are_not_batched() -> None:
    for text in ("whole_cycles(sgdr)", "snapshots(cycles=3)", "stop_early(sgdr)"):
        assert "must end with their last weights" in (why_not_batched([spec(f"sgd:{text}")]) or "")
    assert why_not_batched([spec("sgd:sgdr")]) is None


# ---- loops of one's own ----

INPUTS = torch.arange(24.0).reshape(8, 3).sin()
TARGETS = INPUTS @ torch.tensor([[1.0], [-2.0], [0.5]])


def test_a_loop_is_told_when_to_stop_and_what_to_keep() -> None:
    """The scheduler of a control says so; a schedule never does."""
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lrc.as_torch_scheduler(optimizer, "stop_early(snapshot(5), patience=2)", 50)
    kept, stopped = [], None
    ends = {10: 0.5, 20: 0.4, 30: 0.6, 40: 0.45}
    for made in range(1, 51):
        optimizer.step()
        scheduler.step(**({"metrics": ends[made]} if made in ends else {}))
        if scheduler.keep:
            kept.append(made)
        if scheduler.stop is not None:
            stopped = made
            break
    assert (kept, stopped) == ([10, 20], 40)
    assert scheduler.stop == "the last 2 cycle ends were no better than those before"
    del scheduler
    plain = lrc.as_torch_scheduler(optimizer, "snapshot(5)", 50)
    assert (plain.stop, plain.keep) == (None, False)


def test_a_metric_that_is_told_after_its_update_is_of_that_cycle_end(tmp_path: Path) -> None:
    """The usual loop: `step()` after every batch, and the metric once it is measured; also saved in between."""
    ends = {10: 0.5, 20: 0.1, 30: 0.6, 40: 0.7}
    for saved in (False, True):
        optimizer = torch.optim.SGD(torch.nn.Linear(3, 1).parameters(), lr=1.0)
        scheduler = lrc.as_torch_scheduler(optimizer, "stop_early(snapshot(5), patience=2)", 50)
        kept = []
        for made in range(1, 41):
            assert scheduler.stop is None
            optimizer.step()
            scheduler.step()
            if saved and made in ends:
                state = json.loads(json.dumps(scheduler.state_dict()))
                del scheduler
                scheduler = lrc.as_torch_scheduler(
                    optimizer, "stop_early(snapshot(5), patience=2)", 50, base_lrs=[1.0]
                )
                scheduler.load_state_dict(state)
            if made in ends:
                scheduler.step(metrics=ends[made])
            if scheduler.keep:
                kept.append(made)
        assert kept == [10, 20]
        assert scheduler.stop == "the last 2 cycle ends were no better than those before"


def test_a_rate_follows_from_a_metric_at_once() -> None:
    """Told with the update or after it, once or corrected: the same."""
    rates = []
    for late in (False, True):
        optimizer = torch.optim.SGD(torch.nn.Linear(3, 1).parameters(), lr=1.0)
        scheduler = lrc.as_torch_scheduler(optimizer, "plateau(patience=0, factor=0.5)", 50)
        for metric in (1.0, 2.0, 0.5, 3.0, 4.0):
            optimizer.step()
            if late:
                scheduler.step()
                scheduler.step(metrics=99.0)
                scheduler.step()
                scheduler.step(metrics=metric)
            else:
                scheduler.step(metrics=metric)
            rates.append(scheduler.get_last_lr()[0])
    assert rates == [1.0, 0.5, 0.5, 0.25, 0.125] * 2


def script(metrics: dict[int, float], *, saves: bool = True) -> Any:
    """A script that measures after every tenth update, and what it trains is the number of updates made."""

    def train_it(run: lrc.Run) -> None:
        model = torch.nn.Linear(3, 1)
        optimizer = run.steer(torch.optim.SGD(model.parameters(), lr=0.1))
        while not run.should_stop:
            optimizer.step()
            if run.step % 10 == 0 or run.step == run.stop_step:
                run.log(val_loss=metrics.get(run.step, 1.0))
                if saves:
                    run.save({"made": run.step})

    return train_it


def carried(method: str, script: Any, folder: Path, **more: Any) -> Record:
    task = Task(name="mine.py:train", kind="script", data="own", sizes=(0, 0, 0), model="own", parameters=0,
                objective=Objective("val_loss", "minimize"), batch_size=0, full_steps=50, home="",
                method="own:cosine")  # fmt: skip
    asked = {"task": "mine.py:train", "base_lr": 0.1, "total_steps": 50, "save": True} | more
    return carry_out_script(RunSpec(**asked, method=method), task, script, folder)  # type: ignore[arg-type]


def test_a_script_ends_with_its_best_cycle_end_if_it_saved_it(tmp_path: Path) -> None:
    ends = {10: 0.5, 20: 0.4, 30: 0.6, 40: 0.45}
    record = carried("own:stop_early(snapshot(5), patience=2)", script(ends), tmp_path)
    assert (record.outcome, record.cost.steps, record.kept, record.final) == (Outcome.STOPPED, 40, 20, 0.4)
    assert load_state(tmp_path, record) == {"made": 20}
    unsaved = carried("own:stop_early(snapshot(5), patience=2)", script(ends, saves=False), tmp_path)
    assert (unsaved.kept, unsaved.final) == (None, 0.45)
    cut = carried("own:whole_cycles(snapshot(5))", script({}), tmp_path, stop_step=35)
    assert (cut.kept, load_state(tmp_path, cut)) == (30, {"made": 30})
    with pytest.raises(BadInput, match=r"use lrcontrol\.snapshots in the script"):
        carried("own:snapshots(cycles=5)", script({}), tmp_path)


# ---- the page ----


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    page = (Path(__file__).parents[1] / "docs" / "cycles.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        for line, told in re.findall(r"^(lrc\..*cycle_ends.*?) +# (\([^)]*\))", block, flags=re.MULTILINE):
            assert eval(line, {"lrc": lrc}) == eval(told), line
        exec(compile(block, "docs/cycles.md", "exec"), names)
    assert len(names["best"]) == 2
    assert (tmp_path / "snapshots" / "snapshots.json").is_file()
    assert names["module"](names["inputs"]).equal(names["outputs"])
    for command in re.findall(r'^lrcontrol train \S+ "(.+?)"', page, flags=re.MULTILINE):
        lrc.method(command)
    for text in re.findall(r"`((?:stop_\w+|whole_cycles|snapshots|warmup)\([^`]*\))`", page):
        control(text)


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice, the second time over what the first has left."""
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "snapshots.py"))
    for _ in range(2):
        example["main"](tmp_path / "snapshots")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == lines[3:]
    alone, together = (float(line.split()[-1]) for line in lines[1:3])
    assert together >= alone - 0.01 > 0.9


def test_a_selection_tells_what_its_run_ended_with(tmp_path: Path) -> None:
    found = lrc.select(
        "digits-softmax",
        methods=["sgd:snapshots(snapshot(3), members=all)"],
        base_lrs=[0.1],
        budget="2runs",
        out=tmp_path,
        executor="serial",
    )
    assert found.record.members == (2233, 4466, 6700)
    assert "It ended as an ensemble of the models after 2233, 4466, 6700 updates." in found.reasons
