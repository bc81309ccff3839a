"""What commands print on stdout when they are done: tables, and files that were written."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from lrcontrol.report.found import found_text
from lrcontrol.report.study import (
    Study,
    course_table,
    metric_text,
    standings_table,
    test_text,
)
from lrcontrol.report.words import clean
from lrcontrol.runs.endings import ended_with
from lrcontrol.runs.papers import Citation
from lrcontrol.runs.record import Outcome, Record, on_validation
from lrcontrol.runs.task import Measured, Task

__all__ = [
    "ShownTask",
    "plain_console",
    "show_citations",
    "show_files",
    "show_method",
    "show_methods",
    "show_record",
    "show_study",
    "show_task",
    "show_tasks",
]


class ShownTask(NamedTuple):
    """A task, what was measured of it, and whether its data are here."""

    task: Task
    measured: Measured | None
    here: bool


def show_study(study: Study, written: Mapping[str, Path]) -> None:
    """Print the choice, the table of the longest runs, the test metric and the files that were written."""
    console = plain_console()
    metric = study.task.objective.metric
    if study.shown is not None:
        kind = "base lr" if study.course is None else "lr"
        console.print(f"[bold]{escape(study.headline)}[/] at {kind} {study.headline_rate}")
    if study.caution:
        console.print(f"[bold]{escape(clean(study.caution))}[/]", highlight=False)
    for reason in [*study.reasons, *([] if study.shown is None else found_text(study.shown))]:
        console.print(f"  • {escape(reason)}", highlight=False)
    best = None if study.chosen is None else study.chosen.spec.method.label
    if study.course is not None:
        _print_table(console, course_table(study.course), "stage by stage")
    for stage in reversed(study.stages if study.course is None else ()):
        _print_table(console, standings_table(stage, best if stage is study.stages[-1] else None), stage.name)
    if study.test is not None:
        table = rich.table.Table(
            title="The test split, looked at once", box=rich.box.SIMPLE_HEAD, title_justify="left"
        )
        for column in ("", "method", "base lr", f"test {metric}", "test loss", "cost"):
            table.add_column(column, justify="left" if column in ("", "method") else "right")
        rows = [("chosen", study.chosen, study.test, study.budget.runs(study.spent))]
        if study.default is not None and study.default_test is not None:
            rows.append(("plain default", study.default, study.default_test, "1 run"))
        for role, record, test, cost in rows:
            if record is not None:
                spec = record.spec
                cells = (
                    role,
                    spec.method.label,
                    f"{spec.base_lr:g}",
                    test_text(study.task, test[metric]),
                    metric_text(test["loss"]),
                )
                table.add_row(*map(escape, (*cells, cost)))
        console.print(table)
    show_files(console, written)


SHOWN = 12  # evaluations of a run, at most


def show_record(record: Record, written: Mapping[str, Path]) -> None:
    """Print how one run went."""
    console = plain_console()
    spec = record.spec
    console.print(
        f"[bold]{escape(spec.method.label)}[/] at base lr {spec.base_lr:g} on {escape(spec.task)}: "
        f"{record.outcome.value} after {record.cost.steps} updates, {record.cost.seconds:.1f} s"
    )
    if record.message and record.outcome is not Outcome.STOPPED:
        console.print(f"  {escape(clean(record.message))}")
    if record.evals:
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
        names = list(dict.fromkeys(name for each in record.evals for name in each.values))
        for column in ("step", *(_label(name) for name in names)):
            table.add_column(column, justify="right")
        every = -(-len(record.evals) // SHOWN)
        for each in record.evals[::-every][::-1]:  # the last is always there
            table.add_row(str(each.step), *(metric_text(each.values.get(name)) for name in names))
        console.print(table)
    for sentence in [*ended_with(record), *found_text(record)]:
        console.print(f"  {escape(clean(sentence))}", highlight=False)
    show_files(console, written)


def _label(name: str) -> str:
    return name.replace("_", " ", 1) if name.startswith("train_") else on_validation(name)


def show_tasks(tasks: Sequence[ShownTask]) -> None:
    """Print the tasks by kind, one line each."""
    console = plain_console()
    for kind in dict.fromkeys(each.task.kind for each in tasks):
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, title=f"[bold]{escape(kind)}[/]", title_justify="left")
        table.add_column("task", no_wrap=True)  # a name is there to be typed
        for column in ("parameters", "steps", "seconds"):
            table.add_column(column, justify="right")
        table.add_column("default, on test")
        table.add_column("data")
        for task, found, here in (each for each in tasks if each.task.kind == kind):
            cells = (
                task.name,
                "" if task.is_script else f"{task.parameters:,}",
                f"{task.full_steps:,}",
                "" if found is None else _seconds(found.seconds),
                _default_text(task, found),
                "; ".join([task.data, *["full size"] * (task.size == "full"), *["not here"] * (not here)]),
            )
            table.add_row(*map(escape, cells), style=None if here else "dim")
        console.print(table)
    console.print(
        "seconds: a full run of the default, of one core's own time where it was measured; ±: over three seeds. "
        "lrcontrol tasks NAME tells more.",
        highlight=False,
    )


def show_task(shown: ShownTask, seconds_here: float | None) -> None:
    """Print all there is to know of one task."""
    console = plain_console()
    task, found, here = shown
    train, validation, test = task.sizes
    console.print(f"[bold]{escape(task.name)}[/]: {escape(task.kind)}, {escape(task.model)} on {escape(task.data)}")
    table = rich.table.Table(box=None, show_header=False)
    epoch = task.steps_per_epoch
    length = f" of {task.batch_size}: {_plural(task.full_steps / epoch, 'epoch')}" if epoch else ""
    rows = {
        "splits": "" if task.is_script else f"train {train:,}, validation {validation:,}, test {test:,}",
        "parameters": "" if task.is_script else f"{task.parameters:,}",
        "full run": f"{task.full_steps:,} updates{length}" + ("" if task.size == "small" else "; full size"),
        "seconds": ", ".join(
            part
            for part in (
                "" if found is None else f"{found.seconds:.3g} on one core where it was measured",
                "" if seconds_here is None else f"about {_seconds(seconds_here)} here",
            )
            if part
        ),
        "compared by": f"{task.objective.told} ({task.objective.direction})",
        "default": f"{task.method} at {task.base_lr!r}",
        "it reaches": "" if found is None else f"{_default_text(task, found)} on test, three seeds",
        "without inputs": "" if task.naive is None else metric_text(task.naive),
        "source": task.source,
        "files": ", ".join(task.files) or ("bundled with scikit-learn" if task.home else "of its own"),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value + ("" if here or name != "files" else "; not here")))
    console.print(table, highlight=False)


def _plural(count: float, what: str) -> str:
    return f"{count:.3g} {what}" + ("" if f"{count:.3g}" == "1" else "s")


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}"


def _default_text(task: Task, found: Measured | None) -> str:
    if found is None:
        return task.objective.metric
    mean, deviation = statistics.fmean(found.test), statistics.stdev(found.test)
    return f"{task.objective.metric} {metric_text(mean)} ± {deviation:.2g}"


def show_methods(listed: Mapping[str, Any]) -> None:
    """Print what methods are made of."""
    console = plain_console()
    console.print(
        "A method is [bold]optimizer:schedule[/], such as sgd(momentum=0.9):warmup(0.05)+rex, or "
        "[bold]optimizer:control[/], such as adamw:warmup(0.05)+plateau",
        highlight=False,
    )
    for kind in ("optimizers", "schedules", "controls"):
        table = rich.table.Table(title=kind, box=rich.box.SIMPLE_HEAD, title_justify="left")
        table.add_column("name")
        table.add_column("what it is")
        for each in listed[kind]:
            table.add_row(escape(each["name"]), escape(each["about"].replace("`", "")))
        console.print(table)
    methods = dict.fromkeys(each["method"] for each in listed["portfolio"])
    default, untuned = listed["default"], [f"{each['method']} at {each['base_lr']:g}" for each in listed["untuned"]]
    console.print(
        f"select races {len(listed['portfolio'])} candidates: {escape(', '.join(methods))}, each at several base "
        f"learning rates, beside the plain default {default['method']} at {default['base_lr']:g} and what is "
        f"run at one rate: {escape(', '.join(untuned))}. lrcontrol methods NAME tells more of one of these.",
        highlight=False,
    )


NEEDS = {
    "loss": "the loss of every update",
    "metric": "the validation metric, where it has been measured",
    "grad_norm": "the norm of every gradient",
    "batch_loss": "the loss of a batch before its update",
    "fall": "gradients",
    "descent": "gradients, and the updates that are about to be made",
    "slope": "gradients, and the updates before",
    "cosine": "gradients, and the updates before",
    "curvature": "a second gradient of every batch",
    "hypergradient": "the derivative of the validation loss by the rates",
}
"""What a control needs to be shown, for people."""


def _usual_text(part: Mapping[str, Any]) -> str:
    """The usual base rate of an optimizer, or of a control that gives the rate, for people."""
    usual = part.get("usual_lr")
    if part["kind"] != "optimizer":
        return "" if usual is None else f"{usual:g}, at which updates are tried: it gives the rate whatever that is"
    if part["name"] == "own":
        return "that of the script"
    return "none: to be given" if usual is None else f"{usual:g}, as it finds its rate itself"


def show_method(part: Mapping[str, Any]) -> None:
    """Print all there is to know of one optimizer, schedule or control."""
    console = plain_console()
    console.print(f"[bold]{escape(part['name'])}[/], {part['kind']}", highlight=False)
    console.print(escape(part["description"]), highlight=False)
    if part["numbers"]:
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
        for column in ("takes", "default", "what it is"):
            table.add_column(column)
        for each in part["numbers"]:
            table.add_row(*map(escape, (each["name"], each["default"], each["about"])))
        console.print(table)
    else:
        console.print()
    rows = {
        "example": part["example"],
        "usual base rate": _usual_text(part),
        "did better": f"{part['calibrated']}, where it was tried" if part.get("calibrated") else "",
        "needs": "; ".join(dict.fromkeys(NEEDS[each] for each in part["needs"])),
        "price": f"an update counts as {part['price']}" if part.get("price", 1) > 1 else "",
        "cost of a step": f"{part['step_cost']:g} of one of fused SGD" if part.get("step_cost") else "",
        "papers": "\n".join(part["papers"]) or "none: in common use",
    }
    table = rich.table.Table(box=None, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    console.print(table, highlight=False)


def show_citations(found: Sequence[Citation]) -> None:
    """Print the papers of each part."""
    console = plain_console()
    for each in found:
        console.print(f"[bold]{escape(each.name)}[/] ({each.kind})", highlight=False)
        for paper in each.papers or ("no paper: in common use",):
            console.print(f"  {escape(paper)}", highlight=False)
        for link in each.links:
            console.print(f"  {link}", highlight=False)


def plain_console() -> Console:
    """What results are printed on: as wide as the terminal, and 140 columns where there is none."""
    console = Console(emoji=False)  # a task `train.py:train` is no train
    return console if console.is_terminal else Console(width=140, emoji=False)


def _print_table(console: Console, source: Any, title: str) -> None:
    table = rich.table.Table(title=escape(title), box=rich.box.SIMPLE_HEAD, title_justify="left")
    for name, side in zip(source.columns, source.sides, strict=True):
        table.add_column(name, justify=side)
    for index, row in enumerate(source.rows):
        table.add_row(
            *(escape(clean(cell)) for cell in row), style="bold green" if index == source.highlight else None
        )
    console.print(table)


def show_files(console: Console, written: Mapping[str, Path]) -> None:
    """Print where files were written."""
    for name, path in written.items():
        console.print(f"{name}: {escape(str(path))}", highlight=False, soft_wrap=True)
