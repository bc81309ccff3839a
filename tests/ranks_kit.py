"""Two processes of a group, begun from a script beside the tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["two_ranks"]


def two_ranks(script: str, folder: Path, *flags: str) -> list[dict[str, Any]]:
    """What each of two ranks of `script` wrote to `folder`; both must end well, without a warning.

    Args:
        script: its file's name; it is given the folder and its rank, and writes `RANK.json` there.
        folder: theirs alone.
        flags: of Python.
    """
    command = [sys.executable, "-W", "error", *flags, str(Path(__file__).with_name(script)), str(folder)]
    ranks = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        errors = [rank.communicate(timeout=240)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
