"""What a control is shown of an update before it is made: how the loss of its batch lies along this one and the last.

What an update changed is kept in the optimizer's own state, beside its moments: whoever saves that saves all.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrcontrol.controls.control import AHEAD
from lrcontrol.errors import BadInput
from lrcontrol.training.norms import add_up, gradients, norms, parameters, shares
from lrcontrol.training.optimizers.lr_free import LRFree
from lrcontrol.training.ring import wide
from lrcontrol.training.scaled import told
from lrcontrol.training.state import as_it_was
from lrcontrol.training.tasks.problem import Problem

__all__ = ["Foresight", "clip_gradients", "foresight_of", "gradient_again"]

Shown = dict[str, float | None]
"""What is known of an update, by the names of `Update`."""

ALONG = frozenset({"slope", "cosine", "curvature"})
"""What is of the update before, and so needs what that has changed."""

CHANGE, MULTIPLIER = "lrcontrol_change", "lrcontrol_multiplier"
"""Names in an optimizer's state, parameter by parameter: what the last update has changed, at which multiplier."""

SMOOTHED, WEIGHT = "lrcontrol_gradient", "lrcontrol_weight"
"""The same, where updates are tried: the mean of the gradients so far, later ones counting more, and its weight."""

LARGEST_MOMENTUM = 0.999  # of that mean


class _Change(NamedTuple):
    """What an update has changed of a parameter, which was `before`."""

    parameter: Tensor
    before: Tensor
    change: Tensor


def foresight_of(optimizer: Optimizer, needs: frozenset[str]) -> "Foresight | None":
    """What measures what a control needs, or None where it needs nothing of the kind."""
    wanted = needs & AHEAD
    return Foresight(optimizer, wanted) if wanted else None


