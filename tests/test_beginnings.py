"""What runs share from the beginning: found before anything trains, and trained once, to the bit."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcontrol.runs.beginnings import Branch, branches, rates, saved
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.record import Cost, Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.loop import train, train_all

METHODS = (
    "constant",
    "wsd(cooldown=0.2)",
    "wsd(cooldown=0.4)",
    "constant(share=0.5)+linear",
    "constant(share=0.5)+rex",
    "constant(share=0.5)+linear(start=0.5)",
    "constant(steps=12)+cosine",
    "cosine",
    "warmup(0.1)+cosine",
    "plateau",
)


def spec_of(control: str = "cosine", **change: Any) -> RunSpec:
    given: dict[str, Any] = {"task": "digits-mlp", "base_lr": 0.05, "total_steps": 60, "seed": 3}
    return RunSpec(method=f"sgd:{control}", **given | change)


def paths(trees: Sequence[Branch], before: tuple[Branch, ...] = ()) -> dict[str, tuple[Branch, ...]]:
    """The branches that every run goes along."""
    found: dict[str, tuple[Branch, ...]] = {}
    for tree in trees:
        found |= {spec.id: (*before, tree) for spec in tree.ended}
        found |= paths(tree.then, (*before, tree))
    return found


specs_drawn = st.lists(
    st.builds(
        spec_of,
        st.sampled_from(METHODS),
        total_steps=st.sampled_from([40, 60]),
        stop_step=st.sampled_from([0, 10, 30, 40]),
        base_lr=st.sampled_from([0.05, 0.1]),
        seed=st.sampled_from([0, 3]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda spec: spec.id,
)


@given(specs_drawn)
@settings(max_examples=200, deadline=None)
def test_every_run_goes_along_one_path_from_its_first_update_to_its_last(specs: list[RunSpec]) -> None:
    found = paths(branches(specs))
    assert sorted(found) == sorted(spec.id for spec in specs)
    for spec in specs:
        path = found[spec.id]
        assert [branch.first for branch in path] == [spec.first_step, *(branch.last for branch in path[:-1])]
        assert path[-1].last == spec.stop_step
        assert all(spec in branch.specs for branch in path)


@given(specs_drawn)
@settings(max_examples=100, deadline=None)
def test_runs_part_exactly_where_their_rates_do(specs: list[RunSpec]) -> None:
    found = paths(branches(specs))
    for one in specs:
        for other in specs:
            kind = lambda spec: (spec.task, spec.seed, spec.method.optimizer)  # noqa: E731 - short
            looking = "plateau" in str(one.method) + str(other.method)
            common = sum(branch.last - branch.first for branch in found[one.id] if branch in found[other.id])
            if one.id == other.id:
                assert common == one.updates
            elif looking or kind(one) != kind(other):
                assert common == 0
            else:
                pairs = zip(rates(one).tolist(), rates(other).tolist(), strict=False)
                alike = 0
                for mine, yours in pairs:
                    if not np.array_equal(mine, yours, equal_nan=True):
                        break
                    alike += 1
                assert common == alike


def test_what_is_saved_is_counted() -> None:
    cooldowns = [spec_of(f"constant(share=0.8)+linear(start=1, end={end})") for end in (0.0, 0.1, 0.2)]
    assert saved(branches(cooldowns)) == 49 + 49
    assert saved(branches([spec_of("cosine"), spec_of("cosine", base_lr=0.1)])) == 0


def plain(record: Record) -> tuple[Any, ...]:
    """All of a record but its cost and columns, and those as bytes."""
    columns = {name: values.tobytes() for name, values in record.columns.items()}
    return msgspec.structs.replace(record, cost=Cost(record.cost.steps, 0.0), columns={}), columns


SETS = {
    "cooldowns": [spec_of(f"constant(share=0.8)+linear(start=1, end={end})") for end in (0.0, 0.1, 0.2, 0.5)],
    "nested": [spec_of(control) for control in METHODS],
    "cut": [spec_of("cosine", stop_step=stop) for stop in (7, 20, 50, 60)],
    "other horizons": [spec_of("constant", total_steps=total) for total in (25, 60, 80)],
    "two seeds": [spec_of(control, seed=seed) for seed in (0, 1) for control in METHODS[:4]],
    "momentum": [
        spec_of("one_cycle, momentum=one_cycle_momentum"),
        spec_of("one_cycle, momentum=constant(0.9)"),
        spec_of("one_cycle"),
    ],
    "dropout and batch norm": [
        RunSpec(task="digits-cnn", method=f"adamw:{control}", base_lr=2e-3, total_steps=30, seed=1)
        for control in ("wsd(cooldown=0.3)", "wsd(cooldown=0.5)", "constant")
    ],
    "diverging": [spec_of(control, base_lr=1e30) for control in ("constant", "wsd(cooldown=0.2)", "cosine")],
}


@pytest.mark.parametrize("name", SETS)
def test_together_is_as_alone_to_the_bit(name: str) -> None:
    specs = SETS[name]
    together = {record.id: record for record in train_all(specs)}
    assert len(together) == len(specs)
    for spec in specs:
        assert plain(together[spec.id]) == plain(train(spec)), spec.method


@pytest.mark.parametrize("name", SETS)
def test_the_account_holds_every_update_once(name: str) -> None:
    specs = SETS[name]
    records = list(train_all(specs))
    told: list[int] = []
    again = list(train_all(specs, progress=told.append))
    made = sum(record.cost.own for record in records)
    assert Budget(1, 1).spent(records) == sum(record.cost.steps for record in records)
    if all(record.outcome is Outcome.FINISHED for record in records):
        assert made == told[-1] == sum(spec.updates for spec in specs) - saved(branches(specs))
    assert [record.cost.steps for record in again] == [record.cost.steps for record in records]
    assert all(0 <= record.cost.shared <= record.cost.steps for record in records)


def test_what_is_done_between_two_records_changes_nothing() -> None:
    import torch

    specs = SETS["dropout and batch norm"]
    undisturbed = [plain(record) for record in train_all(specs)]
    disturbed = []
    torch.manual_seed(9)
    before = torch.get_rng_state()
    for record in train_all(specs):
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)
        before = torch.get_rng_state()
        disturbed.append(plain(record))
    assert disturbed == undisturbed
