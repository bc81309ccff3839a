"""The store: nothing acknowledged is lost or doubled, and what is damaged is never told as true."""

import hashlib
from pathlib import Path

import pytest

from faults.damage import damaged_verdicts
from faults.samples import content, record
from faults.writers import kill_writers, write_side_by_side
from lrcontrol.errors import RecordError, StoreError
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.storage.layouts import LAYOUTS
from lrcontrol.runs.store import Store


def filled(path: Path, count: int = 12) -> Path:
    """A store of some records."""
    with Store(path) as store:
        for number in range(count):
            store.add(record(number))
    return path


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """Every kind of outcome, columns bit for bit, in the order they were added."""
    path = filled(tmp_path / "runs.db")
    with Store(path) as store:
        assert [each.id for each in store.records()] == [record(number).id for number in range(12)]
        for number in range(12):
            assert content(store.record(record(number).id)) == content(record(number))
            assert store.records()[number].columns == {}


def test_a_record_added_twice_is_kept_once(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.db") as store:
        assert store.add(record(0))
        assert not store.add(record(0))
        assert len(store.records()) == 1


def test_another_try_takes_the_place_of_a_failed_record(tmp_path: Path) -> None:
    """Number 4 of the samples failed; its next try counts, in this store object and in a new one."""
    better = record(4, outcome=Outcome.DIVERGED, message="the loss was not finite")
    with Store(tmp_path / "runs.db") as store:
        assert store.add(record(4))
        assert store.add(better)
        assert not store.add(record(4))
        assert [each.outcome for each in store.records()] == [Outcome.DIVERGED]
    with Store(tmp_path / "runs.db") as store:
        assert content(store.record(better.id)) == content(better)
        assert len(store.records()) == 1


def test_two_stores_on_one_file_see_each_others_records(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.db") as one, Store(tmp_path / "runs.db") as two:
        one.add(record(0))
        two.add(record(1))
        assert not one.add(record(1))
        assert [each.id for each in one.records()] == [each.id for each in two.records()]


def test_a_run_that_is_not_kept_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.db") as store, pytest.raises(RecordError, match="holds no run 'nothing'"):
        store.record("nothing")


def test_damage_is_refused_or_harmless_and_never_wrong_data(tmp_path: Path) -> None:
    """210 damaged copies, seven kinds in turn."""
    whole = filled(tmp_path / "whole.db").read_bytes()
    verdicts = damaged_verdicts(whole, tmp_path, 210, seed=1)
    wrong = [(what, verdict) for what, verdict in verdicts if verdict not in ("right", "refused")]
    assert wrong == []
    assert sum(verdict == "refused" for _, verdict in verdicts) > 100


def test_killed_writers_lose_and_double_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Eight kills at any moment of two writers."""
    found = kill_writers(tmp_path / "runs.db", kills=8, seed=1)
    assert found.acknowledged > 0
    assert (found.lost, found.doubled, found.changed) == (0, 0, 0)


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    """Four processes write at once."""
    found, statuses = write_side_by_side(tmp_path / "runs.db", writers=4, each=15)
    assert statuses == [0, 0, 0, 0]
    assert (found.stored, found.lost, found.doubled, found.changed) == (60, 0, 0, 0)


def test_a_missing_store_is_made_only_where_that_was_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "none.db", create=False)
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "runs.db")


@pytest.mark.parametrize(("version", "digest"), [(1, "431780c9df4bcb96"), (2, "9172903fee3736da")])
def test_stores_of_every_format_stay_readable_and_writable(version: int, digest: str, tmp_path: Path) -> None:
    """The files were written by `tests/data/make_store.py` when their format was new; each keeps its layout."""
    path = tmp_path / "runs.db"
    written = (Path(__file__).parent / "data" / f"store-v{version}.db").read_bytes()
    assert hashlib.sha256(written).hexdigest()[:16] == digest  # as it was then, never written anew
    path.write_bytes(written)
    for reading in (True, False):
        with Store(path, create=False, read_only=reading) as store:
            assert store.version == version
            assert store.records().ids == [record(number).id for number in range(5)]
            for number in range(5):
                assert content(store.record(record(number).id)) == content(record(number))
    with Store(path) as store:
        assert store.add(record(5))
        assert not store.add(record(0))
    with Store(path) as store:
        assert store.version == version
        assert content(store.record(record(5).id)) == content(record(5))
        assert sorted(LAYOUTS) == [1, 2]
