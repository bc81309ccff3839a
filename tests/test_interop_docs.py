"""The examples of `docs/interop.md`, done; each client's where it is installed."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lrcontrol import interop
from lrcontrol.errors import BadInput
from lrcontrol.interop import describe

PAGE = (Path(__file__).parents[1] / "docs" / "interop.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
BLOCKS = [
    (title, block) for title, text in SECTIONS.items() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.parametrize(("title", "block"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_the_examples_run(title: str, block: str) -> None:
    if title != "Their schedules as ours":
        pytest.importorskip(title.lower())
    model = torch.nn.Linear(2, 1)
    names: dict[str, Any] = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "update": lambda engine, batch: None,
    }
    exec(compile(block, f"docs/interop.md, {title}", "exec"), names)
    if "handler" in names:
        names["trainer"].run([0], max_epochs=1)


def test_every_client_has_an_example() -> None:
    clients = ("Lightning", "Transformers", "accelerate", "skorch", "ignite", "Keras", "optax")
    assert {title for title, _ in BLOCKS} == {*clients, "Their schedules as ours"}


def test_every_name_is_served_and_documented() -> None:
    for name in interop.__all__:
        if name != "describe_transformers":  # it needs transformers only when called
            pytest.importorskip("optax")
        assert getattr(interop, name).__doc__
        assert re.search(rf"lrcontrol\.interop\.\w+\.{name}$", PAGE, re.MULTILINE), name
    with pytest.raises(AttributeError, match=r"'lrcontrol\.interop' has no attribute 'nothing'"):
        interop.nothing  # noqa: B018 - the access is the test


def test_the_table_of_what_is_refused_names_what_is() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(BadInput, match="MultiplicativeLR is not among"):
        describe(torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda _: 0.9), 10)
