"""The page of a study: one look a method in all charts, rates that differ by decades, what a result stands beside."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import lrcontrol as lrc
from lrcontrol import api
from lrcontrol.analysis.compare import Stage, standings
from lrcontrol.analysis.course import Course, Leg, joined
from lrcontrol.errors import BadInput
from lrcontrol.report import charts
from lrcontrol.report.looks import Look, looks_of, looks_of_runs
from lrcontrol.report.page import render
from lrcontrol.report.save import save_chart
from lrcontrol.report.study import Study, looks_of_study, study_charts, study_page
from lrcontrol.report.theme import DASHES, NEUTRAL, PALETTE, RUN_DASHES, SHAPES, Chart
from lrcontrol.report.words import undigested
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.store import Store
from lrcontrol.search.search import Candidate
from lrcontrol.selection.portfolio import DEFAULT
from lrcontrol.studies import beside_text, default_among, plain_default
from lrcontrol.training.tasks.catalogue import TASKS

TASK = "digits-mlp"
SHAPES_OF_RATES = ("constant", "cosine", "rex", "linear", "step", "exponential")
METHODS = [f"{name}:{shape}" for name in ("adamw", "sgd", "dog", "sgd(momentum=0.5)") for shape in SHAPES_OF_RATES]


def make_record(
    method: str = "adamw:cosine",
    base_lr: float = 0.1,
    *,
    steps: int = 100,
    final: float = 0.9,
    found: Sequence[float] | None = None,
    outcome: Outcome = Outcome.FINISHED,
    **more: Any,
) -> Record:
    spec = RunSpec(task=TASK, method=method, base_lr=base_lr, total_steps=steps, **more)
    columns = {"loss": np.linspace(2, 1, spec.updates, dtype=np.float32)}
    if found is not None:
        columns |= {"lr": np.ones(spec.updates, np.float32), "found": np.array(found, np.float32)}
    return Record(
        spec=spec,
        outcome=outcome,
        objective=Objective("accuracy", "maximize"),
        evals=(Evaluation(steps // 2, {"accuracy": final / 2}), Evaluation(steps, {"accuracy": final, "loss": 0.5})),
        cost=Cost(spec.updates, 1.0),
        columns=columns,
    )


def make_study(methods: Sequence[str], **fields: Any) -> Study:
    """Two stages in which the methods stand in opposite orders; the last method is the best in the second one."""
    short = tuple(make_record(each, steps=10, final=0.9 - place / 100) for place, each in enumerate(methods))
    full = tuple(make_record(each, final=0.5 + place / 100) for place, each in enumerate(methods))
    stages = (Stage("race", 10, short), Stage("full runs", 100, full))
    made = {"chosen": full[-1], "default": full[0]} | fields
    return Study(TASKS[TASK], "A title", "a lead.", stages, Budget(2000, 100), **made)


def looks_in(chart: Chart) -> dict[str, tuple[str, ...]]:
    """The colour, and the shape where there is one, of each name in a chart's legend."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in chart.to_dict()["layer"]:
        scales = [layer["encoding"].get(channel, {}).get("scale", {}) for channel in ("color", "shape")]
        pairs = [dict(zip(each["domain"], each["range"], strict=True)) for each in scales if "range" in each]
        for name in pairs[0] if pairs else ():
            found[name] = max(found.get(name, ()), tuple(each[name] for each in pairs), key=len)
    return found


def legend_of(path: Path) -> list[tuple[str, str, str, str]]:
    """The entries of a picture's legend: name, colour, dash and outline of its symbol."""
    found = []
    for entry in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}g"):
        if "role-legend-symbol" in entry.get("class", "") and (drawn := next(iter(entry), None)) is not None:
            found.append(
                [
                    drawn.get("stroke", ""),
                    drawn.get("stroke-dasharray", ""),
                    re.sub(r"[\d.-]+", "", drawn.get("d", "")),
                ]
            )
        if "role-legend-label" in entry.get("class", ""):
            found[-1].insert(0, "".join(entry.itertext()))
    return [(name, colour, dash, outline) for name, colour, dash, outline in found]


# ---- one look a method ----


