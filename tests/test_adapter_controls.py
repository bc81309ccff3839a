"""Closed loop: a control on a user's optimizer, told by `step()` what it needs."""

import copy
import json
from typing import Any

import pytest
import torch

import lrcontrol as lrc
from adapter_kit import as_torch, parameters, rates, sgd, simulated, through_json, through_torch
from lrcontrol.controls.control import Control, Decision, Observation, State
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.errors import BadInput, OutOfSchedule


class Halving:
    """Half the rate whenever the metric is worse than before; stops below 1/8. Cools momentum and decay as well."""

    needs = frozenset({"metric"})

    def __init__(self, worst: float = 1e9, beside: bool = False) -> None:
        self.worst, self.beside = worst, beside

    def __repr__(self) -> str:
        return f"Halving({self.worst:g}, {self.beside})"

    def start(self, total_steps: int) -> tuple[Decision, State]:
        return self._decide({"multiplier": 1.0, "last": self.worst, "total": total_steps})

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        if seen.metric is None:
            return self._decide(state)
        worse = seen.metric > state["last"]
        multiplier = state["multiplier"] / 2 if worse else state["multiplier"]
        return self._decide({**state, "multiplier": multiplier, "last": seen.metric})

    def _decide(self, state: State) -> tuple[Decision, State]:
        multiplier = state["multiplier"]
        beside = (multiplier / 2, multiplier) if self.beside else (None, None)
        return Decision(multiplier, *beside, stop="the rate is below 1/8" if multiplier < 1 / 8 else None), state


class Norms:
    """The rate over the norm of the gradient, with the loss looked at; no text of its own."""

    needs = frozenset({"loss", "grad_norm"})

    def start(self, total_steps: int) -> tuple[Decision, State]:
        return Decision(1.0), {"seen": 0}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        assert seen.loss is not None
        assert seen.grad_norm is not None
        assert seen.step == state["seen"]
        return Decision(1 / (seen.grad_norm + 0 * seen.loss)), {"seen": state["seen"] + 1}


class Countdown:
    """Needs nothing, and is no schedule."""

    needs: frozenset[str] = frozenset()

    def start(self, total_steps: int) -> tuple[Decision, State]:
        return Decision(1.0), {"left": total_steps}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        left = state["left"] - 1
        return Decision(max(left, 0) / 10, stop=None if left else "nothing is left"), {"left": left}


def test_they_are_controls() -> None:
    assert all(isinstance(made, Control) for made in (Halving(), Norms(), Countdown()))


@pytest.mark.parametrize("way", ["position", "metrics", "tensor", "whole number"])
def test_the_metric_is_told_as_torchs_plateau_is(way: str) -> None:
    optimizer = sgd(0.8, 0.4)
    scheduler = simulated(optimizer, Halving(), 10)
    metrics = [3, 2, 4, 4, 5]
    trail = []
    for metric in metrics:
        if way == "position":
            scheduler.step(float(metric))
        elif way == "metrics":
            scheduler.step(metrics=float(metric))
        elif way == "tensor":
            scheduler.step(torch.tensor(metric, dtype=torch.float32))  # type: ignore[arg-type]
        else:
            scheduler.step(metric)
        trail.append(rates(optimizer))
    assert trail == [[0.8, 0.4], [0.8, 0.4], [0.4, 0.2], [0.4, 0.2], [0.2, 0.1]]
    assert scheduler.last_epoch == 5


def test_a_stop_can_be_read() -> None:
    scheduler = simulated(sgd(1.0), Halving(), 10)
    for metric in (1.0, 2.0, 3.0, 4.0):
        assert scheduler.stop_reason is None
        scheduler.step(metric)
    assert scheduler.multiplier == 1 / 16 * 2
    scheduler.step(9.0)
    assert scheduler.stop_reason == "the rate is below 1/8"
    assert simulated(sgd(1.0), "rex", 10).stop_reason is None


def test_what_is_needed_of_every_update_is_asked_for_by_name_and_nothing_changes() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, Norms(), 10)
    optimizer.step()
    for told, missing in (({}, "grad_norm"), ({"loss": 1.0}, "grad_norm"), ({"metrics": 1.0}, "grad_norm")):
        with pytest.raises(BadInput, match=rf"Norms needs `{missing}` of every update.*step\({missing}=...\)"):
            scheduler.step(**told)
        assert (scheduler.last_epoch, rates(optimizer)) == (0, [1.0])
    scheduler.step(grad_norm=4.0, loss=1.0)
    assert (scheduler.last_epoch, rates(optimizer)) == (1, [0.25])
    scheduler.step()  # without an update there is nothing to tell
    optimizer.step()
    with pytest.raises(BadInput, match="`grad_norm`"):
        scheduler.step(loss=1.0)
    other = simulated(sgd(1.0), Norms(), 10)
    with pytest.raises(BadInput, match="`loss`"):
        other.step(grad_norm=1.0)


