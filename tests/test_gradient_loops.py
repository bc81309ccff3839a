"""Controls that look at updates, in loops of one's own: resumed, under a scaler, in several processes, and refused."""

import copy
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradient_ranks
from adapter_kit import as_torch, through_json, through_torch
from lrcontrol.controls.control import Decision, Observation, State, Update
from lrcontrol.errors import BadInput
from lrcontrol.training.optimizers import make_optimizer
from ranks_kit import two_ranks

CONTROLS = (
    "hypergradient(beta=0.2)",
    "hypergradient(beta=0.5, rule=additive)",
    "polyak(c=2, period=3)",
    "l4",
    "greedy(factor=0.5, patience=0, window=2)",
    "warmup(0.3)+polyak",
    "cosine*l4",
    "max(clip(hypergradient, norm=0.2), 0.9)",
    "stop_on_divergence(clip(l4, norm=0.5))",
    "clip(warmup(0.3)+cosine, norm=0.3)",
)
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "fused": lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=True),
}
TOTAL = 7


class Loop:
    """A model, an optimizer with two groups and a scheduler: a training that can be saved and gone on with."""

    def __init__(self, control: Any, make: Callable[[Any], torch.optim.Optimizer], dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)
        groups = [{"params": [*self.model[0].parameters()]}, {"params": [*self.model[2].parameters()], "lr": 0.02}]
        self.optimizer = make(groups)
        self.scheduler = as_torch(self.optimizer, control, TOTAL)
        self.dtype = dtype

    def loss(self, step: int) -> Tensor:
        inputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(step)).to(self.dtype)
        return (self.model(inputs) - inputs.sum(1, keepdim=True).sin()).square().mean()

    def update(self, step: int) -> list[float]:
        """Make an update; the rates in force during it, and the loss."""
        loss = self.loss(step)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.scheduler.tell(loss=loss)
        self.optimizer.step()
        trail = [*(group["lr"] for group in self.optimizer.param_groups), loss.item()]
        self.scheduler.step(loss=loss)
        return trail

    @property
    def states(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": through_json(self.scheduler.state_dict()),
        }


def loop(control: Any, optimizer: str = "sgd", dtype: torch.dtype = torch.float64) -> Loop:
    return Loop(control, OPTIMIZERS[optimizer], dtype)


# ---- resuming ----


@pytest.mark.parametrize("optimizer", ["sgd", "fused"])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_loop_that_is_saved_and_loaded_goes_on_to_the_bit(control: str, optimizer: str) -> None:
    """After every update, through a file that is loaded with weights_only=True, in either order of loading."""
    whole = loop(control, optimizer)
    trail, saved = [], []
    for step in range(TOTAL):
        saved.append(through_torch(copy.deepcopy(whole.states)))
        trail.append(whole.update(step))
    assert len({tuple(rates) for rates in trail}) == TOTAL
    for made in range(TOTAL):
        for order in (("optimizer", "scheduler"), ("scheduler", "optimizer")):
            again = loop(control, optimizer)
            for _ in range(made % 3):  # what it was before counts for nothing
                again.update(99)
            state = copy.deepcopy(saved[made])
            again.model.load_state_dict(state["model"])
            for name in order:
                getattr(again, name).load_state_dict(state[name])
            assert [again.update(step) for step in range(made, TOTAL)] == trail[made:]
            for one, other in zip(again.model.parameters(), whole.model.parameters(), strict=True):
                assert torch.equal(one, other)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_scheduler_that_is_loaded_without_its_optimizer_says_so_once(control: str) -> None:
    """Where the optimizer's state is to have something of the update before; at step 0 there is nothing to miss."""
    first = loop(control)
    begun = through_json(first.scheduler.state_dict())
    for step in range(3):
        first.update(step)
    for loaded, missed in ((begun, False), (first.states["scheduler"], "hypergradient" in control or "l4" in control)):
        other = loop(control)
        other.scheduler.load_state_dict(loaded)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for step in range(3):
                other.update(step)
        assert len(told) == missed
        assert all("goes on from updates of which the optimizer's state holds nothing" in str(each) for each in told)


def test_copies_go_on_alike() -> None:
    for control in CONTROLS:
        first = loop(control)
        for step in range(4):
            first.update(step)
        other = copy.deepcopy(first)
        assert [first.update(step) for step in range(4, TOTAL)] == [other.update(step) for step in range(4, TOTAL)]


