"""Runs trained many at once: each is as if it were alone, but for rounding."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import batched_kit
from lrcontrol.controls.control import Decision, Observation, State
from lrcontrol.controls.plateau import Plateau
from lrcontrol.errors import BadInput, DoesNotFit
from lrcontrol.runs.method import SGD, Method
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training import batched
from lrcontrol.training.batched import train_batched, why_not_batched
from lrcontrol.training.batching import repeated, replay, stack, stepper
from lrcontrol.training.batching.trial import tried
from lrcontrol.training.loop import train, trained_model
from lrcontrol.training.tasks.problem import seeded
from task_kit import with_data

CLOSE = 1e-5


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is replayed here, and no trace is there from another test."""
    monkeypatch.setattr(stepper, "PAYS", 1)
    monkeypatch.setattr(repeated, "_TRACES", {})


def spec_of(task: str = "digits-mlp", method: str = "sgd:cosine", base_lr: float = 0.05, **more: Any) -> RunSpec:
    return RunSpec(**({"task": task, "method": method, "base_lr": base_lr, "total_steps": 40} | more))


def together(specs: Sequence[RunSpec], **more: Any) -> list[Record]:
    """The records in the order of the specs."""
    found = {record.id: record for record in train_batched(specs, **more)}
    assert len(found) == len(specs)
    return [found[spec.id] for spec in specs]


def distance(one: Record, other: Record) -> float:
    """How far apart two records are, relative; all that is no number is the same."""
    assert (one.spec, one.outcome, one.message, one.objective) == (
        other.spec,
        other.outcome,
        other.message,
        other.objective,
    )
    assert (one.cost.steps, one.cost.shared) == (other.cost.steps, other.cost.shared)
    assert one.column("lr").tobytes() == other.column("lr").tobytes()
    assert [each.step for each in one.evals] == [each.step for each in other.evals]
    assert [[*each.values] for each in one.evals] == [[*each.values] for each in other.evals]
    pairs = [(one.column("loss"), other.column("loss"))]
    pairs += [
        (np.array([*a.values.values()]), np.array([*b.values.values()]))
        for a, b in zip(one.evals, other.evals, strict=True)
    ]
    with np.errstate(invalid="ignore"):  # a loss that is not finite is so in both
        gaps = [float(np.nanmax(np.abs(a - b) / np.maximum(np.abs(a), 1e-3))) for a, b in pairs]
    assert np.array_equal(np.isfinite(pairs[0][0]), np.isfinite(pairs[0][1]))
    return max(gaps)


SGD_METHODS = (
    "sgd:one_cycle, momentum=one_cycle_momentum",
    "sgd(momentum=0.8, nesterov=true, weight_decay=0.01):warmup(5)+rex",
    "sgd(momentum=0):linear",
    "sgd:plateau(patience=1, factor=0.5)",
)
ADAM_METHODS = (
    "adamw:one_cycle, momentum=one_cycle_momentum",
    "adamw(beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1):warmup(5)+rex",
    "adamw:plateau(patience=1, factor=0.5)",
)

KINDS = [
    ("digits-softmax", 0.05, 0.003),
    ("breast-cancer-logistic", 0.05, 0.003),
    ("diabetes-mlp", 0.02, 0.001),
    ("digits-mlp", 0.05, 0.001),
    pytest.param("etth1-dlinear", 0.005, 0.001, marks=[with_data("etth1-dlinear"), pytest.mark.slow]),
    pytest.param("spambase-mlp", 0.02, 0.001, marks=with_data("spambase-mlp")),
    pytest.param("coat-mf", 0.02, 0.001, marks=with_data("coat-mf")),
    pytest.param("tox21-mlp", 0.02, 0.001, marks=[with_data("tox21-mlp"), pytest.mark.slow]),
    (batched_kit.normed.name, 0.02, 0.001),
    (batched_kit.autoencoder.name, 0.05, 0.001),
    (batched_kit.graph.name, 0.05, 0.003),
    (batched_kit.words.name, 0.05, 0.003),
    (batched_kit.masked.name, 0.02, 0.001),
    (batched_kit.unused.name, 0.02, 0.001),
]


