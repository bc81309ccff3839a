"""Learning-rate-free optimizers: steps are the same however tensors lie in memory and whichever have gradients."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from lrcontrol.errors import BadInput
from lrcontrol.runs.optimizer_specs import Mechanic as MechanicSpec
from lrcontrol.training.optimizers import blocks, evaluation_weights, layout, make_optimizer
from lrcontrol.training.optimizers.mechanic import Mechanic
from lrcontrol.training.state import put, taken
from test_lr_free import LR_FREE, apart, begun, flat, rate_of, scheduled, slopes, trained

OURS = ["mechanic(sgd)", *LR_FREE]
DECAYED = {"mechanic": "mechanic(adamw(weight_decay=0.1))"}


def ended(name: str, parameters: list[Any], *, steps: int = 30) -> torch.Tensor:
    optimizer = make_optimizer(name, parameters, rate_of(name))
    trained(optimizer, parameters, scheduled(name), steps=steps)
    with evaluation_weights(optimizer):
        return torch.cat([flat(parameters), flat([optimizer.state[each].get("x0", each) for each in parameters])])


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device where a pass over many tensors is one kernel."""
    monkeypatch.setattr(layout, "in_pieces", lambda device: False)


@pytest.mark.parametrize("name", [*OURS, *DECAYED.values(), "prodigy(weight_decay=0.1)", "dog(weight_decay=0.1)"])
@pytest.mark.parametrize("size", [25, 64, 10**6])
def test_blocks_of_any_size_and_none_are_the_same(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", size)
    found = ended(name, begun())
    monkeypatch.setattr(layout, "in_pieces", lambda device: False)
    assert apart(found, ended(name, begun())) < 1e-9


@pytest.mark.parametrize("name", OURS)
def test_weights_with_gaps_and_in_other_orders_and_empty_ones_are_the_same(name: str) -> None:
    """Also where gradients lie otherwise than their weights."""
    plain = begun()
    large = [torch.randn(100, 90, generator=torch.Generator().manual_seed(1), dtype=torch.float64) for _ in range(2)]
    lain = [
        *(each.detach().clone() for each in plain),
        large[0].t().contiguous().t(),
        torch.cat([large[1], large[1]], 1)[:, :90],
        torch.empty(0, 3, dtype=torch.float64),
    ]
    lain[0] = lain[0].t().contiguous().t()
    plain = [nn.Parameter(each.clone(memory_format=torch.contiguous_format)) for each in lain]
    ends = []
    for parameters in (plain, [nn.Parameter(each) for each in lain]):
        optimizer = make_optimizer(name, parameters, rate_of(name))
        for step in range(12):
            slopes(parameters, step)
            if step % 2:
                for each in parameters:
                    each.grad = each.grad.t().contiguous().t() if each.dim() == 2 else each.grad
            optimizer.step()
        ends.append(flat(parameters))
    assert apart(ends[1], ends[0]) < 1e-9


@pytest.mark.parametrize("name", OURS)
def test_types_may_be_mixed(name: str) -> None:
    parameters = [*begun(torch.float32), *begun(torch.float64, seed=1)]
    both = ended(name, parameters, steps=10)
    assert bool(both.isfinite().all())
    assert not torch.equal(flat(parameters[:5]), flat(begun(torch.float32)))
    assert not torch.equal(flat(parameters[5:]), flat(begun(torch.float64, seed=1)))


@pytest.mark.parametrize("name", OURS)
def test_what_is_replaced_is_what_the_next_step_is_of(name: str) -> None:
    """Weights, gradients and states that others put in their place are as good as those that they are equal to."""
    ours, theirs = begun(), begun()
    first, second = (make_optimizer(name, each, rate_of(name)) for each in (ours, theirs))
    for step in range(12):
        for parameters, optimizer in ((ours, first), (theirs, second)):
            slopes(parameters, step)
            if optimizer is second:
                replaced(theirs, second, step)
            optimizer.step()
        assert torch.equal(flat(ours), flat(theirs))


def replaced(parameters: list[Any], optimizer: Any, step: int) -> None:
    for each in parameters[step % 2 :: 2]:
        grad = each.grad
        each.grad = None
        each.data = each.data.clone()
        each.grad = grad
        state = optimizer.state[each]
        for key, value in list(state.items()):
            if isinstance(value, torch.Tensor):
                state[key] = value.clone()
        if step % 3 == 0:
            optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("name", OURS)
def test_a_step_lets_go_of_the_gradients(name: str) -> None:
    parameters = [*begun(), nn.Parameter(torch.ones(200, 200, dtype=torch.float64))]
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(2):
        slopes(parameters, step)
        optimizer.step()
    held = [StorageWeakRef(each.grad.untyped_storage()) for each in parameters]
    assert not any(each.expired() for each in held)
    optimizer.zero_grad()
    assert all(each.expired() for each in held)


@pytest.mark.parametrize("name", ["prodigy", "prodigy(beta1=0.5, safeguard_warmup=true)", "dadapt_sgd", "dadapt_adam"])
def test_gradients_that_come_and_go_are_as_in_the_packages(name: str) -> None:
    """While the estimate grows, too: what had no gradient stays as it was."""
    prodigyopt, dadaptation = map(pytest.importorskip, ("prodigyopt", "dadaptation"))
    make = {
        "prodigy": lambda given: prodigyopt.Prodigy(given),
        "prodigy(beta1=0.5, safeguard_warmup=true)": lambda given: prodigyopt.Prodigy(
            given, betas=(0.5, 0.999), safeguard_warmup=True
        ),
        "dadapt_sgd": lambda given: dadaptation.DAdaptSGD(given, momentum=0.9),
        "dadapt_adam": lambda given: dadaptation.DAdaptAdam(given),
    }
    ours, theirs = begun(), begun()
    optimizer, reference = make_optimizer(name, ours), make[name](theirs)
    for step in range(120):
        for parameters in (ours, theirs):
            slopes(parameters, step)
            if step > 2:
                parameters[step % 5].grad = None
                parameters[(step * step) % 5].grad = None
        optimizer.step()
        reference.step()
        assert apart(flat(ours), flat(theirs)) < 1e-9
    assert optimizer.param_groups[0]["d"] == pytest.approx(reference.param_groups[0]["d"], rel=1e-9)
    assert optimizer.param_groups[0]["d"] > 1e-4


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam"])
def test_moments_without_units_are_in_ones(name: str) -> None:
    """States of before moments had units go on."""
    ours, theirs = begun(), begun()
    first, second = (make_optimizer(name, each) for each in (ours, theirs))
    powers = {"prodigy": {"exp_avg": 1, "exp_avg_sq": 2}, "dadapt_adam": {"exp_avg": 1, "s": 1}}[name]
    for step in range(40):
        for parameters, optimizer in ((ours, first), (theirs, second)):
            slopes(parameters, step)
            for each in parameters if optimizer is second and step % 7 == 3 else ():
                state = optimizer.state[each]
                unit = state.pop("unit")
                for key, power in powers.items():
                    state[key] = state[key] * unit**power
            optimizer.step()
    assert apart(flat(theirs), flat(ours)) < 1e-9


INNER = {
    "sgd": lambda given: torch.optim.SGD(given, lr=1.0, momentum=0.9, weight_decay=0.1, nesterov=True),
    "plain sgd": lambda given: torch.optim.SGD(given, lr=0.5),
    "adamw": lambda given: torch.optim.AdamW(given, lr=1.0, weight_decay=0.1),
    "fused adamw": lambda given: torch.optim.AdamW(given, lr=1.0, weight_decay=0.1, fused=True),
}


@pytest.mark.parametrize("name", INNER)
def test_steps_of_the_inner_optimizer_are_its_own(name: str) -> None:
    """One that is watched makes its steps itself; they, its state and what comes of them are the same."""
    ours, theirs = begun(), begun()
    spec = MechanicSpec()
    fast, read = (Mechanic(INNER[name](each), spec) for each in (ours, theirs))
    calls: list[Any] = []
    read.inner.register_step_post_hook(lambda *_: calls.append(1))
    for step in range(60):
        for parameters, optimizer in ((ours, fast), (theirs, read)):
            slopes(parameters, step)
            if step > 40:
                parameters[step % 5].grad = None
            optimizer.step()
    assert len(calls) == 60
    assert apart(flat(ours), flat(theirs)) < 1e-7
    for one, other in zip(ours, theirs, strict=True):
        mine, its = fast.inner.state[one], read.inner.state[other]
        assert {key for key, value in mine.items() if value is not None} == {
            key for key, value in its.items() if value is not None
        }
        for key in mine:
            if mine[key] is not None:
                assert apart(mine[key].double(), its[key].double()) < 1e-7


class Replacing(torch.optim.Optimizer):
    """Plain descent that puts other tensors in the place of the parameters."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1.0})

    def step(self, closure: Any = None) -> None:
        for each in (each for group in self.param_groups for each in group["params"] if each.grad is not None):
            each.data = each.data - each.grad


def test_an_inner_optimizer_may_replace_the_parameters() -> None:
    """What it puts in their place counts as its update, and they stay where they were in memory."""
    ours, theirs = begun(), begun()
    replacing, plain = (
        Mechanic(Replacing(ours), MechanicSpec()),
        Mechanic(torch.optim.SGD(theirs, 1.0), MechanicSpec()),
    )
    pointers = [each.data_ptr() for each in ours]
    assert apart(trained(replacing, ours, lambda _: 1.0), trained(plain, theirs, lambda _: 1.0)) < 1e-9
    assert [each.data_ptr() for each in ours] == pointers


def saved(value: Any) -> int:
    """Bytes of a file with it."""
    file = io.BytesIO()
    torch.save(value, file)
    return len(file.getvalue())


def many(count: int = 40) -> list[Any]:
    return [nn.Parameter(torch.full((500,), float(place))) for place in range(count)]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("size", [saved, lambda value: len(pickle.dumps(value))])
def test_states_are_as_large_in_files_as_they_are(name: str, size: Callable[[Any], int]) -> None:
    """Not each as large as all that lie together; also one by one, and the optimizer itself."""
    parameters = many()
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(2):
        slopes(parameters, step)
        optimizer.step()
        kept = optimizer.state_dict()
        every = [kept["state"], *([kept["inner"]["state"]] if "inner" in kept else [])]
        tensors = [
            value
            for states in every
            for state in states.values()
            for value in state.values()
            if torch.is_tensor(value)
        ]
        whole = sum(each.numel() * each.itemsize for each in tensors)
        assert size(kept) < 1.5 * whole + 20_000
        assert size(optimizer) < 1.5 * (whole + 40 * 2000) + 40_000
        assert size(kept["state"][0]) < 1.5 * whole / 40 + 10_000


@pytest.mark.parametrize("name", OURS)
def test_what_has_no_gradient_any_more_does_not_hold_on_to_the_rest(name: str) -> None:
    parameters = many()
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(len(parameters)):
        slopes(parameters, step)
        for each in parameters[:step]:
            each.grad = None
        optimizer.step()
    states = [optimizer.state, *([optimizer.inner.state] if isinstance(optimizer, Mechanic) else [])]
    tensors = [
        value for each in states for state in each.values() for value in state.values() if torch.is_tensor(value)
    ]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    assert sum(storages.values()) < 1.1 * sum(each.numel() * each.itemsize for each in tensors)


@pytest.mark.parametrize("name", OURS)
def test_where_nothing_is_put_together_a_step_lets_go_of_all_tensors(name: str, elsewhere: None) -> None:
    """Whoever moves weights and states off a device has its memory."""
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(2):
        slopes(parameters, step)
        optimizer.step()
    states = [optimizer.state, *([optimizer.inner.state] if isinstance(optimizer, Mechanic) else [])]
    kept = [value for each in states for state in each.values() for value in state.values() if torch.is_tensor(value)]
    held = [StorageWeakRef(each.untyped_storage()) for each in (*parameters, *kept)]
    del kept
    for each in parameters:
        each.grad = None
        each.data = each.data.clone()
    for state in (state for each in states for state in each.values()):
        state |= {key: value.clone() for key, value in state.items() if torch.is_tensor(value)}
    assert all(each.expired() for each in held)
    slopes(parameters, 2)
    optimizer.step()


@pytest.mark.parametrize("name", OURS)
def test_a_step_is_known_to_have_changed_its_parameters(name: str) -> None:
    """A graph that needs them as they were says so when it is gone through backwards."""
    parameters = [*begun(torch.float32), nn.Parameter(torch.ones(200, 200)), nn.Parameter(torch.ones(200, 200).t())]
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(3):
        slopes(parameters, step)
        before = [each._version for each in parameters]
        optimizer.step()
        assert all(each._version > version for each, version in zip(parameters, before, strict=True))


@pytest.mark.parametrize("name", OURS)
def test_two_parameters_that_are_one_in_memory_are_one_sentence(name: str) -> None:
    one, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    other.data = one.data
    for groups in ([one, other], [{"params": [one]}, {"params": [other]}]):
        optimizer = make_optimizer(name, groups, rate_of(name))
        slopes([one, other], 0)
        for _ in range(2):
            with pytest.raises(BadInput, match="must each have memory of their own, got two that are one there"):
                optimizer.step()
        other.grad = None
        optimizer.step()
        assert not torch.equal(one.detach(), torch.ones(3)) or name in ("mechanic", "mechanic(sgd)")


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam"])
def test_a_step_in_half_precision_is_of_finite_numbers(name: str) -> None:
    """New moments are not scaled by a number beyond the type."""
    parameters = begun(torch.float16)
    assert bool(trained(make_optimizer(name, parameters), parameters, lambda _: 1.0, steps=20).isfinite().all())


@pytest.mark.parametrize("name", OURS)
def test_weights_of_another_type_go_on_with_a_loaded_state(name: str) -> None:
    """The layout is made anew where only the type is another."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(200, 200))
    parameters = list(model.parameters())
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(4):
        slopes(parameters, step)
        optimizer.step()
        for each in parameters:
            each.grad = None
        if step == 1:
            model.double()
            optimizer.load_state_dict(optimizer.state_dict())
    assert bool(flat(parameters).isfinite().all())
    kept = [value for value in optimizer.state[parameters[0]].values() if torch.is_tensor(value)]
    assert all(each.dtype == torch.float64 for each in kept)


def test_states_are_saved_one_by_one_and_put_back(elsewhere: None) -> None:
    """What lies together is saved as tensors of their shapes; where nothing is put together it goes on, too."""
    model, again = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = make_optimizer("dog", model.parameters())
    for step in range(3):
        slopes(list(model.parameters()), step)
        optimizer.step()
    other = make_optimizer("dog", again.parameters())
    put(taken(3, model, optimizer), again, other)
    for parameters, each in ((list(model.parameters()), optimizer), (list(again.parameters()), other)):
        slopes(parameters, 3)
        each.step()
    assert torch.equal(flat(list(model.parameters())), flat(list(again.parameters())))
