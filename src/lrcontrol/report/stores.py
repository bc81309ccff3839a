"""What the commands of `lrcontrol store` print: plain lines, in which nothing from a file can steer the terminal."""

from collections.abc import Mapping

from lrcontrol.report.words import clean
from lrcontrol.runs.storage.checking import Checked
from lrcontrol.runs.storage.describing import Described
from lrcontrol.runs.storage.merging import Merged

__all__ = ["show_checked", "show_described", "show_merged"]

MOST = 12  # entries of a list


def show_described(found: Described) -> None:
    """Print a store in numbers."""
    print(f"{clean(found.path)}: {_count(found.runs, 'run')}, {_size(found.bytes)}, format {found.version}")
    if found.steps is None:
        return
    low, high = found.steps
    span = f"{low:,} updates" if low == high else f"{low:,} to {high:,} updates"
    failed = found.outcomes.get("failed", 0)
    beside = f", beside those of {_count(failed, 'failed run')}, which nobody counted" if failed else ""
    print(f"each asked for {span}; {found.updates:,} made in all{beside}, in {_time(found.seconds)}")
    for title, counts in (("tasks", found.tasks), ("outcomes", found.outcomes), ("methods", found.methods)):
        print(f"\n{title}")
        _print_counts(counts)


def show_checked(found: Checked) -> None:
    """Print what is wrong in a store, a line each, and what is right."""
    for fault in found.faults:
        print(clean(fault))
    rows = "1 row is" if found.right == 1 else f"{found.right:,} rows are"
    verdict = f"{rows} right" if found.right or found.faults else "there is no run yet"
    if not found.faults:
        print(f"{clean(found.path)}: {verdict}, format {found.version}; nothing is wrong")
        return
    print(f"{clean(found.path)}: {_count(len(found.faults), 'fault')}; {verdict}")
    if found.right:
        print("`lrcontrol store merge --salvage` copies what is right to another store.")


def show_merged(found: Merged) -> None:
    """Print what a merge did."""
    print(f"{clean(found.path)}: {_count(found.runs, 'run')}, {found.added:,} of them new")
    for count, what in (
        (found.same, "were there already"),
        (found.failed, "failed tries were left out: another try of the run is there"),
        (len(found.differing), "were there already with another record, which stays"),
        (found.copied, "files of weights and checkpoints were copied"),
    ):
        if count:
            print(f"{count:,} {what}")
    for sentence in (*found.missing, *found.faults):
        print(clean(sentence))


def _print_counts(counts: Mapping[str, int]) -> None:
    width = max(len(f"{count:,}") for count in counts.values())
    for name, count in [*counts.items()][:MOST]:
        print(f"  {count:>{width},}  {clean(name)}")
    if len(counts) > MOST:
        print(f"  {'':>{width}}  and {len(counts) - MOST:,} more")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _size(size: int) -> str:
    if size < 10_000:
        return f"{size:,} bytes"
    return f"{size / 1e3:,.0f} kB" if size < 10_000_000 else f"{size / 1e6:,.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
