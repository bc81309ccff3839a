"""Checkpoints on disk: tensors as safetensors, all else as plain JSON, each with its SHA-256; nothing is unpickled."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from lrcontrol import checks
from lrcontrol.errors import RecordError
from lrcontrol.files import write_whole
from lrcontrol.runs.kept_files import manifest_name, state_name
from lrcontrol.runs.record import Weights
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.training.state import State

__all__ = ["load_checkpoint", "load_start", "save_checkpoint"]

FORMAT, VERSION = "lrcontrol/checkpoint", 1
LARGEST_MANIFEST = 16 << 20  # bytes


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the JSON file holds; `checksum` is the SHA-256 of the rest of it."""

    format: str
    version: int
    spec: RunSpec
    step: int
    optimizer: Any
    control: Any
    tensors: str
    checksum: str = ""

    def own_checksum(self) -> str:
        """The SHA-256 of all but the checksum itself."""
        rest = msgspec.structs.replace(self, checksum="")
        return hashlib.sha256(json.dumps(msgspec.to_builtins(rest), sort_keys=True).encode()).hexdigest()


def save_checkpoint(state: State, folder: Path, spec: RunSpec) -> Weights:
    """Write the state a run ended with; the manifest comes last, so that there is a whole checkpoint or none."""
    tensors = {name: value.contiguous() for name, value in state.tensors.items()}
    blob = safetensors.torch.save(tensors)
    manifest = _Manifest(
        format=FORMAT,
        version=VERSION,
        spec=spec,
        step=state.step,
        optimizer=_told(state.optimizer),
        control=_told(state.control),
        tensors=hashlib.sha256(blob).hexdigest(),
    )
    text = msgspec.json.encode(msgspec.structs.replace(manifest, checksum=manifest.own_checksum()))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / state_name(spec.id), blob)
    write_whole(folder / manifest_name(spec.id), text)
    return Weights(manifest_name(spec.id), hashlib.sha256(text).hexdigest())


def load_checkpoint(folder: Path, run_id: str) -> tuple[RunSpec, State]:
    """The spec of a run and the state it ended with, after checking that both files are what was written.

    Raises:
        RecordError: there is none, it is of another run or version, or a file is not what was written.
    """
    path = folder / manifest_name(run_id)
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise RecordError(f"the checkpoint {path} must be at most {LARGEST_MANIFEST} bytes; it is no manifest.")
        text = path.read_bytes()
        blob = (folder / state_name(run_id)).read_bytes()
    except OSError as error:
        raise RecordError(
            f"the checkpoint of run {run_id} cannot be read: {error.strerror} ({error.filename}); "
            "run it again with checkpoint=True."
        ) from None
    try:
        manifest = msgspec.json.decode(text, type=_Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(f"the checkpoint {path} is damaged: {checks.shown_error(error)}.") from None
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise RecordError(
            f"the checkpoint {path} must be of format {FORMAT}, version {VERSION}, got "
            f"{checks.shown(manifest.format)}, version {manifest.version}; update lrcontrol, or run it again."
        )
    if manifest.checksum != manifest.own_checksum() or manifest.spec.id != run_id:
        raise RecordError(f"the checkpoint {path} is not what was written; run {run_id} again with checkpoint=True.")
    if hashlib.sha256(blob).hexdigest() != manifest.tensors:
        raise RecordError(f"the tensors beside {path} are not those that were written: their SHA-256 differs.")
    tensors: dict[str, Tensor] = safetensors.torch.load(blob)
    return manifest.spec, State(manifest.step, tensors, _read(manifest.optimizer), _read(manifest.control))


def load_start(folder: Path, spec: RunSpec, start: Start) -> State:
    """The state that a run goes on from; that of a control only where it goes on with the same.

    Raises:
        RecordError: as `load_checkpoint`, or the run it goes on from is of another kind.
    """
    before, state = load_checkpoint(folder, start.run)
    for name, own, other in (
        ("task", spec.task, before.task),
        ("seed", spec.seed, before.seed),
        ("start.step", start.step, state.step),
        ("kind of optimizer", type(spec.method.optimizer).__name__, type(before.method.optimizer).__name__),
    ):
        if own != other:
            raise RecordError(
                f"a run must have the {name} of the run it goes on from, got {own}, where run {start.run} has {other}."
            )
    same = (before.method.control, before.total_steps) == (spec.method.control, spec.total_steps)
    return state if same else state._replace(control=None)


def _told(value: Any) -> Any:
    """JSON values in which numbers that JSON has not are told in words."""
    if isinstance(value, dict):
        return {key: _told(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_told(inner) for inner in value]
    return {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _read(value: Any) -> Any:
    """What `_told` was given."""
    if isinstance(value, dict):
        return float(value["float"]) if set(value) == {"float"} else {key: _read(each) for key, each in value.items()}
    return [_read(inner) for inner in value] if isinstance(value, list) else value
