"""Snapshot ensembles: predictions combined, members chosen, runs that end as one, and ensembles of a user's loop."""

import itertools
import math
import re
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import lrcontrol as lrc
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.files import write_whole
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.storage.exported import export
from lrcontrol.search.search import Candidate
from lrcontrol.training.ensembles import EnsembleModel, chosen_greedily, ensemble_of, in_place
from lrcontrol.training.final_weights import FinalWeights
from lrcontrol.training.loop import test_metrics as metrics_of_test
from lrcontrol.training.loop import train, trained_model
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.combining import combine_of, mean_of_chances, mean_of_outputs, mean_of_probabilities
from lrcontrol.training.tasks.problem import build

# ---- what predictions come to ----


def scores(*shape: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [1, -1])
def test_probabilities_are_averaged_and_cross_entropy_takes_the_result(dim: int) -> None:
    """A ten-line twin: softmax, mean, log; the loss of the result is that of the averaged probabilities."""
    outputs = [scores(6, 4, seed=seed) for seed in range(3)]
    mean = torch.stack([functional.softmax(each, dim=dim) for each in outputs]).mean(dim=0)
    combined = mean_of_probabilities(outputs, dim=dim)
    torch.testing.assert_close(combined.exp(), mean)
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(functional.cross_entropy(combined, targets), functional.nll_loss(mean.log(), targets))
    assert torch.isfinite(mean_of_probabilities([scores(6, 4, seed=seed, spread=1e4) for seed in range(3)])).all()


def test_chances_of_yes_are_averaged() -> None:
    outputs = [scores(5, 2, seed=seed) for seed in range(4)]
    mean = torch.stack([each.sigmoid() for each in outputs]).mean(dim=0)
    torch.testing.assert_close(mean_of_chances(outputs).sigmoid(), mean)
    assert torch.isfinite(mean_of_chances([torch.tensor([300.0, -300.0])] * 2)).all()


def test_an_ensemble_of_one_is_that_one() -> None:
    for combine in (mean_of_outputs, mean_of_chances, mean_of_probabilities):
        one = scores(7, 3)
        alone, again = combine([one]), combine([one, one, one])
        torch.testing.assert_close(alone, again)
        assert torch.equal(alone.argmax(dim=1), one.argmax(dim=1))


def test_what_suits_a_loss() -> None:
    assert combine_of(functional.cross_entropy) is mean_of_probabilities
    assert combine_of(nn.CrossEntropyLoss()) is mean_of_probabilities
    assert combine_of(nn.BCEWithLogitsLoss()) is mean_of_chances
    assert combine_of(functional.mse_loss) is mean_of_outputs
    assert combine_of(lambda outputs, targets: outputs.mean()) is mean_of_outputs


@pytest.mark.parametrize("name", ["digits-cnn", "diabetes-mlp", "sst-bag"])
def test_the_loss_of_an_ensemble_is_at_most_the_mean_of_its_members(name: str) -> None:
    """Jensen: for cross-entropy of averaged probabilities as for the squared error of averaged outputs."""
    problem = build(find_task(name), 0)
    states = {}
    for seed in range(3):
        states[seed] = build(find_task(name), seed).model.state_dict()
    losses = [problem.evaluate(problem.validation)["loss"] for _ in in_place(problem.model, states)]
    together = ensemble_of(problem.model, states, problem.combined)
    judged = problem.judged((together(problem.validation.inputs) for _ in range(1)), problem.validation)
    assert judged["loss"] <= sum(losses) / 3 + 1e-6


