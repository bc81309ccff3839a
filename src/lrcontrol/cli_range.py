"""`lrcontrol range`: the range test of a task."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lrcontrol.cli_words import Device, Json, print_json, results_alone, whole

__all__ = ["range_"]


def range_(
    task: str,
    /,
    *,
    optimizer: Annotated[
        str | None,
        Parameter("--optimizer", help="Such as `sgd(momentum=0.9)`; by default that of the task's default."),
    ] = None,
    low: Annotated[float | None, Parameter("--low", help="The least learning rate of the ramp.")] = None,
    high: Annotated[float | None, Parameter("--high", help="The largest.")] = None,
    steps: Annotated[int | None, Parameter("--steps", converter=whole, help="Updates of a ramp.")] = None,
    shape: Annotated[
        Literal["exponential", "linear"],
        Parameter("--shape", help="How the rate rises: by a factor, or by an amount."),
    ] = "exponential",
    repeats: Annotated[
        int | None, Parameter("--repeats", converter=whole, help="Ramps, each with a seed of its own.")
    ] = None,
    confirm: Annotated[
        int,
        Parameter(
            "--confirm", converter=whole, help="Updates of runs at the suggestion, a third of it and 3 times it."
        ),
    ] = 0,
    seed: Annotated[
        int, Parameter("--seed", converter=whole, help="Of the first ramp; the others have those after.")
    ] = 0,
    device: Device = None,
    plot: Annotated[
        Path | None, Parameter("--plot", help="A .svg, .png or .html file: the losses over the rates.")
    ] = None,
    out: Annotated[
        Path | None, Parameter("--out", help="Folder to keep the runs in; by default nothing is kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Raise the learning rate of TASK from very low to too high in one short run, and tell the one to train with.

    It tells the usable range for cycling too, and no rate at all where the losses show none.
    """
    from lrcontrol import ranging
    from lrcontrol.report import save
    from lrcontrol.report.progress import Progress

    if plot is not None:
        save.checked_suffix(plot)
    with Progress(quiet=as_json) as progress, results_alone():
        found = ranging.range_test(
            task,
            optimizer,
            low=low,
            high=high,
            steps=steps,
            shape=shape,
            repeats=repeats,
            confirm=confirm,
            seed=seed,
            out=out,
            progress=progress.updates(None),
            device=device,
        )
    if plot is not None:
        save.save_chart(found.plot(), plot)
    checked = found.confirmation
    if as_json:
        import msgspec

        reading: dict[str, object] = msgspec.to_builtins(found.found)
        print_json(
            {
                "task": task,
                "optimizer": found.optimizer,
                **reading,
                "confirmation": None
                if checked is None
                else {"confirmed": checked.confirmed, "told": checked.sentence},
                "remarks": list(found.remarks),
                "runs": [record.id for record in found.records],
                "spent_steps": found.steps,
            }
        )
        return
    from lrcontrol.report.lr_range import show_suggestion

    sentences = [*found.remarks, f"It took {found.steps:,} updates."]
    written = {name: path for name, path in (("plot", plot), ("results", out)) if path is not None}
    show_suggestion(found.found, sentences, written)
