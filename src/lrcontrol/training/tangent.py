"""The derivative of a model's weights by the logarithm of the learning rate, carried forward with the training.

With weights `w`, their derivative `z` and the Hessian `H` of a batch's loss, plain descent carries `z` on as
`z - lr (H z) - lr g`: what a higher rate does now, and what follows from having had one. That is forward mode: one
derivative, however many updates. Only the product `H z` is taken backwards, through the gradient: torch.func.jvp gives
the same, but takes longer, draws other dropout, and has no rule for recurrent layers and squared errors.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.training.bags import DerivableBags
from lrcontrol.training.optimizers.kinds import class_in_torch
from lrcontrol.training.state import as_it_was, put_random, random_of
from lrcontrol.training.tasks.problem import Problem

__all__ = ["Tangent"]

ROWS = 8  # batches' worth of validation rows that the loss is taken on
Z, MOMENT, SQUARES = "lrcontrol_tangent", "lrcontrol_tangent_moment", "lrcontrol_tangent_squares"
"""Names in the optimizer's state: derivatives of weights, of their momentum or first moment, of their second."""


class Tangent:
    """Carried on update by update, kept in the optimizer's state beside its moments.

    Args:
        problem: whose model is trained.
        optimizer: torch's SGD or AdamW, of the model's parameters, with one group.
    Raises:
        BadInput: another optimizer.
    """

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer) -> None:
        if class_in_torch(optimizer) not in (torch.optim.SGD, torch.optim.AdamW):
            raise BadInput(
                f"a control that needs a hypergradient can be with sgd or adamw, got {type(optimizer).__name__}."
            )
        self._problem, self._optimizer = problem, optimizer
        self._next: dict[Tensor, dict[str, Tensor]] = {}
        self._bags: AbstractContextManager[Any] = nullcontext()  # as torch has them, until it cannot derive them twice

    def carry_on(self, inputs: Any, targets: Any, random: dict[str, Tensor], lr: float, clipped: float = 1.0) -> None:
        """The update whose gradients are at hand is about to be made at this rate; call `made` when it has been.

        Args:
            inputs: of its batch.
            targets: likewise.
            random: where the random numbers were before it, for the same dropout.
            lr: the rate in force.
            clipped: to which part of themselves the gradients were scaled.
        Raises:
            BadInput: torch has no second derivative of something in the model.
        """
        names = [name for name, each in self._problem.model.named_parameters() if each.grad is not None]
        parameters = [self._problem.model.get_parameter(name) for name in names]
        z = [_of(self._optimizer.state.get(each, {}), Z, each) for each in parameters]
        curved = self._curved(names, z, inputs, targets, random)
        carry = _carried_adamw if isinstance(self._optimizer, torch.optim.AdamW) else _carried_sgd
        group = self._optimizer.param_groups[0]
        slopes = [each.grad for each in parameters if each.grad is not None]
        with torch.no_grad():
            if clipped < 1:
                curved = _clipped(curved, slopes, clipped)
            for each, slope, along, bend in zip(parameters, slopes, z, curved, strict=True):
                state = self._optimizer.state.get(each, {})
                self._next[each] = carry(_Moved(each, slope, state, group), along, bend, lr)

    def made(self) -> None:
        """The update has been made."""
        for each, carried in self._next.items():
            self._optimizer.state[each] |= carried
        self._next = {}

    def hypergradient(self) -> float | None:
        """How the validation loss, on some of its rows, depends on the logarithm of all rates since `begin_anew`.

        The running statistics of batch norm are taken as they are, as if they did not depend on the rates.

        None where no update has been made since the optimizer is there.
        """
        problem, model = self._problem, self._problem.model
        split = problem.validation
        count = min(len(split), ROWS * problem.batch_size)
        rows = torch.arange(count) * len(split) // count
        parameters = [each for each in model.parameters() if Z in self._optimizer.state.get(each, {})]
        if not parameters:
            return None
        here, training = random_of(model), model.training
        model.eval()
        with self._derivable():
            loss = problem.loss(model(split.inputs[rows]), split.targets[rows])
            slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        model.train(training)
        put_random(here, model)
        pairs = zip(slopes, parameters, strict=True)
        return math.fsum(
            float((slope * self._optimizer.state[each][Z]).sum()) for slope, each in pairs if slope is not None
        )

    def begin_anew(self) -> None:
        """From here on the rates count, and not those before."""
        for each in self._optimizer.state.values():
            for name in (Z, MOMENT, SQUARES):
                if name in each:
                    each[name].zero_()

    def _derivable(self) -> AbstractContextManager[None]:
        """Inside, recurrent layers are not cuDNN's, which can be derived in training alone, and but once."""
        recurrent = any(isinstance(module, nn.RNNBase) for module in self._problem.model.modules())
        return torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()

    def _curved(
        self, names: Sequence[str], z: Sequence[Tensor], inputs: Any, targets: Any, random: dict[str, Tensor]
    ) -> list[Tensor]:
        """The Hessian of the batch's loss times `z`."""
        problem, model = self._problem, self._problem.model
        weights = [model.get_parameter(name) for name in names]
        curved = [torch.zeros_like(each) for each in weights]
        if not any(bool(each.any()) for each in z):
            return curved
        try:
            with as_it_was(model, random), sdpa_kernel(SDPBackend.MATH), self._bags, self._derivable():
                loss = problem.loss(model(inputs), targets)
                slopes = torch.autograd.grad(loss, weights, create_graph=True)
                bent = [(slope, along) for slope, along in zip(slopes, z, strict=True) if slope.requires_grad]
                ends, directions = [each for each, _ in bent], [each for _, each in bent]
                if bent:  # the Hessian is symmetric: its product from the left is the one from the right
                    found = torch.autograd.grad(ends, weights, directions, allow_unused=True)
                    curved = [zero if each is None else each for zero, each in zip(curved, found, strict=True)]
        except (RuntimeError, NotImplementedError) as error:
            if "embedding_bag" in str(error) and not isinstance(self._bags, DerivableBags):
                self._bags = DerivableBags()
                return self._curved(names, z, inputs, targets, random)
            raise BadInput(
                "a control that needs a hypergradient needs a model that torch can derive twice, but: "
                f"{checks.shown_error(error)}; use another control, such as hypergradient."
            ) from None
        return curved


