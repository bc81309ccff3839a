"""SGD as `make_optimizer` gives it: torch's fused one, in which every parameter has its own first gradient."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import lrcontrol as lrc

STEPS = 9
SIZE = 12


def parameters(count: int = 6) -> list[torch.nn.Parameter]:
    """The last one never gets a gradient."""
    return [torch.nn.Parameter(torch.linspace(-1, 1 + place, SIZE, dtype=torch.float64)) for place in range(count)]


def groups(of: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": of[:3]}, {"params": of[3:], "weight_decay": 0.3}]


def gradient(step: int, place: int) -> torch.Tensor | None:
    """Each parameter begins at a step of its own, and then has none every fourth step."""
    noise = torch.randn(SIZE, generator=torch.Generator().manual_seed(10 * step + place), dtype=torch.float64)
    return noise if step >= 2 * (place % 3) and (step + place) % 4 else None


def update(optimizer: torch.optim.Optimizer, step: int) -> None:
    every = [each for group in optimizer.param_groups for each in group["params"]]
    for place, each in enumerate(every[:-1]):
        each.grad = gradient(step, place)
    optimizer.step()


def values(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [each.detach().clone() for group in optimizer.param_groups for each in group["params"]]


def check_close(first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
    for one, other in zip(values(first), values(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def check_equal(first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
    for one, other in zip(values(first), values(second), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("sgd(momentum=0)", {}),
        ("sgd(momentum=0.9)", {"momentum": 0.9}),
        ("sgd(momentum=0.9, nesterov=true)", {"momentum": 0.9, "nesterov": True}),
        ("sgd(momentum=0.8, weight_decay=0.1)", {"momentum": 0.8, "weight_decay": 0.1}),
    ],
)
def test_late_parameters_come_to_what_they_do_without_fused(text: str, settings: dict[str, Any]) -> None:
    """Each has its first gradient at a step of its own, in two groups, and then not at every step."""
    ours = lrc.make_optimizer(text, groups(parameters()), 0.1)
    plain = torch.optim.SGD(groups(parameters()), lr=0.1, **settings, fused=False)
    for step in range(STEPS):
        update(ours, step)
        update(plain, step)
        check_close(ours, plain)
    untouched = values(ours)[-1]
    assert torch.equal(untouched, parameters()[-1])
    assert ours.param_groups[-1]["params"][-1] not in ours.state


def test_parameters_that_begin_together_come_to_what_torchs_fused_step_makes_of_them() -> None:
    """To the bit, also where a branch is left out now and then."""
    ours = lrc.make_optimizer("sgd", groups(parameters()), 0.1)
    theirs = torch.optim.SGD(groups(parameters()), lr=0.1, momentum=0.9, fused=True)
    for step in range(STEPS):
        for optimizer in (ours, theirs):
            every = [each for group in optimizer.param_groups for each in group["params"]]
            for place, each in enumerate(every[:-1]):
                each.grad = gradient(20, place % 3 + 1) if step == 0 else gradient(step + 8, place)
            optimizer.step()
        check_equal(ours, theirs)


def test_a_closure_may_give_a_parameter_its_first_gradient() -> None:
    """What an optimizer calls within its step is not known before."""

    def trained(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        first, second = optimizer.param_groups[0]["params"]
        for step in range(4):

            def closure(late: bool = step >= 2) -> torch.Tensor:
                optimizer.zero_grad()
                loss: torch.Tensor = first.square().sum() + (second.square().sum() if late else 0)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss

            optimizer.step(closure)  # type: ignore[arg-type] # torch's types want a float
        return optimizer

    ours = trained(lrc.make_optimizer("sgd", parameters(2), 0.1))
    check_close(ours, trained(torch.optim.SGD(parameters(2), lr=0.1, momentum=0.9)))
    assert not torch.equal(values(ours)[1], parameters(2)[1])


def test_a_first_update_that_a_gradient_scaler_skips_leaves_no_momentum() -> None:
    """torch's fused step takes memory that nobody wrote for the momentum then."""

    def soil(*_: Any) -> None:
        del [torch.full((1000,), 1e6) for _ in range(50)][:]

    weight = torch.nn.Parameter(torch.ones(1000))
    optimizer = lrc.make_optimizer("sgd(momentum=0.5)", [weight], 0.25)
    optimizer.register_step_pre_hook(soil)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (float("inf"), 1.0, 1.0):
        optimizer.zero_grad()
        scaler.scale(weight.sum() * factor).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(weight, torch.full((1000,), 1 - 0.25 - 0.25 * 1.5))