# ---- which are members ----


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=6))
def test_greedy_selection_is_never_worse_than_the_best_and_stops_where_nothing_helps(biases: list[int]) -> None:
    steps = [10 * (place + 1) for place in range(len(biases))]
    by_step = dict(zip(steps, biases, strict=True))

    def key(members: tuple[int, ...]) -> float:
        return abs(sum(by_step[each] for each in members) / len(members))

    chosen = chosen_greedily(steps, key)
    assert list(chosen) == sorted(set(chosen))
    assert set(chosen) <= set(steps)
    assert key(chosen) <= min(key((step,)) for step in steps)
    for step in set(steps) - set(chosen):
        assert key(tuple(sorted((*chosen, step)))) >= key(chosen)
    best = min(key(members) for size in range(1, len(steps) + 1) for members in itertools.combinations(steps, size))
    assert key(chosen) >= best


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_wins(bad: float) -> None:
    metrics = {10: 0.5, 20: 0.4, 30: bad}
    for key in (lambda members: sum(metrics[each] for each in members) / len(members),
                lambda members: (0.1, sum(metrics[each] for each in members))):  # fmt: skip
        assert chosen_greedily([10, 20, 30], key) == (20,)


def test_ties_go_to_the_later_and_nothing_is_added_that_is_only_as_good() -> None:
    assert chosen_greedily([10, 20, 30], lambda members: 1.0) == (30,)


# ---- runs ----


def spec(method: str, **more: Any) -> RunSpec:
    usual = {"task": "digits-cnn", "base_lr": 0.05, "total_steps": 60}
    return RunSpec(**(usual | more), method=method)  # type: ignore[arg-type]


def parts_of(record_spec: RunSpec, ends: tuple[int, ...], folder: Path) -> dict[int, nn.Module]:
    """The models of runs of the same schedule that were cut at the ends."""
    plain = record_spec.method.control.inner  # type: ignore[union-attr]
    method = msgspec.structs.replace(record_spec.method, control=plain)
    found = {}
    for end in ends:
        cut = msgspec.structs.replace(record_spec, method=method, stop_step=end)
        found[end] = trained_model(train(cut, weights=folder), folder)
    return found


@pytest.mark.parametrize("members", ["greedy", "all"])
def test_a_run_ends_as_the_ensemble_of_its_cycle_ends(members: str, tmp_path: Path) -> None:
    """Members are the models of runs cut there, to the bit, batch norm's statistics included; it costs one run."""
    asked = spec(f"sgd:snapshots(cycles=4, members={members})", save=True)
    record = train(asked, weights=tmp_path)
    assert (record.outcome, record.cost.steps, record.kept) == (Outcome.FINISHED, 60, None)
    assert set(record.members) <= {15, 30, 45, 60}
    if members == "all":
        assert record.members == (15, 30, 45, 60)
    model = trained_model(record, tmp_path)
    assert isinstance(model, EnsembleModel)
    for ours, theirs in zip(model.models, parts_of(asked, record.members, tmp_path).values(), strict=True):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(one, other)
    problem = build(find_task("digits-cnn"), 0)
    for split, found in (
        (problem.validation, record.evals[-1].values),
        (problem.test, metrics_of_test(record, tmp_path)),
    ):
        with torch.no_grad():
            mean = torch.stack([functional.softmax(each(split.inputs), dim=1) for each in model.models]).mean(dim=0)
        assert found["accuracy"] == pytest.approx(float((mean.argmax(dim=1) == split.targets).double().mean()))
        assert found["loss"] == pytest.approx(float(functional.nll_loss(mean.log(), split.targets)), rel=1e-4)
    plain = train(spec("sgd:snapshot(4)"))
    assert record.evals[-1].values["single_accuracy"] == plain.final
    assert record.column("loss").tolist() == plain.column("loss").tolist()
    assert [each.step for each in record.evals] == [15, 30, 45, 60]
    assert all(each in record.evals for each in plain.evals[:-1])


def test_greedy_members_are_at_least_as_good_as_any_single_snapshot_on_validation(tmp_path: Path) -> None:
    asked = spec("sgd:snapshots(cycles=4)", seed=1, save=True)
    record = train(asked, weights=tmp_path)
    problem = build(find_task("digits-cnn"), 1)
    singles = []
    for model in parts_of(asked, (15, 30, 45, 60), tmp_path).values():
        problem.model.load_state_dict(model.state_dict())
        singles.append(problem.evaluate(problem.validation)["accuracy"])
    assert record.final is not None
    assert record.final >= max(singles)


