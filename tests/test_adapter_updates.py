"""The adapter counts the updates that were made, not the calls of `step()`."""

import copy
import gc
import random
import warnings
import weakref
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import nn

import lrcontrol as lrc
from adapter_kit import as_torch, parameters, rates, run, sgd, simulated, through_json
from lrcontrol.errors import BadInput


def test_a_call_without_an_update_does_nothing() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", 4)
    for _ in range(3):
        scheduler.step()
    assert (scheduler.last_epoch, rates(optimizer)) == (0, [1.0])
    optimizer.step()
    for _ in range(3):
        scheduler.step()
    assert (scheduler.last_epoch, rates(optimizer)) == (1, [0.75])


def test_many_updates_and_one_call_are_one_step() -> None:
    """A call at the end of every epoch, as many loops have it."""
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", 4)
    for epoch in range(4):
        assert rates(optimizer) == [1 - epoch / 4]
        for _ in range(7):
            optimizer.step()
        scheduler.step()


def test_calls_are_counted_where_asked() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", 4)
    assert [(scheduler.step(), rates(optimizer))[1] for _ in range(4)] == [[0.75], [0.5], [0.25], [0.0]]
    optimizer.step()
    assert rates(optimizer) == [0.0]


def amp_run(fused: bool, seed: int, micro_steps: int) -> tuple[int, int, int]:
    """Steps of the scheduler, updates that moved the weights, and micro-steps, under a gradient scaler."""
    chance = random.Random(seed)
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=1e-3, fused=fused)
    scheduler = as_torch(optimizer, "warmup(0.1)+rex", micro_steps)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    made = micro = wrong = 0
    while micro < micro_steps:
        window = chance.randint(1, 8)
        for turn in range(window):
            factor = float("inf") if chance.random() < 0.03 else 1.0
            scaler.scale((weight * torch.rand(3)).sum() * factor / window).backward()
            micro += 1
            if turn < window - 1:
                scheduler.step()
        before = weight.detach().clone()
        scaler.step(optimizer)
        scaler.update(1024.0)  # the scale itself is not what is tried
        optimizer.zero_grad()
        scheduler.step()
        made += not torch.equal(before, weight)
        wrong += scheduler.last_epoch != made
        assert torch.isfinite(weight).all()
    assert made < micro // 3
    return scheduler.last_epoch, made, wrong


@pytest.mark.parametrize("fused", [False, True])
def test_44511_55585_67590_n14_skipped_updates_do_not_count(fused: bool) -> None:
    """The weights that moved are the truth, at every one of 5,000 micro-steps of each kind, windows of 1 to 8."""
    steps, made, wrong = amp_run(fused, seed=7 + fused, micro_steps=5000)
    print(f"N14 fused={fused} micro-steps=5000 updates={made} steps={steps} off={wrong}")
    assert (steps, wrong) == (made, 0)


