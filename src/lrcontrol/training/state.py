"""State: all that training goes on from, taken at a step and put back, to the bit."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import RecordError
from lrcontrol.training.devices import CPU, random_now, set_random

__all__ = [
    "State",
    "as_it_was",
    "as_plain",
    "lay_out",
    "put",
    "put_random",
    "random_of",
    "settings_of",
    "taken",
    "with_tensors",
]

HYPERPARAMETERS = (
    *("momentum", "dampening", "weight_decay", "nesterov", "betas", "eps"),
    *(
        "average_power",
        "lr_power",
        "beta3",
        "decoupled",
        "bias_correction",
        "safeguard_warmup",
        "d_coef",
        "growth_rate",
    ),
    *("alpha", "mechanic_decay", "initial_scale", "mechanic_eps"),
)


class State(NamedTuple):
    """Weights, optimizer, random numbers and control after `step` updates.

    Args:
        step: updates made.
        tensors: by name; nobody else holds them.
        optimizer: the optimizer's own state as JSON values, in which `{"tensor": NAME}` stands for a tensor, and
            `{"ordered": [NAME, ORDER]}` for one whose dimensions do not lie in memory one within the other as they
            are counted; ORDER begins with the outermost.
        control: what its pace goes on from, as JSON values.
    """

    step: int
    tensors: dict[str, Tensor]
    optimizer: Any
    control: Any


def taken(step: int, model: nn.Module, optimizer: Optimizer | None = None, control: Any = None) -> State:
    """The state now; nothing that is done later changes it. Without an optimizer it is that of the rest."""
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= random_of(model)
    plain = None if optimizer is None else as_plain(optimizer.state_dict(), "optimizer", tensors)
    return State(step, {name: value.detach().clone() for name, value in tensors.items()}, plain, control)


def put(state: State, model: nn.Module, optimizer: Optimizer) -> None:
    """Make model, optimizer and torch's random numbers what they were; the optimizer keeps its hyper-parameters.

    A state without an optimizer is for one that has made no update.

    Raises:
        RecordError: the state is of another model or optimizer.
    """
    weights = {
        name.removeprefix("model."): value for name, value in state.tensors.items() if name.startswith("model.")
    }
    own = [settings_of(group) for group in optimizer.param_groups]
    try:
        model.load_state_dict(weights)
        if state.optimizer is not None:
            optimizer.load_state_dict(with_tensors(state.optimizer, state.tensors))
            lay_out(optimizer)
        put_random(state.tensors, model)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise RecordError(
            f"a state must be of the same model and kind of optimizer, but: {checks.shown_error(error)}."
        ) from None
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)


def random_of(model: nn.Module) -> dict[str, Tensor]:
    """Where torch's random numbers are, those of the model's devices too."""
    devices = enumerate(_devices(model))
    return {"random": random_now(CPU)} | {f"random.cuda.{place}": random_now(device) for place, device in devices}


def put_random(states: dict[str, Tensor], model: nn.Module) -> None:
    """Go back to random numbers that `random_of` found; KeyError where there are none."""
    set_random(states["random"], CPU)
    for place, device in enumerate(_devices(model)):
        if f"random.cuda.{place}" in states:
            set_random(states[f"random.cuda.{place}"].cpu(), device)


def lay_out(optimizer: Optimizer) -> None:
    """Lay what a fused optimizer keeps of each parameter in memory as the parameter lies there.

    torch's fused optimizers go through memory, and silently take each number for that of another place where a
    parameter lies otherwise: where a model is in channels_last now and was not when its state was saved, or where a
    file is of a version that kept no order of tensors.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("fused") else ():
            kept = optimizer.state.get(parameter, {})
            for name, value in kept.items():
                alike = isinstance(value, Tensor) and value.shape == parameter.shape
                if alike and value.stride() != parameter.stride():
                    kept[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
    inner = getattr(optimizer, "inner", None)
    if isinstance(inner, Optimizer):
        lay_out(inner)


def settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """What a group of an optimizer has of a method's hyper-parameters; the learning rate is none of them."""
    return {name: group[name] for name in HYPERPARAMETERS if name in group}


@contextlib.contextmanager
def as_it_was(model: nn.Module, random: dict[str, Tensor]) -> Iterator[None]:
    """Go through a batch again as a step did that began with these random numbers.

    Afterwards random numbers, and what modules count as they are called, such as running statistics, are put back.
    """
    here = random_of(model)
    kept = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    put_random(random, model)
    try:
        yield
    finally:
        put_random(here, model)
        with torch.no_grad():
            for module, name, buffer, value in kept:
                module._buffers[name] = buffer.copy_(value)


def _devices(model: nn.Module) -> list[torch.device]:
    """The CUDA devices of the parameters: each has random numbers of its own."""
    found = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    return sorted(found, key=str)


def as_plain(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON values, its tensors put into `tensors`; keys of dicts keep their types."""
    if isinstance(value, Tensor):
        while name in tensors:  # {"a.b": ...} beside {"a": {"b": ...}}
            name += "'"
        tensors[name] = value
        order = _order_of(value)
        return {"tensor": name} if order == list(range(value.dim())) else {"ordered": [name, order]}
    if isinstance(value, dict) and all(key is None or isinstance(key, str | bool | int | float) for key in value):
        return {"dict": [[key, as_plain(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [as_plain(inner, f"{name}.{place}", tensors) for place, inner in enumerate(value)]}
    if value is None or isinstance(value, str | bool | int | float):
        return {"value": value}
    raise RecordError(
        f"a state must be tensors, numbers and texts, in dicts, lists and tuples, got {name}={checks.shown(value)}."
    )


def with_tensors(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """What `as_plain` was given."""
    ((kind, inner),) = plain.items()
    match kind:
        case "tensor":
            return tensors[inner].clone()  # the optimizer goes on with it
        case "ordered":
            name, order = inner
            lying = tensors[name].permute(order).clone(memory_format=torch.contiguous_format)
            return lying.permute([order.index(place) for place in range(len(order))])
        case "dict":
            return {key: with_tensors(each, tensors) for key, each in inner}
        case "list":
            return [with_tensors(each, tensors) for each in inner]
        case "tuple":
            return tuple(with_tensors(each, tensors) for each in inner)
        case "value":
            return inner
    raise KeyError(kind)


def _order_of(value: Tensor) -> list[int]:
    """The dimensions of a tensor as they lie in memory, the outermost first; files keep none."""
    if value.layout is not torch.strided:
        return list(range(value.dim()))
    # a dimension of one place may have any stride: of two with the same one, it is the inner
    strides = value.stride()
    return sorted(range(value.dim()), key=lambda place: (-strides[place], value.shape[place] == 1))
