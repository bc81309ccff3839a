"""What a user's file raises is told by its own lines, and a range test by its name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_kit import Run, caller
from lrcontrol.errors import BadInput
from lrcontrol.ranging import range_test
from lrcontrol.runs import user_code
from lrcontrol.training.run import Run as Told
from lrcontrol.training.tasks import own

HEAD = """
import torch
import lrcontrol as lrc
from a_module_beside import check

@lrc.task(metric="val_loss", direction="minimize", full_steps=50, base_lr=0.1)
def train(run):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    run.steer(optimizer)
    while not run.should_stop:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        optimizer.step()
"""
BESIDE = "def check(value):\n    raise ValueError(f'odd\\n{value}')\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is loaded yet, and nothing that is stays loaded."""
    monkeypatch.setattr(user_code, "_LOADED", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "a_module_beside", raising=False)
    Path("a_module_beside.py").write_text(BESIDE)
    before = dict(own.OWN)
    own.OWN.clear()
    yield
    own.OWN.clear()
    own.OWN.update(before)
    sys.modules.pop("a_module_beside", None)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(capfd)


@pytest.mark.parametrize("command", ["train", "range"])
def test_what_a_file_raises_is_told_by_its_own_frames_and_a_sentence(run: Run, command: str) -> None:
    """Also of files that it imports; not those of lrcontrol, and none of torch."""
    Path("mine.py").write_text(HEAD + "        check(3)\n")
    said = run(command, "mine.py:train")
    assert (said.status, said.out) == (1, "")
    lines = said.err.splitlines()
    assert [line.split('"')[1].rpartition("/")[2] for line in lines if line.startswith("  File")] == [
        "mine.py",
        "a_module_beside.py",
    ]
    assert lines[-1] == "lrcontrol: ValueError: odd 3 (line 16 of mine.py)."
    assert "lrcontrol/" not in "".join(lines)
    Path("late.py").write_text(HEAD + "        torch.nn.functional.linear(weight, torch.ones(4, 4))\n")
    said = run(command, "late.py:train")
    assert "  File" in said.err
    assert "functional.py" not in said.err
    assert said.err.splitlines()[-1].startswith("lrcontrol: RuntimeError: ")
    assert said.err.endswith("(line 16 of late.py).\n")


def test_what_no_file_raised_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of lrcontrol's is one to report, also where a file called it."""
    Path("mine.py").write_text(HEAD + "        run.log_loss(loss)\n")
    within = eval(compile("lambda *_: 1 / 0", Told.steer.__code__.co_filename, "eval"))
    monkeypatch.setattr(Told, "log_loss", within)
    with pytest.raises(ZeroDivisionError):
        run("train", "mine.py:train")

    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("lrcontrol.training.loop.train_all", fault)
    with pytest.raises(RuntimeError, match="inside"):
        run("train", "mine.py:train")


def test_a_script_that_does_not_tell_what_a_range_test_needs_is_told_so() -> None:
    """The control that a ramp is made of has no part in the sentence."""
    Path("mine.py").write_text(HEAD + "    run.log(val_loss=1.0)\n")
    with pytest.raises(
        BadInput, match=r"^a range test needs the loss of every update, got none of update 0; call run"
    ):
        range_test("mine.py:train")