class Foresight:
    """Measures what a control needs of every update of an optimizer.

    For an update: `shown`, with its gradients at hand; then the multiplier is put in force and `expect` told; the
    optimizer steps; then `made`. Where the update itself `is_tried`, its multiplier is 1 until it has been made, and
    `made` says how the loss lies along it; `scale_to` then makes it one of another multiplier.

    Args:
        optimizer: whose updates they are.
        wanted: at least one of `AHEAD`.
    Raises:
        BadInput: updates are to be tried, or the loss by Polyak's rule, on an optimizer that finds its rate itself.
    """

    def __init__(self, optimizer: Optimizer, wanted: frozenset[str]) -> None:
        self._optimizer, self._wanted = optimizer, wanted
        self._before: list[tuple[Tensor, Tensor]] = []
        self._changes: list[_Change] = []
        self._means: dict[Tensor, tuple[Tensor, float]] = {}
        if isinstance(optimizer, LRFree) and not wanted <= {"slope", "cosine"}:
            raise BadInput(
                "a control that sets the rate by what the loss is must be on an optimizer that does not find its own, "
                f"got {type(optimizer).__name__}; use SGD or AdamW, or another control."
            )

    @property
    def is_tried(self) -> bool:
        """Whether an update is made at a multiplier of 1 first, looked at, and then scaled."""
        return "descent" in self._wanted

    @property
    def remembers(self) -> bool:
        """Whether the optimizer's state holds what the update before is to have left there, if anything."""
        left = SMOOTHED if self.is_tried else CHANGE if self._wanted & ALONG else None
        return left is None or any(left in self._optimizer.state.get(each, {}) for each in parameters(self._optimizer))

    @property
    def asks_again(self) -> bool:
        """Whether a batch is gone through more than once, each time with the same random numbers."""
        return not self._wanted.isdisjoint({"curvature", "hypergradient"})

    @torch.no_grad()
    def shown(self, bases: Sequence[float], loss: Any = None, again: Callable[[], None] | None = None) -> Shown:
        """What is known before the update.

        Args:
            bases: the base rate of every group.
            loss: of this update's batch.
            again: computes the gradients of this update's batch at the weights as they are when it is called.
        Raises:
            BadInput: gradients that are sparse, where more than their norm is looked at.
        """
        unscaled = self._unscaled()
        found: Shown = {}
        if self.is_tried or self._wanted & ALONG:
            _check_dense(gradients(self._optimizer))
        if self.is_tried:
            self._smooth(unscaled)
        if "batch_loss" in self._wanted:
            found["batch_loss"] = float(loss)
        if "fall" in self._wanted:
            squares = [
                base * float(norms([each.grad for each in group["params"] if each.grad is not None], ["l2"])) ** 2
                for group, base in zip(self._optimizer.param_groups, bases, strict=True)
            ]
            found["fall"] = math.fsum(squares) * unscaled**2
        return found | self._along(unscaled, again) if self._wanted & ALONG else found

    @torch.no_grad()
    def expect(self) -> None:
        """The optimizer is about to step."""
        if self.is_tried or self._wanted & ALONG:
            self._before = [(each, each.detach().clone()) for each, _ in _updated(self._optimizer)]

    @torch.no_grad()
    def made(self, multiplier: float) -> float | None:
        """The optimizer has stepped at this multiplier.

        Returns:
            How the loss falls along the update, where that is asked for.
        """
        self._changes = [_Change(each, before, each - before) for each, before in self._before]
        self._before = []
        if self.is_tried:
            means = [self._means[each.parameter][0] for each in self._changes]
            return -_inner(means, [each.change for each in self._changes])
        self._keep(multiplier)
        return None

    @torch.no_grad()
    def scale_to(self, multiplier: float) -> None:
        """Make the update that was made at a multiplier of 1 one at this."""
        for each in self._changes:
            each.parameter.copy_(torch.add(each.before, each.change.mul_(multiplier)))
        self._keep(multiplier)

    def _keep(self, multiplier: float) -> None:
        """Keep of the update what the next one is looked at with, and nothing of the one before."""
        state = self._optimizer.state
        for each, (mean, weight) in self._means.items():
            state[each] |= {SMOOTHED: mean, WEIGHT: weight}
        if self._wanted & ALONG:
            for each in parameters(self._optimizer):
                for name in (CHANGE, MULTIPLIER):
                    state.get(each, {}).pop(name, None)
            for made in self._changes:
                state[made.parameter] |= {CHANGE: made.change, MULTIPLIER: multiplier}
        self._changes, self._means = [], {}

    def _smooth(self, unscaled: float) -> None:
        """Have the gradients count in their means, which are not biased to the 0 they begin with.

        They count as in the optimizer's own momentum or first moment, so that an update goes downhill along the mean.
        """
        for group in self._optimizer.param_groups:
            momentum = _momentum(group)
            for each in group["params"]:
                if each.grad is None or each in self._means:
                    continue
                kept = self._optimizer.state.get(each, {})
                weight = momentum * kept.get(WEIGHT, 0.0) + 1 - momentum
                part = (1 - momentum) / weight
                mean = kept[SMOOTHED] if SMOOTHED in kept else torch.zeros_like(each)
                self._means[each] = mean.mul_(1 - part).add_(each.grad, alpha=part * unscaled), weight

    def _along(self, unscaled: float, again: Callable[[], None] | None) -> Shown:
        """How the loss of this batch lies along the update before."""
        state, grads = self._optimizer.state, dict(_updated(self._optimizer))
        moved = [each for each in parameters(self._optimizer) if CHANGE in state.get(each, {})]
        multiplier = float(state[moved[0]][MULTIPLIER]) if moved else 0.0
        if not multiplier:
            return {}
        changes = [state[each][CHANGE] for each in moved]
        met = [(grads[each], change) for each, change in zip(moved, changes, strict=True) if each in grads]
        rise = _inner([grad for grad, _ in met], [change for _, change in met]) * unscaled
        length = float(norms(changes, ["l2"]))
        found: Shown = {"slope": rise / multiplier}
        if "cosine" in self._wanted:
            both = float(norms(list(grads.values()), ["l2"])) * unscaled * length
            found["cosine"] = min(max(-rise / both, -1.0), 1.0) if both > 0 else None
        if "curvature" in self._wanted:
            if again is None:
                raise BadInput(
                    "a control that needs `curvature` needs the gradient of a batch twice, which only train, search "
                    "and select can compute; on an optimizer of your own use another, such as hypergradient."
                )
            turned = self._turned(moved, changes, again) * unscaled
            found["curvature"] = turned * length / multiplier**2
        return found

    def _turned(self, moved: list[Tensor], changes: list[Tensor], again: Callable[[], None]) -> float:
        """How far the gradient of this batch is from what it was before the update; all is put back."""
        whole = parameters(self._optimizer)
        here = [each.grad for each in whole]
        now = [each.detach().clone() for each in moved]
        torch._foreach_sub_([each.detach() for each in moved], changes)
        with torch.enable_grad():
            again()
        there = [each.grad for each in whole]
        for each, grad in zip(whole, here, strict=True):
            each.grad = grad
        torch._foreach_copy_(moved, now)
        apart = [_difference(a, b) for a, b in zip(here, there, strict=True)]
        return float(norms([each for each in apart if each is not None], ["l2"]))

    def _unscaled(self) -> float:
        """What makes gradients those of the loss, where a scaler leaves that to a fused optimizer."""
        scale = told("grad_scale", [self._optimizer])
        return 1.0 if scale is None else 1 / float(scale)


