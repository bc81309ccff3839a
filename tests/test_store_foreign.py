"""What is no good store of ours, or is made to harm: one sentence of the right kind, nothing run, nothing changed."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.hostile import HOSTILE, ran
from faults.samples import record
from lrcontrol.errors import NotAStore, StoreDamaged, StoreError, StoreFromTheFuture
from lrcontrol.runs.storage.checking import check
from lrcontrol.runs.storage.opening import APPLICATION_ID
from lrcontrol.runs.storage.places import network_file_system
from lrcontrol.runs.store import Store


def filled(path: Path) -> None:
    with Store(path) as store:
        store.add_all([record(number) for number in range(4)])


def told(path: Path, *statements: str) -> None:
    """A good store, and then some statements."""
    filled(path)
    database(path, *statements)


def database(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut(path: Path) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[:5000])


def below_a_file(path: Path) -> None:
    path.parent.joinpath("file").write_text("mine")


def in_wal(path: Path) -> None:
    database(path, "PRAGMA journal_mode = WAL", "CREATE TABLE mine (a)")


OURS = f"PRAGMA application_id = {APPLICATION_ID}"
CASES: dict[str, tuple[Callable[[Path], object], type[StoreError]]] = {
    "a letter": (written(b"this is a letter, and no database\n" * 200), NotAStore),
    "one byte": (written(b"x"), NotAStore),
    "zeros": (written(bytes(20_000)), NotAStore),
    "a picture": (written(b"\x89PNG\r\n\x1a\n" + os.urandom(9000)), NotAStore),
    "only the head of a database": (written(b"SQLite format 3\0" + bytes(84)), NotAStore),
    "a folder": (Path.mkdir, NotAStore),
    "a pipe": (os.mkfifo, NotAStore),
    "a device": (lambda path: path.symlink_to("/dev/zero"), NotAStore),
    "a link that leads back to itself": (lambda path: path.symlink_to(path), StoreError),
    "a database of recipes": (lambda path: database(path, "CREATE TABLE recipes (name TEXT)"), NotAStore),
    "a database with a table named as ours": (lambda path: database(path, "CREATE TABLE runs (id TEXT)"), NotAStore),
    "a database of another program": (
        lambda path: database(path, "PRAGMA application_id = 7", "CREATE TABLE a (b)"),
        NotAStore,
    ),
    "a database with a log": (in_wal, NotAStore),
    "a store from the future": (lambda path: told(path, "PRAGMA user_version = 99"), StoreFromTheFuture),
    "a store of the far future": (lambda path: told(path, "PRAGMA user_version = 2147483647"), StoreFromTheFuture),
    "a store of format 0": (lambda path: told(path, "PRAGMA user_version = 0"), StoreDamaged),
    "a store of format -1": (lambda path: told(path, "PRAGMA user_version = -1"), StoreDamaged),
    "a store that says it is older": (lambda path: told(path, "PRAGMA user_version = 1"), StoreDamaged),
    "a store without its tables": (lambda path: database(path, OURS, "PRAGMA user_version = 2"), StoreDamaged),
    "a store with a table more": (lambda path: told(path, "CREATE TABLE notes (a)"), StoreDamaged),
    "a store with an index": (lambda path: told(path, "CREATE INDEX i ON runs (id)"), StoreDamaged),
    "a store with a column more": (lambda path: told(path, "ALTER TABLE runs ADD COLUMN note TEXT"), StoreDamaged),
    "a store without its columns": (lambda path: told(path, "DROP TABLE columns"), StoreDamaged),
    "a store whose name was taken": (lambda path: told(path, "PRAGMA application_id = 0"), NotAStore),
    "a store that was cut": (cut, StoreDamaged),
    "a store without its last run": (lambda path: told(path, "DELETE FROM runs WHERE number = 4"), StoreDamaged),
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("reading", [False, True])
def test_what_is_no_store_of_ours_is_refused_and_left_as_it_is(what: str, reading: bool, tmp_path: Path) -> None:
    make, kind = CASES[what]
    path = tmp_path / "runs.db"
    make(path)
    regular = path.is_file()
    before = path.read_bytes() if regular else None
    with pytest.raises(kind, match=r"^[^\n]+\.$") as error:
        Store(path, read_only=reading)
    assert type(error.value) is kind
    assert str(path) in str(error.value)
    assert (path.read_bytes() if regular else None) == before


def test_an_empty_file_is_made_a_store_only_where_that_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotAStore, match="is empty"):
            Store(path, **options)
        assert path.read_bytes() == b""
    with Store(path) as store:
        assert store.add(record(0))


@pytest.mark.parametrize("name", ["a\0b.db", "n" * 300])
def test_a_name_that_no_file_can_have_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be made: [^\n]+\.$"):
        Store(tmp_path / name)


def test_a_store_that_may_only_be_read_is_read() -> None:
    """The file and its folder allow no more; root, who is allowed everything, becomes somebody else for it."""
    with tempfile.TemporaryDirectory() as root:  # not below pytest's folder, which nobody else can enter
        os.chmod(root, 0o755)
        folder = Path(root) / "shelf"
        path = folder / "runs.db"
        filled(path)
        path.chmod(0o444)
        folder.chmod(0o555)
        other = "import os; os.setegid(65534); os.seteuid(65534)" if os.geteuid() == 0 else ""
        code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from faults.samples import record
from lrcontrol.errors import StoreError
from lrcontrol.runs.store import Store
more = record(9)
{other}
for options in ({{"create": False}}, {{"read_only": True}}):
    with Store({str(path)!r}, **options) as store:
        print(len(store.records()), len(store.record(store.records().ids[0]).columns["loss"]) > 0)
        try:
            store.add(more)
        except StoreError as error:
            print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        folder.chmod(0o755)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == lines[2] == "4 True"
    assert "must be readable and writable" in lines[1]
    assert "was opened for reading only" in lines[3]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/data/a/runs.db", None),
        ("/net/runs.db", "nfs4"),
        ("/net/local/runs.db", None),
        ("/nets/runs.db", None),
        ("/my share/x/runs.db", "cifs"),
        ("/ssh/runs.db", "fuse.sshfs"),
        ("/", None),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(place: str, kind: str | None) -> None:
    mounts = (
        "/dev/sda / ext4 rw 0 0\nserver:/x /net nfs4 rw 0 0\n/dev/sdb /net/local xfs rw 0 0\n"
        "//s/y /my\\040share cifs rw 0 0\nme@there: /ssh fuse.sshfs rw 0 0\nodd\n"
    )
    assert network_file_system(place, mounts) == kind


def test_a_store_on_a_network_file_system_warns_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrcontrol.runs.store.network_file_system", lambda _: "nfs4")
    with pytest.warns(RuntimeWarning, match=r"network file system \(nfs4\).* one machine at a time"):
        Store(tmp_path / "runs.db").close()
    Store(tmp_path / "runs.db", read_only=True).close()  # a reader cannot harm it: no warning, which would be an error


def use(path: Path) -> None:
    with Store(path) as store:
        store.records()
        store.add(record(9))


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_in_a_hostile_file_runs_or_takes_long(what: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    HOSTILE[what](path)
    before = ran(path)
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"^[^\n]+\.$"):
        use(path)
    assert check(path).faults
    took = time.monotonic() - began
    assert ran(path) == before
    print(f"RELIABILITY hostile={what!r} ran=0 seconds={took:.2f}")


def test_a_schema_that_is_no_text_is_told_as_damage(tmp_path: Path) -> None:
    """SQLite's own message then is no UTF-8, which the driver cannot even read."""
    path = tmp_path / "runs.db"
    filled(path)
    path.write_bytes(path.read_bytes().replace(b"AUTOINCREMENT", b"AUTOINCREM\xe1NT", 1))
    with pytest.raises(StoreError, match="schema cannot be read"):
        Store(path)
