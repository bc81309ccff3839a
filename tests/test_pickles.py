"""Old pickles: read as the interpreter reads them, and whatever they hold, nothing of it is executed."""

import io
import pickle
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrcontrol.errors import DataDamaged
from lrcontrol.training.tasks import data
from lrcontrol.training.tasks.pickles import unpickled

ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
CORA = [f"cora/ind.cora.{part}" for part in ("x", "y", "tx", "ty", "allx", "ally", "graph")]


def dtype(code: str = "i4", order: str = "<") -> bytes:
    text = code.encode()
    begun = b"cnumpy\ndtype\nU" + bytes([len(text)]) + text + b"K\x00K\x01\x87R"
    return begun + b"(K\x03U\x01" + order.encode() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array(values: list[int], shape: bytes | None = None, code: bytes | None = None) -> bytes:
    content = struct.pack(f"<{len(values)}i", *values)
    raw = b"T" + struct.pack("<i", len(content)) + content
    lengths = shape or b"K" + bytes([len(values)]) + b"\x85"
    return ARRAY + b"(K\x01" + lengths + (code or dtype()) + b"\x89" + raw + b"tb"


def matrix(rows: int, columns: int, **parts: list[int]) -> bytes:
    items = b"".join(b"U" + bytes([len(name)]) + name.encode() + array(values) for name, values in parts.items())
    shape = b"U\x06_shapeK" + bytes([rows]) + b"K" + bytes([columns]) + b"\x86"
    return b"cscipy.sparse.csr\ncsr_matrix\n)\x81}(" + shape + items + b"ub"


def whole(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def test_arrays_matrices_and_dicts_are_read() -> None:
    assert unpickled("a", whole(array([7, -8, 9]))).tolist() == [7, -8, 9]
    square = unpickled("a", whole(array([1, 2, 3, 4], b"K\x02K\x02\x86")))
    assert square.tolist() == [[1, 2], [3, 4]]
    assert square.dtype == np.int32
    found = unpickled("m", whole(matrix(2, 3, indptr=[0, 1, 3], indices=[2, 0, 1], data=[5, 6, 7])))
    assert found.toarray().tolist() == [[0, 0, 5], [6, 7, 0]]
    graph = b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(K\x01](K\x02K\x03eK\x02]K\x01au"
    assert unpickled("g", whole(graph)) == {1: [2, 3], 2: [1]}


@pytest.mark.skipif(not data.here(CORA), reason="the files of Cora are not here; set LRCONTROL_DATA")
@pytest.mark.parametrize("name", CORA)
def test_the_files_are_read_as_the_interpreter_reads_them(name: str) -> None:
    """The same bytes through Python's own reader, which the package never uses."""
    content = data.read(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy and SciPy have moved what these old files name
        theirs = pickle.Unpickler(io.BytesIO(content), encoding="latin1").load()
    mine = unpickled(name, content)
    if isinstance(mine, dict):
        assert mine == dict(theirs)
    elif isinstance(mine, np.ndarray):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    else:
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine.toarray(), theirs.toarray())


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path, call: Any) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("call", [eval, exec, __import__, print], ids=lambda call: call.__name__)
def test_a_pickle_that_calls_is_refused_and_calls_nothing(tmp_path: Path, protocol: int, call: Any) -> None:
    path = tmp_path / "made"
    bomb = pickle.dumps(Bomb(path, call), protocol=protocol)
    with pytest.raises(DataDamaged, match=r"bomb\.pkl cannot be read: it"):
        unpickled("bomb.pkl", bomb)
    assert not path.exists()
    if call in (eval, exec):
        pickle.loads(bomb)
        assert path.exists(), "the bomb was no bomb"


GRAPH = b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R"

