"""The range test on a user's own objects: what its points are, what it is given, where it ends."""

import math
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrcontrol as lrc
from faults.range_faults import Setting, handler
from lrcontrol.errors import BadInput
from lrcontrol.runs.range_spec import ASKED
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.training.range_test import OWN_MODEL, confirm, own_range_test
from ranks_kit import two_ranks

STEPS = 20
SEEN: list[Any] = []
"""What a test notes: what a function encloses is put back, and what is global is not."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


class Regression:
    """A linear model of 40 examples, in batches of 6: the last one of a pass has 4."""

    def __init__(self, batch_size: int = 6, **optimizer: Any) -> None:
        torch.manual_seed(0)
        inputs = torch.randn(40, 3)
        self.data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
        self.loader = DataLoader(self.data, batch_size=batch_size)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), **{"lr": 0.1, "momentum": 0.9, **optimizer})

    def test(self, loss: Any = nn.functional.mse_loss, **changes: Any) -> Record:
        (record,) = self.tests(loss, **changes)
        return record

    def tests(self, loss: Any = nn.functional.mse_loss, **changes: Any) -> list[Record]:
        given = {"low": 1e-4, "high": 0.1, "steps": STEPS, **changes}
        return own_range_test(self.model, self.optimizer, given.pop("loader", self.loader), loss, **given)


class TestPoints:
    """A point is an update that was made, its loss the mean over what it was made from."""

    @pytest.mark.parametrize(
        ("shape", "wanted"),
        [("exponential", np.geomspace(1e-4, 0.1, STEPS)), ("linear", np.linspace(1e-4, 0.1, STEPS))],
    )
    def test_the_rates_are_the_ramps(self, shape: Any, wanted: Any) -> None:
        record = Regression().test(shape=shape)
        assert record.column("lr") == pytest.approx(wanted, rel=1e-6)
        assert record.column("lr")[[0, -1]].tolist() == np.float32([1e-4, 0.1]).tolist()

    def test_the_record_is_one_like_any_other(self) -> None:
        record = Regression().test(seed=7)
        spec = record.spec
        assert (spec.task, spec.base_lr, spec.total_steps, spec.seed) == (OWN_MODEL, 0.1, STEPS, 7)
        assert str(spec.method).startswith("own:stop_on_divergence(exponential(")
        rates = spec.method.control.inner.multipliers(STEPS) * spec.base_lr  # type: ignore[union-attr]
        assert record.column("lr") == pytest.approx(rates)
        assert (record.outcome, record.cost.steps, record.evals) == (Outcome.FINISHED, STEPS, ())
        assert Record.from_summary(*record.packed()).summary() == record.summary()

    @pytest.mark.parametrize("accumulate", [1, 2, 3, 4])
    def test_a_plain_loop_sees_the_same_to_the_bit(self, accumulate: int) -> None:
        """Seven batches a pass: the last window of each is a partial one for 2, 3 and 4."""
        own = Regression()
        record = own.test(accumulate=accumulate)
        plain = Regression()
        plain.optimizer.param_groups[0]["lr"] = 0.1
        losses: list[float] = []
        while len(losses) < STEPS:
            batches = list(plain.loader)
            for first in range(0, len(batches), accumulate):
                window = batches[first : first + accumulate]
                if len(losses) == STEPS:
                    break
                plain.optimizer.zero_grad()
                found = []
                for inputs, targets in window:
                    loss = nn.functional.mse_loss(plain.model(inputs), targets)
                    (loss / len(window)).backward()
                    found.append(loss.item())
                rate = record.spec.method.control.inner.multipliers(STEPS)[len(losses)] * 0.1  # type: ignore[union-attr]
                plain.optimizer.param_groups[0]["lr"] = float(rate)
                plain.optimizer.step()
                losses.append(float(np.mean(found)))
        assert record.column("loss").tolist() == np.float32(losses).tolist()

    @pytest.mark.parametrize("fused", [False, True])
    @pytest.mark.parametrize("accumulate", [1, 3])
    def test_updates_that_a_scaler_skips_are_no_points(self, fused: bool, accumulate: int) -> None:
        own = Regression()
        own.optimizer = torch.optim.AdamW(own.model.parameters(), lr=0.1, fused=fused)  # type: ignore[assignment]
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=2)

        def loss(model: nn.Module, batch: Any) -> Tensor:
            SEEN.append("batch")
            return nn.functional.mse_loss(model(batch[0]), batch[1]) * 1e4

        real = own.optimizer.step

        def step(*args: Any, **named: Any) -> Any:
            before = own.model.weight.detach().clone()
            found = real(*args, **named)
            if not torch.equal(before, own.model.weight):
                SEEN.append(own.optimizer.param_groups[0]["lr"])
            return found

        own.optimizer.step = step  # type: ignore[method-assign]
        record = own.test(loss, scaler=scaler, accumulate=accumulate)
        moved = [each for each in SEEN if each != "batch"]
        assert len(record.column("loss")) == len(moved) == STEPS
        assert moved == pytest.approx(record.column("lr"), rel=1e-6)
        assert len(SEEN) - STEPS > STEPS * accumulate / 2 + 20
        assert scaler.get_scale() == 2.0**120

    def test_where_no_update_can_be_made_it_says_so(self) -> None:
        own = Regression()
        own.model.weight.register_hook(lambda grad: grad * math.inf)
        record = own.test(scaler=torch.amp.GradScaler("cpu"))
        assert record.outcome is Outcome.DIVERGED
        assert record.message == "gradients were not finite at update 0, and no update was made"
        assert len(record.column("loss")) == 0

    def test_the_same_seed_gives_the_same_and_another_another(self) -> None:
        """L6, with everything that draws random numbers; where the user's are does not matter."""
        for number in (5, 10):
            setting = Setting(number)
            first = [each.column("loss").tolist() for each in setting.test(repeats=3, seed=4)]
            torch.rand(3), np.random.mtrand._rand.rand()
            again = [each.column("loss").tolist() for each in setting.test(repeats=2, seed=5)]
            assert first[1:] == again
            assert first[0] != first[1]

    def test_every_repeat_begins_at_the_same_weights_with_other_data(self) -> None:
        own = Regression()
        own.loader = DataLoader(own.data, batch_size=6, shuffle=True)

        def loss(model: nn.Module, batch: Any) -> Tensor:
            SEEN.append((model.weight.detach().numpy().tobytes(), batch[0].numpy().tobytes()))  # type: ignore[union-attr,operator]
            return nn.functional.mse_loss(model(batch[0]), batch[1])

        records = own.tests(loss, repeats=3)
        starts = SEEN[::STEPS]
        assert [each.spec.seed for each in records] == [0, 1, 2]
        assert len({weights for weights, _ in starts}) == 1
        assert len({data for _, data in starts}) == 3

    def test_passes_that_samplers_are_told_of_are_never_the_same(self) -> None:
        own = Regression(batch_size=10)

        class Sampler(torch.utils.data.SequentialSampler):
            epoch = 5

            def set_epoch(self, epoch: int) -> None:
                SEEN.append(epoch)
                self.epoch = epoch

        sampler = Sampler(own.data)
        own.tests(loader=DataLoader(own.data, batch_size=10, sampler=sampler), repeats=2)
        assert list(range(5, 5 + len(SEEN))) == SEEN
        assert sampler.epoch == 5