@pytest.mark.parametrize("methods", [SGD_METHODS, ADAM_METHODS], ids=["sgd", "adamw"])
@pytest.mark.parametrize(("task", "of_sgd", "of_adam"), KINDS)
def test_a_run_among_others_is_the_run_alone(
    task: str, of_sgd: float, of_adam: float, methods: Sequence[str], request: pytest.FixtureRequest
) -> None:
    """Losses, validation metrics and rates, with other schedules, seeds and lengths beside it."""
    base_lr = of_sgd if methods is SGD_METHODS else of_adam
    more: list[dict[str, Any]] = [{}, {"seed": 1}, {"stop_step": 23}, {"total_steps": 30, "seed": 1}]
    specs = [
        spec_of(task, method, base_lr, **extra) for method, extra in zip(methods, more[: len(methods)], strict=True)
    ]
    gaps = [distance(record, train(record.spec)) for record in together(specs)]
    print(f"RELIABILITY batched.{request.node.callspec.id}={max(gaps):.2e}")
    assert max(gaps) < CLOSE


@pytest.mark.parametrize("methods", [SGD_METHODS, ADAM_METHODS], ids=["sgd", "adamw"])
def test_convolutions_with_batch_norm_are_the_same(methods: Sequence[str], tmp_path: Path) -> None:
    """Their running statistics too, of every run its own."""
    specs = [
        spec_of("digits-cnn", methods[0], 0.001 * (seed + 1), seed=seed, total_steps=8, save=True) for seed in (0, 1)
    ]
    for record in together(specs, weights=tmp_path / "many"):
        alone = train(record.spec, weights=tmp_path / "one")
        assert distance(record, alone) < CLOSE
        one, other = (
            trained_model(each, tmp_path / folder).state_dict() for each, folder in ((record, "many"), (alone, "one"))
        )
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5, msg=name)


def test_running_statistics_of_many_runs_are_those_of_each(tmp_path: Path) -> None:
    specs = [spec_of(batched_kit.normed.name, "sgd:rex", 0.01 * (place + 1), save=True) for place in range(5)]
    worst = 0.0
    for record in together(specs, weights=tmp_path / "many"):
        alone = train(record.spec, weights=tmp_path / "one")
        one, other = (
            trained_model(each, tmp_path / folder).state_dict() for each, folder in ((record, "many"), (alone, "one"))
        )
        assert int(one["2.num_batches_tracked"]) == 40
        for name in ("2.running_mean", "2.running_var"):
            worst = max(worst, float((one[name] - other[name]).abs().max() / other[name].abs().max()))
    print(f"RELIABILITY batched.running_statistics={worst:.2e}")
    assert worst < CLOSE


# Lengths, seeds and ends


@pytest.mark.parametrize("again", [0.0, math.inf], ids=["left out", "kept"])
def test_runs_of_many_lengths_and_seeds_go_together(again: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether those that have ended are left out or not."""
    monkeypatch.setattr(stack, "AGAIN", again)
    specs = [
        spec_of("digits-mlp", "adamw:cosine", 0.001, total_steps=60, stop_step=stop, seed=seed)
        for stop in (1, 2, 49, 50, 51, 60)
        for seed in (0, 3)
    ]
    assert max(distance(record, train(record.spec)) for record in together(specs)) < CLOSE


@pytest.mark.parametrize("method", ["sgd(momentum=0.9):constant", "adamw:constant"])
@pytest.mark.parametrize("again", [0.0, math.inf], ids=["left out", "kept"])
def test_a_run_that_diverges_harms_no_other(method: str, again: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are what they are beside one that does not diverge; the one tells what it does alone."""
    monkeypatch.setattr(stack, "AGAIN", again)
    good = [spec_of("diabetes-mlp", method, 0.001 * (place + 1), total_steps=120) for place in range(3)]
    tame, wild = (spec_of("diabetes-mlp", method, base_lr, total_steps=120) for base_lr in (0.005, 1e30))
    with_wild = together([good[0], wild, *good[1:]])
    with_tame = together([good[0], tame, *good[1:]])
    worst = 0.0
    for one, other in zip(with_wild, with_tame, strict=True):
        if one.spec in good:
            worst = max(worst, distance(one, other))
    print(f"RELIABILITY batched.beside_divergence={worst:.2e}")
    assert worst < 1e-6
    alone = train(wild)
    assert alone.outcome is Outcome.DIVERGED
    distance(with_wild[1], alone)


class Ending(Plateau, frozen=True, tag_field="control", tag="plateau"):
    """Ends after a number of updates, or with the first loss below a bound."""

    after: int = 0
    below: float = 0.0
    seen: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.seen)

    def next(self, state: State, seen: Observation) -> tuple[Decision, State]:
        low = seen.loss is not None and seen.loss < self.below
        stop = "enough" if low or seen.step + 1 == self.after else None
        return Decision(0.9 ** len(state["recent"]), stop=stop), {
            **state,
            "recent": [*state["recent"], seen.step][-30:],
        }


