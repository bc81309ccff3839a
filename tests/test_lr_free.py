"""Learning-rate-free optimizers: each equal to its paper's loop and its package; what a step honours and refuses."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

import optimizer_twins as twins
from lrcontrol.errors import BadInput
from lrcontrol.runs.optimizer import OPTIMIZERS, read_optimizer
from lrcontrol.runs.optimizer_specs import Mechanic as MechanicSpec
from lrcontrol.schedules.reader import Reader
from lrcontrol.training.optimizers import blocks, evaluation_weights, make_optimizer
from lrcontrol.training.optimizers.mechanic import Mechanic

LR_FREE = [name for name in OPTIMIZERS if name not in ("own", "sgd", "adamw")]
STEPS = 200
SHAPES = [(3, 5), (), (40,), (2, 3, 4, 4), (7, 1)]


def rate_of(text: str) -> float:
    return {"schedulefree_sgd": 0.3, "schedulefree_adamw": 0.02}.get(text.partition("(")[0], 1.0)


def begun(dtype: torch.dtype = torch.float64, *, seed: int = 0) -> list[nn.Parameter]:
    """Parameters of odd shapes; the image kernel lies in memory channels last."""
    random = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype) for shape in SHAPES]
    made[3] = made[3].to(memory_format=torch.channels_last)
    return [nn.Parameter(each) for each in made]


def slopes(parameters: list[Any], step: int, *, noise: float = 0.3) -> None:
    """Gradients of a noisy quadratic, curved from 0.2 to 2, whose minimum is at 1."""
    random = torch.Generator().manual_seed(1000 + step)
    for place, each in enumerate(parameters):
        chance = torch.randn(each.shape, generator=random, dtype=torch.float64).to(each.dtype)
        curve = torch.linspace(0.2, 2, each.numel(), dtype=torch.float64).reshape(each.shape).to(each.dtype)
        each.grad = curve * (each.detach() - 1) + noise * chance * (1 + place)


def trained(optimizer: Any, parameters: list[Any], rates: Callable[[int], float], *, steps: int = STEPS) -> Tensor:
    """Shape (steps, numbers): the parameters after every step; `rates` gives the rate of each."""
    rows = []
    for step in range(steps):
        slopes(parameters, step)
        if isinstance(optimizer, twins.Twin):
            optimizer.step(rates(step))
        else:
            for group in optimizer.param_groups:
                group["lr"] = rates(step)
            optimizer.step()
        rows.append(flat(parameters))
    return torch.stack(rows)


def flat(tensors: list[Any]) -> Tensor:
    return torch.cat([each.detach().double().reshape(-1) for each in tensors])


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(params=[25, 10**6], ids=["small blocks", "whole"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(blocks, "BLOCK", request.param)
    return request.param


class AroundSGD(twins.Mechanic):
    @staticmethod
    def make(given: list[Any]) -> Any:
        return torch.optim.SGD(given, lr=1.0, momentum=0.9)


class AroundDecayedSGD(twins.Mechanic):
    @staticmethod
    def make(given: list[Any]) -> Any:
        return torch.optim.SGD(given, lr=1.0, momentum=0.8, weight_decay=0.1, nesterov=True)


class AroundAdamW(twins.Mechanic):
    @staticmethod
    def make(given: list[Any]) -> Any:
        return torch.optim.AdamW(given, lr=1.0)


TWINS: list[tuple[str, type[twins.Twin], dict[str, Any]]] = [
    ("dog", twins.DoG, {}),
    ("dog(initial_distance=1e-3, weight_decay=0.1, average_power=2, eps=0.1)", twins.DoG, {
        "initial_distance": 1e-3, "weight_decay": 0.1, "average_power": 2, "eps": 0.1}),
    ("ldog(initial_distance=1e-4)", twins.LDoG, {"initial_distance": 1e-4}),
    ("ldog(weight_decay=0.1, eps=0.01, average_power=0)", twins.LDoG, {
        "weight_decay": 0.1, "eps": 0.01, "average_power": 0}),
    ("dowg", twins.DoWG, {}),
    ("dowg(initial_distance=0.1, eps=0.5, weight_decay=0.2)", twins.DoWG, {
        "initial_distance": 0.1, "eps": 0.5, "weight_decay": 0.2}),
    ("cocob", twins.Cocob, {}),
    ("cocob(alpha=3, eps=0.1, weight_decay=0.1)", twins.Cocob, {"alpha": 3.0, "eps": 0.1, "weight_decay": 0.1}),
    ("cocob(alpha=0.5)", twins.Cocob, {"alpha": 0.5}),
    ("mechanic(sgd)", AroundSGD, {}),
    ("mechanic(sgd(momentum=0.8, weight_decay=0.1, nesterov=true), num_betas=3)", AroundDecayedSGD, {"num_betas": 3}),
    ("mechanic(adamw)", AroundAdamW, {}),
    ("mechanic(adamw, decay=0, initial_scale=1e-4, eps=1e-3)", AroundAdamW, {
        "decay": 0.0, "initial_scale": 1e-4, "eps": 1e-3}),
    ("schedulefree_sgd", twins.ScheduleFree, {}),
    ("schedulefree_sgd(momentum=0.7, weight_decay=0.1, average_power=1, lr_power=1)", twins.ScheduleFree, {
        "beta": 0.7, "weight_decay": 0.1, "average_power": 1, "lr_power": 1}),
    ("schedulefree_adamw", twins.ScheduleFree, {"adam": True}),
    ("schedulefree_adamw(beta1=0.7, beta2=0.9, weight_decay=0.1, eps=0.1)", twins.ScheduleFree, {
        "adam": True, "beta": 0.7, "beta2": 0.9, "weight_decay": 0.1, "eps": 0.1}),
    ("prodigy", twins.Prodigy, {}),
    ("prodigy(beta1=0.5, beta2=0.9, weight_decay=0.1, d_coef=0.5, d0=1e-4, eps=1e-3)", twins.Prodigy, {
        "beta1": 0.5, "beta2": 0.9, "weight_decay": 0.1, "d_coef": 0.5, "d0": 1e-4, "eps": 1e-3}),
    ("dadapt_sgd", twins.DAdaptSGD, {}),
    ("dadapt_sgd(momentum=0, weight_decay=0.1, d0=1e-3)", twins.DAdaptSGD, {
        "momentum": 0.0, "weight_decay": 0.1, "d0": 1e-3}),
    ("dadapt_adam", twins.DAdaptAdam, {}),
    ("dadapt_adam(beta1=0.5, beta2=0.9, weight_decay=0.1, d0=1e-3, eps=1e-2)", twins.DAdaptAdam, {
        "beta1": 0.5, "beta2": 0.9, "weight_decay": 0.1, "d0": 1e-3, "eps": 1e-2}),
]  # fmt: skip


def scheduled(text: str) -> Callable[[int], float]:
    """A warmup and a cosine, of the rate that is usual."""
    base = rate_of(text)
    return lambda step: base * min(1, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * step / STEPS))


@pytest.mark.parametrize(("text", "twin", "settings"), TWINS, ids=[row[0] for row in TWINS])
def test_every_optimizer_is_its_papers_loop(block: int, text: str, twin: Any, settings: dict[str, Any]) -> None:
    """At a constant and at a scheduled rate; the weights trained and those to judge by; in float64 to rounding."""
    for rates in (lambda _: rate_of(text), scheduled(text)):
        ours, theirs = begun(), begun()
        optimizer, reference = make_optimizer(text, ours, rate_of(text)), twin(theirs, **settings)
        steps = STEPS if block > 100 else 20
        found, expected = (
            trained(each, on, rates, steps=steps) for each, on in ((optimizer, ours), (reference, theirs))
        )
        assert apart(found, expected) < 1e-9
        with evaluation_weights(optimizer):
            assert apart(flat(ours), flat(reference.evaluated())) < 1e-9


@pytest.mark.parametrize(("text", "twin", "settings"), TWINS, ids=[row[0] for row in TWINS])
def test_float32_is_near_the_loop_in_float64(text: str, twin: Any, settings: dict[str, Any]) -> None:
    """For the first steps: estimates that grow let roundings grow."""
    ours, theirs = begun(torch.float32), begun()
    with torch.no_grad():
        for mine, each in zip(ours, theirs, strict=True):
            each.copy_(mine)
    optimizer, reference = make_optimizer(text, ours, rate_of(text)), twin(theirs, **settings)
    rates = scheduled(text)
    assert apart(trained(optimizer, ours, rates, steps=15), trained(reference, theirs, rates, steps=15)) < 2e-3


def packages() -> dict[str, Callable[[list[Any]], Any]]:
    dadaptation, prodigyopt, schedulefree = map(pytest.importorskip, ("dadaptation", "prodigyopt", "schedulefree"))
    return {
        "schedulefree_sgd": lambda given: schedulefree.SGDScheduleFree(given, lr=0.3),
        "schedulefree_sgd(weight_decay=0.1, average_power=1)": lambda given: schedulefree.SGDScheduleFree(
            given, lr=0.3, weight_decay=0.1, r=1
        ),
        "schedulefree_adamw": lambda given: schedulefree.AdamWScheduleFree(given, lr=0.02),
        "schedulefree_adamw(weight_decay=0.1, lr_power=1)": lambda given: schedulefree.AdamWScheduleFree(
            given, lr=0.02, weight_decay=0.1, weight_lr_power=1
        ),
        "prodigy": lambda given: prodigyopt.Prodigy(given),
        "prodigy(weight_decay=0.1, growth_rate=1.1, bias_correction=true, safeguard_warmup=true)": (
            lambda given: prodigyopt.Prodigy(
                given, weight_decay=0.1, growth_rate=1.1, use_bias_correction=True, safeguard_warmup=True
            )
        ),
        "prodigy(weight_decay=0.1, decoupled=false, beta3=0.9, d_coef=2)": lambda given: prodigyopt.Prodigy(
            given, weight_decay=0.1, decouple=False, beta3=0.9, d_coef=2.0
        ),
        "dadapt_sgd": lambda given: dadaptation.DAdaptSGD(given, momentum=0.9),
        "dadapt_sgd(momentum=0, weight_decay=0.1, growth_rate=1.2)": lambda given: dadaptation.DAdaptSGD(
            given, weight_decay=0.1, growth_rate=1.2
        ),
        "dadapt_adam": lambda given: dadaptation.DAdaptAdam(given),
        "dadapt_adam(weight_decay=0.1, growth_rate=1.1, bias_correction=true)": lambda given: dadaptation.DAdaptAdam(
            given, weight_decay=0.1, growth_rate=1.1, use_bias_correction=True
        ),
        "dadapt_adam(weight_decay=0.1, decoupled=true)": lambda given: dadaptation.DAdaptAdam(
            given, weight_decay=0.1, decouple=True
        ),
    }


@pytest.mark.parametrize("place", range(12))
def test_wrapped_optimizers_are_their_packages(place: int) -> None:
    text, make = list(packages().items())[place]
    for rates in (lambda _: rate_of(text), scheduled(text)):
        ours, theirs = begun(), begun()
        with contextlib.redirect_stdout(io.StringIO()):  # they print
            reference = make(theirs)
        if hasattr(reference, "train"):
            reference.train()
        optimizer = make_optimizer(text, ours, rate_of(text))
        assert apart(trained(optimizer, ours, rates), trained(reference, theirs, rates)) < 1e-9


# ---- what each number does ----

OTHER: dict[str, Any] = {"growth_rate": 1.01, "beta3": 0.5, "num_betas": 2, "average_power": 1.5, "weight_decay": 0.3}
LARGER = {"cocob": {"eps": 10.0}}


@pytest.mark.parametrize("name", LR_FREE)
def test_every_number_moves_the_weights(name: str) -> None:
    """Those that training makes, or those that the model is judged by."""
    usual = OPTIMIZERS[name]()
    fields = [field.name for field in msgspec.structs.fields(usual)]
    if name == "mechanic":
        fields.remove("inner")

    def ended(spec: Any) -> Tensor:
        parameters = begun()
        optimizer = make_optimizer(spec, parameters, rate_of(name))
        trained(optimizer, parameters, scheduled(name), steps=60)
        with evaluation_weights(optimizer):
            return flat(parameters)

    plain = ended(usual)
    decayed = msgspec.structs.replace(usual, weight_decay=0.3) if "decoupled" in fields else usual
    for field in fields:
        value = getattr(usual, field)
        other = (not value) if isinstance(value, bool) else OTHER.get(field, value * 0.5 if value else 0.3)
        other = LARGER.get(name, {}).get(field, other)
        before = ended(decayed) if field == "decoupled" else plain
        after = ended(msgspec.structs.replace(decayed if field == "decoupled" else usual, **{field: other}))
        assert not torch.equal(before, after), f"{field} of {name} changes nothing"


@pytest.mark.parametrize("name", LR_FREE)
def test_each_comes_near_a_known_minimum(name: str) -> None:
    """A quadratic in ten numbers, from 3 away, without noise; evaluated where it says."""
    weight = nn.Parameter(torch.full((10,), 4.0))
    curve = torch.linspace(0.5, 1.5, 10)
    optimizer = make_optimizer(name, [weight], rate_of(name))
    # the sum-like estimates of dadapt begin at 1e-6 and need longer
    for _ in range(1500):
        weight.grad = curve * (weight.detach() - 1)
        optimizer.step()
    with evaluation_weights(optimizer):
        assert float((weight.detach() - 1).abs().max()) < 0.1


@pytest.mark.parametrize("name", LR_FREE)
def test_a_rate_of_zero_changes_no_weight(name: str) -> None:
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate_of(name))
    before = flat(parameters)
    trained(optimizer, parameters, lambda _: 0.0, steps=3)
    assert apart(flat(parameters), before) < (1e-9 if name == "mechanic" else 1e-12)
    assert apart(trained(optimizer, parameters, scheduled(name), steps=30)[-1], before) > 1e-9


@pytest.mark.parametrize("name", LR_FREE)
def test_parameters_without_gradients_stand_still_and_gradients_are_not_changed(name: str) -> None:
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate_of(name))
    for step in range(30):
        slopes(parameters, step)
        parameters[1].grad = None
        if step < 15:
            parameters[3].grad = None
        before = [None if each.grad is None else each.grad.clone() for each in parameters]
        optimizer.step()
        for each, grad in zip(parameters, before, strict=True):
            assert (each.grad is None) if grad is None else torch.equal(each.grad, grad)
    assert torch.equal(parameters[1], begun()[1])
    assert not torch.equal(parameters[3], begun()[3])


@pytest.mark.parametrize("name", LR_FREE)
def test_groups_are_one_model_and_may_be_added(name: str) -> None:
    """The same as without groups, but for L-DoG, which takes tensors one by one anyway."""
    ours, theirs = begun(), begun()
    whole = make_optimizer(name, ours, rate_of(name))
    split = make_optimizer(name, [{"params": theirs[:2]}, {"params": theirs[2:4]}], rate_of(name))
    split.add_param_group({"params": theirs[4:], "lr": rate_of(name)})
    assert apart(trained(split, theirs, scheduled(name)), trained(whole, ours, scheduled(name))) < 1e-9


@pytest.mark.parametrize("name", ["prodigy", "dadapt_sgd", "dadapt_adam"])
def test_two_rates_are_refused_where_there_is_one_estimate_and_zero_is_not(name: str) -> None:
    parameters = begun()
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.5}]
    optimizer = make_optimizer(name, groups)
    slopes(parameters, 0)
    with pytest.raises(BadInput, match=r"must have one learning rate, or 0 .* got 1 and 0\.5"):
        optimizer.step()
    optimizer.param_groups[1]["lr"] = 0.0
    trained_before = flat(parameters[2:])
    for step in range(5):
        slopes(parameters, step)
        optimizer.step()
    assert torch.equal(flat(parameters[2:]), trained_before)
    assert not torch.equal(flat(parameters[:2]), flat(begun()[:2]))


@pytest.mark.parametrize("name", LR_FREE)
def test_bad_parameters_and_gradients_are_one_sentence(name: str) -> None:
    with pytest.raises(BadInput, match=r"real numbers of floating point, got torch\.complex64"):
        make_optimizer(name, [nn.Parameter(torch.zeros(2, dtype=torch.complex64))], 1.0)
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = make_optimizer(name, table.parameters(), 1.0)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(BadInput, match="must be dense, got a sparse one"):
        optimizer.step()


def test_parameters_on_two_devices_are_one_sentence() -> None:
    given = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, device="meta"))]
    with pytest.raises(BadInput, match=r"on one device.*got cpu, meta"):
        make_optimizer("dog", given)


def test_a_rate_must_be_given_where_none_is_found() -> None:
    for text in ("sgd", "adamw", "schedulefree_sgd", "schedulefree_adamw"):
        with pytest.raises(BadInput, match="`base_lr` must be given"):
            make_optimizer(text, begun())
    for text in ("own", 3, "prodigy:cosine", "prodigy(lr=2)"):
        with pytest.raises(BadInput):
            make_optimizer(text, begun())


@pytest.mark.parametrize("name", LR_FREE)
def test_a_closure_is_called_once_with_gradients(name: str) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(name, [weight], rate_of(name))
    calls = []

    def closure() -> Tensor:
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert float(optimizer.step(closure)) == 3.0
    assert calls == [True]


def test_mechanic_goes_around_any_optimizer() -> None:
    """One whose updates are read off the parameters is the same as one that steps the sum itself."""
    ours, theirs = begun(), begun()

    class Another(torch.optim.SGD):
        pass

    spec = MechanicSpec()
    fast = Mechanic(torch.optim.SGD(ours, lr=1.0, momentum=0.9, weight_decay=0.1), spec)
    read = Mechanic(Another(theirs, lr=1.0, momentum=0.9, weight_decay=0.1), spec)
    assert apart(trained(fast, ours, lambda _: 1.0), trained(read, theirs, lambda _: 1.0)) < 1e-7
    assert fast.param_groups[0] is fast.inner.param_groups[0]
    with pytest.raises(BadInput, match="`inner` must be a torch optimizer"):
        Mechanic(None, spec)  # type: ignore[arg-type]


def test_a_momentum_that_is_scheduled_keeps_the_average() -> None:
    """Schedule-free weights lie between z and x by the momentum now; x does not jump when it changes."""
    for text, key in (("schedulefree_sgd", "momentum"), ("schedulefree_adamw", "betas")):
        parameters = begun()
        optimizer = make_optimizer(text, parameters, rate_of(text))
        trained(optimizer, parameters, lambda _, text=text: rate_of(text), steps=50)
        optimizer.param_groups[0][key] = 0.5 if key == "momentum" else (0.5, 0.999)
        for each in parameters:
            each.grad = torch.zeros_like(each)
        with evaluation_weights(optimizer):
            before = flat(parameters)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        state = optimizer.state[parameters[0]]
        with evaluation_weights(optimizer):
            after, x = flat(parameters), parameters[0].detach().clone()
        share = 1 / 51  # of z, in the average after 51 steps at one largest rate
        z = flat([optimizer.state[each]["z"] for each in parameters])
        assert apart(after, (1 - share) * before + share * z) < 1e-9
        assert apart(parameters[0].detach(), 0.5 * state["z"] + 0.5 * x) < 1e-9


def test_texts_are_read_as_methods_read_them() -> None:
    reader = Reader("mechanic(sgd(0.5), num_betas=2)", "optimizer")
    assert read_optimizer(reader) == MechanicSpec(OPTIMIZERS["sgd"](momentum=0.5), num_betas=2)
