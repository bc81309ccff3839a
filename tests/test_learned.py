"""The learned schedule: its derivative against finite differences, its knots, and how it resumes."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.autograd import gradgradcheck
from torch.nn import functional

from lrcontrol.controls.control import Observation, Update
from lrcontrol.controls.learned import Learned
from lrcontrol.controls.text import control, control_text
from lrcontrol.errors import BadInput
from lrcontrol.runs.method import method
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training.adapter import as_torch_scheduler
from lrcontrol.training.bags import DerivableBags
from lrcontrol.training.foresight import clip_gradients
from lrcontrol.training.loop import train
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.state import random_of
from lrcontrol.training.tangent import Tangent
from lrcontrol.training.tasks.problem import Problem, Split

UPDATES = 7


def smooth() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.4), nn.Linear(16, 3))


class OwnAndShared(nn.Module):
    """A weight that is used twice, one that is frozen, and one that only some inputs need."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.again.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.sometimes = nn.Linear(5, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.again(torch.tanh(self.first(inputs))))
        return self.last(inner + self.sometimes(inputs) if float(inputs.sum()) > 0 else inner)


class Bag(nn.Module):
    """A bag of words that the inputs say, its padding left out; those of a sum are weighted by the inputs too."""

    def __init__(self, mode: Literal["sum", "mean", "max"]) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(7, 6, mode=mode, padding_idx=2)
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(6, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        weights = inputs if self.words.mode == "sum" else None
        return self.head(self.words(words_of(inputs), per_sample_weights=weights))


def words_of(inputs: torch.Tensor) -> torch.Tensor:
    return (9 * inputs.abs()).long() % 7


def problem_of(model: Callable[[], nn.Module]) -> Problem:
    """Three classes of points, in float64."""
    torch.manual_seed(3)
    made = model().double()
    splits = [Split(torch.randn(rows, 5, dtype=torch.float64), torch.randint(0, 3, (rows,))) for rows in (64, 20, 20)]
    return Problem(made, *splits, nn.functional.cross_entropy, lambda *_: {}, batch_size=8, seed=0)


Statistics = list[torch.Tensor]


def trained(
    model: Callable[[], nn.Module],
    optimizer: str,
    factor: float,
    statistics: Statistics | None = None,
    *,
    norm: float = math.inf,
) -> tuple[float, float | None, Statistics]:
    """The validation loss after some updates at rates times `factor`, and its derivative by their logarithm.

    Gradients are clipped to a norm. Running statistics are those given, or else the model's own, which are told too.
    """
    problem = problem_of(model)
    problem.model.train()
    given = make_optimizer(method(f"{optimizer}:constant").optimizer, problem.model.parameters(), 1.0)
    tangent = Tangent(problem, given)
    torch.manual_seed(11)
    for step, (inputs, targets) in enumerate(problem.batches(0, UPDATES)):
        random, lr = random_of(problem.model), 0.05 / (1 + step) * factor
        given.param_groups[0]["lr"] = lr
        given.zero_grad()
        problem.loss(problem.model(inputs), targets).backward()
        tangent.carry_on(inputs, targets, random, lr, clip_gradients(given, norm))
        given.step()
        tangent.made()
    own = list(problem.model.buffers())
    for each, given_one in zip(own, statistics or own, strict=True):
        each.copy_(given_one)
    return problem.evaluate(problem.validation)["loss"], tangent.hypergradient(), own


BAGS = [partial(Bag, mode) for mode in ("sum", "mean", "max")]


@pytest.mark.parametrize("model", [smooth, with_batch_norm, with_dropout, *BAGS])
@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd(momentum=0)",
        "sgd(weight_decay=0.1)",
        "sgd(momentum=0.8, nesterov=true)",
        "adamw(eps=1e-3, weight_decay=0.1)",
    ],
)
def test_the_derivative_is_that_of_finite_differences(model: Callable[[], nn.Module], optimizer: str) -> None:
    """The running statistics of batch norm are taken as they are."""
    small = 1e-4
    _, slope, statistics = trained(model, optimizer, 1.0)
    higher, _, _ = trained(model, optimizer, math.exp(small), statistics)
    lower, _, _ = trained(model, optimizer, math.exp(-small), statistics)
    assert slope == pytest.approx((higher - lower) / (2 * small), rel=1e-5)


