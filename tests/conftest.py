"""What all tests share: plain `assert` in the contract suites, one thread, and a task that is over soon."""

import os
from pathlib import Path

import msgspec
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
pytest.register_assert_rewrite("contracts")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a real task whose full run is 60 updates here."""
    from lrcontrol.training.tasks.catalogue import TASKS

    monkeypatch.setitem(TASKS, "diabetes-mlp", msgspec.structs.replace(TASKS["diabetes-mlp"], full_steps=60))
    return "diabetes-mlp"


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A folder that nobody can make, not even root: it would lie below a regular file."""
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "folder"
