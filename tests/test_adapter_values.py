"""What is written into the groups: rates, momenta, weight decays, floats and tensors; stepping and jumping."""

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import nn

import lrcontrol as lrc
from adapter_kit import FAMILIES, as_torch, parameters, rates, run, sgd, simulated
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.training.tensorize import tensorize
from strategies import laid

# Stepping and jumping

pytestmark = pytest.mark.filterwarnings("ignore:an update was made after the end")  # as many here are, on purpose


@pytest.mark.parametrize("count", [250, pytest.param(1000, marks=pytest.mark.slow)])
def test_n4_stepping_and_jumping_are_equal_bit_for_bit(count: int) -> None:
    """Random schedules of every kind, nested, with one to three groups, to past their end."""
    seen = {"specs": 0, "values": 0}

    @seed(4)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(laid(), st.lists(st.floats(0, 10), min_size=1, max_size=3))
    def check(spec: Any, bases: list[float]) -> None:
        schedule, total = spec
        optimizer = sgd(*bases)
        scheduler = simulated(optimizer, schedule, total)
        steps = min(total, 60) + 3
        multipliers = schedule.multiplier(np.arange(steps), total).tolist()
        trail = [rates(optimizer)]
        for _ in range(steps - 1):
            scheduler.step()
            trail.append(rates(optimizer))
        assert trail == [[base * multiplier for base in bases] for multiplier in multipliers]
        for step in (steps - 1, total - 1, total, 0, total // 2):
            scheduler.step(step)
            assert rates(optimizer) == [base * schedule.multiplier(step, total) for base in bases]
        seen["specs"] += 1
        seen["values"] += (steps + 5) * len(bases)

    check()
    print(f"N4 specs={seen['specs']} values={seen['values']} differences=0")
    assert seen["specs"] >= count


@pytest.mark.parametrize("total", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_n4_a_long_run_of_real_steps_ends_where_a_jump_does(total: int) -> None:
    """Every rate of the run, set by `step()` after a real update."""
    text = "warmup(0.01)+cosine(end=0.001)"
    optimizer = sgd(0.3)
    group = optimizer.param_groups[0]
    scheduler = as_torch(optimizer, text, total)
    trail = np.empty(total)
    for step in range(total):
        trail[step] = group["lr"]
        if step % 1000:
            scheduler._updates.note(optimizer, (), {})  # what the hook does; whole updates would take minutes
        else:
            optimizer.step()
        scheduler.step()
    wanted = 0.3 * lrc.schedule(text).multipliers(total)
    print(f"N4 steps={total} differences={int((trail != wanted).sum())}")
    assert np.array_equal(trail, wanted)
    scheduler.step(0)
    scheduler.step(total)
    assert rates(optimizer) == [0.3 * 0.001]


@pytest.mark.parametrize("text", FAMILIES)
def test_n7_past_the_end_the_end_holds_or_raises(text: str) -> None:
    """Every step to 3 T and a hundred more to 100 T."""
    schedule = lrc.schedule(text)
    end = schedule.multiplier(40, 40)
    optimizer = sgd(0.5)
    scheduler = simulated(optimizer, text, 40)
    scheduler.step(39)
    for _ in range(40, 121):
        scheduler.step()
        assert rates(optimizer) == [0.5 * end]
    for step in range(121, 4001, 39):
        scheduler.step(step)
        assert rates(optimizer) == [0.5 * end]
    strict = simulated(sgd(0.5), text, 40, beyond="raise")
    for _ in range(40):
        strict.step()
    for _ in range(2):
        with pytest.raises(OutOfSchedule, match="40st"):
            strict.step()
    assert (strict.last_epoch, rates(strict.optimizer)) == (40, [0.5 * end])
    for step in (41, 4000):
        with pytest.raises(OutOfSchedule):
            strict.step(step)


@pytest.mark.parametrize("horizon", [5, "5tok"])
@pytest.mark.parametrize("make", [as_torch, simulated])
def test_n7_an_update_after_the_end_is_told_once(make: Any, horizon: Any) -> None:
    """Not the call after the last update, which every loop makes; and never again."""
    optimizer = sgd(1.0)
    scheduler = make(optimizer, "linear", horizon)
    told = {} if horizon == 5 else {"amount": 1}

    def step() -> None:
        optimizer.step()
        scheduler.step(**told)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            step()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(5):
            step()
    (once,) = seen
    assert "after the end of 5" in str(once.message)
    assert once.filename == __file__
    assert (scheduler.last_epoch, rates(optimizer)) == (10, [0.0])


def test_n7_torchs_cosine_climbs_again_and_its_one_cycle_raises() -> None:
    """Beside what ours does with the same schedules."""
    theirs, ours = sgd(1.0), sgd(1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 10)
    run(theirs, cosine, 20)
    run(ours, as_torch(ours, "cosine", 10), 20)
    assert rates(theirs)[0] == pytest.approx(1.0)
    assert rates(ours) == [0.0]
    theirs = sgd(1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, 1.0, 10, cycle_momentum=False)
    run(theirs, cycle, 9)
    theirs.step()
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        cycle.step(), cycle.step()


# Tensor rates


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("groups", [1, 2, 7])
def test_n5_tensor_rates_are_float64_products_rounded_once(dtype: torch.dtype, groups: int) -> None:
    """Also where several share a buffer; the objects stay, on 16-byte bounds, and none aliases another."""
    bases = [0.1 * 1.7**index for index in range(groups)]
    optimizer = sgd(*(torch.tensor(base, dtype=dtype) for base in bases))
    held = [group["lr"] for group in optimizer.param_groups]
    exact = [float(tensor) for tensor in held]
    scheduler = simulated(optimizer, "warmup(3)+rex", 40)
    for step in range(45):
        multiplier = lrc.schedule("warmup(3)+rex").multiplier(step, 40)
        for group, tensor, base in zip(optimizer.param_groups, held, exact, strict=True):
            assert group["lr"] is tensor
            assert (tensor.dtype, tensor.shape) == (dtype, torch.Size([]))
            assert tensor.data_ptr() % 16 == 0
            assert torch.equal(tensor, torch.tensor(base * multiplier, dtype=torch.float64).to(dtype))
        assert scheduler.get_last_lr() == [base * multiplier for base in exact]
        assert {type(rate) for rate in scheduler.get_last_lr()} == {float}
        scheduler.step()
    assert len({tensor.data_ptr() for tensor in held}) == groups


def test_n5_a_long_run_stays_within_half_a_unit() -> None:
    """torch's chained form in float32 drifts; ours is rounded once at every step."""
    ours, theirs = sgd(torch.tensor(0.1)), sgd(torch.tensor(0.1))
    base, worst, drift = float(torch.tensor(0.1)), 0.0, 0.0
    scheduler = simulated(ours, "cosine", 20_000)
    chained = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 20_000)
    theirs.step()
    wanted = base * lrc.cosine().multipliers(20_000)
    for step in range(1, 20_000):
        scheduler.step()
        chained.step()
        if step % 97 == 0:
            spacing = float(np.spacing(np.float32(wanted[step])))
            worst = max(worst, abs(rates(ours)[0] - wanted[step]) / spacing)
            drift = max(drift, abs(rates(theirs)[0] - wanted[step]) / base)
    print(f"N5 worst={worst:.3f} units of float32, torch's drift={drift:.1e} of the base rate")
    assert worst <= 0.5
    assert drift > 1e-7


def test_groups_of_every_kind_side_by_side() -> None:
    """Floats, tensors of two types and one of shape (1,); one added later; a loaded list; copies."""
    optimizer = sgd(0.5, torch.tensor(0.25), torch.tensor(0.125, dtype=torch.float64), torch.tensor([0.5]), 1.0)
    kept = [group["lr"] for group in optimizer.param_groups]
    scheduler = simulated(optimizer, "linear", 8)
    scheduler.step()
    assert rates(optimizer) == [0.4375, 0.21875, 0.109375, 0.4375, 0.875]
    assert optimizer.param_groups[3]["lr"] is kept[3]
    assert kept[3].shape == (1,)
    optimizer.add_param_group({"params": parameters(1), "lr": torch.tensor(2.0)})
    scheduler.step()
    assert rates(optimizer) == [0.375, 0.1875, 0.09375, 0.375, 0.75, 1.5]
    optimizer.load_state_dict(optimizer.state_dict())
    scheduler.step()
    assert rates(optimizer) == [0.3125, 0.15625, 0.078125, 0.3125, 0.625, 1.25]
    optimizer.param_groups[0]["lr"] = torch.tensor(9.0)
    scheduler.step()
    assert rates(optimizer)[0] == 0.25
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)


