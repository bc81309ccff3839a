"""Record: what happened in a run, and the bytes it is kept as."""

import enum
import json
import math
import re
import zlib
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.errors import RecordError
from lrcontrol.runs.spec import RunSpec

__all__ = [
    "Cost",
    "Evaluation",
    "Objective",
    "Outcome",
    "Record",
    "Weights",
    "on_validation",
    "pack_columns",
    "unpack_columns",
]


LARGEST_COLUMNS = 1 << 30  # bytes, unpacked

ADDED: dict[str, Any] = {"kept": None, "members": (), "growth": None}
"""Fields that records did not have when the first were stored, and the values at which they are not written."""


STEEP = 2.0
"""How many times larger than halfway a rate that was found must be at the end of a run to have been growing still.

What grows in proportion to the updates doubles. These estimates grow by a factor an update until they have come away
from where they begin, and then hardly: on digits-mlp `dog` grew 50-fold over the last half of 180 updates, and
1.2-fold over that of 600.
"""


class Outcome(enum.StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    """It reached its stop_step."""
    STOPPED = "stopped"
    """Its control ended it earlier."""
    DIVERGED = "diverged"
    """Its loss was no longer finite: a result, not an error."""
    FAILED = "failed"
    """It raised, or its process died; `message` says how."""


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs of a task are compared by: a validation metric and which way is better."""

    metric: str
    direction: Literal["minimize", "maximize"]

    def lower_is_better(self, value: float) -> float:
        """`value`, with its sign turned where the metric is maximized."""
        return -value if self.direction == "maximize" else value

    @property
    def told(self) -> str:
        """The metric as people are told it."""
        return on_validation(self.metric)


def on_validation(metric: str) -> str:
    """The name of a metric that was measured on validation; one that says so itself is left as it is.

    Example:
        >>> on_validation("accuracy"), on_validation("val_loss"), on_validation("eval/loss")
        ('validation accuracy', 'val_loss', 'eval/loss')
    """
    return metric if re.match(r"(val|valid|validation|eval)(?![a-z])", metric, re.I) else f"validation {metric}"


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Validation metrics after `step` updates; every value is finite."""

    step: int
    values: dict[str, float]


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run took.

    Args:
        steps: updates, from its own first one on; the measure of budgets. A run that failed is charged all that it
            was to make, for nobody knows how many it made.
        seconds: of wall-clock time; where runs share a beginning, the first of them has the seconds of that.
        shared: how many of the updates were made once for several runs of the same beginning, and are timed with
            another. It depends on what was carried out together.
    """

    steps: int
    seconds: float
    shared: int = 0

    @property
    def own(self) -> int:
        """Updates that were made for this run, and those that it was the first to need."""
        return self.steps - self.shared


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of this name beside the store, and its SHA-256: trained weights, or the manifest of a checkpoint."""

    file: str
    sha256: str


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run, answered.

    Args:
        spec: what was asked.
        outcome: how it ended.
        objective: the task's metric and direction.
        evals: validation metrics, in the order of their steps; the last is of the final weights, unless `kept` says
            otherwise.
        cost: what it took.
        columns: one value per update made, from `spec.first_step` on, float32: `loss` (of the batch, before the
            update), `lr` (in force during it), `found` where the optimizer finds its rate (what the update went by:
            `lr` times this is the rate), and where the spec asks for them `l1` and `l2` (norms of the gradient of the
            update). Empty in records listed without columns.
        message: for a failed, stopped or diverged run, what happened.
        weights: where the trained weights are, if they were to be kept.
        checkpoint: where the checkpoint was written, if it was to be; a search may have dropped it since.
        attempt: which try it was, from 1; runs whose process died are tried again.
        kept: after how many updates the weights that it ended with were taken, where those are not its last ones; a
            checkpoint is of the last ones, from where training goes on.
        members: after how many updates those of each member were taken, where it ended as an ensemble; the last of
            `evals` is of the ensemble then, and has what its last weights came to alone as `single_...`.
        growth: where the optimizer finds its rate, how many times larger what it found was in the last update than
            halfway; None where that is no number.
    """

    spec: RunSpec
    outcome: Outcome
    objective: Objective
    evals: tuple[Evaluation, ...] = ()
    cost: Cost = Cost(0, 0.0)
    columns: dict[str, Any] = {}
    message: str | None = None
    weights: Weights | None = None
    checkpoint: Weights | None = None
    attempt: int = 1
    kept: int | None = None
    members: tuple[int, ...] = ()
    growth: float | None = None

    @property
    def charged(self) -> int:
        """What a budget is charged, in updates: those made, and what the control computed beside them."""
        return self.cost.steps * self.spec.method.control.price

    @property
    def id(self) -> str:
        """The id of the spec."""
        return self.spec.id

    @property
    def made(self) -> int | None:
        """Updates that it made, from its own first one on; None where nobody knows: of a run that failed."""
        return None if self.outcome is Outcome.FAILED else self.cost.steps

    @property
    def usable(self) -> bool:
        """Whether the run ended with weights that work."""
        return self.outcome in (Outcome.FINISHED, Outcome.STOPPED) and bool(self.evals)

    @property
    def end(self) -> Evaluation | None:
        """What the weights that it ended with came to on validation; None where they were not judged."""
        if self.kept is None:
            return self.evals[-1] if self.evals else None
        return next((each for each in self.evals if each.step == self.kept), None)

    @property
    def final(self) -> float | None:
        """The validation metric of the final weights, or None where there are none that work."""
        return self.end.values.get(self.objective.metric) if self.usable and self.end is not None else None

    @property
    def rank_key(self) -> tuple[float, float]:
        """What runs of one task are sorted by, best first: the metric, then the validation loss; inf if unusable."""
        final, end = self.final, self.end
        if final is None or end is None:
            return (math.inf, math.inf)
        return (self.objective.lower_is_better(final), end.values.get("loss", math.inf))

    def column(self, name: str) -> NDArray[np.float32]:
        """One column; RecordError where it is not there."""
        if name not in self.columns:
            raise RecordError(f"record {self.id} has no column '{name}'; it has: {', '.join(self.columns) or 'none'}.")
        values: NDArray[np.float32] = self.columns[name]
        return values

    @property
    def still_growing(self) -> bool:
        """Whether the rate that its optimizer finds was far from settled when it ended."""
        return self.growth is not None and self.growth > STEEP

    @property
    def found_rates(self) -> NDArray[np.float64] | None:
        """The rate of each update as its optimizer found it, times what was in force; None where it finds none."""
        if "found" not in self.columns:
            return None
        rates: NDArray[np.float64] = np.multiply(self.column("lr"), self.column("found"), dtype=np.float64)
        return rates

    def without_columns(self) -> "Record":
        """The same record without its columns."""
        return msgspec.structs.replace(self, columns={})

    def summary(self) -> bytes:
        """All but the columns, as JSON."""
        told = msgspec.to_builtins(self.without_columns())
        return msgspec.json.encode({name: value for name, value in told.items() if ADDED.get(name, told) != value})

    def packed(self) -> tuple[bytes, bytes]:
        """Summary and columns as bytes that `from_summary` is sure to read.

        Raises:
            RecordError: something in it has no place in JSON, such as a metric that is not finite.
        """
        try:
            summary, columns = self.summary(), pack_columns(self.columns)
            if self.from_summary(summary, columns).summary() != summary:
                raise RecordError("it would be read as another")
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise RecordError(f"record {self.id} must be readable, but: {checks.shown_error(error)}.") from None
        return summary, columns

    @classmethod
    def from_summary(cls, summary: bytes, columns: bytes = b"") -> "Record":
        """The record that `summary` and `pack_columns` wrote."""
        record = msgspec.json.decode(summary, type=cls)
        return msgspec.structs.replace(record, columns=unpack_columns(columns)) if columns else record


def pack_columns(columns: dict[str, NDArray[np.float32]]) -> bytes:
    """Columns as one compressed block: a line of JSON with names and lengths, then little-endian float32."""
    head = json.dumps([[name, len(values)] for name, values in columns.items()]).encode()
    if any(np.ndim(values) != 1 for values in columns.values()):
        raise RecordError(f"columns must have one dimension, got {[np.ndim(values) for values in columns.values()]}.")
    body = b"".join(np.ascontiguousarray(values, dtype="<f4").tobytes() for values in columns.values())
    return zlib.compress(head + b"\n" + body, 1)


def unpack_columns(block: bytes) -> dict[str, NDArray[np.float32]]:
    """The columns that `pack_columns` wrote.

    Raises:
        RecordError: they come to more than 1 GiB, which no run's do, whatever the block says.
    """
    content = zlib.decompressobj()
    whole = content.decompress(block, LARGEST_COLUMNS)
    if not content.eof:
        raise RecordError(f"the columns of a record must be whole and at most {LARGEST_COLUMNS} bytes.")
    head, _, body = whole.partition(b"\n")
    columns, at = {}, 0
    for name, length in json.loads(head):
        columns[name] = np.frombuffer(body, dtype="<f4", count=length, offset=at)
        at += 4 * length
    return columns
