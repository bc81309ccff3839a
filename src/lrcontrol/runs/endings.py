"""How runs ended that did not end well, in a line for people: the whole of it is in the message of the record."""

import re
from collections import Counter
from collections.abc import Sequence

from lrcontrol.runs.record import Outcome, Record

__all__ = ["ending_of", "endings_of"]

LONGEST = 300  # characters


def ending_of(record: Record) -> str:
    """What the message of a record comes to: of a traceback its last line, and the line of the user's file.

    It has no full stop.

    Example:
        >>> from lrcontrol.runs.record import Objective
        >>> from lrcontrol.runs.spec import RunSpec
        >>> spec = RunSpec(task="train.py:train", method="own:rex", base_lr=0.1, total_steps=5)
        >>> text = 'Traceback:' + chr(10) + 'File "/home/me/train.py", line 7, in train' + chr(10) + 'ValueError: odd'
        >>> ending_of(Record(spec=spec, outcome=Outcome.FAILED, objective=Objective("a", "minimize"), message=text))
        'ValueError: odd (line 7 of train.py)'
    """
    lines = [line.strip() for line in (record.message or "").strip().splitlines()]
    if not lines:
        return record.outcome.value
    said = re.sub(r"^lrcontrol\.errors\.\w+: ", "", lines[-1])
    said = said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
    file = record.spec.task.partition(":")[0] if ":" in record.spec.task else None
    if file is None:
        return said.removesuffix(".")
    name = re.escape(file)
    places = [found[1] for line in lines if (found := re.match(rf'File "(?:.*[/\\])?{name}", line (\d+)', line))]
    return said.removesuffix(".") + (f" (line {places[-1]} of {file})" if places else "")


def endings_of(records: Sequence[Record]) -> str:
    """How many of these runs failed and diverged, and why the first that failed did; nothing where none did.

    Example:
        >>> endings_of([])
        ''
    """
    counts = Counter(record.outcome for record in records)
    told = []
    failed = [record for record in records if record.outcome is Outcome.FAILED]
    if failed:
        reasons = list(dict.fromkeys(map(ending_of, failed)))
        first = "because" if len(reasons) == 1 else "the first because"
        told.append(f"{len(failed)} failed, {first} {reasons[0]}")
    if counts[Outcome.DIVERGED]:
        told.append(f"{counts[Outcome.DIVERGED]} diverged")
    return "; ".join(told)
