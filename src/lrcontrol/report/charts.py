"""Charts: records, specs, stages and schedules come in, Altair charts go out."""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.analysis.curves import smooth
from lrcontrol.controls.control import OpenLoop
from lrcontrol.errors import BadInput
from lrcontrol.report.found import rates_found
from lrcontrol.report.looks import Look, looks_of_runs
from lrcontrol.report.marks import (
    HINT,
    Row,
    Series,
    described,
    empty_chart,
    line_chart,
    objective_of,
    overlaid,
    spans_decades,
    subtitle_of,
    values_of,
)
from lrcontrol.report.responses import responses
from lrcontrol.report.theme import NEUTRAL, Chart, finish
from lrcontrol.report.words import begun, clean, distinct, wrapped
from lrcontrol.runs.record import Objective, Outcome, Record
from lrcontrol.schedules.schedule import Schedule

__all__ = ["costs", "learning_curves", "losses", "rates", "responses", "schedules"]

Looks = Mapping[str, Look]

WHOSE = {"optimizer": "rate found by the optimizer", "control": "rate given by the control"}
MOST_RANGE = 1e8  # of a logarithmic axis of rates, from the highest peak down
LEAST_RANGE = 1e2  # of it for every line
ENDS = 0.05  # of a line, which may be cut off


def learning_curves(records: Sequence[Record], labels: Sequence[str], looks: Looks | None = None) -> Chart:
    """The validation metric of a few runs, against the step.

    Args:
        records: of one task; evaluations are taken from `evals`.
        labels: one per record.
        looks: of the methods, as `looks_of` gives them for a study; by default every run has a colour of its own.
    Raises:
        BadInput: another number of labels than of records, or records of several objectives.
    """
    objective = objective_of(records)
    series, names = [], _run_labels(records, labels)
    for record, name in zip(records, names, strict=True):
        points = [
            (found.step, found.values[objective.metric]) for found in record.evals if objective.metric in found.values
        ]
        steps, values = [step for step, _ in points], [value for _, value in points]
        series.append(Series(name, np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)))
    return _metric_chart(
        series,
        title=f"{begun(clean(objective.told))} as the runs went on",
        subtitle=subtitle_of(names, HINT if len(names) > 1 else ""),
        y_title=described(objective),
        objective=objective,
        usable=[record.usable for record in records],
        looks=_looks(records, names, looks),
    )


def losses(records: Sequence[Record], labels: Sequence[str], looks: Looks | None = None) -> Chart:
    """The training loss of a few runs, smoothed without lag, against the step.

    Args:
        records: with their column `loss`; those without one are left out.
        labels: one per record.
        looks: of the methods, as for `learning_curves`.
    Raises:
        BadInput: another number of labels than of records.
    """
    series, names = [], _run_labels(records, labels)
    for record, name in zip(records, names, strict=True):
        values = smooth(record.columns.get("loss", ()))
        series.append(Series(name, np.arange(values.size), values))
    return _metric_chart(
        series,
        title="Training loss as the runs went on",
        subtitle=subtitle_of(names, "Loss of the batch before each update, averaged over about 2 % of the run."),
        y_title="training loss (lower is better)",
        objective=Objective("loss", "minimize"),
        usable=[record.usable for record in records],
        looks=_looks(records, names, looks),
    )


def rates(records: Sequence[Record], labels: Sequence[str], looks: Looks | None = None) -> Chart:
    """The learning rate in force at every step of some runs: as planned, or as recorded where the control looked.

    Where the optimizer finds its rate, what it found times what was in force is drawn, and said to be that; so is what
    a control gave. The axis is logarithmic where the peaks of the runs are more than a factor of 10 apart, and where
    an optimizer found a rate, which begins orders of magnitude below; where a line goes on below such an axis, the
    chart says how far.

    Args:
        records: a cut run is drawn up to its stop_step; one of a control that looks is left out if it has no column
            `lr`.
        labels: one per record.
        looks: of the methods, as for `learning_curves`.
    Raises:
        BadInput: another number of labels than of records.
    """
    _same_number("records", records, labels)
    series = []
    found = [record.found_rates for record in records]
    whose = [None if (each := rates_found(record)) is None else WHOSE[each.by] for record in records]
    of_all = whose[0] if len(set(whose)) == 1 else None
    names = distinct(
        [
            f"{label} ({each})" if each is not None and of_all is None else label
            for label, each in zip(labels, whose, strict=True)
        ]
    )
    for record, name, of_found in zip(records, names, found, strict=True):
        spec, control = record.spec, record.spec.method.control
        if of_found is not None:
            series.append(Series(name, spec.first_step + np.arange(of_found.size), of_found))
        elif isinstance(control, OpenLoop):
            multipliers = control.multipliers(spec.total_steps)
            series.append(_levels(name, spec.base_lr * multipliers[: spec.stop_step]))
        elif "lr" in record.columns:
            series.append(_levels(name, record.column("lr").astype(np.float64)))
    peaks = [peak for line in series if (peak := line.drawable(positive=True).values.max(initial=0)) > 0]
    log = bool(peaks) and (max(peaks) > 10 * min(peaks) or any(each is not None for each in found))
    floor = _floor(series) if log else None
    return line_chart(
        series,
        title="Learning rate at every step",
        subtitle=subtitle_of(names, _below(series, floor) if floor is not None else ""),
        y_title=of_all or "learning rate",
        log=log,
        bounds=(floor, None),
        from_zero=True,
        levels=True,
        looks=_looks(records, names, looks),
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
        subtitle=subtitle_of(names),
        y_title="multiplier of the base learning rate",
        from_zero=True,
        levels=True,
    )


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
    bars = base.mark_bar(color=NEUTRAL, cornerRadiusEnd=3, height={"band": 0.6}).properties(name="bars")
    text = base.mark_text(style="label", align="left", dx=8).encode(text="text:N").properties(name="text")
    return finish(overlaid(bars, text), title=title, height=38 * len(rows) + 8)


def _metric_chart(
    series: Sequence[Series],
    *,
    objective: Objective,
    usable: Sequence[bool],
    title: str,
    subtitle: str | list[str],
    y_title: str,
    looks: Looks | None,
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
        looks=looks,
    )


def _looks(records: Sequence[Record], names: Sequence[str], looks: Looks | None) -> Looks | None:
    """The looks of runs by their names in a chart; None where their places give them."""
    if looks is None:
        return None
    return looks_of_runs(names, [record.spec.method.label for record in records], looks)


def _floor(series: Sequence[Series]) -> float:
    """Where a logarithmic axis of rates begins: below all but the ends of the lines, if that is not too far below.

    Schedules that end at 0 fall by decades in their last steps, and would press everything else together; of every
    line there are two decades below its peak in any case.
    """
    lines = [values for line in series if (values := line.drawable(positive=True).values).size]
    lowest = min(float(values[: values.size - int(ENDS * values.size)].min()) for values in lines)
    peaks = [float(values.max()) for values in lines]
    return min(max(lowest, max(peaks) / MOST_RANGE), min(peaks) / LEAST_RANGE)


def _below(series: Sequence[Series], floor: float) -> list[str]:
    """Which lines go on below an axis, in lines of a subtitle."""
    lowest = {line.name: values.min() for line in series if (values := line.drawable(positive=False).values).size}
    told = [f"{name} goes down to {value:.2g}" for name, value in lowest.items() if value < floor]
    return wrapped(f"Lines are cut off below {floor:.2g}; {', and '.join(told)}.") if told else []


def _levels(name: str, values: NDArray[np.float64]) -> Series:
    """A line with a value at every step."""
    return Series(name, np.arange(values.size), values)


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
