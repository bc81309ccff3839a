"""Groups that are exchanged, removed or left over: whose base is whose, and what is an update."""

from typing import Any

import pytest
import torch
from torch import nn

import lrcontrol as lrc
from adapter_kit import as_torch, parameters, rates, run, sgd, simulated, through_json
from lrcontrol.errors import BadInput


def exchanged(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The last group goes, and another comes in its place."""
    optimizer.param_groups.pop()
    optimizer.add_param_group({"params": parameters(1), "lr": lr})


# ---- groups that come and go ----


@pytest.mark.parametrize("make", [as_torch, simulated])
def test_a_group_in_the_place_of_another_follows_its_own_base(make: Any) -> None:
    optimizer = sgd(1.0, 0.1)
    scheduler = make(optimizer, "linear", 10)
    run(optimizer, scheduler, 2)
    exchanged(optimizer, 0.5)
    run(optimizer, scheduler, 1)
    assert scheduler.get_last_lr() == rates(optimizer) == [0.7, 0.35]
    assert scheduler.base_lrs == [1.0, 0.5]


@pytest.mark.parametrize("make", [as_torch, simulated])
def test_a_group_that_is_removed_moves_no_other(make: Any) -> None:
    optimizer = sgd(1.0, 0.1, 0.5, weight_decay=0.1)
    scheduler = make(optimizer, "linear", 10, weight_decay="linear")
    run(optimizer, scheduler, 2)
    del optimizer.param_groups[1]
    run(optimizer, scheduler, 1)
    assert scheduler.get_last_lr() == rates(optimizer) == [0.7, 0.35]
    assert len(scheduler.state_dict()["base_lrs"]) == 2


def test_another_dict_of_the_same_parameters_is_the_same_group() -> None:
    """As wrappers put in, with the rate that is there."""
    optimizer = sgd(1.0, 0.1)
    scheduler = as_torch(optimizer, "linear", 10)
    run(optimizer, scheduler, 2)
    optimizer.param_groups[0] = dict(optimizer.param_groups[0])
    run(optimizer, scheduler, 1)
    assert rates(optimizer) == [0.7, pytest.approx(0.07)]


def test_a_loaded_state_of_the_optimizer_exchanges_nothing() -> None:
    optimizer, other = sgd(1.0, 0.1), sgd(3.0, 5.0)
    scheduler = as_torch(optimizer, "linear", 10)
    run(optimizer, scheduler, 2)
    optimizer.load_state_dict(other.state_dict())
    run(optimizer, scheduler, 1)
    assert rates(optimizer) == [0.7, pytest.approx(0.07)]


def test_a_weight_decay_goes_with_its_group() -> None:
    optimizer = torch.optim.SGD([{"params": parameters(1), "weight_decay": decay} for decay in (0.1, 0.2)], lr=1)
    scheduler = as_torch(optimizer, "constant", 10, weight_decay="linear")
    run(optimizer, scheduler, 5)
    optimizer.param_groups.reverse()
    run(optimizer, scheduler, 0)
    optimizer.step()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.05]


# ---- what an earlier schedule left ----


def test_weight_decays_that_an_earlier_schedule_moved_must_be_told() -> None:
    optimizer = sgd(0.1, weight_decay=0.1)
    scheduler = as_torch(optimizer, "constant", 4, weight_decay="linear")
    run(optimizer, scheduler, 2)
    del scheduler
    with pytest.raises(BadInput, match=r"`base_weight_decays` must be told .* they were \[0.1\].* now have \[0.05\]"):
        as_torch(optimizer, "constant", 4, weight_decay="linear")
    scheduler = as_torch(optimizer, "constant", 4, weight_decay="linear", base_weight_decays=[0.1])
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert scheduler.state_dict()["base_weight_decays"] == [0.1]


def test_a_state_with_groups_and_without_weight_decays_is_loaded_after_a_group_joined() -> None:
    """The state of a plain schedule, into one that also moves the weight decay."""

    def grown(**options: Any) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = sgd(0.1, weight_decay=0.1)
        scheduler = as_torch(optimizer, "rex", 10, **options)
        optimizer.add_param_group({"params": parameters(1), "lr": 0.2})
        return optimizer, scheduler

    _, plain = grown()
    state = plain.state_dict()
    _, scheduler = grown(weight_decay="linear", on_mismatch="replace")
    scheduler.load_state_dict(state)
    assert scheduler.state_dict()["base_weight_decays"] == [0.1, 0.1]


def test_a_rate_whose_schedule_is_gone_is_its_own_where_nothing_moved() -> None:
    """Also a tensor, which rounds its base, and with a group more."""
    optimizer = sgd(torch.tensor(0.1))
    scheduler = as_torch(optimizer, "linear", 10, base_lrs=[0.1])
    del scheduler
    optimizer.add_param_group({"params": parameters(1), "lr": 0.3})
    assert as_torch(optimizer, "linear", 10).base_lrs == [0.1, 0.3]


def test_the_advice_for_moved_rates_can_be_followed_with_a_group_more() -> None:
    optimizer = sgd(0.1)
    scheduler = as_torch(optimizer, "linear", 10)
    run(optimizer, scheduler, 5)
    del scheduler
    optimizer.add_param_group({"params": parameters(1), "lr": 0.3})
    with pytest.raises(BadInput, match=r"give base_lrs=\[0.1, 0.3\]"):
        as_torch(optimizer, "linear", 10)
    assert as_torch(optimizer, "linear", 10, base_lrs=[0.1, 0.3]).base_lrs == [0.1, 0.3]


def loaded(state: dict[str, Any]) -> torch.optim.Optimizer:
    """A fresh optimizer that has loaded a state."""
    optimizer = sgd(0.1)
    optimizer.load_state_dict(state)
    return optimizer


def test_rates_that_torchs_schedule_left_are_told() -> None:
    """Once, at the first update, unless base rates or a state were given."""
    optimizer = sgd(0.1)
    run(optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10), 5)
    checkpoint = optimizer.state_dict()

    alone = loaded(checkpoint)
    scheduler = as_torch(alone, "linear", 10)
    with pytest.warns(UserWarning, match=r"have, \[0.05.*\], but .* began on them at \[0.1\]; give base_lrs=\[0.1\]"):
        run(alone, scheduler, 3)
    assert scheduler.base_lrs == [pytest.approx(0.05)]

    told = loaded(checkpoint)
    assert run(told, as_torch(told, "linear", 10, base_lrs=[0.1]), 2) == [[0.1], [pytest.approx(0.09)]]
    whole = loaded(checkpoint)
    resumed = as_torch(whole, "linear", 10)
    resumed.load_state_dict(as_torch(sgd(0.2), "linear", 10).state_dict())
    assert run(whole, resumed, 2) == [[0.2], [pytest.approx(0.18)]]


def test_base_rates_that_were_given_meet_those_of_a_state_by_a_rule() -> None:
    optimizer = sgd(0.1)
    scheduler = as_torch(optimizer, "linear", 10)
    run(optimizer, scheduler, 5)
    state = through_json(scheduler.state_dict())

    def resumed(rule: str) -> Any:
        made = as_torch(sgd(0.2), "linear", 10, base_lrs=[0.2], on_mismatch=rule)
        made.load_state_dict(state)
        return made

    with pytest.raises(BadInput, match=r"it has \[0.1\], and base_lrs is \[0.2\]; .*'keep'.*'replace'"):
        resumed("raise")
    assert resumed("keep").get_last_lr() == resumed("rescale").get_last_lr() == [0.05]
    assert resumed("replace").get_last_lr() == [0.1]


# ---- what is an update ----


def test_steps_that_make_the_state_of_a_checkpoint_are_no_updates() -> None:
    """torch.distributed.checkpoint steps a fresh optimizer at rate 0, so that there is a state to load into."""
    from torch.distributed.checkpoint import state_dict

    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = as_torch(optimizer, "linear", 10)
    saved = scheduler.state_dict()
    state_dict.get_optimizer_state_dict(model, optimizer)
    scheduler.step()
    assert (scheduler.last_epoch, rates(optimizer)) == (0, [0.1])
    assert scheduler.state_dict() == saved
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    assert scheduler.last_epoch == 1


def test_updates_at_a_rate_of_0_that_the_schedule_asks_for_count() -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler = as_torch(optimizer, "constant(0, share=0.5)+constant", 4)
    assert run(optimizer, scheduler, 4) == [[0, 0], [0, 0], [0.1, 0.2], [0.1, 0.2]]


# ---- optimizers that cannot ----


@pytest.mark.parametrize("lr", [None, "auto"])
def test_an_optimizer_that_finds_its_own_rate_takes_no_schedule(lr: Any) -> None:
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(BadInput, match=f"must have one number as its `lr`, got {lr!r}; .* takes no schedule"):
        as_torch(optimizer, "rex", 10)
    del optimizer.param_groups[0]["lr"]
    with pytest.raises(BadInput, match="`lr` needs an optimizer whose groups have lr, but SGD has none"):
        as_torch(optimizer, "rex", 10)


def test_rmsprop_begins_with_some_momentum_or_none_at_all() -> None:
    optimizer = torch.optim.RMSprop(parameters(1), lr=0.1)
    with pytest.raises(BadInput, match="must begin above 0, got 0; begin with a small one"):
        as_torch(optimizer, "rex", 10, momentum="linear(start=0, end=0.9)")
    run(optimizer, as_torch(optimizer, "rex", 10, momentum="linear(start=0.1, end=0.9)"), 10)


def test_what_is_no_clock_and_no_metric_is_told() -> None:
    with pytest.raises(BadInput, match="`clock` must be a function that returns seconds, got clock=5"):
        as_torch(sgd(0.1), "rex", "5min", clock=5)
    scheduler = as_torch(sgd(0.1), "rex", 10)
    with pytest.raises(BadInput, match=r"as 'rex' over 10st needs no metric, got epoch=0.7; call step\(\)"):
        scheduler.step(0.7)
    assert lrc.schedule("rex") == scheduler.schedule
