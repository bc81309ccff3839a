"""Lightning drives our schedule: the rate is read before every update."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from clients import BATCHES, EXPECTED, SCHEDULE, STEPS, sgd
from lrcontrol.errors import BadInput


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The 'val_dataloader' does not have many workers",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
)
class TestLightning:
    @pytest.fixture
    def lightning(self) -> Any:
        return pytest.importorskip("lightning")

    def module(self, lightning: Any, schedule: str = SCHEDULE) -> Any:
        from lrcontrol.interop import as_lightning_config

        class Module(lightning.LightningModule):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(2, 1)

            def training_step(self, batch: Any, _index: int) -> Any:
                return self.layer(batch).square().mean()

            def configure_optimizers(self) -> Any:
                optimizer, self.rates = sgd(self)
                return as_lightning_config(optimizer, schedule, self.trainer)

        return Module()

    def trainer(self, lightning: Any, folder: Path, **more: Any) -> Any:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
        return lightning.Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            enable_checkpointing=False,
            **quiet,
            **{"max_epochs": 2, **more},
        )

    def data(self, batches: int = BATCHES) -> Any:
        return torch.utils.data.DataLoader(torch.ones(2 * batches, 2), batch_size=2)  # type: ignore[arg-type]

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_every_update_has_its_rate_and_a_checkpoint_goes_on(
        self, lightning: Any, tmp_path: Path, accumulated: int
    ) -> None:
        path = tmp_path / "at-7.ckpt"

        class Save(lightning.Callback):  # type: ignore[name-defined, misc]
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step == 7 and not path.exists():
                    trainer.save_checkpoint(path)

        module, data = self.module(lightning), self.data(BATCHES * accumulated)
        options = {"accumulate_grad_batches": accumulated}
        self.trainer(lightning, tmp_path, callbacks=[Save()], **options).fit(module, data)
        assert module.rates == EXPECTED
        again = self.module(lightning)
        self.trainer(lightning, tmp_path, **options).fit(again, data, ckpt_path=path, weights_only=True)
        assert again.rates == EXPECTED[7:]

    def test_a_resumed_run_may_be_longer_where_that_is_said(self, lightning: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import as_lightning_config

        class Module(type(self.module(lightning))):  # type: ignore[misc]
            def configure_optimizers(self) -> Any:
                optimizer, self.rates = sgd(self)
                return as_lightning_config(optimizer, SCHEDULE, self.trainer, on_mismatch="rescale")

        path = tmp_path / "at-7.ckpt"

        class Save(lightning.Callback):  # type: ignore[name-defined, misc]
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step == 7 and not path.exists():
                    trainer.save_checkpoint(path)

        self.trainer(lightning, tmp_path, callbacks=[Save()]).fit(Module(), self.data())
        again = Module()
        self.trainer(lightning, tmp_path, max_epochs=4).fit(again, self.data(), ckpt_path=path, weights_only=True)
        assert again.rates[0] == EXPECTED[7]
        assert len(again.rates) > len(EXPECTED) - 7
        assert 0 < again.rates[-1] < again.rates[1] < EXPECTED[7]

    def test_a_control_is_told_its_metric_where_it_is_measured(self, lightning: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import as_lightning_config

        class Module(type(self.module(lightning))):  # type: ignore[misc]
            def validation_step(self, *_: Any) -> None:
                self.log("val_loss", torch.tensor(1.0))

            def on_validation_epoch_end(self) -> None:
                self.lr_schedulers().step(metrics=self.trainer.callback_metrics["val_loss"])

            def configure_optimizers(self) -> Any:
                optimizer, self.rates = sgd(self)
                return as_lightning_config(optimizer, "warmup(2)+plateau(factor=0.5, patience=0)", self.trainer)

        module = Module()
        trainer = self.trainer(lightning, tmp_path, max_epochs=3, num_sanity_val_steps=0)
        trainer.fit(module, self.data(), self.data(1))
        full = module.rates[2]
        assert module.rates[0] == full / 2
        assert {rate / full for rate in module.rates[2:]} == {1.0, 0.5}  # the second measurement was no better

    def test_a_trainer_without_end_is_refused(self, lightning: Any, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="it has no end; give Trainer"):
            self.trainer(lightning, tmp_path, max_epochs=-1).fit(self.module(lightning), self.data())

    @pytest.mark.parametrize("planned", [-1, math.inf])
    def test_data_without_length_are_refused(self, planned: float) -> None:
        """Lightning says -1 for batches without end and no `max_steps`."""
        from lrcontrol.interop import as_lightning_config

        trainer = SimpleNamespace(estimated_stepping_batches=planned)
        with pytest.raises(BadInput, match="the trainer must know how many updates it will make"):
            as_lightning_config(sgd(nn.Linear(1, 1))[0], SCHEDULE, trainer)

    def test_a_number_is_taken_as_the_horizon(self) -> None:
        from lrcontrol.interop import as_lightning_config

        optimizer, _ = sgd(nn.Linear(1, 1))
        config = as_lightning_config(optimizer, SCHEDULE, STEPS)
        assert config["optimizer"] is optimizer
        assert config["lr_scheduler"]["scheduler"].get_last_lr() == EXPECTED[:1]
        with pytest.raises(BadInput, match="`total_steps` must be an integer >= 1, got total_steps=0"):
            as_lightning_config(sgd(nn.Linear(1, 1))[0], SCHEDULE, 0)
