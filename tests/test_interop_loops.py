"""skorch and ignite drive our schedules: the rate is read before every update."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

import lrcontrol as lrc
from clients import BASE_LR, BATCHES, EXPECTED, SCHEDULE, STEPS, sgd


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

    @pytest.mark.filterwarnings("ignore:an update was made after the end")
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

    @pytest.mark.parametrize("way", ["at once", "in memory", "loaded", "loaded into itself"])
    def test_updates_count_where_gradients_are_accumulated(self, skorch: Any, tmp_path: Path, way: str) -> None:
        """One update in two batches, in one fit or continued: the rates are those of updates one after the other."""
        from lrcontrol.interop import as_skorch_callback

        rates: list[float] = []

        class Accumulating(skorch.NeuralNetRegressor):  # type: ignore[misc, name-defined]
            def train_step(self, batch: Any, **fit_params: Any) -> Any:
                made = self.train_step_single(batch, **fit_params)
                if len(self.history[-1, "batches"]) % 2 == 0:
                    rates.append(self.optimizer_.param_groups[0]["lr"])
                    self.optimizer_.step()
                    self.optimizer_.zero_grad()
                return made

        def net() -> Any:
            given = {"optimizer": SGD, "lr": 1.0, "batch_size": 2, "train_split": None, "verbose": 0}
            made = Accumulating(nn.Linear(2, 1), callbacks=[as_skorch_callback("linear", 16)], **given)
            return made.initialize()

        rows, files = (
            self.ROWS[:32],
            {f"f_{part}": str(tmp_path / part) for part in ("params", "optimizer", "history")},
        )
        fitted = net()
        for _ in range(1 if way == "at once" else 2):
            fitted.partial_fit(rows, rows[:, :1], epochs=2 if way == "at once" else 1)
            if way.startswith("loaded"):
                fitted.save_params(**files)
                fitted = net() if way == "loaded" else fitted
                fitted.load_params(**files)
        assert rates == lrc.linear().multipliers(16)[: len(rates)].tolist()
        assert len(rates) == 2 * (len(rows) // 4)

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
