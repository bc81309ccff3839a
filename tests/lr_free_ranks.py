"""One of two processes that train together, started by test_lr_free_states.py: folder and rank as arguments."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from lrcontrol.runs.optimizer import OPTIMIZERS
from lrcontrol.training.optimizers import evaluation_weights, make_optimizer

UPDATES = 12
RATES = {"schedulefree_sgd": 0.1, "schedulefree_adamw": 0.01}


def model_of() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 1)).double()


def trained(name: str, rank: int | None) -> list[Any]:
    """The weights after some updates, and those for evaluation: of one rank's half of every batch, or of the whole."""
    model: nn.Module = model_of()
    if rank is not None:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = make_optimizer(name, model.parameters(), RATES.get(name, 1.0))
    random = torch.Generator().manual_seed(5)
    for _ in range(UPDATES):
        inputs = torch.randn(8, 6, generator=random, dtype=torch.float64)
        if rank is not None:
            inputs = inputs[rank * 4 : rank * 4 + 4]
        optimizer.zero_grad()
        (model(inputs) - inputs.sum(1, keepdim=True).sin()).square().mean().backward()
        optimizer.step()
    after = [each.detach().flatten().tolist() for each in model.parameters()]
    with evaluation_weights(optimizer):
        return [after, [each.detach().flatten().tolist() for each in model.parameters()]]


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    names = [name for name in OPTIMIZERS if name not in ("own", "sgd", "adamw")]
    found = {name: trained(name, rank) for name in names}
    distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))
