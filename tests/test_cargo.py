"""What travels to another machine and back, and the folders it lies in."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from faults.samples import record
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.executors import cargo
from lrcontrol.runs.executors.rooms import LOCK, Room, sweep
from lrcontrol.runs.kept_files import manifest_name, state_name
from lrcontrol.runs.record import Record, Weights


def with_files(folder: Path | None = None) -> tuple[Record, dict[str, bytes]]:
    """A record that names weights and a checkpoint, and their files."""
    run = record(0).id
    tensors = b"tensors"
    manifest = msgspec.json.encode({"tensors": hashlib.sha256(tensors).hexdigest()})
    files = {f"{run}.safetensors": b"weights", state_name(run): tensors, manifest_name(run): manifest}
    made = record(
        0,
        weights=Weights(f"{run}.safetensors", hashlib.sha256(b"weights").hexdigest()),
        checkpoint=Weights(manifest_name(run), hashlib.sha256(manifest).hexdigest()),
    )
    if folder is not None:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return made, files


def test_files_come_as_they_were_left(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    made, files = with_files(there)
    assert cargo.collected(made, there) == files
    assert list(there.iterdir()) == []
    cargo.keep(made, files, here)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == files
    assert cargo.read_start(here, made.id) == {
        name: files[name] for name in (manifest_name(made.id), state_name(made.id))
    }


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_damaged_or_missing_file_is_refused_and_none_is_written(tmp_path: Path, number: int, harm: str) -> None:
    made, files = with_files()
    name = list(files)[number]
    changed = {**files, name: files[name] + b" "}
    if harm == "missing":
        del changed[name]
    with pytest.raises(RecordError, match=name):
        cargo.keep(made, changed, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "other.safetensors", "", "a\0b"])
def test_a_file_has_the_name_of_its_run_or_is_refused(tmp_path: Path, name: str) -> None:
    for field in ("weights", "checkpoint"):
        made = record(0, **{"weights": None, field: Weights(name, "0" * 64)})
        with pytest.raises(RecordError, match="must be named"):
            cargo.keep(made, {name: b""}, tmp_path)
        with pytest.raises(RecordError, match="must be named"):
            cargo.collected(made, tmp_path)


def test_code_that_lies_where_it_came_from_is_used_there_and_other_code_is_unpacked(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    (home / "mine.py").write_text("import beside")
    (home / "beside.py").write_text("pass")
    (home / "notes.txt").write_text("not sent")
    code = cargo.code_of(home / "mine.py")
    assert set(code.contents) == {"mine.py", "beside.py"}
    assert cargo.unpack_code([code], folder) == [str(home / "mine.py")]
    (home / "mine.py").write_text("another")
    (unpacked,) = cargo.unpack_code([code], folder)
    assert Path(unpacked).is_relative_to(folder)
    assert {path.name: path.read_text() for path in Path(unpacked).parent.iterdir()} == {
        "mine.py": "import beside",
        "beside.py": "pass",
    }


def test_a_large_neighbour_stays_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cargo, "LARGEST_BESIDE", 10)
    (tmp_path / "mine.py").write_text("x" * 100)
    (tmp_path / "beside.py").write_text("y" * 11)
    assert set(cargo.code_of(tmp_path / "mine.py").contents) == {"mine.py"}
    (tmp_path / "beside.py").write_text("y" * 10)
    assert set(cargo.code_of(tmp_path / "mine.py").contents) == {"mine.py", "beside.py"}


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        cargo.code_of(tmp_path / "nothing.py")


def test_a_room_is_private_and_deleted_when_its_process_is_gone(tmp_path: Path) -> None:
    held = Room("kind-", tmp_path)
    left = tmp_path / "kind-left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "inside").write_text("left by a process that was killed")
    being_made, other = tmp_path / "kind-new", tmp_path / "other"
    being_made.mkdir()
    other.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / LOCK).touch()
    (tmp_path / "kind-link").symlink_to(outside)
    second = Room("kind-", tmp_path)
    assert not left.exists()
    assert all(path.exists() for path in (held.path, being_made, other, outside / LOCK, second.path))
    assert held.path.stat().st_mode & 0o777 == 0o700
    held.close()
    held.close()
    assert not held.path.exists()
    second.close()


def test_a_room_whose_deletion_was_interrupted_is_deleted_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has gone of it by then; one without a lock is nobody's once it is older than a room takes to make."""
    room = Room("kind-", tmp_path)
    for name in ("kept", "code", "more"):
        (room.path / name).mkdir()
        (room.path / name / "file").write_text("of a run")
    real = shutil.rmtree

    def killed(path: Path, **_: object) -> None:
        real(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        room.close()
    monkeypatch.undo()
    assert sorted(path.name for path in room.path.iterdir()) != []
    sweep("kind-", tmp_path)
    assert room.path.exists()  # its process holds it
    os.close(room._lock)
    sweep("kind-", tmp_path)
    assert not room.path.exists()
    room.path.mkdir()
    sweep("kind-", tmp_path)
    assert room.path.exists()
    os.utime(room.path, (0, 0))
    sweep("kind-", tmp_path)
    assert not room.path.exists()


def test_a_room_that_others_take_for_one_that_was_left_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that begin at once both sweep, and there is a moment before a new room's lock is held."""
    real, seen = fcntl.flock, list[Path]()

    def late(lock: int, how: int) -> None:
        if not seen:
            seen.extend(tmp_path.iterdir())
            sweep("kind-", tmp_path)
        real(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    room = Room("kind-", tmp_path)
    monkeypatch.undo()
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == [room.path]
    assert room.path not in seen
    (room.path / "kept").mkdir()
    sweep("kind-", tmp_path)
    assert (room.path / "kept").exists()
    room.close()


def test_a_room_that_is_written_to_while_it_is_deleted_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room("kind-", tmp_path)
    (room.path / "kept").mkdir()
    real = shutil.rmtree

    def overtaken(path: Path, **options: object) -> None:
        real(path)
        path.mkdir()

    monkeypatch.setattr(shutil, "rmtree", overtaken)
    room.close()
    monkeypatch.undo()
    assert (room.path / LOCK).exists()
    sweep("kind-", tmp_path)
    assert not room.path.exists()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        Room("kind-", tmp_path)
        os._exit(0)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    with open(left / LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    Room("kind-", tmp_path).close()
    assert list(tmp_path.iterdir()) == []
