"""A Trainer of Transformers as a task: the run sets the rates, counts the updates and is told what is evaluated."""

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

transformers = pytest.importorskip("transformers")
from lrcontrol.interop import transformers_task  # noqa: E402 - where there is Transformers

EXAMPLE = Path(__file__).parents[1] / "examples" / "transformers_task.py"
STEPS = 14
OUT: list[Path] = []
OPTIONS: dict[str, Any] = {}


class Line(nn.Module):
    """A model as the trainer takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.layer(inputs)
        return {"loss": (outputs - labels).square().mean(), "logits": outputs}


def rows() -> list[dict[str, torch.Tensor]]:
    inputs = torch.arange(24.0).reshape(12, 2).sin()
    return [{"inputs": each, "labels": each.sum().reshape(1)} for each in inputs]


def made(run: lrc.Run) -> Any:
    model = Line()
    ours = None if run.method.startswith("own") else run.optimizer(model.parameters())
    settings = {"per_device_train_batch_size": 2, "use_cpu": True, "report_to": "none", "learning_rate": 9.0}
    args = transformers.TrainingArguments(output_dir=str(OUT[0]), **(settings | OPTIONS))
    return transformers.Trainer(model, args, train_dataset=rows(), eval_dataset=rows(), optimizers=(ours, None))


def unjudged(run: lrc.Run) -> Any:
    trainer = made(run)
    trainer.eval_dataset = None
    return trainer


def nothing(run: lrc.Run) -> Any:
    return run.seed


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_code, "_LOADED", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(own.OWN)
    OUT[:] = [tmp_path / "theirs"]
    OPTIONS.clear()
    yield
    own.OWN.clear()
    own.OWN.update(before)


def carried(function: Any = made, method: str = "own:linear", folder: Path | None = None, **more: Any) -> Record:
    task = transformers_task(metric="eval_loss", direction="minimize", full_steps=STEPS, method=method, base_lr=0.1)(
        function
    )
    spec = RunSpec(**({"task": task.name, "method": method, "base_lr": 0.1, "total_steps": STEPS} | more))
    return carry_out_script(spec, task.task, task, folder)


@pytest.mark.parametrize("method", ["own:linear", "sgd:linear", "adamw:linear"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_every_update_has_its_rate_and_its_loss(method: str, accumulated: int) -> None:
    OPTIONS.update(gradient_accumulation_steps=accumulated, eval_strategy="epoch")
    record = carried(method=method)
    wanted = (0.1 * lrc.linear().multipliers(STEPS)).astype(np.float32)
    assert record.column("lr").tolist() == wanted.tolist()
    assert np.isfinite(record.column("loss")).all()
    assert record.cost.steps == STEPS
    per_epoch = 6 // accumulated
    assert [each.step for each in record.evals] == [*range(per_epoch, STEPS, per_epoch), STEPS]
    assert set(record.evals[-1].values) == {"eval_loss"}
    assert record.final is not None
    assert record.final < record.evals[0].values["eval_loss"]
    assert not OUT[0].exists() or not list(OUT[0].iterdir())


def test_the_end_is_judged_where_nothing_else_is() -> None:
    assert [each.step for each in carried(stop_step=5).evals] == [5]


def test_the_seed_of_the_run_decides() -> None:
    losses = [carried(seed=seed).column("loss").tolist() for seed in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


def test_a_run_goes_on_with_model_and_optimizer(tmp_path: Path) -> None:
    """The order of the data begins anew, so only rates and weights are the same."""
    first = carried(folder=tmp_path, stop_step=6, checkpoint=True)
    rest = carried(folder=tmp_path, start=Start(first.id, 6), save=True)
    wanted = (0.1 * lrc.linear().multipliers(STEPS)).astype(np.float32)
    assert [*first.column("lr"), *rest.column("lr")] == wanted.tolist()
    assert rest.column("loss")[0] < first.column("loss")[0]
    assert rest.weights is not None


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (nothing, {}, "the function must return a transformers.Trainer, got 0"),
        (unjudged, {}, "a trainer must have an eval_dataset"),
        (made, {"warmup_steps": 3}, "leave the scheduler and `warmup_steps` out of the trainer, got None and .*=3"),
    ],
)
def test_every_mistake_is_one_sentence(function: Any, options: dict[str, Any], said: str) -> None:
    OPTIONS.update(options)
    with pytest.raises(BadInput, match=said):
        carried(function)


def test_the_example_learns() -> None:
    record = lrc.train(f"{EXAMPLE}:train", "own:warmup(0.1)+linear", base_lr=5e-3)
    assert (record.outcome, record.cost.steps) == (Outcome.FINISHED, 100)
    assert record.evals[-1].values["eval_accuracy"] > 0.7
    assert len(record.column("loss")) == 100


@pytest.mark.slow
def test_the_example_is_selected_in_processes_and_serially_alike(tmp_path: Path) -> None:
    check_places_agree(f"{EXAMPLE}:train", tmp_path)