def test_a_tensor_of_whole_numbers_is_refused() -> None:
    with pytest.raises(BadInput, match="floating type"):
        simulated(sgd(torch.tensor(1)), "linear", 8)


def test_a_tensor_rate_that_is_trained_is_filled_too() -> None:
    rate = torch.tensor(0.5, requires_grad=True)
    optimizer = sgd(rate, torch.tensor(1.0))
    simulated(optimizer, "linear", 2).step()
    assert [float(group["lr"].detach()) for group in optimizer.param_groups] == [0.25, 0.5]
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.requires_grad


# Momentum and weight decay


def build(name: str, **options: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(parameters(2), lr=0.1, **options)
    return optimizer


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("RMSprop", {"momentum": 0.3}),
        ("Adam", {}),
        ("AdamW", {"fused": True}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("SparseAdam", {}),
    ],
)
def test_momentum_is_the_schedule_itself(name: str, options: dict[str, Any]) -> None:
    """Of SGD and RMSprop the momentum, of the Adams the first beta; the second is left."""
    text = "linear(start=0.95, end=0.85, share=0.5)+linear(start=0.85, end=0.95)"
    optimizer = build(name, **options)
    scheduler = simulated(optimizer, "one_cycle" if hasattr(lrc, "one_cycle") else "cosine", 20, momentum=text)
    for step in range(23):
        group = optimizer.param_groups[0]
        wanted = lrc.schedule(text).multiplier(step, 20)
        if "betas" in group:
            assert group["betas"] == (wanted, 0.999)
        else:
            assert group["momentum"] == wanted
        scheduler.step()


