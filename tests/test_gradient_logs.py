"""Gradient logs: the value, the file that is written, and what is read of the logs that people have."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import log_kit
import lrcontrol
from lrcontrol.errors import BadInput, BadText, RecordError
from lrcontrol.interop.logs import crc32c, events, frames
from lrcontrol.interop.logs.names import Wanted, choose
from lrcontrol.runs.gradient_log import GradientLog, GradientLogFile
from lrcontrol.runs.record import Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

PAGE = (Path(__file__).parents[1] / "docs" / "gradient_logs.md").read_text(encoding="utf-8")
ANY = st.lists(st.floats(), min_size=1, max_size=20)
HISTORIES = Path(os.environ.get("LRCONTROL_DATA", "nowhere")) / "llm-schedules"


def same(log: GradientLog, steps: list[int], **columns: list[float] | None) -> None:
    assert log.steps.tolist() == steps
    for name, values in columns.items():
        found = getattr(log, name)
        assert (found is None) == (values is None), name
        assert values is None or np.array_equal(found, values, equal_nan=True), name


# The value


def test_nobody_can_write_to_a_log() -> None:
    norms = np.array([1.0, 2.0])
    log = GradientLog([0, 1], l2=norms)
    norms[0] = 5.0
    assert log.norms("l2").tolist() == [1.0, 2.0]
    for array in (log.steps, log.norms("l2")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3


def test_what_nobody_can_write_to_is_not_copied() -> None:
    norms = np.array([1.0, 2.0])
    norms.setflags(write=False)
    assert GradientLog([0, 1], l2=norms).l2 is norms
    assert GradientLog([0], l2=norms[:1]).l2 is not norms


@pytest.mark.parametrize(("steps", "every"), [([], 1), ([7], 1), ([0, 50, 100, 150, 151], 50), ([3, 5], 2)])
def test_every_is_the_usual_distance(steps: list[int], every: int) -> None:
    assert GradientLog(np.array(steps, np.int64)).every == every


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"steps": [0, 0]}, "`steps` must increase, got 0 and then 0"),
        ({"steps": [0, 2, 1]}, "`steps` must increase, got 2 and then 1"),
        ({"steps": [-1]}, "`steps` must be in [0, 9007199254740992], got -1 to -1."),
        ({"steps": [1.5]}, "`steps` must be integers in one dimension, got float64 of shape (1,)."),
        ({"steps": [[1]]}, "`steps` must be integers in one dimension, got int64 of shape (1, 1)."),
        ({"steps": [0], "l1": [1, 2]}, "`l1` must have shape (1,) as `steps` has, got (2,)."),
        ({"steps": [0], "lr": ["fast"]}, "`lr` must be numbers, got lr=['fast']."),
        ({"steps": [0], "total_steps": 0}, "`total_steps` must be an integer >= 1"),
        ({"steps": [0], "skipped": -1}, "`skipped` must be an integer >= 0"),
    ],
)
def test_a_log_that_cannot_be_is_refused(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=re.escape(sentence)):
        GradientLog(**given_)


def test_norms_that_are_not_there_are_named() -> None:
    log = GradientLog([0], l2=[1.0], lr=[0.1])
    with pytest.raises(RecordError, match=re.escape("the log has no l1 norms; its columns are: l2, lr.")):
        log.norms("l1")
    with pytest.raises(BadInput, match="unknown norm 'l3'"):
        log.norms("l3")  # type: ignore[arg-type]


def test_a_record_with_norms_is_a_log() -> None:
    spec = RunSpec(task="diabetes-mlp", method="sgd:cosine", base_lr=0.1, total_steps=100)
    columns = {"loss": np.ones(3, np.float32), "lr": np.ones(3, np.float32), "l2": np.array([3, 2, 1], np.float32)}
    record = Record(spec=spec, outcome=Outcome.FINISHED, objective=Objective("loss", "minimize"), columns=columns)
    log = GradientLog.of(record)
    same(log, [0, 1, 2], l2=[3.0, 2.0, 1.0], l1=None, loss=[1.0, 1.0, 1.0])
    assert log.total_steps == 100
    with pytest.raises(RecordError, match="has no gradient norms, only: no columns"):
        GradientLog.of(record.without_columns())


# The file


@given(norms=ANY, losses=st.lists(st.floats(), min_size=20, max_size=20), suffix=st.sampled_from([".csv", ".jsonl"]))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_to_the_bit(
    norms: list[float], losses: list[float], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / f"norms{suffix}"
    steps = [3 * at for at in range(len(norms))]
    with GradientLogFile(path) as file:
        file.write(steps[:1], l1=norms[:1], loss=losses[:1])
        if len(norms) > 1:
            file.write(steps[1:], l1=norms[1:], loss=losses[1 : len(norms)])
    log = lrcontrol.gradient_log(path)
    assert (log.skipped, log.notes) == (0, ())
    same(log, steps, l1=norms, loss=losses[: len(norms)], l2=None, lr=None)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_block_is_there_when_it_was_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"norms{suffix}"
    with GradientLogFile(path) as file:
        file.write(0, l2=1.0)
        file.write([1, 2], l2=[2.0, 3.0], lr=0.1)
        log = lrcontrol.gradient_log(path)
        same(log, [0, 1, 2], l2=[1.0, 2.0, 3.0], lr=[np.nan, 0.1, 0.1])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_going_on_after_any_tear_loses_no_other_row(suffix: str, tmp_path: Path) -> None:
    """The torn row is ended, told, never taken for a whole one, and what follows is read."""
    path = tmp_path / f"norms{suffix}"
    with GradientLogFile(path) as file:
        file.write([0, 1, 2], l2=[1.25, 2.5, 3.75])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        before = len(lrcontrol.gradient_log(path))
        with GradientLogFile(path, append=True) as file:
            file.write([3, 4], l2=[5.0, 6.0])
            torn = bool(whole[:length].rpartition(b"\n")[2]) and (suffix == ".jsonl" or b"\n" in whole[:length])
            assert bool(file.notes) == torn
        log = lrcontrol.gradient_log(path)
        assert log.steps.tolist() == [*range(before), 3, 4]
        assert log.norms("l2").tolist() == [*[1.25, 2.5, 3.75][:before], 5.0, 6.0]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("step,l2\n0,1.0\n")
    with pytest.raises(BadInput, match="is there already; give append=True"):
        GradientLogFile(path)
    with GradientLogFile(path, append=True) as file:
        file.write(1, l2=2.0)
        with pytest.raises(BadInput, match="has no column 'l1', only: step, l2; write to another file"):
            file.write(2, l1=2.0)
    assert path.read_text() == "step,l2\n0,1.0\n1,2.0\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("norms.txt", None, "must be named .jsonl or .csv, got 'norms.txt'"),
        ("nowhere/norms.csv", None, "does not exist; make it first"),
        ("folder.csv", "folder", "it is no regular file"),
        ("norms.csv", "epoch,loss\n", "must be CSV with a column `step` to be gone on with"),
        ("norms.jsonl", "step,l2\n0,1\n", "must be JSONL to be gone on with"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    name: str, content: str | None, sentence: str, tmp_path: Path
) -> None:
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=re.escape(sentence)):
        GradientLogFile(tmp_path / name, append=True)


@pytest.mark.parametrize("bad", [{"steps": -1}, {"steps": 0.5}, {"steps": [0, 1], "l2": [1]}, {"steps": 0, "l2": "x"}])
def test_rows_that_cannot_be_leave_nothing_behind(bad: dict[str, Any], tmp_path: Path) -> None:
    with GradientLogFile(tmp_path / "norms.jsonl") as file:
        with pytest.raises(BadInput):
            file.write(**bad)
        file.write(0, l2=1.0)
    file.close()
    assert len(lrcontrol.gradient_log(file.path)) == 1
    with pytest.raises(BadInput, match="it is closed"):
        file.write(1, l2=1.0)


def test_two_processes_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "norms.jsonl"
    code = "import sys; from lrcontrol.runs.gradient_log import *; GradientLogFile(sys.argv[1], append=True)"
    with GradientLogFile(path):
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "somebody else writes to it; one process alone may log a run." in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_what_was_begun_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, left = os.write, [40]

    def until_full(file: int, content: memoryview) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = write(file, content[: left[0]])
        left[0] -= count
        return count

    with GradientLogFile(tmp_path / "norms.csv") as file:
        monkeypatch.setattr(os, "write", until_full)
        with pytest.raises(BadInput, match="No space left on device"):
            file.write(range(10), l2=1.5)
        monkeypatch.undo()
        file.write([20, 21], l2=2.5)
    log = lrcontrol.gradient_log(file.path)
    assert log.steps.tolist()[-2:] == [20, 21]
    assert log.skipped <= 1
    assert set(log.norms("l2").tolist()) == {1.5, 2.5}


# What people have


def read(tmp_path: Path, name: str, content: str | bytes, **options: Any) -> GradientLog:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lrcontrol.gradient_log(path, **options)


def test_rows_of_one_step_are_put_together(tmp_path: Path) -> None:
    """As Lightning's CSV logger writes them."""
    table = "epoch,grad_2.0_norm_total,lr-AdamW,step,train_loss_step,val_loss\n"
    table += ",,0.1,0,,\n0,4.0,,0,,\n0,,,0,3.0,\n,,0.05,50,,\n0,2.0,,50,,\n0,,,50,2.5,\n0,,,50,,2.75\n"
    same(read(tmp_path, "metrics.csv", table), [0, 50], l2=[4.0, 2.0], lr=[0.1, 0.05], loss=[3.0, 2.5])


