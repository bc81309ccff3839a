"""A user's Python file, run because the user named it; nothing that is read from a store or a document comes here."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from lrcontrol import checks
from lrcontrol.errors import BadInput, LRControlError

__all__ = ["HOST", "load"]

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
