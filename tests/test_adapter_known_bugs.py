"""Known bugs of torch's schedulers, by number: what torch 2.13 does today beside what ours does.

Those with tests of their own elsewhere: 44511, 55585, 67590 in test_adapter_updates.py; 60265, 65342 in
test_adapter_resume.py; 133898 in test_adapter_values.py; 68978 in test_adapter_controls.py.
"""

import collections
import copy
import warnings
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

import lrcontrol as lrc
from adapter_kit import FAMILIES, as_torch, parameters, rates, run, sgd, simulated, through_json, through_torch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch")  # torch's own warn of how they are driven here


def test_29697_a_milestone_schedule_loaded_alone_is_where_it_was() -> None:
    """torch starts at the full rate for ever; ours is where it was saved."""

    def loaded(build: Any) -> float:
        first, fresh = sgd(1.0), sgd(1.0)
        scheduler = build(first)
        run(first, scheduler, 7)
        build(fresh).load_state_dict(scheduler.state_dict())
        return rates(fresh)[0]

    assert loaded(lambda o: lr_scheduler.MultiStepLR(o, [4, 6])) == 1.0
    assert loaded(lambda o: as_torch(o, "step", 8)) == 0.01


def test_162591_a_sequence_that_starts_late_is_where_it_should_be() -> None:
    """torch's SequentialLR with `last_epoch` begins its second part anew; ours jumps anywhere."""
    optimizer = sgd(1.0)
    for group in optimizer.param_groups:
        group["initial_lr"] = 1.0

    def parts(o: Any, last: int) -> list[Any]:
        return [lr_scheduler.LinearLR(o, 0.1, 1.0, 5, last), lr_scheduler.CosineAnnealingLR(o, 35, 0.0, last)]

    straight = sgd(1.0)
    wanted = run(straight, lr_scheduler.SequentialLR(straight, parts(straight, -1), [5]), 21)[20][0]
    theirs = lr_scheduler.SequentialLR(optimizer, parts(optimizer, 19), [5], 19)
    assert abs(theirs.get_last_lr()[0] - wanted) > 0.1
    ours = simulated(sgd(1.0), "linear(start=0.1, end=1, steps=5)+cosine", 40)
    ours.step(20)
    assert ours.get_last_lr() == [pytest.approx(wanted, rel=1e-12)]