@pytest.mark.slow
def test_lightnings_csv_logger(tmp_path: Path) -> None:
    """Written by the logger itself: sparse, several rows a step."""
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    logger = loggers.CSVLogger(tmp_path, flush_logs_every_n_steps=1000)
    for step in range(0, 100, 10):
        logger.log_metrics({"grad_2.0_norm_total": 1.5 + step, "grad_2.0_norm/layer.weight": 1.0}, step=step)
        logger.log_metrics({"train_loss_step": 3.0 - step / 100, "epoch": 0}, step=step)
        logger.log_metrics({"lr-AdamW": 0.1}, step=step)
    logger.log_metrics({"val_loss": 3.0}, step=90)
    logger.save()
    steps = list(range(0, 100, 10))
    columns = {"l2": [1.5 + step for step in steps], "loss": [3.0 - step / 100 for step in steps], "lr": [0.1] * 10}
    same(lrcontrol.gradient_log(logger.log_dir), steps, l1=None, **columns)


def test_the_state_of_a_transformers_trainer(tmp_path: Path) -> None:
    """Written by the trainer's own class; the norm of every tenth step, an evaluation between, a mean at the end."""
    callback = pytest.importorskip("transformers.trainer_callback")
    state = callback.TrainerState(max_steps=200, logging_steps=10)
    for step in (10, 20, 30):
        state.log_history.append({"loss": 3.0, "grad_norm": 40.0 / step, "learning_rate": 0.01, "step": step})
        state.log_history.append({"eval_loss": 2.0, "step": step})
    state.log_history.append({"train_loss": 3.5, "train_runtime": 1.0, "step": 30})
    state.save_to_json(tmp_path / "trainer_state.json")
    for path in (tmp_path, tmp_path / "trainer_state.json"):
        log = lrcontrol.gradient_log(path)
        same(log, [10, 20, 30], l2=[4.0, 2.0, 40.0 / 30], loss=[3.0] * 3, lr=[0.01] * 3)
        assert (log.total_steps, log.every) == (200, 10)
        assert any("taken for the L2 norm" in note for note in log.notes)


