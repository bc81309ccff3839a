"""The adapter: a schedule on a user's own optimizer, held to what torch's own schedulers are known to get wrong."""

import copy
import functools
import gc
import io
import itertools
import json
import math
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import lrcontrol as lrc
from lrcontrol.errors import BadInput, DoesNotFit, OutOfSchedule
from lrcontrol.training.adapter import TorchSchedule

as_torch = lrc.as_torch_scheduler
simulated = functools.partial(as_torch, count="calls")
SCHEDULES = [
    "linear",
    "cosine(end=0.1)",
    "rex",
    "warmup(5)+rex(beta=0.1)",
    "warmup(0.1)+constant(share=0.5)+linear",
    "step",
    "exponential(rate=3)",
    "polynomial(power=0.5)*warmup(0.2)",
    "repeat(cosine, times=3)",
    "linear(times=4)",
    "constant",
]
TOTAL = 40

pytestmark = pytest.mark.filterwarnings("ignore:an update was made after the end")  # as many here are, on purpose


def parameters(count: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)) for _ in range(count)]


def sgd(*lrs: float) -> torch.optim.SGD:
    """An optimizer with a group for every rate; gradients are 0."""
    groups = [{"params": [parameter], "lr": lr} for parameter, lr in zip(parameters(len(lrs)), lrs, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.7)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    return optimizer


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def stepped(optimizer: torch.optim.Optimizer, scheduler: Any, count: int) -> list[list[float]]:
    """The rates in force during each of `count` updates."""
    seen = []
    for _ in range(count):
        seen.append(rates(optimizer))
        optimizer.step()
        scheduler.step()
    return seen


@pytest.fixture(params=SCHEDULES)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# The formula


def test_the_rate_of_every_group_is_its_base_times_the_multiplier(text: str) -> None:
    """At every update and past the end, bit for bit; also by jumping there."""
    bases = [0.1, 3e-4, 7.0]
    schedule = lrc.schedule(text)
    wanted = [[base * schedule.multiplier(step, TOTAL) for base in bases] for step in range(TOTAL + 3)]
    optimizer = sgd(*bases)
    scheduler = as_torch(optimizer, text, TOTAL)
    assert stepped(optimizer, scheduler, TOTAL + 3) == wanted
    for step in (0, TOTAL - 1, 7, TOTAL, 1):
        scheduler.step(step)
        assert rates(optimizer) == scheduler.get_last_lr() == scheduler.get_lr() == wanted[step]


def test_given_base_rates_go_before_those_of_the_groups() -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler = as_torch(optimizer, "linear", 4, base_lrs=[1.0, 0])
    assert rates(optimizer) == [1.0, 0.0]
    assert stepped(optimizer, scheduler, 4) == [[1, 0], [0.75, 0], [0.5, 0], [0.25, 0]]


def test_blocks_of_multipliers_meet_without_a_seam() -> None:
    """Steps are read in blocks: both sides of each edge, forwards and back, and straight through."""
    schedule = lrc.schedule("warmup(1000)+rex")
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, schedule, 5000)
    for step in (1022, 1023, 1024, 1025, 2047, 2048, 1023, 0, 4095, 4096, 4999, 5000, 6000, 999, 1000):
        scheduler.step(step)
        assert rates(optimizer) == [schedule.multiplier(step, 5000)]
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, schedule, 20_000)
    wanted = [*schedule.multipliers(20_000), *[0.0] * 2000]
    assert [scheduler.step() or optimizer.param_groups[0]["lr"] for _ in wanted[1:]] == wanted[1:]


