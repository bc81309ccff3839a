"""Controls as text: a schedule, with schedules of momentum and weight decay beside it, or one that looks."""

import msgspec

from lrcontrol import checks
from lrcontrol.controls.composed import Then, Times
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput
from lrcontrol.schedules.reader import Reader, call
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.schedules.text import number_text, read_product, read_schedule, schedule_text

__all__ = ["CONTROLS", "AnyControl", "control", "control_text", "read_control"]

AnyControl = Scheduled | Plateau | Times | Then

CONTROLS: dict[str, type[Plateau]] = {"plateau": Plateau}
"""Every control that looks, by its name in text."""


def control(given: "str | Schedule | AnyControl", *, steps_per_epoch: int | None = None) -> AnyControl:
    """The control that a text describes; a schedule is one that looks at nothing, a control is returned as it is.

    Args:
        given: a schedule's text, `schedule, momentum=schedule, weight_decay=schedule`, or a control that looks, such
            as `plateau(patience=5)`, `warmup(0.05)+plateau` or `warmup(0.05)+cosine*plateau`.
        steps_per_epoch: >= 1; what an epoch is in lengths such as 5ep.
    Raises:
        BadText: the text cannot be read; the sentence shows the place. UnknownName: near misses are named.
    Example:
        >>> control("warmup(0.05)+plateau(factor=0.5)").inner.factor
        0.5
    """
    if isinstance(given, AnyControl):
        return given
    if isinstance(given, Schedule):
        return Scheduled(given)
    if not isinstance(given, str):
        raise BadInput(f"a control must be a text, a Schedule or a control, got {checks.shown(given)}.")
    reader = Reader(given, "control", steps_per_epoch)
    result = read_control(reader)
    reader.finish()
    return result


def read_control(reader: Reader) -> AnyControl:
    """Read `schedule [, momentum=schedule] [, weight_decay=schedule]`, or `[schedule+][schedule*]name[*schedule]`."""
    reader.foreign = frozenset(CONTROLS)
    terms: list[Schedule] = []
    while reader.peek() not in CONTROLS:
        terms.append(read_product(reader))
        if reader.take("*"):  # only a control can follow, or the product would have read on
            return _after(terms[:-1], _read_times(reader, terms[-1]))
        if not reader.take("+"):
            return _read_beside(reader, Schedule(tuple(part for term in terms for part in term.parts)))
    return _after(terms, _read_times(reader, None))


def control_text(given: AnyControl) -> str:
    """The canonical text of a control; `control` reads it back, equal, apart from the rule past the end."""
    match given:
        case Scheduled():
            beside = (("momentum", given.momentum), ("weight_decay", given.weight_decay))
            texts = [f"{name}={schedule_text(each)}" for name, each in beside if each is not None]
            return ", ".join([schedule_text(given.schedule), *texts])
        case Then():
            return f"{schedule_text(given.schedule)}+{control_text(given.inner)}"
        case Times():
            text = schedule_text(given.schedule)
            alone = len(given.schedule.parts) == 1 and "+" not in text
            return f"{text if alone else f'({text})'}*{control_text(given.inner)}"
    usual = msgspec.structs.asdict(type(given)())
    changed = [
        f"{name}={number_text(value)}" for name, value in msgspec.structs.asdict(given).items() if value != usual[name]
    ]
    name = str(given.__struct_config__.tag)
    return f"{name}({', '.join(changed)})" if changed else name


def _after(terms: list[Schedule], control: Plateau | Times) -> AnyControl:
    if not terms:
        return control
    return Then(Schedule(tuple(part for term in terms for part in term.parts)), control)


def _read_times(reader: Reader, schedule: Schedule | None) -> Plateau | Times:
    """Read a control and what it is multiplied by, on either side."""
    looking = _read_looking(reader)
    if reader.take("*"):
        other = read_product(reader)
        schedule = other if schedule is None else schedule * other
    if reader.peek() == "+":
        reader.fail("a control goes on to the end of the run, so nothing can follow it")
    return looking if schedule is None else Times(schedule, looking)


def _read_looking(reader: Reader) -> Plateau:
    at = reader.ahead().at
    name = reader.name("a control")
    positional, named = reader.arguments([]) if reader.take("(") else ([], {})
    made = call(reader, CONTROLS[name], name, positional, named, at)
    assert isinstance(made, Plateau)  # noqa: S101 - what CONTROLS holds, told to the type checker
    return made


def _read_beside(reader: Reader, schedule: Schedule) -> Scheduled:
    beside: dict[str, Schedule] = {}
    while reader.take(","):
        name = reader.name("momentum or weight_decay")
        if name not in ("momentum", "weight_decay"):
            reader.fail(f"expected momentum=... or weight_decay=..., got {name!r}")
        if name in beside:
            reader.fail(f"`{name}` given twice")
        reader.expect("=")
        beside[name] = read_schedule(reader)
    return Scheduled(schedule, momentum=beside.get("momentum"), weight_decay=beside.get("weight_decay"))
