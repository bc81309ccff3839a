"""Data files: found, checked, downloaded whole or not at all; formats that say what is wrong."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lrcontrol.errors import DataDamaged, DataMissing
from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.splits import carved, distinct_rows, scaled, split_rows, tensors

CONTENT = b"1 1:0.5\n0 2:1\n"


def known(url=None):
    return data.KnownFile(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), url)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of data, an empty cache, and a known file that is in neither."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(data, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(data, "files", lambda: {"set/file": known(), "set/other": known()})
    monkeypatch.setenv("LRCONTROL_DATA", str(folder))
    return folder


def put(folder, content=CONTENT):
    (folder / "set").mkdir(parents=True, exist_ok=True)
    (folder / "set" / "file").write_bytes(content)


def test_a_file_is_read_from_the_folder_and_checked(place):
    assert not data.available(["set/file"])
    put(place)
    assert data.available(["set/file"])
    assert not data.available(["set/file", "set/other"])
    assert data.read("set/file") == CONTENT


def test_the_cache_is_used_where_no_folder_is_named(place, tmp_path, monkeypatch):
    monkeypatch.delenv("LRCONTROL_DATA")
    put(tmp_path / "cache")
    assert data.available(["set/file"])
    assert data.read("set/file") == CONTENT


def test_a_missing_file_is_named_with_what_to_do(place, monkeypatch):
    with pytest.raises(DataMissing, match=r"set/file must be in the folder that LRCONTROL_DATA names.*put it there"):
        data.read("set/file")
    monkeypatch.delenv("LRCONTROL_DATA")
    assert not data.available(["set/file"])
    with pytest.raises(DataMissing, match=r"set/file has no address.*set LRCONTROL_DATA"):
        data.read("set/file")


@pytest.mark.parametrize(
    "content",
    [b"", CONTENT[:-1], CONTENT + b"\n", b"\0" * len(CONTENT), gzip.compress(CONTENT)],
    ids=["empty", "cut", "longer", "zeros", "gzipped"],  # a gzip file holds the time at which it was made
)
def test_a_damaged_file_is_refused_by_name_and_checksum(place, content):
    put(place, content)
    with pytest.raises(
        DataDamaged, match=rf"set/file must have SHA-256 .* and {len(CONTENT)} bytes, got .* and {len(content)}"
    ):
        data.read("set/file")


def test_a_folder_in_place_of_a_file_is_missing(place):
    (place / "set" / "file").mkdir(parents=True)
    with pytest.raises(DataMissing, match="set/file"):
        data.read("set/file")


@pytest.fixture
def server():
    """A server on the loopback that answers with the content, or with something else."""
    served = {"/file": CONTENT, "/wrong": b"something else"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = served.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_a_download_is_checked_and_kept_or_leaves_nothing(place, tmp_path, monkeypatch, server):
    monkeypatch.delenv("LRCONTROL_DATA")
    at = {
        "set/file": known(f"{server}/file"),
        "set/wrong": known(f"{server}/wrong"),
        "set/none": known(f"{server}/none"),
    }
    monkeypatch.setattr(data, "files", lambda: at)
    assert data.available(at)
    assert data.read("set/file") == CONTENT
    for name in ("set/wrong", "set/none"):
        with pytest.raises(DataMissing, match=rf"{name} cannot be downloaded from http.*set LRCONTROL_DATA"):
            data.read(name)
    assert [path.name for path in (tmp_path / "cache" / "set").iterdir()] == ["file"]


def test_the_list_of_files_is_whole_and_documented():
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    for name, each in data.files().items():
        assert len(each.sha256) == 64
        assert each.bytes > 0
        assert f"`{name.split('/')[0]}`" in page


# ---- formats ----


def idx_of(array):
    head = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def test_formats_read_what_was_written(tmp_path):
    images = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(formats.idx("a", idx_of(images)), images)
    rows, labels = formats.svmlight("a", b"1 1:0.5 3:2\n-1 2:1\n", 3)
    assert rows.tolist() == [[0.5, 0, 2], [0, 1, 0]]
    assert labels.tolist() == [1, -1]
    assert formats.table("a", b"x\ty\n1\t2\n", delimiter="\t") == (["x", "y"], [["1", "2"]])
    assert formats.table("a", b"1,2\n\n3,4\n", header=False) == ([], [["1", "2"], ["3", "4"]])
    assert formats.numbers("a", b"1 2\n3 4\n").tolist() == [[1, 2], [3, 4]]
    assert formats.text("a", b"\xe9", "latin-1") == "é"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("b/2", "two")
        archive.writestr("a/1", "one")
    assert list(formats.members("x.zip", zipped.getvalue())) == [("a/1", b"one"), ("b/2", b"two")]
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        for name in ("../out", "in"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(formats.members("x.tar.gz", tarred.getvalue())) == [("../out", b"abc"), ("in", b"abc")]


READERS = {
    "idx": lambda content: formats.idx("bad", content),
    "gzip": lambda content: formats.gunzipped("bad", content),
    "svmlight": lambda content: formats.svmlight("bad", content, 3),
    "table": lambda content: formats.table("bad", content),
    "numbers": lambda content: formats.numbers("bad", content),
    "zip": lambda content: list(formats.members("bad.zip", content)),
    "tar": lambda content: list(formats.members("bad.tar.gz", content)),
}
DAMAGED = {
    "empty": b"",
    "zeros": bytes(100),
    "noise": np.random.default_rng(0).bytes(200),
    "html": b"<!doctype html><html><body>404: Not Found</body></html>",
    "utf-16": "a,b\n1,2\n".encode("utf-16"),
    "ragged": b"a,b\n1,2,3\n4\n",
    "words": b"one two\nthree four five\n",
    "nan": b"nan 1\n2 inf\n",
    "half a gzip": gzip.compress(bytes(range(256)) * 50)[:60],
    "gzip of nothing": gzip.compress(b""),
    "idx too short": idx_of(np.zeros((2, 2)))[:-9],
    "idx of floats": gzip.compress(b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"),
    "idx of a wrong shape": gzip.compress(b"\0\0\x08\x01\0\0\0\x09abc"),
    "svmlight with a wrong index": b"1 9:1\n",
    "svmlight with a bad pair": b"1 1:a\n",
    "zip with a bad body": b"PK\x03\x04" + bytes(50),
    "a line alone": b"\n",
    "a NUL": b"1 2\n\0 4\n",
    "no finite number": b"1e999 1\n2 3\n",
    "a decimal comma": b"1,5;2,5\n3,5\n",
    "two gzips and noise": gzip.compress(b"1 2\n", mtime=0) + b"\x1f\x8b noise",
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_one_clear_sentence(kind, damage):
    """Whatever is in a file: DataDamaged that names it, and no other exception, unless the format allows it."""
    try:
        found, said = READERS[kind](DAMAGED[damage]), None
    except DataDamaged as error:
        found, said = None, str(error)
    if said is None:
        assert kind in ("gzip", "table", "svmlight"), f"{kind} read {damage}: {found!r}"
    else:
        assert said.startswith("the data file bad")
        assert said.endswith(".")
        assert "\n" not in said


def test_more_than_a_gibibyte_is_refused(monkeypatch):
    monkeypatch.setattr(formats, "LARGEST", 1000)
    with pytest.raises(DataDamaged, match="more than 1000 bytes"):
        formats.gunzipped("bomb", gzip.compress(bytes(2000)))
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        entry = tarfile.TarInfo("zeros")
        entry.size = 2000
        archive.addfile(entry, io.BytesIO(bytes(2000)))
    with pytest.raises(DataDamaged, match="more than 1000 bytes"):
        list(formats.members("bomb.tar.gz", tarred.getvalue()))


# ---- splits ----


def test_official_train_rows_are_carved_and_nothing_else():
    labels = np.array([0, 1] * 50)
    kept, out = carved(np.arange(20, 100), 0.25, labels)
    assert (len(kept), len(out)) == (60, 20)
    assert np.array_equal(np.sort(np.concatenate([kept, out])), np.arange(20, 100))
    assert labels[out].mean() == 0.5
    assert len(carved(np.arange(50), 10)[1]) == 10


def test_doubles_are_dropped_and_the_first_stays():
    assert distinct_rows(np.array([[1, 2], [3, 4], [1, 2], [0, 0]])).tolist() == [0, 1, 3]


def test_a_constant_column_is_scaled_to_0():
    values = scaled(np.array([[1.0, 5], [3, 5], [5, 6]]), np.array([0, 1]))
    assert values.tolist() == [[-1, 0], [1, 0], [3, 0]]


def test_integers_stay_integers():
    splits = tensors(np.arange(10), np.arange(10), split_rows(10))
    assert [str(split.inputs.dtype) for split in splits] == ["torch.int64"] * 3
