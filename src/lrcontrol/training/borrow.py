"""Borrow: run something on a user's model, optimizer and data, and put everything back, to the bit."""

import sys
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.runs.interrupts import Held
from lrcontrol.training.kept import Kept
from lrcontrol.training.observe import Observer
from lrcontrol.training.random_numbers import seed_all
from lrcontrol.training.surroundings import Surroundings
from lrcontrol.training.torch_schedule import TorchSchedule, schedule_on
from lrcontrol.training.updates import Updates

__all__ = ["Borrowed", "several"]

RANKS_APART = 1 << 20  # between the seeds of processes, so that none of two is that of another repeat


class Borrowed:
    """A context manager: whatever is done within it to these objects is undone at its end.

    Put back, in place and to the bit: parameters, buffers, gradients, what is trained, modes of every module, hooks
    and all other attributes of the model and of what it holds; the optimizer's state and the options of its groups;
    scaler and schedules; the random numbers of Python, numpy and torch, of every CUDA device and of each generator
    that the objects hold; a loader with its samplers and data set, where that keeps a place; and what torch has been
    told, such as whether it takes gradients. Every object stays the one it is. Nothing is written to disk.

    Schedules and observers of ours that listen to the optimizer do not hear of what is done.

    Within it signals that have handlers in Python wait: the first until `between` is called, or the end; a second one
    ends what is being done, by an exception. Then all is put back, which nothing can interrupt, and the handlers are
    called, once for each signal. Where they are content, the block has ended early, and `interrupted` says so; that
    of Ctrl-C, if it is Python's own, raises KeyboardInterrupt as ever. In another thread than the main one signals
    are not touched, for they do not come there.

    It takes the memory of a copy of model, gradients and optimizer state. Not undone: what is global in the user's
    modules, and attributes of his classes; iterators and counters of itertools that objects hold, which go on from
    where they came to; tensors and arrays of data sets above 1 MiB; files that are written; what other processes are
    told.

    Args:
        model: anything whose state is used: a module, or several in a list.
        optimizer: one, several in a list, or None.
        loader: what gives batches, any iterable that begins anew whenever it is iterated over; a function that makes
            it; or None.
        scaler: a gradient scaler, or None.
        schedules: one or several of the optimizer; those of ours are known, and torch's wherever they are held.
        also: whatever else is used that has a state, one or several, such as a moving average of the weights.
    Raises:
        BadInput: an iterator for a loader, or one in it or in what a function encloses, which cannot be rewound; a
            parameter without a shape.
    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> with Borrowed([weight], optimizer):
        ...     weight.sum().backward()
        ...     optimizer.step()
        >>> weight.tolist(), weight.grad
        ([0.0, 0.0], None)
    """

    def __init__(
        self,
        model: nn.Module | Sequence[Any],
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        loader: Iterable[Any] | Callable[[], Iterable[Any]] | None = None,
        scaler: Any = None,
        schedules: Any = (),
        also: Any = (),
    ) -> None:
        if loader is not None and not hasattr(loader, "__iter__") and not callable(loader):
            raise BadInput(f"`loader` must be an iterable of batches, got loader={checks.shown(loader)}.")
        if isinstance(loader, type):
            raise BadInput(
                f"`loader` must be an iterable of batches, got the class {loader.__name__}; make one of it."
            )
        given = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
        ours = [schedule_on(each) for each in given if isinstance(each, Optimizer)]
        self._loader = loader
        self._models = list(model) if isinstance(model, list | tuple) else [model]
        self._whole = [*self._models, *given, scaler, *several(schedules), *ours, *several(also)]
        # of the code that must not be interrupted, and of all that it calls
        never = [getattr(Borrowed, name).__code__ for name in ("__enter__", "__exit__", "put_back")]
        self._held = Held(never=never)
        self.interrupted = False

    def __enter__(self) -> "Borrowed":
        """Keep everything, then hold signals, then let nobody listen."""
        self._surroundings = Surroundings()
        self._reshard()
        self._kept = Kept([each for each in self._whole if each is not None], [self._loader])
        if self._kept.streams:
            raise _not_rewound(self._kept.streams[0])
        if self._kept.enclosed:
            raise _encloses(*self._kept.enclosed[0])
        self._optimizers, self._schedules = self._kept.found(Optimizer), self._kept.found(TorchSchedule)
        self._loaders = self._kept.found(DataLoader)
        self._held.hold()
        self._quiet()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> bool:
        """Put everything back, then let signals go, then call their handlers."""
        try:
            self._put_back()
        finally:
            self._held.let_go()
            self.interrupted = self._held.deliver(error)
        return self.interrupted

    @property
    def asked(self) -> bool:
        """Whether a signal waits."""
        return bool(self._held.noted)

    def between(self) -> None:
        """End the block if a signal waits; called where nothing is half done.

        Raises:
            Interrupted: a KeyboardInterrupt, to be let through.
        """
        self._held.between()

    def put_back(self) -> None:
        """Put everything back, and go on from there."""
        self._put_back()
        self._quiet()

    def seed(self, seed: int, *, rank: int = 0) -> None:
        """Seed all random numbers that are put back, alike in every process but for those of the whole process.

        Args:
            seed: >= 0, below 2**31.
            rank: of this process among several, whose dropout and shuffling are others.
        """
        seed_all((seed + RANKS_APART * rank) % 2**32)
        for each in self._kept.generators:
            if isinstance(each, torch.Generator):
                each.manual_seed(seed)
            elif isinstance(each, np.random.Generator):
                each.bit_generator.state = type(each.bit_generator)(seed).state
            else:
                each.seed(seed)

    def _put_back(self) -> None:
        """All of it; random numbers last, for nothing must draw from them afterwards."""
        try:
            self._reshard()
            self._kept.put_back()
        finally:
            for each in self._schedules:
                each.look_again()
            self._surroundings.put_back()

    def _reshard(self) -> None:
        """Let FSDP2 have the shares of parameters in place, which an error may have left gathered."""
        fsdp: Any = sys.modules.get("torch.distributed.fsdp")  # loaded by whoever uses it
        for each in self._models if fsdp is not None else ():
            for module in each.modules() if isinstance(each, nn.Module) else ():
                if isinstance(module, fsdp.FSDPModule):
                    module.reshard()

    def _quiet(self) -> None:
        """Let no schedule or observer of ours hear of updates, and workers that are at work for the user go on."""
        for optimizer in self._optimizers:
            for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
                hooks = getattr(optimizer, name, {})  # none, of one that wraps another
                for key, hook in list(hooks.items()):
                    if isinstance(getattr(hook, "__self__", None), Observer | Updates):
                        del hooks[key]
        for loader in self._loaders:
            if getattr(loader, "_iterator", None) is not None:
                loader._iterator = None


def several(given: Any) -> list[Any]:
    """What is given alone, in a list or tuple, or as None, as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) and not isinstance(given, nn.Module) else [given]


def _not_rewound(stream: object) -> BadInput:
    return BadInput(
        f"`loader` must begin anew whenever it is iterated over, got {checks.shown(stream)}, which cannot be rewound; "
        "give the DataLoader itself, a list of batches, or an object whose __iter__ makes a new iterator."
    )


def _encloses(function: object, stream: object) -> BadInput:
    return BadInput(
        f"what functions enclose is put back, but `{getattr(function, '__qualname__', function)}` encloses "
        f"{checks.shown(stream)}, which cannot be rewound; let it take its data as an argument, or keep that in a "
        "global variable."
    )
