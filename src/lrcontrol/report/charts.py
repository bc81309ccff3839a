"""Charts: records, specs, stages and schedules come in, Altair charts go out."""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.analysis.compare import Stage, standings
from lrcontrol.analysis.curves import smooth
from lrcontrol.controls.control import OpenLoop
from lrcontrol.errors import BadInput
from lrcontrol.report.marks import (
    ROW,
    Extent,
    Row,
    Series,
    axis_title,
    colours_of,
    described,
    empty_chart,
    focus_and_params,
    line_chart,
    overlaid,
    shade,
    side_by_side,
    spans_decades,
    tip,
    values_of,
)
from lrcontrol.report.theme import PALETTE, Chart, finish
from lrcontrol.report.words import begun, clean, distinct, wrapped
from lrcontrol.runs.record import Objective, Outcome, Record
from lrcontrol.schedules.schedule import Schedule

__all__ = ["costs", "learning_curves", "losses", "rates", "responses", "schedules"]

FOUND = "rate found by the optimizer"
HINT = "Hover to single out a line; click a name to keep it, shift-click for several."


def learning_curves(records: Sequence[Record], labels: Sequence[str]) -> Chart:
    """The validation metric of a few runs, against the step.

    Args:
        records: of one task; evaluations are taken from `evals`.
        labels: one per record.
    Raises:
        BadInput: another number of labels than of records, or records of several objectives.
    """
    objective = _objective(records)
    series = []
    for record, name in zip(records, _run_labels(records, labels), strict=True):
        points = [
            (found.step, found.values[objective.metric]) for found in record.evals if objective.metric in found.values
        ]
        steps, values = [step for step, _ in points], [value for _, value in points]
        series.append(Series(name, np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)))
    return _metric_chart(
        series,
        title=f"{begun(clean(objective.told))} as the runs went on",
        subtitle=HINT if len(series) > 1 else "",
        y_title=described(objective),
        objective=objective,
        usable=[record.usable for record in records],
    )


def losses(records: Sequence[Record], labels: Sequence[str]) -> Chart:
    """The training loss of a few runs, smoothed without lag, against the step.

    Args:
        records: with their column `loss`; those without one are left out.
        labels: one per record.
    Raises:
        BadInput: another number of labels than of records.
    """
    series = []
    for record, name in zip(records, _run_labels(records, labels), strict=True):
        values = smooth(record.columns.get("loss", ()))
        series.append(Series(name, np.arange(values.size), values))
    return _metric_chart(
        series,
        title="Training loss as the runs went on",
        subtitle="Loss of the batch before each update, averaged over about 2 % of the run.",
        y_title="training loss (lower is better)",
        objective=Objective("loss", "minimize"),
        usable=[record.usable for record in records],
    )


def rates(records: Sequence[Record], labels: Sequence[str]) -> Chart:
    """The learning rate in force at every step of some runs: as planned, or as recorded where the control looked.

    Where the optimizer finds its rate, what it found times what was in force is drawn, and said to be that. The axis
    is logarithmic where the peaks of the runs are more than a factor of 10 apart, and where a rate was found, which
    begins orders of magnitude below.

    Args:
        records: a cut run is drawn up to its stop_step; one of a control that looks is left out if it has no column
            `lr`.
        labels: one per record.
    Raises:
        BadInput: another number of labels than of records.
    """
    _same_number("records", records, labels)
    series = []
    found = [record.found_rates for record in records]
    by_all = all(each is not None for each in found)
    named = [
        label if by_all or each is None else f"{label} ({FOUND})" for label, each in zip(labels, found, strict=True)
    ]
    for record, name, of_found in zip(records, distinct(named), found, strict=True):
        spec, control = record.spec, record.spec.method.control
        if of_found is not None:
            series.append(Series(name, spec.first_step + np.arange(of_found.size), of_found))
        elif isinstance(control, OpenLoop):
            multipliers = control.multipliers(spec.total_steps)
            series.append(_levels(name, spec.base_lr * multipliers[: spec.stop_step]))
        elif "lr" in record.columns:
            series.append(_levels(name, record.column("lr").astype(np.float64)))
    peaks = [
        peak for line in series if (peak := float(line.values.max(initial=0, where=np.isfinite(line.values)))) > 0
    ]
    apart = bool(peaks) and (max(peaks) > 10 * min(peaks) or any(each is not None for each in found))
    return line_chart(
        series,
        title="Learning rate at every step",
        y_title=FOUND if by_all and found else "learning rate",
        log=apart,
        bounds=(min(peaks) / (1e5 if by_all else 100) if apart else None, None),
        from_zero=True,
        levels=True,
    )


