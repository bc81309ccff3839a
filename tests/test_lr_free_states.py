"""Learning-rate-free optimizers: what is kept goes on as if nothing had happened, and evaluation puts all back."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import lr_free_ranks
from lrcontrol.errors import BadInput
from lrcontrol.training.optimizers import evaluation_weights, make_optimizer, recalibrate
from lrcontrol.training.optimizers.evaluation import forgotten
from lrcontrol.training.optimizers.kinds import KEPT_BY_ANY, KIND
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.state import State, put, taken
from ranks_kit import two_ranks
from test_lr_free import LR_FREE, begun, flat, rate_of, scheduled, slopes

OURS = ["mechanic(sgd)", *LR_FREE]
EVERY = ["sgd", "adamw", *OURS]


def rate(name: str) -> float:
    return {"sgd": 0.1, "adamw": 0.01}.get(name) or rate_of(name)


class Holder(nn.Module):
    """Parameters as a model has them."""

    def __init__(self) -> None:
        super().__init__()
        self.held = nn.ParameterList(begun(torch.float32))


def stepped(optimizer: Any, parameters: list[Any], name: str, step: int) -> None:
    slopes(parameters, step)
    for group in optimizer.param_groups:
        group["lr"] = scheduled(name)(step) if name not in ("sgd", "adamw") else rate(name)
    optimizer.step()


def through_files(state: State) -> State:
    """A state as a checkpoint holds it: tensors in safetensors, all else in JSON."""
    tensors = safetensors.torch.load(safetensors.torch.save({k: v.contiguous() for k, v in state.tensors.items()}))
    return State(state.step, tensors, json.loads(json.dumps(state.optimizer, allow_nan=False)), state.control)


@pytest.mark.parametrize("name", OURS)
def test_resume_equals_uninterrupted_at_every_step(name: str) -> None:
    """To the bit, through files, also of what the model is judged by; the state that was taken does not move."""
    model = Holder()
    optimizer = make_optimizer(name, model.parameters(), rate(name))
    states, after = [], []
    for step in range(12):
        states.append(through_files(taken(step, model, optimizer)))
        stepped(optimizer, list(model.parameters()), name, step)
    after = flat(list(model.parameters()))
    with evaluation_weights(optimizer):
        judged = flat(list(model.parameters()))
    for state in states:
        again = Holder()
        other = make_optimizer(name, again.parameters(), rate(name))
        put(state, again, other)
        for step in range(state.step, 12):
            stepped(other, list(again.parameters()), name, step)
        assert torch.equal(flat(list(again.parameters())), after)
        with evaluation_weights(other):
            assert torch.equal(flat(list(again.parameters())), judged)


@pytest.mark.parametrize("name", OURS)
def test_a_state_dict_is_loaded_twice_and_copies_are_apart(name: str) -> None:
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate(name))
    for step in range(5):
        stepped(optimizer, parameters, name, step)
    kept, weights = copy.deepcopy(optimizer.state_dict()), flat(parameters)
    ends = []
    for _ in range(2):
        ours = begun()
        with torch.no_grad():
            for mine, each in zip(ours, parameters, strict=True):
                mine.copy_(each)
        other = make_optimizer(name, ours, rate(name))
        other.load_state_dict(kept)
        for step in range(5, 10):
            stepped(other, ours, name, step)
        ends.append(flat(ours))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(flat(parameters), weights)
    both = copy.deepcopy((parameters, optimizer))
    for step in range(5, 10):
        stepped(both[1], both[0], name, step)
    assert torch.equal(flat(both[0]), ends[0])
    assert torch.equal(flat(parameters), weights)


@pytest.mark.parametrize("name", EVERY)
def test_evaluation_puts_back_every_bit(name: str) -> None:
    """Also where what is inside fails; training then goes on as if nobody had looked."""
    ours, theirs = begun(torch.float32), begun(torch.float32)
    looked, plain = make_optimizer(name, ours, rate(name)), make_optimizer(name, theirs, rate(name))
    moves = name.partition("(")[0] in ("schedulefree_sgd", "schedulefree_adamw", "dog", "ldog")
    for step in range(20):
        before, pointers = flat(ours), [each.data_ptr() for each in ours]
        with contextlib.suppress(ZeroDivisionError), evaluation_weights(looked):
            assert [each.data_ptr() for each in ours] == pointers
            assert not torch.equal(flat(ours), before) or not moves or step < 10
            assert torch.equal(flat(ours), before) or moves
            raise ZeroDivisionError
        assert torch.equal(flat(ours), before)
        stepped(looked, ours, name, step)
        stepped(plain, theirs, name, step)
    assert torch.equal(flat(ours), flat(theirs))


@pytest.mark.parametrize("name", LR_FREE)
def test_a_step_or_a_state_inside_evaluation_is_refused_and_nesting_is(name: str) -> None:
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate(name))
    stepped(optimizer, parameters, name, 0)
    state = optimizer.state_dict()
    with evaluation_weights(optimizer):
        with pytest.raises(BadInput, match=r"a step must come after `with evaluation_weights"):
            optimizer.step()
        with pytest.raises(BadInput, match="loading a state must come after"):
            optimizer.load_state_dict(state)
        with pytest.raises(BadInput, match="saving a state must come after"):
            optimizer.state_dict()
        with pytest.raises(BadInput, match="must not be used inside itself"), evaluation_weights(optimizer):
            pass
    with pytest.raises(BadInput, match="must not be used inside itself"), evaluation_weights(optimizer, optimizer):
        pass
    stepped(optimizer, parameters, name, 1)


@pytest.mark.parametrize("begins", [False, True], ids=["after a step", "before a step"])
@pytest.mark.parametrize("name", EVERY)
def test_states_of_other_optimizers_are_refused_and_change_nothing(name: str, begins: bool) -> None:
    """Of every other kind; also what is no state."""
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate(name))
    stepped(optimizer, parameters, name, 0)
    kept = copy.deepcopy(optimizer.state_dict())
    for other in EVERY:
        if other == name or {other, name} == {"mechanic", "mechanic(adamw)"}:
            continue
        theirs = begun()
        foreign = make_optimizer(other, theirs, rate(other))
        if not begins:
            stepped(foreign, theirs, other, 0)
        with pytest.raises(BadInput, match=r"a state (must be of|of Mechanic must hold) .*of the kind that saved it"):
            optimizer.load_state_dict(foreign.state_dict())
    for nothing in ([], None, {}, {"state": {}}):
        with pytest.raises(BadInput, match=r"`state_dict` must be|a state (must be of|of Mechanic)"):
            optimizer.load_state_dict(nothing)  # type: ignore[arg-type]
    assert str(optimizer.state_dict()) == str(kept)


@pytest.mark.parametrize("name", OURS)
def test_states_from_before_a_step_and_with_more_in_them_are_loaded(name: str) -> None:
    """A group's name or first rate, and what others keep of a parameter, are no reason to refuse."""
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate(name))
    optimizer.load_state_dict(make_optimizer(name, begun(), rate(name)).state_dict())
    stepped(optimizer, parameters, name, 0)
    state = optimizer.state_dict()
    for group in state["param_groups"] + state.get("inner", {"param_groups": []})["param_groups"]:
        group["initial_lr"] = 0.5
        group.pop(KIND)  # of before groups said whose they are
    for each in state["state"].values():
        each["lrcontrol_tangent"] = torch.zeros(1)
        each.pop("unit", None)  # moments of before there were units
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["initial_lr"] == 0.5
    assert optimizer.state_dict()["param_groups"][0][KIND] == type(optimizer).__name__


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_states_of_torchs_other_optimizers_are_refused(name: str) -> None:
    """Those of torch's Adam are kept as AdamW's are, and are loaded."""
    parameters = begun()
    optimizer = make_optimizer(name, parameters, rate(name))
    for kind in (torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax):
        for is_stepped in (False, True):
            foreign = kind(theirs := begun(), lr=0.1)
            if is_stepped:
                stepped(foreign, theirs, name, 0)
            with pytest.raises(
                BadInput, match=f"must be of {type(optimizer).__name__} to be loaded into it, got a gr"
            ):
                optimizer.load_state_dict(foreign.state_dict())
    adam = torch.optim.Adam(theirs := begun(), lr=0.1, amsgrad=True)
    stepped(adam, theirs, "adamw", 0)
    if name == "adamw":
        optimizer.load_state_dict(adam.state_dict())
        stepped(optimizer, parameters, name, 1)
        assert optimizer.param_groups[0]["lr"] == rate(name)