def test_a_method_has_one_colour_in_every_chart_of_a_study_in_the_order_of_its_first_table() -> None:
    study = make_study(METHODS[:6])
    table = [row.method for row in standings(study.stages[-1])]
    assert table == METHODS[5::-1]
    wanted = {method: PALETTE[place] for place, method in enumerate(table)}
    drawn = study_charts(study)
    assert list(drawn) == ["rates", "curves", "losses", "stage 2", "stage 1", "costs"]
    assert [row.method for row in standings(study.stages[0])] != table
    for name in ("stage 1", "stage 2"):
        assert {method: colour for method, (colour,) in looks_in(drawn[name]).items()} == wanted
    for name in ("rates", "curves", "losses"):
        assert looks_in(drawn[name]) == {
            f"chosen: {METHODS[5]} at 0.1": (wanted[METHODS[5]],),
            f"plain default: {METHODS[0]} at 0.1": (wanted[METHODS[0]],),
        }


def test_the_page_draws_the_charts_that_are_saved(tmp_path: Path) -> None:
    study = make_study(METHODS[:6])
    drawn = study_charts(study)
    shown = [section.chart for section in study_page(study).sections if section.chart is not None]
    assert [looks_in(chart) for chart in shown] == [looks_in(chart) for chart in drawn.values()]
    for name in ("rates", "stage 1", "stage 2"):
        save_chart(drawn[name], tmp_path / "chart.svg")
        printed = {name: (colour,) for name, colour, _, _ in legend_of(tmp_path / "chart.svg")}
        assert printed == looks_in(drawn[name])


def test_bars_have_the_colour_of_no_method() -> None:
    (bars,) = [layer["mark"] for layer in charts.costs([("a", 1)], 1).to_dict()["layer"] if layer["name"] == "bars"]
    assert bars["color"] == NEUTRAL
    assert NEUTRAL not in PALETTE


def test_more_methods_than_colours_stay_distinguishable() -> None:
    looks = list(looks_of(f"m{number}" for number in range(len(PALETTE) * 7)).values())
    assert len(set(looks)) == len(looks)
    assert len({(look.colour, look.shape) for look in looks}) == len(looks)
    lines = looks[: len(PALETTE) * len(DASHES)]
    assert len({(look.colour, look.dash) for look in lines}) == len(lines)
    assert math.gcd(len(DASHES), len(SHAPES)) == 1, "dashes and shapes would repeat together"
    assert not set(RUN_DASHES) & set(DASHES)


def test_legends_in_pictures_tell_all_of_many_methods_apart(tmp_path: Path) -> None:
    study = make_study(METHODS)
    assert len(METHODS) > len(PALETTE)
    for name in ("stage 1", "stage 2"):
        save_chart(study_charts(study)[name], tmp_path / "chart.svg")
        legend = legend_of(tmp_path / "chart.svg")
        assert sorted(entry[0] for entry in legend) == sorted(METHODS)
        assert len({(colour, outline) for _, colour, _, outline in legend}) == len(METHODS)
        assert len({dash for _, _, dash, _ in legend}) == 1, "dashes fray what stands for points"
    records = [make_record(method) for method in METHODS]
    save_chart(charts.losses(records, METHODS, looks_of(METHODS)), tmp_path / "chart.svg")
    legend = legend_of(tmp_path / "chart.svg")
    assert len({(colour, dash) for _, colour, dash, _ in legend}) == len(METHODS)


def test_methods_beyond_the_palette_have_dashed_lines_in_the_chart_of_a_stage(tmp_path: Path) -> None:
    records = tuple(make_record(method, lr) for method in METHODS for lr in (0.1, 1.0))
    save_chart(charts.responses(Stage("race", 100, records), looks_of(METHODS)), tmp_path / "chart.svg")
    lines = re.findall(r'aria-roledescription="line mark".*?>', (tmp_path / "chart.svg").read_text())
    looks = {
        (re.findall(r'stroke="(#\w+)"', line)[0], tuple(re.findall(r'dasharray="([\d,]+)"', line))) for line in lines
    }
    assert len(looks) == len(METHODS)


