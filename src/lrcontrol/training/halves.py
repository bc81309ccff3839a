"""A user's update in two halves: what a control decides with its gradients at hand, and what has come of it."""

import warnings

import torch
from torch import distributed
from torch.optim import Optimizer

from lrcontrol.controls.control import Update
from lrcontrol.errors import BadInput
from lrcontrol.training.closed import Loop
from lrcontrol.training.foresight import Foresight, Shown, clip_gradients, foresight_of
from lrcontrol.training.groups import Groups
from lrcontrol.training.norms import parameters
from lrcontrol.training.ring import wide
from lrcontrol.training.scaled import told
from lrcontrol.training.updates import seen_through

__all__ = ["Halves", "halves_of", "mean_loss"]


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
    if not needs.isdisjoint({"curvature", "hypergradient"}):
        raise BadInput(
            f"{loop.name} goes through every batch more than once, which only a task with a model allows; on an "
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
    """See `halves_of`.

    Attributes:
        looked: whether an update was seen before it was made, since `check_looked` was called last.
        goes_on: whether the next update follows others that were made before a state was loaded.
    """

    def __init__(self, optimizer: Optimizer, foresight: Foresight | None, how: str | None) -> None:
        self._optimizer, self._foresight, self._how = optimizer, foresight, how
        self._shown: Shown = {}
        self._multiplier = 1.0
        self._skipped = False  # whether the update that is under way is left out on the device
        self.looked = self.goes_on = False

    def before(self, loop: Loop, groups: Groups, loss: float | None, *, closure: bool) -> None:
        """The optimizer is about to step: decide, and write what is in force.

        An update that a gradient scaler has a fused optimizer leave out is none: nothing is decided.

        Args:
            loop: the control.
            groups: of the optimizer, which are written.
            loss: of the batch in this process, or None where it has not been told.
            closure: whether the gradients are yet to be computed, within the step.
        Raises:
            BadInput: no loss, or no gradients yet, where the control needs them.
        """
        optimizer, foresight = self._optimizer, self._foresight
        self.looked = True
        if closure and (foresight is not None or loop.decision.clip is not None):
            raise BadInput(
                f"{loop.name} needs the gradients before the optimizer steps, but it was given a closure that "
                "computes them within; call backward() first, and step() without one."
            )
        if foresight is not None:
            if self._how is not None and loss is None:
                raise BadInput(f"{loop.name} needs the loss of a batch before its update, got none; {self._how}.")
            found = told("found_inf", [optimizer])
            self._skipped = found is not None and bool(found)
            if self._skipped:
                return
            if self.goes_on and not foresight.remembers:
                warnings.warn(
                    f"{loop.name} goes on from updates of which the optimizer's state holds nothing, and takes the "
                    "next for the first: load the optimizer's state beside the scheduler's.",
                    stacklevel=5,
                )
            self.goes_on = False
            self._shown = foresight.shown(groups.lrs.bases, None if loss is None else mean_loss(loss, optimizer))
            if foresight.is_tried:
                groups.write(optimizer, loop.settings._replace(multiplier=1.0))
                self._multiplier = 1.0
            else:
                groups.write(optimizer, loop.reconsidered(Update(**self._shown)))
                self._multiplier = loop.settings.multiplier
        clip = loop.decision.clip
        if clip is not None:
            clip_gradients(optimizer, clip)
        if foresight is not None:
            foresight.expect()

    def check_looked(self, loop: Loop) -> None:
        """BadInput where an update was made that could not be seen before, though the control needs that."""
        if not self.looked and (self._foresight is not None or loop.clips):
            raise BadInput(
                f"{loop.name} looks at every update, but one was made that it could not see, as in a compiled "
                "function; call optimizer.step() outside of torch.compile."
            )
        self.looked = False

    def after(self, loop: Loop, groups: Groups) -> None:
        """The optimizer has stepped."""
        foresight = self._foresight
        if foresight is None or self._skipped:
            return
        descent = foresight.made(self._multiplier)
        if foresight.is_tried:
            settings = loop.reconsidered(Update(**self._shown, descent=descent))
            foresight.scale_to(settings.multiplier)
            groups.write(self._optimizer, settings)


def mean_loss(loss: float, optimizer: Optimizer) -> float:
    """The mean of a loss over all processes that train together, the same in each of them."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return loss
    home = next((each.device for each in parameters(optimizer)), torch.device("cpu"))
    whole = torch.tensor(loss, dtype=wide(home), device=home)
    distributed.all_reduce(whole)
    return float(whole) / distributed.get_world_size()
