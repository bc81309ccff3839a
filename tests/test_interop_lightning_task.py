"""A Lightning module as a task: the run sets the rates, counts the updates and is told what is logged."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from lrcontrol.runs import user_code
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training.scripts import carry_out_script
from lrcontrol.training.tasks import own
from script_kit import check_places_agree

lightning = pytest.importorskip("lightning")
from lrcontrol.interop import lightning_task  # noqa: E402 - where there is Lightning

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The 'val_dataloader' does not have many workers",
    "ignore:The number of training batches",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
)

EXAMPLE = Path(__file__).parents[1] / "examples" / "lightning_task.py"
STEPS = 14
MICRO: list[int] = []


class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
    def __init__(self, run: lrc.Run) -> None:
        super().__init__()
        self.run, self.layer = run, nn.Linear(2, 1)

    def training_step(self, batch: Any, _index: int) -> Any:
        MICRO.append(self.run.step)
        return (self.layer(batch) - 1).square().mean()

    def validation_step(self, batch: Any, _index: int) -> None:
        self.log("val_loss", (self.layer(batch) - 1).square().mean())

    def configure_optimizers(self) -> Any:
        if self.run.method.startswith("own"):
            return torch.optim.SGD(self.parameters(), lr=9.0, momentum=0.9)
        return self.run.optimizer(self.parameters())


def loaders() -> tuple[Any, Any]:
    rows = torch.arange(24.0).reshape(12, 2).sin()
    return torch.utils.data.DataLoader(rows, batch_size=2), torch.utils.data.DataLoader(rows, batch_size=12)  # type: ignore[arg-type]


def made(run: lrc.Run) -> Any:
    return Module(run), loaders()


def with_scheduler(run: lrc.Run) -> Any:
    module = Module(run)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module.configure_optimizers = lambda: ([optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)])
    return module, loaders()


class Diverges(Module):
    def training_step(self, batch: Any, _index: int) -> Any:
        return self.layer(batch).mean() * (1.0 if self.run.step < 3 else float("nan"))


def diverges(run: lrc.Run) -> Any:
    return Diverges(run), loaders()


def bare(run: lrc.Run) -> Any:
    return Module(run)


def no_loaders(run: lrc.Run) -> Any:
    return Module(run), loaders()[0]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_code, "_LOADED", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(own.OWN)
    MICRO.clear()
    yield
    own.OWN.clear()
    own.OWN.update(before)


def carried(
    function: Any = made, method: str = "own:linear", folder: Path | None = None, options: Any = None, **more: Any
) -> Record:
    task = lightning_task(
        metric="val_loss", direction="minimize", full_steps=STEPS, method=method, base_lr=0.1, trainer=options
    )(function)
    spec = RunSpec(**({"task": task.name, "method": method, "base_lr": 0.1, "total_steps": STEPS} | more))
    return carry_out_script(spec, task.task, task, folder)


@pytest.mark.parametrize("method", ["own:linear", "sgd:linear", "adamw:linear"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_every_update_has_its_rate_and_its_loss(method: str, accumulated: int) -> None:
    record = carried(method=method, options={"accumulate_grad_batches": accumulated})
    wanted = (0.1 * lrc.linear().multipliers(STEPS)).astype(np.float32)
    assert record.column("lr").tolist() == wanted.tolist()
    assert np.isfinite(record.column("loss")).all()
    assert record.cost.steps == STEPS
    assert len(MICRO) == STEPS * accumulated
    per_epoch = 6 // accumulated
    assert [each.step for each in record.evals] == [*range(per_epoch, STEPS, per_epoch), STEPS]
    assert record.final is not None
    assert record.final < record.evals[0].values["val_loss"]


def test_a_run_that_is_cut_or_stopped_ends_there_and_is_judged() -> None:
    assert carried(stop_step=5).evals[-1].step == 5
    record = carried(diverges)
    assert (record.outcome, record.cost.steps) == (Outcome.DIVERGED, 4)


def test_a_run_goes_on_with_model_and_optimizer(tmp_path: Path) -> None:
    """Whole epochs, so that the pass over the data begins anew in both."""
    whole = carried(folder=tmp_path, total_steps=12, checkpoint=True)
    first = carried(folder=tmp_path, total_steps=12, stop_step=6, checkpoint=True)
    rest = carried(folder=tmp_path, total_steps=12, start=Start(first.id, 6), save=True)
    assert [*first.column("loss"), *rest.column("loss")] == list(whole.column("loss"))
    assert rest.final == whole.final
    assert rest.weights is not None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (bare, "the function must return a LightningModule and its data, got Module"),
        (no_loaders, "must be a LightningDataModule or a pair of loaders"),
        (with_scheduler, "must return one optimizer and no scheduler, got 1 and 1"),
    ],
)
def test_every_mistake_is_one_sentence(function: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        carried(function)


def test_the_length_of_a_run_is_the_runs() -> None:
    with pytest.raises(BadInput, match="leave `max_epochs` out of `trainer`, got 3"):
        lightning_task(metric="val_loss", direction="minimize", full_steps=STEPS, trainer={"max_epochs": 3})


def test_the_example_learns() -> None:
    record = lrc.train(f"{EXAMPLE}:train", "sgd:cosine", base_lr=0.1)
    assert (record.outcome, record.cost.steps) == (Outcome.FINISHED, 120)
    assert record.evals[-1].values["accuracy"] > 0.8
    assert len(record.column("loss")) == 120


@pytest.mark.slow
def test_the_example_is_selected_in_processes_and_serially_alike(tmp_path: Path) -> None:
    check_places_agree(f"{EXAMPLE}:train", tmp_path)
