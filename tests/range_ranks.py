"""One of two processes that make a range test, begun by test_range_test.py: folder and rank as arguments."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
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


def main(folder: Path, rank: int) -> None:
    """Test, and be interrupted; write what was seen."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen = {"whole": seen_by(rank, False), "interrupted": seen_by(rank, True)}
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
