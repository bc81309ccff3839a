"""A user's update in two halves: what a control decides with its gradients at hand, and what has come of it."""

from typing import Any

from torch.optim import Optimizer

from lrcontrol.controls.control import Update
from lrcontrol.errors import BadInput
from lrcontrol.training.closed import Loop
from lrcontrol.training.foresight import Foresight, Shown, clip_gradients, foresight_of
from lrcontrol.training.groups import Groups
from lrcontrol.training.updates import seen_through

__all__ = ["Halves", "halves_of"]


def halves_of(optimizer: Optimizer, loop: Loop, how: str) -> "Halves":
    """The halves of this optimizer's updates, for a control that may want to be shown them or to clip gradients.

    Args:
        optimizer: the user's.
        loop: the control on it.
        how: how a user tells the loss of a batch before its update.
    Raises:
        BadInput: the control looks at updates in a way that cannot be seen, or not on this optimizer.
    """
    needs = loop.control.needs
    if "curvature" in needs:
        raise BadInput(
            f"{loop.name} needs the gradient of every batch twice, which only a task with a model can give; on an "
            "optimizer of your own use another control, such as hypergradient."
        )
    foresight = foresight_of(optimizer, needs)
    if foresight is not None and seen_through(optimizer) != [optimizer]:
        raise BadInput(
            f"{loop.name} looks at every update and needs a plain torch optimizer that holds no other, got "
            f"{type(optimizer).__name__}."
        )
    return Halves(optimizer, foresight, how if "batch_loss" in needs else None)


class Halves:
    """See `halves_of`."""

    def __init__(self, optimizer: Optimizer, foresight: Foresight | None, how: str | None) -> None:
        self._optimizer, self._foresight, self._how = optimizer, foresight, how
        self._shown: Shown = {}
        self._multiplier = self._clipped = 1.0

    def before(self, loop: Loop, groups: Groups, loss: Any, *, closure: bool) -> None:
        """The optimizer is about to step: decide, and write what is in force.

        Args:
            loop: the control.
            groups: of the optimizer, which are written.
            loss: of the batch, or None where it has not been told.
            closure: whether the gradients are yet to be computed, within the step.
        Raises:
            BadInput: no loss, or no gradients yet, where the control needs them.
        """
        optimizer, foresight = self._optimizer, self._foresight
        if closure and (foresight is not None or loop.decision.clip is not None):
            raise BadInput(
                f"{loop.name} needs the gradients before the optimizer steps, but it was given a closure that "
                "computes them within; call backward() first, and step() without one."
            )
        if foresight is not None:
            if self._how is not None and loss is None:
                raise BadInput(f"{loop.name} needs the loss of a batch before its update, got none; {self._how}.")
            self._shown = foresight.shown(groups.lrs.bases, loss)
            if foresight.is_tried:
                groups.write(optimizer, loop.settings._replace(multiplier=1.0))
                self._multiplier = 1.0
            else:
                groups.write(optimizer, loop.reconsidered(Update(**self._shown)))
                self._multiplier = loop.settings.multiplier
        clip = loop.decision.clip
        self._clipped = 1.0 if clip is None else clip_gradients(optimizer, clip)
        if foresight is not None:
            foresight.expect()

    def after(self, loop: Loop, groups: Groups) -> None:
        """The optimizer has stepped."""
        foresight = self._foresight
        if foresight is None:
            return
        descent = foresight.made(self._multiplier, self._clipped)
        if foresight.is_tried:
            settings = loop.reconsidered(Update(**self._shown, descent=descent))
            foresight.scale_to(settings.multiplier)
            groups.write(self._optimizer, settings)