def test_momentum_that_is_switched_on_later_begins_then() -> None:
    def trained(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["momentum"] = 0.9 if step >= 3 else 0.0
            update(optimizer, step)
        return optimizer

    ours = trained(lrc.make_optimizer("sgd(momentum=0)", groups(parameters()), 0.1))
    check_close(ours, trained(torch.optim.SGD(groups(parameters()), lr=0.1)))


def through_a_file(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    made = lrc.make_optimizer("sgd", groups([torch.nn.Parameter(each) for each in values(optimizer)]), 0.7)
    made.load_state_dict(torch.load(file, weights_only=True))
    return made


def pickled(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = pickle.loads(pickle.dumps(optimizer))
    return made


COPIES: dict[str, Callable[[torch.optim.Optimizer], torch.optim.Optimizer]] = {
    "a state": through_a_file,
    "a copy": copy.deepcopy,
    "a pickle": pickled,
}


@pytest.mark.parametrize("stop", [1, 3, 6])
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_goes_on_to_the_bit_also_before_all_have_begun(way: str, stop: int) -> None:
    whole = lrc.make_optimizer("sgd", groups(parameters()), 0.1)
    for step in range(stop):
        update(whole, step)
    other = COPIES[way](whole)
    for step in range(stop, STEPS):
        update(whole, step)
        update(other, step)
    check_equal(whole, other)


def test_states_are_those_of_torch() -> None:
    """Each may load what the other saved, before all parameters have begun."""
    ours = lrc.make_optimizer("sgd", groups(parameters()), 0.1)
    for step in range(2):
        update(ours, step)
    theirs = torch.optim.SGD(groups([torch.nn.Parameter(each) for each in values(ours)]), lr=0.1)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    back = lrc.make_optimizer("sgd", groups([torch.nn.Parameter(each) for each in values(ours)]), 0.1)
    back.load_state_dict(copy.deepcopy(theirs.state_dict()))
    theirs.param_groups[0]["fused"] = theirs.param_groups[1]["fused"] = False
    for step in range(2, STEPS):
        for each in (ours, theirs, back):
            update(each, step)
    check_equal(ours, back)
    check_close(ours, theirs)


def test_states_of_adamw_are_those_of_torch() -> None:
    """Each loads what the other saved; a copy and a pickle refuse what it does."""
    ours = lrc.make_optimizer("adamw", groups(parameters()), 0.1)
    for step in range(2):
        update(ours, step)
    theirs = torch.optim.AdamW(groups([torch.nn.Parameter(each) for each in values(ours)]), lr=0.1)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    back = lrc.make_optimizer("adamw", groups([torch.nn.Parameter(each) for each in values(ours)]), 0.1)
    back.load_state_dict(copy.deepcopy(theirs.state_dict()))
    copies = [theirs, back, copy.deepcopy(ours), pickled(ours)]
    for step in range(2, STEPS):
        for each in (ours, *copies):
            update(each, step)
    for each in copies:
        check_equal(ours, each)
    for each in copies[1:]:
        with pytest.raises(lrc.errors.BadInput, match="must be of AdamW to be loaded into it"):
            each.load_state_dict(lrc.make_optimizer("prodigy", groups(parameters())).state_dict())


def test_late_parameters_are_trained_within_mechanic() -> None:
    """Also where its own quick step gives way, as under a schedule, whose hooks are on the optimizer inside."""

    def trained(watched: bool) -> torch.optim.Optimizer:
        first, second = parameters(2)
        optimizer = lrc.make_optimizer("mechanic(sgd, initial_scale=0.1)", [first, second])
        scheduler = lrc.as_torch_scheduler(optimizer, "constant", STEPS) if watched else None
        for step in range(STEPS):
            first.grad = first.detach().clone()
            second.grad = second.detach().clone() if step >= 3 else None
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        return optimizer

    quick = trained(watched=False)
    check_close(quick, trained(watched=True))
    for before, after in zip(parameters(2), values(quick), strict=True):
        assert after.square().sum() < before.square().sum()


def test_rates_as_tensors_and_hooks_are_as_on_torchs_own() -> None:
    """It is still one of torch's: it may be tensorized, and each hook runs once an update."""
    theirs = torch.optim.SGD(parameters(1), lr=0.1)  # also torch's own class is patched now
    ours = lrc.tensorize(lrc.make_optimizer("sgd", groups(parameters()), 0.5))
    called = []
    ours.register_step_pre_hook(lambda *_: called.append("before"))
    ours.register_step_post_hook(lambda *_: called.append("after"))
    update(ours, 0)
    assert called == ["before", "after"]
    assert torch.equal(ours.param_groups[0]["lr"], torch.tensor(0.5))
    assert isinstance(ours, type(theirs))
    assert repr(ours).startswith("SGD (")
    adamw = lrc.tensorize(lrc.make_optimizer("adamw", groups(parameters()), 0.5))
    update(adamw, 0)
    assert torch.equal(adamw.param_groups[0]["lr"], torch.tensor(0.5))
    assert repr(adamw).startswith("AdamW (")
