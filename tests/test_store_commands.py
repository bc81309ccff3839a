"""`lrcontrol store`: what its commands print, write and refuse."""

import csv
import hashlib
import json
import random
import sqlite3
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from command_kit import Run, Said, caller
from faults.damage import DAMAGES
from faults.samples import content, record, spec
from lrcontrol.errors import StoreError
from lrcontrol.files import write_whole
from lrcontrol.runs.kept_files import manifest_name, state_name
from lrcontrol.runs.record import Cost, Evaluation, Outcome, Record, Weights
from lrcontrol.runs.storage.checking import check, right_records
from lrcontrol.runs.storage.describing import describe
from lrcontrol.runs.storage.exported import cell, export
from lrcontrol.runs.storage.merging import merge
from lrcontrol.runs.store import Store

FORMULAS = [
    *(
        "=1+1",
        "=cmd|'/c calc'!A0",
        '=HYPERLINK("http://x")',
        "=",
        "=\n1",
        "==1",
        "=IMPORTXML(A1)",
        "=A1",
        "=-1",
        "=@x",
    ),
    *("+1", "+1+cmd|' /C calc'!A0", "+", "++1", "+A1", "+\t1", "+SUM(1)", "+-1", "+=1", "+'1"),
    *("-1+1", "-", "--1", "-A1", "-cmd", "-=1", "-1e9x", "-SUM(1)", "@SUM(1)", "@", "@x", "@@", "@=1", "@A1"),
    *("\t=1", "\tx", "\r=1", "\rx", "\n=1", "\n"),
]
ESCAPES = [
    *("\x1b[31mred", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;aGk=\x07", "\x1b[2J", "\x1b]0;title\x07"),
    *(
        "\x1bc",
        "\x1b[?1049h",
        "\x1bP1$r\x1b\\",
        "\x9b31m",
        "\x90x\x9c",
        "\x07",
        "\x08\x08",
        "\r\x1b[K",
        "\x7f",
        "\x0b",
    ),
    *("\x1b(0", "\x1b[6n", "\x1b[1;1H", "\x1b#8", "\x1b_x\x1b\\"),
]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`lrcontrol store` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return caller(capfd, "store")


def good(said: Said) -> str:
    assert (said.status, said.err) == (0, "")
    return said.out


def bad(said: Said, *words: str) -> None:
    """One sentence on stderr, with these words, and status 2."""
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("lrcontrol: ")
    assert len(said.err.splitlines()) == 1
    for word in words:
        assert word in said.err


def filled(path: Path, records: Any = range(10)) -> Path:
    """A store of some samples, or of these records."""
    with Store(path) as store:
        store.add_all([record(each) if isinstance(each, int) else each for each in records])
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# What is in it


def test_info_counts_what_is_there_for_people_and_machines(run: Run) -> None:
    """Here of the folder of a study; nothing is written by looking."""
    path = filled(Path("study", "runs.db"))
    before = path.read_bytes()
    text = good(run("info", "study"))
    told = json.loads(good(run("info", path, "--json")))
    assert told == json.loads(msgspec.json.encode(describe(path)))
    assert told["runs"] == 10
    assert told["tasks"] == {"made-up": 10}
    assert told["outcomes"] == {"finished": 4, "stopped": 2, "diverged": 2, "failed": 2}
    assert sum(told["methods"].values()) == 10
    assert told["methods"]["adamw:cosine"] == 3
    assert told["steps"] == [10, 19]
    made = [record(number) for number in range(10) if record(number).outcome is not Outcome.FAILED]
    assert told["updates"] == sum(each.cost.own for each in made)
    assert f"{told['updates']:,} made in all, beside those of 2 failed runs, which nobody counted" in text
    assert (told["version"], told["bytes"]) == (2, len(before))
    for part in ("10 runs", "format 2", "made-up", "adamw:cosine", "10 to 19 updates"):
        assert part in text
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["runs.db"]


def test_info_of_a_store_without_runs_and_of_one_with_many_methods(run: Run) -> None:
    Store("empty.db").close()
    assert good(run("info", "empty.db")).startswith("empty.db: 0 runs")
    assert json.loads(good(run("info", "empty.db", "--json")))["steps"] is None
    many = [record(0, spec=spec(0, method=f"sgd(momentum=0.{n + 10}):cosine")) for n in range(20)]
    filled(Path("many.db"), many)
    assert "and 8 more" in good(run("info", "many.db"))


# Whether it is right


def test_check_says_that_all_is_right(run: Run) -> None:
    filled(Path("runs.db"))
    assert good(run("check", "runs.db")) == "runs.db: 10 rows are right, format 2; nothing is wrong\n"
    told = json.loads(good(run("check", "runs.db", "--json")))
    assert told == {"path": "runs.db", "version": 2, "right": 10, "faults": []}


def changed(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "right", "fault"),
    [
        ("UPDATE runs SET summary = x'7b7d' WHERE number = 4", 9, "is damaged"),
        ("UPDATE columns SET block = x'00' WHERE number = 4", 9, "the columns of run '{id}' are damaged"),
        ("DELETE FROM columns WHERE number = 4", 9, "the columns of run '{id}' are gone"),
        ("DELETE FROM runs WHERE number = 4", 9, "run number 4 is gone"),
        ("DELETE FROM runs WHERE number IN (4, 5, 6)", 7, "runs number 4 to 6 are gone"),
        ("DELETE FROM runs WHERE number > 8", 8, "runs number 9 to 10 are gone"),
        ("DELETE FROM runs", 0, "runs number 1 to 10 are gone"),
        ("UPDATE runs SET id = 'another' WHERE number = 4", 9, "run 'another' is damaged"),
        ("UPDATE sqlite_sequence SET seq = 9", 10, "not as many as were added"),
    ],
)
def test_check_tells_each_fault_in_a_line_and_what_is_right(run: Run, statement: str, right: int, fault: str) -> None:
    path = filled(Path("runs.db"))
    changed(path, statement)
    said = run("check", "runs.db")
    assert (said.status, said.err) == (1, "")
    assert fault.format(id=record(3).id) in said.out
    *faults, verdict = (line for line in said.out.splitlines() if not line.startswith("`lrcontrol"))
    assert verdict.startswith(f"runs.db: {len(faults)} fault")
    assert f"{right} rows are right" in verdict
    told = json.loads(run("check", "runs.db", "--json").out)
    assert (told["right"], told["faults"]) == (right, faults)


