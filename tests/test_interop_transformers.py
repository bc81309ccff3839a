"""Transformers and accelerate drive our schedules: the rate is read before every update."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

import lrcontrol as lrc
from clients import BASE_LR, BATCHES, EXPECTED, SCHEDULE, STEPS, sgd
from lrcontrol.errors import BadInput, DoesNotFit


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

    @pytest.mark.parametrize(("higher_is_better", "ends"), [(False, 0.25), (True, 1.0)])
    def test_a_control_is_told_the_metric_of_every_evaluation(
        self, transformers: Any, tmp_path: Path, higher_is_better: bool, ends: float
    ) -> None:
        """A metric that rises is worse or better, as the trainer has it."""
        from lrcontrol.interop import as_transformers_trainer

        ours = as_transformers_trainer(transformers.Trainer, "plateau(factor=0.5, patience=0)")
        values = iter([0.1, 0.2, 0.3])
        arguments = {
            "eval_strategy": "epoch",
            "num_train_epochs": 3,
            "metric_for_best_model": "score",
            "greater_is_better": higher_is_better,
            "save_strategy": "no",
        }
        trainer = self.trainer(
            transformers,
            ours,
            tmp_path,
            arguments=arguments,
            eval_dataset=[{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}],
            compute_metrics=lambda _: {"score": next(values)},
        )
        trainer.train()
        assert trainer.lr_scheduler.multiplier == ends

    def test_what_is_no_trainer_is_refused(self) -> None:
        from lrcontrol.interop import as_transformers_trainer

        with pytest.raises(BadInput, match=r"must be transformers\.Trainer or a subclass, got 3"):
            as_transformers_trainer(3, SCHEDULE)

    def test_a_second_train_begins_anew(self, transformers: Any, tmp_path: Path) -> None:
        from lrcontrol.interop import as_transformers_trainer

        """With the weight decay that the groups had, too."""
        ours = as_transformers_trainer(transformers.Trainer, SCHEDULE, weight_decay="linear")
        trainer = self.trainer(transformers, ours, tmp_path, arguments={"weight_decay": 0.5})
        for _ in range(2):
            trainer.train()
            assert trainer.lr_scheduler.state_dict()["base_weight_decays"] == [0.5, 0.0]
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
