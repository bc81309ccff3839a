"""What gradient logs survive: promises G4 to G8, each with its figure; in full where slow tests run."""

from pathlib import Path

import pytest

import log_kit


def tell(row: str, kind: str, found: log_kit.Counted) -> None:
    counts = f"tried={found.tried} wrong={found.wrong} raised={found.raised} untold={found.untold}"
    print(f"RELIABILITY {row} kind={kind} {counts}")


@pytest.mark.parametrize("kind", log_kit.KINDS)
@pytest.mark.parametrize(("size", "every"), [(6_000, 11), pytest.param(20_000, 1, marks=pytest.mark.slow)])
def test_a_log_that_is_cut_gives_exactly_its_whole_records(kind: str, size: int, every: int, tmp_path: Path) -> None:
    found = log_kit.cut(log_kit.sample(kind, size), tmp_path, every)
    tell("G4", kind, found)
    assert found.bad == 0


@pytest.mark.parametrize("kind", log_kit.KINDS)
@pytest.mark.parametrize(("size", "every"), [(6_000, 11), pytest.param(20_000, 1, marks=pytest.mark.slow)])
def test_a_damaged_byte_costs_one_record_and_is_told(kind: str, size: int, every: int, tmp_path: Path) -> None:
    """CSV has no checksums: a digit that became another is not told."""
    found = log_kit.flip(log_kit.sample(kind, size), tmp_path, every)
    tell("G5", kind, found)
    assert (found.wrong, found.raised) == (0, 0)
    assert kind == "csv" or found.untold == 0


def test_runs_are_never_mixed_nor_counted_twice(tmp_path: Path) -> None:
    found, kinds = log_kit.mixes(tmp_path, 1000)
    told = " ".join(f"{kind}={count}" for kind, count in sorted(kinds.items()))
    print(f"RELIABILITY G6 mixes=1000 readings={found.tried} wrong={found.wrong} refused={found.raised} {told}")
    assert found.bad == 0


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("rows", [200_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_many_rows_take_little_memory(kind: str, rows: int, tmp_path: Path) -> None:
    path = tmp_path / f"large.{kind}"
    log_kit.large(path, rows)
    (found,) = log_kit.fresh("large", str(path))
    path.unlink()
    print(f"RELIABILITY G7 kind={kind} rows={rows} seconds={found['seconds']:.1f} megabytes={found['megabytes']:.0f}")
    assert found["readings"] == rows
    assert found["megabytes"] <= (200 if rows < 1e6 else 1000)


def test_strange_files_are_read_right_or_refused_in_one_sentence(tmp_path: Path) -> None:
    log_kit.fresh("make", str(tmp_path))
    *found, process = log_kit.fresh("strange", str(tmp_path))
    slowest = max(found, key=lambda each: each["seconds"])
    most = max(each["megabytes"] for each in found)
    print(
        f"RELIABILITY G8 files={len(found)} wrong={sum(not each['right'] for each in found)} "
        f"slowest={slowest['seconds']:.2f}s ({slowest['name']}) megabytes={most:.0f}"
    )
    assert [each["name"] for each in found if not each["right"]] == []
    assert len(found) >= 50
    assert most <= 200
    for each in found:
        refused = each["verdict"] != "read"
        assert not refused or each["verdict"].startswith(("BadText: ", "BadInput: ")), each
        assert not refused or (each["verdict"].count("\n") == 0 and each["verdict"].endswith(".")), each
    assert process == {"torch": False, "pickled": False}
