"""A user's Python file, run because the user named it; nothing that is read from a store or a document comes here."""

import importlib.util
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from lrcontrol import checks
from lrcontrol.errors import BadInput, LRControlError

__all__ = ["HOST", "Raised", "load", "raised_in_a_file"]

HOST = "LRCONTROL_HOST"
"""Set in the environment of processes that carry out runs: what they load was tried by who started them."""

_LOADED: dict[Path, ModuleType] = {}


def load(path: str | Path) -> ModuleType:
    """The module that a Python file makes; run once a process, under a name that nothing else has.

    The file finds others of its folder, but none of them takes the place of an installed package.

    Raises:
        BadInput: there is no such file, or running it raises; the sentence names the line.
    """
    file = Path(path).resolve()
    if file in _LOADED:
        return _LOADED[file]
    if file.suffix != ".py":
        raise BadInput(f"a task of your own must be in a Python file, got {str(path)!r}, which does not end in .py.")
    if not file.is_file():
        raise BadInput(
            f"a task of your own must be in a Python file, got {str(path)!r}, where there is none; name it from the "
            "folder you are in, as in path/to/file.py:function."
        )
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(f"lrcontrol_user_{len(_LOADED)}_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise BadInput(f"a task of your own must be in a Python file, got {str(path)!r}, which cannot be loaded.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise BadInput(f"{path} {_fault(error, file)}.") from error
    _LOADED[file] = module
    return module


class Raised(NamedTuple):
    """What a user's file raised: its frames in lines of text, and a sentence that names the line."""

    frames: list[str]
    sentence: str


def raised_in_a_file(error: Exception) -> Raised | None:
    """What to say of an error that was raised in, or below, a file that was loaded here; None of any other.

    Of the frames there are those of the user's code, also of files that it imports, and none of installed packages or
    of lrcontrol. What lrcontrol raises where a file calls it is no fault of the file, and is None too.
    """
    files = set(map(str, _LOADED))
    frames = traceback.extract_tb(error.__traceback__)
    first = next((place for place, frame in enumerate(frames) if frame.filename in files), None)
    if first is None or _is_in(frames[-1].filename, _OURS):
        return None
    below = frames[first:]
    theirs = [frame for frame in below if frame.filename in files or not _is_in(frame.filename, _INSTALLED)]
    last = next(frame for frame in reversed(theirs) if frame.filename in files)
    lines = "".join(traceback.format_list(theirs)).rstrip("\n").split("\n")
    place = f"line {last.lineno} of {Path(last.filename).name}"
    said = checks.shown_error(error)
    return Raised(lines, f"{type(error).__name__}{': ' * bool(said)}{said} ({place}).")


_OURS = (str(Path(__file__).resolve().parents[1]),)
_INSTALLED = (*_OURS, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def _is_in(file: str, folders: tuple[str, ...]) -> bool:
    """Whether a file is in one of these folders, or is none, as what Python is frozen with."""
    return file.startswith(("<frozen ", *(f"{each}{os.sep}" for each in folders)))


def _fault(error: Exception | SystemExit, file: Path) -> str:
    """What a file must do and did not, and in which line."""
    said = checks.shown_error(error)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"must be valid Python, but line {error.lineno} is not: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    place = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, LRControlError):
        return f"must run without an error, got one{place}: {said}"
    return f"must run without an error, got {type(error).__name__}{place}: {said}"
