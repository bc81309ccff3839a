"""The command line: words to calls, no logic of its own.

Heavy modules are imported inside the commands, so that `lrcontrol --help` is instant.
"""

import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from lrcontrol import checks, cli_range, cli_refine
from lrcontrol.cli_store import store_app
from lrcontrol.cli_words import Device, Json, in_options, print_json, results_alone, whole, with_files
from lrcontrol.errors import BadInput, LRControlError
from lrcontrol.report.words import clean

__all__ = ["app", "main"]

app = cyclopts.App(
    name="lrcontrol",
    help="Takes the learning rate off your hands: picks the way to control it for a task and a budget, trains, "
    "and shows why.",
    help_format="plaintext",  # the others load a markup parser: a third of the time that help takes
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `main` tells how to go on
)
app.command(store_app)
app.command(cli_range.range_, name="range")
app.command(cli_refine.refine)
app.command(cli_refine.advise)


Out = Annotated[
    Path | None,
    Parameter("--out", help="Folder for results, by default lrcontrol-out/TASK; the same again goes on there."),
]
Kept = Annotated[Path | None, Parameter("--out", help="Folder to keep the run in; by default nothing is kept.")]
ExecutorName = Annotated[
    str,
    Parameter(
        "--executor",
        help="`processes` (side by side), `serial` (one by one), `batched` (many runs of a small model at once), "
        "`auto` (the faster of these here), `ray` or `ray:ADDRESS` (a cluster).",
    ),
]
RunSeconds = Annotated[float | None, Parameter("--run-seconds", help="How long a run may take before it is given up.")]
RunGigabytes = Annotated[float | None, Parameter("--run-gigabytes", help="Memory that a run's process may hold.")]
RunCpus = Annotated[
    float, Parameter("--run-cpus", help="Processors of a run: as many threads, which a cluster sets aside.")
]
RunGpus = Annotated[float, Parameter("--run-gpus", help="Accelerators, or a part of one, that it sets aside.")]
LRS_HELP = (
    "Base learning rates; may be repeated. For random draws and autolrs, the least and the largest are the range."
)
Workers = Annotated[
    int | None, Parameter("--workers", converter=whole, help="Processes at once; by default one a core.")
]
Budget = Annotated[
    str,
    Parameter(
        "--budget",
        allow_leading_hyphen=True,  # else -3runs would be taken for an option
        help="Everything included: `20runs`, `5000steps`, `50epochs`, `30min`.",
    ),
]
Methods = Annotated[
    list[str] | None, Parameter("--method", negative="", help="May be repeated; by default the portfolio's.")
]
Seed = Annotated[int, Parameter("--seed", converter=whole, help="Of weights, data order and all other chance.")]