@torch.no_grad()
def clip_gradients(optimizer: Optimizer, norm: float) -> float:
    """Scale all gradients down together where their L2 norm is larger; to which part of themselves.

    A gradient that is not finite is left as it is.

    Raises:
        BadInput: gradients that a scaler leaves scaled.
    """
    if told("grad_scale", [optimizer]) is not None:
        raise BadInput(
            "gradients must be unscaled before they are clipped: call scaler.unscale_(optimizer), or take an "
            "optimizer without fused=True."
        )
    found = gradients(optimizer)
    whole = float(norms(found, ["l2"]))
    if not math.isfinite(whole) or whole <= norm:
        return 1.0
    torch._foreach_mul_(found, norm / whole)
    return norm / whole


def gradient_again(problem: Problem, inputs: Any, targets: Any, random: dict[str, Tensor]) -> None:
    """Compute the gradients of a batch as a step does that began with these random numbers; nothing else changes."""
    problem.model.zero_grad(set_to_none=True)
    with as_it_was(problem.model, random):
        problem.loss(problem.model(inputs), targets).backward()  # type: ignore[no-untyped-call]


def _updated(optimizer: Optimizer) -> list[tuple[Tensor, Tensor]]:
    """The parameters that have gradients, each once, and these."""
    found = dict.fromkeys(each for group in optimizer.param_groups for each in group["params"])
    return [(each, each.grad) for each in found if each.grad is not None]


def _momentum(group: dict[str, Any]) -> float:
    """How much a gradient counts in a group's updates, of what it counted in the one before."""
    return min(float(group["betas"][0] if "betas" in group else group.get("momentum", 0.0)), LARGEST_MOMENTUM)


def _difference(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """One gradient less another, where none is 0."""
    if one is None or other is None:
        return one if other is None else other
    return one - other


def _check_dense(grads: Sequence[Tensor]) -> None:
    if any(each.layout is not torch.strided for each in grads):
        raise BadInput(
            "a control that looks along updates needs gradients that are dense, got sparse ones; leave sparse=True "
            "out, or use another control, such as polyak."
        )


def _inner(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The inner product of tensors, all together, over all processes that have a part of them."""
    whole = 0.0
    for one, other in zip(shares(left), shares(right), strict=True):
        parts = [_dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(one.tensors, other.tensors, strict=True)]
        summed = torch.stack(parts).to(wide(parts[0].device)).sum() if parts else torch.zeros(())
        whole += float(add_up(summed, one.groups))
    return whole


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, in float32 at least."""
    if one.is_complex():
        one, other = torch.view_as_real(one).reshape(-1), torch.view_as_real(other).reshape(-1)
    return torch.dot(one.float(), other.float()) if one.dtype.itemsize < 4 else torch.dot(one, other)