class TestGroups:
    """The largest rate is the ramp's; the others keep their ratios to it."""

    def seen(self, own: Regression, **changes: Any) -> list[list[float]]:
        SEEN.clear()
        own.optimizer.register_step_pre_hook(
            lambda optimizer, *_: SEEN.append([float(group["lr"]) for group in optimizer.param_groups])
        )
        own.test(**changes)
        return list(SEEN)

    def grouped(self, *rates: Any) -> Regression:
        own = Regression()
        own.model = nn.Sequential(*(nn.Linear(3, 3) for _ in rates[1:]), nn.Linear(3, 1))  # type: ignore[assignment]
        groups = [{"params": each.parameters(), "lr": rate} for each, rate in zip(own.model, rates, strict=True)]  # type: ignore[arg-type]
        own.optimizer = torch.optim.SGD(groups, lr=0.5)
        return own

    def test_ratios_are_kept(self) -> None:
        wanted = np.geomspace(1e-4, 0.1, STEPS)
        for tensors in (False, True):
            rates = [0.01, 0.04, 0.0]
            own = self.grouped(*(map(torch.tensor, rates) if tensors else rates))
            found = np.array(self.seen(own))
            assert found[:, 1] == pytest.approx(wanted, rel=1e-6)
            assert found[:, 0] == pytest.approx(wanted / 4, rel=1e-6)
            assert not found[:, 2].any()
            assert [float(group["lr"]) for group in own.optimizer.param_groups] == pytest.approx(rates)

    def test_ratios_are_those_a_schedule_began_with(self) -> None:
        """In the first update of a warmup of torch's, all rates are 0."""
        own = self.grouped(0.01, 0.04)
        torch.optim.lr_scheduler.LambdaLR(own.optimizer, lambda step: step / 10)
        assert np.array(self.seen(own))[-1] == pytest.approx([0.025, 0.1])
        own = self.grouped(0.01, 0.04)
        scheduler = lrc.as_torch_scheduler(own.optimizer, "warmup(10)+rex", 50)
        assert np.array(self.seen(own))[-1] == pytest.approx([0.025, 0.1])
        assert scheduler.last_epoch == 0

    def test_an_optimizer_without_rates_is_refused(self) -> None:
        with pytest.raises(BadInput, match="rates that are > 0, whose ratios are kept"):
            self.grouped(0.0, 0.0).test()


