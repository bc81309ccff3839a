"""What all tests share: plain `assert` in the contract suites, one thread, and a task that is over soon."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
pytest.register_assert_rewrite("contracts", "ranks_kit")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a real task whose full run is 60 updates here."""
    from lrcontrol.training.tasks.catalogue import TASKS

    monkeypatch.setitem(TASKS, "diabetes-mlp", msgspec.structs.replace(TASKS["diabetes-mlp"], full_steps=60))
    return "diabetes-mlp"


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch computes with two threads, as a user's does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A folder that nobody can make, not even root: it would lie below a regular file."""
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "folder"


@pytest.fixture(scope="module")
def elsewhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The fingerprints of the module's tasks, its NAMES, from a process with other hash seeds and more threads."""
    command = [sys.executable, "-m", "contracts.task", *request.module.NAMES]
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, env=environment, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found
