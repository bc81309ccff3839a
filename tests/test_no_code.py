"""No file that is read runs code, and no file in the folder one works in is imported unless it is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HOSTILE = (
    "yaml", "torch", "numpy", "sitecustomize", "usercustomize", "conftest", "random", "json", "optuna", "train",
    "rich", "cyclopts", "msgspec", "lrcontrol_user", "scipy", "pandas",
)  # fmt: skip


def test_no_reader_runs_anything_that_a_file_holds(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faults.no_code", str(tmp_path)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"RELIABILITY X1 files={found['files']} readings={found['readings']} executed={len(found['seen'])}")
    assert found["files"] >= 60
    assert found["seen"] == []
    assert not found["sentinel"]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["tasks", "iris-softmax", "--json"],
        ["methods", "--json"],
        ["cite", "sgdr"],
        ["plot", "rex", "-o", "rex.svg"],
        ["train", "iris-softmax", "sgd:rex", "--lr", "0.1", "--steps", "5", "--out", "o"],
        ["search", "iris-softmax", "--strategy", "grid", "--budget", "1run", "--workers", "1", "--out", "s"],
        ["store", "info", "store-of-nobody"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_in_the_folder_one_works_in_is_imported(words: list[str], tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text(f"open({str(sentinel)!r}, 'a').write('{name} ')\n")
    for name in (".env", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).write_text("PYTHONPATH=.\n")
    command = Path(sys.executable).with_name("lrcontrol")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == (2 if words[0] == "store" else 0), done.stderr
    assert not sentinel.exists(), sentinel.read_text()