def test_a_run_that_is_cut_has_the_cycles_that_were_whole(tmp_path: Path) -> None:
    record = train(spec("sgd:snapshots(cycles=4, members=all)", stop_step=40, save=True), weights=tmp_path)
    assert record.members == (15, 30)
    none = train(spec("sgd:snapshots(cycles=4, members=all)", stop_step=14, save=True), weights=tmp_path)
    assert none.members == ()
    assert none.evals == train(spec("sgd:snapshot(4)", stop_step=14)).evals
    assert not isinstance(trained_model(none, tmp_path), EnsembleModel)


def test_a_run_that_diverges_is_a_result(tmp_path: Path) -> None:
    record = train(spec("sgd:snapshots(cycles=4)", base_lr=1e30, save=True), weights=tmp_path)
    assert (record.outcome, record.members, record.weights) == (Outcome.DIVERGED, (), None)


@pytest.mark.parametrize("task", ["diabetes-mlp", "glass-softmax", "shakespeare-lstm"])
def test_other_tasks_have_ensembles_too(task: str, tmp_path: Path) -> None:
    record = train(
        spec("adamw:snapshots(cycles=3, members=all)", task=task, base_lr=0.01, total_steps=12, save=True),
        weights=tmp_path,
    )
    assert record.members == (4, 8, 12)
    assert all(math.isfinite(value) for value in metrics_of_test(record, tmp_path).values())


def test_a_selection_may_choose_an_ensemble_and_gives_it_as_one_model(tmp_path: Path) -> None:
    """As a candidate beside others: raced over short horizons, chosen on validation, judged on test as one."""
    found = lrc.select(
        "digits-mlp",
        budget="2runs",
        out=tmp_path,
        executor="serial",
        candidates=[Candidate(lrc.method("sgd:snapshots(cycles=3, members=all)"), lr) for lr in (0.1, 0.02)],
    )
    finished = [record for record in found.choice.stages[0].records if record.members]
    assert finished
    chosen = max((record for stage in found.choice.stages for record in stage.records if record.spec.save),
                 key=lambda record: record.final or 0.0)  # fmt: skip
    assert found.record.final == chosen.final
    if found.record.members:
        model = found.model()
        assert isinstance(model, EnsembleModel)
        assert len(model.models) == len(found.record.members) == 3
        problem = build(find_task("digits-mlp"), 0)
        with torch.no_grad():
            outputs = model(problem.test.inputs)
        right = (outputs.argmax(dim=1) == problem.test.targets).double().mean()
        assert found.test["accuracy"] == pytest.approx(float(right))
    again = lrc.load_selection(tmp_path)
    assert (again.record.members, again.test) == (found.record.members, found.test)
    found.report(tmp_path / "report.html")
    assert export(tmp_path / "runs.db", tmp_path / "runs.csv") > 0
    assert "members" in (tmp_path / "runs.csv").read_text().splitlines()[0]


