"""Lightning, Transformers, accelerate, skorch and ignite drive our schedules: the rate is read before every update."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit

SCHEDULE = "warmup(3)+rex"
BASE_LR = 0.3
STEPS = 12
EXPECTED = [BASE_LR * multiplier for multiplier in lrc.schedule(SCHEDULE).multipliers(STEPS).tolist()]
BATCHES = 6  # of an epoch, so that there are two


def watched(optimizer: Optimizer) -> list[float]:
    """A list that gets the rate in force at the beginning of every update."""
    rates: list[float] = []
    optimizer.register_step_pre_hook(lambda it, _args, _kwargs: rates.append(it.param_groups[0]["lr"]))
    return rates


def sgd(model: nn.Module) -> tuple[Optimizer, list[float]]:
    optimizer = SGD(model.parameters(), lr=BASE_LR, momentum=0.9)
    return optimizer, watched(optimizer)


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
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


class TestTransformers:
    @pytest.fixture
    def transformers(self) -> Any:
        return pytest.importorskip("transformers")

    def trainer(self, transformers: Any, made_from: Any, folder: Path, **more: Any) -> Any:
        class Watch(transformers.TrainerCallback):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                self.rates: list[float] = []

            def on_pre_optimizer_step(self, *_: Any, optimizer: Optimizer, **__: Any) -> None:
                self.rates.append(optimizer.param_groups[0]["lr"])

        config = transformers.GPT2Config(
            vocab_size=8, n_positions=4, n_embd=4, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
        )
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_steps=7,
            logging_strategy="no",
            per_device_train_batch_size=2,
            **{"num_train_epochs": 2, "learning_rate": BASE_LR, **more.pop("arguments", {})},
        )
        model = transformers.GPT2LMHeadModel(config)
        row = {"input_ids": [1, 2, 3], "labels": [1, 2, 3]}
        watch = Watch()
        data = [row] * 2 * BATCHES * arguments.gradient_accumulation_steps
        trainer = made_from(model=model, args=arguments, train_dataset=data, callbacks=[watch], **more)
        trainer.watch = watch
        return trainer

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_one_line_gives_a_trainer_that_follows_and_goes_on(
        self, transformers: Any, tmp_path: Path, accumulated: int
    ) -> None:
        from lrcontrol.interop import as_transformers_trainer

        ours = as_transformers_trainer(transformers.Trainer, SCHEDULE)
        more = {"arguments": {"gradient_accumulation_steps": accumulated}}
        trainer = self.trainer(transformers, ours, tmp_path, **more)
        trainer.train()
        assert trainer.watch.rates == EXPECTED
        state = torch.load(tmp_path / "checkpoint-7" / "scheduler.pt", weights_only=True)
        assert state["step"] == 7
        again = self.trainer(transformers, ours, tmp_path, **more)
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
        assert again.watch.rates == EXPECTED[7:]

    def test_a_second_train_begins_anew(self, transformers: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import as_transformers_trainer

        trainer = self.trainer(transformers, as_transformers_trainer(transformers.Trainer, SCHEDULE), tmp_path)
        trainer.train()
        trainer.train()
        assert trainer.watch.rates == EXPECTED * 2

    def test_optimizer_and_schedule_given_as_a_pair(self, transformers: Any, tmp_path: Path) -> None:
        def pair(trainer: Any) -> Any:
            optimizer = SGD(trainer.model.parameters(), lr=BASE_LR)
            trainer.optimizer, trainer.lr_scheduler = optimizer, lrc.as_torch_scheduler(optimizer, SCHEDULE, STEPS)
            return trainer

        trainer = pair(self.trainer(transformers, transformers.Trainer, tmp_path))
        trainer.train()
        assert trainer.watch.rates == EXPECTED
        again = pair(self.trainer(transformers, transformers.Trainer, tmp_path))
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
        assert again.watch.rates == EXPECTED[7:]

    def test_their_warmup_beside_ours_is_refused(self, transformers: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import as_transformers_trainer

        ours = as_transformers_trainer(transformers.Trainer, "rex")
        trainer = self.trainer(transformers, ours, tmp_path, arguments={"warmup_steps": 5})
        with pytest.raises(BadInput, match="got warmup_steps=5 beside 'rex'"):
            trainer.train()

    def test_the_function_with_their_signature(self) -> None:
        from lrcontrol.interop import as_transformers_schedule

        optimizer, rates = sgd(nn.Linear(1, 1))
        scheduler = as_transformers_schedule(optimizer, 3, STEPS, schedule="rex")
        for _ in range(STEPS):
            optimizer.step()
            scheduler.step()
        assert rates == EXPECTED
        bare = as_transformers_schedule(sgd(nn.Linear(1, 1))[0], 0, STEPS, schedule="rex")
        assert str(bare.schedule) == "rex"
        with pytest.raises(DoesNotFit, match="they need 13 steps"):
            as_transformers_schedule(sgd(nn.Linear(1, 1))[0], 13, STEPS, schedule="rex")


class TestAccelerate:
    @pytest.fixture
    def accelerate(self) -> Any:
        return pytest.importorskip("accelerate")

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_prepared_with_accumulation_and_resumed(self, accelerate: Any, tmp_path: Path, accumulated: int) -> None:
        def prepared() -> tuple[Any, ...]:
            accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulated)
            model = nn.Linear(2, 1)
            optimizer, rates = sgd(model)
            scheduler = lrc.as_torch_scheduler(optimizer, SCHEDULE, STEPS)
            return accelerator, *accelerator.prepare(model, optimizer, scheduler), rates

        def train(accelerator: Any, model: Any, optimizer: Any, scheduler: Any, updates: int) -> None:
            for _ in range(updates * accumulated):
                with accelerator.accumulate(model):
                    accelerator.backward(model(torch.ones(1, 2)).sum())
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()

        accelerator, *parts, rates = prepared()
        train(accelerator, *parts, 7)
        accelerator.save_state(tmp_path)
        train(accelerator, *parts, STEPS - 7)
        assert rates == EXPECTED
        accelerator, *parts, rates = prepared()
        accelerator.load_state(tmp_path)
        train(accelerator, *parts, STEPS - 7)
        assert rates == EXPECTED[7:]

    def test_four_processes_make_one_update_at_a_time(self, accelerate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """accelerate steps a scheduler once for every process; ours counts the updates that were made."""
        accelerator = accelerate.Accelerator(cpu=True)
        optimizer, rates = sgd(nn.Linear(2, 1))
        made = lrc.as_torch_scheduler(optimizer, SCHEDULE, STEPS)
        ours = made.step
        optimizer, scheduler = accelerator.prepare(optimizer, made)
        processes = property(lambda _: 4, lambda *_: None)
        monkeypatch.setattr(accelerate.state.AcceleratorState, "num_processes", processes, raising=False)
        calls: list[None] = []
        monkeypatch.setattr(scheduler.scheduler, "step", lambda: (calls.append(None), ours())[1])
        for _ in range(STEPS):
            optimizer.step()
            scheduler.step()
        assert rates == EXPECTED
        assert len(calls) == 4 * STEPS


class TestSkorch:
    ROWS = np.ones((2 * BATCHES, 2), dtype=np.float32)

    @pytest.fixture
    def skorch(self) -> Any:
        return pytest.importorskip("skorch")

    def net(self, skorch: Any, rates: list[float]) -> Any:
        from lrcontrol.interop import as_skorch_callback

        class Watched(SGD):
            def step(self, *given: Any) -> Any:
                rates.append(self.param_groups[0]["lr"])
                return super().step(*given)

        return skorch.NeuralNetRegressor(
            nn.Linear(2, 1),
            optimizer=Watched,
            lr=BASE_LR,
            batch_size=2,
            max_epochs=2,
            train_split=None,
            verbose=0,
            callbacks=[("schedule", as_skorch_callback(SCHEDULE, STEPS))],
        )

    def test_every_batch_has_its_rate_and_history_shows_it(self, skorch: Any) -> None:
        rates: list[float] = []
        net = self.net(skorch, rates).fit(self.ROWS, self.ROWS[:, :1])
        assert rates == EXPECTED
        assert list(itertools.chain(*net.history[:, "batches", :, "event_lr"])) == EXPECTED

    def test_a_net_that_is_fitted_on_goes_on(self, skorch: Any) -> None:
        rates: list[float] = []
        net = self.net(skorch, rates)
        for _ in range(2):
            net.partial_fit(self.ROWS, self.ROWS[:, :1]) if rates else net.fit(self.ROWS, self.ROWS[:, :1], epochs=1)
        assert rates == EXPECTED + [0.0] * BATCHES

    def test_a_loaded_net_goes_on(self, skorch: Any, tmp_path: Path) -> None:
        files = {f"f_{part}": str(tmp_path / part) for part in ("params", "optimizer", "history")}
        rates: list[float] = []
        net = self.net(skorch, rates).set_params(max_epochs=1).fit(self.ROWS, self.ROWS[:, :1])
        net.save_params(**files)
        again = self.net(skorch, rates).set_params(max_epochs=1).initialize()
        again.load_params(**files)
        again.partial_fit(self.ROWS, self.ROWS[:, :1])
        assert rates == EXPECTED

    def test_a_second_fit_begins_anew(self, skorch: Any) -> None:
        rates: list[float] = []
        net = self.net(skorch, rates)
        for _ in range(2):
            net.fit(self.ROWS, self.ROWS[:, :1])
        assert rates == EXPECTED * 2

    def test_its_parameters_can_be_set_and_it_can_be_cloned(self, skorch: Any) -> None:
        from sklearn.base import clone

        rates: list[float] = []
        net = clone(self.net(skorch, rates)).set_params(callbacks__schedule__schedule="linear")
        net.fit(self.ROWS, self.ROWS[:, :1])
        assert rates == [BASE_LR * multiplier for multiplier in lrc.linear().multipliers(STEPS).tolist()]


class TestIgnite:
    @pytest.fixture
    def ignite(self) -> Any:
        return pytest.importorskip("ignite.engine")

    def made(self, ignite: Any, accumulated: int) -> dict[str, Any]:
        from lrcontrol.interop import as_ignite_handler

        model = nn.Linear(2, 1)
        optimizer, rates = sgd(model)

        def update(engine: Any, batch: Any) -> None:
            model(batch).sum().backward()
            if engine.state.iteration % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad()

        handler = as_ignite_handler(optimizer, SCHEDULE, STEPS)
        trainer = ignite.Engine(update)
        handler.attach(trainer)
        return {"rates": rates, "trainer": trainer, "model": model, "optimizer": optimizer, "schedule": handler}

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_every_update_has_its_rate_and_a_checkpoint_goes_on(
        self, ignite: Any, tmp_path: Path, accumulated: int
    ) -> None:
        from ignite.handlers import Checkpoint, DiskSaver

        data = [torch.ones(1, 2)] * BATCHES * accumulated
        made = self.made(ignite, accumulated)
        kept = {name: part for name, part in made.items() if name != "rates"}
        saver = Checkpoint(kept, DiskSaver(tmp_path, create_dir=False), n_saved=None)
        made["trainer"].add_event_handler(ignite.Events.EPOCH_COMPLETED, saver)
        made["trainer"].run(data, max_epochs=2)
        assert made["rates"] == EXPECTED
        again = self.made(ignite, accumulated)
        state = torch.load(tmp_path / f"checkpoint_{BATCHES * accumulated}.pt", weights_only=True)
        Checkpoint.load_objects({name: again[name] for name in kept}, state)
        again["trainer"].run(data, max_epochs=2)
        assert again["rates"] == EXPECTED[BATCHES:]