def torch_twins() -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    yield "cosine", "cosine(end=0.01)", lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.001)
    yield "linear", "linear(end=0.25)", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, TOTAL)
    yield "rising", "linear(start=0.1, end=1)", lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, TOTAL)
    yield "polynomial", "polynomial(power=2)", lambda o: lr_scheduler.PolynomialLR(o, TOTAL, power=2)
    rate = -TOTAL * math.log(0.93)
    yield "exponential", f"exponential(rate={rate!r})", lambda o: lr_scheduler.ExponentialLR(o, 0.93)
    yield "milestones", "step", lambda o: lr_scheduler.MultiStepLR(o, [TOTAL // 2, 3 * TOTAL // 4], 0.1)
    yield "steps", "step(factor=0.5, milestones=(0.25, 0.5, 0.75))", lambda o: lr_scheduler.StepLR(o, TOTAL // 4, 0.5)
    yield "constant", "constant", lambda o: lr_scheduler.ConstantLR(o, 1.0, 1)
    yield (
        "sequence",
        "linear(start=0.1, end=1, steps=10)+cosine(end=0.01)",
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 10), lr_scheduler.CosineAnnealingLR(o, 30, eta_min=0.001)], [10]
        ),
    )


TWINS = list(torch_twins())


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's SequentialLR warns of itself
@pytest.mark.parametrize(("schedule", "build"), [twin[1:] for twin in TWINS], ids=[twin[0] for twin in TWINS])
def test_it_is_torchs_own_where_the_conventions_agree(schedule: str, build: Callable[[Any], Any]) -> None:
    """Within 1e-12 relative, of rates that torch reaches by multiplying step by step."""
    ours, theirs = sgd(0.1), sgd(0.1)
    left, right = stepped(ours, as_torch(ours, schedule, TOTAL), TOTAL), stepped(theirs, build(theirs), TOTAL)
    assert [pair[0] for pair in left] == pytest.approx([pair[0] for pair in right], rel=1e-12, abs=1e-15)


def test_past_the_end_holds_or_raises() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear(end=0.5)", 3)
    assert stepped(optimizer, scheduler, 6)[3:] == [[0.5]] * 3
    scheduler.step(10**12)
    assert rates(optimizer) == [0.5]
    strict = as_torch(sgd(1.0), "linear(end=0.5)", 3, beyond="raise", count="calls")
    for _ in range(3):  # torch's loops step once after the last update
        strict.step()
    with pytest.raises(OutOfSchedule, match="3st"):
        strict.step()
    with pytest.raises(OutOfSchedule):
        strict.step(4)
    assert strict.last_epoch == 3
    assert rates(strict.optimizer) == [0.5]


# Resume


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(16, 6, generator=generator), torch.randint(0, 3, (16,), generator=generator)


class Loop:
    """A user's own loop: batch norm, dropout, AdamW with two groups."""

    def __init__(self, schedule: str = "warmup(5)+rex", make: Callable[[Any], Any] = torch.optim.AdamW) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        body, head = list(self.model[:4].parameters()), list(self.model[4].parameters())
        self.optimizer = make([{"params": body, "lr": 0.01}, {"params": head, "lr": 0.03}])
        self.scheduler = as_torch(self.optimizer, schedule, TOTAL)

    def run(self, first: int, last: int) -> list[float]:
        trail = []
        for step in range(first, last):
            torch.manual_seed(1000 + step)
            inputs, targets = batch(step)
            loss = nn.functional.cross_entropy(self.model(inputs), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            trail += [loss.item(), *rates(self.optimizer)]
            self.scheduler.step()
        return trail

    def end(self) -> list[Tensor]:
        return [value.clone() for value in self.model.state_dict().values()]


def through_torch(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state, allow_nan=False))
    assert loaded == state
    return loaded