def schedules(labelled: Sequence[tuple[str, Schedule]], total_steps: int) -> Chart:
    """The multipliers of named schedules over one horizon.

    Args:
        labelled: names and schedules.
        total_steps: >= 1; the horizon all are laid over.
    """
    checks.integer("total_steps", total_steps, low=1)
    names = distinct([label for label, _ in labelled])
    return line_chart(
        [_levels(name, given.multipliers(total_steps)) for name, (_, given) in zip(names, labelled, strict=True)],
        title=f"Learning-rate multiplier over {total_steps:,} {'step' if total_steps == 1 else 'steps'}",
        subtitle=wrapped(names[0]) if len(names) == 1 else "",
        y_title="multiplier of the base learning rate",
        from_zero=True,
        levels=True,
    )


def responses(stage: Stage) -> Chart:
    """The final validation metric against the base learning rate, one line per method, the best method first.

    Runs without a final metric (diverged, failed) are crosses at the bad edge of the chart; runs that went on to
    the next stage are large points. Where a rate was run with several seeds the line goes through their mean.
    """
    rows = [_response(record, stage) for record in stage.records]
    usable = [row for row in rows if row["value"] is not None]
    lost = [row for row in rows if row["value"] is None]
    title = f"What each method made of each learning rate: {clean(stage.name)}"
    if not usable:
        return empty_chart(title, f"None of the {len(rows)} runs has a final metric.")
    objective = _objective(stage.records)
    names = [clean(standing.method) for standing in standings(stage)]
    focus, params = focus_and_params()
    colour, dash = colours_of(names)
    finals = [row["value"] for row in usable]
    log_y = spans_decades(finals, objective)
    y_title = axis_title(f"final {described(objective)}", log=log_y)
    shared = {
        "x": alt.X(
            "base_lr:Q",
            title="base learning rate (log scale)",
            **Extent.of([row["base_lr"] for row in rows]).scale_and_axis(log=True),
        ),
        "color": colour,
        "opacity": shade(focus),
    }
    tooltip = tip(
        {
            "method": f"{ROW}.run",
            "base learning rate": f"format({ROW}.base_lr, '.4~g')",
            f"final {clean(objective.metric)}": f"isValid({ROW}.value) ? format({ROW}.value, '.4~g') : 'none'",
            "seed": f"{ROW}.seed",
            "outcome": f"{ROW}.outcome",
            "went on": f"{ROW}.kept",
        }
    )
    base = alt.Chart(values_of(usable)).encode(**shared)
    y_axis = Extent.of(finals).scale_and_axis(log=log_y)
    lines = base.mark_line().encode(y=alt.Y("mean(value):Q", title=y_title, **y_axis), **dash)
    points = base.mark_point(filled=True).encode(
        y=alt.Y("value:Q", title=y_title, **y_axis),
        size=alt.when("datum.kept == 'yes'").then(alt.value(130)).otherwise(alt.value(36)),
        tooltip=tooltip,
    )
    layers = [lines.properties(name="lines"), points.properties(name="points").add_params(*params)]
    if lost:
        edge = alt.value(0) if objective.direction == "minimize" else alt.value("height")
        base = alt.Chart(values_of(side_by_side(lost)), name="lost")
        crosses = base.mark_point(shape="cross", angle=45, filled=True, size=70, xOffset=alt.ExprRef("datum.beside"))
        layers.append(crosses.encode(**shared, y=edge, tooltip=tooltip))
    notes = ["Large points went on to the next stage."] if stage.kept else []
    notes += ["Crosses at the edge have no final metric: they diverged or failed."] if lost else []
    return finish(overlaid(*layers), names, title=title, subtitle=" ".join(notes) or HINT, height=340)