@pytest.mark.parametrize("name", ["Adagrad", "Adadelta", "ASGD", "Rprop", "LBFGS"])
def test_momentum_is_refused_where_there_is_none(name: str) -> None:
    optimizer = getattr(torch.optim, name)(parameters(1), lr=0.1)
    with pytest.raises(BadInput, match=rf"`momentum` needs .* but {name} has neither"):
        simulated(optimizer, "rex", 9, momentum="constant(0.5)")
    assert rates(optimizer) == [0.1]
    simulated(optimizer, "rex", 9)


@pytest.mark.parametrize("name", ["LBFGS", "Rprop", "SparseAdam"])
def test_weight_decay_is_refused_where_there_is_none(name: str) -> None:
    optimizer = getattr(torch.optim, name)(parameters(1), lr=0.1)
    with pytest.raises(BadInput, match=rf"`weight_decay` needs .* but {name} has none"):
        simulated(optimizer, "rex", 9, weight_decay="linear")


NONE = (
    r"`weight_decay` needs an optimizer of which a group has some, but that of every group of \w+ is 0; make it with"
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.optim.SGD(parameters(2), lr=0.1),
        lambda: torch.optim.Adam(parameters(1)),
        lambda: torch.optim.Adagrad(parameters(1)),  # keeps something from the beginning
        lambda: torch.optim.AdamW([{"params": [each], "weight_decay": 0.0} for each in parameters(2)]),
        lambda: torch.optim.AdamW(parameters(1), weight_decay=torch.tensor(0.0)),
        lambda: lrc.make_optimizer("prodigy", parameters(1)),
    ],
    ids=["SGD", "Adam", "Adagrad", "AdamW by groups", "AdamW with a tensor", "prodigy"],
)
def test_weight_decay_is_refused_where_all_groups_have_0(make: Callable[[], torch.optim.Optimizer]) -> None:
    """It would do nothing. The optimizer is as it was; other bases may be given."""
    optimizer = make()
    before = [dict(group) for group in optimizer.param_groups]
    zeros, some = [0.0] * len(before), [0.0] * (len(before) - 1) + [0.5]
    for beside in ({}, {"base_weight_decays": zeros}):
        with pytest.raises(BadInput, match=NONE):
            simulated(optimizer, "rex", 9, weight_decay="linear", **beside)
        with pytest.raises(BadInput, match=NONE):
            simulated(optimizer, "rex, weight_decay=linear", 9, **beside)
    assert [dict(group) for group in optimizer.param_groups] == before
    scheduler = simulated(optimizer, "rex", 9, weight_decay="linear", base_weight_decays=some)
    assert [float(group["weight_decay"]) for group in optimizer.param_groups] == some
    assert scheduler.state_dict()["base_weight_decays"] == some