def test_resume_equals_uninterrupted_at_every_step() -> None:
    """Save after k of 40 updates, load into fresh objects, go on: every loss, rate and tensor bit for bit.

    The scheduler's state goes through JSON after an even number of updates and through torch after an odd one.
    """
    whole = Loop()
    trail, states = [], []
    for step in range(TOTAL + 1):
        states.append(
            (
                copy.deepcopy(whole.model.state_dict()),
                through_torch(whole.optimizer.state_dict()),
                (through_torch if step % 2 else through_json)(whole.scheduler.state_dict()),
            )
        )
        trail += whole.run(step, step + 1) if step < TOTAL else []
    for step, (model, optimizer, scheduler) in enumerate(states):
        resumed = Loop()
        resumed.model.load_state_dict(model)
        resumed.optimizer.load_state_dict(optimizer)
        resumed.scheduler.load_state_dict(scheduler)
        assert resumed.run(step, TOTAL) == trail[3 * step :], f"resumed after {step} updates"
        assert all(map(torch.equal, resumed.end(), whole.end())), f"resumed after {step} updates"
        assert resumed.scheduler.state_dict() == whole.scheduler.state_dict()


OPTIMIZERS = {
    "Adadelta": torch.optim.Adadelta,
    "Adafactor": torch.optim.Adafactor,
    "Adagrad": torch.optim.Adagrad,
    "Adam foreach": lambda groups: torch.optim.Adam(groups, amsgrad=True, foreach=True),
    "Adamax": torch.optim.Adamax,
    "AdamW fused": lambda groups: torch.optim.AdamW(groups, fused=True),
    "ASGD": torch.optim.ASGD,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "RMSprop": lambda groups: torch.optim.RMSprop(groups, momentum=0.9, centered=True),
    "Rprop": torch.optim.Rprop,
    "SGD": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_resume_equals_uninterrupted_with_any_optimizer(make: Callable[[Any], Any]) -> None:
    whole = Loop(make=make)
    trail = whole.run(0, 13)
    states = [copy.deepcopy(part.state_dict()) for part in (whole.model, whole.optimizer, whole.scheduler)]
    trail += whole.run(13, 26)
    resumed = Loop(make=make)
    for part, state in zip((resumed.model, resumed.optimizer, resumed.scheduler), states, strict=True):
        part.load_state_dict(state)
    assert resumed.run(13, 26) == trail[3 * 13 :]
    assert all(map(torch.equal, resumed.end(), whole.end()))


@pytest.mark.parametrize("saved_after", [0, 1, 19, 30, 39, 40, 45])
def test_60265_65342_the_order_of_building_and_loading_does_not_decide_the_rate(text: str, saved_after: int) -> None:
    """All orders of loading the optimizer, building and loading the scheduler, and its state alone."""
    first = sgd(0.1, 0.002)
    scheduler = as_torch(first, text, TOTAL)
    stepped(first, scheduler, saved_after)
    optimizer_state, state = copy.deepcopy(first.state_dict()), through_json(scheduler.state_dict())
    wanted = stepped(first, scheduler, 4)
    for order in ("obs", "bos", "bso", "bs"):  # optimizer.load, build, scheduler.load
        second = sgd(0.1, 0.002)
        for act in order:
            if act == "o":
                second.load_state_dict(copy.deepcopy(optimizer_state))
            elif act == "b":
                scheduler = as_torch(second, text, TOTAL)
            else:
                scheduler.load_state_dict(state)
        assert scheduler.get_last_lr() == rates(second), order
        assert stepped(second, scheduler, 4) == wanted, order


def test_29697_a_milestone_schedule_loaded_without_its_optimizer_is_where_it_was() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "step", 8)
    stepped(optimizer, scheduler, 7)
    fresh = sgd(1.0)
    as_torch(fresh, "step", 8).load_state_dict(scheduler.state_dict())
    assert rates(fresh) == [0.01]


PLATEAU = {"name": "Plateau", "horizon": "9st", "state": {}, "heard": {}, "decision": {}}