def test_a_state_is_told_whose_it_is() -> None:
    sgd, prodigy = make_optimizer("sgd", begun(), 0.1), make_optimizer("prodigy", begun())
    with pytest.raises(BadInput, match=r"must be of SGD to be loaded into it, got one of Prodigy; load it into an"):
        sgd.load_state_dict(prodigy.state_dict())
    assert sgd.param_groups[0]["lr"] == 0.1


def test_what_is_kept_of_a_parameter_is_what_an_optimizer_says() -> None:
    for name in OURS:
        parameters = begun()
        optimizer = make_optimizer(name, parameters, rate(name))
        stepped(optimizer, parameters, name, 0)
        assert isinstance(optimizer, LRFree)
        for state in optimizer.state.values():
            assert set(state) - {"unit"} == set(optimizer._keeps)
            assert set(optimizer._keeps) <= set(KEPT_BY_ANY)


def test_evaluation_is_for_optimizers_and_that_is_said_at_the_call() -> None:
    model = nn.Linear(1, 1)
    for given in (model, model.parameters(), [model.weight]):
        with pytest.raises(BadInput, match="must be a torch optimizer"):
            evaluation_weights(given)  # type: ignore[arg-type]


def test_evaluation_without_with_is_told_and_counts_for_nothing() -> None:
    parameters = begun()
    optimizer = make_optimizer("dog", parameters)
    stepped(optimizer, parameters, "dog", 0)
    before = [each.detach().clone() for each in parameters]
    with pytest.warns(UserWarning, match="`evaluation_weights` alone changes nothing: measure inside `with") as told:
        evaluation_weights(optimizer)
    assert told[0].filename == __file__
    assert all(map(torch.equal, parameters, before))
    assert "have not been in place" in str(forgotten(optimizer))
    with evaluation_weights(optimizer):
        pass
    assert all(map(torch.equal, parameters, before))