def test_a_run_whose_control_ends_it_has_stopped() -> None:
    """At any update, also where it looks at every loss; the others go on, told as they are alone."""
    controls = [
        Ending(after=17, seen=("metric",)),
        Ending(after=40, seen=("metric",)),
        Ending(seen=("metric",)),
        Ending(below=1.9, seen=("loss",)),
        Ending(below=2.1, seen=("metric", "loss")),
    ]
    specs = [spec_of(method=Method(SGD(), control), seed=place % 2) for place, control in enumerate(controls)]
    records = together(specs)
    assert max(distance(record, train(record.spec)) for record in records) < CLOSE
    outcomes = [(record.outcome, record.cost.steps) for record in records[:3]]
    assert outcomes == [(Outcome.STOPPED, 17), (Outcome.STOPPED, 40), (Outcome.FINISHED, 40)]
    assert records[-1].outcome is Outcome.STOPPED


def test_a_run_whose_last_update_breaks_it_has_diverged() -> None:
    broken, whole = (spec_of("diabetes-mlp", "sgd(momentum=0):constant", lr, total_steps=1) for lr in (1e30, 1e-3))
    record, other = together([broken, whole])
    assert distance(record, train(broken)) < CLOSE
    assert record.message == "the validation loss was not finite after 1 updates"
    assert other.outcome is Outcome.FINISHED


def test_all_runs_may_diverge() -> None:
    specs = [spec_of("diabetes-mlp", "sgd:constant", 10.0**power) for power in (20, 25, 38)]
    for record in together(specs):
        distance(record, train(record.spec))
        assert record.outcome is Outcome.DIVERGED


# Random numbers


def test_dropout_is_right_for_every_run() -> None:
    """Runs of a seed see the masks they see alone, those of other seeds see others, and the mean is kept."""
    noise = replay.Noise((200, 50), torch.float32, torch.device("cpu"), "bernoulli_", (0.8,))
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    first, second = (noise.drawn(generators, torch.tensor([0, 1, 0])) for _ in range(2))
    assert first.shape == (3, 200, 50)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], second[0])
    with seeded(0):
        assert torch.equal(first[0], functional.dropout(torch.ones(200, 50), 0.2).sign())
    agree = float((first[0] == first[1]).double().mean())
    print(f"RELIABILITY batched.dropout_kept={float(first.mean()):.4f} batched.dropout_agree={agree:.4f}")
    assert abs(float(first.mean()) - 0.8) < 0.01
    assert abs(agree - (0.8**2 + 0.2**2)) < 0.02


@pytest.mark.parametrize("pays", [1, 10**9], ids=["replayed", "stepped"])
@pytest.mark.parametrize("task", [batched_kit.normed.name, batched_kit.autoencoder.name])
def test_draws_are_those_of_the_run_alone(task: str, pays: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepper, "PAYS", pays)
    specs = [spec_of(task, "sgd:rex", 0.01 * (seed + 1), seed=seed) for seed in (4, 4, 5)]
    specs[1] = spec_of(task, "sgd:cosine", 0.02, seed=4)
    assert max(distance(record, train(record.spec)) for record in together(specs)) < CLOSE


@pytest.mark.usefixtures("two_threads")
def test_the_callers_threads_and_random_numbers_are_his_own() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn = []
    specs = [spec_of(batched_kit.normed.name, total_steps=steps) for steps in (10, 20, 30)]
    alone = [distance(record, train(record.spec)) for record in together(specs)]
    for _ in train_batched(specs):
        assert torch.get_num_threads() == 2
        drawn.append(float(torch.rand(())))
    torch.set_rng_state(before)
    assert drawn == [float(torch.rand(())) for _ in specs]
    assert max(alone) < CLOSE


def test_the_same_runs_give_the_same_records() -> None:
    specs = [spec_of("digits-mlp", "adamw:rex", 0.001 * (place + 1), seed=place % 2) for place in range(4)]
    first, second = together(specs), together(specs)
    assert [distance(*pair) for pair in zip(first, second, strict=True)] == [0.0] * 4


def test_progress_counts_the_updates_of_all() -> None:
    counts: list[int] = []
    records = together([spec_of(total_steps=steps) for steps in (30, 60)], progress=counts.append)
    assert counts == sorted(counts)
    assert counts[-1] == sum(record.cost.steps for record in records) == 90


