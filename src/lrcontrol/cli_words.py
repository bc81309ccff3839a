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

__all__ = ["Json", "print_json", "results_alone", "whole", "with_files"]

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
            raise BadInput(f"cannot read {path}: {error.strerror or error}.") from None
        try:
            return f"({from_json(content)})"
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None

    return re.sub(r'@(?:"([^"]+)"|([\w./~-]+))', read, text)


@contextlib.contextmanager
def results_alone() -> Iterator[None]:
    """Send what a user's file or script prints to stderr, so that stdout holds results alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII: it must reach a machine whole, whatever the terminal can show."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(value), indent=1))