@pytest.mark.parametrize("before", ["plateau", "cosine", "polyak"])
def test_the_saved_control_is_the_one_that_is_shown_updates(before: str) -> None:
    """Where a loop was built with another, and on_mismatch keeps the saved one; and where it replaces it."""
    first = loop("l4")
    for step in range(4):
        first.update(step)
    state = copy.deepcopy(first.states)
    other = loop("l4")
    del other.scheduler
    other.scheduler = as_torch(other.optimizer, before, TOTAL, on_mismatch="keep")
    other.model.load_state_dict(state["model"])
    other.optimizer.load_state_dict(state["optimizer"])
    other.scheduler.load_state_dict(state["scheduler"])
    wanted = [first.update(step) for step in range(4, TOTAL)]
    assert [other.update(step) for step in range(4, TOTAL)] == wanted
    assert len({rates[0] for rates in wanted}) == TOTAL - 4
    if before != "polyak":
        plain = loop(before)
        plain.scheduler.on_mismatch = "replace"
        plain.scheduler.load_state_dict(state["scheduler"])
        plain.update(0)
    back = loop("l4")
    back.scheduler.on_mismatch = "keep"
    back.scheduler.load_state_dict(loop("cosine").states["scheduler"])
    back.update(0)
    back.scheduler.load_state_dict(loop("cosine").states["scheduler"])
    for step in range(3):  # and no loss is needed any more
        back.loss(step).backward()  # type: ignore[no-untyped-call]
        back.optimizer.step()
        back.scheduler.step()
    assert back.scheduler.last_epoch == 3


@pytest.mark.parametrize("control", ["polyak", "l4", "hypergradient"])
def test_a_damaged_state_is_refused_and_nothing_changes(control: str) -> None:
    first = loop(control)
    first.update(0)
    good = through_json(first.scheduler.state_dict())
    inner = good["control"]["state"]
    others = [{**inner, name: value} for name in inner for value in ("x", [])]
    for bad in ({}, {**inner, "multiplier": -1.0}, *others):
        with pytest.raises(BadInput, match="must be one that it saved"):
            first.scheduler.load_state_dict({**good, "control": {**good["control"], "state": bad}})
    assert first.scheduler.state_dict() == good


# ---- what is looked at ----


def test_parameters_that_come_and_go_count_where_they_moved() -> None:
    """Frozen for an update, and thawed: slope and angle are of all that moved last, and of all that has gradients."""
    given = Recorder()
    made = loop(given)
    last: list[Tensor] = []
    head = [*made.model[2].parameters()]
    for step in range(6):
        loss = made.loss(step)
        made.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step in (1, 2):
            for each in head:
                each.grad = None
        every = [*made.model.parameters()]
        grads = [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in every]
        before = [each.detach().clone() for each in every]
        made.optimizer.step()
        change = [after.detach() - each for after, each in zip(every, before, strict=True)]
        made.scheduler.step()
        if step:
            rise = sum(float((g * u).sum()) for g, u in zip(grads, last, strict=True))
            sizes = [math.sqrt(sum(float(each.square().sum()) for each in vector)) for vector in (grads, last)]
            assert given.shown[step].slope == pytest.approx(rise / 0.5, rel=1e-9)
            assert given.shown[step].cosine == pytest.approx(-rise / sizes[0] / sizes[1], rel=1e-9)
        else:
            assert given.shown[step] == Update()
        last = change


class Recorder:
    """Half the base rates always; keeps what it was shown."""

    needs = frozenset({"slope", "cosine"})

    def __init__(self) -> None:
        self.shown: list[Update] = []

    def start(self, total_steps: int) -> tuple[Decision, State]:
        return Decision(0.5), {}

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        return Decision(0.5), state

    def reconsider(self, state: State, update: Update) -> tuple[Decision, State]:
        self.shown.append(update)
        return Decision(0.5), state


def test_gradients_are_clipped_together_before_the_update() -> None:
    """To the norm, where that of all of them is larger; else they are left alone."""
    ours, theirs = loop("clip(constant, norm=1.2)"), loop("constant")
    large = 0
    for step in range(TOTAL):
        ours.update(step)
        theirs.optimizer.zero_grad()
        theirs.loss(step).backward()  # type: ignore[no-untyped-call]
        grads = [each.grad for each in theirs.model.parameters() if each.grad is not None]
        norm = math.sqrt(sum(float(each.square().sum()) for each in grads))
        for each in grads:
            each *= min(1.2 / norm, 1.0)
        large += norm > 1.2
        theirs.optimizer.step()
        for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert 0 < large < TOTAL