def test_a_metric_told_between_updates_is_of_the_one_before() -> None:
    """A loop that steps after every update and measures after every epoch, also saved in between."""
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, Halving(), 100)
    for metric in (1.0, 2.0, 1.5):
        for _ in range(5):
            optimizer.step()
            scheduler.step()
        scheduler.step(metric)
    assert rates(optimizer) == [0.5]
    scheduler.step(9.0)
    twin = sgd(1.0)
    resumed = as_torch(twin, Halving(), 100)
    resumed.load_state_dict(through_json(scheduler.state_dict()))
    for each, schedule in ((optimizer, scheduler), (twin, resumed)):
        each.step()
        schedule.step()
        assert rates(each) == [0.25]
    assert resumed.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize("bad", ["3", None, True, [1.0, 2.0], torch.ones(2), object()])
def test_what_is_told_must_be_one_number(bad: Any) -> None:
    scheduler = simulated(sgd(1.0), Halving(), 10)
    if bad is not None:
        with pytest.raises(BadInput, match="`metrics` must be one number"):
            scheduler.step(bad)
    with pytest.raises(BadInput, match="`metrics`"):
        scheduler.step(metrics=bad)
    with pytest.raises(BadInput, match="once"):
        scheduler.step(1.0, metrics=2.0)
    with pytest.raises(BadInput, match="did you mean 'metrics'"):
        scheduler.step(metric=2.0)  # type: ignore[call-arg]
    assert scheduler.last_epoch == 0


def test_a_metric_that_is_not_finite_is_for_the_control_to_judge() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "plateau(patience=0, factor=0.5)", 10)
    for metric in (1.0, float("nan"), float("inf"), 2.0):
        scheduler.step(metric)
    assert rates(optimizer) == [0.5]


def test_a_control_that_needs_nothing_is_stepped_as_a_schedule_and_cannot_be_jumped_in() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, Countdown(), 3)
    trail = [(scheduler.step(), rates(optimizer)[0], scheduler.stop_reason)[1:] for _ in range(3)]
    assert trail == [(0.2, None), (0.1, None), (0.0, "nothing is left")]
    with pytest.raises(BadInput, match="jumped"):
        scheduler.step(1)
    scheduler.step(3)
    assert scheduler.last_epoch == 3
    with pytest.raises(BadInput, match="horizon of a schedule"):
        scheduler.extend(7)


def test_a_control_sets_momentum_and_weight_decay() -> None:
    optimizer = torch.optim.SGD(parameters(2), lr=1.0, momentum=0.9, weight_decay=0.4)
    scheduler = simulated(optimizer, Halving(beside=True), 10)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.4)
    for metric in (1.0, 2.0):
        scheduler.step(metric)
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.25, 0.2)
    with pytest.raises(BadInput, match="Adagrad has neither"):
        simulated(torch.optim.Adagrad(parameters(1)), Halving(beside=True), 10)
    with pytest.raises(BadInput, match="leave `momentum` and `weight_decay` out"):
        simulated(sgd(1.0), Halving(), 10, momentum="constant(0.5)")
    with pytest.raises(BadInput, match="needs a horizon in steps"):
        simulated(sgd(1.0), Halving(), "30min")


def test_the_state_of_a_control_goes_through_files_and_copies() -> None:
    optimizer = torch.optim.SGD(parameters(2), lr=1.0, momentum=0.9, weight_decay=0.4)
    scheduler = simulated(optimizer, Halving(beside=True), 10)
    for metric in (1.0, 2.0, 1.0):
        scheduler.step(metric)
    state = through_torch(through_json(scheduler.state_dict()))
    fresh = torch.optim.SGD(parameters(2), lr=3.0, momentum=0.1, weight_decay=0.1)
    resumed = simulated(fresh, Halving(beside=True), 10)
    resumed.load_state_dict(state)
    keys = ("lr", "momentum", "weight_decay")
    assert [fresh.param_groups[0][key] for key in keys] == [optimizer.param_groups[0][key] for key in keys]
    twin, twins = copy.deepcopy((fresh, resumed))
    for schedule in (scheduler, resumed, twins):
        schedule.step(5.0)
    assert rates(twin) == rates(fresh) == rates(optimizer) == [0.25]
    for other in (Halving(7.0), Norms(), "rex", "plateau"):
        with pytest.raises(BadInput, match=r"it is of 'Halving\(1e\+09, True\)' over 10st, minimize, and this is"):
            simulated(sgd(1.0), other, 10).load_state_dict(state)
    with pytest.raises(BadInput, match="over 11st"):
        simulated(sgd(1.0, weight_decay=0.1), Halving(beside=True), 11).load_state_dict(state)
    for bad in (
        {"decision": {}},
        {"state": 3},
        {"state": {}},
        {"heard": {"metric": "x"}},
        *({"decision": {"multiplier": value}} for value in ("1", -5.0, float("nan"), float("inf"))),
        {"decision": {"multiplier": 1.0, "momentum": 1.0}},
        {"decision": {"multiplier": 1.0, "weight_decay": -1.0}},
    ):
        with pytest.raises(BadInput, match="must be one that it saved, got "):
            resumed.load_state_dict({**state, "control": {**state["control"], **bad}})
    replaced = simulated(sgd(1.0), Countdown(), 10, on_mismatch="replace")
    replaced.load_state_dict({**state, "base_weight_decays": None, "base_lrs": [1.0]})
    assert (replaced.last_epoch, replaced.multiplier) == (3, 0.7), "as after three updates"