def test_the_packages_own_schedule_free_is_seen_through() -> None:
    """It is put into its evaluation mode, and then back to the bit and into training."""
    schedulefree = pytest.importorskip("schedulefree")
    ours, theirs = begun(), begun()
    own = make_optimizer("schedulefree_sgd", ours, 0.3)
    package = schedulefree.SGDScheduleFree(theirs, lr=0.3)
    package.train()
    for step in range(10):
        slopes(ours, step)
        slopes(theirs, step)
        own.step()
        package.step()
    before = flat(theirs)
    with evaluation_weights(own, package):
        assert torch.allclose(flat(ours), flat(theirs), rtol=1e-12)
        assert not torch.equal(flat(theirs), before)
        with pytest.raises(Exception, match="not in train mode"):
            package.step()
    assert torch.equal(flat(theirs), before)
    package.step()


def test_batch_norm_is_measured_anew() -> None:
    """Plain means over batches, with all else in evaluation, and every mode as it was."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[3].eval()
    batches = [torch.randn(16, 3) for _ in range(5)]
    modes = [each.training for each in model.modules()]
    random = torch.get_rng_state()
    assert recalibrate(model, [(batch, None) for batch in batches]) == 5
    assert torch.equal(torch.get_rng_state(), random)
    assert [each.training for each in model.modules()] == modes
    assert model[1].momentum == 0.1
    first = torch.stack([model[0](batch).mean(0) for batch in batches]).mean(0)
    assert torch.allclose(model[1].running_mean, first, atol=1e-6)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for bad in ([], [torch.ones(2, 99)]):
        with pytest.raises((BadInput, RuntimeError)):
            recalibrate(model, bad)
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
        assert [each.training for each in model.modules()] == modes
    assert recalibrate(nn.Linear(2, 2), []) == 0


def test_what_is_no_model_and_what_is_no_batches_is_told() -> None:
    model = nn.BatchNorm1d(2)
    optimizer = make_optimizer("dog", model.parameters())
    with pytest.raises(BadInput, match="`model` must be a torch module, got a DoG; give the model first"):
        recalibrate(optimizer, [torch.ones(4, 2)])  # type: ignore[arg-type]
    for bad in (torch.ones(4, 2), "text", {"input": torch.ones(4, 2)}, 3, None):
        with pytest.raises(BadInput, match=f"`batches` must be an iterable of batches, got a {type(bad).__name__};"):
            recalibrate(model, bad)  # type: ignore[arg-type]
    assert torch.equal(model.running_mean, torch.zeros(2))


def test_two_processes_are_one_on_the_joint_batch(tmp_path: Path) -> None:
    """The same weights on both ranks, to the bit, and those of one process that sees both halves, to rounding."""
    both = two_ranks("lr_free_ranks.py", tmp_path, "-W", "ignore::DeprecationWarning")
    for name in LR_FREE:
        assert both[0][name] == both[1][name]
        for ours, alone in zip(both[0][name], lr_free_ranks.trained(name, None), strict=True):
            for one, other in zip(ours, alone, strict=True):
                assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
