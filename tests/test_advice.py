"""Advice: ratios of the bound, and what a user may give for a log."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrcontrol as lrc
from command_kit import Run, caller
from lrcontrol.analysis.bound import last_iterate_bound
from lrcontrol.cli_words import with_files
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.refining import SHAPES, advise, asked_of, refine
from lrcontrol.runs.gradient_log import GradientLog, GradientLogFile
from lrcontrol.runs.method import method

NORMS = 1 + 9 * np.exp(-np.arange(600) / 20)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(capfd)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of every step, both norms."""
    path = tmp_path / "norms.jsonl"
    with GradientLogFile(path) as file:
        file.write(np.arange(600), l1=100 * NORMS, l2=NORMS, lr=0.1)
    return path


@pytest.fixture
def study(tmp_path: Path, short: str) -> Path:
    """A folder with one run that recorded its norms."""
    lrc.train(short, "adamw:linear", base_lr=3e-3, norms=("l1", "l2"), out=tmp_path / "study")
    return tmp_path / "study"


def test_every_ratio_is_that_of_bounds_at_their_best_rates() -> None:
    given = advise(np.ones(400), observed="cosine", to=["wsd", "rex"], new_steps=1600, base_lr=0.02)
    start = last_iterate_bound(lrc.cosine().multipliers(400))
    for row in given.rows:
        bound = last_iterate_bound(lrc.schedule(row.name).multipliers(1600))
        assert row.bound_ratio == pytest.approx(bound.value / start.value, rel=1e-9)
        assert row.lr_ratio == pytest.approx(bound.base_lr / start.base_lr, rel=1e-9)
        assert row.base_lr == pytest.approx(0.02 * row.lr_ratio)
    assert [row.bound_ratio for row in given.rows] == sorted(row.bound_ratio for row in given.rows)
    assert given.lowest.bound_ratio < given.rows[0].bound_ratio


def test_four_times_the_steps_ask_for_half_the_rate() -> None:
    """As convex theory has it, for one shape and constant norms."""
    (row,) = advise(np.ones(1000), observed="linear", to=["linear"], new_steps=4000).rows
    assert (row.lr_ratio, row.bound_ratio) == pytest.approx((0.5, 0.5), rel=1e-2)


@pytest.mark.parametrize("order", ["l1", "l2"])
def test_the_refined_schedule_has_nearly_the_lowest_bound(order: Any) -> None:
    """The bound takes the norms as the closed form does: for l1 in place of the squares of l2."""
    norms = 1 + 9 * np.exp(-np.arange(2000) / 300)
    given = advise(norms, order=order, smoothing=0)
    assert given.rows[0].name == "refined"
    assert 1 <= given.rows[0].bound_ratio / given.lowest.bound_ratio < 1.005


def test_what_was_not_logged_is_no_bad_reading() -> None:
    """A norm of every tenth row; one of two columns that is empty; a log that goes on after its last norm."""
    sparse = np.full(1000, np.nan)
    sparse[::10] = NORMS[:100]
    plain = refine(NORMS[:100], steps=np.arange(0, 1000, 10), total_steps=1000, order="l1")
    log = GradientLog(np.arange(1000), l1=sparse, l2=np.full(1000, np.nan), loss=np.ones(1000), total_steps=1000)
    assert (refine(log).schedule, refine(log).order) == (plain.schedule, "l1")
    assert refine(log).notes == ("900 of 1000 rows hold no l1 norm.", "1000 of 1000 rows hold no l2 norm.")
    assert "they stand for the l2 norms" in refine(log, order="l2").notes[-1]
    cut = np.concatenate([np.linspace(2, 1, 500), np.full(500, np.nan)])
    beside = GradientLog(np.arange(1000), l2=cut, loss=np.ones(1000))
    assert "no norm after step 499 of 1000" in refine(beside, order="l2").notes[-1]
    assert advise(beside, observed="linear").observed.total_steps == 1000


def test_nan_in_a_row_of_nothing_else_is_a_bad_reading() -> None:
    """They are counted, and refused where they are most of the log."""
    cut = np.concatenate([np.linspace(2, 1, 600), np.full(400, np.nan)])
    assert "400 of 1000 readings were left out" in refine(GradientLog(np.arange(1000), l2=cut)).notes[1]
    with pytest.raises(BadInput, match="got 400 of 1000"):
        refine(GradientLog(np.arange(1000), l2=cut[::-1][:1000] * np.where(np.arange(1000) < 600, np.nan, 1)))