def test_runs_that_are_lost_have_the_points_of_their_methods_where_colours_are_used_up() -> None:
    for methods, mark, said in ((METHODS[:3], "cross", "Crosses at the edge"), (METHODS, None, "Hollow points at")):
        records = [make_record(method) for method in methods]
        records += [make_record(method, 1.0, outcome=Outcome.DIVERGED) for method in methods]
        chart = charts.responses(Stage("race", 100, tuple(records)), looks_of(methods)).to_dict()
        (layer,) = [each for each in chart["layer"] if each["name"] == "lost"]
        assert layer["mark"].get("shape") == mark
        assert ("shape" in layer["encoding"]) == (mark is None)
        assert chart["title"]["subtitle"].startswith(said)


def test_two_runs_of_a_method_have_its_colour_and_two_dashes() -> None:
    looks = looks_of(["adamw:cosine", "sgd:rex"])
    found = looks_of_runs(["a", "b", "c"], ["sgd:rex", "sgd:rex", "adamw:cosine"], looks)
    assert [each.colour for each in found.values()] == [PALETTE[1], PALETTE[1], PALETTE[0]]
    assert found["a"].dash != found["b"].dash
    study = make_study(METHODS[:3])
    again = make_record(METHODS[2], 0.01, final=0.4)
    chart = study_charts(msgspec.structs.replace(study, default=again))["curves"].to_dict()
    scale = chart["layer"][0]["encoding"]["strokeDash"]["scale"]
    assert scale["range"] == [list(DASHES[0]), list(RUN_DASHES[0])]


def test_without_the_looks_of_a_study_every_run_has_a_colour_of_its_own() -> None:
    records = [make_record(base_lr=lr) for lr in (0.1, 0.2)]
    assert looks_in(charts.learning_curves(records, ["a", "b"])) == {"a": (PALETTE[0],), "b": (PALETTE[1],)}


def test_a_method_without_a_look_is_told() -> None:
    looks = looks_of(["sgd:rex"])
    for draw in (
        lambda: charts.losses([make_record()], ["a"], looks),
        lambda: charts.responses(Stage("race", 100, (make_record(),)), looks),
    ):
        with pytest.raises(BadInput, match=r"`looks` must hold every method of the chart, got none for adamw:cosine"):
            draw()


def test_the_default_has_a_look_where_no_table_has_it() -> None:
    default = make_record("dog:rex")
    study = make_study(METHODS[:2], default=default)
    assert list(looks_of_study(study)) == [METHODS[1], METHODS[0], "dog:rex"]
    assert isinstance(looks_of_study(study)["dog:rex"], Look)


# ---- rates that are decades apart ----


def axis_of(chart: Chart) -> tuple[list[float], str, str]:
    """Where the axis of rates begins and ends, its kind, and what the chart says under its title."""
    spec = chart.to_dict()
    scale = spec["layer"][0]["encoding"]["y"]["scale"]
    return scale["domain"], scale.get("type", "linear"), " ".join(spec["title"].get("subtitle", []))


