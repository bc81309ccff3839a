"""One of two processes that train together, started by test_observe.py: folder and rank as arguments."""

import copy
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import fsdp
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from lrcontrol.training.norms import norms

ALL = ("l1", "l2", "dot", "update", "distance")
UPDATES = 6

Made = tuple[nn.Module, torch.optim.Optimizer, dict[str, Any]]


def model_of() -> nn.Module:
    """Sizes that two processes cannot share evenly, and a bias that only one of them has a part of."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 1))


def optimizer_of(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def of_ddp() -> Made:
    model = nn.parallel.DistributedDataParallel(model_of())
    return model, optimizer_of(model.parameters()), {}


def of_fsdp2() -> Made:
    model = model_of()
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    for layer in (model[0], model[4], model):  # type: ignore[index]
        fsdp.fully_shard(layer, mesh=mesh)
    return model, optimizer_of(model.parameters()), {}


def of_fsdp2_replicated() -> Made:
    """Two replicas, each of one share: nothing is divided."""
    model = model_of()
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2, 1), mesh_dim_names=("replica", "share"))
    fsdp.fully_shard(model, mesh=mesh)
    return model, optimizer_of(model.parameters()), {}


def of_fsdp1() -> Made:
    """Flat parameters, each process having its own part as a plain tensor."""
    model = fsdp.FullyShardedDataParallel(model_of(), device_id=torch.device("cpu"), use_orig_params=True)
    return model, optimizer_of(model.parameters()), {"group": distributed.group.WORLD}


def of_zero() -> Made:
    model = nn.parallel.DistributedDataParallel(model_of())
    return model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9), {}


def of_zero_inside() -> Made:
    """The optimizer of a process alone, which has some of the parameters."""
    model, optimizer, _ = of_zero()
    return model, optimizer, {"observed": optimizer.optim, "group": distributed.group.WORLD}  # type: ignore[attr-defined]


KINDS: dict[str, Callable[[], Made]] = {
    "ddp": of_ddp,
    "fsdp2": of_fsdp2,
    "fsdp2, replicated": of_fsdp2_replicated,
    "fsdp1": of_fsdp1,
    "zero": of_zero,
    "zero, inside": of_zero_inside,
}


def loss_of(model: nn.Module, inputs: Tensor) -> Tensor:
    loss: Tensor = (model(inputs) - 1).square().mean()
    return loss


def trained(kind: str, rank: int, folder: Path) -> dict[str, Any]:
    """What is seen of a model that two processes train, and of one that this process trains alone on all data."""
    model, optimizer, more = KINDS[kind]()
    alone = model_of()
    single = optimizer_of(alone.parameters())
    observed = more.pop("observed", optimizer)
    reduced = 0
    real = distributed.all_reduce

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal reduced
        reduced += 1
        return real(*arguments, **named)

    path = folder / f"{kind}-{rank}.jsonl"
    with lrc.observe(observed, path, norms=ALL, block=4, **more) as observer, lrc.observe(single, norms=ALL) as wanted:
        for update in range(UPDATES):
            inputs = torch.randn(16, 6, generator=torch.Generator().manual_seed(update)) * 3
            for each, own, data in ((model, optimizer, inputs[rank::2]), (alone, single, inputs)):
                own.zero_grad()
                loss_of(each, data).backward()  # type: ignore[no-untyped-call]
                distributed.all_reduce = counted
                if update % 2:
                    (observer if own is optimizer else wanted).before_clipping()
                own.step()
                distributed.all_reduce = real
        state = observer.state_dict()
        observer.load_state_dict(copy.deepcopy(state))
    seen = {name: values.tolist() for name, values in observer.columns.items()}
    truth = {name: values.tolist() for name, values in wanted.columns.items()}
    return {"seen": seen, "wanted": truth, "file": lrc.gradient_log(path).norms("l2").tolist(), "reduced": reduced}


def placed(rank: int) -> list[dict[str, list[float]]]:
    """Norms of tensors in every placement, beside those of the whole."""
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    whole = torch.randn(5, 4)
    plain = torch.randn(3)
    rows, columns = torch.chunk(whole, 2)[rank], torch.chunk(whole, 2, 1)[rank]
    one = whole[:1]
    given: dict[str, tuple[Tensor, Any, Tensor]] = {
        "divided by rows": (rows, Shard(0), whole),
        "divided by columns": (columns, Shard(1), whole),
        "replicated": (whole, Replicate(), whole),
        "a sum": (whole * (0.25 if rank else 0.75), Partial(), whole),
        "a mean": (whole * (0.5 if rank else 1.5), Partial("avg"), whole),
        "a row for two": (one if rank == 0 else one[:0], Shard(0), one),
    }
    cases = {
        name: DTensor.from_local(local, mesh, [placement], shape=full.shape, stride=full.stride())
        for name, (local, placement, full) in given.items()
    }
    found = []
    for name, tensor in cases.items():
        found.append({"ours": norms([tensor, plain]).tolist(), "wanted": norms([given[name][2], plain]).tolist()})
    everything = norms([*cases.values(), plain]).tolist()
    found.append({"ours": everything, "wanted": norms([*(each[2] for each in given.values()), plain]).tolist()})
    own = [plain] if rank == 0 else []
    found.append({"ours": norms(own, group=distributed.group.WORLD).tolist(), "wanted": norms([plain]).tolist()})
    spoilt = DTensor.from_local(torch.tensor([[float("nan") if rank else 1.0]]), mesh, [Shard(0)])
    found.append({"ours": [float(value != value) for value in norms([spoilt]).tolist()], "wanted": [1.0, 1.0]})
    return found


def main(folder: Path, rank: int) -> None:
    """Train in every way; write what was seen."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen: dict[str, Any] = {kind: trained(kind, rank, folder) for kind in KINDS}
    seen["placed"] = placed(rank)
    try:
        lrc.observe(of_fsdp1()[1])
    except BadInput as error:
        seen["refused"] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