def test_what_bears_on_advice_is_told() -> None:
    """A refined schedule that is no good, and logged rates of another schedule than the one named."""
    collapsing = np.exp(-np.arange(1000) / 200)
    assert any(note.startswith("refined: ") for note in advise(collapsing, observed="linear").notes)
    assert advise(collapsing, observed="linear", to=["cosine"], order="l1").notes == ()
    log = GradientLog(np.arange(600), l2=NORMS, lr=0.1 * lrc.cosine().multipliers(600))
    assert "not those of the schedule that is named" in advise(log, observed="constant").notes[-1]
    assert not any("named" in note for note in advise(log, observed="cosine").notes)
    rows = advise(NORMS, to={"mine": lrc.table((1.0, 0.5, 0.0)), "refined": "refined"}, observed="linear").rows
    assert {row.name for row in rows} == {"mine", "refined"}


def test_the_horizon_of_readings_at_even_distances() -> None:
    assert advise(np.ones(200), observed="linear").observed.total_steps == 200
    for first, total in ((0, 2000), (10, 2000), (5, 2000)):
        log = GradientLog(np.arange(first, 2000 + (first == 10), 10), l2=np.ones(200))
        assert advise(log, observed="linear").observed.total_steps == total


def test_the_log_is_not_written_over(call: Run, log: Path) -> None:
    before = log.read_bytes()
    said = call("refine", log, "-o", log)
    assert (said.status, "is the log itself" in said.err, log.read_bytes() == before) == (2, True, True)


def test_what_tells_the_schedule_of_the_log() -> None:
    rates = 0.1 * lrc.cosine().multipliers(600)
    told = advise(GradientLog(np.arange(600), l2=NORMS, lr=rates), to="linear")
    named = advise(NORMS, observed="cosine", to="linear", base_lr=0.1)
    assert (told.observed.name, told.observed.base_lr) == ("its logged rates", 0.1)
    assert told.rows[0].lr_ratio == pytest.approx(named.rows[0].lr_ratio, rel=0.01)
    assert "constant is assumed" in advise(NORMS).notes[-1]
    assert "for Adam" in advise(NORMS).notes[0]
    assert advise(NORMS, order="l1", observed="linear").notes == ()


def test_one_spike_changes_little() -> None:
    spiked = NORMS.copy()
    spiked[300] = 1e6
    for row, other in zip(advise(NORMS).rows, advise(spiked).rows, strict=True):
        assert row.name == other.name
        assert row.lr_ratio == pytest.approx(other.lr_ratio, rel=0.01)


def test_all_that_stands_for_a_log(log: Path, study: Path) -> None:
    """Arrays, values, files, records and stores: the same norms, the same schedule."""
    plain = refine(NORMS, order="l2").schedule
    assert refine(GradientLog(np.arange(600), l2=NORMS)).schedule == plain
    assert refine(log).schedule == refine(str(log), order="l2").schedule == plain
    assert refine(log, order="l1").order == "l1"
    from lrcontrol.runs.store import Store

    with Store(study / "runs.db") as store:
        record = store.record(store.records()[0].id)
    found = refine(record)
    assert found.order == "l1"  # of a run of adamw
    assert refine(study).schedule == refine(study / "runs.db", run=record.id[:6]).schedule == found.schedule
    seen = advise(study)
    assert (seen.observed.name, seen.observed.base_lr) == ("linear", 3e-3)
    assert {row.name for row in seen.rows} == {str(lrc.schedule(each)) for each in SHAPES} | {"refined"}


def test_logs_in_other_blocks_are_the_same_log(tmp_path: Path) -> None:
    """Written in 100 other ways, read and refined: equal to the bit."""
    chance = np.random.default_rng(5)
    plain = refine(NORMS, order="l2").schedule
    same = 0
    for index in range(100):
        path = tmp_path / f"{index}.{'csv' if index % 2 else 'jsonl'}"
        with GradientLogFile(path) as file:
            for block in np.split(np.arange(600), np.unique(chance.integers(1, 600, chance.integers(0, 40)))):
                file.write(block, l2=NORMS[block])
        same += refine(path).schedule == plain
    print(f"RELIABILITY G9 chunkings=100 equal={same}")
    assert same == 100