def test_a_weight_decay_that_a_schedule_has_moved_to_0_is_gone_on_with_in_any_order() -> None:
    """The optimizer's state brings the 0; that of the schedule knows what it was."""
    optimizer = torch.optim.SGD(parameters(1), lr=0.1, momentum=0.9, weight_decay=0.5)
    scheduler = simulated(optimizer, "constant", 4, weight_decay="linear(share=0.5)+linear(start=0, end=1)")
    optimizer.step()
    scheduler.step(2)
    assert optimizer.param_groups[0]["weight_decay"] == 0
    saved = copy.deepcopy(optimizer.state_dict()), scheduler.state_dict()
    for loads in (True, False):
        resumed = torch.optim.SGD(parameters(1), lr=0.1, momentum=0.9, weight_decay=0.5)
        resumed.load_state_dict(saved[0])
        again = simulated(resumed, "constant", 4, weight_decay="linear(share=0.5)+linear(start=0, end=1)")
        if loads:
            again.load_state_dict(saved[1])
            again.step()
            assert resumed.param_groups[0]["weight_decay"] == 0.25
        else:
            with pytest.warns(UserWarning, match="but all of them are 0, so that it does nothing"):
                again.step()


def test_a_state_without_weight_decay_that_replaced_one_with_it_is_loaded() -> None:
    def made(**options: Any) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD(parameters(1), lr=0.1, weight_decay=0.5)
        return optimizer, simulated(optimizer, "linear", 4, **options)

    _, first = made(weight_decay="linear")
    first.step()
    _, second = made(on_mismatch="replace")
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["base_weight_decays"] is None
    optimizer, third = made()
    third.load_state_dict(second.state_dict())
    third.step()
    assert (rates(optimizer), third.last_epoch) == ([0.05], 2)


def test_every_group_has_its_own_weight_decay() -> None:
    """One without decay keeps none; one added later joins by its own."""
    first, second, third = parameters(3)
    optimizer = torch.optim.AdamW([{"params": [first]}, {"params": [second], "weight_decay": 0.0}], weight_decay=0.5)
    scheduler = simulated(optimizer, "constant", 8, weight_decay="linear")
    scheduler.step(2)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.375, 0.0]
    optimizer.add_param_group({"params": [third], "weight_decay": 4.0, "lr": 0.5})
    scheduler.step(4)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.0, 2.0]
    state = scheduler.state_dict()
    assert (state["base_weight_decays"], state["base_lrs"]) == ([0.5, 0.0, 4.0], [1e-3, 1e-3, 0.5])
    optimizer.param_groups[0]["weight_decay"] = 77.0
    scheduler.load_state_dict(state)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.0, 2.0]
    with pytest.raises(BadInput, match="`base_weight_decays`"):
        scheduler.load_state_dict(state | {"base_weight_decays": [0.5]})


def test_momentum_and_weight_decay_train_as_if_set_by_hand() -> None:
    """Weights bit for bit those of a loop that writes the groups itself."""
    text = {"schedule": "warmup(5)+rex", "momentum": "linear(start=0.9, end=0.5)", "weight_decay": "cosine"}
    ends = []
    for ours in (True, False):
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        scheduler = (
            as_torch(optimizer, text["schedule"], 30, **{name: text[name] for name in list(text)[1:]})
            if ours
            else None
        )
        for step in range(30):
            if scheduler is None:
                lr, momentum, decay = (lrc.schedule(each).multiplier(step, 30) for each in text.values())
                optimizer.param_groups[0].update(lr=0.1 * lr, momentum=momentum, weight_decay=0.1 * decay)
            optimizer.zero_grad()
            model(torch.ones(2, 4) * step).pow(2).mean().backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        ends.append([parameter.clone() for parameter in model.parameters()])
    assert all(map(torch.equal, *ends))


# Tensors and compiled steps