# ---- mixed precision ----


@pytest.mark.parametrize(
    ("kind", "fused", "unscaled"),
    [("sgd", False, False), ("sgd", True, False), ("adamw", True, False), ("adamw", True, True)],
)
@pytest.mark.parametrize("control", CONTROLS)
def test_a_scaler_and_the_updates_it_skips_change_nothing(
    control: str, kind: str, fused: bool, unscaled: bool
) -> None:
    """The rates of the updates that are made are those without a scaler, whatever is skipped between them."""
    if "clip" in control and fused and not unscaled:
        return
    make = {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, fused=fused),
        "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=fused),
    }[kind]
    plain, scaled = Loop(control, make, torch.float32), Loop(control, make, torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(TOTAL):
        wanted = plain.update(step)
        for bad in [True, False] if step % 3 == 1 else [False]:
            loss = scaled.loss(step)
            scaled.optimizer.zero_grad()
            scaler.scale(loss * (math.inf if bad else 1.0)).backward()  # type: ignore[no-untyped-call]
            if unscaled:
                scaler.unscale_(scaled.optimizer)
            scaled.scheduler.tell(loss=loss)
            scaler.step(scaled.optimizer)
            scaler.update(2.0**10)
            rates = [group["lr"] for group in scaled.optimizer.param_groups]
            made = scaled.scheduler.last_epoch
            scaled.scheduler.step(loss=loss)
            assert scaled.scheduler.last_epoch == made + (not bad)
        assert [*rates, loss.item()] == pytest.approx(wanted, rel=1e-6)
    for one, other in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_scaled_gradients_of_a_fused_optimizer_are_not_clipped() -> None:
    made = loop("clip(cosine)", "fused", torch.float32)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(made.loss(0)).backward()  # type: ignore[no-untyped-call]
    with pytest.raises(BadInput, match=r"unscaled before they are clipped: call scaler.unscale_\(optimizer\)"):
        scaler.step(made.optimizer)


# ---- several processes ----


def test_processes_have_the_rates_of_the_whole_batch(tmp_path: Path) -> None:
    """With half of it each, in DDP and FSDP2: the losses differ, their mean counts."""
    one, other = two_ranks("gradient_ranks.py", tmp_path)
    for kind, found in one.items():
        assert set(found) == set(gradient_ranks.CONTROLS)
        for text, mine in found.items():
            theirs = other[kind][text]
            assert mine["rates"] == theirs["rates"]
            assert mine["losses"] != theirs["losses"]
            assert len(set(mine["rates"])) > 5
            alone = gradient_ranks.trained(text, "alone", None)
            assert mine["rates"] == pytest.approx(alone["rates"], rel=1e-9)


# ---- what cannot be ----


def test_a_loss_that_was_not_told_is_asked_for() -> None:
    for control in ("polyak", "l4", "warmup(0.2)+polyak"):
        made = loop(control)
        before = copy.deepcopy(made.states)
        made.loss(0).backward()  # type: ignore[no-untyped-call]
        weights = [each.detach().clone() for each in made.model.parameters()]
        with pytest.raises(BadInput, match=r"needs the loss of a batch before its update, got none; call tell\(loss"):
            made.optimizer.step()
        assert made.scheduler.state_dict() == before["scheduler"]
        assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), weights, strict=True))
        for bad in ("1", None, torch.ones(2)):
            with pytest.raises(BadInput, match="`loss` must be one number"):
                made.scheduler.tell(loss=bad)
        made.update(0)
        assert made.scheduler.last_epoch == 1
        made.loss(1).backward()  # type: ignore[no-untyped-call]
        with pytest.raises(BadInput, match="got none"):  # a loss is of one update
            made.optimizer.step()