@pytest.mark.parametrize(
    "optimizer", ["sgd(momentum=0, weight_decay=0.1)", "adamw(eps=1e-3, weight_decay=0.1)", "sgd(nesterov=true)"]
)
def test_clipped_gradients_and_weights_of_all_kinds_are_derived(optimizer: str) -> None:
    """Some gradients are clipped and others not; weights are shared, frozen, and without a gradient now and then."""
    small = 1e-4
    of_all_kinds = [] if "nesterov" in optimizer else [(OwnAndShared, math.inf), (OwnAndShared, 0.5)]
    for model, norm in [(smooth, 0.5), *of_all_kinds]:  # torch's fused momentum must begin with all gradients at once
        _, slope, _ = trained(model, optimizer, 1.0, norm=norm)
        higher, lower = (trained(model, optimizer, math.exp(each), norm=norm)[0] for each in (small, -small))
        assert slope == pytest.approx((higher - lower) / (2 * small), rel=1e-5)


def test_carrying_it_on_changes_nothing_else() -> None:
    """Weights, buffers of any kind, gradients and random numbers are those of training without it."""

    def state(*, along: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
        problem = problem_of(
            lambda: nn.Sequential(
                with_batch_norm(),
                nn.Unflatten(1, (1, 3)),
                nn.InstanceNorm1d(1, track_running_stats=True),
                nn.Flatten(),
                nn.utils.parametrizations.spectral_norm(nn.Linear(3, 9)),
                nn.Dropout(0.3),
                nn.Linear(9, 3),
            )
        )
        problem.model.train()
        optimizer = make_optimizer(method("adamw:constant").optimizer, problem.model.parameters(), 0.01)
        tangent = Tangent(problem, optimizer)
        torch.manual_seed(5)
        for inputs, targets in problem.batches(0, UPDATES):
            random = random_of(problem.model)
            optimizer.zero_grad()
            problem.loss(problem.model(inputs), targets).backward()
            if along:
                tangent.carry_on(inputs, targets, random, 0.01)
            optimizer.step()
            if along:
                tangent.made()
                tangent.hypergradient()
        rest = [each.grad for each in problem.model.parameters()]
        return [*problem.model.state_dict().values(), *rest], torch.get_rng_state()

    (with_it, random), (without, plain) = state(along=True), state(along=False)
    assert torch.equal(random, plain)
    assert all(torch.equal(one, other) for one, other in zip(with_it, without, strict=True))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [None, 2, -1])
def test_bags_are_those_of_torch_and_can_be_derived_twice(mode: str, last: bool, padding: int | None) -> None:
    """In rows and by offsets, with bags that are empty, at the end too, and one of nothing but padding."""
    torch.manual_seed(7)
    words = torch.tensor([2, 2, 6, 6, 0, 1, 3, 1, 0, 5, 2, 4])
    starts = torch.tensor([0, 2, 4, 4, 9, 12, *([12] if last else [])])
    weights = torch.rand(12, dtype=torch.float64, requires_grad=True) if mode == "sum" else None
    weight = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    given: dict[str, Any] = {"mode": mode, "padding_idx": padding, "per_sample_weights": weights}
    in_rows = given | {"per_sample_weights": None if weights is None else weights.view(3, 4)}

    def bags(weight: torch.Tensor) -> torch.Tensor:
        by_offsets = functional.embedding_bag(words, weight, starts, include_last_offset=last, **given)
        return torch.cat([by_offsets, functional.embedding_bag(words.view(3, 4), weight, **in_rows)])

    theirs = bags(weight)
    with DerivableBags():
        ours = bags(weight)
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)
        assert gradgradcheck(lambda each: bags(each).square(), weight)
    leaves = [weight] if weights is None else [weight, weights]
    along = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, along), torch.autograd.grad(theirs, leaves, along), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("given", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}])
def test_bags_whose_gradient_is_another_are_refused(given: dict[str, Any]) -> None:
    words = torch.tensor([[0, 1], [1, 2]])
    with DerivableBags(), pytest.raises(NotImplementedError, match="max_norm, scale_grad_by_freq or sparse"):
        nn.EmbeddingBag(3, 2, **given)(words)


def test_a_graph_is_trained_under_it() -> None:
    """Its products with a sparse matrix are bags of weighted rows."""
    record = train(RunSpec(task="cora-gcn", method=method("adamw:learned(windows=2)"), base_lr=1e-3, total_steps=24))
    assert record.usable
    assert record.column("lr")[-1] > 1.5e-3


