"""What the commands share: words that stand for the same thing in each, and JSON for machines."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from lrcontrol.errors import BadInput

__all__ = ["Device", "Json", "in_options", "print_json", "results_alone", "whole", "with_files"]

LIBRARY = {
    "lr": ("base_lr",),
    "lrs": ("base_lr", "base_lrs"),
    "steps": ("total_steps",),
    "run_cpus": ("num_cpus",),
    "run_gpus": ("num_gpus",),
}
"""What the library calls some parameters of commands besides; all others it calls as they are."""

Device = Annotated[
    str | None,
    Parameter("--device", help="To train on: `cpu`, `cuda`, `cuda:NUMBER`; by default where the task is made."),
]
Json = Annotated[bool, Parameter("--json", negative="", help="Print JSON for machines.")]


def whole(kind: Any, tokens: Sequence[cyclopts.Token]) -> int:
    """A whole number as it was typed: the library would round 1.5 to 2."""
    del kind
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be a whole number, got {tokens[0].value!r}.") from None


def with_files(text: str) -> str:
    """A schedule or method, with the schedule that a file holds, as one part, for every `@schedule.json` in it.

    A path with other characters than letters, digits and ``_-./~`` stands in double quotes: `@"my runs/s.json"`.

    Raises:
        BadInput: the file cannot be read, or holds something else.
    """
    from lrcontrol.schedules.text import from_json

    def read(found: re.Match[str]) -> str:
        path = Path(found.group(1) or found.group(2))
        try:
            content = path.read_bytes()
        except OSError as error:
            told = f"cannot read {path}: {error.strerror or error}"
            raise BadInput(f"{told}; @ stands before the file of a schedule, as in adamw:@refined.json.") from None
        try:
            return f"({from_json(content)})"
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None

    return re.sub(r'@(?:"([^"]+)"|([\w./~-]+))', read, text)


def in_options(sentence: str, app: cyclopts.App, words: Sequence[str]) -> str:
    """A sentence of the library, with the options of the command that `words` call in place of its parameters.

    What is said of a part of a text, as in "linear: `steps` must ...", is left as it is.

    Example:
        >>> from lrcontrol.cli import app
        >>> in_options("`total_steps` must be an integer >= 1, got total_steps=0.", app, ["train", "--steps", "0"])
        '`--steps` must be an integer >= 1, got --steps 0.'
    """
    if re.match(r"[^`]*: `", sentence):
        return sentence
    sentence = re.sub(r", --[\w-]+ on the command line", "", sentence)  # where the library names both
    *_, command = app.parse_commands(words)[1]
    for argument in command.assemble_argument_collection() if command.default_command else ():
        option, own = argument.name, argument.field_info.name
        for name in (own, *LIBRARY.get(own, ())) if option.startswith("--") else ():
            sentence = sentence.replace(f"`{name}`", f"`{option}`")
            sentence = re.sub(rf"\bgot {name}='([\w:.]+)'", rf"got {option} \1", sentence)
            sentence = re.sub(rf"\bgot {name}=", f"got {option} ", sentence)
    return sentence


@contextlib.contextmanager
def results_alone() -> Iterator[None]:
    """Send what a user's file or script prints to stderr, so that stdout holds results alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII: it must reach a machine whole, whatever the terminal can show."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(value), indent=1))
