"""The examples of `docs/observing.md`, done; each client's where it is installed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lrcontrol as lrc

PAGE = (Path(__file__).parents[1] / "docs" / "observing.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##? (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
BLOCKS = {
    title: block for title, text in SECTIONS.items() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
}
LOOPS = ("Observing gradients", "Clipping", "Gradient scalers", "Going on", "More than norms")


def names_of() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(optimizer: torch.optim.Optimizer, updates: int) -> None:
        for _ in range(updates):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().mean().backward()
            optimizer.step()

    return {
        "lrc": lrc,
        "torch": torch,
        "model": model,
        "optimizer": optimizer,
        "batches": [(torch.randn(8, 3) * 9, torch.randn(8, 1)) for _ in range(6)],
        "loss_of": nn.functional.mse_loss,
        "train": train,
    }


def done(title: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(BLOCKS[title], f"docs/observing.md, {title}", "exec"), names)
    return names


@pytest.mark.parametrize("title", LOOPS)
def test_the_loops_run_and_see_every_update(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = done(title, names_of())
    log = names["observer"].log
    assert log.steps.tolist() == (list(range(100, 150)) if title == "Going on" else list(range(6)))
    assert (log.norms("l2") > 0).all()
    if title == "Observing gradients":
        assert names["log"].norms("l2").tolist() == log.norms("l2").tolist()
        assert names["log"].loss.tolist() == log.loss.tolist()


def test_all_examples_are_tried() -> None:
    assert set(BLOCKS) == {*LOOPS, "Lightning", "Transformers"}


def unclipped(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> list[float]:
    """Norms before clipping to 0.01, of a loop by hand."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for inputs, targets in batches:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.01)))
        optimizer.step()
    return norms


@pytest.mark.filterwarnings("ignore")
def test_lightning_is_observed_before_it_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    names = done("Lightning", names_of())

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        """One layer."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    wanted = unclipped(Module().layer, names["batches"])
    callback = names["Observe"]()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(
        max_epochs=1, gradient_clip_val=0.01, callbacks=[callback], accelerator="cpu", devices=1, **quiet
    )
    trainer.fit(module, torch.utils.data.DataLoader(names["batches"], batch_size=None))
    log = lrc.gradient_log("norms.csv")
    assert log.norms("l2") == pytest.approx(wanted, rel=1e-5)
    assert log.loss is not None
    assert len(log.loss) == 6


@pytest.mark.filterwarnings("ignore")
def test_transformers_is_observed_before_it_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    names = done("Transformers", names_of())

    class Model(nn.Module):
        """One layer, with a loss as a Trainer wants it."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.layer = nn.Linear(3, 1)

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": nn.functional.mse_loss(self.layer(inputs), labels)}

    rows = [{"inputs": one, "labels": other} for batch in names["batches"] for one, other in zip(*batch, strict=True)]
    model = Model()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=4, gradient_accumulation_steps=2, report_to=[],
        max_grad_norm=0.01, num_train_epochs=1, use_cpu=True, lr_scheduler_type="constant", logging_steps=1,
        disable_tqdm=True, save_strategy="no", optim="sgd", learning_rate=0.1, train_sampling_strategy="sequential",
    )  # fmt: skip
    trainer = names["Observed"](model=model, args=arguments, train_dataset=rows)
    trainer.train()
    trainer.observer.close()
    log = lrc.gradient_log("norms.jsonl")
    theirs = [each["grad_norm"] for each in trainer.state.log_history if "grad_norm" in each]
    assert log.norms("l2") == pytest.approx(theirs, rel=1e-5)
    assert log.norms("l2") == pytest.approx(unclipped(Model().layer, names["batches"]), rel=1e-5)
