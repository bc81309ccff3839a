"""Trained weights on disk: safetensors, with the SHA-256 of the file in the record; nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from lrcontrol.errors import RecordError
from lrcontrol.files import write_whole
from lrcontrol.runs.record import Record, Weights
from lrcontrol.training.state import with_tensors

__all__ = ["load_state", "load_states", "load_weights", "save_state", "save_states", "save_weights"]


def save_weights(model: nn.Module, folder: Path, name: str) -> Weights:
    """Write parameters and buffers to `folder/name.safetensors`, whole or not at all."""
    return _kept(safetensors.torch.save(_whole(model.state_dict())), folder, name)


def save_states(states: Mapping[int, Mapping[str, Tensor]], folder: Path, name: str) -> Weights:
    """Write several states of a model to one file, their names `STEP.NAME`; `load_states` reads it."""
    tensors = {f"{step}.{own}": value for step, state in states.items() for own, value in state.items()}
    return _kept(safetensors.torch.save(_whole(tensors)), folder, name)


def save_state(plain: Any, tensors: dict[str, Tensor], folder: Path, name: str) -> Weights:
    """Write what a script saved, as `as_plain` has it: the tensors, and all else as JSON in the head of the file."""
    return _kept(safetensors.torch.save(_whole(tensors), {"state": json.dumps(plain)}), folder, name)


def load_weights(model: nn.Module, folder: Path, record: Record) -> None:
    """Load the weights a record names into `model`, after checking that the file is the one it was.

    Raises:
        RecordError: the record kept no weights, the file is missing, or its SHA-256 is another.
    """
    model.load_state_dict(safetensors.torch.load(_read(folder, record)))


def load_states(folder: Path, record: Record) -> dict[int, dict[str, Tensor]]:
    """The states of the members of the ensemble that a record ended as, after the same checks.

    Raises:
        RecordError: as `load_weights`.
    """
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in safetensors.torch.load(_read(folder, record)).items():
        step, _, own = name.partition(".")
        states.setdefault(int(step), {})[own] = value
    return states


def load_state(folder: Path, record: Record) -> Any:
    """What the script of a record saved last, after the same checks.

    Raises:
        RecordError: as `load_weights`.
    """
    blob = _read(folder, record)
    head = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    return with_tensors(json.loads(head["__metadata__"]["state"]), safetensors.torch.load(blob))


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in tensors.items()}


def _kept(blob: bytes, folder: Path, name: str) -> Weights:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.safetensors", blob)
    return Weights(f"{name}.safetensors", hashlib.sha256(blob).hexdigest())


def _read(folder: Path, record: Record) -> bytes:
    """The file that a record names, if it is the one that was written."""
    if record.weights is None:
        raise RecordError(
            f"record {record.id} must have weights, but they were not kept; run it with save=True (a script must call "
            "run.save)."
        )
    path = folder / record.weights.file
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise RecordError(f"the weights of record {record.id} cannot be read: {error}.") from None
    if hashlib.sha256(blob).hexdigest() != record.weights.sha256:
        raise RecordError(f"the weights in {path} are not those of record {record.id}: their SHA-256 differs.")
    return blob