def risen(steps: int, first: float, last: float) -> list[float]:
    """What an optimizer finds: from the first rate to the last one in a tenth of the run, then level."""
    return [*np.geomspace(first, last, steps // 10), *[last] * (steps - steps // 10)]


def test_a_rate_that_was_found_is_drawn_from_its_first_decade_on_beside_one_that_was_given() -> None:
    found = make_record("prodigy:constant", 1.0, found=risen(100, 1e-6, 0.02))
    given = make_record("adamw:constant", 1e-3)
    (low, high), kind, said = axis_of(charts.rates([found, given], ["a", "b"]))
    assert kind == "log"
    assert low == pytest.approx(1e-6 / 1.15)
    assert high == pytest.approx(0.02 * 1.15)
    assert said == ""


def test_an_axis_of_rates_is_no_longer_than_eight_decades_and_says_what_is_below() -> None:
    found = make_record("dog:constant", 1.0, found=risen(100, 1e-9, 2.0))
    given = make_record("adamw:constant", 1e-3)
    (low, _), _, said = axis_of(charts.rates([found, given], ["a", "b"]))
    assert low == pytest.approx(2e-8 / 1.15)
    assert said == ("Lines are cut off below 2e-08; a (rate found by the optimizer) goes down to 1e-09.")


def test_the_last_steps_of_a_schedule_do_not_stretch_the_axis() -> None:
    found = make_record("dog:constant", 1.0, steps=1000, found=risen(1000, 1e-5, 1.0))
    given = make_record("adamw:cosine", 1e-3, steps=1000)
    (low, _), _, said = axis_of(charts.rates([found, given], ["a", "b"]))
    end = 1e-3 * lrc.cosine().multipliers(1000)
    assert end[949] == pytest.approx(low * 1.15)
    assert said == f"Lines are cut off below {end[949]:.2g}; b goes down to {end[-1]:.2g}."


def test_of_every_line_two_decades_are_there_however_low_it_is() -> None:
    found = make_record("dog:constant", 1.0, found=risen(100, 1e-3, 1e9))
    given = make_record("adamw:linear", 1e-5)
    (low, _), _, said = axis_of(charts.rates([found, given], ["a", "b"]))
    assert low <= 1e-7
    rows = [row for rows in charts.rates([found, given], ["a", "b"]).to_dict()["datasets"].values() for row in rows]
    assert max(row["value"] for row in rows if row["run"] == "b") > low
    assert said == ""


def test_a_rate_of_zero_lies_below_a_logarithmic_axis_and_is_told() -> None:
    given = [make_record("sgd:constant(0, steps=2)+constant", 1.0), make_record("sgd:constant", 0.01)]
    _, kind, said = axis_of(charts.rates(given, ["a", "b"]))
    assert kind == "log"
    assert said.endswith("a goes down to 0.")


def test_axes_that_are_not_logarithmic_say_nothing() -> None:
    given = [make_record("sgd:linear", 1.0), make_record("sgd:cosine", 0.5)]
    assert axis_of(charts.rates(given, ["a", "b"])) == ([0.0, 1.0], "linear", "")


# ---- what stands at the top, and what the result stands beside ----


def make_course(rates: Sequence[float]) -> Course:
    legs, before = [], None
    for place, rate in enumerate(rates):
        stop = 10 * (place + 1)
        spec = {"start": None if before is None else Start(before, 10 * place), "stop_step": stop}
        record = make_record("adamw:constant", rate, **spec, checkpoint=True)
        legs.append(Leg(10 * place, stop, ((rate, 0.5), (1e-4, 0.7)), record))
        before = record.id
    return Course(tuple(legs), joined([leg.record for leg in legs]))


RATES = [0.03, 0.0053712, 0.0070471, 0.0023781, 0.0034163, 0.0016552, 0.0012345, 0.0009876, 0.0006543, 0.0003211]


def test_a_run_in_stages_is_headed_by_words_and_not_by_a_digest() -> None:
    course = make_course(RATES)
    assert re.search(r", [0-9a-f]{6}\)", course.whole.spec.method.label), "there is one to leave out"
    study = make_study(METHODS[:2], course=course, chosen=course.legs[-1].record, default=None)
    page = study_page(study)
    assert page.figures[0] == ("method", "adamw in 10 stages", "a rate found for each")
    assert page.figures[1] == ("learning rate", "0.0003211 to 0.03", "constant within a stage")
    one_name = "chosen: adamw in 10 stages at 0.0003211 to 0.03"
    assert list(looks_in(study_charts(study)["rates"])) == [one_name]
    text = re.sub(r'<script type="application/zlib".*?</script>', "", render(page))
    assert not re.search(r"levels, [^<]*, [0-9a-f]{6}", text)


def test_one_stage_and_one_rate_are_told_as_one() -> None:
    course = make_course([0.03])
    study = make_study(METHODS[:2], course=course, chosen=course.legs[-1].record, default=None)
    assert (study.headline, study.headline_rate) == ("adamw in 1 stage", "0.03")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("adamw:table(100 values e856c4, end=0.1)", "adamw:table(100 values, end=0.1)"),
        ("adamw:table(100 values e856c4)", "adamw:table(100 values)"),
        ("sgd:over(3 levels, 1 to 0.003, 8245f3)", "sgd:over(3 levels, 1 to 0.003)"),
        ("sgd:step(milestones=(1000, 200000))", "sgd:step(milestones=(1000, 200000))"),
        ("sgd:linear*table(20 values 123456)*l4", "sgd:linear*table(20 values)*l4"),
    ],
)
def test_only_digests_are_left_out(label: str, words: str) -> None:
    assert undigested(label) == words