def test_what_cannot_look_at_updates_is_told_in_a_sentence() -> None:
    weight = nn.Parameter(torch.ones(2))
    plain = torch.optim.SGD([weight], lr=0.1)
    for text in ("alignment", "warmup(0.1)+alignment", "clip(alignment)"):
        with pytest.raises(BadInput, match="goes through every batch more than once"):
            as_torch(plain, text, 10)
    for text in ("polyak", "hypergradient", "clip(cosine)", "warmup(0.5)+clip(plateau)"):
        with pytest.raises(BadInput, match='looks at every update, so it needs count="updates", got count="calls"'):
            as_torch(plain, text, 10, count="calls")
    free = make_optimizer("prodigy", [weight])
    for text in ("polyak", "l4"):
        with pytest.raises(BadInput, match="must be on an optimizer that does not find its own"):
            as_torch(free, text, 10)
    wrapping = make_optimizer("mechanic(sgd)", [weight])
    with pytest.raises(BadInput, match="a plain torch optimizer that holds no other, got Mechanic"):
        as_torch(wrapping, "hypergradient", 10)
    as_torch(free, "hypergradient", 10)


def test_an_update_in_a_compiled_function_is_told() -> None:
    """It cannot be seen before it is made, so its rate would be that of the last."""
    for control in ("hypergradient", "polyak", "clip(cosine)"):
        made = loop(control)
        step = torch.compile(made.optimizer.step, backend="eager")
        for compiled in (False, True):
            loss = made.loss(0)
            made.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            made.scheduler.tell(loss=loss)
            (step if compiled else made.optimizer.step)()
            if compiled:
                with pytest.raises(BadInput, match=r"call optimizer.step\(\) outside of torch.compile"):
                    made.scheduler.step()
            else:
                other = loop(control)  # saved between the two
                other.optimizer.load_state_dict(made.optimizer.state_dict())
                other.scheduler.load_state_dict(through_json(made.scheduler.state_dict()))
                copied = copy.deepcopy(made)
                for each in (made, other, copied):
                    each.scheduler.step()
                    assert each.scheduler.last_epoch == 1


def test_a_closure_is_refused_before_it_is_called() -> None:
    for control in ("hypergradient", "polyak", "clip(cosine)"):
        made = loop(control)
        made.scheduler.tell(loss=1.0)
        for arguments, named in (((lambda: 1 / 0,), {}), ((), {"closure": lambda: 1 / 0})):
            with pytest.raises(BadInput, match=r"closure that computes them within; call backward\(\) first"):
                made.optimizer.step(*arguments, **named)
        made.update(0)
        assert made.scheduler.last_epoch == 1


def test_sparse_gradients_are_refused_before_anything_moves() -> None:
    """Where more than their norm is looked at; polyak and clipping take them."""
    for control in ("hypergradient", "l4", "polyak", "clip(constant, norm=0.01)"):
        table = nn.Embedding(5, 2, sparse=True)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
        scheduler = as_torch(optimizer, control, 10)
        loss = table(torch.tensor([0, 3, 3])).square().mean()
        loss.backward()
        scheduler.tell(loss=loss)
        before = table.weight.detach().clone()
        if control in ("hypergradient", "l4"):
            with pytest.raises(BadInput, match="gradients that are dense, got sparse ones"):
                optimizer.step()
            assert torch.equal(table.weight, before)
        else:
            optimizer.step()
            moved = (table.weight - before).abs().sum(dim=1) > 0
            assert moved.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("control", ["hypergradient", "hypergradient(rule=additive)", "polyak", "l4"])
def test_numbers_that_are_not_finite_leave_the_control_as_it_was(control: str, where: str, bad: float) -> None:
    """But for the rate of that update."""
    made = loop(control)
    for step in range(3):
        made.update(step)
    before = made.scheduler.state_dict()["control"]["state"]
    loss = made.loss(3)
    made.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if where == "gradient":
        made.model[0].weight.grad.fill_(bad)
    made.scheduler.tell(loss=loss * bad if where == "loss" else loss)
    made.optimizer.step()
    after = made.scheduler.state_dict()["control"]["state"]
    if where == "gradient" or "hyper" not in control:
        assert after | {"multiplier": 0} == before | {"multiplier": 0}
        assert after["multiplier"] == (before["multiplier"] if "hyper" in control else 0.0)
    made.scheduler.step()
    assert made.scheduler.last_epoch == 4


def test_losses_below_zero_are_not_for_l4() -> None:
    made = loop("l4")
    made.loss(0).backward()  # type: ignore[no-untyped-call]
    made.scheduler.tell(loss=-0.5)
    with pytest.raises(BadInput, match=r"losses must be positive under l4, got -0\.5"):
        made.optimizer.step()