def test_event_files_of_a_writer(tmp_path: Path) -> None:
    """Written by tensorboardX: scalars among histograms and texts, every tag in events of its own."""
    tensorboard = pytest.importorskip("tensorboardX")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for step in range(300):
            writer.add_scalar("train/loss", 1 / (step + 1), step)
            writer.add_scalar("train/grad_norm", step / 4, step)
            if step % 100 == 0:
                writer.add_histogram("weights", np.arange(50.0), step)
                writer.add_text("note", "words", step)
    log = lrcontrol.gradient_log(tmp_path)
    losses = [float(np.float32(1 / (step + 1))) for step in range(300)]
    same(log, list(range(300)), l2=[step / 4 for step in range(300)], loss=losses, l1=None)
    assert log.skipped == 0


@pytest.mark.parametrize("kind", ["simple", "float", "float alone", "double", "content"])
def test_every_place_where_writers_put_a_scalar(kind: str, tmp_path: Path) -> None:
    made = [log_kit.event(step, "grad_norm", step / 8, kind) for step in (0, 1, 127, 128, 16_384, 1 << 40)]
    made += [log_kit.event(5, "text", 0.0, "text"), log_kit.event(-1, "grad_norm", 9.0, kind)]
    log = read(tmp_path, "events.out.tfevents.1", log_kit.event_file(made))
    same(log, [0, 1, 127, 128, 16_384, 1 << 40], l2=[step / 8 for step in (0, 1, 127, 128, 16_384, 1 << 40)])


