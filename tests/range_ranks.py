"""One of two processes that make a range test, begun by test_range_test.py: folder and rank as arguments."""

import contextlib
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import fsdp
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from lrcontrol.training.range_test import own_range_test


def seen_by(rank: int, interrupted: bool) -> dict[str, Any]:
    """What a test came to, and whether all is as it was."""
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.1), nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    sampler: DistributedSampler[Any] = DistributedSampler(data, shuffle=True)
    loader = DataLoader(data, batch_size=8, sampler=sampler)
    torch.manual_seed(rank)
    before = [each.clone() for each in model.state_dict().values()] + [torch.get_rng_state()]
    calls = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if interrupted and rank == 1 and calls == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return nn.functional.mse_loss(outputs, targets) * (1 + rank)

    raised, records = False, []
    try:
        records = own_range_test(model, optimizer, loader, loss, low=1e-4, high=1e3, steps=40, repeats=2)
    except KeyboardInterrupt:
        raised = True
    after = [*model.state_dict().values(), torch.get_rng_state()]
    return {
        "losses": [each.column("loss").tolist() for each in records],
        "messages": [each.message for each in records],
        "raised": raised,
        "same": all(map(torch.equal, before, after)) and sampler.epoch == 0,
    }


def ended_in_steps(rank: int, signs: tuple[float, float]) -> list[Any]:
    """How a test ended whose own step makes an update of two batches: this loss is infinite in the first of the 11th.

    Args:
        rank: of this process.
        signs: of that loss in each process; 0 leaves it as it is.
    """
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(8, 3)
    calls = 0

    def step(batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        whole = calls % 2 == 0
        with contextlib.nullcontext() if whole else model.no_sync():
            loss = nn.functional.mse_loss(model(batch), batch.sum(1, keepdim=True))
            if calls == 21 and signs[rank]:
                loss = loss * signs[rank] * float("inf")
            (loss / 2).backward()  # type: ignore[no-untyped-call]
        if whole:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    (record,) = own_range_test(model, optimizer, [inputs, -inputs], step=step, low=1e-4, high=0.1, steps=20)
    return [record.outcome.value, record.message, record.cost.steps]


def sharded() -> bool:
    """Whether a model whose parameters FSDP2 divides is as it was after a test and after one that an error ended."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 1))
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    for layer in (model[0], model[2], model):
        fsdp.fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    inputs = torch.randn(8, 6)
    calls = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise ValueError
        return nn.functional.mse_loss(outputs, targets)

    def train() -> list[Tensor]:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), inputs[:, :1]).backward()
        optimizer.step()
        return bits()

    def bits() -> list[Tensor]:
        moments = [value["exp_avg"] for value in optimizer.state.values()]
        grads = [each.grad for each in model.parameters() if each.grad is not None]
        return [each.to_local().clone() for each in (*model.parameters(), *moments, *grads)]  # type: ignore[attr-defined]

    before = train()
    own_range_test(model, optimizer, [(inputs, inputs[:, :1])], nn.functional.mse_loss, low=1e-4, high=1.0, steps=20)
    same = all(map(torch.equal, before, bits()))
    with contextlib.suppress(ValueError):
        own_range_test(model, optimizer, [(inputs, inputs[:, :1])], loss, low=1e-4, high=1.0, steps=20)
    same = same and all(map(torch.equal, before, bits()))
    return same and not all(map(torch.equal, before, train()))


def main(folder: Path, rank: int) -> None:
    """Test, and be interrupted; write what was seen."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    seen = {
        "whole": seen_by(rank, False),
        "interrupted": seen_by(rank, True),
        "sharded": sharded(),
        "first half": ended_in_steps(rank, (1, 0)),
        "both signs": ended_in_steps(rank, (1, -1)),
    }
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
