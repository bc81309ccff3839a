"""Resume equals uninterrupted: at any step, with any optimizer, in any order, through files and other processes."""

import copy
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.common_optimizers import optim_db

from adapter_kit import FAMILIES, as_torch, batch, rates, run, sgd, through_json, through_torch

# At any step

pytestmark = pytest.mark.filterwarnings("ignore:an update was made after the end")  # as many here are, on purpose


class Loop:
    """A user's own loop: batch norm, dropout, AdamW with two groups, momentum and weight decay scheduled."""

    total = 200

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        body, head = list(self.model[:4].parameters()), list(self.model[4].parameters())
        self.optimizer = torch.optim.AdamW([{"params": body, "lr": 0.01}, {"params": head, "lr": 0.03}])
        beside = {"momentum": "linear(start=0.95, end=0.85)", "weight_decay": "cosine"}
        self.scheduler = as_torch(self.optimizer, "warmup(10)+rex", self.total, **beside)

    def run(self, first: int, last: int) -> list[float]:
        trail = []
        for step in range(first, last):
            inputs, targets = batch(step)
            loss = nn.functional.cross_entropy(self.model(inputs), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            group = self.optimizer.param_groups[0]
            trail += [loss.item(), *rates(self.optimizer), group["betas"][0], group["weight_decay"]]
            self.scheduler.step()
        return trail

    def save(self) -> dict[str, Any]:
        return through_torch(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": through_json(self.scheduler.state_dict()),
                "chance": torch.get_rng_state(),
            }
        )

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["chance"])


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_n8_resume_is_exact_at_any_step(every: int) -> None:
    """Losses, rates, beta, weight decay, weights, buffers and the random state of dropout, all bit for bit."""
    whole = Loop()
    trail: list[float] = []
    states = []
    for step in range(Loop.total):
        states.append(whole.save())
        trail += whole.run(step, step + 1)
    end, chance = whole.save(), torch.get_rng_state()
    points = range(0, Loop.total, every)
    exact = 0
    for point in points:
        resumed = Loop()
        resumed.load(states[point])
        assert resumed.run(point, Loop.total) == trail[5 * point :], f"resumed after {point} updates"
        now = resumed.save()
        assert all(torch.equal(now["model"][name], end["model"][name]) for name in end["model"])
        assert torch.equal(torch.get_rng_state(), chance)
        exact += 1
    print(f"N8 resumes={len(points)} exact={exact}")


# With any optimizer

SIZE = 12


def problem(seed: int) -> tuple[list[nn.Parameter], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(3, 4, generator=generator), torch.randn(4, 2, generator=generator)]
    return [nn.Parameter(each) for each in made], torch.randn(5, 3, generator=generator)


class Fit:
    """A small fit with an optimizer and a schedule; `LBFGS` takes a closure."""

    def __init__(self, make: Any, modes: bool = False) -> None:
        self.weights, self.inputs = problem(3)
        self.optimizer = make(self.weights)
        self.scheduler = as_torch(self.optimizer, "warmup(0.2)+rex", SIZE)
        if modes:
            self.optimizer.train()

    def loss(self) -> Tensor:
        self.optimizer.zero_grad()
        value = (self.inputs @ self.weights[0] @ self.weights[1]).pow(2).mean()
        value.backward()
        return value

    def run(self, count: int) -> list[Tensor]:
        trail = []
        for _ in range(count):
            if isinstance(self.optimizer, torch.optim.LBFGS):
                self.optimizer.step(self.loss)
            else:
                self.loss()
                self.optimizer.step()
            self.scheduler.step()
            trail += [weight.detach().clone() for weight in self.weights]
            trail.append(torch.tensor(rates(self.optimizer), dtype=torch.float64))
        return trail

    def save(self) -> dict[str, Any]:
        return {
            "weights": [weight.detach().clone() for weight in self.weights],
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "scheduler": through_json(self.scheduler.state_dict()),
        }

    def load(self, state: dict[str, Any]) -> None:
        for weight, saved in zip(self.weights, state["weights"], strict=True):
            weight.data.copy_(saved)
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.scheduler.load_state_dict(state["scheduler"])


def resumed_exactly(make: Any, points: Any, modes: bool = False) -> int:
    whole = Fit(make, modes)
    states, trail = {}, []
    for step in range(SIZE):
        if step in points:
            states[step] = whole.save()
        trail.append(whole.run(1))
    exact = 0
    for point, state in states.items():
        resumed = Fit(make, modes)
        resumed.load(state)
        again = resumed.run(SIZE - point)
        wanted = list(itertools.chain(*trail[point:]))
        exact += all(map(torch.equal, again, wanted))
    return exact


def configurations() -> Iterator[tuple[str, Any]]:
    """Every dense configuration of torch's own table of optimizers."""
    for info in optim_db:
        if info.optim_cls.__name__ != "SparseAdam":
            for index, given in enumerate(info.optim_inputs_func(device="cpu")):

                def make(weights: Any, info: Any = info, given: Any = given) -> Any:
                    return info.optim_cls(weights, **copy.deepcopy(given.kwargs))

                yield f"{info.optim_cls.__name__}-{index}-{given.desc}", make


CONFIGURATIONS = list(configurations())


