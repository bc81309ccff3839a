"""A task tried once: whether several runs of it give at once what they give one by one."""

import functools
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from lrcontrol import checks
from lrcontrol.training.batching.parts import Parts, numbers_of
from lrcontrol.training.batching.replay import replay_of
from lrcontrol.training.batching.step import step_of
from lrcontrol.training.devices import places_of_random, random_now, seed_random
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.own import OWN
from lrcontrol.training.tasks.problem import Problem, alone, build

__all__ = ["Tried", "tried"]

RUNS = 2
CLOSE = 1e-2  # of the largest number: what differs by more is not rounding


class Tried(NamedTuple):
    """What was found of a task.

    Args:
        trained: the parameters that get gradients.
        changing: other numbers that a step changes.
        draws: whether a step draws random numbers.
        seeds_apart: whether the runs of a stack must have one seed.
        numbers: how many are trained.
        why_not: why it cannot be batched, or None.
    """

    trained: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    draws: bool = False
    seeds_apart: bool = False
    numbers: int = 0
    why_not: str | None = None


def tried(name: str, device: torch.device | None = None) -> Tried:
    """What was found of a task on a device; it is tried once in a process."""
    return _tried(name, id(OWN.get(name)), device)


@functools.cache
def _tried(name: str, own: int, device: torch.device | None) -> Tried:
    del own  # a file of the user's that is loaded anew may hold another task of the same name
    with alone(device=device):
        return _looked_at(build(find_task(name), 0, device), by_seed=name in OWN)


def _looked_at(problem: Problem, *, by_seed: bool) -> Tried:
    inputs, targets = problem.batches(0, 1)[0]
    models = [_moved(problem.model.train(), amount) for amount in range(RUNS)]
    alone = [_stepped(problem, numbers, inputs, targets) for numbers in models]
    trained = tuple(name for name in alone[0].gradients if all(name in each.gradients for each in alone))
    rest = [name for name in models[0] if name not in trained]
    changing = tuple(
        name
        for name in rest
        if any(not torch.equal(one.numbers[name], before[name]) for one, before in zip(alone, models, strict=True))
    )
    parts = Parts(trained, changing, tuple(name for name in rest if name not in changing))
    numbers = [torch.stack([each[name] for each in models]) for name in trained + changing]
    numbers += [*(models[0][name] for name in parts.shared), torch.ones(RUNS, device=inputs.device)]
    batches = [inputs.expand(RUNS, *inputs.shape), targets.expand(RUNS, *targets.shape)]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")  # it would be run by run all the same
        wrong = _wrong(problem, parts, [*numbers, inputs, targets], alone, apart=False)
        if wrong is not None:
            return Tried(why_not=wrong)
        together = not by_seed and _wrong(problem, parts, [*numbers, *batches], alone, apart=True) is None
        draws = any(each.drew for each in alone)
        if draws and together:
            step = step_of(problem, parts, apart=True, randomness="different")
            together = replay_of(step, [*numbers, *batches]) is not None
    return Tried(trained, changing, draws, not together, sum(models[0][name].numel() for name in trained))


def _wrong(
    problem: Problem, parts: Parts, tensors: Sequence[Tensor], alone: "Sequence[_Alone]", *, apart: bool
) -> str | None:
    """What a step of all runs does otherwise than they do alone, or None."""
    tensors = [each.clone() for each in tensors]
    seed_random(0, problem.device)
    try:
        losses, *gradients = step_of(problem, parts, apart=apart, randomness="same")(*tensors)
    except Exception as error:  # a model may do anything with its inputs
        return _why_not(error)
    changed = tensors[len(parts.trained) : len(parts.trained) + len(parts.own)]
    for row, one in enumerate(alone):
        steepest = max(float(each.abs().max()) for each in one.gradients.values())
        same = [_close(losses[row], one.loss)]
        for name, gradient in zip(parts.trained, gradients, strict=True):
            same.append(_close(gradient[row], one.gradients[name], steepest))
        for name, value in zip(parts.own, changed, strict=True):
            same.append(_close(value[row], one.numbers[name]))
        if not all(same):
            return "its model gives other gradients under torch.func.vmap than alone"
    return None


def _why_not(error: Exception) -> str:
    """Why a step does not run under vmap, of which torch says more than anybody wants to know."""
    missing = re.search(r"batching rule.*?(aten::\w+)", str(error), re.IGNORECASE | re.DOTALL)
    if missing is not None:
        return f"torch.func.vmap has no rule for its {missing[1]}"
    return f"its model does not run under torch.func.vmap: {checks.shown_error(error)}"


class _Alone(NamedTuple):
    """A step of one run: loss, gradients by name, all numbers after it, whether random numbers were drawn."""

    loss: Tensor
    gradients: dict[str, Tensor]
    numbers: dict[str, Tensor]
    drew: bool


class _DropsLikeVmap(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, dropout draws what it draws under `torch.func.vmap`: an accelerator's own kernel draws otherwise."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.ops.aten.native_dropout.default or args[2] is False:
            return func(*args, **(kwargs or {}))
        values, share, *_ = args
        kept = torch.empty_like(values).bernoulli_(1 - share)
        return values * kept / (1 - share), kept.bool()


def _moved(model: nn.Module, amount: int) -> dict[str, Tensor]:
    """The numbers of a model, its weights moved a little, by an amount of its own."""
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    return {
        name: value * (1 + 0.01 * amount) if name in trained else value.clone()
        for name, value in numbers_of(model).items()
    }


def _stepped(problem: Problem, numbers: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> _Alone:
    own = {name: value.clone() for name, value in numbers.items()}
    leaves = {
        name: own[name].requires_grad_() for name, value in problem.model.named_parameters() if value.requires_grad
    }
    seed_random(0, problem.device)
    before = [(place, random_now(place)) for place in places_of_random(problem.device)]
    with _DropsLikeVmap():  # type: ignore[no-untyped-call]
        loss = problem.loss(functional_call(problem.model, own, (inputs,)), targets)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    drew = any(not torch.equal(state, random_now(place)) for place, state in before)
    return _Alone(
        loss.detach(),
        {name: each for name, each in zip(leaves, gradients, strict=True) if each is not None},
        {name: value.detach() for name, value in own.items()},
        drew,
    )


def _close(one: Tensor, other: Tensor, largest: float | None = None) -> bool:
    """Whether two tensors are the same but for rounding, which is of the size of the largest number around."""
    if not one.is_floating_point() or one.numel() == 0:
        return torch.equal(one, other)
    largest = float(other.abs().max()) if largest is None else largest
    return one.shape == other.shape and bool(((one - other).abs() <= CLOSE * largest).all())