def refused_states() -> Iterator[tuple[str, Any, str]]:
    scheduler = as_torch(sgd(0.1, 0.2), "warmup(5)+rex", TOTAL)
    scheduler.step(7)
    good = scheduler.state_dict()

    def changed(**values: Any) -> dict[str, Any]:
        return {**good, **values}

    def planned(**values: Any) -> dict[str, Any]:
        return changed(plan={**good["plan"], **values})

    both = r"it is of 'warmup\(5\)\+rex.*, and this is 'warmup\(5\)\+rex' over 40st; .*'keep'.*'rescale'.*'replace'"
    yield "another schedule", planned(schedule="warmup(5)+rex(beta=0.1)"), both
    yield "another horizon", planned(horizon="41st", ticks=41), both
    yield "a momentum", planned(momentum="linear(end=0.5)*0.9"), both
    yield "a weight decay", planned(weight_decay="linear"), both
    yield "another unit", planned(schedule="rex", horizon="41tok", ticks=41), "'rex' over 41tok"
    yield "a control", changed(plan=None, control=PLATEAU), "'Plateau' over 9st"
    yield "half a control", changed(plan=None, control={"name": "Plateau"}), "must have decision, "
    yield "a plan and a control", changed(control=PLATEAU), "either a plan or a control"
    yield "a schedule that cannot be read", planned(schedule="rex("), "cannot be read"
    yield "a schedule that is none", planned(schedule=7), "`schedule`"
    yield "a horizon that is none", planned(horizon=40), "`horizon`"
    yield "ticks that are none", planned(ticks=0), "`ticks`"
    yield "no changes", planned(changes=None), "`changes`"
    yield "a change of two", planned(changes=[[1, 2]]), "`changes`"
    yield "a change without a rule", planned(changes=[[1, 50, "stretch"]]), "rule of a change"
    yield "a change that ends before", planned(changes=[[20, 10, "rescale"]]), "end after"
    yield "a plan of more", planned(extra=1), "exactly"
    yield "a plan that is none", changed(plan="rex"), "`plan`"
    yield "another format", changed(format="lrcontrol/other"), '"format"'
    yield "another version", changed(version=3), "version 1 or 2"
    yield "a version that is a bool", changed(version=True), "version 1 or 2"
    yield "more groups", changed(base_lrs=[0.1, 0.2, 0.3]), "as many groups"
    yield "fewer groups", changed(base_lrs=[0.1]), "as many groups"
    yield "an update that is no bool", changed(updated=1), "`updated`"
    yield "ticks below 0", changed(ticks=-1), "`ticks`"
    yield "nothing told", changed(told=None), "`told`"
    yield "no rates", changed(base_lrs=None), "`base_lrs`"
    yield "rates as text", changed(base_lrs="12"), "`base_lrs`"
    yield "a rate not finite", changed(base_lrs=[0.1, math.nan]), "`base_lrs`"
    yield "a rate below 0", changed(base_lrs=[-0.1, 0.1]), "`base_lrs`"
    yield "a step below 0", changed(step=-1), "`step`"
    yield "half a step", changed(step=1.5), "`step`"
    yield "a step that is a bool", changed(step=True), "`step`"
    yield "a step as text", changed(step="7"), "`step`"
    yield "something more", changed(extra=1), "exactly"
    yield "something less", {name: value for name, value in good.items() if name != "step"}, "exactly"
    yield "nothing", {}, '"format"'
    yield "torch's", lr_scheduler.StepLR(sgd(0.1), 3).state_dict(), '"format"'
    yield "no dict", [good], "`state_dict`"
    yield "None", None, "`state_dict`"


REFUSED = list(refused_states())