def test_events_read_at_once_are_those_read_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    made = [log_kit.event(int(step), f"tag{step % 3}", float(step)) for step in chance.integers(0, 1 << 20, 200)]
    (tmp_path / "events").write_bytes(log_kit.event_file(made))

    def rows() -> set[tuple[str, int, float]]:
        with (tmp_path / "events").open("rb") as file:
            (block,) = frames.frames(file)
        parts, bad = events.scalars(block)
        assert bad == 0
        return {
            row
            for part in parts
            for row in zip([part.tag] * len(part.steps), part.steps.tolist(), part.values.tolist(), strict=True)
        }

    at_once = rows()
    monkeypatch.setattr(events, "FEW", 1000)
    assert at_once == rows()
    assert len(at_once) == len(set(made))


@given(st.binary(max_size=3000))
@settings(max_examples=40, deadline=None)
def test_checksums_are_those_of_the_slow_twin(content: bytes) -> None:
    assert crc32c.masked(content) == log_kit.slow_crc32c(content)
    buffer = np.frombuffer(content * 20, np.uint8)
    starts = [at * len(content) for at in range(20)]
    assert set(crc32c.masked_all(buffer, starts, len(content)).tolist()) == {log_kit.slow_crc32c(content)}


def test_a_folder_of_runs_asks_for_one(tmp_path: Path) -> None:
    for number, run in enumerate(("one", "two")):
        (tmp_path / run).mkdir()
        content = log_kit.event_file([log_kit.event(step, "grad_norm", number + 0.5) for step in range(3)])
        (tmp_path / run / f"events.out.tfevents.{number}").write_bytes(content)
    with pytest.raises(BadInput, match=re.escape("holds 2 runs; choose one with run=: 'one', 'two'.")):
        lrcontrol.gradient_log(tmp_path)
    assert lrcontrol.gradient_log(tmp_path, run="two").norms("l2").tolist() == [1.5] * 3
    assert lrcontrol.gradient_log(tmp_path, run=0).norms("l2").tolist() == [0.5] * 3
    with pytest.raises(BadInput, match=r"unknown run 'tow'; did you mean 'two'\?"):
        lrcontrol.gradient_log(tmp_path, run="tow")


def test_files_of_a_resumed_run_are_one_run(tmp_path: Path) -> None:
    """A writer begins a file at every start; the second one here begins at a checkpoint."""
    for begun, first in ((100, 0), (200, 40)):
        content = log_kit.event_file([log_kit.event(step, "l1", begun + step) for step in range(first, first + 50)])
        (tmp_path / f"events.out.tfevents.{begun}.host").write_bytes(content)
    log = lrcontrol.gradient_log(tmp_path)
    same(log, list(range(90)), l1=[100.0 + step for step in range(40)] + [200.0 + step for step in range(40, 90)])
    assert "went back once, first from 49 to 40: taken for a resumed run, and 10 readings" in log.notes[0]