HOSTILE = {
    "a name that is not on the list": b"cos\nsystem\nU\x04true\x85R",
    "a name that is not on the list, behind a good one": GRAPH + b"cos\nsystem\nU\x04true\x85R0",
    "a module that would be imported": b"cantigravity\nfly\n",
    "a good module with a bad name": b"cnumpy\nload\nU\x01x\x85R",
    "a list that would be called": b"c__builtin__\nlist\n(K\x01K\x02t\x85R",
    "a defaultdict that would call something": b"ccollections\ndefaultdict\ncnumpy\nndarray\n\x85R",
    "a defaultdict with a number": b"ccollections\ndefaultdict\nK\x07\x85R",
    "INST": b"(S'true'\nios\nsystem\n",
    "OBJ": b"(cos\nsystem\nU\x04trueo",
    "EXT1": b"\x82\x01",
    "PERSID": b"Psomething\n",
    "BINPERSID": b"K\x01Q",
    "objects by a constructor with arguments": b"cscipy.sparse.csr\ncsr_matrix\nK\x05\x85\x81",
    "an array of objects": ARRAY + b"(K\x01K\x01\x85" + dtype("O8") + b"\x89T\x08\x00\x00\x00" + bytes(8) + b"tb",
    "an array of another byte order": array([1], code=dtype("i4", ">")),
    "an array that is longer than its bytes": array([1, 2], b"K\x63\x85"),
    "an array of negative length": array([1, 2], b"J\xff\xff\xff\xff\x85"),
    "an array that is never filled": ARRAY,
    "a dtype alone": dtype(),
    "a name alone": b"c__builtin__\nlist\n",
    "a number alone": b"K\x07",
    "a state for a dict": b"}(K\x01]u}b",
    "a matrix without rows": matrix(2, 3, indices=[2, 0, 1], data=[5, 6, 7]),
    "a matrix with rows too few": matrix(2, 3, indptr=[0, 3], indices=[2, 0, 1], data=[5, 6, 7]),
    "a matrix with rows that go back": matrix(2, 3, indptr=[0, 4, 3], indices=[2, 0, 1], data=[5, 6, 7]),
    "a matrix with rows that end too late": matrix(2, 3, indptr=[0, 1, 9], indices=[2, 0, 1], data=[5, 6, 7]),
    "a matrix with a column too far": matrix(2, 3, indptr=[0, 1, 3], indices=[2, 0, 3], data=[5, 6, 7]),
    "a matrix with a column below 0": matrix(2, 3, indptr=[0, 1, 3], indices=[2, 0, -1], data=[5, 6, 7]),
    "a matrix with too few values": matrix(2, 3, indptr=[0, 1, 3], indices=[2, 0, 1], data=[5, 6]),
    "a key without a value": GRAPH + b"(K\x01]K\x02u",
    "a value that is a number": GRAPH + b"(K\x01K\x02u",
    "a list that holds itself": GRAPH + b"(K\x01]q\x01h\x01au",
    "a key that is a tuple": GRAPH + b"()]u",
    "no mark": b"u",
    "an empty stack": b"R",
    "a memo that was never filled": b"h\x07",
    "two values": b"]]",
    "a mark left over": b"](",
    "a value from below a mark": b"](K\x01\x85a",
    "nothing": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_or_odd_is_one_sentence(body: bytes) -> None:
    before = set(sys.modules)
    with pytest.raises(DataDamaged, match=r"^the data file odd\.pkl cannot be read: [^\n]{8,}[^.]\.$"):
        unpickled("odd.pkl", whole(body))
    assert set(sys.modules) - before == set()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02", b"\x80\x03].", b"\x80\x02].]", b"\xff\xfe", b"PK\x03\x04", whole(GRAPH)[:-1], b"\x80\x02T\xff"],
    ids=["empty", "begun", "protocol 3", "more behind the end", "garbage", "a zip", "cut off", "a string cut off"],
)
def test_what_is_no_whole_pickle_is_one_sentence(content: bytes) -> None:
    with pytest.raises(DataDamaged, match=r"^the data file odd\.pkl cannot be read: [^\n]{8,}[^.]\.$"):
        unpickled("odd.pkl", content)


def test_nested_values_that_would_fill_the_memory_do_not() -> None:
    """Forty tuples, each of three times the one before."""
    body = b"K\x01" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x87" for n in range(40))
    with pytest.raises(DataDamaged, match="cannot be read"):
        unpickled("odd.pkl", whole(body))


def test_a_thousand_random_changes_of_a_good_file_end_in_a_value_or_a_sentence() -> None:
    good = whole(matrix(2, 3, indptr=[0, 1, 3], indices=[2, 0, 1], data=[5, 6, 7]))
    random = np.random.default_rng(11)
    refused = 0
    for _ in range(1000):
        content = bytearray(good)
        content[random.integers(len(content))] = random.integers(256)
        try:
            unpickled("changed.pkl", bytes(content))
        except DataDamaged:
            refused += 1
    assert 500 < refused < 1000
