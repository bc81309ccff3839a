"""The files that runs leave beside a store: their names, and which of them are still needed."""

import contextlib
from collections.abc import Collection
from pathlib import Path

__all__ = ["drop_checkpoint", "drop_checkpoints", "manifest_name", "state_name"]


def manifest_name(run_id: str) -> str:
    """The file that says what a run's checkpoint is: plain JSON.

    Example:
        >>> manifest_name("0123456789abcdef0123")
        '0123456789abcdef0123.checkpoint.json'
    """
    return f"{run_id}.checkpoint.json"


def state_name(run_id: str) -> str:
    """The file with the tensors of a run's checkpoint: safetensors."""
    return f"{run_id}.checkpoint.safetensors"


def drop_checkpoint(folder: Path, run_id: str) -> None:
    """Delete the checkpoint of a run in `folder`, if there is one.

    The manifest goes first: without it there is no checkpoint, whatever happens next.
    """
    for file in (folder / manifest_name(run_id), folder / state_name(run_id)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def drop_checkpoints(folder: Path, keep: Collection[str]) -> list[str]:
    """Delete the checkpoints in `folder` of all runs but those of `keep`; the ids of those that are gone."""
    gone = []
    for manifest in sorted(folder.glob(manifest_name("*"))):
        run_id = manifest.name.removesuffix(manifest_name(""))
        if run_id not in keep:
            drop_checkpoint(folder, run_id)
            gone.append(run_id)
    return gone