def test_exports_of_wandb(tmp_path: Path) -> None:
    names = '"Step","a - b - train/grad_norm","a - b - train/grad_norm__MIN","c - train/grad_norm"\n'
    two = names + '"0","1.5","1",""\n"9","2","1","7"\n'
    same(read(tmp_path, "export.csv", two, run="a - b"), [0, 9], l2=[1.5, 2.0])
    same(read(tmp_path, "export.csv", two, run=-1), [9], l2=[7.0])
    with pytest.raises(BadInput, match=re.escape("holds 2 runs; choose one with run=: 'a - b', 'c'.")):
        read(tmp_path, "export.csv", two)
    history = (
        '{"_step":0,"train/grad_norm":1.5,"train/loss":2.0,"gradients/w":{"bins":[1,2]}}\n{"_step":1,"eval/loss":3}\n'
    )
    history += '{"_step":2,"train/grad_norm":"NaN","train/global_step":2}\n'
    same(
        read(tmp_path, "wandb-history.jsonl", history, step_column="_step"),
        [0, 2],
        l2=[1.5, np.nan],
        loss=[2.0, np.nan],
    )
    rows = [json.loads(line) for line in history.splitlines()]
    same(read(tmp_path, "history.json", json.dumps(rows), step_column="_step"), [0, 2], l2=[1.5, np.nan])