@app.command
def select(
    task: str,
    /,
    *,
    methods: Methods = None,
    lrs: Annotated[list[float] | None, Parameter("--lr", negative="", help=LRS_HELP)] = None,
    budget: Budget = "20runs",
    seed: Seed = 0,
    out: Out = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    run_seconds: RunSeconds = None,
    run_gigabytes: RunGigabytes = None,
    run_cpus: RunCpus = 1.0,
    run_gpus: RunGpus = 0.0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Pick the way to control the learning rate of TASK within a budget, train with it, and show why.

    The same command given again goes on where it was ended and repeats no run.
    """
    from lrcontrol import api
    from lrcontrol.report import console
    from lrcontrol.report.progress import Progress

    with Progress(quiet=as_json) as progress, results_alone():
        found = api.select(
            task,
            methods=None if methods is None else [with_files(each) for each in methods],
            base_lrs=lrs,
            budget=budget,
            seed=seed,
            out=out,
            executor=executor,
            workers=workers,
            run_seconds=run_seconds,
            run_gigabytes=run_gigabytes,
            run_cpus=run_cpus,
            run_gpus=run_gpus,
            device=device,
            seen=progress.seen,
            planned=progress.planned,
            told=progress.told,
        )
    page = found.report(found.folder / "report.html")
    kept = None if found.record.weights is None else found.folder / "weights" / found.record.weights.file
    if as_json:
        from lrcontrol.report.for_machines import runs_told, test_told
        from lrcontrol.report.found import rates_found

        default, rates = found.choice.default, rates_found(found.record)
        print_json(
            {
                "task": found.task.name,
                "metric": found.task.objective.metric,
                "direction": found.task.objective.direction,
                "method": str(found.method),
                "base_lr": found.base_lr,
                "run": found.record.id,
                "validation": {} if found.record.end is None else dict(found.record.end.values),
                **test_told(found.task, found.test),
                **({} if rates is None else rates.told),
                "default": {
                    "method": str(default.spec.method),
                    "base_lr": default.spec.base_lr,
                    "run": default.id,
                    "validation": {} if default.end is None else dict(default.end.values),
                    **test_told(found.task, found.default_test),
                },
                "caution": found.choice.caution,
                "spent_steps": found.choice.spent,
                "budget_steps": found.budget.steps,
                "reasons": list(found.reasons),
                "runs": runs_told(found.choice.stages),
                "report": str(page),
                "weights": None if kept is None else str(kept),
            }
        )
        return
    weights = {} if kept is None else {"weights": kept}
    console.show_study(found.study(), {"report": page, **weights})


@app.command
def train(
    task: str,
    method: str | None = None,
    /,
    *,
    lr: Annotated[float | None, Parameter("--lr", help="Base learning rate: the rate at multiplier 1.")] = None,
    steps: Annotated[
        int | None, Parameter("--steps", converter=whole, help="Updates; by default the task's full horizon.")
    ] = None,
    seed: Seed = 0,
    norms: Annotated[
        list[str] | None,
        Parameter("--norms", negative="", help="Norms of every gradient to record: `l1` or `l2`; may be repeated."),
    ] = None,
    run_cpus: Annotated[
        int, Parameter("--run-cpus", converter=whole, help="Processors of the run: as many threads.")
    ] = 1,
    device: Device = None,
    out: Kept = None,
    as_json: Json = False,
) -> None:
    """Train TASK once with METHOD, such as `adamw:cosine` or `sgd(momentum=0.9):warmup(0.05)+rex`, and --lr.

    Without METHOD it is the task's default, at its own base learning rate.
    """
    from lrcontrol import api
    from lrcontrol.report import console
    from lrcontrol.report.progress import Progress
    from lrcontrol.training.tasks import catalogue

    with results_alone():
        total = steps if steps is not None else catalogue.named(task).full_steps
    with Progress(quiet=as_json) as progress, results_alone():
        record = api.train(
            task,
            None if method is None else with_files(method),
            base_lr=lr,
            total_steps=total,
            seed=seed,
            norms=norms or (),
            out=out,
            progress=progress.updates(total),
            run_cpus=run_cpus,
            device=device,
        )
    if as_json:
        from lrcontrol.report.found import rates_found

        found = rates_found(record)
        told = {} if found is None else found.told
        print_json(json.loads(record.summary()) | {"id": record.id} | told)
    else:
        console.show_record(record, {} if out is None else {"results": out})


@app.command
def search(
    task: str,
    /,
    *,
    strategy: Annotated[
        Literal["grid", "random", "halving", "refinement", "autolrs"], Parameter(help="How the runs are chosen.")
    ] = "halving",
    methods: Methods = None,
    lrs: Annotated[list[float] | None, Parameter("--lr", negative="", help=LRS_HELP)] = None,
    rungs: Annotated[
        Literal["compressed", "cut", "continued"],
        Parameter(
            help="The shorter runs of halving: the schedule laid over fewer steps, cut, or cut and gone on with."
        ),
    ] = "compressed",
    rounds: Annotated[int, Parameter("--rounds", converter=whole, help="How often a refinement refines.")] = 1,
    budget: Budget = "20runs",
    seed: Seed = 0,
    out: Out = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    run_seconds: RunSeconds = None,
    run_gigabytes: RunGigabytes = None,
    run_cpus: RunCpus = 1.0,
    run_gpus: RunGpus = 0.0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search methods and base learning rates of TASK: a grid, random draws, successive halving, or refinement.

    With autolrs, one run whose rate is chosen anew in each stage; --method is then an optimizer, as in `adamw`.
    """
    from lrcontrol import api
    from lrcontrol.report import console
    from lrcontrol.report.progress import Progress

    with Progress(quiet=as_json) as progress, results_alone():
        found = api.search(
            task,
            strategy,
            methods=[with_files(each) for each in methods or ()],
            base_lrs=lrs,
            rungs=rungs,
            rounds=rounds,
            budget=budget,
            seed=seed,
            out=out,
            executor=executor,
            workers=workers,
            run_seconds=run_seconds,
            run_gigabytes=run_gigabytes,
            run_cpus=run_cpus,
            run_gpus=run_gpus,
            device=device,
            seen=progress.seen,
            planned=progress.planned,
            told=progress.told,
        )
    page = found.report(found.folder / "search.html")
    if as_json:
        from lrcontrol.report.for_machines import runs_told

        chosen, course = found.study.chosen, found.study.course
        told = chosen if course is None else course.whole
        stages = {} if course is None else {"stages": course.told}
        print_json(
            {
                "task": found.task.name,
                "metric": found.task.objective.metric,
                "direction": found.task.objective.direction,
                "method": None if told is None else str(told.spec.method),
                "base_lr": None if told is None else told.spec.base_lr,
                "run": None if chosen is None else chosen.id,
                "final": None if chosen is None else chosen.final,
                "caution": found.study.caution,
                "reasons": list(found.study.reasons),
                "spent_steps": found.study.spent,
                "budget_steps": found.study.budget.steps,
                **stages,
                "runs": runs_told(found.study.stages),
                "report": str(page),
            }
        )
    else:
        console.show_study(found.study, {"report": page})
    if found.study.chosen is None:
        sys.exit(1)


@app.command
def report(
    folder: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter("--out", help="The page; by default FOLDER/report.html.")] = None,
) -> None:
    """Write the page of a finished selection anew, without running anything."""
    from lrcontrol import api

    print(api.load_selection(folder).report(out or folder / "report.html"))