def costs(stages: Sequence[tuple[str, int]], full_steps: int) -> Chart:
    """What each stage cost, in full runs and in steps.

    Args:
        stages: names and updates made, in order.
        full_steps: >= 1; the steps of one full run.
    """
    full = checks.integer("full_steps", full_steps, low=1)
    names = distinct([name for name, _ in stages])
    spent = [checks.integer("steps", steps) for _, steps in stages]
    total = sum(spent)
    title = f"Where the budget went: {total / full:.2f} full runs, {total:,} steps"
    if not stages:
        return empty_chart(title, "No stage was run.")
    rows: list[Row] = [
        {
            "stage": name,
            "runs": steps / full,
            "steps": steps,
            "share": steps / max(total, 1),
            "text": f"{steps / full:.2f} runs · {steps:,} steps",
        }
        for name, steps in zip(names, spent, strict=True)
    ]
    widest = 1.35 * max(spent) / full or 1.0  # leaves room for the text behind the longest bar
    base = alt.Chart(values_of(rows)).encode(
        y=alt.Y("stage:N", title=None, sort=names, axis=alt.Axis(labelLimit=260, grid=False)),
        x=alt.X(
            "runs:Q",
            title=f"cost in full runs (1 = {full:,} {'step' if full == 1 else 'steps'})",
            scale=alt.Scale(domain=[0, widest], nice=False),
            axis=alt.Axis(tickCount=6),
        ),
        tooltip=[
            alt.Tooltip("stage:N", title="stage"),
            alt.Tooltip("runs:Q", title="full runs", format=".2f"),
            alt.Tooltip("steps:Q", title="steps", format=",d"),
            alt.Tooltip("share:Q", title="share of all", format=".1%"),
        ],
    )
    bars = base.mark_bar(color=PALETTE[0], cornerRadiusEnd=3, height={"band": 0.6}).properties(name="bars")
    text = base.mark_text(style="label", align="left", dx=8).encode(text="text:N").properties(name="text")
    return finish(overlaid(bars, text), title=title, height=38 * len(rows) + 8)


def _metric_chart(
    series: Sequence[Series], *, objective: Objective, usable: Sequence[bool], title: str, subtitle: str, y_title: str
) -> Chart:
    """Lines of a metric to be compared.

    Where it is minimized, runs that are not usable leave the chart at the top, lest they press the others flat.
    """
    lines = [line.drawable(positive=False) for line in series]
    good = [line.values.max() for line, works in zip(lines, usable, strict=True) if works and line.values.size]
    ceiling = 3 * float(max(good)) if good and objective.direction == "minimize" and max(good) > 0 else None
    shown = (min(value, ceiling or value) for line in lines for value in line.values)
    return line_chart(
        series,
        title=title,
        subtitle=subtitle,
        y_title=y_title,
        log=spans_decades(shown, objective),
        bounds=(None, ceiling),
    )


def _levels(name: str, values: NDArray[np.float64]) -> Series:
    """A line with a value at every step."""
    return Series(name, np.arange(values.size), values)


def _response(record: Record, stage: Stage) -> Row:
    final = record.final
    return {
        "run": clean(record.spec.method.label),
        "base_lr": record.spec.base_lr,
        "value": final if final is not None and math.isfinite(final) else None,
        "seed": record.spec.seed,
        "outcome": str(record.outcome),
        "kept": "yes" if record.id in stage.kept else "no",
    }


def _objective(records: Sequence[Record]) -> Objective:
    found = {record.objective for record in records} or {Objective("metric", "minimize")}
    if len(found) > 1:
        names = ", ".join(sorted(f"{objective.metric} ({objective.direction}d)" for objective in found))
        raise BadInput(f"the records of one chart must have one objective, got {names}.")
    return found.pop()


def _run_labels(records: Sequence[Record], labels: Sequence[str]) -> list[str]:
    """Distinct labels; a run that did not end well says so."""
    _same_number("records", records, labels)
    ended_badly = (Outcome.DIVERGED, Outcome.FAILED)
    return distinct(
        [
            f"{label} ({record.outcome})" if record.outcome in ended_badly else label
            for record, label in zip(records, labels, strict=True)
        ]
    )


def _same_number(kind: str, things: Sequence[object], labels: Sequence[str]) -> None:
    if len(things) != len(labels):
        raise BadInput(f"`labels` must hold one label per item of `{kind}`, got {len(labels)} for {len(things)}.")
