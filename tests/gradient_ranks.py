"""One of two processes that train together, started by test_gradient_loops.py: folder and rank as arguments."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

import lrcontrol as lrc

UPDATES = 10
CONTROLS = (
    "hypergradient(beta=0.2)",
    "hypergradient(beta=5, rule=additive)",
    "polyak(c=2, period=3)",
    "l4",
    "clip(cosine*l4, norm=0.5)",
    "greedy(factor=0.5, patience=0, window=1)",
)


def model_of() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 1)).double()


def trained(text: str, kind: str, rank: int | None) -> dict[str, Any]:
    """Rates and losses of updates on one rank's half of every batch, or of the whole."""
    model = model_of()
    if kind == "ddp":
        model = nn.parallel.DistributedDataParallel(model)
    elif kind == "fsdp":
        fully_shard(model, mesh=distributed.device_mesh.init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = lrc.as_torch_scheduler(optimizer, text, UPDATES)
    random = torch.Generator().manual_seed(5)
    rates, losses = [], []
    for _ in range(UPDATES):
        inputs = torch.randn(8, 6, generator=random, dtype=torch.float64)
        if rank is not None:
            inputs = inputs[rank * 4 : rank * 4 + 4]
        loss = (model(inputs) - inputs.sum(1, keepdim=True).sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        scheduler.tell(loss=loss)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(loss.item())
        scheduler.step(loss=loss)
    return {"rates": rates, "losses": losses}


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {kind: {text: trained(text, kind, rank) for text in CONTROLS} for kind in ("ddp", "fsdp")}
    distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))