@pytest.mark.parametrize(("state", "match"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(state: Any, match: str) -> None:
    optimizer = sgd(0.3, 0.4)
    scheduler = as_torch(optimizer, "warmup(5)+rex", TOTAL)
    scheduler.step(11)
    before = (scheduler.state_dict(), rates(optimizer), scheduler.get_last_lr())
    with pytest.raises(BadInput, match=match):
        scheduler.load_state_dict(state)
    assert (scheduler.state_dict(), rates(optimizer), scheduler.get_last_lr()) == before
    assert stepped(optimizer, scheduler, 2)[0] == before[1]


def test_42376_94450_the_state_is_json_values_and_its_own() -> None:
    """No bound method, no optimizer, no live list: changing it changes nothing."""
    scheduler = simulated(sgd(0.1, 0.2), "rex", TOTAL)
    state = scheduler.state_dict()
    assert through_json(state) == through_torch(state) == state
    state["base_lrs"][0] = 99.0
    state["step"] = 99
    state["plan"]["changes"].append([1, 2, "keep"])
    scheduler.step()
    assert scheduler.state_dict()["base_lrs"] == [0.1, 0.2]
    assert scheduler.state_dict()["step"] == 1
    given = scheduler.state_dict()
    scheduler.load_state_dict(given)
    given["base_lrs"][0] = 99.0
    scheduler.step()
    assert scheduler.state_dict()["base_lrs"] == [0.1, 0.2]


def test_140900_21965_initial_lr_is_neither_needed_nor_obeyed() -> None:
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["initial_lr"] = 55.0
    scheduler = as_torch(optimizer, "linear", 4)
    with pytest.warns(UserWarning, match=r"taken to be those that the groups have, \[0.1\], but .* at \[55.0\]"):
        assert stepped(optimizer, scheduler, 2) == [[0.1], [0.1 * 0.75]]
    del optimizer.param_groups[0]["initial_lr"]
    assert stepped(optimizer, scheduler, 1) == [[0.05]]
    assert "initial_lr" not in optimizer.param_groups[0]


# Tensor rates


def test_162359_163103_195984_a_tensor_rate_is_filled_in_place_and_shared_with_nobody() -> None:
    """Every value is the float64 product rounded once; the tensor stays the one that a compiled step has seen."""
    base = torch.tensor(0.1)
    optimizer = torch.optim.Adam(parameters(1), lr=base)
    scheduler = simulated(optimizer, "cosine", TOTAL)
    held = optimizer.param_groups[0]["lr"]
    for step in range(TOTAL + 2):
        wanted = float(torch.tensor(float(torch.tensor(0.1)) * lrc.cosine().multiplier(step, TOTAL)))
        assert optimizer.param_groups[0]["lr"] is held
        assert float(held) == wanted
        assert all(type(rate) is float for rate in (*scheduler.get_last_lr(), *scheduler.base_lrs))
        scheduler.step()
    assert float(base) == float(torch.tensor(0.1)), "the caller's tensor is left alone"


def test_groups_that_share_a_tensor_get_a_rate_each() -> None:
    """torch gives the default's own tensor to every group that names none, and to every group added later."""
    first, second, third = parameters(3)
    optimizer = torch.optim.SGD([{"params": first}, {"params": second}], lr=torch.tensor(0.5, dtype=torch.float64))
    scheduler = as_torch(optimizer, "linear", 4, base_lrs=[0.5, 2.0])
    assert rates(optimizer) == [0.5, 2.0]
    scheduler.step(2)
    assert rates(optimizer) == [0.25, 1.0]
    optimizer.add_param_group({"params": [third]})
    scheduler.step(3)
    assert rates(optimizer) == [0.125, 0.5, 0.125]


def test_a_tensor_rate_that_was_loaded_is_followed() -> None:
    """Loading an optimizer's state gives its groups other tensors."""
    optimizer = torch.optim.Adam(parameters(1), lr=torch.tensor(1.0))
    scheduler = simulated(optimizer, "linear", 4)
    scheduler.step(2)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    scheduler.step()
    assert rates(optimizer) == [0.25]


# Groups added


@pytest.mark.parametrize("own", [0.9, None], ids=["own rate", "default rate"])
@pytest.mark.parametrize("moment", [0, 13, 45])
def test_53712_79888_20997_104361_a_group_added_joins_by_its_own_base(
    text: str, moment: int, own: float | None
) -> None:
    """At the next step, or at once by `step(last_epoch)`; the other groups are as if it were not there."""
    optimizer, alone = sgd(0.1, 0.2), sgd(0.1, 0.2)
    scheduler, other = as_torch(optimizer, text, TOTAL), as_torch(alone, text, TOTAL)
    stepped(optimizer, scheduler, moment)
    stepped(alone, other, moment)
    optimizer.add_param_group({"params": parameters(1)} | ({} if own is None else {"lr": own}))
    base = 0.7 if own is None else own
    scheduler.step(scheduler.last_epoch)
    assert len(scheduler.get_last_lr()) == 3
    wanted = [base * lrc.schedule(text).multiplier(step, TOTAL) for step in range(moment, moment + 5)]
    seen = stepped(optimizer, scheduler, 5)
    assert [row[2] for row in seen] == wanted
    assert [row[:2] for row in seen] == stepped(alone, other, 5)
    assert scheduler.state_dict()["base_lrs"] == [0.1, 0.2, base]


def test_a_group_added_before_the_state_is_loaded_is_counted() -> None:
    optimizer = sgd(0.1)
    scheduler = as_torch(optimizer, "linear", 4)
    optimizer.add_param_group({"params": parameters(1)})
    scheduler.step(2)
    state = scheduler.state_dict()
    fresh = sgd(0.1)
    resumed = as_torch(fresh, "linear", 4)
    with pytest.raises(BadInput, match="as many groups"):
        resumed.load_state_dict(state)
    fresh.add_param_group({"params": parameters(1)})
    resumed.load_state_dict(state)
    assert rates(fresh) == rates(optimizer) == [0.05, 0.35]


# torch's known bugs that are not above


@pytest.mark.parametrize("text", ["warmup(0)+rex", "linear(start=0.1, end=1, steps=0)+rex"])
def test_193682_194712_185006_177833_a_part_without_length_does_nothing(text: str) -> None:
    """torch's LinearLR(total_iters=0) stays at its start for ever; others die in mid-run."""
    ours, plain = sgd(0.1), sgd(0.1)
    assert stepped(ours, as_torch(ours, text, 9), 12) == stepped(plain, as_torch(plain, "rex", 9), 12)


def test_162591_185872_196243_parts_begin_at_their_own_start_however_nested() -> None:
    """Neither jumping into the middle, nor a milestone at 0, nor a composite as a part moves a part."""
    inner = lrc.schedule("linear(start=0.2, end=1, steps=2)+linear(end=0.5)")
    nested = inner.over(steps=6).then("cosine")
    straight = [*inner.multipliers(6), *lrc.cosine().multipliers(6)]
    optimizer = sgd(1.0)
    assert [row[0] for row in stepped(optimizer, as_torch(optimizer, nested, 12), 12)] == straight
    for step in range(12):
        fresh = sgd(1.0)
        as_torch(fresh, nested, 12).step(step)
        assert rates(fresh) == [straight[step]]


def test_20405_a_billion_steps_take_no_memory_and_no_time() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "cosine", 10**9)
    for step in (0, 1, 10**9 // 2, 10**9 - 1, 10**9, 10**12):
        scheduler.step(step)
        remaining = max(10**9 - step, 0)
        assert rates(optimizer)[0] == pytest.approx(math.sin(math.pi * remaining / (2 * 10**9)) ** 2, rel=1e-14)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_17913_19180_the_shortest_horizons_divide_by_nothing(text: str, total: int) -> None:
    try:
        wanted = lrc.schedule(text).multipliers(total).tolist()
    except DoesNotFit:
        with pytest.raises(DoesNotFit):
            as_torch(sgd(1.0), text, total)
        return
    optimizer = sgd(1.0)
    rows = stepped(optimizer, as_torch(optimizer, text, total), total + 2)
    assert [row[0] for row in rows[:total]] == wanted
    assert all(math.isfinite(row[0]) for row in rows)


# An LRScheduler, and a good citizen


def test_it_is_an_lr_scheduler_that_warns_of_nothing() -> None:
    """Also where it steps before the optimizer has, which torch's own complain of: that does not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = sgd(0.1)
        scheduler = as_torch(optimizer, "rex", 4)
        scheduler.step()
        assert scheduler.last_epoch == 0
        optimizer.step()
        scheduler.step()
        assert isinstance(scheduler, lr_scheduler.LRScheduler)
        assert isinstance(scheduler, TorchSchedule)
        assert scheduler.last_epoch == 1


def test_the_optimizer_is_left_as_it_is_but_for_its_rates() -> None:
    optimizer = sgd(0.1, 0.2)
    before = (dict(vars(optimizer)), [set(group) for group in optimizer.param_groups])
    scheduler = as_torch(optimizer, "rex", 4)
    scheduler.step()
    assert dict(vars(optimizer)) == before[0]
    assert [set(group) for group in optimizer.param_groups] == before[1]
    assert "step" not in vars(optimizer), "optimizer.step is not patched"


def test_no_reference_cycle_holds_scheduler_or_optimizer() -> None:
    gc.collect()
    gc.disable()
    try:
        optimizer = sgd(0.1)
        scheduler = as_torch(optimizer, "rex", 4)
        scheduler.step()
        gone = weakref.ref(scheduler)
        del scheduler
        assert gone() is None
        dead = weakref.ref(optimizer)
        scheduler = as_torch(optimizer, "rex", 4)
        del optimizer, scheduler
        assert dead() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deep", "pickle"]
)
def test_a_copy_goes_its_own_way(copied: Callable[[Any], Any]) -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler = as_torch(optimizer, "warmup(3)+rex", TOTAL)
    stepped(optimizer, scheduler, 2)
    twin, twins = copied((optimizer, scheduler))
    assert twins.optimizer is twin
    assert stepped(twin, twins, 5) == stepped(optimizer, scheduler, 5)
    stepped(twin, twins, 5)
    assert scheduler.last_epoch == 7


def test_a_second_schedule_on_an_optimizer_is_refused_and_names_the_first() -> None:
    optimizer = sgd(0.1)
    scheduler = as_torch(optimizer, "warmup(3)+rex", TOTAL)
    scheduler.step(9)
    before = rates(optimizer)
    with pytest.raises(BadInput, match=r"warmup\(3\)\+rex.*40st"):
        as_torch(optimizer, "cosine", 10)
    assert rates(optimizer) == before
    del scheduler
    assert as_torch(optimizer, "constant", 10, base_lrs=[0.5]).get_last_lr() == [0.5]


def test_a_refused_schedule_leaves_the_optimizer_free() -> None:
    optimizer = sgd(0.1)
    with pytest.raises(BadInput):
        as_torch(optimizer, "rex", TOTAL, base_lrs=[0.1, 0.2])
    with pytest.raises(DoesNotFit):
        as_torch(optimizer, "warmup(50)+rex", TOTAL)
    assert rates(optimizer) == [0.1]
    as_torch(optimizer, "rex", TOTAL)


BAD: list[tuple[dict[str, Any], str]] = [
    *(({"optimizer": bad}, "`optimizer`") for bad in (None, "sgd", [0.1], nn.Linear(1, 1))),
    *(({"total_steps": bad}, "`total_steps`") for bad in (0, -1, 1.5, True, math.nan, math.inf, None, 2**60)),
    *(
        ({"total_steps": bad}, "horizon|unknown unit")
        for bad in ("10x", "", "0", "-3", "ten", "1.5", "nan", "10 ep ep")
    ),
    ({"total_steps": "10ep"}, "`steps_per_epoch`"),
    *(({"total_steps": "10ep", "steps_per_epoch": bad}, "`steps_per_epoch`") for bad in (0, 1.5, True)),
    *(({"total_steps": "10tok", "per_step": bad}, "`per_step`") for bad in (0, 1.5, True)),
    ({"per_step": 3}, "`per_step`"),
    *(({"count": bad}, "way to count") for bad in ("call", None, True)),
    *(({"on_mismatch": bad}, "rule for another state") for bad in ("keep_new", None, True)),
    *(({"momentum": bad}, "momentum|schedule") for bad in (0.9, "cosin", "constant", "linear(end=0.5)")),
    ({"weight_decay": "cosin"}, "schedule"),
    ({"weight_decay": 0.1}, "schedule"),
    *(({"schedule": "warmup(3)+rex", "total_steps": bad}, "give shares") for bad in ("30min", "100tok", "100sp")),
    ({"schedule": "rex(every=3)", "total_steps": "30min"}, "every=3"),
    ({"weight_decay": "warmup(3)+rex", "total_steps": "30min"}, "steps=3"),
    *(
        ({"schedule": bad}, "schedule|control")
        for bad in (None, 1, "cosin", "rex(", "", lr_scheduler.LambdaLR, "adamw:rex")
    ),
    *(
        ({"base_lrs": bad}, "`base_lrs`")
        for bad in ([0.1, 0.2], [], 0.1, "1", {0.1}, [-0.1], [math.nan], [math.inf], [True], ["0.1"], [None])
    ),
    *(({"beyond": bad}, "rule past the end") for bad in ("holds", "", None, True)),
    ({"schedule": "warmup(41)+rex"}, "need 41 steps"),
]


@pytest.mark.parametrize(
    ("bad", "match"), BAD, ids=[f"{number}-{next(iter(bad))}" for number, (bad, _) in enumerate(BAD)]
)
def test_bad_input_is_refused_by_name_and_changes_nothing(bad: dict[str, Any], match: str) -> None:
    optimizer = sgd(0.1)
    good = {"optimizer": optimizer, "schedule": "rex", "total_steps": TOTAL}
    with pytest.raises(BadInput, match=match):
        as_torch(**(good | bad))
    assert rates(optimizer) == [0.1]


@pytest.mark.parametrize("bad", [-1, 1.5, True, "3", math.nan])
def test_a_bad_jump_is_refused_and_changes_nothing(bad: Any) -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", 4)
    scheduler.step()
    with pytest.raises(BadInput, match="`epoch`"):
        scheduler.step(bad)
    assert (scheduler.last_epoch, rates(optimizer)) == (1, [0.75])


def test_every_argument_moves_something() -> None:
    def trail(**change: Any) -> list[Any]:
        optimizer = torch.optim.SGD(parameters(1), lr=0.1, momentum=0.9, weight_decay=0.01)
        given = {"schedule": "linear(end=0.5)", "total_steps": 4} | change
        scheduler = as_torch(optimizer, **given)
        rows: list[Any] = []
        try:
            for turn in range(7):
                group = optimizer.param_groups[0]
                rows.append([group["lr"], group["momentum"], group["weight_decay"]])
                if turn != 1:
                    optimizer.step()
                scheduler.step()
        except OutOfSchedule as error:
            rows.append(str(error))
        return rows

    changes: list[dict[str, Any]] = [
        {},
        {"schedule": "rex"},
        {"total_steps": 5},
        {"base_lrs": [0.2]},
        {"beyond": "raise"},
        {"momentum": "linear(end=0.5)*0.9"},
        {"weight_decay": "linear"},
        {"count": "calls"},
        {"total_steps": "8ep", "steps_per_epoch": 1},
        {"total_steps": "9ep", "steps_per_epoch": 3},
        {"total_steps": "100tok", "per_step": 16},
        {"total_steps": "4s", "clock": itertools.count(0, 2).__next__},
    ]
    for one, other in itertools.combinations(changes, 2):
        assert trail(**one) != trail(**other), (one, other)