def test_knots_go_against_the_derivative_and_by_a_factor_at_most() -> None:
    learned = Learned(windows=4, step=2.0)
    decision, state = learned.start(40)
    seen = []
    for step in range(40):
        told = {10: -0.5, 20: 0.25, 30: 100.0}.get(step)
        decision, state = learned.reconsider(json.loads(json.dumps(state)), Update(hypergradient=told))
        seen.append(decision.multiplier)
        decision, state = learned.next(state, Observation(step))
    assert seen[:11] == [1.0] * 11
    assert seen[20] == pytest.approx(2.0)
    assert seen[15] == pytest.approx(math.sqrt(2.0))
    assert seen[30] == pytest.approx(2.0 * 2 ** (-0.25 / math.sqrt((0.25 + 0.0625) / 2)))
    assert decision.multiplier == pytest.approx(seen[30] / 2)


def test_a_derivative_that_is_not_finite_or_0_moves_nothing() -> None:
    learned = Learned()
    for told in (math.nan, math.inf, 0.0):
        _, state = learned.reconsider(learned.start(100)[1], Update(hypergradient=told))
        assert learned.next(state, Observation(9))[0].multiplier == 1.0


def test_bounds_hold() -> None:
    learned = Learned(windows=2, step=10.0, floor=0.5, ceiling=3.0)
    for told, bound in ((1.0, 0.5), (-1.0, 3.0)):
        _, state = learned.reconsider(learned.start(10)[1], Update(hypergradient=told))
        assert learned.next(state, Observation(9))[0].multiplier == pytest.approx(bound)


def test_it_is_looked_at_where_windows_end() -> None:
    assert learned_places("learned(windows=4)", 40) == [10, 20, 30]
    assert learned_places("warmup(0.2)+learned(windows=4)", 50) == [20, 30, 40]
    assert learned_places("learned(windows=100)", 45) == [10, 20, 30, 40]
    assert learned_places("learned", 9) == []


def learned_places(text: str, total_steps: int) -> list[int]:
    return sorted(control(text).looks(total_steps).at)


def test_its_text_is_read_back_and_its_price_is_charged() -> None:
    text = "cosine*learned(windows=4, step=3)"
    assert control_text(control(text)) == text
    spec = RunSpec(task="digits-mlp", method=method(f"adamw:{text}"), base_lr=1e-3, total_steps=20)
    assert spec.charge == 5 * 20
    assert train(spec).charged == 5 * 20


@pytest.mark.parametrize("given", ["sgd:learned(windows=4)", "adamw:clip(warmup(0.2)+learned(windows=4), norm=0.5)"])
def test_a_run_that_goes_on_from_any_update_is_the_same(given: str, tmp_path: Path) -> None:
    whole = train(RunSpec(task="digits-mlp", method=method(given), base_lr=0.01, total_steps=40))
    for stop in range(1, 40, 6):
        first = RunSpec(
            task="digits-mlp", method=method(given), base_lr=0.01, total_steps=40, stop_step=stop, checkpoint=True
        )
        train(first, weights=tmp_path)
        start = Start(run=first.id, step=stop)
        rest = train(
            RunSpec(task="digits-mlp", method=method(given), base_lr=0.01, total_steps=40, start=start),
            weights=tmp_path,
        )
        assert rest.column("loss").tolist() == whole.column("loss")[stop:].tolist()
        assert rest.column("lr").tolist() == whole.column("lr")[stop:].tolist()


def test_too_low_a_rate_is_raised() -> None:
    """On real digits, from a rate ten times too low, it ends higher and better than the rate as it is."""
    low = [
        train(RunSpec(task="digits-mlp", method=method(f"adamw:{each}"), base_lr=1e-4, total_steps=300))
        for each in ("constant", "learned")
    ]
    assert low[1].column("lr")[-1] > 5e-4
    assert low[1].evals[-1].values["loss"] < 0.7 * low[0].evals[-1].values["loss"]


def test_where_it_cannot_be_is_said() -> None:
    with pytest.raises(
        BadInput, match="learned finds the rate itself, so its optimizer must be sgd or adamw, got pro"
    ):
        method("prodigy:learned")
    parameter = nn.Parameter(torch.zeros(1))
    with pytest.raises(BadInput, match="goes through every batch more than once"):
        as_torch_scheduler(torch.optim.SGD([parameter], lr=0.1), "learned", 10)
    with pytest.raises(BadInput, match="can be with sgd or adamw, got Adam"):
        Tangent(problem_of(smooth), torch.optim.Adam([parameter]))
    with pytest.raises(BadInput, match="`windows` must be"):
        control("learned(windows=1)")
    with pytest.raises(BadInput, match="`step` must be"):
        control("learned(step=1)")
