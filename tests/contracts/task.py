"""What every task must do; a new one is a line in the list of tests/test_tasks.py."""

import dataclasses
import hashlib
import json
import random
import sys
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.task import Task
from lrcontrol.training import loop
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import Problem, Split, build

METHODS = ("sgd(nesterov=true):warmup(0.2)+rex", "adamw:cosine")


class Untouchable:
    """A split that must not be looked at."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the test split was touched: {name}")

    def __len__(self) -> NoReturn:
        raise AssertionError("the test split was touched: its length")


def rows(split: Split) -> list[bytes]:
    """Every input as bytes, in order."""
    return [row.numpy().tobytes() for row in split.inputs]


def splits(problem: Problem) -> tuple[Split, Split, Split]:
    return (problem.train, problem.validation, problem.test)


def short_spec(name: str, method: str = METHODS[1], seed: int = 3) -> RunSpec:
    return RunSpec(task=name, method=method, base_lr=0.01, total_steps=23, seed=seed)


def short_run(spec: RunSpec) -> Record:
    """The run: short ones are judged once or twice, where the validation split is large."""
    return loop.train(spec)


def digest(*tensors: Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def fingerprint(name: str) -> dict[str, Any]:
    """What must be the same in every process: splits, first weights, batches, and whole runs."""
    problem = build(TASKS[name], 3)
    per_epoch = len(problem.train) // problem.batch_size
    print_of: dict[str, Any] = {
        "splits": [digest(split.inputs, split.targets) for split in splits(problem)],
        "weights": digest(*problem.model.state_dict().values()),
        "batches": [digest(*pair) for pair in problem.batches(max(0, per_epoch - 2), per_epoch + 2)],
    }
    for method in METHODS:
        record = short_run(short_spec(name, method))
        columns = {column: values.tobytes().hex() for column, values in record.columns.items()}
        print_of[method] = [record.id, columns, [[each.step, each.values] for each in record.evals]]
    return json.loads(json.dumps(print_of))  # type: ignore[no-any-return]


class TaskContract:
    """Inherit, and give a `task` fixture."""

    @pytest.fixture
    def task(self) -> Task:
        raise NotImplementedError

    @pytest.fixture
    def problem(self, task: Task) -> Problem:
        return build(task, 3)

    def test_it_is_in_the_catalogue_under_its_name(self, task: Task) -> None:
        assert TASKS[task.name] is task
        assert task.objective.metric != "loss"

    def test_sizes_and_parameters_are_those_of_the_catalogue(self, task: Task, problem: Problem) -> None:
        assert tuple(map(len, splits(problem))) == task.sizes
        assert all(len(split.inputs) == len(split.targets) for split in splits(problem))
        assert sum(parameter.numel() for parameter in problem.model.parameters()) == task.parameters
        assert problem.batch_size == task.batch_size <= task.sizes[0]
        assert problem.model.training

    def test_splits_are_disjoint(self, problem: Problem) -> None:
        """No row is in two splits, nor twice in one: the data sets hold no row twice."""
        everything = [row for split in splits(problem) for row in rows(split)]
        assert len(set(everything)) == len(everything)

    def test_values_are_finite_and_of_one_type(self, problem: Problem) -> None:
        """Inputs are float32, int64 where they are ids, or uint8 where they are pixels: a quarter of the memory.

        A pair of splits never differs in this or in shape.
        """
        for split in splits(problem):
            assert split.inputs.dtype in (torch.float32, torch.int64, torch.uint8)
            assert split.inputs.dtype == problem.train.inputs.dtype
            assert split.inputs.shape[1:] == problem.train.inputs.shape[1:]
            assert torch.isfinite(split.inputs).all()
            assert torch.isfinite(split.targets).all()

    def test_the_same_seed_is_the_same_problem_and_another_is_another(self, task: Task, problem: Problem) -> None:
        twin, other = build(task, 3), build(task, 4)
        weights = [digest(*each.model.state_dict().values()) for each in (problem, twin, other)]
        batches = [digest(*(part for pair in each.batches(0, 3) for part in pair)) for each in (problem, twin, other)]
        for values in (weights, batches):
            assert values[0] == values[1] != values[2]
        for mine, theirs in zip(splits(problem), splits(other), strict=True):
            assert torch.equal(mine.inputs, theirs.inputs), "the splits do not follow from the seed"
            assert torch.equal(mine.targets, theirs.targets)

    def test_building_and_drawing_leave_all_random_state_alone(self, task: Task) -> None:
        before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
        build(task, 5).batches(0, 40)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
        assert random.getstate() == before[2]

    def test_the_first_weights_do_not_follow_from_the_callers_random_state(self, task: Task) -> None:
        torch.manual_seed(77)
        first = digest(*build(task, 3).model.state_dict().values())
        torch.manual_seed(78)
        assert digest(*build(task, 3).model.state_dict().values()) == first

    def test_batches_are_a_pure_function_of_the_step(self, problem: Problem) -> None:
        per_epoch = len(problem.train) // problem.batch_size
        whole = problem.batches(0, 2 * per_epoch + 3)
        for first, last in ((0, 1), (per_epoch - 1, per_epoch + 1), (per_epoch, 2 * per_epoch + 3), (5, 5)):
            again = problem.batches(first, last)
            assert len(again) == last - first
            for mine, theirs in zip(again, whole[first:last], strict=True):
                assert all(map(torch.equal, mine, theirs))

    def test_an_epoch_visits_each_example_at_most_once_and_with_its_own_target(self, problem: Problem) -> None:
        """All but those that do not fill a batch; the next epoch has another order."""
        per_epoch = len(problem.train) // problem.batch_size
        target_of = dict(zip(rows(problem.train), problem.train.targets.tolist(), strict=True))
        epochs = []
        for epoch in range(2):
            batches = problem.batches(epoch * per_epoch, (epoch + 1) * per_epoch)
            inputs, targets = map(torch.cat, zip(*batches, strict=True))
            seen = list(zip(rows(Split(inputs, targets)), targets.tolist(), strict=True))
            assert len({row for row, _ in seen}) == len(seen) == per_epoch * problem.batch_size
            assert all(target_of[row] == target for row, target in seen)
            epochs.append(seen)
        assert epochs[0] != epochs[1]

    def test_the_loss_is_a_mean_over_the_batch_or_over_what_counts_in_it(self, problem: Problem) -> None:
        outputs, targets = problem.model.eval()(problem.train.inputs[:8]), problem.train.targets[:8]
        parts = [(float(problem.weight(targets[part])), part) for part in (slice(4), slice(4, 8))]
        sums = [weight * problem.loss(outputs[part], targets[part]) for weight, part in parts]
        mean = sum(sums) / sum(weight for weight, _ in parts)
        torch.testing.assert_close(problem.loss(outputs, targets), mean, rtol=1e-5, atol=0)  # type: ignore[arg-type]

    @pytest.mark.parametrize("training", [True, False])
    def test_evaluation_is_of_the_whole_split_and_changes_nothing(
        self, task: Task, problem: Problem, training: bool
    ) -> None:
        problem.model.train(training)
        before = digest(*problem.model.state_dict().values())
        values = problem.evaluate(problem.validation)
        assert problem.evaluate(problem.validation) == values
        assert list(values) == ["loss", task.objective.metric]
        assert all(type(value) is float for value in values.values())
        assert problem.model.training is training
        assert digest(*problem.model.state_dict().values()) == before
        assert all(parameter.grad is None for parameter in problem.model.parameters())
        parts = problem.validation.inputs.split(problem.chunk or len(problem.validation))
        with torch.no_grad():
            outputs = torch.cat([problem.model.eval()(part) for part in parts])
        assert values["loss"] == pytest.approx(float(problem.loss(outputs, problem.validation.targets)), rel=1e-6)
        size = len(problem.validation)
        assert problem.evaluate(Split(problem.train.inputs[:size], problem.train.targets[:size])) != values

    def test_training_learns_and_never_touches_the_test_split(
        self, task: Task, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dropout blurs the losses of the updates: with it, those of the same rows are compared in evaluation mode."""
        made: list[Problem] = []

        def without_test(task: Task, seed: int, device: torch.device | None) -> Problem:
            made.append(dataclasses.replace(build(task, seed, device), test=Untouchable()))  # type: ignore[arg-type]
            return made[-1]

        monkeypatch.setattr(loop, "build", without_test)
        record = short_run(short_spec(task.name))
        assert record.outcome is Outcome.FINISHED
        assert record.objective == task.objective
        if any(isinstance(module, nn.Dropout) for module in made[0].model.modules()):
            seen = Split(*map(torch.cat, zip(*made[0].batches(0, record.cost.steps), strict=True)))
            assert made[0].evaluate(seen)["loss"] < build(task, record.spec.seed).evaluate(seen)["loss"]
        else:
            losses = record.column("loss")
            assert losses[-5:].mean() < losses[:5].mean()

    def test_splits_weights_batches_and_runs_are_the_same_in_another_process(
        self, task: Task, elsewhere: dict[str, Any]
    ) -> None:
        """Bit for bit; the other process has other hash seeds and another number of threads."""
        assert elsewhere[task.name] == fingerprint(task.name)


if __name__ == "__main__":
    json.dump({name: fingerprint(name) for name in sys.argv[1:]}, sys.stdout)