JSON = {
    "lists": {"step": [0, 5], "grad_norm": [2, 1], "note": ["x", "y"]},
    "deep": {"history": {"val": {"iter": [0], "loss": [1]}, "train": {"iter": [0, 5], "grad_norm": [2, 1]}}},
    "frame": {"step": {"0": 0, "1": 5}, "grad_norm": {"0": 2, "1": 1}},
    "objects": [{"step": 0, "grad_norm": 2}, {"step": 5, "grad_norm": 1}, {"step": 5, "val_loss": 1}],
    "kept": {"config": {"iterations": 9}, "runs": [{"step": [0, 5], "grad_norm": [2, 1]}]},
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_by_lists_or_objects(name: str, indent: int | None, tmp_path: Path) -> None:
    same(read(tmp_path, "log.json", json.dumps(JSON[name], indent=indent)), [0, 5], l2=[2.0, 1.0])


def test_without_steps_readings_are_counted_and_it_is_told(tmp_path: Path) -> None:
    for name, content in (
        ("a.json", '{"grad_norm": [2, 1]}'),
        ("a.csv", "grad_norm,x\n2,0\n1,0\n"),
        ("a.jsonl", '{"l2":2}\n{"l2":1}\n'),
    ):
        log = read(tmp_path, name, content)
        same(log, [0, 1], l2=[2.0, 1.0])
        assert "counted from 0" in log.notes[-1]


@pytest.mark.skipif(not HISTORIES.is_dir(), reason="needs the folder of data sets")
def test_logs_of_language_models() -> None:
    """10 runs with norms, of which 6 were resumed, are whole all the same; 36 have losses and rates."""
    for path in sorted((HISTORIES / "grad_norm").glob("*.json")):
        log = lrcontrol.gradient_log(path)
        assert log.steps.tolist() == list(range(50, 50_001, 50))
        assert (log.total_steps, log.every, log.skipped) == (50_000, 50, 0)
        history = json.loads(path.read_text())["history"]["train"]
        last = dict(zip(history["iter"], history["grad_norm"], strict=True))  # of a step that was made again
        assert log.norms("l2").tolist() == [last[step] for step in log.steps.tolist()]
    several = 0
    for path in (others := sorted(HISTORIES.glob("*.json"))):
        steps = json.loads(path.read_text())["history"]["train"]["iter"]
        run = None
        if steps != sorted(set(steps)):  # the end of the run stands before its beginning, and the two overlap
            with pytest.raises(BadInput, match=re.escape("holds 2 runs; choose one with run=: 0 (steps ")):
                lrcontrol.gradient_log(path)
            run, several = 0, several + 1
        log = lrcontrol.gradient_log(path, run=run)
        assert set(log.columns) == {"loss", "lr"}
        assert "has no gradient norms by their names" in log.notes[-1]
        assert (log.total_steps, log.steps[-1]) == (25_000, 25_000)
    assert (len(others), several) == (36, 4)


NAMES = {
    "l1": "l1 grad_l1 grad_1.0_norm_total grad_norm_l1 train/grad_l1_norm",
    "l2": "l2 grad_norm train/grad_norm gradient_norm grad_2.0_norm_total total_grad_norm global_grad_norm "
    "grad_norm/all grad_norm/global gnorm grad-norm GradNorm l2_norm/grad/global optim/total_grad_norm "
    "grad/norm/total total_norm grad_norm_before_clip actor/grad_norm grad_norm_step",
    None: "grad_inf_norm_total grad_3.0_norm_total grad_2.0_norm/layer1.weight grad_norm/layer.1 weight_norm "
    "param_norm grad_norm_clipped grad_norm_after_clip val/grad_norm eval_grad_norm grad_norm_epoch update_norm "
    "grad_norm_std "
    "l2_loss norm gradient",
}


@pytest.mark.parametrize(
    ("order", "name"), [(order, name) for order, names in NAMES.items() for name in names.split()]
)
def test_names_of_norms(order: str | None, name: str) -> None:
    columns = choose(["step", name], Wanted(), "a log").columns
    assert {role for role, column in columns.items() if column == name and role in ("l1", "l2")} == {order} - {None}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["grad_norm", "l2", "total_grad_norm"], "l2"),
        (["grad_norm", "total_grad_norm"], "total_grad_norm"),
        (["train/grad_norm", "grad_norm"], "grad_norm"),
        (["actor/grad_norm", "train/grad_norm"], "train/grad_norm"),
        (["grad_norm/layer1", "grad_norm/all"], "grad_norm/all"),
    ],
)
def test_which_norm_is_preferred(names: list[str], chosen: str) -> None:
    assert choose(names, Wanted(), "a log").columns["l2"] == chosen
    assert choose(names[::-1], Wanted(), "a log").columns["l2"] == chosen


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["_step", "trainer/global_step"], "trainer/global_step"),
        (["Step", "iter"], "iter"),
        (["epoch", "global_step"], "global_step"),
        (["Step", "step"], "step"),
    ],
)
def test_which_steps_are_preferred(names: list[str], chosen: str) -> None:
    assert choose(names, Wanted(), "a log").columns["step"] == chosen


def test_what_must_be_chosen_is_listed(tmp_path: Path) -> None:
    table = "step,actor/grad_norm,critic/grad_norm\n0,1,2\n"
    with pytest.raises(
        BadInput, match=re.escape("choose one of them with column=: 'actor/grad_norm', 'critic/grad_norm'.")
    ):
        read(tmp_path, "log.csv", table)
    same(read(tmp_path, "log.csv", table, column="critic/grad_norm"), [0], l2=[2.0])
    with pytest.raises(BadInput, match=r"`column`.*did you mean 'critic/grad_norm'\?"):
        read(tmp_path, "log.csv", table, column="critic/grad_nrom")
    with pytest.raises(BadText, match=re.escape("name it with column=, which may be: 'epoch', 'accuracy'.")):
        read(tmp_path, "log.csv", "epoch,accuracy\n0,1\n")
    same(
        read(tmp_path, "log.csv", "when,gn\n3,1\n4,2\n", column="gn", step_column="when", order="l1"),
        [3, 4],
        l1=[1.0, 2.0],
        l2=None,
    )


