"""Stores merged into one, each run once, and the files beside them."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, StoreError
from lrcontrol.files import whole_file
from lrcontrol.runs.kept_files import state_name
from lrcontrol.runs.record import Outcome, Record, Weights
from lrcontrol.runs.storage.checking import right_records
from lrcontrol.runs.store import Store

__all__ = ["Merged", "copied", "merge", "plain"]

BATCH = 500  # records in one transaction: of more the disk is no faster
PIECE = 1 << 20  # bytes of a file copied at once
LARGEST_MANIFEST = 16 << 20  # bytes
FOLDER = "weights"

Item = TypeVar("Item")


class Merged(msgspec.Struct, frozen=True):
    """What a merge did.

    Args:
        path: of the store that holds all.
        runs: how many it holds now.
        added: runs that it did not hold before.
        same: runs of the given stores that it holds already, with the same record.
        failed: failed tries that were left out, since it holds another try of the run.
        differing: ids of runs that it holds already with another record, which stays: other seconds, or another
            machine.
        copied: files of weights and checkpoints that were copied beside it.
        missing: a sentence for each file that could not be copied.
        faults: what is not right in the given stores, and was left out.
    """

    path: str
    runs: int
    added: int
    same: int
    failed: int
    differing: tuple[str, ...]
    copied: int
    missing: tuple[str, ...]
    faults: tuple[str, ...]


def merge(sources: Sequence[Path], out: Path, *, salvage: bool = False) -> Merged:
    """Add the runs of stores to the one at `out`, which is made where there is none; the same again adds nothing.

    Runs keep the order of the stores that are named. Weights and checkpoints are copied by their names, and only where
    their SHA-256 is the one that the record has. Where it fails, no new store is left.

    Args:
        sources: stores, which stay as they are.
        out: the store that is added to.
        salvage: take what is right of damaged stores, instead of refusing them.
    Raises:
        BadInput: there is nothing to merge, or `out` alone. StoreError: a store cannot be read or written, or is
            damaged.
    """
    if not sources:
        raise BadInput("a merge must have at least one store to read, got none.")
    for source in sources:  # all are looked at before anything is written
        if not source.is_file():
            raise StoreError(f"there is no store at {source}.")
        if not salvage:
            Store(source, read_only=True).close()
    others = [source for source in sources if not (out.exists() and os.path.samefile(source, out))]
    if not others:
        raise BadInput(f"a merge must have a store to read beside the one that it writes to, got {out} alone.")
    faults: list[str] = []
    with _whole_or_nothing(out) as files, Store(out) as target:
        merging = _Merging(target, files)
        for source in others:
            if salvage:
                found: list[str] = []
                merging.take(source, right_records(source, found.append))
                faults += [f"{source}: {fault}" for fault in found]
            else:
                with Store(source, read_only=True) as store:
                    merging.take(source, (store.record(run_id) for run_id in store.records().ids))
        return merging.done(tuple(faults))


@contextlib.contextmanager
def _whole_or_nothing(out: Path) -> Iterator[list[Path]]:
    """Where an error is raised, take away a store that was not there before, and files and folders made with it.

    Yields:
        A list for the files that are copied beside the store.
    """
    files: list[Path] = []
    new = not os.path.lexists(out)
    folders = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    weights = out.parent / FOLDER
    folders = folders if weights.exists() else [weights, *folders]
    try:
        yield files
    except Exception:  # not Ctrl-C: the same command goes on there
        if new:
            for file in (*files, *(out.with_name(out.name + end) for end in ("", "-journal", "-wal", "-shm"))):
                file.unlink(missing_ok=True)
            for folder in folders:
                with contextlib.suppress(OSError):  # never made, or somebody else's by now
                    folder.rmdir()
        raise


class _Merging:
    """A merge on its way: what it has counted so far, and the files that it has copied."""

    def __init__(self, target: Store, files: list[Path]) -> None:
        self._target, self._files = target, files
        listed = target.records()
        self._held = set(listed.ids)
        self._settled = {record.id for record in listed if record.outcome is not Outcome.FAILED}
        self._added = self._same = self._failed = 0
        self._differing: list[str] = []
        self._missing: list[str] = []

    def take(self, source: Path, records: Iterable[Record]) -> None:
        for batch in _batches(records, BATCH):
            wanted = [each for each in batch if each.outcome is not Outcome.FAILED or each.id not in self._held]
            self._failed += len(batch) - len(wanted)
            fresh = [each for each in wanted if each.id not in self._settled]
            added = {each.id for each, new in zip(fresh, self._target.add_all(fresh), strict=True) if new}
            self._added += len(added - self._held)
            self._held |= added
            self._settled |= {each.id for each in fresh if each.outcome is not Outcome.FAILED}
            for record in wanted:
                stays = record if record.id in added else self._target.record(record.id)
                if record.id not in added:
                    self._compare(record, stays)
                if (stays.weights, stays.checkpoint) == (record.weights, record.checkpoint):
                    self._copy(source, record)

    def _compare(self, record: Record, stays: Record) -> None:
        if _content(record) == _content(stays):
            self._same += 1
        else:
            self._differing.append(record.id)

    def _copy(self, source: Path, record: Record) -> None:
        begin, end = source.parent / FOLDER, self._target.path.parent / FOLDER
        if begin.resolve() == end.resolve():
            return

        def copy(file: Weights) -> None:
            if copied(begin, end, file):
                self._files.append(end / file.file)

        try:
            if record.weights is not None:
                copy(record.weights)
            if record.checkpoint is not None and (begin / plain(record.checkpoint.file)).is_file():
                copy(_state_of(begin, record.checkpoint, record.id))
                copy(record.checkpoint)  # the manifest last: with it there is a checkpoint
        except BadInput as error:
            self._missing.append(str(error))

    def done(self, faults: tuple[str, ...]) -> Merged:
        return Merged(
            path=str(self._target.path),
            runs=len(self._target.records()),
            added=self._added,
            same=self._same,
            failed=self._failed,
            differing=tuple(self._differing),
            copied=len(self._files),
            missing=tuple(self._missing),
            faults=faults,
        )


def _content(record: Record) -> tuple[bytes, list[tuple[str, bytes]]]:
    return record.summary(), [(name, values.tobytes()) for name, values in record.columns.items()]


def copied(begin: Path, end: Path, file: Weights) -> bool:
    """Copy a file from one folder to another; False where it is there already.

    Raises:
        BadInput: it is missing, or is not the file that the record tells of.
    """
    name = plain(file.file)
    if _sha256(end / name) == file.sha256:
        return False
    try:
        with (begin / name).open("rb") as read:
            end.mkdir(parents=True, exist_ok=True)
            with whole_file(end / name) as written:
                digest = hashlib.sha256()
                while piece := read.read(PIECE):
                    digest.update(piece)
                    written.write(piece)
                if digest.hexdigest() != file.sha256:
                    raise BadInput(f"{begin / name} is not the file that was written: its SHA-256 differs; left out.")
    except OSError as error:
        raise BadInput(f"{begin / name} cannot be copied: {error.strerror or error}.") from None
    return True


def plain(name: str) -> str:
    """`name` if it is that of a file in a folder, and leads nowhere else, or BadInput."""
    if name in ("", ".", "..") or len(name) > 200 or any(char in "/\\:" or not char.isprintable() for char in name):
        raise BadInput(f"a file beside a store must have a plain name, got {checks.shown(name)}; left out.")
    return name


def _state_of(folder: Path, manifest: Weights, run_id: str) -> Weights:
    """The file with the tensors that a manifest tells of."""
    path = folder / plain(manifest.file)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_MANIFEST)
    except OSError as error:
        raise BadInput(f"{path} cannot be copied: {error.strerror or error}.") from None
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise BadInput(f"{path} is not the file that was written: its SHA-256 differs; left out.")
    try:
        return Weights(state_name(run_id), str(json.loads(content)["tensors"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(f"{path} is no manifest of a checkpoint; left out.") from None


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := [*islice(rest, size)]:
        yield batch