@app.command
def plot(
    schedules: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    steps: Annotated[
        int, Parameter("--steps", converter=whole, help="Updates that the schedules are laid over.")
    ] = 1000,
    steps_per_epoch: Annotated[
        int | None, Parameter("--steps-per-epoch", converter=whole, help="What `ep` is in lengths such as 5ep.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(["--out", "-o"], help="A .svg, .png or .html file; by default the terminal.")
    ] = None,
) -> None:
    """Draw SCHEDULES, such as `rex`, `warmup(5ep)+cosine`, or `@refined.json` for one in a file."""
    from lrcontrol.schedules.text import schedule

    checks.integer("steps", steps, low=1, high=10_000_000)
    labelled = [(text, schedule(with_files(text), steps_per_epoch=steps_per_epoch)) for text in schedules]
    for _, each in labelled:
        each.multiplier(0, steps)
    if out is None:
        from lrcontrol.report.terminal import terminal

        columns = shutil.get_terminal_size((80, 24)).columns  # COLUMNS, the terminal's own, or 80
        print(terminal(labelled, steps, width=min(max(columns, 30), 1000)))
        return
    from lrcontrol.report import charts, save

    save.checked_suffix(out)
    save.save_chart(charts.schedules(labelled, steps), out)
    print(out)


@app.command
def tasks(
    names: Annotated[list[str] | None, Parameter(negative="")] = None,
    /,
    *,
    about: Annotated[
        str | None,
        Parameter(
            "--about",
            help="Those with words that begin so in name, kind, data, model, metric or size (small, full).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tasks there are, or tell all about those that are named; of one alone also the seconds it takes here.

    For these, some of its updates are made.
    """
    from lrcontrol.training.tasks import catalogue

    if names and about is not None:
        raise BadInput("give either the names of tasks or --about, got both.")
    with results_alone():
        listed = catalogue.tasks_about(about or "") if not names else [catalogue.named(name) for name in names]
    if as_json:
        print_json([catalogue.about(task) for task in listed])
        return
    from lrcontrol.report import console

    shown = [console.ShownTask(task, catalogue.measured().get(task.name), catalogue.here(task)) for task in listed]
    if not names:
        console.show_tasks(shown)
        return
    from lrcontrol.training import loop

    for each in shown:
        timed = each.here and len(shown) == 1 and not each.task.is_script
        console.show_task(each, loop.seconds_of(each.task) if timed else None)


@app.command
def methods(name: str | None = None, /, *, as_json: Json = False) -> None:
    """List what methods are made of, and the portfolio that `select` races; or tell all about the part NAME."""
    from lrcontrol.runs.parts import part_named
    from lrcontrol.selection.portfolio import method_list

    listed = method_list() if name is None else part_named(name).whole
    if as_json:
        print_json(listed)
        return
    from lrcontrol.report import console

    (console.show_methods if name is None else console.show_method)(listed)


@app.command
def cite(method: str, /, *methods: str, as_json: Json = False) -> None:
    """Print the papers behind METHOD: a method, a schedule, a name such as `sgdr`, a strategy or an analysis.

    Of several, what they share is told once.
    Strategies are those of `search`: `autolrs`, `grid`, `halving`, `random`, `refinement`; `select` is by halving.
    Analyses are `advise`, `range` and `refine`.
    """
    import msgspec

    from lrcontrol import citing

    every = [each for given in (method, *methods) for each in citing.cite(with_files(given))]
    found = list(dict.fromkeys(every))
    if as_json:
        print_json([msgspec.to_builtins(each) for each in found])
        return
    from lrcontrol.report import console

    console.show_citations(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a bad word or value is one sentence and exit status 2, Ctrl-C is 130.

    What a user's file raises is told by its own frames and one sentence, with exit status 1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows ? for lines and dots
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"lrcontrol: {clean(message)}", file=sys.stderr)
            app(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _leave(str(error), 2)
    except LRControlError as error:
        words = sys.argv[1:] if arguments is None else arguments
        _leave(in_options(str(error), app, words), 2 if isinstance(error, BadInput | OSError) else 1)
    except Exception as error:
        from lrcontrol.runs.user_code import raised_in_a_file

        told = raised_in_a_file(error)
        if told is None:
            raise
        for line in told.frames:
            print(clean(line), file=sys.stderr)
        _leave(told.sentence, 1)
    except KeyboardInterrupt as error:
        kept = ", ".join(getattr(error, "__notes__", [])) or "no finished run is repeated"
        _leave(f"interrupted: {kept}; give the same command again to go on where it was.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _leave(sentence: str, status: int) -> None:
    print(f"lrcontrol: {clean(sentence)}", file=sys.stderr)
    sys.exit(status)