# ---- a loop of one's own ----


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def data(count: int = 90, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = scores(count, 8, seed=seed, spread=1.0)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def trained(folder: Path | None, total: int = 30, until: int | None = None, first: int = 0) -> Any:
    """A loop of anybody's, with an ensemble in it; the model, and the ensemble."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scheduler = lrc.as_torch_scheduler(optimizer, "snapshot(3)", total)
    ensemble = lrc.snapshots(model, "snapshot(3)", total, folder=folder)
    inputs, targets = data()
    for made in range(until or total):
        rows = slice(30 * (made % 3), 30 * (made % 3) + 30)
        functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        if made >= first:
            ensemble.step(scheduler.last_epoch)
    return model, ensemble


def test_a_loop_has_an_ensemble_of_its_cycle_ends(tmp_path: Path) -> None:
    model, ensemble = trained(tmp_path)
    assert (ensemble.ends, ensemble.steps, ensemble.members) == ((10, 20, 30),) * 3
    inputs, targets = data(50, seed=1)
    models = [trained(None, until=end)[0].eval() for end in (10, 20, 30)]
    mean = torch.stack([functional.softmax(each(inputs), dim=1) for each in models]).mean(dim=0)
    torch.testing.assert_close(ensemble.predict(inputs).exp(), mean)
    assert all(one.training for one in model.modules())
    batches = [(inputs[:20], targets[:20]), (inputs[20:], targets[20:])]
    chosen = ensemble.select(batches, functional.cross_entropy)
    with torch.no_grad():
        chances = [functional.softmax(each(inputs), dim=1) for each in models]
    losses = {
        members: float(
            functional.nll_loss(torch.stack([chances[place] for place in members]).mean(dim=0).log(), targets)
        )
        for size in (1, 2, 3)
        for members in itertools.combinations(range(3), size)
    }
    best_alone = min(losses[(place,)] for place in range(3))
    assert losses[tuple(step // 10 - 1 for step in chosen)] <= best_alone + 1e-6
    assert ensemble.members == chosen
    ensemble.use(10, 30)
    assert ensemble.members == (10, 30)
    ensemble.use()
    assert ensemble.members == (10, 20, 30)
    with pytest.raises(BadInput, match="members must be snapshots there are, got 11; there are 10, 20, 30"):
        ensemble.use(11)


def test_a_run_that_is_killed_loses_no_cycle(tmp_path: Path) -> None:
    """What was taken is on disk at once; the same call finds it, goes on, and predicts as an undisturbed run."""
    whole = trained(tmp_path / "whole")[1]
    trained(tmp_path / "killed", until=25)
    again = lrc.snapshots(net(), "snapshot(3)", 30, folder=tmp_path / "killed")
    assert again.steps == (10, 20)
    _, resumed = trained(tmp_path / "killed", first=25)
    assert resumed.steps == (10, 20, 30)
    inputs = data(50, seed=1)[0]
    assert torch.equal(resumed.predict(inputs), whole.predict(inputs))
    whole.select([data(50, seed=1)], functional.cross_entropy)
    assert lrc.snapshots(net(), "snapshot(3)", 30, folder=tmp_path / "whole").members == whole.members


def test_a_folder_that_is_damaged_or_of_another_run_is_told(tmp_path: Path) -> None:
    trained(tmp_path)

    def found(**changed: Any) -> Any:
        usual = {"model": net(), "schedule": "snapshot(3)", "total_steps": 30, "folder": tmp_path}
        return lrc.snapshots(**(usual | changed))  # type: ignore[arg-type]

    with pytest.raises(BadInput, match=r"snapshots of another run, after 10, 20 updates"):
        found(schedule="snapshot(2)")
    with pytest.raises(RecordError, match="must be of this model"):
        found(model=nn.Linear(2, 2))
    (file,) = tmp_path.glob("snapshot-20-*.safetensors")
    blob = file.read_bytes()
    for place in range(0, len(blob), 97):
        file.write_bytes(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :])
        with pytest.raises(RecordError, match=r"snapshot-20-\w+.safetensors is damaged"):
            found()
    file.unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        found()
    file.write_bytes(blob)
    assert found().steps == (10, 20, 30)
    for text in ("", "{}", "[", '{"format": "other", "version": 1, "files": []}'):
        (tmp_path / "snapshots.json").write_text(text)
        with pytest.raises(RecordError, match=r"snapshots\.json"):
            found()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    told: tuple[tuple[Any, str], ...] = (
        (taken, f"got {taken}: {taken} is a file"),
        (taken / "in" / "it", f"got {taken / 'in' / 'it'}: {taken} is a file"),
        (tmp_path / ("x" * 999), "File name too long"),
        (3, "must be the path of a folder, or None, got folder=3"),
    )
    for folder, sentence in told:
        with pytest.raises(BadInput, match=re.escape(sentence)) as caught:
            lrc.snapshots(net(), "snapshot(3)", 30, folder=folder)
        assert "\n" not in str(caught.value)
    assert taken.read_text() == "mine"


def test_bad_arguments_are_told() -> None:
    for schedule, total, match in (
        ("snapshot(3)", None, "`total_steps`"),
        ("snapshot(30)", 20, "of 30 cycles none"),
        ("sgdr(period=50)", 20, "20 steps are not enough for the first"),
        ([0, 3], None, "`schedule`"),
        (3, 10, "a control must be a text"),
    ):
        with pytest.raises(BadInput, match=match):
            lrc.snapshots(net(), schedule, total)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="unknown way to combine 'mean'"):
        lrc.snapshots(net(), [3], combine="mean")  # type: ignore[arg-type]
    empty = lrc.snapshots(net(), [3])
    with pytest.raises(BadInput, match="there is none yet; the first is due at 3"):
        empty.predict(torch.zeros(1, 8))
    empty.step(3)
    with pytest.raises(BadInput, match="must give batches"):
        empty.select([], functional.cross_entropy)


class Biased(nn.Module):
    """The same scores for whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scores.expand(len(inputs), 2)


@pytest.mark.parametrize(("classes", "wanted"), [((1, 1, 1, 0), (10, 20)), ((7, 7, 7, 0), (30,))])
def test_members_that_are_equally_good_are_told_apart_by_their_loss(
    classes: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    """All are right in three of four; where targets are none of a loss, the latest alone is taken, as ever."""
    model = Biased()
    ensemble = lrc.snapshots(model, [10, 20, 30])
    for step, surety in ((10, 0.1), (20, 3.0), (30, 9.0)):  # the second is too sure, and the third far too sure
        with torch.no_grad():
            model.scores.copy_(torch.tensor([0.0, surety]))
        ensemble.step(step)

    def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float((outputs.argmax(1) == targets.clamp(max=1)).float().mean())

    assert ensemble.select([(torch.zeros(4, 3), torch.tensor(classes))], accuracy, "maximize") == wanted
    for bad in (math.nan, math.inf):
        with pytest.raises(BadInput, match="must be finite for one snapshot at least"):
            ensemble.select([data()], lambda outputs, targets: bad)  # noqa: B023 - called at once


def test_numbers_are_averaged_and_a_function_may_combine() -> None:
    model = nn.Linear(8, 1)
    averaged = lrc.snapshots(model, [1, 2], combine="outputs")
    largest = lrc.snapshots(model, (1, 2), combine=lambda outputs: torch.stack(list(outputs)).amax(dim=0))
    inputs, seen = data(5)[0], []
    for _ in range(2):
        with torch.no_grad():
            model.weight.add_(1.0)
            seen.append(model(inputs))
        averaged.step()
        largest.step()
    torch.testing.assert_close(averaged.predict(inputs), (seen[0] + seen[1]) / 2)
    torch.testing.assert_close(largest.predict(inputs), torch.maximum(*seen))
    for targets, wanted in ((seen[0], (1,)), (seen[0][:, 0], (2,))):  # of another shape, which no loss is taken of
        assert averaged.select([(inputs, targets)], lambda *_: 1.0) == wanted
    assert largest.select([(inputs, seen[0])], lambda *_: 1.0) == (2,)


def test_statistics_of_batch_norm_are_taken_anew_and_nothing_else_changes() -> None:
    model, ensemble = trained(None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = data(60, seed=2)[0]
    ensemble.recalibrate([inputs[:30], (inputs[30:], None)])
    for member in ensemble.model().models:
        hidden = member[0](inputs)
        means = torch.stack([hidden[:30].mean(dim=0), hidden[30:].mean(dim=0)]).mean(dim=0)
        torch.testing.assert_close(member[1].running_mean, means)
        assert member[1].momentum == 0.1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(one.training for one in model.modules())
    assert model[1].momentum == 0.1


def broken_off(folder: Path) -> tuple[int, ...]:
    """What the next run finds in a folder."""
    return tuple(lrc.snapshots(net(), "snapshot(3)", 30, folder=folder).steps)


def test_a_recalibration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Batches that are used up after the first snapshot, and an interruption in the second pass."""
    _, ensemble = trained(tmp_path)
    inputs = data(60, seed=2)[0]
    before = ensemble.predict(inputs)
    passes = itertools.count()

    class Interrupted:
        def __iter__(self) -> Any:
            if next(passes):
                raise KeyboardInterrupt
            yield inputs

    for batches, error in ((iter([inputs]), BadInput), (Interrupted(), KeyboardInterrupt)):
        with pytest.raises(error):
            ensemble.recalibrate(batches)
        assert torch.equal(ensemble.predict(inputs), before)
        found = lrc.snapshots(net(), "snapshot(3)", 30, folder=tmp_path)
        assert found.steps == (10, 20, 30)
        assert torch.equal(found.predict(inputs), before)
    ensemble.recalibrate([inputs])
    found = lrc.snapshots(net(), "snapshot(3)", 30, folder=tmp_path)
    assert torch.equal(found.predict(inputs), ensemble.predict(inputs))
    assert not torch.equal(found.predict(inputs), before)
    assert len(list(tmp_path.iterdir())) == 4, "what is no longer listed is gone"


def test_a_folder_is_whole_wherever_its_writing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on takes an end anew, and is killed after the file and before the list, or before the file."""
    for name in ("snapshot-", "snapshots.json"):
        folder = tmp_path / name
        trained(folder)
        again = lrc.snapshots(net(seed=1), "snapshot(3)", 30, folder=folder)

        def killed(path: Path, content: bytes, name: str = name) -> None:
            if path.name.startswith(name):
                raise KeyboardInterrupt
            write_whole(path, content)

        with monkeypatch.context() as patched:
            patched.setattr("lrcontrol.training.snapshots.write_whole", killed)
            with pytest.raises(KeyboardInterrupt):
                again.step(20)
        assert broken_off(folder) == (10, 20, 30)


def test_processes_that_share_a_folder_leave_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their buffers differ, and one writes its file and its list between the file and the list of the other."""
    first, second = (lrc.snapshots(net(seed), [5, 10], folder=tmp_path) for seed in range(2))

    def overtaken(path: Path, content: bytes) -> None:
        if path.name == "snapshots.json" and second.updates < first.updates:
            second.step(first.updates)
        write_whole(path, content)

    monkeypatch.setattr("lrcontrol.training.snapshots.write_whole", overtaken)
    for end in (5, 10):
        first.step(end)
        assert second.updates == end
    found = lrc.snapshots(net(), [5, 10], folder=tmp_path)
    assert found.steps == (5, 10)
    assert torch.equal(found.predict(data()[0]), first.predict(data()[0]))


def test_updates_that_a_scaler_skips_are_no_updates() -> None:
    """Snapshots are of the updates made, as the scheduler counts them, and each is taken once."""
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lrc.as_torch_scheduler(optimizer, "snapshot(2)", 10)
    ensemble = lrc.snapshots(model, "snapshot(2)", 10)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    made, taken = 0, []
    for call in range(13):
        loss = functional.cross_entropy(model(data()[0]), data()[1])
        scaler.scale(loss * (math.inf if call in (1, 5, 7) else 1.0)).backward()
        weights = model.weight.detach().clone()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scheduler.step()
        made += not torch.equal(weights, model.weight)
        if ensemble.step(scheduler.last_epoch):
            taken.append(made)
    assert ensemble.steps == tuple(taken) == (5, 10)


def test_a_step_past_a_cycle_end_is_told() -> None:
    ensemble = lrc.snapshots(net(), [8, 16])
    assert not ensemble.step(6)
    with pytest.raises(BadInput, match="it went from 6 to 9 updates and missed 8"):
        ensemble.step(9)
    assert ensemble.step(8)
    resumed = lrc.snapshots(net(), [8, 16])
    assert not resumed.step(12), "a run that goes on from a checkpoint"
    assert resumed.step(16)


def test_a_snapshot_that_is_not_finite_is_no_member(tmp_path: Path) -> None:
    model = net()
    ensemble = lrc.snapshots(model, [10, 20, 30], folder=tmp_path)
    model.register_buffer("mask", torch.tensor([-math.inf, 0.0]))
    for end in (10, 20):
        ensemble.step(end)
    kept = model[3].weight.detach().clone()
    with torch.no_grad():
        model[3].weight.fill_(math.nan)
    ensemble.step(30)
    assert (ensemble.steps, ensemble.members) == ((10, 20, 30), (10, 20))
    assert lrc.snapshots(model, [10, 20, 30], folder=tmp_path).members == (10, 20)
    assert ensemble.select([data()], functional.cross_entropy) in ((10,), (20,), (10, 20))
    assert ensemble.predict(data()[0]).isfinite().all()
    alone = lrc.snapshots(model, [10])
    alone.step(10)
    with pytest.raises(BadInput, match="must be finite for one snapshot at least, got nan"):
        alone.select([data()], functional.cross_entropy)
    assert alone.members == (10,)
    with torch.no_grad():
        model[3].weight.copy_(kept)


def test_a_run_keeps_what_is_not_finite_out_of_its_ensemble() -> None:
    problem, task = build(find_task("digits-mlp"), 0), find_task("digits-mlp")
    for members in ("greedy", "all"):
        final = FinalWeights(task, problem, members)  # type: ignore[arg-type]
        for step in (10, 20):
            final.keep(step)
        state = problem.model.state_dict()
        broken = {name: value.clone().fill_(math.nan) if value.is_floating_point() else value
                  for name, value in state.items()}  # fmt: skip
        whole = {name: value.clone() for name, value in state.items()}
        problem.model.load_state_dict(broken)
        final.keep(30)
        problem.model.load_state_dict(whole)
        ending = final.ending(30)
        assert ending is not None
        assert set(ending.members) <= {10, 20}
        assert math.isfinite(ending.values["loss"])


def test_a_snapshot_taken_by_hand_is_found_again(tmp_path: Path) -> None:
    ensemble = lrc.snapshots(net(), "snapshot(2)", 10, folder=tmp_path)
    for made in (5, 7):
        ensemble.step(made)
    ensemble.take()
    again = lrc.snapshots(net(), "snapshot(2)", 10, folder=tmp_path)
    assert again.steps == (5, 7)
    again.step(10)
    assert lrc.snapshots(net(), "snapshot(2)", 10, folder=tmp_path).steps == (5, 7, 10)
    with pytest.raises(BadInput, match="snapshots of another run, after 5, 10 updates"):
        lrc.snapshots(net(), [7, 9], folder=tmp_path)


def test_a_new_run_in_an_old_folder_drops_what_comes_later(tmp_path: Path) -> None:
    trained(tmp_path)
    _, ensemble = trained(tmp_path, until=10)
    assert ensemble.members == broken_off(tmp_path) == (10,)
    assert len(list(tmp_path.iterdir())) == 2


class Holding(nn.Module):
    """Keeps what its layers gave, as many models do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.seen: list[Any] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.hidden = self.layer(inputs)
        self.seen = [{"hidden": self.hidden}]
        return self.hidden


class Telling(nn.Linear):
    """Has state of its own beside its parameters."""

    def get_extra_state(self) -> Any:
        return {"seen": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def test_a_model_that_holds_its_outputs_has_an_ensemble() -> None:
    model = Holding()
    ensemble = lrc.snapshots(model, [1])
    outputs = model(data()[0])
    ensemble.step()
    torch.testing.assert_close(ensemble.predict(data()[0]).exp(), functional.softmax(outputs, dim=1).detach())
    assert model.hidden is outputs
    assert outputs.grad_fn is not None


def test_a_model_that_can_have_no_ensemble_is_refused_before_training() -> None:
    with pytest.raises(BadInput, match=r"must be tensors where snapshots of it are taken, got _extra_state="):
        lrc.snapshots(Telling(2, 2), [1])
    locked = net()
    locked.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(BadInput, match=r"this Sequential cannot be copied: .*keep what cannot be copied outside"):
        lrc.snapshots(locked, [1])