def test_185872_a_part_without_length_does_not_come_first() -> None:
    """A milestone at 0 starts with the second part; torch has mended its own."""
    optimizer, theirs = sgd(1.0), sgd(1.0)
    scheduler = as_torch(optimizer, "linear(start=0.1, end=1, steps=0)+cosine", 9)
    sequence = lr_scheduler.SequentialLR(
        theirs, [lr_scheduler.LinearLR(theirs, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(theirs, 9)], [0]
    )
    assert rates(optimizer) == rates(theirs) == [1.0]
    assert run(optimizer, scheduler, 9) == [[lrc.cosine().multiplier(step, 9)] for step in range(9)]
    assert sequence.last_epoch == 0


def test_53712_79888_20997_104361_groups_added_later() -> None:
    """Of six of torch's families four raise at the next step; all of ours go on, each group by its own base."""
    broken = []
    families: dict[str, Any] = {
        "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
        "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
        "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, cycle_momentum=False),
        "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1.0, 20, cycle_momentum=False),
        "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
        "StepLR": lambda o: lr_scheduler.StepLR(o, 5),
    }
    for name, build in families.items():
        optimizer = sgd(0.1)
        scheduler = build(optimizer)
        run(optimizer, scheduler, 2)
        optimizer.add_param_group({"params": parameters(1), "lr": 0.5})
        try:
            run(optimizer, scheduler, 2)
        except (ValueError, KeyError):
            broken.append(name)
    assert broken == ["LambdaLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]
    for text in FAMILIES:
        optimizer = sgd(0.1)
        scheduler = as_torch(optimizer, text, 40)
        run(optimizer, scheduler, 2)
        optimizer.add_param_group({"params": parameters(1), "lr": 0.5})
        wanted = [[base * lrc.schedule(text).multiplier(step, 40) for base in (0.1, 0.5)] for step in (3, 4)]
        run(optimizer, scheduler, 1)
        assert run(optimizer, scheduler, 2) == wanted


def test_162359_163103_195984_a_tensor_rate_is_nobody_elses() -> None:
    """Neither the base, nor the last rates, nor the group's `initial_lr` move with it, nor it with them."""
    for text in FAMILIES:
        base = torch.tensor(0.5)
        optimizer = torch.optim.SGD(parameters(1), lr=base)
        scheduler = as_torch(optimizer, text, 40)
        for step in range(5):
            before = scheduler.get_last_lr()
            optimizer.step()
            scheduler.step()
            assert before == [0.5 * lrc.schedule(text).multiplier(step, 40)]
            assert scheduler.base_lrs == [0.5]
            assert float(base) == 0.5
        last = scheduler.get_last_lr()
        last[0] = 99.0
        assert scheduler.get_last_lr() != last
        optimizer.param_groups[0]["lr"].fill_(77.0)
        optimizer.step()
        scheduler.step()
        assert rates(optimizer) == [float(torch.tensor(0.5 * lrc.schedule(text).multiplier(6, 40)))]


def test_42376_94450_106243_98921_163105_90414_the_state_is_plain() -> None:
    """JSON and weights-only files hold it: no method, no optimizer, no Counter, no tensor, whatever is scheduled."""

    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return {dict}.union(*map(kinds, value.values()), *map(kinds, value))
        if isinstance(value, list):
            return {list}.union(*map(kinds, value))
        return {type(value)}

    for text in (*FAMILIES, "plateau", "warmup(0.1)+plateau(patience=3)"):
        optimizer = torch.optim.SGD(parameters(2), lr=torch.tensor(0.5), momentum=0.9, weight_decay=0.1)
        beside = {} if "plateau" in text else {"momentum": "linear(end=0.5)*0.9", "weight_decay": "cosine"}
        scheduler = simulated(optimizer, text, 40, **beside)
        for _ in range(3):
            scheduler.step()
        state = scheduler.state_dict()
        assert kinds(state) <= {dict, list, str, int, float, bool, type(None)}
        assert through_json(state) == through_torch(state) == state
    theirs = lr_scheduler.MultiStepLR(sgd(1.0), [2, 4]).state_dict()
    assert isinstance(theirs["milestones"], collections.Counter)


def test_140900_a_state_without_initial_lr_is_enough() -> None:
    """A distributed checkpoint that drops `initial_lr` from the groups changes nothing."""
    optimizer = sgd(0.1)
    scheduler = as_torch(optimizer, "linear", 8)
    run(optimizer, scheduler, 3)
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    assert "initial_lr" not in states[0]["param_groups"][0]
    fresh = sgd(0.1)
    fresh.load_state_dict(states[0])
    resumed = as_torch(fresh, "linear", 8)
    resumed.load_state_dict(states[1])
    assert run(fresh, resumed, 3) == run(optimizer, scheduler, 3)
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.LinearLR(sgd(0.1), last_epoch=3)


def test_196243_193682_composites_and_parts_without_length() -> None:
    """torch: a composite in a sequence cannot be stepped to; LinearLR over no steps is stuck at its start."""
    theirs = sgd(1.0)
    inner = lr_scheduler.SequentialLR(
        theirs, [lr_scheduler.ConstantLR(theirs, 0.5, 2), lr_scheduler.ConstantLR(theirs, 0.2, 2)], [2]
    )
    outer = lr_scheduler.SequentialLR(theirs, [lr_scheduler.LinearLR(theirs, 0.1, 1.0, 2), inner], [2])
    with pytest.raises(NotImplementedError):
        run(theirs, outer, 5)
    ours = sgd(1.0)
    text = "linear(start=0.1, end=1, steps=2)+over(constant(0.5, steps=2)+constant(0.2), steps=4)"
    assert [row[0] for row in run(ours, as_torch(ours, text, 6), 6)] == pytest.approx([0.1, 0.55, 0.5, 0.5, 0.2, 0.2])
    stuck = sgd(1.0)
    assert {row[0] for row in run(stuck, lr_scheduler.LinearLR(stuck, 0.1, 1.0, 0), 5)} == {0.1}


def test_another_schedules_state_is_not_taken_in_silence() -> None:
    """torch's cosine over 10 steps loads into a linear schedule over 50 without a word, and goes wrong."""
    theirs = lr_scheduler.LinearLR(sgd(1.0), 1.0, 0.1, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs.load_state_dict(lr_scheduler.CosineAnnealingLR(sgd(1.0), 10).state_dict())
    ours = simulated(sgd(1.0), "linear(end=0.1)", 50)
    with pytest.raises(ValueError, match=r"'cosine' over 10st, and this is 'linear\(end=0.1\)' over 50st"):
        ours.load_state_dict(simulated(sgd(1.0), "cosine", 10).state_dict())


def test_n16_two_schedules_on_one_optimizer_are_refused_by_the_first_ones_name() -> None:
    """N16: also after a copy, and free again when the first is gone."""
    optimizer = sgd(0.1)
    scheduler = simulated(optimizer, "warmup(3)+rex", 40)
    with pytest.raises(ValueError, match=r"'warmup\(3\)\+rex' over 40st"):
        as_torch(optimizer, "cosine", 10)
    twin, twins = copy.deepcopy((optimizer, scheduler))
    with pytest.raises(ValueError, match=r"'warmup\(3\)\+rex' over 40st"):
        as_torch(twin, "cosine", 10)
    del twins
    with pytest.raises(ValueError, match=r"they were \[0.1\], and the groups now have .*base_lrs=\[0.1\]"):
        as_torch(twin, "cosine", 10)  # the warmup has moved the rate: it is not its own
    assert as_torch(twin, "cosine", 10, base_lrs=[0.1]).get_last_lr() == [0.1]
    del scheduler
    assert as_torch(optimizer, "cosine", 10, base_lrs=[0.2]).get_last_lr() == [0.2]
    with pytest.raises(ValueError, match="a copy would be another"):
        copy.copy(as_torch(sgd(0.1), "cosine", 10))
