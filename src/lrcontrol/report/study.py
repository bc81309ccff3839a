"""The page of a study: what was chosen and why, how the methods stand, what they cost."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from lrcontrol.analysis.compare import Stage, accuracy_error, standings
from lrcontrol.analysis.course import Course
from lrcontrol.report import charts
from lrcontrol.report.found import largest_found
from lrcontrol.report.looks import Look, looks_of
from lrcontrol.report.page import Page, Section, Table
from lrcontrol.report.theme import Chart
from lrcontrol.report.words import undigested
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.optimizer import optimizer_text
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.task import Task

__all__ = [
    "Study",
    "course_table",
    "looks_of_study",
    "metric_text",
    "standings_table",
    "study_charts",
    "study_page",
    "test_text",
]


class Study(msgspec.Struct, frozen=True):
    """What the page of a study is made from.

    Args:
        task: what was trained.
        title: of the page.
        lead: one or two sentences under it.
        stages: runs by the length at which they were compared.
        budget: what the study was given.
        chosen: the record that was chosen, with columns; None where nothing was chosen.
        default: the plain default's record, with columns, where it ran.
        reasons: sentences.
        test: the chosen run's test metrics, where they were measured.
        default_test: the default's.
        caution: what must be known before all of this is read: a sentence or two, or nothing.
        course: where one run was made stage by stage, its stages and the whole of it.
    """

    task: Task
    title: str
    lead: str
    stages: tuple[Stage, ...]
    budget: Budget
    chosen: Record | None = None
    default: Record | None = None
    reasons: tuple[str, ...] = ()
    test: Mapping[str, float] | None = None
    default_test: Mapping[str, float] | None = None
    caution: str = ""
    course: Course | None = None

    @property
    def spent(self) -> int:
        """Updates made in all."""
        return sum(stage.cost for stage in self.stages)

    @property
    def shown(self) -> Record | None:
        """What is shown as chosen: the record that was, or the whole run that it is the last stage of."""
        return self.chosen if self.course is None else self.course.whole

    @property
    def headline(self) -> str:
        """The method of what is shown as chosen, in words; the tables and reasons have it whole."""
        if self.shown is None:
            return ""
        method = self.shown.spec.method
        if self.course is None:
            return undigested(method.label)
        return f"{optimizer_text(method.optimizer)} in {_stages(self.course)}"

    @property
    def headline_rate(self) -> str:
        """Its base learning rate, or the largest and the smallest where every stage has its own."""
        if self.shown is None:
            return ""
        rates = [self.shown.spec.base_lr] if self.course is None else [leg.base_lr for leg in self.course.legs]
        high, low = f"{max(rates):g}", f"{min(rates):g}"
        return high if high == low else f"{low} to {high}"


def looks_of_study(study: Study) -> dict[str, Look]:
    """How each method looks in every chart of a study: by its place in the tables, from the first one on the page."""
    tables = () if study.course is not None else reversed(study.stages)
    names = [row.method for stage in tables for row in standings(stage)]
    return looks_of(
        names + [record.spec.method.label for record in (study.shown, study.default) if record is not None]
    )


def study_charts(study: Study) -> dict[str, Chart]:
    """Every chart of a study's page by name, in its order and with the page's colours.

    Returns:
        Of the run that was chosen and the plain default `rates`, `curves` and `losses`; `stage 1`, `stage 2` and so on
        for what each method made of each rate in a stage, the first one last; `costs`.
    """
    looks, found = looks_of_study(study), {}
    shown = {}
    if study.shown is not None:
        shown[f"chosen: {study.headline} at {study.headline_rate}"] = study.shown
    if study.default is not None and (study.shown is None or study.default.id != study.shown.id):
        spec = study.default.spec
        shown[f"plain default: {spec.method.label} at {spec.base_lr:g}"] = study.default
    if shown:
        of_runs = (list(shown.values()), list(shown), looks)
        found = {
            "rates": charts.rates(*of_runs),
            "curves": charts.learning_curves(*of_runs),
            "losses": charts.losses(*of_runs),
        }
    if study.course is None:
        for place in range(len(study.stages), 0, -1):
            found[f"stage {place}"] = charts.responses(study.stages[place - 1], looks)
    costs = [(stage.name, stage.cost) for stage in study.stages]
    if study.course is not None:
        trained = study.course.whole.cost.steps
        costs = [("rates tried", study.spent - trained), ("trained", trained)]
    return found | {"costs": charts.costs(costs, study.budget.full_steps)}


def study_page(study: Study) -> Page:
    """The page: figures, reasons, the schedule, curves, standings of every stage, cost."""
    drawn = study_charts(study)
    sections = []
    if study.reasons:
        sections.append(Section("Why", study.reasons))
    for name, heading in (("rates", "The learning rate"), ("curves", "Learning curves"), ("losses", "")):
        if name in drawn:
            sections.append(Section(heading, chart=drawn[name]))
    if study.course is not None:
        sections.append(Section("Stage by stage", _tried_text(study.course), course_table(study.course)))
    stages = study.stages if study.course is None else ()
    for place in range(len(stages), 0, -1):
        stage, chart = stages[place - 1], drawn[f"stage {place}"]
        text = [
            "Each method at the best base learning rate of those tried with it; all of these runs have the same "
            "length. A method that was tried with more rates had more chances."
        ]
        best = study.chosen.spec.method.label if study.chosen is not None and place == len(stages) else None
        table = standings_table(stage, best)
        sections.append(Section(f"Methods at equal cost per run: {stage.name}", text, table, chart))
    cost = f"Every update of every run counts: {_of_budget(study)}."
    sections.append(Section("What it cost", [cost], chart=drawn["costs"]))
    lead = f"{study.caution} {study.lead[:1].upper()}{study.lead[1:]}" if study.caution else study.lead
    return Page(study.title, lead, sections, _figures(study))


def standings_table(stage: Stage, highlight: str | None = None) -> Table:
    """One row a method, the best first; a column only where it has something to tell."""
    rows = standings(stage)
    objective = stage.records[0].objective if stage.records else Objective("metric", "minimize")
    finals = [_final(row.best) or {} for row in rows]
    columns: dict[str, Sequence[str]] = {
        "method": [row.method for row in rows],
        "best base lr": [f"{row.best.spec.base_lr:g}" if row.best.usable else metric_text(None) for row in rows],
        objective.told: [metric_text(row.best.final) for row in rows],
        "validation loss": [metric_text(values.get("loss")) for values in finals],
        "runs": [str(row.runs) for row in rows],
        "diverged": [str(row.diverged) for row in rows],
        "failed": [str(row.failed) for row in rows],
        "went on": [str(row.kept) for row in rows],
    }
    shown = {
        "validation loss": objective.metric != "loss" and any("loss" in values for values in finals),
        "failed": any(row.failed for row in rows),
        "went on": bool(stage.kept),  # nobody goes on from the last stage
    }
    names = [name for name in columns if shown.get(name, True) or name == objective.told]
    place = next((place for place, row in enumerate(rows) if row.method == highlight), None)
    sides: list[Literal["left", "right"]] = ["left", *["right" for _ in names[1:]]]  # type: ignore[list-item]
    return Table(names, list(zip(*(columns[name] for name in names), strict=True)), sides, place)


def course_table(course: Course) -> Table:
    """One row a stage: the rates that were tried, the one that was chosen, and what came of it."""
    objective = course.whole.objective
    rows = []
    for place, leg in enumerate(course.legs, 1):
        final = _final(leg.record) or {}
        rows.append(
            [
                str(place),
                f"{leg.begin:,} to {leg.end:,}",
                f"{len(leg.tried)}: {min(leg.tried)[0]:g} to {max(leg.tried)[0]:g}",
                f"{leg.base_lr:g}",
                metric_text(leg.forecast),
                metric_text(final.get("loss")),
                metric_text(final.get(objective.metric)),
            ]
        )
    names = ["stage", "updates", "rates tried", "chosen", "loss forecast", "validation loss", objective.told]
    kept = len(names) - (objective.metric == "loss")
    return Table(names[:kept], [row[:kept] for row in rows], ["right"] * kept)


def _tried_text(course: Course) -> list[str]:
    """What each rate was forecast to come to, a paragraph a stage, the best first."""
    told = [
        "Every rate was tried from the checkpoint at the beginning of its stage; in brackets the validation loss that "
        "it was forecast to reach by the stage's end. The best was trained with from the same checkpoint."
    ]
    for place, leg in enumerate(course.legs, 1):
        rates = [
            f"{rate:g} ({metric_text(value) if math.isfinite(value) else 'lost'})"
            for rate, value in sorted(leg.tried, key=lambda each: each[1])
        ]
        told.append(f"Stage {place}: {', '.join(rates)}.")
    return told


def metric_text(value: float | None) -> str:
    """A metric for people, or a dash.

    Example:
        >>> metric_text(0.98765), metric_text(None)
        ('0.9877', '–')
    """
    return "–" if value is None else f"{value:.4g}"


def _rate_note(record: Record) -> str:
    """What becomes of the base learning rate of a run."""
    largest = largest_found(record)
    if largest is None:
        return "multiplied by the schedule"
    if record.spec.method.control.sets_rate:
        return f"updates are tried at it; the rate was at most {largest:.3g}"
    by = "schedule and by what was found" if record.found_rates is not None else "control"
    return f"multiplied by the {by}: at most {largest:.3g}"


def test_text(task: Task, value: float) -> str:
    """A test metric for people; accuracies with their standard error on the test split.

    Example:
        >>> from lrcontrol.training.tasks.catalogue import TASKS
        >>> test_text(TASKS["digits-mlp"], 0.975), test_text(TASKS["diabetes-mlp"], 55.1234)
        ('0.9750 ± 0.0090', '55.12')
    """
    if task.objective.metric != "accuracy":
        return metric_text(value)
    return f"{value:.4f} ± {accuracy_error(value, task.sizes[2]):.4f}"


def _stages(course: Course) -> str:
    return f"{len(course.legs)} stage{'' if len(course.legs) == 1 else 's'}"


def _of_budget(study: Study) -> str:
    return f"{study.budget.told(study.spent)}"


def _figures(study: Study) -> list[tuple[str, str, str]]:
    if study.chosen is None or study.shown is None:
        return [("runs", str(sum(len(stage.records) for stage in study.stages)), study.budget.runs(study.spent))]
    metric = study.task.objective.metric
    methods = {record.spec.method for stage in study.stages for record in stage.records}
    origin = f"chosen from {len(methods)} method{'' if len(methods) == 1 else 's'}"
    rate = ("base learning rate", study.headline_rate, _rate_note(study.shown))
    if study.course is not None:
        origin = "a rate found for each"
        rate = ("learning rate", study.headline_rate, "constant within a stage")
    figures = [("method", study.headline, origin), rate]
    values, others = study.test, study.default_test
    if values is None:
        values = _final(study.chosen) or {}
        others = None if study.default is None or study.default.id == study.shown.id else _final(study.default)
    beside = "" if others is None else f"plain default: {metric_text(others[metric])}"
    shown = metric_text(values[metric]) if study.test is None else test_text(study.task, values[metric])
    name = study.task.objective.told if study.test is None else f"test {metric}"
    figures.append((name, shown, beside))
    figures.append(("cost", study.budget.runs(study.spent), f"budget: {study.budget.told()}"))
    return figures


def _final(record: Record) -> dict[str, float] | None:
    """What the weights that a run ended with came to on validation, or None where there are none that work."""
    return record.end.values if record.usable and record.end is not None else None
