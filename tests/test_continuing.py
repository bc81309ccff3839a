"""Going on from a checkpoint is the uninterrupted run, to the bit; a damaged checkpoint is refused."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from lrcontrol.errors import BadInput, RecordError
from lrcontrol.runs.kept_files import drop_checkpoints, manifest_name, state_name
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training.checkpoints import load_checkpoint, save_checkpoint
from lrcontrol.training.loop import train, train_all, trained_model
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.state import as_plain, put, taken, with_tensors

METHODS = (
    "sgd(momentum=0.9, nesterov=true, weight_decay=0.001):cosine",
    "adamw:warmup(0.1)+rex",
    "sgd:one_cycle, momentum=one_cycle_momentum",
    "adamw:cosine, weight_decay=linear",
    "sgd:plateau(patience=1)",
    "sgd:warmup(0.2)+plateau(patience=0)",
)


def spec_of(method: str = METHODS[0], **change: Any) -> RunSpec:
    given: dict[str, Any] = {"task": "digits-mlp", "base_lr": 0.003, "total_steps": 60, "seed": 2}
    return RunSpec(method=method, **given | change)


def legs(whole: RunSpec, stops: list[int], folder: Path) -> list[Record]:
    """The same run in several legs, each from the checkpoint of the one before."""
    records: list[Record] = []
    for stop in [*stops, whole.stop_step]:
        start = None if not records else Start(records[-1].id, records[-1].spec.stop_step)
        leg = RunSpec(
            task=whole.task,
            method=whole.method,
            base_lr=whole.base_lr,
            seed=whole.seed,
            total_steps=whole.total_steps,
            stop_step=stop,
            start=start,
            checkpoint=stop != whole.stop_step,
            save=stop == whole.stop_step,
        )
        records.append(train(leg, weights=folder))
    return records


def check_equal(whole: RunSpec, stops: list[int], folder: Path) -> None:
    """Weights, columns and what was judged on the way are those of the uninterrupted run."""
    alone = train(whole, weights=folder)
    records = legs(whole, stops, folder)
    assert records[-1].outcome is alone.outcome is Outcome.FINISHED
    for name in alone.columns:
        joined = b"".join(record.column(name).tobytes() for record in records)
        assert joined == alone.column(name).tobytes()
    wanted = {each.step: each.values for each in alone.evals}
    judged = {each.step: each.values for record in records for each in record.evals}
    assert {step: judged[step] for step in wanted} == wanted
    assert sum(record.cost.steps for record in records) == alone.cost.steps
    ours, theirs = (trained_model(record, folder).state_dict() for record in (records[-1], alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stops", [[1], [30], [59], [7, 23, 41]], ids=str)
def test_going_on_is_not_stopping(method: str, stops: list[int], tmp_path: Path) -> None:
    check_equal(spec_of(method, save=True), stops, tmp_path)


def test_dropout_and_batch_norm_go_on(tmp_path: Path) -> None:
    check_equal(spec_of("adamw:cosine", task="digits-cnn", total_steps=24, save=True), [5, 17], tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd(momentum=0.9)"])
def test_a_model_that_lies_otherwise_in_memory_goes_on(optimizer: str, tmp_path: Path) -> None:
    """Files hold tensors in one order; torch's fused steps go wrong, silently, where moments lie in another."""

    def begun() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        return model, make_optimizer(parse_method(f"{optimizer}:constant").optimizer, model.parameters(), 0.1)

    def trained(model: torch.nn.Module, by: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            by.zero_grad()
            model(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
            by.step()

    whole = begun()
    trained(*whole, range(6))
    first = begun()
    trained(*first, range(3))
    spec = spec_of(f"{optimizer}:constant")
    save_checkpoint(taken(3, *first), tmp_path, spec)
    again = begun()
    put(load_checkpoint(tmp_path, spec.id)[1], *again)
    trained(*again, range(3, 6))
    assert torch.equal(again[0].weight, whole[0].weight)


LYING: dict[str, torch.Tensor] = {
    "one after the other": torch.empty(4, 3, 5),
    "a number": torch.empty(()),
    "nothing": torch.empty(4, 0, 5),
    "transposed": torch.empty(4, 7).T,
    "a row transposed": torch.empty(1, 7).T,
    "channels_last": torch.empty(4, 3, 5, 6, memory_format=torch.channels_last),
    "channels_last in 3d": torch.empty(4, 3, 5, 6, 2, memory_format=torch.channels_last_3d),
    "channels_last of one channel": torch.empty(4, 1, 5, 6, memory_format=torch.channels_last),
    "channels_last of one filter": torch.empty(1, 3, 5, 6, memory_format=torch.channels_last),
    "channels_last of points": torch.empty(4, 3, 1, 1, memory_format=torch.channels_last),
    "channels_last of a row": torch.empty(4, 3, 1, 6, memory_format=torch.channels_last),
    "channels_last of a column": torch.empty(4, 3, 5, 1, memory_format=torch.channels_last),
}


@pytest.mark.parametrize("stored", [torch.clone, torch.Tensor.contiguous])
@pytest.mark.parametrize("name", LYING)
def test_a_state_keeps_how_its_tensors_lie_in_memory(
    name: str, stored: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Also through JSON and a file, which has one order for all."""
    value = torch.empty_like(LYING[name]).copy_(torch.arange(LYING[name].numel()).reshape(LYING[name].shape))
    tensors: dict[str, torch.Tensor] = {}
    plain = json.loads(json.dumps(as_plain([value], "state", tensors)))
    kept = {name: stored(each) for name, each in tensors.items()}
    (back,) = with_tensors(plain, kept)
    assert torch.equal(back, value)
    assert back.stride() == value.stride() == LYING[name].stride()
    back += 1
    assert torch.equal(with_tensors(plain, kept)[0], value)


@pytest.mark.parametrize("value", [torch.empty(6, 8)[:, ::2], torch.empty(5).expand(3, 5), torch.empty(9)[::3]])
def test_a_part_of_a_tensor_is_kept_by_itself(value: torch.Tensor) -> None:
    tensors: dict[str, torch.Tensor] = {}
    plain = as_plain(value, "state", tensors)
    back = with_tensors(plain, {name: each.contiguous() for name, each in tensors.items()})
    assert torch.equal(back, value)
    assert back.untyped_storage().nbytes() == value.numel() * value.element_size()


def test_cooldowns_branch_off_a_trunk(tmp_path: Path) -> None:
    """A checkpoint of the trunk serves any schedule that is laid over the same horizon, or another."""
    trunk = train(spec_of("sgd:constant", stop_step=40, checkpoint=True), weights=tmp_path)
    for method, total in (("sgd:constant(share=0.7)+linear(start=1)", 60), ("sgd:constant(steps=40)+rex", 55)):
        whole = train(spec_of(method, total_steps=total))
        cooled = train(spec_of(method, total_steps=total, start=Start(trunk.id, 40)), weights=tmp_path)
        assert cooled.column("loss").tobytes() == whole.column("loss")[40:].tobytes()
        assert cooled.evals[-1] == whole.evals[-1]
        assert cooled.cost.steps == total - 40


def test_runs_that_go_on_from_one_checkpoint_share_what_comes_next(tmp_path: Path) -> None:
    trunk = train(spec_of("sgd:constant", stop_step=20, checkpoint=True), weights=tmp_path)
    specs = [
        spec_of(f"sgd:constant(share=0.8)+linear(start=1, end={end})", start=Start(trunk.id, 20)) for end in (0.0, 0.5)
    ]
    alone = [train(spec, weights=tmp_path) for spec in specs]
    together = {record.id: record for record in train_all(specs, weights=tmp_path)}
    assert sorted(record.cost.shared for record in together.values()) == [0, 29]
    for record in alone:
        assert together[record.id].column("loss").tobytes() == record.column("loss").tobytes()
        assert together[record.id].evals == record.evals


@pytest.mark.parametrize("control", ["cosine*plateau", "warmup(0.1)+plateau"])
def test_another_control_that_looks_takes_over_where_its_schedule_is_by_then(control: str, tmp_path: Path) -> None:
    """Its first update has the rate of that step, not of the first one."""
    before = train(spec_of("sgd:constant", stop_step=40, checkpoint=True), weights=tmp_path)
    taken_over = train(spec_of(f"sgd:{control}", start=Start(before.id, 40)), weights=tmp_path)
    schedule = "cosine" if "cosine" in control else "constant"
    wanted = train(spec_of(f"sgd:{schedule}", start=Start(before.id, 40)), weights=tmp_path)
    assert taken_over.column("lr")[:1].tolist() == wanted.column("lr")[:1].tolist()


def test_a_higher_momentum_may_be_explored_from_a_checkpoint(tmp_path: Path) -> None:
    before = train(spec_of("sgd(momentum=0.9):constant", stop_step=20, checkpoint=True), weights=tmp_path)
    start = Start(before.id, 20)
    losses = {
        momentum: train(spec_of(f"sgd(momentum={momentum}):constant", start=start), weights=tmp_path).column("loss")
        for momentum in (0.9, 0.5)
    }
    whole = train(spec_of("sgd(momentum=0.9):constant"))
    assert losses[0.9].tobytes() == whole.column("loss")[20:].tobytes()
    assert losses[0.5][0] == losses[0.9][0]
    assert losses[0.5][5] != losses[0.9][5]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seed": 3}, "must have the seed of the run it goes on from, got 3, where run .* has 2"),
        ({"method": "adamw:constant"}, "must have the kind of optimizer .* got AdamW, where run .* has SGD"),
        ({"task": "digits-softmax"}, "must have the task .* got digits-softmax"),
    ],
)
def test_a_checkpoint_of_another_kind_of_run_is_refused(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    before = train(spec_of("sgd:constant", stop_step=20, checkpoint=True), weights=tmp_path)
    given = {"method": "sgd:constant", "start": Start(before.id, 20)} | change
    with pytest.raises(RecordError, match=match):
        train(spec_of(**given), weights=tmp_path)
    with pytest.raises(RecordError, match=r"must have the start.step .* got 19, where run .* has 20"):
        train(spec_of("sgd:constant", start=Start(before.id, 19)), weights=tmp_path)


def test_what_cannot_be_kept_or_found_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`weights` must name a folder where the spec says checkpoint=True"):
        train(spec_of(checkpoint=True))
    missing = spec_of(start=Start("0" * 20, 10))
    with pytest.raises(RecordError, match=f"the checkpoint of run {'0' * 20} cannot be read: No such file"):
        train(missing, weights=tmp_path)
    with pytest.raises(BadInput, match="`run` must be the id of a run"):
        Start("../../etc/passwd", 1)
    with pytest.raises(BadInput, match=r"must end after the step it goes on from, got start.step=60 and stop_step=60"):
        spec_of(start=Start("0" * 20, 60))


def test_a_run_that_diverges_keeps_no_checkpoint(tmp_path: Path) -> None:
    record = train(spec_of("sgd:constant", base_lr=1e30, checkpoint=True), weights=tmp_path)
    assert record.outcome is Outcome.DIVERGED
    assert record.checkpoint is None
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_that_nobody_needs_are_dropped_and_weights_stay(tmp_path: Path) -> None:
    specs = [spec_of("sgd:constant", stop_step=stop, checkpoint=True, save=True) for stop in (2, 4)]
    first, second = (train(spec, weights=tmp_path) for spec in specs)
    assert drop_checkpoints(tmp_path, {second.id}) == [first.id]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [
            f"{first.id}.safetensors",
            f"{second.id}.safetensors",
            manifest_name(second.id),
            state_name(second.id),
        ]
    )


def damaged(blob: bytes, chance: random.Random) -> bytes:
    """The bytes with one thing wrong."""
    kind = chance.randrange(5)
    place = chance.randrange(len(blob))
    if kind == 0:
        return blob[:place]
    if kind == 1:
        return blob + bytes([chance.randrange(256)])
    if kind == 2:
        return blob[:place] + bytes(chance.randrange(256) for _ in range(8)) + blob[place:]
    changed = bytearray(blob)
    for _ in range(1 if kind == 3 else 20):
        spot = chance.randrange(len(blob))
        changed[spot] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_changed_checkpoint_is_refused(count: int, tmp_path: Path) -> None:
    record = train(spec_of("sgd:constant", task="iris-softmax", stop_step=20, checkpoint=True), weights=tmp_path)
    files = [tmp_path / manifest_name(record.id), tmp_path / state_name(record.id)]
    whole = [file.read_bytes() for file in files]
    chance, refused, same = random.Random(5), 0, 0
    for turn in range(count):
        file, blob = files[turn % 2], whole[turn % 2]
        changed = damaged(blob, chance)
        if changed == blob:
            same += 1
            continue
        file.write_bytes(changed)
        try:
            load_checkpoint(tmp_path, record.id)
        except RecordError:
            refused += 1
        finally:
            file.write_bytes(blob)
    print(f"RELIABILITY X5 checkpoints={count - same} refused={refused}")
    assert refused == count - same
    assert load_checkpoint(tmp_path, record.id)[1].step == 20


def test_a_checkpoint_under_another_name_is_refused(tmp_path: Path) -> None:
    one, other = (train(spec_of("sgd:constant", stop_step=stop, checkpoint=True), weights=tmp_path) for stop in (3, 4))
    (tmp_path / manifest_name(one.id)).write_bytes((tmp_path / manifest_name(other.id)).read_bytes())
    with pytest.raises(RecordError, match="is not what was written"):
        load_checkpoint(tmp_path, one.id)


def test_a_manifest_of_a_later_version_names_the_remedy(tmp_path: Path) -> None:
    record = train(spec_of("sgd:constant", stop_step=3, checkpoint=True), weights=tmp_path)
    path = tmp_path / manifest_name(record.id)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(RecordError, match="version 2; update lrcontrol"):
        load_checkpoint(tmp_path, record.id)


def test_tensors_are_plain_safetensors(tmp_path: Path) -> None:
    record = train(spec_of("adamw:constant", stop_step=3, checkpoint=True), weights=tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / state_name(record.id))
    assert {name.partition(".")[0] for name in tensors} == {"model", "optimizer", "random"}
