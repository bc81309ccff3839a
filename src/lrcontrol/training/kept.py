"""Kept: all that objects hold, and all that these hold, as it is now; put back in place, so that they stay themselves.

It goes through attributes and containers instead of asking for state dicts: those leave out gradients, flags, hooks,
buffers that are not saved and whatever a user has hung on his objects, and loading them makes other tensors.
"""

import argparse
import gc
import io
import random
import sys
import threading
import types
import weakref
from array import array
from collections import ChainMap, OrderedDict, UserDict, UserList, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.data import DataLoader, Dataset, Sampler

from lrcontrol.errors import BadInput

__all__ = ["Kept"]

SMALL, ALL_SMALL = 1 << 20, 1 << 24  # bytes: data are not copied, but what a sampler or an augmentation reckons with
LONG = 1000  # items: of data, a list of examples is kept as a list, and no example is looked at

_NOTHING = (
    int, float, complex, bool, str, bytes, type(None), type, range, slice, types.ModuleType, types.BuiltinFunctionType,
    torch.dtype, torch.device, torch.Size, torch.layout, np.generic, np.dtype, types.CodeType, types.FrameType,
    random.SystemRandom,
)  # fmt: skip
_FRAMEWORKS = (
    "accelerate", "jax", "keras", "lightning", "lightning_fabric", "lightning_utilities", "mlflow", "numpy",
    "pytorch_lightning", "ray", "tensorboardX", "tensorflow", "torch", "transformers", "wandb",
)  # fmt: skip
_CLOSED = {*sys.stdlib_module_names, *_FRAMEWORKS}
_SHARED = (type(threading.Lock()), type(threading.RLock()), threading.Thread, threading.Condition, threading.Event)
_NAMES = (types.SimpleNamespace, argparse.Namespace, ChainMap, UserDict, UserList)  # open, though of the machinery
_OF_DATA = (DataLoader, Dataset, Sampler)
_RANDOM = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

PutBack = Callable[[], object]
Kind = TypeVar("Kind")


