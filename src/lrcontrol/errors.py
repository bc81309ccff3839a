"""The exceptions of lrcontrol::

    LRControlError
    ├── BadInput          ValueError   an argument that is not what it must be
    │   ├── UnknownName                a name that is not in a list we know
    │   ├── BadText                    a schedule, method or document that cannot be read
    │   ├── DoesNotFit                 a schedule that does not fit its horizon
    │   ├── OverBudget                 a budget too small for what was asked
    │   ├── DataMissing                data that are not here and cannot be had
    │   └── DataDamaged                a data file that is not what it should be
    ├── ClusterLost       OSError      the cluster that carries out runs is gone
    ├── OutOfSchedule     IndexError   a step before 0, or past the end where that is not allowed
    ├── RecordError       ValueError   a record that does not hold what is asked of it
    └── StoreError        OSError      a store that cannot be opened, read or written
        ├── NotAStore                  the file is something else
        ├── StoreFromTheFuture         written by a newer lrcontrol
        └── StoreDamaged               what was read is not what was written

Every one is also a builtin, so that nobody needs ours to catch it. A diverged run is a result, not an error.
"""

__all__ = [
    "BadInput",
    "BadText",
    "ClusterLost",
    "DataDamaged",
    "DataMissing",
    "DoesNotFit",
    "LRControlError",
    "NotAStore",
    "OutOfSchedule",
    "OverBudget",
    "RecordError",
    "StoreDamaged",
    "StoreError",
    "StoreFromTheFuture",
    "UnknownName",
]


class LRControlError(Exception):
    """The root of the tree."""


class BadInput(LRControlError, ValueError):
    """An argument that is not what it must be; the sentence names it, its value and what must hold."""


class UnknownName(BadInput):
    """A name that is not in a list we know; the sentence names near misses and the list."""


class BadText(BadInput):
    """A schedule, method or document that cannot be read; the sentence names the place."""


class DoesNotFit(BadInput):
    """A schedule that does not fit its horizon; the sentence names both lengths."""


class OverBudget(BadInput):
    """A budget too small for what was asked."""


class DataMissing(BadInput):
    """Data that a task needs are not here and cannot be had; the sentence names the file and how to get it."""


class DataDamaged(BadInput):
    """A data file that is not what it should be; the sentence names it."""


class ClusterLost(LRControlError, OSError):
    """The cluster that carries out runs is gone; what was recorded is not."""


class OutOfSchedule(LRControlError, IndexError):
    """A step before 0, or past the end where that is not allowed."""


class RecordError(LRControlError, ValueError):
    """A record that does not hold what is asked of it."""


class StoreError(LRControlError, OSError):
    """A store that cannot be opened, read or written."""


class NotAStore(StoreError):
    """The file is something else than a store of lrcontrol."""


class StoreFromTheFuture(StoreError):
    """The store was written by a newer lrcontrol than this one."""


class StoreDamaged(StoreError):
    """What was read from the store is not what was written to it."""