@pytest.mark.parametrize(
    "options",
    [{"run": True}, {"run": 1.5}, {"run": 1}, {"run": "b"}, {"column": 3}, {"order": "l3"}, {"step_column": "x"}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        read(tmp_path, "log.csv", "step,l2\n0,1\n1,2\n", **options)


def test_values_stay_as_they_are_and_text_is_damage(tmp_path: Path) -> None:
    log = read(tmp_path, "log.csv", "step,l2,lr\n0,-1,0\n1,NaN,0\n2,inf,0\n3,1e-300,0\n4,many,0\n5,1_0,0\n6,2,\n")
    same(log, [0, 1, 2, 3, 6], l2=[-1.0, np.nan, np.inf, 1e-300, 2.0], lr=[0.0, 0.0, 0.0, 0.0, np.nan])
    assert log.skipped == 2
    assert log.notes == (f"2 damaged rows of {tmp_path / 'log.csv'} were left out.",)


def test_a_reading_without_a_step_is_told_and_other_rows_without_one_are_not(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", "step,l2,note\n0,1,\n,2,\n,,summary\n1,3,\n"),
        ("a.jsonl", '{"step":0,"l2":1}\n{"l2":2}\n{"note":"summary"}\n{"step":1,"l2":3}\n'),
        ("a.json", '[{"step":0,"l2":1},{"l2":2},{"note":"summary"},{"step":1,"l2":3}]'),
    ):
        log = read(tmp_path, name, content)
        same(log, [0, 1], l2=[1.0, 3.0])
        assert log.skipped == 1
        assert "without a step" in log.notes[-1]


def test_a_row_alone_in_the_wrong_place(tmp_path: Path) -> None:
    """It is damage where one is missing there, a row out of order where it is missing elsewhere."""
    same(read(tmp_path, "a.csv", "step,l2\n0,0\n1,1\n2,2\n700,3\n4,4\n5,5\n"), [0, 1, 2, 4, 5], l2=[0, 1, 2, 4, 5])
    same(read(tmp_path, "b.csv", "step,l2\n0,0\n1,1\n3,3\n2,2\n4,4\n5,5\n"), list(range(6)), l2=list(range(6)))
    same(read(tmp_path, "c.csv", "step,l2\n3,3\n0,0\n1,1\n2,2\n4,4\n5,5\n"), list(range(6)), l2=list(range(6)))
    same(read(tmp_path, "d.csv", "step,l2\n0,0\n1,1\n2,2\n3,3\n0,4\n"), [0, 1, 2, 3], l2=[0, 1, 2, 3])


def test_a_resumed_run_that_is_logged_at_other_steps_is_not_mixed(tmp_path: Path) -> None:
    rows = [(step, 1) for step in range(0, 200, 10)] + [(step, 2) for step in range(105, 300, 10)]
    log = read(tmp_path, "log.csv", "step,l2\n" + "".join(f"{step},{norm}\n" for step, norm in rows))
    assert log.steps.tolist() == [*range(0, 110, 10)[:11], *range(105, 300, 10)][: len(log)]
    assert log.norms("l2").tolist() == [1.0] * 11 + [2.0] * 20


def test_losses_come_from_the_same_run(tmp_path: Path) -> None:
    """A loss beside no norm is put to the norm of its step in the run that is chosen, and no other."""
    rows = "".join(f"{step},{run + 1},\n{step},,{run + 10}\n" for run in (0, 1) for step in range(5 - run))
    for run in (0, 1):
        log = read(tmp_path, "log.csv", "step,l2,loss\n" + rows, run=run)
        same(log, list(range(5 - run)), l2=[run + 1.0] * (5 - run), loss=[run + 10.0] * (5 - run))


def test_a_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Whatever has been written at any moment reads as a beginning of the run."""
    path, done = tmp_path / "norms.jsonl", threading.Event()

    def write() -> None:
        with GradientLogFile(path) as file:
            for step in range(0, 3000, 100):
                file.write(np.arange(step, step + 100), l2=1.0)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        if path.exists():
            log = lrcontrol.gradient_log(path)
            assert log.steps.tolist() == list(range(len(log)))
    thread.join()
    assert len(lrcontrol.gradient_log(path)) == 3000


# The page


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "docs/gradient_logs.md", "exec"), names)