class _Moved(NamedTuple):
    """A parameter that an optimizer is about to update."""

    parameter: Tensor
    slope: Tensor
    state: dict[str, Any]
    group: dict[str, Any]

    def kept(self, name: str) -> Tensor:
        """What the optimizer's state has of it, 0 to begin with."""
        return _of(self.state, name, self.parameter)


def _of(state: dict[str, Any], name: str, parameter: Tensor) -> Tensor:
    found = state.get(name)
    return torch.zeros_like(parameter) if found is None else found


def _clipped(curved: Sequence[Tensor], slopes: Sequence[Tensor], part: float) -> list[Tensor]:
    """How gradients change that are scaled to one norm, where before that they change so: never along themselves."""
    inner = sum((bend * slope).sum() for bend, slope in zip(curved, slopes, strict=True))
    length = sum(slope.square().sum() for slope in slopes)
    return [part * (bend - inner / length * slope) for bend, slope in zip(curved, slopes, strict=True)]


def _carried_sgd(moved: _Moved, z: Tensor, curved: Tensor, lr: float) -> dict[str, Tensor]:
    """The derivative after an update of torch's SGD."""
    decay, momentum = float(moved.group["weight_decay"]), float(moved.group["momentum"])
    slope, change = moved.slope + decay * moved.parameter, curved + decay * z
    if not momentum:
        return {Z: z - lr * (change + slope)}
    velocity = momentum * moved.kept("momentum_buffer") + slope
    carried = momentum * moved.kept(MOMENT) + change
    if moved.group["nesterov"]:
        return {Z: z - lr * (change + momentum * carried + slope + momentum * velocity), MOMENT: carried}
    return {Z: z - lr * (carried + velocity), MOMENT: carried}


def _carried_adamw(moved: _Moved, z: Tensor, curved: Tensor, lr: float) -> dict[str, Tensor]:
    """The derivative after an update of torch's AdamW."""
    (beta1, beta2), decay = moved.group["betas"], float(moved.group["weight_decay"])
    step, slope = int(moved.state.get("step", 0)) + 1, moved.slope
    first = beta1 * moved.kept("exp_avg") + (1 - beta1) * slope
    second = beta2 * moved.kept("exp_avg_sq") + (1 - beta2) * slope**2
    moment = beta1 * moved.kept(MOMENT) + (1 - beta1) * curved
    squares = beta2 * moved.kept(SQUARES) + 2 * (1 - beta2) * slope * curved
    unbiased1, unbiased2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
    root = second.sqrt()
    size = root / unbiased2 + moved.group["eps"]
    direction = first / unbiased1 / size
    of_size = torch.where(root > 0, squares / (2 * root), 0) / unbiased2
    change = (moment / unbiased1 - direction * of_size) / size
    carried = (1 - lr * decay) * z - lr * (change + direction + decay * moved.parameter)
    return {Z: carried, MOMENT: moment, SQUARES: squares}
