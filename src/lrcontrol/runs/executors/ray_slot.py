"""The far end of the Ray executor: a slot on some machine, which carries out lots in processes of their own."""

import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lrcontrol.errors import BadInput
from lrcontrol.runs.executors import cargo
from lrcontrol.runs.executors.processes import Processes
from lrcontrol.runs.executors.rooms import Room
from lrcontrol.runs.record import Objective
from lrcontrol.runs.spec import RunSpec

__all__ = ["LACKS", "RECORDS", "UNUSABLE", "Answer", "Slot", "versions"]

RECORDS, LACKS, UNUSABLE = "records", "lacks", "unusable"
"""Records with their files; the names of data files that must be sent; that no run can be carried out, and why."""
Answer = tuple[str, list[Any]]
MANY = 1_000_000  # more runs than a lot has


def versions() -> str:
    """What must be the same on every machine, so that runs are."""
    return f"lrcontrol {importlib.metadata.version('lrcontrol')} on Python {platform.python_version()}"


class Slot:
    """A slot, as an actor; all that goes in and out is text and bytes.

    Args:
        target: `module:function`, as for `Processes`.
        objective: of the task, as JSON.
        options: for the function, as JSON.
        limits: `seconds`, `memory` and `retries` of a run, as for `Processes`.
        codes: Python files of the user's.
        data: where each data file lies on the machine that asks, and its size.
        keeps: whether runs are given a folder for weights and checkpoints.
    """

    def __init__(
        self,
        target: str,
        objective: bytes,
        options: str,
        limits: Mapping[str, Any],
        codes: Sequence[cargo.Code],
        data: Mapping[str, tuple[str, int]],
        keeps: bool,
    ) -> None:
        self._room = Room("lrcontrol-slot-")
        self._target, self._options, self._limits = target, json.loads(options), dict(limits)
        self._objective = msgspec.json.decode(objective, type=Objective)
        self._codes, self._data, self._keeps = codes, data, keeps
        self._kept = self._room.path / "kept"
        self._kept.mkdir()
        self._processes: Processes | None = None
        self._closed = False
        self._lot: list[RunSpec] = []
        self._starts: list[Path] = []

    def hello(self) -> tuple[str, str]:
        """The versions here, and the id of this machine."""
        import ray

        return versions(), ray.get_runtime_context().get_node_id()

    def next(self, lot: Sequence[bytes], starts: Sequence[Any] = (), sent: Mapping[str, Any] | None = None) -> Answer:
        """What comes next of a lot that is begun, or of the one that is under way if `lot` is empty.

        Args:
            lot: specs as JSON.
            starts: references to the checkpoints that they go on from, as files by name.
            sent: references to data files that were lacking.
        """
        try:
            if lot:
                self._lot = [RunSpec.from_json(text) for text in lot]
                self._receive(starts)
            if sent:
                import ray

                cargo.receive_data({name: ray.get(reference) for name, reference in sent.items()})
            if self._processes is None:
                if lacking := cargo.data_here(self._data):
                    return LACKS, list(lacking)
                self._processes = self._made()
            if lot or sent:
                for spec in self._lot:
                    self._processes.submit(spec)
            return RECORDS, self._answers(self._processes)
        except BadInput as error:
            return UNUSABLE, [str(error)]
        except Exception:
            if not self._closed:  # else nobody hears of it
                raise
            return UNUSABLE, ["the slot was closed"]

    def close(self) -> None:
        """End all processes of the slot, with what it is at, and delete its files.

        Ray would end the host alone, and what its run has begun would be nobody's.
        """
        self._closed = True
        if self._processes is not None:
            self._processes.workers = 0  # the lot under way begins no other
            self._processes.close()
        self._room.close()

    def _made(self) -> Processes:
        weights = {"weights": str(self._kept)} if self._keeps else {}
        return Processes(
            self._target,
            self._objective,
            workers=1,
            options=self._options | weights,
            files=cargo.unpack_code(self._codes, self._room.path),
            ahead=MANY,
            divide=_as_given,
            **self._limits,
        )

    def _receive(self, starts: Sequence[Any]) -> None:
        """Write the checkpoints that a lot begins with; only its runs read them, so they need not be durable."""
        import ray

        for path in self._starts:
            path.unlink(missing_ok=True)
        files = {name: content for reference in starts for name, content in ray.get(reference).items()}
        self._starts = [self._kept / Path(name).name for name in files]
        for path, content in zip(self._starts, files.values(), strict=True):
            path.write_bytes(content)

    def _answers(self, processes: Processes) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
        return [(*record.packed(), cargo.collected(record, self._kept)) for record in processes.wait()]


def _as_given(
    specs: Sequence[RunSpec], workers: int, seconds: Callable[[RunSpec], float | None]
) -> list[list[RunSpec]]:
    """One lot: the machine that asks has divided them."""
    del workers, seconds
    return [list(specs)]
