"""Old pickles read without unpickling: a walk over the opcodes that builds arrays, matrices, lists, dicts, numbers.

Nothing is imported, looked up or called: the names in a file are compared with a closed list, and the few that are on
it stand for one way each of laying out bytes.
"""

import dataclasses
import pickletools
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from lrcontrol import checks
from lrcontrol.training.tasks.formats import told

__all__ = ["unpickled"]

DTYPES = ("i4", "i8", "f4", "f8")
NAMES = (
    "__builtin__ list",
    "collections defaultdict",
    "numpy dtype",
    "numpy ndarray",
    "numpy.core.multiarray _reconstruct",
    "scipy.sparse.csr csr_matrix",
)
LITERALS = {"BININT", "BININT1", "BININT2", "BINSTRING", "SHORT_BINSTRING"}
CONSTANTS: dict[str, Any] = {"EMPTY_TUPLE": (), "NEWFALSE": False, "NEWTRUE": True, "NONE": None}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name that the file calls by; never looked up."""

    text: str


@dataclasses.dataclass
class _Made:
    """An array, dtype or matrix: begun by a REDUCE or NEWOBJ, filled by a BUILD."""

    kind: str
    value: Any = None


def unpickled(name: str, content: bytes) -> Any:
    r"""The value in a pickle of protocol 2 as Python 2 wrote them.

    Args:
        name: of the file, for messages.
        content: of the file.
    Returns:
        A numpy array (int32, int64, float32 or float64), a scipy `csr_array`, or a dict whose values are lists.
    Raises:
        DataDamaged: an opcode or a name that is not on the closed list, a value that does not fit, or no whole
            pickle. Whatever the file holds, none of it is executed.
    Example:
        >>> unpickled("small.pkl", b"\x80\x02}(K\x01]K\x07au.")
        {1: [7]}
    """
    return told(name, lambda: _Machine(content).result())


class _Machine:
    """The stack, the marks and the memo."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """What is left on the stack when all opcodes are done."""
        for opcode, argument, position in pickletools.genops(self.content):
            if opcode.name == "STOP":
                _must(position == len(self.content) - 1, "it goes on after its end")
                break
            self.do(opcode.name, argument)
        _must(len(self.stack) == 1 and not self.marks, "its opcodes leave no single value")
        return _value_of(self.stack[0])

    def do(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        push = self.stack.append
        match opcode:
            case "PROTO":
                _must(argument == 2, f"its protocol is {argument}, not 2")
            case "GLOBAL":
                _must(argument in NAMES, f"it names {checks.shown(argument)}, which no data file needs")
                push(_Name(argument))
            case "BINPUT" | "LONG_BINPUT":
                _must(bool(self.stack), "an opcode of it finds no value")
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                _must(argument in self.memo, "it asks for a value that it never kept")
                push(self.memo[argument])
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_LIST":
                push([])
            case "EMPTY_DICT":
                push({})
            case "TUPLE":
                push(tuple(self.since_mark()))
            case "APPEND" | "APPENDS":
                items = [self.pop()] if opcode == "APPEND" else self.since_mark()
                _must(all(type(item) is int for item in items), "a list of it holds what is no whole number")
                self.top(list).extend(items)
            case "SETITEMS":
                items = self.since_mark()
                _must(len(items) % 2 == 0, "it has a key without a value")
                _must(all(type(key) in (int, str) for key in items[::2]), "a key of it is neither number nor text")
                self.top(dict).update(zip(items[::2], items[1::2], strict=True))
            case "NEWOBJ":
                _must(self.pop() == (), "it makes a matrix of something")
                push(_begun(self.pop(), None))
            case "REDUCE":
                arguments = self.pop()
                push(_begun(self.pop(), arguments))
            case "BUILD":
                state = self.pop()
                _fill(self.top(_Made), state)
            case _ if opcode in LITERALS:
                push(argument)
            case _ if opcode in CONSTANTS:
                push(CONSTANTS[opcode])
            case _ if opcode in TUPLES:
                push(tuple(reversed([self.pop() for _ in range(TUPLES[opcode])])))
            case _:
                raise ValueError(f"it has the opcode {opcode}, which no data file needs")

    def pop(self) -> Any:
        """The topmost value, taken off; never one from below the last mark."""
        _must(len(self.stack) > (self.marks[-1] if self.marks else 0), "an opcode of it finds no value")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        """All values above the last mark, taken off with it."""
        _must(bool(self.marks), "an opcode of it finds no mark")
        first = self.marks.pop()
        items = self.stack[first:]
        del self.stack[first:]
        return items

    def top(self, kind: type) -> Any:
        """The topmost value, which must be of this type."""
        _must(bool(self.stack) and type(self.stack[-1]) is kind, "an opcode of it finds a value of another type")
        return self.stack[-1]


def _begun(name: Any, arguments: Any) -> Any:
    """What a call of `name` would begin."""
    match name, arguments:
        case _Name("scipy.sparse.csr csr_matrix"), None:
            return _Made("matrix")
        case _Name("numpy.core.multiarray _reconstruct"), (_Name("numpy ndarray"), (0,), "b"):
            return _Made("array")
        case _Name("numpy dtype"), (str(code), 0, 1) if code in DTYPES:
            return _Made("dtype", np.dtype("<" + code))
        case _Name("collections defaultdict"), (_Name("__builtin__ list"),):
            return {}
    raise ValueError("it makes something that no data file needs")


def _fill(made: _Made, state: Any) -> None:
    """What a BUILD does to it."""
    match made.kind, state:
        case "dtype", (3, "<", None, None, None, -1, -1, 0):
            return
        case "array", (1, tuple(shape), _Made("dtype", dtype), bool(columns_first), str(data)):
            _must(all(type(length) is int and length >= 0 for length in shape), "an array of it has an odd shape")
            flat = np.frombuffer(data.encode("latin1"), dtype)
            made.value = flat.reshape(shape, order="F" if columns_first else "C").copy()
            return
        case "matrix", dict():
            made.value = _matrix(state)
            return
    raise ValueError("it fills something in a way that no data file needs")


def _matrix(state: dict[Any, Any]) -> "csr_array[Any, tuple[int, int]]":
    """A sparse matrix from its parts, each checked against the others."""
    missing = {"data", "indices", "indptr", "_shape"} - set(state)
    _must(not missing, f"a matrix of it lacks {', '.join(sorted(missing))}")
    data, indices, indptr = (_value_of(state[part]) for part in ("data", "indices", "indptr"))
    rows, columns = state["_shape"]
    for numbers in (indices, indptr):
        _must(isinstance(numbers, np.ndarray) and numbers.dtype.kind == "i" and numbers.ndim == 1, "a matrix is odd")
    _must(isinstance(data, np.ndarray) and data.shape == indices.shape, "a matrix of it has odd values")
    _must(len(indptr) == rows + 1 and (np.diff(indptr) >= 0).all(), "the rows of a matrix of it do not fit")
    _must(indptr[0] == 0 and indptr[-1] == len(indices), "the rows of a matrix of it do not fit its values")
    _must(not len(indices) or 0 <= indices.min() <= indices.max() < columns, "a matrix of it has odd columns")
    return csr_array((data, indices, indptr), shape=(rows, columns))


def _value_of(value: Any) -> Any:
    """A finished array, matrix, list or dict."""
    if type(value) is _Made:
        _must(value.value is not None and value.kind != "dtype", "it ends with something unfinished")
        return value.value
    _must(not any(type(part) is not list for part in _parts(value)), "it holds a value of another type")
    return value


def _parts(value: Any) -> Iterator[Any]:
    """The values of a dict; a value that is no dict is its own part."""
    yield from value.values() if type(value) is dict else (value,)


def _must(held: bool, otherwise: str) -> None:
    if not held:
        raise ValueError(otherwise)
