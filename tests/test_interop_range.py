"""Range tests of what Lightning and Transformers train: the rates are theirs, and nothing of theirs changes."""

import contextlib
import math
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from faults.range_faults import changed
from lrcontrol.errors import BadInput
from lrcontrol.runs.record import Outcome

SEEN: list[Any] = []
"""What tests note: what is global is not put back."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()
    torch.manual_seed(0)


def looked_at(model: nn.Module, *others: Any) -> dict[str, Any]:
    """Weights, flags, attributes by identity, and random numbers."""
    found: dict[str, Any] = {f"weight {name}": value.numpy().tobytes() for name, value in model.state_dict().items()}
    found |= {f"gradient {name}": value.grad is None for name, value in model.named_parameters()}
    for place, each in enumerate((model, *others)):
        found |= {f"{place} {name}": value if isinstance(value, int | str | float) else id(value)
                  for name, value in vars(each).items()}  # fmt: skip
    found["random"] = (torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(NUMPY.get_state(legacy=False)))
    return found


NUMPY = np.random.mtrand._rand


class Rows(Dataset[Any]):
    """Noise is added to examples, and reads are counted."""

    def __init__(self) -> None:
        self.inputs = torch.randn(48, 3, generator=torch.Generator().manual_seed(1))
        self.read, self.noise = 0, np.random.default_rng(3)

    def __len__(self) -> int:
        return 48

    def __getitem__(self, place: int) -> torch.Tensor:
        self.read += 1
        return self.inputs[place] + 0.01 * float(self.noise.random()) + 0.01 * torch.rand(3)


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
)
class TestLightning:
    @pytest.fixture
    def lightning(self) -> Any:
        return pytest.importorskip("lightning")

    def module(self, lightning: Any, form: str = "optimizer", returns: str = "tensor") -> Any:
        class Module(lightning.LightningModule):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 1))
                self.steps, self.configured = 0, 0

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                self.steps += 1
                SEEN.append("step")
                loss = (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()
                self.log("loss", loss)
                self.log_dict({"also": loss})
                return {"tensor": loss, "dict": {"loss": loss}, "none": None}[returns]

            def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
                SEEN.append("moved")
                return batch

            def on_train_batch_start(self, *_: Any) -> None:
                SEEN.append("hook")

            def configure_optimizers(self) -> Any:
                self.configured += 1
                optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
                if form == "optimizer":
                    return optimizer
                if form == "ours":
                    from lrcontrol.interop import as_lightning_config

                    return as_lightning_config(optimizer, "warmup(0.1)+rex", self.trainer)
                scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 9, 1.0))
                if form == "lists":
                    return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
                return {"optimizer": optimizer, "lr_scheduler": scheduler}

        return Module()

    def trainer(self, lightning: Any, folder: Path, **more: Any) -> Any:
        class Counts(lightning.Callback):  # type: ignore[name-defined, misc]
            def on_train_batch_end(self, *_: Any) -> None:
                SEEN.append("callback")

        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return lightning.Trainer(
            accelerator="cpu", default_root_dir=folder, enable_checkpointing=False, max_steps=5, callbacks=[Counts()],
            **quiet, **more,
        )  # fmt: skip

    @pytest.mark.parametrize("form", ["optimizer", "ours", "lists", "dict"])
    def test_nothing_changes_and_fit_goes_as_without(self, lightning: Any, tmp_path: Path, form: str) -> None:
        from lrcontrol.interop import lightning_range_test

        def fitted(tested: bool) -> list[bytes]:
            torch.manual_seed(0)
            SEEN.clear()
            data = DataLoader(Rows(), batch_size=8, shuffle=True)
            module, trainer = self.module(lightning, form), self.trainer(lightning, tmp_path)
            if tested:
                before = looked_at(module, trainer, data.dataset)
                found = lightning_range_test(module, data, trainer, low=1e-4, high=10.0, steps=40)
                assert changed(before, looked_at(module, trainer, data.dataset)) == []
                assert set(SEEN) == {"step", "moved"}
                assert found.records[0].column("lr")[0] == pytest.approx(1e-4)
            trainer.fit(module, data)
            assert trainer.global_step == 5
            return [each.numpy().tobytes() for each in module.state_dict().values()]

        assert fitted(True) == fitted(False)
        assert list(tmp_path.iterdir()) == []

    def test_a_data_module_is_left_as_it_was(self, lightning: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import lightning_range_test

        class Data(lightning.LightningDataModule):  # type: ignore[name-defined, misc]
            def setup(self, stage: str) -> None:
                self.rows = Rows()
                SEEN.append(stage)

            def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
                SEEN.append("before")
                return batch

            def train_dataloader(self) -> Any:
                return DataLoader(self.rows, batch_size=8, shuffle=True)

        data, module = Data(), self.module(lightning, returns="dict")
        before = looked_at(module, data)
        trainer = self.trainer(lightning, tmp_path, accumulate_grad_batches=2, gradient_clip_val=1.0)
        found = lightning_range_test(module, data, trainer, steps=20, repeats=2)
        assert changed(before, looked_at(module, data)) == []
        assert SEEN.count("step") == sum(2 * record.cost.steps for record in found.records)
        assert {"fit", "before", "moved"} <= set(SEEN)

    def test_the_trainer_is_there_for_the_step_and_logs_nothing(self, lightning: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import lightning_range_test

        class Writes(lightning.pytorch.loggers.logger.Logger):  # type: ignore[name-defined, misc]
            name = version = experiment = None

            def log_metrics(self, *_: Any, **__: Any) -> None:
                SEEN.append("written")

            log_hyperparams = log_metrics

        module = self.module(lightning)

        def training_step(batch: Any, batch_idx: int) -> Any:
            module.trainer.should_stop = True
            module.logger.log_metrics({"loss": 1.0})
            module.logger.experiment.add_scalar("loss", 1.0)
            SEEN.append((batch_idx, module.trainer.max_steps, module.trainer.training, module.current_epoch))
            return module.layer(batch).square().mean()

        module.training_step = training_step
        trainer = self.trainer(lightning, tmp_path)
        trainer.logger, data = Writes(), list(torch.randn(2, 8, 3))
        before = looked_at(module, trainer)
        lightning_range_test(module, data, trainer, low=1e-6, high=1e-4, steps=20, repeats=2)
        assert [each for each in SEEN if each != "moved"] == [(place, 20, True, 0) for place in [*range(20)] * 2]
        assert changed(before, looked_at(module, trainer)) == []
        assert not trainer.should_stop
        assert list(tmp_path.iterdir()) == []

    def test_an_interrupt_leaves_all_as_it_was(self, lightning: Any) -> None:
        from lrcontrol.interop import lightning_range_test

        module, data = self.module(lightning), DataLoader(Rows(), batch_size=8)

        def interrupts(*_: Any) -> None:
            if SEEN.count("step") == 7:
                os.kill(os.getpid(), signal.SIGINT)

        module.layer.register_forward_hook(interrupts)
        before = looked_at(module)
        with pytest.raises(KeyboardInterrupt):
            lightning_range_test(module, data)
        assert changed(before, looked_at(module)) == []

    def test_what_cannot_be_tested_is_one_sentence(self, lightning: Any) -> None:
        from lrcontrol.interop import lightning_range_test

        data, module = [torch.ones(4, 3)], self.module(lightning)
        with pytest.raises(BadInput, match="`module` must be a LightningModule"):
            lightning_range_test(nn.Linear(3, 1), data)
        with pytest.raises(BadInput, match="must return a loss for every batch of a range test, got None"):
            lightning_range_test(self.module(lightning, returns="none"), data)
        module.configure_optimizers = lambda: [torch.optim.SGD(module.parameters(), 1.0) for _ in range(2)]
        with pytest.raises(BadInput, match="configure_optimizers must return one optimizer, got 2"):
            lightning_range_test(module, data)
        module.automatic_optimization = False
        with pytest.raises(BadInput, match="optimized by hand makes its updates itself"):
            lightning_range_test(module, data)


class TestTransformers:
    @pytest.fixture
    def transformers(self) -> Any:
        return pytest.importorskip("transformers")

    def trainer(self, transformers: Any, folder: Path, **more: Any) -> Any:
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            vocab_size=8, n_positions=4, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
        )

        class Counts(transformers.TrainerCallback):  # type: ignore[name-defined, misc]
            def on_step_end(self, *_: Any, **__: Any) -> None:
                SEEN.append("callback")

        arguments = transformers.TrainingArguments(
            output_dir=str(folder / "out"), use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
            logging_strategy="no", per_device_train_batch_size=4, max_steps=6, learning_rate=1e-3, **more,
        )  # fmt: skip
        rows = [{"input_ids": [1, 2, place % 8], "labels": [1, 2, place % 8]} for place in range(48)]
        return transformers.Trainer(
            model=transformers.GPT2LMHeadModel(config), args=arguments, train_dataset=rows, callbacks=[Counts()]
        )

    @pytest.mark.parametrize("accumulated", [1, 3])
    def test_nothing_changes_and_training_goes_as_without(
        self, transformers: Any, tmp_path: Path, accumulated: int
    ) -> None:
        from lrcontrol.interop import transformers_range_test

        def trained(tested: bool) -> list[bytes]:
            trainer = self.trainer(transformers, tmp_path, gradient_accumulation_steps=accumulated)
            if tested:
                held = (trainer, trainer.accelerator, trainer.accelerator.gradient_state, trainer.state, trainer.args)
                before = looked_at(trainer.model, *held)
                lists = {name: list(value) for name, value in vars(trainer.accelerator).items() if type(value) is list}
                found = transformers_range_test(trainer, low=1e-5, high=10.0, steps=30)
                assert changed(before, looked_at(trainer.model, *held)) == []
                assert lists == {name: list(getattr(trainer.accelerator, name)) for name in lists}
                assert trainer.optimizer is None
                assert SEEN == []
                assert found.records[0].outcome in (Outcome.FINISHED, Outcome.STOPPED)
                assert found.records[0].column("loss")[0] == pytest.approx(math.log(8), rel=0.1)
            trainer.train()
            assert len(SEEN) == 6
            SEEN.clear()
            return [each.numpy().tobytes() for each in trainer.model.state_dict().values()]

        assert trained(True) == trained(False)
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []

    def test_after_training_it_tests_from_there_and_changes_nothing(self, transformers: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import transformers_range_test

        trainer = self.trainer(transformers, tmp_path)
        trainer.train()
        before = looked_at(trainer.model, trainer, trainer.accelerator)
        moments = [value["exp_avg"].clone() for value in trainer.optimizer.state.values()]
        rate = trainer.optimizer.param_groups[0]["lr"]
        found = transformers_range_test(trainer, steps=20)
        assert changed(before, looked_at(trainer.model, trainer, trainer.accelerator)) == []
        assert all(map(torch.equal, moments, (value["exp_avg"] for value in trainer.optimizer.state.values())))
        assert trainer.optimizer.param_groups[0]["lr"] == rate
        assert found.records[0].column("lr")[0] == pytest.approx(1e-6)

    def test_an_error_leaves_all_as_it_was(self, transformers: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import transformers_range_test

        trainer = self.trainer(transformers, tmp_path)

        def fails(*_: Any) -> None:
            SEEN.append(0)
            if len(SEEN) == 9:
                raise MemoryError("there")

        trainer.model.register_forward_hook(fails)
        before = looked_at(trainer.model, trainer, trainer.accelerator)
        with contextlib.suppress(MemoryError):
            transformers_range_test(trainer)
        assert len(SEEN) == 9
        assert changed(before, looked_at(trainer.model, trainer, trainer.accelerator)) == []

    def test_what_is_none_is_told(self) -> None:
        from lrcontrol.interop import transformers_range_test

        with pytest.raises(BadInput, match=r"`trainer` must be a transformers\.Trainer, got 3"):
            transformers_range_test(3)