def frames(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = 15) -> int:
    """How often the step is compiled over 15 updates."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(lambda: optimizer.step(), backend=counter)
    for _ in range(steps):
        compiled()
        scheduler.step()
    assert scheduler.last_epoch == steps
    return int(counter.frame_count)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax"])
def test_133898_a_compiled_step_is_compiled_once_while_lr_and_beta_move(name: str, groups: int) -> None:
    options = {} if name in ("Adam", "AdamW") else {"foreach": False}
    optimizer = getattr(torch.optim, name)([{"params": [each]} for each in parameters(groups)], lr=0.1, **options)
    assert tensorize(optimizer) is optimizer
    scheduler = as_torch(optimizer, "rex", 20, momentum="linear(start=0.95, end=0.85)")
    held = [(group["lr"], group["betas"]) for group in optimizer.param_groups]
    assert frames(optimizer, scheduler) == 1
    for group, (rate, betas) in zip(optimizer.param_groups, held, strict=True):
        assert group["lr"] is rate
        assert group["betas"] is betas
        assert float(betas[0]) == float(torch.tensor(lrc.linear(start=0.95, end=0.85).multiplier(15, 20)))


def test_133898_floats_and_torchs_one_cycle_are_compiled_more_than_once() -> None:
    optimizer = torch.optim.Adam(parameters(1), lr=0.1)
    assert frames(optimizer, as_torch(optimizer, "rex", 20)) > 1
    optimizer = torch.optim.Adam(parameters(1), lr=torch.tensor(0.1))
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 20)
    assert frames(optimizer, cycle) > 1


TENSORIZED = ["ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]


@pytest.mark.parametrize("name", TENSORIZED)
def test_a_tensorized_optimizer_trains_as_before(name: str) -> None:
    """Within float32 of the one with floats."""
    ends = []
    for tensors in (True, False):
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.02, foreach=False)
        scheduler = as_torch(optimizer, "warmup(3)+linear", 20)
        if tensors:
            tensorize(optimizer)  # after the schedule is on: it is seen
        for step in range(20):
            optimizer.zero_grad()
            model(torch.ones(2, 4) * step).pow(2).mean().backward()
            optimizer.step()
            scheduler.step()
        assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor) is tensors
        ends.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.allclose(*ends, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adafactor", {}),
        ("LBFGS", {}),
        ("SparseAdam", {}),
        ("Adam", {"foreach": True}),
        ("AdamW", {"foreach": True}),
        ("NAdam", {}),
        ("NAdam", {"foreach": True}),
    ],
)
def test_tensorize_refuses_what_takes_no_tensors(name: str, options: dict[str, Any]) -> None:
    optimizer = getattr(torch.optim, name)(parameters(1), lr=0.1, **options)
    before = dict(optimizer.param_groups[0])
    with pytest.raises(BadInput, match=rf"`tensorize` needs .*{name}") as caught:
        tensorize(optimizer)
    assert str(caught.value).count(". ") == 0
    assert optimizer.param_groups[0] == before


def test_tensorize_refuses_what_is_no_optimizer_of_torchs() -> None:
    class Own(torch.optim.SGD):
        pass

    for bad in (None, nn.Linear(1, 1), Own(parameters(1), lr=0.1)):
        with pytest.raises(BadInput):
            tensorize(bad)  # type: ignore[arg-type]


# Groups and copies


def test_n13_a_group_added_at_any_moment_follows_its_own_base() -> None:
    """Every family, moments before, within and past the schedule, by own rate and by default, at the next step."""
    tried = 0
    for text, moment, own in itertools.product(FAMILIES, (0, 13, 45), (0.9, None)):
        optimizer, alone = sgd(0.1, 0.2), sgd(0.1, 0.2)
        scheduler, other = as_torch(optimizer, text, 40), as_torch(alone, text, 40)
        run(optimizer, scheduler, moment)
        run(alone, other, moment)
        optimizer.add_param_group({"params": parameters(1)} | ({} if own is None else {"lr": own}))
        optimizer.step()
        scheduler.step()
        alone.step()
        other.step()
        base = 0.7 if own is None else own
        for step, (row, twin) in enumerate(zip(run(optimizer, scheduler, 4), run(alone, other, 4), strict=True)):
            assert row == [*twin, base * lrc.schedule(text).multiplier(moment + 1 + step, 40)]
        assert len(scheduler.get_last_lr()) == len(scheduler.base_lrs) == len(scheduler._last_lr) == 3
        tried += 1
    print(f"N13 cases={tried} exceptions=0 cross-effects=0")


def test_base_rates_can_be_set_as_torchs() -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler = simulated(optimizer, "linear", 4)
    scheduler.base_lrs = [1.0, 2.0]
    scheduler.step()
    assert rates(optimizer) == [0.75, 1.5]
    with pytest.raises(BadInput, match="one number per group"):
        scheduler.base_lrs = [1.0]


def test_accelerates_counter_can_be_written() -> None:
    """It is counted on during accumulation, and there is nothing called `total_steps` to stop at."""
    scheduler = simulated(sgd(0.1), "linear", 4)
    assert (scheduler._step_count, hasattr(scheduler, "total_steps")) == (1, False)
    scheduler.step()
    scheduler._step_count += 1
    scheduler.step()
    assert (scheduler._step_count, scheduler.last_epoch) == (4, 2)