def test_check_never_calls_a_wrong_row_right(tmp_path: Path) -> None:
    """Whatever the damage: what is called right is one of the records that were written, as it was."""

    whole = filled(tmp_path / "whole.db", range(12)).read_bytes()
    truth = {record(number).id: content(record(number)) for number in range(12)}
    right = 0
    for index in range(70):
        path = tmp_path / "damaged.db"
        path.write_bytes(whole)
        DAMAGES[index % len(DAMAGES)](path, random.Random(f"check {index}"))
        try:
            found = list(right_records(path, lambda _: None))
        except StoreError:
            continue
        assert all(content(each) == truth[each.id] for each in found)
        assert len({each.id for each in found}) == len(found)
        right += len(found)
        for journal in tmp_path.glob("damaged.db-*"):
            journal.unlink()
    assert right > 300


def test_check_of_a_store_of_format_1(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes((Path(__file__).parent / "data" / "store-v1.db").read_bytes())
    assert (check(path).version, check(path).right, check(path).faults) == (1, 5, ())
    changed(path, "UPDATE runs SET columns = x'00' WHERE number = 2")
    assert check(path).right == 4


# As tables


def test_a_table_has_a_row_for_each_run(run: Run) -> None:
    filled(Path("runs.db"))
    assert good(run("export", "runs.db", "-o", "runs.csv")) == "runs.csv: 10 rows\n"
    rows = table(Path("runs.csv"))
    for number, row in enumerate(rows):
        truth = record(number)
        assert row["run"] == truth.id
        assert row["method"] == str(truth.spec.method)
        assert float(row["base_lr"]) == truth.spec.base_lr
        assert int(row["seed"]) == number
        assert row["outcome"] == truth.outcome.value
        assert row["updates"] == ("" if truth.outcome is Outcome.FAILED else str(truth.cost.steps))
        assert row["charged_updates"] == str(truth.cost.steps)
        assert row["final"] == ("" if truth.final is None else repr(truth.final))
        assert row["message"] == (truth.message or "")
        assert float(row["seconds"]) == truth.cost.seconds
        assert row["weights_sha256"] == (truth.weights.sha256 if truth.weights else "")
        last = truth.evals[-1].values["accuracy"] if truth.evals else None
        assert row["last_accuracy"] == ("" if last is None else repr(last))


def test_a_table_of_columns_has_a_row_for_each_update_bit_for_bit(run: Run) -> None:
    filled(Path("runs.db"))
    good(run("export", "runs.db", "-o", "long.csv", "--columns"))
    rows = table(Path("long.csv"))
    for number in range(10):
        truth = record(number)
        own = [row for row in rows if row["run"] == truth.id]
        assert [int(row["step"]) for row in own] == list(range(len(truth.columns.get("lr", ()))))
        for name, values in truth.columns.items():
            assert np.array([row[name] for row in own], np.float32).tobytes() == values.tobytes()


def test_a_table_of_evaluations_and_names_that_are_taken(run: Run) -> None:
    """A metric that is called step stands beside the step."""
    evals = (Evaluation(1, {"step": 0.25, "run": 0.5}), Evaluation(2, {"step_": 1.0}))
    filled(Path("runs.db"), [record(0, evals=evals), record(1)])
    assert good(run("export", "runs.db", "-o", "evals.csv", "--evals")) == "evals.csv: 4 rows\n"
    first, second, *_ = table(Path("evals.csv"))
    assert (first["run"], first["step"], first["step__"], first["run_"], first["step_"]) == (
        record(0).id,
        "1",
        "0.25",
        "0.5",
        "",
    )
    assert second["step_"] == "1.0"


@pytest.mark.parametrize("what", ["runs", "evals", "columns"])
def test_parquet_holds_what_csv_holds(what: Any, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = filled(tmp_path / "runs.db")
    rows = export(path, tmp_path / "a.csv", what)
    assert export(path, tmp_path / "a.parquet", what) == rows
    found = parquet.read_table(tmp_path / "a.parquet")
    assert found.num_rows == rows == len(table(tmp_path / "a.csv"))
    told = table(tmp_path / "a.csv")
    assert found.schema.names == list(told[0])
    for name in found.schema.names:
        for text, value in zip((row[name] for row in told), found.column(name).to_pylist(), strict=True):
            if value is None:
                assert text == ""
            elif isinstance(value, float) and what == "columns":
                assert struct.pack("<f", float(text)) == struct.pack("<f", value) or value != value
            else:
                assert text == (str(cell(value)))


def test_parquet_is_asked_for_where_it_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(Path("runs.db"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    bad(run("export", "runs.db", "-o", "runs.parquet"), "pip install 'lrcontrol[parquet]'")
    assert not Path("runs.parquet").exists()


def test_an_empty_store_is_an_empty_table(tmp_path: Path) -> None:
    Store(tmp_path / "runs.db").close()
    for name in ("a.csv", "a.parquet"):
        for what in ("runs", "evals", "columns"):
            assert export(tmp_path / "runs.db", tmp_path / name, what) == 0
    assert (tmp_path / "a.csv").read_text() == "run,step\n"


def test_no_text_of_a_table_is_a_formula_and_numbers_stay_numbers(run: Run) -> None:
    """In a message, a task, a metric's name and a file's: wherever a store has texts of others."""
    assert len(FORMULAS) == len(set(FORMULAS)) == 40
    records = [
        msgspec.structs.replace(
            record(number),
            spec=spec(number, task=text),
            message=text,
            evals=(Evaluation(3, {text: -0.5, "accuracy": -1e-300}),),
            columns={text: np.array([-0.5], np.float32)},
            weights=Weights(text, text),
        )
        for number, text in enumerate(FORMULAS)
    ]
    filled(Path("runs.db"), records)
    formulas = 0
    for option in ([], ["--columns"], ["--evals"]):
        good(run("export", "runs.db", "-o", "runs.csv", *option))
        with Path("runs.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for text in row:
                    try:
                        float(text)
                    except ValueError:
                        formulas += text.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert formulas == 0
    good(run("export", "runs.db", "-o", "runs.csv"))
    for row, text in zip(table(Path("runs.csv")), FORMULAS, strict=True):
        assert row["message"] == f"'{text}"
        assert float(row["last_accuracy"]) == -1e-300
    print(f"RELIABILITY formulas={len(FORMULAS)} live={formulas}")


@pytest.mark.parametrize("name", ["runs.txt", "runs", "runs.csv.gz", "runs.db"])
def test_a_table_of_another_kind_is_refused(run: Run, name: str) -> None:
    before = filled(Path("runs.db")).read_bytes()
    bad(run("export", "runs.db", "-o", name), ".csv, .parquet")
    assert Path("runs.db").read_bytes() == before


def test_bad_exports_are_sentences_and_leave_no_file(run: Run) -> None:
    path = filled(Path("runs.db"))
    bad(run("export", "none.db", "-o", "a.csv"), "there is no store at none.db")
    bad(run("export", "runs.db", "-o", "no/a.csv"), "no does not exist")
    bad(run("export", "runs.db", "-o", "a.csv", "--columns", "--evals"), "one table")
    bad(run("export", "runs.db"), "--out")
    changed(path, "UPDATE columns SET block = x'00' WHERE number = 4")
    bad(run("export", "runs.db", "-o", "a.csv", "--columns"), "are damaged", "store check")
    assert {each.name for each in Path().iterdir()} == {"runs.db"}


# Several as one


def test_two_stores_become_one_without_doubling(run: Run) -> None:
    """Runs 0 to 9 and 5 to 14 are 15 runs, in that order; the same again adds nothing."""
    filled(Path("a.db"))
    filled(Path("b", "runs.db"), range(5, 15))
    before = Path("a.db").read_bytes()
    assert good(run("merge", "a.db", "b", "-o", "c.db")).splitlines()[0] == "c.db: 15 runs, 15 of them new"
    with Store("c.db", read_only=True) as store:
        assert store.records().ids == [record(number).id for number in range(15)]
        for number in range(15):
            assert content(store.record(record(number).id)) == content(record(number))
    merged = Path("c.db").read_bytes()
    told = json.loads(run("merge", "a.db", "b", "-o", "c.db", "--json").out)
    assert (told["runs"], told["added"], told["differing"]) == (15, 0, [])
    assert told["same"] + told["failed"] == 20
    assert Path("c.db").read_bytes() == merged
    assert Path("a.db").read_bytes() == before


@pytest.mark.parametrize("first", [True, False])
def test_a_finished_run_takes_the_place_of_its_failed_tries(first: bool, tmp_path: Path) -> None:
    """Wherever it is named; number 4 of the samples failed."""
    better = record(4, outcome=Outcome.FINISHED, message=None)
    a = filled(tmp_path / "a.db", [record(4), record(0)])
    b = filled(tmp_path / "b.db", [better])
    merge([a, b] if first else [b, a], tmp_path / "c.db")
    with Store(tmp_path / "c.db") as store:
        assert sorted(store.records().ids) == sorted([record(4).id, record(0).id])
        assert content(store.record(better.id)) == content(better)


def test_of_two_records_of_one_run_the_first_stays_and_is_told(run: Run) -> None:
    slower = record(0, cost=Cost(record(0).cost.steps, 99.0))
    filled(Path("a.db"), [record(0), record(1)])
    filled(Path("b.db"), [slower, record(1)])
    text = run("merge", "a.db", "b.db", "-o", "c.db").out
    assert "1 were there already with another record, which stays" in text
    found = merge([Path("b.db")], Path("c.db"))
    assert (found.differing, found.same) == ((record(0).id,), 1)
    with Store("c.db") as store:
        assert content(store.record(slower.id)) == content(record(0))


def test_a_store_may_be_merged_into_one_of_the_given_but_not_into_itself_alone(run: Run) -> None:
    filled(Path("a.db"))
    filled(Path("b.db"), range(20, 23))
    assert merge([Path("a.db"), Path("b.db")], Path("a.db")).runs == 13
    before = Path("a.db").read_bytes()
    bad(run("merge", "a.db", "a.db", "-o", "a.db"), "a store to read beside the one that it writes to, got a.db alone")
    assert Path("a.db").read_bytes() == before


def test_a_merge_goes_to_a_folder_where_the_name_has_no_suffix(run: Run) -> None:
    """Whether it is there or not; a file that has none is that file."""
    filled(Path("a.db"))
    for _ in range(2):
        assert good(run("merge", "a.db", "-o", "all")).startswith("all/runs.db: 10 runs")
    assert good(run("info", "all")).startswith("all/runs.db: 10 runs")
    filled(Path("bare"), range(3))
    assert good(run("merge", "a.db", "-o", "bare")).startswith("bare: 10 runs")


def test_a_merge_that_fails_leaves_nothing_new_and_harms_nothing_old(run: Run) -> None:
    """The second store is found damaged when some of the first is written, with its weights."""
    with_files(Path("a"), 0, b"weights of 0", b"state of 0")
    changed(filled(Path("b.db")), "UPDATE columns SET block = x'00' WHERE number = 4")
    before = sorted(Path().rglob("*"))
    bad(run("merge", "a", "b.db", "-o", "new/deep/all.db"), "are damaged")
    bad(run("merge", "a", "b.db", "-o", "new"), "are damaged")
    bad(run("merge", "a", "b.db", "-o", "new.db"), "are damaged")
    assert sorted(Path().rglob("*")) == before
    filled(Path("old", "runs.db"), range(20, 23))
    bad(run("merge", "a", "b.db", "-o", "old"), "are damaged")
    with Store("old/runs.db") as store:
        assert set(store.records().ids) >= {record(number).id for number in range(20, 23)}


def with_files(folder: Path, number: int, weights: bytes, state: bytes) -> Record:
    """A record with weights and a checkpoint in `folder`/weights, as runs leave them."""
    asked = spec(number, save=True, checkpoint=True)
    manifest = json.dumps({"tensors": hashlib.sha256(state).hexdigest()}).encode()
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    for name, blob in (
        (f"{asked.id}.safetensors", weights),
        (state_name(asked.id), state),
        (manifest_name(asked.id), manifest),
    ):
        write_whole(folder / "weights" / name, blob)
    made = record(
        0,
        spec=asked,
        weights=Weights(f"{asked.id}.safetensors", hashlib.sha256(weights).hexdigest()),
        checkpoint=Weights(manifest_name(asked.id), hashlib.sha256(manifest).hexdigest()),
    )
    filled(folder / "runs.db", [made])
    return made


def test_weights_and_checkpoints_go_along(run: Run) -> None:
    one = with_files(Path("a"), 0, b"weights of 0", b"state of 0")
    two = with_files(Path("b"), 1, b"weights of 1", b"state of 1")
    assert json.loads(good(run("merge", "a", "b", "-o", "c/runs.db", "--json")))["copied"] == 6
    for each, number in ((one, 0), (two, 1)):
        assert each.weights is not None
        assert Path("c", "weights", each.weights.file).read_bytes() == b"weights of %d" % number
        assert Path("c", "weights", state_name(each.id)).read_bytes() == b"state of %d" % number
        assert Path("c", "weights", manifest_name(each.id)).is_file()
    assert json.loads(good(run("merge", "a", "b", "-o", "c", "--json")))["copied"] == 0
    Path("c", "weights", state_name(two.id)).write_bytes(b"torn")
    assert json.loads(good(run("merge", "a", "b", "-o", "c", "--json")))["copied"] == 1
    assert Path("c", "weights", state_name(two.id)).read_bytes() == b"state of 1"


def test_a_file_that_is_missing_or_another_is_told_and_left_out(run: Run) -> None:
    """A checkpoint that a search has dropped is no loss."""
    one = with_files(Path("a"), 0, b"weights of 0", b"state of 0")
    assert one.weights is not None
    Path("a", "weights", one.weights.file).write_bytes(b"another")
    Path("a", "weights", manifest_name(one.id)).unlink()
    text = good(run("merge", "a", "-o", "c/runs.db"))
    assert "is not the file that was written: its SHA-256 differs" in text
    Path("a", "weights", one.weights.file).unlink()
    assert "No such file" in good(run("merge", "a", "-o", "c"))
    assert [each for each in Path("c").rglob("*") if each.is_file()] == [Path("c/runs.db")]


def test_a_damaged_store_is_refused_or_salvaged(run: Run) -> None:
    path = filled(Path("a.db"))
    changed(path, "UPDATE runs SET summary = x'7b7d' WHERE number = 4", "DELETE FROM columns WHERE number = 7")
    bad(run("merge", "a.db", "-o", "c.db"), "is damaged")
    text = good(run("merge", "a.db", "-o", "c.db", "--salvage"))
    assert "a.db: run" in text
    expected = [number for number in range(10) if number not in (3, 6)]
    with Store("c.db") as store:
        assert store.records().ids == [record(number).id for number in expected]
    assert good(run("check", "c.db")).startswith("c.db: 8 rows are right")


def test_bad_merges_are_sentences_and_write_nothing(run: Run) -> None:
    filled(Path("a.db"))
    Path("letter.db").write_text("dear all\n" * 1000)
    bad(run("merge", "a.db", "none.db", "-o", "c.db"), "there is no store at none.db")
    bad(run("merge", "a.db", "letter.db", "-o", "c.db"), "letter.db is not a store")
    bad(run("merge", "-o", "c.db"), "PATHS")
    bad(run("merge", "a.db"), "--out")
    bad(run("merge", "a.db", "-o", "letter.db"), "letter.db is not a store")
    assert sorted(each.name for each in Path().iterdir()) == ["a.db", "letter.db"]


def test_no_name_in_a_store_steers_the_terminal(run: Run) -> None:
    """Twenty escape sequences, in every text that a store has, shown by every command and in errors."""
    assert len(set(ESCAPES)) == 20
    records = [
        msgspec.structs.replace(
            record(0, spec=spec(number, task=text)), message=text, weights=Weights(text, text), columns={}
        )
        for number, text in enumerate(ESCAPES)
    ]
    filled(Path("runs.db"), records)
    said = [
        run("info", "runs.db"),
        run("check", "runs.db"),
        run("merge", "runs.db", "-o", "other/runs.db"),
        run("export", "runs.db", "-o", "runs.csv"),
        *(run("info", text.replace("\0", "") or "x") for text in ESCAPES),
    ]
    changed(Path("runs.db"), "UPDATE runs SET id = char(27) || '[31m', summary = x'00' WHERE number = 2")
    said += [run("info", "runs.db"), run("check", "runs.db"), run("merge", "runs.db", "-o", "d.db", "--salvage")]
    shown = "".join(each.out + each.err for each in said)
    steering = [char for char in shown if not char.isprintable() and char != "\n"]
    print(f"RELIABILITY escapes={len(ESCAPES)} shown={len(steering)}")
    assert steering == []
