"""How far a command is, on stderr while it runs."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from lrcontrol.report.words import clean
from lrcontrol.runs.endings import ending_of
from lrcontrol.runs.record import Outcome, Record

__all__ = ["Progress"]

EVERY_SECONDS = 30.0  # between two lines where there is no bar


class Progress:
    """A bar of updates made, with the time left; on stderr, so that stdout holds results alone.

    Where stderr is no terminal it is a line now and then, and one for each length of the runs of a race. An interrupt
    is given a note that says how many runs have ended.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True, emoji=False)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("updates, time left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=quiet or not console.is_terminal,  # in a file there would be no bar, but an empty line
            transient=True,
        )
        self._quiet, self._runs, self._planned = quiet, 0, False
        self._lines = not quiet and not console.is_terminal
        self._length, self._total, self._updates, self._told = 0, 0, 0, time.monotonic()
        self._bar = self._bars.add_task("starting", total=None)

    def planned(self, total: int, done: int) -> None:
        """Begin: `total` updates are planned, `done` of them were made earlier."""
        self._planned, self._total, self._updates, self._told = True, total, done, time.monotonic()
        self._bars.update(self._bar, total=total, completed=done)

    def seen(self, record: Record) -> None:
        """Count a run that has ended."""
        self._runs += 1
        self._updates += record.spec.charge
        self._bars.update(self._bar, advance=record.spec.charge, description=f"{self._runs} runs done")
        if record.outcome is Outcome.FAILED:
            spec = record.spec
            run = f"{spec.method.label} at {spec.base_lr:g}, seed {spec.seed}, over {spec.stop_step} updates"
            self._bars.console.print(f"failed: {escape(run)}: {escape(clean(ending_of(record)))}", soft_wrap=True)

        if self._lines:
            self._line(record.spec.stop_step)

    def _line(self, length: int) -> None:
        """Say in a log how far it is: now and then, and where runs of another length begin to end."""
        now = time.monotonic()
        if (self._length not in (0, length)) or now - self._told >= EVERY_SECONDS:
            runs = "1 run" if self._runs == 1 else f"{self._runs:,} runs"
            self._bars.console.print(
                f"{runs} done, {self._updates:,} of {self._total:,} updates; now over {length:,}",
                highlight=False,
                soft_wrap=True,
            )
            self._told = now
        self._length = length

    def told(self, sentence: str) -> None:
        """Say what was found out about this machine."""
        if not self._quiet:
            self._bars.console.print(escape(clean(sentence)), highlight=False)

    def updates(self, total: int | None) -> Callable[[int], None]:
        """A callback for one run: it is told how many of `total` updates have been made; None where nobody knows."""
        self._bars.update(self._bar, total=total, description="training")

        def made(count: int) -> None:
            self._bars.update(self._bar, completed=count)

        return made

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if isinstance(error, KeyboardInterrupt) and self._planned:
            kept = {0: "no run had ended", 1: "1 run that ended is kept"}
            error.add_note(kept.get(self._runs, f"{self._runs:,} runs that ended are kept"))
