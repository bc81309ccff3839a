"""The range test as one call and one command: of tasks, kept runs, models, confirmations, what is refused."""

import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lrcontrol as lrc
from command_kit import Run, caller
from lrcontrol.analysis.lr_range import suggest_lr
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.ranging import RangeTest
from lrcontrol.report.lr_range import range_chart
from lrcontrol.runs.store import Store

TASK = "digits-mlp"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(capfd, "range")


@pytest.fixture(scope="module")
def found() -> RangeTest:
    return lrc.range_test(TASK, "sgd(momentum=0.9)", repeats=2, confirm=40)


def test_its_runs_are_records_of_a_ramp_like_any_other(found):
    first, second = found.records
    assert (first.spec.seed, second.spec.seed) == (0, 1)
    assert first.spec.base_lr == 10.0
    assert first.spec.total_steps == len(found.found.lrs)
    rates = first.column("lr")
    assert rates[0] == pytest.approx(1e-6)
    assert np.ptp(np.diff(np.log(rates[: len(first.column("loss"))]))) < 1e-4
    assert (
        first.column("loss").tolist()
        == lrc.train(TASK, first.spec.method, base_lr=10.0, total_steps=first.spec.total_steps).column("loss").tolist()
    )


def test_the_reading_is_that_of_the_losses(found):
    steps = found.records[0].spec.total_steps
    losses = np.full((2, steps), np.nan)
    for row, record in zip(losses, found.records, strict=True):
        row[: record.cost.steps] = record.column("loss")
    again = suggest_lr(found.found.lrs, losses)
    assert again.suggestion == pytest.approx(found.suggestion)
    assert found.low < found.suggestion < found.high
    assert found.interval[0] <= found.suggestion <= found.interval[1]


def test_a_confirmation_tries_a_third_and_three_times_the_rate(found):
    confirmation = found.confirmation
    rates = [record.spec.base_lr for record in confirmation.records]
    assert np.allclose([rates[0] * 3, rates[2] / 3], found.suggestion, rtol=0.01)
    finals = [-np.inf if record.final is None else record.final for record in confirmation.records]
    assert confirmation.confirmed == (finals[1] == max(finals))
    assert confirmation.sentence.startswith("Confirmed" if confirmation.confirmed else "Not confirmed")
    assert found.steps == sum(record.cost.steps for record in (*found.records, *confirmation.records))


def test_it_tells_itself_and_draws_itself(found):
    assert f"train at {found.suggestion:.2g}" in repr(found)
    chart = found.plot().to_dict()
    assert f"train at {found.suggestion:.2g}" in chart["title"]["text"]
    points = [layer for layer in chart["layer"] if layer.get("name") == "losses"]
    drawn = (
        points[0]["data"]["values"] if "values" in points[0]["data"] else chart["datasets"][points[0]["data"]["name"]]
    )
    assert len(drawn) == sum(record.cost.steps for record in found.records)


def test_runs_that_are_kept_are_not_made_again(tmp_path):
    ask = {"low": 1e-4, "steps": 40, "out": tmp_path}
    first = lrc.range_test(TASK, **ask)
    with Store(tmp_path / "runs.db") as store:
        assert set(store.records().ids) == {record.id for record in first.records}
    made = []
    second = lrc.range_test(TASK, **ask, repeats=2, progress=made.append)
    assert second.records[0].cost == first.records[0].cost
    assert max(made) == second.records[1].cost.steps


def test_of_a_model_nothing_is_left():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    inputs = torch.randn(512, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs.pow(2).sum(1, keepdim=True))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    found = lrc.range_test(model, optimizer, loader, nn.functional.mse_loss, low=1e-6, high=100, confirm=20)
    assert 1e-5 < found.suggestion < 1
    assert found.optimizer == "own"
    assert len(found.confirmation.records) == 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_where_the_curve_says_nothing_there_is_no_rate():
    found = lrc.range_test(TASK, low=1e-9, high=1e-7, steps=40, confirm=10)
    assert found.suggestion is None
    assert found.confirmation is None
    assert found.reason
    assert "no suggestion" in repr(found)
    assert "no suggestion" in range_chart(found.found).to_dict()["title"]["text"]


