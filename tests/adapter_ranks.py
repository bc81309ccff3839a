"""One of two processes that train together, started by test_adapter_horizons.py: folder and rank as arguments."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

import lrcontrol as lrc


def main(folder: Path, rank: int) -> None:
    """Train with DDP and then with FSDP2; write what was seen."""
    warnings.filterwarnings("ignore", "an update was made after the end")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen = {kind: trained(kind, rank) for kind in ("ddp", "fsdp2")}
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


def trained(kind: str, rank: int) -> dict[str, Any]:
    """Train 40 updates over steps, then 1,050 over a time that this rank's own clock tells wrongly."""
    torch.manual_seed(0)
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

    def train(scheduler: Any, updates: int) -> list[float]:
        trail = []
        for _ in range(updates):
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
        if update % 350 == 0:
            trail += train(scheduler, 1)
        else:  # an update that takes no time: only the clocks are tried
            trail.append(float(optimizer.param_groups[0]["lr"]))
            scheduler._updates.note(optimizer, (), {})
            scheduler.step()
    distributed.broadcast = real
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    resumed = train(scheduler, 3)
    return {"steps": steps, "time": trail, "own": own, "resumed": resumed, "broadcasts": len(broadcasts)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
