"""What the range test of a model takes besides; here, since it is named where torch is not loaded too."""

from collections.abc import Callable
from typing import Any, TypedDict

__all__ = ["OfModel"]


class OfModel(TypedDict, total=False):
    """What the range test of a model takes besides; see docs/range_test.md.

    Args:
        accumulate: >= 1; micro-batches of an update, by default 1; the last of a pass over the data has what is left.
        scaler: a gradient scaler.
        schedules: one or several on the optimizer, to be put back, that are neither torch's nor ours; those are known.
        autocast: a dtype such as torch.bfloat16, in which the loss is computed.
        clip_norm: > 0; the norm that gradients are clipped to.
        step: in place of the loss and what follows it: a function of a batch that does all of a training step, also
            the update, and returns the loss. Batches are not moved for it, and every call may or may not update.
        also: what else has a state that training changes, one or several, such as a moving average of the weights.
    """

    accumulate: int
    scaler: Any
    schedules: Any
    autocast: Any
    clip_norm: float | None
    step: Callable[[Any], Any] | None
    also: Any
