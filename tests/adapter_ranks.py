"""One of two processes that train together, started by test_adapter_horizons.py: rank, kind, folder as arguments."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

import lrcontrol as lrc


def main(kind: str, folder: Path, rank: int) -> None:
    """Train 40 updates over steps, then 1,050 over a time that this rank's own clock tells wrongly."""
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    broadcasts = []
    real = distributed.broadcast

    def counted(*arguments: Any, **named: Any) -> Any:
        broadcasts.append(1)
        return real(*arguments, **named)

    model: nn.Module = nn.Linear(4, 2)
    if kind == "ddp":
        model = nn.parallel.DistributedDataParallel(model)
    else:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)

    def train(scheduler: Any, updates: int, *, backward: bool = True) -> list[float]:
        trail = []
        for _ in range(updates):
            if backward:
                optimizer.zero_grad()
                model(torch.ones(3, 4) * (rank + 1)).sum().backward()
            trail.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
        return trail

    scheduler = lrc.as_torch_scheduler(optimizer, "rex", 40)
    steps = train(scheduler, 40)
    del scheduler

    now, own = 1000.0 * rank, []
    scheduler = lrc.as_torch_scheduler(optimizer, "linear", "300s", base_lrs=[1.0], clock=lambda: now)
    distributed.broadcast = counted
    trail = []
    for update in range(1050):
        own.append(now - 1000.0 * rank)
        now += (0.25 + 0.05 * (update % 3)) * (1 if rank == 0 else 3.7)
        trail += train(scheduler, 1, backward=False)
    distributed.broadcast = real
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    resumed = train(scheduler, 3)
    (folder / f"{rank}.json").write_text(
        json.dumps({"steps": steps, "time": trail, "own": own, "resumed": resumed, "broadcasts": len(broadcasts)})
    )
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