class Outputs(NamedTuple):
    inputs: Any
    targets: Any


class OwnLoss(nn.Module):
    """Gives its own loss, as those of Transformers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(3, 1), kind

    def forward(self, x: Tensor, y: Tensor) -> Any:
        loss = nn.functional.mse_loss(self.layer(x), y)
        if self.kind == "attribute":
            found = lambda: None  # noqa: E731 - any object
            found.loss = loss  # type: ignore[attr-defined]
            return found
        return {"tensor": loss, "dict": {"loss": loss}, "tuple": (loss, 1)}[self.kind]


class TestLosses:
    """What a batch and a loss may be, and what is refused in one sentence."""

    def losses(self, model: nn.Module, batches: list[Any], loss: Any, **more: Any) -> list[float]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        given = {"low": 1e-4, "high": 1e-2, "steps": STEPS, **more}
        (record,) = own_range_test(model, optimizer, batches, loss, **given)
        assert len(record.column("loss")) == STEPS
        return record.column("loss").tolist()

    def model(self) -> nn.Linear:
        torch.manual_seed(3)
        return nn.Linear(3, 1)

    def test_all_forms_come_to_the_same(self) -> None:
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
        targets = inputs.sum(1, keepdim=True)
        mean = nn.functional.mse_loss
        wanted = self.losses(self.model(), [(inputs, targets)], mean)

        class Named(nn.Module):
            def __init__(self, layer: nn.Module) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, one: Tensor, other: Tensor | None = None) -> Any:
                return self.layer(one if other is None else torch.cat([one, other], 1))

        def of_model(model: nn.Module, batch: Any) -> Tensor:
            return mean(model(batch["x"]), batch["y"])

        forms: list[tuple[nn.Module, Any, Any]] = [
            (self.model(), [inputs, targets], nn.MSELoss()),
            (self.model(), Outputs(inputs, targets), mean),
            (self.model(), (inputs, targets), lambda outputs, targets: mean(outputs, targets)),
            (self.model(), {"x": inputs, "y": targets}, of_model),
            (Named(self.model()), ({"one": inputs}, targets), mean),
            (Named(self.model()), (inputs[:, :1], inputs[:, 1:], targets), mean),
            (Named(self.model()), ((inputs[:, :1], inputs[:, 1:]), targets), mean),
        ]
        for model, batch, loss in forms:
            assert self.losses(model, [batch], loss) == wanted
        for kind in ("attribute", "tensor", "dict", "tuple"):
            own = OwnLoss(kind)
            own.layer.load_state_dict(self.model().state_dict())
            assert self.losses(own, [{"x": inputs, "y": targets}], None) == wanted

    @pytest.mark.parametrize(
        ("batch", "loss", "sentence"),
        [
            (torch.ones(2, 3), nn.MSELoss(), "must be a pair of inputs and targets, got a Tensor"),
            ({"x": torch.ones(2, 3)}, nn.MSELoss(), "must be a pair of inputs and targets, got a dict"),
            ((torch.ones(2, 3),), nn.MSELoss(), "must be a pair of inputs and targets, got a tuple"),
            ((torch.ones(2, 3), torch.ones(2, 1)), nn.MSELoss(reduction="none"), r"got a tensor of shape \(2, 1\)"),
            ((torch.ones(2, 3), torch.ones(2, 1)), lambda a, b: 3.0, "must give a tensor .* got the number 3"),
            ((torch.ones(2, 3), torch.ones(2, 1)), lambda a, b: (a - b).detach().sum(), "it takes no gradient"),
            (torch.ones(2, 3), None, "with loss=None the model must give its own loss"),
            ((torch.ones(2, 3), 1), "mse", "`loss` must be a function or None, got loss='mse'"),
        ],
    )
    def test_what_does_not_go_together_is_one_sentence(self, batch: Any, loss: Any, sentence: str) -> None:
        with pytest.raises(BadInput, match=sentence) as caught:
            self.losses(self.model(), [batch], loss)
        assert "\n" not in str(caught.value)

    def test_a_loss_with_weights_of_its_own_is_put_back(self) -> None:
        class Centre(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("centre", torch.zeros(1))

            def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
                self.centre.lerp_(targets.mean(), 0.1)  # type: ignore[operator]
                return (outputs - targets - self.centre).square().mean()  # type: ignore[no-any-return]

        own, loss = Regression(), Centre()
        own.test(loss)
        assert loss.centre.item() == 0

    def test_autocast_and_clipping_are_those_of_the_training(self) -> None:
        own = Regression(momentum=0.0)

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            SEEN.append(outputs.dtype)
            return nn.functional.mse_loss(outputs.float(), targets) * 1e3

        own.optimizer.register_step_pre_hook(lambda *_: SEEN.append(own.model.weight.detach().clone()))
        own.optimizer.register_step_post_hook(
            lambda optimizer, *_: SEEN.append(
                ((own.model.weight - SEEN.pop()).norm() / optimizer.param_groups[0]["lr"]).item()
            )
        )
        own.test(loss, autocast=torch.bfloat16, clip_norm=0.5)
        assert set(SEEN[::2]) == {torch.bfloat16}
        assert 0.1 < max(SEEN[1::2]) <= 0.5001

    def test_a_model_in_evaluation_is_trained_and_left_so(self) -> None:
        own = Regression()
        own.model.eval()
        own.model.register_forward_hook(lambda module, *_: SEEN.append(module.training))
        own.test()
        assert (set(SEEN), own.model.training) == ({True}, False)


class TestSteps:
    """A training step of the user's own, whatever it does."""

    def test_it_makes_the_points_of_its_updates(self) -> None:
        own, plain = Regression(), Regression()
        wanted = plain.test(accumulate=2, loader=DataLoader(plain.data, batch_size=10))
        calls = 0

        def step(batch: Any) -> float:
            nonlocal calls
            if calls % 2 == 0:
                own.optimizer.zero_grad()
            loss = nn.functional.mse_loss(own.model(batch[0]), batch[1])
            (loss / 2).backward()
            calls += 1
            if calls % 2 == 0:
                own.optimizer.step()
            return loss.item()

        found = own.test(None, step=step, loader=DataLoader(own.data, batch_size=10))
        assert found.column("loss").tolist() == wanted.column("loss").tolist()
        assert calls == 0  # what it encloses is put back too
        assert own.model.weight.grad is None

    @pytest.mark.parametrize("bad", [{"accumulate": 2}, {"clip_norm": 1.0}, {"loss": nn.MSELoss()}])
    def test_it_does_all_itself(self, bad: dict[str, Any]) -> None:
        own = Regression()
        with pytest.raises(BadInput, match=f"leave `{next(iter(bad))}` out"):
            own.test(bad.pop("loss", None), step=lambda batch: 1.0, **bad)

    def test_one_that_never_updates_is_told(self) -> None:
        """Or updates another optimizer than the one that is given."""
        own = Regression(batch_size=40)
        other = torch.optim.SGD(own.model.parameters(), lr=0.1)

        def step(batch: Any) -> float:
            SEEN.append(batch)
            other.step()
            return 1.0

        with pytest.raises(BadInput, match="made none in 1,000 calls; let it call the `step` of the optimizer that"):
            own.test(None, step=step, loader=[1])
        assert len(SEEN) == 1000

    def test_one_may_update_far_more_seldom_than_once_a_pass(self) -> None:
        own = Regression()

        def step(batch: Any) -> float:
            SEEN.append(1)
            own.model(batch[0]).sum().backward()
            if len(SEEN) % 120 == 0:
                own.optimizer.step()
            return 1.0

        assert own.test(None, step=step, loader=list(own.loader)[:2]).cost.steps == STEPS
        assert len(SEEN) == 120 * STEPS

    def told(self, losses: Any, steps: int = 70) -> Record:
        """The record of a test whose losses are these."""
        own = Regression()
        SEEN[:] = reversed([*losses])

        def step(batch: Any) -> float:
            own.model(batch[0]).sum().backward()
            own.optimizer.step()
            return float(SEEN.pop())

        return own.test(None, step=step, steps=steps)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_loss_that_is_not_finite_ends_it_at_once(self, bad: float) -> None:
        """L4; reliability/run.py does it at every update up to the 60th."""
        for at in (0, 1, 4, 5, 31, 60):
            falling = [2.3 - 0.01 * step for step in range(at)]
            record = self.told([*falling, bad, *[1.0] * 100])
            assert (record.outcome, record.cost.steps) == (Outcome.DIVERGED, at + 1)
            assert record.message == f"the loss was not finite at update {at}"

    def test_a_loss_that_explodes_ends_it_and_a_flat_one_does_not(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.02, 80)
        falling = np.linspace(2.3, 1.0, 40) + noise[:40]
        for early in range(5):
            assert self.told([*falling[:early], *(1e3 * 4.0 ** np.arange(1, 40))]).cost.steps <= 9
        exploding = [*falling, *(1.0 * 4.0 ** np.arange(1, 40))]
        record = self.told(exploding)
        assert record.outcome is Outcome.STOPPED
        assert 41 <= record.cost.steps <= 43
        assert self.told([*falling, *(1e3 * 1e9 ** np.arange(1, 30)), *[1.0] * 20]).cost.steps == 42
        assert self.told(2.3 + noise).outcome is Outcome.FINISHED
        rising = self.told(2.3 * 1.5 ** np.arange(80))
        assert rising.outcome is Outcome.STOPPED