def test_44511_torchs_own_counts_a_skipped_update() -> None:
    """What ours does not: torch 2.13's LinearLR has gone on after an update that was never made."""

    def after_overflow(make: Any) -> tuple[float, int]:
        optimizer = sgd(1.0)
        scheduler = make(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        weight = optimizer.param_groups[0]["params"][0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's complains here of an order that is right
            scaler.scale((weight * float("inf")).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
        return rates(optimizer)[0], scheduler.last_epoch

    theirs = after_overflow(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 4))
    assert theirs == (0.75, 1)
    assert after_overflow(lambda o: as_torch(o, "linear", 4)) == (1.0, 0)


def test_a_hook_alone_would_miscount_fused_updates() -> None:
    """torch fires step hooks of a fused optimizer also where `found_inf` made the update nothing."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], fused=True)
    fired: list[int] = []
    optimizer.register_step_post_hook(lambda *_: fired.append(1))
    scheduler = as_torch(optimizer, "linear", 4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale((weight * float("nan")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()
    assert (len(fired), scheduler.last_epoch) == (1, 0)
    assert torch.equal(weight, torch.ones(2))


def test_a_skipped_update_between_two_made_ones_hides_neither() -> None:
    optimizer = sgd(1.0, fused=True)
    scheduler = as_torch(optimizer, "linear", 4)
    for pattern in ([0.0, 1.0], [1.0, 0.0], [1.0], [1.0, 1.0], [0.0]):
        for skipped in pattern:
            optimizer.found_inf, optimizer.grad_scale = torch.tensor(skipped), torch.tensor(1.0)
            optimizer.step()
            del optimizer.found_inf, optimizer.grad_scale
        scheduler.step()
    assert scheduler.last_epoch == 3


@pytest.mark.parametrize("form", ["function", "method", "loop"])
@pytest.mark.parametrize("eager_first", [False, True])
def test_updates_of_a_compiled_step_count(form: str, eager_first: bool) -> None:
    """torch 2.13 traces the hook into the compiled step; it compiles no frame more than without us."""
    frames = {}
    for ours in (False, True):
        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounter()
        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1))
        scheduler = as_torch(optimizer, "linear", 20) if ours else None
        inputs = torch.randn(4, 3)

        def loop(model: nn.Module = model, optimizer: Any = optimizer, inputs: Any = inputs) -> None:
            model(inputs).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        if eager_first:
            loop()
            if scheduler is not None:
                scheduler.step()
        calls = {"function": lambda o=optimizer: o.step(), "method": optimizer.step, "loop": loop}
        compiled = torch.compile(calls[form], backend=counter)
        for _ in range(15):
            if form != "loop":
                model(inputs).sum().backward()
            compiled()
            optimizer.zero_grad()
            if scheduler is not None:
                for _ in range(3):
                    scheduler.step()
        if scheduler is not None:
            assert scheduler.last_epoch == 15 + eager_first
        frames[ours] = counter.frame_count
    assert frames[True] == frames[False]


class Wrapper(torch.optim.Optimizer):
    """An Optimizer around another, with no hooks of its own, as accelerate has it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    @property
    def defaults(self) -> Any:
        return self.optimizer.defaults

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


class Opaque(Wrapper):
    """The same with nothing that we know the inner optimizer by."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.inside = {"hidden": optimizer}

    param_groups = property(lambda self: self.inside["hidden"].param_groups)
    defaults = property(lambda self: self.inside["hidden"].defaults)


def test_a_wrapped_optimizer_is_looked_through() -> None:
    inner = sgd(1.0)
    scheduler = as_torch(Wrapper(inner), "linear", 4)
    scheduler.step()
    assert scheduler.last_epoch == 0
    inner.step()
    scheduler.step()
    assert (scheduler.last_epoch, rates(inner)) == (1, [0.75])


def test_an_optimizer_whose_updates_cannot_be_seen_is_refused_and_calls_can_be_counted() -> None:
    inner = sgd(1.0)
    wrapper = Opaque(inner)
    with pytest.raises(BadInput, match=r'updates of Opaque cannot be seen.*count="calls"'):
        as_torch(wrapper, "linear", 4)
    scheduler = as_torch(wrapper, "linear", 4, count="calls")
    scheduler.step()
    assert (scheduler.last_epoch, rates(inner)) == (1, [0.75])


def test_a_schedule_that_sees_no_update_at_all_says_so_once() -> None:
    """A simulation without updates, or a captured graph: the remedy is named."""
    scheduler = as_torch(sgd(1.0), "linear", 4)
    for _ in range(999):
        scheduler.step()
    with pytest.warns(UserWarning, match='count="calls"'):
        scheduler.step()
    for _ in range(2000):
        scheduler.step()
    accumulating = sgd(1.0)
    scheduler = as_torch(accumulating, "linear", 4)
    for _ in range(3):
        for _ in range(900):
            scheduler.step()
        accumulating.step()
        scheduler.step()


def test_a_state_saved_between_update_and_step_loses_neither() -> None:
    whole, optimizer, fresh = sgd(1.0), sgd(1.0), sgd(1.0)
    wanted = run(whole, as_torch(whole, "rex", 9), 9)
    scheduler = as_torch(optimizer, "rex", 9)
    seen = run(optimizer, scheduler, 4)
    seen.append(rates(optimizer))
    optimizer.step()
    state = through_json(scheduler.state_dict())
    resumed = as_torch(fresh, "rex", 9)
    resumed.load_state_dict(state)
    assert rates(fresh) == rates(optimizer)
    resumed.step()
    assert seen + run(fresh, resumed, 4) == wanted


def test_a_jump_forgets_updates_and_a_jump_to_here_does_not() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", 4)
    optimizer.step()
    scheduler.step(2)
    scheduler.step()
    assert scheduler.last_epoch == 2
    optimizer.step()
    scheduler.step(2)
    scheduler.step()
    assert scheduler.last_epoch == 3


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_copies_count_their_own_updates(optimizer_first: bool) -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", 8)
    run(optimizer, scheduler, 2)
    optimizer.step()
    if optimizer_first:
        twin, twins = copy.deepcopy((optimizer, scheduler))
    else:
        twins, twin = copy.deepcopy((scheduler, optimizer))
    twins.step()
    assert (twins.last_epoch, scheduler.last_epoch) == (3, 2)
    optimizer.step()
    twins.step()
    assert twins.last_epoch == 3
    twin.step()
    twins.step()
    scheduler.step()
    assert (twins.last_epoch, scheduler.last_epoch) == (4, 3)
    with pytest.raises(BadInput, match="one schedule"):
        as_torch(twin, "rex", 3)


def test_n15_nothing_is_left_behind_and_nothing_is_warned_of() -> None:
    """With the collector off, scheduler and optimizer die by their counts; hooks do not pile up."""
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer = torch.optim.SGD(parameters(2), lr=0.1, momentum=0.9, weight_decay=0.1)
            for options in ({}, {"momentum": "constant(0.5)"}, {"weight_decay": "linear"}, {"total_steps": "1h"}):
                given = {"total_steps": 5, "base_lrs": [0.1]} | options
                scheduler = as_torch(optimizer, "rex", **given)
                run(optimizer, scheduler, 3)
                gone = weakref.ref(scheduler)
                del scheduler
                assert gone() is None
                assert not optimizer._optimizer_step_post_hooks
            scheduler = as_torch(optimizer, "rex", 5, base_lrs=[0.1])
            dead = weakref.ref(optimizer)
            del optimizer, scheduler
            assert dead() is None
    finally:
        gc.enable()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_n15_building_and_destroying_takes_no_memory(count: int) -> None:
    optimizer = sgd(0.1, 0.2)

    def build(times: int) -> None:
        for _ in range(times):
            scheduler = as_torch(optimizer, "rex", 5, base_lrs=[0.1, 0.2])
            optimizer.step()
            scheduler.step()
            del scheduler

    build(300)
    before = resident()
    build(count)
    growth = resident() - before
    print(f"N15 builds={count} growth={growth / 1e6:.2f} MB")
    assert growth < 1_000_000


def test_a_group_that_is_added_joins_before_its_first_update() -> None:
    """Not at its full rate once, though the schedule is almost over; also where the state is saved just then."""
    optimizer, late = sgd(0.1), nn.Parameter(torch.zeros(1))
    scheduler = as_torch(optimizer, "linear", 100)
    for _ in range(99):
        optimizer.step()
        scheduler.step()
    optimizer.add_param_group({"params": [late], "lr": 0.1})
    state = scheduler.state_dict()
    assert state["base_lrs"] == [0.1, 0.1]
    late.grad = torch.ones(1)
    optimizer.step()
    assert float(late.detach()) == pytest.approx(-0.001)
    fresh = sgd(0.1, 0.1)
    as_torch(fresh, "linear", 100).load_state_dict(state)
    assert rates(fresh) == [0.1 * lrc.linear().multiplier(99, 100)] * 2


class Sharpness(torch.optim.Optimizer):
    """Holds another optimizer and is stepped by a method of its own, as sharpness-aware ones are."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.base_optimizer, self.param_groups = inner, inner.param_groups

    def second_step(self) -> None:
        self.base_optimizer.step()


def test_an_optimizer_inside_another_is_seen() -> None:
    optimizer = Sharpness(sgd(1.0))
    scheduler = as_torch(optimizer, "linear", 10)
    for _ in range(5):
        scheduler.step()
        optimizer.second_step()
        scheduler.step()
    assert rates(optimizer) == [0.5]


def test_a_metric_to_be_maximised_is_turned_and_kept_in_the_state() -> None:
    def made(**given: Any) -> Any:
        return simulated(sgd(1.0), "plateau(factor=0.5, patience=1)", 40, **given)

    rising, falling = made(direction="maximize"), made()
    for value in (0.5, 0.6, 0.7, 0.8):
        rising.step(value)
        falling.step(value)
    assert (rising.multiplier, falling.multiplier) == (1.0, 0.5)
    with pytest.raises(BadInput, match="must be of this schedule or control"):
        made().load_state_dict(rising.state_dict())
    with pytest.raises(BadInput, match="did you mean 'maximize'"):
        made(direction="maximise")


@pytest.mark.parametrize("text", ["stop_early(sgdr(4))", "plateau(patience=39)"])
def test_a_control_that_never_hears_its_metric_says_so_at_the_end(text: str) -> None:
    scheduler = simulated(sgd(1.0), text, 40)
    for _ in range(39):
        scheduler.step()
    with pytest.warns(UserWarning, match="has not been told a metric in all of 40st"):
        scheduler.step()


@pytest.mark.parametrize(
    ("text", "total", "first"),
    [
        ("plateau(patience=2)", 40, 11),
        ("cosine*plateau(patience=2)", 40, 11),
        ("greedy(on=metric, patience=0)", 40, 21),
        ("warmup(20)+plateau(patience=2)", 60, 31),
    ],
)
def test_a_control_that_hears_its_metric_too_seldom_for_its_patience_says_so_once(
    text: str, total: int, first: int
) -> None:
    """With a metric at every so many updates it lowers the rate in the last of them, with one fewer never."""
    scheduler = simulated(sgd(1.0), text, total)
    for _ in range(first - 1):
        scheduler.step()
    with pytest.warns(UserWarning, match=f"in the first {first} of {total}st and did nothing .*; told as seldom"):
        scheduler.step()
    for _ in range(total - first):
        scheduler.step()


def test_a_metric_that_is_told_just_often_enough_is_acted_on_and_nothing_is_said() -> None:
    for every, wanted in ((10, 0.1), (5, 0.01)):
        scheduler = simulated(sgd(1.0), "plateau(patience=2)", 40)
        for step in range(1, 41):
            scheduler.step(**({} if step % every else {"metrics": 1.0}))
        assert scheduler.multiplier == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ((5.0,), {}),
            r"`tell` takes the loss of the next update's batch by its name, got 5\.0; call tell\(loss=loss\)",
        ),
        (((), {"grad_norm": 1.0}), r"by its name, got grad_norm=1\.0; .*step\(\.\.\.\) with all else"),
        (((5.0,), {"loss": 5.0}), r"by its name, got 5\.0;"),
        (((), {}), r"`loss` must be one number, got loss=None"),
    ],
)
def test_what_is_told_ahead_is_the_loss_by_its_name(given: Any, said: str) -> None:
    scheduler = as_torch(sgd(1.0), "polyak", 10)
    with pytest.raises(BadInput, match=said):
        scheduler.tell(*given[0], **given[1])


def driven_by_torch(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
    container = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, [2])
    for _ in range(2):
        optimizer.step()
        container.step()


def test_torchs_containers_are_refused_in_one_sentence() -> None:
    optimizer = sgd(0.1)
    other = torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, 5)
    ours = as_torch(optimizer, "cosine", 10, base_lrs=[0.1])
    for order in ([other, ours], [ours, other]):
        with pytest.raises(BadInput, match="cannot stand in torch's SequentialLR"):
            driven_by_torch(optimizer, order)


def test_amounts_may_be_tensors_and_seconds_survive_many_resumes() -> None:
    scheduler = simulated(sgd(1.0), "linear", "100tok")
    scheduler.step(amount=torch.tensor(25))
    assert scheduler.multiplier == 0.75
    state = simulated(sgd(1.0), "linear", "4.35s").state_dict()
    for _ in range(5):
        again = simulated(sgd(1.0), "linear", "4.35s")
        again.load_state_dict(state)
        state = again.state_dict()
