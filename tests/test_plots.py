"""Charts, their files, the plot in a terminal, and the curves that are drawn."""

import json
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import numpy as np
import pytest

import lrcontrol as lrc
from lrcontrol.analysis.compare import Stage
from lrcontrol.analysis.curves import outline, smooth, thin
from lrcontrol.errors import BadInput
from lrcontrol.report import charts
from lrcontrol.report.save import save_chart
from lrcontrol.report.terminal import terminal
from lrcontrol.report.theme import HEIGHT, ON_PAPER, PALETTE, WIDTH, Chart
from lrcontrol.report.words import clean, distinct, wrapped
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

ACCURACY = Objective("accuracy", "maximize")
LOSS = Objective("loss", "minimize")
SHAPES = ("constant", "cosine", "rex", "linear", "step", "exponential")


def make_record(
    *,
    method: str = "adamw:cosine",
    base_lr: float = 0.1,
    steps: int = 1000,
    seed: int = 0,
    outcome: Outcome = Outcome.FINISHED,
    objective: Objective = ACCURACY,
    final: float = 0.9,
    evals: int = 10,
) -> Record:
    rng = np.random.default_rng(seed)
    at = sorted({max(1, steps * (index + 1) // evals) for index in range(evals)})
    values = [final * step / steps for step in at]
    loss = np.exp(-np.arange(steps) / steps) + rng.random(steps)
    return Record(
        spec=RunSpec(task="t", method=method, base_lr=base_lr, total_steps=steps, seed=seed),
        outcome=outcome,
        objective=objective,
        evals=tuple(Evaluation(step, {objective.metric: value}) for step, value in zip(at, values, strict=True)),
        cost=Cost(steps, 1.0),
        columns={"loss": loss.astype(np.float32)},
    )


def make_stage(count: int = 54, *, diverged: int = 3, objective: Objective = ACCURACY) -> Stage:
    methods = [f"{name}:{shape}" for name in ("adamw", "sgd", "sgd(momentum=0.5)") for shape in SHAPES]
    records = tuple(
        make_record(
            method=methods[index % len(methods)],
            base_lr=0.001 * 10 ** (index // len(methods)),
            outcome=Outcome.DIVERGED if index < diverged else Outcome.FINISHED,
            objective=objective,
            final=0.5 + index / 200,
        )
        for index in range(count)
    )
    return Stage("race", 1000, records, frozenset(record.id for record in records[-2:]))


def rows_of(chart: Chart) -> list[dict[str, object]]:
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def is_svg(path: Path) -> bool:
    return ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


EVERY_CHART = {
    "learning_curves": lambda: charts.learning_curves([make_record(), make_record(seed=1)], ["a", "b"]),
    "one curve": lambda: charts.learning_curves([make_record()], ["a"]),
    "no curve": lambda: charts.learning_curves([], []),
    "one-step run": lambda: charts.learning_curves([make_record(steps=1)], ["a"]),
    "no evaluations": lambda: charts.learning_curves([make_record(evals=0)], ["a"]),
    "minimized metric": lambda: charts.learning_curves([make_record(objective=LOSS)], ["a"]),
    "diverged curve": lambda: charts.learning_curves([make_record(outcome=Outcome.DIVERGED)], ["a"]),
    "losses": lambda: charts.losses([make_record(), make_record(steps=1)], ["a", "b"]),
    "no columns": lambda: charts.losses([make_record().without_columns()], ["a"]),
    "rates": lambda: charts.rates([make_record(), make_record(method="sgd:step")], ["a", "b"]),
    "rates far apart": lambda: charts.rates([make_record(), make_record(base_lr=1e-4)], ["a", "b"]),
    "one-step rate": lambda: charts.rates([make_record(steps=1)], ["a"]),
    "rate of zero": lambda: charts.rates([make_record(method="sgd:constant(0)")], ["a"]),
    "responses": lambda: charts.responses(make_stage()),
    "responses, minimized": lambda: charts.responses(make_stage(objective=LOSS)),
    "one response": lambda: charts.responses(make_stage(1, diverged=0)),
    "all diverged": lambda: charts.responses(make_stage(6, diverged=6)),
    "empty stage": lambda: charts.responses(Stage("race", 10, ())),
    "costs": lambda: charts.costs([("race", 1000), ("final", 2000)], 1000),
    "no costs": lambda: charts.costs([], 1),
    "costs of nothing": lambda: charts.costs([("race", 0)], 1),
    "schedules": lambda: charts.schedules([("rex", lrc.rex()), ("cosine", lrc.cosine())], 1000),
    "one-step schedule": lambda: charts.schedules([("rex", lrc.rex())], 1),
    "no schedule": lambda: charts.schedules([], 10),
    "many schedules": lambda: charts.schedules([(f"s{index}", lrc.rex()) for index in range(30)], 50),
}


@pytest.mark.parametrize("name", EVERY_CHART)
def test_every_chart_draws_has_a_title_and_finite_numbers_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    chart = EVERY_CHART[name]()
    spec = chart.to_dict()
    json.dumps(spec, allow_nan=False)
    assert spec["title"]["text"]
    assert EVERY_CHART[name]().to_dict() == spec
    save_chart(chart, tmp_path / "chart.svg")
    assert is_svg(tmp_path / "chart.svg")


def test_lines_are_thinned_to_500_points() -> None:
    for chart in (
        charts.losses([make_record(steps=20_000)], ["a"]),
        charts.learning_curves([make_record(steps=5000, evals=2000)], ["a"]),
    ):
        assert 400 <= len(rows_of(chart)) <= 500


def corners_of(chart: Chart) -> list[tuple[object, object]]:
    return [(row["step"], row["value"]) for row in rows_of(chart)]


@pytest.mark.parametrize("total", [8, 301, 1000, 1603, 100_000])
def test_levels_are_drawn_as_levels_and_jumps_upright(total: int) -> None:
    for text in ("step", "linear(times=4)"):
        truth = [float(f"{value:.6g}") for value in lrc.schedule(text).multipliers(total)]
        corners = corners_of(charts.schedules([(text, lrc.schedule(text))], total))
        jumps = [step for step in range(1, total) if truth[step] != truth[step - 1]]
        assert len(jumps) in (2, 3)
        for step in jumps:
            assert (step, truth[step - 1]) in corners
            assert (step, truth[step]) in corners
        levels = sorted(set(corners) - {(step, truth[step]) for step in range(total)})
        assert levels == sorted([*((step, truth[step - 1]) for step in jumps), (total, truth[-1])])


WILD = ["fractal", "rex", "warmup(0.05)+linear", "repeat(cosine, times=300)", "triangular(40)", "cosine*fractal(64)"]


@pytest.mark.parametrize("total", [7, 300, 1000, 20_011])
@pytest.mark.parametrize("text", WILD)
def test_every_column_of_a_chart_reaches_as_low_and_as_high_as_the_schedule_does(text: str, total: int) -> None:
    truth = lrc.schedule(text).multipliers(total)
    rows = rows_of(charts.schedules([(text, lrc.schedule(text))], total))
    where, values = (np.array([row[name] for row in rows], dtype=float) for name in ("step", "value"))
    assert np.all(np.diff(where) >= 0)
    assert all(truth[row["step"]] == pytest.approx(row["value"], rel=1e-5) for row in rows if "joint" not in row)
    pixel, column = truth.max() / HEIGHT, total / WIDTH
    for left in np.linspace(0, total - 1, 400):
        inside = truth[int(left) : int(np.ceil(left + column))]
        near = (where >= left - column) & (where <= left + 2 * column)
        edges = np.interp([left - column, left + 2 * column], where, values)
        drawn = np.concatenate([values[near], edges])
        assert drawn.max() >= inside.max() - pixel
        assert drawn.min() <= inside.min() + pixel


def test_a_smooth_schedule_is_drawn_with_few_corners() -> None:
    """Enough to be pointed at anywhere, and nowhere off by as much as half a pixel."""
    line = lrc.schedule("warmup(0.05)+rex").multipliers(100_000)
    corners = outline(np.arange(line.size), line, grain=1 / HEIGHT)
    assert 100 <= corners.steps.size <= 200
    assert np.diff(corners.steps).max() <= 1001
    drawn = np.interp(np.arange(line.size), corners.steps, corners.values)
    assert np.abs(drawn - line).max() < 0.5 / HEIGHT


def test_bad_levels_are_told() -> None:
    with pytest.raises(BadInput, match="`levels` must have one dimension and one per step"):
        outline([0, 1], [1.0], grain=0.1)
    with pytest.raises(BadInput, match="`grain`"):
        outline([0], [1.0], grain=-1)
    assert outline([], [], grain=0.1).steps.size == 0


def test_a_chart_of_one_schedule_names_it() -> None:
    assert charts.schedules([("rex", lrc.rex())], 10).to_dict()["title"]["subtitle"] == ["rex"]
    assert "subtitle" not in charts.schedules([("rex", lrc.rex()), ("b", lrc.rex())], 10).to_dict()["title"]


def test_axes_show_whole_steps_once_and_no_negative_rate() -> None:
    def encoding(text: str, total: int) -> dict[str, dict[str, dict[str, object]]]:
        found: dict[str, dict[str, dict[str, object]]] = charts.schedules(
            [(text, lrc.schedule(text))], total
        ).to_dict()["layer"][0]["encoding"]
        return found

    assert encoding("rex", 1)["x"]["axis"]["values"] == [0, 1]
    assert encoding("rex", 8)["x"]["axis"]["values"] == list(range(9))
    assert "values" not in encoding("rex", 9)["x"]["axis"]
    assert encoding("constant(0)", 10)["y"]["scale"]["domain"] == [0, 1]


def test_long_names_are_shown_in_lines(tmp_path: Path) -> None:
    name = "+".join(f"linear(start=0.{index}, end=0.{index}, share=0.1)" for index in range(1, 7))
    assert "".join(line.replace(" ", "") for line in wrapped(name)) == name.replace(" ", "")
    assert len(wrapped("x" * 10_000)) == 4
    assert wrapped("x" * 10_000)[-1] == "x" * 109 + "…"
    assert wrapped("") == [""]
    save_chart(charts.schedules([(name, lrc.schedule(name)), ("rex", lrc.rex())], 100), tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text()
    assert all(line in drawn for line in wrapped(name))


def test_a_picture_holds_no_more_than_it_shows(tmp_path: Path) -> None:
    """Three smooth lines are tens of kilobytes; on a page each can be pointed at, in a picture nothing can."""
    labelled = [(text, lrc.schedule(text)) for text in ("rex", "cosine", "warmup(0.05)+linear")]
    save_chart(charts.schedules(labelled, 1000), tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size < 30_000


def test_a_cut_run_is_drawn_to_where_it_was_cut() -> None:
    spec = RunSpec(task="t", method="adamw:linear", base_lr=2.0, total_steps=10, stop_step=4)
    record = Record(spec=spec, outcome=Outcome.FINISHED, objective=Objective("accuracy", "maximize"))
    rows = rows_of(charts.rates([record], ["a"]))
    assert [(row["step"], row["value"]) for row in rows if "joint" not in row] == [
        (0, 2),
        (1, 1.8),
        (2, 1.6),
        (3, 1.4),
    ]
    assert (rows[-1]["step"], rows[-1]["value"]) == (4, 1.4)


def test_the_rates_of_a_control_that_looks_are_those_recorded() -> None:
    spec = RunSpec(task="t", method="adamw:plateau", base_lr=2.0, total_steps=3)
    made = {"spec": spec, "outcome": Outcome.FINISHED, "objective": Objective("accuracy", "maximize")}
    record = Record(**made, columns={"lr": np.array([2.0, 2.0, 0.25], dtype=np.float32)})
    drawn = rows_of(charts.rates([record], ["a"]))
    assert [row["value"] for row in drawn if "joint" not in row] == [2.0, 2.0, 0.25]
    assert rows_of(charts.rates([Record(**made)], ["a"])) == [{"text": "There is nothing to draw."}]


def test_runs_without_a_final_metric_are_marked_in_responses() -> None:
    rows = rows_of(charts.responses(make_stage(12, diverged=5)))
    assert sum(row["value"] is None for row in rows) == 5
    assert sum(row["kept"] == "yes" for row in rows) == 2


def test_crosses_of_one_rate_stand_side_by_side() -> None:
    rows = rows_of(charts.responses(make_stage(18, diverged=4)))
    assert [row["beside"] for row in rows if row["value"] is None] == [-12, -4, 4, 12]


def responses_of(finals: dict[str, float], kept: str = "", objective: Objective = ACCURACY) -> Chart:
    """Of methods at one rate."""
    records = [make_record(method=each, final=final, objective=objective) for each, final in finals.items()]
    last = frozenset(record.id for record in records if str(record.spec.method) == kept)
    return charts.responses(Stage("race", 100, tuple(records), last))


def beside(chart: Chart) -> dict[object, object]:
    return {row["run"]: row["beside"] for row in rows_of(chart) if "beside" in row}


def test_points_that_would_hide_one_another_stand_side_by_side_and_that_is_said() -> None:
    """Those of one method in the order of the legend, also where they are a fraction of a pixel apart."""
    said = "Points that would hide one another stand side by side."
    equal = responses_of({"sgd:rex": 0.9805, "sgd:cosine": 0.9805, "sgd:linear": 0.98051, "adamw:rex": 0.9})
    found = beside(equal)
    assert found.pop("adamw:rex") == 0
    legend = equal.to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert [found[name] for name in legend if name in found] == [-8, 0, 8]
    assert equal.to_dict()["title"]["subtitle"] == said
    apart = responses_of({"sgd:rex": 0.9805, "sgd:cosine": 0.98, "adamw:rex": 0.95})
    assert set(beside(apart).values()) == {0}
    assert said not in apart.to_dict()["title"]["subtitle"]
    large = responses_of({"sgd:rex": 0.98, "sgd:cosine": 0.98}, kept="sgd:cosine")
    assert beside(large) == {"sgd:cosine": -6, "sgd:rex": 6}
    assert large.to_dict()["title"]["subtitle"] == f"Large points went on to the next stage. {said}"
    all_one = responses_of({"sgd:rex": 0.5, "sgd:cosine": 0.5})
    assert set(beside(all_one).values()) == {-4, 4}


def test_points_of_a_logarithmic_axis_hide_one_another_by_the_ratio_of_their_values() -> None:
    found = beside(responses_of({"sgd:rex": 0.001, "sgd:cosine": 0.002, "sgd:linear": 1.0}, objective=LOSS))
    assert set(found.values()) == {0}
    found = beside(responses_of({"sgd:rex": 0.001, "sgd:cosine": 0.001002, "sgd:linear": 1.0}, objective=LOSS))
    assert found == {"sgd:rex": -4, "sgd:cosine": 4, "sgd:linear": 0}


def test_a_chart_of_one_method_or_run_names_it() -> None:
    """It has no legend."""
    told = charts.responses(Stage("race", 100, tuple(make_record(base_lr=lr) for lr in (0.1, 0.2)))).to_dict()
    assert told["title"]["subtitle"] == ["adamw:cosine"]
    for draw in (charts.learning_curves, charts.losses, charts.rates):
        alone = draw([make_record()], ["the run"]).to_dict()["title"]["subtitle"]
        assert alone == (["the run"] if draw is not charts.losses else ["the run.", *alone[1:]])
        several = draw([make_record(), make_record(seed=1)], ["the run", "b"]).to_dict()
        assert isinstance(several["title"].get("subtitle", ""), str)
        assert several["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["the run", "b"]


def test_rates_that_a_control_gave_are_said_to_be_that() -> None:
    """As those that an optimizer found are: in the legend, or on the axis where there are no others."""
    given = msgspec.structs.replace(make_record(method="sgd:l4"), columns={"lr": np.geomspace(9.0, 0.25, 1000)})
    found = charts.rates([given, make_record()], ["a", "b"]).to_dict()["layer"][0]["encoding"]
    assert found["color"]["scale"]["domain"] == ["a (rate given by the control)", "b"]
    assert found["y"]["title"] == "learning rate (log scale)"
    alone = charts.rates([given], ["a"]).to_dict()
    assert alone["layer"][0]["encoding"]["y"]["title"] == "rate given by the control"
    assert alone["title"]["subtitle"] == ["a"]


def test_equal_and_empty_labels_become_distinct() -> None:
    assert distinct(["a", "a", "a (2)", "", " ", "b"]) == ["a", "a (2)", "a (2) (2)", "unnamed", "unnamed (2)", "b"]


def test_clean_text_can_stand_in_xml() -> None:
    hostile = "".join(map(chr, range(0x20))) + "\x7f\ud800\udfff\ufffe\uffff" + "é\u2028\U0001f600"
    ET.fromstring(f"<a>{clean(hostile)}</a>")
    assert clean("é\u2028\U0001f600") == "é\u2028\U0001f600"


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(BadInput, match="one label per item of `records`, got 1 for 0"):
        charts.learning_curves([], ["a"])
    with pytest.raises(BadInput, match="one label per item of `records`"):
        charts.rates([], ["a"])
    with pytest.raises(BadInput, match="one objective"):
        charts.learning_curves([make_record(), make_record(objective=LOSS)], ["a", "b"])
    with pytest.raises(BadInput, match="`full_steps`"):
        charts.costs([], 0)
    with pytest.raises(BadInput, match="`total_steps`"):
        charts.schedules([], 0)


def test_files_are_what_their_suffix_says(tmp_path: Path) -> None:
    chart = charts.schedules([("rex", lrc.rex())], 100)
    for suffix in ("svg", "png", "html", "PNG"):
        save_chart(chart, tmp_path / f"chart.{suffix}")
    assert is_svg(tmp_path / "chart.svg")
    png = (tmp_path / "chart.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width > 1000 > 500 < height
    page = (tmp_path / "chart.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Learning-rate multiplier over 100 steps</h1>" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chart.PNG", "chart.html", "chart.png", "chart.svg"]


def test_files_that_cannot_be_written_are_one_clear_sentence(tmp_path: Path) -> None:
    chart = charts.schedules([("rex", lrc.rex())], 10)
    with pytest.raises(BadInput, match=r"ending in \.svg, \.png, \.html, got 'chart\.jpg'"):
        save_chart(chart, "chart.jpg")
    with pytest.raises(BadInput, match=r"nowhere does not exist; make it first\.$"):
        save_chart(chart, tmp_path / "nowhere" / "chart.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(BadInput, match=r"cannot write .*folder\.svg: .*\.$"):
        save_chart(chart, tmp_path / "folder.svg")
    with pytest.raises(BadInput, match="too long"):
        save_chart(chart, tmp_path / ("x" * 300 + ".svg"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = charts.schedules([("rex", lrc.rex())], 10)
    path = tmp_path / "chart.svg"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lrcontrol.files.os.fsync", full)
    with pytest.raises(BadInput, match="No space left on device"):
        save_chart(chart, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.svg"
    link.symlink_to(tmp_path / "chart.svg")
    save_chart(charts.schedules([("rex", lrc.rex())], 10), link)
    assert link.is_symlink()
    assert is_svg(tmp_path / "chart.svg")


@pytest.mark.parametrize(("width", "height", "steps"), [(30, 5, 1), (80, 20, 12_345), (120, 40, 7)])
def test_terminal_plot_has_the_size_asked(width: int, height: int, steps: int) -> None:
    labelled = [
        ("warmup(0.05)+rex", lrc.warmup(0.05).then(lrc.rex())),
        ("x" * 300, lrc.step()),
        ("\x1b[31m", lrc.linear()),
    ]
    lines = terminal(labelled, steps, width, height).split("\n")
    assert len(lines) == height + 2 + 1 + sum(len(wrapped(name, width - 12)) for name, _ in labelled)
    assert max(map(len, lines)) <= width
    assert not any("\x1b" in line for line in lines)
    assert f"{steps:,}" in lines[height + 1]
    for letter in "abc":
        assert any(letter in line[9:] for line in lines[:height])


def test_a_long_name_is_whole_under_a_plot_in_a_terminal() -> None:
    name = "warmup(0.05)+linear(start=0.4, end=0.3, share=0.2)+cosine(start=0.3, end=0.01, every=10)"
    lines = terminal([(name, lrc.schedule(name))], 100, 80, 5).split("\n")[8:]
    assert len(lines) == 2
    assert " ".join(line.strip() for line in lines).replace("+ ", "+") == name


def test_a_plot_in_a_terminal_is_filled_from_the_lowest_to_the_highest_of_each_column() -> None:
    """Sixteen steps a column, of a schedule that swings within eight: from 1.02 to 16.9 of 16.9."""
    rows = [line[9:] for line in terminal([("fractal", lrc.fractal())], 16 * 2 * 51, 60, 20).split("\n")[:20]]
    assert [set(row) for row in rows[:18]] == [{"⣿"}] * 18
    assert set(rows[18]) == {"⠿"}
    assert rows[19] == ""


def test_terminal_plot_of_nothing_and_of_zero() -> None:
    assert terminal([], 10, 40, 5)
    assert terminal([("zero", lrc.constant(0.0))], 10, 40, 5)


def test_a_line_plotted_in_a_terminal_has_no_gaps() -> None:
    lines = terminal([("step", lrc.step())], 100, 60, 10).split("\n")[:10]
    drawn = ["".join(row).strip(" \u2800") for row in zip(*(line.ljust(60)[9:] for line in lines), strict=True)]
    assert all(drawn)


def test_smoothing_has_no_lag_and_keeps_what_is_level() -> None:
    ramp = np.arange(2000.0)
    assert np.allclose(smooth(ramp)[500:1500], ramp[500:1500], rtol=1e-6)
    assert np.allclose(smooth(np.full(50, 3.0)), 3.0, rtol=1e-12)
    assert smooth([5.0]).tolist() == [5.0]
    assert smooth([]).tolist() == []
    assert smooth([1.0, 2.0], 0).tolist() == [1.0, 2.0]


def test_smoothing_equals_the_sum_it_stands_for() -> None:
    values = np.random.default_rng(0).random(60)
    values[[3, 4, 40]] = np.nan
    width = 0.2 / 2 * 60
    weights = np.exp(-np.abs(np.subtract.outer(np.arange(60), np.arange(60))) / width) * np.isfinite(values)
    expected = weights @ np.nan_to_num(values) / weights.sum(axis=1)
    assert np.allclose(smooth(values, 0.2), expected, rtol=1e-10)


def test_smoothing_lessens_noise() -> None:
    noise = np.random.default_rng(0).normal(size=5000)
    assert smooth(noise).std() < noise.std() / 5


def test_thinning_keeps_ends_and_spikes() -> None:
    line = np.zeros(100_000)
    line[12_345] = 1
    kept = thin(line, 50)
    assert {0, 12_345, 99_999} <= set(kept.tolist())
    assert len(kept) <= 50
    assert thin(np.arange(3.0)).tolist() == [0, 1, 2]
    assert thin([]).tolist() == []
    for most in (2, 3, 499):
        assert 2 <= len(thin(np.random.default_rng(0).random(1000), most)) <= most


def test_thinning_draws_nearly_the_same_line() -> None:
    line = lrc.schedule("warmup(0.01)+repeat(cosine,times=20)").multipliers(100_000)
    kept = thin(line)
    drawn = np.interp(np.arange(line.size), kept, line[kept])
    assert np.abs(drawn - line).max() < 0.01


def test_bad_curves_are_told() -> None:
    with pytest.raises(BadInput, match="one dimension"):
        smooth(np.zeros((2, 2)))
    with pytest.raises(BadInput, match="`share`"):
        smooth([1.0], 2.0)
    with pytest.raises(BadInput, match="one dimension"):
        thin(np.zeros((2, 2)))
    with pytest.raises(BadInput, match="`most`"):
        thin([1.0], 1)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("paper", [ON_PAPER["paper"], "#14171d"])
def test_every_line_stands_out_from_light_and_dark_paper(paper: str) -> None:
    for colour in PALETTE:
        low, high = sorted([luminance(colour), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_a_plot_in_the_terminal_loads_no_chart_library() -> None:
    code = (
        "import sys, lrcontrol; from lrcontrol.report.save import terminal, save_chart; "
        "terminal([('rex', lrcontrol.rex())], 10); "
        "sys.exit(bool({'altair', 'vl_convert', 'jinja2', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