class TestEndings:
    """Where it ends, and what it says there."""

    def test_a_handler_that_is_content_gets_what_there_is(self) -> None:
        own, seen = Regression(), list[int]()

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            SEEN.append(0)
            if len(SEEN) == STEPS + 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return nn.functional.mse_loss(outputs, targets)

        before = own.model.weight.clone()
        with handler(signal.SIGTERM, lambda number, frame: seen.append(number)):
            records = own.tests(loss, repeats=3)
        assert seen == [signal.SIGTERM]
        assert [each.outcome for each in records] == [Outcome.FINISHED, Outcome.STOPPED]
        assert (records[1].cost.steps, records[1].message) == (7, ASKED)
        assert torch.equal(before, own.model.weight)
        SEEN[:] = [0] * STEPS
        with handler(signal.SIGTERM, lambda *_: None):
            record = confirm(own.model, own.optimizer, own.loader, loss, lr=0.01)
        assert (record.outcome, record.cost.steps, record.message) == (Outcome.STOPPED, 7, ASKED)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"low": 0}, "`low` must be a number > 0"),
            ({"low": math.nan}, "`low` must be"),
            ({"high": 1e-5}, "`high` must be"),
            ({"high": "1"}, "`high` must be"),
            ({"steps": 3}, "`steps` must be an integer >= 20"),
            ({"steps": 30.5}, "`steps` must be an integer"),
            ({"shape": "cosine"}, "unknown shape of a ramp"),
            ({"accumulate": 0}, "`accumulate` must be an integer >= 1"),
            ({"repeats": 0}, "`repeats` must be an integer >= 1"),
            ({"seed": -1}, "`seed` must be an integer >= 0"),
            ({"scaler": 3}, "`scaler` must be a gradient scaler"),
            ({"autocast": "bf16"}, "`autocast` must be a dtype"),
            ({"clip_norm": 0}, "`clip_norm` must be a number > 0"),
            ({"loader": 7}, "`loader` must be an iterable of batches"),
            ({"loader": []}, "a pass over it gave none"),
            ({"loader": iter([1])}, "cannot be rewound"),
            ({"step": 3, "loss": None}, "`step` must be a function"),
            ({"loss": nn.MSELoss}, r"`loss` must be a function, got the class MSELoss; make one of it: MSELoss\(\)"),
            ({"scaler": torch.amp.GradScaler}, "`scaler` must be a gradient scaler"),
            ({"loader": DataLoader}, "got the class DataLoader; make one of it"),
        ],
        ids=lambda value: value if isinstance(value, str) else "+".join(value),
    )
    def test_bad_values_are_one_sentence_and_change_nothing(self, changes: dict[str, Any], sentence: str) -> None:
        own = Regression()
        before = own.model.weight.clone()
        with pytest.raises(BadInput, match=sentence):
            own.test(changes.pop("loss", nn.functional.mse_loss), **changes)
        assert torch.equal(before, own.model.weight)
        assert own.optimizer.param_groups[0]["lr"] == 0.1

    @pytest.mark.parametrize(
        ("optimizer", "sentence"),
        [
            (
                lambda parameters: torch.optim.SGD,
                r"got the class SGD; make one of it: SGD\(model\.parameters\(\), lr=0\.1\)",
            ),
            (torch.optim.LBFGS, "without a closure, but the `step` of LBFGS needs one; give the range test `step=`"),
            (lambda parameters: lambda: torch.optim.LBFGS(parameters), "without a closure"),
        ],
        ids=["a class", "LBFGS", "a function that makes LBFGS"],
    )
    def test_optimizers_that_cannot_be_used_are_one_sentence(self, optimizer: Any, sentence: str) -> None:
        own = Regression()
        own.optimizer = optimizer(list(own.model.parameters()))
        with pytest.raises(BadInput, match=sentence):
            own.test()

    def test_an_optimizer_that_needs_a_closure_has_it_from_the_users_step(self) -> None:
        own = Regression()
        own.optimizer = torch.optim.LBFGS(own.model.parameters(), lr=0.1)  # type: ignore[assignment]

        def step(batch: Any) -> Any:
            def closure() -> Tensor:
                own.optimizer.zero_grad()
                loss = nn.functional.mse_loss(own.model(batch[0]), batch[1])
                loss.backward()
                return loss

            return own.optimizer.step(closure)  # type: ignore[arg-type]

        before = own.model.weight.clone()
        assert own.test(None, step=step).cost.steps == STEPS
        assert torch.equal(before, own.model.weight)

    def test_schedules_and_what_else_is_used_may_be_given_alone(self) -> None:
        own = Regression()

        class Schedule:
            steps = 0

            def step(self) -> None:
                self.steps += 1

        other, mean = Schedule(), nn.Sequential(nn.Linear(3, 1))

        def step(batch: Any) -> float:
            own.optimizer.zero_grad()
            loss = nn.functional.mse_loss(own.model(batch[0]), batch[1])
            loss.backward()
            own.optimizer.step()
            SEEN[0].step()
            with torch.no_grad():
                SEEN[1][0].weight.add_(1)
            return loss.item()

        SEEN[:] = [other, mean]
        before = mean[0].weight.clone()
        own.test(None, step=step, schedules=other, also=mean)
        assert other.steps == 0
        assert torch.equal(mean[0].weight, before)
        own.test(None, step=step, schedules=None, also=None)
        assert other.steps == STEPS

    def test_it_must_be_outside_of_inference_mode(self) -> None:
        own = Regression()
        with pytest.raises(BadInput, match=r"outside of torch\.inference_mode"), torch.inference_mode():
            own.test()
        with torch.no_grad():
            assert own.test().outcome is Outcome.FINISHED

    def test_a_run_at_one_rate_confirms_it_or_not(self) -> None:
        def run(lr: float, **more: Any) -> Record:
            own = Regression(momentum=0.0)
            before = own.model.weight.clone()
            record = confirm(own.model, own.optimizer, own.loader, nn.functional.mse_loss, lr=lr, **more)
            assert torch.equal(before, own.model.weight)
            return record

        good = run(0.05)
        losses = good.column("loss")
        assert (good.outcome, len(losses), losses[-1] < losses[0] / 2) == (Outcome.FINISHED, 100, True)
        assert set(good.column("lr").tolist()) == {np.float32(0.05).item()}
        assert run(5.0).outcome in (Outcome.STOPPED, Outcome.DIVERGED)

    def test_two_processes_see_the_same_and_end_together(self, tmp_path: Path) -> None:
        one, other = two_ranks("range_ranks.py", tmp_path)
        assert one["whole"] == other["whole"]
        (first, second), messages = one["whole"]["losses"], one["whole"]["messages"]
        assert first != second
        assert len(first) < 40
        assert all(message is not None and "the loss " in message for message in messages)
        assert one["whole"]["same"] and other["interrupted"]["same"] and one["interrupted"]["same"]  # noqa: PT018
        assert (one["interrupted"]["raised"], other["interrupted"]["raised"]) == (False, True)
        assert one["sharded"] and other["sharded"]  # noqa: PT018
        assert one["interrupted"]["messages"] == [ASKED]
        for each in ("first half", "both signs"):  # no process may wait for another that has left
            ends, other_ends = one[each], other[each]
            assert ends == other_ends == ["diverged", "the loss was not finite at update 10", 11]