@pytest.mark.parametrize(
    ("given", "changed", "said"),
    [
        (GradientLog(np.arange(30), loss=np.ones(30)), {}, "the log has no gradient norms: no reading of l1 or l2"),
        (GradientLog(np.arange(30), l2=np.ones(30)), {"steps": np.arange(30)}, "a log tells its own"),
        (GradientLog(np.arange(100), l2=np.ones(100), total_steps=40), {}, "got 40 and step 99"),
        (np.ones(30), {"order": "max"}, "unknown order of a norm"),
        (np.ones(5), {}, "at least 20 finite readings"),
        ("nowhere.jsonl", {}, "nowhere.jsonl"),
    ],
)
def test_what_is_no_log_is_one_sentence(given: Any, changed: dict[str, Any], said: str) -> None:
    with pytest.raises((BadInput, RecordError), match=said):
        refine(given, **changed)


def test_runs_of_a_store_are_named(study: Path, short: str) -> None:
    with pytest.raises(RecordError, match="of 0 of the 1 runs"):
        refine(study, run="zzz")
    lrc.train(short, "adamw:linear", base_lr=1e-2, norms=("l2",), out=study)
    assert "the best of 2 that have some" in refine(study).notes[0]
    plain = study.parent / "plain"
    lrc.train(short, "adamw:linear", base_lr=1e-2, out=plain)
    with pytest.raises(RecordError, match="no run with gradient norms; train with --norms l2"):
        refine(plain)


def test_what_a_run_asks_for(study: Path) -> None:
    """Its optimizer, the refined schedule of a thousand values at most, and the rate that the bound gives."""
    from lrcontrol.runs.store import Store

    with Store(study / "runs.db") as store:
        run = store.records()[0].id
    asked = asked_of(study / "runs.db", run)
    assert not isinstance(asked, str), asked
    assert asked.method.optimizer == method("adamw:linear").optimizer
    ratio = advise(study, to=[str(refine(study, points=1000).schedule)]).rows[0].lr_ratio
    assert asked.base_lr == pytest.approx(3e-3 * min(max(ratio, 0.25), 4))


def test_refine_writes_a_schedule_that_trains(call: Run, log: Path, tmp_path: Path, short: str) -> None:
    schedule, picture = tmp_path / "refined.json", tmp_path / "refined.svg"
    said = call("refine", log, "-o", schedule, "--plot", picture, "--order", "l2")
    assert said.status == 0
    assert "600 norms ask for by order l2" in said.out
    assert "<svg" in picture.read_text()[:200]
    kept = lrc.from_json(schedule.read_bytes())
    assert kept == refine(log, order="l2", points=1000).schedule
    whole = lrc.warmup(0.1).then(lrc.linear())
    spaced = tmp_path / "my runs" / "s.json"
    spaced.parent.mkdir()
    spaced.write_text(lrc.to_json(whole))
    assert lrc.schedule(with_files(f'@"{spaced}"*cosine')) == whole * "cosine"
    trained = call("train", short, f"sgd:warmup(0.1)+@{schedule}*cosine", "--lr", "0.01")
    assert (trained.status, "table(" in trained.out) == (0, True)
    assert call("plot", f"@{schedule}").status == 0
    assert f"cannot read {tmp_path / 'none.json'}" in call("plot", f"@{tmp_path / 'none.json'}").err
    assert "must have" in call("plot", f"@{picture}").err or "JSON" in call("plot", f"@{picture}").err


def test_advise_on_the_command_line(call: Run, log: Path) -> None:
    arguments = ("--from", "cosine", "--to", "wsd(cooldown=0.2)", "--steps", "600", "--new-steps", "1200")
    said = call("advise", log, *arguments, "--lr", "0.1")
    assert said.status == 0
    assert "wsd(cooldown=0.2)" in said.out
    told = lrc.advise(log, observed="cosine", to=["wsd(cooldown=0.2)"], steps=600, new_steps=1200, base_lr=0.1)
    assert f"{told.rows[0].base_lr:.3g}" in said.out
    assert '"bound_ratio"' in call("advise", log, "--json").out
    assert call("advise", log, "--to", "cosin").status == 2


def test_advise_takes_lengths_in_epochs(call: Run, log: Path) -> None:
    def told(*arguments: str) -> Any:
        return json.loads(call("advise", log, *arguments, "--json").out)["rows"]

    epochs = told(
        "--from", "warmup(3ep)+linear", "--to", "warmup(1ep)+rex", "--to", "refined", "--steps-per-epoch", "50"
    )
    steps = told("--from", "warmup(150)+linear", "--to", "warmup(50)+rex", "--to", "refined")
    assert {each["name"] for each in epochs} == {"warmup(1ep)+rex", "refined"}
    assert [each["bound_ratio"] for each in epochs] == [each["bound_ratio"] for each in steps]
    assert "lengths in epochs need `--steps-per-epoch`" in call("advise", log, "--to", "warmup(1ep)+rex").err
