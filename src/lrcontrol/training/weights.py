"""Trained weights on disk: safetensors, with the SHA-256 of the file in the record; nothing is ever unpickled."""

import hashlib
from pathlib import Path

import safetensors.torch
from torch import nn

from lrcontrol.errors import RecordError
from lrcontrol.files import write_whole
from lrcontrol.runs.record import Record, Weights

__all__ = ["load_weights", "save_weights"]


def save_weights(model: nn.Module, folder: Path, name: str) -> Weights:
    """Write parameters and buffers to `folder/name.safetensors`, whole or not at all."""
    blob = safetensors.torch.save({key: value.contiguous() for key, value in model.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.safetensors", blob)
    return Weights(f"{name}.safetensors", hashlib.sha256(blob).hexdigest())


def load_weights(model: nn.Module, folder: Path, record: Record) -> None:
    """Load the weights a record names into `model`, after checking that the file is the one it was.

    Raises:
        RecordError: the record kept no weights, the file is missing, or its SHA-256 is another.
    """
    if record.weights is None:
        raise RecordError(f"record {record.id} must have weights, but they were not kept; run it with save=True.")
    path = folder / record.weights.file
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise RecordError(f"the weights of record {record.id} cannot be read: {error}.") from None
    if hashlib.sha256(blob).hexdigest() != record.weights.sha256:
        raise RecordError(f"the weights in {path} are not those of record {record.id}: their SHA-256 differs.")
    model.load_state_dict(safetensors.torch.load(blob))
