"""`lrcontrol refine` and `lrcontrol advise`: gradient norms to a schedule, and to advice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from lrcontrol.cli_words import Json, print_json, whole, with_files
from lrcontrol.errors import BadInput

if TYPE_CHECKING:
    from lrcontrol.schedules.schedule import Schedule

__all__ = ["advise", "refine"]

ORDER_HELP = "Which norm it is; by default what was logged, of both `l1` for a run of adamw, else `l2`."
Order = Annotated[Literal["l1", "l2"] | None, Parameter("--order", help=ORDER_HELP)]
SMOOTHING_HELP = "Width of the running median, as a share of the log."
Smoothing = Annotated[float, Parameter("--smoothing", help=SMOOTHING_HELP)]
RunName = Annotated[
    str | None, Parameter("--run", help="Which run, where there are several: the beginning of its id, or its name.")
]
Column = Annotated[str | None, Parameter("--column", help="Which column of a log holds the norms.")]
Steps = Annotated[
    int | None,
    Parameter("--steps", converter=whole, help="Horizon of the logged run; by default what the log tells."),
]


def refine(
    log: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(["--out", "-o"], help="Where the schedule is written, as JSON.")] = None,
    plot: Annotated[
        Path | None, Parameter("--plot", help="A .svg, .png or .html file: the norms, and the schedule beside linear.")
    ] = None,
    order: Order = None,
    smoothing: Smoothing = 0.1,
    steps: Steps = None,
    points: Annotated[int, Parameter("--points", converter=whole, help="Most values of the schedule.")] = 1000,
    run: RunName = None,
    column: Column = None,
    as_json: Json = False,
) -> None:
    """Make the schedule that the gradient norms in LOG ask for.

    LOG is a file of CSV, JSONL or JSON, TensorBoard events, a trainer_state.json, or a store of runs with --norms.
    """
    from lrcontrol import refining
    from lrcontrol.files import write_whole
    from lrcontrol.report import save
    from lrcontrol.schedules.text import to_json

    if plot is not None:
        save.checked_suffix(plot)
    for written in (out, plot):
        if written is not None and written.exists() and log.exists() and written.samefile(log):
            raise BadInput(f"{written} is the log itself: name another file for what is made of it.")
    found = refining.refine(
        log,
        order=order,
        smoothing=smoothing,
        total_steps=steps,
        points=points,
        run=run,
        column=column,
    )
    if out is not None:
        write_whole(out, to_json(found.schedule).encode() + b"\n")
    if plot is not None:
        from lrcontrol.report.refinement import refinement

        save.save_chart(refinement(found), plot)
    if as_json:
        import msgspec

        shape: dict[str, Any] = msgspec.to_builtins(found.compact)
        print_json(
            {
                "order": found.order,
                "readings": int(found.norms.size),
                **shape,
                "compact": str(found.compact.schedule),
                "multipliers": found.schedule.multipliers(10).round(6).tolist(),
                "notes": list(found.notes),
                "degenerate": found.degenerate,
            }
        )
        return
    from lrcontrol.report.refinement import show_refined

    show_refined(found, {name: path for name, path in (("schedule", out), ("plot", plot)) if path is not None})


def advise(
    log: Path,
    /,
    *,
    observed: Annotated[
        str | None, Parameter("--from", help="The schedule of the logged run; by default what a store tells.")
    ] = None,
    to: Annotated[
        list[str] | None, Parameter("--to", negative="", help="Schedules to compare; may be repeated.")
    ] = None,
    steps: Steps = None,
    new_steps: Annotated[
        int | None, Parameter("--new-steps", converter=whole, help="Horizon of the runs to come; by default the same.")
    ] = None,
    lr: Annotated[
        float | None, Parameter("--lr", help="The best base learning rate known for the logged schedule.")
    ] = None,
    steps_per_epoch: Annotated[
        int | None, Parameter("--steps-per-epoch", converter=whole, help="What `ep` is in lengths such as 5ep.")
    ] = None,
    order: Order = None,
    smoothing: Smoothing = 0.1,
    run: RunName = None,
    column: Column = None,
    as_json: Json = False,
) -> None:
    """Tell which schedule is best under the gradient norms in LOG, and how its base learning rate should change.

    It is what a bound of convex theory says; the logged schedule is the measure of everything.
    """
    from lrcontrol import refining
    from lrcontrol.schedules.text import schedule

    def read(text: str) -> "Schedule | str":
        return text if text == "refined" else schedule(with_files(text), steps_per_epoch=steps_per_epoch)

    found = refining.advise(
        log,
        observed=None if observed is None else read(observed),
        to={each: read(each) for each in to} if to else (),
        steps=steps,
        new_steps=new_steps,
        base_lr=lr,
        order=order,
        smoothing=smoothing,
        run=run,
        column=column,
    )
    if as_json:
        print_json(found)
        return
    from lrcontrol.report.refinement import show_advice

    show_advice(found)
