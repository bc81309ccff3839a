"""How runs ended, in sentences for people: the whole of a message is in the record."""

import re
from collections import Counter
from collections.abc import Sequence

from lrcontrol.runs.record import Outcome, Record

__all__ = ["ended_with", "ending_of", "endings_of"]

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


def ended_with(record: Record) -> list[str]:
    """What a run ended with, where that is not simply its last weights after all of its updates: sentences.

    Example:
        >>> from lrcontrol.runs.record import Objective
        >>> from lrcontrol.runs.spec import RunSpec
        >>> spec = RunSpec(task="digits-mlp", method="sgd:snapshots(cycles=2)", base_lr=0.1, total_steps=8)
        >>> made = {"spec": spec, "outcome": Outcome.FINISHED, "objective": Objective("accuracy", "maximize")}
        >>> ended_with(Record(**made, members=(4, 8)))
        ['It ended as an ensemble of the models after 4, 8 updates.']
    """
    told = []
    if record.outcome is Outcome.STOPPED:
        told.append(f"It was stopped after {record.cost.steps} updates: {ending_of(record)}.")
    if record.kept is not None:
        told.append(f"It ended with the weights that it had after {record.kept} updates.")
    if len(record.members) > 1:
        told.append(f"It ended as an ensemble of the models after {', '.join(map(str, record.members))} updates.")
    elif record.members:
        alone = f"It ended with the model after {record.members[0]} updates alone"
        told.append(f"{alone}: no ensemble of its snapshots was better.")
    return told


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