class Kept:
    """What `whole` and `data` hold, and what these hold.

    Of objects it keeps attributes, of functions those and what they enclose, of containers their items, of tensors and
    arrays the values, their gradients and flags, of random numbers where they are, of files the position. Schedules of
    torch's that are on an optimizer it finds among `whole` belong to that, though it does not hold them. Objects of
    Python's and torch's own machinery and of frameworks, those that hold a lock or a thread, since others may be at
    work in them, iterators among attributes, attributes of classes, and what is global in a module, are left alone.

    Args:
        whole: objects whose tensors are all copied: models, optimizers, scalers, schedules.
        data: objects whose tensors and arrays are copied up to 1 MiB each, and 16 MiB in all: loaders. So are those of
            data sets that are found in `whole`.
    Attributes:
        generators: random numbers of their own that the objects hold.
        streams: iterators among `data` that cannot be rewound.
        enclosed: functions of `whole` that enclose such an iterator, and that.
    Raises:
        BadInput: a parameter has no shape yet.
    """

    def __init__(self, whole: Sequence[object], data: Sequence[object] = ()) -> None:
        self.generators: list[Any] = []
        self.streams: list[object] = []
        self.enclosed: list[tuple[object, object]] = []
        self._seen: dict[int, object] = {}  # held, so that no other object has its id
        self._storages: dict[int, PutBack] = {}
        self._objects: list[PutBack] = []
        self._roots = {id(each) for each in whole}
        self._whole: deque[object] = deque(whole)
        self._data: deque[object] = deque()
        self._reads_data, self._room = False, ALL_SMALL
        self._empty_whole()
        self._whole.extend(_schedules_on(self.found(Optimizer)))
        self._empty_whole()
        self._empty(of_data=False)
        self._data.extend(data)
        self._empty(of_data=True)

    def found(self, kind: type[Kind]) -> list[Kind]:
        """All that are of this kind."""
        return [each for each in self._seen.values() if isinstance(each, kind)]

    def put_back(self) -> None:
        """Make all of it what it was; as often as is wanted.

        Whatever fails does not keep the rest from being put back; the first error is raised at the end.
        """
        errors: list[Exception] = []
        for each in (*self._storages.values(), *self._objects):
            try:
                each()
            except Exception as error:  # the rest must be put back
                errors.append(error)
        if errors:
            raise errors[0]

    def _empty_whole(self) -> None:
        while self._whole:
            self._keep(self._whole.popleft(), whole=True)

    def _empty(self, *, of_data: bool) -> None:
        self._reads_data = of_data
        while self._data:
            self._keep(self._data.popleft(), whole=False)

    def _keep(self, thing: Any, *, whole: bool) -> None:
        """Keep one thing, and let what it holds wait for its turn."""
        if id(thing) in self._seen or type(thing) in weakref.ProxyTypes or isinstance(thing, _NOTHING):
            return
        self._seen[id(thing)] = thing
        wait = (self._whole if whole else self._data).append
        if isinstance(thing, Tensor):
            self._keep_tensor(thing, whole, wait)
        elif isinstance(thing, np.ndarray):
            if thing.flags.writeable and (whole or self._is_small(thing.nbytes)):
                self._objects.append(partial(_put_array, thing, thing.copy()))
        elif isinstance(thing, _RANDOM):
            self.generators.append(thing)
            self._objects.append(_random_put_back(thing))
        elif isinstance(thing, tuple | frozenset):
            self._wait_for(thing, wait, whole)
        elif isinstance(thing, array | bytearray):
            if whole or self._is_small(memoryview(thing).nbytes):
                self._objects.append(partial(_put_slice, thing, thing[:]))
        elif isinstance(thing, dict | list | deque | set):
            self._keep_container(thing, wait, whole)
        elif isinstance(thing, types.FunctionType):
            for cell in thing.__closure__ or ():
                self._keep_cell(thing, cell, wait)
            self._wait_for((*(thing.__defaults__ or ()), thing.__kwdefaults__, vars(thing)), wait, whole)
        elif isinstance(thing, types.MethodType):
            wait(thing.__self__)
            wait(thing.__func__)
        elif isinstance(thing, partial):
            self._wait_for((thing.func, thing.args, thing.keywords), wait, whole)
        elif isinstance(thing, io.IOBase):
            self._keep_file(thing)
        elif self._is_open(thing):
            self._keep_object(thing, self._data.append if isinstance(thing, _OF_DATA) else wait)
        elif self._reads_data and _is_stream(thing):
            self.streams.append(thing)

    def _is_small(self, size: int) -> bool:
        """Whether data of so many bytes are copied; then there is so much less room for others."""
        if size > min(SMALL, self._room):
            return False
        self._room -= size
        return True

    def _is_open(self, thing: object) -> bool:
        """Whether an object is one whose attributes are looked at."""
        if isinstance(thing, (nn.Module, Optimizer, LRScheduler, *_NAMES, *_OF_DATA)) or id(thing) in self._roots:
            return True
        if type(thing).__module__.partition(".")[0] in _CLOSED:
            return False
        return not any(isinstance(each, _SHARED) for each in getattr(thing, "__dict__", {}).values())

    def _keep_object(self, thing: object, wait: Callable[[object], None]) -> None:
        own = getattr(thing, "__dict__", None)
        if isinstance(own, dict):
            items = list(own.items())
            self._objects.append(partial(_put_attributes, thing, type(thing), items))
            for name, value in items:
                if not (name == "_iterator" and isinstance(thing, DataLoader)):  # of workers that stay
                    wait(value)
        for name, slot in _slots(type(thing)):
            try:
                value = slot.__get__(thing)
            except AttributeError:
                self._objects.append(partial(_drop_slot, thing, slot))
                continue
            self._objects.append(partial(_put_slot, thing, slot, value))
            if name != "__weakref__":
                wait(value)

    def _keep_container(self, thing: Any, wait: Callable[[object], None], whole: bool) -> None:
        if isinstance(thing, dict):
            items = list(thing.items())
            self._objects.append(partial(_put_items, thing, items))
            self._wait_for([each for item in items for each in item], wait, whole)
            return
        self._objects.append(partial(_PUT[next(kind for kind in _PUT if isinstance(thing, kind))], thing, list(thing)))
        self._wait_for(thing, wait, whole)

    def _wait_for(self, things: Any, wait: Callable[[object], None], whole: bool) -> None:
        if whole or len(things) <= LONG:
            for each in things:
                wait(each)

    def _keep_cell(self, function: types.FunctionType, cell: types.CellType, wait: Callable[[object], None]) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            return
        self._objects.append(partial(setattr, cell, "cell_contents", value))
        if not self._reads_data and _is_stream(value) and not self._is_open(value):
            self.enclosed.append((function, value))
        wait(value)

    def _keep_file(self, file: io.IOBase) -> None:
        try:
            if not file.closed and file.readable() and file.seekable():
                self._objects.append(partial(file.seek, file.tell()))
                return
        except OSError:  # a text that is being iterated over does not tell
            pass
        if self._reads_data and not file.closed and file.readable():
            self.streams.append(file)

    def _keep_tensor(self, tensor: Tensor, whole: bool, wait: Callable[[object], None]) -> None:
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise BadInput(
                "every parameter must have its shape, but the model has some that are made at its first batch; call "
                "it on a batch once before."
            )
        if is_traceable_wrapper_subclass(tensor):  # a DTensor, and others that hold tensors
            for name in tensor.__tensor_flatten__()[0]:
                wait(getattr(tensor, name))
        elif not self._keep_values(tensor, whole):
            return
        grad = tensor.grad if tensor.is_leaf else None
        self._objects.append(partial(_put_tensor, tensor, tensor.is_leaf, tensor.requires_grad, grad))
        wait(grad)
        wait(vars(tensor))
        wait(tensor._backward_hooks)
        wait(getattr(tensor, "_post_accumulate_grad_hooks", None))

    def _keep_values(self, tensor: Tensor, whole: bool) -> bool:
        """Copy the storage of a tensor, once for all that are views of it; False where it is too large."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # sparse, and others without one
            self._objects.append(partial(_put_sparse, tensor, tensor.detach().clone()))
            return True
        if not whole and storage._cdata not in self._storages and not self._is_small(storage.nbytes()):
            return False
        if storage.device.type != "meta" and storage._cdata not in self._storages:
            self._storages[storage._cdata] = partial(_put_storage, storage, storage.clone())  # type: ignore[no-untyped-call]
        if not tensor.is_inference():
            self._objects.append(partial(_put_layout, tensor, tensor.detach()))
        return True


def _schedules_on(optimizers: Sequence[Optimizer]) -> list[LRScheduler]:
    """The schedules of torch's on these optimizers, whoever holds them.

    An optimizer does not know them, so the collector is asked who knows it, which takes a fraction of a collection.
    Types are asked and not `__class__`, which a proxy may say what it likes of.
    """
    if not optimizers:
        return []
    known = {id(each) for each in optimizers}
    holders = gc.get_referrers(*optimizers)
    owners = gc.get_referrers(*(each for each in holders if type(each) is dict))  # of dicts of attributes
    found = {id(each): each for each in (*holders, *owners) if issubclass(type(each), LRScheduler)}
    return [each for each in found.values() if id(vars(each).get("optimizer")) in known]


def _is_stream(thing: object) -> bool:
    return hasattr(type(thing), "__next__") and not isinstance(thing, io.IOBase)


def _slots(kind: type) -> Iterator[tuple[str, Any]]:
    """Name and descriptor of all that a class keeps in slots."""
    for each in kind.__mro__:
        for name, value in vars(each).items():
            if isinstance(value, types.MemberDescriptorType) and each.__module__ != "builtins":
                yield name, value


def _same(now: Sequence[Any], then: Sequence[Any]) -> bool:
    return len(now) == len(then) and all(one is other for one, other in zip(now, then, strict=True))


def _put_attributes(thing: Any, kind: type, items: list[tuple[str, Any]]) -> None:
    if type(thing) is not kind:  # a lazy module becomes another
        thing.__class__ = kind
    _put_items(vars(thing), items)


def _put_items(held: dict[Any, Any], items: list[tuple[Any, Any]]) -> None:
    if len(held) == len(items) and all(
        key is kept and value is own for (key, value), (kept, own) in zip(held.items(), items, strict=True)
    ):
        return
    plain: Any = OrderedDict if isinstance(held, OrderedDict) else dict  # not what a subclass does beside
    plain.clear(held)
    for key, value in items:
        plain.__setitem__(held, key, value)


def _put_list(held: list[Any], items: list[Any]) -> None:
    if not _same(held, items):
        list.__setitem__(held, slice(None), items)


def _put_deque(held: deque[Any], items: list[Any]) -> None:
    if not _same(held, items):
        held.clear()
        held.extend(items)


def _put_set(held: set[Any], items: list[Any]) -> None:
    if len(held) != len(items) or any(each not in held for each in items):
        held.clear()
        held.update(items)


def _put_slice(held: Any, items: Any) -> None:
    held[:] = items


_PUT: dict[type, Callable[[Any, list[Any]], None]] = {
    list: _put_list,
    deque: _put_deque,
    set: _put_set,
}


def _put_slot(thing: object, slot: Any, value: Any) -> None:
    try:
        same = slot.__get__(thing) is value
    except AttributeError:
        same = False
    if not same:
        slot.__set__(thing, value)


def _drop_slot(thing: object, slot: Any) -> None:
    try:
        slot.__delete__(thing)
    except AttributeError:  # it is still empty
        return


def _put_array(array: Any, copy: Any) -> None:
    array[...] = copy


def _put_storage(storage: torch.UntypedStorage, copy: torch.UntypedStorage) -> None:
    if storage.nbytes() != copy.nbytes():
        storage.resize_(copy.nbytes())
    storage.copy_(copy)


def _put_layout(tensor: Tensor, view: Tensor) -> None:
    """Let a tensor be of the storage, shape and type it was of, which `view` still is."""
    same = (tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
    if same != (view.untyped_storage()._cdata, view.storage_offset(), view.shape, view.stride(), view.dtype):
        tensor.data = view


def _put_sparse(tensor: Tensor, copy: Tensor) -> None:
    tensor.data = copy.clone()


def _put_tensor(tensor: Tensor, leaf: bool, trained: bool, grad: Tensor | None) -> None:
    if not leaf:
        return
    if tensor.requires_grad != trained:
        tensor.requires_grad_(trained)
    if tensor.grad is not grad:
        tensor.grad = grad


def _random_put_back(generator: Any) -> PutBack:
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, np.random.Generator):
        return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return partial(generator.set_state, generator.get_state(legacy=False))
    return partial(generator.setstate, generator.getstate())