@pytest.mark.parametrize("points", [(5,), pytest.param((0, 3, 7, 11), marks=pytest.mark.slow)], ids=len)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:torch")  # of single configurations of torch's table
def test_n9_resume_is_exact_with_every_optimizer_of_torch(points: tuple[int, ...]) -> None:
    exact = {name: resumed_exactly(make, points) for name, make in CONFIGURATIONS}
    tried, made = len(points) * len(exact), sum(exact.values())
    print(f"N9 optimizers={len(optim_db) - 1} configurations={len(exact)} resumes={tried} exact={made}")
    assert made == tried, [name for name, count in exact.items() if count < len(points)]
    assert len(exact) >= 80


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("schedulefree", "AdamWScheduleFree"),
        ("schedulefree", "SGDScheduleFree"),
        ("prodigyopt", "Prodigy"),
        ("dadaptation", "DAdaptAdam"),
        ("dadaptation", "DAdaptSGD"),
    ],
)
def test_n9_resume_is_exact_with_learning_rate_free_optimizers(module: str, name: str) -> None:
    """Those of schedulefree in their training mode."""
    made = getattr(pytest.importorskip(module), name)
    exact = resumed_exactly(lambda weights: made(weights, lr=1.0), (0, 3, 7, 11), module == "schedulefree")
    print(f"N9 {name} resumes=4 exact={exact}")
    assert exact == 4


# In any order


def test_60265_65342_n10_the_order_of_building_and_loading_does_not_matter() -> None:
    """The three valid orders and the scheduler's state alone: the rate now and at the next three steps."""
    tried = right = 0
    for text, saved_after in itertools.product(FAMILIES, (1, 27, 45)):
        first = sgd(0.1, 0.002, momentum=0.9, weight_decay=0.1)
        beside = {"momentum": "linear(start=0.9, end=0.5)", "weight_decay": "cosine(end=0.2)"}
        scheduler = as_torch(first, text, 40, **beside)
        run(first, scheduler, saved_after)
        optimizer_state, state = copy.deepcopy(first.state_dict()), through_json(scheduler.state_dict())
        keys = [(group["momentum"], group["weight_decay"]) for group in first.param_groups]
        wanted = run(first, scheduler, 4)
        for order in ("obs", "bos", "bso", "bs"):  # optimizer.load, build, scheduler.load
            second = sgd(0.1, 0.002, momentum=0.9, weight_decay=0.1)
            for act in order:
                if act == "o":
                    second.load_state_dict(copy.deepcopy(optimizer_state))
                elif act == "b":
                    resumed = as_torch(second, text, 40, **beside)
                else:
                    resumed.load_state_dict(state)
            tried += 1
            now = [(group["momentum"], group["weight_decay"]) for group in second.param_groups]
            right += now == keys and resumed.get_last_lr() == rates(second) and run(second, resumed, 4) == wanted
    print(f"N10 families={len(FAMILIES)} orders=4 cases={tried} right={right}")
    assert right == tried == 4 * 3 * len(FAMILIES)


def torch_families() -> dict[str, Any]:
    found = torch.optim.lr_scheduler
    return {
        "StepLR": lambda o: found.StepLR(o, 10),
        "MultiStepLR": lambda o: found.MultiStepLR(o, [5, 20]),
        "ConstantLR": lambda o: found.ConstantLR(o, 0.5, 20),
        "LinearLR": lambda o: found.LinearLR(o, 0.1, 1.0, 20),
        "ExponentialLR": lambda o: found.ExponentialLR(o, 0.9),
        "CosineAnnealingLR": lambda o: found.CosineAnnealingLR(o, 40),
        "SequentialLR": lambda o: found.SequentialLR(
            o, [found.LinearLR(o, 0.1, 1.0, 5), found.CosineAnnealingLR(o, 35)], [5]
        ),
    }


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_60265_65342_torchs_own_depend_on_the_order() -> None:
    """What is wrong in torch 2.13, by family: the optimizer loaded first, and the scheduler's state alone."""
    wrong: dict[str, set[str]] = {"obs": set(), "bs": set(), "bos": set()}
    for (name, build), order in itertools.product(torch_families().items(), wrong):
        first = sgd(0.1)
        scheduler = build(first)
        run(first, scheduler, 15)
        states = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
        wanted = run(first, scheduler, 4)
        second = sgd(0.1)
        for act in order:
            if act == "o":
                second.load_state_dict(states[0])
            elif act == "b":
                resumed = build(second)
            else:
                resumed.load_state_dict(states[1])
        if run(second, resumed, 4) != wanted:
            wrong[order].add(name)
    assert wrong["bos"] == set()
    assert {"LinearLR", "ConstantLR", "SequentialLR"} <= wrong["obs"]
    assert wrong["bs"] >= set(torch_families()) - {"ConstantLR"}  # right before its one milestone


# From a new process


def test_n11_states_go_on_in_another_process(tmp_path: Path) -> None:
    """Saved in one process, loaded in another with another locale, hash seed and time zone."""
    found = []
    for verb, environment in (
        ("save", {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"}),
        ("load", {"PYTHONHASHSEED": "4711", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kolkata", "PYTHONUTF8": "0"}),
    ):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("adapter_specs.py")), verb, str(tmp_path)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.strip())
    print(f"N11 specs=100 exact={found[1]}")
    assert found == ["None", "100"]
