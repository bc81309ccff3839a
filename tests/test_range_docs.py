"""The examples of `docs/range_test.md` on a model of one's own, done."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

import lrcontrol as lrc

PAGE = (Path(__file__).parents[1] / "docs" / "range_test.md").read_text(encoding="utf-8")
OWN = re.findall(r"```python\n(.*?)```", PAGE.partition("\n## On your own model")[2].partition("\n## ")[0], re.DOTALL)


def test_the_examples_run_and_leave_the_model_alone() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(96, 4)
    data = torch.utils.data.TensorDataset(inputs, (inputs.sum(1) > 0).long())
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    names = {
        "lrc": lrc,
        "torch": torch,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "loader": torch.utils.data.DataLoader(data, batch_size=16, shuffle=True),
    }
    before = [each.clone() for each in model.state_dict().values()]
    assert len(OWN) == 2
    for block in OWN:
        exec(compile(block, "docs/range_test.md", "exec"), names)
        found = names["found"]
        assert 1e-4 < found.suggestion < 10  # type: ignore[attr-defined]
        assert all(map(torch.equal, before, model.state_dict().values()))


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "range_test.py"), run_name="__main__")
    assert "as it was: True" in capsys.readouterr().out