def test_a_long_table_is_headed_without_its_digest_and_told_apart_with_it() -> None:
    method = f"adamw:table(values={tuple(place / 100 for place in range(100))})"
    record = make_record(method)
    study = make_study(METHODS[:2], chosen=record, default=None)
    assert study.headline == "adamw:table(100 values)"
    assert re.search(r"table\(100 values [0-9a-f]{6}", record.spec.method.label)


def test_a_result_is_told_beside_the_plain_default_alone_where_there_is_one() -> None:
    result, default = make_record(base_lr=0.5), make_record(base_lr=1e-3, final=0.25)
    assert beside_text(result, default, DEFAULT, "1.98 runs", alone=True) == [
        "Beside it stands the plain default, adamw:cosine at 0.001: validation accuracy 0.25 in one full run, "
        "where this took 1.98 runs in all."
    ]
    assert beside_text(result, None, DEFAULT, "2 runs", alone=True) == [
        "Nothing stands beside it: no full run of the plain default, adamw:cosine at 0.001, with this seed has ended "
        "well here."
    ]
    assert beside_text(result, None, DEFAULT, "2 runs", alone=False) == []
    assert beside_text(result, result, DEFAULT, "2 runs", alone=True) == []
    assert beside_text(None, default, DEFAULT, "2 runs", alone=True) == []


def test_the_plain_default_of_a_task_with_its_own_optimizer_is_its_own() -> None:
    assert plain_default(TASKS[TASK]) == DEFAULT
    own = msgspec.structs.replace(TASKS[TASK], method="own:linear", base_lr=0.2)
    assert plain_default(own) == Candidate(lrc.method("own:linear"), 0.2)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, True),
        ({"save": True}, True),
        ({"outcome": Outcome.DIVERGED}, False),
        ({"seed": 1}, False),
        ({"steps": 99}, False),
        ({"stop_step": 50}, False),
        ({"base_lr": 1e-2}, False),
        ({"method": "adamw:linear"}, False),
    ],
)
def test_the_plain_default_among_records_is_a_full_run_that_works(
    fields: dict[str, Any], wanted: bool, tmp_path: Path
) -> None:
    record = make_record(**{"base_lr": 1e-3} | fields)
    with Store(tmp_path / "runs.db") as store:
        store.add(record)
        found = default_among(store, TASKS[TASK], 100, 0)
    assert (found is not None) == wanted
    if found is not None:
        assert found.id == record.id
        assert found.column("loss").size == 100


def test_a_search_in_stages_finds_the_plain_default_among_the_records_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, its page says that there is none; with it, it stands in the charts and in a sentence."""
    monkeypatch.setitem(TASKS, TASK, msgspec.structs.replace(TASKS[TASK], full_steps=320))
    where = {"out": tmp_path / "a", "executor": "serial"}
    alone = api.search(TASK, "autolrs", budget="2runs", **where).study
    assert alone.default is None
    assert any(sentence.startswith("Nothing stands beside it") for sentence in alone.reasons)
    assert [name for name in looks_in(study_charts(alone)["curves"]) if name.startswith("plain")] == []
    grid = api.search(TASK, "grid", methods=["adamw:cosine"], base_lrs=[1e-3, 1e-2], budget="2runs", **where).study
    assert grid.default is not None
    found = api.search(TASK, "autolrs", budget="2runs", **where).study
    assert found.default is not None
    assert found.default.id == grid.default.id
    (told,) = [sentence for sentence in found.reasons if "stands" in sentence]
    assert f"the plain default, adamw:cosine at 0.001: validation accuracy {found.default.final:.4g} in one" in told
    assert found.reasons[-1].startswith("Spent ")
    assert "plain default: adamw:cosine at 0.001" in looks_in(study_charts(found)["curves"])
    assert {name: note for name, _, note in study_page(found).figures}["validation accuracy"] == (
        f"plain default: {found.default.final:.4g}"
    )
    other = api.search(TASK, "autolrs", budget="2runs", seed=1, **where).study
    assert other.default is None, "another seed is another draw"