@pytest.mark.parametrize(
    ("given", "asked", "told"),
    [
        ((TASK,), {"steps": 5}, "steps"),
        ((TASK, "sgd:cosine"), {}, "an optimizer without a control, got sgd:cosine"),
        ((TASK,), {"low": 1.0, "high": 0.1}, "high"),
        ((TASK,), {"low": 0.0}, "low"),
        ((TASK,), {"low": 1e-20, "high": 1e3}, "high"),
        ((TASK,), {"shape": "cosine"}, "shape"),
        ((TASK,), {"repeats": 0}, "repeats"),
        ((TASK,), {"confirm": -1}, "confirm"),
        ((TASK,), {"accumulate": 2}, "`accumulate` belongs to the range test of a model"),
        ((TASK,), {"loss": nn.functional.mse_loss}, "`loss` belongs to the range test of a model"),
        ((nn.Linear(1, 1),), {}, "range_test(model, optimizer, loader, loss)"),
        ((nn.Linear(1, 1),), {"out": "here"}, "`out` belongs to the range test of a task"),
        ((3,), {}, "name of a task"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(given, asked, told):
    with pytest.raises(BadInput, match=re.escape(told)) as caught:
        lrc.range_test(*given, **asked)
    assert "\n" not in str(caught.value)


def test_an_unknown_parameter_is_named_with_what_is_near():
    for given, near in (("accumulat", "accumulate"), ("step_s", "steps"), ("repeat", "repeats"), ("lost", "loss")):
        with pytest.raises(UnknownName, match=f"did you mean '{near}'") as caught:
            lrc.range_test(TASK, **{given: 2})
        known = str(caught.value).partition("known: ")[2].removesuffix(".").split(", ")
        assert {"high", "low", "steps", "shape", "confirm", "scaler", "out", "optimizer"} < set(known)
        assert "besides" not in known


def test_the_command_tells_the_rate_and_writes_the_picture(run, tmp_path):
    picture = tmp_path / "range.svg"
    told = json.loads(run(TASK, "--plot", picture, "--json").out)
    again = lrc.range_test(TASK)
    assert told["suggestion"] == again.suggestion
    assert told["optimizer"] == "adamw"
    assert told["runs"] == [again.records[0].id]
    assert told["losses"] == [list(each) for each in again.found.losses]
    assert picture.read_text().startswith("<svg")


def test_the_command_says_where_there_is_no_rate(run):
    said = run(TASK, "--low", "1e-9", "--high", "1e-7", "--steps", "40")
    assert said.status == 0
    assert "no suggestion" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--optimizer", "adagrad"), "adagrad"),
        (("--steps", "1.5"), "whole number"),
        (("--plot", "range.txt"), ".svg"),
        (("--low", "2", "--high", "1"), "high"),
    ],
)
def test_the_command_refuses_in_a_sentence(run, words, told):
    said = run(TASK, *words)
    assert said.status == 2
    assert told in said.err
    assert said.err.count("\n") == 1


class Asks:
    """A loss that sends a signal to its own process at one of its calls."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        asked.append(len(asked))
        if len(asked) == self.at:
            os.kill(os.getpid(), signal.SIGUSR1)
        return nn.functional.mse_loss(outputs, targets)


asked: list[int] = []  # global, so that it is not put back


@pytest.fixture
def content() -> Iterator[list[int]]:
    """A handler of a signal that is content with the end of the block."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    asked.clear()
    yield heard
    signal.signal(signal.SIGUSR1, before)


def of_numbers(at: int, **how: Any) -> RangeTest:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    return lrc.range_test(model, optimizer, loader, Asks(at), low=1e-5, high=10, **how)


def test_a_ramp_that_a_signal_ended_has_not_diverged_and_is_not_confirmed(content):
    found = of_numbers(60, confirm=40)
    assert content == [signal.SIGUSR1]
    assert found.records[0].cost.steps == 60
    assert found.found.divergence is None
    assert found.confirmation is None
    assert found.steps == 60


def test_a_ramp_that_diverged_has_diverged_though_a_signal_ended_the_next_one(content):
    def without_end(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = Asks(85 + 30)(outputs, targets)
        return loss * torch.nan if len(asked) == 85 else loss

    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    model = nn.Linear(8, 1)
    loader = [(part, part.sum(1, keepdim=True)) for part in inputs.split(16)]
    found = lrc.range_test(model, of_it(model), loader, without_end, low=1e-5, high=1.0, repeats=2)
    assert content == [signal.SIGUSR1]
    assert found.interrupted
    assert [(record.outcome.value, record.cost.steps) for record in found.records] == [
        ("diverged", 85),
        ("stopped", 30),
    ]
    assert found.found.lrs[80] < found.found.divergence <= found.found.lrs[85]


def test_confirming_runs_that_a_signal_ended_confirm_nothing(content):
    whole = of_numbers(10**9)
    asked.clear()
    found = of_numbers(whole.steps + 45, confirm=40)
    assert content == [signal.SIGUSR1]
    assert found.suggestion == whole.suggestion
    assert not found.confirmation.confirmed
    assert "signal" in found.confirmation.sentence
    assert "diverged" not in found.confirmation.sentence
    assert [record.cost.steps for record in found.confirmation.records] == [40, 5]


def test_what_bears_on_a_suggestion_is_told(found, content):
    assert found.remarks == (found.confirmation.sentence,)
    assert ("not confirmed" in repr(found)) != found.confirmation.confirmed
    assert found.confirmation.sentence in repr(found.confirmation)
    assert (found.steepest, found.divergence) == (found.found.steepest, found.found.divergence)
    early = of_numbers(30)
    assert early.interrupted
    assert "signal" in early.remarks[0]
    assert "ended early" in repr(early)
    multiplied = lrc.range_test(TASK, "prodigy", steps=60, low=1e-3)
    assert multiplied.suggestion is None or "multiplies" in multiplied.remarks[0]


def test_only_schedules_become_documents(found):
    for given in (3, "cosine", found):
        with pytest.raises(BadInput, match="must be a Schedule"):
            lrc.to_json(given)


def of_another(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)


def of_it(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(4, 8), torch.zeros(4, 1))]


@pytest.mark.parametrize(
    ("optimizer", "loader", "loss", "told"),
    [
        (of_another, batches(), nn.functional.mse_loss, "must hold parameters of the model"),
        (of_it, lambda: iter(batches()), nn.functional.mse_loss, "begin anew"),
        (
            of_it,
            batches(),
            lambda outputs, targets: 2.5,
            "a tensor that gradients can be taken of, got the number 2.5",
        ),
    ],
    ids=["another model's optimizer", "a generator", "a loss that is a float"],
)
def test_objects_that_do_not_go_together_are_refused_in_a_sentence(optimizer, loader, loss, told):
    model = nn.Linear(8, 1)
    with pytest.raises(BadInput, match=re.escape(told)):
        lrc.range_test(model, optimizer(model), loader, loss, steps=40)


def test_a_loss_that_is_broken_before_any_update_is_told_as_that():
    model = nn.Linear(8, 1)
    broken = [(torch.full((4, 8), torch.inf), torch.zeros(4, 1))]
    found = lrc.range_test(model, of_it(model), broken, nn.functional.mse_loss, repeats=3)
    assert [record.cost.steps for record in found.records] == [1, 1, 1]
    assert found.suggestion is None
    assert "before any update, is nan already" in found.reason
    assert "lower" not in found.reason


def test_gradients_that_are_broken_before_any_update_are_told_as_that():
    model = nn.Linear(8, 1)
    model.weight.register_hook(lambda grad: grad * torch.nan)
    scaler = torch.amp.GradScaler("cpu")
    found = lrc.range_test(model, of_it(model), batches(), nn.functional.mse_loss, scaler=scaler)
    assert found.suggestion is None
    assert found.reason.startswith("gradients are not finite before any update")


def test_the_interval_stays_among_the_rates_that_were_tried():
    found = lrc.range_test(TASK, shape="linear", high=0.5)
    assert found.suggestion is None or 1e-6 <= found.interval[0] <= found.suggestion <= found.interval[1] <= 0.5