def test_n12_a_control_of_another_horizon_or_direction_is_a_choice() -> None:
    """The sentence names both; `keep` goes on with what was saved, `replace` begins anew where the run is."""
    text = "warmup(0.2)+plateau(factor=0.5, patience=0)"
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, text, 10)
    for metric in (1.0, 2.0, 3.0, 4.0):
        scheduler.step(metric)
    state, saved = through_json(scheduler.state_dict()), rates(optimizer)
    assert saved[0] < 1

    def other(rule: str, *, total: int = 20, direction: str = "minimize", of: str = text) -> Any:
        made = simulated(sgd(1.0), of, total, on_mismatch=rule, direction=direction)
        made.load_state_dict(state)
        return made

    with pytest.raises(BadInput, match=r"over 10st, minimize, .* over 20st, minimize; .*'keep'.*'replace'"):
        other("raise")
    with pytest.raises(BadInput, match=r"over 10st, minimize, and this is .* over 10st, maximize"):
        other("raise", total=10, direction="maximize")
    kept = other("keep")
    assert (str(kept.horizon), rates(kept.optimizer)) == ("10st", saved)
    for each in (kept, scheduler):
        each.step(5.0)
    assert rates(kept.optimizer) == rates(optimizer)
    assert other("replace", of="warmup(0.8)+plateau", total=10).get_last_lr() == [0.625]
    assert other("replace", of="cosine*plateau", total=8).get_last_lr() == [pytest.approx(0.5)]
    with pytest.raises(BadInput, match="`grad_norm` of every update, so it cannot begin at step 4"):
        simulated(sgd(1.0), Norms(), 20, on_mismatch="replace").load_state_dict(state)
    assert other("keep", of="linear").get_last_lr() == saved
    assert other("replace", of="linear").get_last_lr() == [0.8]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_metric_that_is_not_finite_is_kept_in_strict_json(value: float) -> None:
    """Where it was told between two updates."""
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "plateau(patience=0)", 10)
    scheduler.step(metrics=value)
    state = json.loads(json.dumps(scheduler.state_dict(), allow_nan=False))
    resumed = as_torch(sgd(1.0), "plateau(patience=0)", 10)
    resumed.load_state_dict(state)
    for each in (scheduler, resumed):
        each.optimizer.step()
        each.step()
    assert resumed.state_dict() == scheduler.state_dict()


def test_torchs_own_plateau_agrees_where_the_conventions_do() -> None:
    """A falling metric, then a flat one: the same rates, by a text of ours."""
    theirs, ours = sgd(0.1), sgd(0.1)
    left = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=2)
    right = simulated(ours, "plateau(factor=0.5, patience=2)", 30)
    for metric in [3.0, 2.0, 1.0, *[1.0] * 12, 0.5, *[0.6] * 6]:
        left.step(metric)
        right.step(metric)
        assert rates(ours) == rates(theirs)
    assert rates(ours)[0] < 0.01


def test_68978_a_plateau_after_a_warmup() -> None:
    """Which torch refuses to compose."""
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "warmup(0.4)+plateau(factor=0.5, patience=0)", 10)
    trail = []
    for step in range(10):
        trail.append(rates(optimizer)[0])
        optimizer.step()
        scheduler.step()
        if step % 2:
            scheduler.step(1.0)
    assert trail[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert trail[-1] < 1.0
    parts = [torch.optim.lr_scheduler.LinearLR(optimizer), torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)]
    with pytest.raises(ValueError, match="does not support"):
        torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [4])  # type: ignore[arg-type]


def test_a_scheduled_control_is_its_schedules() -> None:
    """And can be jumped in; its rule past the end is kept."""
    optimizer = torch.optim.SGD(parameters(1), lr=1.0, momentum=0.9)
    control = Scheduled(lrc.linear(), beyond="raise", momentum=lrc.linear(start=0.9, end=0.5))
    scheduler = simulated(optimizer, control, 4)
    scheduler.step(2)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.5, lrc.linear(start=0.9, end=0.5).multiplier(2, 4))
    with pytest.raises(OutOfSchedule):
        scheduler.step(5)
    with pytest.raises(BadInput, match="given once"):
        simulated(torch.optim.SGD(parameters(1), lr=1.0), control, 4, momentum="constant(0.5)")
    text = simulated(torch.optim.SGD(parameters(1), lr=1.0), "linear, momentum=linear(start=0.9, end=0.5)", 4)
    text.step(2)
    assert text.optimizer.param_groups[0]["momentum"] == group["momentum"]
