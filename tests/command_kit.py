"""The command line called in this process, and what it left."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from lrcontrol import cli

__all__ = ["Run", "Said", "caller"]


class Said(NamedTuple):
    """What a command left: its exit status, stdout and stderr."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


def caller(capfd: pytest.CaptureFixture[str], *first: str) -> Run:
    """A function that calls `lrcontrol` with these words and its arguments."""

    def called(*arguments: object) -> Said:
        capfd.readouterr()
        status = 0
        try:
            cli.main([*first, *(str(each) for each in arguments)])
        except SystemExit as ending:
            status = int(ending.code or 0)
        return Said(status, *capfd.readouterr())

    return called
