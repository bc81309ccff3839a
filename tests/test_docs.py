"""What README and docs say, done."""

import re
import shlex
from pathlib import Path

import pytest

from lrcontrol.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = sorted(set(re.findall(r"^(?:`?make demo` is `)?(lrcontrol .+?)(?:`| {2,}#|$)", README, flags=re.MULTILINE)))


def test_readme_examples_run(tmp_path, monkeypatch):
    """The Python of the README runs from top to bottom, with one small task in place of the demo's budget."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lrcontrol.workplace.Processes", None)  # nothing here may start a process
    names = {}
    for block in PYTHON_BLOCKS:
        text = block.replace('"digits-mlp", budget="20runs"', '"diabetes-mlp", budget="1run", executor="serial"')
        exec(compile(text, "README.md", "exec"), names)
    assert str(names["found"].method) == "adamw:cosine"
    assert 1e-3 < names["tested"].suggestion < 1
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_commands_are_understood(command):
    """Every command line in the README names a command, arguments and options that exist."""
    words = shlex.split(command)
    assert words[0] == "lrcontrol"
    app.parse_args(words[1:], exit_on_error=False, print_error=False)


def test_readme_names_commands():
    """The pattern above finds the commands."""
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted(ROOT.glob("docs/[!_]*.md")), *sorted(ROOT.glob("docs/decisions/*.md"))],
    ids=lambda page: page.name,
)
def test_links_between_pages_lead_somewhere(page):
    """Every relative link in a page names a file that exists."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
