"""Ensembles of snapshots: predictions of several states of one model, combined, and which of them are members."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.devices import random_kept
from lrcontrol.training.tasks.combining import Combine
from lrcontrol.training.tasks.problem import Problem, Split

__all__ = ["EnsembleModel", "States", "chosen_greedily", "copied", "ensemble_of", "in_place", "judge_of", "state_of"]

States = Mapping[int, Mapping[str, Tensor]]
"""Parameters and buffers of a model, by the number of updates after which it had them."""


class EnsembleModel(nn.Module):
    """Several models as one, in evaluation mode: their outputs, combined.

    Args:
        models: at least one.
        combine: of the outputs of each, those of the ensemble.
    """

    def __init__(self, models: Sequence[nn.Module], combine: Combine) -> None:
        super().__init__()
        self.models, self._combine = nn.ModuleList(models), combine
        self.eval()

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """What the models give for the same inputs, combined."""
        return self._combine([model(*inputs, **named) for model in self.models])


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model; what it still holds of a forward pass (`self.hidden = layer(x)`) is cut off from its graph.

    Raises:
        BadInput: it cannot be copied.
    """
    results: dict[int, Any] = {}
    held: list[Any] = [vars(each) for each in model.modules()]
    seen: set[int] = set()
    while held:
        value = held.pop()
        if isinstance(value, Tensor) and not value.is_leaf:
            results[id(value)] = value.detach().clone()
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            held += value.values() if isinstance(value, dict) else value
    try:
        return copy.deepcopy(model, results)
    except Exception as error:  # whatever its attributes raise
        raise BadInput(
            f"an ensemble is made of copies of its model, but this {type(model).__name__} cannot be copied: "
            f"{checks.shown_error(error)}; keep what cannot be copied outside the model."
        ) from None


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a model as they are now, copied.

    Raises:
        BadInput: something in its state is no tensor.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise BadInput(
                f"all of a model's state must be tensors where snapshots of it are taken, got {name}="
                f"{checks.shown(value)}; let `get_extra_state` return a tensor, or a buffer hold it."
            )
    return {name: value.detach().clone() for name, value in state.items()}


def ensemble_of(model: nn.Module, states: States, combine: Combine) -> EnsembleModel:
    """The ensemble of a model in several states, each a copy; the model is left as it is."""
    members = []
    for step in sorted(states):
        member = copied(model)
        member.load_state_dict(states[step])
        members.append(member)
    return EnsembleModel(members, combine)


def in_place(model: nn.Module, states: States) -> Iterator[int]:
    """The steps of the states, the model being in each in turn; it is put back to its own at the end."""
    own = state_of(model)
    try:
        for step in sorted(states):
            model.load_state_dict(states[step])
            yield step
    finally:
        model.load_state_dict(own)


def judge_of(problem: Problem, states: States, split: Split) -> Callable[[Sequence[int]], dict[str, float]]:
    """Loss and metrics, on a split, of the ensemble of any of the states; each predicts once.

    The outputs of all are held in memory.
    """
    outputs: dict[int, list[Tensor]] = {}
    with random_kept(problem.device):
        for step in in_place(problem.model, states):
            outputs[step] = list(problem.outputs(split))

    def judged(members: Sequence[int]) -> dict[str, float]:
        chunks = zip(*(outputs[member] for member in members), strict=True)
        return problem.judged((problem.combined(each) for each in chunks), split)

    return judged


def chosen_greedily(
    candidates: Sequence[int], key: Callable[[tuple[int, ...]], float | tuple[float, ...]]
) -> tuple[int, ...]:
    """Members by forward selection: the best one, then what makes the ensemble best, as long as something does.

    Args:
        candidates: at least one; of those that are equally good, the later is taken.
        key: of an ensemble of some of them; the lower the better, and what is not finite is worse than all that is.
    Returns:
        At least one, increasing, each once.
    Source:
        Caruana, Niculescu-Mizil, Crew, Ksikes 2004, Ensemble selection from libraries of models, ICML, section 2.
        Deviates: without replacement (section 2.1 there repeats members, as weights; of a handful of snapshots there
        is little to weigh), and it ends where nothing added is better.
    Example:
        >>> bias = {10: 3.0, 20: -1.0, 30: 1.0, 40: 2.0}
        >>> chosen_greedily(list(bias), lambda members: abs(sum(bias[each] for each in members)))
        (20, 30)
    """

    def finite(members: tuple[int, ...]) -> tuple[float, ...]:
        found = key(members)
        numbers = found if isinstance(found, tuple) else (found,)
        return numbers if all(map(math.isfinite, numbers)) else (math.inf,) * len(numbers)

    members: tuple[int, ...] = ()
    best: tuple[float, ...] = ()
    while len(members) < len(candidates):
        wider = [tuple(sorted((*members, each))) for each in reversed(candidates) if each not in members]
        found = min(wider, key=finite)
        if members and not finite(found) < best:
            break
        members, best = found, finite(found)
    return members
