"""What may befall a store, in small; `python reliability/run.py` does the same at length."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from faults.disks import STRACE, WEAKER, crash_everywhere
from faults.files import kill_file_writers
from faults.lives import kill_lives
from faults.rooms import fill, fill_limited, room
from faults.samples import content, record, spec
from faults.writers import kill_writers
from lrcontrol import cli
from lrcontrol.runs.record import Evaluation, Weights
from lrcontrol.runs.storage.merging import merge
from lrcontrol.runs.store import Store

TRACED = pytest.mark.skipif(STRACE is None, reason="what a process writes is recorded by strace, which is not here")

NAMES = [
    *("../x", "../../etc/passwd", "/etc/passwd", "/", "..", ".", "~", "~root", "$HOME", "%2e%2e%2f", "a/b/c", "a\\b"),
    *(
        "C:\\Windows",
        "CON",
        "NUL",
        "aux.txt",
        "file:///etc/passwd",
        "http://here/x",
        "\\\\host\\share",
        "-rf",
        "--out",
    ),
    *(
        "a\0b",
        "a\nb",
        "a\rb",
        "a\tb",
        "\x1b[31m",
        "\x7f",
        "\u202eevil",
        "\u2028",
        "\ufeff",
        "é",
        "日本",
        "🙂",
        "\u0301",
    ),
    *("x" * 300, "../" * 100, " ", " x", "x ", "x.", ".hidden", "runs.db", "runs.db-journal", "weights", "*", "?"),
    *("|true", ";true", "`true`", "$(true)"),
]
SECRETS = {
    f"{owner}_{kind}": f"planted-{owner}-{kind}"
    for owner in ("HF", "WANDB", "AWS_SECRET", "GITHUB", "OPENAI")
    for kind in ("TOKEN", "API_KEY", "PASSWORD", "SECRET")
}


def test_eight_writers_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    found = kill_writers(tmp_path / "runs.db", kills=20, seed=3, side_by_side=8)
    print(
        f"RELIABILITY kills=20 writers=8 acknowledged={found.acknowledged} lost={found.lost} doubled={found.doubled}"
    )
    assert found.acknowledged >= 20
    assert (found.lost, found.doubled, found.changed) == (0, 0, 0)


def test_killed_lives_of_a_driver_end_in_the_store_of_one_that_was_not(tmp_path: Path) -> None:
    found = kill_lives(tmp_path, runs=40, kills=8, seed=1)
    print(f"RELIABILITY driver_kills={found.kills} tables_equal={found.equal}")
    assert found.kills == 8
    assert found.equal


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    found = kill_file_writers(tmp_path, kills=30, seed=1)
    print(f"RELIABILITY file_kills={found.kills} written={found.written} torn={found.torn}")
    assert found.torn == 0
    assert found.written > 0


@TRACED
def test_power_may_be_lost_at_any_write(tmp_path: Path) -> None:
    """Every prefix of all writes, and every prefix that lacks one that was not synchronised, or all of these."""
    found = crash_everywhere(tmp_path, count=6, seed=1)
    print(f"RELIABILITY writes={found.writes} disks={found.disks} refused={found.refused} lost={found.lost}")
    assert found.disks > 500
    assert (found.refused, found.lost, found.wrong) == (0, 0, 0)


@TRACED
def test_a_store_that_synchronised_less_would_be_told(tmp_path: Path) -> None:
    """After FULL the journal of a commit may come back and undo it: the reason why more than FULL is asked for."""
    found = crash_everywhere(tmp_path, count=4, seed=1, before=WEAKER.format(level="FULL"))
    assert found.lost > 0
    assert found.wrong == 0


@pytest.mark.parametrize("size", [4096, 16384, 24576, 36864, 45056, 65536, 131072, 200_000])
def test_a_full_disk_is_told_and_harms_nothing(size: int, tmp_path: Path) -> None:
    with room(tmp_path / "small", size) as made:
        if not made:
            pytest.skip("a small file system cannot be mounted here")
        found = fill(tmp_path / "small")
    assert "bytes free there; make room" in found.sentence
    assert str(tmp_path / "small" / "runs.db") in found.sentence
    assert (found.lost, found.resumed) == (0, True)


@pytest.mark.parametrize("size", [20_000, 40_960, 100_000])
def test_a_file_that_may_not_grow_is_told_and_harms_nothing(size: int, tmp_path: Path) -> None:
    found = fill_limited(tmp_path, size)
    assert "bytes free there" in found.sentence
    assert str(tmp_path / "runs.db") in found.sentence
    assert found.kept > 0
    assert (found.lost, found.resumed) == (0, True)


def test_a_store_costs_its_records_and_nothing_more(tmp_path: Path) -> None:
    """No file stays open, no memory is lost; a kilobyte or two for a short run."""

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path = tmp_path / "runs.db"
    records = [record(number) for number in range(200)]
    with Store(path) as store:
        store.add(records[0])
        files, memory = open_files(), resident()
        for each in records[1:]:
            store.add(each)
            store.records()
        grown, each = resident() - memory, path.stat().st_size / len(records)
        files = open_files() - files
        print(f"RELIABILITY runs=200 open_files={files} memory_mb={grown / 1e6:.1f} bytes_a_run={each:.0f}")
        assert files == 0
        assert grown < 20e6
        assert each < 3000
    assert os.listdir(tmp_path) == ["runs.db"]


def test_names_never_become_paths(tmp_path: Path) -> None:
    """Tasks, messages, metrics, columns and files that are named to lead elsewhere: one file, and it holds them."""
    assert len(NAMES) == 50
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("mine")
    path = tmp_path / "in" / "store" / "runs.db"
    given = []
    for number, name in enumerate(NAMES):
        base = record(5 * number, spec=spec(5 * number, task=name, save=True))
        given.append(
            msgspec.structs.replace(
                base,
                message=name,
                evals=(Evaluation(1, {name: 0.5}),),
                columns={name: base.columns["lr"]},
                weights=Weights(name, "0" * 64),
                checkpoint=Weights(name, "0" * 64),
            )
        )
    with Store(path) as store:
        store.add_all(given)
        for each in given:
            assert content(store.record(each.id)) == content(each)
    found = merge([path], tmp_path / "in" / "merged" / "runs.db")
    assert found.added == 50
    assert found.copied == 0
    assert len(found.missing) == 50
    files = sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if not each.is_dir())
    assert files == ["in/merged/runs.db", "in/store/runs.db", "secret"]
    print(f"RELIABILITY names={len(NAMES)} files_elsewhere=0")


def test_the_environment_stays_out_of_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty secrets are planted; a run that ends well and one that diverges are kept. No other user can read them."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for method, rate in (("adamw:cosine", "0.001"), ("sgd:constant", "1e30")):
        with pytest.raises(SystemExit) as ending:
            cli.main(["train", "digits-mlp", method, "--lr", rate, "--steps", "20", "--out", str(tmp_path / "out")])
        assert not ending.value.code
    assert "diverged" in capsys.readouterr().out
    kept = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert len(SECRETS) == 20
    assert {each.name for each in kept} >= {"runs.db"}
    found = [value for value in SECRETS.values() for each in kept if value.encode() in each.read_bytes()]
    print(f"RELIABILITY secrets={len(SECRETS)} found={len(found)}")
    assert found == []
    assert stat.S_IMODE((tmp_path / "out" / "runs.db").stat().st_mode) == 0o600