def test_records_are_yielded_as_they_end_and_share_the_time() -> None:
    steps = [record.cost.steps for record in train_batched([spec_of(total_steps=steps) for steps in (60, 20, 40)])]
    assert steps == [20, 40, 60]


def test_more_runs_than_a_stack_holds_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "MOST", 3)
    specs = [spec_of("digits-softmax", "sgd:rex", 0.01 * (place + 1), total_steps=10) for place in range(7)]
    assert [len(chunk) for chunk in batched._chunks(specs, None)] == [2, 2, 3]
    assert max(distance(record, train(record.spec)) for record in together(specs)) < CLOSE


# What is replayed, and what is not


def replays() -> list[bool]:
    """Of all steps that were traced: whether they are replayed."""
    return [trace.replay is not None for key, trace in repeated._TRACES.items() if key[0][0] == "step" and trace.made]


@pytest.mark.parametrize(
    ("task", "replayed"),
    [
        ("digits-mlp", True),
        (batched_kit.normed.name, True),
        (batched_kit.biased.name, True),
        (batched_kit.autoencoder.name, True),
        (batched_kit.masked.name, False),
        (batched_kit.reading.name, False),
    ],
)
def test_a_step_is_replayed_only_where_that_is_the_same(task: str, replayed: bool) -> None:
    """Not where sizes depend on the data, nor where the model's own Python reads them."""
    records = together([spec_of(task, "sgd:rex", 0.01), spec_of(task, "sgd:rex", 0.02)])
    assert max(distance(record, train(record.spec)) for record in records) < CLOSE
    assert replays() == [replayed]


def test_what_is_stepped_is_what_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [spec_of("digits-mlp", "sgd:rex", 0.02 * (place + 1)) for place in range(3)]
    replayed = together(specs)
    assert replays() == [True]
    monkeypatch.setattr(stepper, "PAYS", 10**9)
    monkeypatch.setattr(repeated, "_TRACES", {})
    stepped = together(specs)
    assert replays() == []
    assert max(distance(*pair) for pair in zip(replayed, stepped, strict=True)) < CLOSE


def test_tasks_of_a_user_and_what_vmap_gets_wrong_go_by_seed() -> None:
    """Their splits may follow from the seed; and torch forgets the padding of embeddings of several seeds."""
    for task in (batched_kit.own_splits.name, batched_kit.words.name):
        specs = [spec_of(task, "sgd:rex", 0.02, seed=seed) for seed in (0, 1)]
        assert len(batched._chunks(specs, None)) == 2
        assert max(distance(record, train(record.spec)) for record in together(specs)) < CLOSE
    assert not tried("digits-mlp").seeds_apart


# What cannot be batched


def test_what_cannot_be_batched_is_told_in_one_sentence() -> None:
    good = spec_of()
    cases = [
        ([], "at least one, got none"),
        ([good, spec_of("digits-softmax")], "of one task, got digits-mlp, digits-softmax"),
        ([good, spec_of(method="adamw:rex")], "one kind of optimizer, SGD or AdamW, got AdamW, SGD"),
        ([spec_of(checkpoint=True)], "got checkpoint=True"),
        ([spec_of(start=Start("0" * 20, 5))], r"got start=\.\.\."),
        ([spec_of(batched_kit.recurrent.name)], "vmap has no rule for its aten::lstm"),
        ([spec_of(batched_kit.looking.name)], "does not run under torch.func.vmap"),
        ([spec_of(batched_kit.counting.name)], "gives other gradients under torch.func.vmap than alone"),
    ]
    for specs, sentence in cases:
        reason = why_not_batched(specs)
        assert reason is not None
        with pytest.raises(BadInput, match=sentence) as raised:
            list(train_batched(specs, weights=Path("never")))
        assert str(raised.value) == reason
        assert reason.endswith(".")
        assert "\n" not in reason


def test_what_cannot_be_run_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(DoesNotFit):
        next(train_batched([spec_of(), spec_of(method="sgd:warmup(41)+rex")]))
    with pytest.raises(BadInput, match="`weights`"):
        next(train_batched([spec_of(save=True)]))


@with_data("cora-gcn")
def test_a_graph_of_bags_is_not_batched() -> None:
    assert why_not_batched([spec_of("cora-gcn")]) == (
        "the task cora-gcn cannot be batched: torch.func.vmap has no rule for its aten::embedding_bag."
    )
