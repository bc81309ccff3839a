"""Repeated: a function of tensors that is called again and again, replayed from its trace once that pays."""

import dataclasses
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from lrcontrol.training.batching.replay import Replay, replay_of
from lrcontrol.training.batching.step import Step

__all__ = ["Repeated"]

KEPT = 64  # traces
CLOSE = 1e-2  # of the largest number: what a replay does otherwise by more is not rounding


@dataclasses.dataclass
class _Trace:
    """What is known of calls that are alike, in all stacks of this process."""

    calls: int = 0
    made: bool = False
    replay: Replay | None = None
    checked: bool = False


_TRACES: dict[Hashable, _Trace] = {}


class Repeated:
    """Finds the replay of a function.

    Args:
        function: what is traced.
        key: what is called alike has the same; shapes need not be part of it.
        calls: how many are to come.
        pays: from how many on a trace is made, which takes as long as many of them.
        written: the tensors, [first, last) of those it is given, that it writes into.
        checked: whether the second call is also made without the replay, and the two compared.
    """

    def __init__(
        self,
        function: Step,
        key: Hashable,
        *,
        calls: int,
        pays: int,
        written: tuple[int, int] = (0, 0),
        checked: bool = True,
    ) -> None:
        self._function, self._key, self._calls, self._pays = function, key, calls, pays
        self._written, self._checked = written, checked
        self._traces: dict[Hashable, _Trace] = {}

    def replay(self, tensors: Sequence[Tensor]) -> Replay | None:
        """What to call in place of the function for these tensors, or None."""
        shapes = tuple((tuple(each.shape), each.dtype, each.device) for each in tensors)
        trace = self._traces.get(shapes)
        if trace is None:
            trace = self._traces[shapes] = _shared((self._key, shapes))
            trace.calls += self._calls
        if not trace.made and trace.calls >= self._pays:
            trace.made, trace.replay = True, replay_of(self._function, tensors)
        elif trace.replay is not None and self._checked and not trace.checked:
            trace.checked = True
            if not self._same(trace.replay.run, tensors):
                trace.replay = None
        return trace.replay

    def _same(self, run: Step, tensors: Sequence[Tensor]) -> bool:
        """Whether a replay does as the function with other data than it was traced with; a model's Python may not."""
        first, last = self._written
        results, written = [], []
        for each in (self._function, run):
            own = [tensor.clone() for tensor in tensors[first:last]]
            results.append(each(*tensors[:first], *own, *tensors[last:]))
            written.append(own)
        losses, gradients = zip(*(([one], rest) for one, *rest in results), strict=True)
        return all(_close(*pair) for pair in (losses, gradients, written))


def _shared(key: Hashable) -> _Trace:
    """The trace of a key; the oldest is forgotten where there are too many."""
    while key not in _TRACES and len(_TRACES) >= KEPT:
        del _TRACES[next(iter(_TRACES))]
    return _TRACES.setdefault(key, _Trace())


def _close(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether all are the same but for rounding, which is of the size of the largest number among them."""
    size = max(
        (float(torch.nan_to_num(one.double().abs(), posinf=0.0).max()) for one in ones if one.numel()), default=0
    )
    return all(
        torch.allclose(other.double(), one.double(), rtol=CLOSE, atol=CLOSE * size, equal_nan=True)
        for one, other in zip(ones, others, strict=True)
    )
